//! The page of a real run says what its history says.

use super::*;
use crate::explain::example;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, ChannelId, CheckpointId, SubtaskId, WorkerId};
use cofferdam_properties::history::{Entry, Incarnation, Process};

fn claims(history: &History) -> impl Iterator<Item = (usize, &Event)> {
    history.entries.iter().enumerate().filter_map(|(at, entry)| match &entry.what {
        What::Claim(event) => Some((at, event)),
        What::Fact(_) => None,
    })
}

#[test]
fn every_barrier_that_arrives_was_sent() {
    let (outcome, job) = example::eventful();
    let arrows = arrows::of(&outcome.history, &job.graph);
    let (mut received, entries) = (0, &outcome.history.entries);
    for (at, event) in claims(&outcome.history) {
        let Event::BarrierReceived { checkpoint, .. } = event else { continue };
        received += 1;
        let arrow = arrows.iter().find(|arrow| arrow.to == at).expect("an arrow that ends here");
        let What::Claim(Event::BarrierEmitted { checkpoint: sent, .. }) = &entries[arrow.from].what else {
            panic!("it begins at {:?}", entries[arrow.from]);
        };
        assert_eq!((sent, arrow.checkpoint), (checkpoint, checkpoint.0));
        assert!(arrow.from < arrow.to);
    }
    assert!(received > 10, "{received}");
}

#[test]
fn a_worker_is_followed_by_its_subtasks_and_output_comes_last() {
    let (outcome, job) = example::eventful();
    let lanes = Lanes::of(&[&outcome.history], &job.graph).all;
    let mut groups: Vec<&str> = lanes.iter().map(|lane| lane.group.as_str()).collect();
    groups.dedup();
    assert_eq!(groups.first(), Some(&"plan"));
    let last = if outcome.plan.input.writes_outside() { "outside" } else { "visible output" };
    assert_eq!(groups.last(), Some(&last));
    let distinct: std::collections::BTreeSet<&&str> = groups.iter().collect();
    assert_eq!(distinct.len(), groups.len(), "a group is in one piece: {groups:?}");
    let subtasks = lanes.iter().filter(|lane| lane.sort == lanes::Sort::Subtask).count();
    assert!(subtasks >= job.graph.subtasks().len(), "{lanes:?}");
}

#[test]
fn a_completed_checkpoint_has_a_cut_and_spans_that_end() {
    let (outcome, job) = example::eventful();
    let history = &outcome.history;
    let (completed, _) = cuts::outcomes(history)
        .into_iter()
        .find(|(_, (fate, _))| *fate == cuts::Fate::Completed)
        .expect("a completed checkpoint");
    let cut = cuts::of(history).into_iter().find(|cut| cut.checkpoint == completed).expect("its cut");
    assert_eq!(cut.snapshots.len(), job.graph.subtasks().len());
    let lanes = Lanes::of(&[history], &job.graph);
    let spans = spans::of(history, &lanes);
    let uploads = spans.iter().filter(|span| span.sort == spans::Sort::Upload && span.checkpoint == completed.0);
    assert_eq!(uploads.clone().count(), job.graph.subtasks().len());
    assert!(uploads.clone().all(|span| !span.open && span.from < span.to));
    assert!(spans.iter().all(|span| span.from <= span.to && span.to < history.entries.len()));
}

/// Entries of `count[0]` on worker 1, one a microsecond.
fn told(what: Vec<What>) -> History {
    let by = Incarnation { process: Process::Worker(WorkerId(1)), number: 1 };
    let entries = what.into_iter().enumerate().map(|(at, what)| Entry { time: at as u64 * 1_000, by, what });
    History { entries: entries.collect(), ..History::default() }
}

#[test]
fn what_a_crash_interrupts_stays_open() {
    let (_, job) = example::eventful();
    let (attempt, subtask, checkpoint) = (Attempt::default(), SubtaskId::default(), CheckpointId(4));
    let history = told(vec![
        What::Fact(Fact::Started),
        What::Claim(Event::AlignmentStarted { attempt, subtask, checkpoint }),
        What::Claim(Event::AlignmentEnded { attempt, subtask, checkpoint }),
        What::Claim(Event::SnapshotTaken { attempt, subtask, checkpoint, ended: false }),
        What::Claim(Event::UploadStarted { attempt, subtask, checkpoint, path: "p".into(), bytes: 1 }),
        What::Fact(Fact::Crashed),
    ]);
    let lanes = Lanes::of(&[&history], &job.graph);
    let spans = spans::of(&history, &lanes);
    let stage = |sort| {
        let span = spans.iter().find(|span| span.sort == sort).expect("a span of each stage");
        (span.from, span.to, span.open)
    };
    assert_eq!(stage(spans::Sort::Alignment), (1, 2, false));
    assert_eq!(stage(spans::Sort::Sync), (2, 3, false));
    assert_eq!(stage(spans::Sort::Async), (3, 4, false));
    assert_eq!(stage(spans::Sort::Upload), (4, 5, true));
    assert_eq!(stage(spans::Sort::Life), (0, 5, false));
}

#[test]
fn overlapping_spans_lie_on_tracks_of_their_own() {
    let (_, job) = example::eventful();
    let (attempt, subtask) = (Attempt::default(), SubtaskId::default());
    let upload = |n| Event::UploadStarted { attempt, subtask, checkpoint: CheckpointId(n), path: "p".into(), bytes: 1 };
    let done = |n| Event::UploadEnded { attempt, subtask, checkpoint: CheckpointId(n), path: "p".into(), digest: 1 };
    let history = told([upload(1), upload(2), done(1), upload(3), done(2), done(3)].map(What::Claim).into());
    let lanes = Lanes::of(&[&history], &job.graph);
    let uploads = spans::of(&history, &lanes).into_iter().filter(|span| span.sort == spans::Sort::Upload);
    let tracks: Vec<(u64, usize)> = uploads.map(|span| (span.checkpoint, span.track)).collect();
    assert_eq!(tracks, [(1, 0), (2, 1), (3, 0)]);
    assert_eq!(lanes.all.iter().map(|lane| lane.tracks).max(), Some(2));
}

#[test]
fn a_conviction_names_its_promise_and_its_checkpoint() {
    let (mut outcome, job) = example::eventful();
    let (step, checkpoint) = claims(&outcome.history)
        .find_map(|(at, event)| match event {
            Event::SnapshotTaken { checkpoint, .. } => Some((at, *checkpoint)),
            _ => None,
        })
        .expect("a snapshot");
    outcome.verdict = serde_json::from_value(json!({
        "verdict": "violation", "property": "consistent-cut", "what": "count[0] </script>", "step": step,
    }))
    .expect("a verdict");
    let data = data(&outcome, &job.graph, None, "cofferdam replay g2:0x2");
    assert_eq!(data["header"]["promise"], "a checkpoint cuts both ends of every channel behind the same record");
    assert_eq!(data["runs"][0]["step"], step);
    assert_eq!(data["runs"][0]["violated"], checkpoint.0);
    let page = page(&outcome, &job.graph, None, "cofferdam replay g2:0x2");
    assert_eq!(page.matches("</script>").count(), 2, "text of a run cannot end a script");
}

#[test]
fn a_channel_is_named_after_its_ends() {
    let (_, job) = example::eventful();
    let edge = &job.graph.edges[0];
    let end = |operator, index| job.graph.show(SubtaskId { operator, index });
    let (from, to) = (end(edge.from, 0), end(edge.to, 1));
    assert_eq!(spelled_out("takes edge-0:0>1: no", &job.graph), format!("takes {from} → {to}: no"));
    for untouched in ["nothing", "edge-99:0>1 is unknown", "edge-", "a leading-edge-case"] {
        assert_eq!(spelled_out(untouched, &job.graph), untouched);
    }
}

#[test]
fn the_first_record_on_the_wrong_side_of_a_cut_is_found() {
    let (mut outcome, job) = example::eventful();
    let (attempt, checkpoint, channel) = (Attempt::default(), CheckpointId(1), ChannelId::default());
    let (from, to) = cuts::ends(channel, &job.graph).expect("the first channel");
    let snapshot = |subtask| What::Claim(Event::SnapshotTaken { attempt, subtask, checkpoint, ended: false });
    let consumed = |seq, records| What::Claim(Event::Consumed { attempt, subtask: to, channel, seq, records });
    outcome.history = told(vec![consumed(0, 2), snapshot(from), snapshot(to), consumed(1, 1), consumed(2, 2)]);
    let mut torn = |sent, taken| {
        let what = format!("{channel} is cut after {sent} records by its producer and after {taken} by its consumer");
        let verdict = json!({"verdict": "violation", "property": "consistent-cut", "what": what, "step": 2});
        outcome.verdict = serde_json::from_value(verdict).expect("a verdict");
        cuts::torn(&outcome, &job.graph).expect("it is torn")
    };
    let lost = torn(5, 2);
    assert_eq!((lost.sent, lost.taken, lost.record), (1, 2, Some(3)));
    assert!(lost.about.starts_with("record 3 of ") && lost.about.ends_with("is lost"), "{}", lost.about);
    let twice = torn(1, 2);
    assert_eq!(twice.record, Some(0));
    assert!(twice.about.ends_with("comes twice"), "{}", twice.about);
}

#[test]
fn runs_of_one_seed_share_what_they_have_in_common() {
    let (outcome, job) = example::eventful();
    let mut other = outcome.clone();
    let changed = other.history.entries.len() / 2;
    other.history.entries[changed].time += 1;
    assert_eq!(parting(&outcome.history, &other.history), changed);
    assert_eq!(parting(&outcome.history, &outcome.history), outcome.history.entries.len());
    let nearest = Nearest { outcome: &other, about: "a little later" };
    let data = data(&outcome, &job.graph, Some(nearest), "cofferdam replay g2:0x2");
    assert_eq!(data["runs"][1]["parting"], changed);
    assert_eq!(data["runs"][1]["shared"], changed);
    assert_eq!(data["runs"][1]["times"].as_array().map(Vec::len), Some(outcome.history.entries.len() - changed));
}

#[test]
fn a_page_needs_nothing_from_anywhere_and_is_small() {
    let (outcome, job) = example::eventful();
    let page = page(&outcome, &job.graph, None, "cofferdam replay g2:0x2");
    for foreign in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.len() < 100 * outcome.history.entries.len() + 100_000, "{} bytes", page.len());
}

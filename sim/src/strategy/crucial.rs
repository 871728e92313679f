//! Crucial requests: those whose answer decides what happens next. Storage fails now and then anywhere; here it fails just then.
//!
//! | whose | when | how it fails |
//! |---|---|---|
//! | a new leader's, which reads the log | as the leader crashes, so that the first to ask is its successor | once to three times, or hangs, or answers in part |
//! | a sink's, which commits | from a commit on, to output or a system outside | for longer than anybody tries again, or hangs |
//! | any write of a snapshot or of staged output | from where it is made on | so slow that it times out, and lands later: anywhere, or near the last sweep |
//! | an upload's, for a part or its completion | from an upload on, with parts so small that there are several | a few times, or hangs, or nobody hears the answer |

use super::aim;
use crate::check::faults;
use crate::plan::Plan;
use crate::plan::input::Draws;
use crate::world::{CheckpointAt, Fault, FaultKind, Point, Requests, Target, Trigger};
use cofferdam_engine::persist::layout;

/// What a leader does when its crash leaves something to find for the next.
const LEADING: [&str; 7] = [
    "checkpoint_triggered",
    "ack_received",
    "manifest_written",
    "completion_started",
    "completion_durable",
    "notify_sent",
    "checkpoint_subsumed",
];

/// What a subtask does just before it uploads.
const UPLOADING: [&str; 3] = ["barrier_emitted", "snapshot_taken", "upload_started"];

/// What a subtask does just before it writes something.
const WRITING: [&str; 4] = ["barrier_emitted", "prepared", "upload_started", "commit_started"];

/// Lets requests of one sort fail.
pub(super) fn strike(plan: &mut Plan, draws: &mut Draws) {
    // Not many jobs write to a system outside.
    let outside = plan.input.writes_outside() && draws.below(2) == 0;
    plan.faults = match draws.below(4) {
        3 => late(plan, draws),
        1 => commit(plan, draws),
        _ if outside => commit(plan, draws),
        0 => succession(plan, draws),
        _ => upload(plan, draws),
    };
}

/// A coordinate of one of these events.
fn at_one_of(plan: &Plan, names: &[&str], draws: &mut Draws) -> Trigger {
    let name = names[draws.below(names.len() as u64) as usize];
    let aim = aim::AIMS.iter().find(|aim| aim.event == name).expect("it is aimed at");
    aim::point(plan, aim, draws)
}

fn succession(plan: &Plan, draws: &mut Draws) -> Vec<Fault> {
    let at = at_one_of(plan, &LEADING, draws);
    let crash = FaultKind::Crash { process: Target::Announcer, restart_after_ms: 1 + draws.below(80) };
    // Whoever is refused tries again, so that one slot alone has to fail if another shall not take it.
    let prefix = match draws.below(3) {
        0 => layout::log_entry(slot_near(&at, draws)),
        // Listings ask for the folder, reads for what is in it.
        1 => layout::LOG.to_owned(),
        _ => format!("{}/", layout::LOG),
    };
    let requests = if draws.below(3) == 0 { Requests::All } else { Requests::Reads };
    let what = match draws.below(4) {
        0 => FaultKind::HangStorage { prefix, requests, count: 1 },
        1 => FaultKind::ShortReads { prefix, for_ms: 100 + draws.below(900) },
        _ => FaultKind::FailStorage { prefix, requests, count: 1 + draws.below(3) as u32 },
    };
    vec![Fault { at: at.clone(), what: crash }, Fault { at, what }]
}

/// The slot of the checkpoint that a coordinate is about, or of the one before it: the first completes in slot 2.
fn slot_near(at: &Trigger, draws: &mut Draws) -> u64 {
    match at {
        Trigger::Point(Point { checkpoint: Some(CheckpointAt::Ordinal(ordinal)), .. }) => {
            u64::from(*ordinal) + 1 + draws.below(2)
        }
        Trigger::Point(_) | Trigger::Time { .. } => 2 + draws.below(5),
    }
}

fn commit(plan: &Plan, draws: &mut Draws) -> Vec<Fault> {
    let at = at_one_of(plan, &["commit_started"], draws);
    let prefix = "output".to_owned();
    let mut what = match draws.below(3) {
        0 => FaultKind::HangStorage { prefix, requests: Requests::All, count: 1 + draws.below(6) as u32 },
        // Whoever commits tries four times.
        _ => FaultKind::FailStorage { prefix, requests: Requests::All, count: 4 + draws.below(27) as u32 },
    };
    if plan.input.writes_outside() && draws.below(4) > 0 {
        faults::outside(&mut what);
    }
    vec![Fault { at, what }]
}

/// A request takes about as long as it may, for a moment only: it is repeated, and what is repeated is done long before it. Or it
/// lands when the job is over, while the last sweep takes its time.
fn late(plan: &mut Plan, draws: &mut Draws) -> Vec<Fault> {
    let at = at_one_of(plan, &WRITING, draws);
    let prefix = if draws.below(2) == 0 { "output" } else { "checkpoints/chk" }.to_owned();
    if draws.below(4) > 0 {
        let end = Trigger::Point(Point { event: "job_finished".to_owned(), ..Point::default() });
        let (factor, for_ms) = (5 + draws.below(30) as u32, 2_000);
        let below = prefix.split('/').next().unwrap_or_default().to_owned();
        let slow_end = Fault { at: end, what: FaultKind::SlowStorage { prefix: below, factor, for_ms } };
        // The write times out first, and the end of the job must still be slow.
        plan.heal_at_ms += 2 * plan.config().storage_timeout.as_millis() as u64;
        return vec![Fault { at, what: aim::straggling(prefix, draws) }, slow_end];
    }
    let (factor, for_ms) = (800 + draws.below(4000) as u32, 1 + draws.below(30));
    vec![Fault { at, what: FaultKind::SlowStorage { prefix, factor, for_ms } }]
}

fn upload(plan: &mut Plan, draws: &mut Draws) -> Vec<Fault> {
    if !plan.policy.uploads_in_parts() {
        plan.policy.part_bytes = 150 + draws.skewed(800) as usize;
        // Parts take their time, and so does a checkpoint that must be given up first.
        plan.policy.timeout_ms *= 4;
        plan.liveness_ms += plan.policy.timeout_ms;
    }
    let at = at_one_of(plan, &UPLOADING, draws);
    let prefix = "checkpoints/chk".to_owned();
    let requests = if draws.below(3) == 0 { Requests::Completions } else { Requests::Parts };
    let count = 1 + draws.below(4) as u32;
    let what = match draws.below(4) {
        0 => FaultKind::FailStorage { prefix, requests, count: count * 3 },
        1 => FaultKind::LoseReplies { prefix, requests, count, late_ms: draws.below(2) * (1 + draws.below(200)) },
        _ => FaultKind::HangStorage { prefix, requests, count },
    };
    vec![Fault { at, what }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use cofferdam_engine::event::Event;
    use std::collections::BTreeSet;

    #[test]
    fn every_sort_of_request_is_struck_where_it_is_made() {
        let mut sorts = BTreeSet::new();
        for seed in (0..100).map(Seed) {
            let mut plan = Plan::of(seed);
            strike(&mut plan, &mut Draws::of(seed, "crucial"));
            assert_eq!(plan.validate(), Ok(()), "{plan}");
            for fault in &plan.faults {
                let Trigger::Point(point) = &fault.at else { panic!("{fault} waits for no event") };
                assert!(Event::NAMES.contains(&point.event.as_str()));
            }
            let crashes = plan.faults.iter().any(|fault| matches!(fault.what, FaultKind::Crash { .. }));
            let in_parts = plan.faults.iter().any(|fault| match &fault.what {
                FaultKind::FailStorage { requests, .. }
                | FaultKind::LoseReplies { requests, .. }
                | FaultKind::HangStorage { requests, .. } => {
                    matches!(requests, Requests::Parts | Requests::Completions)
                }
                _ => false,
            });
            assert!(!in_parts || plan.policy.uploads_in_parts(), "{plan}");
            let late = plan.faults.iter().any(|fault| matches!(fault.what, FaultKind::SlowStorage { .. }));
            let behind = plan.faults.iter().any(|fault| matches!(fault.what, FaultKind::DelayPastTheEnd { .. }));
            sorts.insert((crashes, in_parts, late, behind));
        }
        assert_eq!(sorts.len(), 5, "{sorts:?}");
    }
}

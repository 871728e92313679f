//! No orphans: when the job is over and its coordinator has cleaned up, nothing is left that nobody points to.
//!
//! Source: order rules O5 and O8; FLINK-5063. What is stored and forgotten is found by nobody, and fills the storage.
//!
//! Once the coordinator that wrote the last slot has come to its end by itself:
//! 1. below `checkpoints/` there are the slots at and above the newest floor, what those of them that complete a
//!    checkpoint name (manifest and snapshots), the leader's sign of life, and nothing else;
//! 2. the staging areas of sinks, which are the hidden folders below `output/`, are empty, if the job has finished: only a
//!    sink cleans up after its predecessor, and behind any other end there is none.
//!
//! Nobody can clean up what arrives afterwards. So an object is left alone if, when it was last written, its writer was
//! dead, or a newer attempt than the one in its name had been deployed (its request was on its way when its task was
//! cancelled), or the last slot was durable; or if its writer was ever told an unknown outcome of it, unless that is why a sink
//! could not stage it, and it was there before the next commit of that sink, which cleans up; or if behind the
//! end deletions in its folder failed four times and that was announced (whoever cleans up tries again, and once more for
//! good), or that of a manifest: those go first; a sink may have failed as often at any time. Does not judge a coordinator
//! that crashed behind the last slot.

use crate::case::{Case, Property, Violation};
use crate::history::{Fact, History, Incarnation, What};
use crate::ledger::Ledger;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, Generation, SubtaskId};
use cofferdam_engine::persist::{sign, slot};
use std::collections::BTreeSet;

const NAME: &str = "no-orphans";

/// Failures to delete something of a folder, behind the end, after which what is in it is left alone.
const PATIENCE: u32 = 4;

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "a finished job leaves its retained checkpoints behind, and nothing else that is not output",
    source: "order rules O5, O8; FLINK-5063",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let (ledger, history) = (case.ledger(), case.history);
    let finished = ledger.finished();
    let end = ledger.ended(|_| true)?;
    let by = history.entries[end].by;
    let came_to_its_end = |&at: &usize| {
        let entry = &history.entries[at];
        entry.by == by && matches!(entry.what, What::Fact(Fact::Ended(Ok(_))))
    };
    ledger.protocol.iter().rev().take_while(|at| **at > end).find(|at| came_to_its_end(at))?;
    let floor = ledger.floor();
    let reachable = reachable(ledger, floor);
    let stored = ledger.objects_under("checkpoints").chain(ledger.objects_under("output"));
    let mut orphans = stored.map(|(path, _)| path).filter(|path| match slot::number(path) {
        Some(number) => number < floor,
        None if path.starts_with("output/") => {
            finished.is_some() && path.split('/').any(|segment| segment.starts_with('.'))
        }
        None => *path != sign::PATH && !reachable.contains(path),
    });
    orphans
        .find(|path| !may_stay(history, ledger, path, end))
        .map(|path| Violation::new(NAME, end, path, "is left behind by a job that is over, and nothing points to it"))
}

fn reachable<'l>(ledger: &'l Ledger<'_>, floor: u64) -> BTreeSet<&'l str> {
    let retained = ledger.completed.iter().filter(|completed| completed.slot >= floor);
    let mut reachable = BTreeSet::new();
    for completed in retained {
        reachable.insert(completed.path.as_str());
        let manifest = completed.manifest.as_ref().ok();
        reachable
            .extend(manifest.into_iter().flat_map(|manifest| manifest.snapshots()).map(|handle| handle.path.as_str()));
    }
    reachable
}

/// Whether nobody could have cleaned it up.
fn may_stay(history: &History, ledger: &Ledger<'_>, path: &str, end: usize) -> bool {
    let written = ledger.last_written(path).unwrap_or_default();
    let writer = history.entries[written].by;
    let attempt = attempt_in(path);
    let (mut writer_is_dead, mut failures, mut doubtful) = (false, 0, false);
    let mut given_up = GivenUp::default();
    // Pointers go first: while any manifest resists, no blob is deleted, since it may be named there.
    let manifest = |p: &str| p.rsplit_once('/').is_some_and(|(_, name)| name.starts_with("manifest-"));
    let mut resisting: BTreeSet<&str> = BTreeSet::new();
    for &at in &ledger.protocol {
        let entry = &history.entries[at];
        match &entry.what {
            What::Fact(Fact::Crashed | Fact::Ended(_)) if at < written => writer_is_dead |= entry.by == writer,
            What::Fact(Fact::OutcomeUnknown { path: p }) if p == path => doubtful = true,
            What::Claim(event) if given_up.on(event, at, path) => {}
            What::Claim(Event::DeleteFailed { path: p, .. }) => {
                let sinks = path.starts_with("output/") && p == path;
                failures += u32::from(sinks || (at > end && folder(p) == folder(path)));
                if manifest(p) {
                    resisting.insert(p);
                }
            }
            What::Claim(Event::DeleteStarted { path: p }) if manifest(p) => drop(resisting.remove(p.as_str())),
            What::Claim(Event::AttemptDeployed { attempt: newer, .. })
                if at < written && attempt.is_some_and(|attempt| attempt < *newer) =>
            {
                return true;
            }
            _ => {}
        }
    }
    (doubtful && !given_up.was_cleaned_up_after(written))
        || writer_is_dead
        || failures >= PATIENCE
        || !resisting.is_empty()
        || written > end
        || is_deposed(history, ledger, attempt, writer, written)
}

fn folder(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(folder, _)| folder)
}

/// What a sink did that could not stage an object, and goes on.
#[derive(Default)]
struct GivenUp {
    by: Option<(Attempt, SubtaskId)>,
    /// When its next commit started, and whether that ended.
    commit: Option<(usize, bool)>,
}

impl GivenUp {
    /// Whether an event is about that.
    fn on(&mut self, event: &Event, at: usize, path: &str) -> bool {
        match event {
            Event::PrepareFailed { attempt, subtask, cause, .. } if cause.contains(&format!("{path}:")) => {
                self.by = Some((*attempt, *subtask));
            }
            Event::CommitStarted { attempt, subtask, .. } if self.by == Some((*attempt, *subtask)) => {
                self.commit.get_or_insert((at, false));
            }
            Event::CommitEnded { attempt, subtask, .. } if self.by == Some((*attempt, *subtask)) => {
                self.commit = self.commit.map(|(started, _)| (started, true));
            }
            _ => return false,
        }
        true
    }

    /// Whether it has cleaned up what was written then.
    fn was_cleaned_up_after(&self, written: usize) -> bool {
        self.commit.is_some_and(|(started, ended)| ended && written < started)
    }
}

/// Whether its writer, a coordinator, had a successor: what it still asked for comes as late as it likes, even when it
/// leads again.
fn is_deposed(
    history: &History,
    ledger: &Ledger<'_>,
    attempt: Option<Attempt>,
    writer: Incarnation,
    written: usize,
) -> bool {
    let taken = |at: &usize| match &history.entries[*at].what {
        What::Claim(Event::LeadershipTaken { generation, .. }) if history.entries[*at].by == writer => {
            Some(*generation)
        }
        _ => None,
    };
    let led: Option<Generation> = ledger.protocol.iter().filter_map(taken).next_back();
    let then = attempt.map(|attempt| attempt.generation).or(led);
    led.is_some() && ledger.generation_at(written) > then
}

/// The attempt that an object is named after: the first part of its name that looks like one.
fn attempt_in(path: &str) -> Option<Attempt> {
    let name = path.rsplit('/').next()?;
    name.split('-').find_map(|part| {
        let (generation, number) = part.strip_prefix('a')?.split_once('.')?;
        Some(Attempt { generation: Generation(generation.parse().ok()?), number: number.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::{NAME, PATIENCE, attempt_in};
    use crate::history::{Fact, Process};
    use crate::story::{Story, worker};
    use bytes::Bytes;
    use cofferdam_engine::event::Event;
    use cofferdam_engine::ids::{Attempt, CheckpointId, Generation};

    /// A run that stores `path` in the middle.
    fn with(path: &str) -> Story {
        let mut story = Story::begun();
        story.emit(0, 2);
        story.checkpoint();
        story.wrote(worker(0), path, Bytes::from_static(b"forgotten"));
        story.spare(path);
        story.finish();
        story
    }

    #[test]
    fn a_job_that_cleans_up_passes() {
        assert_eq!(Story::whole().judge_by(NAME), None);
    }

    #[test]
    fn a_cancelled_job_cleans_up_its_checkpoints_but_not_its_sinks() {
        let cancelled = |path: &str| {
            let mut story = Story::begun();
            story.checkpoint();
            story.wrote(worker(0), path, Bytes::from_static(b"forgotten"));
            story.spare(path);
            story.cancel();
            story.fact(Process::COORDINATOR, Fact::Ended(Ok("was cancelled".to_owned())));
            story.judge_by(NAME)
        };
        assert_eq!(cancelled("output/.staged/chk-9-a1.1"), None);
        let path = "checkpoints/chk-9/sums-0-a1.1";
        assert_eq!(cancelled(path).expect("a conviction").subject, path);
    }

    #[test]
    fn a_job_that_failed_for_good_cleans_up_its_checkpoints() {
        let failed = |path: Option<&str>| {
            let mut story = Story::begun();
            story.checkpoint();
            if let Some(path) = path {
                story.wrote(worker(0), path, Bytes::from_static(b"forgotten"));
                story.spare(path);
            }
            story.fail("it broke");
            story.fact(Process::COORDINATOR, Fact::Ended(Ok("the job gave up: it broke".to_owned())));
            story.judge_by(NAME)
        };
        assert_eq!(failed(None), None);
        assert_eq!(failed(Some("output/.staged/chk-9-a1.1")), None);
        let path = "checkpoints/chk-9/sums-0-a1.1";
        assert_eq!(failed(Some(path)).expect("a conviction").subject, path);
    }

    #[test]
    fn what_is_forgotten_convicts() {
        for path in ["checkpoints/chk-9/sums-0-a1.1", "checkpoints/notes", "output/.staged/chk-9-a1.1"] {
            assert_eq!(with(path).judge_by(NAME).expect("a conviction").subject, path);
        }
    }

    #[test]
    fn a_slot_below_the_floor_convicts() {
        let mut story = Story::begun();
        story.spare("checkpoints/log/0000000001");
        story.finish();
        assert_eq!(story.judge_by(NAME).expect("a conviction").subject, "checkpoints/log/0000000001");
    }

    #[test]
    fn what_nobody_could_clean_up_is_left_alone() {
        let path = "checkpoints/chk-9/sums-0-a1.1";
        let bytes = Bytes::from_static(b"late");
        // Its writer is dead, or its attempt is over.
        let mut story = Story::begun();
        story.crash(worker(0));
        story.wrote(worker(0), path, bytes.clone());
        story.spare(path);
        story.finish();
        assert_eq!(story.judge_by(NAME), None);
        let mut story = Story::begun();
        story.deploy();
        story.wrote(worker(0), path, bytes.clone());
        story.spare(path);
        story.finish();
        assert_eq!(story.judge_by(NAME), None);
        // It came behind the end, its writer did not know of it, or could not get rid of it.
        let mut story = Story::whole();
        story.wrote(worker(0), path, bytes);
        assert_eq!(story.judge_by(NAME), None);
        let mut story = with(path);
        story.fact(worker(0), Fact::OutcomeUnknown { path: path.to_owned() });
        assert_eq!(story.judge_by(NAME), None);
        let mut story = with(path);
        let cause = "storage is unavailable".to_owned();
        let failed = Event::DeleteFailed { path: path.to_owned(), cause };
        for _ in 1..PATIENCE {
            story.claim(Process::COORDINATOR, failed.clone());
        }
        assert!(story.judge_by(NAME).is_some(), "a few failures are no reason to leave it");
        story.claim(Process::COORDINATOR, failed);
        assert_eq!(story.judge_by(NAME), None);
    }

    #[test]
    fn what_a_sink_could_not_stage_convicts_once_it_has_committed_something_else() {
        let path = "output/.staged/chk-9-a1.1";
        let begun = |before: bool| {
            let mut story = Story::begun();
            story.emit(0, 2);
            story.fact(worker(0), Fact::OutcomeUnknown { path: path.to_owned() });
            let (attempt, subtask, checkpoint) = (story.attempt(), story.subtask(4), CheckpointId(9));
            let cause = format!("writing, 4 times: {path}: no reply");
            story.claim(worker(0), Event::PrepareFailed { attempt, subtask, checkpoint, cause });
            if before {
                story.wrote(worker(0), path, Bytes::from_static(b"in doubt"));
            }
            story.checkpoint();
            if !before {
                story.wrote(worker(0), path, Bytes::from_static(b"late"));
            }
            story.spare(path);
            story.finish();
            story.judge_by(NAME)
        };
        assert_eq!(begun(true).expect("a conviction").subject, path);
        assert_eq!(begun(false), None, "it came when it had been given up for the last time");
    }

    #[test]
    fn blobs_stay_while_a_manifest_resists_and_no_longer() {
        for manifest in ["checkpoints/chk-9/manifest-a1.1", "checkpoints/chk-8/manifest-a1.1"] {
            let mut story = with("checkpoints/chk-9/sums-0-a1.1");
            let (path, cause) = (manifest.to_owned(), "no reply".to_owned());
            story.claim(Process::COORDINATOR, Event::DeleteFailed { path: path.clone(), cause });
            assert_eq!(story.judge_by(NAME), None);
            story.claim(Process::COORDINATOR, Event::DeleteStarted { path });
            assert!(story.judge_by(NAME).is_some());
        }
    }

    #[test]
    fn attempts_are_found_in_names() {
        let attempt = Some(Attempt { generation: Generation(2), number: 13 });
        assert_eq!(attempt_in("checkpoints/chk-7/a-b.c-0-a2.13"), attempt);
        assert_eq!(attempt_in("output/.staging/out-0/a2.13-chk-4"), attempt);
        assert_eq!(attempt_in("output/counts/part-0"), None);
    }
}

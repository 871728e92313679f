//! No orphans: when the job is over and a coordinator has cleaned up, nothing is left that nobody points to.
//!
//! Source: order rules O5 and O8; FLINK-5063. What is stored and forgotten is found by nobody, and fills the storage.
//!
//! Once a coordinator has come to its end by itself behind the last slot, whether it wrote that slot or found it:
//! 1. below `checkpoints/` there are the slots at and above the newest floor, what those of them that complete a
//!    checkpoint name (manifest, snapshots, the listing of the input), the leader's sign of life, and nothing else;
//! 2. the staging areas of sinks, which are the hidden folders below `output/` but for those of checksums, are empty, if the job has finished: what is
//!    not committed behind any other end belongs to a checkpoint.
//!
//! The coordinator that ends last looks for what is left after the last slot, so everything stored before that slot has to go,
//! whoever stored it. Of what is stored later it can miss only
//! * what arrives once it has gone, and what it did not wait for: writes of a process that was dead or that outlived it, of a
//!   coordinator that is not itself, and writes later than a request may take;
//! * a write of which storage said that its outcome is unknown: nobody can wait for it.
//!
//! A live process waits for what it has given up on, and a worker that leaves by itself has waited for all of it: that is
//! *not* an excuse. An object is also left alone if behind the end
//! deletions in its folder failed four times and that was announced (the coordinator tries again, and once more for good), or
//! that of a manifest: those go first; a sink may have failed as often at any time.

use crate::case::{Case, Property, Violation};
use crate::history::{Fact, History, Process, What};
use crate::ledger::Ledger;
use cofferdam_engine::event::Event;
use cofferdam_engine::persist::layout::{self, CHECKSUMS};
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
    let came_to_its_end = |&at: &usize| {
        let entry = &history.entries[at];
        let coordinator = matches!(entry.by.process, Process::Coordinator(_));
        coordinator && matches!(entry.what, What::Fact(Fact::Ended(Ok(_))))
    };
    let gone = ledger.protocol.iter().rev().copied().take_while(|at| *at > end).find(came_to_its_end)?;
    let config = &case.job.config;
    // Being told takes a timeout, or two of a process that has to dial again; then a request may take as long again.
    let patience = (config.heartbeat_timeout * 2 + config.storage_timeout).as_nanos() as u64;
    let ended = history.entries[end].time;
    let (longest, drained) =
        (ended.saturating_add(patience), ended.saturating_add((config.storage_timeout / 2).as_nanos() as u64));
    let cleaning = Cleaning { end, gone, longest, drained };
    let floor = ledger.floor();
    let reachable = reachable(ledger, floor);
    let stored = ledger.objects_under("checkpoints").chain(ledger.objects_under("output"));
    let mut orphans = stored.map(|(path, _)| path).filter(|path| match layout::log_entry_number(path) {
        Some(number) => number < floor,
        None if path.starts_with("output/") => {
            finished.is_some() && path.split('/').any(|segment| segment.starts_with('.') && segment != CHECKSUMS)
        }
        None => *path != layout::LEADER && !reachable.contains(path),
    });
    orphans
        .find(|path| !cleaning.may_miss(history, ledger, path) && !resists(history, ledger, path, end))
        .map(|path| Violation::new(NAME, end, path, "is left behind by a job that is over, and nothing points to it"))
}

/// When somebody cleaned up.
struct Cleaning {
    /// The entry of the last slot.
    end: usize,
    /// The entry at which the coordinator had gone.
    gone: usize,
    /// How long it may have waited for others, in virtual time.
    longest: u64,
    /// Until then at least a worker waits for its own writes, by any clock.
    drained: u64,
}

impl Cleaning {
    /// Whether an object may have been stored behind the coordinator's last look.
    fn may_miss(&self, history: &History, ledger: &Ledger<'_>, path: &str) -> bool {
        let written = ledger.last_written(path).unwrap_or_default();
        if written <= self.end {
            return false;
        }
        let writer = history.entries[written].by;
        let cleaner = history.entries[self.gone].by;
        let unknown = |at: &usize| {
            let entry = &history.entries[*at];
            entry.by == writer && matches!(&entry.what, What::Fact(Fact::OutcomeUnknown { path: p }) if p == path)
        };
        let doubtful = || ledger.protocol.iter().any(unknown);
        let left = |at: &usize| {
            let entry = &history.entries[*at];
            (entry.by == writer && matches!(entry.what, What::Fact(Fact::Ended(Ok(_))))).then_some(*at)
        };
        // A worker that crashed, or stayed longer than the coordinator, was not waited for. One that left by itself was, and
        // should have waited for its own writes.
        let left = ledger.protocol.iter().find_map(left).filter(|left| *left < self.gone);
        let in_time = |left: usize| history.entries[left].time < self.drained;
        let waited_for = match writer.process {
            Process::Worker(_) if left.is_some_and(|left| left < written && in_time(left)) => return doubtful(),
            Process::Worker(_) => left.is_some_and(|left| written < left),
            Process::Coordinator(_) | Process::Client(_) => writer == cleaner,
        };
        written > self.gone || !waited_for || history.entries[written].time > self.longest || doubtful()
    }
}

fn reachable<'l>(ledger: &'l Ledger<'_>, floor: u64) -> BTreeSet<&'l str> {
    let retained = ledger.completed.iter().filter(|completed| completed.slot >= floor);
    let mut reachable = BTreeSet::new();
    for completed in retained {
        reachable.insert(completed.path.as_str());
        let manifest = completed.manifest.as_ref().ok();
        reachable.extend(manifest.into_iter().flat_map(|manifest| manifest.named()).map(String::as_str));
    }
    reachable
}

/// Whether it could not be deleted.
fn resists(history: &History, ledger: &Ledger<'_>, path: &str, end: usize) -> bool {
    // Pointers go first: while any manifest resists, no blob is deleted, since it may be named there.
    let manifest = |p: &str| p.rsplit_once('/').is_some_and(|(_, name)| name.starts_with("manifest-"));
    let (mut failures, mut resisting) = (0, BTreeSet::new());
    for &at in &ledger.protocol {
        match &history.entries[at].what {
            What::Claim(Event::DeleteFailed { path: p, .. }) => {
                let sinks = path.starts_with("output/") && p == path;
                failures += u32::from(sinks || (at > end && folder(p) == folder(path)));
                if manifest(p) {
                    resisting.insert(p.as_str());
                }
            }
            What::Claim(Event::DeleteStarted { path: p }) if manifest(p) => drop(resisting.remove(p.as_str())),
            _ => {}
        }
    }
    failures >= PATIENCE || !resisting.is_empty()
}

fn folder(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::{NAME, PATIENCE};
    use crate::history::{Fact, Process, What};
    use crate::story::{Story, worker};
    use bytes::Bytes;
    use cofferdam_engine::event::Event;

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

    const BLOB: &str = "checkpoints/chk-9/sums-0-a1.1";

    fn late() -> Bytes {
        Bytes::from_static(b"late")
    }

    /// A finished job whose worker stores `path` when `before` has happened, and leaves; then the coordinator leaves.
    fn stored_late(path: &str, dies: bool, doubtful: bool) -> Story {
        let mut story = Story::whole();
        let ended = |what: &What| matches!(what, What::Fact(Fact::Ended(_)));
        let left = story.drop_first(ended);
        if doubtful {
            story.fact(worker(0), Fact::OutcomeUnknown { path: path.to_owned() });
        }
        if dies {
            story.crash(worker(0));
        }
        story.wrote(worker(0), path, late());
        if !dies {
            story.fact(worker(0), Fact::Ended(Ok("done".to_owned())));
        }
        story.record(left.by.process, left.what);
        story
    }

    #[test]
    fn what_a_worker_stores_before_it_leaves_convicts() {
        for path in [BLOB, "output/.staged/chk-9-a1.1"] {
            assert_eq!(stored_late(path, false, false).judge_by(NAME).expect("a conviction").subject, path);
        }
    }

    #[test]
    fn a_worker_that_leaves_while_it_stores_something_convicts() {
        let mut story = Story::whole();
        let left = story.drop_first(|what| matches!(what, What::Fact(Fact::Ended(_))));
        story.fact(worker(0), Fact::Ended(Ok("done".to_owned())));
        story.record(left.by.process, left.what);
        story.wrote(worker(0), BLOB, late());
        assert_eq!(story.judge_by(NAME).expect("a conviction").subject, BLOB);
    }

    #[test]
    fn what_nobody_could_wait_for_is_left_alone() {
        assert_eq!(stored_late(BLOB, true, false).judge_by(NAME), None, "its writer is dead");
        assert_eq!(stored_late(BLOB, false, true).judge_by(NAME), None, "storage said that it knows of nothing");
        let mut story = Story::whole();
        story.wrote(worker(0), BLOB, late());
        assert_eq!(story.judge_by(NAME), None, "everybody has gone");
    }

    #[test]
    fn what_was_stored_before_the_end_convicts_whoever_stored_it() {
        let mut dead = Story::begun();
        dead.crash(worker(0));
        dead.wrote(worker(0), BLOB, late());
        let mut older = Story::begun();
        older.deploy();
        older.wrote(worker(0), BLOB, late());
        let mut doubtful = Story::begun();
        doubtful.fact(worker(0), Fact::OutcomeUnknown { path: BLOB.to_owned() });
        doubtful.wrote(worker(0), BLOB, late());
        for mut story in [dead, older, doubtful] {
            story.spare(BLOB);
            story.finish();
            assert_eq!(story.judge_by(NAME).expect("a conviction").subject, BLOB);
        }
    }

    #[test]
    fn what_cannot_be_deleted_is_left_alone() {
        let mut story = with(BLOB);
        let cause = "storage is unavailable".to_owned();
        let failed = Event::DeleteFailed { path: BLOB.to_owned(), cause };
        for _ in 1..PATIENCE {
            story.claim(Process::COORDINATOR, failed.clone());
        }
        assert!(story.judge_by(NAME).is_some(), "a few failures are no reason to leave it");
        story.claim(Process::COORDINATOR, failed);
        assert_eq!(story.judge_by(NAME), None);
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
}

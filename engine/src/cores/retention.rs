//! Retention: which completed checkpoints are kept, and the deletion of everything that no longer counts.
//!
//! ```text
//! durable slot (with the floor) ── subsume what fell below it ── sweep: list, then delete
//!                                                      manifests → blobs → slots below the floor
//! ```
//!
//! *Pointer first, then files* (order rule O8, FLINK-22014): the floor travels in the durable slot of the newest
//! checkpoint, and only afterwards are files deleted. A crash between the two leaves files that nobody points to,
//! and the next sweep finds them by listing; never a pointer to a file that is gone.
//!
//! A sweep deletes what belongs to a checkpoint id below `bound` that is not retained. `bound` is the pending id, or
//! the next one: everything below it has been decided. So every deletion is justified by durable slots alone (a floor,
//! or the `NewGeneration` after which older leaderships can add nothing), and it stays justified: the deletions of a
//! deposed coordinator, however late, harm nobody (FLINK-6612 needed locks for this). The same sweep removes what a
//! predecessor left, blobs uploaded after their checkpoint was aborted, and slots that a delayed create put below the
//! floor.
//!
//! Owns: when to sweep and what. Does not own: the slots themselves, and what a pending checkpoint has stored.
//! Invariants: one sweep at a time; objects that are neither slots nor below `chk-N/` are never touched.

use crate::cores::backoff::backoff;
use crate::cores::completed::Retained;
use crate::ids::CheckpointId;
use crate::persist::slot;
use std::collections::BTreeSet;
use std::time::Duration;

/// Sweeps in a row that may leave something undeleted before the next completion is waited for.
const SWEEP_TRIES: u32 = 8;

/// The folder of everything.
pub const ROOT: &str = "checkpoints";

/// What retention asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Announce that a checkpoint fell out of retention.
    Subsume {
        /// Which one.
        checkpoint: CheckpointId,
    },
    /// List everything below [`ROOT`], after `delay`; then [`Retention::on_listed`].
    List {
        /// How long to wait first.
        delay: Duration,
    },
    /// Delete these objects, in this order; then [`Retention::on_deleted`].
    Delete {
        /// Their paths.
        paths: Vec<String>,
    },
}

/// Keeps the newest completed checkpoints and deletes the rest.
#[derive(Debug)]
pub struct Retention {
    keep: usize,
    stage: Stage,
    /// Something may have become garbage since the sweep under way began.
    again: bool,
    /// Sweeps in a row that went wrong.
    tries: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Idle,
    Listing,
    Deleting,
}

/// What the store says when a sweep decides what to delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reachable {
    /// The retained checkpoints.
    pub retained: BTreeSet<CheckpointId>,
    /// The pending checkpoint, or the next id: every lower id is decided.
    pub bound: CheckpointId,
    /// The oldest slot that counts.
    pub floor: u64,
}

impl Retention {
    /// Keeps the newest `keep` completed checkpoints, at least one.
    pub fn new(keep: usize) -> Self {
        Self { keep: keep.max(1), stage: Stage::Idle, again: false, tries: 0 }
    }

    /// The floor for a `Completed` record in slot `number`, given what is retained before it.
    pub fn floor(&self, retained: &[Retained], number: u64) -> u64 {
        assert!(retained.iter().all(|kept| kept.number < number), "the new slot is above the others");
        let stay = self.keep - 1;
        let floor = match retained.len().checked_sub(stay) {
            Some(first) => retained.get(first).map_or(number, |oldest| oldest.number),
            None => retained.first().map_or(number, |oldest| oldest.number),
        };
        assert!(floor <= number, "a checkpoint retains itself");
        floor
    }

    /// A checkpoint is durable, and with it a floor that `subsumed` fell below.
    pub fn on_completed(&mut self, subsumed: &[Retained], out: &mut Vec<Effect>) {
        out.extend(subsumed.iter().map(|retained| Effect::Subsume { checkpoint: retained.checkpoint }));
        self.sweep(out);
    }

    /// Something may have become garbage: leadership was taken, or the job is finished.
    pub fn sweep(&mut self, out: &mut Vec<Effect>) {
        self.tries = 0;
        match self.stage {
            Stage::Idle => self.list(Duration::ZERO, out),
            Stage::Listing | Stage::Deleting => self.again = true,
        }
        self.validate();
    }

    /// Answers [`Effect::List`] with the paths that exist, `None` if they could not be listed.
    pub fn on_listed(&mut self, paths: Option<&[String]>, reachable: &Reachable, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::Listing, "a listing was asked for");
        match paths.map(|paths| garbage(paths, reachable)) {
            Some(paths) if paths.is_empty() => self.swept(true, out),
            Some(paths) => {
                self.stage = Stage::Deleting;
                out.push(Effect::Delete { paths });
            }
            None => self.swept(false, out),
        }
        self.validate();
    }

    /// Answers [`Effect::Delete`]: whether all of them are gone for certain.
    pub fn on_deleted(&mut self, all: bool, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::Deleting, "a deletion was asked for");
        self.swept(all, out);
        self.validate();
    }

    /// Whether no sweep is under way.
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    fn swept(&mut self, clean: bool, out: &mut Vec<Effect>) {
        self.stage = Stage::Idle;
        self.tries = if clean { 0 } else { self.tries + 1 };
        if std::mem::take(&mut self.again) || (!clean && self.tries < SWEEP_TRIES) {
            self.list(backoff(self.tries), out);
        }
    }

    fn list(&mut self, delay: Duration, out: &mut Vec<Effect>) {
        self.stage = Stage::Listing;
        out.push(Effect::List { delay });
    }

    fn validate(&self) {
        assert!(self.keep >= 1, "the newest checkpoint is always kept");
        assert!(!self.again || self.stage != Stage::Idle, "only a sweep under way can be asked to go again");
        assert!(self.tries <= SWEEP_TRIES, "a sweep that keeps failing waits for the next completion");
    }
}

/// What of `paths` no longer counts, in the order of deletion: manifests, blobs, slots.
fn garbage(paths: &[String], reachable: &Reachable) -> Vec<String> {
    assert!(
        reachable.retained.last().is_none_or(|newest| *newest < reachable.bound),
        "a retained checkpoint is decided"
    );
    let mut manifests = Vec::new();
    let mut blobs = Vec::new();
    let mut slots = Vec::new();
    for path in paths {
        match place(path) {
            Place::Slot(number) if number < reachable.floor => slots.push(path.clone()),
            Place::Checkpoint(id) if id < reachable.bound && !reachable.retained.contains(&id) => {
                if path.rsplit('/').next().is_some_and(|name| name.starts_with("manifest-")) {
                    manifests.push(path.clone());
                } else {
                    blobs.push(path.clone());
                }
            }
            Place::Slot(_) | Place::Checkpoint(_) | Place::Elsewhere => {}
        }
    }
    manifests.into_iter().chain(blobs).chain(slots).collect()
}

/// Whether `path` lies in the folder of `checkpoint`.
pub fn belongs(path: &str, checkpoint: CheckpointId) -> bool {
    place(path) == Place::Checkpoint(checkpoint)
}

#[derive(PartialEq, Eq)]
enum Place {
    Slot(u64),
    Checkpoint(CheckpointId),
    Elsewhere,
}

fn place(path: &str) -> Place {
    if let Some(number) = slot::number(path) {
        return Place::Slot(number);
    }
    let folder =
        path.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix("/chk-")).and_then(|rest| rest.split_once('/'));
    match folder.and_then(|(id, _)| id.parse().ok()) {
        Some(id) => Place::Checkpoint(CheckpointId(id)),
        None => Place::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retained(pairs: &[(u64, u64)]) -> Vec<Retained> {
        let one = |(number, id): &(u64, u64)| Retained {
            number: *number,
            checkpoint: CheckpointId(*id),
            manifest: format!("checkpoints/chk-{id}/manifest-a1.1"),
        };
        pairs.iter().map(one).collect()
    }

    fn reachable(ids: &[u64], bound: u64, floor: u64) -> Reachable {
        Reachable { retained: ids.iter().map(|id| CheckpointId(*id)).collect(), bound: CheckpointId(bound), floor }
    }

    fn paths(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn with_one_retained_the_floor_is_the_new_slot_itself() {
        assert_eq!(Retention::new(1).floor(&[], 2), 2);
        assert_eq!(Retention::new(1).floor(&retained(&[(2, 1)]), 3), 3);
    }

    #[test]
    fn with_three_retained_the_floor_is_the_slot_of_the_third_newest() {
        let keep = Retention::new(3);
        assert_eq!(keep.floor(&[], 2), 2);
        assert_eq!(keep.floor(&retained(&[(2, 1)]), 3), 2);
        assert_eq!(keep.floor(&retained(&[(2, 1), (3, 2)]), 7), 2);
        assert_eq!(keep.floor(&retained(&[(2, 1), (3, 2), (7, 4)]), 8), 3);
    }

    #[test]
    fn a_completion_subsumes_and_then_deletes_manifests_before_blobs_before_slots() {
        let mut keep = Retention::new(1);
        let mut out = Vec::new();
        keep.on_completed(&retained(&[(2, 1)]), &mut out);
        assert_eq!(
            out,
            [Effect::Subsume { checkpoint: CheckpointId(1) }, Effect::List { delay: Duration::ZERO }],
            "nothing is deleted before it has been announced and listed"
        );
        out.clear();
        let listed = paths(&[
            "checkpoints/chk-1/count-0-a1.1",
            "checkpoints/chk-1/manifest-a1.1",
            "checkpoints/chk-2/count-0-a1.1",
            "checkpoints/chk-2/manifest-a1.1",
            "checkpoints/chk-3/count-0-a1.1",
            "checkpoints/log/0000000001",
            "checkpoints/log/0000000002",
            "checkpoints/log/0000000003",
        ]);
        keep.on_listed(Some(&listed), &reachable(&[2], 3, 3), &mut out);
        let expected = paths(&[
            "checkpoints/chk-1/manifest-a1.1",
            "checkpoints/chk-1/count-0-a1.1",
            "checkpoints/log/0000000001",
            "checkpoints/log/0000000002",
        ]);
        assert_eq!(out, [Effect::Delete { paths: expected }]);
        out.clear();
        keep.on_deleted(true, &mut out);
        assert_eq!(out, []);
        assert!(keep.is_idle());
    }

    #[test]
    fn a_new_leader_deletes_what_older_leaderships_left_but_not_what_is_retained_or_its_own() {
        let listed = paths(&[
            "checkpoints/chk-4/count-0-a1.1",
            "checkpoints/chk-5/count-0-a1.1",
            "checkpoints/chk-5/manifest-a1.1",
            "checkpoints/chk-6/count-0-a1.2",
            "checkpoints/chk-101/count-0-a2.1",
            "checkpoints/chk-205/count-0-a3.1",
        ]);
        let expected = paths(&["checkpoints/chk-4/count-0-a1.1", "checkpoints/chk-6/count-0-a1.2"]);
        assert_eq!(garbage(&listed, &reachable(&[5], 101, 1)), expected);
    }

    #[test]
    fn what_is_not_ours_is_never_deleted() {
        let listed = paths(&[
            "checkpoints/chk-1",
            "checkpoints/chk-x/manifest-a1.1",
            "checkpoints/log/notes",
            "checkpoints/readme",
            "checkpoints/savepoint-1/manifest",
            "input/chk-1/part",
        ]);
        assert_eq!(garbage(&listed, &reachable(&[], 100, 100)), Vec::<String>::new());
    }

    #[test]
    fn a_completion_during_a_sweep_is_followed_by_another_sweep() {
        let mut keep = Retention::new(1);
        let mut out = Vec::new();
        keep.sweep(&mut out);
        keep.on_completed(&[], &mut out);
        assert_eq!(out, [Effect::List { delay: Duration::ZERO }], "one sweep at a time");
        out.clear();
        keep.on_listed(Some(&[]), &reachable(&[], 1, 1), &mut out);
        assert_eq!(out, [Effect::List { delay: Duration::ZERO }]);
    }

    #[test]
    fn a_failed_deletion_is_found_again_by_listing_a_bounded_number_of_times() {
        let mut keep = Retention::new(1);
        let mut out = Vec::new();
        keep.sweep(&mut out);
        let mut listings = 0;
        while let Some(effect) = out.pop() {
            match effect {
                Effect::List { .. } => {
                    listings += 1;
                    let listed = paths(&["checkpoints/chk-1/count-0-a1.1"]);
                    keep.on_listed(Some(&listed), &reachable(&[], 2, 1), &mut out);
                }
                Effect::Delete { .. } => keep.on_deleted(false, &mut out),
                Effect::Subsume { .. } => panic!("nothing was subsumed"),
            }
        }
        assert_eq!(listings, SWEEP_TRIES);
        assert!(keep.is_idle());
    }
}

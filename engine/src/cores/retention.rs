//! Retention: which completed checkpoints are kept, and the deletion of everything that no longer counts.
//!
//! ```text
//! durable slot (with the floor) ── subsume what fell below it ── sweep
//! sweep: know the retained manifests → find the lowest slot → list → delete, several checkpoints at a time → free slots
//!                                                      manifests, then blobs                     ascending
//! ```
//!
//! *Pointer first, then files* (order rule O8, FLINK-22014): the floor travels in the durable slot of the newest
//! checkpoint, or of the end of the job, and only afterwards are files deleted: first every manifest, because several
//! may name the same blob, then blobs. A crash in between leaves files that no slot and no manifest names, and the next
//! sweep finds them by listing; never a pointer to a file that is gone.
//!
//! A sweep deletes what lies in the folder of a checkpoint id below `bound` that is not retained, unless a retained
//! manifest *names* it: the last snapshot of a finished subtask is carried forward from manifest to manifest. So
//! nothing is deleted before the manifests of all retained checkpoints are known. `bound` is the oldest pending id, or
//! the next one: everything below it has been decided. So every deletion is justified by durable slots alone (a floor,
//! or the `NewGeneration` after which older leaderships can add nothing), and it stays justified: the deletions of a
//! deposed coordinator, however late, do no harm (FLINK-6612 needed locks for this). The same sweep removes what a
//! predecessor left and blobs uploaded after their checkpoint was aborted. A listing may be stale: what is missed is
//! found next time, and for the last time by a sweep whose listing is younger than everything that was stored before
//! the workers left.
//!
//! Slots are freed strictly one after the other, the lowest first, each certain before the next is asked for: a reader
//! that finds a number free knows that all lower ones are. So a new leader finds the lowest slot without a listing.
//!
//! Owns: when to sweep and what. Does not own: the slots themselves, and what a pending checkpoint has stored.
//! Invariants: one sweep at a time, at most `PARALLEL` deletions; objects that are neither slots nor below `chk-N/` are
//! never touched; a sweep that cannot do all is repeated, a bounded number of times, and again after the next completion.

use crate::cores::backoff::backoff;
use crate::cores::completed::Retained;
use crate::door::LISTING_AGE_MAX;
use crate::ids::CheckpointId;
use crate::persist::layout;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Sweeps in a row that may leave something undeleted before the next completion is waited for.
const SWEEP_TRIES: u32 = 8;

/// Checkpoints whose files are being deleted at a time.
const PARALLEL: usize = 4;

/// What retention asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Announce that a checkpoint fell out of retention.
    Subsume {
        /// Which one.
        checkpoint: CheckpointId,
    },
    /// Read the manifest of a retained checkpoint, after `delay`; then [`Retention::on_manifest_read`].
    ReadManifest {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Its path.
        path: String,
        /// How long to wait first.
        delay: Duration,
    },
    /// See whether a slot exists, after `delay`; then [`Retention::on_probed`].
    Probe {
        /// Which slot.
        number: u64,
        /// How long to wait first.
        delay: Duration,
    },
    /// List everything below [`layout::CHECKPOINTS`], after `delay`; then [`Retention::on_listed`].
    List {
        /// How long to wait first.
        delay: Duration,
    },
    /// Delete manifests or blobs of a checkpoint, no further than the first failure; then [`Retention::on_deleted`].
    Delete {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Their paths.
        paths: Vec<String>,
    },
    /// Delete these slots, in this order and no further than the first failure; then [`Retention::on_freed`].
    Free {
        /// Their numbers, ascending.
        slots: Vec<u64>,
    },
}

/// Keeps the newest completed checkpoints and deletes the rest.
#[derive(Debug)]
pub struct Retention {
    keep: usize,
    stage: Stage,
    /// The retained checkpoints.
    retained: BTreeMap<CheckpointId, Kept>,
    /// What the manifests of completing checkpoints name.
    completing: BTreeMap<CheckpointId, Kept>,
    /// What is known to be left of checkpoints that fell out of retention.
    fallen: BTreeMap<CheckpointId, BTreeSet<String>>,
    /// Every lower slot is free, once that is known.
    freed: Option<u64>,
    /// The oldest slot that counts.
    floor: u64,
    /// Something may have become garbage since the sweep under way began.
    again: bool,
    /// Sweeps in a row that went wrong.
    tries: u32,
}

/// A retained checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Kept {
    /// Path of its manifest.
    manifest: String,
    /// What the manifest names, its own path included; `None` until what an earlier leadership wrote is read.
    named: Option<BTreeSet<String>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    Idle,
    /// The manifest of a retained checkpoint is being read.
    Reading(CheckpointId),
    /// Looking for the lowest slot.
    Probing(u64),
    Listing,
    Deleting(Deleting),
    /// Slots below this one are being deleted.
    Freeing {
        below: u64,
        clean: bool,
    },
}

/// Objects by checkpoint.
type Groups = VecDeque<(CheckpointId, Vec<String>)>;

#[derive(Clone, PartialEq, Eq, Debug)]
struct Deleting {
    waiting: Groups,
    /// What comes after the manifests, while it is their turn.
    blobs: Option<Groups>,
    running: BTreeSet<CheckpointId>,
    slots: Vec<u64>,
    clean: bool,
}

/// What the cores say when a sweep decides what to delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reachable {
    /// The oldest pending checkpoint, or the next id: every lower id is decided.
    pub bound: CheckpointId,
    /// What pending checkpoints carry forward from older ones.
    pub carried: BTreeSet<String>,
}

impl Retention {
    /// Keeps the newest `keep` completed checkpoints, at least one. The log retains `retained`, from slot `floor` on.
    pub fn new(keep: usize, retained: &[Retained], floor: u64) -> Self {
        let unread = |kept: &Retained| (kept.checkpoint, Kept { manifest: kept.manifest.clone(), named: None });
        Self {
            keep: keep.max(1),
            stage: Stage::Idle,
            retained: retained.iter().map(unread).collect(),
            completing: BTreeMap::new(),
            fallen: BTreeMap::new(),
            freed: (floor == 1).then_some(1),
            floor,
            again: false,
            tries: 0,
        }
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

    /// The manifest of a checkpoint is about to be written to `path`; it names these blobs.
    pub fn on_described(&mut self, checkpoint: CheckpointId, path: &str, blobs: impl Iterator<Item = String>) {
        let named = blobs.chain([path.to_owned()]).collect();
        self.completing.insert(checkpoint, Kept { manifest: path.to_owned(), named: Some(named) });
        self.validate();
    }

    /// A checkpoint is durable, and with it a floor that `subsumed` fell below.
    pub fn on_completed(&mut self, checkpoint: CheckpointId, subsumed: &[Retained], floor: u64, out: &mut Vec<Effect>) {
        let kept = self.completing.remove(&checkpoint).expect("its manifest was described before it was written");
        self.retained.insert(checkpoint, kept);
        assert!(subsumed.iter().all(|fallen| fallen.checkpoint < checkpoint), "a checkpoint subsumes older ones");
        self.on_fallen(subsumed, floor, out);
    }

    /// A durable slot raised the floor, and `fallen` are below it.
    pub fn on_fallen(&mut self, fallen: &[Retained], floor: u64, out: &mut Vec<Effect>) {
        assert!(floor >= self.floor, "the floor never sinks");
        self.floor = floor;
        for Retained { checkpoint, manifest, .. } in fallen {
            out.push(Effect::Subsume { checkpoint: *checkpoint });
            let kept = self.retained.remove(checkpoint).expect("what falls was retained");
            assert_eq!(kept.manifest, *manifest, "it was known by its manifest");
            let named = kept.named.unwrap_or_else(|| BTreeSet::from([kept.manifest]));
            self.fallen.insert(*checkpoint, named);
        }
        self.sweep(out);
    }

    /// Something may have become garbage.
    pub fn sweep(&mut self, out: &mut Vec<Effect>) {
        self.tries = 0;
        match self.stage {
            Stage::Idle => self.begin(Duration::ZERO, out),
            Stage::Reading(_) | Stage::Probing(_) | Stage::Listing | Stage::Deleting(_) | Stage::Freeing { .. } => {
                self.again = true;
            }
        }
        self.validate();
    }

    /// Every process that stored something has left: finds what is there, however old listings may be.
    pub fn sweep_for_good(&mut self, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::Idle, "what can be deleted now is deleted first");
        self.tries = 0;
        self.begin(LISTING_AGE_MAX, out);
        self.validate();
    }

    /// Answers [`Effect::ReadManifest`] with the blobs that it names, `None` if it could not be read.
    pub fn on_manifest_read(
        &mut self,
        checkpoint: CheckpointId,
        blobs: Option<BTreeSet<String>>,
        out: &mut Vec<Effect>,
    ) {
        assert_eq!(self.stage, Stage::Reading(checkpoint), "its manifest was asked for");
        match (self.retained.get_mut(&checkpoint), blobs) {
            // It fell while it was being read: the sweep that follows finds what is left of it by listing.
            (None, _) => self.begin(Duration::ZERO, out),
            (Some(kept), Some(mut named)) => {
                named.insert(kept.manifest.clone());
                kept.named = Some(named);
                self.begin(Duration::ZERO, out);
            }
            (Some(_), None) => self.swept(false, out),
        }
        self.validate();
    }

    /// Answers [`Effect::Probe`], `None` if storage did not say.
    pub fn on_probed(&mut self, number: u64, exists: Option<bool>, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::Probing(number), "this slot was asked for");
        match exists {
            Some(true) if number > 1 => self.probe(number - 1, Duration::ZERO, out),
            Some(exists) => {
                self.freed = Some(if exists { number } else { number + 1 });
                self.begin(Duration::ZERO, out);
            }
            None => self.swept(false, out),
        }
        self.validate();
    }

    /// Answers [`Effect::List`] with the paths that exist, `None` if they could not be listed.
    pub fn on_listed(&mut self, paths: Option<&[String]>, reachable: &Reachable, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::Listing, "a listing was asked for");
        let newest = self.retained.last_key_value();
        assert!(newest.is_none_or(|(newest, _)| *newest < reachable.bound), "a retained checkpoint is decided");
        let Some(paths) = paths else {
            self.swept(false, out);
            return self.validate();
        };
        self.completing.retain(|checkpoint, _| *checkpoint >= reachable.bound);
        let slots = self.free_slots(paths);
        let (waiting, blobs) = self.garbage(paths, reachable);
        let mut deleting = Deleting { waiting, blobs: Some(blobs), running: BTreeSet::new(), slots, clean: true };
        deleting.start(out);
        self.stage = Stage::Deleting(deleting);
        self.free_if_deleted(out);
        self.validate();
    }

    /// Answers [`Effect::Delete`]: whether all of it is gone for certain.
    pub fn on_deleted(&mut self, checkpoint: CheckpointId, all: bool, out: &mut Vec<Effect>) {
        let Stage::Deleting(deleting) = &mut self.stage else { panic!("no deletion was asked for") };
        assert!(deleting.running.remove(&checkpoint), "its deletion was asked for");
        deleting.clean &= all;
        if all && deleting.blobs.is_none() {
            self.fallen.remove(&checkpoint);
        }
        deleting.start(out);
        self.free_if_deleted(out);
        self.validate();
    }

    /// Answers [`Effect::Free`]: whether all of them are gone for certain.
    pub fn on_freed(&mut self, all: bool, out: &mut Vec<Effect>) {
        let Stage::Freeing { below, clean } = self.stage else { panic!("no slots were being freed") };
        if all {
            self.freed = Some(below);
        }
        self.swept(clean && all, out);
        self.validate();
    }

    /// The oldest slot that counts, as far as retention knows.
    pub fn known_floor(&self) -> u64 {
        self.floor
    }

    /// Whether no sweep is under way.
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// Checkpoints that fell out of retention and are still being deleted. What a sweep could not delete at all no
    /// longer counts: it is left to the next sweep, and holds up no checkpoint.
    pub fn backlog(&self) -> usize {
        match self.stage {
            Stage::Idle => 0,
            Stage::Reading(_) | Stage::Probing(_) | Stage::Listing | Stage::Deleting(_) | Stage::Freeing { .. } => {
                self.fallen.len()
            }
        }
    }

    /// Begins a sweep, or goes on with it: what must be known before anything is listed comes first.
    fn begin(&mut self, delay: Duration, out: &mut Vec<Effect>) {
        let unread = self.retained.iter().find(|(_, kept)| kept.named.is_none());
        if let Some((&checkpoint, kept)) = unread {
            let path = kept.manifest.clone();
            self.stage = Stage::Reading(checkpoint);
            out.push(Effect::ReadManifest { checkpoint, path, delay });
        } else if self.freed.is_none() {
            self.probe(self.floor - 1, delay, out);
        } else {
            self.stage = Stage::Listing;
            out.push(Effect::List { delay });
        }
    }

    fn probe(&mut self, number: u64, delay: Duration, out: &mut Vec<Effect>) {
        self.stage = Stage::Probing(number);
        out.push(Effect::Probe { number, delay });
    }

    /// What no longer counts, by checkpoint: manifests, and blobs.
    fn garbage(&self, paths: &[String], reachable: &Reachable) -> (Groups, Groups) {
        let listed = paths.iter().filter_map(|path| match place(path) {
            Place::Checkpoint(id) => Some((id, path)),
            Place::Slot(_) | Place::Elsewhere => None,
        });
        // A listing may miss what we know.
        let known = self.fallen.values().flatten().filter_map(|path| match place(path) {
            Place::Checkpoint(id) => Some((id, path)),
            Place::Slot(_) | Place::Elsewhere => None,
        });
        let counts = |id: CheckpointId, path: &String| {
            id >= reachable.bound || self.retained.contains_key(&id) || self.is_named(path, reachable)
        };
        let mut manifests: BTreeMap<CheckpointId, BTreeSet<&String>> = BTreeMap::new();
        let mut blobs: BTreeMap<CheckpointId, BTreeSet<&String>> =
            self.fallen.keys().map(|checkpoint| (*checkpoint, BTreeSet::new())).collect();
        for (id, path) in listed.chain(known).filter(|(id, path)| !counts(*id, path)) {
            let group = if layout::is_manifest(path) { &mut manifests } else { &mut blobs };
            group.entry(id).or_default().insert(path);
        }
        let groups = |of: BTreeMap<CheckpointId, BTreeSet<&String>>| {
            of.into_iter().map(|(id, paths)| (id, paths.into_iter().cloned().collect())).collect()
        };
        (groups(manifests), groups(blobs))
    }

    fn is_named(&self, path: &String, reachable: &Reachable) -> bool {
        let names = |kept: &Kept| {
            let named = kept.named.as_ref().expect("every manifest that counts is known before anything is listed");
            named.contains(path)
        };
        self.retained.values().chain(self.completing.values()).any(names) || reachable.carried.contains(path)
    }

    /// The slots to delete, ascending: those that a delayed create put back, and everything up to the floor.
    fn free_slots(&self, paths: &[String]) -> Vec<u64> {
        let freed = self.freed.expect("the lowest slot is known before anything is listed");
        assert!(freed <= self.floor, "what counts is not freed");
        let back = paths.iter().filter_map(|path| layout::log_entry_number(path)).filter(|number| *number < freed);
        let slots: Vec<u64> = back.chain(freed..self.floor).collect::<BTreeSet<_>>().into_iter().collect();
        assert!(slots.iter().all(|number| *number < self.floor), "what counts is not freed");
        slots
    }

    fn free_if_deleted(&mut self, out: &mut Vec<Effect>) {
        let Stage::Deleting(deleting) = &mut self.stage else { return };
        if !deleting.waiting.is_empty() || !deleting.running.is_empty() {
            return;
        }
        let (slots, clean) = (std::mem::take(&mut deleting.slots), deleting.clean);
        if slots.is_empty() {
            return self.swept(clean, out);
        }
        // The floor may have risen meanwhile.
        let below = slots.last().map_or(0, |last| last + 1).max(self.freed.unwrap_or(1));
        self.stage = Stage::Freeing { below, clean };
        out.push(Effect::Free { slots });
    }

    fn swept(&mut self, clean: bool, out: &mut Vec<Effect>) {
        self.stage = Stage::Idle;
        self.tries = if clean { 0 } else { self.tries + 1 };
        if std::mem::take(&mut self.again) || (!clean && self.tries < SWEEP_TRIES) {
            self.begin(backoff(self.tries), out);
        }
    }

    fn validate(&self) {
        assert!(self.keep >= 1, "the newest checkpoint is always kept");
        assert!(!self.again || self.stage != Stage::Idle, "only a sweep under way can be asked to go again");
        assert!(self.tries <= SWEEP_TRIES, "a sweep that keeps failing waits for the next completion");
        assert!(self.freed.is_none_or(|freed| freed <= self.floor), "what counts is not freed");
        assert!(self.fallen.keys().all(|id| !self.retained.contains_key(id)), "retained or fallen, not both");
        let own = |(id, kept): (&CheckpointId, &Kept)| {
            let names_itself = kept.named.as_ref().is_none_or(|named| named.contains(&kept.manifest));
            names_itself && layout::is_manifest(&kept.manifest) && belongs(&kept.manifest, *id)
        };
        assert!(self.retained.iter().all(own), "what is retained is known by its own manifest");
        if let Stage::Deleting(deleting) = &self.stage {
            assert!(deleting.running.len() <= PARALLEL, "deletions are bounded in parallelism");
            assert!(!deleting.running.is_empty(), "a sweep that waits for nothing goes on");
            let deleted = deleting.waiting.iter().map(|(id, _)| id).chain(&deleting.running);
            let kept = deleted.filter(|id| self.retained.contains_key(id)).count();
            assert_eq!(kept, 0, "what is retained is not deleted");
        }
    }
}

impl Deleting {
    fn start(&mut self, out: &mut Vec<Effect>) {
        if self.waiting.is_empty() && self.running.is_empty() {
            // What a manifest that is still there may name stays for the next sweep.
            self.waiting = self.blobs.take().filter(|_| self.clean).unwrap_or_default();
        }
        while self.running.len() < PARALLEL
            && let Some((checkpoint, paths)) = self.waiting.pop_front()
        {
            self.running.insert(checkpoint);
            out.push(Effect::Delete { checkpoint, paths });
        }
    }
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
    if let Some(number) = layout::log_entry_number(path) {
        return Place::Slot(number);
    }
    layout::checkpoint_of(path).map_or(Place::Elsewhere, Place::Checkpoint)
}

#[cfg(test)]
mod tests;

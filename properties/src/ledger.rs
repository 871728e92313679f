//! What the world saw, indexed once for all judges: which object had which bytes at which entry, and the slots of the
//! completed store in the order in which they became durable.
//!
//! Built from facts alone, with two exceptions: [`Ledger::protocol`] lists every entry that is not about elements, so
//! that judges of the protocol need not walk through the records, and [`Ledger::aborted`] what coordinators gave up.
//!
//! Invariant: everything is addressed by the index of an entry; "at `i`" means *just before entry `i` happened*.

use crate::history::{Fact, History, Process, What};
use bytes::Bytes;
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, CheckpointId, Generation};
use cofferdam_engine::messages::SnapshotHandle;
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::listing::Listing;
use cofferdam_engine::persist::manifest::Manifest;
use cofferdam_engine::persist::mark;
use cofferdam_engine::persist::reader;
use cofferdam_engine::persist::slot::{Slot, SlotRecord};
use cofferdam_engine::reason::Ended;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Everything the world saw.
pub struct Ledger<'a> {
    // Of the standard library: a map whose destructor may look at its keys would keep the history borrowed.
    objects: BTreeMap<&'a str, Vec<Version<'a>>>,
    /// The input: what each object has been, from which entry on; `None` from before the run on.
    inputs: BTreeMap<&'a str, Vec<InputState<'a>>>,
    /// Slots in the order in which they were written.
    pub slots: Vec<SlotFact>,
    /// Completed checkpoints in the order in which they became durable.
    pub completed: Vec<Completed>,
    /// Checkpoints that a coordinator says it has aborted, with the entry at which it does.
    pub aborted: Vec<(usize, CheckpointId)>,
    /// Whether anybody was ever told an unknown outcome.
    pub has_doubts: bool,
    /// Whether an abort ever reached a subtask, or a marker of one was passed on.
    pub has_aborts: bool,
    /// Every entry but those about elements, in order.
    pub protocol: Vec<usize>,
    /// Those of them that a coordinator claims.
    pub coordination: Vec<usize>,
    /// Those of them that the world saw.
    pub facts: Vec<usize>,
}

/// An object of the input between two changes.
#[derive(Clone, Copy)]
pub struct InputState<'a> {
    /// Since this entry; `None` if it was so before the run.
    pub since: Option<usize>,
    /// Its content, if it exists.
    pub bytes: Option<&'a Bytes>,
    /// Whether it is another file than before.
    pub replaced: bool,
}

/// An object between two changes.
pub struct Version<'a> {
    /// Its bytes, `None` once it was deleted.
    pub bytes: Option<&'a Bytes>,
    /// Since this entry; `None` if it was there before the run.
    pub since: Option<usize>,
    /// The snapshot handle it was first checked against, and what came of it.
    checked: OnceCell<(SnapshotHandle, Result<()>)>,
}

impl<'a> Version<'a> {
    fn new(bytes: Option<&'a Bytes>, since: Option<usize>) -> Self {
        Self { bytes, since, checked: OnceCell::new() }
    }

    /// Whether it is a snapshot that agrees with `handle`, by the offline reader. Each version of an object is read
    /// once: what it holds does not change.
    fn check(&self, handle: &SnapshotHandle) -> Result<()> {
        let read = || {
            let fetch = |_: &str| Ok(self.bytes.cloned());
            (handle.clone(), reader::read_snapshot(&fetch, handle).map(|_| ()))
        };
        let (checked, verdict) = self.checked.get_or_init(read);
        let same = (checked.bytes, checked.checksum, checked.digest) == (handle.bytes, handle.checksum, handle.digest);
        if same { verdict.clone() } else { read().1 }
    }
}

/// A slot that became durable.
pub struct SlotFact {
    /// The entry.
    pub at: usize,
    /// Its number.
    pub number: u64,
    /// What it says, unless it cannot be read.
    pub slot: Result<Slot>,
}

/// A checkpoint that became durable.
pub struct Completed {
    /// The entry of its slot.
    pub at: usize,
    /// The number of its slot.
    pub slot: u64,
    /// The leadership that wrote the slot.
    pub generation: Generation,
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// Path of its manifest.
    pub path: String,
    /// The oldest slot that still counts.
    pub floor: u64,
    /// Its manifest as it was then.
    pub manifest: Result<Manifest>,
}

impl<'a> Ledger<'a> {
    /// The ledger of a history.
    pub fn of(history: &'a History) -> Self {
        let mut ledger = Self {
            objects: BTreeMap::new(),
            inputs: BTreeMap::new(),
            slots: Vec::new(),
            completed: Vec::new(),
            aborted: Vec::new(),
            has_doubts: false,
            has_aborts: false,
            protocol: Vec::new(),
            coordination: Vec::new(),
            facts: Vec::new(),
        };
        for (path, bytes) in &history.initial {
            ledger.objects.insert(path, vec![Version::new(Some(bytes), None)]);
            ledger.inputs.insert(path, vec![InputState { since: None, bytes: Some(bytes), replaced: true }]);
        }
        for (at, entry) in history.entries.iter().enumerate() {
            match &entry.what {
                What::Claim(event) if is_about_elements(event) => continue,
                What::Claim(Event::CheckpointAborted { checkpoint, .. }) => ledger.aborted.push((at, *checkpoint)),
                What::Claim(Event::AbortReceived { .. } | Event::CancelEmitted { .. }) => ledger.has_aborts = true,
                What::Claim(_) => {}
                What::Fact(Fact::Written { path, bytes }) => ledger.on_written(at, path, bytes),
                What::Fact(Fact::Deleted { path }) => {
                    ledger.objects.entry(path).or_default().push(Version::new(None, Some(at)));
                }
                What::Fact(Fact::InputChanged { path, bytes, replaced }) => {
                    let state = InputState { since: Some(at), bytes: bytes.as_ref(), replaced: *replaced };
                    ledger.inputs.entry(path).or_default().push(state);
                }
                What::Fact(Fact::OutcomeUnknown { .. }) => ledger.has_doubts = true,
                What::Fact(_) => {}
            }
            ledger.protocol.push(at);
            match (&entry.what, entry.by.process) {
                (What::Fact(_), _) => ledger.facts.push(at),
                (What::Claim(_), Process::Coordinator(_)) => ledger.coordination.push(at),
                (What::Claim(_), _) => {}
            }
        }
        ledger
    }

    fn on_written(&mut self, at: usize, path: &'a str, bytes: &'a Bytes) {
        self.objects.entry(path).or_default().push(Version::new(Some(bytes), Some(at)));
        let Some(number) = layout::log_entry_number(path) else { return };
        if self.floor_at(at).is_some_and(|floor| number < floor) {
            // A create whose first try was taken for lost can land when its slot has long been deleted. Readers ignore
            // slots below the floor, so it says nothing.
            return;
        }
        let slot = Slot::decode(path, bytes);
        if let Ok(Slot { generation, record: SlotRecord::Completed { checkpoint, manifest, floor }, .. }) = &slot {
            let (generation, checkpoint, floor, path) = (*generation, *checkpoint, *floor, manifest.clone());
            let manifest = self.manifest(&path, at);
            self.completed.push(Completed { at, slot: number, generation, checkpoint, path, floor, manifest });
        }
        self.slots.push(SlotFact { at, number, slot });
    }

    fn manifest(&self, path: &str, at: usize) -> Result<Manifest> {
        reader::read_manifest(&|path| Ok(self.object_at(path, at).cloned()), path)
    }

    /// Everything that an object of the input had been before `at`, oldest first.
    pub fn input_before(&self, path: &str, at: usize) -> impl Iterator<Item = InputState<'a>> {
        let known = self.inputs.get(path).map_or(&[][..], Vec::as_slice);
        // One that appeared was not there before.
        let appeared = known.first().is_none_or(|first| first.since.is_some());
        let absent = appeared.then_some(InputState { since: None, bytes: None, replaced: true });
        absent.into_iter().chain(known.iter().copied().take_while(move |state| state.since < Some(at)))
    }

    /// Every path at which there ever was an object of the input.
    pub fn input_paths(&self) -> impl Iterator<Item = &'a str> {
        self.inputs.keys().copied()
    }

    /// The listing of the input that was stored at `path` first.
    pub fn listing(&self, path: &str) -> Option<(&'a Bytes, Result<Listing>)> {
        let bytes = self.written_before(path, usize::MAX).next()?;
        Some((bytes, Listing::decode(path, bytes)))
    }

    /// The bytes of an object at `at`.
    pub fn object_at(&self, path: &str, at: usize) -> Option<&'a Bytes> {
        self.version_at(path, at)?.bytes
    }

    fn version_at(&self, path: &str, at: usize) -> Option<&Version<'a>> {
        let versions = self.objects.get(path)?;
        let behind = versions.partition_point(|version| version.since < Some(at));
        versions[..behind].last()
    }

    /// Every version of an object that was written before `at`.
    pub fn written_before(&self, path: &str, at: usize) -> impl Iterator<Item = &'a Bytes> {
        let versions = self.objects.get(path).map_or(&[][..], Vec::as_slice);
        versions.iter().take_while(move |version| version.since < Some(at)).filter_map(|version| version.bytes)
    }

    /// Every object under `prefix/` at the end, sorted by path.
    pub fn objects_under(&self, prefix: &str) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
        let prefix = format!("{}/", prefix.trim_end_matches('/'));
        let from = self.objects.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        let under = from.take_while(move |(path, _)| path.starts_with(&prefix));
        under.filter_map(|(path, versions)| Some((*path, versions.last().expect("an object has a version").bytes?)))
    }

    /// The oldest slot that counted at `at`, if any slot said so.
    pub fn floor_at(&self, at: usize) -> Option<u64> {
        let before = self.slots.iter().take_while(|fact| fact.at < at).filter_map(|fact| fact.slot.as_ref().ok());
        before.filter_map(|slot| slot.record.floor()).max()
    }

    /// Every object that was written more than once, and the entries at which it was.
    pub fn rewritten(&self) -> impl Iterator<Item = (&'a str, Vec<usize>)> {
        let several = self.objects.iter().filter(|(_, versions)| versions.len() > 1);
        several.filter_map(|(path, versions)| {
            let written = versions.iter().filter(|version| version.bytes.is_some());
            let written: Vec<usize> = written.filter_map(|version| version.since).collect();
            (written.len() > 1).then_some((*path, written))
        })
    }

    /// The entry at which an object got the bytes it has at the end; `None` if it has had them from before the run.
    pub fn last_written(&self, path: &str) -> Option<usize> {
        self.objects.get(path)?.last()?.since
    }

    /// The oldest slot that counts at the end.
    pub fn floor(&self) -> u64 {
        self.floor_at(usize::MAX).unwrap_or(1)
    }

    /// The newest checkpoint that was durable at `at`, if it still counted.
    pub fn latest_at(&self, at: usize) -> Option<&Completed> {
        let floor = self.floor_at(at);
        let durable = self.completed.iter().take_while(|completed| completed.at < at);
        durable.filter(|completed| Some(completed.slot) >= floor).max_by_key(|completed| completed.slot)
    }

    /// A checkpoint that was durable at `at`.
    pub fn completed_at(&self, checkpoint: CheckpointId, at: usize) -> Option<&Completed> {
        let mut before = self.completed.iter().take_while(|completed| completed.at < at);
        before.find(|completed| completed.checkpoint == checkpoint)
    }

    /// The digest of a subtask's snapshot in a completed checkpoint, as the offline reader sees it at `at`.
    pub fn stored_digest(&self, completed: &Completed, (uid, index): (&str, u16), at: usize) -> Result<u64> {
        let manifest = completed.manifest.as_ref().map_err(Clone::clone)?;
        let Some(handle) = handle(manifest, (uid, index)) else {
            return Err(Error::corrupt(format!("{} names no snapshot of {uid}[{index}]", completed.path)));
        };
        self.check_snapshot(handle, at)?;
        Ok(handle.digest)
    }

    /// Whether at `at` a checkpoint was durable that holds the end of a subtask's input.
    pub fn end_is_durable(&self, subtask: (&str, u16), at: usize) -> bool {
        let mut before = self.completed.iter().take_while(|completed| completed.at < at);
        before.any(|completed| {
            let manifest = completed.manifest.as_ref().ok();
            manifest.and_then(|manifest| handle(manifest, subtask)).is_some_and(|handle| handle.ended)
        })
    }

    /// Whether at `at` a snapshot can be read back and is what its handle says.
    pub fn check_snapshot(&self, handle: &SnapshotHandle, at: usize) -> Result<()> {
        match self.version_at(&handle.path, at) {
            Some(version) => version.check(handle),
            None => Err(Error::corrupt(format!("{} does not exist", handle.path))),
        }
    }

    /// Whether a blob whose state has this digest was ever stored at `path` before `at`.
    pub fn was_stored(&self, path: &str, digest: u64, at: usize) -> bool {
        let versions = self.objects.get(path).map_or(&[][..], Vec::as_slice);
        versions.iter().take_while(|version| version.since < Some(at)).any(|version| {
            let Some(bytes) = version.bytes else { return false };
            let checksum = crc32c::crc32c(bytes);
            let handle =
                SnapshotHandle { path: path.to_owned(), bytes: bytes.len() as u64, checksum, digest, ended: false };
            version.check(&handle).is_ok()
        })
    }

    /// Whether a manifest of `checkpoint` was ever stored at `path` before `at`.
    pub fn manifest_was_stored(&self, checkpoint: CheckpointId, path: &str, at: usize) -> bool {
        let versions = self.objects.get(path).map_or(&[][..], Vec::as_slice);
        // Nearly all are written once, and were read when their slot became durable.
        let mut written = versions.iter().filter(|version| version.bytes.is_some());
        if let (Some(only), None) = (written.next(), written.next())
            && let Some(completed) = self.completed.iter().find(|completed| completed.path == path)
        {
            let is_right = completed.manifest.as_ref().is_ok_and(|manifest| manifest.checkpoint == checkpoint);
            return only.since < Some(at) && is_right;
        }
        let mut read = self.written_before(path, at).map(|bytes| Manifest::decode(path, bytes));
        read.any(|manifest| manifest.is_ok_and(|manifest| manifest.checkpoint == checkpoint))
    }

    /// A slot that was durable at `at` and says what `says` wants to hear.
    pub fn slot_says(&self, at: usize, number: u64, says: impl Fn(&Slot) -> bool) -> bool {
        let mut before = self.slots.iter().take_while(|fact| fact.at < at).filter(|fact| fact.number == number);
        before.any(|fact| fact.slot.as_ref().is_ok_and(&says))
    }

    /// The newest generation whose leadership was durable at `at`.
    pub fn generation_at(&self, at: usize) -> Option<Generation> {
        let before = self.slots.iter().take_while(|fact| fact.at < at).filter_map(|fact| fact.slot.as_ref().ok());
        before.filter(|slot| slot.record == SlotRecord::NewGeneration).map(|slot| slot.generation).max()
    }

    /// The entry at which it became durable that the job has finished.
    pub fn finished(&self) -> Option<usize> {
        self.ended(|how| matches!(how, Ended::Finished { .. }))
    }

    /// The entry at which it became durable that the job was cancelled.
    pub fn cancelled(&self) -> Option<usize> {
        self.ended(|how| *how == Ended::Cancelled)
    }

    /// The entry at which an end became durable that is one of those meant.
    pub fn ended(&self, meant: impl Fn(&Ended) -> bool) -> Option<usize> {
        let ended = |slot: &Slot| matches!(&slot.record, SlotRecord::Ended { how, .. } if meant(how));
        self.slots.iter().find(|fact| fact.slot.as_ref().is_ok_and(ended)).map(|fact| fact.at)
    }

    /// Whether at `at` a checkpoint at or above `checkpoint` was durable that `attempt` took.
    pub fn durable_by(&self, attempt: Attempt, checkpoint: CheckpointId, at: usize) -> bool {
        let mut before = self.completed.iter().take_while(|completed| completed.at < at);
        before.any(|c| c.checkpoint >= checkpoint && c.manifest.as_ref().is_ok_and(|m| m.attempt == attempt))
    }
}

/// What a manifest says of a subtask.
pub fn handle<'m>(manifest: &'m Manifest, (uid, index): (&str, u16)) -> Option<&'m SnapshotHandle> {
    let operator = manifest.operators.iter().find(|operator| operator.uid == uid)?;
    operator.subtasks.get(usize::from(index))
}

/// Whether an event is an element that is emitted or taken: most of a history are.
pub fn is_about_elements(event: &Event) -> bool {
    matches!(
        event,
        Event::SourceEmitted { .. }
            | Event::Consumed { .. }
            | Event::BarrierReceived { .. }
            | Event::CancelReceived { .. }
            | Event::EndReceived { .. }
            | Event::ClosedReceived { .. }
    )
}

/// Whether this object is output for its readers: no segment of its path starts with a dot, and it is no mark of the owner.
pub fn is_visible(path: &str) -> bool {
    path.starts_with("output/")
        && !path.split('/').any(|segment| segment.starts_with('.'))
        && mark::Name::of(path).is_none()
}

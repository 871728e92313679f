//! Storage: objects, and requests on their way to them.
//!
//! ```text
//! request --- latency ---> effect --- latency ---> reply
//! ```
//!
//! 1. The effect happens at one instant of its own, before the reply: that is where `Create` is decided, what a read
//!    or listing sees, and what the history records.
//! 2. A write or delete whose requester died or gave up before the effect takes place all the same, or later, or
//!    never: keyed.
//! 3. Faults strike at the effect: nothing happened and that is certain, or it happened (or will) and that is not, or
//!    nobody is ever told.
//! 4. Parts of an upload are kept apart from the objects until it is complete. Those of the dead stay there until they are
//!    cleared away, and so do those of the living whom the caller does not know.
//! 5. Systems outside are reached, and struck, in the same way (`external`).
//! 6. A version is the file that an object lies in and the number of its last change. Writes make new files; a fault may also
//!    write into a file of the input, as somebody who appends to it does.
//!
//! Not modelled: torn writes, and objects that stay readable after a delete whose success was told; the contract
//! promises their absence. A delete whose reply was lost may take effect late.

use super::Shared;
use super::external::of_storage;
use super::fault::{InputChange, Requests};
use super::incarnation::{Door, Port};
use super::keyed::{Domain, identity};
use super::queue::Arrival;
use super::state::State;
use super::strike::Verdict;
use super::upload::WorldUpload;
use super::wait::{Outcome, WaitId};
use bytes::Bytes;
use cofferdam_engine::door::{BoxFuture, Depth, ObjectMeta, Piece, Storage, StorageError, Upload, Version, WriteMode};
use cofferdam_properties::history::{Fact, What};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::{Bound, Range};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// All objects, as a run begins and ends with them.
pub(crate) type Objects = BTreeMap<String, Bytes>;

/// An object.
#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    /// The number of the file that it lies in.
    file: u64,
    /// The number of the change that made it what it is.
    change: u64,
}

impl Stored {
    fn version(&self) -> Version {
        Version::File { inode: self.file, modified_ns: self.change }
    }
}

/// What a listing says of an object.
#[derive(Clone)]
struct Shown {
    bytes: u64,
    version: Version,
}

impl From<&Stored> for Shown {
    fn from(stored: &Stored) -> Self {
        Self { bytes: stored.bytes.len() as u64, version: stored.version() }
    }
}

/// All that is stored.
pub(crate) struct Store {
    objects: BTreeMap<String, Stored>,
    /// Uploads by number.
    uploads: BTreeMap<u64, Uploading>,
    /// Every change of an object: when, which, and what a listing said of it before.
    changes: Vec<(u64, String, Option<Shown>)>,
}

/// An upload that has begun.
struct Uploading {
    /// The incarnation it belongs to.
    owner: u64,
    /// Its parts; `None` once it is over.
    parts: Option<BTreeMap<u32, Bytes>>,
}

impl Store {
    /// A store that holds these objects.
    pub fn new(objects: Objects) -> Self {
        let stored = |(path, bytes)| (path, Stored { bytes, file: 0, change: 0 });
        Self { objects: objects.into_iter().map(stored).collect(), uploads: BTreeMap::new(), changes: Vec::new() }
    }

    /// What is stored, at the end.
    pub fn take_objects(&mut self) -> Objects {
        std::mem::take(&mut self.objects).into_iter().map(|(path, stored)| (path, stored.bytes)).collect()
    }

    /// An object is written as a new file, or deleted.
    fn change(&mut self, now: u64, path: &str, after: Option<Bytes>) {
        let change = self.changes.len() as u64 + 1;
        self.put(now, path, after.map(|bytes| Stored { bytes, file: change, change }));
    }

    /// Bytes are written into the file that an object lies in.
    fn write_into(&mut self, now: u64, path: &str, bytes: Bytes) {
        let (change, file) = (self.changes.len() as u64 + 1, self.objects[path].file);
        self.put(now, path, Some(Stored { bytes, file, change }));
    }

    fn put(&mut self, now: u64, path: &str, after: Option<Stored>) {
        let before = match after {
            Some(stored) => self.objects.insert(path.to_owned(), stored),
            None => self.objects.remove(path),
        };
        self.changes.push((now, path.to_owned(), before.as_ref().map(Shown::from)));
    }

    /// The objects below `prefix` as they were at `instant`.
    fn list(&self, prefix: &str, instant: u64) -> Vec<ObjectMeta> {
        let candidates = self
            .objects
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(prefix))
            .map(|(path, stored)| (path.clone(), Shown::from(stored)));
        let mut listed: BTreeMap<String, Shown> = candidates.collect();
        for (_, path, before) in self.changes.iter().rev().take_while(|(time, ..)| *time > instant) {
            match before {
                Some(shown) => drop(listed.insert(path.clone(), shown.clone())),
                None => drop(listed.remove(path)),
            }
        }
        let under = |path: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
        };
        let found = listed.into_iter().filter(|(path, _)| under(path));
        found.map(|(path, Shown { bytes, version })| ObjectMeta { path, bytes, version }).collect()
    }
}

/// Where the input lies.
const INPUT: &str = "input/";

/// What is asked for.
pub(crate) enum Request {
    Read(Range<u64>),
    Write(Bytes, WriteMode),
    /// Of this object, to the name that the path says.
    Rename(String),
    Delete,
    List,
    /// The part of this number of an upload.
    Part(u64, u32, Bytes),
    /// Of so many parts.
    Complete(u64, u32),
    Abort(u64),
    /// Of every upload whose incarnation is not among these.
    Clear(BTreeSet<u64>),
    /// Something of the system outside that the path names.
    Call(Bytes),
}

/// A request on its way to its effect.
pub(crate) struct Operation {
    pub(super) incarnation: u32,
    wait: WaitId,
    pub(super) path: String,
    request: Request,
    key: u64,
    /// Its fate is decided: it takes effect now, for nobody.
    late: bool,
}

impl Operation {
    /// A draw of its own, for its place among what happens at the same instant.
    pub(super) fn rank(&self) -> u64 {
        self.key
    }
}

impl Request {
    fn kind(&self) -> Requests {
        match self {
            Self::Read(_) | Self::List => Requests::Reads,
            Self::Write(..) | Self::Rename(_) | Self::Call(_) => Requests::Writes,
            Self::Part(..) => Requests::Parts,
            Self::Complete(..) => Requests::Completions,
            Self::Delete | Self::Abort(_) | Self::Clear(_) => Requests::Deletes,
        }
    }

    /// Bytes on their way to storage.
    fn bytes(&self) -> usize {
        match self {
            Self::Write(bytes, _) | Self::Part(_, _, bytes) | Self::Call(bytes) => bytes.len(),
            Self::Read(_) | Self::Delete | Self::Rename(_) | Self::List => 0,
            Self::Complete(..) | Self::Abort(_) | Self::Clear(_) => 0,
        }
    }

    /// How a request ends that did not take effect, or of which that is not known.
    fn ends_with(&self, error: StorageError) -> Outcome {
        match self {
            Self::Read(_) => Outcome::Read(Err(error)),
            Self::Write(..) | Self::Rename(_) | Self::Delete => Outcome::Done(Err(error)),
            Self::Part(..) | Self::Complete(..) | Self::Abort(_) | Self::Clear(_) => Outcome::Done(Err(error)),
            Self::List => Outcome::Listed(Err(error)),
            Self::Call(_) => Outcome::Answered(Err(of_storage(error))),
        }
    }
}

impl State {
    /// Sends a request on its way.
    fn request(&mut self, door: &Door, path: String, request: Request) -> WaitId {
        let world = &door.world;
        let site = identity((&path, request.kind().at_large() as u8));
        let occurrence = self.count(door.index, Domain::Storage, site);
        let key = identity((door.key, site, occurrence));
        let word = world.keyed.draw(Domain::Storage, key, 0);
        let bytes = request.bytes();
        let latency = self.storage_latency(world, &path, word, bytes);
        let wait = self.waits.add(door.index, Outcome::Open);
        let operation = Operation { incarnation: door.index, wait, path, request, key, late: false };
        self.counters.storage_requests += 1;
        let leaves = self.faults.storage_leaves(world.now(), door.index);
        self.queue.push(leaves.saturating_add(latency), word, Arrival::Effect(Box::new(operation)));
        wait
    }

    fn storage_latency(&mut self, world: &Shared, path: &str, word: u64, bytes: usize) -> u64 {
        let size_ns = (bytes as u64 * world.tuning.storage_per_kb_ns) >> 10;
        self.faults.storage_latency(world.now(), world.tuning.storage.from_draw(word) + size_ns, path, bytes as u64)
    }

    /// A request takes effect, or not.
    pub fn effect(&mut self, world: &Shared, mut operation: Box<Operation>) {
        let waited_for = self.waits.incarnation(operation.wait).is_some();
        let orphaned = !waited_for || self.incarnation(operation.incarnation).is_fenced();
        let changes = !matches!(operation.request, Request::Read(_) | Request::List);
        if operation.late {
            self.counters.late_effects += 1;
            self.apply(world, &operation);
            return;
        }
        if orphaned {
            if changes {
                self.decide_orphan(world, operation);
            }
            return;
        }
        let (verdict, by) = self.faults.judge_request(world.now(), &operation.path, operation.request.kind());
        if let Some(fault) = by {
            self.count_strike(world, fault, operation.incarnation);
        }
        let outcome = match verdict {
            Verdict::Fair => self.apply(world, &operation),
            Verdict::Fail => {
                operation.request.ends_with(StorageError::Failed(format!("{}: storage is unavailable", operation.path)))
            }
            Verdict::Hold { after_ms } => return self.hold(operation, after_ms),
            Verdict::Hang => {
                // Whether it happens is open, and so is for how long its requester waits.
                let word = world.keyed.draw(Domain::LateEffect, operation.key, 2);
                if word.is_multiple_of(2) {
                    self.apply(world, &operation);
                }
                return;
            }
            Verdict::LoseReply { late_ms } => {
                let unknown = StorageError::Unknown(format!("{}: no reply", operation.path));
                let outcome = operation.request.ends_with(unknown);
                if late_ms == 0 {
                    self.apply(world, &operation);
                } else {
                    operation.late = true;
                    self.reply(world, &operation, outcome);
                    let word = world.keyed.draw(Domain::LateEffect, operation.key, 1);
                    self.queue.push(world.now() + late_ms * 1_000_000, word, Arrival::Effect(operation));
                    return;
                }
                outcome
            }
        };
        self.reply(world, &operation, outcome);
    }

    /// Nobody waits for this change any more: it happens now, later or never.
    fn decide_orphan(&mut self, world: &Shared, mut operation: Box<Operation>) {
        let word = world.keyed.draw(Domain::LateEffect, operation.key, 0);
        match word % 4 {
            0 => self.counters.lost_effects += 1,
            1 => {
                operation.late = true;
                let arrives = world.now().saturating_add(world.tuning.late_effect.from_draw(word >> 2));
                self.queue.push(arrives, word, Arrival::Effect(operation));
            }
            _ => {
                self.counters.late_effects += 1;
                self.apply(world, &operation);
            }
        }
    }

    /// Records that an outcome is unknown, and when that has an end. Failing again ends nothing, and neither does not being
    /// found: it may still arrive.
    fn note_outcome(&mut self, world: &Shared, operation: &Operation, outcome: &Outcome) {
        let unknown = matches!(outcome, Outcome::Done(Err(StorageError::Unknown(_))));
        if !unknown && self.doubts.is_empty() {
            return;
        }
        let known = matches!(outcome, Outcome::Read(Ok(_)) | Outcome::Done(Ok(()) | Err(StorageError::Exists(_))));
        let (by, path) = (self.incarnation(operation.incarnation).who, operation.path.clone());
        let doubt = (operation.incarnation, path.clone());
        if unknown {
            self.doubts.insert(doubt);
            self.record(world.now(), by, What::Fact(Fact::OutcomeUnknown { path }));
        } else if known && self.doubts.remove(&doubt) {
            self.record(world.now(), by, What::Fact(Fact::OutcomeKnown { path }));
        }
    }

    fn reply(&mut self, world: &Shared, operation: &Operation, outcome: Outcome) {
        self.note_outcome(world, operation, &outcome);
        let word = world.keyed.draw(Domain::Storage, operation.key, 1);
        let bytes = if let Outcome::Read(Ok(piece)) = &outcome { piece.bytes.len() } else { 0 };
        let latency = self.storage_latency(world, &operation.path, word, bytes);
        if self.waits.prepare(operation.wait, outcome).is_ok() {
            let leaves = self.faults.storage_leaves(world.now(), operation.incarnation);
            self.queue.push(leaves.saturating_add(latency), word, Arrival::Wait(operation.wait));
        }
    }

    fn apply(&mut self, world: &Shared, operation: &Operation) -> Outcome {
        let path = &operation.path;
        match &operation.request {
            Request::Read(range) => Outcome::Read(self.read(world, operation, range)),
            Request::List => {
                let behind = self.faults.listings_behind(world.now(), path);
                Outcome::Listed(Ok(self.store.list(path, world.now().saturating_sub(behind))))
            }
            Request::Write(bytes, mode) => {
                if *mode == WriteMode::Create && self.store.objects.contains_key(path) {
                    return Outcome::Done(Err(StorageError::Exists(path.clone())));
                }
                self.appear(world, operation, bytes.clone());
                Outcome::Done(Ok(()))
            }
            Request::Rename(from) => Outcome::Done(self.rename(world, operation, from)),
            Request::Delete => {
                if self.store.objects.contains_key(path) {
                    self.store.change(world.now(), path, None);
                    let by = self.incarnation(operation.incarnation).who;
                    self.record(world.now(), by, What::Fact(Fact::Deleted { path: path.clone() }));
                }
                Outcome::Done(Ok(()))
            }
            Request::Part(upload, index, bytes) => {
                let owner = self.incarnation(operation.incarnation).key;
                let begun = || Uploading { owner, parts: Some(BTreeMap::new()) };
                let upload = self.store.uploads.entry(*upload).or_insert_with(begun);
                let Some(parts) = &mut upload.parts else { return Outcome::Done(Err(over(path))) };
                parts.insert(*index, bytes.clone());
                Outcome::Done(Ok(()))
            }
            Request::Complete(upload, parts) => Outcome::Done(self.complete(world, operation, *upload, *parts)),
            Request::Abort(upload) => {
                let owner = self.incarnation(operation.incarnation).key;
                self.store.uploads.insert(*upload, Uploading { owner, parts: None });
                Outcome::Done(Ok(()))
            }
            Request::Clear(living) => {
                let dead = self.store.uploads.values_mut().filter(|upload| !living.contains(&upload.owner));
                dead.for_each(|upload| upload.parts = None);
                Outcome::Done(Ok(()))
            }
            Request::Call(request) => self.call(world, operation, request),
        }
    }

    fn read(&mut self, world: &Shared, operation: &Operation, range: &Range<u64>) -> Result<Piece, StorageError> {
        let path = &operation.path;
        let mut piece = read(&self.store.objects, path, range)?;
        let word = world.keyed.draw(Domain::ShortRead, operation.key, 0);
        let length = self.faults.read_length(world.now(), path, piece.bytes.len(), word);
        piece.bytes.truncate(length);
        Ok(piece)
    }

    /// Moves an object to a name of which there is none.
    fn rename(&mut self, world: &Shared, of: &Operation, from: &str) -> Result<(), StorageError> {
        if self.store.objects.contains_key(&of.path) {
            return Err(StorageError::Exists(of.path.clone()));
        }
        let Some(stored) = self.store.objects.get(from) else { return Err(StorageError::NotFound(from.to_owned())) };
        self.appear(world, of, stored.bytes.clone());
        self.store.change(world.now(), from, None);
        let by = self.incarnation(of.incarnation).who;
        self.record(world.now(), by, What::Fact(Fact::Deleted { path: from.to_owned() }));
        Ok(())
    }

    fn complete(&mut self, world: &Shared, of: &Operation, upload: u64, parts: u32) -> Result<(), StorageError> {
        let Some(upload) = self.store.uploads.get_mut(&upload) else { return Err(over(&of.path)) };
        let Some(stored) = &upload.parts else { return Err(over(&of.path)) };
        let found: Vec<&[u8]> = (0..parts).filter_map(|index| stored.get(&index).map(|part| &part[..])).collect();
        if found.len() < parts as usize {
            return Err(StorageError::Failed(format!("{}: parts of the upload are missing", of.path)));
        }
        let bytes = Bytes::from(found.concat());
        upload.parts = None;
        self.appear(world, of, bytes);
        Ok(())
    }

    /// Somebody changes an object of the input.
    pub fn change_input(&mut self, world: &Shared, fault: usize, object: u32, change: InputChange) {
        let input = |(path, _): &(&String, &Stored)| path.starts_with(INPUT);
        let count = self.store.objects.iter().filter(input).count();
        let Some(nth) = (object as usize).checked_rem(count) else { return };
        let (path, stored) = self.store.objects.iter().filter(input).nth(nth).expect("it was counted");
        let (path, bytes, now) = (path.clone(), stored.bytes.clone(), world.now());
        let first_line = &bytes[..bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1)];
        let (path, after) = match change {
            InputChange::Touch | InputChange::Replace => (path, Some(bytes)),
            // What is appended to the rest of an object would not continue what it was.
            InputChange::Append if first_line.is_empty() || self.cut_off.contains(&path) => return,
            InputChange::Append => (path, Some(Bytes::from([&bytes[..], first_line].concat()))),
            InputChange::Truncate if bytes.is_empty() => return,
            InputChange::Truncate => {
                // At the end of a line: whoever lists it later reads whole lines.
                let half = &bytes[..bytes.len() / 2];
                let lines = half.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                (path, Some(bytes.slice(..lines)))
            }
            InputChange::Delete => (path, None),
            InputChange::Add => (format!("{path}.later-{fault}"), Some(Bytes::copy_from_slice(first_line))),
        };
        let replaced = matches!(change, InputChange::Replace | InputChange::Delete | InputChange::Add);
        match &after {
            Some(bytes) if !replaced => self.store.write_into(now, &path, bytes.clone()),
            Some(_) | None => self.store.change(now, &path, after.clone()),
        }
        if change == InputChange::Truncate {
            self.cut_off.insert(path.clone());
        }
        self.strike_once(world, fault);
        let by = self.witness(None);
        self.record(now, by, What::Fact(Fact::InputChanged { path, bytes: after, replaced }));
    }

    fn appear(&mut self, world: &Shared, operation: &Operation, bytes: Bytes) {
        let path = operation.path.clone();
        self.store.change(world.now(), &path, Some(bytes.clone()));
        let by = self.incarnation(operation.incarnation).who;
        self.record(world.now(), by, What::Fact(Fact::Written { path, bytes }));
    }
}

fn over(path: &str) -> StorageError {
    StorageError::NotFound(format!("{path}: this upload"))
}

fn read(objects: &BTreeMap<String, Stored>, path: &str, range: &Range<u64>) -> Result<Piece, StorageError> {
    let stored = objects.get(path).ok_or_else(|| StorageError::NotFound(path.to_owned()))?;
    let object = &stored.bytes;
    let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(object.len());
    let (start, end) = (within(range.start), within(range.end));
    let bytes = if start < end { object.slice(start..end) } else { Bytes::new() };
    Ok(Piece { bytes, size: object.len() as u64, version: stored.version() })
}

impl Storage for Port {
    fn read(&self, path: &str, range: Range<u64>) -> BoxFuture<'static, Result<Piece, StorageError>> {
        let reply = Reply::new(&self.door, path, Request::Read(range));
        Box::pin(async move {
            match reply.await {
                Outcome::Read(result) => result,
                other => unreachable!("a read ended with {other:?}"),
            }
        })
    }

    fn write(&self, path: &str, bytes: Bytes, mode: WriteMode) -> BoxFuture<'static, Result<(), StorageError>> {
        Reply::new(&self.door, path, Request::Write(bytes, mode)).done()
    }

    fn rename(&self, from: &str, to: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        Reply::new(&self.door, to, Request::Rename(from.to_owned())).done()
    }

    fn upload(&self, path: &str) -> Box<dyn Upload> {
        let site = identity((path, "upload"));
        let occurrence = self.door.world.lock().count(self.door.index, Domain::Storage, site);
        let number = identity((self.door.key, site, occurrence));
        Box::new(WorldUpload { door: self.door.clone(), path: path.to_owned(), number, parts: 0 })
    }

    fn delete(&self, path: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        Reply::new(&self.door, path, Request::Delete).done()
    }

    fn list(&self, prefix: &str, depth: Depth) -> BoxFuture<'static, Result<Vec<ObjectMeta>, StorageError>> {
        let reply = Reply::new(&self.door, prefix, Request::List);
        let prefix = prefix.to_owned();
        Box::pin(async move {
            match reply.await {
                Outcome::Listed(result) => result.map(|mut objects| {
                    objects.retain(|object| depth.shows(&prefix, &object.path));
                    objects
                }),
                other => unreachable!("a listing ended with {other:?}"),
            }
        })
    }

    fn incarnation(&self) -> u64 {
        self.door.key
    }

    fn clear(&self, mut living: BTreeSet<u64>) -> BoxFuture<'static, Result<(), StorageError>> {
        living.insert(self.door.key);
        Reply::new(&self.door, "staging", Request::Clear(living)).done()
    }
}

/// Sends its request at the first poll and waits for the reply.
pub(super) struct Reply {
    door: Arc<Door>,
    request: Option<(String, Request)>,
    wait: Option<WaitId>,
}

impl Reply {
    pub(super) fn new(door: &Arc<Door>, path: &str, request: Request) -> Self {
        Self { door: door.clone(), request: Some((path.to_owned(), request)), wait: None }
    }

    pub(super) fn done(self) -> BoxFuture<'static, Result<(), StorageError>> {
        Box::pin(async move {
            match self.await {
                Outcome::Done(result) => result,
                other => unreachable!("a write or delete ended with {other:?}"),
            }
        })
    }
}

impl Future for Reply {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        if this.door.is_fenced() {
            return Poll::Pending;
        }
        let mut state = this.door.world.lock();
        if let Some((path, request)) = this.request.take() {
            this.wait = Some(state.request(&this.door, path, request));
        }
        let wait = this.wait.expect("a reply is not polled after it came");
        let polled = state.waits.poll(wait, context);
        if polled.is_ready() {
            this.wait = None;
        }
        polled
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // The request stays on its way: giving up on a reply does not call it back.
        if let Some(wait) = self.wait {
            let rest = self.door.world.lock().waits.free(wait);
            drop(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_off_at_the_end_and_listings_keep_to_whole_segments() {
        let names = ["a", "a-b", "a/1", "a/2/3", "ab"];
        let objects: Objects = names.iter().map(|name| ((*name).to_owned(), Bytes::from_static(b"0123"))).collect();
        let store = Store::new(objects);
        assert_eq!(read(&store.objects, "a", &(2..9)).unwrap().bytes, &b"23"[..]);
        let behind = read(&store.objects, "a", &(4..9)).unwrap();
        assert_eq!((behind.bytes, behind.size), (Bytes::new(), 4));
        assert_eq!(read(&store.objects, "b", &(0..1)), Err(StorageError::NotFound("b".to_owned())));
        let paths: Vec<String> = store.list("a", 0).into_iter().map(|meta| meta.path).collect();
        assert_eq!(paths, ["a", "a/1", "a/2/3"]);
        assert_eq!(store.list("", 0).len(), 5);
    }

    #[test]
    fn a_listing_of_the_past_shows_every_object_as_it_was() {
        let mut store = Store::new(Objects::new());
        store.change(10, "a/1", Some(Bytes::from_static(b"one")));
        store.change(20, "a/2", Some(Bytes::from_static(b"two")));
        store.change(20, "a/1", Some(Bytes::from_static(b"longer")));
        store.change(30, "a/1", None);
        let listed = |instant| {
            let listing = store.list("a", instant).into_iter();
            listing.map(|meta| (meta.path, meta.bytes)).collect::<Vec<_>>()
        };
        assert_eq!(listed(9), []);
        assert_eq!(listed(10), [("a/1".to_owned(), 3)]);
        assert_eq!(listed(29), [("a/1".to_owned(), 6), ("a/2".to_owned(), 3)]);
        assert_eq!(listed(30), [("a/2".to_owned(), 3)]);
    }
}

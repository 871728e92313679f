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
//! 3. Faults strike at the effect: nothing happened and that is certain, or it happened (or will) and that is not.
//!
//! Not modelled yet: torn and partial writes, short reads, stale listings. The contract promises their absence.

use super::Shared;
use super::fault::Requests;
use super::incarnation::{Door, Port};
use super::keyed::{Domain, identity};
use super::queue::Arrival;
use super::state::State;
use super::strike::Verdict;
use super::wait::{Outcome, WaitId};
use bytes::Bytes;
use cofferdam_engine::door::{BoxFuture, ObjectMeta, Storage, StorageError, WriteMode};
use cofferdam_properties::history::{Fact, What};
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::{Bound, Range};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// All objects.
pub(crate) type Objects = BTreeMap<String, Bytes>;

/// What is asked for.
pub(crate) enum Request {
    Read(Option<Range<u64>>),
    Write(Bytes, WriteMode),
    Delete,
    List,
}

/// A request on its way to its effect.
pub(crate) struct Operation {
    incarnation: u32,
    wait: WaitId,
    path: String,
    request: Request,
    key: u64,
    /// Its fate is decided: it takes effect now, for nobody.
    late: bool,
}

impl Request {
    fn kind(&self) -> Requests {
        match self {
            Self::Read(_) | Self::List => Requests::Reads,
            Self::Write(..) => Requests::Writes,
            Self::Delete => Requests::Deletes,
        }
    }

    /// How a request ends that did not take effect, or of which that is not known.
    fn ends_with(&self, error: StorageError) -> Outcome {
        match self {
            Self::Read(_) => Outcome::Read(Err(error)),
            Self::Write(..) | Self::Delete => Outcome::Done(Err(error)),
            Self::List => Outcome::Listed(Err(error)),
        }
    }
}

impl State {
    /// Sends a request on its way.
    fn request(&mut self, door: &Door, path: String, request: Request) -> WaitId {
        let world = &door.world;
        let site = identity((&path, request.kind() as u8));
        let occurrence = self.count(door.index, Domain::Storage, site);
        let key = identity((door.key, site, occurrence));
        let word = world.keyed.draw(Domain::Storage, key, 0);
        let bytes = if let Request::Write(bytes, _) = &request { bytes.len() } else { 0 };
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
        self.faults.storage_latency(world.now(), world.tuning.storage.from_draw(word) + size_ns, path)
    }

    /// A request takes effect, or not.
    pub fn effect(&mut self, world: &Shared, mut operation: Box<Operation>) {
        let waited_for = self.waits.incarnation(operation.wait).is_some();
        let orphaned = !waited_for || self.incarnation(operation.incarnation).is_fenced();
        let changes = matches!(operation.request, Request::Write(..) | Request::Delete);
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
        let (verdict, by) = self.faults.judge_request(&operation.path, operation.request.kind());
        if let Some(fault) = by {
            self.count_strike(world, fault, operation.incarnation);
        }
        let outcome = match verdict {
            Verdict::Fair => self.apply(world, &operation),
            Verdict::Fail => {
                operation.request.ends_with(StorageError::Failed(format!("{}: storage is unavailable", operation.path)))
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

    fn reply(&mut self, world: &Shared, operation: &Operation, outcome: Outcome) {
        let word = world.keyed.draw(Domain::Storage, operation.key, 1);
        let bytes = if let Outcome::Read(Ok(bytes)) = &outcome { bytes.len() } else { 0 };
        let latency = self.storage_latency(world, &operation.path, word, bytes);
        if self.waits.prepare(operation.wait, outcome).is_ok() {
            let leaves = self.faults.storage_leaves(world.now(), operation.incarnation);
            self.queue.push(leaves.saturating_add(latency), word, Arrival::Wait(operation.wait));
        }
    }

    fn apply(&mut self, world: &Shared, operation: &Operation) -> Outcome {
        let path = &operation.path;
        let by = self.incarnation(operation.incarnation).who;
        match &operation.request {
            Request::Read(range) => Outcome::Read(read(&self.objects, path, range.as_ref())),
            Request::List => Outcome::Listed(Ok(list(&self.objects, path))),
            Request::Write(bytes, mode) => {
                if *mode == WriteMode::Create && self.objects.contains_key(path) {
                    return Outcome::Done(Err(StorageError::Exists(path.clone())));
                }
                self.objects.insert(path.clone(), bytes.clone());
                let written = Fact::Written { path: path.clone(), bytes: bytes.clone() };
                self.record(world.now(), by, What::Fact(written));
                Outcome::Done(Ok(()))
            }
            Request::Delete => {
                if self.objects.remove(path).is_some() {
                    self.record(world.now(), by, What::Fact(Fact::Deleted { path: path.clone() }));
                }
                Outcome::Done(Ok(()))
            }
        }
    }
}

fn read(objects: &Objects, path: &str, range: Option<&Range<u64>>) -> Result<Bytes, StorageError> {
    let object = objects.get(path).ok_or_else(|| StorageError::NotFound(path.to_owned()))?;
    let Some(range) = range else { return Ok(object.clone()) };
    let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(object.len());
    let (start, end) = (within(range.start), within(range.end));
    Ok(if start < end { object.slice(start..end) } else { Bytes::new() })
}

fn list(objects: &Objects, prefix: &str) -> Vec<ObjectMeta> {
    let under = |path: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
    };
    let candidates = objects
        .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(|(path, _)| path.starts_with(prefix));
    candidates
        .filter(|(path, _)| under(path))
        .map(|(path, bytes)| ObjectMeta { path: path.clone(), bytes: bytes.len() as u64 })
        .collect()
}

impl Storage for Port {
    fn read(&self, path: &str, range: Option<Range<u64>>) -> BoxFuture<'static, Result<Bytes, StorageError>> {
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

    fn delete(&self, path: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        Reply::new(&self.door, path, Request::Delete).done()
    }

    fn list(&self, prefix: &str) -> BoxFuture<'static, Result<Vec<ObjectMeta>, StorageError>> {
        let reply = Reply::new(&self.door, prefix, Request::List);
        Box::pin(async move {
            match reply.await {
                Outcome::Listed(result) => result,
                other => unreachable!("a listing ended with {other:?}"),
            }
        })
    }
}

/// Sends its request at the first poll and waits for the reply.
struct Reply {
    door: Arc<Door>,
    request: Option<(String, Request)>,
    wait: Option<WaitId>,
}

impl Reply {
    fn new(door: &Arc<Door>, path: &str, request: Request) -> Self {
        Self { door: door.clone(), request: Some((path.to_owned(), request)), wait: None }
    }

    fn done(self) -> BoxFuture<'static, Result<(), StorageError>> {
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
        assert_eq!(read(&objects, "a", Some(&(2..9))).unwrap(), &b"23"[..]);
        assert_eq!(read(&objects, "a", Some(&(4..9))).unwrap(), &b""[..]);
        assert_eq!(read(&objects, "b", None), Err(StorageError::NotFound("b".to_owned())));
        let paths: Vec<String> = list(&objects, "a").into_iter().map(|meta| meta.path).collect();
        assert_eq!(paths, ["a", "a/1", "a/2/3"]);
        assert_eq!(list(&objects, "").len(), 5);
    }
}

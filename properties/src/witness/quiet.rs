//! A world in which nothing ever happens: every request is answered at once and nothing fails. The witness runs
//! sources and sinks in it.
//!
//! Storage holds the input objects and what the witness's own sinks wrote. Sleeping moves the clock and takes no time.
//! Nobody listens, nothing can be spawned: an operator that needs either is never ready, which the witness reports as
//! a fault of the harness.

use super::external::QuietSystems;
use bytes::Bytes;
use cofferdam_engine::door::collected::Collected;
use cofferdam_engine::door::{
    Bell, BoxFuture, Clock, Connection, Depth, Env, Listener, Network, NetworkError, ObjectMeta, Piece, Schedule, Site,
    Spawner, Storage, StorageError, TaskHandle, Time, Trace, Upload, Version, Work, WriteMode,
};
use cofferdam_engine::event::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// The quiet world over `objects` and `systems`, and its storage.
pub fn world(objects: &BTreeMap<String, Bytes>, systems: QuietSystems) -> (Env, Arc<QuietStorage>) {
    let storage = Arc::new(QuietStorage {
        shelf: Arc::new(Mutex::new(Shelf { objects: objects.clone(), versions: BTreeMap::new(), written: Vec::new() })),
    });
    let env = Env {
        clock: Arc::new(QuietClock(AtomicU64::new(0))),
        network: Arc::new(Nobody),
        storage: storage.clone(),
        externals: Arc::new(systems),
        schedule: Arc::new(First(AtomicU64::new(0))),
        spawner: Arc::new(Nobody),
        trace: Arc::new(Nobody),
    };
    (env, storage)
}

/// Objects in memory, always ready.
#[derive(Clone)]
pub struct QuietStorage {
    shelf: Arc<Mutex<Shelf>>,
}

struct Shelf {
    objects: BTreeMap<String, Bytes>,
    /// Of those objects whose version matters.
    versions: BTreeMap<String, Version>,
    /// Objects written since the last [`QuietStorage::take_written`].
    written: Vec<(String, Bytes)>,
}

impl Shelf {
    fn version(&self, path: &str) -> Version {
        self.versions.get(path).cloned().unwrap_or_else(|| Version::Tag(String::new()))
    }
}

impl QuietStorage {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an object of which the version matters.
    pub fn put(&self, path: &str, bytes: Bytes, version: Version) {
        let mut shelf = self.shelf();
        shelf.objects.insert(path.to_owned(), bytes);
        shelf.versions.insert(path.to_owned(), version);
    }

    /// The objects written since the last call.
    pub fn take_written(&self) -> Vec<(String, Bytes)> {
        std::mem::take(&mut self.shelf().written)
    }
}

impl Storage for QuietStorage {
    fn read(&self, path: &str, range: Range<u64>) -> BoxFuture<'static, Result<Piece, StorageError>> {
        let shelf = self.shelf();
        let (found, version) = (shelf.objects.get(path).cloned(), shelf.version(path));
        drop(shelf);
        let cut = |object: Bytes| {
            let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(object.len());
            let bytes = object.slice(clamp(range.start)..clamp(range.end).max(clamp(range.start)));
            Piece { bytes, size: object.len() as u64, version }
        };
        Box::pin(ready(found.map(cut).ok_or_else(|| StorageError::NotFound(path.to_owned()))))
    }

    fn write(&self, path: &str, bytes: Bytes, mode: WriteMode) -> BoxFuture<'static, Result<(), StorageError>> {
        let mut shelf = self.shelf();
        if mode == WriteMode::Create && shelf.objects.contains_key(path) {
            return Box::pin(ready(Err(StorageError::Exists(path.to_owned()))));
        }
        shelf.written.push((path.to_owned(), bytes.clone()));
        shelf.objects.insert(path.to_owned(), bytes);
        Box::pin(ready(Ok(())))
    }

    fn rename(&self, from: &str, to: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        let mut shelf = self.shelf();
        let renamed = match shelf.objects.contains_key(to) {
            true => Err(StorageError::Exists(to.to_owned())),
            false => shelf.objects.remove(from).ok_or_else(|| StorageError::NotFound(from.to_owned())),
        };
        let renamed = renamed.map(|bytes| {
            shelf.written.push((to.to_owned(), bytes.clone()));
            shelf.objects.insert(to.to_owned(), bytes);
        });
        Box::pin(ready(renamed))
    }

    fn upload(&self, path: &str) -> Box<dyn Upload> {
        let (storage, object) = (self.clone(), path.to_owned());
        Collected::upload(path, move |bytes| storage.write(&object, bytes, WriteMode::Overwrite))
    }

    fn delete(&self, path: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        self.shelf().objects.remove(path);
        Box::pin(ready(Ok(())))
    }

    fn list(&self, prefix: &str, depth: Depth) -> BoxFuture<'static, Result<Vec<ObjectMeta>, StorageError>> {
        let shelf = self.shelf();
        let below = |path: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let from = shelf.objects.range(prefix.to_owned()..).take_while(|(path, _)| path.starts_with(prefix));
        let found = from.filter(|(path, _)| below(path) && depth.shows(prefix, path));
        let listed = found.map(|(path, bytes)| ObjectMeta {
            path: path.clone(),
            bytes: bytes.len() as u64,
            version: shelf.version(path),
        });
        Box::pin(ready(Ok(listed.collect())))
    }

    fn incarnation(&self) -> u64 {
        0
    }

    fn clear(&self, _: BTreeSet<u64>) -> BoxFuture<'static, Result<(), StorageError>> {
        Box::pin(ready(Ok(())))
    }
}

struct QuietClock(AtomicU64);

impl Clock for QuietClock {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn sleep_until(&self, deadline: Time) -> BoxFuture<'static, ()> {
        self.0.fetch_max(deadline.0, Ordering::Relaxed);
        Box::pin(ready(()))
    }

    fn work(&self, _: Site, _: Work) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

/// Always chooses the first, and draws tokens by counting.
struct First(AtomicU64);

impl Schedule for First {
    fn pick(&self, _: Site, _: usize) -> usize {
        0
    }

    fn token(&self, _: Site) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn nonce(&self, site: Site) -> [u8; 32] {
        panic!("nothing is dialled at {site:?} when a subtask is executed again")
    }
}

/// Does nothing, whatever it is asked for.
struct Nobody;

impl Network for Nobody {
    fn listen(&self, address: String) -> BoxFuture<'static, Result<Box<dyn Listener>, NetworkError>> {
        Box::pin(ready(Err(NetworkError::CannotListen(address, "there is no network here".to_owned()))))
    }

    fn connect(&self, address: String) -> BoxFuture<'static, Result<Connection, NetworkError>> {
        Box::pin(ready(Err(NetworkError::Refused(address, "there is no network here".to_owned()))))
    }
}

impl Spawner for Nobody {
    fn spawn(&self, _: Site, _: BoxFuture<'static, ()>) -> Box<dyn TaskHandle> {
        Box::new(Self)
    }

    fn bell(&self, _: Site) -> Arc<dyn Bell> {
        Arc::new(Self)
    }
}

impl TaskHandle for Nobody {
    fn abort(&self) {}
}

impl Bell for Nobody {
    fn ring(&self) {}

    fn rung(&self) -> u64 {
        0
    }

    fn poll_rung(&self, _: u64, _: &mut Context<'_>) -> Poll<u64> {
        Poll::Pending
    }
}

impl Trace for Nobody {
    fn emit(&self, _: Event) {}
}

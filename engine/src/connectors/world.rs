//! For tests: a tiny world in memory whose every answer is ready at once.

use crate::door::collected::Collected;
use crate::door::{
    Bell, BoxFuture, Clock, Connection, Depth, Env, Listener, Network, NetworkError, ObjectMeta, Piece, Schedule, Site,
    Spawner, Storage, StorageError, TaskHandle, Time, Trace, Upload, Version, Work, WriteMode,
};
use crate::event::Event;
use crate::graph::SubtaskContext;
use crate::ids::{Attempt, CheckpointId, Generation, OperatorId, SubtaskId};
use crate::messages::ListingHandle;
use crate::persist::layout;
use crate::persist::listing::Listing;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

/// What shall become of the next requests to storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// Fail before the effect.
    Fail,
    /// Take effect, and say that the outcome is unknown.
    LoseReply,
}

#[derive(Default)]
struct State {
    objects: Mutex<BTreeMap<String, (Bytes, Version)>>,
    /// Versions given so far.
    versions: AtomicU64,
    /// Bytes that reads returned.
    bytes_read: AtomicU64,
    moods: Mutex<Vec<(String, Mood, u32)>>,
    now: AtomicU64,
    stopped: AtomicBool,
    requests: AtomicU64,
    /// 0: as many as asked for.
    read_at_most: AtomicU64,
    /// Each read of input appends to it.
    grows: AtomicBool,
    /// So many reads of input find that its object was written again, with the same bytes.
    rewritten: AtomicU64,
}

/// The world: objects, and a clock that jumps to whatever is waited for unless it is stopped.
#[derive(Clone, Default)]
pub struct World(Arc<State>);

impl World {
    /// A world with these objects.
    pub fn with(objects: &[(&str, &[u8])]) -> Self {
        let world = Self::default();
        objects.iter().for_each(|(path, bytes)| world.put(path, bytes));
        world
    }

    /// The door to it.
    pub fn env(&self) -> Env {
        let world = Arc::new(self.clone());
        Env {
            clock: world.clone(),
            network: world.clone(),
            storage: world.clone(),
            externals: Arc::new(crate::os::external::Clients::default()),
            schedule: world.clone(),
            spawner: world.clone(),
            trace: world,
        }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, (Bytes, Version)>> {
        self.0.objects.lock().expect("no test thread died here")
    }

    fn moods(&self) -> MutexGuard<'_, Vec<(String, Mood, u32)>> {
        self.0.moods.lock().expect("no test thread died here")
    }

    /// Stores an object, as a new file.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let version = self.new_file();
        self.objects().insert(path.into(), (Bytes::copy_from_slice(bytes), version));
    }

    /// Writes into an object: the file stays the same.
    pub fn write_into(&self, path: &str, bytes: &[u8]) {
        let Version::File { modified_ns, .. } = self.new_file() else { unreachable!("files are new") };
        let mut objects = self.objects();
        let (content, version) = objects.get_mut(path).expect("it is there");
        let Version::File { inode, .. } = *version else { unreachable!("all are files") };
        (*content, *version) = (Bytes::copy_from_slice(bytes), Version::File { inode, modified_ns });
    }

    fn new_file(&self) -> Version {
        let count = self.0.versions.fetch_add(1, Ordering::Relaxed);
        Version::File { inode: count, modified_ns: count }
    }

    /// How many bytes were read so far.
    pub fn bytes_read(&self) -> u64 {
        self.0.bytes_read.load(Ordering::Relaxed)
    }

    /// Lists `inputs` as a coordinator does, and stores the listing.
    pub fn list_input(&self, inputs: &[String]) -> ListingHandle {
        let object = |(path, (bytes, version)): (&String, &(Bytes, Version))| ObjectMeta {
            path: path.clone(),
            bytes: bytes.len() as u64,
            version: version.clone(),
        };
        let under = |input: &String| {
            let objects = self.objects();
            objects.iter().filter(|(path, _)| is_inside(path, input)).map(object).collect()
        };
        let inputs = inputs.iter().map(|input| (input.clone(), under(input))).collect();
        let encoded = Listing { inputs }.encode();
        let handle = Listing::handle(
            layout::listing(CheckpointId(1), Attempt { generation: Generation(1), number: 1 }),
            &encoded,
        );
        self.put(&handle.path, &encoded);
        handle
    }

    /// Removes an object.
    pub fn remove(&self, path: &str) {
        assert!(self.objects().remove(path).is_some(), "{path} was there");
    }

    /// The objects under a prefix.
    pub fn under(&self, prefix: &str) -> BTreeMap<String, Bytes> {
        let objects = self.objects();
        objects.iter().filter(|(path, _)| path.starts_with(prefix)).map(|(p, (b, _))| (p.clone(), b.clone())).collect()
    }

    /// Lets the next `times` requests whose path contains `part` go wrong.
    pub fn upset(&self, part: &str, mood: Mood, times: u32) {
        self.moods().push((part.into(), mood, times));
    }

    /// Takes back every [`World::upset`].
    pub fn calm(&self) {
        self.moods().clear();
    }

    /// From here on a read returns at most so many bytes; 0: as many as asked for.
    pub fn read_at_most(&self, bytes: u64) {
        self.0.read_at_most.store(bytes, Ordering::Relaxed);
    }

    /// Each read of the input finds that something was appended to its object.
    pub fn grow_with_every_read(&self) {
        self.0.grows.store(true, Ordering::Relaxed);
    }

    /// Each of the next reads of the input finds that its object was written again, with the same bytes.
    pub fn rewrite_before_reads(&self, times: u64) {
        self.0.rewritten.store(times, Ordering::Relaxed);
    }

    /// How many requests storage has seen.
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// From here on time passes by [`World::advance`] only.
    pub fn stop_clock(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        self.0.now.fetch_add(u64::try_from(duration.as_nanos()).expect("centuries"), Ordering::Relaxed);
    }

    fn mood(&self, path: &str) -> Option<Mood> {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let mut moods = self.moods();
        let (_, mood, times) = moods.iter_mut().find(|(part, _, times)| *times > 0 && path.contains(part.as_str()))?;
        *times -= 1;
        Some(*mood)
    }

    fn answer<T: Send + 'static>(
        &self,
        path: &str,
        effect: impl FnOnce(&mut BTreeMap<String, (Bytes, Version)>) -> Result<T, StorageError>,
    ) -> BoxFuture<'static, Result<T, StorageError>> {
        let mood = self.mood(path);
        let mut objects = self.objects();
        let reply = match mood {
            None => effect(&mut objects),
            Some(Mood::Fail) => Err(StorageError::Failed(format!("{path}: it failed"))),
            Some(Mood::LoseReply) => {
                effect(&mut objects).and(Err(StorageError::Unknown(format!("{path}: the reply was lost"))))
            }
        };
        Box::pin(std::future::ready(reply))
    }
}

impl Clock for World {
    fn now(&self) -> Time {
        Time(self.0.now.load(Ordering::Relaxed))
    }
    fn wall_ms(&self) -> u64 {
        0
    }
    fn sleep_until(&self, deadline: Time) -> BoxFuture<'static, ()> {
        let world = self.clone();
        Box::pin(std::future::poll_fn(move |_| {
            if !world.0.stopped.load(Ordering::Relaxed) {
                world.0.now.fetch_max(deadline.0, Ordering::Relaxed);
            }
            if world.now() >= deadline { Poll::Ready(()) } else { Poll::Pending }
        }))
    }
    fn work(&self, _site: Site, _work: Work) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

impl Storage for World {
    fn read(&self, path: &str, range: Range<u64>) -> BoxFuture<'static, Result<Piece, StorageError>> {
        if self.0.grows.load(Ordering::Relaxed) && path.starts_with("input") {
            let grown = self.objects().get(path).map(|(bytes, _)| [bytes, &b"more\n"[..]].concat());
            grown.into_iter().for_each(|grown| self.write_into(path, &grown));
        }
        if self.0.rewritten.load(Ordering::Relaxed) > 0 && path.starts_with("input") {
            self.0.rewritten.fetch_sub(1, Ordering::Relaxed);
            let same = self.objects().get(path).map(|(bytes, _)| bytes.clone());
            same.into_iter().for_each(|same| self.write_into(path, &same));
        }
        self.answer(path, |objects| {
            let (bytes, version) = objects.get(path).ok_or_else(|| StorageError::NotFound(path.into()))?;
            let size = bytes.len() as u64;
            let (start, mut end) = (range.start.min(size), range.end.min(size));
            if let most @ 1.. = self.0.read_at_most.load(Ordering::Relaxed) {
                end = end.min(start + most);
            }
            let bytes = bytes.slice(start as usize..end.max(start) as usize);
            self.0.bytes_read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(Piece { bytes, size, version: version.clone() })
        })
    }
    fn rename(&self, from: &str, to: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        self.answer(to, |objects| {
            if objects.contains_key(to) {
                return Err(StorageError::Exists(to.into()));
            }
            let object = objects.remove(from).ok_or_else(|| StorageError::NotFound(from.into()))?;
            objects.insert(to.into(), object);
            Ok(())
        })
    }
    fn upload(&self, path: &str) -> Box<dyn Upload> {
        let (world, object) = (self.clone(), path.to_owned());
        Collected::upload(path, move |bytes| world.write(&object, bytes, WriteMode::Overwrite))
    }
    fn write(&self, path: &str, bytes: Bytes, mode: WriteMode) -> BoxFuture<'static, Result<(), StorageError>> {
        self.answer(path, |objects| {
            if mode == WriteMode::Create && objects.contains_key(path) {
                return Err(StorageError::Exists(path.into()));
            }
            objects.insert(path.into(), (bytes, self.new_file()));
            Ok(())
        })
    }
    fn delete(&self, path: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        self.answer(path, |objects| {
            objects.remove(path);
            Ok(())
        })
    }
    fn list(&self, prefix: &str, depth: Depth) -> BoxFuture<'static, Result<Vec<ObjectMeta>, StorageError>> {
        self.answer(prefix, |objects| {
            let found = objects.iter().filter(|(path, _)| is_inside(path, prefix) && depth.shows(prefix, path));
            let object = |(path, (bytes, version)): (&String, &(Bytes, Version))| ObjectMeta {
                path: path.clone(),
                bytes: bytes.len() as u64,
                version: version.clone(),
            };
            Ok(found.map(object).collect())
        })
    }

    fn incarnation(&self) -> u64 {
        7
    }

    fn clear(&self, _: BTreeSet<u64>) -> BoxFuture<'static, Result<(), StorageError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Schedule for World {
    fn pick(&self, _site: Site, choices: usize) -> usize {
        choices - 1
    }
    fn token(&self, _site: Site) -> u64 {
        7
    }
    fn nonce(&self, _site: Site) -> [u8; 32] {
        unreachable!("the data plane does not use the network")
    }
}

impl Network for World {
    fn listen(&self, _address: String) -> BoxFuture<'static, Result<Box<dyn Listener>, NetworkError>> {
        unreachable!("the data plane does not use the network")
    }
    fn connect(&self, _address: String) -> BoxFuture<'static, Result<Connection, NetworkError>> {
        unreachable!("the data plane does not use the network")
    }
}

impl Spawner for World {
    fn spawn(&self, _site: Site, _future: BoxFuture<'static, ()>) -> Box<dyn TaskHandle> {
        unreachable!("the data plane spawns nothing")
    }
    fn bell(&self, _site: Site) -> Arc<dyn Bell> {
        struct Mute;
        impl Bell for Mute {
            fn ring(&self) {}
            fn rung(&self) -> u64 {
                0
            }
            fn poll_rung(&self, _seen: u64, _context: &mut Context<'_>) -> Poll<u64> {
                Poll::Pending
            }
        }
        Arc::new(Mute)
    }
}

impl Trace for World {
    fn emit(&self, _event: Event) {}
}

fn is_inside(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An attempt of the first generation.
pub fn attempt(number: u32) -> Attempt {
    Attempt { generation: Generation(1), number }
}

/// What subtask `index` of `parallelism` of operator `uid` is told.
pub fn context(world: &World, uid: &str, index: u16, parallelism: u16, batch_records: usize) -> SubtaskContext {
    let subtask = SubtaskId { operator: OperatorId(0), index };
    let env = world.env();
    SubtaskContext {
        env,
        subtask,
        uid: uid.into(),
        parallelism,
        max_parallelism: 128,
        attempt: attempt(1),
        batch_records,
        listing: None,
    }
}

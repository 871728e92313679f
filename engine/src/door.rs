//! The door: every contact of the engine with the outside world, and the guarantee of each method.
//!
//! In production the traits are tokio, TCP and an object store ([`crate::os`]); under test they are a seeded
//! world. The engine cannot tell. Records never cross a trait object one by one: a batch is the unit.
//!
//! Rules for an implementation of a trait here:
//! 1. Promise only what is written on the method; a double must be able to break everything else.
//! 2. One handle belongs to one incarnation of one process. Once that incarnation is dead the handle is
//!    *fenced*: futures never complete or say [`StorageError::Fenced`], and nothing it asks for happens.
//! 3. A task of the engine is woken only through this file: a clock, a connection, a storage reply or a [`Bell`].
//!    That is what lets a simulator own the order of everything.
//!
//! Does not cover: memory shared inside one task, and CPU time (only [`Clock::work`] makes time pass).

pub mod collected;
pub mod retry;
pub mod whole;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::{fmt, future::Future, ops::Range, pin::Pin, sync::Arc, task::Context, task::Poll, time::Duration};

use crate::error::Error;
use crate::event::Event;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything outside, cheap to clone. One per incarnation of a process.
#[derive(Clone)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Connections to other processes.
    pub network: Arc<dyn Network>,
    /// Durable objects: checkpoints, input and output, told apart by the first segment of the path.
    pub storage: Arc<dyn Storage>,
    /// Systems that are neither: logs, databases.
    pub externals: Arc<dyn Externals>,
    /// Every free choice.
    pub schedule: Arc<dyn Schedule>,
    /// Tasks and the bells between them.
    pub spawner: Arc<dyn Spawner>,
    /// What the engine announces.
    pub trace: Arc<dyn Trace>,
}

impl Env {
    /// Announces an event.
    pub fn emit(&self, event: Event) {
        self.trace.emit(event);
    }

    /// Sleeps for `duration` from now.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(self.clock.now() + duration)
    }
}

/// Where in the engine a choice, a delay or a bell belongs: a name, and a lane that tells logical instances
/// apart (see [`crate::ids::lane`]). Randomness is keyed by it, so that one site's draws never move another's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Site {
    /// What is chosen or waited for, e.g. `"input"`.
    pub what: &'static str,
    /// Which logical instance, e.g. the packed subtask id.
    pub lane: u64,
}

impl Site {
    /// A site.
    pub fn new(what: &'static str, lane: u64) -> Self {
        Self { what, lane }
    }
}

/// Nanoseconds on a monotonic clock whose zero means nothing. Not comparable between processes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

impl std::ops::Add<Duration> for Time {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Time {
    /// The time from `earlier` to `self`, zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Time.
pub trait Clock: Send + Sync {
    /// Monotonic within one incarnation. May drift against other processes.
    fn now(&self) -> Time;

    /// Milliseconds since 1970 for people to read. May jump; nothing may be decided by it.
    fn wall_ms(&self) -> u64;

    /// Completes at or after `deadline`, never before. Dropping it cancels it.
    fn sleep_until(&self, deadline: Time) -> BoxFuture<'static, ()>;

    /// Says that work was done at `site`, and how long that shall take: `None` in production, where it has already
    /// taken its time; a virtual delay under test.
    fn work(&self, site: Site, work: Work) -> Option<BoxFuture<'static, ()>>;
}

/// Work that a task has done, by what it costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// So many records processed.
    Records(u64),
    /// A page of so many bytes encoded.
    Page(u64),
}

/// Why the network could not do it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkError {
    /// No process listens there, or not now. Trying again later is sensible.
    #[error("cannot connect to {0}: {1}")]
    Refused(String, String),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    CannotListen(String, String),
    /// The connection is over. Frames sent last may or may not have arrived.
    #[error("connection to {0} broke: {1}")]
    Broken(String, String),
    /// The peer sent something that is no frame (too long, garbled). This connection is over, others are not.
    #[error("malformed frame from {0}: {1}")]
    Malformed(String, String),
}

impl From<NetworkError> for Error {
    fn from(error: NetworkError) -> Self {
        Self::restart(error.to_string())
    }
}

/// Connections between processes.
pub trait Network: Send + Sync {
    /// Starts listening. Port 0 picks a free port; [`Listener::address`] says which.
    fn listen(&self, address: String) -> BoxFuture<'static, Result<Box<dyn Listener>, NetworkError>>;

    /// Connects. May take arbitrarily long; the caller bounds it.
    fn connect(&self, address: String) -> BoxFuture<'static, Result<Connection, NetworkError>>;
}

/// An open port. Dropping it closes it.
pub trait Listener: Send {
    /// The address peers can connect to.
    fn address(&self) -> String;

    /// The next incoming connection. Cancel-safe.
    fn accept(&mut self) -> BoxFuture<'_, Result<Connection, NetworkError>>;
}

/// Both halves of a connection: whole frames, in order, each at most once, until it breaks. Dropping both
/// halves closes it.
pub struct Connection {
    /// Who is at the other end, for messages.
    pub peer: String,
    /// The sending half.
    pub sender: Box<dyn FrameSender>,
    /// The receiving half.
    pub receiver: Box<dyn FrameReceiver>,
}

/// Sends whole frames.
pub trait FrameSender: Send {
    /// Hands a frame to the connection, waiting while the window is full. `Ok` does not mean that it arrived.
    /// A break is noticed late or (half-open) never. Not cancel-safe: a dropped send breaks the connection.
    fn send(&mut self, frame: Bytes) -> BoxFuture<'_, Result<(), NetworkError>>;
}

/// Receives whole frames.
pub trait FrameReceiver: Send {
    /// The next frame. Frames are neither lost, repeated nor reordered before the break; after it there are none.
    /// Cancel-safe.
    fn receive(&mut self) -> BoxFuture<'_, Result<Bytes, NetworkError>>;

    /// From the next `receive` on a frame of more than `bytes_max` bytes is malformed, and no memory is spent on it. Until
    /// this is called [`FRAME_BYTES_MAX`] bytes are allowed.
    fn bound(&mut self, bytes_max: usize);
}

/// The largest frame that may be sent; a longer length prefix is malformed.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// How a write treats an existing object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum WriteMode {
    /// Only if there is none; of several concurrent creators exactly one succeeds.
    Create,
    /// Whatever is there.
    Overwrite,
}

/// What became of a storage request. `Ok` means durable: it survives the crash of every process.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StorageError {
    /// No such object.
    #[error("{0} does not exist")]
    NotFound(String),
    /// A `Create` found an object. It may be the caller's own, from a request whose reply was lost.
    #[error("{0} exists already")]
    Exists(String),
    /// The request had no effect and never will have one. Names the object and the cause.
    #[error("{0}")]
    Failed(String),
    /// The request may have taken effect, or may still do so. Never guess: read back.
    #[error("{0} (the outcome is unknown)")]
    Unknown(String),
    /// This incarnation is dead.
    #[error("this process has been fenced off from storage")]
    Fenced,
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Fenced => Self::fenced(error.to_string()),
            StorageError::NotFound(_)
            | StorageError::Exists(_)
            | StorageError::Failed(_)
            | StorageError::Unknown(_) => Self::restart(error.to_string()),
        }
    }
}

/// Which content an object has: every write of the object changes its version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Version {
    /// Of a file on a disk. Writing into the file keeps the inode; another file of the same name has another inode.
    File {
        /// The number of the inode.
        inode: u64,
        /// The last modification, in nanoseconds since 1970.
        modified_ns: u64,
    },
    /// Of an object in a store: its entity tag.
    Tag(String),
}

/// A stored object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ObjectMeta {
    /// Its full path.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its version.
    pub version: Version,
}

/// How deep a listing goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Everything below.
    Tree,
    /// What lies in the folder itself. What its sub-folders hold is neither looked at nor paid for.
    Folder,
}

impl Depth {
    /// Whether a listing of `prefix` shows an object at `path` below it.
    pub fn shows(self, prefix: &str, path: &str) -> bool {
        match self {
            Self::Tree => true,
            Self::Folder => path.strip_prefix(prefix).is_none_or(|name| !name.trim_start_matches('/').contains('/')),
        }
    }
}

/// How old a listing may be.
pub const LISTING_AGE_MAX: Duration = Duration::from_millis(100);

/// Some bytes of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Bytes from the start of the range on.
    pub bytes: Bytes,
    /// The length of the whole object.
    pub size: u64,
    /// The version of the object. A file on a disk may be written while it is read: then this is the version at the end of
    /// the read, so bytes of an earlier version never carry that earlier version by mistake.
    pub version: Version,
}

/// Durable objects under `/`-separated paths. Objects appear whole or not at all, and a read sees the newest write or
/// delete that was completed before it began. (The real stores promise that: S3, GCS, Azure, HDFS, a local disk. So a
/// deleted object is gone for every reader; only a delete whose outcome is unknown may take effect later.)
///
/// A request may take arbitrarily long, or never be answered: a caller that must go on bounds it
/// ([`crate::runtime::patience`]). Giving up on one does not call it back.
pub trait Storage: Send + Sync {
    /// Reads a range of an object. May return *fewer* bytes than asked for, but at least one as long as the range
    /// starts before the end; a range that reaches past the end is cut off there, and one that starts at or past the
    /// end yields no bytes. [`whole`] reads on until all is there.
    fn read(&self, path: &str, range: Range<u64>) -> BoxFuture<'static, Result<Piece, StorageError>>;

    /// Writes a whole object, atomically and durably.
    fn write(&self, path: &str, bytes: Bytes, mode: WriteMode) -> BoxFuture<'static, Result<(), StorageError>>;

    /// An object that will be written in parts. Asks for nothing yet.
    fn upload(&self, path: &str) -> Box<dyn Upload>;

    /// Gives the object `from` the name `to`, durably, if no object has that name (otherwise `Exists`). `NotFound`: there is
    /// no object `from`. At every instant at least one of the two names has the object; on a disk exactly one has it, so when
    /// another program moves the object away from `to`, nothing is left at `from`.
    fn rename(&self, from: &str, to: &str) -> BoxFuture<'static, Result<(), StorageError>>;

    /// Deletes an object; deleting what is not there is done too.
    fn delete(&self, path: &str) -> BoxFuture<'static, Result<(), StorageError>>;

    /// Every object whose path is `prefix` or starts with `prefix/`, as deep as `depth` says, sorted by path. May be
    /// *out of date*: it shows the objects as they all were at one instant, which is at most [`LISTING_AGE_MAX`] before the
    /// request was made.
    fn list(&self, prefix: &str, depth: Depth) -> BoxFuture<'static, Result<Vec<ObjectMeta>, StorageError>>;

    /// The number of this incarnation of this process. No other incarnation and no other process has it.
    fn incarnation(&self) -> u64;

    /// Clears away what every incarnation that is not among `living` has begun to write and not finished: staged files,
    /// parts of uploads. This incarnation always counts as living. Nothing that is visible is touched; a request under
    /// way of a cleared incarnation has failed for certain, and its uploads exist no more ([`StorageError::NotFound`]).
    /// A store that removes such parts by a rule of its own may do nothing here.
    fn clear(&self, living: BTreeSet<u64>) -> BoxFuture<'static, Result<(), StorageError>>;

    /// What people call the object, for messages: the name that the user typed, where there is one.
    fn shown(&self, path: &str) -> String {
        path.to_owned()
    }
}

/// An object on its way into storage, part by part. Nothing of it is visible, neither to reads nor to listings, before
/// it is complete. Dropping it leaves its parts behind, invisible, until they are [cleared away](Storage::clear); so does a
/// crash.
///
/// There is no `Create` here, because stores cannot complete an upload on condition: a path that is uploaded to
/// belongs to one uploader alone.
pub trait Upload: Send {
    /// Adds the next part, which counts once this returns `Ok`. After any error the same part may be given again.
    fn part(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StorageError>>;

    /// Makes the object of all parts, at least one, appear: atomically, durably, over whatever is there. `NotFound`:
    /// there is no such upload any more, because it was completed or aborted before.
    fn complete(&mut self) -> BoxFuture<'_, Result<(), StorageError>>;

    /// Forgets the parts; aborting what is over is done too.
    fn abort(&mut self) -> BoxFuture<'_, Result<(), StorageError>>;
}

/// What became of a request to a system outside. `Ok` means that it took effect and was answered; whether the answer is
/// a refusal is between the system and its caller.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExternalError {
    /// The request had no effect and never will have one. Names the system and the cause.
    #[error("{0}")]
    Failed(String),
    /// The request may have taken effect, or may still do so: never guess. Ask again only what may be repeated.
    #[error("{0} (the outcome is unknown)")]
    Unknown(String),
    /// This incarnation is dead.
    #[error("this process has been fenced off from systems outside")]
    Fenced,
}

/// Systems outside that take part in a job, each by its name: logs, databases, whatever keeps state of its own.
pub trait Externals: Send + Sync {
    /// Asks a system and waits for its answer. A request takes effect at one instant, at most once, and before its
    /// answer; requests that are not waited for may overtake each other. It may take arbitrarily long, or never be
    /// answered ([`crate::runtime::patience`] bounds that), and dropping the future does not call it back. What a
    /// process asked for before it died may still take effect after its successor came up: only the system itself can
    /// tell them apart.
    fn call(&self, system: &str, request: Bytes) -> BoxFuture<'static, Result<Bytes, ExternalError>>;
}

/// Every free choice of the engine.
pub trait Schedule: Send + Sync {
    /// One of `0..choices`, `choices` ≥ 1. Any answer is correct; over many calls every choice must come up.
    fn pick(&self, site: Site, choices: usize) -> usize;

    /// A number that no other process or incarnation will draw for this purpose: a writer's token.
    fn token(&self, site: Site) -> u64;

    /// 256 bits that no other process can predict, and that no process will draw again: the operating system's
    /// randomness in production. Under test they follow from the seed, which no process in the world knows.
    fn nonce(&self, site: Site) -> [u8; 32];
}

/// Tasks and the bells between them.
pub trait Spawner: Send + Sync {
    /// Runs `future` beside the caller until it ends or is aborted, or the process dies.
    fn spawn(&self, site: Site, future: BoxFuture<'static, ()>) -> Box<dyn TaskHandle>;

    /// A new bell for the task that will listen at `site`.
    fn bell(&self, site: Site) -> Arc<dyn Bell>;
}

/// A spawned task. Dropping the handle lets it run on.
pub trait TaskHandle: Send + Sync {
    /// Drops the task's future at its next suspension point, at the latest before it would be polled again.
    fn abort(&self);
}

/// How one task of a process tells another that something waits for it. Queues are the engine's own and
/// visible at once; the *knowledge* travels through the bell, so that its order belongs to the outside.
pub trait Bell: Send + Sync {
    /// Adds one ring. Never blocks.
    fn ring(&self);

    /// How many rings have arrived. Each ring arrives exactly once, possibly later.
    fn rung(&self) -> u64;

    /// Ready once more than `seen` rings have arrived; otherwise registers the task, one at a time.
    fn poll_rung(&self, seen: u64, context: &mut Context<'_>) -> Poll<u64>;
}

/// What the engine announces. Returns nothing, so nothing can depend on it.
pub trait Trace: Send + Sync {
    /// Records an event. Synchronous and cheap; never blocks.
    fn emit(&self, event: Event);
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}

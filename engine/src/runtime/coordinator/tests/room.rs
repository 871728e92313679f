//! A room to run processes in: one thread, virtual time, memory for storage and network. Kind, except where a test
//! tells storage what to do with a request.

use crate::door::*;
use crate::event::Event;
use crate::persist::layout;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// What storage does with a request of which a test has an opinion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// No effect, and it says so.
    Fail,
    /// It takes effect, and the reply is lost.
    LoseReply,
    /// No effect yet: a write lands when the test says so.
    Hold,
}

/// What an operation is, for a test that has an opinion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Read,
    Write,
    Delete,
}

/// Weather for storage: every request meets a fate of its own, drawn from a seed.
pub struct Storm(u64);

impl Storm {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn fate(&mut self) -> Option<Fate> {
        match self.draw() % 20 {
            0 => Some(Fate::Fail),
            1 => Some(Fate::LoseReply),
            2 => Some(Fate::Hold),
            _ => None,
        }
    }
}

type Watch = Box<dyn Fn(&Room, &Event) + Send>;

#[derive(Default)]
struct State {
    now: u64,
    serial: u64,
    tasks: BTreeMap<u64, (u32, Option<BoxFuture<'static, ()>>)>,
    ready: VecDeque<u64>,
    timers: BTreeMap<(u64, u64), Waker>,
    objects: BTreeMap<String, Bytes>,
    opinions: VecDeque<(Op, &'static str, Fate)>,
    held: Vec<(String, Bytes)>,
    ports: BTreeMap<String, VecDeque<Connection>>,
    port_wakers: BTreeMap<String, Waker>,
    events: Vec<Event>,
    watch: Option<Watch>,
    storm: Option<Storm>,
}

/// The room, cheap to clone.
#[derive(Clone, Default)]
pub struct Room(Arc<Mutex<State>>);

/// One incarnation of a process in the room.
#[derive(Clone)]
struct Process {
    room: Room,
    number: u32,
}

impl Room {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outside as process `number` sees it.
    pub fn env(&self, number: u32) -> Env {
        let process = Arc::new(Process { room: self.clone(), number });
        Env {
            clock: process.clone(),
            network: process.clone(),
            storage: process.clone(),
            externals: Arc::new(crate::os::external::Clients::default()),
            schedule: process.clone(),
            spawner: process.clone(),
            trace: process,
        }
    }

    /// Runs `test` until it is done, and panics if it is not after an hour.
    pub fn run<T: Send + 'static>(&self, test: impl Future<Output = T> + Send + 'static) -> T {
        let result = Arc::new(Mutex::new(None));
        let kept = result.clone();
        self.spawn(0, Box::pin(async move { *kept.lock().expect("nobody panicked") = Some(test.await) }));
        let mut polls = 0;
        loop {
            if let Some(result) = result.lock().expect("nobody panicked").take() {
                return result;
            }
            let ready = self.state().ready.pop_front();
            match ready {
                Some(task) => {
                    polls += 1;
                    assert!(polls < 1_000_000, "time stands still at {}: the test is stuck", self.state().now);
                    self.poll(task);
                }
                None => {
                    polls = 0;
                    self.advance();
                }
            }
        }
    }

    /// Drops every task of a process: it does nothing any more.
    pub fn crash(&self, number: u32) {
        let mut state = self.state();
        let (dead, alive) = std::mem::take(&mut state.tasks).into_iter().partition(|(_, (of, _))| *of == number);
        state.tasks = alive;
        drop(state);
        drop::<BTreeMap<_, _>>(dead);
    }

    /// The next request of this kind whose path contains `part` meets this fate.
    pub fn expect(&self, op: Op, part: &'static str, fate: Fate) {
        self.state().opinions.push_back((op, part, fate));
    }

    /// Writes that were held take effect, as creations.
    pub fn land(&self) {
        let mut state = self.state();
        for (path, bytes) in std::mem::take(&mut state.held) {
            state.objects.entry(path).or_insert(bytes);
        }
    }

    /// Removes an object behind everybody's back.
    pub fn remove(&self, path: &str) {
        assert!(self.state().objects.remove(path).is_some(), "{path} exists");
    }

    /// Storage in this weather; `None` is calm, and what was held lands.
    pub fn storm(&self, storm: Option<Storm>) {
        let calm = storm.is_none();
        self.state().storm = storm;
        if calm {
            self.land();
        }
    }

    /// A number below `bound`, zero in calm weather.
    pub fn draw(&self, bound: u64) -> u64 {
        self.state().storm.as_mut().map_or(0, |storm| storm.draw() % bound)
    }

    /// One chance in `odds`, none in calm weather.
    pub fn chance(&self, odds: u64) -> bool {
        self.state().storm.as_mut().is_some_and(|storm| storm.draw() % odds == 0)
    }

    /// Shows every announcement to `watch` when it is made.
    pub fn watch(&self, watch: impl Fn(&Room, &Event) + Send + 'static) {
        self.state().watch = Some(Box::new(watch));
    }

    pub fn read(&self, path: &str) -> Option<Bytes> {
        self.state().objects.get(path).cloned()
    }

    /// Every object but the leader's sign of life and the marks of the output, which come and stay whatever else happens.
    pub fn paths(&self) -> BTreeSet<String> {
        let comes = |path: &&String| **path == layout::LEADER || path.starts_with("output/");
        self.state().objects.keys().filter(|path| !comes(path)).cloned().collect()
    }

    pub fn write(&self, path: &str) {
        self.put(path, b"state");
    }

    pub fn put(&self, path: &str, bytes: &'static [u8]) {
        self.state().objects.insert(path.to_owned(), Bytes::from_static(bytes));
    }

    /// What was announced so far.
    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    fn spawn(&self, process: u32, future: BoxFuture<'static, ()>) -> u64 {
        let mut state = self.state();
        state.serial += 1;
        let id = state.serial;
        state.tasks.insert(id, (process, Some(future)));
        state.ready.push_back(id);
        id
    }

    fn poll(&self, task: u64) {
        let Some(mut future) = self.state().tasks.get_mut(&task).and_then(|(_, future)| future.take()) else { return };
        let waker = Waker::from(Arc::new(TaskWaker { room: self.clone(), task }));
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let mut state = self.state();
        if polled.is_ready() {
            state.tasks.remove(&task);
        } else if let Some((_, place)) = state.tasks.get_mut(&task) {
            *place = Some(future);
        }
    }

    fn advance(&self) {
        let mut state = self.state();
        let ((time, _), waker) = state.timers.pop_first().expect("nobody waits for a clock: the test is stuck");
        assert!(time < 3_600_000_000_000, "an hour has passed: the test is stuck: {:#?}", state.events);
        state.now = state.now.max(time);
        drop(state);
        waker.wake();
    }

    fn fate(&self, op: Op, path: &str) -> Option<Fate> {
        let mut state = self.state();
        if let Some(storm) = &mut state.storm {
            return storm.fate();
        }
        let found = state.opinions.iter().position(|(of, part, _)| *of == op && path.contains(part))?;
        state.opinions.remove(found).map(|(_, _, fate)| fate)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let deadline = Time(self.state().now) + duration;
        Box::pin(Sleep { room: self.clone(), deadline: deadline.0, armed: false })
    }
}

struct TaskWaker {
    room: Room,
    task: u64,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.room.state().ready.push_back(self.task);
    }
}

struct Sleep {
    room: Room,
    deadline: u64,
    armed: bool,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let room = self.room.clone();
        let mut state = room.state();
        if state.now >= self.deadline {
            return Poll::Ready(());
        }
        if !self.armed {
            self.armed = true;
            state.serial += 1;
            let key = (self.deadline, state.serial);
            state.timers.insert(key, context.waker().clone());
        }
        Poll::Pending
    }
}

impl Clock for Process {
    fn now(&self) -> Time {
        Time(self.room.state().now)
    }
    fn wall_ms(&self) -> u64 {
        self.room.state().now / 1_000_000
    }
    fn sleep_until(&self, deadline: Time) -> BoxFuture<'static, ()> {
        self.room.sleep(deadline.since(self.now()))
    }
    fn work(&self, _: Site, _: crate::door::Work) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

impl Schedule for Process {
    fn pick(&self, _: Site, _: usize) -> usize {
        0
    }
    fn token(&self, _: Site) -> u64 {
        let mut state = self.room.state();
        state.serial += 1;
        state.serial
    }
    fn nonce(&self, site: Site) -> [u8; 32] {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&self.token(site).to_le_bytes());
        nonce
    }
}

impl Trace for Process {
    fn emit(&self, event: Event) {
        let watch = self.room.state().watch.take();
        if let Some(watch) = watch {
            watch(&self.room, &event);
            self.room.state().watch = Some(watch);
        }
        self.room.state().events.push(event);
    }
}

struct Task {
    room: Room,
    id: u64,
}

impl TaskHandle for Task {
    fn abort(&self) {
        let task = self.room.state().tasks.remove(&self.id);
        drop(task);
    }
}

impl Spawner for Process {
    fn spawn(&self, _: Site, future: BoxFuture<'static, ()>) -> Box<dyn TaskHandle> {
        Box::new(Task { room: self.room.clone(), id: self.room.spawn(self.number, future) })
    }
    fn bell(&self, _: Site) -> Arc<dyn Bell> {
        Arc::new(CountingBell::default())
    }
}

#[derive(Default)]
struct CountingBell(Mutex<(u64, Option<Waker>)>);

impl Bell for CountingBell {
    fn ring(&self) {
        let mut bell = self.0.lock().expect("nobody panicked");
        bell.0 += 1;
        let waker = bell.1.take();
        drop(bell);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
    fn rung(&self) -> u64 {
        self.0.lock().expect("nobody panicked").0
    }
    fn poll_rung(&self, seen: u64, context: &mut Context<'_>) -> Poll<u64> {
        let mut bell = self.0.lock().expect("nobody panicked");
        if bell.0 > seen {
            return Poll::Ready(bell.0);
        }
        bell.1 = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Room {
    /// How long storage takes.
    fn latency(&self) -> BoxFuture<'static, ()> {
        self.sleep(Duration::from_millis(1 + self.draw(20)))
    }

    /// In a storm a held write lands some time, whoever asked for it.
    fn hold(&self, path: String, bytes: Bytes) {
        let delay = Duration::from_millis(self.draw(3000));
        let stormy = self.state().storm.is_some();
        self.state().held.push((path.clone(), bytes));
        let room = self.clone();
        if stormy {
            let landing = async move {
                room.sleep(delay).await;
                let mut state = room.state();
                if let Some(index) = state.held.iter().position(|(held, _)| *held == path) {
                    let (path, bytes) = state.held.remove(index);
                    state.objects.entry(path).or_insert(bytes);
                }
            };
            self.spawn(0, Box::pin(landing));
        }
    }
}

impl Storage for Process {
    fn read(&self, path: &str, range: Range<u64>) -> BoxFuture<'static, Result<Piece, StorageError>> {
        let (room, path) = (self.room.clone(), path.to_owned());
        Box::pin(async move {
            room.latency().await;
            match room.fate(Op::Read, &path) {
                None => {
                    let object = room.state().objects.get(&path).cloned().ok_or(StorageError::NotFound(path))?;
                    let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(object.len());
                    let bytes = object.slice(clamp(range.start)..clamp(range.end));
                    Ok(Piece { bytes, size: object.len() as u64, version: version_of(&object) })
                }
                Some(fate) => Err(StorageError::Failed(format!("{path}: {fate:?}"))),
            }
        })
    }

    fn write(&self, path: &str, bytes: Bytes, mode: WriteMode) -> BoxFuture<'static, Result<(), StorageError>> {
        let (room, path) = (self.room.clone(), path.to_owned());
        Box::pin(async move {
            room.latency().await;
            let fate = room.fate(Op::Write, &path);
            match fate {
                Some(Fate::Fail) => return Err(StorageError::Failed(format!("{path}: no space"))),
                Some(Fate::Hold) => {
                    room.hold(path.clone(), bytes);
                    return Err(StorageError::Unknown(path));
                }
                None | Some(Fate::LoseReply) => {}
            }
            let mut state = room.state();
            if mode == WriteMode::Create && state.objects.contains_key(&path) {
                return Err(StorageError::Exists(path));
            }
            state.objects.insert(path.clone(), bytes);
            if fate.is_some() { Err(StorageError::Unknown(path)) } else { Ok(()) }
        })
    }

    fn rename(&self, _: &str, _: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        unreachable!("the coordinator renames nothing")
    }

    fn upload(&self, _path: &str) -> Box<dyn Upload> {
        unreachable!("the coordinator uploads nothing in parts")
    }

    fn delete(&self, path: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        let (room, path) = (self.room.clone(), path.to_owned());
        Box::pin(async move {
            room.latency().await;
            if room.fate(Op::Delete, &path).is_some() {
                return Err(StorageError::Failed(path));
            }
            room.state().objects.remove(&path);
            Ok(())
        })
    }

    fn list(&self, prefix: &str, depth: Depth) -> BoxFuture<'static, Result<Vec<ObjectMeta>, StorageError>> {
        let (room, prefix) = (self.room.clone(), format!("{prefix}/"));
        Box::pin(async move {
            room.latency().await;
            let state = room.state();
            let below =
                state.objects.iter().filter(|(path, _)| path.starts_with(&prefix) && depth.shows(&prefix, path));
            let object = |(path, bytes): (&String, &Bytes)| ObjectMeta {
                path: path.clone(),
                bytes: bytes.len() as u64,
                version: version_of(bytes),
            };
            Ok(below.map(object).collect())
        })
    }

    fn incarnation(&self) -> u64 {
        0
    }

    fn clear(&self, _: BTreeSet<u64>) -> BoxFuture<'static, Result<(), StorageError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The version of an object with this content.
fn version_of(bytes: &Bytes) -> Version {
    Version::Tag(format!("{:08x}", crc32c::crc32c(bytes)))
}

/// One direction of a connection.
#[derive(Default)]
struct Pipe(Mutex<(VecDeque<Bytes>, bool, Option<Waker>)>);

impl Pipe {
    fn change(&self, change: impl FnOnce(&mut VecDeque<Bytes>, &mut bool)) {
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (frames, closed, waker) = &mut *pipe;
        change(frames, closed);
        let waker = waker.take();
        drop(pipe);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Half {
    pipe: Arc<Pipe>,
    bytes_max: usize,
    /// The other direction, which a dropped receiver closes too.
    back: Arc<Pipe>,
}

impl Drop for Half {
    fn drop(&mut self) {
        self.pipe.change(|_, closed| *closed = true);
        self.back.change(|_, closed| *closed = true);
    }
}

fn broken<T>() -> Result<T, NetworkError> {
    Err(NetworkError::Broken("the peer".into(), "closed".into()))
}

impl FrameSender for Half {
    fn send(&mut self, frame: Bytes) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(async move {
            let mut sent = broken();
            self.pipe.change(|frames, closed| {
                if !*closed {
                    frames.push_back(frame);
                    sent = Ok(());
                }
            });
            sent
        })
    }
}

impl FrameReceiver for Half {
    fn receive(&mut self) -> BoxFuture<'_, Result<Bytes, NetworkError>> {
        Box::pin(std::future::poll_fn(|context| {
            let mut pipe = self.pipe.0.lock().expect("nobody panicked");
            if let Some(frame) = pipe.0.pop_front() {
                let malformed = || NetworkError::Malformed("the peer".into(), format!("{} bytes", frame.len()));
                return Poll::Ready(if frame.len() > self.bytes_max { Err(malformed()) } else { Ok(frame) });
            }
            if pipe.1 {
                return Poll::Ready(broken());
            }
            pipe.2 = Some(context.waker().clone());
            Poll::Pending
        }))
    }
    fn bound(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }
}

struct Port {
    room: Room,
    address: String,
}

impl Listener for Port {
    fn address(&self) -> String {
        self.address.clone()
    }
    fn accept(&mut self) -> BoxFuture<'_, Result<Connection, NetworkError>> {
        Box::pin(std::future::poll_fn(|context| {
            let mut state = self.room.state();
            let waiting = state.ports.get_mut(&self.address).and_then(VecDeque::pop_front);
            if let Some(connection) = waiting {
                return Poll::Ready(Ok(connection));
            }
            state.port_wakers.insert(self.address.clone(), context.waker().clone());
            Poll::Pending
        }))
    }
}

impl Network for Process {
    fn listen(&self, address: String) -> BoxFuture<'static, Result<Box<dyn Listener>, NetworkError>> {
        let room = self.room.clone();
        Box::pin(async move {
            let before = room.state().ports.insert(address.clone(), VecDeque::new());
            drop(before);
            let port: Box<dyn Listener> = Box::new(Port { room, address });
            Ok(port)
        })
    }

    fn connect(&self, address: String) -> BoxFuture<'static, Result<Connection, NetworkError>> {
        let room = self.room.clone();
        Box::pin(async move {
            let (there, back) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
            let half = |pipe: &Arc<Pipe>, back: &Arc<Pipe>| {
                let (pipe, back) = (pipe.clone(), back.clone());
                Box::new(Half { pipe, back, bytes_max: FRAME_BYTES_MAX })
            };
            let end = |out: &Arc<Pipe>, into: &Arc<Pipe>| Connection {
                peer: "the peer".into(),
                sender: half(out, into),
                receiver: half(into, out),
            };
            let (near, far) = (end(&there, &back), end(&back, &there));
            let mut state = room.state();
            let Some(port) = state.ports.get_mut(&address) else {
                return Err(NetworkError::Refused(address, "nobody listens".into()));
            };
            port.push_back(far);
            let waker = state.port_wakers.remove(&address);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
            Ok(near)
        })
    }
}

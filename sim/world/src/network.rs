//! The network's state: listeners, connections and what is on their lanes.
//!
//! ```text
//! end 0 (connected)  -- lane to 1: in flight … | arrived, unread … -->  end 1 (accepted)
//!                    <-- lane to 0: arrived, unread … | … in flight --
//! ```
//!
//! 1. A frame arrives after a keyed latency, never before an earlier one of its lane.
//! 2. `send` waits while a window of frames is in flight or unread; reading one makes room, which a waiting sender
//!    learns by a delivery.
//! 3. A closed end (both halves dropped, or its process ended) is noticed after everything it sent has arrived.
//! 4. A crash or reset loses a keyed suffix of what was in flight. The peer's halves notice separately, later, or
//!    (half-open) never. Of a half-open connection between the living one end is always told.
//!
//! Invariant: each end of a connection is told of its end at most once per half, and has no frame after that.
//! Not modelled: garbled frames, connections that come up on one side only.

use super::Shared;
use super::keyed::{Domain, identity};
use super::queue::Arrival;
use super::state::State;
use super::wait::{Outcome, WaitId};
use bytes::Bytes;
use cofferdam_engine::door::NetworkError;
use cofferdam_engine::ids::Attempt;
use cofferdam_properties::history::{Fact, Process, What};
use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

/// At least this much is between two frames of a lane.
const GAP_NS: u64 = 1_000;

/// One direction of a connection, named by the end it leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lane {
    pub connection: u32,
    pub to: u8,
}

/// One end of a connection: 0 connected, 1 accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ConnectionEnd {
    pub connection: u32,
    pub end: u8,
}

/// One half of an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Half {
    Sender = 0,
    Receiver = 1,
}

/// A frame on a lane.
pub(super) struct Frame {
    pub bytes: Bytes,
    /// Of the report that it was forged from, if it was.
    pub rogue: Option<Attempt>,
}

/// A connection request on its way to its listener.
pub(crate) struct ConnectRequest {
    pub wait: WaitId,
    pub incarnation: u32,
    pub address: String,
    pub key: u64,
}

/// The state of the network.
#[derive(Default)]
pub(crate) struct Network {
    connections: Vec<Connection>,
    listeners: Vec<Listener>,
    addresses: BTreeMap<String, u32>,
    ports: BTreeMap<Process, u16>,
}

struct Listener {
    incarnation: u32,
    address: String,
    /// Known to others in advance: whoever takes the process's place listens there too.
    well_known: bool,
    open: bool,
    incoming: VecDeque<ConnectionEnd>,
    waiter: Option<Waker>,
}

struct Connection {
    key: u64,
    /// Reset: what is sent from now on arrives nowhere.
    severed: bool,
    ends: [End; 2],
}

struct End {
    incarnation: u32,
    /// Who is at the other end, for messages.
    peer: String,
    /// No handle of it is left, or its process is gone.
    gone: bool,
    handles: u8,
    /// Per half: the engine has been told that the connection is over.
    told: [bool; 2],
    /// Half-open: nobody tells it that the connection is over, except as was decided then.
    deceived: bool,
    /// The lane that leads here is so many times slower than others.
    slowness: u64,
    /// The receiver will be told with the last frame in flight.
    over_after_flight: bool,
    send_waiter: Option<Waker>,
    receive_waiter: Option<Waker>,
    /// The lane that leads here.
    in_flight: VecDeque<Frame>,
    arrived: VecDeque<Frame>,
    /// Sent towards here and not yet read.
    unread: u32,
    sent: u64,
    credits: u64,
    credit_on_its_way: bool,
    arrives_last: u64,
}

impl End {
    fn new(incarnation: u32, peer: String) -> Self {
        Self {
            incarnation,
            peer,
            gone: false,
            handles: 0,
            told: [false; 2],
            deceived: false,
            slowness: 1,
            over_after_flight: false,
            send_waiter: None,
            receive_waiter: None,
            in_flight: VecDeque::new(),
            arrived: VecDeque::new(),
            unread: 0,
            sent: 0,
            credits: 0,
            credit_on_its_way: false,
            arrives_last: 0,
        }
    }
}

/// What became of a send.
pub(crate) enum Sent {
    /// It is on its way.
    Away,
    /// The window is full; the frame is given back and the sender registered.
    Full(Bytes),
    /// The connection is over.
    Broken(NetworkError),
}

impl Network {
    fn end(&mut self, of: ConnectionEnd) -> &mut End {
        &mut self.connections[of.connection as usize].ends[usize::from(of.end)]
    }

    /// Whose task a delivery to `end` wakes.
    pub fn incarnation(&self, connection: u32, end: u8) -> u32 {
        self.connections[connection as usize].ends[usize::from(end)].incarnation
    }

    /// Who is at the other end.
    pub fn peer(&mut self, of: ConnectionEnd) -> String {
        self.end(of).peer.clone()
    }

    /// Opens a port: the listener's number and its full address.
    pub fn listen(&mut self, incarnation: u32, process: Process, address: &str) -> Result<(u32, String), NetworkError> {
        let refuse = |cause: &str| NetworkError::CannotListen(address.to_owned(), cause.to_owned());
        let (host, port) = address.rsplit_once(':').ok_or_else(|| refuse("it has no port"))?;
        let port: u16 = port.parse().map_err(|_| refuse("its port is no number"))?;
        let well_known = port > 0;
        let port = if well_known {
            port
        } else {
            // Ports are not reused: an address of an earlier incarnation stays dead.
            let next = self.ports.entry(process).or_insert(40_000);
            *next += 1;
            *next
        };
        let full = format!("{host}:{port}");
        if let Some(&taken) = self.addresses.get(&full)
            && self.listeners[taken as usize].open
        {
            return Err(refuse("the address is in use"));
        }
        let number = u32::try_from(self.listeners.len()).expect("fewer than 2^32 listeners");
        self.listeners.push(Listener {
            incarnation,
            address: full.clone(),
            well_known,
            open: true,
            incoming: VecDeque::new(),
            waiter: None,
        });
        self.addresses.insert(full.clone(), number);
        Ok((number, full))
    }

    /// The open listener at `address`, and whose it is.
    pub fn listener(&self, address: &str) -> Option<(u32, u32)> {
        let number = *self.addresses.get(address)?;
        let listener = &self.listeners[number as usize];
        listener.open.then_some((number, listener.incarnation))
    }

    /// The next incoming connection of a listener.
    pub fn incoming(&mut self, listener: u32) -> Option<ConnectionEnd> {
        self.listeners[listener as usize].incoming.pop_front()
    }

    /// Where an acceptor registers.
    pub fn accept_waiter(&mut self, listener: u32) -> &mut Option<Waker> {
        &mut self.listeners[listener as usize].waiter
    }

    /// Where a receiver registers.
    pub fn receive_waiter(&mut self, of: ConnectionEnd) -> &mut Option<Waker> {
        &mut self.end(of).receive_waiter
    }

    /// Where a sender registers.
    pub fn send_waiter(&mut self, of: ConnectionEnd) -> &mut Option<Waker> {
        &mut self.end(of).send_waiter
    }

    /// The engine holds both halves from now on.
    pub fn hand_out(&mut self, of: ConnectionEnd) -> String {
        let end = self.end(of);
        assert_eq!(end.handles, 0, "an end is handed out once");
        end.handles = 2;
        end.peer.clone()
    }

    /// Somebody else takes the place of an incarnation: its well-known addresses lead to it no more.
    pub fn moved_away(&mut self, incarnation: u32) {
        for (number, listener) in self.listeners.iter().enumerate() {
            if listener.incarnation == incarnation
                && listener.well_known
                && self.addresses.get(&listener.address).is_some_and(|&at| at as usize == number)
            {
                self.addresses.remove(&listener.address);
            }
        }
    }

    /// Every waker, to be dropped without the world's lock.
    pub fn take_waiters(&mut self) -> Vec<Waker> {
        let ends = self.connections.iter_mut().flat_map(|connection| &mut connection.ends);
        let waiters = ends.flat_map(|end| [end.send_waiter.take(), end.receive_waiter.take()]);
        waiters.chain(self.listeners.iter_mut().map(|listener| listener.waiter.take())).flatten().collect()
    }
}

impl State {
    fn broken(&mut self, of: ConnectionEnd) -> NetworkError {
        NetworkError::Broken(self.network.peer(of), "the connection was lost".to_owned())
    }

    /// Hands a frame to the lane that leads away from `from`.
    pub fn send_frame(&mut self, world: &Shared, from: ConnectionEnd, frame: Bytes) -> Sent {
        if self.network.end(from).told[Half::Sender as usize] {
            return Sent::Broken(self.broken(from));
        }
        let connection = &self.network.connections[from.connection as usize];
        if connection.ends[usize::from(1 - from.end)].unread >= world.tuning.window {
            return Sent::Full(frame);
        }
        let severed = connection.severed;
        let incarnation = |end| self.network.incarnation(from.connection, end);
        let between = (incarnation(from.end), incarnation(1 - from.end));
        let forged = if severed { None } else { self.forge(world, between, &frame) };
        match forged {
            None => self.put_on_lane(world, from, Frame { bytes: frame, rogue: None }),
            Some(frames) => frames.into_iter().for_each(|frame| self.put_on_lane(world, from, frame)),
        }
        Sent::Away
    }

    fn put_on_lane(&mut self, world: &Shared, from: ConnectionEnd, frame: Frame) {
        let now = world.now();
        let lane = Lane { connection: from.connection, to: 1 - from.end };
        let connection = &mut self.network.connections[from.connection as usize];
        let by = connection.ends[usize::from(from.end)].incarnation;
        let end = &mut connection.ends[usize::from(lane.to)];
        let word = world.keyed.draw(Domain::Network, (connection.key, lane.to), end.sent);
        end.sent += 1;
        end.unread += 1;
        if connection.severed {
            self.counters.frames_lost += 1;
            return;
        }
        let size_ns = (frame.bytes.len() as u64 * world.tuning.link_per_kb_ns) >> 10;
        let latency = world.tuning.link.from_draw(word) * end.slowness + size_ns;
        let arrives = self.faults.arrival(now, latency, by, Some(end.incarnation));
        // Frames held up behind a slow one still come one by one.
        end.arrives_last = arrives.max(end.arrives_last.saturating_add(GAP_NS + size_ns));
        end.in_flight.push_back(frame);
        self.queue.push(end.arrives_last, word, Arrival::Frame(lane));
    }

    /// The oldest frame of a lane arrives.
    pub fn frame_arrives(&mut self, lane: Lane) -> Option<Waker> {
        let end = self.network.end(ConnectionEnd { connection: lane.connection, end: lane.to });
        // None: it was lost in a crash or a reset.
        let frame = end.in_flight.pop_front()?;
        if end.gone || end.told[Half::Receiver as usize] {
            self.counters.frames_lost += 1;
            return None;
        }
        end.arrived.push_back(frame);
        self.counters.frames_delivered += 1;
        if end.over_after_flight && end.in_flight.is_empty() {
            end.told[Half::Receiver as usize] = true;
        }
        end.receive_waiter.take()
    }

    /// Takes the next arrived frame, or says that there will be none.
    pub fn receive_frame(&mut self, world: &Shared, at: ConnectionEnd) -> Option<Result<Bytes, NetworkError>> {
        let connection = &mut self.network.connections[at.connection as usize];
        let key = connection.key;
        let [first, second] = &mut connection.ends;
        let (end, other) = if at.end == 0 { (first, second) } else { (second, first) };
        let Some(frame) = end.arrived.pop_front() else {
            return end.told[Half::Receiver as usize].then(|| Err(self.broken(at)));
        };
        assert!(end.unread > 0, "an unread frame was counted when it was sent");
        end.unread -= 1;
        if other.send_waiter.is_some() && !end.credit_on_its_way {
            end.credit_on_its_way = true;
            let word = world.keyed.draw(Domain::Network, (key, at.end, "credit"), end.credits);
            end.credits += 1;
            let arrives = self.faults.arrival(
                world.now(),
                world.tuning.link.from_draw(word),
                end.incarnation,
                Some(other.incarnation),
            );
            self.queue.push(arrives, word, Arrival::Credit(Lane { connection: at.connection, to: at.end }));
        }
        let (reader, from) = (end.incarnation, other.incarnation);
        if let Some(attempt) = frame.rogue {
            let (by, from) = (self.incarnation(reader).who, self.incarnation(from).who);
            self.record(world.now(), by, What::Fact(Fact::RogueReceived { from, attempt }));
        }
        Some(Ok(frame.bytes))
    }

    /// The sender of a lane learns that there is room.
    pub fn credit_arrives(&mut self, lane: Lane) -> Option<Waker> {
        self.network.end(ConnectionEnd { connection: lane.connection, end: lane.to }).credit_on_its_way = false;
        self.network.end(ConnectionEnd { connection: lane.connection, end: 1 - lane.to }).send_waiter.take()
    }

    /// One half of an end learns that the connection is over.
    pub fn break_arrives(&mut self, lane: Lane, half: Half) -> Option<Waker> {
        let end = self.network.end(ConnectionEnd { connection: lane.connection, end: lane.to });
        if half == Half::Receiver && !end.in_flight.is_empty() {
            // At the same instant as the last frames, or put off with them by a pause.
            end.over_after_flight = true;
            self.counters.connections_broken += 1;
            return None;
        }
        if end.gone || std::mem::replace(&mut end.told[half as usize], true) {
            return None;
        }
        match half {
            Half::Sender => end.send_waiter.take(),
            Half::Receiver => {
                self.counters.connections_broken += 1;
                end.receive_waiter.take()
            }
        }
    }

    /// A connection request arrives: the connection comes up, or the refusal goes back.
    pub fn connect_arrives(&mut self, world: &Shared, request: ConnectRequest) -> Option<Waker> {
        let from = request.incarnation;
        if self.waits.incarnation(request.wait).is_none() || self.incarnation(from).is_fenced() {
            return None;
        }
        let word = world.keyed.draw(Domain::Network, (request.key, "reply"), 0);
        let latency = world.tuning.link.from_draw(word);
        let mut listener = self.network.listener(&request.address);
        if let Some((_, at)) = listener {
            let through = self.faults.arrival(world.now(), 0, from, Some(at));
            if through > world.now() {
                // The listener is cut off.
                self.queue.push(through, word, Arrival::Connect(Box::new(request)));
                return None;
            }
            if self.faults.refuses(world.now(), at) {
                listener = None;
            }
        }
        let Some((number, at)) = listener else {
            let refused = NetworkError::Refused(request.address, "nobody listens there".to_owned());
            let prepared = self.waits.prepare(request.wait, Outcome::Connected(Err(refused)));
            assert!(prepared.is_ok(), "the wait was just seen");
            self.queue.push(world.now() + latency, word, Arrival::Wait(request.wait));
            return None;
        };
        let connection = u32::try_from(self.network.connections.len()).expect("fewer than 2^32 connections");
        let caller = self.incarnation(from).who.process.to_string();
        let mut ends = [End::new(from, request.address), End::new(at, caller)];
        let replied = self.faults.arrival(world.now(), latency, at, Some(from));
        for (side, end) in ends.iter_mut().enumerate() {
            end.slowness =
                world.tuning.unfairness(world.keyed.draw(Domain::Network, (request.key, "unfair"), side as u64));
        }
        // The acceptor's first frame comes after the news that the connection is up.
        ends[0].arrives_last = replied;
        self.network.connections.push(Connection { key: request.key, severed: false, ends });
        self.counters.connections += 1;
        let outcome = Outcome::Connected(Ok(ConnectionEnd { connection, end: 0 }));
        let prepared = self.waits.prepare(request.wait, outcome);
        assert!(prepared.is_ok(), "the wait was just seen");
        self.queue.push(replied, word, Arrival::Wait(request.wait));
        let listener = &mut self.network.listeners[number as usize];
        listener.incoming.push_back(ConnectionEnd { connection, end: 1 });
        listener.waiter.take()
    }

    /// A half of an end was dropped; with the second one the end is closed.
    pub fn drop_half(&mut self, world: &Shared, of: ConnectionEnd) {
        let end = self.network.end(of);
        assert!(end.handles > 0, "a handle is dropped once");
        end.handles -= 1;
        if end.handles == 0 {
            self.close_end(world, of);
        }
    }

    /// An end is over as far as its own side goes; the peer learns it after everything that was sent.
    pub fn close_end(&mut self, world: &Shared, of: ConnectionEnd) {
        if std::mem::replace(&mut self.network.end(of).gone, true) {
            return;
        }
        self.notice_break(world, ConnectionEnd { end: 1 - of.end, ..of }, world.tuning.link, "close");
    }

    /// Both halves of `end` will be told that the connection is over, after what is in flight to them.
    fn notice_break(&mut self, world: &Shared, of: ConnectionEnd, delay: super::Delay, cause: &'static str) {
        let connection = &self.network.connections[of.connection as usize];
        let end = &connection.ends[usize::from(of.end)];
        if end.gone || end.deceived {
            return;
        }
        let from = connection.ends[usize::from(1 - of.end)].incarnation;
        for half in [Half::Sender, Half::Receiver] {
            let word = world.keyed.draw(Domain::Network, (connection.key, of.end, half as u8), identity(cause));
            let arrives = self.faults.arrival(world.now(), delay.from_draw(word), from, Some(end.incarnation));
            let arrives = arrives.max(end.arrives_last);
            self.queue.push(arrives, word, Arrival::Break(Lane { connection: of.connection, to: of.end }, half));
        }
    }

    /// Ends everything an incarnation has on the network: orderly when its process ended, or `crashed`.
    pub fn disconnect(&mut self, world: &Shared, incarnation: u32, crashed: bool) {
        for number in 0..self.network.listeners.len() {
            if self.network.listeners[number].incarnation == incarnation {
                self.close_listener(world, u32::try_from(number).expect("counted as u32"));
            }
        }
        for end in self.ends_of(incarnation) {
            if !crashed {
                self.close_end(world, end);
                continue;
            }
            self.lose_frames(world, end);
            self.network.end(end).gone = true;
            self.network.end(end).arrived.clear();
            let key = self.network.connections[end.connection as usize].key;
            let word = world.keyed.draw(Domain::Loss, (key, end.end, "half-open"), 0);
            let half_open = world.tuning.half_open_one_in;
            if half_open == 0 || !word.is_multiple_of(u64::from(half_open)) {
                self.notice_break(world, ConnectionEnd { end: 1 - end.end, ..end }, world.tuning.break_notice, "crash");
            }
        }
    }

    /// Breaks the connections of an incarnation with these peers; says how many. With `believed`, they become half-open:
    /// one end is told soon, the other at that time.
    pub fn break_connections(
        &mut self,
        world: &Shared,
        incarnation: u32,
        with: impl Fn(Process) -> bool,
        believed: Option<u64>,
    ) -> u32 {
        let mut broken = 0;
        for end in self.ends_of(incarnation) {
            let far = ConnectionEnd { end: 1 - end.end, ..end };
            let peer = self.network.end(far).incarnation;
            if !with(self.incarnation(peer).who.process) {
                continue;
            }
            broken += 1;
            let connection = &mut self.network.connections[end.connection as usize];
            connection.severed = true;
            let word = world.keyed.draw(Domain::Loss, (connection.key, "deceived"), 0);
            let sides = if word.is_multiple_of(2) { [end, far] } else { [far, end] };
            for side in sides {
                self.lose_frames(world, side);
            }
            self.notice_break(world, sides[0], world.tuning.break_notice, "reset");
            match believed {
                None => self.notice_break(world, sides[1], world.tuning.break_notice, "reset"),
                Some(until) => self.deceive(sides[1], until),
            }
        }
        broken
    }

    /// An end believes in a dead connection until then.
    fn deceive(&mut self, of: ConnectionEnd, until: u64) {
        let end = self.network.end(of);
        if end.gone || std::mem::replace(&mut end.deceived, true) || until == u64::MAX {
            return;
        }
        let until = until.max(end.arrives_last);
        for half in [Half::Sender, Half::Receiver] {
            let lane = Lane { connection: of.connection, to: of.end };
            self.queue.push(until, identity((of.connection, of.end, half as u8)), Arrival::Break(lane, half));
        }
    }

    /// A send was dropped half-way: this end cannot send any more, and the connection is over.
    pub fn abandon_send(&mut self, world: &Shared, of: ConnectionEnd) {
        self.network.end(of).told[Half::Sender as usize] = true;
        self.network.connections[of.connection as usize].severed = true;
        for side in [of, ConnectionEnd { end: 1 - of.end, ..of }] {
            self.notice_break(world, side, world.tuning.link, "abandon");
        }
    }

    /// A keyed suffix of what `from` has in flight will never arrive.
    fn lose_frames(&mut self, world: &Shared, from: ConnectionEnd) {
        let connection = &mut self.network.connections[from.connection as usize];
        let key = connection.key;
        let end = &mut connection.ends[usize::from(1 - from.end)];
        let in_flight = end.in_flight.len();
        let word = world.keyed.draw(Domain::Loss, (key, from.end), end.sent);
        let kept = (word % (in_flight as u64 + 1)) as usize;
        end.in_flight.truncate(kept);
        self.counters.frames_lost += (in_flight - kept) as u64;
    }

    fn ends_of(&self, incarnation: u32) -> Vec<ConnectionEnd> {
        let mut found = Vec::new();
        for (number, connection) in self.network.connections.iter().enumerate() {
            for (side, end) in connection.ends.iter().enumerate() {
                if end.incarnation == incarnation && !end.gone {
                    found.push(ConnectionEnd { connection: number as u32, end: side as u8 });
                }
            }
        }
        found
    }

    /// Closes a port; whoever had connected without having been accepted is turned away.
    pub fn close_listener(&mut self, world: &Shared, number: u32) {
        let listener = &mut self.network.listeners[number as usize];
        if !std::mem::replace(&mut listener.open, false) {
            return;
        }
        let incoming = std::mem::take(&mut listener.incoming);
        if self.network.addresses.get(&listener.address) == Some(&number) {
            self.network.addresses.remove(&listener.address);
        }
        for end in incoming {
            self.close_end(world, end);
        }
    }
}

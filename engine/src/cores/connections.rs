//! The connections of a coordinator, all of members: which process is at the other end, what is read of it, and when it
//! counts as silent.
//!
//! 1. A connection begins as a *newcomer*, which has the heartbeat timeout to say what it wants. One frame of it is
//!    read. One newcomer more than [`NEWCOMERS_MAX`] closes the oldest.
//! 2. A process that registers waits, gets the place of its worker, and counts as that worker once it has shown that it
//!    sees the output. Everything it sends is read.
//! 3. A client waits for one answer. Each further frame of it is read when the one before has been dealt with, so only
//!    a worker can fill the mailbox.
//! 4. A connection of which nothing was heard for the heartbeat timeout is silent. Reason: a half-open connection
//!    reports nothing.
//!
//! Owns: roles, the time of the last frame. Does not own: sockets, which process is a worker ([`super::roster`]), which
//! of two connections is a worker's newest ([`super::failover`]). Invariants: a frame is sent to open connections only;
//! the number of newcomers and of clients is bounded.

use super::checkpointing::REQUESTS_MAX;
use super::failover::ConnectionId;
use crate::config::JobConfig;
use crate::door::Time;
use crate::ids::WorkerId;
use crate::messages::ToWorker;
use crate::messages::client::{ToClient, Wish};
use crate::messages::handshake::Claim;
use std::collections::BTreeMap;
use std::time::Duration;

/// Connections that have neither registered nor asked. One more closes the oldest.
pub const NEWCOMERS_MAX: usize = 64;

/// Clients at a time. One more is turned away, and its request is not looked at: the clients that wait came first.
pub const CLIENTS_MAX: usize = 2 * REQUESTS_MAX;

/// What is done to connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send a frame to workers, and to processes that want to be workers.
    Send {
        /// The connections, in this order.
        to: Vec<ConnectionId>,
        /// The frame.
        message: ToWorker,
    },
    /// Send a frame to clients.
    Answer {
        /// The connections, in this order.
        to: Vec<ConnectionId>,
        /// The frame.
        message: ToClient,
    },
    /// Read more of a connection.
    Read {
        /// Which one.
        connection: ConnectionId,
        /// How much more.
        admission: Admission,
    },
    /// Close a connection.
    Close {
        /// Which one.
        connection: ConnectionId,
    },
}

/// How much of a connection is read behind its first frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Everything.
    ToTheEnd,
    /// One frame.
    OneMore,
}

/// Which process is at the other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// A member that has proved to be this, and has not said what it wants.
    Newcomer(Claim),
    /// A process that wants to be a worker and has no place yet, and its data address.
    Waiting(WorkerId, String),
    /// A process that has the place of its worker and has still to show that it sees the output, and its data address.
    Placed(WorkerId, String),
    /// A worker, and its data address.
    Worker(WorkerId, String),
    /// A client that waits for this.
    Client(Wish),
    /// A client that has its answer, and is expected to hang up.
    Answered,
}

/// An open connection.
#[derive(Clone, Debug)]
pub struct Open {
    /// The address of the other end.
    pub peer: String,
    /// Which process it is.
    pub role: Role,
    heard: Time,
}

/// The open connections.
#[derive(Debug)]
pub struct Connections {
    interval: Duration,
    timeout: Duration,
    open: BTreeMap<ConnectionId, Open>,
    next_heartbeat: Time,
}

impl Connections {
    /// No connection is open.
    pub fn new(now: Time, config: &JobConfig) -> Self {
        Self {
            interval: config.heartbeat_interval,
            timeout: config.heartbeat_timeout,
            open: BTreeMap::new(),
            next_heartbeat: now + config.heartbeat_interval,
        }
    }

    /// A member has connected. Ids are given in the order of acceptance.
    pub fn on_accepted(&mut self, now: Time, id: ConnectionId, peer: String, claim: Claim, out: &mut Vec<Effect>) {
        assert!(self.open.last_key_value().is_none_or(|(last, _)| *last < id), "ids of connections increase");
        let newcomers = self.open.iter().filter(|(_, open)| matches!(open.role, Role::Newcomer(_)));
        let mut newcomers = newcomers.map(|(id, _)| *id);
        if let (Some(oldest), Some(_)) = (newcomers.next(), newcomers.nth(NEWCOMERS_MAX - 2)) {
            self.close(oldest, out);
        }
        self.open.insert(id, Open { peer, role: Role::Newcomer(claim), heard: now });
        self.validate();
    }

    /// An open connection; `None` if it was closed meanwhile.
    pub fn get(&self, id: ConnectionId) -> Option<&Open> {
        self.open.get(&id)
    }

    /// A frame arrived. `None` if the connection was closed meanwhile.
    pub fn heard(&mut self, now: Time, id: ConnectionId) -> Option<&Open> {
        let open = self.open.get_mut(&id)?;
        assert!(open.heard <= now, "time does not go back");
        open.heard = now;
        Some(open)
    }

    /// The connection is of a process that wants to be a worker; everything it sends is read from here on.
    pub fn admit(&mut self, id: ConnectionId, worker: WorkerId, data_address: String, out: &mut Vec<Effect>) {
        if let Some(open) = self.open.get_mut(&id) {
            assert!(matches!(open.role, Role::Newcomer(_)), "a connection registers once");
            open.role = Role::Waiting(worker, data_address);
            out.push(Effect::Read { connection: id, admission: Admission::ToTheEnd });
        }
        self.validate();
    }

    /// The process at this connection has the place of the worker that it wants to be.
    pub fn place(&mut self, id: ConnectionId) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let before = open.role.clone();
        if let Role::Waiting(worker, data_address) = &mut open.role {
            open.role = Role::Placed(*worker, std::mem::take(data_address));
        }
        assert!(open.role != before, "a process that waits gets a place");
    }

    /// The process at this connection sees the output, and counts as its worker from here on.
    pub fn promote(&mut self, id: ConnectionId) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let before = open.role.clone();
        if let Role::Placed(worker, data_address) = &mut open.role {
            open.role = Role::Worker(*worker, std::mem::take(data_address));
        }
        assert!(open.role != before, "a process counts once it has its place");
    }

    /// The connection is of a worker that is told at once that the job is over.
    pub fn dismiss(&mut self, id: ConnectionId, worker: WorkerId, data_address: String, out: &mut Vec<Effect>) {
        if let Some(open) = self.open.get_mut(&id) {
            open.role = Role::Worker(worker, data_address);
            self.send(id, ToWorker::JobDone, out);
        }
    }

    /// The workers that have still to show that they see the output.
    pub fn placed(&self) -> Vec<ConnectionId> {
        let placed = self.open.iter().filter(|(_, open)| matches!(open.role, Role::Placed(..)));
        placed.map(|(id, _)| *id).collect()
    }

    /// Whether a connection is this worker's, whether it counts yet or not.
    pub fn has(&self, worker: WorkerId) -> bool {
        let is_it = |open: &Open| matches!(&open.role, Role::Placed(own, _) | Role::Worker(own, _) if *own == worker);
        self.open.values().any(is_it)
    }

    /// The first frame is a client's. The connection is a client from here on, unless there are too many: then it is
    /// turned away, and hangs up.
    pub fn attend(&mut self, id: ConnectionId, wish: Wish, out: &mut Vec<Effect>) -> Attendance {
        let clients = self.open.values().filter(|open| matches!(open.role, Role::Client(_) | Role::Answered)).count();
        let Some(open) = self.open.get_mut(&id) else { return Attendance::TurnedAway };
        if clients >= CLIENTS_MAX {
            out.push(Effect::Answer { to: vec![id], message: ToClient::Busy });
            return Attendance::TurnedAway;
        }
        open.role = Role::Client(wish);
        out.push(Effect::Read { connection: id, admission: Admission::OneMore });
        self.validate();
        Attendance::Attended
    }

    /// A client's frame has been dealt with.
    pub fn read_on(&self, id: ConnectionId, out: &mut Vec<Effect>) {
        if let Some(open) = self.open.get(&id) {
            assert!(matches!(open.role, Role::Client(_) | Role::Answered), "all of a worker is read anyway");
            out.push(Effect::Read { connection: id, admission: Admission::OneMore });
        }
    }

    /// The clients that wait for `wish`.
    pub fn waiting_for(&self, wish: Wish) -> Vec<ConnectionId> {
        let waiting = self.open.iter().filter(|(_, open)| matches!(open.role, Role::Client(own) if own == wish));
        waiting.map(|(id, _)| *id).collect()
    }

    /// The last frame to a client. One that does not hang up then is closed for its silence.
    pub fn answer(&mut self, id: ConnectionId, message: ToClient, out: &mut Vec<Effect>) {
        if let Some(open) = self.open.get_mut(&id) {
            assert!(matches!(open.role, Role::Client(_)), "a client is answered once");
            open.role = Role::Answered;
            out.push(Effect::Answer { to: vec![id], message });
        }
    }

    /// Sends to one connection, if it is open.
    pub fn send(&self, id: ConnectionId, message: ToWorker, out: &mut Vec<Effect>) {
        if self.open.contains_key(&id) {
            out.push(Effect::Send { to: vec![id], message });
        }
    }

    /// Sends to every worker, and to every process that waits to be one.
    pub fn broadcast(&self, message: ToWorker, out: &mut Vec<Effect>) {
        let is_worker = |role: &Role| matches!(role, Role::Placed(..) | Role::Worker(..) | Role::Waiting(..));
        let to: Vec<_> = self.open.iter().filter(|(_, open)| is_worker(&open.role)).map(|(id, _)| *id).collect();
        if !to.is_empty() {
            out.push(Effect::Send { to, message });
        }
    }

    /// Closes a connection, if it is open.
    pub fn close(&mut self, id: ConnectionId, out: &mut Vec<Effect>) {
        if self.open.remove(&id).is_some() {
            out.push(Effect::Close { connection: id });
        }
    }

    /// Closes every connection.
    pub fn close_all(&mut self, out: &mut Vec<Effect>) {
        let open = std::mem::take(&mut self.open);
        out.extend(open.into_keys().map(|connection| Effect::Close { connection }));
        self.validate();
    }

    /// Whether neither a worker nor a client is connected.
    pub fn is_empty(&self) -> bool {
        self.open.values().all(|open| matches!(open.role, Role::Newcomer(_)))
    }

    /// Whether a worker is connected.
    pub fn has_workers(&self) -> bool {
        self.open.values().any(|open| matches!(open.role, Role::Worker(..)))
    }

    /// When to look at the clock next.
    pub fn deadline(&self) -> Time {
        let silence = self.open.values().map(|open| open.heard + self.timeout).min();
        silence.map_or(self.next_heartbeat, |silence| silence.min(self.next_heartbeat))
    }

    /// Time has passed. Says which connections have been silent for too long.
    pub fn on_alarm(&mut self, now: Time, out: &mut Vec<Effect>) -> Vec<ConnectionId> {
        if now >= self.next_heartbeat {
            self.next_heartbeat = now + self.interval;
            self.broadcast(ToWorker::Heartbeat, out);
            let clients = self.open.iter().filter(|(_, open)| matches!(open.role, Role::Client(_)));
            let to: Vec<_> = clients.map(|(id, _)| *id).collect();
            if !to.is_empty() {
                out.push(Effect::Answer { to, message: ToClient::Heartbeat });
            }
        }
        let silent = self.open.iter().filter(|(_, open)| now >= open.heard + self.timeout);
        silent.map(|(id, _)| *id).collect()
    }

    /// The heartbeat timeout.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    fn validate(&self) {
        let count = |is: fn(&Role) -> bool| self.open.values().filter(|open| is(&open.role)).count();
        assert!(count(|role| matches!(role, Role::Newcomer(_))) <= NEWCOMERS_MAX, "newcomers are bounded");
        assert!(count(|role| matches!(role, Role::Client(_) | Role::Answered)) <= CLIENTS_MAX, "clients are bounded");
    }
}

/// Whether a client may wait for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Attendance {
    /// It may.
    Attended,
    /// There are too many clients, or it is gone.
    TurnedAway,
}

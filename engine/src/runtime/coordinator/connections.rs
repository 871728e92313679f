//! The open connections of a coordinator, all of members: a reader and a writer task each, heartbeats out, silence noticed.
//!
//! Of a connection that has not registered or asked one frame is read, and there are never many of them. Of a client's connection
//! each further frame is read when the one before has been dealt with: only a worker can fill the mailbox.
//!
//! A connection ends when either task reports it broken, when nothing was heard for the heartbeat timeout (a half-open
//! connection reports nothing), or when it is closed here. Both tasks are aborted then, which drops both halves.
//!
//! Owns: frames on their way out. Does not own: who a worker's newest connection is ([`crate::cores::failover`]).

use super::{ConnectionId, Input, Member};
use crate::config::JobConfig;
use crate::cores::checkpointing::REQUESTS_MAX;
use crate::door::{Connection, Env, FrameReceiver, FrameSender, Site, TaskHandle, Time};
use crate::error::Reaction;
use crate::ids::WorkerId;
use crate::messages::client::{ToClient, Wish};
use crate::messages::handshake::Claim;
use crate::messages::{self, ToWorker};
use crate::runtime::mailbox::{Mailbox, Postbox};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// Connections that have neither registered nor asked. One more closes the oldest.
const NEWCOMERS_MAX: usize = 64;

/// Clients at a time. One more is told so, and nothing it wants is done: those who wait already have come first.
pub(super) const CLIENTS_MAX: usize = 2 * REQUESTS_MAX;

/// The open connections.
pub(super) struct Connections {
    interval: Duration,
    timeout: Duration,
    accepted: u64,
    open: BTreeMap<ConnectionId, Open>,
    next_heartbeat: Time,
}

/// One of them.
pub(super) struct Open {
    pub peer: String,
    pub role: Role,
    heard: Time,
    /// Lets the reader go on after the first frame.
    admitted: Postbox<Admission>,
    frames: Postbox<Bytes>,
    reader: Box<dyn TaskHandle>,
    writer: Box<dyn TaskHandle>,
}

/// Who is at the other end.
pub(super) enum Role {
    /// A member that has proved to be this, and has not said what it wants.
    Newcomer(Claim),
    /// A worker that has its place and has still to show that it sees the output, and where other workers reach it.
    Placed(WorkerId, String),
    /// A worker, and where other workers reach it.
    Worker(WorkerId, String),
    /// A client that waits for this.
    Client(Wish),
    /// A client that has its answer, and is expected to hang up.
    Answered,
    /// A process that wants to be a worker which another process is, and where other workers reach it.
    Waiting(WorkerId, String),
}

/// How far the reader may go on.
enum Admission {
    /// For as long as there is something to read.
    ToTheEnd,
    /// By one frame.
    OneMore,
}

impl Connections {
    pub fn new(now: Time, config: &JobConfig) -> Self {
        Self {
            interval: config.heartbeat_interval,
            timeout: config.heartbeat_timeout,
            accepted: 0,
            open: BTreeMap::new(),
            next_heartbeat: now + config.heartbeat_interval,
        }
    }

    /// Takes a connection in; it must say what it wants before the heartbeat timeout.
    pub fn open(&mut self, env: &Env, inbox: Postbox<Input>, member: Member) {
        let newcomers = self.open.iter().filter(|(_, open)| matches!(open.role, Role::Newcomer(_)));
        let mut newcomers = newcomers.map(|(id, _)| *id);
        if let (Some(oldest), Some(_)) = (newcomers.next(), newcomers.nth(NEWCOMERS_MAX - 2)) {
            self.close(oldest);
        }
        self.accepted += 1;
        let id = ConnectionId(self.accepted);
        let Member { connection: Connection { peer, sender, receiver }, claim } = member;
        let (frames, outgoing) = Mailbox::new(env, Site::new("coordinator.writer", id.0));
        let (admitted, admission) = Mailbox::new(env, Site::new("coordinator.reader", id.0));
        let spawn = |what, task| env.spawner.spawn(Site::new(what, id.0), task);
        let reader = spawn("coordinator.reader", Box::pin(read(id, receiver, admission, inbox.clone())));
        let writer = spawn("coordinator.writer", Box::pin(write(id, sender, outgoing, inbox)));
        let heard = env.clock.now();
        self.open.insert(id, Open { peer, role: Role::Newcomer(claim), heard, admitted, frames, reader, writer });
    }

    pub fn get(&self, id: ConnectionId) -> Option<&Open> {
        self.open.get(&id)
    }

    /// A frame arrived. `None` if the connection was closed meanwhile.
    pub fn heard(&mut self, now: Time, id: ConnectionId) -> Option<&mut Open> {
        let open = self.open.get_mut(&id)?;
        open.heard = now;
        Some(open)
    }

    /// The connection is of a process that wants to be a worker; what it says after its registration is read from here on.
    pub fn admit(&mut self, id: ConnectionId, worker: WorkerId, data_address: String) {
        if let Some(open) = self.open.get_mut(&id) {
            open.role = Role::Waiting(worker, data_address);
            open.admitted.post(Admission::ToTheEnd);
        }
    }

    /// The process at this connection has the place of the worker that it wants to be.
    pub fn place(&mut self, id: ConnectionId) {
        if let Some(open) = self.open.get_mut(&id)
            && let Role::Waiting(worker, data_address) = &mut open.role
        {
            open.role = Role::Placed(*worker, std::mem::take(data_address));
        }
    }

    /// It sees the output: it counts from here on.
    pub fn promote(&mut self, id: ConnectionId) {
        if let Some(open) = self.open.get_mut(&id)
            && let Role::Placed(worker, data_address) = &mut open.role
        {
            open.role = Role::Worker(*worker, std::mem::take(data_address));
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

    /// The connection is a client's, unless there are too many already.
    pub fn attend(&mut self, id: ConnectionId, wish: Wish) -> bool {
        let clients = self.open.values().filter(|open| matches!(open.role, Role::Client(_) | Role::Answered)).count();
        let Some(open) = self.open.get_mut(&id).filter(|_| clients < CLIENTS_MAX) else { return false };
        open.role = Role::Client(wish);
        open.admitted.post(Admission::OneMore);
        true
    }

    /// A client's frame has been dealt with.
    pub fn read_on(&self, id: ConnectionId) {
        if let Some(open) = self.open.get(&id) {
            open.admitted.post(Admission::OneMore);
        }
    }

    /// The clients that wait for `wish`.
    pub fn waiting_for(&self, wish: Wish) -> Vec<ConnectionId> {
        let waiting = self.open.iter().filter(|(_, open)| matches!(open.role, Role::Client(own) if own == wish));
        waiting.map(|(id, _)| *id).collect()
    }

    /// The last word to a client. One that does not hang up then is closed for its silence.
    pub fn answer(&mut self, id: ConnectionId, message: &ToClient) {
        if let Some(open) = self.open.get_mut(&id) {
            open.role = Role::Answered;
            open.frames.post(messages::encode(message));
        }
    }

    /// The last word to whoever did not become a client.
    pub fn turn_away(&self, id: ConnectionId, message: &ToClient) {
        if let Some(open) = self.open.get(&id) {
            open.frames.post(messages::encode(message));
        }
    }

    pub fn send(&self, id: ConnectionId, message: &ToWorker) {
        if let Some(open) = self.open.get(&id) {
            open.frames.post(messages::encode(message));
        }
    }

    /// Sends to every registered worker, and to those that wait to be one.
    pub fn broadcast(&self, message: &ToWorker) {
        let frame = messages::encode(message);
        for open in self
            .open
            .values()
            .filter(|open| matches!(open.role, Role::Placed(..) | Role::Worker(..) | Role::Waiting(..)))
        {
            open.frames.post(frame.clone());
        }
    }

    /// Closes a connection, if it is open.
    pub fn close(&mut self, id: ConnectionId) {
        if let Some(open) = self.open.remove(&id) {
            open.reader.abort();
            open.writer.abort();
        }
    }

    pub fn close_all(&mut self) {
        let ids: Vec<_> = self.open.keys().copied().collect();
        ids.into_iter().for_each(|id| self.close(id));
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

    /// Sends heartbeats that are due, and says which connections have been silent for too long.
    pub fn on_alarm(&mut self, now: Time) -> Vec<ConnectionId> {
        if now >= self.next_heartbeat {
            self.next_heartbeat = now + self.interval;
            self.broadcast(&ToWorker::Heartbeat);
            let frame = messages::encode(&ToClient::Heartbeat);
            for open in self.open.values().filter(|open| matches!(open.role, Role::Client(_))) {
                open.frames.post(frame.clone());
            }
        }
        let silent = self.open.iter().filter(|(_, open)| now >= open.heard + self.timeout);
        silent.map(|(id, _)| *id).collect()
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Reads the first frame, and the others as far as it is admitted: only a worker can fill the mailbox.
async fn read(
    id: ConnectionId,
    mut receiver: Box<dyn FrameReceiver>,
    mut admission: Mailbox<Admission>,
    inbox: Postbox<Input>,
) {
    let (mut newcomer, mut admitted) = (true, false);
    loop {
        let frame = match receiver.receive().await {
            Ok(frame) => frame,
            Err(error) => return inbox.post(Input::Broken(id, error.to_string())),
        };
        match messages::decode(&frame) {
            Ok(message) => inbox.post(Input::Message(id, message)),
            Err(error) if newcomer && error.reaction == Reaction::GiveUp => {
                return inbox.post(Input::Unfit(id, error.message));
            }
            Err(error) => return inbox.post(Input::Broken(id, error.message)),
        }
        newcomer = false;
        if !admitted {
            admitted = matches!(admission.take().await, Admission::ToTheEnd);
        }
    }
}

async fn write(
    id: ConnectionId,
    mut sender: Box<dyn FrameSender>,
    mut outgoing: Mailbox<Bytes>,
    inbox: Postbox<Input>,
) {
    loop {
        let frame = outgoing.take().await;
        if let Err(error) = sender.send(frame).await {
            return inbox.post(Input::Broken(id, error.to_string()));
        }
    }
}

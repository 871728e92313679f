//! The open connections of a coordinator: a reader and a writer task each, heartbeats out, silence noticed.
//!
//! Of a connection that has not registered one frame is read, and there are never many of them.
//!
//! A connection ends when either task reports it broken, when nothing was heard for the heartbeat timeout (a half-open
//! connection reports nothing), or when it is closed here. Both tasks are aborted then, which drops both halves.
//!
//! Owns: frames on their way out. Does not own: who a worker's newest connection is ([`crate::cores::failover`]).

use super::{ConnectionId, Input};
use crate::config::JobConfig;
use crate::door::{Connection, Env, FrameReceiver, FrameSender, Site, TaskHandle, Time};
use crate::error::Reaction;
use crate::ids::WorkerId;
use crate::messages::{self, ToWorker};
use crate::runtime::mailbox::{Mailbox, Postbox};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// Connections that have not registered. One more closes the oldest: a stranger can keep workers from registering only by
/// dialling faster than they answer, and never by holding connections.
const STRANGERS_MAX: usize = 64;

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
    /// Who it is, once registered, and where other workers reach it.
    pub worker: Option<(WorkerId, String)>,
    heard: Time,
    /// Lets the reader go on after the first frame.
    admitted: Postbox<()>,
    frames: Postbox<Bytes>,
    reader: Box<dyn TaskHandle>,
    writer: Box<dyn TaskHandle>,
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

    /// Takes a connection in; it must register before the heartbeat timeout.
    pub fn open(&mut self, env: &Env, inbox: Postbox<Input>, connection: Connection) {
        let mut strangers = self.open.iter().filter(|(_, open)| open.worker.is_none()).map(|(id, _)| *id);
        if let (Some(oldest), Some(_)) = (strangers.next(), strangers.nth(STRANGERS_MAX - 2)) {
            self.close(oldest);
        }
        self.accepted += 1;
        let id = ConnectionId(self.accepted);
        let Connection { peer, sender, receiver } = connection;
        let (frames, outgoing) = Mailbox::new(env, Site::new("coordinator.writer", id.0));
        let (admitted, admission) = Mailbox::new(env, Site::new("coordinator.reader", id.0));
        let spawn = |what, task| env.spawner.spawn(Site::new(what, id.0), task);
        let reader = spawn("coordinator.reader", Box::pin(read(id, receiver, admission, inbox.clone())));
        let writer = spawn("coordinator.writer", Box::pin(write(id, sender, outgoing, inbox)));
        let heard = env.clock.now();
        self.open.insert(id, Open { peer, worker: None, heard, admitted, frames, reader, writer });
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

    /// The connection is a worker's; what it says after its registration is read from here on.
    pub fn admit(&mut self, id: ConnectionId, worker: WorkerId, data_address: String) {
        if let Some(open) = self.open.get_mut(&id) {
            open.worker = Some((worker, data_address));
            open.admitted.post(());
        }
    }

    pub fn send(&self, id: ConnectionId, message: &ToWorker) {
        if let Some(open) = self.open.get(&id) {
            open.frames.post(messages::encode(message));
        }
    }

    /// Sends to every registered worker.
    pub fn broadcast(&self, message: &ToWorker) {
        let frame = messages::encode(message);
        for open in self.open.values().filter(|open| open.worker.is_some()) {
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

    /// Whether no worker is connected.
    pub fn is_empty(&self) -> bool {
        self.open.values().all(|open| open.worker.is_none())
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
        }
        let silent = self.open.iter().filter(|(_, open)| now >= open.heard + self.timeout);
        silent.map(|(id, _)| *id).collect()
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Reads the first frame, and the others once that was a registration: a stranger cannot fill the mailbox.
async fn read(
    id: ConnectionId,
    mut receiver: Box<dyn FrameReceiver>,
    mut admission: Mailbox<()>,
    inbox: Postbox<Input>,
) {
    let mut stranger = true;
    loop {
        let frame = match receiver.receive().await {
            Ok(frame) => frame,
            Err(error) => return inbox.post(Input::Broken(id, error.to_string())),
        };
        match messages::decode(&frame) {
            Ok(message) => inbox.post(Input::Message(id, message)),
            Err(error) if stranger && error.reaction == Reaction::GiveUp => {
                return inbox.post(Input::Unfit(id, error.message));
            }
            Err(error) => return inbox.post(Input::Broken(id, error.message)),
        }
        if stranger {
            admission.take().await;
            stranger = false;
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

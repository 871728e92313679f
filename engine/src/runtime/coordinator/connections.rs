//! The open connections of a coordinator: a reader and a writer task each, heartbeats out, silence noticed.
//!
//! A connection ends when either task reports it broken, when nothing was heard for the heartbeat timeout (a half-open
//! connection reports nothing), or when it is closed here. Both tasks are aborted then, which drops both halves.
//!
//! Owns: frames on their way out. Does not own: who a worker's newest connection is ([`crate::cores::failover`]).

use super::{ConnectionId, Input};
use crate::config::JobConfig;
use crate::door::{Connection, Env, FrameReceiver, FrameSender, Site, TaskHandle, Time};
use crate::ids::WorkerId;
use crate::messages::{self, ToWorker};
use crate::runtime::mailbox::{Mailbox, Postbox};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

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
        self.accepted += 1;
        let id = ConnectionId(self.accepted);
        let Connection { peer, sender, receiver } = connection;
        let (frames, outgoing) = Mailbox::new(env, Site::new("coordinator.writer", id.0));
        let spawn = |what, task| env.spawner.spawn(Site::new(what, id.0), task);
        let reader = spawn("coordinator.reader", Box::pin(read(id, receiver, inbox.clone())));
        let writer = spawn("coordinator.writer", Box::pin(write(id, sender, outgoing, inbox)));
        let heard = env.clock.now();
        self.open.insert(id, Open { peer, worker: None, heard, frames, reader, writer });
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

async fn read(id: ConnectionId, mut receiver: Box<dyn FrameReceiver>, inbox: Postbox<Input>) {
    loop {
        let message = match receiver.receive().await {
            Ok(frame) => messages::decode(&frame).map_err(|error| error.message),
            Err(error) => Err(error.to_string()),
        };
        match message {
            Ok(message) => inbox.post(Input::Message(id, message)),
            Err(cause) => return inbox.post(Input::Broken(id, cause)),
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

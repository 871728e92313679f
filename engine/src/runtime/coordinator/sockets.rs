//! The sockets of a coordinator: a reader and a writer task for each open connection.
//!
//! Of a connection one frame is read, and more as the core of the connections admits it
//! ([`crate::cores::connections`]). A connection ends when either task reports it broken, or when it is closed here.
//! Both tasks are aborted then, which drops both halves.
//!
//! Owns: frames on their way out, the ids of connections. Does not own: which process is at the other end, silence.

use super::{ConnectionId, Input, Member};
use crate::cores::connections::{Admission, Effect};
use crate::door::{Connection, Env, FrameReceiver, FrameSender, Site, TaskHandle};
use crate::error::Reaction;
use crate::messages;
use crate::runtime::mailbox::{Mailbox, Postbox};
use bytes::Bytes;
use std::collections::BTreeMap;

/// The open sockets.
#[derive(Default)]
pub(super) struct Sockets {
    accepted: u64,
    open: BTreeMap<ConnectionId, Socket>,
}

/// One of them.
struct Socket {
    /// Lets the reader go on after the first frame.
    admitted: Postbox<Admission>,
    frames: Postbox<Bytes>,
    reader: Box<dyn TaskHandle>,
    writer: Box<dyn TaskHandle>,
}

impl Sockets {
    /// The id of the next connection.
    pub fn next_id(&mut self) -> ConnectionId {
        self.accepted += 1;
        ConnectionId(self.accepted)
    }

    /// Begins to read a connection, and to write to it.
    pub fn open(&mut self, id: ConnectionId, env: &Env, inbox: Postbox<Input>, member: Member) {
        let Member { connection: Connection { sender, receiver, .. }, .. } = member;
        let (frames, outgoing) = Mailbox::new(env, Site::new("coordinator.writer", id.0));
        let (admitted, admission) = Mailbox::new(env, Site::new("coordinator.reader", id.0));
        let spawn = |what, task| env.spawner.spawn(Site::new(what, id.0), task);
        let reader = spawn("coordinator.reader", Box::pin(read(id, receiver, admission, inbox.clone())));
        let writer = spawn("coordinator.writer", Box::pin(write(id, sender, outgoing, inbox)));
        self.open.insert(id, Socket { admitted, frames, reader, writer });
    }

    /// Does what the core of the connections asks for.
    pub fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, message } => self.post(&to, messages::encode(&message)),
            Effect::Answer { to, message } => self.post(&to, messages::encode(&message)),
            Effect::Read { connection, admission } => {
                if let Some(socket) = self.open.get(&connection) {
                    socket.admitted.post(admission);
                }
            }
            Effect::Close { connection } => self.close(connection),
        }
    }

    /// Closes every connection.
    pub fn close_all(&mut self) {
        let ids: Vec<_> = self.open.keys().copied().collect();
        ids.into_iter().for_each(|id| self.close(id));
    }

    fn post(&self, to: &[ConnectionId], frame: Bytes) {
        for socket in to.iter().filter_map(|id| self.open.get(id)) {
            socket.frames.post(frame.clone());
        }
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(socket) = self.open.remove(&id) {
            socket.reader.abort();
            socket.writer.abort();
        }
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

//! The connection of a session with a coordinator: a reader and a writer task, and the look into the worker's own folders.
//!
//! A session ends when either task reports it broken, or when the core closes it. All tasks are aborted then, which drops
//! both halves of the connection.
//!
//! Owns: frames on their way out. Does not own: silence, what a frame means ([`crate::cores::hosting`]).

use super::means::{Means, site};
use super::{Input, sight};
use crate::door::{Connection, FrameReceiver, FrameSender, TaskHandle};
use crate::error::Error;
use crate::ids::Generation;
use crate::messages::{ToCoordinator, decode, encode};
use crate::runtime::mailbox::{Mailbox, Postbox};
use bytes::Bytes;

/// An open session.
pub(super) struct Session {
    number: u64,
    outgoing: Postbox<Bytes>,
    tasks: Vec<Box<dyn TaskHandle>>,
}

impl Session {
    /// Begins to read a connection, and to write to it.
    pub fn open(means: &Means, number: u64, connection: Connection) -> Self {
        let Connection { sender, receiver, .. } = connection;
        let (outgoing, frames) = Mailbox::new(&means.env, site("to-coordinator", means.me));
        let spawn = |what, task| means.env.spawner.spawn(site(what, means.me), task);
        let reader = spawn("from-coordinator", Box::pin(read(number, receiver, means.inputs.clone())));
        let writer = spawn("to-coordinator", Box::pin(write(number, sender, frames, means.inputs.clone())));
        Self { number, outgoing, tasks: vec![reader, writer] }
    }

    pub fn send(&self, message: &ToCoordinator) {
        self.outgoing.post(encode(message));
    }

    /// Looks for a leadership in the folders of this worker.
    pub fn look(&mut self, means: &Means, generation: Generation) {
        let (env, inputs, session) = (means.env.clone(), means.inputs.clone(), self.number);
        let look = async move {
            let seen = sight::look(&env, generation).await;
            inputs.post(Input::Seen { session, seen });
        };
        self.tasks.push(means.env.spawner.spawn(site("worker.output", means.me), Box::pin(look)));
    }

    /// Hangs up.
    pub fn close(self) {
        self.tasks.iter().for_each(|task| task.abort());
    }
}

async fn read(session: u64, mut receiver: Box<dyn FrameReceiver>, inputs: Postbox<Input>) {
    let cause = loop {
        match receiver.receive().await.map_err(Error::from).and_then(|frame| decode(&frame)) {
            Ok(message) => inputs.post(Input::Message { session, message }),
            Err(error) => break error,
        }
    };
    inputs.post(Input::CoordinatorLost { session, cause });
}

async fn write(session: u64, mut sender: Box<dyn FrameSender>, mut frames: Mailbox<Bytes>, inputs: Postbox<Input>) {
    let cause = loop {
        if let Err(error) = sender.send(frames.take().await).await {
            break Error::from(error);
        }
    };
    inputs.post(Input::CoordinatorLost { session, cause });
}

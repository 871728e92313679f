//! The core of a subtask with what it hears while the subtask waits.

use crate::cores::task::{Control, Effect, Now, Task};
use crate::door::Env;
use crate::ids::CheckpointId;
use crate::runtime::decision::Decision;
use crate::runtime::mailbox::{Either, Mailbox, race};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

pub(super) struct Driver {
    pub core: Task,
    /// What the worker says.
    pub control: Mailbox<Control>,
    /// Who may answer for what is being stored.
    decisions: BTreeMap<CheckpointId, Arc<Decision>>,
    env: Env,
}

impl Driver {
    pub fn new(core: Task, control: Mailbox<Control>, env: Env) -> Self {
        Self { core, control, decisions: BTreeMap::new(), env }
    }

    pub fn now(&self) -> Now {
        Now { time: self.env.clock.now(), wall_ms: self.env.clock.wall_ms() }
    }

    /// The decision about an asynchronous part that begins.
    pub fn decision(&mut self, checkpoint: CheckpointId) -> Arc<Decision> {
        self.decisions.entry(checkpoint).or_default().clone()
    }

    /// An asynchronous part shall not answer, if it has not yet.
    pub fn discard(&mut self, checkpoint: CheckpointId) {
        self.decisions.remove(&checkpoint).expect("it is being stored").discard();
    }

    /// An asynchronous part has answered.
    pub fn forget(&mut self, checkpoint: CheckpointId) {
        self.decisions.remove(&checkpoint).expect("it was being stored");
    }

    /// Waits for `work`, in the midst of a step. What the worker says meanwhile reaches the core at once.
    pub async fn attend<T>(&mut self, mut work: impl Future<Output = T> + Unpin) -> T {
        loop {
            let said = match race(&mut work, Box::pin(self.control.take())).await {
                Either::First(done) => return done,
                Either::Second(said) => said,
            };
            let (now, mut out) = (self.now(), Vec::new());
            self.core.on_control(now, said, &mut out);
            for effect in out {
                let Effect::Discard(checkpoint) = effect else { panic!("a step that waits asks for nothing else") };
                self.discard(checkpoint);
            }
        }
    }
}

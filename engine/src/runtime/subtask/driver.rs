//! The core of a subtask and its control mailbox.

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
    /// Control messages of the worker.
    pub control: Mailbox<Control>,
    /// The decision about each upload.
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

    /// The decision about an upload that begins.
    pub fn decision(&mut self, checkpoint: CheckpointId) -> Arc<Decision> {
        self.decisions.entry(checkpoint).or_default().clone()
    }

    /// Discards an upload that has not answered.
    pub fn discard(&mut self, checkpoint: CheckpointId) {
        self.decisions.remove(&checkpoint).expect("it is being stored").discard();
    }

    /// Drops the decision about an upload that has answered.
    pub fn forget(&mut self, checkpoint: CheckpointId) {
        self.decisions.remove(&checkpoint).expect("it was being stored");
    }

    /// Waits for `work`, which a step waits for. Control messages reach the core at once, also before `work` is asked for its
    /// result.
    pub async fn attend<T>(&mut self, mut work: impl Future<Output = T> + Unpin) -> T {
        loop {
            let said = match race(Box::pin(self.control.take()), &mut work).await {
                Either::First(said) => said,
                Either::Second(done) => return done,
            };
            let (now, mut out) = (self.now(), Vec::new());
            self.core.on_control(now, said, &mut out);
            for effect in out {
                match effect {
                    Effect::Announce(event) => self.env.emit(event),
                    Effect::Discard(checkpoint) => self.discard(checkpoint),
                    effect => panic!("a step that waits does not ask for {effect:?}"),
                }
            }
        }
    }
}

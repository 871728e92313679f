//! The checkpoints that a subtask has in hand: what aligning and snapshotting took, and which asynchronous parts are under way.
//! Several of them may be: a slow upload does not keep the next checkpoint waiting.
//!
//! Order rule O4: each asynchronous part ends by one [`Decision`]. Either it is acknowledged (or declined), or it is discarded;
//! whoever decides first wins, and only the winner says or deletes anything (FLINK-5667).

use crate::door::{Env, Time};
use crate::element::Barrier;
use crate::ids::CheckpointId;
use crate::statistics::SnapshotStatistics;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How one asynchronous part ends.
#[derive(Debug, Default)]
pub struct Decision(AtomicU8);

const OPEN: u8 = 0;
const ANSWERED: u8 = 1;
const DISCARDED: u8 = 2;

impl Decision {
    /// The asynchronous part is about to answer the coordinator; `false` if that is not its to do any more.
    pub fn answer(&self) -> bool {
        self.decide(ANSWERED)
    }

    /// The checkpoint will not complete.
    pub fn discard(&self) -> bool {
        self.decide(DISCARDED)
    }

    /// Whether the checkpoint will not complete.
    pub fn is_discarded(&self) -> bool {
        self.0.load(Ordering::Acquire) == DISCARDED
    }

    fn decide(&self, end: u8) -> bool {
        self.0.compare_exchange(OPEN, end, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Parts {
    aligning: BTreeMap<CheckpointId, Begun>,
    /// Bounded by the checkpoints that the coordinator has pending.
    uploading: BTreeMap<CheckpointId, Arc<Decision>>,
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    at: Time,
    start_delay_ms: u64,
}

/// Measures the synchronous part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    begun: Begun,
    aligned: Time,
}

impl Begun {
    fn now(env: &Env, barrier: Barrier) -> Self {
        Self { at: env.clock.now(), start_delay_ms: env.clock.wall_ms().saturating_sub(barrier.triggered_ms) }
    }
}

impl Watch {
    /// The synchronous part is over.
    pub fn stop(self, env: &Env) -> SnapshotStatistics {
        SnapshotStatistics {
            start_delay_ms: self.begun.start_delay_ms,
            alignment_ms: ms(self.aligned.since(self.begun.at)),
            sync_ms: ms(env.clock.now().since(self.aligned)),
            ..SnapshotStatistics::default()
        }
    }
}

/// Whole milliseconds.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Parts {
    /// The first barrier has arrived.
    pub fn on_begin(&mut self, env: &Env, barrier: Barrier) {
        self.aligning.insert(barrier.checkpoint, Begun::now(env, barrier));
    }

    /// The alignment was given up.
    pub fn on_abandon(&mut self, checkpoint: CheckpointId) {
        self.aligning.remove(&checkpoint);
    }

    /// Whether its alignment has begun.
    pub fn is_aligning(&self, checkpoint: CheckpointId) -> bool {
        self.aligning.contains_key(&checkpoint)
    }

    /// The synchronous part begins.
    pub fn on_snapshot(&mut self, env: &Env, barrier: Barrier) -> Watch {
        let begun = self.aligning.remove(&barrier.checkpoint).unwrap_or_else(|| Begun::now(env, barrier));
        Watch { begun, aligned: env.clock.now() }
    }

    /// The asynchronous part begins.
    pub fn start(&mut self, checkpoint: CheckpointId) -> Arc<Decision> {
        let decision = Arc::new(Decision::default());
        let earlier = self.uploading.insert(checkpoint, decision.clone());
        assert!(earlier.is_none(), "each checkpoint is snapshotted once");
        decision
    }

    /// The checkpoint will not complete.
    pub fn discard(&mut self, checkpoint: CheckpointId) {
        if let Some(decision) = self.uploading.remove(&checkpoint) {
            decision.discard();
        }
    }

    /// No checkpoint under way will complete.
    pub fn discard_all(&mut self) {
        std::mem::take(&mut self.uploading).values().for_each(|decision| {
            decision.discard();
        });
    }

    /// The checkpoint has completed. An older one was answered, or it has been or will be aborted.
    pub fn forget(&mut self, checkpoint: CheckpointId) {
        self.uploading.remove(&checkpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: CheckpointId = CheckpointId(7);

    #[test]
    fn an_abort_before_the_answer_discards_and_one_after_it_changes_nothing() {
        let mut parts = Parts::default();
        let (early, late) = (parts.start(N), parts.start(CheckpointId(8)));
        parts.discard(N);
        assert!(early.is_discarded() && !early.answer(), "the abort came first");
        assert!(late.answer());
        parts.discard(CheckpointId(8));
        assert!(!late.is_discarded(), "the answer came first");
    }

    #[test]
    fn a_subtask_that_exits_discards_what_is_under_way() {
        let mut parts = Parts::default();
        let (answered, open) = (parts.start(N), parts.start(CheckpointId(8)));
        assert!(answered.answer());
        parts.discard_all();
        assert!(open.is_discarded() && !answered.is_discarded());
    }
}

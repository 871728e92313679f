//! One checkpoint at one subtask: output, barrier, staging, view, commits, and which uploads may still be discarded.

use super::{AfterCommit, Control, Effect, Marker, Now, Role, Snapshot, Stage, Task, announce};
use crate::config::SnapshotMode;
use crate::cores::transactions::{self, Completion};
use crate::door::Time;
use crate::element::Barrier;
use crate::error::{Reaction, Result};
use crate::event::Event;
use crate::ids::CheckpointId;
use crate::reason::FailureReason;
use crate::statistics::{SnapshotStatistics, ms};
use std::collections::VecDeque;

/// Committables to commit, oldest first.
pub(super) type Due = VecDeque<(CheckpointId, Vec<u8>)>;

/// When an alignment began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Begun {
    at: Time,
    start_delay_ms: u64,
}

/// Measures the synchronous part of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Watch {
    checkpoint: CheckpointId,
    begun: Begun,
    aligned: Time,
}

impl Begun {
    pub(super) fn now(now: Now, barrier: Barrier) -> Self {
        Self { at: now.time, start_delay_ms: now.wall_ms.saturating_sub(barrier.triggered_ms) }
    }
}

impl Watch {
    /// The synchronous part is over.
    fn stop(self, now: Now) -> SnapshotStatistics {
        SnapshotStatistics {
            start_delay_ms: self.begun.start_delay_ms,
            alignment_ms: ms(self.aligned.since(self.begun.at)),
            sync_ms: ms(now.time.since(self.aligned)),
            ..SnapshotStatistics::default()
        }
    }
}

impl Task {
    /// Order rule O3: records before the barrier, the barrier, then the snapshot; nothing is processed in between.
    pub(super) fn checkpoint(&mut self, now: Now, barrier: Barrier, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        let checkpoint = barrier.checkpoint;
        assert!(checkpoint > self.newest, "{checkpoint} is snapshotted behind {}", self.newest);
        self.newest = checkpoint;
        let begun = self.aligning.remove(&checkpoint);
        // Alignment counts this checkpoint as decided and will ignore the queued abort, so the marker is sent here.
        if self.is_aborted(checkpoint) {
            return self.cancel(checkpoint, begun.is_some(), out);
        }
        if begun.is_some() {
            announce(Event::AlignmentEnded { attempt, subtask, checkpoint }, out);
        }
        let begun = begun.unwrap_or_else(|| Begun::now(now, barrier));
        let watch = Watch { checkpoint, begun, aligned: now.time };
        out.push(Effect::Flush);
        out.push(Effect::Broadcast(Marker::Barrier(barrier)));
        announce(Event::BarrierEmitted { attempt, subtask, checkpoint }, out);
        match self.is.role {
            Role::Sink => {
                self.stage = Stage::Preparing(watch);
                out.push(Effect::Prepare(checkpoint));
            }
            Role::Source | Role::Transform => self.view(watch, out),
        }
    }

    /// The sink has staged, or cannot.
    pub fn on_prepared(&mut self, now: Now, prepared: Result<Option<Vec<u8>>>, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        let Stage::Preparing(watch) = self.stage else { panic!("nothing is prepared") };
        let checkpoint = watch.checkpoint;
        assert_eq!(checkpoint, self.newest, "a sink stages for its newest checkpoint");
        self.stage = Stage::Running;
        match prepared {
            Ok(committable) => {
                self.transactions.on_prepared(checkpoint, committable);
                announce(Event::Prepared { attempt, subtask, checkpoint }, out);
                self.view(watch, out);
            }
            Err(error) if error.reaction == Reaction::Restart => {
                let cause = error.to_string();
                announce(Event::PrepareFailed { attempt, subtask, checkpoint, cause: cause.clone() }, out);
                self.decline(checkpoint, FailureReason::PrepareFailed(cause), out);
            }
            Err(error) => return self.fail(error, out),
        }
        self.advance(now, out);
    }

    /// Whether the abort of the checkpoint is queued.
    fn is_aborted(&self, checkpoint: CheckpointId) -> bool {
        self.queued.contains(&Control::Aborted(checkpoint))
    }

    /// Sends a cancellation marker: downstream must not wait for the barrier. `aligned`: an alignment ends with that.
    pub(super) fn cancel(&mut self, checkpoint: CheckpointId, aligned: bool, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        if aligned {
            announce(Event::AlignmentAborted { attempt, subtask, checkpoint }, out);
        }
        out.push(Effect::Broadcast(Marker::Cancel(checkpoint)));
        announce(Event::CancelEmitted { attempt, subtask, checkpoint }, out);
    }

    /// Views the state, unless the abort of the checkpoint is queued. What a sink has staged then belongs to the next
    /// checkpoint that completes.
    fn view(&mut self, watch: Watch, out: &mut Vec<Effect>) {
        if self.is_aborted(watch.checkpoint) {
            return;
        }
        self.stage = Stage::Viewing(watch);
        out.push(Effect::ViewState);
    }

    /// The shell holds a view of the state.
    pub fn on_viewed(&mut self, now: Now, out: &mut Vec<Effect>) {
        let (attempt, subtask, ended) = (self.is.attempt, self.is.subtask, self.ended);
        let Stage::Viewing(watch) = self.stage else { panic!("no view was asked for") };
        let checkpoint = watch.checkpoint;
        assert_eq!(checkpoint, self.newest, "a view is of the newest checkpoint");
        assert!(now.time >= watch.aligned && watch.aligned >= watch.begun.at, "a clock does not go back");
        announce(Event::SnapshotTaken { attempt, subtask, checkpoint, ended }, out);
        if self.end_announced {
            self.end_held_by.get_or_insert(checkpoint);
        }
        let new = self.uploading.insert(checkpoint);
        assert!(new, "each checkpoint is snapshotted once");
        let awaited = match self.is.snapshot_mode {
            SnapshotMode::Sync => true,
            SnapshotMode::Async => false,
        };
        out.push(Effect::Upload(Snapshot { checkpoint, ended, statistics: watch.stop(now), awaited }));
        self.stage = if awaited { Stage::Uploading } else { Stage::Running };
        self.advance(now, out);
    }

    /// A synchronous upload has ended: it has acknowledged, declined, or was discarded.
    pub fn on_uploaded(&mut self, now: Now, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::Uploading, "nothing is waited for");
        self.stage = Stage::Running;
        self.advance(now, out);
    }

    /// The checkpoint will not complete: what is being stored for it is neither acknowledged nor declined, unless its
    /// upload has already won the decision.
    pub(super) fn discard(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        if self.uploading.remove(&checkpoint) {
            out.push(Effect::Discard(checkpoint));
        }
    }

    /// Commits what is pending up to a durable checkpoint; what follows is said by `then`.
    pub(super) fn commit(&mut self, completion: Completion, then: AfterCommit, out: &mut Vec<Effect>) {
        let mut due = Vec::new();
        self.transactions.on_completed(completion, &mut due);
        let due =
            due.into_iter().map(|transactions::Effect::Commit(checkpoint, committable)| (checkpoint, committable));
        self.commit_next(due.collect(), then, out);
    }

    /// The first of `due` was committed, or could not be.
    pub fn on_committed(&mut self, now: Now, committed: Result<()>, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        let Stage::Committing { due, then } = &mut self.stage else { panic!("nothing is committed") };
        if let Err(error) = committed {
            return self.fail(error, out);
        }
        let (mut due, then) = (std::mem::take(due), *then);
        let (checkpoint, _) = due.pop_front().expect("a commit was asked for");
        assert!(due.front().is_none_or(|(next, _)| *next > checkpoint), "the oldest is committed first");
        announce(Event::CommitEnded { attempt, subtask, checkpoint }, out);
        self.transactions.on_committed(checkpoint);
        self.commit_next(due, then, out);
        self.advance(now, out);
    }

    fn commit_next(&mut self, due: Due, then: AfterCommit, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        if let Some((checkpoint, committable)) = due.front() {
            announce(Event::CommitStarted { attempt, subtask, checkpoint: *checkpoint }, out);
            out.push(Effect::Commit(committable.clone()));
            self.stage = Stage::Committing { due, then };
            return;
        }
        match then {
            AfterCommit::Restore => self.recover(out),
            AfterCommit::Completed(checkpoint) => self.completed(checkpoint, out),
        }
    }

    /// A checkpoint is durable, and everything that it holds is committed.
    fn completed(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        assert!(self.rest.is_empty(), "a completion is handled between two steps");
        self.stage = Stage::Running;
        // Only this one: the aborts of older checkpoints come before this notification.
        if self.uploading.remove(&checkpoint) {
            out.push(Effect::Forget(checkpoint));
        }
        if self.end_held_by.is_some_and(|held| held <= checkpoint) {
            self.finish(out);
        }
    }
}

//! What checkpointing asks for, and what it answers to a report or to the end of an attempt.

use crate::cores::restore::Contribution;
use crate::element::Barrier;
use crate::ids::{Attempt, CheckpointId, SubtaskId};
use crate::reason::{FailureReason, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// A client's request for a checkpoint, numbered by the leading coordinator. Answered exactly once, unless it is
/// withdrawn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}

/// What checkpointing asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Get a fresh id; then [`on_id`](super::Checkpointing::on_id) or [`on_no_id`](super::Checkpointing::on_no_id).
    Allocate,
    /// Announce the checkpoint and send a trigger to each worker that hosts some of `subtasks`.
    Trigger {
        /// Of this attempt.
        attempt: Attempt,
        /// What is injected.
        barrier: Barrier,
        /// Where: at every running subtask without a running producer.
        subtasks: BTreeSet<SubtaskId>,
        /// The subtasks whose acknowledgement is waited for: all that run.
        wait: BTreeSet<SubtaskId>,
    },
    /// Write the manifest, after `delay`; then [`on_manifest_written`](super::Checkpointing::on_manifest_written).
    WriteManifest {
        /// The attempt that took the checkpoint.
        attempt: Attempt,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Milliseconds since 1970 at the trigger.
        triggered_ms: u64,
        /// From the trigger to the last acknowledgement.
        duration: Duration,
        /// What every subtask contributes; what a finished one does has been carried forward.
        contributions: BTreeMap<SubtaskId, Contribution>,
        /// How long to wait first.
        delay: Duration,
    },
    /// Add the checkpoint to the log and mark the output; then [`on_added`](super::Checkpointing::on_added), or
    /// [`on_not_added`](super::Checkpointing::on_not_added) if its slot is certainly not added.
    AddToStore {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Path of its manifest.
        manifest: String,
    },
    /// Announce the completion.
    Complete(CompletionReport),
    /// Send `Completed` to the workers of the attempt.
    Notify {
        /// Of this attempt.
        attempt: Attempt,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// Announce the abort, and send `Aborted` to the workers of the attempt if it still runs.
    Abort {
        /// Of this attempt.
        attempt: Attempt,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        reason: FailureReason,
    },
    /// Delete what an aborted checkpoint stored.
    Discard {
        /// Paths.
        paths: Vec<String>,
    },
    /// The completion that the end of an attempt had to wait for is decided.
    Settle,
    /// Answer a request for a checkpoint.
    Answer {
        /// Which request.
        request: RequestId,
        /// The checkpoint, which is durable, or why there is none.
        result: Result<CheckpointId, Refusal>,
    },
    /// Too many checkpoints in a row have failed: fail the attempt. Always the last effect of a step.
    FailAttempt {
        /// Which one.
        attempt: Attempt,
        /// Why, for people.
        cause: String,
    },
}

/// A checkpoint whose slot is durable, and with which the output is marked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompletionReport {
    /// The attempt that took it.
    pub attempt: Attempt,
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// Its slot.
    pub number: u64,
    /// Path of its manifest.
    pub manifest: String,
    /// Total length of its snapshots.
    pub bytes: u64,
    /// From the trigger to now.
    pub duration: Duration,
    /// Whether every snapshot was taken behind the end of its subtask's input.
    pub last: bool,
}

/// Whether a message of a subtask counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It changed something.
    Counts,
    /// It is late, repeated or of another attempt.
    Ignored,
}

/// Whether what to restore can be chosen after an attempt is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settlement {
    /// Yes.
    Settled,
    /// Not before [`Effect::Settle`]: a completion is under way.
    InFlight,
}

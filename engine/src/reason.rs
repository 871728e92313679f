//! Why a checkpoint failed, and whether that counts against the job (Flink's `CheckpointFailureReason` and
//! `CheckpointFailureManager`).
//!
//! *Counted* failures say that checkpointing itself is in trouble: too many in a row fail the job
//! ([`crate::config::CheckpointConfig::tolerable_failures`]). The others are part of ordinary life: a newer checkpoint won,
//! a subtask finished, the attempt ended.

use crate::ids::CheckpointId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// See the head of the file.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// It took longer than the timeout.
    Expired,
    /// A sink could not stage what it had written.
    PrepareFailed(String),
    /// A snapshot could not be stored.
    UploadFailed(String),
    /// The manifest could not be written in the tries that it gets, or the slot is certainly not added.
    FinalizeFailed(String),
    /// A newer checkpoint completed first.
    Subsumed {
        /// Which one.
        by: CheckpointId,
    },
    /// The barrier of a newer checkpoint arrived during the alignment.
    Overtaken,
    /// A cancellation marker arrived.
    Cancelled,
    /// A subtask that was asked for its snapshot has finished, or is about to.
    TaskClosing,
    /// A subtask that was asked for its snapshot does not run (yet). No worker of this version sends it.
    NotReady,
    /// The attempt that took it is over.
    AttemptOver(String),
}

/// Why a client that asked for a checkpoint gets none.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No attempt is deployed, or some subtask of it has not restored yet.
    NotRunning,
    /// As many wait already as may.
    QueueFull,
    /// The last checkpoint of the job is durable.
    Ending,
    /// No checkpoint id could be reserved.
    NoId(String),
    /// The attempt ended before the checkpoint was triggered.
    AttemptOver(String),
    /// It was triggered, and failed.
    Failed {
        /// Which one.
        checkpoint: CheckpointId,
        /// Why.
        reason: FailureReason,
    },
}

/// Whether a failure counts towards the tolerable ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counting {
    /// It does.
    Counted,
    /// It is part of ordinary life.
    Harmless,
}

impl FailureReason {
    /// In a word or two, for tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::PrepareFailed(_) => "prepare failed",
            Self::UploadFailed(_) => "upload failed",
            Self::FinalizeFailed(_) => "finalize failed",
            Self::Subsumed { .. } => "subsumed",
            Self::Overtaken => "overtaken",
            Self::Cancelled => "cancelled",
            Self::TaskClosing => "task closing",
            Self::NotReady => "not ready",
            Self::AttemptOver(_) => "attempt over",
        }
    }

    /// Whether it counts.
    pub fn counting(&self) -> Counting {
        match self {
            Self::Expired | Self::PrepareFailed(_) | Self::UploadFailed(_) | Self::FinalizeFailed(_) => {
                Counting::Counted
            }
            Self::Subsumed { .. }
            | Self::Overtaken
            | Self::Cancelled
            | Self::TaskClosing
            | Self::NotReady
            | Self::AttemptOver(_) => Counting::Harmless,
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("expired before every subtask had acknowledged"),
            Self::PrepareFailed(cause) => write!(f, "a sink could not stage its output: {cause}"),
            Self::UploadFailed(cause) => write!(f, "a snapshot could not be stored: {cause}"),
            Self::FinalizeFailed(cause) => write!(f, "it could not be made durable: {cause}"),
            Self::Subsumed { by } => write!(f, "{by} completed first"),
            Self::Overtaken => f.write_str("overtaken by the barrier of a newer checkpoint"),
            Self::Cancelled => f.write_str("cancelled by a marker from upstream"),
            Self::TaskClosing => f.write_str("a subtask finished before it was asked"),
            Self::NotReady => f.write_str("a subtask does not run"),
            Self::AttemptOver(cause) => write!(f, "the attempt is over: {cause}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("the job does not run at present"),
            Self::QueueFull => f.write_str("too many requests are waiting"),
            Self::Ending => f.write_str("the last checkpoint of the job is durable already"),
            Self::NoId(cause) => write!(f, "no checkpoint id could be reserved: {cause}"),
            Self::AttemptOver(cause) => write!(f, "the attempt ended first: {cause}"),
            Self::Failed { checkpoint, reason } => write!(f, "{checkpoint} failed: {reason}"),
        }
    }
}

/// How a job ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Ended {
    /// All input is processed and all output committed. Nothing follows.
    Finished {
        /// The last checkpoint.
        checkpoint: CheckpointId,
    },
    /// It failed for good. A job that is submitted again goes on from the newest checkpoint that is still retained.
    Failed {
        /// Why.
        cause: String,
    },
    /// A client cancelled it. It can be submitted again as well.
    Cancelled,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished { checkpoint } => write!(f, "finished with {checkpoint}"),
            Self::Failed { cause } => write!(f, "failed: {cause}"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

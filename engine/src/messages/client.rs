//! The frames between a client and a coordinator. A client is a process that asks a running job for one thing and
//! exits.
//!
//! ```text
//! client                              coordinator
//!   | <- Opening, Challenge, Response ----> |   both are members of the job ([`super::handshake`])
//!   | -- Ask(wish) -----------------------> |   the first frame behind it, and the only wish of a connection
//!   | <------------------------ Heartbeat -- |   while the answer is not known
//!   | -- Heartbeat -----------------------> |   one for each: a client that is gone is forgotten
//!   | <---------- Answer, Status, Standby -- |   once; the client hangs up
//! ```
//!
//! An answer says what is durable. A connection that ends without one says nothing about the outcome.

use crate::ids::{Attempt, CheckpointId, Generation, WorkerId};
use crate::reason::{Ended, Refusal};
use crate::statistics::Counts;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a client wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// A checkpoint, triggered from now on, and word of it once it is durable.
    Checkpoint,
    /// The end of the job, and word of it once it is durable.
    Cancel,
    /// How the job stands.
    Status,
}

/// From coordinator to client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToClient {
    /// The coordinator does not lead, and has done nothing; ask the next one.
    Standby,
    /// So many clients are connected that this one is not listened to; nothing was done.
    Busy,
    /// The answer is not known yet.
    Heartbeat,
    /// What has become of the wish.
    Answer(Answer),
    /// How the job stands.
    Status(Box<JobStatus>),
}

/// What has become of a wish for something to happen.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The checkpoint that was asked for is durable.
    Completed {
        /// Which one.
        checkpoint: CheckpointId,
        /// Total length of its snapshots.
        bytes: u64,
        /// From the trigger to the commit point.
        duration_ms: u64,
    },
    /// There is no checkpoint for this request, and there will be none.
    Declined(Refusal),
    /// The job is over, and that is durable.
    Over {
        /// How it ended.
        how: Ended,
        /// The newest checkpoint that its retention policy keeps.
        kept: Option<CheckpointId>,
    },
}

/// How a job stands, as the coordinator that leads sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its name.
    pub job: String,
    /// The leadership that says so; `None` from a coordinator that found the job over.
    pub generation: Option<Generation>,
    /// The newest attempt of this leadership.
    pub attempt: Option<Attempt>,
    /// What goes on.
    pub state: JobState,
    /// The workers that are registered.
    pub workers: Vec<WorkerId>,
    /// How many more are needed.
    pub workers_missing: u16,
    /// The newest durable checkpoint that counts.
    pub last_completed: Option<CheckpointId>,
    /// Checkpoints that were triggered and are neither durable nor aborted.
    pub pending: Vec<CheckpointId>,
    /// Checkpoints of this leadership.
    pub counts: Counts,
    /// Why the last attempt of this leadership that failed did.
    pub last_failure: Option<String>,
}

/// What goes on with a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Fewer workers are registered than it needs.
    WaitingForWorkers,
    /// An attempt is over, and the next one waits for its delay or for a completion under way.
    FailingOver,
    /// The latest checkpoint is being read, or some subtask does not have its state back.
    Restoring,
    /// Every subtask runs or has finished.
    Running,
    /// How it ended is being made durable.
    Ending,
    /// It is over, durably.
    Ended(Ended),
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checkpoint => "a checkpoint",
            Self::Cancel => "the end of the job",
            Self::Status => "the status of the job",
        })
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitingForWorkers => f.write_str("waiting for workers"),
            Self::FailingOver => f.write_str("failing over"),
            Self::Restoring => f.write_str("restoring"),
            Self::Running => f.write_str("running"),
            Self::Ending => f.write_str("ending"),
            Self::Ended(how) => how.fmt(f),
        }
    }
}

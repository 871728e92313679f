//! The knobs of a job, with the defaults of a production run.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a job runs. Every process must be given the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobConfig {
    /// Records per batch.
    pub batch_records: usize,
    /// Batches a channel may hold before its producer waits.
    pub credits: u32,
    /// Checkpoints.
    pub checkpoints: CheckpointConfig,
    /// What to do after a failure.
    pub restart: RestartStrategy,
    /// Time between heartbeats, both ways between coordinator and worker.
    pub heartbeat_interval: Duration,
    /// Silence after which the other side counts as dead.
    pub heartbeat_timeout: Duration,
}

/// When checkpoints are taken, and how many are kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckpointConfig {
    /// Time from one periodic trigger to the next.
    pub interval: Duration,
    /// A checkpoint that has not completed after this long is aborted.
    pub timeout: Duration,
    /// Who waits for the upload.
    pub snapshot: SnapshotMode,
    /// Completed checkpoints to keep; at least 1.
    pub retained: usize,
}

/// Who waits for the upload of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum SnapshotMode {
    /// The subtask itself: no records are processed meanwhile.
    Sync,
    /// A task beside it, from a copy-on-write view.
    Async,
}

/// What to do after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum RestartStrategy {
    /// Restart at most `attempts` times in a row, each after `delay`. A checkpoint completed by the new attempt
    /// starts the count afresh.
    FixedDelay {
        /// Restarts before giving up.
        attempts: u32,
        /// Time between failure and restart.
        delay: Duration,
    },
}

impl Default for JobConfig {
    fn default() -> Self {
        Self {
            batch_records: 1024,
            credits: 16,
            checkpoints: CheckpointConfig {
                interval: Duration::from_secs(1),
                timeout: Duration::from_secs(600),
                snapshot: SnapshotMode::Async,
                retained: 1,
            },
            restart: RestartStrategy::FixedDelay { attempts: 10, delay: Duration::from_secs(1) },
            heartbeat_interval: Duration::from_secs(1),
            heartbeat_timeout: Duration::from_secs(10),
        }
    }
}

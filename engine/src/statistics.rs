//! The vocabulary of checkpoint statistics (Flink: *Monitoring Checkpointing*): what taking one snapshot cost one subtask, and
//! how many checkpoints there were.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Milliseconds and bytes of one snapshot, as its subtask saw them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct SnapshotStatistics {
    /// From the trigger at the coordinator to the first barrier here. Two clocks are compared: it is never negative, and
    /// only as exact as they agree.
    pub start_delay_ms: u64,
    /// From the first barrier to the last.
    pub alignment_ms: u64,
    /// The part during which no record was processed: barrier, pre-commit, copy-on-write view.
    pub sync_ms: u64,
    /// Encoding and uploading.
    pub async_ms: u64,
    /// Length of the stored snapshot.
    pub bytes: u64,
}

/// How many checkpoints, of one leadership.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Triggered.
    pub triggered: u64,
    /// Neither completed nor failed.
    pub in_progress: u64,
    /// Durable.
    pub completed: u64,
    /// Aborted, for whatever reason.
    pub failed: u64,
    /// Attempts deployed from a checkpoint.
    pub restored: u64,
}

/// Whole milliseconds.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

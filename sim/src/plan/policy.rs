//! The coordinator's knobs of a plan: when checkpoints are taken, what is kept of them, and what follows a failure.

use cofferdam_engine::config::{CheckpointConfig, CheckpointMode, RestartStrategy, RetentionPolicy, SnapshotMode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// No snapshot of a plan is larger.
pub(super) const WHOLE: usize = 1 << 20;

/// See the head of the file. Times are virtual milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is named after the knob it sets")]
pub struct Policy {
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub min_pause_ms: u64,
    pub max_concurrent: usize,
    pub tolerable_failures: u32,
    pub mode: CheckpointMode,
    pub snapshot: SnapshotMode,
    /// Snapshots that are larger are uploaded in parts.
    pub part_bytes: usize,
    pub retained: usize,
    pub retention: RetentionPolicy,
    pub restart: RestartStrategy,
}

impl Policy {
    /// The plainest with this interval and timeout: one checkpoint at a time, one retained, no end to patience.
    pub fn plain(interval_ms: u64, timeout_ms: u64) -> Self {
        Self {
            interval_ms,
            timeout_ms,
            min_pause_ms: 0,
            max_concurrent: 1,
            tolerable_failures: u32::MAX,
            mode: CheckpointMode::ExactlyOnce,
            snapshot: SnapshotMode::Sync,
            part_bytes: WHOLE,
            retained: 1,
            retention: RetentionPolicy::Never,
            restart: RestartStrategy::FixedDelay { attempts: 10_000, delay: Duration::from_millis(10) },
        }
    }

    /// Whether snapshots of plans are uploaded in parts, the larger ones.
    pub fn uploads_in_parts(&self) -> bool {
        self.part_bytes < WHOLE
    }

    /// The part of the job's configuration that is about checkpoints.
    pub fn checkpoints(&self) -> CheckpointConfig {
        CheckpointConfig {
            interval: Duration::from_millis(self.interval_ms),
            timeout: Duration::from_millis(self.timeout_ms),
            min_pause: Duration::from_millis(self.min_pause_ms),
            max_concurrent: self.max_concurrent,
            tolerable_failures: self.tolerable_failures,
            mode: self.mode,
            retention: self.retention,
            snapshot: self.snapshot,
            part_bytes: self.part_bytes,
            retained: self.retained,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshots = match self.snapshot {
            SnapshotMode::Sync => "synchronous",
            SnapshotMode::Async => "asynchronous",
        };
        let barriers = match self.mode {
            CheckpointMode::ExactlyOnce => "exactly once",
            CheckpointMode::AtLeastOnce => "at least once",
        };
        let tolerable = match self.tolerable_failures {
            u32::MAX => "any number of".to_owned(),
            some => some.to_string(),
        };
        writeln!(
            f,
            "checkpoints every {} ms, pause {} ms, timeout {} ms, {} at a time; {barriers}, {snapshots} snapshots in parts of {}",
            self.interval_ms, self.min_pause_ms, self.timeout_ms, self.max_concurrent, self.part_bytes
        )?;
        writeln!(
            f,
            "            {} retained, {:?} at the end; {tolerable} failures tolerated",
            self.retained, self.retention
        )?;
        write!(f, "restart     {:?}", self.restart)
    }
}

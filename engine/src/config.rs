//! The knobs of a job, with the defaults of a production run.

use crate::reason::Ended;
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
    /// Time after which a storage request that was not answered counts as one that never will be. None moves more than a few
    /// megabytes.
    pub storage_timeout: Duration,
}

/// When checkpoints are taken, and how many are kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckpointConfig {
    /// Time from one periodic trigger to the next.
    pub interval: Duration,
    /// A checkpoint that has not completed after this long is aborted.
    pub timeout: Duration,
    /// Least time from the completion of one checkpoint to the periodic trigger of the next. More than zero implies one
    /// checkpoint at a time.
    pub min_pause: Duration,
    /// Checkpoints that may be pending at a time; at least 1. No new one is triggered, either, while more than this many are
    /// still being deleted.
    pub max_concurrent: usize,
    /// Consecutive counted failures ([`crate::reason`]) that are put up with; one more fails the attempt.
    pub tolerable_failures: u32,
    /// What a barrier guarantees.
    pub mode: CheckpointMode,
    /// What becomes of the retained checkpoints when the job ends.
    pub retention: RetentionPolicy,
    /// Who waits for the upload.
    pub snapshot: SnapshotMode,
    /// A snapshot that is larger than this is uploaded in parts of this size. Object stores ask for 5 MiB at least.
    pub part_bytes: usize,
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

/// What a barrier guarantees.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum CheckpointMode {
    /// Channels whose barrier has arrived wait for the others: state holds the effect of every record exactly once.
    ExactlyOnce,
    /// Barriers are counted and nothing waits: after a restore records may be processed again, none is lost.
    AtLeastOnce,
}

/// What becomes of the retained checkpoints when the job ends (Flink's `ExternalizedCheckpointRetention`). A coordinator that
/// merely stops leading (order rule O12) ends nothing, and deletes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum RetentionPolicy {
    /// Deleted whenever the job ends: finished, cancelled or failed.
    Never,
    /// Kept when it fails, deleted when it is cancelled or finished.
    OnFailure,
    /// Kept when it fails or is cancelled, deleted when it is finished.
    OnCancellation,
    /// Kept whenever it ends.
    Always,
}

impl RetentionPolicy {
    /// Whether the retained checkpoints are kept when the job ends like that.
    pub fn keeps(self, end: &Ended) -> bool {
        match (self, end) {
            (Self::Always, _) => true,
            (Self::OnFailure | Self::OnCancellation, Ended::Failed { .. }) => true,
            (Self::OnCancellation, Ended::Cancelled) => true,
            (Self::Never, _) | (_, Ended::Finished { .. }) | (Self::OnFailure, Ended::Cancelled) => false,
        }
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum RestartStrategy {
    /// The first failure ends the job.
    None,
    /// Give up once there were more than `failures` failures within `interval`; restart after `delay` otherwise.
    FailureRate {
        /// Failures put up with.
        failures: u32,
        /// Within this time.
        interval: Duration,
        /// Time between failure and restart.
        delay: Duration,
    },
    /// Restart after `initial`, then after ever longer delays up to `max`; start afresh after a run of `reset_after`
    /// without failure.
    ExponentialDelay {
        /// The first delay.
        initial: Duration,
        /// The longest delay.
        max: Duration,
        /// How much longer each delay is than the last, in percent: 150 is one and a half times.
        multiplier_percent: u32,
        /// Each delay is moved at random by up to this part of itself, in percent, so that jobs do not restart in step.
        jitter_percent: u32,
        /// After running that long without failure the next delay is `initial` again.
        reset_after: Duration,
        /// Restarts before giving up; `None` never does.
        attempts: Option<u32>,
    },
    /// Restart at most `attempts` times in a row, each after `delay`. A checkpoint completed by the new attempt
    /// starts the count afresh.
    FixedDelay {
        /// Restarts before giving up.
        attempts: u32,
        /// Time between failure and restart.
        delay: Duration,
    },
}

impl JobConfig {
    /// Why no job can run like this, in one line, if so.
    pub fn validate(&self) -> Result<(), String> {
        let CheckpointConfig { interval, timeout, min_pause, max_concurrent, retained, .. } = self.checkpoints;
        if interval.is_zero() || timeout.is_zero() {
            return Err("checkpoints need an interval and a timeout longer than nothing".to_owned());
        }
        if retained == 0 || max_concurrent == 0 {
            return Err("at least one checkpoint may be pending, and at least one is retained".to_owned());
        }
        if !min_pause.is_zero() && max_concurrent > 1 {
            return Err(format!(
                "a pause of {min_pause:?} between checkpoints leaves no room for {max_concurrent} at a time: choose one"
            ));
        }
        if self.batch_records == 0 || self.credits == 0 {
            return Err("a channel holds at least one batch of at least one record".to_owned());
        }
        if self.heartbeat_interval.is_zero() {
            return Err("heartbeats need an interval longer than nothing".to_owned());
        }
        if self.heartbeat_timeout <= self.heartbeat_interval {
            return Err(format!(
                "heartbeats every {:?} cannot be missed within {:?}",
                self.heartbeat_interval, self.heartbeat_timeout
            ));
        }
        self.restart.validate()
    }
}

impl RestartStrategy {
    fn validate(&self) -> Result<(), String> {
        match self {
            Self::None | Self::FixedDelay { .. } => Ok(()),
            Self::FailureRate { interval, .. } if interval.is_zero() => {
                Err("a failure rate needs an interval longer than nothing".to_owned())
            }
            Self::FailureRate { .. } => Ok(()),
            Self::ExponentialDelay { initial, max, multiplier_percent, jitter_percent, .. } => {
                if initial.is_zero() || initial > max {
                    return Err(format!("restart delays cannot grow from {initial:?} to {max:?}"));
                }
                if *multiplier_percent < 100 || *jitter_percent > 100 {
                    return Err("restart delays do not shrink, and are moved by no more than themselves".to_owned());
                }
                Ok(())
            }
        }
    }
}

impl Default for JobConfig {
    fn default() -> Self {
        Self {
            batch_records: 1024,
            credits: 16,
            checkpoints: CheckpointConfig {
                interval: Duration::from_secs(1),
                timeout: Duration::from_secs(600),
                min_pause: Duration::ZERO,
                max_concurrent: 1,
                tolerable_failures: 0,
                mode: CheckpointMode::ExactlyOnce,
                retention: RetentionPolicy::OnCancellation,
                snapshot: SnapshotMode::Async,
                part_bytes: 8 << 20,
                retained: 1,
            },
            restart: RestartStrategy::ExponentialDelay {
                initial: Duration::from_secs(1),
                max: Duration::from_secs(60),
                multiplier_percent: 150,
                jitter_percent: 10,
                reset_after: Duration::from_secs(3600),
                attempts: None,
            },
            heartbeat_interval: Duration::from_secs(1),
            heartbeat_timeout: Duration::from_secs(10),
            storage_timeout: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_can_run() {
        assert_eq!(JobConfig::default().validate(), Ok(()));
    }

    #[test]
    fn what_cannot_run_is_told_in_one_line() {
        let refuses = |change: fn(&mut JobConfig), says: &str| {
            let mut config = JobConfig::default();
            change(&mut config);
            let line = config.validate().expect_err(says);
            assert!(line.contains(says) && !line.contains('\n'), "{line}");
        };
        refuses(
            |c| (c.checkpoints.min_pause, c.checkpoints.max_concurrent) = (Duration::from_secs(1), 2),
            "choose one",
        );
        refuses(|c| c.checkpoints.interval = Duration::ZERO, "an interval");
        refuses(|c| c.checkpoints.retained = 0, "at least one");
        refuses(|c| c.heartbeat_timeout = c.heartbeat_interval, "cannot be missed");
        refuses(
            |c| {
                let (failures, delay) = (1, Duration::ZERO);
                c.restart = RestartStrategy::FailureRate { failures, interval: Duration::ZERO, delay };
            },
            "a failure rate",
        );
    }

    #[test]
    fn each_policy_keeps_what_its_name_says() {
        let finished = Ended::Finished { checkpoint: crate::ids::CheckpointId(1) };
        let ends = [finished, Ended::Failed { cause: String::new() }, Ended::Cancelled];
        let kept = |policy: RetentionPolicy| ends.iter().map(|end| policy.keeps(end)).collect::<Vec<_>>();
        assert_eq!(kept(RetentionPolicy::Never), [false, false, false]);
        assert_eq!(kept(RetentionPolicy::OnFailure), [false, true, false]);
        assert_eq!(kept(RetentionPolicy::OnCancellation), [false, true, true]);
        assert_eq!(kept(RetentionPolicy::Always), [true, true, true]);
    }
}

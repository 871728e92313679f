//! Statistics of the checkpoints of one leadership (Flink: *Monitoring Checkpointing*): counts, the last few checkpoints with
//! what each subtask spent on them, and why the failed ones failed.
//!
//! A checkpoint is told about in the order in which it happens: triggered, acknowledged, completed or failed. Statistics
//! come behind the commit point (order rule O6) and decide nothing.
//!
//! Owns: the counts and the history. Does not own: what becomes durable of it, which is in the manifest.
//! Invariants: everything triggered is completed, failed or in progress; memory is bounded by [`HISTORY_MAX`] and by the
//! checkpoints in progress. Lost with the leadership, as in Flink.

use crate::ids::{CheckpointId, SubtaskId};
use crate::reason::FailureReason;
use crate::statistics::SnapshotStatistics;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub use crate::statistics::Counts;

/// Checkpoints remembered after they have completed or failed.
pub const HISTORY_MAX: usize = 10;

/// How a checkpoint stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Status {
    /// Acks are missing, or it is being made durable.
    InProgress,
    /// It is durable.
    Completed {
        /// From the trigger to then.
        duration: Duration,
        /// Total length of its snapshots.
        bytes: u64,
    },
    /// It was aborted.
    Failed {
        /// Why.
        reason: FailureReason,
    },
}

/// One checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CheckpointStatistics {
    /// Which one.
    pub checkpoint: CheckpointId,
    /// Milliseconds since 1970 at the trigger.
    pub triggered_ms: u64,
    /// How it stands.
    pub status: Status,
    /// Who takes part.
    pub wait: BTreeSet<SubtaskId>,
    /// What those have spent who have acknowledged.
    pub subtasks: BTreeMap<SubtaskId, SnapshotStatistics>,
}

/// See the head of the file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Statistics {
    counts: Counts,
    in_progress: BTreeMap<CheckpointId, CheckpointStatistics>,
    /// Oldest first.
    history: VecDeque<CheckpointStatistics>,
    /// The newest durable one, which may have left the history.
    last_completed: Option<CheckpointStatistics>,
    /// By [`FailureReason::name`].
    failures: BTreeMap<&'static str, u64>,
    /// Reports that no right worker sends.
    rejected: u64,
}

impl Statistics {
    /// An attempt was deployed from a checkpoint.
    pub fn on_restored(&mut self) {
        self.counts.restored += 1;
        self.validate();
    }

    /// A checkpoint was triggered; the acks of `wait` make it complete.
    pub fn on_triggered(&mut self, checkpoint: CheckpointId, triggered_ms: u64, wait: BTreeSet<SubtaskId>) {
        self.counts.triggered += 1;
        self.counts.in_progress += 1;
        let (status, subtasks) = (Status::InProgress, BTreeMap::new());
        let statistics = CheckpointStatistics { checkpoint, triggered_ms, status, wait, subtasks };
        let known = self.in_progress.insert(checkpoint, statistics);
        assert!(known.is_none(), "{checkpoint} is triggered once");
        self.validate();
    }

    /// An ack that counts.
    pub fn on_ack(&mut self, checkpoint: CheckpointId, subtask: SubtaskId, spent: SnapshotStatistics) {
        let statistics = self.in_progress.get_mut(&checkpoint).expect("an ack that counts is of a pending checkpoint");
        assert!(statistics.wait.contains(&subtask), "an ack that counts was waited for");
        let before = statistics.subtasks.insert(subtask, spent);
        assert!(before.is_none(), "an ack counts once");
        self.validate();
    }

    /// It is durable.
    pub fn on_completed(&mut self, checkpoint: CheckpointId, duration: Duration, bytes: u64) {
        self.counts.completed += 1;
        let statistics = self.end(checkpoint, Status::Completed { duration, bytes });
        assert_eq!(statistics.subtasks.len(), statistics.wait.len(), "every ack that was waited for has come");
        self.last_completed = Some(statistics.clone());
        self.remember(statistics);
    }

    /// It was aborted.
    pub fn on_failed(&mut self, checkpoint: CheckpointId, reason: FailureReason) {
        self.counts.failed += 1;
        *self.failures.entry(reason.name()).or_default() += 1;
        let statistics = self.end(checkpoint, Status::Failed { reason });
        self.remember(statistics);
    }

    /// A worker sent what no right worker sends.
    pub fn on_rejected(&mut self) {
        self.rejected += 1;
    }

    /// How many reports were rejected.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// How many.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many checkpoints are remembered one by one.
    pub fn remembered(&self) -> usize {
        self.history.len() + self.in_progress.len()
    }

    /// Those that have completed or failed lately, oldest first.
    pub fn history(&self) -> impl Iterator<Item = &CheckpointStatistics> {
        self.history.iter()
    }

    /// The newest durable one.
    pub fn last_completed(&self) -> Option<&CheckpointStatistics> {
        self.last_completed.as_ref()
    }

    /// How many failed for which reason.
    pub fn failures(&self) -> &BTreeMap<&'static str, u64> {
        &self.failures
    }

    fn end(&mut self, checkpoint: CheckpointId, status: Status) -> CheckpointStatistics {
        self.counts.in_progress -= 1;
        let statistics = self.in_progress.remove(&checkpoint).expect("what ends was triggered");
        CheckpointStatistics { status, ..statistics }
    }

    fn remember(&mut self, statistics: CheckpointStatistics) {
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(statistics);
        self.validate();
    }

    fn validate(&self) {
        let Counts { triggered, in_progress, completed, failed, restored: _ } = self.counts;
        assert_eq!(triggered, in_progress + completed + failed, "what was triggered has one status");
        assert_eq!(in_progress, self.in_progress.len() as u64, "those in progress are known");
        assert_eq!(failed, self.failures.values().sum::<u64>(), "every failure has a reason");
        assert!(self.history.len() <= HISTORY_MAX, "memory is bounded");
        assert_eq!(self.last_completed.is_some(), completed > 0, "the last completed one is known");
    }
}

impl CheckpointStatistics {
    /// The subtask that spent most, and how much in total.
    pub fn slowest(&self) -> Option<(SubtaskId, SnapshotStatistics)> {
        let total = |spent: &SnapshotStatistics| {
            let SnapshotStatistics { start_delay_ms, alignment_ms, sync_ms, async_ms, bytes: _ } = *spent;
            [start_delay_ms, alignment_ms, sync_ms, async_ms].into_iter().fold(0, u64::saturating_add)
        };
        let slowest = self.subtasks.iter().max_by_key(|(_, spent)| total(spent));
        slowest.map(|(subtask, spent)| (*subtask, *spent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OperatorId;

    const SOURCE: SubtaskId = SubtaskId { operator: OperatorId(0), index: 0 };
    const SINK: SubtaskId = SubtaskId { operator: OperatorId(1), index: 0 };

    fn spent(async_ms: u64) -> SnapshotStatistics {
        SnapshotStatistics { async_ms, bytes: 10, ..SnapshotStatistics::default() }
    }

    fn triggered(statistics: &mut Statistics, id: u64) -> CheckpointId {
        statistics.on_triggered(CheckpointId(id), 1000 * id, BTreeSet::from([SOURCE, SINK]));
        CheckpointId(id)
    }

    fn completed(statistics: &mut Statistics, id: u64) {
        let checkpoint = triggered(statistics, id);
        statistics.on_ack(checkpoint, SOURCE, spent(3));
        statistics.on_ack(checkpoint, SINK, spent(7));
        statistics.on_completed(checkpoint, Duration::from_millis(41), 20);
    }

    #[test]
    fn a_checkpoint_is_in_progress_until_it_is_durable() {
        let mut statistics = Statistics::default();
        let checkpoint = triggered(&mut statistics, 1);
        assert_eq!(statistics.counts(), Counts { triggered: 1, in_progress: 1, ..Counts::default() });
        statistics.on_ack(checkpoint, SOURCE, spent(3));
        statistics.on_ack(checkpoint, SINK, spent(7));
        statistics.on_completed(checkpoint, Duration::from_millis(41), 20);
        assert_eq!(statistics.counts(), Counts { triggered: 1, completed: 1, ..Counts::default() });
        let last = statistics.last_completed().expect("one is durable");
        assert_eq!(last.status, Status::Completed { duration: Duration::from_millis(41), bytes: 20 });
        assert_eq!(last.slowest(), Some((SINK, spent(7))));
    }

    #[test]
    fn a_failed_one_keeps_its_reason_and_what_was_acknowledged() {
        let mut statistics = Statistics::default();
        let checkpoint = triggered(&mut statistics, 1);
        statistics.on_ack(checkpoint, SINK, spent(7));
        statistics.on_failed(checkpoint, FailureReason::Expired);
        let failed = statistics.history().next().expect("it is remembered");
        assert_eq!(failed.status, Status::Failed { reason: FailureReason::Expired });
        assert_eq!((failed.wait.len(), failed.subtasks.len()), (2, 1));
        assert_eq!(statistics.failures(), &BTreeMap::from([("expired", 1)]));
        assert_eq!(statistics.last_completed(), None);
    }

    #[test]
    fn only_the_last_few_are_remembered_but_all_are_counted() {
        let mut statistics = Statistics::default();
        completed(&mut statistics, 1);
        for id in 2..=30 {
            let checkpoint = triggered(&mut statistics, id);
            statistics.on_failed(checkpoint, FailureReason::Subsumed { by: CheckpointId(99) });
        }
        assert_eq!(statistics.remembered(), HISTORY_MAX);
        assert!(statistics.history().map(|one| one.checkpoint.0).eq(21..=30));
        assert_eq!(statistics.counts(), Counts { triggered: 30, completed: 1, failed: 29, ..Counts::default() });
        assert_eq!(statistics.last_completed().map(|last| last.checkpoint), Some(CheckpointId(1)));
    }
}

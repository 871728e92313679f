//! One pending checkpoint: what it waits for, and how far it is.

use super::effect::{Effect, RequestId};
use crate::cores::restore::Contribution;
use crate::cores::retention::belongs;
use crate::door::Time;
use crate::ids::{Attempt, CheckpointId, SubtaskId};
use crate::messages::SnapshotHandle;
use crate::persist::layout;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Tries to write a manifest before its checkpoint is aborted.
pub(super) const MANIFEST_TRIES: u32 = 5;

#[derive(Debug)]
pub(super) struct Pending {
    pub attempt: Attempt,
    pub checkpoint: CheckpointId,
    /// The request that it was triggered for, unless it is a periodic one.
    pub request: Option<RequestId>,
    pub triggered: Time,
    pub triggered_ms: u64,
    /// Every subtask had ended its input when it was triggered.
    pub is_final: bool,
    /// The subtasks that take part.
    pub wait: BTreeSet<SubtaskId>,
    /// What has been acknowledged, and what was carried forward.
    pub contributions: BTreeMap<SubtaskId, Contribution>,
    pub stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Waiting for acks, until `deadline`.
    Collecting { deadline: Time },
    /// All acks are in, the last one `duration` after the trigger. Another checkpoint is completing.
    Ready { duration: Duration },
    /// The manifest is being written; `tries` tries have failed.
    Writing { duration: Duration, tries: u32 },
    /// The slot is being decided, or is durable and the output is being marked.
    Adding,
}

impl Pending {
    /// Whether an ack or decline of `subtask` is waited for.
    pub fn waits_for(&self, attempt: Attempt, subtask: SubtaskId) -> bool {
        let collecting = matches!(self.stage, Stage::Collecting { .. });
        let missing = self.wait.contains(&subtask) && !self.contributions.contains_key(&subtask);
        collecting && missing && self.attempt == attempt
    }

    /// How many acks are missing. Both sides are sorted, so one walk along them finds it.
    pub fn missing(&self) -> usize {
        let mut contributed = self.contributions.keys().peekable();
        let is_missing = |subtask: &&SubtaskId| {
            while contributed.next_if(|other| other < subtask).is_some() {}
            contributed.next_if_eq(subtask).is_none()
        };
        self.wait.iter().filter(is_missing).count()
    }

    /// Whether it is completing: only a manifest that cannot be written, or a slot that is certainly not added, aborts
    /// it.
    pub fn is_completing(&self) -> bool {
        match self.stage {
            Stage::Collecting { .. } | Stage::Ready { .. } => false,
            Stage::Writing { .. } | Stage::Adding => true,
        }
    }

    /// Path of its manifest.
    pub fn manifest(&self) -> String {
        layout::manifest(self.checkpoint, self.attempt)
    }

    /// Begins the next try to write the manifest.
    pub fn write_manifest(&mut self, duration: Duration, tries: u32, delay: Duration) -> Effect {
        assert_eq!(self.missing(), 0, "completing means all acks are in");
        self.stage = Stage::Writing { duration, tries };
        Effect::WriteManifest {
            attempt: self.attempt,
            checkpoint: self.checkpoint,
            triggered_ms: self.triggered_ms,
            duration,
            contributions: self.contributions.clone(),
            delay,
        }
    }

    /// What it has stored of its own: what was carried forward belongs to the checkpoints before.
    pub fn stored(&self) -> Vec<String> {
        let manifest = self.is_completing().then(|| self.manifest());
        let blobs = self.contributions.values().map(|contribution| contribution.snapshot.path.clone());
        manifest.into_iter().chain(blobs.filter(|path| belongs(path, self.checkpoint))).collect()
    }

    /// Total length of its snapshots.
    pub fn bytes(&self) -> u64 {
        let lengths = self.contributions.values().map(|contribution| contribution.snapshot.bytes);
        lengths.fold(0, u64::saturating_add)
    }

    /// Whether every snapshot was taken behind the end of its subtask's input.
    pub fn is_last(&self) -> bool {
        self.contributions.values().all(|contribution| contribution.snapshot.ended)
    }

    /// Its snapshots.
    pub fn snapshots(&self) -> BTreeMap<SubtaskId, SnapshotHandle> {
        let snapshots = self.contributions.iter();
        snapshots.map(|(subtask, contribution)| (*subtask, contribution.snapshot.clone())).collect()
    }

    pub fn validate(&self, subtasks: usize) {
        assert!(!self.wait.is_empty(), "a checkpoint waits for a subtask");
        let missing = self.missing();
        let acknowledged = self.wait.len() - missing;
        let carried = subtasks - self.wait.len();
        assert_eq!(
            self.contributions.len(),
            acknowledged + carried,
            "the snapshot of a subtask that does not take part is carried forward"
        );
        match self.stage {
            Stage::Collecting { .. } => assert!(missing > 0, "the last ack ends the collecting"),
            Stage::Ready { .. } => assert_eq!(missing, 0, "ready means all acks are in"),
            Stage::Writing { tries, .. } => {
                assert!(tries < MANIFEST_TRIES, "tries are bounded");
                assert_eq!(missing, 0, "completing means all acks are in");
            }
            Stage::Adding => assert_eq!(missing, 0, "completing means all acks are in"),
        }
    }
}

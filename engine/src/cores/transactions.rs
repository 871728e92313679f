//! Sink transactions: what a sink has staged, for which checkpoint, and when it may become visible.
//!
//! Protocol (two-phase commit; Flink's `TwoPhaseCommitSinkFunction` and Sink V2 committer):
//! 1. At barrier *n* the sink stages what was written since the last barrier; the committable is pending under *n* and
//!    part of the snapshot.
//! 2. When *n* is durable, everything pending up to *n* is committed, oldest first: an older checkpoint may have been
//!    aborted after its data were staged, or its notification lost (order rule O9).
//! 3. After a restore everything restored is committed again: it belongs to a durable checkpoint, and the former
//!    attempt may have died before it committed. Commits are idempotent.
//!
//! An abort changes nothing here: the records were consumed, so their data belong to the next checkpoint that completes.
//! Committables of different checkpoints are never merged (Iceberg PR #10526).
//!
//! Owns: the pending committables. Does not own: staging, committing, retries.

use crate::codec;
use crate::error::{Error, Result};
use crate::ids::CheckpointId;
use crate::messages::{RestoreFrom, ToWorker};
use crate::state::{Section, SectionKind};
use std::collections::BTreeMap;

/// The proof that a checkpoint is durable: without one nothing may become visible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion(CheckpointId);

impl Completion {
    /// The coordinator's word, sent only behind the commit point.
    pub fn announced(message: &ToWorker) -> Option<Self> {
        match message {
            ToWorker::Completed { checkpoint, .. } => Some(Self(*checkpoint)),
            ToWorker::Welcome { .. }
            | ToWorker::Standby
            | ToWorker::Occupied
            | ToWorker::Refused { .. }
            | ToWorker::Heartbeat
            | ToWorker::Deploy(_)
            | ToWorker::Trigger { .. }
            | ToWorker::Aborted { .. }
            | ToWorker::Cancel { .. }
            | ToWorker::JobDone => None,
        }
    }

    /// A checkpoint that is restored was durable.
    pub fn restored(from: &RestoreFrom) -> Self {
        Self(from.checkpoint)
    }

    /// Which checkpoint.
    pub fn checkpoint(self) -> CheckpointId {
        self.0
    }
}

/// What the sink has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Make the committable of this checkpoint visible, then say [`Transactions::on_committed`].
    Commit(CheckpointId, Vec<u8>),
}

/// The pending committables of one sink subtask.
#[derive(Clone, Debug, Default)]
pub struct Transactions {
    pending: BTreeMap<CheckpointId, Vec<u8>>,
    /// Nothing up to this id may become pending any more.
    prepared: CheckpointId,
}

const SECTION: &str = "pending";

impl Transactions {
    /// The sink staged its data at a barrier; `None` if there were none.
    pub fn on_prepared(&mut self, checkpoint: CheckpointId, committable: Option<Vec<u8>>) {
        assert!(checkpoint > self.prepared, "{checkpoint} was prepared after {}", self.prepared);
        self.prepared = checkpoint;
        if let Some(committable) = committable {
            let previous = self.pending.insert(checkpoint, committable);
            assert!(previous.is_none(), "{checkpoint} was prepared twice");
        }
        self.validate();
    }

    /// A checkpoint is durable.
    pub fn on_completed(&mut self, completion: Completion, out: &mut Vec<Effect>) {
        let due = self.pending.range(..=completion.checkpoint());
        out.extend(due.map(|(checkpoint, committable)| Effect::Commit(*checkpoint, committable.clone())));
    }

    /// A commit has been performed.
    pub fn on_committed(&mut self, checkpoint: CheckpointId) {
        let committed = self.pending.remove(&checkpoint);
        assert!(committed.is_some(), "{checkpoint} was committed without being pending");
        self.validate();
    }

    /// The snapshot's section, present even when nothing is pending.
    pub fn snapshot(&self) -> Section {
        let bytes = bincode::serialize(&self.pending).expect("committables serialise");
        Section { kind: SectionKind::Sink, name: SECTION.into(), group: None, bytes }
    }

    /// Takes over the section of the restored checkpoint.
    pub fn restore(&mut self, sections: &[Section]) -> Result<()> {
        assert!(self.pending.is_empty(), "a sink restores once, first of all");
        let [section] = sections else {
            return Err(Error::corrupt(format!("a sink's snapshot has {} sections instead of 1", sections.len())));
        };
        if section.kind != SectionKind::Sink || section.name != SECTION {
            return Err(Error::corrupt(format!("a sink's snapshot holds {:?} {:?}", section.kind, section.name)));
        }
        self.pending = codec::decode(&section.bytes)
            .map_err(|e| Error::corrupt(format!("pending committables cannot be decoded: {e}")))?;
        self.prepared = self.pending.last_key_value().map_or(CheckpointId(0), |(checkpoint, _)| *checkpoint);
        self.validate();
        Ok(())
    }

    fn validate(&self) {
        assert!(
            self.pending.keys().all(|checkpoint| *checkpoint <= self.prepared),
            "nothing is pending before its barrier"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(transactions: &mut Transactions, checkpoint: u64) -> Vec<u64> {
        let mut out = Vec::new();
        transactions.on_completed(Completion(CheckpointId(checkpoint)), &mut out);
        out.iter().map(|Effect::Commit(checkpoint, _)| checkpoint.0).collect()
    }

    fn prepared(checkpoints: &[u64]) -> Transactions {
        let mut transactions = Transactions::default();
        for &n in checkpoints {
            transactions.on_prepared(CheckpointId(n), Some(vec![n as u8]));
        }
        transactions
    }

    #[test]
    fn a_completion_commits_its_own_and_everything_aborted_before_but_nothing_after() {
        let mut transactions = prepared(&[1, 2, 3]);
        assert_eq!(commits(&mut transactions, 2), [1, 2]);
        transactions.on_committed(CheckpointId(1));
        transactions.on_committed(CheckpointId(2));
        assert_eq!(commits(&mut transactions, 2), [0_u64; 0]);
        assert_eq!(commits(&mut transactions, 3), [3]);
    }

    #[test]
    fn what_was_pending_is_pending_again_after_a_restore() {
        let section = prepared(&[4, 5]).snapshot();
        let mut restored = Transactions::default();
        restored.restore(&[section]).expect("a sink's section");
        assert_eq!(commits(&mut restored, 5), [4, 5]);
    }

    #[test]
    fn a_foreign_section_is_an_error() {
        let section = Section { kind: SectionKind::Source, name: "splits".into(), group: None, bytes: vec![] };
        assert!(Transactions::default().restore(&[section]).is_err());
    }

    #[test]
    #[should_panic(expected = "was prepared after")]
    fn barriers_prepare_in_order() {
        prepared(&[5, 4]);
    }
}

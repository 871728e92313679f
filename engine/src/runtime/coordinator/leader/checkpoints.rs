//! Checkpoints as the leader performs them: each effect announced before it begins or after it has ended, as
//! [`crate::event`] demands, and counted in the statistics once it is decided.
//!
//! One slot of the log is decided at a time. Whatever wants one waits for its turn here ([`Proposal`]), and says what is to be
//! written only when its turn has come: floor and number depend on what was decided before.

use super::{Ending, Leader};
use crate::cores::checkpointing::{Completion, Effect, Settlement, Verdict};
use crate::cores::restore::{self, Contribution};
use crate::door::{Site, StorageError};
use crate::element::Barrier;
use crate::error::Error;
use crate::event::Event;
use crate::ids::{Attempt, CheckpointId, SubtaskId};
use crate::messages::{SnapshotHandle, ToWorker};
use crate::persist::manifest::Manifest;
use crate::persist::slot::SlotRecord;
use crate::reason::FailureReason;
use crate::statistics::SnapshotStatistics;
use std::collections::BTreeSet;
use std::time::Duration;

/// What wants a slot of the log.
pub(super) enum Proposal {
    /// A reservation of ids, unless there are some by then.
    Ids,
    /// The commit point of a checkpoint.
    Completion { checkpoint: CheckpointId, manifest: String },
    /// The end of the job.
    End,
}

/// An ack as it arrives.
pub(super) struct Ack {
    pub attempt: Attempt,
    pub checkpoint: CheckpointId,
    pub subtask: SubtaskId,
    pub snapshot: SnapshotHandle,
    pub statistics: SnapshotStatistics,
}

impl Leader {
    pub(super) fn perform_checkpointing(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Allocate => self.allocate(),
                Effect::Trigger { attempt, barrier, subtasks, wait } => {
                    self.trigger(attempt, barrier, &subtasks, wait);
                }
                Effect::WriteManifest { attempt, checkpoint, triggered_ms, duration, contributions, delay } => {
                    let graph = &self.job.graph;
                    let described =
                        restore::describe(graph, checkpoint, attempt, triggered_ms, duration, &contributions);
                    // No later attempt is deployed before this checkpoint is decided, so the listing is that of its attempt.
                    self.write_manifest(&Manifest { listing: self.run_input.listing(), ..described }, delay);
                }
                Effect::AddToStore { checkpoint, manifest } => {
                    self.propose(Proposal::Completion { checkpoint, manifest });
                }
                Effect::Complete(completion) => self.complete(completion),
                Effect::Notify { attempt, checkpoint } => {
                    for worker in self.failover.hosts() {
                        self.emit(Event::NotifySent { attempt, checkpoint, worker });
                        self.send(worker, &ToWorker::Completed { attempt, checkpoint });
                    }
                }
                Effect::Abort { attempt, checkpoint, reason } => self.abort(attempt, checkpoint, reason),
                Effect::Discard { paths } => {
                    self.discards += 1;
                    self.requests.discard(paths);
                }
                Effect::Settle => self.settled(),
                Effect::Answer { request, result } => self.answer(request, result),
                Effect::FailAttempt { attempt, cause } => {
                    let mut out = Vec::new();
                    let error = Error::restart(cause);
                    self.failover.on_failed(self.now(), attempt, "checkpointing", error, &mut out);
                    self.perform_failover(out);
                }
            }
        }
    }

    /// A subtask's snapshot is durable.
    pub(super) fn on_ack(&mut self, ack: Ack) {
        let Ack { attempt, checkpoint, subtask, snapshot, statistics } = ack;
        let mut out = Vec::new();
        let contribution = Contribution { snapshot, statistics };
        let verdict = self.checkpoints.on_ack(self.now(), attempt, checkpoint, subtask, contribution, &mut out);
        if verdict == Verdict::Counts {
            self.emit(Event::AckReceived { attempt, checkpoint, subtask });
            self.statistics.on_ack(checkpoint, subtask, statistics);
        }
        self.perform_checkpointing(out);
    }

    /// A subtask cannot take part.
    pub(super) fn on_decline(
        &mut self,
        attempt: Attempt,
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        reason: FailureReason,
    ) {
        let mut out = Vec::new();
        let verdict = self.checkpoints.on_decline(self.now(), attempt, checkpoint, subtask, reason, &mut out);
        if verdict == Verdict::Counts {
            self.emit(Event::DeclineReceived { attempt, checkpoint, subtask });
        }
        self.perform_checkpointing(out);
    }

    pub(super) fn on_manifest_written(&mut self, checkpoint: CheckpointId, reply: Result<(), StorageError>) {
        if reply == Err(StorageError::Fenced) {
            return self.stop(StorageError::Fenced.into());
        }
        if !matches!(self.ending, Ending::No) {
            return;
        }
        if let (Ok(()), Some(path)) = (&reply, self.checkpoints.manifest(checkpoint)) {
            self.emit(Event::ManifestWritten { checkpoint, path });
        }
        let mut out = Vec::new();
        self.checkpoints.on_manifest_written(self.now(), checkpoint, reply.map_err(Error::from), &mut out);
        self.perform_checkpointing(out);
    }

    /// The commit point of a checkpoint has passed.
    pub(super) fn added(&mut self, number: u64, checkpoint: CheckpointId) {
        // Taken first: what the completion sets off may propose the next slot, which has a floor of its own.
        let (falling, floor) = (std::mem::take(&mut self.falling), self.store.floor());
        let mut out = Vec::new();
        self.checkpoints.on_added(self.now(), checkpoint, number, &mut out);
        self.perform_checkpointing(out);
        let mut out = Vec::new();
        self.retention.on_completed(checkpoint, &falling, floor, &mut out);
        self.requests.perform_retention(out);
        self.tell_backlog();
    }

    /// Whether the cleaner keeps up decides whether there may be more to clean.
    pub(super) fn tell_backlog(&mut self) {
        if let Ending::No = self.ending {
            let mut out = Vec::new();
            self.checkpoints.on_backlog(self.now(), self.retention.backlog(), &mut out);
            self.perform_checkpointing(out);
        }
    }

    /// It will never pass.
    pub(super) fn not_added(&mut self, checkpoint: CheckpointId, cause: &str) {
        self.falling.clear();
        let mut out = Vec::new();
        self.checkpoints.on_not_added(self.now(), checkpoint, cause, &mut out);
        self.perform_checkpointing(out);
    }

    /// No ids could be reserved.
    pub(super) fn not_reserved(&mut self, cause: &str) {
        let mut out = Vec::new();
        self.checkpoints.on_no_id(self.now(), cause, &mut out);
        self.perform_checkpointing(out);
    }

    /// The attempt is over.
    pub(super) fn attempt_over(&mut self, attempt: Attempt, cause: &str) -> Settlement {
        let mut out = Vec::new();
        let settlement = self.checkpoints.on_attempt_over(self.now(), attempt, cause, &mut out);
        self.perform_checkpointing(out);
        settlement
    }

    /// Gets an id, reserving more of them first if there are none.
    pub(super) fn allocate(&mut self) {
        match self.store.allocate() {
            Some(id) => {
                let mut out = Vec::new();
                let wall_ms = self.requests.env.clock.wall_ms();
                self.checkpoints.on_id(self.now(), wall_ms, id, &mut out);
                self.perform_checkpointing(out);
            }
            None if self.proposals.iter().any(|proposal| matches!(proposal, Proposal::Ids)) => {}
            None => self.propose(Proposal::Ids),
        }
    }

    pub(super) fn propose(&mut self, proposal: Proposal) {
        self.proposals.push_back(proposal);
        self.propose_next();
    }

    /// Proposes what has waited longest, if no slot is being decided.
    pub(super) fn propose_next(&mut self) {
        if matches!(self.ending, Ending::Lingering { .. } | Ending::Now(_)) || !self.store.accepts_proposals() {
            return;
        }
        let record = match self.proposals.pop_front() {
            Some(Proposal::Ids) => SlotRecord::IdsReserved,
            Some(Proposal::Completion { checkpoint, manifest }) => self.completion(checkpoint, manifest),
            Some(Proposal::End) => self.ending_record(),
            None => return,
        };
        let token = self.requests.env.schedule.token(Site::new("coordinator.slot", self.store.next_number()));
        let mut out = Vec::new();
        self.store.propose(token, record, &mut out);
        self.perform_store(out);
    }

    fn completion(&mut self, checkpoint: CheckpointId, manifest: String) -> SlotRecord {
        let slot = self.store.next_number();
        let retained = self.store.retained();
        let floor = self.retention.floor(&retained, slot);
        self.falling = retained.into_iter().filter(|retained| retained.number < floor).collect();
        self.emit(Event::CompletionStarted { checkpoint, slot });
        SlotRecord::Completed { checkpoint, manifest, floor }
    }

    fn trigger(
        &mut self,
        attempt: Attempt,
        barrier: Barrier,
        subtasks: &BTreeSet<SubtaskId>,
        wait: BTreeSet<SubtaskId>,
    ) {
        let checkpoint = barrier.checkpoint;
        self.emit(Event::CheckpointTriggered { attempt, checkpoint });
        self.reports.on_triggered(checkpoint, &wait);
        self.statistics.on_triggered(checkpoint, barrier.triggered_ms, wait);
        for worker in self.failover.hosts() {
            let hosted = self.failover.hosted(worker).into_iter();
            let subtasks: Vec<_> = hosted.filter(|subtask| subtasks.contains(subtask)).collect();
            if !subtasks.is_empty() {
                self.emit(Event::TriggerSent { attempt, checkpoint, worker });
                self.send(worker, &ToWorker::Trigger { attempt, barrier, subtasks });
            }
        }
    }

    fn write_manifest(&mut self, manifest: &Manifest, delay: Duration) {
        let checkpoint = manifest.checkpoint;
        let path = Manifest::path(checkpoint, manifest.attempt);
        if delay.is_zero() {
            self.emit(Event::ManifestStarted { checkpoint, path: path.clone() });
        }
        self.retention.on_described(checkpoint, &path, manifest.named().cloned());
        self.requests.write_manifest(checkpoint, path, manifest.encode(), delay);
    }

    fn complete(&mut self, completion: Completion) {
        let Completion { attempt, checkpoint, number, manifest, bytes, duration, last } = completion;
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.emit(Event::CompletionDurable { checkpoint, slot: number, manifest, bytes, duration_ms, last });
        self.statistics.on_completed(checkpoint, duration, bytes);
        self.reports.on_completed(checkpoint);
        self.tell_statistics();
        self.failover.on_completed(attempt);
    }

    fn abort(&mut self, attempt: Attempt, checkpoint: CheckpointId, reason: FailureReason) {
        self.emit(Event::CheckpointAborted { checkpoint, reason: reason.clone() });
        self.statistics.on_failed(checkpoint, reason);
        self.tell_statistics();
        if self.failover.is_live(attempt) {
            for worker in self.failover.hosts() {
                self.send(worker, &ToWorker::Aborted { attempt, checkpoint });
            }
        }
    }

    fn tell_statistics(&self) {
        let counts = self.statistics.counts();
        self.emit(Event::StatisticsKept {
            triggered: counts.triggered,
            in_progress: counts.in_progress,
            completed: counts.completed,
            failed: counts.failed,
            restored: counts.restored,
            remembered: self.statistics.remembered() as u64,
        });
    }
}

//! Checkpoints as the leading coordinator performs them: each effect announced before it begins or after it has ended,
//! as [`crate::event`] demands, and counted in the statistics once it is decided.

use super::ending::Ending;
use super::{Effect, Leading, Pause, Proposal, Step, announce};
use crate::cores::checkpointing::{self, CompletionReport, Verdict};
use crate::cores::completed::Retained;
use crate::cores::restore::{self, Contribution};
use crate::cores::retention::belongs;
use crate::element::Barrier;
use crate::error::Error;
use crate::event::Event;
use crate::ids::{Attempt, CheckpointId, SubtaskId};
use crate::messages::{SnapshotHandle, ToWorker};
use crate::persist::layout;
use crate::persist::manifest::Manifest;
use crate::reason::FailureReason;
use crate::statistics::SnapshotStatistics;
use std::collections::BTreeSet;
use std::time::Duration;

/// An ack as it arrives.
pub(super) struct Ack {
    pub attempt: Attempt,
    pub checkpoint: CheckpointId,
    pub subtask: SubtaskId,
    pub snapshot: SnapshotHandle,
    pub statistics: SnapshotStatistics,
}

impl Leading {
    pub(super) fn perform_checkpoint(&mut self, effect: checkpointing::Effect, out: &mut Vec<Effect>) {
        match effect {
            checkpointing::Effect::Allocate => self.allocate(out),
            checkpointing::Effect::Trigger { attempt, barrier, subtasks, wait } => {
                self.trigger(attempt, barrier, &subtasks, wait, out);
            }
            checkpointing::Effect::WriteManifest {
                attempt,
                checkpoint,
                triggered_ms,
                duration,
                contributions,
                delay,
            } => {
                let graph = &self.job.graph;
                let described = restore::describe(graph, checkpoint, attempt, triggered_ms, duration, &contributions);
                // No later attempt is deployed before this checkpoint is decided, so the listing is that of its
                // attempt.
                self.write_manifest(Manifest { listing: self.run_input.listing(), ..described }, delay, out);
            }
            checkpointing::Effect::AddToStore { checkpoint, manifest } => {
                self.enqueue(Proposal::Completion { checkpoint, manifest }, out);
            }
            checkpointing::Effect::Complete(completion) => self.complete(completion, out),
            checkpointing::Effect::Notify { attempt, checkpoint } => self.notify(attempt, checkpoint, out),
            checkpointing::Effect::Abort { attempt, checkpoint, reason } => {
                self.abort(attempt, checkpoint, reason, out);
            }
            checkpointing::Effect::Discard { paths } => {
                self.discards += 1;
                out.push(Effect::Discard { paths });
            }
            checkpointing::Effect::Settle => self.settled(),
            checkpointing::Effect::Answer { request, result } => self.answer(request, result, out),
            checkpointing::Effect::FailAttempt { attempt, cause } => {
                let now = self.now;
                let error = Error::restart(cause);
                self.step_failover(|failover, effects| {
                    failover.on_failed(now, attempt, "checkpointing", error, effects);
                });
            }
        }
    }

    /// A subtask's snapshot is durable.
    pub(super) fn on_ack(&mut self, ack: Ack, out: &mut Vec<Effect>) {
        let Ack { attempt, checkpoint, subtask, snapshot, statistics } = ack;
        let mut effects = Vec::new();
        let contribution = Contribution { snapshot, statistics };
        let now = self.now;
        let verdict = self.checkpoints.on_ack(now, attempt, checkpoint, subtask, contribution, &mut effects);
        if verdict == Verdict::Counts {
            announce(Event::AckReceived { attempt, checkpoint, subtask }, out);
            self.statistics.on_ack(checkpoint, subtask, statistics);
        }
        self.next(effects.into_iter().map(Step::Checkpoint));
    }

    /// A subtask cannot take part.
    pub(super) fn on_decline(
        &mut self,
        attempt: Attempt,
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        reason: FailureReason,
        out: &mut Vec<Effect>,
    ) {
        let mut effects = Vec::new();
        let now = self.now;
        let verdict = self.checkpoints.on_decline(now, attempt, checkpoint, subtask, reason, &mut effects);
        if verdict == Verdict::Counts {
            announce(Event::DeclineReceived { attempt, checkpoint, subtask }, out);
        }
        self.next(effects.into_iter().map(Step::Checkpoint));
    }

    /// The checkpoint is durable and marked in the output.
    pub(super) fn publish(&mut self, number: u64, checkpoint: CheckpointId) {
        let durable = self.store.latest().map(|latest| (latest.number, latest.checkpoint));
        assert_eq!(durable, Some((number, checkpoint)), "nothing is published before its commit point");
        // Taken first: what the completion sets off may propose the next slot, which has a floor of its own.
        let (falling, floor) = (std::mem::take(&mut self.falling), self.store.floor());
        self.next([Step::Retain { checkpoint, falling, floor }]);
        let now = self.now;
        self.step_checkpoints(|checkpoints, effects| checkpoints.on_added(now, checkpoint, number, effects));
    }

    /// A checkpoint is published: what fell below its floor is no longer needed.
    pub(super) fn retain(&mut self, checkpoint: CheckpointId, falling: &[Retained], floor: u64, out: &mut Vec<Effect>) {
        assert!(floor <= self.store.floor(), "pointers go before files: the log has the floor already");
        assert!(falling.iter().all(|fallen| fallen.number < floor), "what falls lies below the floor");
        self.clean(out, |retention, effects| retention.on_completed(checkpoint, falling, floor, effects));
        self.report_backlog();
    }

    /// Passes to checkpointing how many checkpoints are still being deleted: with too many of them none is triggered.
    pub(super) fn report_backlog(&mut self) {
        if let Ending::No = self.ending {
            let (now, backlog) = (self.now, self.retention.backlog());
            self.step_checkpoints(|checkpoints, effects| checkpoints.on_backlog(now, backlog, effects));
        }
    }

    /// The completion is not in the log, and never will be.
    pub(super) fn not_added(&mut self, checkpoint: CheckpointId, cause: &str) {
        assert_eq!(self.unpublished, None, "what is durable is not taken back");
        self.falling.clear();
        let now = self.now;
        self.step_checkpoints(|checkpoints, effects| checkpoints.on_not_added(now, checkpoint, cause, effects));
    }

    /// No ids could be reserved.
    pub(super) fn not_reserved(&mut self, cause: &str) {
        let now = self.now;
        self.step_checkpoints(|checkpoints, effects| checkpoints.on_no_id(now, cause, effects));
    }

    /// Gets an id, reserving more of them first if there are none.
    pub(super) fn allocate(&mut self, out: &mut Vec<Effect>) {
        match self.store.allocate() {
            Some(checkpoint) => {
                out.push(Effect::ReadWallClock);
                self.pause = Some(Pause::WallClock { checkpoint });
            }
            None if self.proposals.contains(&Proposal::Ids) => {}
            None => self.enqueue(Proposal::Ids, out),
        }
    }

    pub(super) fn alarm_checkpoints(&mut self) {
        if matches!(self.ending, Ending::No) {
            self.next([Step::AlarmAttempts, Step::AlarmLog]);
            let now = self.now;
            self.step_checkpoints(|checkpoints, effects| checkpoints.on_alarm(now, effects));
        }
    }

    fn trigger(
        &mut self,
        attempt: Attempt,
        barrier: Barrier,
        subtasks: &BTreeSet<SubtaskId>,
        wait: BTreeSet<SubtaskId>,
        out: &mut Vec<Effect>,
    ) {
        assert!(self.owns_output(), "nothing is triggered before the output is owned");
        assert!(self.failover.is_live(attempt), "only a deployed attempt is triggered");
        let checkpoint = barrier.checkpoint;
        assert!(checkpoint < self.store.next_id(), "{checkpoint} was handed out by the log");
        announce(Event::CheckpointTriggered { attempt, checkpoint }, out);
        self.reports.on_triggered(checkpoint, &wait);
        self.statistics.on_triggered(checkpoint, barrier.triggered_ms, wait);
        for worker in self.failover.hosts() {
            let hosted = self.failover.hosted(worker).into_iter();
            let subtasks: Vec<_> = hosted.filter(|subtask| subtasks.contains(subtask)).collect();
            if !subtasks.is_empty() {
                announce(Event::TriggerSent { attempt, checkpoint, worker }, out);
                self.send(worker, ToWorker::Trigger { attempt, barrier, subtasks }, out);
            }
        }
    }

    fn write_manifest(&mut self, manifest: Manifest, delay: Duration, out: &mut Vec<Effect>) {
        let checkpoint = manifest.checkpoint;
        let path = layout::manifest(checkpoint, manifest.attempt);
        assert!(belongs(&path, checkpoint), "a manifest lies in the folder of its checkpoint");
        if delay.is_zero() {
            announce(Event::ManifestStarted { checkpoint, path: path.clone() }, out);
        }
        self.retention.on_described(checkpoint, &path, manifest.named().cloned());
        out.push(Effect::WriteManifest { path, manifest, delay });
    }

    fn complete(&mut self, completion: CompletionReport, out: &mut Vec<Effect>) {
        let CompletionReport { attempt, checkpoint, number, manifest, bytes, duration, last } = completion;
        let latest = self.store.latest().map(|latest| latest.checkpoint);
        assert_eq!(latest, Some(checkpoint), "what is announced as completed is durable");
        assert_eq!(self.unpublished, None, "what is announced as completed is marked in the output");
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        announce(Event::CompletionDurable { checkpoint, slot: number, manifest, bytes, duration_ms, last }, out);
        self.statistics.on_completed(checkpoint, duration, bytes);
        self.reports.on_completed(checkpoint);
        self.announce_statistics(out);
        self.failover.on_completed(attempt);
    }

    fn notify(&mut self, attempt: Attempt, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        assert_eq!(self.unpublished, None, "nothing is notified before it is marked in the output");
        for worker in self.failover.hosts() {
            announce(Event::NotifySent { attempt, checkpoint, worker }, out);
            self.send(worker, ToWorker::Completed { attempt, checkpoint }, out);
        }
    }

    fn abort(&mut self, attempt: Attempt, checkpoint: CheckpointId, reason: FailureReason, out: &mut Vec<Effect>) {
        let latest = self.store.latest().map(|latest| latest.checkpoint);
        assert_ne!(latest, Some(checkpoint), "what is durable is never aborted");
        announce(Event::CheckpointAborted { checkpoint, reason: reason.clone() }, out);
        self.statistics.on_failed(checkpoint, reason);
        self.announce_statistics(out);
        if self.failover.is_live(attempt) {
            for worker in self.failover.hosts() {
                self.send(worker, ToWorker::Aborted { attempt, checkpoint }, out);
            }
        }
    }

    fn announce_statistics(&self, out: &mut Vec<Effect>) {
        let counts = self.statistics.counts();
        let kept = Event::StatisticsKept {
            triggered: counts.triggered,
            in_progress: counts.in_progress,
            completed: counts.completed,
            failed: counts.failed,
            restored: counts.restored,
            remembered: self.statistics.remembered() as u64,
        };
        announce(kept, out);
    }

    pub(super) fn validate_checkpoints(&self) {
        let pending = self.checkpoints.all_pending();
        assert_eq!(self.statistics.counts().in_progress, pending.len() as u64, "statistics count what is pending");
        if let Some((number, checkpoint)) = self.unpublished {
            assert!(pending.contains(&checkpoint), "{checkpoint} is pending until it is published");
            let durable = self.store.latest().is_some_and(|latest| latest.number == number);
            assert!(durable, "what is to be published is durable, in slot {number}");
        }
        assert!(self.retention.known_floor() <= self.store.floor(), "nothing is deleted before the log gave it up");
        let next = self.store.next_id();
        assert!(pending.iter().all(|checkpoint| *checkpoint < next), "an id is handed out before it is pending");
        assert!(pending.is_empty() || self.failover.newest().is_some(), "a checkpoint is of an attempt");
        if matches!(self.ending, Ending::No | Ending::Recording { .. }) {
            self.validate_durable();
        }
    }

    /// Nothing is ahead of the log: neither the output, nor what is said to be complete.
    fn validate_durable(&self) {
        let (marked, durable) = (self.ownership.claimant().held, self.store.held());
        assert!(marked <= durable, "the output is not ahead of the log");
        assert!(self.unpublished.is_some() || marked == durable, "what is durable is marked, or about to be");
        let counted = self.statistics.last_completed().map(|last| last.checkpoint);
        assert!(counted <= durable.map(|(_, checkpoint)| checkpoint), "only what is durable counts as completed");
    }
}

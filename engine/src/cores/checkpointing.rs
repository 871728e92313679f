//! Checkpointing: when a checkpoint is triggered, and its way from pending to completed or aborted.
//!
//! ```text
//! Allocate ── Trigger ── acks ── (ready) ── WriteManifest ── AddToStore ── Complete ── Notify
//!                |  collecting      |         completing          | the commit point has passed
//!                └──────────────────┴ expired, declined, subsumed, └ (certainly not added: Abort)
//!                                     attempt over: Abort
//! ```
//!
//! 1. A checkpoint is triggered every `interval`, when a client asks for one, and at once when every subtask has ended
//!    its input: the final one. A checkpoint all of whose snapshots are `ended` is the last. At most `max_concurrent`
//!    are pending; no new one while more than that are still being deleted; a periodic one not before `min_pause` after
//!    the last completion (`triggering`). The `plan` of the moment says which subtasks take part.
//! 2. While acks are collected, a decline, the timeout or a subtask that finishes without an ack aborts it. Until it is
//!    completing, a newer completion, the completion of the last checkpoint or the end of the attempt aborts it as
//!    well. If the attempt still runs, its workers get `Aborted`. What was acknowledged is deleted.
//! 3. One checkpoint is *completing* at a time, the oldest that is ready; neither timeout nor decline nor the end of the
//!    attempt aborts it any more (`completing`). The attempt's failure must wait for the outcome ([`Settlement`]) before
//!    choosing what to restore:
//!    ```text
//!    Create(slot of 7) ............................. lands: 7 is durable
//!    attempt fails → restores 6, replays, commits 6→7 again        ✗ (FLINK-22502)
//!    ```
//! 4. Once it is durable, older pending ones are subsumed: the log holds ids in rising order only.
//! 5. A completing checkpoint is aborted only if its manifest could not be written in `MANIFEST_TRIES` tries, whatever
//!    the outcome of each try, or if its slot is certainly not added (order rules O6, O7).
//! 6. Too many failures in a row fail the attempt (`tolerance`).
//!
//! Owns: the pending checkpoints, the requests for more. Does not own: ids and slots ([`super::completed`]), deletion
//! ([`super::retention`]), statistics ([`super::statistics`]).
//! Invariants: ids increase; acks, declines, ends of input and finishes of another attempt or checkpoint change nothing
//! (FLINK-13593), but what a late ack of an aborted checkpoint stored is discarded (FLINK-5063); whatever ends a pending
//! checkpoint leaves the periodic trigger armed (FLINK-13256).

mod completing;
mod effect;
mod pending;
mod plan;
mod requests;
mod tolerance;
mod triggering;

pub use effect::{CompletionReport, Effect, RequestId, Settlement, Verdict};
pub use plan::Topology;
pub use requests::REQUESTS_MAX;

use crate::config::CheckpointConfig;
use crate::cores::restore::Contribution;
use crate::cores::retention::belongs;
use crate::door::Time;
use crate::ids::{Attempt, CheckpointId, SubtaskId};
use crate::messages::{RestoreFrom, SnapshotHandle};
use crate::reason::{FailureReason, Refusal};
use pending::{Pending, Stage};
use requests::Requests;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tolerance::{Judgement, Tolerance};
use triggering::Triggering;

/// Aborted checkpoints remembered, to recognise late acks.
const ABORTED_REMEMBERED: usize = 16;

/// The longest wait before a final checkpoint is tried again, or an id asked for again.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);

/// The checkpoints of one leadership.
#[derive(Debug)]
pub struct Checkpointing {
    config: CheckpointConfig,
    topology: Topology,
    live: Option<Live>,
    pending: BTreeMap<CheckpointId, Pending>,
    requests: Requests,
    /// Ids aborted lately, oldest first.
    aborted: VecDeque<CheckpointId>,
    newest: Option<CheckpointId>,
    /// The snapshots of the newest completed checkpoint, to carry forward.
    latest: BTreeMap<SubtaskId, SnapshotHandle>,
    /// No periodic checkpoint before then.
    paused_until: Time,
    /// Checkpoints still being deleted.
    backlog: usize,
    tolerance: Tolerance,
    /// Why the attempt has to fail, until the step asks for that ([`Effect::FailAttempt`]).
    exceeded: Option<String>,
}

/// The attempt that is deployed.
#[derive(Debug)]
struct Live {
    attempt: Attempt,
    /// The subtasks that have processed all their input.
    ended: BTreeSet<SubtaskId>,
    /// Those of them that have exited.
    finished: BTreeSet<SubtaskId>,
    triggering: Triggering,
}

impl Checkpointing {
    /// No attempt is deployed yet.
    pub fn new(config: &CheckpointConfig, topology: Topology) -> Self {
        Self {
            tolerance: Tolerance::new(config.tolerable_failures),
            config: config.clone(),
            topology,
            live: None,
            pending: BTreeMap::new(),
            requests: Requests::default(),
            aborted: VecDeque::new(),
            newest: None,
            latest: BTreeMap::new(),
            paused_until: Time(0),
            backlog: 0,
            exceeded: None,
        }
    }

    /// An attempt is about to be deployed from `restore`. A subtask that had finished runs again, until it has said so again.
    pub fn on_deployed(&mut self, attempt: Attempt, restore: Option<&RestoreFrom>) {
        assert!(self.live.is_none(), "one attempt at a time");
        assert!(self.pending.is_empty(), "what to restore was chosen after every outcome was known");
        self.latest = restore.map(|restore| restore.snapshots.iter().cloned().collect()).unwrap_or_default();
        self.live =
            Some(Live { attempt, ended: BTreeSet::new(), finished: BTreeSet::new(), triggering: Triggering::NotYet });
        self.validate();
    }

    /// Every subtask of the attempt has restored.
    pub fn on_running(&mut self, now: Time, attempt: Attempt, out: &mut Vec<Effect>) {
        let all_ended = self.all_ended();
        let live = self.live.as_mut().filter(|live| live.attempt == attempt).expect("only a deployed attempt runs");
        assert_eq!(live.triggering, Triggering::NotYet, "an attempt begins to run once");
        live.triggering = Triggering::Due(if all_ended { now } else { now + self.config.interval });
        self.go_on(now, out);
        self.validate();
    }

    /// The attempt is over, for whatever reason.
    pub fn on_attempt_over(&mut self, now: Time, attempt: Attempt, reason: &str, out: &mut Vec<Effect>) -> Settlement {
        self.stop_triggering(&Refusal::AttemptOver(reason.to_owned()), out);
        let live = self.live.take().expect("only a deployed attempt can be over");
        assert_eq!(live.attempt, attempt, "only the deployed attempt can be over");
        let undecided = self.pending.values().filter(|pending| !pending.is_completing());
        for checkpoint in undecided.map(|pending| pending.checkpoint).collect::<Vec<_>>() {
            self.abort(now, checkpoint, FailureReason::AttemptOver(reason.to_owned()), out);
        }
        self.validate();
        if self.pending.is_empty() { Settlement::Settled } else { Settlement::InFlight }
    }

    /// The earliest time at which [`Checkpointing::on_alarm`] has something to do.
    pub fn deadline(&self) -> Option<Time> {
        let expiry = self.pending.values().filter_map(|pending| match pending.stage {
            Stage::Collecting { deadline } => Some(deadline),
            Stage::Ready { .. } | Stage::Writing { .. } | Stage::Adding => None,
        });
        let due = if self.has_room() { self.periodic_due() } else { None };
        expiry.chain(due).min()
    }

    /// Time has passed.
    pub fn on_alarm(&mut self, now: Time, out: &mut Vec<Effect>) {
        let expired = self.pending.values().filter(|pending| match pending.stage {
            Stage::Collecting { deadline } => now >= deadline,
            Stage::Ready { .. } | Stage::Writing { .. } | Stage::Adding => false,
        });
        for checkpoint in expired.map(|pending| pending.checkpoint).collect::<Vec<_>>() {
            self.abort(now, checkpoint, FailureReason::Expired, out);
        }
        self.go_on(now, out);
        self.validate();
    }

    /// `backlog` checkpoints are still being deleted.
    pub fn on_backlog(&mut self, now: Time, backlog: usize, out: &mut Vec<Effect>) {
        self.backlog = backlog;
        self.go_on(now, out);
        self.validate();
    }

    /// A subtask's snapshot is durable.
    pub fn on_ack(
        &mut self,
        now: Time,
        attempt: Attempt,
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        contribution: Contribution,
        out: &mut Vec<Effect>,
    ) -> Verdict {
        let waiting = self.pending.get_mut(&checkpoint).filter(|pending| pending.waits_for(attempt, subtask));
        let Some(pending) = waiting else {
            return self.ignore_late_ack(checkpoint, contribution.snapshot, out);
        };
        pending.contributions.insert(subtask, contribution);
        if pending.missing() == 0 {
            pending.stage = Stage::Ready { duration: now.since(pending.triggered) };
            self.go_on(now, out);
        }
        self.validate();
        Verdict::Counts
    }

    /// A subtask cannot take part.
    pub fn on_decline(
        &mut self,
        now: Time,
        attempt: Attempt,
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        reason: FailureReason,
        out: &mut Vec<Effect>,
    ) -> Verdict {
        if !self.pending.get(&checkpoint).is_some_and(|pending| pending.waits_for(attempt, subtask)) {
            return Verdict::Ignored;
        }
        self.abort(now, checkpoint, reason, out);
        self.go_on(now, out);
        self.validate();
        Verdict::Counts
    }

    /// A subtask has processed all its input.
    pub fn on_input_ended(
        &mut self,
        now: Time,
        attempt: Attempt,
        subtask: SubtaskId,
        out: &mut Vec<Effect>,
    ) -> Verdict {
        let Some(live) = self.live.as_mut().filter(|live| live.attempt == attempt) else { return Verdict::Ignored };
        if !self.topology.contains(subtask) || !live.ended.insert(subtask) {
            return Verdict::Ignored;
        }
        self.hasten_final(now);
        self.go_on(now, out);
        self.validate();
        Verdict::Counts
    }

    /// A subtask has exited: a completed checkpoint holds its end. Whatever still waits for it will not complete, and the
    /// next one, without it, follows at once.
    pub fn on_finished(&mut self, now: Time, attempt: Attempt, subtask: SubtaskId, out: &mut Vec<Effect>) -> Verdict {
        let Some(live) = self.live.as_mut().filter(|live| live.attempt == attempt) else { return Verdict::Ignored };
        if !self.topology.contains(subtask) || !live.finished.insert(subtask) {
            return Verdict::Ignored;
        }
        live.ended.insert(subtask);
        let lacking = self.pending.values().filter(|pending| pending.waits_for(attempt, subtask));
        let lacking: Vec<_> = lacking.map(|pending| pending.checkpoint).collect();
        for checkpoint in &lacking {
            self.abort(now, *checkpoint, FailureReason::TaskClosing, out);
        }
        if !lacking.is_empty() {
            self.hasten(now);
        }
        self.go_on(now, out);
        self.validate();
        Verdict::Counts
    }

    /// Every checkpoint that is pending, oldest first.
    pub fn all_pending(&self) -> Vec<CheckpointId> {
        self.pending.keys().copied().collect()
    }

    /// The oldest pending checkpoint: what it and newer ones stored may still count.
    pub fn pending(&self) -> Option<CheckpointId> {
        self.pending.keys().next().copied()
    }

    /// What pending checkpoints carry forward from older ones.
    pub fn carried(&self) -> BTreeSet<String> {
        let contributions = self.pending.values().flat_map(|pending| {
            let of = pending.contributions.values();
            of.filter(|contribution| !belongs(&contribution.snapshot.path, pending.checkpoint))
        });
        contributions.map(|contribution| contribution.snapshot.path.clone()).collect()
    }

    fn all_ended(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.ended.len() == self.topology.len())
    }

    /// Only a late ack itself says what it stored, so that is deleted here, but never what may belong to a checkpoint
    /// that did complete. What was stored for a checkpoint that is no longer remembered is left to the next sweep.
    fn ignore_late_ack(&self, checkpoint: CheckpointId, snapshot: SnapshotHandle, out: &mut Vec<Effect>) -> Verdict {
        if self.aborted.contains(&checkpoint) && belongs(&snapshot.path, checkpoint) {
            assert!(!self.pending.contains_key(&checkpoint), "an aborted checkpoint is not pending");
            out.push(Effect::Discard { paths: vec![snapshot.path] });
        }
        Verdict::Ignored
    }

    /// What follows from whatever has happened: the attempt fails, a completion begins, a checkpoint is triggered.
    fn go_on(&mut self, now: Time, out: &mut Vec<Effect>) {
        if let Some(cause) = self.exceeded.take() {
            let attempt = self.live.as_ref().expect("only failures of the live attempt count").attempt;
            self.stop_triggering(&Refusal::AttemptOver(cause.clone()), out);
            return out.push(Effect::FailAttempt { attempt, cause });
        }
        self.begin_completing(out);
        self.trigger_if_due(now, out);
    }

    fn validate(&self) {
        assert!(self.aborted.len() <= ABORTED_REMEMBERED, "memory is bounded");
        assert!(self.exceeded.is_none(), "an attempt that has to fail is failed at once");
        assert!(self.pending.len() <= self.max_concurrent(), "pending checkpoints are bounded");
        assert!(self.pending.keys().next_back().copied() <= self.newest, "ids increase");
        self.requests.validate();
        self.tolerance.validate();
        let completing = self.pending.values().filter(|pending| pending.is_completing()).count();
        assert!(completing <= 1, "one slot is decided at a time");
        for pending in self.pending.values() {
            pending.validate(self.topology.len());
            assert!(!self.aborted.contains(&pending.checkpoint), "pending or aborted, not both");
            let attempt = self.live.as_ref().map(|live| live.attempt);
            let alive = attempt == Some(pending.attempt);
            assert!(alive || pending.is_completing(), "acks are collected while the attempt runs");
        }
        let Some(live) = &self.live else {
            return assert!(self.requests.is_empty(), "requests wait only for an attempt that runs");
        };
        assert!(live.ended.iter().all(|subtask| self.topology.contains(*subtask)), "only subtasks of the job end");
        assert!(live.finished.is_subset(&live.ended), "a subtask finishes after it has ended");
        match live.triggering {
            Triggering::NotYet => assert!(self.pending.is_empty(), "nothing is triggered before all run (FLINK-22003)"),
            Triggering::Over => assert!(self.requests.is_empty(), "nothing follows, so no request waits for it"),
            Triggering::Due(_) | Triggering::Allocating { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests;

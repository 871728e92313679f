//! Checkpointing: when a checkpoint is triggered, and its way from pending to completed or aborted.
//!
//! ```text
//! RequestId ── Trigger ── acks ── WriteManifest ── AddToStore ── Complete ── Notify
//!                 |  collecting  |         completing          | the commit point has passed
//!                 └ decline, timeout, attempt over: Abort      └ (not added for certain: Abort)
//! ```
//!
//! 1. One checkpoint is pending at a time. One is triggered every `interval`, and at once when every subtask has
//!    ended its input: the final one. A checkpoint all of whose snapshots are `ended` is the last.
//! 2. While acks are collected a decline, the timeout or the end of the attempt aborts it: subtasks are told, what
//!    was acknowledged is discarded.
//! 3. Once all acks are in it is *completing*: neither timeout nor decline nor the end of the attempt aborts it any
//!    more. The attempt's failure must wait for the outcome ([`Settlement`]) before choosing what to restore:
//!    ```text
//!    Create(slot of 7) ............................. lands: 7 is durable
//!    attempt fails → restores 6, replays, commits 6→7 again        ✗ (FLINK-22502)
//!    ```
//! 4. Only the definite failure of manifest or slot aborts a completing checkpoint (order rules O6, O7).
//!
//! Owns: the pending checkpoint. Does not own: ids and slots ([`super::completed`]), deletion ([`super::retention`]).
//! Invariants: ids increase; acks, declines and ends of input of another attempt or checkpoint change nothing
//! (FLINK-13593), but what a late ack of an aborted checkpoint stored is discarded (FLINK-5063).

use crate::cores::backoff::backoff;
use crate::cores::retention::belongs;
use crate::door::Time;
use crate::element::{Alignment, Barrier};
use crate::error::Error;
use crate::ids::{Attempt, CheckpointId, SubtaskId};
use crate::messages::SnapshotHandle;
use crate::persist::manifest::Manifest;
use crate::reason::FailureReason;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Tries to write a manifest before its checkpoint is aborted.
const MANIFEST_TRIES: u32 = 5;

/// Aborted checkpoints remembered, to recognise late acks.
const ABORTED_REMEMBERED: usize = 16;

/// The longest wait before a final checkpoint is tried again, or an id asked for again.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);

/// What checkpointing asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Get a fresh id; then [`Checkpointing::on_id`] or [`Checkpointing::on_no_id`].
    RequestId,
    /// Announce the checkpoint and tell the workers that host sources.
    Trigger {
        /// Of this attempt.
        attempt: Attempt,
        /// What its sources inject.
        barrier: Barrier,
    },
    /// Write the manifest, after `delay`; then [`Checkpointing::on_manifest_written`].
    WriteManifest {
        /// The attempt that took the checkpoint.
        attempt: Attempt,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Milliseconds since 1970 at the trigger.
        triggered_ms: u64,
        /// The snapshot of every subtask.
        snapshots: BTreeMap<SubtaskId, SnapshotHandle>,
        /// How long to wait first.
        delay: Duration,
    },
    /// Propose the slot of the checkpoint; then [`Checkpointing::on_added`] or [`Checkpointing::on_not_added`].
    AddToStore {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Path of its manifest.
        manifest: String,
    },
    /// Announce the completion.
    Complete(Completion),
    /// Tell the workers that the checkpoint is durable.
    Notify {
        /// Of this attempt.
        attempt: Attempt,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Whether it is the last.
        last: bool,
    },
    /// Announce the abort, and tell the workers of the attempt if it still runs.
    Abort {
        /// Of this attempt.
        attempt: Attempt,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        reason: FailureReason,
    },
    /// Delete what an aborted checkpoint stored.
    Discard {
        /// Paths.
        paths: Vec<String>,
    },
    /// The completion that the end of an attempt had to wait for is decided.
    Settle,
}

/// A checkpoint whose slot is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completion {
    /// The attempt that took it.
    pub attempt: Attempt,
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// Its slot.
    pub number: u64,
    /// Path of its manifest.
    pub manifest: String,
    /// Total length of its snapshots.
    pub bytes: u64,
    /// From the trigger to now.
    pub duration: Duration,
    /// Whether every subtask had ended its input.
    pub last: bool,
}

/// Whether a message of a subtask counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It changed something.
    Counts,
    /// It is late, repeated or of another attempt.
    Ignored,
}

/// Whether what to restore can be chosen after an attempt is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settlement {
    /// Yes.
    Settled,
    /// Not before [`Effect::Settle`]: a completion is under way.
    InFlight,
}

/// The checkpoints of one leadership.
#[derive(Debug)]
pub struct Checkpointing {
    interval: Duration,
    timeout: Duration,
    subtasks: BTreeSet<SubtaskId>,
    live: Option<Live>,
    pending: Option<Pending>,
    /// Ids aborted lately, oldest first.
    aborted: VecDeque<CheckpointId>,
    newest: Option<CheckpointId>,
}

/// The attempt that is deployed.
#[derive(Debug)]
struct Live {
    attempt: Attempt,
    ended: BTreeSet<SubtaskId>,
    triggering: Triggering,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Triggering {
    /// Some subtask has not restored yet (FLINK-22003).
    NotYet,
    /// The next trigger is due then, or as soon as nothing is pending.
    Due(Time),
    /// An id was asked for.
    Requested,
    /// The last checkpoint is durable.
    Over,
}

#[derive(Debug)]
struct Pending {
    attempt: Attempt,
    checkpoint: CheckpointId,
    triggered: Time,
    triggered_ms: u64,
    /// Every subtask had ended its input when it was triggered.
    is_final: bool,
    snapshots: BTreeMap<SubtaskId, SnapshotHandle>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Waiting for acks, until then.
    Collecting { deadline: Time },
    /// The manifest is being written; so many tries went wrong.
    Writing { tries: u32 },
    /// The slot is being decided.
    Adding,
}

impl Checkpointing {
    /// No attempt is deployed yet.
    pub fn new(interval: Duration, timeout: Duration, subtasks: BTreeSet<SubtaskId>) -> Self {
        assert!(!subtasks.is_empty(), "a job has subtasks");
        Self { interval, timeout, subtasks, live: None, pending: None, aborted: VecDeque::new(), newest: None }
    }

    /// An attempt is about to be deployed.
    pub fn on_deployed(&mut self, attempt: Attempt) {
        assert!(self.live.is_none(), "one attempt at a time");
        assert!(self.pending.is_none(), "what to restore was chosen after every outcome was known");
        self.live = Some(Live { attempt, ended: BTreeSet::new(), triggering: Triggering::NotYet });
        self.validate();
    }

    /// Every subtask of the attempt has restored.
    pub fn on_running(&mut self, now: Time, attempt: Attempt, out: &mut Vec<Effect>) {
        let live = self.live.as_mut().filter(|live| live.attempt == attempt).expect("only a deployed attempt runs");
        assert_eq!(live.triggering, Triggering::NotYet, "an attempt begins to run once");
        let all_ended = live.ended.len() == self.subtasks.len();
        live.triggering = Triggering::Due(if all_ended { now } else { now + self.interval });
        self.trigger_if_due(now, out);
        self.validate();
    }

    /// The attempt is over, for whatever reason.
    pub fn on_attempt_over(&mut self, now: Time, attempt: Attempt, reason: &str, out: &mut Vec<Effect>) -> Settlement {
        let live = self.live.take().expect("only a deployed attempt can be over");
        assert_eq!(live.attempt, attempt, "only the deployed attempt can be over");
        let settlement = match self.pending.as_ref().map(|pending| pending.stage) {
            None => Settlement::Settled,
            Some(Stage::Collecting { .. }) => {
                self.abort(now, FailureReason::AttemptOver(reason.to_owned()), out);
                Settlement::Settled
            }
            Some(Stage::Writing { .. } | Stage::Adding) => Settlement::InFlight,
        };
        self.validate();
        settlement
    }

    /// The earliest time at which [`Checkpointing::on_alarm`] has something to do.
    pub fn deadline(&self) -> Option<Time> {
        match (&self.pending, &self.live) {
            (Some(Pending { stage: Stage::Collecting { deadline }, .. }), _) => Some(*deadline),
            (Some(_), _) => None,
            (None, Some(Live { triggering: Triggering::Due(due), .. })) => Some(*due),
            (None, _) => None,
        }
    }

    /// Time has passed.
    pub fn on_alarm(&mut self, now: Time, out: &mut Vec<Effect>) {
        if let Some(Pending { stage: Stage::Collecting { deadline }, .. }) = &self.pending
            && now >= *deadline
        {
            self.abort(now, FailureReason::Expired, out);
        }
        self.trigger_if_due(now, out);
        self.validate();
    }

    /// Answers [`Effect::RequestId`]. An answer that nobody waits for any more is an id that is never used.
    pub fn on_id(&mut self, now: Time, wall_ms: u64, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        assert!(self.newest.is_none_or(|newest| newest < checkpoint), "ids increase");
        let Some(live) = self.live.as_mut().filter(|live| live.triggering == Triggering::Requested) else {
            return self.ignore_unwanted_id(checkpoint);
        };
        assert!(self.pending.is_none(), "an id is asked for only when nothing is pending");
        live.triggering = Triggering::Due(now + self.interval);
        self.newest = Some(checkpoint);
        self.pending = Some(Pending {
            attempt: live.attempt,
            checkpoint,
            triggered: now,
            triggered_ms: wall_ms,
            is_final: live.ended.len() == self.subtasks.len(),
            snapshots: BTreeMap::new(),
            stage: Stage::Collecting { deadline: now + self.timeout },
        });
        let barrier = Barrier { checkpoint, alignment: Alignment::ExactlyOnce, triggered_ms: wall_ms };
        out.push(Effect::Trigger { attempt: live.attempt, barrier });
        self.validate();
    }

    /// Answers [`Effect::RequestId`]: there is none now.
    pub fn on_no_id(&mut self, now: Time) {
        if let Some(live) = self.live.as_mut().filter(|live| live.triggering == Triggering::Requested) {
            live.triggering = Triggering::Due(now + self.interval.min(RETRY_DELAY_MAX));
        }
        self.validate();
    }

    /// A subtask's snapshot is durable.
    pub fn on_ack(
        &mut self,
        attempt: Attempt,
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        snapshot: SnapshotHandle,
        out: &mut Vec<Effect>,
    ) -> Verdict {
        if !self.waits_for(attempt, checkpoint, subtask) {
            return self.ignore_late_ack(checkpoint, snapshot, out);
        }
        let all = self.subtasks.len();
        let pending = pending_mut(&mut self.pending);
        pending.snapshots.insert(subtask, snapshot);
        if pending.snapshots.len() == all {
            pending.stage = Stage::Writing { tries: 0 };
            out.push(pending.write_manifest(Duration::ZERO));
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
        if !self.waits_for(attempt, checkpoint, subtask) {
            return Verdict::Ignored;
        }
        self.abort(now, reason, out);
        self.trigger_if_due(now, out);
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
        if !self.subtasks.contains(&subtask) || !live.ended.insert(subtask) {
            return Verdict::Ignored;
        }
        self.hasten(now);
        self.trigger_if_due(now, out);
        self.validate();
        Verdict::Counts
    }

    /// Answers [`Effect::WriteManifest`]. Writing again is harmless, so no outcome needs to be known for certain.
    pub fn on_manifest_written(
        &mut self,
        now: Time,
        checkpoint: CheckpointId,
        reply: Result<(), Error>,
        out: &mut Vec<Effect>,
    ) {
        let pending = pending_mut(&mut self.pending);
        assert_eq!(pending.checkpoint, checkpoint, "the reply fits the request");
        let Stage::Writing { tries } = pending.stage else { panic!("no manifest was being written") };
        match reply {
            Ok(()) => {
                pending.stage = Stage::Adding;
                out.push(Effect::AddToStore { checkpoint, manifest: pending.manifest() });
            }
            Err(_) if tries + 1 < MANIFEST_TRIES => {
                pending.stage = Stage::Writing { tries: tries + 1 };
                out.push(pending.write_manifest(backoff(tries + 1)));
            }
            Err(error) => self.fail_completing(now, FailureReason::FinalizeFailed(error.to_string()), out),
        }
        self.validate();
    }

    /// Answers [`Effect::AddToStore`]: the commit point has passed.
    pub fn on_added(&mut self, now: Time, checkpoint: CheckpointId, number: u64, out: &mut Vec<Effect>) {
        let pending = self.pending.take().expect("a checkpoint is being added");
        assert_eq!((pending.checkpoint, pending.stage), (checkpoint, Stage::Adding), "the reply fits the request");
        assert_eq!(pending.snapshots.len(), self.subtasks.len(), "every subtask acknowledged");
        let last = pending.snapshots.values().all(|snapshot| snapshot.ended);
        let attempt = pending.attempt;
        out.push(Effect::Complete(Completion {
            attempt,
            checkpoint,
            number,
            manifest: pending.manifest(),
            bytes: pending.snapshots.values().map(|snapshot| snapshot.bytes).sum(),
            duration: now.since(pending.triggered),
            last,
        }));
        match &mut self.live {
            Some(live) => {
                assert_eq!(live.attempt, attempt, "no attempt is deployed while a completion is under way");
                out.push(Effect::Notify { attempt, checkpoint, last });
                if last {
                    live.triggering = Triggering::Over;
                }
            }
            None => out.push(Effect::Settle),
        }
        self.hasten(now);
        self.trigger_if_due(now, out);
        self.validate();
    }

    /// Answers [`Effect::AddToStore`]: not added, and it never will be.
    pub fn on_not_added(&mut self, now: Time, checkpoint: CheckpointId, cause: &str, out: &mut Vec<Effect>) {
        let pending = self.pending.as_ref().expect("a checkpoint is being added");
        assert_eq!((pending.checkpoint, pending.stage), (checkpoint, Stage::Adding), "the reply fits the request");
        self.fail_completing(now, FailureReason::FinalizeFailed(cause.to_owned()), out);
        self.validate();
    }

    /// The pending checkpoint: what it stored may still count.
    pub fn pending(&self) -> Option<CheckpointId> {
        self.pending.as_ref().map(|pending| pending.checkpoint)
    }

    /// Path of the pending checkpoint's manifest.
    pub fn manifest(&self) -> Option<String> {
        self.pending.as_ref().map(Pending::manifest)
    }

    /// Whether the pending checkpoint waits for an ack or decline of `subtask`.
    fn waits_for(&self, attempt: Attempt, checkpoint: CheckpointId, subtask: SubtaskId) -> bool {
        self.pending.as_ref().is_some_and(|pending| {
            pending.attempt == attempt
                && pending.checkpoint == checkpoint
                && matches!(pending.stage, Stage::Collecting { .. })
                && self.subtasks.contains(&subtask)
                && !pending.snapshots.contains_key(&subtask)
        })
    }

    /// The fail-over that overtook the request has triggered, or will, with an id of its own.
    fn ignore_unwanted_id(&mut self, checkpoint: CheckpointId) {
        self.newest = Some(checkpoint);
        self.validate();
    }

    /// Nobody else knows what a late ack stored, so it is discarded here; but never what may belong to a checkpoint
    /// that did complete. Acks older than our memory are left to the next sweep.
    fn ignore_late_ack(&self, checkpoint: CheckpointId, snapshot: SnapshotHandle, out: &mut Vec<Effect>) -> Verdict {
        if self.aborted.contains(&checkpoint) && belongs(&snapshot.path, checkpoint) {
            assert!(self.pending() != Some(checkpoint), "an aborted checkpoint is not pending");
            out.push(Effect::Discard { paths: vec![snapshot.path] });
        }
        Verdict::Ignored
    }

    fn fail_completing(&mut self, now: Time, reason: FailureReason, out: &mut Vec<Effect>) {
        self.abort(now, reason, out);
        if self.live.is_none() {
            out.push(Effect::Settle);
        }
        self.trigger_if_due(now, out);
    }

    fn abort(&mut self, now: Time, reason: FailureReason, out: &mut Vec<Effect>) {
        let pending = self.pending.take().expect("a checkpoint is pending");
        let (attempt, checkpoint, is_final) = (pending.attempt, pending.checkpoint, pending.is_final);
        let mut paths = match pending.stage {
            Stage::Collecting { .. } => Vec::new(),
            Stage::Writing { .. } | Stage::Adding => vec![pending.manifest()],
        };
        let blobs = pending.snapshots.into_values().map(|snapshot| snapshot.path);
        paths.extend(blobs.filter(|path| belongs(path, checkpoint)));
        out.push(Effect::Abort { attempt, checkpoint, reason });
        if !paths.is_empty() {
            out.push(Effect::Discard { paths });
        }
        if self.aborted.len() == ABORTED_REMEMBERED {
            self.aborted.pop_front();
        }
        self.aborted.push_back(checkpoint);
        self.hasten(if is_final { now + self.interval.min(RETRY_DELAY_MAX) } else { now });
    }

    /// Once every subtask has ended its input only the final checkpoint is waited for: it is due at `at`.
    fn hasten(&mut self, at: Time) {
        if let Some(Live { ended, triggering: Triggering::Due(due), .. }) = &mut self.live
            && ended.len() == self.subtasks.len()
        {
            *due = at.min(*due);
        }
    }

    fn trigger_if_due(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.pending.is_some() {
            return;
        }
        let Some(live) = &mut self.live else { return };
        match live.triggering {
            Triggering::Due(due) if due <= now => {
                live.triggering = Triggering::Requested;
                out.push(Effect::RequestId);
            }
            Triggering::NotYet | Triggering::Due(_) | Triggering::Requested | Triggering::Over => {}
        }
    }

    fn validate(&self) {
        assert!(self.aborted.len() <= ABORTED_REMEMBERED, "memory is bounded");
        if let Some(live) = &self.live {
            assert!(live.ended.is_subset(&self.subtasks), "only subtasks of the job end");
            let requested = live.triggering == Triggering::Requested;
            assert!(!requested || self.pending.is_none(), "an id is asked for only when nothing is pending");
            let over = live.triggering == Triggering::Over;
            assert!(!over || self.pending.is_none(), "nothing follows the last checkpoint");
        }
        let Some(pending) = &self.pending else { return };
        assert_eq!(self.newest, Some(pending.checkpoint), "the pending checkpoint is the newest");
        assert!(pending.snapshots.keys().all(|subtask| self.subtasks.contains(subtask)), "acks are of the job");
        assert!(!self.aborted.contains(&pending.checkpoint), "pending or aborted, not both");
        let complete = pending.snapshots.len() == self.subtasks.len();
        match pending.stage {
            Stage::Collecting { .. } => {
                assert!(!complete, "the last ack begins the completion");
                let attempt = self.live.as_ref().map(|live| live.attempt);
                assert_eq!(attempt, Some(pending.attempt), "acks are collected while the attempt runs");
            }
            Stage::Writing { tries } => assert!(complete && tries < MANIFEST_TRIES, "completing means all acks are in"),
            Stage::Adding => assert!(complete, "completing means all acks are in"),
        }
    }
}

impl Pending {
    fn manifest(&self) -> String {
        Manifest::path(self.checkpoint, self.attempt)
    }

    fn write_manifest(&self, delay: Duration) -> Effect {
        Effect::WriteManifest {
            attempt: self.attempt,
            checkpoint: self.checkpoint,
            triggered_ms: self.triggered_ms,
            snapshots: self.snapshots.clone(),
            delay,
        }
    }
}

fn pending_mut(pending: &mut Option<Pending>) -> &mut Pending {
    pending.as_mut().expect("a checkpoint is pending")
}

#[cfg(test)]
mod tests;

//! The task: everything that one subtask decides, from its restore to its exit. Composes [`Alignment`] and
//! [`Transactions`] with the order of barrier, output and snapshot, and with the end of life.
//!
//! ```text
//!              ┌── alignment ───── when a checkpoint has its barrier on every channel
//! input ── Task┼── transactions ── what the sink has staged, and when it is committed
//!              └── stage ───────── what the subtask waits for
//! ```
//!
//! One checkpoint (order rule O3), one step with respect to records:
//! 1. The last barrier arrives, or the coordinator triggers. Buffered output goes out, the barrier behind it.
//! 2. A sink stages what was written since the last barrier ([`Effect::Prepare`]). If that fails for now, the checkpoint is
//!    declined and the next one stages it; an error that no restart can help fails the subtask.
//! 3. The state is viewed ([`Effect::ViewState`]), and the upload begins ([`Effect::Upload`]): an
//!    [`Uploading`](super::uploading) of its own takes the pages of the view one by one and acknowledges. The acknowledgement
//!    goes through the worker to the coordinator ([`super::leading`]). The subtask meanwhile processes records, unless
//!    snapshots are synchronous.
//! 4. The checkpoint is durable ([`Control::Completed`]): what is pending up to it is committed, oldest first.
//!
//! The end of life (FLIP-147); the subtask reports each step downstream and to the coordinator:
//! ```text
//! … records ── end ── [n] ── [n+1] ── closed       snapshot n says ended; n or n+1 is durable: commit, closed, exit
//! ```
//! The operator finishes its output once in the life of its state, and waits for credit batch by batch. The exit waits
//! for a completed checkpoint that was taken behind the announced end. Reason: after an earlier exit the output that the
//! sink staged last is never committed (FLINK-2491).
//!
//! A restore reads the snapshot, takes it over, announces the digest of the *live* state before the first element,
//! commits everything restored, and only then removes what former attempts have staged. A source that had ended announces
//! its end before anything else, so its barriers are behind it in this attempt as well.
//!
//! *Waits.* While the subtask waits (for storage, an external system or credit) no element is taken and no record is
//! read. Control messages that arrive meanwhile are queued, and handled in their order when the step is over. An abort
//! counts at once: it is announced, and discards the upload of its checkpoint (order rule O4). If the abort is queued
//! before the barrier is sent, a cancellation marker is sent instead. If it is queued while a sink stages, the barrier
//! is already sent, and only view and upload are skipped. The shell takes control messages before elements. While a
//! step waits it passes them in at once, except while a snapshot is read or handed to reader and operator: then they
//! stay in its mailbox.
//!
//! *Decision.* An upload goes on while its subtask processes records, so its end and the abort of its checkpoint can come at
//! one time. Both share one atomic, which [`Effect::Discard`] and
//! [`uploading::Effect::Decide`](super::uploading::Effect::Decide) try to set; the first one wins. If the upload wins, it
//! sends its acknowledgement or decline, and the abort changes nothing. If the discard wins, the upload sends neither: it
//! stops, or deletes what it has stored.
//!
//! *Order.* Only alignment asks for several things at once, and each is done before the next: a queue keeps them (`rest`).
//!
//! Batches never come here. The core says which channel may be taken from ([`Task::look`]) and whether the source may
//! read ([`Task::may_read`]); the shell moves records between them: from the source or a channel through the operator
//! to the output channels, or to the writer of a sink.
//!
//! Owns: alignment, pending committables, the end of input, which uploads may still be discarded. Does not own: state,
//! queues, the atomic of the decision (`Decision`, in the shell).
//! Invariants (`validate`): nothing is left of a step that is over; only an end that has come is announced; a checkpoint is
//! viewed once and never aligned again.

mod effect;
mod ending;
mod restoring;
mod snapshots;

pub use effect::{Control, Effect, Look, Marker, Snapshot};

use super::alignment::{self, Alignment};
use super::transactions::{Completion, Transactions};
use crate::config::SnapshotMode;
use crate::door::Time;
use crate::element::Front;
use crate::error::Error;
use crate::event::Event;
use crate::ids::{Attempt, ChannelId, CheckpointId, SubtaskId};
use crate::messages::{SnapshotHandle, ToCoordinator};
use crate::reason::FailureReason;
use crate::state::Section;
use snapshots::{Begun, Due, Watch};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a subtask is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// Which attempt.
    pub attempt: Attempt,
    /// Which subtask.
    pub subtask: SubtaskId,
    /// Its operator's uid.
    pub uid: String,
    /// What it does.
    pub role: Role,
    /// Its input channels, in graph order.
    pub channels: Vec<ChannelId>,
    /// Whether it blocks while a snapshot is uploaded.
    pub snapshot_mode: SnapshotMode,
}

/// What a subtask does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Reads records.
    Source,
    /// Makes records of records.
    Transform,
    /// Writes records.
    Sink,
}

/// The monotonic clock of this process, and the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// For durations.
    pub time: Time,
    /// Milliseconds since 1970, for what other machines have written down.
    pub wall_ms: u64,
}

/// One subtask of one attempt.
#[derive(Debug)]
pub struct Task {
    is: Description,
    stage: Stage,
    alignment: Alignment,
    /// The pending committables of a sink.
    transactions: Transactions,
    /// When the alignments that go on began.
    aligning: BTreeMap<CheckpointId, Begun>,
    /// The newest checkpoint whose snapshot was begun.
    newest: CheckpointId,
    /// The checkpoints whose upload was begun and which are neither known to be completed nor aborted. Bounded by the
    /// checkpoints that the coordinator has pending.
    uploading: BTreeSet<CheckpointId>,
    /// Whether all input has been processed, now or before the restored checkpoint.
    ended: bool,
    /// Whether the end was sent downstream and reported to the coordinator, in this attempt.
    end_announced: bool,
    /// The first checkpoint behind the announced end: once it or a later one is durable the subtask exits.
    end_held_by: Option<CheckpointId>,
    /// What alignment has asked for and is not done.
    rest: VecDeque<alignment::Effect>,
    /// Control messages that came while the step waits.
    queued: VecDeque<Control>,
}

/// What a subtask waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    /// It was not started.
    New,
    /// The snapshot it restores, until it is read.
    Reading(Completion, SnapshotHandle),
    /// The snapshot it restores, until reader and operator have it.
    RestoringState(Completion, SnapshotHandle),
    /// The digest of what it has restored.
    Digesting(Option<Completion>),
    /// The removal of what former attempts have staged.
    DiscardingStaged,
    /// Nothing: the step is over.
    Running,
    /// The sink, which stages.
    Preparing(Watch),
    /// The view of its state.
    Viewing(Watch),
    /// The end of a synchronous upload.
    Uploading,
    /// The commit of the first of `due`.
    Committing { due: Due, then: AfterCommit },
    /// Credit for its last output.
    Draining,
    /// It has exited, or failed.
    Over,
}

/// What follows the commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AfterCommit {
    /// The rest of a restore.
    Restore,
    /// The rest of a completion.
    Completed(CheckpointId),
}

impl Task {
    /// A subtask that was not started.
    pub fn new(is: Description) -> Self {
        let source = is.role == Role::Source;
        assert_eq!(source, is.channels.is_empty(), "every subtask but a source has input channels");
        Self {
            alignment: Alignment::new(is.channels.len()),
            is,
            stage: Stage::New,
            transactions: Transactions::default(),
            aligning: BTreeMap::new(),
            newest: CheckpointId(0),
            uploading: BTreeSet::new(),
            ended: false,
            end_announced: false,
            end_held_by: None,
            rest: VecDeque::new(),
            queued: VecDeque::new(),
        }
    }

    /// Whether it has exited or failed: nothing more is asked for.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// What may be done with a channel. `front`: the element at the head of its queue. A batch needs credit on every output
    /// channel.
    pub fn look(&self, channel: usize, front: Option<Front>, has_credit: bool) -> Look {
        debug_assert_eq!(self.stage, Stage::Running, "nothing is taken while a step waits");
        if self.alignment.is_blocked(channel) {
            return Look::Leave;
        }
        match front {
            Some(Front::Batch) if has_credit => Look::Take,
            Some(Front::Batch) => Look::Leave,
            Some(Front::Event) => Look::Take,
            None => Look::Wait,
        }
    }

    /// Whether a source may read records.
    pub fn may_read(&self, has_credit: bool) -> bool {
        debug_assert_eq!(self.stage, Stage::Running, "nothing is read while a step waits");
        assert_eq!(self.is.role, Role::Source, "only sources read");
        has_credit && !self.end_announced
    }

    /// The part of its state that the task itself keeps: the pending committables of a sink. The shell puts it into
    /// each view ([`Effect::ViewState`]).
    pub fn sections(&self) -> Vec<Section> {
        match self.is.role {
            Role::Sink => vec![self.transactions.snapshot()],
            Role::Source | Role::Transform => Vec::new(),
        }
    }

    /// A marker was taken: element `seq` of `channel`.
    pub fn on_marker(&mut self, now: Now, channel: usize, seq: u64, marker: Marker, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::Running, "an element was taken while a step waits");
        let (attempt, subtask, id) = (self.is.attempt, self.is.subtask, self.is.channels[channel]);
        let mut effects = Vec::new();
        match marker {
            Marker::Barrier(barrier) => {
                let checkpoint = barrier.checkpoint;
                announce(Event::BarrierReceived { attempt, subtask, channel: id, seq, checkpoint }, out);
                self.alignment.on_barrier(channel, barrier, &mut effects);
            }
            Marker::Cancel(checkpoint) => {
                announce(Event::CancelReceived { attempt, subtask, channel: id, seq, checkpoint }, out);
                self.alignment.on_cancel(channel, checkpoint, &mut effects);
            }
            Marker::EndOfInput => {
                announce(Event::EndReceived { attempt, subtask, channel: id, seq }, out);
                self.alignment.on_end(channel, &mut effects);
            }
            Marker::Closed => {
                announce(Event::ClosedReceived { attempt, subtask, channel: id, seq }, out);
                self.alignment.on_closed(channel, &mut effects);
            }
        }
        self.rest.extend(effects);
        self.advance(now, out);
    }

    /// A control message of the worker. While a step waits it is queued.
    pub fn on_control(&mut self, now: Now, control: Control, out: &mut Vec<Effect>) {
        assert!(self.stage != Stage::New && !self.is_over(), "a subtask that is new or over takes no control message");
        if let Control::Aborted(checkpoint) = control {
            let (attempt, subtask) = (self.is.attempt, self.is.subtask);
            announce(Event::AbortReceived { attempt, subtask, checkpoint }, out);
            self.discard(checkpoint, out);
        }
        self.queued.push_back(control);
        if self.stage == Stage::Running {
            self.advance(now, out);
        }
    }

    /// The source has failed.
    pub fn on_read_failed(&mut self, error: Error, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::Running, "nothing is read while a step waits");
        self.fail(error, out);
    }

    /// Does what is left of the step, then what was queued, until there is something to wait for.
    fn advance(&mut self, now: Now, out: &mut Vec<Effect>) {
        while self.stage == Stage::Running {
            if let Some(effect) = self.rest.pop_front() {
                self.perform(now, effect, out);
            } else if let Some(control) = self.queued.pop_front() {
                self.start_control(control, out);
            } else {
                break;
            }
        }
        self.validate();
    }

    /// Begins the step of a control message.
    fn start_control(&mut self, control: Control, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        let mut effects = Vec::new();
        match control {
            Control::Trigger(barrier) => {
                announce(Event::TriggerReceived { attempt, subtask, checkpoint: barrier.checkpoint }, out);
                self.alignment.on_trigger(barrier, &mut effects);
            }
            Control::Aborted(checkpoint) => self.alignment.on_abort(checkpoint, &mut effects),
            Control::Completed(completion) => {
                let checkpoint = completion.checkpoint();
                announce(Event::NotifyReceived { attempt, subtask, checkpoint }, out);
                self.commit(completion, AfterCommit::Completed(checkpoint), out);
            }
        }
        self.rest.extend(effects);
    }

    /// What the alignment asks for.
    fn perform(&mut self, now: Now, effect: alignment::Effect, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        match effect {
            alignment::Effect::Begin(barrier) => {
                self.aligning.insert(barrier.checkpoint, Begun::now(now, barrier));
                announce(Event::AlignmentStarted { attempt, subtask, checkpoint: barrier.checkpoint }, out);
            }
            alignment::Effect::Snapshot(barrier) => self.checkpoint(now, barrier, out),
            alignment::Effect::Abandon(checkpoint) => {
                let begun = self.aligning.remove(&checkpoint);
                assert!(begun.is_some(), "only what has begun is abandoned");
                announce(Event::AlignmentAborted { attempt, subtask, checkpoint }, out);
            }
            alignment::Effect::Decline(checkpoint, reason) => self.decline(checkpoint, reason, out),
            alignment::Effect::Cancel(checkpoint) => self.cancel(checkpoint, false, out),
            alignment::Effect::EndOfInput => self.end_input(out),
        }
    }

    fn decline(&self, checkpoint: CheckpointId, reason: FailureReason, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        announce(Event::DeclineSent { attempt, subtask, checkpoint, reason: reason.clone() }, out);
        out.push(Effect::Report(ToCoordinator::Decline { attempt, checkpoint, subtask, reason }));
    }

    /// Fails the subtask.
    fn fail(&mut self, error: Error, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        announce(Event::SubtaskFailed { attempt, subtask, cause: error.to_string() }, out);
        out.push(Effect::Report(ToCoordinator::Failed { attempt, subtask: Some(subtask), error }));
        self.stop();
    }

    fn stop(&mut self) {
        self.stage = Stage::Over;
        self.rest.clear();
        self.queued.clear();
        self.validate();
    }

    fn validate(&self) {
        let Self { is, stage, rest, queued, ended, end_announced, uploading, .. } = self;
        assert!(
            *stage != Stage::Running || rest.is_empty() && queued.is_empty(),
            "a step ends when nothing is left of it"
        );
        assert!(
            *stage != Stage::Over || rest.is_empty() && queued.is_empty(),
            "a finished subtask has no pending work"
        );
        assert!(*ended || !end_announced, "only an end that has come is announced");
        assert!(
            self.end_held_by.is_none_or(|held| *end_announced && held <= self.newest),
            "a snapshot behind the end holds it"
        );
        assert!(uploading.last().is_none_or(|last| *last <= self.newest), "what is stored was begun");
        let aligns = |checkpoint: &CheckpointId| *checkpoint > self.newest;
        assert!(self.aligning.keys().all(aligns), "a checkpoint is not aligned behind its snapshot");
        assert!(is.role != Role::Source || self.aligning.is_empty(), "a source has nothing to align");
        match stage {
            Stage::Preparing(_) | Stage::DiscardingStaged => assert_eq!(is.role, Role::Sink, "only sinks stage"),
            Stage::Committing { due, .. } => {
                assert_eq!(is.role, Role::Sink, "only sinks commit");
                assert!(!due.is_empty(), "a commit is waited for");
            }
            Stage::Uploading => {
                assert_eq!(is.snapshot_mode, SnapshotMode::Sync, "asynchronous parts are not waited for")
            }
            Stage::Draining => assert!(*ended && !end_announced, "the last output goes out in front of the end"),
            Stage::New | Stage::Reading(..) | Stage::RestoringState(..) | Stage::Digesting(_) => {
                assert!(uploading.is_empty() && rest.is_empty(), "a restore comes before everything else");
            }
            Stage::Running | Stage::Viewing(_) | Stage::Over => {}
        }
    }
}

fn announce(event: Event, out: &mut Vec<Effect>) {
    out.push(Effect::Announce(event));
}

#[cfg(test)]
mod tests;

//! Alignment: when has a subtask seen barrier *n* on every channel, and which channels must wait until then.
//!
//! Protocol (Carbone et al. 2015; Flink's `SingleCheckpointBarrierHandler` and `CheckpointBarrierTracker`):
//! 1. The first barrier of a checkpoint begins its alignment. *Exactly once*: a channel whose barrier has arrived is blocked,
//!    no element of it is taken. *At least once*: barriers are counted, nothing waits, several ids are counted at a time.
//! 2. A channel whose producer is gone ([`Alignment::on_closed`]) counts as having every later barrier (FLIP-147).
//! 3. The last barrier ends the alignment: snapshot, then every channel is open again. Older ids can no longer complete here.
//! 4. A cancellation marker or an abort by the coordinator ends the alignment of its own id and of no other. A marker
//!    goes downstream, once per id (FLINK-18238); without it a subtask there would wait until the abort of the
//!    coordinator arrives. An id that is cancelled before it has begun is remembered, so that neither its barrier nor
//!    its trigger starts it (order rule O3, FLINK-17994).
//! 5. A barrier of a newer checkpoint on a channel that has not had the older one overtakes it: the older is abandoned.
//! 6. Where every producer is gone the coordinator triggers the subtask itself; no channel is blocked for that, so none is
//!    opened (FLINK-23938).
//! 7. Once every channel has ended the operator's output is finished, but behind the snapshot of every checkpoint whose
//!    barrier came in front of an end: that producer's snapshot has not ended, so it will send again after a restore,
//!    and perhaps on another channel than before. A snapshot thus has ended only if those of all producers have.
//!    Exactly once need not wait for it: what comes behind a barrier is not taken before the snapshot.
//!    ```text
//!    channel 0  ──r──[n]──r──end                 snapshot n without the end of input, then the end
//!    channel 1  ──r──end─────────[n]──
//!    ```
//!
//! ```text
//! channel 0  ──r──r──[n]──r──r──      blocked from here ┐
//! channel 1  ──r──r──r──r──[n]──      … until here      ┘ snapshot n
//! channel 2  ──r──end──closed         has every barrier
//! ```
//!
//! Owns: which ids are aligning, which channels are blocked, ended or closed. Does not own: queues, snapshots, time.
//! A channel that has ended still carries barriers until it is closed.
//! Invariants: exactly once aligns one id at a time; memory is bounded by [`IDS_REMEMBERED`].
//! Not handled: unaligned barriers.

use crate::element::{Barrier, Guarantee};
use crate::ids::CheckpointId;
use crate::reason::FailureReason;
use std::collections::{BTreeMap, BTreeSet};

/// Ids counted at a time, and ids remembered as cancelled.
pub const IDS_REMEMBERED: usize = 50;

/// What the subtask has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Announce that an alignment has begun.
    Begin(Barrier),
    /// Take the snapshot of this barrier, after having forwarded it.
    Snapshot(Barrier),
    /// Announce that an alignment is over without a snapshot.
    Abandon(CheckpointId),
    /// Decline this checkpoint: it will have no snapshot from here.
    Decline(CheckpointId, FailureReason),
    /// Put a cancellation marker on every output channel.
    Cancel(CheckpointId),
    /// Every channel has ended, and no snapshot comes in front of that: finish the operator's output.
    EndOfInput,
}

/// The alignment of one subtask.
#[derive(Clone, Debug)]
pub struct Alignment {
    /// Begun and waiting for more barriers.
    aligning: BTreeMap<CheckpointId, Aligning>,
    /// Ids up to this one are decided: their barriers, triggers and markers are obsolete.
    decided: CheckpointId,
    /// Ids above that are cancelled.
    cancelled: BTreeSet<CheckpointId>,
    ended: BTreeSet<usize>,
    closed: BTreeSet<usize>,
    /// Every channel has ended, and [`Effect::EndOfInput`] is still to come.
    end_is_due: bool,
    channels: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Aligning {
    barrier: Barrier,
    arrived: BTreeSet<usize>,
    /// Whether it arrived in front of the end of a channel, which has ended since.
    precedes_end: bool,
}

impl Alignment {
    /// An alignment over channels `0..channels`; a source has none.
    pub fn new(channels: usize) -> Self {
        Self {
            aligning: BTreeMap::new(),
            decided: CheckpointId(0),
            cancelled: BTreeSet::new(),
            ended: BTreeSet::new(),
            closed: BTreeSet::new(),
            end_is_due: false,
            channels,
        }
    }

    /// Whether no element may be taken from `channel`.
    pub fn is_blocked(&self, channel: usize) -> bool {
        assert!(channel < self.channels, "channel {channel} of {}", self.channels);
        self.aligning.values().any(|aligning| match aligning.barrier.alignment {
            Guarantee::ExactlyOnce => aligning.arrived.contains(&channel),
            Guarantee::AtLeastOnce => false,
        })
    }

    /// Whether every channel has ended.
    pub fn all_ended(&self) -> bool {
        self.ended.len() == self.channels
    }

    /// The coordinator triggers a subtask that has no running producer. What its producers left in the channels are
    /// barriers and markers of former checkpoints at most: each of them has ended, and a completed checkpoint holds
    /// that. A source has no channel, so each of its checkpoints begins here.
    pub fn on_trigger(&mut self, barrier: Barrier, out: &mut Vec<Effect>) {
        assert!(self.all_ended(), "only a subtask without running producers is triggered");
        assert!(!self.end_is_due, "a subtask whose producers are gone took a snapshot behind their ends");
        // A right leader never triggers a subtask that has barriers of this checkpoint. If one does, those barriers
        // count and the trigger is ignored.
        if self.is_obsolete(barrier.checkpoint) || self.aligning.contains_key(&barrier.checkpoint) {
            return;
        }
        self.abandon_below(barrier.checkpoint, out);
        self.snapshot(barrier, out);
        self.validate();
    }

    /// A barrier was taken from `channel`.
    pub fn on_barrier(&mut self, channel: usize, barrier: Barrier, out: &mut Vec<Effect>) {
        let checkpoint = barrier.checkpoint;
        assert!(!self.is_blocked(channel), "an element was taken from blocked channel {channel}");
        assert!(!self.closed.contains(&channel), "an element was taken from closed channel {channel}");
        if self.is_obsolete(checkpoint) {
            return;
        }
        if let Some(aligning) = self.aligning.get_mut(&checkpoint) {
            assert_eq!(aligning.barrier, barrier, "one checkpoint has one kind of barrier");
            let new = aligning.arrived.insert(channel);
            assert!(new, "a channel yields each barrier once");
        } else {
            self.begin(channel, barrier, out);
        }
        self.snapshot_if_all(checkpoint, out);
        self.end_if_due(out);
        self.validate();
    }

    fn begin(&mut self, channel: usize, barrier: Barrier, out: &mut Vec<Effect>) {
        let checkpoint = barrier.checkpoint;
        match barrier.alignment {
            // Channels deliver ids in order: what is older can no longer come on this one.
            Guarantee::ExactlyOnce => {
                self.abandon_below(checkpoint, out);
                self.decide(CheckpointId(checkpoint.0 - 1));
            }
            Guarantee::AtLeastOnce => {
                if self.aligning.len() == IDS_REMEMBERED
                    && let Some(oldest) = self.aligning.keys().next().copied()
                {
                    self.abandon_below(CheckpointId(oldest.0 + 1), out);
                }
            }
        }
        let aligning = Aligning { barrier, arrived: BTreeSet::from([channel]), precedes_end: false };
        self.aligning.insert(checkpoint, aligning);
        out.push(Effect::Begin(barrier));
    }

    fn snapshot_if_all(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        let Some(Aligning { barrier, arrived, .. }) = self.aligning.get(&checkpoint) else { return };
        if self.covers(arrived) {
            let barrier = *barrier;
            self.aligning.remove(&checkpoint);
            self.abandon_below(checkpoint, out);
            self.snapshot(barrier, out);
        }
    }

    /// Whether a barrier that has `arrived` on these channels need not be waited for any more.
    fn covers(&self, arrived: &BTreeSet<usize>) -> bool {
        (0..self.channels).all(|channel| arrived.contains(&channel) || self.closed.contains(&channel))
    }

    fn snapshot(&mut self, barrier: Barrier, out: &mut Vec<Effect>) {
        assert!(barrier.checkpoint > self.decided, "each checkpoint is snapshotted once, in order");
        assert!(!self.cancelled.contains(&barrier.checkpoint), "nothing is stored for a cancelled checkpoint");
        self.decide(barrier.checkpoint);
        out.push(Effect::Snapshot(barrier));
    }

    /// The producer of `channel` is gone: the channel stands for every later barrier.
    pub fn on_closed(&mut self, channel: usize, out: &mut Vec<Effect>) {
        assert!(!self.is_blocked(channel), "an element was taken from blocked channel {channel}");
        assert!(self.ended.contains(&channel), "channel {channel} was closed before it ended");
        let new = self.closed.insert(channel);
        assert!(new, "channel {channel} was closed twice");
        let aligning: Vec<CheckpointId> = self.aligning.keys().copied().collect();
        for checkpoint in aligning {
            self.snapshot_if_all(checkpoint, out);
            self.end_if_due(out);
        }
        self.validate();
    }

    /// A cancellation marker was taken from a channel.
    pub fn on_cancel(&mut self, channel: usize, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        assert!(!self.is_blocked(channel), "an element was taken from blocked channel {channel}");
        if self.aligning.contains_key(&checkpoint) {
            out.push(Effect::Decline(checkpoint, FailureReason::Cancelled));
        }
        self.cancel(checkpoint, out);
        self.end_if_due(out);
        self.validate();
    }

    /// The coordinator aborted a checkpoint, which may not even have begun here.
    pub fn on_abort(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        self.cancel(checkpoint, out);
        self.end_if_due(out);
        self.validate();
    }

    fn is_obsolete(&self, checkpoint: CheckpointId) -> bool {
        checkpoint <= self.decided || self.cancelled.contains(&checkpoint)
    }

    fn cancel(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        if self.is_obsolete(checkpoint) {
            return;
        }
        if self.aligning.remove(&checkpoint).is_some() {
            out.push(Effect::Abandon(checkpoint));
        }
        self.cancelled.insert(checkpoint);
        out.push(Effect::Cancel(checkpoint));
        if self.cancelled.len() > IDS_REMEMBERED
            && let Some(oldest) = self.cancelled.first().copied()
        {
            // Forgetting it alone would let it begin. What is older still goes with it, and was waited for in vain so far.
            self.abandon_below(oldest, out);
            self.decide(oldest);
        }
    }

    /// Gives up what a newer barrier overtook.
    fn abandon_below(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        while let Some((&overtaken, _)) = self.aligning.first_key_value()
            && overtaken < checkpoint
        {
            out.push(Effect::Decline(overtaken, FailureReason::Overtaken));
            self.cancel(overtaken, out);
        }
    }

    /// Nothing up to `checkpoint` will begin any more.
    fn decide(&mut self, checkpoint: CheckpointId) {
        if checkpoint > self.decided {
            self.decided = checkpoint;
            self.cancelled = self.cancelled.split_off(&CheckpointId(checkpoint.0 + 1));
        }
    }

    /// The end of input was taken from `channel`.
    pub fn on_end(&mut self, channel: usize, out: &mut Vec<Effect>) {
        assert!(!self.is_blocked(channel), "an element was taken from blocked channel {channel}");
        let new = self.ended.insert(channel);
        assert!(new, "channel {channel} ended twice");
        for aligning in self.aligning.values_mut() {
            aligning.precedes_end |= aligning.arrived.contains(&channel);
        }
        self.end_is_due = self.all_ended();
        self.end_if_due(out);
        self.validate();
    }

    fn end_if_due(&mut self, out: &mut Vec<Effect>) {
        if self.end_is_due && !self.aligning.values().any(|aligning| aligning.precedes_end) {
            self.end_is_due = false;
            out.push(Effect::EndOfInput);
        }
    }

    fn validate(&self) {
        assert!(self.ended.iter().all(|&channel| channel < self.channels));
        assert!(self.closed.is_subset(&self.ended), "a channel is closed behind its end");
        assert!(self.cancelled.len() <= IDS_REMEMBERED, "memory is bounded");
        assert!(self.aligning.len() <= IDS_REMEMBERED, "memory is bounded");
        assert!(self.cancelled.first().is_none_or(|oldest| *oldest > self.decided), "what is decided is forgotten");
        assert!(!self.end_is_due || self.all_ended(), "the end of input is the end of every channel");
        assert!(
            !self.end_is_due || self.aligning.values().any(|aligning| aligning.precedes_end),
            "the end waits for a checkpoint in front of it only"
        );
        for (checkpoint, Aligning { barrier, arrived, precedes_end }) in &self.aligning {
            assert_eq!(*checkpoint, barrier.checkpoint);
            assert!(*checkpoint > self.decided, "a decided checkpoint does not align");
            assert!(!self.cancelled.contains(checkpoint), "a cancelled checkpoint does not align");
            assert!(!arrived.is_empty(), "an alignment begins with a barrier");
            assert!(arrived.iter().all(|&channel| channel < self.channels));
            assert!(!self.covers(arrived), "a full alignment has ended");
            let ended = |channel| self.ended.contains(channel);
            assert!(!precedes_end || arrived.iter().any(ended), "it precedes an end that has come");
            let counted = barrier.alignment == Guarantee::AtLeastOnce;
            assert!(counted || self.aligning.len() == 1, "exactly once aligns one checkpoint at a time");
            assert!(counted || !precedes_end, "exactly once takes no end from behind a barrier");
        }
    }
}

#[cfg(test)]
mod tests;

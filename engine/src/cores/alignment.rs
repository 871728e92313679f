//! Alignment: when has a subtask seen barrier *n* on every channel, and which channels must wait until then.
//!
//! Protocol (aligned exactly-once, Carbone et al. 2015; Flink's *aligned checkpointing*):
//! 1. The first barrier of a checkpoint newer than any seen begins its alignment.
//! 2. A channel whose barrier has arrived is blocked: no element of it is taken.
//! 3. The last barrier ends the alignment: snapshot, then every channel is open again.
//! 4. A cancellation marker, an abort by the coordinator or a newer barrier abandons the alignment; channels open, and
//!    downstream is told by a marker, once per id. Without the marker it would wait for ever (FLINK-18238).
//! 5. Whatever concerns an id that is not newer than the newest seen is obsolete and ignored (order rule O3).
//!
//! ```text
//! channel 0  ──r──r──[n]──r──r──      blocked from here ┐
//! channel 1  ──r──r──r──r──[n]──      … until here      ┘ snapshot n
//! ```
//!
//! Owns: which id is aligning, which channels are blocked, which have ended. Does not own: queues, snapshots, time.
//! A channel that has ended still carries barriers, so it takes part like any other.
//! Not handled: unaligned and at-least-once barriers, several checkpoints at a time (the newer one wins).

use crate::element::Barrier;
use crate::ids::CheckpointId;
use std::collections::BTreeSet;

/// What the subtask has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Announce that an alignment has begun.
    Begin(CheckpointId),
    /// Take the snapshot of this barrier, after having forwarded it.
    Snapshot(Barrier),
    /// Announce that an alignment is over without a snapshot.
    Abandon(CheckpointId),
    /// Tell the coordinator that this checkpoint has been overtaken by a newer barrier.
    Decline(CheckpointId),
    /// Put a cancellation marker on every output channel.
    Cancel(CheckpointId),
    /// Every channel has ended: finish the operator's output.
    EndOfInput,
}

/// The alignment of one subtask.
#[derive(Clone, Debug)]
pub struct Alignment {
    stage: Stage,
    /// The newest id that was started, snapshotted or cancelled here. Ids up to it are obsolete.
    newest: CheckpointId,
    ended: BTreeSet<usize>,
    channels: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    /// No barrier is waited for.
    Open,
    /// Waiting for the barrier on every channel that has not `arrived`.
    Aligning { barrier: Barrier, arrived: BTreeSet<usize> },
}

impl Alignment {
    /// An alignment over channels `0..channels`; a source has none.
    pub fn new(channels: usize) -> Self {
        Self { stage: Stage::Open, newest: CheckpointId(0), ended: BTreeSet::new(), channels }
    }

    /// Whether no element may be taken from `channel`.
    pub fn is_blocked(&self, channel: usize) -> bool {
        assert!(channel < self.channels, "channel {channel} of {}", self.channels);
        match &self.stage {
            Stage::Open => false,
            Stage::Aligning { arrived, .. } => arrived.contains(&channel),
        }
    }

    /// Whether every channel has ended.
    pub fn all_ended(&self) -> bool {
        self.ended.len() == self.channels
    }

    /// The coordinator triggers a source.
    pub fn on_trigger(&mut self, barrier: Barrier, out: &mut Vec<Effect>) {
        assert_eq!(self.channels, 0, "only sources are triggered");
        if barrier.checkpoint <= self.newest {
            return;
        }
        self.newest = barrier.checkpoint;
        out.push(Effect::Snapshot(barrier));
        self.validate();
    }

    /// A barrier was taken from `channel`.
    pub fn on_barrier(&mut self, channel: usize, barrier: Barrier, out: &mut Vec<Effect>) {
        assert!(!self.is_blocked(channel), "an element was taken from blocked channel {channel}");
        match &mut self.stage {
            Stage::Aligning { barrier: current, arrived } if current.checkpoint == barrier.checkpoint => {
                assert_eq!(*current, barrier, "one checkpoint has one kind of barrier");
                let new = arrived.insert(channel);
                assert!(new, "a blocked channel yields no second barrier");
                self.complete_if_all(out);
            }
            Stage::Aligning { .. } | Stage::Open => self.begin_if_newer(channel, barrier, out),
        }
        self.validate();
    }

    fn begin_if_newer(&mut self, channel: usize, barrier: Barrier, out: &mut Vec<Effect>) {
        if barrier.checkpoint <= self.newest {
            return;
        }
        if let Some(overtaken) = self.abandon(out) {
            out.push(Effect::Decline(overtaken));
            out.push(Effect::Cancel(overtaken));
        }
        assert_eq!(self.stage, Stage::Open, "an older alignment was abandoned");
        self.newest = barrier.checkpoint;
        self.stage = Stage::Aligning { barrier, arrived: BTreeSet::from([channel]) };
        out.push(Effect::Begin(barrier.checkpoint));
        self.complete_if_all(out);
    }

    fn complete_if_all(&mut self, out: &mut Vec<Effect>) {
        if let Stage::Aligning { barrier, arrived } = &self.stage
            && arrived.len() == self.channels
        {
            let barrier = *barrier;
            assert_eq!(barrier.checkpoint, self.newest, "only the newest checkpoint aligns");
            self.stage = Stage::Open;
            out.push(Effect::Snapshot(barrier));
        }
    }

    /// A cancellation marker was taken from a channel.
    pub fn on_cancel(&mut self, channel: usize, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        assert!(!self.is_blocked(channel), "an element was taken from blocked channel {channel}");
        self.cancel(checkpoint, out);
    }

    /// The coordinator aborted a checkpoint. A source may not even have been triggered yet: the trigger will be ignored.
    pub fn on_abort(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        self.cancel(checkpoint, out);
    }

    fn cancel(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        match &self.stage {
            Stage::Aligning { barrier, .. } if barrier.checkpoint > checkpoint => {}
            Stage::Aligning { barrier, .. } => {
                let overtaken = barrier.checkpoint < checkpoint;
                let abandoned = self.abandon(out).expect("it was aligning");
                out.push(Effect::Cancel(abandoned));
                if overtaken {
                    self.newest = checkpoint;
                    out.push(Effect::Cancel(checkpoint));
                }
            }
            Stage::Open if checkpoint > self.newest => {
                self.newest = checkpoint;
                out.push(Effect::Cancel(checkpoint));
            }
            Stage::Open => {}
        }
        self.validate();
    }

    fn abandon(&mut self, out: &mut Vec<Effect>) -> Option<CheckpointId> {
        match std::mem::replace(&mut self.stage, Stage::Open) {
            Stage::Open => None,
            Stage::Aligning { barrier, .. } => {
                out.push(Effect::Abandon(barrier.checkpoint));
                Some(barrier.checkpoint)
            }
        }
    }

    /// The end of input was taken from `channel`.
    pub fn on_end(&mut self, channel: usize, out: &mut Vec<Effect>) {
        assert!(!self.is_blocked(channel), "an element was taken from blocked channel {channel}");
        let new = self.ended.insert(channel);
        assert!(new, "channel {channel} ended twice");
        if self.all_ended() {
            out.push(Effect::EndOfInput);
        }
        self.validate();
    }

    fn validate(&self) {
        assert!(self.ended.iter().all(|&channel| channel < self.channels));
        match &self.stage {
            Stage::Open => {}
            Stage::Aligning { barrier, arrived } => {
                assert!(!arrived.is_empty(), "an alignment begins with a barrier");
                assert!(arrived.len() < self.channels, "a full alignment has ended");
                assert!(arrived.iter().all(|&channel| channel < self.channels));
                assert_eq!(barrier.checkpoint, self.newest, "only the newest checkpoint aligns");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element;

    const N: CheckpointId = CheckpointId(7);
    const NEWER: CheckpointId = CheckpointId(8);

    fn barrier(checkpoint: CheckpointId) -> Barrier {
        Barrier { checkpoint, alignment: element::Alignment::ExactlyOnce, triggered_ms: 0 }
    }

    fn step(act: impl FnOnce(&mut Vec<Effect>)) -> Vec<Effect> {
        let mut out = Vec::new();
        act(&mut out);
        out
    }

    #[test]
    fn the_snapshot_waits_for_the_last_barrier_and_blocks_the_first_channel() {
        let mut alignment = Alignment::new(2);
        assert_eq!(step(|out| alignment.on_barrier(0, barrier(N), out)), [Effect::Begin(N)]);
        assert!(alignment.is_blocked(0) && !alignment.is_blocked(1));
        assert_eq!(step(|out| alignment.on_barrier(1, barrier(N), out)), [Effect::Snapshot(barrier(N))]);
        assert!(!alignment.is_blocked(0) && !alignment.is_blocked(1));
    }

    #[test]
    fn a_single_channel_never_waits() {
        let mut alignment = Alignment::new(1);
        let effects = step(|out| alignment.on_barrier(0, barrier(N), out));
        assert_eq!(effects, [Effect::Begin(N), Effect::Snapshot(barrier(N))]);
    }

    #[test]
    fn a_newer_barrier_abandons_the_older_alignment_and_tells_downstream_once() {
        let mut alignment = Alignment::new(2);
        alignment.on_barrier(0, barrier(N), &mut Vec::new());
        let effects = step(|out| alignment.on_barrier(1, barrier(NEWER), out));
        let expected = [Effect::Abandon(N), Effect::Decline(N), Effect::Cancel(N), Effect::Begin(NEWER)];
        assert_eq!(effects, expected);
        assert_eq!(step(|out| alignment.on_cancel(0, N, out)), [], "the marker of the old id comes too late");
        assert_eq!(step(|out| alignment.on_barrier(0, barrier(NEWER), out)), [Effect::Snapshot(barrier(NEWER))]);
    }

    #[test]
    fn an_obsolete_barrier_is_ignored_and_blocks_nothing() {
        let mut alignment = Alignment::new(2);
        alignment.on_cancel(0, N, &mut Vec::new());
        assert_eq!(step(|out| alignment.on_barrier(1, barrier(N), out)), []);
        assert!(!alignment.is_blocked(1));
    }

    #[test]
    fn an_abort_during_alignment_opens_the_channels_and_cancels_downstream() {
        let mut alignment = Alignment::new(3);
        alignment.on_barrier(1, barrier(N), &mut Vec::new());
        assert_eq!(step(|out| alignment.on_abort(N, out)), [Effect::Abandon(N), Effect::Cancel(N)]);
        assert!(!alignment.is_blocked(1));
        assert_eq!(step(|out| alignment.on_abort(N, out)), [], "the marker went out already");
    }

    #[test]
    fn a_source_that_learns_of_the_abort_first_ignores_the_trigger() {
        let mut source = Alignment::new(0);
        assert_eq!(step(|out| source.on_abort(N, out)), [Effect::Cancel(N)]);
        assert_eq!(step(|out| source.on_trigger(barrier(N), out)), []);
        assert_eq!(step(|out| source.on_trigger(barrier(NEWER), out)), [Effect::Snapshot(barrier(NEWER))]);
        assert_eq!(step(|out| source.on_abort(NEWER, out)), [], "too late: the barrier is on its way");
    }

    #[test]
    fn ended_channels_still_align_and_the_end_comes_once() {
        let mut alignment = Alignment::new(2);
        assert_eq!(step(|out| alignment.on_end(0, out)), []);
        assert_eq!(step(|out| alignment.on_barrier(0, barrier(N), out)), [Effect::Begin(N)]);
        assert_eq!(step(|out| alignment.on_end(1, out)), [Effect::EndOfInput]);
        assert_eq!(step(|out| alignment.on_barrier(1, barrier(N), out)), [Effect::Snapshot(barrier(N))]);
    }

    #[test]
    #[should_panic(expected = "blocked channel")]
    fn taking_from_a_blocked_channel_is_a_bug() {
        let mut alignment = Alignment::new(2);
        alignment.on_barrier(0, barrier(N), &mut Vec::new());
        alignment.on_barrier(0, barrier(NEWER), &mut Vec::new());
    }
}

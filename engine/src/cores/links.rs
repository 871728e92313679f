//! Links: may this element, or this credit, come now? What another worker sends on a link is judged here before it reaches a queue.
//!
//! 1. A [`Lane`] judges one channel: elements are numbered from 0 without a gap; a batch needs credit and comes before the end of
//!    input; the end comes once, and `closed` once and behind it; the ids of barriers increase.
//! 2. [`Barriers`] is what all channels into one worker have in common: a checkpoint has one barrier, whichever way it comes, one
//!    attempt has one kind of alignment, and every id is above the restored checkpoint.
//! 3. A [`Window`] judges what comes back: no more credit than there are batches at the far end.
//!
//! What violates this ends the link, and with it the attempt. So no frame of a peer reaches an assertion of the alignment
//! ([`super::alignment`]), which are about this process only.
//!
//! Owns: what came on a link so far. Does not own: queues, encoding, the connection.
//! Not handled: records that are not those of the producer; more cancellation markers than there are checkpoints.

use crate::element::{Barrier, Guarantee};
use crate::ids::CheckpointId;
use std::collections::BTreeMap;
use std::fmt;

/// Barriers of an attempt that are remembered to be compared. More checkpoints are never under way on one worker.
const REMEMBERED: usize = 64;

/// What a right worker never sends on a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// Another element of the channel was due.
    Jump {
        /// The number of the element that was due.
        due: u64,
        /// The number that came.
        came: u64,
    },
    /// A batch came without credit.
    NoCredit,
    /// A batch, or the end, came behind the end of input.
    BehindEnd,
    /// The channel was closed before its input ended.
    ClosedBeforeEnd,
    /// The id of a barrier or a marker does not increase, or cannot be counted.
    Id(CheckpointId),
    /// The barrier of a checkpoint is not the one that came on another channel, or of another kind than those before.
    OtherBarrier(CheckpointId),
    /// More credit came back than batches were sent.
    TooMuchCredit {
        /// Batches at the far end.
        sent: u32,
        /// Credit for so many.
        credit: u32,
    },
}

/// An element that arrives, without its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Records.
    Batch {
        /// Whether the queue may take another batch.
        has_credit: bool,
    },
    /// A barrier.
    Barrier(Barrier),
    /// A cancellation marker.
    Cancel(CheckpointId),
    /// The producer has processed all its input.
    EndOfInput,
    /// The producer is gone.
    Closed,
}

/// What came on one channel so far.
#[derive(Debug, Default)]
pub struct Lane {
    arrived: u64,
    newest: CheckpointId,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    #[default]
    Open,
    Ended,
    Closed,
}

impl Lane {
    /// An element arrives, with its number. A violation leaves the lane as it was: nothing comes after it.
    pub fn on_element(&mut self, number: u64, arrival: Arrival) -> Result<(), Violation> {
        assert_ne!(self.stage, Stage::Closed, "a lane that is closed is gone");
        if number != self.arrived {
            return Err(Violation::Jump { due: self.arrived, came: number });
        }
        match (self.stage, arrival) {
            (Stage::Open, Arrival::Batch { has_credit: true }) => {}
            (Stage::Open, Arrival::Batch { has_credit: false }) => return Err(Violation::NoCredit),
            (Stage::Open, Arrival::EndOfInput) => self.stage = Stage::Ended,
            (Stage::Open, Arrival::Closed) => return Err(Violation::ClosedBeforeEnd),
            (Stage::Open | Stage::Ended, Arrival::Barrier(Barrier { checkpoint, .. })) => {
                if checkpoint <= self.newest || !checkpoint.is_possible() {
                    return Err(Violation::Id(checkpoint));
                }
                self.newest = checkpoint;
            }
            (Stage::Open | Stage::Ended, Arrival::Cancel(checkpoint)) if !checkpoint.is_possible() => {
                return Err(Violation::Id(checkpoint));
            }
            (Stage::Open | Stage::Ended, Arrival::Cancel(_)) => {}
            (Stage::Ended, Arrival::Closed) => self.stage = Stage::Closed,
            (Stage::Ended, Arrival::Batch { .. } | Arrival::EndOfInput) => return Err(Violation::BehindEnd),
            (Stage::Closed, _) => unreachable!("asserted above"),
        }
        assert!(self.newest <= CheckpointId::MAX, "ids can be counted");
        self.arrived += 1;
        Ok(())
    }

    /// Whether nothing comes any more.
    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }
}

/// The barriers that enter one worker in one attempt, from its coordinator or on links.
#[derive(Debug)]
pub struct Barriers {
    /// What the attempt restored, or the newest id that is forgotten.
    floor: CheckpointId,
    restored: CheckpointId,
    alignment: Option<Guarantee>,
    seen: BTreeMap<CheckpointId, Barrier>,
}

impl Barriers {
    /// Of an attempt that restores this checkpoint.
    pub fn new(restored: Option<CheckpointId>) -> Self {
        assert!(restored.is_none_or(CheckpointId::is_possible), "what is restored was once triggered");
        let restored = restored.unwrap_or_default();
        Self { floor: restored, restored, alignment: None, seen: BTreeMap::new() }
    }

    /// A barrier enters the worker.
    pub fn on_barrier(&mut self, barrier: Barrier) -> Result<(), Violation> {
        let checkpoint = barrier.checkpoint;
        if checkpoint <= self.restored || !checkpoint.is_possible() {
            return Err(Violation::Id(checkpoint));
        }
        if self.alignment.is_some_and(|alignment| alignment != barrier.alignment) {
            return Err(Violation::OtherBarrier(checkpoint));
        }
        if self.seen.get(&checkpoint).is_some_and(|known| *known != barrier) {
            return Err(Violation::OtherBarrier(checkpoint));
        }
        self.alignment = Some(barrier.alignment);
        // An id that is forgotten is obsolete wherever it still comes.
        if checkpoint > self.floor {
            self.seen.insert(checkpoint, barrier);
        }
        if self.seen.len() > REMEMBERED
            && let Some((oldest, _)) = self.seen.pop_first()
        {
            self.floor = oldest;
        }
        self.validate();
        Ok(())
    }

    fn validate(&self) {
        assert!(self.seen.len() <= REMEMBERED, "memory is bounded");
        assert!(self.floor >= self.restored, "the floor never sinks");
        assert!(self.seen.keys().all(|checkpoint| *checkpoint > self.floor), "what is forgotten is forgotten");
        assert!(self.seen.values().all(|barrier| Some(barrier.alignment) == self.alignment), "one kind of alignment");
    }
}

/// The credit of the producing side for one channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Batches that may still be sent.
    free: u32,
    /// Batches that were sent, and not taken yet.
    sent: u32,
    room: u32,
}

impl Window {
    /// The far end has room for so many batches.
    pub fn new(room: u32) -> Self {
        assert!(room > 0, "a channel without room never moves");
        Self { free: room, sent: 0, room }
    }

    /// Whether another batch may be sent.
    pub fn is_open(self) -> bool {
        self.free > 0
    }

    /// A batch is sent.
    pub fn on_sent(&mut self) {
        assert!(self.is_open(), "a batch is sent with credit");
        (self.free, self.sent) = (self.free - 1, self.sent + 1);
        self.validate();
    }

    /// So many batches were taken at the far end.
    pub fn on_credit(&mut self, batches: u32) -> Result<(), Violation> {
        let Some(sent) = self.sent.checked_sub(batches) else {
            return Err(Violation::TooMuchCredit { sent: self.sent, credit: batches });
        };
        (self.free, self.sent) = (self.free + batches, sent);
        self.validate();
        Ok(())
    }

    fn validate(self) {
        assert_eq!(self.free.checked_add(self.sent), Some(self.room), "credit is neither made nor lost");
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump { due, came } => write!(f, "jumped to element {came}, where {due} was due"),
            Self::NoCredit => f.write_str("sent a batch without credit"),
            Self::BehindEnd => f.write_str("went on behind the end of its input"),
            Self::ClosedBeforeEnd => f.write_str("was closed before the end of its input"),
            Self::Id(checkpoint) => write!(f, "brought {checkpoint}, which is not a later checkpoint"),
            Self::OtherBarrier(checkpoint) => write!(f, "brought another barrier of {checkpoint} than came before"),
            Self::TooMuchCredit { sent, credit } => write!(f, "got credit for {credit} batches of {sent}"),
        }
    }
}

#[cfg(test)]
mod tests;

//! The lease: when a standby takes the leader for dead, and how a leader shows that it is not.
//!
//! ```text
//! leader   ── leads ── Write(g1, 1) ── Write(g1, 2) ── … ── Write(g1, 9) ✝
//! standby       ── Read (g1, 2) ──── Read (g1, 9) ──── Read (g1, 9) ──── Read (g1, 9): a lease old ── TakeOver
//! ```
//!
//! 1. The leader overwrites one small object, its *sign of life*: its generation and a number that grows. Three times a
//!    lease, and only from the loop that also leads, so that a leader that is stuck shows none.
//! 2. A standby reads it as often. It takes over once a read that *began* a lease after the sign last grew still shows
//!    that sign. A read that fails says nothing: a standby that cannot read the sign could not take over either. A sign
//!    that is overwritten while it is read in pieces reads as something that is no sign. If it is not what was read the
//!    last time, it was written in between: it counts as a sign of the leader that is watched.
//! 3. Taking over is creating the next slot of the log ([`super::completed`]). If the log has a newer leader than the
//!    sign, another standby was faster: it gets a lease to show signs of its own, and is watched.
//! 4. The lease is an optimisation, not a safety mechanism: it keeps a standby from deposing a leader that works. Two
//!    leaders at once are kept apart by the log alone, so neither clock has to be right, and a sign that lands late,
//!    twice or never does no harm.
//!
//! An object of its own and not slots of the log, because a sign needs no order and no history, and a log that grows three
//! times a lease would have to be cleaned up as often.
//!
//! Owns: the time since the sign grew. Does not own: the log, the clock. Invariant: generation and number of what was seen
//! never shrink, so the last signs of a deposed leader do not count.

use crate::door::{StorageError, Time};
use crate::error::Error;
use crate::ids::Generation;
pub use crate::persist::sign::Standing;
use std::time::Duration;

/// Signs of life in a lease.
const SIGNS_PER_LEASE: u32 = 3;

/// What a lease asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// A standby: read the sign after `delay`; then [`Watch::on_observed`].
    Read {
        /// How long to wait first.
        delay: Duration,
    },
    /// A standby: the leader shows no sign of life any more; claim the log.
    TakeOver,
    /// A standby: it cannot watch.
    Fail {
        /// Why not.
        error: Error,
    },
    /// A leader: overwrite the sign; then [`Beat::on_written`].
    Write {
        /// Grows.
        beat: u64,
        /// Whether it says goodbye.
        standing: Standing,
    },
}

/// What a read of the sign showed. In the order in which one replaces the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Seen {
    /// There is no sign.
    Nothing,
    /// There is something that is no sign. A living leader will overwrite it.
    Garbled {
        /// Of what was read.
        digest: u64,
    },
    /// A leader's.
    Sign {
        /// Its leadership.
        generation: Generation,
        /// Grows.
        beat: u64,
        /// Whether the leader has resigned, so that no standby has to wait for the lease.
        resigned: bool,
    },
}

/// A standby's side.
#[derive(Debug)]
pub struct Watch {
    lease: Duration,
    /// The greatest that was seen, and when it was seen first.
    seen: Option<(Seen, Time)>,
    /// Digest of the last that was no sign.
    garbled: Option<u64>,
    over: bool,
}

impl Watch {
    /// A standby that has looked at nothing yet. It may know a `leader` from the log, which has a lease for its first sign:
    /// older ones do not count.
    pub fn new(now: Time, lease: Duration, leader: Option<Generation>, out: &mut Vec<Effect>) -> Self {
        assert!(!lease.is_zero(), "a lease takes time");
        out.push(Effect::Read { delay: Duration::ZERO });
        let seen = leader.map(|generation| (Seen::Sign { generation, beat: 0, resigned: false }, now));
        Self { lease, seen, garbled: None, over: false }
    }

    /// Answers [`Effect::Read`] with what was there; the request was made at `asked`.
    pub fn on_observed(&mut self, asked: Time, now: Time, reply: Result<Seen, StorageError>, out: &mut Vec<Effect>) {
        assert!(!self.over, "who takes over no longer watches");
        assert!(asked <= now, "a reply follows its request");
        match reply {
            Ok(seen) => self.look(asked, now, seen, out),
            Err(error @ StorageError::Fenced) => {
                self.over = true;
                out.push(Effect::Fail { error: error.into() });
            }
            Err(
                StorageError::NotFound(_)
                | StorageError::Exists(_)
                | StorageError::Failed(_)
                | StorageError::Unknown(_),
            ) => out.push(Effect::Read { delay: self.lease / SIGNS_PER_LEASE }),
        }
        self.validate(now);
    }

    fn look(&mut self, asked: Time, now: Time, seen: Seen, out: &mut Vec<Effect>) {
        let overwritten = match seen {
            Seen::Garbled { digest } => self.garbled.replace(digest) != Some(digest),
            Seen::Nothing | Seen::Sign { .. } => false,
        };
        let (greatest, since) = match self.seen {
            Some((greatest @ Seen::Sign { .. }, _)) if overwritten => (greatest, now),
            Some((greatest, since)) if seen <= greatest && !overwritten => (greatest, since),
            Some(_) | None => (seen, now),
        };
        self.seen = Some((greatest, since));
        let deadline = since + self.patience(greatest);
        if asked >= deadline || self.patience(greatest).is_zero() {
            self.over = true;
            return out.push(Effect::TakeOver);
        }
        let delay = deadline.since(now).min(self.lease / SIGNS_PER_LEASE);
        out.push(Effect::Read { delay });
    }

    /// How long something may stand unchanged. Where there never was a sign, a leader that has just begun is about to
    /// write its first: that is waited for, not a whole lease.
    fn patience(&self, seen: Seen) -> Duration {
        match seen {
            Seen::Nothing => self.lease / SIGNS_PER_LEASE,
            Seen::Garbled { .. } | Seen::Sign { resigned: false, .. } => self.lease,
            Seen::Sign { resigned: true, .. } => Duration::ZERO,
        }
    }

    /// The leadership whose signs were seen last.
    pub fn leader(&self) -> Option<Generation> {
        match self.seen {
            Some((Seen::Sign { generation, .. }, _)) => Some(generation),
            Some((Seen::Nothing | Seen::Garbled { .. }, _)) | None => None,
        }
    }

    fn validate(&self, now: Time) {
        assert!(self.seen.is_none_or(|(_, since)| since <= now), "nothing was seen in the future");
    }
}

/// A leader's side.
#[derive(Debug)]
pub struct Beat {
    every: Duration,
    /// The next sign is due then.
    next: Time,
    beat: u64,
    /// A sign is being written; there is never more than one, so that a slow storage is not swamped.
    writing: bool,
    standing: Standing,
}

impl Beat {
    /// A leader that shows its first sign at its first alarm.
    pub fn new(now: Time, lease: Duration) -> Self {
        assert!(!lease.is_zero(), "a lease takes time");
        Self { every: lease / SIGNS_PER_LEASE, next: now, beat: 0, writing: false, standing: Standing::Leads }
    }

    /// When the next sign is due.
    pub fn deadline(&self) -> Option<Time> {
        (!self.writing).then_some(self.next)
    }

    /// Time has passed.
    pub fn on_alarm(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.writing || now < self.next {
            return;
        }
        self.beat += 1;
        self.next = now + self.every;
        self.writing = true;
        out.push(Effect::Write { beat: self.beat, standing: self.standing });
    }

    /// Answers [`Effect::Write`], whatever came of it: the next sign is written in its time.
    pub fn on_written(&mut self) {
        assert!(self.writing, "a sign was being written");
        self.writing = false;
    }

    /// Every later sign says goodbye; the first of them is due at once.
    pub fn resign(&mut self, now: Time) {
        self.standing = Standing::Resigned;
        self.next = now;
    }
}

#[cfg(test)]
mod tests;

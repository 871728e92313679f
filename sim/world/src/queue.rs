//! What is on its way: deliveries in the one order in which they will be made.
//!
//! Ordered by virtual time, then by a keyed rank. The rank is drawn from the delivery's logical key, so the order
//! of two deliveries at one instant does not depend on what else is on its way. The sequence number behind it
//! decides only when two 64-bit ranks collide.

use super::bell::BellCell;
use super::network::{ConnectRequest, Half, Lane};
use super::storage::Operation;
use super::wait::{WaitId, Waits};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// What a delivery does.
pub(crate) enum Arrival {
    /// Completes a wait whose outcome is prepared.
    Wait(WaitId),
    /// A ring arrives at its bell.
    Ring(Arc<BellCell>),
    /// A task gets its first poll.
    Spawn(u32),
    /// An aborted task is dropped.
    Abort(u32),
    /// The oldest frame of a lane arrives.
    Frame(Lane),
    /// A sender learns that its window has room again.
    Credit(Lane),
    /// One half of one end of a connection learns that it is over.
    Break(Lane, Half),
    /// A connection request reaches its listener, or nobody.
    Connect(Box<ConnectRequest>),
    /// A storage request takes effect.
    Effect(Box<Operation>),
    /// An incarnation of a process comes up.
    Start(usize),
    /// An incarnation that has been replaced is killed.
    TakeDown(u32),
    /// The trigger of a timed fault matches.
    Fault(usize),
    /// Faults end.
    Heal,
}

/// Something on its way.
pub(crate) struct Delivery {
    /// Virtual nanoseconds.
    pub time: u64,
    /// Keyed order within an instant.
    pub rank: u64,
    sequence: u64,
    /// What it does.
    pub what: Arrival,
}

/// Everything on its way.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Delivery>,
    sequence: u64,
    /// Timers in the heap that nobody waits for any more, or that have been since it was last swept.
    void: usize,
}

/// A heap with fewer void timers is not worth sweeping.
const SWEPT_FROM: usize = 32;

impl Queue {
    /// Sends something on its way; `word` is a draw of its own.
    #[inline]
    pub fn push(&mut self, time: u64, word: u64, what: Arrival) {
        // Multiplied, so that the rank does not follow the delay that was taken from the same draw.
        self.push_ranked(time, word.wrapping_mul(0x9e37_79b9_7f4a_7c15), what);
    }

    /// Sends something on its way that has its place within its instant.
    pub fn push_ranked(&mut self, time: u64, rank: u64, what: Arrival) {
        self.sequence += 1;
        self.heap.push(Delivery { time, rank, sequence: self.sequence, what });
    }

    /// Puts a delivery off until `time`.
    pub fn put_off(&mut self, delivery: Delivery, time: u64) {
        assert!(time >= delivery.time, "deliveries are put off, not hastened");
        self.heap.push(Delivery { time, ..delivery });
    }

    /// The earliest.
    #[inline]
    pub fn pop(&mut self) -> Option<Delivery> {
        self.heap.pop()
    }

    /// A timer on its way has become void. Once every second delivery may be, they go: most timers are the time limits of requests
    /// that are long answered, and all others would have to be sifted through them.
    pub fn on_void_timer(&mut self, waits: &Waits) {
        self.void += 1;
        if self.void >= SWEPT_FROM && self.void * 2 > self.heap.len() {
            self.void = 0;
            self.heap.retain(|delivery| !matches!(delivery.what, Arrival::Wait(id) if waits.is_void(id)));
        }
    }

    /// Everything, in no particular order.
    pub fn take(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.heap).into_vec()
    }
}

impl Ord for Delivery {
    /// The heap's greatest is the earliest.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.rank, other.sequence).cmp(&(self.time, self.rank, self.sequence))
    }
}

impl PartialOrd for Delivery {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    /// What a heap asks several times for each delivery: nearly always the times alone tell.
    #[inline]
    fn le(&self, other: &Self) -> bool {
        if self.time == other.time { self.cmp(other).is_le() } else { self.time > other.time }
    }
}

impl PartialEq for Delivery {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Delivery {}

#[cfg(test)]
mod tests {
    use super::super::wait::Outcome;
    use super::*;

    #[test]
    fn the_order_is_by_time_then_rank_whatever_the_order_of_pushing() {
        let order = |words: &[(u64, u64)]| {
            let mut queue = Queue::default();
            for &(time, word) in words {
                queue.push(time, word, Arrival::Heal);
            }
            std::iter::from_fn(|| queue.pop()).map(|d| (d.time, d.rank)).collect::<Vec<_>>()
        };
        let forth = order(&[(1, 5), (1, 6), (0, 9), (2, 1)]);
        assert_eq!(forth, order(&[(2, 1), (0, 9), (1, 6), (1, 5)]));
        assert!(forth.is_sorted());
    }

    #[test]
    fn void_timers_go_and_the_others_stay_in_order() {
        let (mut queue, mut waits) = (Queue::default(), Waits::default());
        let ids: Vec<WaitId> = (0..100).map(|_| waits.add(0, Outcome::Elapsed)).collect();
        for (time, id) in (0..).zip(&ids) {
            queue.push(time, 0, Arrival::Wait(*id));
        }
        let kept = |at: usize| at.is_multiple_of(3);
        for (_, id) in ids.iter().enumerate().filter(|(at, _)| !kept(*at)) {
            assert!(waits.free(*id).is_some());
            queue.on_void_timer(&waits);
        }
        assert!(queue.heap.len() < 100 - SWEPT_FROM, "it was swept");
        let mut left = std::iter::from_fn(|| queue.pop()).map(|delivery| delivery.time as usize);
        assert!(
            (0..100).filter(|at| kept(*at)).all(|at| left.any(|time| time == at)),
            "no timer that is waited for is lost"
        );
    }
}

//! Waits: one table for everything a task can wait for once — a timer, a storage reply, a connection.
//!
//! 1. A future registers a wait at its first poll, and something is sent on its way that will complete it.
//! 2. The outcome is *prepared* (a reply exists but is still under way), then *arrives*, which wakes the task.
//! 3. The future takes the outcome, or is dropped: either frees the entry, and what still arrives for it is void.

use super::network::ConnectionEnd;
use bytes::Bytes;
use cofferdam_engine::door::{ExternalError, NetworkError, ObjectMeta, Piece, StorageError};
use std::task::{Context, Poll, Waker};

/// A registered wait. Void once it is freed, even if its place is taken again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WaitId {
    place: u32,
    generation: u32,
}

/// What a wait ends with.
#[derive(Debug, Default)]
pub(crate) enum Outcome {
    /// Not known yet.
    #[default]
    Open,
    /// The deadline has passed.
    Elapsed,
    /// A read's.
    Read(Result<Piece, StorageError>),
    /// A write's or delete's.
    Done(Result<(), StorageError>),
    /// A listing's.
    Listed(Result<Vec<ObjectMeta>, StorageError>),
    /// A system outside's.
    Answered(Result<Bytes, ExternalError>),
    /// A connection's.
    Connected(Result<ConnectionEnd, NetworkError>),
}

/// Registers the polling task, in place of whoever was registered.
pub(crate) fn register(waiter: &mut Option<Waker>, context: &Context<'_>) {
    match waiter {
        Some(waker) if waker.will_wake(context.waker()) => {}
        _ => *waiter = Some(context.waker().clone()),
    }
}

struct Wait {
    generation: u32,
    incarnation: u32,
    arrived: bool,
    outcome: Outcome,
    waiter: Option<Waker>,
}

/// All waits of a world.
#[derive(Default)]
pub(crate) struct Waits {
    table: Vec<Wait>,
    free: Vec<u32>,
}

impl Waits {
    /// Registers a wait of an incarnation whose outcome is known (a timer's) or [`Outcome::Open`].
    pub fn add(&mut self, incarnation: u32, outcome: Outcome) -> WaitId {
        if let Some(place) = self.free.pop() {
            let wait = &mut self.table[place as usize];
            assert!(wait.waiter.is_none(), "a freed wait has no waiter");
            (wait.incarnation, wait.arrived, wait.outcome) = (incarnation, false, outcome);
            return WaitId { place, generation: wait.generation };
        }
        let place = u32::try_from(self.table.len()).expect("fewer than 2^32 waits at once");
        self.table.push(Wait { generation: 0, incarnation, arrived: false, outcome, waiter: None });
        WaitId { place, generation: 0 }
    }

    fn get(&mut self, id: WaitId) -> Option<&mut Wait> {
        self.table.get_mut(id.place as usize).filter(|wait| wait.generation == id.generation)
    }

    /// Whether nobody waits for it any more.
    pub fn is_void(&self, id: WaitId) -> bool {
        self.table.get(id.place as usize).is_none_or(|wait| wait.generation != id.generation)
    }

    /// Whose wait it is, while it is registered.
    pub fn incarnation(&mut self, id: WaitId) -> Option<u32> {
        self.get(id).map(|wait| wait.incarnation)
    }

    /// The outcome exists but is still under way. Given back if nobody waits any more.
    pub fn prepare(&mut self, id: WaitId, outcome: Outcome) -> Result<(), Outcome> {
        match self.get(id) {
            None => Err(outcome),
            Some(wait) => {
                assert!(!wait.arrived, "a wait completes once");
                wait.outcome = outcome;
                Ok(())
            }
        }
    }

    /// The prepared outcome arrives; says whom to wake.
    pub fn arrive(&mut self, id: WaitId) -> Option<Waker> {
        let wait = self.get(id)?;
        assert!(!wait.arrived, "a wait completes once");
        assert!(!matches!(wait.outcome, Outcome::Open), "an outcome is prepared before it arrives");
        wait.arrived = true;
        wait.waiter.take()
    }

    /// Takes the outcome if it has arrived (which frees the wait), or registers the polling task.
    pub fn poll(&mut self, id: WaitId, context: &Context<'_>) -> Poll<Outcome> {
        let wait = self.get(id).expect("a future polls its wait only until it has the outcome");
        if wait.arrived {
            let outcome = std::mem::take(&mut wait.outcome);
            drop(self.free(id));
            return Poll::Ready(outcome);
        }
        register(&mut wait.waiter, context);
        Poll::Pending
    }

    /// Nobody waits any more. What was in the entry is given back, to be dropped without the world's lock.
    pub fn free(&mut self, id: WaitId) -> Option<(Outcome, Option<Waker>)> {
        let wait = self.get(id)?;
        wait.generation = wait.generation.wrapping_add(1);
        let rest = (std::mem::take(&mut wait.outcome), wait.waiter.take());
        self.free.push(id.place);
        Some(rest)
    }

    /// Every waiter, to be dropped without the world's lock.
    pub fn take_waiters(&mut self) -> Vec<Waker> {
        self.table.iter_mut().filter_map(|wait| wait.waiter.take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_for_a_freed_wait_is_void_even_when_its_place_is_taken_again() {
        let mut waits = Waits::default();
        let first = waits.add(0, Outcome::Elapsed);
        waits.free(first).expect("it was registered");
        let second = waits.add(1, Outcome::Elapsed);
        assert!(waits.arrive(first).is_none());
        assert!(waits.prepare(first, Outcome::Elapsed).is_err());
        let context = Context::from_waker(Waker::noop());
        assert!(waits.poll(second, &context).is_pending());
        assert!(waits.arrive(second).is_some());
        assert!(waits.poll(second, &context).is_ready());
        assert_eq!(waits.incarnation(second), None);
    }
}

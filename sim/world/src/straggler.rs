//! Stragglers: writes that are still on their way when the job is over.
//!
//! ```text
//! write ── times out, is repeated ── the job ends ── after_ms ── takes effect
//! ```
//!
//! 1. A fault holds the next writes under a prefix.
//! 2. When the end of the job is announced, each goes on, and takes effect `after_ms` later: near the last sweep, behind
//!    the last commit. Healing changes nothing: the requester has timed out by then.
//!
//! Reason: a storage request may take any time. A slow request lands behind the last sweep once in a million runs by
//! chance; this fault aims at that moment.

use super::Shared;
use super::queue::Arrival;
use super::state::State;
use super::storage::Operation;
use cofferdam_engine::event::Event;

/// A write that is held, and how long after the end of the job it takes effect.
pub(crate) struct Straggler {
    operation: Box<Operation>,
    after_ms: u64,
}

impl State {
    /// Holds a write until the job is over.
    pub(super) fn hold(&mut self, operation: Box<Operation>, after_ms: u64) {
        self.stragglers.push(Straggler { operation, after_ms });
    }

    /// Lets every held write go on if this event is the end of the job.
    pub fn release_stragglers(&mut self, world: &Shared, event: &Event) {
        if !matches!(event, Event::JobFinished { .. } | Event::JobFailed { .. } | Event::JobCancelled { .. }) {
            return;
        }
        for Straggler { operation, after_ms } in std::mem::take(&mut self.stragglers) {
            let lands = world.now().saturating_add(after_ms.saturating_mul(1_000_000));
            self.queue.push(lands, operation.rank(), Arrival::Effect(operation));
        }
    }
}

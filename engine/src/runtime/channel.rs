//! A channel: one first-in-first-out queue of elements between two subtasks, bounded by credit, inspectable.
//!
//! The queue itself is shared memory of one process; where producer and consumer live on different workers, a link
//! ([`super::link`]) takes elements from the producer's queue and puts them into the consumer's. Knowledge of a new
//! element travels through the channel's bell, so the order of arrivals over all channels belongs to the door.
//!
//! Credit: a queue holds at most `credits` batches before its producer must wait. The bound is soft by the output of one
//! input batch: a subtask asks for credit *before* it takes a batch and then leaves everything that comes out of it. What an
//! operator emits at the end of input asks batch by batch.
//! Barriers, markers and ends need no credit; their number is bounded by the coordinator.
//!
//! Invariant: the consumer takes an element only after its ring has arrived.

use super::mailbox::Postbox;
use crate::door::{Bell, Env, Site};
use crate::element::{Element, Front};
use crate::ids::ChannelId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// The producing end.
pub struct ChannelSender {
    shared: Arc<Shared>,
}

/// The consuming end.
pub struct ChannelReceiver {
    shared: Arc<Shared>,
    taken: u64,
}

/// Who wants to know that a batch was taken.
pub enum Upstream {
    /// The producing subtask, waiting in this process while the queue is full.
    Local(Arc<dyn Bell>),
    /// The link that fills this queue; it passes the credit on.
    Link(Postbox<ChannelId>),
}

struct Shared {
    id: ChannelId,
    credits: usize,
    queue: Mutex<Queue>,
    bell: Arc<dyn Bell>,
    upstream: Upstream,
}

#[derive(Default)]
struct Queue {
    elements: VecDeque<Element>,
    batches: usize,
    pushed: u64,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel whose consumer waits at `site`.
pub fn channel(
    env: &Env,
    site: Site,
    id: ChannelId,
    credits: u32,
    upstream: Upstream,
) -> (ChannelSender, ChannelReceiver) {
    assert!(credits > 0, "a channel without credit never moves");
    let shared =
        Shared { id, credits: credits as usize, queue: Mutex::default(), bell: env.spawner.bell(site), upstream };
    let shared = Arc::new(shared);
    (ChannelSender { shared: shared.clone() }, ChannelReceiver { shared, taken: 0 })
}

impl ChannelSender {
    /// Which channel.
    pub fn id(&self) -> ChannelId {
        self.shared.id
    }

    /// Appends an element and says which one of the channel it is, from 0.
    pub fn push(&self, element: Element) -> u64 {
        let seq = {
            let mut queue = self.shared.queue();
            queue.batches += usize::from(matches!(element, Element::Batch(_)));
            queue.elements.push_back(element);
            queue.pushed += 1;
            queue.pushed - 1
        };
        self.shared.bell.ring();
        seq
    }

    /// Whether another batch may be produced for this channel.
    pub fn has_credit(&self) -> bool {
        self.shared.queue().batches < self.shared.credits
    }

    /// How many elements were pushed so far.
    pub fn pushed(&self) -> u64 {
        self.shared.queue().pushed
    }
}

impl ChannelReceiver {
    /// Which channel.
    pub fn id(&self) -> ChannelId {
        self.shared.id
    }

    /// What could be taken now, if anything has arrived.
    pub fn front(&self) -> Option<Front> {
        if self.shared.bell.rung() == self.taken {
            return None;
        }
        match self.shared.queue().elements.front() {
            Some(Element::Batch(_)) => Some(Front::Batch),
            Some(Element::Barrier(_) | Element::Cancel(_) | Element::EndOfInput | Element::Closed) => {
                Some(Front::Event)
            }
            None => unreachable!("every ring has its element"),
        }
    }

    /// Takes the element at the front, which must have arrived, with its number from 0.
    pub fn take(&mut self) -> (u64, Element) {
        assert!(self.shared.bell.rung() > self.taken, "nothing has arrived on {}", self.shared.id);
        let (element, was_full) = {
            let mut queue = self.shared.queue();
            let element = queue.elements.pop_front().expect("every ring has its element");
            let was_full = queue.batches >= self.shared.credits;
            queue.batches -= usize::from(matches!(element, Element::Batch(_)));
            (element, was_full)
        };
        let seq = self.taken;
        self.taken += 1;
        if matches!(element, Element::Batch(_)) {
            match &self.shared.upstream {
                Upstream::Local(bell) if was_full => bell.ring(),
                Upstream::Local(_) => {}
                Upstream::Link(credits) => credits.post(self.shared.id),
            }
        }
        (seq, element)
    }

    /// Ready once an element has arrived.
    pub fn poll_arrived(&self, context: &mut Context<'_>) -> Poll<()> {
        self.shared.bell.poll_rung(self.taken, context).map(|_| ())
    }
}

//! A mailbox: how the tasks of one process pass values to each other, with the order of arrival owned by the
//! door's [`Bell`]. Also [`race`], the one way to wait for two things at once.
//!
//! Invariant: an item can be taken only after its ring has arrived, so what a task sees depends on deliveries
//! alone, never on which task the executor happened to poll first.

use crate::door::{Bell, BoxFuture, Env, Site};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// The receiving end; exactly one task takes from it.
pub struct Mailbox<T> {
    shared: Arc<Shared<T>>,
    taken: u64,
}

/// A sending end, cheap to clone.
pub struct Postbox<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    queue: Mutex<VecDeque<T>>,
    bell: Arc<dyn Bell>,
}

impl<T> Clone for Postbox<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T> Postbox<T> {
    /// Puts an item into the mailbox. Never blocks; if the mailbox is gone the item is never taken.
    pub fn post(&self, item: T) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(item);
        self.shared.bell.ring();
    }
}

impl<T> Mailbox<T> {
    /// A mailbox for the task at `site`.
    pub fn new(env: &Env, site: Site) -> (Postbox<T>, Self) {
        let shared = Arc::new(Shared { queue: Mutex::default(), bell: env.spawner.bell(site) });
        (Postbox { shared: shared.clone() }, Self { shared, taken: 0 })
    }

    /// The next item that has arrived, if any.
    pub fn try_take(&mut self) -> Option<T> {
        if self.shared.bell.rung() == self.taken {
            return None;
        }
        let item = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        debug_assert!(item.is_some(), "every ring has its item");
        self.taken += 1;
        item
    }

    /// Whether an item has arrived.
    pub fn has_arrived(&self) -> bool {
        self.shared.bell.rung() > self.taken
    }

    /// Ready with the next item. Cancel-safe.
    pub fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<T> {
        loop {
            if let Some(item) = self.try_take() {
                return Poll::Ready(item);
            }
            if self.shared.bell.poll_rung(self.taken, context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Ready once an item has arrived, without taking it. Cancel-safe.
    pub fn poll_arrived(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.shared.bell.poll_rung(self.taken, context).map(|_| ())
    }

    /// The next item. Cancel-safe.
    pub async fn take(&mut self) -> T {
        poll_fn(|context| self.poll_take(context)).await
    }

    /// The next item, or `None` once `alarm` is ready first. Cancel-safe.
    pub async fn take_before(&mut self, alarm: &mut BoxFuture<'static, ()>) -> Option<T> {
        poll_fn(|context| match self.poll_take(context) {
            Poll::Ready(item) => Poll::Ready(Some(item)),
            Poll::Pending => alarm.as_mut().poll(context).map(|()| None),
        })
        .await
    }
}

/// What [`race`] saw first.
pub enum Either<A, B> {
    /// The first future.
    First(A),
    /// The second.
    Second(B),
}

/// Waits for two futures, asking the first one first: the fixed order that an unbiased `select!` lacks.
pub async fn race<A: Future + Unpin, B: Future + Unpin>(mut first: A, mut second: B) -> Either<A::Output, B::Output> {
    poll_fn(|context| {
        if let Poll::Ready(output) = Pin::new(&mut first).poll(context) {
            return Poll::Ready(Either::First(output));
        }
        Pin::new(&mut second).poll(context).map(Either::Second)
    })
    .await
}

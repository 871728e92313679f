//! Requests for a checkpoint by hand: a bounded queue, first come, first served, before any periodic one.

use super::effect::{Effect, RequestId};
use crate::reason::Refusal;
use std::collections::VecDeque;

/// Requests that may wait (Flink's `MAX_REQUESTS`).
pub const REQUESTS_MAX: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Requests {
    queue: VecDeque<RequestId>,
}

impl Requests {
    /// Queues a request, or refuses it.
    pub fn push(&mut self, request: RequestId, out: &mut Vec<Effect>) {
        assert!(!self.queue.contains(&request), "{request} is asked once");
        if self.queue.len() == REQUESTS_MAX {
            return out.push(refuse(request, Refusal::QueueFull));
        }
        self.queue.push_back(request);
    }

    /// The client that asked is gone.
    pub fn withdraw(&mut self, request: RequestId) {
        self.queue.retain(|waiting| *waiting != request);
    }

    /// The request that has waited longest.
    pub fn pop(&mut self) -> Option<RequestId> {
        self.queue.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// There will be no checkpoint for any of them.
    pub fn refuse_all(&mut self, refusal: &Refusal, out: &mut Vec<Effect>) {
        out.extend(self.queue.drain(..).map(|request| refuse(request, refusal.clone())));
    }

    pub fn validate(&self) {
        assert!(self.queue.len() <= REQUESTS_MAX, "the queue is bounded");
    }
}

/// Answers that there will be none.
pub(super) fn refuse(request: RequestId, refusal: Refusal) -> Effect {
    Effect::Answer { request, result: Err(refusal) }
}

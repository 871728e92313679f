//! A channel as the witness sees it: records sent and not yet consumed, and where its elements stand.
//!
//! Invariant: `sent == taken + queued`, always.

use cofferdam_engine::element::{Batch, RecordCodec};
use std::collections::VecDeque;

/// A channel of one attempt.
#[derive(Default)]
pub struct Lane {
    queue: VecDeque<Batch>,
    queued: u64,
    /// Records the producer has put on it.
    pub sent: u64,
    /// Records the consumer has taken from it.
    pub taken: u64,
    /// Elements the consumer has taken from it, of any sort.
    pub next_seq: u64,
    /// Whether the consumer has taken its end.
    pub ended: bool,
}

impl Lane {
    /// Puts records on it.
    pub fn push(&mut self, batch: Batch) {
        self.sent += batch.len() as u64;
        self.queued += batch.len() as u64;
        self.queue.push_back(batch);
        self.validate();
    }

    /// Records sent and not yet taken.
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Takes exactly `n` records, which must be there, and passes them on in order.
    pub fn take(&mut self, n: u64, codec: &RecordCodec, mut pass_on: impl FnMut(Batch)) {
        assert!(n <= self.queued, "cannot take {n} records of {}", self.queued);
        let mut wanted = n;
        while wanted > 0 {
            let batch = self.queue.pop_front().expect("as many records as were counted");
            let here = batch.len() as u64;
            if here <= wanted {
                wanted -= here;
                pass_on(batch);
            } else {
                let front = usize::try_from(wanted).expect("less than a batch");
                let (front, back) = codec.split_front(batch, front);
                self.queue.push_front(back);
                wanted = 0;
                pass_on(front);
            }
        }
        self.queued -= n;
        self.taken += n;
        self.validate();
    }

    fn validate(&self) {
        debug_assert_eq!(self.sent, self.taken + self.queued, "records neither come from nor go nowhere");
    }
}

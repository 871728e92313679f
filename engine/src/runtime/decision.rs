//! Decides whether an upload answers or is discarded (order rule O4).
//!
//! A decision about a checkpoint that no core makes. The upload goes on while its subtask processes records, on another
//! thread where there are several, so the end of the upload and the abort of its checkpoint can come at the same time.
//! One atomic step decides. If the upload wins, it acknowledges or declines. If the subtask wins, the upload deletes
//! what it has stored and reports nothing (FLINK-5667).

use std::sync::atomic::{AtomicU8, Ordering};

/// How one upload ends.
#[derive(Debug, Default)]
pub struct Decision(AtomicU8);

const OPEN: u8 = 0;
const ANSWERED: u8 = 1;
const DISCARDED: u8 = 2;

impl Decision {
    /// The upload is about to answer the coordinator; `false` if it was discarded first.
    pub fn answer(&self) -> bool {
        self.decide(ANSWERED)
    }

    /// Discards the upload; `false` if it has already answered.
    pub fn discard(&self) -> bool {
        self.decide(DISCARDED)
    }

    /// Whether the upload is discarded.
    pub fn is_discarded(&self) -> bool {
        self.0.load(Ordering::Acquire) == DISCARDED
    }

    fn decide(&self, end: u8) -> bool {
        self.0.compare_exchange(OPEN, end, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_before_the_answer_discards_and_one_after_it_changes_nothing() {
        let (early, late) = (Decision::default(), Decision::default());
        assert!(early.discard(), "the abort came first");
        assert!(early.is_discarded() && !early.answer());
        assert!(late.answer(), "the answer came first");
        assert!(!late.discard() && !late.is_discarded());
    }
}

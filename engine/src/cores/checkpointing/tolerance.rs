//! How many failed checkpoints in a row are tolerated (Flink's `CheckpointFailureManager`).
//!
//! 1. Only failures that [count](crate::reason::FailureReason::counting) count, and only those of the live attempt: a
//!    failure of an older one says nothing about the present one (FLINK-13593).
//! 2. A failure of an id that is not newer than the last success is ignored: checkpointing has worked since.
//! 3. A success of an id newer than the last resets the count.
//! 4. Exceeding it starts the count afresh: the attempt that fails for it is failed once.
//!
//! Owns: the count. The caller ensures that a checkpoint is aborted once, so that it counts once.

use crate::ids::CheckpointId;
use crate::reason::{Counting, FailureReason};

/// The failures since the last success.
#[derive(Debug)]
pub(super) struct Tolerance {
    tolerable: u32,
    failures: u32,
    last_success: Option<CheckpointId>,
}

/// What a failure means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Judgement {
    /// Checkpointing goes on.
    Tolerated,
    /// It was one too many.
    Exceeded {
        /// Why the attempt fails, for people.
        cause: String,
    },
}

impl Tolerance {
    pub fn new(tolerable: u32) -> Self {
        Self { tolerable, failures: 0, last_success: None }
    }

    /// A checkpoint of the live attempt failed.
    pub fn on_failure(&mut self, checkpoint: CheckpointId, reason: &FailureReason) -> Judgement {
        match reason.counting() {
            Counting::Harmless => return Judgement::Tolerated,
            Counting::Counted if self.last_success >= Some(checkpoint) => return Judgement::Tolerated,
            Counting::Counted => self.failures = self.failures.saturating_add(1),
        }
        if self.failures <= self.tolerable {
            return Judgement::Tolerated;
        }
        let (failures, tolerable) = (std::mem::take(&mut self.failures), self.tolerable);
        let cause = format!(
            "{failures} checkpoint(s) in a row failed and {tolerable} are tolerated; the last, {checkpoint}: {reason}"
        );
        Judgement::Exceeded { cause }
    }

    /// A checkpoint is durable.
    pub fn on_success(&mut self, checkpoint: CheckpointId) {
        assert!(self.last_success < Some(checkpoint), "checkpoints complete in the order of their ids");
        self.last_success = Some(checkpoint);
        self.failures = 0;
    }

    pub fn validate(&self) {
        assert!(self.failures <= self.tolerable, "one failure too many is acted upon at once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(tolerance: &mut Tolerance, checkpoint: u64, reason: FailureReason) -> bool {
        let judgement = tolerance.on_failure(CheckpointId(checkpoint), &reason);
        tolerance.validate();
        matches!(judgement, Judgement::Exceeded { .. })
    }

    #[test]
    fn none_tolerated_means_that_the_first_counted_failure_is_one_too_many() {
        let mut tolerance = Tolerance::new(0);
        assert!(!fail(&mut tolerance, 1, FailureReason::TaskClosing));
        let cause = "1 checkpoint(s) in a row failed and 0 are tolerated; the last, chk-2: expired before every subtask had acknowledged";
        let judgement = tolerance.on_failure(CheckpointId(2), &FailureReason::Expired);
        assert_eq!(judgement, Judgement::Exceeded { cause: cause.into() });
    }

    #[test]
    fn a_success_in_between_starts_the_count_afresh() {
        let mut tolerance = Tolerance::new(1);
        assert!(!fail(&mut tolerance, 1, FailureReason::Expired));
        tolerance.on_success(CheckpointId(2));
        assert!(!fail(&mut tolerance, 3, FailureReason::UploadFailed("full".into())));
        assert!(fail(&mut tolerance, 4, FailureReason::FinalizeFailed("full".into())));
    }

    #[test]
    fn a_failure_older_than_the_last_success_is_ignored() {
        let mut tolerance = Tolerance::new(0);
        tolerance.on_success(CheckpointId(5));
        assert!(!fail(&mut tolerance, 4, FailureReason::Expired));
        assert!(fail(&mut tolerance, 6, FailureReason::Expired));
    }

    #[test]
    fn what_is_part_of_ordinary_life_never_counts() {
        let mut tolerance = Tolerance::new(0);
        let harmless = [
            FailureReason::Subsumed { by: CheckpointId(9) },
            FailureReason::Overtaken,
            FailureReason::Cancelled,
            FailureReason::TaskClosing,
            FailureReason::NotReady,
            FailureReason::AttemptOver("crash".into()),
        ];
        for (id, reason) in (1..).zip(harmless) {
            assert!(!fail(&mut tolerance, id, reason));
        }
    }

    #[test]
    fn exceeding_starts_the_count_afresh() {
        let mut tolerance = Tolerance::new(1);
        assert!(!fail(&mut tolerance, 1, FailureReason::Expired));
        assert!(fail(&mut tolerance, 2, FailureReason::Expired));
        assert!(!fail(&mut tolerance, 3, FailureReason::Expired));
    }
}

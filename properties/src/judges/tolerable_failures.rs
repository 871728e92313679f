//! Tolerable failures: a failed checkpoint that is put up with does not end the attempt, and one too many does.
//!
//! Source: Flink, *tolerable-failed-checkpoints*, and the list of what counts (`CheckpointFailureManager`).
//!
//! Per leadership: aborts whose reason counts ([`FailureReason::counting`]) and whose attempt is the live one are counted
//! in a row. A completion starts the count afresh; an abort of an id that is not newer than the last completion is not
//! counted; one too many is acted upon once, and starts the count afresh.
//! 1. After one too many the coordinator ends the attempt before it triggers or completes anything else.
//! 2. An attempt that ends *because of failed checkpoints* ends after one too many.
//!
//! Which ends are because of failed checkpoints is known by their cause, which names the checkpoint as
//! [`CAUSE`]. Does not check that a failed job was right to fail: restarts are another matter.
//!
//! [`FailureReason::counting`]: cofferdam_engine::reason::FailureReason::counting

use crate::case::{Case, Property, Violation};
use crate::history::{Incarnation, What};
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, CheckpointId};
use cofferdam_engine::reason::Counting;
use std::collections::BTreeMap;

const NAME: &str = "tolerable-failures";

/// What the cause of an attempt's failure says if failed checkpoints are the cause.
pub const CAUSE: &str = "checkpoint(s) in a row failed";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "failed checkpoints end an attempt if and only if there are more in a row than are tolerated",
    source: "Flink: tolerable-failed-checkpoints",
    judge,
};

/// What one coordinator has been through.
#[derive(Default)]
struct Count {
    live: Option<Attempt>,
    failures: u32,
    succeeded: CheckpointId,
    /// One too many, not yet acted upon.
    exceeded: Option<CheckpointId>,
}

fn judge(case: &Case<'_>) -> Option<Violation> {
    let tolerable = case.job.config.checkpoints.tolerable_failures;
    let mut counts: BTreeMap<Incarnation, Count> = BTreeMap::new();
    case.ledger().protocol.iter().find_map(|&at| {
        let entry = &case.history.entries[at];
        let What::Claim(event) = &entry.what else { return None };
        let (subject, message) = match event {
            Event::AttemptDeployed { .. }
            | Event::AttemptFailed { .. }
            | Event::CheckpointTriggered { .. }
            | Event::CompletionDurable { .. }
            | Event::CheckpointAborted { .. } => counts.entry(entry.by).or_default().on_claim(event, tolerable)?,
            _ => return None,
        };
        Some(Violation::new(NAME, at, subject, message))
    })
}

impl Count {
    fn on_claim(&mut self, event: &Event, tolerable: u32) -> Option<(String, String)> {
        match event {
            Event::AttemptDeployed { attempt, .. } => {
                self.live = Some(*attempt);
                None
            }
            Event::AttemptFailed { attempt, cause } => {
                self.live = None;
                let exceeded = self.exceeded.take();
                (cause.contains(CAUSE) && exceeded.is_none()).then(|| {
                    let message = format!("ends although {tolerable} failures in a row are tolerated: {cause}");
                    (attempt.to_string(), message)
                })
            }
            Event::CheckpointTriggered { checkpoint, .. } => self.goes_on(*checkpoint, "is triggered", tolerable),
            Event::CompletionDurable { checkpoint, .. } => {
                (self.failures, self.succeeded) = (0, *checkpoint);
                self.goes_on(*checkpoint, "completes", tolerable)
            }
            Event::CheckpointAborted { checkpoint, reason } => {
                let counts = reason.counting() == Counting::Counted && *checkpoint > self.succeeded;
                if counts && self.live.is_some() {
                    self.failures += 1;
                    if self.failures > tolerable {
                        (self.failures, self.exceeded) = (0, Some(*checkpoint));
                    }
                }
                None
            }
            _ => None,
        }
    }

    fn goes_on(&self, checkpoint: CheckpointId, does: &str, tolerable: u32) -> Option<(String, String)> {
        let (exceeded, live) = (self.exceeded?, self.live?);
        let message = format!(
            "{does} although {live} had to end with the failure of {exceeded}: {tolerable} in a row are tolerated"
        );
        Some((checkpoint.to_string(), message))
    }
}

#[cfg(test)]
mod tests {
    use super::{CAUSE, NAME};
    use crate::history::Process;
    use crate::story::Story;
    use cofferdam_engine::event::Event;
    use cofferdam_engine::reason::FailureReason;

    fn failing(tolerable: u32, times: u32) -> Story {
        let mut story = Story::begun();
        story.job.config.checkpoints.tolerable_failures = tolerable;
        for _ in 0..times {
            story.trigger();
            story.abort(FailureReason::Expired);
        }
        story
    }

    fn fail(story: &mut Story) {
        let (attempt, cause) = (story.attempt(), format!("checkpointing: 2 {CAUSE}"));
        story.claim(Process::COORDINATOR, Event::AttemptFailed { attempt, cause });
    }

    #[test]
    fn failures_that_are_tolerated_pass_and_so_does_one_too_many_that_ends_the_attempt() {
        let mut story = failing(2, 2);
        story.checkpoint();
        story.trigger();
        story.abort(FailureReason::Expired);
        story.checkpoint();
        assert_eq!(story.judge(), []);

        let mut story = failing(1, 2);
        fail(&mut story);
        story.deploy();
        story.checkpoint();
        assert_eq!(story.judge(), []);
    }

    #[test]
    fn an_attempt_that_goes_on_after_one_too_many_convicts() {
        let mut story = failing(1, 2);
        story.checkpoint();
        let violation = story.judge_by(NAME).expect("a conviction");
        assert_eq!(violation.subject, "chk-3");
        assert!(violation.message.starts_with("is triggered although a1.1 had to end with the failure of chk-2"));
    }

    #[test]
    fn an_attempt_that_ends_on_a_tolerated_failure_convicts() {
        let mut story = failing(2, 2);
        fail(&mut story);
        let violation = story.judge_by(NAME).expect("a conviction");
        assert!(violation.message.starts_with("ends although 2 failures in a row are tolerated"), "{violation}");
    }

    #[test]
    fn what_is_part_of_ordinary_life_does_not_count() {
        let mut story = failing(0, 0);
        story.trigger();
        story.abort(FailureReason::TaskClosing);
        story.checkpoint();
        assert_eq!(story.judge(), []);
    }
}

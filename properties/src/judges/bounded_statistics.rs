//! Bounded statistics: what a coordinator counts is what happened, and what it remembers does not grow with the job.
//!
//! Source: Flink, *Monitoring Checkpointing* ("History": the ten most recent checkpoints). Whoever operates a job decides
//! by these numbers; and a coordinator that remembers every checkpoint of a year runs out of memory.
//!
//! Per leadership, each time the coordinator says what its statistics hold:
//! 1. triggered, completed and failed are the claims of before, and the rest of the triggered is in progress;
//! 2. it has restored as often as it has deployed an attempt with a checkpoint;
//! 3. one by one it remembers those in progress, and no more than [`HISTORY_MAX`] others.
//!
//! Does not check sizes and durations.

use crate::case::{Case, Property, Violation};
use crate::history::{Incarnation, What};
use cofferdam_engine::event::Event;
use std::collections::BTreeMap;

const NAME: &str = "bounded-statistics";

/// Checkpoints that have ended and are remembered.
pub const HISTORY_MAX: u64 = 10;

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "statistics count what happened, and remember a bounded part of it",
    source: "Flink: Monitoring Checkpointing",
    judge,
};

/// What one leadership has claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    triggered: u64,
    completed: u64,
    failed: u64,
    restored: u64,
}

fn judge(case: &Case<'_>) -> Option<Violation> {
    let mut leaders: BTreeMap<Incarnation, Counts> = BTreeMap::new();
    case.ledger().coordination.iter().find_map(|&at| {
        let entry = &case.history.entries[at];
        let What::Claim(event) = &entry.what else { return None };
        match event {
            Event::LeadershipTaken { .. } => drop(leaders.remove(&entry.by)),
            Event::CheckpointTriggered { .. } => leaders.entry(entry.by).or_default().triggered += 1,
            Event::CompletionDurable { .. } => leaders.entry(entry.by).or_default().completed += 1,
            Event::CheckpointAborted { .. } => leaders.entry(entry.by).or_default().failed += 1,
            Event::AttemptDeployed { restore: Some(_), .. } => leaders.entry(entry.by).or_default().restored += 1,
            Event::StatisticsKept { .. } => {
                let message = leaders.entry(entry.by).or_default().wrong(event)?;
                return Some(Violation::new(NAME, at, entry.by.process, message));
            }
            _ => {}
        }
        None
    })
}

impl Counts {
    /// What is wrong with what a coordinator says of its statistics.
    fn wrong(&self, event: &Event) -> Option<String> {
        let Event::StatisticsKept { triggered, in_progress, completed, failed, restored, remembered } = *event else {
            return None;
        };
        let kept = Self { triggered, completed, failed, restored };
        if kept != *self {
            return Some(format!("counts {}; there were {}", kept.show(), self.show()));
        }
        let open = triggered - (completed + failed).min(triggered);
        if in_progress != open {
            return Some(format!("counts {in_progress} in progress, of {triggered} triggered {open} have not ended"));
        }
        (remembered > HISTORY_MAX + in_progress).then(|| {
            format!("remembers {remembered} checkpoints: {in_progress} in progress, and more than {HISTORY_MAX} others")
        })
    }

    fn show(&self) -> String {
        let Self { triggered, completed, failed, restored } = self;
        format!("{triggered} triggered, {completed} completed, {failed} failed, {restored} restored")
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::history::Process;
    use crate::story::Story;
    use cofferdam_engine::event::Event;
    use cofferdam_engine::reason::FailureReason;

    /// Three checkpoints, one of which failed and one of which is pending, and what the statistics say.
    fn kept([triggered, in_progress, completed, failed, restored, remembered]: [u64; 6]) -> Story {
        let mut story = Story::begun();
        story.checkpoint();
        story.deploy();
        story.trigger();
        story.abort(FailureReason::TaskClosing);
        story.trigger();
        let event = Event::StatisticsKept { triggered, in_progress, completed, failed, restored, remembered };
        story.claim(Process::COORDINATOR, event);
        story
    }

    fn message(counts: [u64; 6]) -> String {
        kept(counts).judge_by(NAME).expect("a conviction").message
    }

    #[test]
    fn what_happened_passes() {
        assert_eq!(kept([3, 1, 1, 1, 1, 3]).judge(), []);
    }

    #[test]
    fn a_failure_that_is_not_counted_convicts() {
        let expected = "counts 3 triggered, 1 completed, 0 failed, 1 restored; \
                        there were 3 triggered, 1 completed, 1 failed, 1 restored";
        assert_eq!(message([3, 2, 1, 0, 1, 3]), expected);
    }

    #[test]
    fn one_in_progress_that_has_ended_convicts() {
        assert_eq!(message([3, 2, 1, 1, 1, 3]), "counts 2 in progress, of 3 triggered 1 have not ended");
    }

    #[test]
    fn a_history_that_grows_convicts() {
        assert_eq!(message([3, 1, 1, 1, 1, 12]), "remembers 12 checkpoints: 1 in progress, and more than 10 others");
    }
}

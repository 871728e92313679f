//! Checkpoint pacing: no more checkpoints are pending than may be, and between two of them there is time to work.
//!
//! Source: Flink, *max-concurrent-checkpoints* and *min-pause*. Without them a slow storage gets ever more checkpoints to
//! store, and the job does nothing but take them.
//!
//! Per coordinator:
//! 1. at most `max_concurrent` checkpoints are triggered and neither completed nor aborted; with a pause, one;
//! 2. from a completion to the next trigger passes `min_pause`, by the coordinator's clock: a [tenth](LEEWAY) of it is
//!    put down to a clock that runs fast. Not once every subtask has ended its input, for then the final checkpoint
//!    follows at once.
//!
//! Checkpoints that somebody asks for by hand do not keep to the pause; histories of jobs in which somebody does are not
//! for this judge. Does not check that checkpoints come often enough, nor the back-pressure of the cleaner.

use crate::case::{Case, Property, Violation};
use crate::history::{Incarnation, What};
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, CheckpointId, SubtaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NAME: &str = "checkpoint-pacing";

/// How much of a pause a fast clock may swallow: one part in so many.
const LEEWAY: u32 = 10;

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "no more checkpoints are pending than may be, and after each one there is a pause",
    source: "Flink: max-concurrent-checkpoints, min-pause",
    judge,
};

/// The checkpoints of one coordinator.
#[derive(Default)]
struct Pace {
    pending: BTreeSet<CheckpointId>,
    completed: Option<(CheckpointId, u64)>,
}

fn judge(case: &Case<'_>) -> Option<Violation> {
    let config = &case.job.config.checkpoints;
    let (pause, most) = match config.min_pause {
        Duration::ZERO => (0, config.max_concurrent),
        pause => (u64::try_from((pause - pause / LEEWAY).as_nanos()).unwrap_or(u64::MAX), 1),
    };
    let subtasks = case.job.graph.subtasks().len();
    let mut ended: BTreeSet<(Attempt, SubtaskId)> = BTreeSet::new();
    let mut paces: BTreeMap<Incarnation, Pace> = BTreeMap::new();
    case.ledger().protocol.iter().find_map(|&at| {
        let entry = &case.history.entries[at];
        let What::Claim(event) = &entry.what else { return None };
        match *event {
            Event::InputEnded { attempt, subtask } | Event::Restored { attempt, subtask, ended: true, .. } => {
                ended.insert((attempt, subtask));
                None
            }
            Event::CheckpointTriggered { attempt, checkpoint } => {
                let is_final = || ended.iter().filter(|(of, _)| *of == attempt).count() == subtasks;
                let pace = paces.entry(entry.by).or_default();
                let wrong =
                    pace.on_triggered(checkpoint, entry.time, pause, most).filter(|wrong| wrong.always || !is_final());
                Some(Violation::new(NAME, at, checkpoint, wrong?.message))
            }
            Event::CompletionDurable { checkpoint, .. } => {
                let pace = paces.entry(entry.by).or_default();
                pace.pending.remove(&checkpoint);
                pace.completed = Some((checkpoint, entry.time));
                None
            }
            Event::CheckpointAborted { checkpoint, .. } => {
                paces.entry(entry.by).or_default().pending.remove(&checkpoint);
                None
            }
            _ => None,
        }
    })
}

/// What is wrong with a trigger.
struct Wrong {
    message: String,
    /// With the final checkpoint too.
    always: bool,
}

impl Pace {
    fn on_triggered(&mut self, checkpoint: CheckpointId, now: u64, pause: u64, most: usize) -> Option<Wrong> {
        self.pending.insert(checkpoint);
        if self.pending.len() > most {
            let pending: Vec<String> = self.pending.iter().map(ToString::to_string).collect();
            let message = format!("is one too many: {} are pending, {most} may be", pending.join(", "));
            return Some(Wrong { message, always: true });
        }
        let (completed, at) = self.completed?;
        let passed = now.saturating_sub(at);
        (passed < pause).then(|| {
            let (passed, pause) = (Duration::from_nanos(passed), Duration::from_nanos(pause));
            let message =
                format!("is triggered {passed:?} after {completed} completed, at least {pause:?} should pass");
            Wrong { message, always: false }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::story::Story;
    use cofferdam_engine::reason::FailureReason;
    use std::time::Duration;

    /// In a story each entry takes a microsecond.
    fn with_a_pause_of(micros: u64) -> Story {
        let mut story = Story::begun();
        story.job.config.checkpoints.min_pause = Duration::from_micros(micros);
        story
    }

    #[test]
    fn checkpoints_with_a_pause_between_them_pass_and_the_final_one_need_not_wait() {
        let mut story = with_a_pause_of(6);
        story.checkpoint();
        (0..6).for_each(|_| story.emit(0, 1));
        story.checkpoint();
        story.emit(1, 6);
        story.end_input();
        story.checkpoint();
        story.checkpoint();
        assert_eq!(story.judge(), []);
    }

    #[test]
    fn a_checkpoint_on_the_heels_of_another_convicts() {
        let mut story = with_a_pause_of(6);
        story.checkpoint();
        story.checkpoint();
        let violation = story.judge_by(NAME).expect("a conviction");
        assert!(violation.message.contains("after chk-1 completed, at least 5.4"), "{violation}");
    }

    #[test]
    fn an_abort_makes_room() {
        let mut story = Story::begun();
        story.trigger();
        story.abort(FailureReason::Cancelled);
        story.checkpoint();
        assert_eq!(story.judge(), []);
    }

    #[test]
    fn one_pending_too_many_convicts() {
        let mut story = Story::begun();
        story.job.config.checkpoints.max_concurrent = 2;
        story.trigger();
        story.trigger();
        assert_eq!(story.judge_by(NAME), None);
        story.trigger();
        let violation = story.judge_by(NAME).expect("a conviction");
        assert_eq!(violation.message, "is one too many: chk-1, chk-2, chk-3 are pending, 2 may be");
    }
}

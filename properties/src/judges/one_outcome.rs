//! One outcome: a triggered checkpoint completes or is aborted, once, and nobody hears of anything else.
//!
//! Source: order rules O6 and O9; FLINK-22494, FLINK-25958. Sinks make output visible on a completion and go on without
//! it after an abort: whoever hears of both, or of what did not happen, shows too much or too little.
//!
//! Per coordinator, in the order of its claims:
//! 1. a checkpoint ends after it was triggered, and ends once: `CompletionDurable` or `CheckpointAborted`;
//! 2. an aborted one has no slot, and never gets one later;
//! 3. acks are counted while it is pending, one of each subtask;
//! 4. a completion is notified after its `CompletionDurable`, and an abort reaches a subtask after its
//!    `CheckpointAborted`;
//! 5. when an attempt is deployed nothing of the one before in its leadership is pending;
//! 6. a checkpoint that is aborted for a reason that only a subtask has was declined by one, for that reason
//!    (FLINK-18336);
//! 7. a checkpoint is declined because a subtask is finished only if it has finished, in the attempt that runs.
//!
//! Does not check that notifications arrive: they may be lost. Nor how many checkpoints fail.

use crate::case::{Case, Property, Violation};
use crate::history::{Incarnation, What};
use crate::ledger::Ledger;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, CheckpointId, Generation, SubtaskId};
use cofferdam_engine::reason::FailureReason;
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "one-outcome";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "a triggered checkpoint completes or is aborted, once, and only what happened is notified",
    source: "order rules O6, O9; FLINK-22494",
    judge,
};

/// How a checkpoint stands at the coordinator that triggered it.
enum Standing {
    Pending { by: Incarnation, of: Generation, acks: BTreeSet<SubtaskId> },
    Completed,
    Aborted,
}

fn judge(case: &Case<'_>) -> Option<Violation> {
    let ledger = case.ledger();
    let mut checkpoints = BTreeMap::new();
    let mut declines = Declines::default();
    let claimed = ledger.protocol.iter().find_map(|&at| {
        let entry = &case.history.entries[at];
        let What::Claim(event) = &entry.what else { return None };
        let undeclined = || undeclined(&mut declines, event);
        let (checkpoint, message) = wrong(ledger, &mut checkpoints, at, entry.by, event).or_else(undeclined)?;
        Some(Violation::new(NAME, at, checkpoint, message))
    });
    let landed = ledger.completed.iter().find_map(|completed| {
        let (aborted, _) = ledger.aborted.iter().find(|(at, id)| *id == completed.checkpoint && *at < completed.at)?;
        let message = format!("becomes durable in slot {} after it was aborted at {aborted}", completed.slot);
        Some(Violation::new(NAME, completed.at, completed.checkpoint, message))
    });
    [claimed, landed].into_iter().flatten().min_by_key(|violation| violation.at)
}

/// What is wrong with a claim, and of which checkpoint.
fn wrong(
    ledger: &Ledger<'_>,
    checkpoints: &mut BTreeMap<CheckpointId, Standing>,
    at: usize,
    by: Incarnation,
    event: &Event,
) -> Option<(CheckpointId, String)> {
    match *event {
        Event::CheckpointTriggered { attempt, checkpoint } => {
            let pending = Standing::Pending { by, of: attempt.generation, acks: BTreeSet::new() };
            let before = checkpoints.insert(checkpoint, pending);
            before.map(|_| (checkpoint, "is triggered a second time".to_owned()))
        }
        Event::AckReceived { checkpoint, subtask, .. } => {
            let message = match checkpoints.get_mut(&checkpoint) {
                Some(Standing::Pending { acks, .. }) => {
                    if acks.insert(subtask) {
                        return None;
                    }
                    format!("counts a second ack of {subtask}")
                }
                Some(ended) => format!("counts an ack of {subtask} after it {}", ended.show()),
                None => format!("counts an ack of {subtask}, but was never triggered"),
            };
            Some((checkpoint, message))
        }
        Event::CompletionDurable { checkpoint, .. } => {
            let before = checkpoints.insert(checkpoint, Standing::Completed);
            Some((checkpoint, ends_wrongly(before, by, "completes")?))
        }
        Event::CheckpointAborted { checkpoint, .. } => {
            let before = checkpoints.insert(checkpoint, Standing::Aborted);
            let durable = ledger
                .completed_at(checkpoint, at)
                .map(|completed| format!("is aborted although slot {} has made it durable", completed.slot));
            Some((checkpoint, ends_wrongly(before, by, "is aborted").or(durable)?))
        }
        Event::NotifySent { checkpoint, worker, .. } => {
            let completed = matches!(checkpoints.get(&checkpoint), Some(Standing::Completed));
            (!completed).then(|| (checkpoint, format!("is notified to {worker} as complete before it is")))
        }
        Event::AbortReceived { checkpoint, subtask, .. } => {
            let aborted = matches!(checkpoints.get(&checkpoint), Some(Standing::Aborted));
            (!aborted).then(|| (checkpoint, format!("is given up by {subtask} on an abort that was never announced")))
        }
        Event::AttemptDeployed { attempt, .. } => {
            let of_it =
                |standing: &Standing| matches!(standing, Standing::Pending { of, .. } if *of == attempt.generation);
            let (checkpoint, _) = checkpoints.iter().find(|(_, standing)| of_it(standing))?;
            Some((*checkpoint, format!("is still pending when {attempt} is deployed")))
        }
        _ => None,
    }
}

/// What subtasks have declined, and which of them have finished.
#[derive(Default)]
struct Declines {
    sent: BTreeSet<(CheckpointId, &'static str)>,
    finished: BTreeSet<(Attempt, SubtaskId)>,
}

/// An abort for what a subtask is said to have declined it for, and none did; or a decline for an end that never came.
fn undeclined(declines: &mut Declines, event: &Event) -> Option<(CheckpointId, String)> {
    match event {
        Event::SubtaskFinished { attempt, subtask } => {
            declines.finished.insert((*attempt, *subtask));
            None
        }
        Event::DeclineSent { attempt, subtask, checkpoint, reason } => {
            declines.sent.insert((*checkpoint, reason.name()));
            let ended = *reason != FailureReason::TaskClosing || declines.finished.contains(&(*attempt, *subtask));
            (!ended).then(|| {
                (
                    *checkpoint,
                    format!("is declined because {subtask} has finished, which it has not in attempt {attempt}"),
                )
            })
        }
        Event::CheckpointAborted { checkpoint, reason } => {
            let declined = match reason {
                FailureReason::PrepareFailed(_)
                | FailureReason::UploadFailed(_)
                | FailureReason::Overtaken
                | FailureReason::Cancelled
                | FailureReason::NotReady => declines.sent.contains(&(*checkpoint, reason.name())),
                FailureReason::Expired
                | FailureReason::FinalizeFailed(_)
                | FailureReason::Subsumed { .. }
                | FailureReason::TaskClosing
                | FailureReason::AttemptOver(_) => true,
            };
            (!declined)
                .then(|| (*checkpoint, format!("is aborted ({reason}), but no subtask has declined it for that")))
        }
        _ => None,
    }
}

fn ends_wrongly(before: Option<Standing>, by: Incarnation, how: &str) -> Option<String> {
    match before {
        Some(Standing::Pending { by: triggered, .. }) if triggered == by => None,
        Some(Standing::Pending { by: triggered, .. }) => {
            Some(format!("{how} by {} {}, which did not trigger it", triggered.process, triggered.number))
        }
        Some(ended) => Some(format!("{how} after it {}", ended.show())),
        None => Some(format!("{how}, but was never triggered")),
    }
}

impl Standing {
    fn show(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "was triggered",
            Self::Completed => "had completed",
            Self::Aborted => "had been aborted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::history::{Process, What};
    use crate::story::{Story, worker};
    use cofferdam_engine::event::Event;
    use cofferdam_engine::ids::{CheckpointId, WorkerId};
    use cofferdam_engine::reason::FailureReason;

    fn message(story: &Story) -> String {
        story.judge_by(NAME).expect("a conviction").message
    }

    fn notify(story: &mut Story, checkpoint: CheckpointId) {
        let attempt = story.attempt();
        story.claim(Process::COORDINATOR, Event::NotifySent { attempt, checkpoint, worker: WorkerId(0) });
    }

    #[test]
    fn one_that_completes_and_one_that_is_aborted_pass() {
        let mut story = Story::begun();
        let completed = story.checkpoint();
        notify(&mut story, completed);
        let aborted = story.trigger();
        story.snapshot(0);
        let (attempt, subtask, reason) = (story.attempt(), story.subtask(0), FailureReason::Cancelled);
        story.claim(worker(0), Event::DeclineSent { attempt, subtask, checkpoint: aborted, reason: reason.clone() });
        story.abort(reason);
        story.claim(worker(0), Event::AbortReceived { attempt, subtask, checkpoint: aborted });
        story.checkpoint();
        assert_eq!(story.judge(), []);
    }

    #[test]
    fn an_abort_for_what_another_checkpoint_was_declined_for_convicts() {
        let mut story = Story::begun();
        let (attempt, subtask) = (story.attempt(), story.subtask(0));
        let (checkpoint, reason) = (story.checkpoint(), FailureReason::UploadFailed("no room".to_owned()));
        story.claim(worker(0), Event::DeclineSent { attempt, subtask, checkpoint, reason: reason.clone() });
        story.trigger();
        story.abort(reason);
        assert!(message(&story).ends_with("but no subtask has declined it for that"));
    }

    #[test]
    fn a_decline_for_an_end_that_another_attempt_came_to_convicts() {
        let mut story = Story::begun();
        let declined = |story: &mut Story| {
            let (attempt, subtask) = (story.attempt(), story.subtask(0));
            let (checkpoint, reason) = (story.trigger(), FailureReason::TaskClosing);
            story.claim(worker(0), Event::DeclineSent { attempt, subtask, checkpoint, reason: reason.clone() });
            story.abort(reason);
        };
        let (attempt, subtask) = (story.attempt(), story.subtask(0));
        story.claim(worker(0), Event::SubtaskFinished { attempt, subtask });
        declined(&mut story);
        assert_eq!(story.judge_by(NAME), None);
        story.deploy();
        declined(&mut story);
        assert!(message(&story).contains("which it has not in attempt"));
    }

    #[test]
    fn an_abort_of_what_is_durable_convicts() {
        let mut story = Story::begun();
        story.trigger();
        story.snapshot_all();
        story.complete();
        story.falsify(|event| match event {
            Event::CompletionDurable { checkpoint, .. } => {
                *event = Event::CheckpointAborted { checkpoint: *checkpoint, reason: FailureReason::Expired };
                true
            }
            _ => false,
        });
        assert_eq!(message(&story), "is aborted although slot 2 has made it durable");
    }

    #[test]
    fn a_slot_that_lands_after_the_abort_convicts() {
        let mut story = Story::begun();
        story.trigger();
        story.snapshot_all();
        let (checkpoint, reason) = (CheckpointId(1), FailureReason::FinalizeFailed("no reply".to_owned()));
        story.claim(Process::COORDINATOR, Event::CheckpointAborted { checkpoint, reason });
        story.complete();
        story.history.entries.pop();
        assert!(message(&story).starts_with("becomes durable in slot 2 after it was aborted"));
    }

    #[test]
    fn a_second_end_convicts() {
        let mut story = Story::begun();
        story.checkpoint();
        story.claim(
            Process::COORDINATOR,
            Event::CheckpointAborted { checkpoint: CheckpointId(1), reason: FailureReason::TaskClosing },
        );
        assert_eq!(message(&story), "is aborted after it had completed");
    }

    #[test]
    fn a_notification_before_the_completion_convicts() {
        let mut story = Story::begun();
        let checkpoint = story.trigger();
        story.snapshot_all();
        notify(&mut story, checkpoint);
        story.complete();
        assert_eq!(message(&story), "is notified to worker-0 as complete before it is");
    }

    #[test]
    fn an_abort_that_a_subtask_made_up_convicts() {
        let mut story = Story::begun();
        let checkpoint = story.checkpoint();
        let (attempt, subtask) = (story.attempt(), story.subtask(0));
        story.claim(worker(0), Event::AbortReceived { attempt, subtask, checkpoint });
        assert_eq!(message(&story), "is given up by op-0[0] on an abort that was never announced");
    }

    #[test]
    fn an_ack_that_counts_twice_convicts() {
        let mut story = Story::begun();
        story.trigger();
        story.snapshot_all();
        let again = story.find(|what| matches!(what, What::Claim(Event::AckReceived { .. })));
        let again = story.history.entries[again].clone();
        story.history.entries.push(again);
        assert_eq!(message(&story), "counts a second ack of op-0[0]");
    }

    #[test]
    fn a_checkpoint_left_pending_by_the_attempt_before_convicts() {
        let mut story = Story::begun();
        story.trigger();
        story.deploy_without_cleaning();
        assert_eq!(message(&story), "is still pending when a1.2 is deployed");
    }
}

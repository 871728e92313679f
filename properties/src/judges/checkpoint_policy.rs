//! Checkpoint policy: checkpoints are triggered, and failures put up with, as the job is configured.
//!
//! Source: Flink, *Checkpointing* (`min-pause`, `max-concurrent-checkpoints`, `tolerable-failed-checkpoints`) and its
//! `CheckpointFailureManager` for what counts. Per leadership:
//! 1. at most `max_concurrent` checkpoints are pending, one if there is a pause;
//! 2. no checkpoint is triggered sooner than the pause after the last completion, unless somebody has asked for one, or every
//!    subtask has ended its input: the final one is due at once. Half the pause is enough, so that a clock that drifts convicts nobody;
//! 3. an attempt fails by its checkpoints only after more than `tolerable_failures` counted ones in a row, and then at once:
//!    no other checkpoint is triggered in it. A completion starts the count afresh;
//! 4. no checkpoint is triggered before every subtask of the attempt has restored, nor behind the last one of it.
//!
//! Does not say when a checkpoint must be triggered: `progress-after-healing` notices if none is.

use crate::case::{Case, Property, Violation};
use crate::history::{Fact, Incarnation, Process, What};
use cofferdam_engine::config::CheckpointConfig;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, CheckpointId, SubtaskId};
use cofferdam_engine::messages::client::Wish;
use cofferdam_engine::reason::Counting;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NAME: &str = "checkpoint-policy";

/// How the cause of a failure by checkpoints begins.
const BLAMED: &str = "checkpointing: ";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "checkpoints are triggered, and their failures put up with, as configured",
    source: "Flink: Checkpointing; CheckpointFailureManager",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let config = &case.job.config.checkpoints;
    let subtasks = case.job.graph.subtasks().len();
    let mut leaders: BTreeMap<Incarnation, Leader> = BTreeMap::new();
    let mut ended: BTreeMap<Attempt, BTreeSet<SubtaskId>> = BTreeMap::new();
    let mut restored: BTreeMap<Attempt, BTreeSet<SubtaskId>> = BTreeMap::new();
    for &at in &case.ledger().protocol {
        let entry = &case.history.entries[at];
        match &entry.what {
            What::Claim(Event::InputEnded { attempt, subtask }) => {
                ended.entry(*attempt).or_default().insert(*subtask);
            }
            What::Claim(Event::Restored { attempt, subtask, ended: has_ended, .. }) => {
                restored.entry(*attempt).or_default().insert(*subtask);
                if *has_ended {
                    ended.entry(*attempt).or_default().insert(*subtask);
                }
            }
            // Nothing else that a worker says is about the policy.
            What::Claim(_) if !matches!(entry.by.process, Process::Coordinator(_)) => {}
            What::Claim(Event::LeadershipTaken { .. }) => drop(leaders.remove(&entry.by)),
            What::Claim(event) => {
                let leader = leaders.entry(entry.by).or_default();
                if let Event::CheckpointTriggered { attempt, checkpoint } = event {
                    let missing = subtasks - restored.get(attempt).map_or(0, BTreeSet::len);
                    let early = (missing > 0).then(|| format!("triggered before {missing} subtask(s) have restored"));
                    let wrong = early.or_else(|| leader.judge_behind_last(*attempt));
                    if let Some(message) = wrong {
                        return Some(Violation::new(NAME, at, checkpoint, message));
                    }
                }
                let of = |attempt| ended.get(&attempt).map_or(0, BTreeSet::len) == subtasks;
                if let Some((checkpoint, message)) = leader.on_event(config, entry.time, event, of) {
                    return Some(Violation::new(NAME, at, checkpoint, message));
                }
            }
            What::Fact(Fact::Crashed) => {
                leaders.remove(&entry.by);
            }
            What::Fact(_) => {}
        }
    }
    None
}

/// What one leadership has done.
#[derive(Default)]
struct Leader {
    attempt: Option<Attempt>,
    pending: BTreeMap<CheckpointId, Attempt>,
    completed: Option<(CheckpointId, u64)>,
    /// The last checkpoint of an attempt, once it is durable.
    last: Option<(Attempt, CheckpointId)>,
    /// Counted failures in a row.
    failures: u32,
    last_failed: Option<CheckpointId>,
    requests: Requests,
}

/// Who waits for a checkpoint by hand, which waits for no pause.
#[derive(Default)]
struct Requests {
    open: BTreeSet<u64>,
    /// Of those whose client has gone one may just be triggered.
    withdrawn: bool,
}

impl Requests {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::LeadershipTaken { .. } => *self = Self::default(),
            Event::RequestReceived { request, wish: Wish::Checkpoint } => {
                self.open.insert(*request);
            }
            Event::RequestAnswered { request, .. } => {
                self.open.remove(request);
            }
            Event::RequestWithdrawn { request } => self.withdrawn |= self.open.remove(request),
            _ => {}
        }
    }

    /// A checkpoint is triggered; says whether it may be for one of them.
    fn on_triggered(&mut self) -> bool {
        std::mem::take(&mut self.withdrawn) || !self.open.is_empty()
    }
}

impl Leader {
    fn on_event(
        &mut self,
        config: &CheckpointConfig,
        time: u64,
        event: &Event,
        has_ended: impl Fn(Attempt) -> bool,
    ) -> Option<(CheckpointId, String)> {
        self.requests.on_event(event);
        match event {
            Event::AttemptDeployed { attempt, .. } => self.attempt = Some(*attempt),
            Event::AttemptFailed { cause, .. } => {
                self.attempt = None;
                let failures = self.failures;
                if cause.starts_with(BLAMED) {
                    if failures <= config.tolerable_failures {
                        let checkpoint = self.last_failed.unwrap_or_default();
                        let tolerable = config.tolerable_failures;
                        let message =
                            format!("{failures} counted failures fail the attempt, {tolerable} are tolerated");
                        return Some((checkpoint, message));
                    }
                    self.failures = 0;
                }
            }
            Event::CheckpointTriggered { attempt, checkpoint } => {
                let hurried = self.requests.on_triggered() || has_ended(*attempt);
                let wrong = self.judge_trigger(config, time, hurried);
                self.pending.insert(*checkpoint, *attempt);
                return Some((*checkpoint, wrong?));
            }
            Event::CompletionDurable { checkpoint, last, .. } => {
                let attempt = self.pending.remove(checkpoint);
                self.last = attempt.filter(|_| *last).map(|attempt| (attempt, *checkpoint)).or(self.last);
                self.completed = Some((*checkpoint, time));
                self.failures = 0;
            }
            Event::CheckpointAborted { checkpoint, reason } => {
                let attempt = self.pending.remove(checkpoint);
                let newer = self.completed.is_none_or(|(completed, _)| completed < *checkpoint);
                if reason.counting() == Counting::Counted && attempt == self.attempt && attempt.is_some() && newer {
                    self.failures = self.failures.saturating_add(1);
                    self.last_failed = Some(*checkpoint);
                }
            }
            _ => {}
        }
        None
    }

    fn judge_behind_last(&self, attempt: Attempt) -> Option<String> {
        let (_, last) = self.last.filter(|(of, _)| *of == attempt)?;
        Some(format!("triggered behind {last}, the last of {attempt}"))
    }

    fn judge_trigger(&self, config: &CheckpointConfig, time: u64, hurried: bool) -> Option<String> {
        let max = if config.min_pause.is_zero() { config.max_concurrent } else { 1 };
        if self.pending.len() >= max {
            return Some(format!("triggered while {} were pending, {max} may be", self.pending.len()));
        }
        if self.failures > config.tolerable_failures {
            let tolerable = config.tolerable_failures;
            return Some(format!(
                "triggered after {} counted failures in a row, {tolerable} are tolerated",
                self.failures
            ));
        }
        let (completed, then) = self.completed?;
        let pause = Duration::from_nanos(time.saturating_sub(then));
        let early = !hurried && pause * 2 < config.min_pause;
        early.then(|| format!("triggered {pause:?} after {completed} completed, the pause is {:?}", config.min_pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Story;
    use cofferdam_engine::reason::FailureReason;

    fn message(story: &Story) -> String {
        story.judge_by(NAME).expect("a conviction").message
    }

    fn aborted(story: &mut Story, reason: FailureReason) {
        story.trigger();
        let checkpoint = story.pending.take().expect("triggered").id;
        story.claim(Process::COORDINATOR, Event::CheckpointAborted { checkpoint, reason });
    }

    fn blamed(story: &mut Story) {
        let (attempt, cause) = (story.attempt(), format!("{BLAMED}too many"));
        story.claim(Process::COORDINATOR, Event::AttemptFailed { attempt, cause });
    }

    #[test]
    fn one_checkpoint_after_the_other_passes() {
        assert_eq!(Story::whole().judge_by(NAME), None);
    }

    #[test]
    fn a_second_pending_checkpoint_convicts() {
        let mut story = Story::begun();
        story.trigger();
        story.pending = None;
        story.trigger();
        assert_eq!(message(&story), "triggered while 1 were pending, 1 may be");
    }

    #[test]
    fn a_checkpoint_behind_the_last_convicts() {
        let mut story = Story::begun();
        story.checkpoint();
        story.falsify(|event| match event {
            Event::CompletionDurable { last, .. } => {
                *last = true;
                true
            }
            _ => false,
        });
        assert_eq!(story.judge_by(NAME), None);
        story.trigger();
        assert_eq!(message(&story), "triggered behind chk-1, the last of a1.1");
    }

    #[test]
    fn a_checkpoint_before_all_have_restored_convicts() {
        let mut story = Story::begun();
        story.trigger();
        story.drop_first(|what| matches!(what, What::Claim(Event::Restored { .. })));
        assert_eq!(message(&story), "triggered before 1 subtask(s) have restored");
    }

    #[test]
    fn going_on_after_one_failure_too_many_convicts() {
        let mut story = Story::begun();
        aborted(&mut story, FailureReason::Expired);
        assert_eq!(story.judge_by(NAME), None);
        story.trigger();
        assert_eq!(message(&story), "triggered after 1 counted failures in a row, 0 are tolerated");
    }

    #[test]
    fn a_failure_that_counts_may_fail_the_attempt_and_one_that_does_not_may_not() {
        let mut story = Story::begun();
        aborted(&mut story, FailureReason::Expired);
        blamed(&mut story);
        assert_eq!(story.judge_by(NAME), None);
        let mut story = Story::begun();
        aborted(&mut story, FailureReason::TaskClosing);
        blamed(&mut story);
        assert_eq!(message(&story), "0 counted failures fail the attempt, 0 are tolerated");
    }

    #[test]
    fn a_completion_makes_up_for_the_failures_before_it() {
        let mut story = Story::begun();
        story.trigger();
        let failed = story.pending.take().expect("triggered").id;
        let late = Event::CheckpointAborted { checkpoint: failed, reason: FailureReason::TaskClosing };
        story.claim(Process::COORDINATOR, late);
        story.checkpoint();
        blamed(&mut story);
        assert!(message(&story).starts_with("0 counted failures"));
    }

    #[test]
    fn a_checkpoint_by_hand_waits_for_no_pause_and_the_next_one_does() {
        let mut requests = Requests::default();
        requests.on_event(&Event::RequestReceived { request: 3, wish: Wish::Checkpoint });
        assert!(requests.on_triggered());
        requests.on_event(&Event::RequestWithdrawn { request: 3 });
        assert!(requests.on_triggered(), "it was about to be triggered");
        assert!(!requests.on_triggered());
    }

    #[test]
    fn the_pause_is_counted_from_the_completion() {
        let config = CheckpointConfig {
            min_pause: Duration::from_nanos(100),
            ..cofferdam_engine::config::JobConfig::default().checkpoints
        };
        let leader = Leader { completed: Some((CheckpointId(1), 1000)), ..Leader::default() };
        assert_eq!(leader.judge_trigger(&config, 1100, false), None);
        assert_eq!(leader.judge_trigger(&config, 1020, true), None, "the final one does not wait");
        let early = leader.judge_trigger(&config, 1020, false);
        assert_eq!(early, Some("triggered 20ns after chk-1 completed, the pause is 100ns".to_owned()));
    }
}

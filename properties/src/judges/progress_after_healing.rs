//! Progress after healing: once no fault strikes any more, the job finishes.
//!
//! Source: FLIP-147 for the final checkpoint; the liveness phase of a run.
//!
//! After `Healed` the job's `Finished` slot is durable (the coordinator that wrote it may have died before it could
//! announce the end) and every coordinator that is up returns without an error: the leader, and a standby that sees
//! the job end. If it does not, the violation says where the job is
//! stuck: what failed it, which subtasks have not restored, which acks are missing, who has not reached the end of its
//! input.
//!
//! A job that was cancelled has ended like one that finished; that somebody wanted it is judged by [`super::clean_failure`].
//! A job that failed for good because its restarts were used up ([`super::clean_failure`]) has ended as well.
//!
//! Does not bound time: the run does, by ending. Not judged if the history has no `Healed`.

use crate::case::{Case, Property, Violation};
use crate::history::{Fact, History, Process, What};
use crate::judges::clean_failure::failed_legitimately;
use cofferdam_engine::event::Event;
use cofferdam_engine::graph::JobGraph;
use cofferdam_engine::ids::{Attempt, CheckpointId, SubtaskId};
use cofferdam_engine::reason::Ended;
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "progress-after-healing";

/// The property.
pub const PROPERTY: Property =
    Property { name: NAME, about: "once no fault strikes any more, the job finishes", source: "FLIP-147", judge };

fn judge(case: &Case<'_>) -> Option<Violation> {
    let healed = case.history.entries.iter().any(|entry| entry.what == What::Fact(Fact::Healed));
    if !healed {
        return None;
    }
    if failed_legitimately(case) {
        return None;
    }
    let where_it_stands = Standing::of(case);
    if where_it_stands.finished && matches!(where_it_stands.ended(), Some(Ok(_))) {
        return None;
    }
    let at = case.history.entries.len() - 1;
    Some(Violation::new(NAME, at, &case.job.graph.name, where_it_stands.explain(&case.job.graph, case.history)))
}

/// How a process ended.
type End<'a> = &'a Result<String, String>;

/// Where the newest attempt stands at the end of the history.
#[derive(Default)]
struct Standing<'a> {
    finished: bool,
    failed: Option<&'a str>,
    /// The coordinators that are up, by their newest incarnations, and how they ended.
    coordinators: BTreeMap<Process, (u32, Option<End<'a>>)>,
    attempt: Option<Attempt>,
    failure: Option<&'a str>,
    running: bool,
    restored: BTreeSet<SubtaskId>,
    input_ended: BTreeSet<SubtaskId>,
    done: BTreeSet<SubtaskId>,
    /// By pending checkpoint: who has acknowledged.
    pending: BTreeMap<CheckpointId, BTreeSet<SubtaskId>>,
    completed: Option<CheckpointId>,
    aborts_since: usize,
}

impl<'a> Standing<'a> {
    fn of(case: &Case<'a>) -> Self {
        let finished = case.ledger().ended(|how| matches!(how, Ended::Finished { .. } | Ended::Cancelled)).is_some();
        let mut standing = Self { finished, ..Self::default() };
        for &at in &case.ledger().protocol {
            let entry = &case.history.entries[at];
            match &entry.what {
                What::Claim(event) => standing.on_claim(event),
                What::Fact(fact) if matches!(entry.by.process, Process::Coordinator(_)) => match fact {
                    Fact::Started => drop(standing.coordinators.insert(entry.by.process, (entry.by.number, None))),
                    // Of one that was replaced and went on beside its successor nothing is expected.
                    _ if standing.coordinators.get(&entry.by.process).is_none_or(|up| up.0 != entry.by.number) => {}
                    Fact::Crashed => drop(standing.coordinators.remove(&entry.by.process)),
                    Fact::Ended(result) => {
                        standing.coordinators.insert(entry.by.process, (entry.by.number, Some(result)));
                    }
                    _ => {}
                },
                What::Fact(_) => {}
            }
        }
        standing
    }

    fn on_claim(&mut self, event: &'a Event) {
        match event {
            Event::AttemptDeployed { attempt, .. } if self.attempt < Some(*attempt) => {
                *self = Self {
                    attempt: Some(*attempt),
                    finished: self.finished,
                    coordinators: std::mem::take(&mut self.coordinators),
                    completed: self.completed,
                    aborts_since: self.aborts_since,
                    ..Self::default()
                };
            }
            Event::AttemptRunning { attempt } if self.attempt == Some(*attempt) => self.running = true,
            Event::AttemptFailed { attempt, cause } if self.attempt == Some(*attempt) => self.failure = Some(cause),
            Event::Restored { attempt, subtask, ended, .. } => {
                self.add(*attempt, *subtask, |s| &mut s.restored);
                if *ended {
                    self.add(*attempt, *subtask, |s| &mut s.input_ended);
                }
            }
            Event::InputEnded { attempt, subtask } => self.add(*attempt, *subtask, |s| &mut s.input_ended),
            Event::SubtaskFinished { attempt, subtask } => self.add(*attempt, *subtask, |s| &mut s.done),
            Event::CheckpointTriggered { attempt, checkpoint } if self.attempt == Some(*attempt) => {
                self.pending.insert(*checkpoint, BTreeSet::new());
            }
            Event::AckReceived { checkpoint, subtask, .. } => {
                if let Some(acks) = self.pending.get_mut(checkpoint) {
                    acks.insert(*subtask);
                }
            }
            Event::CompletionDurable { checkpoint, .. } => {
                self.pending.remove(checkpoint);
                self.completed = Some(*checkpoint);
                self.aborts_since = 0;
            }
            Event::CheckpointAborted { checkpoint, .. } => {
                self.pending.remove(checkpoint);
                self.aborts_since += 1;
            }
            Event::JobFailed { cause } => self.failed = Some(cause),
            _ => {}
        }
    }

    /// How those coordinators that are up have ended: all of them without an error, or the first that has not.
    fn ended(&self) -> Option<&'a Result<String, String>> {
        let worst = self.coordinators.values().find(|(_, ended)| !matches!(ended, Some(Ok(_))));
        worst.or(self.coordinators.values().next()).and_then(|(_, ended)| *ended)
    }

    fn add(&mut self, attempt: Attempt, subtask: SubtaskId, to: impl Fn(&mut Self) -> &mut BTreeSet<SubtaskId>) {
        if self.attempt == Some(attempt) {
            to(self).insert(subtask);
        }
    }

    fn explain(&self, graph: &JobGraph, history: &History) -> String {
        let lacking = |have: &BTreeSet<SubtaskId>| {
            let subtasks = graph.subtasks().into_iter().filter(|subtask| !have.contains(subtask));
            subtasks.map(|subtask| graph.show(subtask)).collect::<Vec<_>>().join(", ")
        };
        let end = history.entries.last().map_or(0, |entry| entry.time / 1_000_000);
        let stage = match (self.ended(), self.attempt) {
            (Some(Err(error)), _) => format!("the coordinator ended with an error: {error}"),
            (Some(Ok(_)), _) => "the coordinator ended without announcing that the job is finished".to_owned(),
            _ if self.finished => "the job is finished, but the coordinator has not returned".to_owned(),
            _ if self.failed.is_some() => format!("the job failed: {}", self.failed.expect("just seen")),
            (None, None) => "no attempt was ever deployed".to_owned(),
            (None, Some(attempt)) if self.failure.is_some() => {
                format!("{attempt} failed ({}) and nothing followed", self.failure.expect("just seen"))
            }
            (None, Some(attempt)) if !self.running => {
                format!("{attempt} is not running; not restored: {}", lacking(&self.restored))
            }
            (None, Some(attempt)) => match self.pending.first_key_value() {
                Some((pending, acks)) => {
                    let gone = |subtask: &SubtaskId| acks.contains(subtask) || self.done.contains(subtask);
                    let have = graph.subtasks().into_iter().filter(gone).collect();
                    format!("{attempt} waits for acks of {pending}: {}", lacking(&have))
                }
                None if self.input_ended.len() < graph.subtasks().len() => {
                    format!("{attempt} runs; not at the end of input: {}", lacking(&self.input_ended))
                }
                None => format!("{attempt} has processed its input; not finished: {}", lacking(&self.done)),
            },
        };
        let completed = self.completed.map_or("none".to_owned(), |checkpoint| checkpoint.to_string());
        format!(
            "not finished after {end} ms: {stage} (last completed: {completed}, aborted since: {})",
            self.aborts_since
        )
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::history::{Fact, Process};
    use crate::story::Story;

    fn message(story: &Story) -> String {
        story.judge_by(NAME).expect("a conviction").message
    }

    fn healed() -> Story {
        let mut story = Story::begun();
        story.checkpoint();
        story.fact(Process::COORDINATOR, Fact::Healed);
        story
    }

    #[test]
    fn a_job_that_finishes_passes() {
        let mut story = healed();
        story.finish();
        assert_eq!(story.judge(), []);
    }

    #[test]
    fn a_job_that_is_cancelled_has_ended_once_its_coordinator_has() {
        let mut story = healed();
        story.cancel();
        assert!(message(&story).contains("the coordinator has not returned"));
        story.fact(Process::COORDINATOR, Fact::Ended(Ok("was cancelled".to_owned())));
        assert_eq!(story.judge(), []);
    }

    #[test]
    fn a_run_that_was_never_healed_is_not_judged() {
        assert_eq!(Story::begun().judge_by(NAME), None);
    }

    #[test]
    fn a_checkpoint_that_lacks_acks_is_named() {
        let mut story = healed();
        story.trigger();
        (0..4).for_each(|number| story.snapshot(number));
        assert!(message(&story).contains("a1.1 waits for acks of chk-2: out[0] (last completed: chk-1"));
    }

    #[test]
    fn input_that_does_not_end_is_named() {
        assert!(message(&healed()).contains("a1.1 runs; not at the end of input: numbers[0], numbers[1], sums[0]"));
    }

    #[test]
    fn a_coordinator_that_gave_up_is_named() {
        let mut story = healed();
        story.fact(Process::COORDINATOR, Fact::Ended(Err("no more restarts".to_owned())));
        assert!(message(&story).contains("the coordinator ended with an error: no more restarts"));
    }

    #[test]
    fn a_coordinator_that_crashed_after_the_finish_and_never_came_back_convicts() {
        let mut story = healed();
        story.finish();
        story.start(Process::COORDINATOR);
        assert!(message(&story).contains("the job is finished, but the coordinator has not returned"));
    }
}

//! Rogue reports: a coordinator counts what the subtasks of the job have sent, and nothing else; what no right worker sends costs
//! the connection that it came on, and no other.
//!
//! Source: order rules O2 and O6. Flink's gateways ignore what does not fit; here it is not ignored, because a worker that says it
//! cannot be trusted with the rest.
//!
//! 1. An acknowledgement that a coordinator counts was sent by its subtask, and counts once; a decline was sent, too.
//! 2. An attempt runs once each of its subtasks has restored.
//! 3. A report is rejected only of a worker that has sent a rogue one to this coordinator since it registered there.
//!    A worker rejects nothing that its coordinator sends: there are no rogue coordinators.
//! 4. What a worker acknowledges behind a rogue report, in the attempt of that, does not count before it has registered again.
//!
//! Does not check that a rogue report is rejected which nothing follows, nor what a worker says that lies in order.

use crate::case::{Case, Property, Violation};
use crate::history::{Entry, Fact, Incarnation, Process, What};
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, CheckpointId, SubtaskId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "rogue-reports";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "what a coordinator counts was sent by the subtask, and what no right worker sends costs its connection alone",
    source: "order rules O2, O6; Flink: JobMaster, TaskExecutor gateways",
    judge,
};

type Answer = (Attempt, CheckpointId, SubtaskId);

/// What was said so far.
#[derive(Default)]
struct Said {
    restored: BTreeMap<Attempt, BTreeSet<SubtaskId>>,
    acks: BTreeMap<Answer, (usize, Incarnation)>,
    declines: BTreeSet<Answer>,
    /// By coordinator.
    counted: BTreeSet<(Incarnation, Answer)>,
    /// Rogue reports of each worker to each coordinator since it registered there: where, by whom and beside which attempt.
    rogues: BTreeMap<(Incarnation, WorkerId), Vec<Rogue>>,
}

/// A rogue report.
struct Rogue {
    at: usize,
    by: Incarnation,
    attempt: Attempt,
}

fn judge(case: &Case<'_>) -> Option<Violation> {
    let subtasks = case.job.graph.subtasks();
    let mut said = Said::default();
    case.ledger().protocol.iter().find_map(|&at| {
        let entry = &case.history.entries[at];
        let message = match &entry.what {
            What::Claim(event) => said.on_claim(at, entry, event, &subtasks)?,
            What::Fact(Fact::RogueSent { to, attempt, .. }) => {
                said.on_rogue(at, entry.by, *to, *attempt);
                return None;
            }
            What::Fact(_) => return None,
        };
        Some(Violation::new(NAME, at, entry.by.process, message))
    })
}

impl Said {
    fn on_rogue(&mut self, at: usize, by: Incarnation, to: Incarnation, attempt: Attempt) {
        if let Process::Worker(worker) = by.process {
            self.rogues.entry((to, worker)).or_default().push(Rogue { at, by, attempt });
        }
    }

    /// Says what is wrong with a claim.
    fn on_claim(&mut self, at: usize, entry: &Entry, event: &Event, subtasks: &[SubtaskId]) -> Option<String> {
        let by = entry.by;
        match *event {
            Event::Restored { attempt, subtask, .. } => {
                self.restored.entry(attempt).or_default().insert(subtask);
            }
            Event::AckSent { attempt, checkpoint, subtask, .. } => {
                self.acks.entry((attempt, checkpoint, subtask)).or_insert((at, by));
            }
            Event::DeclineSent { attempt, checkpoint, subtask, .. } => {
                self.declines.insert((attempt, checkpoint, subtask));
            }
            Event::AckReceived { attempt, checkpoint, subtask } => {
                return self.counts(by, (attempt, checkpoint, subtask));
            }
            Event::DeclineReceived { attempt, checkpoint, subtask } => {
                let sent = self.declines.contains(&(attempt, checkpoint, subtask));
                return (!sent).then(|| format!("counts a decline of {checkpoint} by {subtask}, which sent none"));
            }
            Event::AttemptRunning { attempt } => {
                let restored = self.restored.get(&attempt);
                let missing = subtasks.iter().find(|subtask| !restored.is_some_and(|all| all.contains(subtask)))?;
                return Some(format!("lets attempt {attempt} run before {missing} has restored"));
            }
            Event::WorkerRegistered { worker } => drop(self.rogues.remove(&(by, worker))),
            Event::ReportRejected { worker, ref cause, .. } if !self.rogues.contains_key(&(by, worker)) => {
                return Some(format!("rejects a report of {worker}, which has sent none that is wrong: it {cause}"));
            }
            Event::CommandRejected { ref cause, .. } => return Some(format!("rejects its coordinator: {cause}")),
            _ => {}
        }
        None
    }

    /// Says what is wrong with an acknowledgement that counts.
    fn counts(&mut self, by: Incarnation, answer: Answer) -> Option<String> {
        let (attempt, checkpoint, subtask) = answer;
        let Some((sent, sender)) = self.acks.get(&answer) else {
            return Some(format!("counts an acknowledgement of {checkpoint} by {subtask}, which sent none"));
        };
        if !self.counted.insert((by, answer)) {
            return Some(format!("counts the acknowledgement of {checkpoint} by {subtask} twice"));
        }
        let Process::Worker(worker) = sender.process else { return None };
        let rogues = self.rogues.get(&(by, worker)).map_or(&[][..], Vec::as_slice);
        let behind = rogues.iter().any(|rogue| rogue.at < *sent && rogue.by == *sender && rogue.attempt == attempt);
        behind.then(|| {
            format!(
                "counts the acknowledgement of {checkpoint} by {subtask}, which came behind a rogue report of {worker}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Process;
    use crate::story::{Story, worker};

    fn coordinator() -> Incarnation {
        Incarnation { process: Process::COORDINATOR, number: 1 }
    }

    fn rogue(story: &Story) -> What {
        What::Fact(Fact::RogueSent { to: coordinator(), attempt: story.attempt(), what: "something".into() })
    }

    fn rejected(story: &Story) -> Event {
        Event::ReportRejected { worker: WorkerId(0), attempt: story.attempt(), cause: "is rogue".into() }
    }

    /// A story with a checkpoint.
    fn told() -> Story {
        let mut story = Story::begun();
        story.checkpoint();
        story
    }

    fn message(story: &Story) -> String {
        story.judge_by(NAME).expect("a conviction").message
    }

    fn is_ack(what: &What) -> bool {
        matches!(what, What::Claim(Event::AckSent { .. }))
    }

    #[test]
    fn what_was_sent_counts_and_what_is_rogue_is_rejected() {
        let mut story = told();
        assert_eq!(story.judge_by(NAME), None);
        let rogue = rogue(&story);
        story.record(worker(0), rogue);
        let rejected = rejected(&story);
        story.claim(Process::COORDINATOR, rejected);
        assert_eq!(story.judge_by(NAME), None);
    }

    #[test]
    fn an_acknowledgement_that_nobody_sent_convicts() {
        let mut story = told();
        story.drop_first(is_ack);
        assert_eq!(message(&story), "counts an acknowledgement of chk-1 by op-0[0], which sent none");
    }

    #[test]
    fn an_acknowledgement_that_counts_twice_convicts() {
        let mut story = told();
        let at = story.find(|what| matches!(what, What::Claim(Event::AckReceived { .. })));
        let again = story.history.entries[at].what.clone();
        story.insert_before(at, Process::COORDINATOR, again);
        assert_eq!(message(&story), "counts the acknowledgement of chk-1 by op-0[0] twice");
    }

    #[test]
    fn a_decline_that_nobody_sent_convicts() {
        let mut story = told();
        let (attempt, subtask) = (story.attempt(), story.subtask(0));
        let event = Event::DeclineReceived { attempt, checkpoint: CheckpointId(1), subtask };
        story.claim(Process::COORDINATOR, event);
        assert_eq!(message(&story), "counts a decline of chk-1 by op-0[0], which sent none");
    }

    #[test]
    fn an_attempt_that_runs_before_all_have_restored_convicts() {
        let mut story = told();
        story.drop_first(|what| matches!(what, What::Claim(Event::Restored { .. })));
        assert!(message(&story).contains("run before op-0[0] has restored"), "{}", message(&story));
    }

    #[test]
    fn a_right_worker_that_is_rejected_convicts() {
        let mut story = told();
        let event = rejected(&story);
        story.claim(Process::COORDINATOR, event);
        assert_eq!(message(&story), "rejects a report of worker-0, which has sent none that is wrong: it is rogue");
    }

    #[test]
    fn a_right_coordinator_that_is_rejected_convicts() {
        let mut story = told();
        story.claim(worker(1), Event::CommandRejected { worker: WorkerId(1), cause: "it is rogue".into() });
        assert_eq!(message(&story), "rejects its coordinator: it is rogue");
    }

    #[test]
    fn what_comes_behind_a_rogue_report_and_counts_convicts_until_the_worker_registers_again() {
        let mut story = told();
        let (at, what) = (story.find(is_ack), rogue(&story));
        story.insert_before(at, worker(0), what);
        assert!(message(&story).ends_with("came behind a rogue report of worker-0"), "{}", message(&story));
        story.insert_before(at + 1, Process::COORDINATOR, What::Claim(Event::WorkerRegistered { worker: WorkerId(0) }));
        assert_eq!(story.judge_by(NAME), None);
    }
}

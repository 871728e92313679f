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
//! 5. A rogue report of the live attempt that a coordinator reads is rejected, in its turn: the coordinator counts no answer that
//!    any worker has sent after that reading, as long as it has neither rejected the report, nor lost the worker, nor ended
//!    the attempt. Reason: whatever connection a report comes on, a coordinator handles reports in the order of reading.
//!
//! Does not check reports of attempts that are over, which a coordinator may ignore instead, nor what a worker says that lies in
//! order.

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
    declines: BTreeMap<Answer, usize>,
    /// By coordinator.
    counted: BTreeSet<(Incarnation, Answer)>,
    /// Rogue reports of each worker to each coordinator since it registered there: where, by whom and beside which attempt.
    rogues: BTreeMap<(Incarnation, WorkerId), Vec<Rogue>>,
    /// The incarnation of a worker that was seen last.
    last: Option<Incarnation>,
    /// The newest incarnation of every worker.
    newest: BTreeMap<WorkerId, Incarnation>,
    /// By coordinator.
    leaders: BTreeMap<Incarnation, Leader>,
}

/// What a coordinator owes.
#[derive(Default)]
struct Leader {
    /// The attempt that it has deployed, until it fails.
    live: Option<Attempt>,
    registered: BTreeSet<WorkerId>,
    /// Workers of which it has read a rogue report, with the entry, and has not rejected it yet.
    due: BTreeMap<WorkerId, usize>,
}

impl Leader {
    /// An attempt is deployed, or over. Of an earlier one nothing is due any more.
    fn begin(&mut self, live: Option<Attempt>) {
        (self.live, self.due) = (live, BTreeMap::new());
    }

    /// A worker registers, or is lost.
    fn on_worker(&mut self, worker: WorkerId, registered: bool) {
        if registered {
            self.registered.insert(worker);
        } else {
            self.registered.remove(&worker);
        }
        self.due.remove(&worker);
    }
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
        said.on_seen(entry.by);
        let message = match &entry.what {
            What::Claim(event) => {
                said.on_leader(entry.by, event);
                said.on_claim(at, entry, event, &subtasks)?
            }
            What::Fact(Fact::RogueReceived { from, attempt }) => {
                said.on_rogue_read(at, entry.by, *from, *attempt);
                return None;
            }
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
    /// An incarnation is there. Most entries are by the same one as the entry before.
    fn on_seen(&mut self, by: Incarnation) {
        if let Process::Worker(worker) = by.process
            && self.last != Some(by)
        {
            self.last = Some(by);
            let newest = self.newest.entry(worker).or_insert(by);
            *newest = (*newest).max(by);
        }
    }

    fn on_rogue(&mut self, at: usize, by: Incarnation, to: Incarnation, attempt: Attempt) {
        if let Process::Worker(worker) = by.process {
            self.rogues.entry((to, worker)).or_default().push(Rogue { at, by, attempt });
        }
    }

    /// A coordinator reads a rogue report.
    fn on_rogue_read(&mut self, at: usize, by: Incarnation, from: Incarnation, attempt: Attempt) {
        let Process::Worker(worker) = from.process else { return };
        let is_newest = self.newest.get(&worker) == Some(&from);
        let leader = self.leaders.entry(by).or_default();
        // Of a process that is not the registered worker nothing is judged.
        if is_newest && leader.live == Some(attempt) && leader.registered.contains(&worker) {
            leader.due.entry(worker).or_insert(at);
        }
    }

    fn leader(&mut self, by: Incarnation) -> &mut Leader {
        self.leaders.entry(by).or_default()
    }

    /// A coordinator does what it owes, or needs no more.
    fn on_leader(&mut self, by: Incarnation, event: &Event) {
        let Process::Coordinator(_) = by.process else { return };
        // The leader is looked up by the few events that concern it.
        match *event {
            Event::AttemptDeployed { attempt, .. } => self.leader(by).begin(Some(attempt)),
            Event::AttemptFailed { .. } => self.leader(by).begin(None),
            Event::WorkerRegistered { worker } => self.leader(by).on_worker(worker, true),
            Event::WorkerLost { worker } => self.leader(by).on_worker(worker, false),
            Event::ReportRejected { worker, .. } => drop(self.leader(by).due.remove(&worker)),
            _ => {}
        }
    }

    /// Says which rogue report should have been rejected before an answer counts that was sent at `sent`.
    fn overdue(&self, by: Incarnation, sent: usize, (_, checkpoint, subtask): Answer) -> Option<String> {
        let due = &self.leaders.get(&by)?.due;
        let (worker, _) = due.iter().find(|(_, read)| **read < sent)?;
        Some(format!(
            "counts {checkpoint} by {subtask}, and has not rejected a rogue report of {worker} that it read before"
        ))
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
                self.declines.entry((attempt, checkpoint, subtask)).or_insert(at);
            }
            Event::AckReceived { attempt, checkpoint, subtask } => {
                return self.counts(by, (attempt, checkpoint, subtask));
            }
            Event::DeclineReceived { attempt, checkpoint, subtask } => {
                let answer = (attempt, checkpoint, subtask);
                let Some(sent) = self.declines.get(&answer) else {
                    return Some(format!("counts a decline of {checkpoint} by {subtask}, which sent none"));
                };
                return self.overdue(by, *sent, answer);
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
        if let Some(overdue) = self.overdue(by, *sent, answer) {
            return Some(overdue);
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

    /// A story in which a forged report of one worker is read before the other worker acknowledges a checkpoint.
    fn read_before_an_ack() -> (Story, usize) {
        let mut story = told();
        for number in 0..2 {
            let at = story.find(|what| matches!(what, What::Claim(Event::AttemptDeployed { .. })));
            let registered = Event::WorkerRegistered { worker: WorkerId(number) };
            story.insert_before(at, Process::COORDINATOR, What::Claim(registered));
        }
        let other = |entry: &Entry| is_ack(&entry.what) && entry.by.process != worker(0);
        let at = story.history.entries.iter().position(other).expect("the other worker acknowledges");
        let from = Incarnation { process: worker(0), number: 1 };
        let read = Fact::RogueReceived { from, attempt: story.attempt() };
        story.insert_before(at, Process::COORDINATOR, What::Fact(read));
        (story, at)
    }

    #[test]
    fn a_rogue_report_that_is_read_and_not_rejected_convicts() {
        let (mut story, at) = read_before_an_ack();
        assert!(message(&story).ends_with("and has not rejected a rogue report of worker-0 that it read before"));
        let lost = What::Claim(Event::WorkerLost { worker: WorkerId(0) });
        story.insert_before(at + 1, Process::COORDINATOR, lost);
        assert_eq!(story.judge_by(NAME), None, "its connection had gone");
    }

    #[test]
    fn a_rogue_report_of_an_attempt_that_is_over_may_be_ignored() {
        let (mut story, at) = read_before_an_ack();
        let What::Fact(Fact::RogueReceived { attempt, .. }) = &mut story.history.entries[at].what else {
            panic!("it is read there")
        };
        attempt.number += 1;
        assert_eq!(story.judge_by(NAME), None);
    }
}

//! Reports: may this worker say this now? Every report of a worker is judged here before any other core sees it.
//!
//! A worker that has registered is trusted to run the job, not to be free of bugs or to be who it says it is. What no right
//! worker can send is a [`Violation`]: its connection is closed, which ends the attempt as any lost connection does. Judged in
//! this order:
//! 1. The attempt was deployed. Older ones are history: the other cores ignore them.
//! 2. The subtask exists; an acknowledged path is the one that this subtask uses for this checkpoint and attempt; figures and
//!    texts are within bounds. This holds for every attempt.
//! 3. This worker hosts the subtask in the live attempt.
//! 4. The order is possible:
//!    ```text
//!    Restored ── acks and declines, one for each checkpoint triggered at the subtask ── InputEnded ── … ── Finished
//!                                                        a checkpoint that holds the end is durable ──┘
//!    ```
//!    A snapshot has `ended` only behind the end, and so do all later ones. Behind `Finished` only the answers to checkpoints
//!    from before may come: an upload ends on a task of its own, and a trigger may cross the message.
//!
//! Owns: who hosts what, and what each subtask has said. Does not own: what follows from a report, connections.
//! Invariants: memory is bounded by the subtasks and [`REMEMBERED`] checkpoints; a report that is rejected changes nothing.
//! Not handled: a lie that a right worker might tell, such as an acknowledged blob that was never stored, or an error that
//! never happened.

mod violation;

pub use violation::{Said, Violation};

use crate::graph::JobGraph;
use crate::ids::{Attempt, CheckpointId, Generation, SubtaskId, WorkerId};
use crate::messages::{RestoreFrom, SnapshotHandle, TEXT_BYTES_MAX, ToCoordinator};
use crate::persist::layout;
use crate::reason::FailureReason;
use crate::statistics::SnapshotStatistics;
use std::collections::{BTreeMap, BTreeSet};

/// Checkpoints of an attempt whose answers are remembered. Answers to older ones are not judged by their order: they are late,
/// and the other cores ignore them.
pub const REMEMBERED: usize = 64;

/// The largest length and the longest time that a snapshot may claim: sums of them never overflow.
pub const FIGURE_MAX: u64 = 1 << 47;

/// What becomes of a report.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// The other cores may see it. They ignore what is late.
    Accept,
    /// No right worker sends this: close its connection.
    Reject(Violation),
}

/// The reports of one leadership.
#[derive(Debug)]
pub struct Reports {
    generation: Generation,
    /// Of every operator: its uid and its parallelism.
    operators: Vec<(String, u16)>,
    /// The newest attempt that was deployed.
    deployed: Option<Deployed>,
}

#[derive(Debug)]
struct Deployed {
    attempt: Attempt,
    /// Whether it still runs.
    live: bool,
    hosted: BTreeMap<SubtaskId, Hosted>,
    /// The newest checkpoints that were triggered, with those who take part.
    triggered: BTreeMap<CheckpointId, Triggered>,
    /// Ids up to this one were triggered and are forgotten.
    forgotten: Option<CheckpointId>,
}

#[derive(Debug, Default)]
struct Triggered {
    wait: BTreeSet<SubtaskId>,
    answered: BTreeSet<SubtaskId>,
}

/// One subtask, on its worker.
#[derive(Debug)]
struct Hosted {
    worker: WorkerId,
    stage: Stage,
    /// Whether the snapshot that it restores has ended.
    restores_end: bool,
    /// The newest checkpoint whose snapshot had not ended, and the oldest whose snapshot had.
    before_end: Option<CheckpointId>,
    behind_end: Option<CheckpointId>,
    /// Whether a completed checkpoint of this attempt holds the end.
    end_is_durable: bool,
}

/// How far a subtask has come, by its own words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Restoring,
    Running,
    Ended,
    Finished,
}

impl Reports {
    /// Nothing is deployed yet.
    pub fn new(generation: Generation, graph: &JobGraph) -> Self {
        let operators = graph.operators.iter().map(|operator| (operator.uid.clone(), operator.parallelism));
        let operators: Vec<_> = operators.collect();
        assert!(operators.iter().any(|(_, parallelism)| *parallelism > 0), "a job has subtasks");
        Self { generation, operators, deployed: None }
    }

    /// An attempt is about to be deployed.
    pub fn on_deployed(
        &mut self,
        attempt: Attempt,
        placement: &[(SubtaskId, WorkerId)],
        restore: Option<&RestoreFrom>,
    ) {
        assert_eq!(attempt.generation, self.generation, "attempts are of this leadership");
        let newest = self.deployed.as_ref().map(|deployed| deployed.attempt);
        assert!(newest < Some(attempt), "attempts are deployed in order");
        let snapshots = restore.map_or(&[][..], |restore| &restore.snapshots);
        assert!(restore.is_none() || snapshots.len() == placement.len(), "a checkpoint holds every subtask");
        let ended: BTreeSet<SubtaskId> =
            snapshots.iter().filter(|(_, snapshot)| snapshot.ended).map(|(subtask, _)| *subtask).collect();
        let hosted = placement.iter().map(|(subtask, worker)| {
            assert!(self.exists(*subtask), "{subtask} is placed, which the job does not have");
            (*subtask, Hosted::new(*worker, ended.contains(subtask)))
        });
        let (hosted, triggered) = (hosted.collect(), BTreeMap::new());
        self.deployed = Some(Deployed { attempt, live: true, hosted, triggered, forgotten: None });
        self.validate();
    }

    /// A checkpoint was triggered: `wait` take part in it.
    pub fn on_triggered(&mut self, checkpoint: CheckpointId, wait: &BTreeSet<SubtaskId>) {
        let deployed = self.deployed.as_mut().filter(|deployed| deployed.live).expect("a live attempt triggers");
        assert!(deployed.newest() < Some(checkpoint), "ids increase");
        assert!(checkpoint.is_possible(), "{checkpoint} cannot be counted");
        assert!(!wait.is_empty(), "a checkpoint waits for a subtask");
        assert!(wait.iter().all(|subtask| deployed.hosted.contains_key(subtask)), "subtasks of the job take part");
        deployed.triggered.insert(checkpoint, Triggered { wait: wait.clone(), answered: BTreeSet::new() });
        if deployed.triggered.len() > REMEMBERED {
            deployed.forgotten = deployed.triggered.pop_first().map(|(oldest, _)| oldest);
        }
        self.validate();
    }

    /// A checkpoint of the live attempt is durable. One that completes behind the end of its attempt changes nothing.
    pub fn on_completed(&mut self, checkpoint: CheckpointId) {
        let Some(deployed) = self.deployed.as_mut().filter(|deployed| deployed.live) else { return };
        assert!(deployed.newest() >= Some(checkpoint), "what completes was triggered");
        for hosted in deployed.hosted.values_mut() {
            hosted.end_is_durable |= hosted.behind_end.is_some_and(|first| first <= checkpoint);
        }
        self.validate();
    }

    /// The newest attempt is over.
    pub fn on_attempt_over(&mut self, attempt: Attempt) {
        let deployed = self.deployed.as_mut().expect("only a deployed attempt can be over");
        assert_eq!(deployed.attempt, attempt, "only the newest attempt can be over");
        assert!(deployed.live, "an attempt is over once");
        deployed.live = false;
        deployed.triggered.clear();
        self.validate();
    }

    /// A worker says something. A heartbeat, a registration and a wish are no reports.
    pub fn on_report(&mut self, worker: WorkerId, report: &ToCoordinator) -> Verdict {
        let verdict = match self.judge(worker, report) {
            Ok(()) => Verdict::Accept,
            Err(violation) => Verdict::Reject(violation),
        };
        self.validate();
        verdict
    }

    fn judge(&mut self, worker: WorkerId, report: &ToCoordinator) -> Result<(), Violation> {
        match report {
            ToCoordinator::Register { .. }
            | ToCoordinator::Sees(_)
            | ToCoordinator::Ask(_)
            | ToCoordinator::Heartbeat => Ok(()),
            ToCoordinator::Restored { attempt, subtask } => {
                let Some((_, hosted)) = self.host(worker, *attempt, *subtask)? else { return Ok(()) };
                hosted.advance(Said::Restored, *subtask, Stage::Restoring, Stage::Running)
            }
            ToCoordinator::InputEnded { attempt, subtask } => {
                let Some((_, hosted)) = self.host(worker, *attempt, *subtask)? else { return Ok(()) };
                hosted.advance(Said::InputEnded, *subtask, Stage::Running, Stage::Ended)
            }
            ToCoordinator::Finished { attempt, subtask } => {
                let Some((_, hosted)) = self.host(worker, *attempt, *subtask)? else { return Ok(()) };
                if hosted.stage == Stage::Ended && !hosted.end_is_durable {
                    return Err(Violation::EndNotDurable(*subtask));
                }
                hosted.advance(Said::Finished, *subtask, Stage::Ended, Stage::Finished)
            }
            ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, statistics } => {
                self.deployed_before(*attempt)?;
                self.judge_snapshot(*attempt, *checkpoint, *subtask, snapshot, statistics)?;
                let Some((triggered, hosted)) = self.host(worker, *attempt, *subtask)? else { return Ok(()) };
                let answers = triggered.find(*checkpoint, *subtask)?;
                hosted.judge_end(*checkpoint, *subtask, snapshot.ended)?;
                answers.map_or(Ok(()), |answers| answers.take(*checkpoint, *subtask))?;
                hosted.note_end(*checkpoint, snapshot.ended);
                Ok(())
            }
            ToCoordinator::Decline { attempt, checkpoint, subtask, reason } => {
                self.deployed_before(*attempt)?;
                judge_reason(reason)?;
                let Some((triggered, _)) = self.host(worker, *attempt, *subtask)? else { return Ok(()) };
                let answers = triggered.find(*checkpoint, *subtask)?;
                answers.map_or(Ok(()), |answers| answers.take(*checkpoint, *subtask))
            }
            ToCoordinator::Failed { attempt, subtask, error } => {
                self.deployed_before(*attempt)?;
                judge_text(&error.message)?;
                match subtask {
                    Some(subtask) => match self.host(worker, *attempt, *subtask)? {
                        Some((_, hosted)) if hosted.stage == Stage::Finished => {
                            Err(Violation::Finished(Said::Failed, *subtask))
                        }
                        Some(_) | None => Ok(()),
                    },
                    None => self.judge_member(worker, *attempt),
                }
            }
        }
    }

    /// The standing of a subtask that `worker` hosts in the live attempt, with the checkpoints of that. `None` if the attempt is
    /// older: then only what holds for every attempt is judged.
    fn host(
        &mut self,
        worker: WorkerId,
        attempt: Attempt,
        subtask: SubtaskId,
    ) -> Result<Option<(Answers<'_>, &mut Hosted)>, Violation> {
        self.deployed_before(attempt)?;
        if !self.exists(subtask) {
            return Err(Violation::NoSuchSubtask(subtask));
        }
        let live = self.deployed.as_mut().filter(|deployed| deployed.live && deployed.attempt == attempt);
        let Some(Deployed { hosted, triggered, forgotten, .. }) = live else { return Ok(None) };
        assert_eq!(attempt.generation, self.generation, "what lives is of this leadership");
        let hosted = hosted.get_mut(&subtask).expect("every subtask of the job is placed");
        if hosted.worker != worker {
            return Err(Violation::HostedElsewhere(subtask));
        }
        Ok(Some((Answers { triggered, forgotten: *forgotten }, hosted)))
    }

    /// Rejects a report about an attempt that neither an older leadership nor this one can have deployed.
    fn deployed_before(&self, attempt: Attempt) -> Result<(), Violation> {
        let newest = self.deployed.as_ref().map(|deployed| deployed.attempt);
        let known = attempt.generation < self.generation || Some(attempt) <= newest;
        if known { Ok(()) } else { Err(Violation::NeverDeployed(attempt)) }
    }

    /// A worker speaks for itself: it hosts something in the live attempt.
    fn judge_member(&self, worker: WorkerId, attempt: Attempt) -> Result<(), Violation> {
        let live = self.deployed.as_ref().filter(|deployed| deployed.live && deployed.attempt == attempt);
        let hosts = |deployed: &Deployed| deployed.hosted.values().any(|hosted| hosted.worker == worker);
        if live.is_none_or(hosts) { Ok(()) } else { Err(Violation::HostsNothing(attempt)) }
    }

    fn judge_snapshot(
        &self,
        attempt: Attempt,
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        snapshot: &SnapshotHandle,
        statistics: &SnapshotStatistics,
    ) -> Result<(), Violation> {
        let operator = self.operators.get(usize::from(subtask.operator.0));
        let Some((uid, _)) = operator.filter(|_| self.exists(subtask)) else {
            return Err(Violation::NoSuchSubtask(subtask));
        };
        if !layout::is_snapshot(&snapshot.path, checkpoint, uid, subtask.index, attempt) {
            let expected = layout::snapshot(checkpoint, uid, subtask.index, attempt);
            return Err(Violation::ForeignPath { expected });
        }
        let SnapshotStatistics { start_delay_ms, alignment_ms, sync_ms, async_ms, bytes } = *statistics;
        let figures = [start_delay_ms, alignment_ms, sync_ms, async_ms, bytes, snapshot.bytes];
        if figures.into_iter().any(|figure| figure > FIGURE_MAX) {
            return Err(Violation::Figures(subtask));
        }
        // An empty object cannot be a snapshot, and what it cost includes its length.
        if snapshot.bytes == 0 || bytes != snapshot.bytes { Err(Violation::Figures(subtask)) } else { Ok(()) }
    }

    fn exists(&self, subtask: SubtaskId) -> bool {
        let operator = self.operators.get(usize::from(subtask.operator.0));
        operator.is_some_and(|(_, parallelism)| subtask.index < *parallelism)
    }

    fn validate(&self) {
        let Some(deployed) = &self.deployed else { return };
        assert_eq!(deployed.attempt.generation, self.generation, "attempts are of this leadership");
        let subtasks: usize = self.operators.iter().map(|(_, parallelism)| usize::from(*parallelism)).sum();
        assert_eq!(deployed.hosted.len(), subtasks, "every subtask has a place");
        assert!(deployed.triggered.len() <= REMEMBERED, "memory is bounded");
        assert!(deployed.live || deployed.triggered.is_empty(), "no answer is waited for once the attempt is over");
        let oldest = deployed.triggered.first_key_value().map(|(oldest, _)| *oldest);
        assert!(oldest.is_none() || deployed.forgotten < oldest, "the oldest are forgotten first");
        let newest = deployed.triggered.last_key_value();
        assert!(newest.is_none_or(|(_, newest)| newest.answered.is_subset(&newest.wait)), "those asked answer");
    }
}

/// The checkpoints of the live attempt.
struct Answers<'a> {
    triggered: &'a mut BTreeMap<CheckpointId, Triggered>,
    forgotten: Option<CheckpointId>,
}

impl<'a> Answers<'a> {
    /// A checkpoint that was triggered at this subtask; `None` if it is forgotten by now.
    fn find(self, checkpoint: CheckpointId, subtask: SubtaskId) -> Result<Option<&'a mut Triggered>, Violation> {
        match self.triggered.get_mut(&checkpoint) {
            Some(triggered) if triggered.wait.contains(&subtask) => Ok(Some(triggered)),
            None if Some(checkpoint) <= self.forgotten => Ok(None),
            Some(_) | None => Err(Violation::NotTriggered(checkpoint, subtask)),
        }
    }
}

impl Triggered {
    /// Each subtask acknowledges or declines once.
    fn take(&mut self, checkpoint: CheckpointId, subtask: SubtaskId) -> Result<(), Violation> {
        assert!(self.wait.contains(&subtask), "only those who take part answer");
        let new = self.answered.insert(subtask);
        if new { Ok(()) } else { Err(Violation::AnsweredTwice(checkpoint, subtask)) }
    }
}

impl Deployed {
    /// The newest checkpoint that was triggered.
    fn newest(&self) -> Option<CheckpointId> {
        self.triggered.last_key_value().map(|(newest, _)| *newest).or(self.forgotten)
    }
}

impl Hosted {
    fn new(worker: WorkerId, restores_end: bool) -> Self {
        let (stage, end_is_durable) = (Stage::Restoring, false);
        Self { worker, stage, restores_end, before_end: None, behind_end: None, end_is_durable }
    }

    /// Goes from one stage to the next. Whatever is said at another one is out of order.
    fn advance(&mut self, said: Said, subtask: SubtaskId, from: Stage, to: Stage) -> Result<(), Violation> {
        assert!(from < to, "a subtask goes forward");
        assert!(!self.end_is_durable || self.behind_end.is_some(), "a durable end was acknowledged");
        if self.stage < from {
            return Err(Violation::TooEarly(said, subtask));
        }
        if self.stage > from {
            return Err(Violation::SaidTwice(said, subtask));
        }
        self.stage = to;
        Ok(())
    }

    /// Once a snapshot has ended, all later ones have; none has before the end was reported, or restored.
    fn judge_end(&self, checkpoint: CheckpointId, subtask: SubtaskId, ended: bool) -> Result<(), Violation> {
        let possible = match ended {
            true => (self.stage >= Stage::Ended || self.restores_end) && self.before_end < Some(checkpoint),
            false => !self.restores_end && self.behind_end.is_none_or(|behind| checkpoint < behind),
        };
        if possible { Ok(()) } else { Err(Violation::WrongEnd(checkpoint, subtask)) }
    }

    fn note_end(&mut self, checkpoint: CheckpointId, ended: bool) {
        match ended {
            true => self.behind_end = Some(self.behind_end.map_or(checkpoint, |behind| behind.min(checkpoint))),
            false => self.before_end = self.before_end.max(Some(checkpoint)),
        }
        let in_order = self.before_end.zip(self.behind_end).is_none_or(|(before, behind)| before < behind);
        assert!(in_order, "an end is behind everything that is before it");
    }
}

/// A worker declines for reasons of its own, never for those of the coordinator.
fn judge_reason(reason: &FailureReason) -> Result<(), Violation> {
    match reason {
        FailureReason::PrepareFailed(cause) | FailureReason::UploadFailed(cause) => judge_text(cause),
        FailureReason::Overtaken | FailureReason::Cancelled | FailureReason::TaskClosing | FailureReason::NotReady => {
            Ok(())
        }
        FailureReason::Expired
        | FailureReason::FinalizeFailed(_)
        | FailureReason::Subsumed { .. }
        | FailureReason::AttemptOver(_) => Err(Violation::ReasonOfTheCoordinator(reason.name())),
    }
}

fn judge_text(text: &str) -> Result<(), Violation> {
    if text.len() <= TEXT_BYTES_MAX { Ok(()) } else { Err(Violation::TooLong { bytes: text.len() }) }
}

#[cfg(test)]
mod tests;

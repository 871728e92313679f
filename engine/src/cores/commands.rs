//! Commands: may the coordinator of this connection say this now? Every message to a worker is judged here before the worker acts
//! on it, as every report is judged by the coordinator ([`super::reports`]).
//!
//! What no right leader can send is a [`Violation`]: the worker gives up the connection, cancels what runs, and looks for a
//! coordinator again.
//! 1. A deployment comes behind the welcome, of the generation that said it. It places every subtask of the job exactly once, with
//!    an address for every host, and restores all subtasks or none.
//! 2. A checkpoint is triggered in a deployed attempt, at subtasks that this worker hosts, with ids that increase; and only at
//!    sources and at subtasks whose input has ended.
//! 3. Notifications of the running attempt have ids that increase, and all ids can be counted.
//!
//! Messages of other attempts than the running one are late, and the worker ignores them: a job goes on without a worker all of
//! whose subtasks have finished, and that worker, back again, hears of an attempt that it never ran.
//!
//! Owns: what this worker was told. Does not own: the attempt's tasks, the connection.
//! Not handled: a leader that lies in order, such as one that announces a checkpoint which is not durable.

use crate::graph::JobGraph;
use crate::ids::{Attempt, CheckpointId, Generation, SubtaskId, WorkerId};
use crate::messages::{Deployment, ToCoordinator, ToWorker};
use std::collections::BTreeSet;
use std::fmt;

/// What becomes of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// The worker may act on it. It ignores what is late.
    Accept,
    /// No right leader sends this: give up the connection.
    Reject(Violation),
}

/// What no right leader sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// The worker was welcome already.
    WelcomedTwice,
    /// No leadership, or another one, has welcomed the worker.
    NotWelcomedBy(Generation),
    /// A deployment does not place every subtask of the job exactly once.
    Placement,
    /// A worker that hosts something has no address, or an address has no order.
    Addresses,
    /// The restored checkpoint does not hold exactly the subtasks of the job.
    Restore,
    /// The attempt was not deployed here.
    NotDeployed(Attempt),
    /// This worker does not host the subtask.
    NotHosted(SubtaskId),
    /// No subtask is named.
    Nowhere(CheckpointId),
    /// A subtask is triggered whose producers run.
    ProducersRun(CheckpointId, SubtaskId),
    /// An id does not increase, or cannot be counted.
    Id(CheckpointId),
}

/// The commands to one worker.
#[derive(Debug)]
pub struct Commands {
    me: WorkerId,
    /// Every subtask of the job, in order.
    subtasks: Vec<SubtaskId>,
    /// Those that have no producer.
    sources: BTreeSet<SubtaskId>,
    /// The leadership of this session.
    generation: Option<Generation>,
    /// The newest attempt ever deployed here.
    newest: Attempt,
    running: Option<Running>,
}

/// The attempt that runs here.
#[derive(Debug)]
struct Running {
    hosted: BTreeSet<SubtaskId>,
    /// Those that have processed all their input.
    ended: BTreeSet<SubtaskId>,
    /// Those that have committed everything and are gone.
    finished: BTreeSet<SubtaskId>,
    /// The newest checkpoint that was triggered here, and the newest that was announced.
    triggered: CheckpointId,
    completed: CheckpointId,
}

impl Commands {
    /// Of the worker `me`, which has heard nothing yet.
    pub fn new(me: WorkerId, graph: &JobGraph) -> Self {
        let subtasks = graph.subtasks();
        let is_source = |subtask: &&SubtaskId| graph.inputs(subtask.operator).next().is_none();
        let sources: BTreeSet<SubtaskId> = subtasks.iter().filter(is_source).copied().collect();
        assert!(subtasks.is_sorted(), "subtasks come in the order of the graph");
        assert!(!sources.is_empty(), "a job has sources");
        Self { me, subtasks, sources, generation: None, newest: Attempt::default(), running: None }
    }

    /// A session with a coordinator begins; nothing of an earlier one runs.
    pub fn on_session(&mut self) {
        (self.generation, self.running) = (None, None);
        self.validate();
    }

    /// The attempt that this session's leader lets run here.
    pub fn running(&self) -> Option<Attempt> {
        self.running.as_ref().map(|_| self.newest)
    }

    /// Its subtasks here that have not finished, in order.
    pub fn unfinished(&self) -> impl Iterator<Item = &SubtaskId> {
        self.running.iter().flat_map(|running| running.hosted.difference(&running.finished))
    }

    /// The leadership that has welcomed this worker in this session.
    pub fn welcomed(&self) -> Option<Generation> {
        self.generation
    }

    /// The coordinator says something.
    pub fn on_command(&mut self, command: &ToWorker) -> Verdict {
        let verdict = match self.judge(command) {
            Ok(()) => Verdict::Accept,
            Err(violation) => Verdict::Reject(violation),
        };
        self.validate();
        verdict
    }

    /// A subtask of this worker says something. Reports of the running attempt and of older ones of this leadership are for this
    /// session's coordinator.
    pub fn on_report(&mut self, report: &ToCoordinator) -> bool {
        let Some(attempt) = report.attempt() else { return true };
        if let Some(running) = self.running.as_mut().filter(|_| attempt == self.newest) {
            if let ToCoordinator::InputEnded { subtask, .. } = report {
                running.ended.insert(*subtask);
            }
            if let ToCoordinator::Finished { subtask, .. } = report {
                running.finished.insert(*subtask);
            }
        }
        self.validate();
        Some(attempt.generation) == self.generation
    }

    fn judge(&mut self, command: &ToWorker) -> Result<(), Violation> {
        match command {
            ToWorker::Refused { .. }
            | ToWorker::Standby
            | ToWorker::Occupied
            | ToWorker::Heartbeat
            | ToWorker::JobDone => Ok(()),
            ToWorker::Welcome { .. } if self.generation.is_some() => Err(Violation::WelcomedTwice),
            ToWorker::Welcome { generation } => {
                self.generation = Some(*generation);
                Ok(())
            }
            ToWorker::Deploy(deployment) => self.judge_deployment(deployment),
            ToWorker::Trigger { attempt, barrier, subtasks } => {
                self.judge_trigger(*attempt, barrier.checkpoint, subtasks)
            }
            ToWorker::Completed { attempt, checkpoint } => {
                let running = self.running.as_mut().filter(|_| self.newest == *attempt);
                match running {
                    Some(running) if running.completed < *checkpoint && checkpoint.is_possible() => {
                        running.completed = *checkpoint;
                        Ok(())
                    }
                    Some(_) => Err(Violation::Id(*checkpoint)),
                    None => Ok(()),
                }
            }
            ToWorker::Aborted { checkpoint, .. } if !checkpoint.is_possible() => Err(Violation::Id(*checkpoint)),
            ToWorker::Aborted { .. } => Ok(()),
            ToWorker::Cancel { attempt } => {
                if *attempt >= self.newest {
                    self.running = None;
                }
                Ok(())
            }
        }
    }

    fn judge_deployment(&mut self, deployment: &Deployment) -> Result<(), Violation> {
        // The listing is not judged here: its reader checks its length and checksum.
        let Deployment { attempt, placement, addresses, restore, listing: _ } = deployment;
        if self.generation != Some(attempt.generation) {
            return Err(Violation::NotWelcomedBy(attempt.generation));
        }
        if !placement.iter().map(|(subtask, _)| subtask).eq(&self.subtasks) {
            return Err(Violation::Placement);
        }
        let known: BTreeSet<WorkerId> = addresses.iter().map(|(worker, _)| *worker).collect();
        if !addresses.is_sorted_by_key(|(worker, _)| *worker)
            || !placement.iter().all(|(_, worker)| known.contains(worker))
        {
            return Err(Violation::Addresses);
        }
        let restored = restore.as_ref().map(|restore| restore.checkpoint);
        if let Some(restore) = restore
            && (!restore.snapshots.iter().map(|(subtask, _)| subtask).eq(&self.subtasks)
                || !restore.checkpoint.is_possible())
        {
            return Err(Violation::Restore);
        }
        // An older attempt is late: nothing of it is run.
        if *attempt > self.newest {
            self.newest = *attempt;
            let hosted = placement.iter().filter(|(_, worker)| *worker == self.me).map(|(subtask, _)| *subtask);
            let floor = restored.unwrap_or_default();
            let (hosted, ended, finished) = (hosted.collect(), BTreeSet::new(), BTreeSet::new());
            self.running = Some(Running { hosted, ended, finished, triggered: floor, completed: floor });
        }
        Ok(())
    }

    fn judge_trigger(
        &mut self,
        attempt: Attempt,
        checkpoint: CheckpointId,
        subtasks: &[SubtaskId],
    ) -> Result<(), Violation> {
        if attempt > self.newest {
            return Err(Violation::NotDeployed(attempt));
        }
        let Some(running) = self.running.as_mut().filter(|_| attempt == self.newest) else { return Ok(()) };
        if checkpoint <= running.triggered || !checkpoint.is_possible() {
            return Err(Violation::Id(checkpoint));
        }
        if subtasks.is_empty() {
            return Err(Violation::Nowhere(checkpoint));
        }
        for subtask in subtasks {
            if !running.hosted.contains(subtask) {
                return Err(Violation::NotHosted(*subtask));
            }
            if !self.sources.contains(subtask) && !running.ended.contains(subtask) {
                return Err(Violation::ProducersRun(checkpoint, *subtask));
            }
        }
        running.triggered = checkpoint;
        Ok(())
    }

    fn validate(&self) {
        let Some(running) = &self.running else { return };
        assert_eq!(self.generation, Some(self.newest.generation), "only this session's leader lets something run");
        assert!(running.ended.is_subset(&running.hosted), "only what runs here ends here");
        assert!(running.finished.is_subset(&running.hosted), "only what runs here finishes here");
        assert!(running.triggered <= CheckpointId::MAX && running.completed <= CheckpointId::MAX, "ids can be counted");
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WelcomedTwice => f.write_str("welcomed this worker twice"),
            Self::NotWelcomedBy(generation) => {
                write!(f, "deployed an attempt of {generation}, which has not welcomed this worker")
            }
            Self::Placement => f.write_str("sent a placement that does not fit the job"),
            Self::Addresses => f.write_str("sent a deployment without the address of every host"),
            Self::Restore => f.write_str("sent a checkpoint to restore that does not fit the job"),
            Self::NotDeployed(attempt) => {
                write!(f, "triggered a checkpoint of attempt {attempt}, which is not deployed here")
            }
            Self::NotHosted(subtask) => {
                write!(f, "triggered a checkpoint at {subtask}, which this worker does not host")
            }
            Self::Nowhere(checkpoint) => write!(f, "triggered {checkpoint} at no subtask"),
            Self::ProducersRun(checkpoint, subtask) => {
                write!(f, "triggered {checkpoint} at {subtask}, whose producers run")
            }
            Self::Id(checkpoint) => write!(f, "named {checkpoint}, which is not a later checkpoint"),
        }
    }
}

#[cfg(test)]
mod tests;

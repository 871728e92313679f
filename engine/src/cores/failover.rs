//! Fail-over: which workers are there, which attempt of the job runs on them, and what follows a failure.
//!
//! ```text
//! Waiting ── Reading ── Deploying ── Running ──────────────┬─ Recording ── Over
//!    ^          |           |           | failure:         |
//!    └──────────┴───────────┴───────────┤                  |
//!      restart after a delay            └── give up ── Ending
//! ```
//!
//! 1. An attempt starts when enough workers are registered, the restart delay has passed and every completion under
//!    way has been decided. The latest completed checkpoint is read back first, and then deployed.
//! 2. It runs once every subtask has restored. Subtasks finish one by one (FLIP-147), each when it knows that its end is
//!    durable; once all have, the job is recorded as finished.
//! 3. Any failure of the live attempt ends it, once: failures carry their attempt, and a second one of the same attempt
//!    changes nothing (FLINK-31041, FLINK-13593). [`super::restarting`] says whether and when another attempt follows.
//! 4. A worker is lost when its connection is; registered anew means that the older one is lost. It fails the attempt if
//!    it hosts subtasks that have not finished. What a link still owed to others, its worker reports.
//! 5. A job that fails for good or is cancelled ends in order: the attempt is cancelled, a completion under way is decided,
//!    and only then is the end recorded. A coordinator that merely loses its leadership ends nothing (order rule O12). Nor
//!    does one whose program does not fit the checkpoints: the program that wrote them can still go on from them.
//!
//! Owns: the attempt, its number, the placement. Does not own: checkpoints, connections, heartbeats.
//! Invariants: one live attempt; attempt numbers increase; subtask index *i* runs on the *(i mod n)*-th worker.

use crate::config::RestartStrategy;
use crate::cores::restarting::{Decision, Delay, Restarting};
use crate::door::Time;
use crate::error::{Error, Reaction};
use crate::ids::{Attempt, Generation, SubtaskId, WorkerId};
use crate::messages::RestoreFrom;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// A connection to a worker, numbered by its acceptor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.0)
    }
}

/// What fail-over asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Close a connection of a worker that has a later one.
    Disconnect {
        /// The earlier connection.
        connection: ConnectionId,
    },
    /// Read the latest completed checkpoint; then [`Failover::on_restore_read`].
    ReadRestore {
        /// For this attempt.
        attempt: Attempt,
    },
    /// Announce the attempt and send its deployments.
    Deploy {
        /// The attempt.
        attempt: Attempt,
        /// Every subtask with its worker, in order.
        placement: Vec<(SubtaskId, WorkerId)>,
        /// What to restore.
        restore: Option<RestoreFrom>,
    },
    /// Announce that every subtask has restored; checkpoints may be triggered.
    Run {
        /// The attempt.
        attempt: Attempt,
    },
    /// Announce that the attempt is over and stop it on every worker; then [`Failover::on_settled`] once no completion
    /// is under way.
    Cancel {
        /// The attempt.
        attempt: Attempt,
        /// Why, for people.
        cause: String,
    },
    /// Draw one of [`super::restarting::DRAWS`] at random; then [`Failover::on_drawn`], at once.
    Draw {
        /// The attempt that failed.
        attempt: Attempt,
    },
    /// Record how the job ended; then [`Failover::on_recorded`].
    Record {
        /// How.
        end: End,
    },
    /// Stop at once: a newer leader decides the end of the job.
    Stop {
        /// Why.
        error: Error,
    },
}

/// How a job ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// Every subtask has finished.
    Finished,
    /// No restart can help, or none is left.
    Failed(Error),
    /// A client cancelled it.
    Cancelled,
}

/// What goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// More workers are needed.
    LacksWorkers,
    /// The next attempt waits for its time.
    Waits,
    /// It is being restored.
    Restores,
    /// Every subtask has been.
    Runs,
    /// The end is being recorded, or is durable.
    Ends,
}

/// What a registration means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Registration {
    /// The worker was not there.
    New,
    /// It was, on an earlier connection, which is lost.
    Replacing,
    /// It is, on a later connection: this one is over.
    Superseded,
}

/// The attempts of one leadership.
#[derive(Debug)]
pub struct Failover {
    generation: Generation,
    workers_needed: usize,
    budget: Restarting,
    subtasks: Vec<SubtaskId>,
    workers: BTreeMap<WorkerId, ConnectionId>,
    /// The newest attempt.
    number: u32,
    /// Whether every completion of earlier attempts is decided.
    settled: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// For workers, for the end of the restart delay, for a completion to be decided.
    Waiting { not_before: Time, drawing: Option<(Time, Delay)> },
    /// The latest checkpoint is being read.
    Reading { attempt: Attempt },
    /// Deployed; `missing` have not restored.
    Deploying { live: Live, missing: BTreeSet<SubtaskId> },
    /// Every subtask has restored; `missing` have not finished.
    Running { live: Live, missing: BTreeSet<SubtaskId> },
    /// The job is over once every completion under way is decided.
    Ending { end: End },
    /// How the job ended is being made durable.
    Recording,
    /// Nothing more happens.
    Over,
}

#[derive(Clone, Debug)]
struct Live {
    attempt: Attempt,
    placement: Vec<(SubtaskId, WorkerId)>,
}

impl Failover {
    /// No worker is there yet.
    pub fn new(
        generation: Generation,
        workers_needed: u16,
        strategy: RestartStrategy,
        subtasks: Vec<SubtaskId>,
    ) -> Self {
        assert!(!subtasks.is_empty(), "a job has subtasks");
        assert!(subtasks.is_sorted(), "subtasks come in the order of the graph");
        Self {
            generation,
            workers_needed: usize::from(workers_needed.max(1)),
            budget: Restarting::new(strategy),
            subtasks,
            workers: BTreeMap::new(),
            number: 0,
            settled: true,
            stage: Stage::Waiting { not_before: Time(0), drawing: None },
        }
    }

    /// A worker has registered. Of two connections the one accepted later is the worker's present one, whichever
    /// registration arrives first: a worker that gave up waiting dials again, and both frames may be under way.
    pub fn on_registered(
        &mut self,
        now: Time,
        worker: WorkerId,
        connection: ConnectionId,
        out: &mut Vec<Effect>,
    ) -> Registration {
        let present = self.workers.get(&worker).copied();
        assert_ne!(present, Some(connection), "a connection registers once");
        if present > Some(connection) {
            out.push(Effect::Disconnect { connection });
            return Registration::Superseded;
        }
        self.workers.insert(worker, connection);
        if let Some(older) = present {
            out.push(Effect::Disconnect { connection: older });
            self.fail_if_hosting(now, worker, format!("{worker} registered anew"), out);
        }
        self.start_if_ready(now, out);
        self.validate();
        if present.is_some() { Registration::Replacing } else { Registration::New }
    }

    /// A connection is lost or silent. Says whose, if it was a worker's newest.
    pub fn on_disconnected(
        &mut self,
        now: Time,
        connection: ConnectionId,
        cause: &str,
        out: &mut Vec<Effect>,
    ) -> Option<WorkerId> {
        let found = self.workers.iter().find(|(_, current)| **current == connection);
        let worker = found.map(|(worker, _)| *worker)?;
        self.workers.remove(&worker);
        self.fail_if_hosting(now, worker, format!("{worker} is lost: {cause}"), out);
        self.validate();
        Some(worker)
    }

    /// The earliest time at which [`Failover::on_alarm`] has something to do.
    pub fn deadline(&self) -> Option<Time> {
        match self.stage {
            Stage::Waiting { not_before, .. } if self.has_workers() && self.settled => Some(not_before),
            Stage::Waiting { .. }
            | Stage::Reading { .. }
            | Stage::Deploying { .. }
            | Stage::Running { .. }
            | Stage::Ending { .. }
            | Stage::Recording
            | Stage::Over => None,
        }
    }

    /// Time has passed.
    pub fn on_alarm(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.start_if_ready(now, out);
        self.validate();
    }

    /// Every completion that was under way when the attempt ended has been decided.
    pub fn on_settled(&mut self, now: Time, out: &mut Vec<Effect>) {
        assert!(!self.settled, "settled once per failure");
        self.settled = true;
        self.start_if_ready(now, out);
        self.record_if_settled(out);
        self.validate();
    }

    /// Answers [`Effect::Draw`]. Says how long after the failure the next attempt follows.
    pub fn on_drawn(&mut self, draw: usize) -> Duration {
        let Stage::Waiting { not_before, drawing } = &mut self.stage else { panic!("nothing was to be drawn") };
        let (failed, delay) = drawing.take().expect("nothing was to be drawn");
        let delay = delay.drawn(draw);
        *not_before = failed + delay;
        self.validate();
        delay
    }

    /// A client cancels the job. Too late once the end is decided.
    pub fn on_cancel(&mut self, out: &mut Vec<Effect>) {
        match &self.stage {
            Stage::Waiting { .. } | Stage::Reading { .. } | Stage::Deploying { .. } | Stage::Running { .. } => {
                self.end(End::Cancelled, out);
            }
            Stage::Ending { .. } | Stage::Recording | Stage::Over => {}
        }
        self.validate();
    }

    /// Answers [`Effect::ReadRestore`].
    pub fn on_restore_read(
        &mut self,
        now: Time,
        attempt: Attempt,
        reply: Result<Option<RestoreFrom>, Error>,
        out: &mut Vec<Effect>,
    ) {
        match self.stage {
            Stage::Reading { attempt: current } if current == attempt => {}
            Stage::Waiting { .. }
            | Stage::Reading { .. }
            | Stage::Deploying { .. }
            | Stage::Running { .. }
            | Stage::Ending { .. }
            | Stage::Recording
            | Stage::Over => return,
        }
        match reply {
            Ok(_) if !self.has_workers() => self.stage = Stage::Waiting { not_before: now, drawing: None },
            Ok(restore) => self.deploy(attempt, restore, out),
            Err(error) => match error.reaction {
                Reaction::Restart => self.restart(now, attempt, error.message, out),
                Reaction::Corrupt => self.end(End::Failed(error), out),
                // The checkpoints are sound, and the program is another one. It ends, and its job may go on.
                Reaction::GiveUp | Reaction::Fenced => self.stop(error, out),
            },
        }
        self.validate();
    }

    /// A subtask has its state back.
    pub fn on_restored(&mut self, attempt: Attempt, subtask: SubtaskId, out: &mut Vec<Effect>) {
        match &mut self.stage {
            Stage::Deploying { live, missing } if live.attempt == attempt => {
                missing.remove(&subtask);
                if missing.is_empty() {
                    let missing = self.subtasks.iter().copied().collect();
                    self.stage = Stage::Running { live: live.clone(), missing };
                    out.push(Effect::Run { attempt });
                }
            }
            Stage::Waiting { .. }
            | Stage::Reading { .. }
            | Stage::Deploying { .. }
            | Stage::Running { .. }
            | Stage::Ending { .. }
            | Stage::Recording
            | Stage::Over => {}
        }
        self.validate();
    }

    /// A checkpoint of `attempt` is durable.
    pub fn on_completed(&mut self, attempt: Attempt) {
        self.budget.on_completed();
        if let Stage::Running { live, .. } = &self.stage {
            assert_eq!(live.attempt, attempt, "no attempt is deployed while a completion is under way");
        }
        self.validate();
    }

    /// A subtask has committed everything and exited: a completed checkpoint holds its end.
    pub fn on_finished(&mut self, attempt: Attempt, subtask: SubtaskId, out: &mut Vec<Effect>) {
        match &mut self.stage {
            Stage::Running { live, missing } if live.attempt == attempt => {
                missing.remove(&subtask);
                if missing.is_empty() {
                    self.stage = Stage::Ending { end: End::Finished };
                    self.record_if_settled(out);
                }
            }
            Stage::Waiting { .. }
            | Stage::Reading { .. }
            | Stage::Deploying { .. }
            | Stage::Running { .. }
            | Stage::Ending { .. }
            | Stage::Recording
            | Stage::Over => {}
        }
        self.validate();
    }

    /// Answers [`Effect::Record`].
    pub fn on_recorded(&mut self) {
        assert!(matches!(self.stage, Stage::Recording), "the end was being recorded");
        self.stage = Stage::Over;
        self.validate();
    }

    /// A worker says that something of an attempt failed.
    pub fn on_failed(&mut self, now: Time, attempt: Attempt, who: &str, error: Error, out: &mut Vec<Effect>) {
        if self.live().is_none_or(|live| live.attempt != attempt) {
            return;
        }
        let error = error.while_doing(who);
        match error.reaction {
            Reaction::Restart => self.fail(now, error.message, out),
            Reaction::GiveUp | Reaction::Corrupt => self.end(End::Failed(error), out),
            Reaction::Fenced => self.stop(error, out),
        }
        self.validate();
    }

    /// What goes on.
    pub fn standing(&self) -> Standing {
        match self.stage {
            Stage::Waiting { .. } if !self.has_workers() => Standing::LacksWorkers,
            Stage::Waiting { .. } => Standing::Waits,
            Stage::Reading { .. } | Stage::Deploying { .. } => Standing::Restores,
            Stage::Running { .. } => Standing::Runs,
            Stage::Ending { .. } | Stage::Recording | Stage::Over => Standing::Ends,
        }
    }

    /// The newest attempt of this leadership, if there was one.
    pub fn newest(&self) -> Option<Attempt> {
        (self.number > 0).then_some(Attempt { generation: self.generation, number: self.number })
    }

    /// How many more workers are needed.
    pub fn workers_missing(&self) -> usize {
        self.workers_needed.saturating_sub(self.workers.len())
    }

    /// Whether `attempt` is deployed.
    pub fn is_live(&self, attempt: Attempt) -> bool {
        self.live().is_some_and(|live| live.attempt == attempt)
    }

    /// The workers that host subtasks of the live attempt, in order.
    pub fn hosts(&self) -> BTreeSet<WorkerId> {
        self.live().map(|live| live.placement.iter().map(|(_, worker)| *worker).collect()).unwrap_or_default()
    }

    /// Whether only these workers host subtasks of the live attempt.
    pub fn is_hosted_by(&self, workers: &BTreeSet<WorkerId>) -> bool {
        self.live().is_none_or(|live| live.placement.iter().all(|(_, worker)| workers.contains(worker)))
    }

    /// The subtasks of the live attempt on `worker`, in order.
    pub fn hosted(&self, worker: WorkerId) -> Vec<SubtaskId> {
        let placement = self.live().map(|live| live.placement.as_slice()).unwrap_or_default();
        placement.iter().filter(|(_, host)| *host == worker).map(|(subtask, _)| *subtask).collect()
    }

    /// The newest connection of every registered worker.
    pub fn workers(&self) -> &BTreeMap<WorkerId, ConnectionId> {
        &self.workers
    }

    fn has_workers(&self) -> bool {
        self.workers.len() >= self.workers_needed
    }

    fn live(&self) -> Option<&Live> {
        match &self.stage {
            Stage::Deploying { live, .. } | Stage::Running { live, .. } => Some(live),
            Stage::Waiting { .. } | Stage::Reading { .. } | Stage::Ending { .. } | Stage::Recording | Stage::Over => {
                None
            }
        }
    }

    fn start_if_ready(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Stage::Waiting { not_before, .. } = self.stage else { return };
        if now < not_before || !self.settled || !self.has_workers() {
            return;
        }
        self.number += 1;
        let attempt = Attempt { generation: self.generation, number: self.number };
        self.stage = Stage::Reading { attempt };
        out.push(Effect::ReadRestore { attempt });
    }

    fn deploy(&mut self, attempt: Attempt, restore: Option<RestoreFrom>, out: &mut Vec<Effect>) {
        let hosts: Vec<WorkerId> = self.workers.keys().copied().take(self.workers_needed).collect();
        assert_eq!(hosts.len(), self.workers_needed, "enough workers are there");
        let host = |subtask: &SubtaskId| (*subtask, hosts[usize::from(subtask.index) % hosts.len()]);
        let placement: Vec<_> = self.subtasks.iter().map(host).collect();
        let live = Live { attempt, placement: placement.clone() };
        self.stage = Stage::Deploying { live, missing: self.subtasks.iter().copied().collect() };
        out.push(Effect::Deploy { attempt, placement, restore });
    }

    /// The attempt fails if `worker` hosts a subtask of it that has not finished.
    fn fail_if_hosting(&mut self, now: Time, worker: WorkerId, cause: String, out: &mut Vec<Effect>) {
        let hosted = self.hosted(worker);
        let needed = match &self.stage {
            Stage::Deploying { .. } => !hosted.is_empty(),
            Stage::Running { missing, .. } => hosted.iter().any(|subtask| missing.contains(subtask)),
            Stage::Waiting { .. } | Stage::Reading { .. } | Stage::Ending { .. } | Stage::Recording | Stage::Over => {
                false
            }
        };
        if needed {
            self.fail(now, cause, out);
        }
    }

    fn fail(&mut self, now: Time, cause: String, out: &mut Vec<Effect>) {
        let attempt = self.live().expect("only a live attempt fails").attempt;
        self.settled = false;
        // The delay is drawn first: the next attempt may follow the cancellation at once.
        self.restart(now, attempt, cause.clone(), out);
        out.push(Effect::Cancel { attempt, cause });
    }

    fn restart(&mut self, now: Time, failed: Attempt, cause: String, out: &mut Vec<Effect>) {
        match self.budget.on_failure(now) {
            Decision::Restart(delay) => {
                self.stage = Stage::Waiting { not_before: now + delay.mean, drawing: Some((now, delay)) };
                out.push(Effect::Draw { attempt: failed });
            }
            Decision::GiveUp(why) => {
                let error = Error::give_up(format!("{why}; the last failure: {cause}"));
                self.stage = Stage::Ending { end: End::Failed(error) };
                self.record_if_settled(out);
            }
        }
    }

    fn end(&mut self, end: End, out: &mut Vec<Effect>) {
        if let Some(Live { attempt, .. }) = self.live() {
            let cause = match &end {
                End::Finished => panic!("an attempt that finishes is not cancelled"),
                End::Failed(error) => error.message.clone(),
                End::Cancelled => "the job is cancelled".to_owned(),
            };
            out.push(Effect::Cancel { attempt: *attempt, cause });
            self.settled = false;
        }
        self.stage = Stage::Ending { end };
        self.record_if_settled(out);
    }

    fn stop(&mut self, error: Error, out: &mut Vec<Effect>) {
        let ends = matches!(error.reaction, Reaction::Restart | Reaction::Corrupt);
        assert!(!ends, "a leader whose job has failed ends it in order");
        self.stage = Stage::Over;
        out.push(Effect::Stop { error });
    }

    /// What a completion under way adds still belongs to the job.
    fn record_if_settled(&mut self, out: &mut Vec<Effect>) {
        if let Stage::Ending { end } = &self.stage
            && self.settled
        {
            out.push(Effect::Record { end: end.clone() });
            self.stage = Stage::Recording;
        }
    }

    fn validate(&self) {
        if let Some(live) = self.live() {
            assert_eq!(live.attempt.generation, self.generation, "attempts are of this leadership");
            assert_eq!(live.attempt.number, self.number, "the live attempt is the newest");
            assert_eq!(live.placement.len(), self.subtasks.len(), "every subtask has a place");
            assert!(self.settled, "an attempt starts after every completion was decided");
        }
        match &self.stage {
            Stage::Reading { attempt } => {
                assert_eq!(attempt.number, self.number, "the newest attempt is being prepared");
                assert!(self.settled, "what to restore is chosen after every completion was decided");
            }
            Stage::Deploying { live, missing } => {
                assert!(!missing.is_empty(), "an attempt runs once all have restored");
                self.validate_hosts(live, missing);
            }
            Stage::Running { live, missing } => {
                assert!(!missing.is_empty(), "an attempt is recorded once all have finished");
                self.validate_hosts(live, missing);
            }
            Stage::Ending { .. } => assert!(!self.settled, "what is settled is recorded"),
            Stage::Waiting { .. } | Stage::Recording | Stage::Over => {}
        }
    }

    fn validate_hosts(&self, live: &Live, needed: &BTreeSet<SubtaskId>) {
        let gone =
            live.placement.iter().find(|(subtask, host)| !self.workers.contains_key(host) && needed.contains(subtask));
        assert!(gone.is_none(), "the loss of a host ends the attempt");
    }
}

#[cfg(test)]
mod tests;

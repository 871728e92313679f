//! Leading: the composition of the cores of a coordinator that leads. One input goes in, a list of effects comes out.
//!
//! ```text
//!                    ┌── connections, roster ── which process is which worker
//! input ── Leading ──┼── failover ───────────── which attempt runs
//!            │       ├── checkpointing ──────── which checkpoint is pending, completing, durable
//!            v       ├── completed ──────────── the log: one slot is decided at a time
//!         effects    ├── ownership ──────────── the marks of the output
//!                    └── retention, lease, statistics, reports
//! ```
//!
//! One checkpoint, from trigger to commit or abort:
//! 1. The interval is over (`on_alarm`), a client asks, or every subtask has ended its input: [`Checkpointing`] asks
//!    for an id. The log hands one out, and reserves more in a slot if there is none (`checkpoints`, `log`). Then every
//!    worker that hosts a subtask without a running producer (at first: the sources) gets `ToWorker::Trigger`, and
//!    [`super::hosting`] passes it on. [`super::task`] says what a subtask does with it, [`super::uploading`] stores
//!    its snapshot, and `Ack` comes back through `Hosting::on_report` to `Leading::on_message` (`inputs`), which passes
//!    it to `on_report` (`workers`).
//! 2. An ack is judged ([`Reports`]), then counted. The last one makes the checkpoint ready; its manifest is written once
//!    no other checkpoint is completing.
//! 3. The manifest is durable: the completion waits for its turn in the queue of proposals, then its slot is created
//!    (`log`). **The slot is the commit point**: what [`Completed`] accepts is durable.
//! 4. The output is marked ([`Ownership`], `mark_completed` in `output`). Only what is marked is published: announced,
//!    answered to clients, and notified to the hosts, in this order (`publish` and `notify` in `checkpoints`). Each
//!    sink then commits ([`super::task`], step 4). Only after the notifications does [`Retention`] learn what fell
//!    below the floor of the slot.
//! 5. *Abort.* Until a checkpoint is completing, [`Checkpointing`] can abort it. `abort` (`checkpoints`) sends
//!    `ToWorker::Aborted` to the hosts if the attempt still runs, and what was acknowledged is deleted. [`super::task`]
//!    (*Waits*, *Decision*) says what a subtask does. While the checkpoint is completing, only a manifest that cannot
//!    be written or a slot that is certainly not added aborts it. Once its slot is durable nothing aborts it. If the
//!    attempt is over by then, no notification is sent, and the next restore commits. If the mark cannot be created,
//!    this leadership ends, and the next one creates the mark ([`super::ownership`], step 3).
//!
//! *Order.* An effect of one core is an input of another one, whose effects come before the rest: depth first, as
//! nested calls would do it. What is still to be done lies on a stack (`Step`, the next one on top), so each step
//! returns before the next begins, and no core is ever entered while it works. (Rejected: a queue. Then a notification
//! of a checkpoint could come behind what a later step sets off.)
//!
//! *Pauses.* A token, a random delay and the wall clock come from outside. The step that needs one ends with
//! [`Effect::DrawToken`], [`Effect::DrawDelay`] or [`Effect::ReadWallClock`], and the rest of the stack waits for the
//! answer.
//!
//! Owns: the cores, the queue of proposals, the end of the job. Does not own: sockets, storage, the clock.
//! Invariants (`validate`): one proposal is decided at a time, and a proposal waits only while another is decided; no
//! worker counts before the output is owned; nothing is published that is not durable and marked; retention never knows
//! a floor that the log does not have; every registered worker has an open connection; statistics count what is
//! pending.

mod attempts;
mod checkpoints;
mod clients;
mod effect;
mod ending;
mod inputs;
mod listing;
mod log;
mod output;
mod workers;

pub use effect::{Beginning, Effect, Next};
pub use ending::{JobEnd, Over};

use super::checkpointing::{self, Checkpointing, Settlement, Topology};
use super::completed::{self, Completed, Retained};
use super::connections::{self, Connections};
use super::failover::{self, ConnectionId, Failover};
use super::lease::Beat;
use super::ownership::{self, Claimant, Ownership};
use super::reports::Reports;
use super::retention::{self, Retention};
use super::roster::{self, Roster};
use super::statistics::Statistics;
use crate::door::Time;
use crate::event::Event;
use crate::graph::Job;
use crate::ids::{Attempt, CheckpointId, WorkerId};
use crate::persist::slot::SlotRecord;
use ending::Ending;
use listing::RunInput;
use log::LogAsked;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// A coordinator that has taken leadership.
#[derive(Debug)]
pub struct Leading {
    job: Job,
    store: Completed,
    checkpoints: Checkpointing,
    statistics: Statistics,
    /// What workers may report.
    reports: Reports,
    roster: Roster,
    failover: Failover,
    retention: Retention,
    connections: Connections,
    ownership: Ownership,
    /// Shows standbys that this process is alive.
    beat: Beat,
    /// What waits for a slot of the log, in order.
    proposals: VecDeque<Proposal>,
    /// The workers of the newest attempt.
    hosts: BTreeSet<WorkerId>,
    /// Every worker that has registered in this leadership.
    seen: BTreeSet<WorkerId>,
    /// What falls below the floor of the newest completion, or of the end of the job. Its slot is being decided, or is
    /// durable and not published yet.
    falling: Vec<Retained>,
    /// Discards under way.
    discards: u32,
    /// Whether ownership waits for the log to say that this process leads.
    log_asked: LogAsked,
    /// The slot and the checkpoint whose commit point has passed and which is not marked in the output yet.
    unpublished: Option<(u64, CheckpointId)>,
    run_input: RunInput,
    /// When the question whether this process leads was last answered, also by a slot that became durable, or left in
    /// doubt. It is asked again after the heartbeat timeout.
    confirmed: Time,
    /// Where this process listens.
    address: String,
    /// Why the last attempt that failed has failed.
    last_failure: Option<String>,
    ending: Ending,
    /// When the input arrived that is being worked on.
    now: Time,
    /// What is still to be done of it, the next step on top.
    stack: Vec<Step>,
    pause: Option<Pause>,
}

/// Something that is still to be done.
#[derive(Debug)]
enum Step {
    /// What the completed store asks for.
    Log(completed::Effect),
    /// What checkpointing asks for.
    Checkpoint(checkpointing::Effect),
    /// What fail-over asks for.
    Attempt(failover::Effect),
    /// What ownership asks for.
    Output(ownership::Effect),
    /// What the roster asks for.
    Place(roster::Effect),
    /// Propose what has waited longest, if no slot is being decided.
    ProposeNext,
    /// Ask the log whether this process leads, if ownership has to know.
    AskLog,
    /// A checkpoint is published: `falling` fell below `floor`.
    Retain {
        checkpoint: CheckpointId,
        falling: Vec<Retained>,
        floor: u64,
    },
    /// The checkpoints of an attempt that is over are aborted, except one that is completing. Now the attempt is
    /// stopped on every worker.
    StopAttempt {
        attempt: Attempt,
        settlement: Settlement,
    },
    /// A connection is silent.
    Silent {
        connection: ConnectionId,
    },
    /// A connection is closed: remove its process from the roster.
    Leave {
        connection: ConnectionId,
    },
    /// If the job is over, the worker at this connection gets `JobDone`.
    Dismiss {
        connection: ConnectionId,
        worker: WorkerId,
    },
    /// Time has passed for checkpointing, for fail-over, and for the question whether this process leads.
    AlarmCheckpoints,
    AlarmAttempts,
    AlarmLog,
}

/// What a step waits for in its midst.
#[derive(Debug)]
enum Pause {
    /// A token, to propose this.
    Token { record: SlotRecord },
    /// A restart delay.
    Delay { attempt: Attempt },
    /// The time at which this checkpoint is triggered.
    WallClock { checkpoint: CheckpointId },
}

/// What needs a slot of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Proposal {
    /// A reservation of ids.
    Ids,
    /// The commit point of a checkpoint.
    Completion { checkpoint: CheckpointId, manifest: String },
    /// The end of the job.
    End,
}

impl Leading {
    /// A coordinator that has claimed the log, and is asked for nothing yet. The job needs `workers`; `address` is
    /// where this process listens, for people and clients.
    pub fn new(now: Time, job: Job, workers: u16, store: Completed, lease: Duration, address: String) -> Self {
        let config = &job.config;
        let checkpoints = &config.checkpoints;
        let claimant = Claimant {
            log: store.id(),
            lineage: store.lineage(),
            generation: store.generation(),
            token: store.token(),
            held: store.held(),
        };
        assert!(store.is_idle(), "leadership was taken before");
        Self {
            ownership: Ownership::new(claimant),
            checkpoints: Checkpointing::new(checkpoints, Topology::of(&job.graph)),
            statistics: Statistics::default(),
            reports: Reports::new(store.generation(), &job.graph),
            roster: Roster::default(),
            failover: Failover::new(store.generation(), workers, config.restart, job.graph.subtasks()),
            retention: Retention::new(checkpoints.retained, &store.retained(), store.floor()),
            connections: Connections::new(now, config),
            beat: Beat::new(now, lease),
            proposals: VecDeque::new(),
            hosts: BTreeSet::new(),
            seen: BTreeSet::new(),
            falling: Vec::new(),
            discards: 0,
            log_asked: LogAsked::No,
            unpublished: None,
            run_input: RunInput::default(),
            confirmed: now,
            address,
            last_failure: None,
            ending: Ending::No,
            now,
            stack: Vec::new(),
            pause: None,
            job,
            store,
        }
    }

    /// Begins to lead: what predecessors have left of checkpoints is swept, and the output is taken.
    pub fn start(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.begin(now);
        self.clean(out, Retention::sweep);
        self.step_output(Ownership::start);
        self.run(out);
    }

    /// What its checkpoints have cost.
    pub fn statistics(&self) -> Statistics {
        self.statistics.clone()
    }

    /// Answers [`Effect::DrawToken`].
    pub fn on_token(&mut self, token: u64, out: &mut Vec<Effect>) {
        let Some(Pause::Token { record }) = self.pause.take() else { panic!("no token was to be drawn") };
        self.propose(token, record);
        self.run(out);
    }

    /// Answers [`Effect::DrawDelay`].
    pub fn on_delay(&mut self, draw: usize, out: &mut Vec<Effect>) {
        let Some(Pause::Delay { attempt }) = self.pause.take() else { panic!("no delay was to be drawn") };
        self.schedule_restart(attempt, draw, out);
        self.run(out);
    }

    /// Answers [`Effect::ReadWallClock`], in milliseconds since 1970, for people.
    pub fn on_wall_clock(&mut self, wall_ms: u64, out: &mut Vec<Effect>) {
        let Some(Pause::WallClock { checkpoint }) = self.pause.take() else { panic!("no clock was to be read") };
        let now = self.now;
        self.step_checkpoints(|checkpoints, effects| checkpoints.on_id(now, wall_ms, checkpoint, effects));
        self.run(out);
    }

    /// An input has arrived.
    fn begin(&mut self, now: Time) {
        assert!(self.stack.is_empty() && self.pause.is_none(), "one input is worked on at a time");
        assert!(!matches!(self.ending, Ending::Now(_)), "a leadership that is over takes no input");
        self.now = now;
    }

    /// Does everything that is still to be done, until a step has to pause.
    fn run(&mut self, out: &mut Vec<Effect>) {
        while self.pause.is_none() {
            let Some(step) = self.stack.pop() else { return self.validate() };
            match step {
                Step::Log(effect) => self.perform_log(effect, out),
                Step::Checkpoint(effect) => self.perform_checkpoint(effect, out),
                Step::Attempt(effect) => self.perform_attempt(effect, out),
                Step::Output(effect) => self.perform_output(effect, out),
                Step::Place(effect) => self.perform_place(effect, out),
                Step::ProposeNext => self.propose_next(out),
                Step::AskLog => self.ask_log(),
                Step::Retain { checkpoint, falling, floor } => self.retain(checkpoint, &falling, floor, out),
                Step::StopAttempt { attempt, settlement } => self.stop_attempt(attempt, settlement, out),
                Step::Silent { connection } => self.lose_silent(connection, out),
                Step::Leave { connection } => self.leave(connection),
                Step::Dismiss { connection, worker } => self.dismiss_if_over(connection, worker, out),
                Step::AlarmCheckpoints => self.alarm_checkpoints(),
                Step::AlarmAttempts => self.alarm_attempts(),
                Step::AlarmLog => self.confirm_if_in_doubt(),
            }
        }
    }

    /// These come next, in this order, before everything that is still to be done.
    fn next(&mut self, steps: impl IntoIterator<Item = Step>) {
        let rest = self.stack.len();
        self.stack.extend(steps);
        self.stack[rest..].reverse();
    }

    /// Steps checkpointing. What it asks for comes next.
    fn step_checkpoints(&mut self, step: impl FnOnce(&mut Checkpointing, &mut Vec<checkpointing::Effect>)) {
        let mut effects = Vec::new();
        step(&mut self.checkpoints, &mut effects);
        self.next(effects.into_iter().map(Step::Checkpoint));
    }

    /// Steps fail-over. What it asks for comes next.
    fn step_failover(&mut self, step: impl FnOnce(&mut Failover, &mut Vec<failover::Effect>)) {
        let mut effects = Vec::new();
        step(&mut self.failover, &mut effects);
        self.next(effects.into_iter().map(Step::Attempt));
    }

    /// Steps ownership. What it asks for comes next.
    fn step_output(&mut self, step: impl FnOnce(&mut Ownership, &mut Vec<ownership::Effect>)) {
        let mut effects = Vec::new();
        step(&mut self.ownership, &mut effects);
        self.next(effects.into_iter().map(Step::Output));
    }

    /// Steps the completed store. What it asks for comes next, and then the next proposal and the next question, for
    /// which it may have become free.
    fn step_log(&mut self, step: impl FnOnce(&mut Completed, &mut Vec<completed::Effect>)) {
        let mut effects = Vec::new();
        step(&mut self.store, &mut effects);
        self.next(effects.into_iter().map(Step::Log).chain([Step::ProposeNext, Step::AskLog]));
    }

    /// Steps the roster. What it asks for comes next.
    fn step_roster(&mut self, step: impl FnOnce(&mut Roster, &mut Vec<roster::Effect>)) {
        let mut effects = Vec::new();
        step(&mut self.roster, &mut effects);
        self.next(effects.into_iter().map(Step::Place));
    }

    /// Steps retention, which asks storage only.
    fn clean(&mut self, out: &mut Vec<Effect>, step: impl FnOnce(&mut Retention, &mut Vec<retention::Effect>)) {
        let mut effects = Vec::new();
        step(&mut self.retention, &mut effects);
        out.extend(effects.into_iter().map(Effect::Clean));
    }

    /// Does something to connections.
    fn connect<T>(
        &mut self,
        out: &mut Vec<Effect>,
        step: impl FnOnce(&mut Connections, &mut Vec<connections::Effect>) -> T,
    ) -> T {
        let mut effects = Vec::new();
        let said = step(&mut self.connections, &mut effects);
        out.extend(effects.into_iter().map(Effect::Connection));
        said
    }

    fn validate(&self) {
        assert!(self.pause.is_none(), "nothing is over while a step waits");
        self.validate_proposals();
        self.validate_checkpoints();
        self.validate_workers();
        self.validate_ending();
    }
}

fn announce(event: Event, out: &mut Vec<Effect>) {
    out.push(Effect::Announce(event));
}

#[cfg(test)]
mod tests;

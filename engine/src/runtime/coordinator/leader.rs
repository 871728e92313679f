//! The leading coordinator: takes inputs, steps the cores and performs their effects, in the order in which the cores
//! ask for them. What announces, and when, is the order of the lines in [`perform`].

mod checkpoints;
mod clients;
mod input;
mod output;
mod perform;
mod registering;

use super::connections::{Connections, Role};
use super::requests::Requests;
use super::sweeping::LastSweep;
use super::{Input, JobEnd, Member, Over};
use crate::cores::checkpointing::{Checkpointing, Topology};
use crate::cores::completed::{Completed, Retained};
use crate::cores::failover::{ConnectionId, End, Failover};
use crate::cores::lease::Beat;
use crate::cores::ownership::{Claimant, Ownership};
use crate::cores::reports::{Reports, Verdict};
use crate::cores::retention::{Reachable, Retention};
use crate::cores::roster::Roster;
use crate::cores::statistics::Statistics;
use crate::door::{BoxFuture, Time};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::graph::Job;
use crate::ids::{CheckpointId, WorkerId};
use crate::messages::handshake::Claim;
use crate::messages::{ToCoordinator, ToWorker};
use crate::persist::slot::{Ended, SlotRecord};
use crate::runtime::mailbox::Mailbox;
use checkpoints::{Ack, Proposal};
use input::RunInput;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// How long the end of the job waits for the last sweeps: much longer than its tries take, unless storage hangs.
pub(super) const SWEEP_TIME_MAX: Duration = Duration::from_secs(60);

/// A coordinator that has taken leadership.
pub(super) struct Leader {
    requests: Requests,
    job: Job,
    store: Completed,
    checkpoints: Checkpointing,
    statistics: Statistics,
    /// What workers may say.
    reports: Reports,
    /// What waits for a slot of the log, in order.
    proposals: VecDeque<Proposal>,
    roster: Roster,
    failover: Failover,
    retention: Retention,
    connections: Connections,
    /// The workers of the newest attempt.
    hosts: BTreeSet<WorkerId>,
    /// What the checkpoint being added will push out of retention.
    falling: Vec<Retained>,
    /// Discards under way.
    discards: u32,
    ownership: Ownership,
    /// Whether ownership waits for the log to say that this process leads.
    log_asked: LogAsked,
    /// The checkpoint whose commit point has passed and which is not marked in the output yet, and its slot.
    unpublished: Option<(u64, CheckpointId)>,
    /// What the run reads.
    run_input: RunInput,
    /// When the log last said that this process leads.
    confirmed: Time,
    /// Shows standbys that this process is alive.
    beat: Beat,
    /// Where it listens.
    address: String,
    /// Why the last attempt that failed did.
    last_failure: Option<String>,
    ending: Ending,
}

/// A question of ownership to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LogAsked {
    /// There is none.
    No,
    /// It is asked as soon as the log has nothing else under way: an answer to an older question would not do.
    Wanted,
    /// It waits for the answer.
    Yes,
}

/// How near the end is.
enum Ending {
    /// Not in sight.
    No,
    /// How the job ended is being recorded, which went wrong so many times.
    Recording { end: End, tries: u32 },
    /// The job is over; workers and clients are told, and given time to leave. Then storage is swept for good. Workers of the
    /// last attempt that were not connected when they were told are `absent` until they come back.
    Lingering { end: Result<JobEnd>, over: Over, until: Time, absent: BTreeSet<WorkerId>, sweep: LastSweep },
    /// Nothing more to do.
    Now(Result<JobEnd>),
}

impl Leader {
    pub fn new(requests: Requests, job: Job, workers: u16, store: Completed, beat: Beat, address: String) -> Self {
        let subtasks = job.graph.subtasks();
        let config = &job.config;
        let now = requests.env.clock.now();
        let checkpoints = &config.checkpoints;
        let claimant = Claimant {
            log: store.id(),
            lineage: store.lineage(),
            generation: store.generation(),
            token: store.token(),
            held: store.held(),
        };
        Self {
            ownership: Ownership::new(claimant),
            log_asked: LogAsked::No,
            unpublished: None,
            checkpoints: Checkpointing::new(checkpoints, Topology::of(&job.graph)),
            statistics: Statistics::default(),
            reports: Reports::new(store.generation(), &job.graph),
            proposals: VecDeque::new(),
            roster: Roster::default(),
            failover: Failover::new(store.generation(), workers, config.restart, subtasks),
            retention: Retention::new(checkpoints.retained, &store.retained(), store.floor()),
            connections: Connections::new(now, config),
            hosts: BTreeSet::new(),
            falling: Vec::new(),
            discards: 0,
            run_input: RunInput::default(),
            confirmed: now,
            beat,
            address,
            last_failure: None,
            ending: Ending::No,
            requests,
            job,
            store,
        }
    }

    /// Leads until the end.
    pub async fn lead(&mut self, mailbox: &mut Mailbox<Input>) -> Result<JobEnd> {
        let mut out = Vec::new();
        self.retention.sweep(&mut out);
        self.requests.perform_retention(out);
        let mut out = Vec::new();
        self.ownership.start(&mut out);
        self.perform_ownership(out);
        let mut alarm: Option<(Time, BoxFuture<'static, ()>)> = None;
        loop {
            self.sweep_for_good();
            if let Some(end) = self.ended() {
                return end;
            }
            let deadline = self.deadline();
            // An alarm that is early only makes us look at the clock; arming a new one for every frame would not.
            let armed = match &mut alarm {
                Some((at, armed)) if *at <= deadline => armed,
                Some(_) | None => {
                    let (_, armed) = alarm.insert((deadline, self.requests.env.clock.sleep_until(deadline)));
                    armed
                }
            };
            match mailbox.take_before(armed).await {
                Some(input) => self.on_input(input),
                None => {
                    alarm = None;
                    self.on_alarm();
                }
            }
        }
    }

    /// What its checkpoints have cost.
    pub fn statistics(&self) -> Statistics {
        self.statistics.clone()
    }

    /// Drops every connection, and asks storage for nothing more.
    pub fn disconnect(&mut self) {
        self.requests.cease();
        self.connections.close_all();
    }

    fn now(&self) -> Time {
        self.requests.env.clock.now()
    }

    fn emit(&self, event: Event) {
        self.requests.env.emit(event);
    }

    fn deadline(&self) -> Time {
        let mut deadline = self.connections.deadline();
        if let Some(beat) = self.beat.deadline() {
            deadline = deadline.min(beat);
        }
        let working = matches!(self.ending, Ending::No);
        let cores = [self.checkpoints.deadline(), self.failover.deadline()];
        let doubt = self.store.is_idle().then_some(self.confirmed + self.connections.timeout());
        for core in cores.into_iter().chain([doubt]).flatten().filter(|_| working) {
            deadline = deadline.min(core);
        }
        match &self.ending {
            Ending::Lingering { until, .. } => {
                let drained = *until + self.job.config.storage_timeout;
                let next = [*until, drained].into_iter().find(|time| self.now() < *time);
                deadline.min(next.unwrap_or(drained + SWEEP_TIME_MAX))
            }
            Ending::No | Ending::Recording { .. } | Ending::Now(_) => deadline,
        }
    }

    fn ended(&mut self) -> Option<Result<JobEnd>> {
        let over = match &self.ending {
            Ending::No | Ending::Recording { .. } => false,
            Ending::Lingering { until, sweep, .. } => {
                let longest = self.job.config.storage_timeout + SWEEP_TIME_MAX;
                (sweep.is_over() && self.is_told() && self.is_clean()) || self.now() >= *until + longest
            }
            Ending::Now(_) => true,
        };
        if !over {
            return None;
        }
        match std::mem::replace(&mut self.ending, Ending::No) {
            Ending::Lingering { end, .. } | Ending::Now(end) => Some(end),
            Ending::No | Ending::Recording { .. } => None,
        }
    }

    /// Whether workers and clients know that the job is over, as far as they can be told, and workers have left: those that
    /// stay have something under way, for as long as a request may take.
    fn is_told(&self) -> bool {
        match &self.ending {
            Ending::Lingering { until, absent, .. } => {
                let now = self.now();
                (self.connections.is_empty() && absent.is_empty())
                    || (now >= *until && !self.connections.has_workers())
                    || now >= *until + self.job.config.storage_timeout
            }
            Ending::No | Ending::Recording { .. } | Ending::Now(_) => false,
        }
    }

    /// Whether everything is deleted that was to be, and nothing is being stored or looked at.
    fn is_clean(&self) -> bool {
        self.retention.is_idle() && self.discards == 0 && self.run_input.is_idle()
    }

    /// The sweep at the end of the job may have had an old listing, and nobody sweeps behind it.
    fn sweep_for_good(&mut self) {
        let ready = self.is_told() && self.is_clean();
        if let Ending::Lingering { over, sweep, .. } = &mut self.ending
            && ready
        {
            sweep.advance(&mut self.retention, &mut self.requests, &self.job, &over.how);
        }
    }

    fn on_alarm(&mut self) {
        let now = self.now();
        self.show_life(now);
        for silent in self.connections.on_alarm(now) {
            let cause = format!("silent for {:?}", self.connections.timeout());
            self.on_broken(silent, &cause);
        }
        if !matches!(self.ending, Ending::No) {
            return;
        }
        let mut out = Vec::new();
        self.checkpoints.on_alarm(now, &mut out);
        self.perform_checkpointing(out);
        let mut out = Vec::new();
        self.failover.on_alarm(now, &mut out);
        self.perform_failover(out);
        self.confirm_if_in_doubt(now);
    }

    /// A deposed coordinator learns it from its next slot. One that completes no checkpoint would never learn it, and
    /// keep workers that its successor waits for.
    fn confirm_if_in_doubt(&mut self, now: Time) {
        if self.store.is_idle() && now >= self.confirmed + self.connections.timeout() {
            let mut out = Vec::new();
            self.store.confirm(&mut out);
            self.perform_store(out);
        }
    }

    fn on_input(&mut self, input: Input) {
        if let Ending::Now(_) = self.ending {
            return;
        }
        let mut out = Vec::new();
        match input {
            Input::Accepted(member) => return self.on_accepted(member),
            // Whoever is connected is told all the same.
            Input::NotListening(_) if matches!(self.ending, Ending::Lingering { .. }) => return,
            Input::NotListening(error) => return self.stop(Error::restart(format!("cannot accept workers: {error}"))),
            Input::Message(connection, message) => return self.on_message(connection, message),
            Input::Unfit(connection, reason) => return self.refuse(connection, reason),
            Input::Broken(connection, cause) => return self.on_broken(connection, &cause),
            Input::LogListed(reply) => self.store.on_listed(reply, &mut out),
            Input::SlotRead(number, reply) => self.store.on_read(number, reply, &mut out),
            Input::SlotCreated(number, reply) => self.store.on_created(number, reply, &mut out),
            Input::ManifestWritten(checkpoint, reply) => return self.on_manifest_written(checkpoint, reply),
            Input::RestoreRead(attempt, reply) => return self.on_beginning(attempt, reply),
            Input::SourcesListed(attempt, reply) => return self.on_input_listed(attempt, reply),
            Input::SourcesCompared(later) => return self.on_input_compared(later),
            Input::SignWritten => return self.beat.on_written(),
            Input::Discarded => {
                self.discards = self.discards.checked_sub(1).expect("a discard that was asked for");
                return;
            }
            Input::Drained | Input::StagingSwept => {
                let Ending::Lingering { sweep, .. } = &mut self.ending else {
                    panic!("only the last sweep asks for it")
                };
                return if let Input::Drained = input { sweep.on_drained() } else { sweep.on_staging_swept() };
            }
            Input::SweepListed(_)
            | Input::ManifestRead(..)
            | Input::Probed(..)
            | Input::Deleted(..)
            | Input::Freed(_) => {
                return self.on_swept(input);
            }
            Input::MarksListed(_) | Input::MarkRead(..) | Input::MarkCreated(..) | Input::MarksDeleted(_) => {
                return self.on_marks(input);
            }
        }
        self.perform_store(out);
    }

    pub fn on_accepted(&mut self, member: Member) {
        let inbox = self.requests.inbox();
        self.connections.open(&self.requests.env, inbox, member);
    }

    fn on_broken(&mut self, connection: ConnectionId, cause: &str) {
        let Some(open) = self.connections.get(connection) else { return };
        let cause = format!("connection to {}: {cause}", open.peer);
        self.forget_client(connection);
        self.connections.close(connection);
        let mut out = Vec::new();
        if let Some(worker) = self.failover.on_disconnected(self.now(), connection, &cause, &mut out) {
            self.emit(Event::WorkerLost { worker });
        }
        self.perform_failover(out);
        let mut out = Vec::new();
        self.roster.on_gone(connection, &mut out);
        self.perform_roster(out);
    }

    /// Storage has answered retention.
    fn on_swept(&mut self, input: Input) {
        let mut out = Vec::new();
        match input {
            Input::ManifestRead(checkpoint, named) => self.retention.on_manifest_read(checkpoint, named, &mut out),
            Input::Probed(number, exists) => self.retention.on_probed(number, exists, &mut out),
            Input::SweepListed(paths) => {
                let reachable = Reachable {
                    bound: self.checkpoints.pending().unwrap_or(self.store.next_id()),
                    carried: self.carried(),
                };
                self.retention.on_listed(paths.as_deref(), &reachable, &mut out);
            }
            Input::Deleted(checkpoint, all) => self.retention.on_deleted(checkpoint, all, &mut out),
            Input::Freed(all) => self.retention.on_freed(all, &mut out),
            Input::Accepted(_)
            | Input::NotListening(_)
            | Input::Message(..)
            | Input::Unfit(..)
            | Input::Broken(..)
            | Input::LogListed(_)
            | Input::SlotRead(..)
            | Input::SlotCreated(..)
            | Input::ManifestWritten(..)
            | Input::RestoreRead(..)
            | Input::SourcesListed(..)
            | Input::SourcesCompared(_)
            | Input::SignWritten
            | Input::Drained
            | Input::StagingSwept
            | Input::Discarded
            | Input::MarksListed(_)
            | Input::MarkRead(..)
            | Input::MarkCreated(..)
            | Input::MarksDeleted(_) => panic!("not for retention"),
        }
        self.requests.perform_retention(out);
        self.tell_backlog();
    }

    fn on_message(&mut self, connection: ConnectionId, message: ToCoordinator) {
        let now = self.now();
        let Some(open) = self.connections.heard(now, connection) else { return };
        match (&open.role, message) {
            (Role::Newcomer(claim), ToCoordinator::Register { protocol, graph, worker, incarnation, data_address }) => {
                if *claim != Claim::Worker(worker) {
                    let lie = format!("{claim} registers as {worker}");
                    return self.on_broken(connection, &lie);
                }
                self.on_register(connection, worker, (protocol, graph), incarnation, data_address);
            }
            (Role::Newcomer(Claim::Client), ToCoordinator::Ask(wish)) => self.on_wish(connection, wish),
            (Role::Newcomer(_), _) => self.on_broken(connection, "the first frame neither registers nor asks"),
            (Role::Client(_) | Role::Answered, ToCoordinator::Heartbeat) => self.connections.read_on(connection),
            (Role::Client(_) | Role::Answered, _) => self.on_broken(connection, "a client asks once"),
            (Role::Placed(worker, _), ToCoordinator::SeesOutput { token }) => {
                let worker = *worker;
                self.on_sight(connection, worker, token);
            }
            // It may still report what it did when it was the worker.
            (Role::Placed(..) | Role::Waiting(..), _) | (Role::Worker(..), ToCoordinator::Heartbeat) => {}
            (Role::Worker(..), ToCoordinator::Register { .. }) => self.on_broken(connection, "registered twice"),
            (Role::Worker(..), ToCoordinator::SeesOutput { .. }) => {
                self.on_broken(connection, "it was accepted before")
            }
            (Role::Worker(..), ToCoordinator::Ask(_)) => self.on_broken(connection, "a worker asks for nothing"),
            (Role::Worker(worker, _), message) => {
                let worker = *worker;
                if matches!(self.ending, Ending::No) {
                    self.on_report(connection, worker, message);
                }
            }
        }
    }

    /// What no right worker sends closes its connection; the other cores never see it.
    fn on_report(&mut self, connection: ConnectionId, worker: WorkerId, message: ToCoordinator) {
        if let Verdict::Reject(violation) = self.reports.on_report(worker, &message) {
            let cause = format!("it {violation}");
            self.statistics.on_rejected();
            let attempt = message.attempt().expect("a report is about an attempt");
            self.emit(Event::ReportRejected { worker, attempt, cause: violation.to_string() });
            return self.on_broken(connection, &cause);
        }
        let now = self.now();
        let mut asked = Vec::new();
        let mut failing = Vec::new();
        match message {
            ToCoordinator::Restored { attempt, subtask } => self.failover.on_restored(attempt, subtask, &mut failing),
            ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, statistics } => {
                self.on_ack(Ack { attempt, checkpoint, subtask, snapshot, statistics });
            }
            ToCoordinator::Decline { attempt, checkpoint, subtask, reason } => {
                self.on_decline(attempt, checkpoint, subtask, reason);
            }
            ToCoordinator::InputEnded { attempt, subtask } => {
                self.checkpoints.on_input_ended(now, attempt, subtask, &mut asked);
            }
            ToCoordinator::Finished { attempt, subtask } => {
                self.checkpoints.on_finished(now, attempt, subtask, &mut asked);
                self.failover.on_finished(attempt, subtask, &mut failing);
            }
            ToCoordinator::Failed { attempt, subtask, error } => {
                let who = match subtask {
                    Some(subtask) => format!("{} on {worker}", self.job.graph.show(subtask)),
                    None => worker.to_string(),
                };
                self.failover.on_failed(now, attempt, &who, error, &mut failing);
            }
            ToCoordinator::Register { .. }
            | ToCoordinator::SeesOutput { .. }
            | ToCoordinator::Ask(_)
            | ToCoordinator::Heartbeat => panic!("handled before"),
        }
        self.perform_checkpointing(asked);
        self.perform_failover(failing);
    }

    /// Ends this process at once. How the job ended stays what it is, once that is durable.
    fn stop(&mut self, error: Error) {
        self.ending = match std::mem::replace(&mut self.ending, Ending::No) {
            Ending::Lingering { end, .. } => Ending::Now(end),
            Ending::No | Ending::Recording { .. } | Ending::Now(_) => Ending::Now(Err(error)),
        };
    }

    /// The job is over: tells workers and clients, and gives them time to leave.
    fn finish(&mut self, end: Result<JobEnd>, over: Over) {
        self.connections.broadcast(&ToWorker::JobDone);
        self.tell_clients(&over);
        self.beat.resign(self.now());
        let until = self.now() + self.connections.timeout();
        // One whose connection has just been lost dials again, and would dial for ever if nobody told it.
        let present = |host: &WorkerId| self.connections.has(*host);
        let absent = self.hosts.iter().copied().filter(|host| !present(host)).collect();
        self.ending = Ending::Lingering { end, over, until, absent, sweep: LastSweep::Waiting };
    }

    /// What the log shall say of the end. It says so once no other slot is being decided; a deposed coordinator learns from it
    /// that the end is not its to say.
    fn ending_record(&mut self) -> SlotRecord {
        let Ending::Recording { end, .. } = &self.ending else { panic!("the end is being recorded") };
        let latest = self.store.latest().map(|latest| latest.checkpoint);
        let how = match end {
            End::Finished => Ended::Finished { checkpoint: latest.expect("the final checkpoint is retained") },
            End::Failed(error) => Ended::Failed { cause: error.message.clone() },
            End::Cancelled => Ended::Cancelled,
        };
        let keeps = self.job.config.checkpoints.retention.keeps(&how);
        let floor = if keeps { self.store.floor() } else { self.store.next_number() };
        self.falling = self.store.retained().into_iter().filter(|retained| retained.number < floor).collect();
        SlotRecord::Ended { how, floor }
    }

    fn send(&self, worker: WorkerId, message: &ToWorker) {
        if let Some(connection) = self.failover.workers().get(&worker) {
            self.connections.send(*connection, message);
        }
    }
}

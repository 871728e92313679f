//! Farewell: a coordinator that finds the job over sends `JobDone` to the workers that still look for one, and leaves.
//!
//! The leader that wrote the end may have died before it sent `JobDone` to its workers; they would dial without end.
//! How many of them still run is not known, for some may be spare. So this lasts until a worker must have noticed the
//! loss of its coordinator and dialled again, or, where none is spare, until all have got `JobDone` and are gone.
//! Clients that come meanwhile get the end of the job as their answer.
//!
//! The leader may also have died before it cleaned up, so this process sweeps in its place ([`LastSweep`]): the log
//! justifies every deletion, and a leadership that comes later uses other ids.
//!
//! Owns: open connections. How the job ended is in the log. Decided here: how long this process waits for workers.

use super::requests::Requests;
use super::sockets::Sockets;
use super::{ConnectionId, Input, Member, Over};
use crate::cores::completed::Completed;
use crate::cores::connections::{self, Attendance, Connections};
use crate::cores::retention::{Reachable, Retention};
use crate::cores::sweeping::{LastSweep, Next, SWEEP_TIME_MAX, staging};
use crate::door::Time;
use crate::graph::Job;
use crate::ids::WorkerId;
use crate::messages::ToCoordinator;
use crate::messages::client::{JobState, JobStatus, ToClient, Wish};
use crate::runtime::mailbox::Mailbox;
use crate::statistics::Counts;
use std::collections::BTreeSet;

/// What is left to do once the job is over.
pub(super) struct Farewell {
    requests: Requests,
    sockets: Sockets,
    connections: Connections,
    job: Job,
    over: Over,
    retention: Retention,
    reachable: Reachable,
    sweep: LastSweep,
    expected: Option<usize>,
    told: BTreeSet<WorkerId>,
    until: Time,
}

impl Farewell {
    /// No worker has got `JobDone` yet. `expected`: how many there are, if that is known. `store` has read the log that
    /// says how the job ended.
    pub fn new(requests: Requests, job: &Job, over: Over, store: &Completed, expected: Option<usize>) -> Self {
        let (now, config) = (requests.env.clock.now(), &job.config);
        Self {
            job: job.clone(),
            over,
            requests,
            sockets: Sockets::default(),
            connections: Connections::new(now, config),
            retention: Retention::new(config.checkpoints.retained, &store.retained(), store.floor()),
            reachable: Reachable { bound: store.unused_id(), carried: BTreeSet::new() },
            sweep: LastSweep::Waiting,
            expected,
            told: BTreeSet::new(),
            // Silence is noticed after one timeout; dialling again may take another.
            until: now + config.heartbeat_timeout * 2,
        }
    }

    pub fn on_accepted(&mut self, member: Member) {
        let (id, mut out) = (self.sockets.next_id(), Vec::new());
        let (now, peer) = (self.requests.env.clock.now(), member.connection.peer.clone());
        self.connections.on_accepted(now, id, peer, member.claim, &mut out);
        self.perform(out);
        self.sockets.open(id, &self.requests.env, self.requests.inbox(), member);
    }

    /// Answers every registration with the end of the job, for a while, and sweeps.
    pub async fn tell(mut self, mailbox: &mut Mailbox<Input>) {
        let clock = self.requests.env.clock.clone();
        let last = self.until + self.job.config.storage_timeout + SWEEP_TIME_MAX;
        while clock.now() < last && !self.is_over() {
            let waiting = if clock.now() < self.until { self.until } else { last };
            let mut alarm = clock.sleep_until(self.connections.deadline().min(waiting));
            match mailbox.take_before(&mut alarm).await {
                Some(Input::Accepted(member)) => self.on_accepted(member),
                Some(Input::Message(id, message)) => self.on_message(id, message),
                Some(Input::Broken(id, _)) => self.close(id),
                Some(Input::NotListening(_)) => self.until = clock.now(),
                Some(input) => self.on_swept(input),
                None => {
                    let mut out = Vec::new();
                    let silent = self.connections.on_alarm(clock.now(), &mut out);
                    self.perform(out);
                    silent.into_iter().for_each(|id| self.close(id));
                }
            }
        }
        self.requests.cease();
        self.sockets.close_all();
    }

    fn perform(&mut self, effects: Vec<connections::Effect>) {
        effects.into_iter().for_each(|effect| self.sockets.perform(effect));
    }

    fn close(&mut self, id: ConnectionId) {
        let mut out = Vec::new();
        self.connections.close(id, &mut out);
        self.perform(out);
    }

    /// Whether all is told and swept. Goes on with what is not.
    fn is_over(&mut self) -> bool {
        let all = self.expected.is_some_and(|expected| self.told.len() >= expected) && self.connections.is_empty();
        if !all && self.requests.env.clock.now() < self.until {
            self.sweep.on_company();
            return false;
        }
        if self.retention.is_idle() {
            match self.sweep.advance(self.requests.is_drained()) {
                Next::Wait => {}
                Next::Drain => self.requests.drain(self.job.config.storage_timeout),
                Next::Sweep => {
                    let mut out = Vec::new();
                    self.retention.sweep_for_good(&mut out);
                    out.into_iter().for_each(|effect| self.requests.perform_retention(effect));
                    self.requests.sweep_staging(staging(&self.job.graph, &self.over.how));
                }
            }
        }
        self.sweep.is_over() && self.retention.is_idle()
    }

    /// Storage has answered.
    fn on_swept(&mut self, input: Input) {
        let mut out = Vec::new();
        match input {
            Input::ManifestRead(checkpoint, named) => self.retention.on_manifest_read(checkpoint, named, &mut out),
            Input::Probed(number, exists) => self.retention.on_probed(number, exists, &mut out),
            Input::SweepListed(paths) => self.retention.on_listed(paths.as_deref(), &self.reachable, &mut out),
            Input::Deleted(checkpoint, all) => self.retention.on_deleted(checkpoint, all, &mut out),
            Input::Freed(all) => self.retention.on_freed(all, &mut out),
            Input::Drained => self.sweep.on_drained(),
            Input::StagingSwept => self.sweep.on_staging_swept(),
            // Nothing else was asked for, and the job is over already.
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
            | Input::RunInputListed(..)
            | Input::RunInputCompared(_)
            | Input::SignWritten
            | Input::Discarded
            | Input::MarksListed(_)
            | Input::MarkRead(..)
            | Input::MarkCreated(..)
            | Input::MarksDeleted(_) => {}
        }
        out.into_iter().for_each(|effect| self.requests.perform_retention(effect));
    }

    fn on_message(&mut self, id: ConnectionId, message: ToCoordinator) {
        if self.connections.heard(self.requests.env.clock.now(), id).is_none() {
            return;
        }
        let mut out = Vec::new();
        if let ToCoordinator::Register { worker, data_address, .. } = message {
            self.connections.dismiss(id, worker, data_address, &mut out);
            self.told.insert(worker);
        } else if let ToCoordinator::Ask(wish) = message {
            let reply = match wish {
                Wish::Checkpoint | Wish::Cancel => ToClient::Answer(self.over.answer()),
                Wish::Status => ToClient::Status(Box::new(self.status())),
            };
            match self.connections.attend(id, wish, &mut out) {
                Attendance::Attended => self.connections.answer(id, reply, &mut out),
                Attendance::TurnedAway => {}
            }
        }
        self.perform(out);
    }

    fn status(&self) -> JobStatus {
        JobStatus {
            job: self.job.graph.name.clone(),
            generation: None,
            attempt: None,
            state: JobState::Ended(self.over.how.clone()),
            workers: self.told.iter().copied().collect(),
            workers_missing: 0,
            last_completed: self.over.kept,
            pending: Vec::new(),
            counts: Counts::default(),
            last_failure: None,
        }
    }
}

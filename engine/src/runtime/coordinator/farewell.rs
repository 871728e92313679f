//! Farewell: a coordinator that finds the job over tells the workers that still look for one, and leaves.
//!
//! Whoever wrote the end may have died before it told its workers; they would dial for ever. Nobody knows who is still
//! there, so this lasts until as many workers as the job needs have been told and are gone, or until a worker must have
//! noticed the loss of its coordinator and dialled again. Clients that come meanwhile are told as well.
//!
//! Owns: nothing but open connections. Nothing is decided here: the log has said it.

use super::connections::{Connections, Role};
use super::{ConnectionId, Input, Member, Over};
use crate::door::{Env, Time};
use crate::graph::Job;
use crate::ids::WorkerId;
use crate::messages::client::{JobState, JobStatus, ToClient, Wish};
use crate::messages::{ToCoordinator, ToWorker};
use crate::runtime::mailbox::{Mailbox, Postbox};
use crate::statistics::Counts;
use std::collections::BTreeSet;

/// What is left to do once the job is over.
pub(super) struct Farewell {
    env: Env,
    inbox: Postbox<Input>,
    connections: Connections,
    job: String,
    over: Over,
    workers: usize,
    told: BTreeSet<WorkerId>,
    until: Time,
}

impl Farewell {
    /// Nobody has been told yet.
    pub fn new(env: &Env, job: &Job, over: Over, workers: u16, inbox: Postbox<Input>) -> Self {
        let (now, config) = (env.clock.now(), &job.config);
        Self {
            job: job.graph.name.clone(),
            over,
            env: env.clone(),
            inbox,
            connections: Connections::new(now, config),
            workers: usize::from(workers),
            told: BTreeSet::new(),
            // Silence is noticed after one timeout; dialling again may take another.
            until: now + config.heartbeat_timeout * 2,
        }
    }

    pub fn on_accepted(&mut self, member: Member) {
        self.connections.open(&self.env, self.inbox.clone(), member);
    }

    /// Answers every registration with the end of the job, for a while.
    pub async fn tell(mut self, mailbox: &mut Mailbox<Input>) {
        let clock = self.env.clock.clone();
        while clock.now() < self.until && (self.told.len() < self.workers || !self.connections.is_empty()) {
            let mut alarm = clock.sleep_until(self.connections.deadline().min(self.until));
            match mailbox.take_before(&mut alarm).await {
                Some(Input::Accepted(member)) => self.on_accepted(member),
                Some(Input::Message(id, message)) => self.on_message(id, message),
                Some(Input::Broken(id, _)) => self.connections.close(id),
                Some(Input::NotListening(_)) => break,
                // Nothing else was asked for, and the job is over already.
                Some(_) => {}
                None => {
                    let silent = self.connections.on_alarm(clock.now());
                    silent.into_iter().for_each(|id| self.connections.close(id));
                }
            }
        }
        self.connections.close_all();
    }

    fn on_message(&mut self, id: ConnectionId, message: ToCoordinator) {
        let Some(open) = self.connections.heard(self.env.clock.now(), id) else { return };
        if let ToCoordinator::Register { worker, data_address, .. } = message {
            open.role = Role::Worker(worker, data_address);
            self.connections.send(id, &ToWorker::JobDone);
            self.told.insert(worker);
        } else if let ToCoordinator::Ask(wish) = message {
            let reply = match wish {
                Wish::Checkpoint | Wish::Cancel => ToClient::Answer(self.over.answer()),
                Wish::Status => ToClient::Status(Box::new(self.status())),
            };
            match self.connections.attend(id, wish) {
                true => self.connections.answer(id, &reply),
                false => self.connections.turn_away(id, &ToClient::Busy),
            }
        }
    }

    fn status(&self) -> JobStatus {
        JobStatus {
            job: self.job.clone(),
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

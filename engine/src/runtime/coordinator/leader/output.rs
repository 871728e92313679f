//! The output as the leader performs it: its marks, and the workers that have to see them.
//!
//! A worker that registers is welcome once the output is this leadership's. It then reads the mark of the leadership through
//! its own output, and counts once it has found the same mark: one that was given another output folder would write where
//! nobody looks.

use super::{Ending, Leader, LogAsked};
use crate::cores::failover::ConnectionId;
use crate::cores::ownership::Effect;
use crate::error::Error;
use crate::event::Event;
use crate::ids::{CheckpointId, WorkerId};
use crate::messages::ToWorker;
use crate::persist::mark::{Mark, Name};
use crate::runtime::coordinator::Input;
use std::collections::BTreeSet;

impl Leader {
    pub(super) fn perform_ownership(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::List { delay } => self.requests.list_marks(delay),
                Effect::Read { name, delay } => self.requests.read_mark(name, delay),
                Effect::Create { mark, delay } => {
                    if delay.is_zero() {
                        self.announce_mark(&mark);
                    }
                    self.requests.create_mark(&mark, delay);
                }
                Effect::Confirm => {
                    self.log_asked = LogAsked::Wanted;
                    self.ask_log();
                }
                Effect::Own => {
                    self.emit(Event::OutputOwned { generation: self.store.generation() });
                    // Not before: what is staged in an output that turns out to be another log's belongs to the living there.
                    self.requests.clear(BTreeSet::new());
                    self.connections.placed().into_iter().for_each(|placed| self.welcome(placed));
                }
                Effect::Publish { checkpoint } => {
                    let (number, marked) = self.unpublished.take().expect("a commit point has passed");
                    assert_eq!(marked, checkpoint, "one checkpoint is marked at a time");
                    self.added(number, checkpoint);
                }
                Effect::Delete { names } => self.requests.delete_marks(names),
                Effect::StepDown { cause } => {
                    let generation = self.store.generation();
                    self.emit(Event::Deposed { generation });
                    self.stop(Error::fenced(format!("leadership {generation} is over: {cause}")));
                }
                Effect::Fail { error } => self.stop(error),
            }
        }
    }

    fn announce_mark(&self, mark: &Mark) {
        let checkpoint = match mark {
            Mark::Completed { checkpoint, .. } => Some(*checkpoint),
            Mark::Log { .. } | Mark::Generation { .. } => None,
        };
        self.emit(Event::MarkStarted { path: mark.name().path(), checkpoint });
    }

    /// Storage has answered ownership. Once the job ends, nothing is marked any more.
    pub(super) fn on_marks(&mut self, input: Input) {
        if !matches!(self.ending, Ending::No) {
            return;
        }
        let mut out = Vec::new();
        match input {
            Input::MarksListed(reply) => self.ownership.on_listed(reply, &mut out),
            Input::MarkRead(name, reply) => self.ownership.on_read(name, reply, &mut out),
            Input::MarkCreated(name, reply) => self.ownership.on_created(name, reply, &mut out),
            Input::MarksDeleted(gone) => self.ownership.on_deleted(&gone),
            _ => panic!("not for ownership"),
        }
        self.perform_ownership(out);
    }

    /// The commit point of a checkpoint has passed: nobody is notified before the output says so.
    pub(super) fn mark_completed(&mut self, number: u64, checkpoint: CheckpointId) {
        assert_eq!(self.unpublished, None, "one checkpoint is completed at a time");
        self.unpublished = Some((number, checkpoint));
        let mut out = Vec::new();
        self.ownership.on_committed(checkpoint, &mut out);
        self.perform_ownership(out);
    }

    /// Asks the log whether this process leads, if ownership has to know and nothing else is under way there.
    pub(super) fn ask_log(&mut self) {
        if self.log_asked == LogAsked::Wanted && self.store.is_idle() {
            self.log_asked = LogAsked::Yes;
            let mut out = Vec::new();
            self.store.confirm(&mut out);
            self.perform_store(out);
        }
    }

    /// The log has said whether this process leads.
    pub(super) fn answer_ownership(&mut self, leads: bool) {
        if self.log_asked == LogAsked::Yes {
            self.log_asked = LogAsked::No;
            let mut out = Vec::new();
            if leads {
                self.ownership.on_confirmed(&mut out);
            } else {
                self.ownership.on_doubt(&mut out);
            }
            self.perform_ownership(out);
        }
    }

    /// A worker has its place.
    pub(super) fn place(&mut self, worker: WorkerId, id: ConnectionId) {
        self.connections.place(id);
        if matches!(self.ending, Ending::Lingering { .. }) {
            self.register(worker, id);
        } else if self.ownership.is_owned() {
            self.welcome(id);
        }
    }

    fn welcome(&mut self, id: ConnectionId) {
        self.connections.send(id, &ToWorker::Welcome { generation: self.store.generation() });
    }

    /// A worker that has its place has looked at its output.
    pub(super) fn on_sight(&mut self, id: ConnectionId, worker: WorkerId, token: Option<u64>) {
        if token == Some(self.ownership.claimant().token) {
            return self.register(worker, id);
        }
        let name = Name::Generation(self.store.generation());
        let found = if token.is_some() { "another" } else { "no" };
        self.refuse(
            id,
            format!("{worker} writes to another output than the coordinator: its folder holds {found} {name}; give both the same"),
        );
    }
}

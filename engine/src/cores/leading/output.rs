//! The output as the leading coordinator performs it: its marks, and the workers that have to see them.
//!
//! A worker that registers gets `Welcome` once this leadership owns the output. The worker then looks for the mark of
//! the leadership in its own output folder, and is accepted once it has reported the same mark. Reason: a worker that
//! was given another output folder would write where no other process looks.

use super::log::LogAsked;
use super::{Effect, Leading, announce};
use crate::cores::failover::ConnectionId;
use crate::cores::ownership;
use crate::event::Event;
use crate::ids::{CheckpointId, WorkerId};
use crate::messages::{Sight, ToWorker};
use crate::persist::mark::{Mark, Name};
use std::collections::BTreeSet;

impl Leading {
    pub(super) fn perform_output(&mut self, effect: ownership::Effect, out: &mut Vec<Effect>) {
        match effect {
            ownership::Effect::List { delay } => out.push(Effect::ListMarks { delay }),
            ownership::Effect::Read { name, delay } => out.push(Effect::ReadMark { name, delay }),
            ownership::Effect::Create { mark, delay } => {
                if delay.is_zero() {
                    announce_mark(&mark, out);
                }
                out.push(Effect::CreateMark { mark, delay });
            }
            ownership::Effect::AskLog => {
                self.log_asked = LogAsked::Wanted;
                self.ask_log();
            }
            ownership::Effect::Own => {
                announce(Event::OutputOwned { generation: self.store.generation() }, out);
                // Not before: if the output turns out to be that of another log, what is staged in it belongs to that
                // log.
                out.push(Effect::ClearUnfinished { living: BTreeSet::new() });
                self.connections.placed().into_iter().for_each(|placed| self.welcome(placed, out));
            }
            ownership::Effect::Publish { checkpoint } => {
                let (number, marked) = self.unpublished.take().expect("a commit point has passed");
                assert_eq!(marked, checkpoint, "one checkpoint is marked at a time");
                self.publish(number, checkpoint);
            }
            ownership::Effect::Delete { names } => out.push(Effect::DeleteMarks { names }),
            ownership::Effect::StepDown { cause } => self.step_down(&cause, out),
            ownership::Effect::Fail { error } => self.stop(error),
        }
    }

    /// The slot of a checkpoint is durable. Now the output is marked with it; no subtask is notified before that.
    pub(super) fn mark_completed(&mut self, number: u64, checkpoint: CheckpointId) {
        assert_eq!(self.unpublished, None, "one checkpoint is completed at a time");
        assert!(self.owns_output(), "only the owner of an output marks it");
        assert_eq!(self.log_asked, LogAsked::No, "an owner does not refuse its output");
        self.unpublished = Some((number, checkpoint));
        self.step_output(|ownership, effects| ownership.on_durable(checkpoint, effects));
    }

    /// Whether workers may be accepted, and the job may be deployed.
    pub(super) fn owns_output(&self) -> bool {
        self.ownership.is_owned()
    }

    pub(super) fn welcome(&mut self, connection: ConnectionId, out: &mut Vec<Effect>) {
        assert!(self.owns_output(), "no worker is welcome before the output is owned");
        let welcome = ToWorker::Welcome { generation: self.store.generation() };
        self.connect(out, |connections, effects| connections.send(connection, welcome, effects));
    }

    /// A worker that has its place has looked at its folders.
    pub(super) fn on_sight(&mut self, id: ConnectionId, worker: WorkerId, sight: Sight, out: &mut Vec<Effect>) {
        if !self.owns_output() {
            return self.lose(id, "it was not welcomed", out);
        }
        let other = |found: Option<()>| if found.is_some() { "another" } else { "no" };
        let generation = self.store.generation();
        let reason = if sight.token != Some(self.ownership.claimant().token) {
            let (found, name) = (other(sight.token.map(drop)), Name::Generation(generation));
            format!("writes to another output than the coordinator: its folder holds {found} {name}")
        } else if sight.log < Some(generation) {
            let found = other(sight.log.map(drop));
            format!("stores checkpoints elsewhere than the coordinator: its folder holds {found} log")
        } else {
            return self.register(worker, id, out);
        };
        self.refuse(id, format!("{worker} {reason}; give both the same"), out);
    }
}

fn announce_mark(mark: &Mark, out: &mut Vec<Effect>) {
    let checkpoint = match mark {
        Mark::Completed { checkpoint, .. } => Some(*checkpoint),
        Mark::Log { .. } | Mark::Generation { .. } => None,
    };
    announce(Event::MarkStarted { path: mark.name().path(), checkpoint }, out);
}

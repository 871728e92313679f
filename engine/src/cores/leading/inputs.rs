//! The inputs of the leading coordinator: what connections bring, the clock, and the replies of storage. Each says what
//! follows, and performs it to the end. Behind each input [`Leading::on_idle`] says when [`Leading::on_alarm`] is due.

use super::ending::Ending;
use super::{Beginning, Effect, Leading, Next, Step};
use crate::cores::connections::Role;
use crate::cores::failover::ConnectionId;
use crate::cores::input::Later;
use crate::cores::lease;
use crate::cores::ownership::{self, Ownership};
use crate::cores::retention::{self, Reachable, Retention};
use crate::cores::sweeping::SWEEP_TIME_MAX;
use crate::door::{StorageError, Time};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::ids::{Attempt, CheckpointId};
use crate::messages::handshake::Claim;
use crate::messages::{ListingHandle, ToCoordinator};
use crate::persist::mark::Name;
use crate::persist::sign::Sign;
use bytes::Bytes;
use std::collections::BTreeSet;

impl Leading {
    /// A member has connected. Its id is greater than that of every earlier connection.
    pub fn on_accepted(&mut self, now: Time, id: ConnectionId, peer: String, claim: Claim, out: &mut Vec<Effect>) {
        self.begin(now);
        self.connect(out, |connections, effects| connections.on_accepted(now, id, peer, claim, effects));
        self.run(out);
    }

    /// No more members will connect.
    pub fn on_not_listening(&mut self, now: Time, cause: &str, out: &mut Vec<Effect>) {
        self.begin(now);
        match &self.ending {
            // Every process that is connected hears of the end all the same.
            Ending::Lingering { .. } => {}
            Ending::No | Ending::Recording { .. } | Ending::Now(_) => {
                self.stop(Error::restart(format!("cannot accept workers: {cause}")));
            }
        }
        self.run(out);
    }

    /// The first frame of a connection was of another build.
    pub fn on_unfit(&mut self, now: Time, connection: ConnectionId, reason: String, out: &mut Vec<Effect>) {
        self.begin(now);
        self.refuse(connection, reason, out);
        self.run(out);
    }

    /// A connection is over.
    pub fn on_broken(&mut self, now: Time, connection: ConnectionId, cause: &str, out: &mut Vec<Effect>) {
        self.begin(now);
        self.lose(connection, cause, out);
        self.run(out);
    }

    /// A frame arrived.
    pub fn on_message(&mut self, now: Time, connection: ConnectionId, message: ToCoordinator, out: &mut Vec<Effect>) {
        self.begin(now);
        self.hear(connection, message, out);
        self.run(out);
    }

    fn hear(&mut self, connection: ConnectionId, message: ToCoordinator, out: &mut Vec<Effect>) {
        let Some(open) = self.connections.heard(self.now, connection) else { return };
        match (&open.role, message) {
            (Role::Newcomer(claim), ToCoordinator::Register { protocol, graph, worker, incarnation, data_address }) => {
                if *claim != Claim::Worker(worker) {
                    let lie = format!("{claim} registers as {worker}");
                    return self.lose(connection, &lie, out);
                }
                self.on_register(connection, worker, (protocol, graph), incarnation, data_address, out);
            }
            (Role::Newcomer(Claim::Client), ToCoordinator::Ask(wish)) => self.on_wish(connection, wish, out),
            (Role::Newcomer(_), _) => self.lose(connection, "the first frame neither registers nor asks", out),
            (Role::Client(_) | Role::Answered, ToCoordinator::Heartbeat) => {
                self.connect(out, |connections, effects| connections.read_on(connection, effects));
            }
            (Role::Client(_) | Role::Answered, _) => self.lose(connection, "a client asks once", out),
            (Role::Placed(worker, _), ToCoordinator::Sees(sight)) => {
                let worker = *worker;
                self.on_sight(connection, worker, sight, out);
            }
            // It may still report what it did when it was the worker.
            (Role::Placed(..) | Role::Waiting(..), _) | (Role::Worker(..), ToCoordinator::Heartbeat) => {}
            (Role::Worker(..), ToCoordinator::Register { .. }) => self.lose(connection, "registered twice", out),
            (Role::Worker(..), ToCoordinator::Sees(_)) => {
                self.lose(connection, "it was accepted before", out);
            }
            (Role::Worker(..), ToCoordinator::Ask(_)) => self.lose(connection, "a worker asks for nothing", out),
            (Role::Worker(worker, _), message) => {
                let worker = *worker;
                if matches!(self.ending, Ending::No) {
                    self.on_report(connection, worker, message, out);
                }
            }
        }
    }

    /// Nothing is left of the last input. `drained`: the outcome of every write of this process is known.
    pub fn on_idle(&mut self, now: Time, drained: bool, out: &mut Vec<Effect>) -> Next {
        assert!(self.stack.is_empty() && self.pause.is_none(), "an input is worked on to its end");
        self.sweep_for_good(now, drained, out);
        match self.ended(now) {
            Some(end) => {
                // What a deposed leader still deletes may be what its successor restores (order rule O12).
                out.push(Effect::Cease);
                self.connect(out, |connections, effects| connections.close_all(effects));
                Next::End(end)
            }
            None => Next::WaitUntil(self.deadline(now)),
        }
    }

    /// When [`Leading::on_alarm`] is due.
    fn deadline(&self, now: Time) -> Time {
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
                let next = [*until, drained].into_iter().find(|time| now < *time);
                deadline.min(next.unwrap_or(drained + SWEEP_TIME_MAX))
            }
            Ending::No | Ending::Recording { .. } | Ending::Now(_) => deadline,
        }
    }

    /// Time has passed.
    pub fn on_alarm(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.begin(now);
        self.show_life(out);
        let silent = self.connect(out, |connections, effects| connections.on_alarm(now, effects));
        let silent = silent.into_iter().map(|connection| Step::Silent { connection });
        self.next(silent.chain([Step::AlarmCheckpoints]));
        self.run(out);
    }

    /// Writes the sign of life, if it is due.
    fn show_life(&mut self, out: &mut Vec<Effect>) {
        let mut effects = Vec::new();
        self.beat.on_alarm(self.now, &mut effects);
        for effect in effects {
            let lease::Effect::Write { beat, standing } = effect else { panic!("a leader does not watch") };
            let generation = self.store.generation();
            out.push(Effect::WriteSign(Sign { generation, beat, standing, address: self.address.clone() }));
        }
    }

    /// Answers [`Effect::WriteSign`], whatever came of it.
    pub fn on_sign_written(&mut self) {
        self.beat.on_written();
    }

    /// Answers [`Effect::ListLog`].
    pub fn on_log_listed(&mut self, now: Time, reply: Result<Vec<u64>, StorageError>, out: &mut Vec<Effect>) {
        self.begin(now);
        self.step_log(|store, effects| store.on_listed(reply, effects));
        self.run(out);
    }

    /// Answers [`Effect::ReadSlot`].
    pub fn on_slot_read(&mut self, now: Time, number: u64, reply: Result<Bytes, StorageError>, out: &mut Vec<Effect>) {
        self.begin(now);
        self.step_log(|store, effects| store.on_read(number, reply, effects));
        self.run(out);
    }

    /// Answers [`Effect::CreateSlot`].
    pub fn on_slot_created(&mut self, now: Time, number: u64, reply: Result<(), StorageError>, out: &mut Vec<Effect>) {
        self.begin(now);
        self.step_log(|store, effects| store.on_created(number, reply, effects));
        self.run(out);
    }

    /// Answers [`Effect::WriteManifest`]. Once the job ends, no checkpoint waits for it.
    pub fn on_manifest_written(
        &mut self,
        now: Time,
        checkpoint: CheckpointId,
        reply: Result<(), StorageError>,
        out: &mut Vec<Effect>,
    ) {
        self.begin(now);
        if reply == Err(StorageError::Fenced) {
            self.stop(StorageError::Fenced.into());
        } else if matches!(self.ending, Ending::No) {
            if let (Ok(()), Some(path)) = (&reply, self.checkpoints.manifest(checkpoint)) {
                super::announce(Event::ManifestWritten { checkpoint, path }, out);
            }
            let reply = reply.map_err(Error::from);
            self.step_checkpoints(|checkpoints, effects| {
                checkpoints.on_manifest_written(now, checkpoint, reply, effects);
            });
        }
        self.run(out);
    }

    /// Answers [`Effect::Discard`]: what was stored is gone, or left to a sweep.
    pub fn on_discarded(&mut self) {
        self.discards = self.discards.checked_sub(1).expect("a discard that was asked for");
    }

    /// Answers [`Effect::ReadRestore`].
    pub fn on_restore_read(&mut self, now: Time, attempt: Attempt, reply: Result<Beginning>, out: &mut Vec<Effect>) {
        self.begin(now);
        self.begin_attempt(attempt, reply);
        self.run(out);
    }

    /// Answers [`Effect::ListInput`] with the listing, which is stored.
    pub fn on_input_listed(
        &mut self,
        now: Time,
        attempt: Attempt,
        reply: Result<ListingHandle>,
        out: &mut Vec<Effect>,
    ) {
        self.begin(now);
        self.run_input.answered();
        self.begin_attempt(attempt, reply.map(|listing| Beginning { restore: None, listing: Some(listing) }));
        self.run(out);
    }

    /// Answers [`Effect::CompareInput`], `None` if that could not be seen.
    pub fn on_input_compared(&mut self, now: Time, later: Option<Later>, out: &mut Vec<Effect>) {
        self.begin(now);
        self.run_input.answered();
        self.announce_later(later, out);
        self.run(out);
    }

    /// Answers [`Effect::ListMarks`] with the marks that exist.
    pub fn on_marks_listed(&mut self, now: Time, reply: Result<Vec<Name>, StorageError>, out: &mut Vec<Effect>) {
        self.on_marks(now, out, |ownership, effects| ownership.on_listed(reply, effects));
    }

    /// Answers [`Effect::ReadMark`].
    pub fn on_mark_read(&mut self, now: Time, name: Name, reply: Result<Bytes, StorageError>, out: &mut Vec<Effect>) {
        self.on_marks(now, out, |ownership, effects| ownership.on_read(name, reply, effects));
    }

    /// Answers [`Effect::CreateMark`].
    pub fn on_mark_created(&mut self, now: Time, name: Name, reply: Result<(), StorageError>, out: &mut Vec<Effect>) {
        self.on_marks(now, out, |ownership, effects| ownership.on_created(name, reply, effects));
    }

    /// Answers [`Effect::DeleteMarks`] with those that are gone for certain.
    pub fn on_marks_deleted(&mut self, now: Time, gone: &[Name], out: &mut Vec<Effect>) {
        self.on_marks(now, out, |ownership, _| ownership.on_deleted(gone));
    }

    /// Storage has answered ownership. Once the job ends, nothing is marked any more.
    fn on_marks(
        &mut self,
        now: Time,
        out: &mut Vec<Effect>,
        step: impl FnOnce(&mut Ownership, &mut Vec<ownership::Effect>),
    ) {
        self.begin(now);
        if matches!(self.ending, Ending::No) {
            self.step_output(step);
        }
        self.run(out);
    }

    /// Answers [`retention::Effect::ReadManifest`] with what the manifest names, `None` if it could not be read.
    pub fn on_manifest_read(
        &mut self,
        now: Time,
        checkpoint: CheckpointId,
        named: Option<BTreeSet<String>>,
        out: &mut Vec<Effect>,
    ) {
        self.on_swept(now, out, |retention, effects| retention.on_manifest_read(checkpoint, named, effects));
    }

    /// Answers [`retention::Effect::Probe`], `None` if storage did not say.
    pub fn on_probed(&mut self, now: Time, number: u64, exists: Option<bool>, out: &mut Vec<Effect>) {
        self.on_swept(now, out, |retention, effects| retention.on_probed(number, exists, effects));
    }

    /// Answers [`retention::Effect::List`] with the paths that exist, `None` if they could not be listed.
    pub fn on_sweep_listed(&mut self, now: Time, paths: Option<&[String]>, out: &mut Vec<Effect>) {
        let bound = self.checkpoints.pending().unwrap_or(self.store.next_id());
        let reachable = Reachable { bound, carried: self.carried() };
        self.on_swept(now, out, |retention, effects| retention.on_listed(paths, &reachable, effects));
    }

    /// Answers [`retention::Effect::Delete`]: whether all of it is gone for certain.
    pub fn on_deleted(&mut self, now: Time, checkpoint: CheckpointId, all: bool, out: &mut Vec<Effect>) {
        self.on_swept(now, out, |retention, effects| retention.on_deleted(checkpoint, all, effects));
    }

    /// Answers [`retention::Effect::Free`]: whether all of them are gone for certain.
    pub fn on_freed(&mut self, now: Time, all: bool, out: &mut Vec<Effect>) {
        self.on_swept(now, out, |retention, effects| retention.on_freed(all, effects));
    }

    /// Storage has answered retention.
    fn on_swept(
        &mut self,
        now: Time,
        out: &mut Vec<Effect>,
        step: impl FnOnce(&mut Retention, &mut Vec<retention::Effect>),
    ) {
        self.begin(now);
        self.clean(out, step);
        self.report_backlog();
        self.run(out);
    }
}

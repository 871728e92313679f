//! Performing effects: each announced before it begins or after it has ended, as [`crate::event`] demands.

use super::checkpoints::Proposal;
use super::{Ending, Leader};
use crate::cores::checkpointing::Settlement;
use crate::cores::completed::Effect as Store;
use crate::cores::failover::Effect as Failover;
use crate::cores::lease::Effect as Lease;
use crate::cores::retention::Effect as Retention;
use crate::door::Time;
use crate::error::Error;
use crate::event::Event;
use crate::ids::{Attempt, SubtaskId, WorkerId};
use crate::messages::{Deployment, RestoreFrom, ToWorker};
use crate::persist::sign::Sign;
use crate::persist::slot::SlotRecord;
use crate::runtime::coordinator::JobEnd;

impl Leader {
    pub(super) fn perform_store(&mut self, effects: Vec<Store>) {
        for effect in effects {
            match effect {
                Store::List { delay } => self.requests.list_log(delay),
                Store::Read { number, delay } => self.requests.read_slot(number, delay),
                Store::Create { number, slot, delay } => self.requests.create_slot(number, &slot, delay),
                Store::Accept { number, record } => self.accepted(number, record),
                Store::Reject { record, cause } => self.rejected(record, &cause),
                Store::Confirm => self.confirmed(),
                Store::Doubt => self.doubted(),
                Store::StepDown => {
                    let generation = self.store.generation();
                    self.emit(Event::Deposed { generation });
                    self.stop(Error::fenced(format!("leadership {generation} is over: somebody newer leads")));
                }
                Store::Fail { error } => self.stop(error),
                Store::Lead { .. } | Store::Finish { .. } => panic!("leadership was taken before"),
            }
        }
        self.propose_next();
        self.confirm_if_idle();
    }

    fn accepted(&mut self, number: u64, record: SlotRecord) {
        self.confirmed = self.now();
        match record {
            SlotRecord::Completed { checkpoint, .. } => self.added(number, checkpoint),
            SlotRecord::IdsReserved => self.allocate(),
            SlotRecord::Finished { checkpoint } => {
                self.failover.on_recorded();
                self.emit(Event::JobFinished { checkpoint });
                self.finish(Ok(JobEnd::Finished { checkpoint }));
                let mut out = Vec::new();
                self.retention.sweep(&mut out);
                self.perform_retention(out);
            }
            SlotRecord::NewGeneration => panic!("leadership was taken before"),
        }
    }

    fn rejected(&mut self, record: SlotRecord, cause: &str) {
        match record {
            SlotRecord::Completed { checkpoint, .. } => self.not_added(checkpoint, cause),
            SlotRecord::IdsReserved => self.not_reserved(cause),
            // Nothing else is left to do, so it is tried until storage takes it.
            SlotRecord::Finished { .. } => self.propose(Proposal::Record(record)),
            SlotRecord::NewGeneration => panic!("leadership was taken before"),
        }
    }

    fn confirmed(&mut self) {
        self.confirmed = self.now();
        match std::mem::replace(&mut self.ending, Ending::No) {
            Ending::Confirming(error) if self.store.is_idle() => {
                self.emit(Event::JobFailed { cause: error.message.clone() });
                self.finish(Err(error));
            }
            // A proposal waited for the answer; it is decided first.
            ending => self.ending = ending,
        }
    }

    /// Whoever cannot ask does not know. A job that seems to have failed is left to the next leader, and so are the workers.
    fn doubted(&mut self) {
        self.confirmed = self.now();
        if let Ending::Confirming(error) = &self.ending {
            let message =
                format!("storage does not say whether this coordinator still leads; the job's failure was: {error}");
            self.stop(Error::restart(message));
        }
    }

    pub(super) fn settled(&mut self) {
        let mut out = Vec::new();
        self.failover.on_settled(self.now(), &mut out);
        self.perform_failover(out);
    }

    pub(super) fn perform_failover(&mut self, effects: Vec<Failover>) {
        for effect in effects {
            match effect {
                Failover::Disconnect { connection } => self.connections.close(connection),
                Failover::ReadRestore { attempt } => self.read_restore(attempt),
                Failover::Deploy { attempt, placement, restore } => self.deploy(attempt, placement, restore),
                Failover::Run { attempt } => {
                    self.emit(Event::AttemptRunning { attempt });
                    let mut out = Vec::new();
                    self.checkpoints.on_running(self.now(), attempt, &mut out);
                    self.perform_checkpointing(out);
                }
                Failover::Cancel { attempt, cause } => self.cancel(attempt, cause),
                Failover::Record => {
                    let latest = self.store.latest().expect("the last checkpoint is retained");
                    self.propose(Proposal::Record(SlotRecord::Finished { checkpoint: latest.checkpoint }));
                }
                Failover::End { error } => self.give_up(error),
            }
        }
    }

    fn read_restore(&mut self, attempt: Attempt) {
        match self.store.latest() {
            Some(latest) => self.requests.read_restore(attempt, latest, self.job.graph.clone()),
            None => {
                let mut out = Vec::new();
                self.failover.on_restore_read(self.now(), attempt, Ok(None), &mut out);
                self.perform_failover(out);
            }
        }
    }

    fn deploy(&mut self, attempt: Attempt, placement: Vec<(SubtaskId, WorkerId)>, restore: Option<RestoreFrom>) {
        let checkpoint = restore.as_ref().map(|restore| restore.checkpoint);
        if let Some(checkpoint) = checkpoint {
            self.emit(Event::RestoreRead { attempt, checkpoint });
            self.statistics.on_restored();
        }
        self.checkpoints.on_deployed(attempt, restore.as_ref());
        self.emit(Event::AttemptDeployed { attempt, restore: checkpoint });
        let address = |connection| {
            let open = self.connections.get(connection).expect("a worker's newest connection is open");
            open.worker.clone().expect("a worker's connection is registered")
        };
        let addresses = self.failover.workers().values().map(|connection| address(*connection)).collect();
        let deployment = ToWorker::Deploy(Deployment { attempt, placement, addresses, restore });
        for worker in self.failover.hosts() {
            self.send(worker, &deployment);
        }
    }

    fn cancel(&mut self, attempt: Attempt, cause: String) {
        self.emit(Event::AttemptFailed { attempt, cause: cause.clone() });
        let settlement = self.attempt_over(attempt, &cause);
        self.connections.broadcast(&ToWorker::Cancel { attempt });
        match settlement {
            Settlement::Settled => self.settled(),
            Settlement::InFlight => {}
        }
    }

    /// Writes the sign of life, if it is due.
    pub(super) fn show_life(&mut self, now: Time) {
        let mut out = Vec::new();
        self.beat.on_alarm(now, &mut out);
        for effect in out {
            let Lease::Write { beat, standing } = effect else { panic!("a leader does not watch") };
            let generation = self.store.generation();
            self.requests.write_sign(&Sign { generation, beat, standing, address: self.address.clone() });
        }
    }

    pub(super) fn perform_retention(&mut self, effects: Vec<Retention>) {
        for effect in effects {
            match effect {
                Retention::Subsume { checkpoint } => self.emit(Event::CheckpointSubsumed { checkpoint }),
                Retention::List { delay } => self.requests.list_all(delay),
                Retention::ReadManifest { checkpoint, path, delay } => {
                    self.requests.read_names(checkpoint, path, delay);
                }
                Retention::Probe { number, delay } => self.requests.probe(number, delay),
                Retention::Delete { checkpoint, paths } => self.requests.delete(checkpoint, paths),
                Retention::Free { slots } => self.requests.free(slots),
            }
        }
    }
}

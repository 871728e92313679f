//! Performing effects: each announced before it begins or after it has ended, as [`crate::event`] demands.

use super::checkpoints::Proposal;
use super::{Ending, Leader};
use crate::cores::checkpointing::Settlement;
use crate::cores::completed::Effect as Store;
use crate::cores::failover::{Effect as Failover, End};
use crate::cores::lease::Effect as Lease;
use crate::cores::restarting::DRAWS;
use crate::door::{Site, Time};
use crate::error::Error;
use crate::event::Event;
use crate::ids::{Attempt, SubtaskId, WorkerId};
use crate::messages::{Deployment, RestoreFrom, ToWorker};
use crate::persist::sign::Sign;
use crate::persist::slot::{Ended, SlotRecord};
use crate::runtime::coordinator::connections::Role;
use crate::runtime::coordinator::{JobEnd, Over};

/// Definite failures to record an end after which the user hears of it.
const RECORD_TRIES: u32 = 5;

impl Leader {
    pub(super) fn perform_store(&mut self, effects: Vec<Store>) {
        for effect in effects {
            match effect {
                Store::List { delay } => self.requests.list_log(delay),
                Store::Read { number, delay } => self.requests.read_slot(number, delay),
                Store::Create { number, slot, delay } => self.requests.create_slot(number, &slot, delay),
                Store::Accept { number, record } => self.accepted(number, record),
                Store::Reject { record, cause } => self.rejected(record, &cause),
                Store::Confirm | Store::Doubt => {
                    self.confirmed = self.now();
                    self.answer_ownership(effect == Store::Confirm);
                }
                Store::StepDown => {
                    let generation = self.store.generation();
                    self.emit(Event::Deposed { generation });
                    self.stop(Error::fenced(format!("leadership {generation} is over: somebody newer leads")));
                }
                Store::Fail { error } => self.stop(error),
                Store::Lead { .. } | Store::Over { .. } | Store::GiveWay { .. } => {
                    panic!("leadership was taken before")
                }
            }
        }
        self.propose_next();
        self.ask_log();
    }

    fn accepted(&mut self, number: u64, record: SlotRecord) {
        self.confirmed = self.now();
        match record {
            SlotRecord::Completed { checkpoint, .. } => self.mark_completed(number, checkpoint),
            SlotRecord::IdsReserved => self.allocate(),
            SlotRecord::Ended { how, floor } => self.ended_durably(&how, floor),
            SlotRecord::NewGeneration => panic!("leadership was taken before"),
        }
    }

    fn rejected(&mut self, record: SlotRecord, cause: &str) {
        match record {
            SlotRecord::Completed { checkpoint, .. } => self.not_added(checkpoint, cause),
            SlotRecord::IdsReserved => self.not_reserved(cause),
            SlotRecord::Ended { .. } => self.not_recorded(cause),
            SlotRecord::NewGeneration => panic!("leadership was taken before"),
        }
    }

    /// How the job ended is durable: only now it is announced, and files follow their pointers.
    fn ended_durably(&mut self, how: &Ended, floor: u64) {
        self.failover.on_recorded();
        let kept = self.store.latest().map(|latest| latest.checkpoint);
        let over = Over { how: how.clone(), kept };
        self.emit(over.announcement());
        let Ending::Recording { end, .. } = std::mem::replace(&mut self.ending, Ending::No) else {
            panic!("the end was being recorded")
        };
        let end = match (end, how) {
            (End::Finished, Ended::Finished { checkpoint }) => Ok(JobEnd::Finished { checkpoint: *checkpoint }),
            (End::Failed(error), Ended::Failed { .. }) => Err(error),
            (End::Cancelled, Ended::Cancelled) => Ok(JobEnd::Cancelled),
            (end, how) => panic!("{how:?} was recorded for {end:?}"),
        };
        self.finish(end, over);
        let mut out = Vec::new();
        self.retention.on_fallen(&std::mem::take(&mut self.falling), floor, &mut out);
        self.requests.perform_retention(out);
    }

    /// A finished job has nothing else left to do, so that is tried until storage takes it. Of any other end the user has to
    /// hear in time: whoever starts next finds the job as it was.
    fn not_recorded(&mut self, cause: &str) {
        self.falling.clear();
        let Ending::Recording { end, tries } = &mut self.ending else { panic!("the end was being recorded") };
        *tries += 1;
        let why = match end {
            End::Failed(error) if *tries >= RECORD_TRIES => error.message.clone(),
            End::Cancelled if *tries >= RECORD_TRIES => "it was cancelled".to_owned(),
            End::Finished | End::Failed(_) | End::Cancelled => return self.propose(Proposal::End),
        };
        self.stop(Error::restart(format!("the end of the job ({why}) could not be recorded: {cause}")));
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
                    if self.store.latest().is_some() {
                        self.compare_input();
                    }
                    let mut out = Vec::new();
                    self.checkpoints.on_running(self.now(), attempt, &mut out);
                    self.perform_checkpointing(out);
                }
                Failover::Cancel { attempt, cause } => self.cancel(attempt, cause),
                Failover::Draw { attempt } => {
                    let site = Site::new("coordinator.restart", u64::from(attempt.number));
                    let delay = self.failover.on_drawn(self.requests.env.schedule.pick(site, DRAWS));
                    let delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
                    self.emit(Event::RestartScheduled { attempt, delay_ns });
                }
                Failover::Record { end } => {
                    if end == End::Finished {
                        self.compare_input();
                    }
                    self.ending = Ending::Recording { end, tries: 0 };
                    self.propose(Proposal::End);
                }
                Failover::Stop { error } => self.stop(error),
            }
        }
    }

    fn read_restore(&mut self, attempt: Attempt) {
        match self.store.latest() {
            Some(latest) => self.requests.read_restore(attempt, latest, self.job.graph.clone()),
            None => self.begin_from_nothing(attempt),
        }
    }

    fn deploy(&mut self, attempt: Attempt, placement: Vec<(SubtaskId, WorkerId)>, restore: Option<RestoreFrom>) {
        let checkpoint = restore.as_ref().map(|restore| restore.checkpoint);
        if let Some(checkpoint) = checkpoint {
            self.emit(Event::RestoreRead { attempt, checkpoint });
            self.statistics.on_restored();
        }
        self.checkpoints.on_deployed(attempt, restore.as_ref());
        self.reports.on_deployed(attempt, &placement, restore.as_ref());
        self.emit(Event::AttemptDeployed { attempt, restore: checkpoint });
        let address = |connection| {
            let open = self.connections.get(connection).expect("a worker's newest connection is open");
            let Role::Worker(worker, data_address) = &open.role else { panic!("a worker's connection is registered") };
            (*worker, data_address.clone())
        };
        let addresses = self.failover.workers().values().map(|connection| address(*connection)).collect();
        // Processes that have died since the last attempt may have left something behind.
        self.requests.clear(self.roster.incarnations());
        let deployment =
            ToWorker::Deploy(Deployment { attempt, placement, addresses, restore, listing: self.run_input.listing() });
        self.hosts = self.failover.hosts();
        for worker in &self.hosts {
            self.send(*worker, &deployment);
        }
    }

    fn cancel(&mut self, attempt: Attempt, cause: String) {
        self.emit(Event::AttemptFailed { attempt, cause: cause.clone() });
        self.last_failure = Some(cause.clone());
        self.reports.on_attempt_over(attempt);
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
}

//! Attempts as the leading coordinator performs them: what they restore, their deployment, and their end.

use super::ending::Ending;
use super::{Effect, Leading, Pause, Proposal, Step, announce};
use crate::cores::checkpointing::Settlement;
use crate::cores::connections::Role;
use crate::cores::failover::{self, End};
use crate::event::Event;
use crate::ids::{Attempt, SubtaskId, WorkerId};
use crate::messages::{Deployment, RestoreFrom, ToWorker};

impl Leading {
    pub(super) fn perform_attempt(&mut self, effect: failover::Effect, out: &mut Vec<Effect>) {
        match effect {
            failover::Effect::Disconnect { connection } => {
                self.connect(out, |connections, effects| connections.close(connection, effects));
            }
            failover::Effect::ReadRestore { attempt } => self.read_restore(attempt, out),
            failover::Effect::Deploy { attempt, placement, restore } => self.deploy(attempt, placement, restore, out),
            failover::Effect::Run { attempt } => {
                assert!(self.failover.is_live(attempt), "only a deployed attempt runs");
                announce(Event::AttemptRunning { attempt }, out);
                if self.store.latest().is_some() {
                    self.compare_input(out);
                }
                let now = self.now;
                self.step_checkpoints(|checkpoints, effects| checkpoints.on_running(now, attempt, effects));
            }
            failover::Effect::Cancel { attempt, cause } => self.cancel(attempt, cause, out),
            failover::Effect::Draw { attempt } => {
                assert!(self.pause.is_none(), "one thing is drawn at a time");
                out.push(Effect::DrawDelay { attempt });
                self.pause = Some(Pause::Delay { attempt });
            }
            failover::Effect::Record { end } => {
                assert_eq!(self.unpublished, None, "a completion under way is decided before the end is recorded");
                if end == End::Finished {
                    self.compare_input(out);
                }
                self.ending = Ending::Recording { end, tries: 0 };
                self.enqueue(Proposal::End, out);
            }
            failover::Effect::Stop { error } => self.stop(error),
        }
    }

    /// The delay of a restart is drawn.
    pub(super) fn schedule_restart(&mut self, attempt: Attempt, draw: usize, out: &mut Vec<Effect>) {
        assert_eq!(self.failover.newest(), Some(attempt), "the next attempt follows the newest");
        let delay = self.failover.on_drawn(draw);
        let delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        announce(Event::RestartScheduled { attempt, delay_ns }, out);
    }

    pub(super) fn alarm_attempts(&mut self) {
        let now = self.now;
        self.step_failover(|failover, effects| failover.on_alarm(now, effects));
    }

    /// Every completion that was under way when the attempt ended has been decided.
    pub(super) fn settled(&mut self) {
        let now = self.now;
        self.step_failover(|failover, effects| failover.on_settled(now, effects));
    }

    fn read_restore(&mut self, attempt: Attempt, out: &mut Vec<Effect>) {
        assert!(self.owns_output(), "nothing is restored before the output is owned");
        assert!(!self.failover.is_live(attempt), "what to restore is read before the attempt is deployed");
        match self.store.latest() {
            Some(latest) => out.push(Effect::ReadRestore { attempt, latest }),
            None => self.begin_from_nothing(attempt, out),
        }
    }

    fn deploy(
        &mut self,
        attempt: Attempt,
        placement: Vec<(SubtaskId, WorkerId)>,
        restore: Option<RestoreFrom>,
        out: &mut Vec<Effect>,
    ) {
        assert!(self.owns_output(), "nothing is deployed before the output is owned");
        assert_eq!(self.unpublished, None, "what to restore is chosen after every completion was decided");
        assert_eq!(self.failover.newest(), Some(attempt), "the newest attempt is deployed");
        let workers = self.failover.workers();
        assert!(placement.iter().all(|(_, host)| workers.contains_key(host)), "an attempt runs on registered workers");
        let checkpoint = restore.as_ref().map(|restore| restore.checkpoint);
        if let Some(checkpoint) = checkpoint {
            announce(Event::RestoreRead { attempt, checkpoint }, out);
            self.statistics.on_restored();
        }
        self.checkpoints.on_deployed(attempt, restore.as_ref());
        self.reports.on_deployed(attempt, &placement, restore.as_ref());
        announce(Event::AttemptDeployed { attempt, restore: checkpoint }, out);
        let addresses = self.failover.workers().values().map(|connection| {
            let open = self.connections.get(*connection).expect("a worker's newest connection is open");
            let Role::Worker(worker, data_address) = &open.role else { panic!("a worker's connection is registered") };
            (*worker, data_address.clone())
        });
        let addresses = addresses.collect();
        // Processes that have died since the last attempt may have left something behind.
        out.push(Effect::ClearUnfinished { living: self.roster.incarnations() });
        let listing = self.run_input.listing();
        let deployment = ToWorker::Deploy(Deployment { attempt, placement, addresses, restore, listing });
        self.hosts = self.failover.hosts();
        for worker in self.hosts.clone() {
            self.send(worker, deployment.clone(), out);
        }
    }

    /// The attempt is over. First its checkpoints are aborted, except one that is completing; then it is stopped on
    /// every worker.
    fn cancel(&mut self, attempt: Attempt, cause: String, out: &mut Vec<Effect>) {
        assert!(!self.failover.is_live(attempt), "an attempt is over before its checkpoints are aborted");
        announce(Event::AttemptFailed { attempt, cause: cause.clone() }, out);
        self.reports.on_attempt_over(attempt);
        let mut effects = Vec::new();
        let settlement = self.checkpoints.on_attempt_over(self.now, attempt, &cause, &mut effects);
        self.last_failure = Some(cause);
        self.next(effects.into_iter().map(Step::Checkpoint).chain([Step::StopAttempt { attempt, settlement }]));
    }

    pub(super) fn stop_attempt(&mut self, attempt: Attempt, settlement: Settlement, out: &mut Vec<Effect>) {
        assert!(!self.failover.is_live(attempt), "an attempt is over before it is stopped");
        self.connect(out, |connections, effects| connections.broadcast(ToWorker::Cancel { attempt }, effects));
        match settlement {
            Settlement::Settled => self.settled(),
            Settlement::InFlight => {}
        }
    }

    /// Sends to a worker, if it is registered.
    pub(super) fn send(&mut self, worker: WorkerId, message: ToWorker, out: &mut Vec<Effect>) {
        if let Some(connection) = self.failover.workers().get(&worker).copied() {
            self.connect(out, |connections, effects| connections.send(connection, message, effects));
        }
    }
}

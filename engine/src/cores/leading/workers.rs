//! Workers: registration of those that fit, the refusal of others, what they report, and the loss of connections.

use super::checkpoints::Ack;
use super::ending::Ending;
use super::{Effect, Leading, Step, announce};
use crate::cores::connections::Role;
use crate::cores::failover::{ConnectionId, Registration, Standing};
use crate::cores::reports::Verdict;
use crate::cores::roster;
use crate::event::Event;
use crate::ids::WorkerId;
use crate::messages::{PROTOCOL_VERSION, ToCoordinator, ToWorker};
use core::net::SocketAddr;

impl Leading {
    pub(super) fn perform_place(&mut self, effect: roster::Effect, out: &mut Vec<Effect>) {
        match effect {
            roster::Effect::Register { worker, connection } => self.place(worker, connection, out),
            roster::Effect::Wait { worker, connection } => {
                announce(Event::WorkerWaits { worker }, out);
                self.connect(out, |connections, effects| connections.send(connection, ToWorker::Occupied, effects));
                self.dismiss_if_over(connection, worker, out);
            }
            roster::Effect::Close { connection } => {
                self.connect(out, |connections, effects| connections.close(connection, effects));
            }
        }
    }

    /// A process wants to be `worker`.
    pub(super) fn on_register(
        &mut self,
        id: ConnectionId,
        worker: WorkerId,
        (protocol, graph): (u32, u64),
        incarnation: u64,
        data_address: String,
        out: &mut Vec<Effect>,
    ) {
        if let Some(reason) = self.misfit(protocol, graph) {
            return self.refuse(id, format!("{worker} does not fit: {reason}"), out);
        }
        let open = self.connections.get(id).expect("the connection is open");
        let data_address = reachable(data_address, &open.peer);
        self.connect(out, |connections, effects| connections.admit(id, worker, data_address, effects));
        self.step_roster(|roster, effects| roster.on_arrived(worker, incarnation, id, effects));
    }

    /// A worker has its place.
    fn place(&mut self, worker: WorkerId, id: ConnectionId, out: &mut Vec<Effect>) {
        self.connections.place(id);
        if matches!(self.ending, Ending::Lingering { .. }) {
            self.register(worker, id, out);
        } else if self.owns_output() {
            self.welcome(id, out);
        }
    }

    /// A worker has shown that it sees the output: it counts from here on.
    pub(super) fn register(&mut self, worker: WorkerId, id: ConnectionId, out: &mut Vec<Effect>) {
        let over = matches!(self.ending, Ending::Lingering { .. });
        assert!(over || self.owns_output(), "no worker counts before the output is owned");
        let mut effects = Vec::new();
        let registration = self.failover.on_registered(self.now, worker, id, &mut effects);
        let effects = effects.into_iter().map(Step::Attempt);
        match registration {
            // It has connected again, and that registration has overtaken this one.
            Registration::Superseded => return self.next(effects),
            Registration::Replacing => announce(Event::WorkerLost { worker }, out),
            Registration::New => {}
        }
        self.seen.insert(worker);
        self.connections.promote(id);
        announce(Event::WorkerRegistered { worker }, out);
        self.next(effects.chain([Step::Dismiss { connection: id, worker }]));
    }

    /// The other side closes the connection. If it does not, it is closed for its silence.
    pub(super) fn refuse(&mut self, connection: ConnectionId, reason: String, out: &mut Vec<Effect>) {
        announce(Event::WorkerRefused { reason: reason.clone() }, out);
        let refused = ToWorker::Refused { reason };
        self.connect(out, |connections, effects| connections.send(connection, refused, effects));
    }

    fn misfit(&self, protocol: u32, graph: u64) -> Option<String> {
        if protocol != PROTOCOL_VERSION {
            return Some(format!("it speaks protocol {protocol}, the coordinator {PROTOCOL_VERSION}"));
        }
        let name = &self.job.graph.name;
        let own = self.job.graph.fingerprint();
        let differs = format!("its graph of job \"{name}\" has fingerprint {graph:016x}, the coordinator's {own:016x}");
        (graph != own).then_some(differs)
    }

    /// What no right worker sends closes its connection; the other cores never see it.
    pub(super) fn on_report(
        &mut self,
        connection: ConnectionId,
        worker: WorkerId,
        message: ToCoordinator,
        out: &mut Vec<Effect>,
    ) {
        assert!(matches!(self.ending, Ending::No), "nothing is reported once the job ends");
        if let Verdict::Reject(violation) = self.reports.on_report(worker, &message) {
            let cause = format!("it {violation}");
            self.statistics.on_rejected();
            let attempt = message.attempt().expect("a report is about an attempt");
            announce(Event::ReportRejected { worker, attempt, cause: violation.to_string() }, out);
            return self.lose(connection, &cause, out);
        }
        let now = self.now;
        match message {
            ToCoordinator::Restored { attempt, subtask } => {
                self.step_failover(|failover, effects| failover.on_restored(attempt, subtask, effects));
            }
            ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, statistics } => {
                self.on_ack(Ack { attempt, checkpoint, subtask, snapshot, statistics }, out);
            }
            ToCoordinator::Decline { attempt, checkpoint, subtask, reason } => {
                self.on_decline(attempt, checkpoint, subtask, reason, out);
            }
            ToCoordinator::InputEnded { attempt, subtask } => {
                let input_ended = |checkpoints: &mut super::Checkpointing, effects: &mut _| {
                    checkpoints.on_input_ended(now, attempt, subtask, effects);
                };
                self.step_checkpoints(input_ended);
            }
            ToCoordinator::Finished { attempt, subtask } => {
                // What follows for checkpoints comes first: the end of the job follows the last of them.
                self.step_failover(|failover, effects| failover.on_finished(attempt, subtask, effects));
                self.step_checkpoints(|checkpoints, effects| {
                    checkpoints.on_finished(now, attempt, subtask, effects);
                });
            }
            ToCoordinator::Failed { attempt, subtask, error } => {
                let who = match subtask {
                    Some(subtask) => format!("{} on {worker}", self.job.graph.show(subtask)),
                    None => worker.to_string(),
                };
                self.step_failover(|failover, effects| failover.on_failed(now, attempt, &who, error, effects));
            }
            ToCoordinator::Register { .. }
            | ToCoordinator::Sees(_)
            | ToCoordinator::Ask(_)
            | ToCoordinator::Heartbeat => panic!("handled before"),
        }
    }

    /// A connection is over, for whatever reason.
    pub(super) fn lose(&mut self, connection: ConnectionId, cause: &str, out: &mut Vec<Effect>) {
        let Some(open) = self.connections.get(connection) else { return };
        let cause = format!("connection to {}: {cause}", open.peer);
        self.forget_client(connection, out);
        self.connect(out, |connections, effects| connections.close(connection, effects));
        assert!(self.connections.get(connection).is_none(), "what follows from a loss comes behind it");
        self.next([Step::Leave { connection }]);
        let mut effects = Vec::new();
        let lost = self.failover.on_disconnected(self.now, connection, &cause, &mut effects);
        if let Some(worker) = lost {
            announce(Event::WorkerLost { worker }, out);
        }
        self.next(effects.into_iter().map(Step::Attempt));
    }

    pub(super) fn lose_silent(&mut self, connection: ConnectionId, out: &mut Vec<Effect>) {
        let cause = format!("silent for {:?}", self.connections.timeout());
        self.miss_if_over(connection);
        self.lose(connection, &cause, out);
    }

    pub(super) fn leave(&mut self, connection: ConnectionId) {
        assert!(self.connections.get(connection).is_none(), "a connection is closed before its place is free");
        self.step_roster(|roster, effects| roster.on_gone(connection, effects));
    }

    pub(super) fn validate_workers(&self) {
        for (worker, connection) in self.failover.workers() {
            let role = self.connections.get(*connection).map(|open| &open.role);
            let right = matches!(role, Some(Role::Worker(own, _)) if own == worker);
            assert!(right, "the newest connection of {worker} is open, and {worker} is at its other end");
        }
        match self.ending {
            Ending::No | Ending::Recording { .. } => {
                let counts = !self.failover.workers().is_empty();
                assert!(!counts || self.owns_output(), "no worker counts before the output is owned");
                let deployed = matches!(self.failover.standing(), Standing::Restores | Standing::Runs);
                assert!(!deployed || self.owns_output(), "nothing is deployed before the output is owned");
                assert!(self.failover.is_hosted_by(&self.hosts), "an attempt is hosted by its workers");
            }
            Ending::Lingering { .. } | Ending::Now(_) => {}
        }
    }
}

/// The address of a worker that listens on every address of its machine: the one at which it was seen.
fn reachable(data_address: String, peer: &str) -> String {
    match (data_address.parse::<SocketAddr>(), peer.parse::<SocketAddr>()) {
        (Ok(listens), Ok(seen)) if listens.ip().is_unspecified() => {
            SocketAddr::new(seen.ip(), listens.port()).to_string()
        }
        (Ok(_), Ok(_) | Err(_)) | (Err(_), Ok(_) | Err(_)) => data_address,
    }
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn a_worker_that_listens_everywhere_is_reached_where_it_was_seen() {
        let at = |listens: &str| reachable(listens.to_owned(), "10.0.0.7:50123");
        assert_eq!(at("0.0.0.0:6200"), "10.0.0.7:6200");
        assert_eq!(at("127.0.0.1:6200"), "127.0.0.1:6200");
        assert_eq!(at("worker-7.example:6200"), "worker-7.example:6200");
    }
}

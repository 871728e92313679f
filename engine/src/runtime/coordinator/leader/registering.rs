//! Registering: workers that fit, told apart by [`Roster`](crate::cores::roster), and those that do not.

use super::{Ending, Leader};
use crate::cores::failover::{ConnectionId, Registration};
use crate::cores::roster::Effect;
use crate::event::Event;
use crate::ids::WorkerId;
use crate::messages::{PROTOCOL_VERSION, ToWorker};
use core::net::SocketAddr;

impl Leader {
    /// A process wants to be `worker`.
    pub(super) fn on_register(
        &mut self,
        id: ConnectionId,
        worker: WorkerId,
        (protocol, graph): (u32, u64),
        incarnation: u64,
        data_address: String,
    ) {
        if let Some(reason) = self.misfit(protocol, graph) {
            return self.refuse(id, format!("{worker} does not fit: {reason}"));
        }
        let open = self.connections.get(id).expect("the connection is open");
        let data_address = reachable(data_address, &open.peer);
        self.connections.admit(id, worker, data_address);
        let mut out = Vec::new();
        self.roster.on_arrived(worker, incarnation, id, &mut out);
        self.perform_roster(out);
    }

    pub(super) fn perform_roster(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Register { worker, connection } => self.place(worker, connection),
                Effect::Wait { worker, connection } => {
                    self.emit(Event::WorkerWaits { worker });
                    self.connections.send(connection, &ToWorker::Occupied);
                    self.dismiss_if_over(connection, worker);
                }
                Effect::Close { connection } => self.connections.close(connection),
            }
        }
    }

    /// A worker has shown that it sees the output: it counts from here on.
    pub(super) fn register(&mut self, worker: WorkerId, id: ConnectionId) {
        let mut out = Vec::new();
        match self.failover.on_registered(self.now(), worker, id, &mut out) {
            // It has connected again, and been faster with that.
            Registration::Superseded => return self.perform_failover(out),
            Registration::Replacing => self.emit(Event::WorkerLost { worker }),
            Registration::New => {}
        }
        self.connections.promote(id);
        self.emit(Event::WorkerRegistered { worker });
        self.perform_failover(out);
        self.dismiss_if_over(id, worker);
    }

    /// Whoever comes after the end of the job is told.
    fn dismiss_if_over(&mut self, id: ConnectionId, worker: WorkerId) {
        if let Ending::Lingering { absent, .. } = &mut self.ending {
            absent.remove(&worker);
            self.connections.send(id, &ToWorker::JobDone);
        }
    }

    /// The other side closes the connection; if it does not, silence will.
    pub(super) fn refuse(&mut self, connection: ConnectionId, reason: String) {
        self.emit(Event::WorkerRefused { reason: reason.clone() });
        self.connections.send(connection, &ToWorker::Refused { reason });
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
}

/// Where a worker is reached that listens on every address of its machine and says so: at the one it was seen at.
fn reachable(data_address: String, peer: &str) -> String {
    match (data_address.parse::<SocketAddr>(), peer.parse::<SocketAddr>()) {
        (Ok(listens), Ok(seen)) if listens.ip().is_unspecified() => {
            SocketAddr::new(seen.ip(), listens.port()).to_string()
        }
        _ => data_address,
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

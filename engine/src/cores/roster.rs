//! The roster of a leadership: which process is which worker.
//!
//! 1. The first process that registers as a worker is that worker, for as long as it is connected.
//! 2. A process that connects again replaces its own connection. Its incarnation says that it is the same process.
//! 3. Another process of the same id waits, connected, until the first one is lost, and then takes its place: after a restart
//!    that the coordinator notices later than the new process arrives, and with two processes that were given one id by mistake.
//!
//! So no process makes another one leave for good. (Rejected: the later process replaces the earlier. A worker that was paused
//! and replaced would evict its successor when it wakes up and connects again, and be evicted by it, without end.)
//!
//! Owns: who is registered and who waits. Does not own: attempts ([`super::failover`]), the connections.

use super::failover::ConnectionId;
use crate::ids::WorkerId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Processes that wait for the place of one worker. One more is turned away, and may come again.
pub const WAITING_MAX: usize = 8;

/// What becomes of processes that want to register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The process at this connection is the worker from now on.
    Register {
        /// Which worker.
        worker: WorkerId,
        /// Its newest connection.
        connection: ConnectionId,
    },
    /// Another process is the worker: keep this one connected.
    Wait {
        /// Which worker it wants to be.
        worker: WorkerId,
        /// Its newest connection.
        connection: ConnectionId,
    },
    /// The connection is of no use: close it.
    Close {
        /// Which one.
        connection: ConnectionId,
    },
}

/// A process and its newest connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Process {
    incarnation: u64,
    connection: ConnectionId,
}

/// Which process is which worker.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    places: BTreeMap<WorkerId, Place>,
}

/// The place of one worker.
#[derive(Clone, Debug)]
struct Place {
    present: Process,
    /// In the order in which they came.
    waiting: VecDeque<Process>,
}

impl Roster {
    /// A process wants to be `worker`.
    pub fn on_arrived(&mut self, worker: WorkerId, incarnation: u64, connection: ConnectionId, out: &mut Vec<Effect>) {
        let new = Process { incarnation, connection };
        let Some(place) = self.places.get_mut(&worker) else {
            self.places.insert(worker, Place { present: new, waiting: VecDeque::new() });
            out.push(Effect::Register { worker, connection });
            return self.validate();
        };
        let full = place.waiting.len() == WAITING_MAX;
        let known = std::iter::once(&mut place.present).chain(&mut place.waiting);
        let known = known.enumerate().find(|(_, process)| process.incarnation == incarnation);
        match known {
            // Its registrations have overtaken each other.
            Some((_, process)) if process.connection > connection => out.push(Effect::Close { connection }),
            Some((0, present)) => {
                present.connection = connection;
                out.push(Effect::Register { worker, connection });
            }
            Some((_, waiting)) => {
                out.push(Effect::Close { connection: waiting.connection });
                waiting.connection = connection;
                out.push(Effect::Wait { worker, connection });
            }
            None if full => out.push(Effect::Close { connection }),
            None => {
                place.waiting.push_back(new);
                out.push(Effect::Wait { worker, connection });
            }
        }
        self.validate();
    }

    /// A connection is over: that of a worker, of a process that waits, or one that was overtaken.
    pub fn on_gone(&mut self, connection: ConnectionId, out: &mut Vec<Effect>) {
        self.places.retain(|&worker, place| {
            place.waiting.retain(|process| process.connection != connection);
            if place.present.connection != connection {
                return true;
            }
            let Some(next) = place.waiting.pop_front() else { return false };
            place.present = next;
            out.push(Effect::Register { worker, connection: next.connection });
            true
        });
        assert!(out.len() <= 1, "a connection has one place");
        self.validate();
    }

    /// The incarnation of every process that is connected.
    pub fn incarnations(&self) -> BTreeSet<u64> {
        let processes = |place: &Place| std::iter::once(place.present).chain(place.waiting.clone()).collect::<Vec<_>>();
        self.places.values().flat_map(processes).map(|process| process.incarnation).collect()
    }

    fn validate(&self) {
        let processes = |place: &Place| std::iter::once(place.present).chain(place.waiting.clone());
        let all: Vec<Process> = self.places.values().flat_map(processes).collect();
        let mut connections: Vec<ConnectionId> = all.iter().map(|process| process.connection).collect();
        connections.sort_unstable();
        assert!(connections.windows(2).all(|pair| pair[0] < pair[1]), "a connection has one place");
        for (worker, place) in &self.places {
            assert!(place.waiting.len() <= WAITING_MAX, "{} processes wait for {worker}", place.waiting.len());
            let mut incarnations: Vec<u64> = processes(place).map(|process| process.incarnation).collect();
            incarnations.sort_unstable();
            assert!(incarnations.windows(2).all(|pair| pair[0] < pair[1]), "a process stands once at {worker}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: WorkerId = WorkerId(3);

    fn register(connection: u64) -> Effect {
        Effect::Register { worker: WORKER, connection: ConnectionId(connection) }
    }

    fn wait(connection: u64) -> Effect {
        Effect::Wait { worker: WORKER, connection: ConnectionId(connection) }
    }

    fn close(connection: u64) -> Effect {
        Effect::Close { connection: ConnectionId(connection) }
    }

    fn arrive(roster: &mut Roster, incarnation: u64, connection: u64) -> Vec<Effect> {
        let mut out = Vec::new();
        roster.on_arrived(WORKER, incarnation, ConnectionId(connection), &mut out);
        out
    }

    fn gone(roster: &mut Roster, connection: u64) -> Vec<Effect> {
        let mut out = Vec::new();
        roster.on_gone(ConnectionId(connection), &mut out);
        out
    }

    #[test]
    fn a_second_process_waits_and_takes_the_place_of_the_first_when_that_is_lost() {
        let mut roster = Roster::default();
        assert_eq!(arrive(&mut roster, 10, 1), [register(1)]);
        assert_eq!(arrive(&mut roster, 20, 2), [wait(2)]);
        assert_eq!(gone(&mut roster, 1), [register(2)]);
        assert_eq!(arrive(&mut roster, 10, 3), [wait(3)], "the first one is back, and evicts no other process");
        assert_eq!(gone(&mut roster, 3), []);
        assert_eq!(gone(&mut roster, 2), []);
        assert_eq!(arrive(&mut roster, 10, 4), [register(4)]);
    }

    #[test]
    fn a_process_that_connects_again_replaces_its_own_connection() {
        let mut roster = Roster::default();
        arrive(&mut roster, 10, 1);
        assert_eq!(arrive(&mut roster, 10, 5), [register(5)]);
        assert_eq!(gone(&mut roster, 1), [], "an old connection has no place");
        assert_eq!(arrive(&mut roster, 10, 4), [close(4)], "it was overtaken");
        arrive(&mut roster, 20, 6);
        assert_eq!(arrive(&mut roster, 20, 7), [close(6), wait(7)]);
        assert_eq!(gone(&mut roster, 5), [register(7)]);
    }

    #[test]
    fn so_many_wait_in_order_and_no_more() {
        let mut roster = Roster::default();
        for process in 0..=WAITING_MAX as u64 {
            arrive(&mut roster, process, 1 + process);
        }
        assert_eq!(arrive(&mut roster, 100, 100), [close(100)]);
        assert_eq!(gone(&mut roster, 1), [register(2)]);
        assert_eq!(arrive(&mut roster, 100, 101), [wait(101)]);
        assert_eq!(gone(&mut roster, 2), [register(3)]);
    }
}

//! The simulated world.

pub mod fault;
pub mod tuning;

use bytes::Bytes;
use cofferdam_engine::door::{BoxFuture, Env};
use cofferdam_properties::history::{History, Process};
use std::collections::BTreeMap;
use std::sync::Arc;

pub use fault::{CheckpointAt, Fault, FaultKind, FaultRecord, Point, Requests, Target, Trigger};
pub use tuning::{Budget, Delay, Tuning};

/// A world to run: everything that decides a run.
pub struct WorldSpec {
    /// Decides everything that is left open by the rest.
    pub seed: u64,
    /// The processes, started in this order at the beginning (each after a small keyed delay).
    pub processes: Vec<ProcessSpec>,
    /// Objects in storage at the beginning.
    pub initial: BTreeMap<String, Bytes>,
    /// What strikes.
    pub faults: Vec<Fault>,
    /// Virtual time after which nothing strikes any more and what was broken works again.
    pub heal_at_ms: u64,
    /// How long things take.
    pub tuning: Tuning,
    /// How much the run may use.
    pub budget: Budget,
}

/// What a process runs: called once per incarnation. `Err` is for people.
pub type Main = Arc<dyn Fn(Env) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// One process of a world.
#[derive(Clone)]
pub struct ProcessSpec {
    /// Its name.
    pub process: Process,
    /// Its main function.
    pub main: Main,
    /// What happens when its main function returns an error.
    pub on_error: OnError,
}

/// What happens when a process's main function returns an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnError {
    /// The process stays down.
    StayDown,
    /// A new incarnation comes up, as under a supervisor.
    Restart {
        /// After this long.
        after_ms: u64,
    },
    /// The run is over.
    EndRun,
}

/// What is left of a run.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Everything that happened.
    pub history: History,
    /// The chained digest of the history, times included: equal runs have equal fingerprints.
    pub fingerprint: u64,
    /// Deliveries made.
    pub events: u64,
    /// How the run ended.
    pub ended: RunEnd,
    /// What became of each fault of the spec.
    pub faults: Vec<FaultRecord>,
    /// What storage holds at the end, late effects included.
    pub storage: BTreeMap<String, Bytes>,
    /// Counts of what happened.
    pub counters: Counters,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunEnd {
    /// Every process's main function has returned, and none is to come up again.
    AllEnded,
    /// A process with [`OnError::EndRun`] returned an error.
    Failed {
        /// Which.
        process: Process,
        /// Its error.
        message: String,
    },
    /// [`Budget::events`] is used up.
    EventBudget,
    /// [`Budget::virtual_ms`] is used up.
    TimeBudget,
    /// Everybody waits and nothing is on its way.
    Deadlock,
    /// A task of the engine panicked.
    Panicked {
        /// In which process.
        process: Process,
        /// The message and where it came from.
        message: String,
    },
}

/// Counts of what happened in a run, to show that it was not vacuous.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "each is named after what it counts")]
pub struct Counters {
    pub crashes: u64,
    pub starts: u64,
    pub frames_delivered: u64,
    pub frames_lost: u64,
    pub connections: u64,
    pub connections_broken: u64,
    pub rings: u64,
    pub timers: u64,
    pub picks: u64,
    pub tasks: u64,
    pub storage_requests: u64,
    pub late_effects: u64,
    pub lost_effects: u64,
}

// pub fn run(spec: WorldSpec) -> Recording      on a fresh OS thread; never panics because the engine does

//! The simulated world: every trait of the engine's door, on virtual time, decided by one seed.
//!
//! **Determinism model**
//! 1. A [`WorldSpec`] decides everything; two runs of it have equal [`Recording::fingerprint`]s, in another thread,
//!    process and build profile.
//! 2. Everything that can wake a task is a *delivery* on one queue, ordered by virtual time, then by a keyed rank
//!    (`queue`). Between two quiet moments exactly one task of the engine runs (`driver`), so madsim's scheduler
//!    never has a choice, and neither its clock nor its random numbers show.
//! 3. Every delay, pick, token and loss is a pure function of (seed, domain, logical key, occurrence) ([`keyed`]).
//!    There is no random stream and no global counter in any key: another task, timer or log line moves nothing.
//! 4. Each run has a fresh thread, so nothing thread-local survives from another one.
//!
//! **Owns**: time, connections, objects, schedules, tasks, what is recorded of them, and what strikes them.
//! **Does not own**: what the processes do, nor whether it is right; see `cofferdam_properties`.
//!
//! **A crash** fences the incarnation's ports at once, possibly in the middle of a poll; its node is killed at the
//! next quiet moment, and a later incarnation gets a new one.
//!
//! **A process that was replaced** (a zombie) lives on beside its successor until it is taken down: the newest incarnation is
//! the one that faults hit and that peers find at well-known addresses.
//!
//! Not modelled: CPU time other than `Clock::work`, torn writes, garbled frames.

#[cfg(not(madsim))]
compile_error!(
    "cofferdam-sim needs madsim's simulator. Paste this into .cargo/config.toml at the root of your workspace, and leave \
     the RUSTFLAGS environment variable unset (it replaces these lines):\n\n\
     [build]\n\
     rustflags = [\"--cfg\", \"madsim\"]\n\
     rustdocflags = [\"--cfg\", \"madsim\"]\n"
);

mod bell;
mod connection;
mod driver;
mod external;
pub mod fault;
mod incarnation;
pub mod keyed;
mod links;
mod network;
pub mod picks;
mod queue;
mod rogue;
mod state;
mod storage;
mod straggler;
mod strike;
mod task;
#[cfg(test)]
mod tests;
pub mod tuning;
mod turn;
mod upload;
mod wait;

use bytes::Bytes;
use cofferdam_engine::door::{BoxFuture, Env};
use cofferdam_properties::external::Models;
use cofferdam_properties::history::{History, Process};
use keyed::Keyed;
use state::State;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use fault::{CheckpointAt, Fault, FaultKind, FaultRecord, InputChange, Point, Requests, Target, Trigger};
pub use picks::{Offer, Pick, Picks};
pub use rogue::Forgery;
pub use task::quietly;
pub use tuning::{Budget, Delay, Tuning};

/// A world to run: everything that decides a run.
pub struct WorldSpec {
    /// Decides everything that is left open by the rest.
    pub seed: u64,
    /// The processes; each comes up after a small keyed delay.
    pub processes: Vec<ProcessSpec>,
    /// Subtasks are placed on so many workers, in the order of their indices; the others are spare.
    pub hosts: u16,
    /// Objects in storage at the beginning.
    pub initial: BTreeMap<String, Bytes>,
    /// Systems outside, as they are at the beginning.
    pub models: Models,
    /// What strikes.
    pub faults: Vec<Fault>,
    /// Virtual time after which nothing strikes any more and what was broken works again.
    pub heal_at_ms: u64,
    /// How long things take.
    pub tuning: Tuning,
    /// Who decides the free choices.
    pub picks: Picks,
    /// Whether to write them down.
    pub record_picks: bool,
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
    /// Virtual nanoseconds that the run took.
    pub virtual_ns: u64,
    /// How the run ended.
    pub ended: RunEnd,
    /// What became of each fault of the spec.
    pub faults: Vec<FaultRecord>,
    /// What storage holds at the end, late effects included.
    pub storage: BTreeMap<String, Bytes>,
    /// Counts of what happened.
    pub counters: Counters,
    /// Every free choice, if asked for.
    pub offers: Vec<Offer>,
    /// Listed choices that made no difference.
    pub idle_picks: usize,
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
    /// A task of the engine panicked, or was woken by something else than the door.
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

impl WorldSpec {
    /// Whether the spec makes sense, and if not why, in one line.
    pub fn validate(&self) -> Result<(), String> {
        if self.processes.is_empty() {
            return Err("a world needs a process".to_owned());
        }
        if self.tuning.favour_percent >= 100 || self.tuning.drift_ppm >= 1_000_000 || self.tuning.window == 0 {
            return Err("tuning: favour_percent < 100, drift_ppm < 1000000 and window > 0 are needed".to_owned());
        }
        for (number, fault) in self.faults.iter().enumerate() {
            fault.validate().map_err(|cause| format!("fault {number} ({fault}): {cause}"))?;
            let unknown = |process: &Process| !self.processes.iter().any(|known| known.process == *process);
            if let Some(process) = fault.what.names().into_iter().find(unknown) {
                return Err(format!("fault {number} ({fault}): there is no {process}"));
            }
        }
        Ok(())
    }
}

/// Runs a world on a thread of its own. Panics if the spec is not valid or the world itself is broken, never because
/// the engine panics.
pub fn run(spec: WorldSpec) -> Recording {
    on_thread_of_its_own(|| run_here(spec))
}

/// As much as a main thread has.
const STACK_BYTES: usize = 8 << 20;

/// Runs something that a world is part of on a fresh thread, and waits for it. Panics if it does.
pub fn on_thread_of_its_own<T: Send>(code: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("world".to_owned()).stack_size(STACK_BYTES);
        let running = thread.spawn_scoped(scope, code).expect("the system has a thread to spare");
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a world on this thread, which must be fresh. Panics as [`run`] does.
pub fn run_here(spec: WorldSpec) -> Recording {
    run_and_leave(spec).0
}

/// Runs a world on this thread. Also gives what is left of the world: nothing should hold it.
fn run_and_leave(mut spec: WorldSpec) -> (Recording, std::sync::Weak<Shared>) {
    // First thing on the thread; its seed decides nothing.
    let runtime = madsim::runtime::Runtime::new();
    if let Err(cause) = spec.validate() {
        panic!("{cause}");
    }
    task::capture_engine_panics();
    let world = Arc::new(Shared {
        now: AtomicU64::new(0),
        turn: turn::Turn::new(),
        keyed: Keyed::new(spec.seed),
        tuning: spec.tuning.clone(),
        state: Mutex::new(State::new(&mut spec)),
    });
    world.lock().begin(&world);
    let ended = runtime.block_on(driver::drive(world.clone()));
    let mut state = world.lock();
    let recording = Recording {
        fingerprint: state.fingerprint(),
        events: state.events(),
        virtual_ns: world.now(),
        ended,
        faults: state.faults.records().to_vec(),
        counters: state.counters,
        idle_picks: state.chooser.idle(),
        offers: state.chooser.take(),
        storage: state.store.take_objects(),
        history: std::mem::take(&mut state.history),
    };
    drop(state);
    (recording, Arc::downgrade(&world))
}

/// A world: its constants, what is read on every path, and the state behind one lock.
pub(crate) struct Shared {
    now: AtomicU64,
    turn: turn::Turn,
    keyed: Keyed,
    tuning: Tuning,
    state: Mutex<State>,
}

impl Shared {
    /// The state. Never held while a future of the engine is polled or dropped.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn set_now(&self, time: u64) {
        let before = self.now.swap(time, Ordering::Relaxed);
        assert!(before <= time, "time does not go back");
    }

    /// The task being polled, or a number that no task has.
    fn current_task(&self) -> u32 {
        self.turn.current_task()
    }
}

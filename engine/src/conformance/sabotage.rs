//! Doors with one broken promise each: every one of them must be caught by its suite, or the suite is worth nothing.
//!
//! A flaw wraps an implementation, simulated or real, and breaks one guarantee now and then. A broken promise either makes the
//! suite panic or, where something never comes, keeps it waiting for ever ([`Sabotage::hangs`]).

mod network;

use super::{clock, network as network_suite, schedule, spawner, trace};
use crate::door::{Bell, BoxFuture, Clock, Env, Schedule, Site, Spawner, TaskHandle, Time, Trace, Work};
use crate::event::Event;
use crate::ids::SubtaskId;
use network::{CrookedNetwork, NetworkFlaw};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// A broken promise.
pub struct Sabotage {
    /// What is broken.
    pub name: &'static str,
    /// Who must notice.
    pub suite: Suite,
    /// The suite waits for ever, instead of panicking.
    pub hangs: bool,
    /// Breaks it.
    pub apply: fn(Env) -> Env,
}

/// A suite of bodies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is named after the trait it is about")]
pub enum Suite {
    Clock,
    Network,
    Schedule,
    Spawner,
    /// Its record is read by whoever runs it.
    Trace,
}

impl Suite {
    /// Runs the suite.
    pub async fn run(self, env: &Env, address: &str) {
        match self {
            Self::Clock => clock::check(env).await,
            Self::Network => network_suite::check(env, address).await,
            Self::Schedule => schedule::check(env),
            Self::Spawner => spawner::check(env).await,
            Self::Trace => trace::announce(env).await,
        }
    }
}

/// Every broken promise there is.
pub fn all() -> Vec<Sabotage> {
    let panics = |name, suite, apply| Sabotage { name, suite, hangs: false, apply };
    let hangs = |name, suite, apply| Sabotage { name, suite, hangs: true, apply };
    vec![
        panics("the clock goes back", Suite::Clock, |env| with_clock(env, ClockFlaw::GoesBack)),
        panics("sleeps end early", Suite::Clock, |env| with_clock(env, ClockFlaw::WakesEarly)),
        panics("frames are reordered", Suite::Network, |env| with_network(env, NetworkFlaw::Reorders)),
        panics("a frame comes twice", Suite::Network, |env| with_network(env, NetworkFlaw::Repeats)),
        panics("two frames are merged", Suite::Network, |env| with_network(env, NetworkFlaw::Merges)),
        panics("a frame is lost", Suite::Network, |env| with_network(env, NetworkFlaw::Loses)),
        panics("a frame is garbled", Suite::Network, |env| with_network(env, NetworkFlaw::Garbles)),
        panics("a receive loses its frame", Suite::Network, |env| with_network(env, NetworkFlaw::ForgetsWhenGivenUp)),
        panics("a frame comes after the break", Suite::Network, |env| with_network(env, NetworkFlaw::SpeaksAfterBreak)),
        hangs("a break is hidden", Suite::Network, |env| with_network(env, NetworkFlaw::HidesBreaks)),
        panics("a bound is ignored", Suite::Network, |env| with_network(env, NetworkFlaw::IgnoresBounds)),
        panics("a port is shared", Suite::Network, |env| with_network(env, NetworkFlaw::SharesPorts)),
        panics("a pick is out of range", Suite::Schedule, |env| with_schedule(env, ScheduleFlaw::OutOfRange)),
        panics("a choice never comes up", Suite::Schedule, |env| with_schedule(env, ScheduleFlaw::NeverTheLast)),
        panics("choices are dealt in turn", Suite::Schedule, |env| with_schedule(env, ScheduleFlaw::InTurn)),
        panics("a token comes twice", Suite::Schedule, |env| with_schedule(env, ScheduleFlaw::RepeatsTokens)),
        panics("a nonce comes twice", Suite::Schedule, |env| with_schedule(env, ScheduleFlaw::RepeatsNonces)),
        panics("nonces are counted", Suite::Schedule, |env| with_schedule(env, ScheduleFlaw::CountsNonces)),
        hangs("a ring is lost", Suite::Spawner, |env| with_spawner(env, SpawnerFlaw::LosesRings)),
        panics("a ring comes twice", Suite::Spawner, |env| with_spawner(env, SpawnerFlaw::DoublesRings)),
        panics("aborts are ignored", Suite::Spawner, |env| with_spawner(env, SpawnerFlaw::IgnoresAborts)),
        hangs("dropping a handle aborts", Suite::Spawner, |env| with_spawner(env, SpawnerFlaw::AbortsWhenDropped)),
        panics("an event is lost", Suite::Trace, |env| with_trace(env, TraceFlaw::Loses)),
        panics("an event comes twice", Suite::Trace, |env| with_trace(env, TraceFlaw::Repeats)),
        panics("events of a task are reordered", Suite::Trace, |env| with_trace(env, TraceFlaw::Reorders)),
    ]
}

/// How rare a flaw shows.
const ONE_IN: u64 = 50;

#[derive(Default)]
struct Rarely(AtomicU64);

impl Rarely {
    fn now(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) % ONE_IN == ONE_IN - 1
    }
}

enum ClockFlaw {
    GoesBack,
    WakesEarly,
}

struct CrookedClock {
    inner: Arc<dyn Clock>,
    flaw: ClockFlaw,
    rarely: Rarely,
}

fn with_clock(env: Env, flaw: ClockFlaw) -> Env {
    Env { clock: Arc::new(CrookedClock { inner: env.clock, flaw, rarely: Rarely::default() }), ..env }
}

impl Clock for CrookedClock {
    fn now(&self) -> Time {
        let now = self.inner.now();
        match self.flaw {
            ClockFlaw::GoesBack if self.rarely.now() => Time(now.0.saturating_sub(5_000_000)),
            ClockFlaw::GoesBack | ClockFlaw::WakesEarly => now,
        }
    }

    fn wall_ms(&self) -> u64 {
        self.inner.wall_ms()
    }

    fn sleep_until(&self, deadline: Time) -> BoxFuture<'static, ()> {
        match self.flaw {
            // By more than timers are late.
            ClockFlaw::WakesEarly => self.inner.sleep_until(Time(deadline.0.saturating_sub(5_000_000))),
            ClockFlaw::GoesBack => self.inner.sleep_until(deadline),
        }
    }

    fn work(&self, site: Site, work: Work) -> Option<BoxFuture<'static, ()>> {
        self.inner.work(site, work)
    }
}

fn with_network(env: Env, flaw: NetworkFlaw) -> Env {
    Env { network: Arc::new(CrookedNetwork::new(env.network, env.clock.clone(), flaw)), ..env }
}

enum ScheduleFlaw {
    OutOfRange,
    NeverTheLast,
    InTurn,
    RepeatsTokens,
    RepeatsNonces,
    CountsNonces,
}

struct CrookedSchedule {
    inner: Arc<dyn Schedule>,
    flaw: ScheduleFlaw,
    rarely: Rarely,
}

fn with_schedule(env: Env, flaw: ScheduleFlaw) -> Env {
    Env { schedule: Arc::new(CrookedSchedule { inner: env.schedule, flaw, rarely: Rarely::default() }), ..env }
}

impl Schedule for CrookedSchedule {
    fn pick(&self, site: Site, choices: usize) -> usize {
        match self.flaw {
            ScheduleFlaw::OutOfRange if self.rarely.now() => choices,
            ScheduleFlaw::NeverTheLast => self.inner.pick(site, choices).min(choices.saturating_sub(2)),
            ScheduleFlaw::InTurn => (self.rarely.0.fetch_add(1, Ordering::Relaxed) % choices as u64) as usize,
            ScheduleFlaw::OutOfRange
            | ScheduleFlaw::RepeatsTokens
            | ScheduleFlaw::RepeatsNonces
            | ScheduleFlaw::CountsNonces => self.inner.pick(site, choices),
        }
    }

    fn token(&self, site: Site) -> u64 {
        match self.flaw {
            ScheduleFlaw::RepeatsTokens if self.rarely.now() => 7,
            _ => self.inner.token(site),
        }
    }

    fn nonce(&self, site: Site) -> [u8; 32] {
        match self.flaw {
            ScheduleFlaw::RepeatsNonces if self.rarely.now() => [7; 32],
            ScheduleFlaw::CountsNonces => {
                let mut nonce = [0; 32];
                nonce[..8].copy_from_slice(&self.rarely.0.fetch_add(1, Ordering::Relaxed).to_le_bytes());
                nonce
            }
            _ => self.inner.nonce(site),
        }
    }
}

#[derive(Clone, Copy)]
enum SpawnerFlaw {
    LosesRings,
    DoublesRings,
    IgnoresAborts,
    AbortsWhenDropped,
}

struct CrookedSpawner {
    inner: Arc<dyn Spawner>,
    flaw: SpawnerFlaw,
}

fn with_spawner(env: Env, flaw: SpawnerFlaw) -> Env {
    Env { spawner: Arc::new(CrookedSpawner { inner: env.spawner, flaw }), ..env }
}

impl Spawner for CrookedSpawner {
    fn spawn(&self, site: Site, future: BoxFuture<'static, ()>) -> Box<dyn TaskHandle> {
        Box::new(CrookedHandle { inner: self.inner.spawn(site, future), flaw: self.flaw })
    }

    fn bell(&self, site: Site) -> Arc<dyn Bell> {
        Arc::new(CrookedBell { inner: self.inner.bell(site), flaw: self.flaw, rarely: Rarely::default() })
    }
}

struct CrookedHandle {
    inner: Box<dyn TaskHandle>,
    flaw: SpawnerFlaw,
}

impl TaskHandle for CrookedHandle {
    fn abort(&self) {
        if !matches!(self.flaw, SpawnerFlaw::IgnoresAborts) {
            self.inner.abort();
        }
    }
}

impl Drop for CrookedHandle {
    fn drop(&mut self) {
        if matches!(self.flaw, SpawnerFlaw::AbortsWhenDropped) {
            self.inner.abort();
        }
    }
}

struct CrookedBell {
    inner: Arc<dyn Bell>,
    flaw: SpawnerFlaw,
    rarely: Rarely,
}

impl Bell for CrookedBell {
    fn ring(&self) {
        let now = self.rarely.now();
        if !(now && matches!(self.flaw, SpawnerFlaw::LosesRings)) {
            self.inner.ring();
        }
        if now && matches!(self.flaw, SpawnerFlaw::DoublesRings) {
            self.inner.ring();
        }
    }

    fn rung(&self) -> u64 {
        self.inner.rung()
    }

    fn poll_rung(&self, seen: u64, context: &mut Context<'_>) -> Poll<u64> {
        self.inner.poll_rung(seen, context)
    }
}

enum TraceFlaw {
    Loses,
    Repeats,
    Reorders,
}

struct CrookedTrace {
    inner: Arc<dyn Trace>,
    flaw: TraceFlaw,
    rarely: Rarely,
    held: Mutex<BTreeMap<SubtaskId, Event>>,
}

fn with_trace(env: Env, flaw: TraceFlaw) -> Env {
    let (inner, rarely) = (env.trace, Rarely::default());
    Env { trace: Arc::new(CrookedTrace { inner, flaw, rarely, held: Mutex::default() }), ..env }
}

impl Trace for CrookedTrace {
    fn emit(&self, event: Event) {
        let now = self.rarely.now();
        match self.flaw {
            TraceFlaw::Loses if now => {}
            TraceFlaw::Repeats if now => {
                self.inner.emit(event.clone());
                self.inner.emit(event);
            }
            TraceFlaw::Reorders => {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                let subtask = event.subtask().unwrap_or_default();
                let late = held.remove(&subtask);
                if now && late.is_none() {
                    held.insert(subtask, event);
                    return;
                }
                self.inner.emit(event);
                late.into_iter().for_each(|late| self.inner.emit(late));
            }
            TraceFlaw::Loses | TraceFlaw::Repeats => self.inner.emit(event),
        }
    }
}

/// Half as long as a receive is waited for in the body that gives receives up.
const DAWDLE: Duration = Duration::from_micros(100);

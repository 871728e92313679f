//! One incarnation of a process: its door into the world, and the small ports in it — clock, schedule, trace and
//! spawner. Network and storage have files of their own.
//!
//! Fencing is one flag, looked at by every port: from the moment it is set (possibly in the middle of a poll) nothing
//! the incarnation asks for happens and no future of its ports completes.

use super::bell::WorldBell;
use super::keyed::{Domain, identity};
use super::queue::Arrival;
use super::wait::{Outcome, WaitId};
use super::{Shared, state::Task};
use cofferdam_engine::door::{Bell, BoxFuture, Clock, Env, Schedule, Site, Spawner, TaskHandle, Time, Trace, Work};
use cofferdam_engine::event::Event;
use cofferdam_properties::history::{Incarnation, What};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll};

/// 2024-01-01, in milliseconds since 1970: when every run begins, for people.
const RUNS_BEGIN_MS: u64 = 1_704_067_200_000;

/// What all ports of one incarnation share.
pub(crate) struct Door {
    /// The world.
    pub world: Arc<Shared>,
    /// Who.
    pub who: Incarnation,
    /// Its place among all incarnations of the world.
    pub index: u32,
    /// Its logical identity.
    pub key: u64,
    clock: LocalClock,
    /// How far the wall clock has jumped.
    wall_jumps_ms: AtomicI64,
    slowness_percent: u64,
    fenced: AtomicBool,
}

impl Door {
    /// The door of a new incarnation.
    pub fn new(world: Arc<Shared>, who: Incarnation, index: u32) -> Self {
        let key = identity(who);
        let clock = LocalClock::new(&world, who);
        let slowness = world.keyed.draw(Domain::Work, who.process, 0) % (u64::from(world.tuning.slowness_percent) + 1);
        Self {
            world,
            who,
            index,
            key,
            clock,
            wall_jumps_ms: AtomicI64::new(0),
            slowness_percent: 100 + slowness,
            fenced: AtomicBool::new(false),
        }
    }

    /// The wall clock shows another time from now on.
    pub fn jump_wall_clock(&self, by_ms: i64) {
        self.wall_jumps_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Whether the incarnation is dead.
    #[inline]
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Kills every port.
    pub fn fence(&self) {
        self.fenced.store(true, Ordering::Relaxed);
    }

    /// What the engine gets.
    pub fn env(self: &Arc<Self>) -> Env {
        let port = Arc::new(Port { door: self.clone() });
        Env {
            clock: port.clone(),
            network: port.clone(),
            storage: port.clone(),
            externals: port.clone(),
            schedule: port.clone(),
            spawner: port.clone(),
            trace: port,
        }
    }
}

/// Implements every trait of the door.
pub(crate) struct Port {
    pub door: Arc<Door>,
}

/// An incarnation's own idea of time: another zero, and a little too fast or too slow.
#[derive(Clone, Copy)]
struct LocalClock {
    zero: u64,
    /// Local nanoseconds per million of the world's.
    rate: u64,
}

const MILLION: u64 = 1_000_000;

impl LocalClock {
    fn new(world: &Shared, who: Incarnation) -> Self {
        let drift = u64::from(world.tuning.drift_ppm);
        let word = world.keyed.draw(Domain::Clock, who, 0);
        // The rate belongs to the machine, the zero to the process.
        let rate = MILLION - drift + world.keyed.draw(Domain::Clock, who.process, 1) % (2 * drift + 1);
        Self { zero: word % 1_000_000_000_000, rate }
    }

    fn local(self, world_ns: u64) -> u64 {
        self.zero + (u128::from(world_ns) * u128::from(self.rate) / u128::from(MILLION)) as u64
    }

    /// The first world time at which the local clock shows at least `local_ns`.
    fn world(self, local_ns: u64) -> u64 {
        let elapsed = u128::from(local_ns.saturating_sub(self.zero));
        u64::try_from((elapsed * u128::from(MILLION)).div_ceil(u128::from(self.rate))).unwrap_or(u64::MAX)
    }
}

impl Clock for Port {
    fn now(&self) -> Time {
        Time(self.door.clock.local(self.door.world.now()))
    }

    fn wall_ms(&self) -> u64 {
        let elapsed = self.door.clock.local(self.door.world.now()).saturating_sub(self.door.clock.zero) / MILLION;
        (RUNS_BEGIN_MS + elapsed).saturating_add_signed(self.door.wall_jumps_ms.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, deadline: Time) -> BoxFuture<'static, ()> {
        Box::pin(Sleep { door: self.door.clone(), deadline: self.door.clock.world(deadline.0), stage: Stage::Unasked })
    }

    fn work(&self, site: Site, work: Work) -> Option<BoxFuture<'static, ()>> {
        let door = &self.door;
        let world = &door.world;
        let occurrence = world.lock().count(door.index, Domain::Work, identity(site));
        let draw = |nth| world.keyed.draw(Domain::Work, (door.key, site), 2 * occurrence + nth);
        let cost = match work {
            Work::Records(records) => world.tuning.work_per_record.from_draw(draw(0)).saturating_mul(records),
            Work::Page(bytes) => world.tuning.encode_per_kb_ns.saturating_mul(bytes) / 1024,
        };
        let cost = world.tuning.work.from_draw(draw(1)).saturating_add(cost);
        let cost = cost.saturating_mul(door.slowness_percent) / 100;
        let deadline = world.now().saturating_add(cost);
        Some(Box::pin(Sleep { door: door.clone(), deadline, stage: Stage::Unasked }))
    }
}

/// A timer: asks for its delivery at the first poll, takes it back when dropped.
struct Sleep {
    door: Arc<Door>,
    /// World time.
    deadline: u64,
    stage: Stage,
}

enum Stage {
    Unasked,
    Waiting(WaitId),
    Over,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.door.is_fenced() {
            return Poll::Pending;
        }
        let world = &this.door.world;
        let mut state = world.lock();
        let id = match this.stage {
            Stage::Over => panic!("a timer was polled after it had fired"),
            Stage::Waiting(id) => id,
            Stage::Unasked => {
                let word = state.draw_for_task(world, Domain::Timer, &this.door);
                // Even a deadline of the past takes a delivery, so that no task can go round without the world.
                let fires = this.deadline.max(world.now()).saturating_add(world.tuning.timer.from_draw(word));
                let id = state.waits.add(this.door.index, Outcome::Elapsed);
                state.queue.push(fires, word, Arrival::Wait(id));
                this.stage = Stage::Waiting(id);
                id
            }
        };
        match state.waits.poll(id, context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => {
                this.stage = Stage::Over;
                state.counters.timers += 1;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Stage::Waiting(id) = self.stage {
            let mut guard = self.door.world.lock();
            let state = &mut *guard;
            let rest = state.waits.free(id);
            state.queue.on_void_timer(&state.waits);
            drop(guard);
            drop(rest);
        }
    }
}

impl Schedule for Port {
    fn pick(&self, site: Site, choices: usize) -> usize {
        assert!(choices >= 1, "{site:?} has nothing to pick from");
        if choices == 1 {
            return 0;
        }
        let mut state = self.door.world.lock();
        state.counters.picks += 1;
        let occurrence = state.count(self.door.index, Domain::Schedule, identity(site));
        let decided = state.chooser.decided(self.door.who, site, occurrence, choices);
        let choice = decided.unwrap_or_else(|| self.drawn(site, occurrence, choices));
        let entries = state.history.entries.len();
        state.chooser.made(self.door.who, site, occurrence, choices, choice, entries);
        choice
    }

    fn token(&self, site: Site) -> u64 {
        let occurrence = self.door.world.lock().count(self.door.index, Domain::Token, identity(site));
        self.door.world.keyed.draw(Domain::Token, (self.door.key, site), occurrence)
    }

    fn nonce(&self, site: Site) -> [u8; 32] {
        let occurrence = self.door.world.lock().count(self.door.index, Domain::Nonce, identity(site));
        let word = |nth: u64| self.door.world.keyed.draw(Domain::Nonce, (self.door.key, site, nth), occurrence);
        let mut nonce = [0; 32];
        for (bytes, nth) in nonce.chunks_exact_mut(8).zip(0..) {
            bytes.copy_from_slice(&word(nth).to_le_bytes());
        }
        nonce
    }
}

impl Port {
    /// The choice of the seed.
    fn drawn(&self, site: Site, occurrence: u64, choices: usize) -> usize {
        let world = &self.door.world;
        let word = world.keyed.draw(Domain::Schedule, (self.door.key, site), occurrence);
        let favoured = word % 100 < u64::from(world.tuning.favour_percent);
        let word = if favoured {
            let streak = occurrence / u64::from(world.tuning.favour_for.max(1));
            world.keyed.draw(Domain::Favour, (self.door.key, site), streak)
        } else {
            word / 100
        };
        (word % choices as u64) as usize
    }
}

impl Trace for Port {
    fn emit(&self, event: Event) {
        if self.door.is_fenced() {
            return;
        }
        let world = &self.door.world;
        let mut state = world.lock();
        let struck = state.faults.matching(&event, self.door.who.process);
        state.release_stragglers(world, &event);
        state.record(world.now(), self.door.who, What::Claim(event));
        for fault in struck {
            state.strike(world, fault, Some(self.door.index));
        }
    }
}

impl Spawner for Port {
    fn spawn(&self, site: Site, future: BoxFuture<'static, ()>) -> Box<dyn TaskHandle> {
        let door = &self.door;
        let aborted = Arc::new(AtomicBool::new(false));
        if door.is_fenced() {
            return Box::new(Handle { door: door.clone(), task: u32::MAX, aborted });
        }
        let mut state = door.world.lock();
        let occurrence = state.count(door.index, Domain::Spawn, identity(site));
        let key = identity((door.key, site, occurrence));
        let task = state.add_task(Task::new(key, door.index, Some(future), aborted.clone()));
        let word = door.world.keyed.draw(Domain::Spawn, key, 0);
        let starts = door.world.now() + door.world.tuning.spawn.from_draw(word);
        state.queue.push(starts, word, Arrival::Spawn(task));
        Box::new(Handle { door: door.clone(), task, aborted })
    }

    fn bell(&self, site: Site) -> Arc<dyn Bell> {
        Arc::new(WorldBell::new(self.door.clone(), site))
    }
}

struct Handle {
    door: Arc<Door>,
    task: u32,
    aborted: Arc<AtomicBool>,
}

impl TaskHandle for Handle {
    fn abort(&self) {
        if self.door.is_fenced() || self.aborted.swap(true, Ordering::Relaxed) {
            return;
        }
        // The flag alone keeps the task from being polled again; the delivery lets it end even if nothing else
        // would wake it.
        let world = &self.door.world;
        let mut state = world.lock();
        let word = world.keyed.draw(Domain::Spawn, state.task_key(self.task), 1);
        state.queue.push(world.now() + world.tuning.spawn.from_draw(word), word, Arrival::Abort(self.task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_on_a_drifting_clock_is_reached_when_it_is_and_not_before() {
        for rate in [999_800, 1_000_000, 1_000_200] {
            let clock = LocalClock { zero: 77, rate };
            for local in [77, 78, 1_000_000, 123_456_789_012_345] {
                let at = clock.world(local);
                assert!(clock.local(at) >= local);
                assert!(at == 0 || clock.local(at - 1) < local);
            }
        }
    }
}

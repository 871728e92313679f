//! Bells: how the tasks of one process wake each other, each ring a delivery of its own.
//!
//! Rings of one bell arrive in the order of ringing; only their count shows. The count changes in deliveries alone,
//! so reading it takes no lock.

use super::incarnation::Door;
use super::keyed::{Domain, identity};
use super::queue::Arrival;
use super::wait::register;
use cofferdam_engine::door::{Bell, Site};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The shared part of a bell.
pub(crate) struct BellCell {
    /// Whose it is.
    pub incarnation: u32,
    key: u64,
    arrived: AtomicU64,
    ringing: Mutex<Ringing>,
}

#[derive(Default)]
struct Ringing {
    rings: u64,
    arrives_last: u64,
    waiter: Option<Waker>,
}

impl BellCell {
    fn ringing(&self) -> MutexGuard<'_, Ringing> {
        self.ringing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ring arrives; says whom to wake.
    pub fn arrive(&self) -> Option<Waker> {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        self.ringing().waiter.take()
    }
}

/// A bell of an incarnation.
pub(crate) struct WorldBell {
    door: Arc<Door>,
    cell: Arc<BellCell>,
}

impl WorldBell {
    /// The next bell at `site`.
    pub fn new(door: Arc<Door>, site: Site) -> Self {
        let occurrence = door.world.lock().count(door.index, Domain::Bell, identity(site));
        let cell = BellCell {
            incarnation: door.index,
            key: identity((door.key, site, occurrence)),
            arrived: AtomicU64::new(0),
            ringing: Mutex::default(),
        };
        Self { door, cell: Arc::new(cell) }
    }
}

impl Bell for WorldBell {
    fn ring(&self) {
        if self.door.is_fenced() {
            return;
        }
        let world = &self.door.world;
        let mut ringing = self.cell.ringing();
        let word = world.keyed.draw(Domain::Bell, self.cell.key, ringing.rings);
        ringing.rings += 1;
        ringing.arrives_last = ringing.arrives_last.max(world.now() + world.tuning.bell.from_draw(word));
        world.lock().queue.push(ringing.arrives_last, word, Arrival::Ring(self.cell.clone()));
    }

    fn rung(&self) -> u64 {
        self.cell.arrived.load(Ordering::Relaxed)
    }

    fn poll_rung(&self, seen: u64, context: &mut Context<'_>) -> Poll<u64> {
        let arrived = self.rung();
        if arrived > seen && !self.door.is_fenced() {
            return Poll::Ready(arrived);
        }
        register(&mut self.cell.ringing().waiter, context);
        Poll::Pending
    }
}

//! Whose turn it is: at most one task runs per delivery, and this is where that is enforced.
//!
//! ```text
//! quiet -- deliver, wake --> busy -- polled --> quiet
//!                             | wakes itself: still busy
//! ```
//!
//! A delivery allows one wake. Any other wake, and a task that wakes itself without end, is a trespass.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Poll, Waker};

/// Whose turn it is.
pub(crate) struct Turn {
    driver: OnceLock<Waker>,
    /// The task being polled.
    current: AtomicU32,
    /// A delivery is being made that may wake one task.
    delivering: AtomicBool,
    /// A task was woken and has not been polled to its end.
    busy: AtomicBool,
    /// How often it woke itself meanwhile.
    yields: AtomicU32,
    /// The incarnation of a task that was woken out of turn.
    trespasser: AtomicU32,
}

const NOBODY: u32 = u32::MAX;

/// Wakes of itself that a task has per delivery. Combinators yield now and then; a loop does it for ever.
const YIELDS_MAX: u32 = 10_000;

impl Turn {
    /// Nobody's.
    pub fn new() -> Self {
        Self {
            driver: OnceLock::new(),
            current: AtomicU32::new(NOBODY),
            delivering: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            yields: AtomicU32::new(0),
            trespasser: AtomicU32::new(NOBODY),
        }
    }

    /// The task being polled, or a number that no task has.
    pub fn current_task(&self) -> u32 {
        self.current.load(Ordering::Relaxed)
    }

    /// The driver is woken when there is something for it to do.
    pub fn driven_by(&self, driver: &Waker) {
        self.driver.set(driver.clone()).expect("a world has one driver");
    }

    /// One wake is allowed.
    pub fn deliver(&self) {
        assert!(!self.busy.load(Ordering::Relaxed), "deliveries are made when it is quiet");
        self.delivering.store(true, Ordering::Relaxed);
    }

    /// A task is about to be spawned, which is a wake.
    pub fn begin(&self) {
        assert!(!self.busy.swap(true, Ordering::Relaxed), "tasks begin when it is quiet");
    }

    /// Whether a wake is in turn.
    pub fn wake(&self, incarnation: u32) -> bool {
        if self.delivering.swap(false, Ordering::Relaxed) {
            self.busy.store(true, Ordering::Relaxed);
            return true;
        }
        self.trespasser.store(incarnation, Ordering::Relaxed);
        false
    }

    /// The task being polled wakes itself; says whether it may.
    pub fn prolong(&self, incarnation: u32) -> bool {
        let few = self.yields.fetch_add(1, Ordering::Relaxed) < YIELDS_MAX;
        if !few {
            self.trespasser.store(incarnation, Ordering::Relaxed);
        }
        few
    }

    /// A task is being polled.
    pub fn enter(&self, task: u32) {
        self.current.store(task, Ordering::Relaxed);
    }

    /// It is not being polled any more.
    pub fn leave(&self) {
        self.current.store(NOBODY, Ordering::Relaxed);
    }

    /// The task whose turn it was has been polled.
    pub fn end(&self) {
        self.busy.store(false, Ordering::Relaxed);
    }

    /// The driver is to go on.
    pub fn wake_driver(&self) {
        self.driver.get().expect("the driver is the first to be polled").wake_by_ref();
    }

    /// Ends what the last delivery allowed, unless a task's turn is under way. Says whether it is quiet.
    pub fn settle(&self) -> bool {
        if self.busy.load(Ordering::Relaxed) {
            return false;
        }
        self.delivering.store(false, Ordering::Relaxed);
        self.yields.store(0, Ordering::Relaxed);
        true
    }

    /// Ready when no task's turn is under way.
    pub fn poll_quiet(&self) -> Poll<()> {
        if self.settle() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whoever was woken out of turn.
    pub fn trespasser(&self) -> Option<u32> {
        Some(self.trespasser.load(Ordering::Relaxed)).filter(|&index| index != NOBODY)
    }
}

//! The changes that a process has under way: writes and uploads, counted until storage has answered, also when their
//! requester has gone.
//!
//! ```text
//! asked ──────────────────────── answered      counted up to here
//!   └── timed out, cancelled ──── answered      the same, in a task of its own
//! ```
//!
//! Nothing calls back a request that was given up on. It may take effect after the object that it writes was deleted,
//! and then the object is there for good. So the process goes on waiting for the answer, and a process leaves only when
//! nothing is under way ([`Changes::drained`]): a worker before it hangs up at the end of the job, the coordinator
//! before it lists for the last time what is left.
//!
//! Owns: requests without a requester. Does not own: what is done about an object that appears late.
//! Invariant: a change is counted from before its first poll until it is answered.
//! Not handled: a part of an upload that timed out, which stays invisible; a completion that timed out is taken back by
//! aborting the upload ([`patience`](super::patience)).

use crate::door::{Bell, BoxFuture, Env, Site, Spawner};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

/// Changes without a requester. One more is dropped as if its process had died: they hold what they write, and storage that
/// answers nothing must not fill the memory.
const ABANDONED_MAX: u64 = 64;

/// Counts the changes of one process. Cheap to clone.
#[derive(Clone)]
pub struct Changes {
    shared: Arc<Shared>,
}

struct Shared {
    spawner: Arc<dyn Spawner>,
    /// Rings when nothing is under way any more, if a task waits for that.
    bell: Arc<dyn Bell>,
    awaited: AtomicBool,
    under_way: AtomicU64,
    abandoned: AtomicU64,
    /// Tells the tasks of abandoned changes apart.
    started: AtomicU64,
}

impl Changes {
    /// Of a process that has nothing under way.
    pub fn new(env: &Env) -> Self {
        let shared = Shared {
            spawner: env.spawner.clone(),
            bell: env.spawner.bell(Site::new("changes", 0)),
            awaited: AtomicBool::new(false),
            under_way: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            started: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The same change, counted; dropped before it is ready it goes on without its requester.
    pub fn keep<T: Send + 'static>(&self, change: BoxFuture<'static, T>) -> Kept<T> {
        self.shared.under_way.fetch_add(1, Ordering::SeqCst);
        Kept { change: Some(change), begun: false, shared: self.shared.clone() }
    }

    /// A change without a requester.
    pub fn abandon(&self, change: BoxFuture<'static, ()>) {
        let mut kept = self.keep(change);
        kept.begun = true;
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.shared.under_way.load(Ordering::SeqCst) == 0
    }

    /// Ready once nothing is under way. One task at a time may wait for it.
    pub async fn drained(&self) {
        // Asked for first and looked at second, while a change that ends counts first and looks second.
        self.shared.awaited.store(true, Ordering::SeqCst);
        loop {
            let seen = self.shared.bell.rung();
            if self.is_idle() {
                break;
            }
            poll_fn(|context| self.shared.bell.poll_rung(seen, context)).await;
        }
        self.shared.awaited.store(false, Ordering::SeqCst);
    }
}

impl Shared {
    fn ended(&self) {
        let before = self.under_way.fetch_sub(1, Ordering::SeqCst);
        assert!(before > 0, "what ends was under way");
        if before == 1 && self.awaited.load(Ordering::SeqCst) {
            self.bell.ring();
        }
    }
}

/// A change that is counted.
pub struct Kept<T: Send + 'static> {
    /// `None` once it is answered.
    change: Option<BoxFuture<'static, T>>,
    /// Whether it was polled: before that nothing has been asked for.
    begun: bool,
    shared: Arc<Shared>,
}

impl<T: Send + 'static> Future for Kept<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        let change = self.change.as_mut().expect("a change is not polled after its answer");
        let answer = ready!(change.as_mut().poll(context));
        self.change = None;
        self.shared.ended();
        Poll::Ready(answer)
    }
}

impl<T: Send + 'static> Drop for Kept<T> {
    fn drop(&mut self) {
        let Some(change) = self.change.take() else { return };
        let shared = self.shared.clone();
        if !self.begun || shared.abandoned.load(Ordering::SeqCst) >= ABANDONED_MAX {
            return shared.ended();
        }
        shared.abandoned.fetch_add(1, Ordering::SeqCst);
        let site = Site::new("abandoned", shared.started.fetch_add(1, Ordering::SeqCst));
        let spawner = shared.spawner.clone();
        let task = async move {
            change.await;
            shared.abandoned.fetch_sub(1, Ordering::SeqCst);
            shared.ended();
        };
        spawner.spawn(site, Box::pin(task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::world::World;
    use futures_util::FutureExt;
    use futures_util::task::noop_waker;
    use std::sync::Mutex;

    /// A change that is answered when it is told.
    fn change() -> (BoxFuture<'static, u8>, Arc<AtomicBool>) {
        let answered = Arc::new(AtomicBool::new(false));
        let asked = answered.clone();
        let change = poll_fn(move |_| if asked.load(Ordering::SeqCst) { Poll::Ready(7) } else { Poll::Pending });
        (Box::pin(change), answered)
    }

    /// Keeps what it is given to spawn.
    #[derive(Default)]
    struct Tasks(Mutex<Vec<BoxFuture<'static, ()>>>);

    impl Spawner for Tasks {
        fn spawn(&self, _: Site, future: BoxFuture<'static, ()>) -> Box<dyn crate::door::TaskHandle> {
            self.0.lock().expect("no test thread died here").push(future);
            Box::new(Unstoppable)
        }

        fn bell(&self, site: Site) -> Arc<dyn Bell> {
            World::default().bell(site)
        }
    }

    struct Unstoppable;

    impl crate::door::TaskHandle for Unstoppable {
        fn abort(&self) {}
    }

    fn process() -> (Changes, Arc<Tasks>) {
        let tasks = Arc::new(Tasks::default());
        let env = Env { spawner: tasks.clone(), ..World::default().env() };
        (Changes::new(&env), tasks)
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(&noop_waker()))
    }

    #[test]
    fn a_change_is_under_way_until_it_is_answered() {
        let (changes, _) = process();
        let (change, answered) = change();
        let mut kept = changes.keep(change);
        assert!(poll(&mut kept).is_pending() && !changes.is_idle());
        assert!(changes.drained().now_or_never().is_none());
        answered.store(true, Ordering::SeqCst);
        assert_eq!(poll(&mut kept), Poll::Ready(7));
        assert!(changes.drained().now_or_never().is_some());
    }

    #[test]
    fn one_that_is_given_up_on_goes_on_and_is_waited_for() {
        let (changes, tasks) = process();
        let (change, answered) = change();
        let mut kept = changes.keep(change);
        assert!(poll(&mut kept).is_pending());
        drop(kept);
        let mut task = tasks.0.lock().expect("no test thread died here").pop().expect("it goes on in a task");
        assert!(poll(&mut task).is_pending() && !changes.is_idle());
        answered.store(true, Ordering::SeqCst);
        assert!(poll(&mut task).is_ready() && changes.is_idle());
    }

    #[test]
    fn one_that_never_began_asked_for_nothing() {
        let (changes, tasks) = process();
        drop(changes.keep(change().0));
        assert!(changes.is_idle() && tasks.0.lock().expect("no test thread died here").is_empty());
    }

    #[test]
    fn storage_that_answers_nothing_does_not_fill_the_memory() {
        let (changes, tasks) = process();
        for _ in 0..ABANDONED_MAX + 3 {
            assert!(poll(&mut changes.keep(change().0)).is_pending());
        }
        assert_eq!(tasks.0.lock().expect("no test thread died here").len() as u64, ABANDONED_MAX);
        assert_eq!(changes.shared.under_way.load(Ordering::SeqCst), ABANDONED_MAX);
    }
}

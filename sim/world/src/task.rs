//! A task of the engine on its madsim node, and the waker that the engine sees of it.

use super::driver::step_on;
use super::incarnation::Door;
use cofferdam_engine::door::BoxFuture;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

/// A task: keeps its panics from madsim, drops it when it is aborted, and steps on when its turn has ended.
pub(crate) struct Running {
    bed: Arc<Bed>,
    /// Of the bed; made once.
    waker: Waker,
    aborted: Arc<AtomicBool>,
    inner: Option<BoxFuture<'static, ()>>,
}

impl Running {
    /// A task that was not polled yet.
    pub fn new(door: Arc<Door>, task: u32, aborted: Arc<AtomicBool>, inner: BoxFuture<'static, ()>) -> Self {
        let bed = Arc::new(Bed {
            door,
            task,
            over: AtomicBool::new(false),
            woke_itself: AtomicBool::new(false),
            waker: OnceLock::new(),
        });
        Self { waker: Waker::from(bed.clone()), bed, aborted, inner: Some(inner) }
    }

    /// Polls the engine's future, drops it when it is over or aborted, and keeps its panics from madsim.
    fn poll_inner(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(()) };
        let aborted = &self.aborted;
        let caught = catch_engine_panic(AssertUnwindSafe(|| {
            !aborted.load(Ordering::Relaxed)
                && inner.as_mut().poll(context).is_pending()
                && !aborted.load(Ordering::Relaxed)
        }));
        match caught {
            Ok(true) => return Poll::Pending,
            Ok(false) => {}
            Err(message) => self.bed.door.world.lock().panicked(self.bed.door.index, message),
        }
        self.drop_inner();
        Poll::Ready(())
    }

    fn drop_inner(&mut self) {
        let inner = self.inner.take();
        if let Err(message) = catch_engine_panic(AssertUnwindSafe(|| drop(inner))) {
            self.bed.door.world.lock().panicked(self.bed.door.index, message);
        }
    }
}

impl Drop for Running {
    /// The node was killed: the destructors of the dead run late, and their panics count like any other.
    fn drop(&mut self) {
        if self.inner.is_some() {
            self.drop_inner();
        }
    }
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let bed = this.bed.clone();
        let world = &bed.door.world;
        let mut polled = Poll::Pending;
        // Otherwise the node is about to be killed, which drops this future.
        if !bed.door.is_fenced() {
            if bed.waker.get().is_none() {
                bed.waker.get_or_init(|| context.waker().clone());
                world.lock().task_started(bed.task, this.waker.clone());
            }
            world.turn.enter(bed.task);
            let waker = this.waker.clone();
            polled = this.poll_inner(&mut Context::from_waker(&waker));
            world.turn.leave();
        }
        if polled.is_ready() {
            bed.over.store(true, Ordering::Relaxed);
            let waker = world.lock().task_over(bed.task);
            drop(waker);
        }
        if polled.is_ready() || !bed.woke_itself.swap(false, Ordering::Relaxed) {
            world.turn.end();
            step_on(world);
        }
        polled
    }
}

/// Where a task sleeps: the waker that the engine gets, which tells wakes that are in turn from those that are not.
struct Bed {
    door: Arc<Door>,
    task: u32,
    over: AtomicBool,
    woke_itself: AtomicBool,
    /// madsim's, from the first poll on.
    waker: OnceLock<Waker>,
}

impl Wake for Bed {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.over.load(Ordering::Relaxed) || self.door.is_fenced() {
            return;
        }
        let turn = &self.door.world.turn;
        let woken = if turn.current_task() == self.task {
            // A yield: still its turn, unless it goes round without the world for ever.
            let yields = turn.prolong(self.door.index);
            self.woke_itself.store(yields, Ordering::Relaxed);
            yields
        } else {
            turn.wake(self.door.index)
        };
        if woken && let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

thread_local! {
    static IN_ENGINE: Cell<bool> = const { Cell::new(false) };
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs engine code; a panic is not printed but returned, with the place it came from.
fn catch_engine_panic<T>(code: AssertUnwindSafe<impl FnOnce() -> T>) -> Result<T, String> {
    IN_ENGINE.set(true);
    let result = catch_unwind(code);
    IN_ENGINE.set(false);
    result.map_err(|_| LAST_PANIC.take().unwrap_or_else(|| "a panic without a message".to_owned()))
}

/// Runs code whose panics the caller catches and reports; none is printed.
pub fn quietly<T>(code: impl FnOnce() -> T) -> T {
    QUIET.set(true);
    let result = code();
    QUIET.set(false);
    result
}

/// Makes panics of engine code quiet, once per process; those of anybody else are printed as before.
pub(crate) fn capture_engine_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if QUIET.get() {
                return;
            }
            if !IN_ENGINE.get() {
                return usual(panic);
            }
            let message = panic.payload_as_str().unwrap_or("a panic that is no text");
            let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
            LAST_PANIC.set(Some(format!("{message}{place}")));
        }));
    });
}

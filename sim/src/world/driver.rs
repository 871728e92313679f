//! The driver: the root future on madsim's executor, which owns every delivery.
//!
//! 1. madsim's `sleep` returns only when no task can run: everything is quiet.
//! 2. The nodes of incarnations that were fenced since are killed, and their futures dropped.
//! 3. The world steps to the next delivery that concerns a task, which is woken. Back to 1.
//!
//! So madsim's random scheduler always has exactly one task to choose from, and its clock and random numbers show
//! nowhere. A task that is woken by anything but its delivery is a bug, and ends the run with a panic's verdict.

use super::incarnation::Door;
use super::state::Step;
use super::wait::Waiter;
use super::{RunEnd, Shared};
use cofferdam_engine::door::BoxFuture;
use madsim::runtime::{Handle, NodeHandle};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use std::time::Duration;

/// madsim's shortest sleep. Its clock is not the world's.
const QUIET: Duration = Duration::from_millis(1);

/// Runs the world to its end.
pub(crate) async fn drive(world: Arc<Shared>) -> RunEnd {
    let handle = Handle::current();
    let mut nodes: Vec<NodeHandle> = Vec::new();
    loop {
        let step = world.lock().step(&world);
        match step {
            Step::Wake(Waiter { waker, task }) => {
                world.expect_poll(task);
                waker.wake();
                madsim::time::sleep(QUIET).await;
            }
            Step::Run { incarnation, task, future, aborted } => {
                let door = world.lock().incarnation(incarnation).clone();
                world.expect_poll(task);
                nodes[incarnation as usize].spawn(Running::new(door, task, aborted, future));
                madsim::time::sleep(QUIET).await;
            }
            Step::Start { door, task, main, aborted } => {
                assert_eq!(door.index as usize, nodes.len(), "one node per incarnation, in order");
                let node = handle.create_node().build();
                world.expect_poll(task);
                let future = run_main(door.clone(), main);
                node.spawn(Running::new(door, task, aborted, future));
                nodes.push(node);
                madsim::time::sleep(QUIET).await;
            }
            Step::Drop(future) => drop(future),
            Step::Kill => {
                let (kills, futures) = world.lock().take_kills();
                for index in kills {
                    handle.kill(nodes[index as usize].id());
                }
                drop(futures);
                madsim::time::sleep(QUIET).await;
            }
            Step::Over => break,
        }
    }
    let (ended, void) = world.lock().finish(&world);
    drop(void);
    for node in &nodes {
        handle.kill(node.id());
    }
    // Killed tasks are dropped when they are scheduled next; what is still pending after `block_on` would leak.
    madsim::time::sleep(QUIET).await;
    let remains = world.lock().take_remains();
    drop(remains);
    ended
}

fn run_main(door: Arc<Door>, main: super::Main) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let result = main(door.env()).await;
        if !door.is_fenced() {
            door.world.lock().process_ended(&door.world, door.index, result);
        }
    })
}

/// A task of the engine on its node.
struct Running {
    door: Arc<Door>,
    task: u32,
    aborted: Arc<AtomicBool>,
    started: bool,
    inner: Option<BoxFuture<'static, ()>>,
}

impl Running {
    fn new(door: Arc<Door>, task: u32, aborted: Arc<AtomicBool>, inner: BoxFuture<'static, ()>) -> Self {
        Self { door, task, aborted, started: false, inner: Some(inner) }
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
            Err(message) => self.door.world.lock().panicked(self.door.index, message),
        }
        let inner = self.inner.take();
        if let Err(message) = catch_engine_panic(AssertUnwindSafe(|| drop(inner))) {
            self.door.world.lock().panicked(self.door.index, message);
        }
        Poll::Ready(())
    }
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.door.is_fenced() {
            // The node is about to be killed, which drops this future.
            return Poll::Pending;
        }
        let world = this.door.world.clone();
        if !world.is_expected(this.task) {
            let message = format!("a task of {} was woken past the door", this.door.who.process);
            world.lock().panicked(this.door.index, message);
            return Poll::Pending;
        }
        if !this.started {
            this.started = true;
            world.lock().task_started(this.task, context.waker().clone());
        }
        world.enter_task(this.task);
        let polled = this.poll_inner(context);
        world.leave_task();
        if polled.is_ready() {
            let waker = world.lock().task_over(this.task);
            drop(waker);
        }
        polled
    }
}

thread_local! {
    static IN_ENGINE: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs engine code; a panic is not printed but returned, with the place it came from.
fn catch_engine_panic<T>(code: AssertUnwindSafe<impl FnOnce() -> T>) -> Result<T, String> {
    IN_ENGINE.set(true);
    let result = catch_unwind(code);
    IN_ENGINE.set(false);
    result.map_err(|_| LAST_PANIC.take().unwrap_or_else(|| "a panic without a message".to_owned()))
}

/// Makes panics of engine code quiet, once per process; those of anybody else are printed as before.
pub(crate) fn capture_engine_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IN_ENGINE.get() {
                return usual(panic);
            }
            let message = panic.payload_as_str().unwrap_or("a panic that is no text");
            let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
            LAST_PANIC.set(Some(format!("{message}{place}")));
        }));
    });
}

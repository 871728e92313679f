//! The driver: the root future on madsim's executor. It makes deliveries between two turns of tasks, and so does the poll of a task
//! behind its turn.
//!
//! 1. Everything is quiet: no task can run.
//! 2. The nodes of incarnations that were fenced since are killed; madsim's `sleep` returns once their futures are
//!    dropped.
//! 3. The world steps to the next delivery that wakes a task. When that task has been polled, the world steps on from there
//!    ([`step_on`]): the driver is woken only for what no task may do, such as spawning and killing. Back to 1.
//!
//! So madsim's random scheduler always has exactly one task to choose from, and its clock and random numbers show
//! nowhere. A task that is woken by anything but its delivery is a bug, and ends the run as a panic does.

use super::incarnation::Door;
use super::state::Step;
use super::task::Running;
use super::{RunEnd, Shared};
use cofferdam_engine::door::BoxFuture;
use madsim::runtime::{Handle, NodeHandle};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// madsim's shortest sleep. Its clock is not the world's.
const QUIET: Duration = Duration::from_millis(1);

/// Runs the world to its end.
pub(crate) async fn drive(world: Arc<Shared>) -> RunEnd {
    let handle = Handle::current();
    let mut nodes: Vec<NodeHandle> = Vec::new();
    poll_fn(|context| {
        world.turn.driven_by(context.waker());
        Poll::Ready(())
    })
    .await;
    loop {
        let step = world.lock().next_step(&world);
        match step {
            Step::Wake(waker) => {
                world.turn.deliver();
                waker.wake();
            }
            Step::Run { incarnation, task, future, aborted } => {
                let door = world.lock().incarnation(incarnation).clone();
                world.turn.begin();
                nodes[incarnation as usize].spawn(Running::new(door, task, aborted, future));
            }
            Step::Start { door, task, main, aborted } => {
                assert_eq!(door.index as usize, nodes.len(), "one node per incarnation, in order");
                let node = handle.create_node().build();
                let future = run_main(door.clone(), main);
                world.turn.begin();
                node.spawn(Running::new(door, task, aborted, future));
                nodes.push(node);
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
        poll_fn(|_| world.turn.poll_quiet()).await;
        if let Some(index) = world.turn.trespasser() {
            world.lock().panicked(index, "a task was woken past the door, or wakes itself for ever".to_owned());
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

/// Steps on behind a turn that has ended, as long as deliveries wake tasks and do nothing else. Reason: to poll the driver between
/// any two of them costs a tenth of a run.
pub(crate) fn step_on(world: &Arc<Shared>) {
    while world.turn.settle() && world.turn.trespasser().is_none() {
        let step = world.lock().step(world);
        match step {
            Step::Wake(waker) => {
                world.turn.deliver();
                waker.wake();
            }
            step => {
                world.lock().hand_over(step);
                break;
            }
        }
    }
    if world.turn.settle() {
        world.turn.wake_driver();
    }
}

fn run_main(door: Arc<Door>, main: super::Main) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let result = main(door.env()).await;
        if !door.is_fenced() {
            door.world.lock().process_ended(&door.world, door.index, result);
        }
    })
}

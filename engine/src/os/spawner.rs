//! Tasks and bells on tokio.
//!
//! tokio keeps a panic to the task it struck, which would leave the other tasks waiting for it without end. A panic
//! is a bug and the process must not go on: [`TokioSpawner::panicked`] tells the caller that runs the process.

use crate::door::{Bell, BoxFuture, Site, Spawner, TaskHandle};
use futures_util::FutureExt;
use futures_util::task::AtomicWaker;
use std::any::Any;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

/// Spawns onto the current tokio runtime.
#[derive(Debug, Default)]
pub struct TokioSpawner {
    panics: Arc<Panics>,
}

#[derive(Debug, Default)]
struct Panics {
    first: OnceLock<String>,
    bell: CountingBell,
}

impl TokioSpawner {
    /// Ready once a spawned task has panicked, with its site and message. One waiter at a time.
    pub async fn panicked(&self) -> String {
        poll_fn(|context| {
            ready!(self.panics.bell.poll_rung(0, context));
            Poll::Ready(self.panics.first.get().expect("the ring comes after the message").clone())
        })
        .await
    }
}

impl Spawner for TokioSpawner {
    #[expect(clippy::disallowed_methods, reason = "this is the production spawner")]
    fn spawn(&self, site: Site, future: BoxFuture<'static, ()>) -> Box<dyn TaskHandle> {
        // Asked for by something that is dropped behind the end of the runtime: nothing runs there any more.
        if tokio::runtime::Handle::try_current().is_err() {
            return Box::new(Never);
        }
        let panics = self.panics.clone();
        let task = tokio::spawn(async move {
            // What the future captured is dropped with it and never looked at again.
            if let Err(payload) = AssertUnwindSafe(future).catch_unwind().await {
                let message = format!("task {} ({:#x}) panicked: {}", site.what, site.lane, panic_message(&*payload));
                // Only the first one counts: others follow from it.
                let _ = panics.first.set(message);
                panics.bell.ring();
            }
        });
        Box::new(Task(task.abort_handle()))
    }

    fn bell(&self, _: Site) -> Arc<dyn Bell> {
        Arc::new(CountingBell::default())
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

struct Task(tokio::task::AbortHandle);

impl TaskHandle for Task {
    fn abort(&self) {
        self.0.abort();
    }
}

/// A task that was never started.
struct Never;

impl TaskHandle for Never {
    fn abort(&self) {}
}

/// A bell whose rings arrive at once.
///
/// No wake-up is lost: a ring counts first and wakes second, a listener registers first and looks second, so one of
/// the two sees the other.
#[derive(Debug, Default)]
struct CountingBell {
    rings: AtomicU64,
    listener: AtomicWaker,
}

impl Bell for CountingBell {
    fn ring(&self) {
        self.rings.fetch_add(1, Ordering::Release);
        self.listener.wake();
    }

    fn rung(&self) -> u64 {
        self.rings.load(Ordering::Acquire)
    }

    fn poll_rung(&self, seen: u64, context: &mut Context<'_>) -> Poll<u64> {
        let rung = self.rung();
        if rung > seen {
            return Poll::Ready(rung);
        }
        self.listener.register(context.waker());
        match self.rung() {
            rung if rung > seen => Poll::Ready(rung),
            _ => Poll::Pending,
        }
    }
}

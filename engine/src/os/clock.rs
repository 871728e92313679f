//! Time from tokio. Its timer has millisecond ticks and rounds deadlines up, so a sleep is never early.

use crate::door::{BoxFuture, Clock, Site, Time, Work};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Monotonic time since this value was made.
#[derive(Debug)]
pub struct TokioClock {
    zero: Instant,
}

impl Default for TokioClock {
    fn default() -> Self {
        Self { zero: Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Time {
        Time::default() + self.zero.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the production clock")]
    fn wall_ms(&self) -> u64 {
        // A wall clock before 1970 is broken; nothing may be decided by it anyway.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the production clock")]
    fn sleep_until(&self, deadline: Time) -> BoxFuture<'static, ()> {
        match self.zero.checked_add(Duration::from_nanos(deadline.0)) {
            Some(deadline) => Box::pin(tokio::time::sleep_until(deadline)),
            // Further away than the operating system can count: never.
            None => Box::pin(std::future::pending()),
        }
    }

    fn work(&self, _: Site, _: Work) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

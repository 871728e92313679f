//! The wall clock, for those who watch runs from outside. A run itself knows only virtual time.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the one place that measures real time")]

use std::time::{Duration, Instant};

/// Real time since it was started.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts one.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has been running.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

//! Seeds on several threads. Each run has a world and a thread of its own; which thread asks for it shows nowhere.
//!
//! Of several failures the one of the first seed is told, whoever is faster.

use super::{Check, Failure, failure};
use crate::plan::OwnShape;
use crate::run::Runner;
use crate::seed::Seed;
use crate::tally::Tally;
use crate::verdict::Outcome;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Runs `count` seeds, or up to the first that fails.
pub fn run(check: &Check, runner: &Runner, shape: &OwnShape, first: Seed, count: u64) -> Result<Tally, Failure> {
    let (next, end) = (AtomicU64::new(0), AtomicU64::new(count));
    let found: Mutex<(Tally, Option<(u64, Outcome)>)> = Mutex::default();
    let work = || {
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= end.load(Ordering::Relaxed) {
                return;
            }
            let seed = first.plus(nth);
            let outcome = runner.run_plan(seed, check.plan(seed, shape));
            let mut found = locked(&found);
            if outcome.verdict.passed() {
                found.0.add(&outcome.tally);
            } else if found.1.as_ref().is_none_or(|(earlier, _)| nth < *earlier) {
                end.fetch_min(nth, Ordering::Relaxed);
                found.1 = Some((nth, outcome));
            }
        }
    };
    std::thread::scope(|scope| {
        (1..threads(check)).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let (tally, failed) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failed {
        None => Ok(tally),
        Some((_, outcome)) => Err(failure::of(check, runner, outcome)),
    }
}

fn locked<T>(found: &Mutex<T>) -> MutexGuard<'_, T> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

fn threads(check: &Check) -> usize {
    check.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

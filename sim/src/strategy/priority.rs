//! Schedules of stubborn choices, after *probabilistic concurrency testing* (PCT): who chooses has a favourite and keeps to
//! it, and at a few points of the run, drawn in advance, whoever chooses there gets another one.
//!
//! Even draws hardly ever starve a channel for long; this does nothing else. A bug of depth d shows itself once d choices
//! fall as it needs them, and few changes make that likely.

use super::Strategy;
use crate::plan::Plan;
use crate::plan::input::Draws;
use crate::seed::Seed;
use crate::world::Picks;

/// Most changes of mind in a run.
const CHANGES_MAX: u64 = 4;
/// Free choices of a run, at most, as far as changes go: most runs have fewer than a hundred.
const CHOICES: u64 = 128;

/// See the head of the file.
pub struct Priority;

impl Strategy for Priority {
    fn plan(&self, seed: Seed, _: &[Plan]) -> Plan {
        Plan { picks: picks(&mut Draws::of(seed, "priority")), ..Plan::of(seed) }
    }
}

/// Such a schedule.
pub(super) fn picks(draws: &mut Draws) -> Picks {
    let count = draws.below(CHANGES_MAX + 1);
    // Early ones more often: runs differ in length.
    let mut changes: Vec<u64> = (0..count).map(|_| draws.skewed(CHOICES)).collect();
    changes.sort_unstable();
    changes.dedup();
    Picks::Priorities { salt: draws.below(1 << 32) as u32, changes }
}

//! What happened in the runs of a hunt, counted: the evidence that it was not vacuous.
//!
//! The history is counted by the [judges' tally](cofferdam_properties::Tally); this adds what only the plan knows.

use crate::plan::Plan;
use crate::world::FaultRecord;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What became of the faults of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FaultCount {
    /// Planned.
    pub armed: u64,
    /// Their trigger matched.
    pub triggered: u64,
    /// They really hit something.
    pub struck: u64,
}

impl FaultCount {
    /// Of one fault of one run.
    pub fn of(record: &FaultRecord) -> Self {
        Self { armed: 1, triggered: record.triggered.into(), struck: u64::from(record.struck > 0) }
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.armed += other.armed;
        self.triggered += other.triggered;
        self.struck += other.struck;
    }
}

/// What happened, counted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// What the history says.
    pub history: cofferdam_properties::Tally,
    /// Runs in which a planned crash struck.
    pub crash_plans: u64,
    /// Of these, runs that restored from state with entries in it.
    pub crash_plans_with_state: u64,
    /// Runs with two coordinators.
    pub standby_plans: u64,
    /// Runs whose job was started once more with checkpoints that do not belong to its output, and refused.
    #[serde(default)]
    pub refused_starts: u64,
    /// Runs in which a spare worker took the place of one that was away.
    #[serde(default)]
    pub replaced_plans: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<String, FaultCount>,
}

impl Tally {
    /// Counts one run.
    pub fn of(plan: &Plan, records: &[FaultRecord], history: cofferdam_properties::Tally) -> Self {
        let mut faults: BTreeMap<String, FaultCount> = BTreeMap::new();
        let mut crashed = false;
        for (fault, record) in plan.faults.iter().zip(records) {
            faults.entry(crate::plan::kind_of(&fault.what).to_owned()).or_default().add(FaultCount::of(record));
            crashed |= record.struck > 0 && crate::plan::is_crash(&fault.what);
        }
        // A successor says it again when its predecessor may have died before it could.
        let history = cofferdam_properties::Tally { finished: history.finished.min(1), ..history };
        // A job that fails for good, as a few plans allow, may have had nothing left to restore for.
        let crashed = crashed && (history.finished > 0 || history.restores > 0);
        let with_state = crashed && history.restores_non_empty > 0;
        Self {
            history,
            crash_plans: u64::from(crashed),
            crash_plans_with_state: u64::from(with_state),
            standby_plans: u64::from(plan.standby_lease_ms.is_some()),
            refused_starts: 0,
            replaced_plans: u64::from(history.hosts > u64::from(plan.needed_workers())),
            faults,
        }
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.history.add(&other.history);
        self.crash_plans += other.crash_plans;
        self.crash_plans_with_state += other.crash_plans_with_state;
        self.standby_plans += other.standby_plans;
        self.refused_starts += other.refused_starts;
        self.replaced_plans += other.replaced_plans;
        for (kind, count) in &other.faults {
            self.faults.entry(kind.clone()).or_default().add(*count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let count = |armed, struck| FaultCount { armed, triggered: struck, struck };
        let one = Tally { faults: BTreeMap::from([("crash".to_owned(), count(2, 1))]), ..Tally::default() };
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!(sum.faults["crash"], count(4, 2));
    }
}

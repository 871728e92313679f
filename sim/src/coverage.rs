//! The coverage matrix of a campaign: at which point of the protocol which kind of fault struck jobs of which topology.
//!
//! | a cell was | when a fault of it |
//! |---|---|
//! | hit | struck something |
//! | hit nothing | came to its point, and there was nothing to strike |
//! | never fired | was planned, and no run came to its point |
//! | never armed | was in no plan, though one could have held it |
//!
//! Cells are counted, and counts add up: those of shards are merged like those of runs.

use crate::plan::{InputShape, KINDS, Plan, kind_of};
use crate::tally::FaultCount;
use crate::world::{FaultRecord, Trigger};
use cofferdam_engine::event::Event;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is struck at a time instead of at a point.
const TIME: &str = "time";

/// What a job looks like, as far as faults meet different code in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "how operators are connected, and what they run on")]
pub enum Topology {
    LineAlone,
    LineSpread,
    LineStandby,
    JoinedAlone,
    JoinedSpread,
    JoinedStandby,
}

impl Topology {
    const ALL: [Self; 6] = [
        Self::LineAlone,
        Self::LineSpread,
        Self::LineStandby,
        Self::JoinedAlone,
        Self::JoinedSpread,
        Self::JoinedStandby,
    ];

    /// Whether a job of this topology can come to a point at all.
    fn comes_to(self, point: &str) -> bool {
        match self {
            Self::LineStandby | Self::JoinedStandby => true,
            // A lease is watched by a second coordinator, and by nobody else.
            Self::LineAlone | Self::LineSpread | Self::JoinedAlone | Self::JoinedSpread => point != "lease_expired",
        }
    }

    /// Of a plan: *joined* if some operator has several inputs; *spread* if links cross workers, *standby* if there is a second
    /// coordinator, *alone* otherwise.
    pub fn of(plan: &Plan) -> Self {
        let joined = match &plan.input {
            // Of somebody's own job only its size is known.
            InputShape::Files { .. } | InputShape::Own(_) => false,
            InputShape::Generated { .. } => true,
            InputShape::Graph(spec) => spec.nodes.iter().any(|node| node.inputs.len() > 1),
        };
        let spread = plan.needed_workers() > 1 && plan.parallelism > 1;
        match (joined, plan.standby_lease_ms.is_some(), spread) {
            (false, true, _) => Self::LineStandby,
            (false, false, true) => Self::LineSpread,
            (false, false, false) => Self::LineAlone,
            (true, true, _) => Self::JoinedStandby,
            (true, false, true) => Self::JoinedSpread,
            (true, false, false) => Self::JoinedAlone,
        }
    }
}

/// One cell: topology, point, kind of fault.
type Cell = (Topology, String, String);

/// See the head of the file. As JSON a list of `[topology, point, fault, armed, triggered, struck]`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct Coverage {
    cells: BTreeMap<Cell, FaultCount>,
}

type Entry = (Topology, String, String, u64, u64, u64);

impl From<Vec<Entry>> for Coverage {
    fn from(entries: Vec<Entry>) -> Self {
        let mut coverage = Self::default();
        for (topology, point, kind, armed, triggered, struck) in entries {
            coverage.cells.entry((topology, point, kind)).or_default().add(FaultCount { armed, triggered, struck });
        }
        coverage
    }
}

impl From<Coverage> for Vec<Entry> {
    fn from(coverage: Coverage) -> Self {
        let entry = |((topology, point, kind), count): (Cell, FaultCount)| {
            (topology, point, kind, count.armed, count.triggered, count.struck)
        };
        coverage.cells.into_iter().map(entry).collect()
    }
}

/// Cells by what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the head of the file tells them")]
pub struct Counts {
    pub hit: u64,
    pub hit_nothing: u64,
    pub never_fired: u64,
    pub never_armed: u64,
}

impl Coverage {
    /// Of one run.
    pub fn of(plan: &Plan, records: &[FaultRecord]) -> Self {
        let (topology, mut cells) = (Topology::of(plan), BTreeMap::<Cell, FaultCount>::new());
        for (fault, record) in plan.faults.iter().zip(records) {
            let point = match &fault.at {
                Trigger::Time { .. } => TIME,
                Trigger::Point(point) => &point.event,
            };
            let cell = (topology, point.to_owned(), kind_of(&fault.what).to_owned());
            cells.entry(cell).or_default().add(FaultCount::of(record));
        }
        Self { cells }
    }

    /// Adds another one; says how many cells are hit that were not.
    pub fn add(&mut self, other: &Self) -> u64 {
        let mut new = 0;
        for (cell, count) in &other.cells {
            let mine = self.cells.entry(cell.clone()).or_default();
            new += u64::from(mine.struck == 0 && count.struck > 0);
            mine.add(*count);
        }
        new
    }

    /// How many cells there are of each sort.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for count in self.cells.values() {
            match count {
                FaultCount { struck: 1.., .. } => counts.hit += 1,
                FaultCount { triggered: 1.., .. } => counts.hit_nothing += 1,
                FaultCount { .. } => counts.never_fired += 1,
            }
        }
        let missing = self.never_armed();
        counts.never_armed = missing.values().flat_map(BTreeMap::values).map(|kinds| kinds.len() as u64).sum();
        counts
    }

    /// The cells that no plan held, by topology and point.
    pub fn never_armed(&self) -> BTreeMap<Topology, BTreeMap<&'static str, Vec<&'static str>>> {
        let mut missing: BTreeMap<Topology, BTreeMap<&'static str, Vec<&'static str>>> = BTreeMap::new();
        for topology in Topology::ALL {
            let points = Event::NAMES.iter().copied().chain([TIME]);
            for point in points.filter(|point| topology.comes_to(point)) {
                let armed = |kind: &str| self.cells.contains_key(&(topology, point.to_owned(), kind.to_owned()));
                let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| !armed(kind)).collect();
                if !kinds.is_empty() {
                    missing.entry(topology).or_default().insert(point, kinds);
                }
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn of(seed: u64, struck: u32) -> Coverage {
        let plan = Plan::of(Seed(seed));
        let record = FaultRecord { triggered: struck > 0, struck };
        Coverage::of(&plan, &vec![record; plan.faults.len()])
    }

    #[test]
    fn a_cell_is_new_when_it_is_hit_for_the_first_time() {
        let seed = (0..).find(|seed| !Plan::of(Seed(*seed)).faults.is_empty()).expect("most plans have faults");
        let mut sum = Coverage::default();
        assert_eq!(sum.add(&of(seed, 0)), 0, "armed is not hit");
        let never_fired = sum.counts().never_fired;
        assert!(never_fired > 0 && sum.counts().hit == 0);
        assert_eq!(sum.add(&of(seed, 2)), never_fired);
        assert_eq!(sum.add(&of(seed, 2)), 0);
        assert_eq!(sum.counts().hit, never_fired);
    }

    #[test]
    fn coverage_survives_being_written_down_and_what_is_missing_is_named() {
        let mut sum = Coverage::default();
        for seed in 0..40 {
            sum.add(&of(seed, 1));
        }
        let text = serde_json::to_string(&sum).expect("it serialises");
        assert_eq!(serde_json::from_str::<Coverage>(&text).expect("and back"), sum);
        let missing = sum.never_armed();
        let cells: usize = missing.values().flat_map(BTreeMap::values).map(Vec::len).sum();
        assert_eq!(cells as u64, sum.counts().never_armed);
        assert!(missing[&Topology::LineStandby].contains_key("lease_expired"));
        assert!(!missing[&Topology::LineAlone].contains_key("lease_expired"), "nobody watches a lease there");
    }
}

//! The checkpoint plan: which subtasks are triggered, which are waited for, and what is carried forward of the subtasks
//! that have finished (FLIP-147).
//!
//! ```text
//! source 0 (finished) ──> map 0            triggered: source 1 and map 0, whose producers have all finished
//! source 1 ─────────────> map 1 ─> sink    waited for: source 1, map 0, map 1, sink
//!                                          carried forward: the last completed snapshot of source 0
//! ```
//!
//! A plan is made when the id is there, not when it was asked for: a subtask that finished in between must not be
//! waited for (order rule O2). What is carried forward has `ended`, so a subtask that restores it emits nothing but the
//! end.

use crate::graph::JobGraph;
use crate::ids::SubtaskId;
use crate::messages::SnapshotHandle;
use std::collections::{BTreeMap, BTreeSet};

/// The subtasks of the job, each with its producers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topology {
    producers: BTreeMap<SubtaskId, BTreeSet<SubtaskId>>,
}

/// What the subtasks do in one checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    /// The subtasks that get a trigger: none of their producers runs.
    pub trigger: BTreeSet<SubtaskId>,
    /// The subtasks whose acknowledgement is waited for: all that run.
    pub wait: BTreeSet<SubtaskId>,
    /// The last completed snapshot of each subtask that has finished.
    pub carried: BTreeMap<SubtaskId, SnapshotHandle>,
}

impl Topology {
    /// Of a job's graph.
    pub fn of(graph: &JobGraph) -> Self {
        let producers = |subtask: SubtaskId| {
            let edges = graph.inputs(subtask.operator);
            let ids = edges.flat_map(|edge| {
                let from = graph.producers(edge, subtask.index).into_iter();
                from.map(|index| SubtaskId { operator: edge.from, index })
            });
            (subtask, ids.collect())
        };
        Self::new(graph.subtasks().into_iter().map(producers).collect())
    }

    /// Of subtasks with these producers.
    pub fn new(producers: BTreeMap<SubtaskId, BTreeSet<SubtaskId>>) -> Self {
        assert!(!producers.is_empty(), "a job has subtasks");
        let mut all = producers.values().flatten();
        assert!(all.all(|producer| producers.contains_key(producer)), "producers are subtasks");
        Self { producers }
    }

    /// How many subtasks there are.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether there are none, which there never are.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Whether the job has this subtask.
    pub fn contains(&self, subtask: SubtaskId) -> bool {
        self.producers.contains_key(&subtask)
    }

    /// The plan of a checkpoint taken now. `latest` is the newest completed checkpoint.
    pub(super) fn plan(&self, finished: &BTreeSet<SubtaskId>, latest: &BTreeMap<SubtaskId, SnapshotHandle>) -> Plan {
        let running = self.producers.iter().filter(|(subtask, _)| !finished.contains(subtask));
        let wait: BTreeSet<SubtaskId> = running.clone().map(|(subtask, _)| *subtask).collect();
        let first = running.filter(|(_, producers)| producers.is_subset(finished));
        let trigger: BTreeSet<SubtaskId> = first.map(|(subtask, _)| *subtask).collect();
        let snapshot = |subtask: &SubtaskId| {
            let handle = latest.get(subtask).expect("a finished subtask is part of a completed checkpoint");
            assert!(handle.ended, "{subtask} has finished, but the completed checkpoint does not hold its end");
            (*subtask, handle.clone())
        };
        let plan = Plan { trigger, wait, carried: finished.iter().map(snapshot).collect() };
        assert!(plan.trigger.is_subset(&plan.wait), "only subtasks that run are triggered");
        assert_eq!(plan.wait.is_empty(), plan.trigger.is_empty(), "every subtask that runs is reached by a barrier");
        assert_eq!(plan.wait.len() + plan.carried.len(), self.len(), "every subtask runs or has finished");
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OperatorId;

    fn subtask(operator: u16, index: u16) -> SubtaskId {
        SubtaskId { operator: OperatorId(operator), index }
    }

    /// Two sources, a map each, one sink.
    fn topology() -> Topology {
        let of = |subtask: SubtaskId, producers: &[SubtaskId]| (subtask, producers.iter().copied().collect());
        Topology::new(BTreeMap::from([
            of(subtask(0, 0), &[]),
            of(subtask(0, 1), &[]),
            of(subtask(1, 0), &[subtask(0, 0)]),
            of(subtask(1, 1), &[subtask(0, 1)]),
            of(subtask(2, 0), &[subtask(1, 0), subtask(1, 1)]),
        ]))
    }

    fn latest() -> BTreeMap<SubtaskId, SnapshotHandle> {
        let handle = |subtask: &SubtaskId| {
            let path = format!("checkpoints/chk-4/{subtask}");
            (*subtask, SnapshotHandle { path, bytes: 1, checksum: 2, digest: 3, ended: true })
        };
        topology().producers.keys().map(handle).collect()
    }

    #[test]
    fn while_all_run_the_sources_are_triggered_and_all_are_waited_for() {
        let plan = topology().plan(&BTreeSet::new(), &BTreeMap::new());
        assert_eq!(plan.trigger, BTreeSet::from([subtask(0, 0), subtask(0, 1)]));
        assert_eq!((plan.wait.len(), plan.carried.len()), (5, 0));
    }

    #[test]
    fn a_subtask_that_has_lost_all_its_producers_is_triggered_itself() {
        let plan = topology().plan(&BTreeSet::from([subtask(0, 0)]), &latest());
        assert_eq!(plan.trigger, BTreeSet::from([subtask(0, 1), subtask(1, 0)]));
        assert_eq!(plan.wait.len(), 4);
        assert_eq!(plan.carried[&subtask(0, 0)].path, "checkpoints/chk-4/op-0[0]");
    }

    #[test]
    fn a_subtask_with_one_running_producer_waits_for_its_barrier() {
        let finished = BTreeSet::from([subtask(0, 0), subtask(1, 0)]);
        let plan = topology().plan(&finished, &latest());
        assert_eq!(plan.trigger, BTreeSet::from([subtask(0, 1)]), "the sink gets its barrier from the other map");
    }

    #[test]
    fn once_all_have_finished_no_subtask_is_triggered() {
        let all: BTreeSet<SubtaskId> = topology().producers.keys().copied().collect();
        let plan = topology().plan(&all, &latest());
        assert_eq!((plan.trigger.len(), plan.wait.len(), plan.carried.len()), (0, 0, 5));
    }
}

//! Restore assignment: from a manifest and the job graph to the snapshot of every subtask, and back.
//!
//! State is addressed by operator uid. Whatever does not fit ends the job with one line that names the operator and
//! both sides: no restart can make it fit, and starting from half of a checkpoint loses records. The layout of each state is
//! compared here, before any of its bytes is decoded, and a difference names the field.
//!
//! Not handled: another parallelism (key groups would have to be redistributed), state that is dropped on purpose.

use crate::cores::retention::belongs;
use crate::error::{Error, Result};
use crate::graph::{JobGraph, OperatorNode};
use crate::ids::{Attempt, CheckpointId, SubtaskId};
use crate::layout::{self, Layout};
use crate::messages::{RestoreFrom, SnapshotHandle};
use crate::persist::manifest::{Manifest, OperatorSnapshot};
use crate::state::StateDescriptor;
use crate::statistics::SnapshotStatistics;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// What a subtask contributes to a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contribution {
    /// Its state: acknowledged, or carried forward if it had finished.
    pub snapshot: SnapshotHandle,
    /// What that cost; nothing if it was carried forward.
    pub statistics: SnapshotStatistics,
}

/// The manifest of a checkpoint to which every subtask contributed.
pub fn describe(
    graph: &JobGraph,
    checkpoint: CheckpointId,
    attempt: Attempt,
    triggered_ms: u64,
    duration: Duration,
    contributions: &BTreeMap<SubtaskId, Contribution>,
) -> Manifest {
    assert_eq!(contributions.len(), graph.subtasks().len(), "every subtask contributes, and nothing else does");
    let of = |operator: &OperatorNode, index| {
        let subtask = SubtaskId { operator: operator.id, index };
        let contribution = contributions.get(&subtask).expect("every subtask contributes");
        let own = belongs(&contribution.snapshot.path, checkpoint);
        assert!(own || contribution.snapshot.ended, "{subtask} has not finished, so nothing of it is carried forward");
        contribution.clone()
    };
    let operators = graph.operators.iter().map(|operator| {
        let contributions = (0..operator.parallelism).map(|index| of(operator, index));
        let (subtasks, statistics) = contributions.map(|each| (each.snapshot, each.statistics)).unzip();
        OperatorSnapshot { uid: operator.uid.clone(), states: operator.states.clone(), subtasks, statistics }
    });
    Manifest {
        checkpoint,
        attempt,
        job: graph.name.clone(),
        max_parallelism: graph.max_parallelism,
        triggered_ms,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        operators: operators.collect(),
        listing: None,
    }
}

/// Which subtask restores which snapshot of a checkpoint.
pub fn assign(graph: &JobGraph, manifest: &Manifest) -> Result<RestoreFrom> {
    let mismatch = |what: String| Err(Error::give_up(format!("cannot restore {}: {what}", manifest.checkpoint)));
    if manifest.max_parallelism != graph.max_parallelism {
        return mismatch(differ("the job", "max parallelism", manifest.max_parallelism, graph.max_parallelism));
    }
    let mut stored = BTreeMap::new();
    for operator in &manifest.operators {
        if stored.insert(operator.uid.as_str(), operator).is_some() {
            return Err(Error::corrupt(format!("{} holds operator \"{}\" twice", manifest.checkpoint, operator.uid)));
        }
    }
    let mut snapshots = Vec::new();
    for operator in &graph.operators {
        let Some(found) = stored.remove(operator.uid.as_str()) else {
            return mismatch(format!("it holds no operator \"{}\", which the job has", operator.uid));
        };
        if let Err(what) = fits(operator, found) {
            return mismatch(what);
        }
        let ids = (0..operator.parallelism).map(|index| SubtaskId { operator: operator.id, index });
        snapshots.extend(ids.zip(found.subtasks.iter().cloned()));
    }
    if let Some(uid) = stored.keys().next() {
        return mismatch(format!("it holds state of operator \"{uid}\", which the job does not have"));
    }
    assert_eq!(snapshots.len(), graph.subtasks().len(), "every subtask has a snapshot");
    assert!(snapshots.is_sorted_by(|a, b| a.0 < b.0), "in the order of the graph");
    Ok(RestoreFrom { checkpoint: manifest.checkpoint, snapshots })
}

fn fits(operator: &OperatorNode, found: &OperatorSnapshot) -> Result<(), String> {
    let who = format!("operator \"{}\"", operator.uid);
    if found.subtasks.len() != usize::from(operator.parallelism) {
        return Err(differ(&who, "parallelism", found.subtasks.len(), usize::from(operator.parallelism)));
    }
    let names = |states: &[StateDescriptor]| states.iter().map(|state| state.name.clone()).collect::<BTreeSet<_>>();
    let (held, declared) = (names(&found.states), names(&operator.states));
    if held != declared {
        return Err(differ(&who, "states", list(&held), list(&declared)));
    }
    for state in &operator.states {
        let held = found.states.iter().find(|held| held.name == state.name).expect("the names are equal");
        let who = format!("state \"{}\" of {who}", state.name);
        same(&who, "kind", format!("{:?}", held.kind), format!("{:?}", state.kind))?;
        same(&who, "codec", &held.codec, &state.codec)?;
        same(&who, "version", version(held.version), version(state.version))?;
        match (&held.key, &state.key) {
            (None, None) => {}
            (Some(key), Some(today)) => same_layout(&format!("key of {who}"), key, today)?,
            (key, today) => {
                let [key, today] = [key, today].map(|key| key.as_ref().map_or("none".to_owned(), Layout::to_string));
                return Err(format!("key of {who}: was \"{key}\", is now \"{today}\""));
            }
        }
        same_layout(&who, &held.value, &state.value)?;
    }
    Ok(())
}

/// Rust's names of types are not compared: a type may be renamed, or move to another module.
fn same_layout(who: &str, held: &Layout, declared: &Layout) -> Result<(), String> {
    match layout::difference(held, declared) {
        None => Ok(()),
        Some(what) => Err(format!("{who}: {what}")),
    }
}

fn version(version: Option<u32>) -> String {
    version.map_or("none".to_owned(), |version| version.to_string())
}

fn same<T: PartialEq + fmt::Display>(who: &str, what: &str, held: T, declared: T) -> Result<(), String> {
    if held == declared { Ok(()) } else { Err(differ(who, what, held, declared)) }
}

fn differ<T: fmt::Display>(who: &str, what: &str, held: T, declared: T) -> String {
    format!("{who} has {what} {held} in the checkpoint but {declared} in the job")
}

fn list(names: &BTreeSet<String>) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests;

//! Restore: what fits is assigned, and every way not to fit is told in one line.

use super::*;
use crate::error::Reaction;
use crate::graph::{OperatorKind, fixture};
use crate::ids::Generation;
use crate::state::{CODEC, SectionKind};

fn layout<T: serde::de::DeserializeOwned>() -> Layout {
    Layout::of::<T>().expect("a layout")
}

fn state(name: &str) -> StateDescriptor {
    StateDescriptor {
        name: name.into(),
        kind: SectionKind::Keyed,
        key_type: "String".into(),
        value_type: "u64".into(),
        key: Some(layout::<String>()),
        value: layout::<(u64, u32)>(),
        codec: CODEC.into(),
        version: None,
    }
}

fn operator(id: u16, uid: &str, parallelism: u16, kind: OperatorKind, states: &[&str]) -> OperatorNode {
    let states = states.iter().map(|name| state(name)).collect();
    OperatorNode { states, ..fixture::operator(id, uid, parallelism, kind) }
}

fn graph() -> JobGraph {
    JobGraph {
        name: "words".into(),
        max_parallelism: 8,
        operators: vec![
            operator(0, "lines", 1, OperatorKind::Source, &[]),
            operator(1, "count", 2, OperatorKind::Transform, &["sums", "seen"]),
        ],
        edges: vec![],
    }
}

fn handles(graph: &JobGraph) -> BTreeMap<SubtaskId, SnapshotHandle> {
    let handle = |subtask: SubtaskId| {
        let path = format!("checkpoints/chk-9/{subtask}");
        (subtask, SnapshotHandle { path, bytes: 10, checksum: 1, digest: 2, ended: false })
    };
    graph.subtasks().into_iter().map(handle).collect()
}

fn contributions(graph: &JobGraph) -> BTreeMap<SubtaskId, Contribution> {
    let statistics = SnapshotStatistics { bytes: 10, ..SnapshotStatistics::default() };
    let contribute = |(subtask, snapshot)| (subtask, Contribution { snapshot, statistics });
    handles(graph).into_iter().map(contribute).collect()
}

fn manifest(graph: &JobGraph) -> Manifest {
    let attempt = Attempt { generation: Generation(3), number: 2 };
    describe(graph, CheckpointId(9), attempt, 1234, Duration::from_millis(56), &contributions(graph))
}

/// What `assign` says about a manifest after `spoil`.
fn refusal(spoil: impl FnOnce(&mut Manifest)) -> String {
    let graph = graph();
    let mut manifest = manifest(&graph);
    spoil(&mut manifest);
    let error = assign(&graph, &manifest).expect_err("it does not fit");
    assert_eq!(error.reaction, Reaction::GiveUp);
    error.message
}

#[test]
fn what_was_described_is_assigned_to_the_same_subtasks() {
    let graph = graph();
    let manifest = manifest(&graph);
    assert_eq!((manifest.bytes(), manifest.triggered_ms, manifest.duration_ms), (30, 1234, 56));
    assert!(manifest.operators.iter().all(|operator| operator.subtasks.len() == operator.statistics.len()));
    let restore = assign(&graph, &manifest).expect("it fits");
    assert_eq!(restore.checkpoint, CheckpointId(9));
    assert_eq!(restore.snapshots, handles(&graph).into_iter().collect::<Vec<_>>());
}

#[test]
fn operators_are_found_by_uid_whatever_their_order() {
    let graph = graph();
    let mut manifest = manifest(&graph);
    manifest.operators.reverse();
    manifest.operators.iter_mut().for_each(|operator| operator.states.reverse());
    let restore = assign(&graph, &manifest).expect("it fits");
    assert_eq!(restore.snapshots, handles(&graph).into_iter().collect::<Vec<_>>());
}

#[test]
fn an_operator_that_only_one_side_knows_is_named() {
    assert_eq!(
        refusal(|manifest| drop(manifest.operators.remove(1))),
        "cannot restore chk-9: it holds no operator \"count\", which the job has"
    );
    assert_eq!(
        refusal(|manifest| {
            let extra = OperatorSnapshot { uid: "window".into(), ..manifest.operators[0].clone() };
            manifest.operators.push(extra);
        }),
        "cannot restore chk-9: it holds state of operator \"window\", which the job does not have"
    );
}

#[test]
fn another_parallelism_is_told_with_both_numbers() {
    assert_eq!(
        refusal(|manifest| drop(manifest.operators[1].subtasks.pop())),
        "cannot restore chk-9: operator \"count\" has parallelism 1 in the checkpoint but 2 in the job"
    );
    assert_eq!(
        refusal(|manifest| manifest.max_parallelism = 128),
        "cannot restore chk-9: the job has max parallelism 128 in the checkpoint but 8 in the job"
    );
}

#[test]
fn a_state_that_only_one_side_knows_is_told_with_both_lists() {
    assert_eq!(
        refusal(|manifest| drop(manifest.operators[1].states.remove(0))),
        "cannot restore chk-9: operator \"count\" has states [\"seen\"] in the checkpoint but [\"seen\", \"sums\"] in the job"
    );
}

#[test]
fn a_state_that_differs_is_told_with_both_sides() {
    type Spoil = fn(&mut StateDescriptor);
    let cases: [(Spoil, &str); 3] = [
        (|state| state.kind = SectionKind::Sink, "kind Sink in the checkpoint but Keyed in the job"),
        (|state| state.codec = "json".into(), "codec json in the checkpoint but bincode-1-fixint in the job"),
        (|state| state.version = Some(2), "version 2 in the checkpoint but none in the job"),
    ];
    for (spoil, told) in cases {
        let message = refusal(|manifest| spoil(&mut manifest.operators[1].states[0]));
        assert_eq!(message, format!("cannot restore chk-9: state \"sums\" of operator \"count\" has {told}"));
    }
}

#[test]
fn a_layout_that_differs_is_told_with_the_field() {
    assert_eq!(
        refusal(|manifest| manifest.operators[1].states[0].value = layout::<(u64, i64)>()),
        "cannot restore chk-9: state \"sums\" of operator \"count\": element 2 was \"i64\", is now \"u32\""
    );
    assert_eq!(
        refusal(|manifest| manifest.operators[1].states[0].key = Some(layout::<u8>())),
        "cannot restore chk-9: key of state \"sums\" of operator \"count\": was \"u8\", is now \"string\""
    );
    assert_eq!(
        refusal(|manifest| manifest.operators[1].states[0].key = None),
        "cannot restore chk-9: key of state \"sums\" of operator \"count\": was \"none\", is now \"string\""
    );
}

#[test]
fn a_type_may_be_renamed_and_move_to_another_module() {
    let graph = graph();
    let mut manifest = manifest(&graph);
    let state = &mut manifest.operators[1].states[0];
    (state.key_type, state.value_type) = ("old::Name".into(), "shop::v1::Totals".into());
    assign(&graph, &manifest).expect("its layout is the same");
}

#[test]
fn a_manifest_that_names_an_operator_twice_is_corrupt() {
    let graph = graph();
    let mut manifest = manifest(&graph);
    manifest.operators.push(manifest.operators[0].clone());
    let error = assign(&graph, &manifest).expect_err("it does not fit");
    assert_eq!(error, Error::corrupt("chk-9 holds operator \"lines\" twice"));
}

/// The manifest of a later checkpoint, for which the source had finished.
fn with_carried(ended: bool) -> Manifest {
    let graph = graph();
    let mut contributions = contributions(&graph);
    let source = contributions.values_mut().next().expect("the source");
    source.snapshot.path = "checkpoints/chk-7/lines".into();
    source.snapshot.ended = ended;
    describe(&graph, CheckpointId(9), Attempt::default(), 0, Duration::ZERO, &contributions)
}

#[test]
fn a_snapshot_that_was_carried_forward_is_assigned_like_any_other() {
    let restore = assign(&graph(), &with_carried(true)).expect("it fits");
    assert_eq!(restore.snapshots[0].1.path, "checkpoints/chk-7/lines");
    assert!(restore.snapshots[0].1.ended);
}

#[test]
#[should_panic(expected = "op-0[0] has not finished, so nothing of it is carried forward")]
fn a_snapshot_of_a_subtask_that_runs_is_not_carried_forward() {
    with_carried(false);
}

//! What one worker of a small job makes of a deployment: a union and a second input in front of a join, on two workers.

use super::*;
use crate::graph::fixture::{edge, operator};
use crate::graph::{Exchange, OperatorKind};
use crate::ids::{Generation, OperatorId};
use crate::messages::RestoreFrom;

/// Another worker has a lower number, and no part in this.
const FIRST: WorkerId = WorkerId(1);
const SECOND: WorkerId = WorkerId(2);

fn subtask(operator: u16, index: u16) -> SubtaskId {
    SubtaskId { operator: OperatorId(operator), index }
}

fn channel(edge: u16, from: u16, to: u16) -> ChannelId {
    ChannelId { edge: EdgeId(edge), from, to }
}

/// `left` and `more` are united into the first input of the join, `right` is its second. Two subtasks each, but for `more`.
fn graph() -> JobGraph {
    JobGraph {
        name: "join".into(),
        max_parallelism: 8,
        operators: vec![
            operator(0, "left", 2, OperatorKind::Source),
            operator(1, "more", 1, OperatorKind::Source),
            operator(2, "right", 2, OperatorKind::Source),
            operator(3, "join", 2, OperatorKind::Sink),
        ],
        edges: vec![
            edge(0, 0, 3, Exchange::Forward),
            edge(1, 1, 3, Exchange::Hash),
            Edge { input: 1, ..edge(2, 2, 3, Exchange::Hash) },
        ],
    }
}

/// Subtasks 0 are on the first worker, subtasks 1 on the second.
fn deployment(restore: bool) -> Deployment {
    let graph = graph();
    let at = |subtask: &SubtaskId| if subtask.index == 0 { FIRST } else { SECOND };
    let snapshot = |subtask: &SubtaskId| SnapshotHandle {
        path: format!("{subtask}"),
        bytes: 5,
        checksum: 1,
        digest: 2,
        ended: false,
    };
    let restore = restore.then(|| RestoreFrom {
        checkpoint: CheckpointId(4),
        snapshots: graph.subtasks().iter().map(|subtask| (*subtask, snapshot(subtask))).collect(),
    });
    Deployment {
        attempt: Attempt { generation: Generation(1), number: 1 },
        placement: graph.subtasks().iter().map(|subtask| (*subtask, at(subtask))).collect(),
        addresses: vec![(FIRST, "first:1".into()), (SECOND, "second:1".into())],
        restore,
        listing: None,
    }
}

fn wired(me: WorkerId) -> Wiring {
    Wiring::of(&graph(), me, &deployment(false))
}

fn task(wiring: &Wiring, subtask: SubtaskId) -> &Subtask {
    wiring.subtasks.iter().find(|task| task.subtask == subtask).expect("it runs here")
}

#[test]
fn the_inputs_of_a_subtask_say_which_input_of_the_operator_they_belong_to() {
    let wiring = wired(FIRST);
    let inputs = &task(&wiring, subtask(3, 0)).inputs;
    let united = [(channel(0, 0, 0), 0), (channel(1, 0, 0), 0)];
    assert_eq!(inputs[..2], united, "both edges of a union are the first input");
    assert_eq!(inputs[2..], [(channel(2, 0, 0), 1), (channel(2, 1, 0), 1)]);
}

#[test]
fn the_outputs_of_a_subtask_lead_to_every_consumer_of_its_edges() {
    let wiring = wired(FIRST);
    assert_eq!(task(&wiring, subtask(0, 0)).outputs, [(EdgeId(0), vec![channel(0, 0, 0)])], "forward: to its own");
    assert_eq!(task(&wiring, subtask(1, 0)).outputs, [(EdgeId(1), vec![channel(1, 0, 0), channel(1, 0, 1)])]);
    assert_eq!(task(&wiring, subtask(3, 0)).outputs, []);
}

#[test]
fn a_channel_with_one_end_here_crosses_a_link() {
    let here = |producer| Ends::Here { producer };
    let expected = [
        (channel(0, 0, 0), here(subtask(0, 0))),
        (channel(1, 0, 0), here(subtask(1, 0))),
        (channel(1, 0, 1), Ends::Outgoing { producer: subtask(1, 0), to: SECOND }),
        (channel(2, 0, 0), here(subtask(2, 0))),
        (channel(2, 1, 0), Ends::Incoming { from: SECOND }),
        (channel(2, 0, 1), Ends::Outgoing { producer: subtask(2, 0), to: SECOND }),
    ];
    let first = wired(FIRST);
    assert_eq!(first.channels, expected.map(|(id, ends)| Channel { id, ends }));
    assert_eq!(first.links, [(SECOND, "second:1".to_owned())]);
    assert_eq!(first.awaited(), BTreeSet::from([SECOND]));
    assert_eq!(wired(SECOND).links, [(FIRST, "first:1".to_owned())]);
}

#[test]
fn both_workers_agree_about_what_crosses_between_them() {
    let crossing = |wiring: Wiring, leaves: bool| -> Vec<ChannelId> {
        let crosses = |channel: &&Channel| match channel.ends {
            Ends::Here { .. } => false,
            Ends::Outgoing { .. } => leaves,
            Ends::Incoming { .. } => !leaves,
        };
        wiring.channels.iter().filter(crosses).map(|channel| channel.id).collect()
    };
    assert_eq!(crossing(wired(FIRST), true), crossing(wired(SECOND), false));
    assert_eq!(crossing(wired(SECOND), true), crossing(wired(FIRST), false));
}

#[test]
fn a_worker_that_hosts_nothing_has_no_channel_and_no_link() {
    let wiring = wired(WorkerId(9));
    assert!(wiring.subtasks.is_empty() && wiring.channels.is_empty() && wiring.links.is_empty());
}

#[test]
fn every_subtask_restores_its_own_snapshot() {
    for me in [FIRST, SECOND] {
        let wiring = Wiring::of(&graph(), me, &deployment(true));
        assert_eq!(wiring.restored, Some(CheckpointId(4)));
        for task in &wiring.subtasks {
            let (completion, snapshot) = task.restore.as_ref().expect("all restore");
            assert_eq!((completion.checkpoint(), &snapshot.path), (CheckpointId(4), &task.subtask.to_string()));
        }
    }
    assert!(wired(FIRST).subtasks.iter().all(|task| task.restore.is_none()), "there is nothing to restore");
}

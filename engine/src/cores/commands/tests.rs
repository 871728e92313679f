//! What a coordinator may say to a worker.

use super::*;
use crate::element::{Barrier, Guarantee};
use crate::graph::fixture::pass;
use crate::ids::OperatorId;
use crate::messages::{RestoreFrom, SnapshotHandle};

const SOURCE: SubtaskId = SubtaskId { operator: OperatorId(0), index: 0 };
const SINK: SubtaskId = SubtaskId { operator: OperatorId(1), index: 0 };
const ME: WorkerId = WorkerId(1);
const OTHER: WorkerId = WorkerId(2);

fn attempt(number: u32) -> Attempt {
    Attempt { generation: Generation(3), number }
}

fn deployment(number: u32) -> Deployment {
    Deployment {
        attempt: attempt(number),
        placement: vec![(SOURCE, OTHER), (SINK, ME)],
        addresses: vec![(ME, "here:1".into()), (OTHER, "there:1".into())],
        restore: None,
        listing: None,
    }
}

fn trigger(number: u32, checkpoint: u64, subtasks: &[SubtaskId]) -> ToWorker {
    let barrier = Barrier { checkpoint: CheckpointId(checkpoint), alignment: Guarantee::ExactlyOnce, triggered_ms: 0 };
    ToWorker::Trigger { attempt: attempt(number), barrier, subtasks: subtasks.to_vec() }
}

fn completed(number: u32, checkpoint: u64) -> ToWorker {
    ToWorker::Completed { attempt: attempt(number), checkpoint: CheckpointId(checkpoint) }
}

fn accept(core: &mut Commands, command: &ToWorker) {
    assert_eq!(core.on_command(command), Verdict::Accept, "{command:?}");
}

fn reject(core: &mut Commands, command: &ToWorker) -> Violation {
    match core.on_command(command) {
        Verdict::Reject(violation) => violation,
        Verdict::Accept => panic!("accepted: {command:?}"),
    }
}

fn welcome() -> Commands {
    let mut core = Commands::new(ME, &pass());
    core.on_session();
    accept(&mut core, &ToWorker::Welcome { generation: Generation(3) });
    core
}

/// This worker hosts the sink.
fn deployed() -> Commands {
    let mut core = welcome();
    accept(&mut core, &ToWorker::Deploy(deployment(1)));
    core
}

#[test]
fn only_the_leadership_that_welcomed_a_worker_deploys() {
    let mut core = Commands::new(ME, &pass());
    let deploy = ToWorker::Deploy(deployment(1));
    assert_eq!(reject(&mut core, &deploy), Violation::NotWelcomedBy(Generation(3)));
    accept(&mut core, &ToWorker::Welcome { generation: Generation(2) });
    assert_eq!(reject(&mut core, &deploy), Violation::NotWelcomedBy(Generation(3)));
    assert_eq!(reject(&mut core, &ToWorker::Welcome { generation: Generation(3) }), Violation::WelcomedTwice);
}

#[test]
fn a_second_welcome_is_rejected_whatever_runs() {
    for generation in [3, 4] {
        let welcome = ToWorker::Welcome { generation: Generation(generation) };
        assert_eq!(reject(&mut deployed(), &welcome), Violation::WelcomedTwice, "by generation {generation}");
    }
}

#[test]
fn a_deployment_fits_the_job() {
    let spoilt = |spoil: fn(&mut Deployment)| {
        let mut deployment = deployment(1);
        spoil(&mut deployment);
        reject(&mut welcome(), &ToWorker::Deploy(deployment))
    };
    assert_eq!(spoilt(|d| d.placement.truncate(1)), Violation::Placement);
    assert_eq!(spoilt(|d| d.placement[1].0.operator = OperatorId(7)), Violation::Placement);
    assert_eq!(spoilt(|d| d.placement.reverse()), Violation::Placement);
    assert_eq!(spoilt(|d| d.placement.push((SINK, ME))), Violation::Placement);
    assert_eq!(spoilt(|d| drop(d.addresses.pop())), Violation::Addresses);
    assert_eq!(spoilt(|d| d.addresses.reverse()), Violation::Addresses);
    let half = |d: &mut Deployment| {
        let snapshot = SnapshotHandle { path: "x".into(), bytes: 1, checksum: 0, digest: 0, ended: false };
        d.restore = Some(RestoreFrom { checkpoint: CheckpointId(4), snapshots: vec![(SINK, snapshot)] });
    };
    assert_eq!(spoilt(half), Violation::Restore);
}

#[test]
fn a_checkpoint_is_triggered_where_it_can_begin_and_ids_increase() {
    let mut core = deployed();
    let early = Violation::ProducersRun(CheckpointId(7), SINK);
    assert_eq!(reject(&mut core, &trigger(1, 7, &[SINK])), early);
    assert!(core.on_report(&ToCoordinator::InputEnded { attempt: attempt(1), subtask: SINK }));
    accept(&mut core, &trigger(1, 7, &[SINK]));
    assert_eq!(reject(&mut core, &trigger(1, 7, &[SINK])), Violation::Id(CheckpointId(7)));
    assert_eq!(reject(&mut core, &trigger(1, 8, &[SOURCE])), Violation::NotHosted(SOURCE));
    assert_eq!(reject(&mut core, &trigger(1, 8, &[])), Violation::Nowhere(CheckpointId(8)));
    assert_eq!(reject(&mut core, &trigger(1, u64::MAX, &[SINK])), Violation::Id(CheckpointId(u64::MAX)));
    assert_eq!(reject(&mut core, &trigger(2, 8, &[SINK])), Violation::NotDeployed(attempt(2)));
}

#[test]
fn notifications_have_ids_that_increase_and_can_be_counted() {
    let mut core = deployed();
    accept(&mut core, &completed(1, 7));
    assert_eq!(reject(&mut core, &completed(1, 7)), Violation::Id(CheckpointId(7)));
    assert_eq!(reject(&mut core, &completed(1, u64::MAX)), Violation::Id(CheckpointId(u64::MAX)));
    let aborted = |id| ToWorker::Aborted { attempt: attempt(1), checkpoint: CheckpointId(id) };
    accept(&mut core, &aborted(8));
    assert_eq!(reject(&mut core, &aborted(0)), Violation::Id(CheckpointId(0)));
}

#[test]
fn what_is_of_another_attempt_is_late() {
    let mut core = deployed();
    accept(&mut core, &ToWorker::Deploy(deployment(2)));
    accept(&mut core, &trigger(1, 7, &[SOURCE]));
    accept(&mut core, &completed(1, 7));
    accept(&mut core, &completed(9, 7));
    accept(&mut core, &ToWorker::Cancel { attempt: attempt(2) });
    accept(&mut core, &trigger(2, 8, &[SINK]));
    accept(&mut core, &ToWorker::Deploy(deployment(1)));
    accept(&mut core, &trigger(1, 8, &[SOURCE]));
}

#[test]
fn reports_of_another_leadership_are_not_for_this_one() {
    let mut core = deployed();
    let ended = |generation| {
        let attempt = Attempt { generation: Generation(generation), number: 1 };
        ToCoordinator::Restored { attempt, subtask: SINK }
    };
    assert!(core.on_report(&ended(3)) && !core.on_report(&ended(2)) && !core.on_report(&ended(4)));
    core.on_session();
    assert!(!core.on_report(&ended(3)), "nobody has said yet who leads");
    assert!(core.on_report(&ToCoordinator::Heartbeat));
}

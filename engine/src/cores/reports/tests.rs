//! What a worker may say, and what costs its connection.

use super::*;
use crate::error::Error;
use crate::graph::fixture::pass;
use crate::ids::OperatorId;
use crate::persist::layout;
use proptest::prelude::*;

const SOURCE: SubtaskId = SubtaskId { operator: OperatorId(0), index: 0 };
const SINK: SubtaskId = SubtaskId { operator: OperatorId(1), index: 0 };
/// Hosts the source.
const ONE: WorkerId = WorkerId(1);
/// Hosts the sink.
const TWO: WorkerId = WorkerId(2);

fn attempt(number: u32) -> Attempt {
    Attempt { generation: Generation(3), number }
}

fn id(checkpoint: u64) -> CheckpointId {
    CheckpointId(checkpoint)
}

fn snapshot(number: u32, checkpoint: u64, subtask: SubtaskId, ended: bool) -> SnapshotHandle {
    let uid = pass().operator(subtask.operator).uid.clone();
    let path = layout::snapshot(id(checkpoint), &uid, subtask.index, attempt(number));
    SnapshotHandle { path, bytes: 5, checksum: 1, digest: 2, ended }
}

fn acked(number: u32, checkpoint: u64, subtask: SubtaskId, ended: bool) -> ToCoordinator {
    let (snapshot, checkpoint) = (snapshot(number, checkpoint, subtask, ended), id(checkpoint));
    let statistics = SnapshotStatistics { bytes: snapshot.bytes, ..SnapshotStatistics::default() };
    ToCoordinator::Ack { attempt: attempt(number), checkpoint, subtask, snapshot, statistics }
}

fn declined(checkpoint: u64, subtask: SubtaskId, reason: FailureReason) -> ToCoordinator {
    ToCoordinator::Decline { attempt: attempt(1), checkpoint: id(checkpoint), subtask, reason }
}

fn restored(number: u32, subtask: SubtaskId) -> ToCoordinator {
    ToCoordinator::Restored { attempt: attempt(number), subtask }
}

fn input_ended(subtask: SubtaskId) -> ToCoordinator {
    ToCoordinator::InputEnded { attempt: attempt(1), subtask }
}

fn finished(subtask: SubtaskId) -> ToCoordinator {
    ToCoordinator::Finished { attempt: attempt(1), subtask }
}

fn failed(number: u32, subtask: Option<SubtaskId>, message: String) -> ToCoordinator {
    ToCoordinator::Failed { attempt: attempt(number), subtask, error: Error::restart(message) }
}

/// A leadership whose attempt 1 is deployed.
struct Bench {
    core: Reports,
}

impl Bench {
    fn deployed() -> Self {
        let mut core = Reports::new(Generation(3), &pass());
        core.on_deployed(attempt(1), &[(SOURCE, ONE), (SINK, TWO)], None);
        Self { core }
    }

    fn running() -> Self {
        let mut bench = Self::deployed();
        bench.accept(ONE, &restored(1, SOURCE));
        bench.accept(TWO, &restored(1, SINK));
        bench
    }

    /// Runs, and a checkpoint is triggered everywhere.
    fn triggered(checkpoint: u64) -> Self {
        let mut bench = Self::running();
        bench.trigger(checkpoint, &[SOURCE, SINK]);
        bench
    }

    /// The source has ended, and a durable checkpoint holds that.
    fn source_may_finish() -> Self {
        let mut bench = Self::running();
        bench.accept(ONE, &input_ended(SOURCE));
        bench.trigger(7, &[SOURCE, SINK]);
        bench.accept(ONE, &acked(1, 7, SOURCE, true));
        bench.accept(TWO, &acked(1, 7, SINK, false));
        bench.core.on_completed(id(7));
        bench
    }

    fn trigger(&mut self, checkpoint: u64, wait: &[SubtaskId]) {
        self.core.on_triggered(id(checkpoint), &wait.iter().copied().collect());
    }

    fn accept(&mut self, worker: WorkerId, report: &ToCoordinator) {
        assert_eq!(self.core.on_report(worker, report), Verdict::Accept, "{worker}: {report:?}");
    }

    fn reject(&mut self, worker: WorkerId, report: &ToCoordinator) -> Violation {
        match self.core.on_report(worker, report) {
            Verdict::Reject(violation) => violation,
            Verdict::Accept => panic!("accepted from {worker}: {report:?}"),
        }
    }
}

#[test]
fn a_life_of_a_subtask_is_accepted_in_its_order() {
    let mut bench = Bench::source_may_finish();
    bench.trigger(8, &[SOURCE, SINK]);
    bench.accept(ONE, &finished(SOURCE));
    bench.accept(ONE, &declined(8, SOURCE, FailureReason::TaskClosing));
}

#[test]
fn a_subtask_that_the_job_does_not_have_is_rejected_in_any_attempt() {
    let nobody = SubtaskId { operator: OperatorId(9), index: 9 };
    let beside = SubtaskId { operator: OperatorId(1), index: 1 };
    let mut bench = Bench::deployed();
    assert_eq!(bench.reject(ONE, &restored(1, nobody)), Violation::NoSuchSubtask(nobody));
    assert_eq!(bench.reject(ONE, &failed(1, Some(beside), "no".into())), Violation::NoSuchSubtask(beside));
    assert_eq!(bench.reject(ONE, &restored(0, nobody)), Violation::NoSuchSubtask(nobody));
}

#[test]
fn a_subtask_of_another_worker_is_rejected_whatever_is_said() {
    let mut bench = Bench::triggered(7);
    let elsewhere = Violation::HostedElsewhere(SINK);
    for report in [
        restored(1, SINK),
        acked(1, 7, SINK, false),
        declined(7, SINK, FailureReason::Overtaken),
        input_ended(SINK),
        finished(SINK),
        failed(1, Some(SINK), "no".into()),
    ] {
        assert_eq!(bench.reject(ONE, &report), elsewhere);
    }
    bench.accept(TWO, &acked(1, 7, SINK, false));
}

#[test]
fn a_worker_that_hosts_nothing_cannot_fail_the_attempt() {
    let mut bench = Bench::running();
    assert_eq!(bench.reject(WorkerId(3), &failed(1, None, "no".into())), Violation::HostsNothing(attempt(1)));
    bench.accept(TWO, &failed(1, None, "a link broke".into()));
}

#[test]
fn older_attempts_are_left_to_the_other_cores_and_newer_ones_are_rejected() {
    let mut bench = Bench::running();
    bench.accept(ONE, &restored(0, SINK));
    bench.accept(ONE, &ToCoordinator::Finished { attempt: Attempt::default(), subtask: SINK });
    assert_eq!(bench.reject(ONE, &restored(2, SOURCE)), Violation::NeverDeployed(attempt(2)));
    let later = Attempt { generation: Generation(4), number: 1 };
    let report = ToCoordinator::InputEnded { attempt: later, subtask: SOURCE };
    assert_eq!(bench.reject(ONE, &report), Violation::NeverDeployed(later));
}

#[test]
fn before_anything_is_deployed_every_report_of_this_leadership_is_rejected() {
    let mut core = Reports::new(Generation(3), &pass());
    let verdict = core.on_report(ONE, &restored(1, SOURCE));
    assert_eq!(verdict, Verdict::Reject(Violation::NeverDeployed(attempt(1))));
}

#[test]
fn once_the_attempt_is_over_its_reports_are_late() {
    let mut bench = Bench::triggered(7);
    bench.core.on_attempt_over(attempt(1));
    bench.accept(ONE, &acked(1, 7, SOURCE, false));
    bench.accept(ONE, &finished(SOURCE));
    bench.core.on_deployed(attempt(2), &[(SOURCE, ONE), (SINK, ONE)], None);
    bench.accept(ONE, &finished(SOURCE));
    bench.accept(ONE, &restored(2, SOURCE));
    assert_eq!(bench.reject(TWO, &restored(2, SINK)), Violation::HostedElsewhere(SINK));
}

#[test]
fn a_path_is_the_subtasks_own_for_this_checkpoint_and_attempt() {
    let mut bench = Bench::triggered(7);
    let expected = snapshot(1, 7, SOURCE, false).path;
    let foreign = [
        "checkpoints/log/1".to_owned(),
        "../escape".to_owned(),
        snapshot(1, 6, SOURCE, false).path,
        snapshot(2, 7, SOURCE, false).path,
        snapshot(1, 7, SINK, false).path,
        format!("{expected}/../x"),
    ];
    for path in foreign {
        let mut report = acked(1, 7, SOURCE, false);
        let ToCoordinator::Ack { snapshot, .. } = &mut report else { unreachable!("it is an ack") };
        snapshot.path = path;
        assert_eq!(bench.reject(ONE, &report), Violation::ForeignPath { expected: expected.clone() });
    }
    bench.core.on_attempt_over(attempt(1));
    let mut late = acked(1, 7, SOURCE, false);
    let ToCoordinator::Ack { snapshot, .. } = &mut late else { unreachable!("it is an ack") };
    snapshot.path = "checkpoints/chk-7/../chk-6/manifest-a3.1".into();
    assert_eq!(bench.reject(ONE, &late), Violation::ForeignPath { expected }, "what is late is discarded by its path");
}

#[test]
fn figures_are_possible_and_texts_are_bounded() {
    let mut bench = Bench::triggered(7);
    let spoil: [fn(&mut SnapshotHandle, &mut SnapshotStatistics); 4] = [
        |snapshot, statistics| (snapshot.bytes, statistics.bytes) = (u64::MAX, u64::MAX),
        |snapshot, statistics| (snapshot.bytes, statistics.bytes) = (0, 0),
        |_, statistics| statistics.async_ms = u64::MAX,
        |_, statistics| statistics.bytes += 1,
    ];
    for spoil in spoil {
        let mut report = acked(1, 7, SOURCE, false);
        let ToCoordinator::Ack { snapshot, statistics, .. } = &mut report else { unreachable!("it is an ack") };
        spoil(snapshot, statistics);
        assert_eq!(bench.reject(ONE, &report), Violation::Figures(SOURCE));
    }
    let (long, bytes) = ("x".repeat(TEXT_BYTES_MAX + 1), TEXT_BYTES_MAX + 1);
    assert_eq!(bench.reject(ONE, &failed(1, None, long.clone())), Violation::TooLong { bytes });
    let decline = declined(7, SOURCE, FailureReason::UploadFailed(long.clone()));
    assert_eq!(bench.reject(ONE, &decline), Violation::TooLong { bytes });
    bench.accept(ONE, &failed(1, Some(SOURCE), long).bounded());
}

#[test]
fn a_checkpoint_is_answered_once_and_only_where_it_was_triggered() {
    let mut bench = Bench::source_may_finish();
    bench.accept(ONE, &finished(SOURCE));
    bench.trigger(9, &[SINK]);
    assert_eq!(bench.reject(ONE, &acked(1, 9, SOURCE, true)), Violation::NotTriggered(id(9), SOURCE));
    assert_eq!(bench.reject(TWO, &acked(1, 8, SINK, false)), Violation::NotTriggered(id(8), SINK));
    assert_eq!(bench.reject(TWO, &acked(1, 10, SINK, false)), Violation::NotTriggered(id(10), SINK));
    assert_eq!(bench.reject(TWO, &acked(1, 7, SINK, false)), Violation::AnsweredTwice(id(7), SINK));
    bench.accept(TWO, &declined(9, SINK, FailureReason::Cancelled));
    assert_eq!(bench.reject(TWO, &acked(1, 9, SINK, false)), Violation::AnsweredTwice(id(9), SINK));
}

#[test]
fn an_answer_to_a_checkpoint_that_is_forgotten_is_late() {
    let mut bench = Bench::running();
    (1..=200).for_each(|checkpoint| bench.trigger(checkpoint, &[SOURCE, SINK]));
    bench.accept(ONE, &acked(1, 1, SOURCE, false));
    bench.accept(ONE, &acked(1, 1, SOURCE, false));
    bench.accept(ONE, &acked(1, 200, SOURCE, false));
    assert_eq!(bench.reject(ONE, &acked(1, 200, SOURCE, false)), Violation::AnsweredTwice(id(200), SOURCE));
}

#[test]
fn only_the_coordinator_lets_a_checkpoint_expire() {
    let mut bench = Bench::triggered(7);
    let reason = FailureReason::Subsumed { by: id(8) };
    assert_eq!(bench.reject(ONE, &declined(7, SOURCE, reason)), Violation::ReasonOfTheCoordinator("subsumed"));
}

#[test]
fn stages_come_in_their_order_and_once() {
    let mut bench = Bench::deployed();
    assert_eq!(bench.reject(ONE, &input_ended(SOURCE)), Violation::TooEarly(Said::InputEnded, SOURCE));
    assert_eq!(bench.reject(ONE, &finished(SOURCE)), Violation::TooEarly(Said::Finished, SOURCE));
    assert_eq!(bench.reject(ONE, &acked(1, 7, SOURCE, false)), Violation::NotTriggered(id(7), SOURCE));
    bench.accept(ONE, &restored(1, SOURCE));
    assert_eq!(bench.reject(ONE, &restored(1, SOURCE)), Violation::SaidTwice(Said::Restored, SOURCE));
    assert_eq!(bench.reject(ONE, &finished(SOURCE)), Violation::TooEarly(Said::Finished, SOURCE));
    bench.accept(ONE, &input_ended(SOURCE));
    assert_eq!(bench.reject(ONE, &input_ended(SOURCE)), Violation::SaidTwice(Said::InputEnded, SOURCE));
    assert_eq!(bench.reject(ONE, &finished(SOURCE)), Violation::EndNotDurable(SOURCE));
}

#[test]
fn a_subtask_finishes_behind_a_durable_checkpoint_that_holds_its_end_and_is_then_silent() {
    let mut bench = Bench::running();
    bench.trigger(6, &[SOURCE, SINK]);
    bench.accept(ONE, &input_ended(SOURCE));
    bench.accept(ONE, &acked(1, 6, SOURCE, false));
    bench.accept(TWO, &acked(1, 6, SINK, false));
    bench.core.on_completed(id(6));
    assert_eq!(bench.reject(ONE, &finished(SOURCE)), Violation::EndNotDurable(SOURCE), "6 came before the end");
    bench.trigger(7, &[SOURCE, SINK]);
    bench.accept(ONE, &acked(1, 7, SOURCE, true));
    assert_eq!(bench.reject(ONE, &finished(SOURCE)), Violation::EndNotDurable(SOURCE), "7 is not durable");
    bench.core.on_completed(id(7));
    bench.accept(ONE, &finished(SOURCE));
    assert_eq!(bench.reject(ONE, &finished(SOURCE)), Violation::SaidTwice(Said::Finished, SOURCE));
    let fails = failed(1, Some(SOURCE), "late".into());
    assert_eq!(bench.reject(ONE, &fails), Violation::Finished(Said::Failed, SOURCE));
}

#[test]
fn snapshots_end_behind_the_end_and_stay_ended() {
    let mut bench = Bench::triggered(7);
    assert_eq!(bench.reject(ONE, &acked(1, 7, SOURCE, true)), Violation::WrongEnd(id(7), SOURCE));
    bench.trigger(8, &[SOURCE, SINK]);
    bench.trigger(9, &[SOURCE, SINK]);
    bench.accept(ONE, &input_ended(SOURCE));
    bench.accept(ONE, &acked(1, 8, SOURCE, true));
    assert_eq!(bench.reject(ONE, &acked(1, 9, SOURCE, false)), Violation::WrongEnd(id(9), SOURCE));
    bench.accept(ONE, &acked(1, 7, SOURCE, false));
    bench.accept(ONE, &acked(1, 9, SOURCE, true));
}

#[test]
fn what_is_restored_behind_its_end_acknowledges_ended_snapshots_at_once() {
    let mut core = Reports::new(Generation(3), &pass());
    let snapshots = vec![(SOURCE, snapshot(9, 4, SOURCE, true)), (SINK, snapshot(9, 4, SINK, false))];
    let restore = RestoreFrom { checkpoint: id(4), snapshots };
    core.on_deployed(attempt(1), &[(SOURCE, ONE), (SINK, TWO)], Some(&restore));
    let mut bench = Bench { core };
    bench.accept(ONE, &restored(1, SOURCE));
    bench.accept(TWO, &restored(1, SINK));
    bench.trigger(7, &[SOURCE, SINK]);
    assert_eq!(bench.reject(ONE, &acked(1, 7, SOURCE, false)), Violation::WrongEnd(id(7), SOURCE));
    bench.accept(ONE, &acked(1, 7, SOURCE, true));
    assert_eq!(bench.reject(TWO, &acked(1, 7, SINK, true)), Violation::WrongEnd(id(7), SINK));
}

#[test]
fn a_violation_is_one_short_line_whatever_the_worker_sent() {
    let mut bench = Bench::triggered(7);
    let mut report = acked(1, 7, SOURCE, false);
    let ToCoordinator::Ack { snapshot, .. } = &mut report else { unreachable!("it is an ack") };
    snapshot.path = "\n".repeat(1 << 20);
    let line = bench.reject(ONE, &report).to_string();
    assert_eq!(line, "acknowledged another path than checkpoints/chk-7/numbers-0-a3.1");
}

fn subtasks() -> impl Strategy<Value = SubtaskId> {
    (0..3_u16, 0..2_u16).prop_map(|(operator, index)| SubtaskId { operator: OperatorId(operator), index })
}

/// Anything that decodes, mostly near to what is right.
fn reports() -> impl Strategy<Value = ToCoordinator> {
    let number = 0..4_u32;
    let checkpoint = prop_oneof![5 => 0..6_u64, 1 => any::<u64>()];
    let figure = prop_oneof![5 => Just(5_u64), 1 => any::<u64>()];
    (number, checkpoint, subtasks(), any::<bool>(), figure, 0..7_u8).prop_map(
        |(number, checkpoint, subtask, ended, figure, which)| match which {
            0 => restored(number, subtask),
            1 | 2 => {
                let uid = ["numbers", "out", "other"][usize::from(subtask.operator.0)];
                let path = layout::snapshot(id(checkpoint), uid, subtask.index, attempt(number));
                let snapshot = SnapshotHandle { path, bytes: figure, checksum: 0, digest: 0, ended };
                let statistics = SnapshotStatistics { bytes: figure, ..SnapshotStatistics::default() };
                let (attempt, checkpoint) = (attempt(number), id(checkpoint));
                ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, statistics }
            }
            3 => declined(checkpoint, subtask, FailureReason::Overtaken),
            4 => input_ended(subtask),
            5 => finished(subtask),
            _ => failed(number, ended.then_some(subtask), "why".into()),
        },
    )
}

proptest! {
    /// Whatever two workers say, every report is judged, and what was rejected changes nothing: said again it is rejected again.
    #[test]
    fn any_reports_are_judged_and_a_rejected_one_changes_nothing(
        said in proptest::collection::vec((1..4_u16, reports(), 0..8_u8), 0..80),
    ) {
        let mut bench = Bench::deployed();
        let (mut checkpoint, mut number) = (0, 1);
        for (worker, report, then) in said {
            let before = format!("{:?}", bench.core);
            if let Verdict::Reject(_) = bench.core.on_report(WorkerId(worker), &report) {
                assert_eq!(before, format!("{:?}", bench.core), "{report:?}");
            }
            let all_run = bench.core.deployed.as_ref().is_some_and(|deployed| {
                deployed.hosted.values().all(|hosted| matches!(hosted.stage, Stage::Running | Stage::Ended))
            });
            match then {
                0 if all_run => {
                    checkpoint += 1;
                    bench.trigger(checkpoint, &[SOURCE, SINK]);
                }
                1 if bench.core.deployed.as_ref().and_then(Deployed::newest) == Some(id(checkpoint)) => {
                    bench.core.on_completed(id(checkpoint));
                }
                2 => {
                    bench.core.on_attempt_over(attempt(number));
                    number += 1;
                    bench.core.on_deployed(attempt(number), &[(SOURCE, ONE), (SINK, TWO)], None);
                }
                _ => {}
            }
        }
    }
}

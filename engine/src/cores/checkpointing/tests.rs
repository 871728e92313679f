//! Checkpointing, effect by effect: a source and a sink, a trigger every second, a timeout of ten.

mod concurrent;
mod finished;
mod model;
mod requests;
mod tolerance;

use super::pending::MANIFEST_TRIES;
use super::*;
use crate::config::{CheckpointMode, JobConfig};
use crate::cores::backoff::backoff;
use crate::element::{Barrier, Guarantee};
use crate::error::Error;
use crate::ids::{Generation, OperatorId};
use crate::persist::layout;
use crate::statistics::SnapshotStatistics;

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(10);

/// When acks arrive.
const ACKED: Time = Time(1_400_000_000);

const SOURCE: SubtaskId = SubtaskId { operator: OperatorId(0), index: 0 };
const SINK: SubtaskId = SubtaskId { operator: OperatorId(1), index: 0 };

fn attempt(number: u32) -> Attempt {
    Attempt { generation: Generation(1), number }
}

fn id(id: u64) -> CheckpointId {
    CheckpointId(id)
}

fn at_ms(ms: u64) -> Time {
    Time(0) + Duration::from_millis(ms)
}

fn path(checkpoint: u64, subtask: SubtaskId) -> String {
    format!("checkpoints/chk-{checkpoint}/{subtask}")
}

fn manifest(checkpoint: u64, number: u32) -> String {
    layout::manifest(id(checkpoint), attempt(number))
}

fn config() -> CheckpointConfig {
    CheckpointConfig {
        interval: INTERVAL,
        timeout: TIMEOUT,
        tolerable_failures: 100,
        ..JobConfig::default().checkpoints
    }
}

fn topology() -> Topology {
    Topology::new(BTreeMap::from([(SOURCE, BTreeSet::new()), (SINK, BTreeSet::from([SOURCE]))]))
}

fn contribution(checkpoint: u64, subtask: SubtaskId, ended: bool) -> Contribution {
    let statistics = SnapshotStatistics { bytes: 21, ..SnapshotStatistics::default() };
    Contribution { snapshot: handle(checkpoint, subtask, ended), statistics }
}

fn handle(checkpoint: u64, subtask: SubtaskId, ended: bool) -> SnapshotHandle {
    SnapshotHandle { path: path(checkpoint, subtask), bytes: 21, checksum: 0, digest: 0, ended }
}

/// Checkpointing and what it asked for last.
struct Bench {
    core: Checkpointing,
    out: Vec<Effect>,
}

impl Bench {
    /// The first attempt runs from time zero.
    fn running() -> Self {
        Self::with(config())
    }

    /// The same with another policy.
    fn with(config: CheckpointConfig) -> Self {
        let mut bench = Self { core: Checkpointing::new(&config, topology()), out: Vec::new() };
        bench.core.on_deployed(attempt(1), None);
        bench.core.on_running(at_ms(0), attempt(1), &mut bench.out);
        bench.expect(&[]);
        bench
    }

    /// Checkpoint `checkpoint` was triggered at `ms`.
    fn triggered(&mut self, ms: u64, checkpoint: u64) {
        self.core.on_alarm(at_ms(ms), &mut self.out);
        self.expect(&[Effect::Allocate]);
        self.core.on_id(at_ms(ms), 77, id(checkpoint), &mut self.out);
        assert!(matches!(self.out[..], [Effect::Trigger { barrier, .. }] if barrier.checkpoint == id(checkpoint)));
        self.out.clear();
    }

    fn ack(&mut self, number: u32, checkpoint: u64, subtask: SubtaskId, ended: bool) -> Verdict {
        let contribution = contribution(checkpoint, subtask, ended);
        self.core.on_ack(ACKED, attempt(number), id(checkpoint), subtask, contribution, &mut self.out)
    }

    /// Every subtask acknowledged, and the manifest is written.
    fn adding(&mut self, checkpoint: u64, ended: bool) {
        assert_eq!(self.ack(1, checkpoint, SOURCE, ended), Verdict::Counts);
        assert_eq!(self.ack(1, checkpoint, SINK, ended), Verdict::Counts);
        self.core.on_manifest_written(at_ms(1500), id(checkpoint), Ok(()), &mut self.out);
        let add = Effect::AddToStore { checkpoint: id(checkpoint), manifest: manifest(checkpoint, 1) };
        assert_eq!(self.out.pop(), Some(add));
        self.out.clear();
    }

    fn end_input(&mut self, ms: u64, subtask: SubtaskId) {
        assert_eq!(self.core.on_input_ended(at_ms(ms), attempt(1), subtask, &mut self.out), Verdict::Counts);
    }

    fn finish(&mut self, ms: u64, subtask: SubtaskId) {
        assert_eq!(self.core.on_finished(at_ms(ms), attempt(1), subtask, &mut self.out), Verdict::Counts);
    }

    fn expect(&mut self, effects: &[Effect]) {
        assert_eq!(self.out, effects);
        self.out.clear();
    }
}

fn write_manifest(checkpoint: u64, ended: bool, delay: Duration) -> Effect {
    Effect::WriteManifest {
        attempt: attempt(1),
        checkpoint: id(checkpoint),
        triggered_ms: 77,
        duration: Duration::from_millis(400),
        contributions: [SOURCE, SINK].map(|subtask| (subtask, contribution(checkpoint, subtask, ended))).into(),
        delay,
    }
}

fn complete(checkpoint: u64, number: u64, duration_ms: u64, last: bool) -> Effect {
    Effect::Complete(CompletionReport {
        attempt: attempt(1),
        checkpoint: id(checkpoint),
        number,
        manifest: manifest(checkpoint, 1),
        bytes: 42,
        duration: Duration::from_millis(duration_ms),
        last,
    })
}

fn notify(checkpoint: u64) -> Effect {
    Effect::Notify { attempt: attempt(1), checkpoint: id(checkpoint) }
}

fn abort(checkpoint: u64, reason: FailureReason) -> Effect {
    Effect::Abort { attempt: attempt(1), checkpoint: id(checkpoint), reason }
}

fn discard(paths: &[String]) -> Effect {
    Effect::Discard { paths: paths.to_vec() }
}

#[test]
fn a_checkpoint_goes_from_trigger_to_manifest_to_store_and_only_then_is_notified() {
    let mut bench = Bench::running();
    assert_eq!(bench.core.deadline(), Some(at_ms(1000)));
    bench.core.on_alarm(at_ms(999), &mut bench.out);
    bench.expect(&[]);
    bench.core.on_alarm(at_ms(1000), &mut bench.out);
    bench.expect(&[Effect::Allocate]);
    bench.core.on_id(at_ms(1000), 77, id(1), &mut bench.out);
    bench.expect(&[Effect::Trigger {
        attempt: attempt(1),
        barrier: Barrier { checkpoint: id(1), alignment: Guarantee::ExactlyOnce, triggered_ms: 77 },
        subtasks: BTreeSet::from([SOURCE]),
        wait: BTreeSet::from([SOURCE, SINK]),
    }]);
    assert_eq!(bench.ack(1, 1, SINK, false), Verdict::Counts);
    bench.expect(&[]);
    assert_eq!(bench.ack(1, 1, SOURCE, false), Verdict::Counts);
    bench.expect(&[write_manifest(1, false, Duration::ZERO)]);
    bench.core.on_manifest_written(at_ms(1200), id(1), Ok(()), &mut bench.out);
    bench.expect(&[Effect::AddToStore { checkpoint: id(1), manifest: manifest(1, 1) }]);
    bench.core.on_added(at_ms(1300), id(1), 2, &mut bench.out);
    bench.expect(&[complete(1, 2, 300, false), notify(1)]);
    assert_eq!(bench.core.deadline(), Some(at_ms(2000)));
}

#[test]
fn nothing_is_triggered_before_every_subtask_runs() {
    let mut core = Checkpointing::new(&config(), topology());
    let mut out = Vec::new();
    core.on_alarm(at_ms(5000), &mut out);
    core.on_deployed(attempt(1), None);
    core.on_alarm(at_ms(9000), &mut out);
    assert_eq!((core.deadline(), out), (None, vec![]));
}

#[test]
fn one_checkpoint_is_pending_at_a_time_and_the_next_follows_at_once_when_it_is_overdue() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.core.on_alarm(at_ms(2500), &mut bench.out);
    bench.expect(&[]);
    bench.adding(1, false);
    bench.core.on_added(at_ms(2600), id(1), 2, &mut bench.out);
    bench.expect(&[complete(1, 2, 1600, false), notify(1), Effect::Allocate]);
}

#[test]
fn an_ack_that_is_repeated_or_of_another_attempt_or_checkpoint_changes_nothing() {
    let mut bench = Bench::running();
    bench.triggered(1000, 5);
    assert_eq!(bench.ack(1, 5, SOURCE, false), Verdict::Counts);
    assert_eq!(bench.ack(1, 5, SOURCE, false), Verdict::Ignored);
    assert_eq!(bench.ack(2, 5, SINK, false), Verdict::Ignored);
    assert_eq!(bench.ack(1, 4, SINK, false), Verdict::Ignored);
    let stranger = SubtaskId { operator: OperatorId(9), index: 0 };
    assert_eq!(bench.ack(1, 5, stranger, false), Verdict::Ignored);
    bench.expect(&[]);
}

#[test]
fn a_checkpoint_that_times_out_is_aborted_and_what_was_acknowledged_is_discarded() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.ack(1, 1, SINK, false);
    assert_eq!(bench.core.deadline(), Some(at_ms(11_000)));
    bench.core.on_alarm(at_ms(11_000), &mut bench.out);
    bench.expect(&[abort(1, FailureReason::Expired), discard(&[path(1, SINK)]), Effect::Allocate]);
}

#[test]
fn a_late_ack_of_an_aborted_checkpoint_has_its_blob_discarded() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.core.on_alarm(at_ms(11_000), &mut bench.out);
    bench.out.clear();
    assert_eq!(bench.ack(1, 1, SOURCE, false), Verdict::Ignored);
    bench.expect(&[discard(&[path(1, SOURCE)])]);
    let elsewhere = contribution(2, SOURCE, false);
    bench.core.on_ack(ACKED, attempt(1), id(1), SOURCE, elsewhere, &mut bench.out);
    bench.expect(&[]);
}

#[test]
fn a_late_ack_of_a_completed_checkpoint_discards_nothing() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.adding(1, false);
    assert_eq!(bench.ack(1, 1, SOURCE, false), Verdict::Ignored);
    bench.core.on_added(at_ms(1600), id(1), 2, &mut bench.out);
    bench.out.clear();
    assert_eq!(bench.ack(1, 1, SOURCE, false), Verdict::Ignored);
    bench.expect(&[]);
}

#[test]
fn a_decline_aborts_its_checkpoint_and_no_other() {
    let mut bench = Bench::running();
    bench.triggered(1000, 3);
    let mut decline = |number, checkpoint, subtask| {
        let reason = FailureReason::UploadFailed("the disk is full".into());
        bench.core.on_decline(at_ms(1100), attempt(number), id(checkpoint), subtask, reason, &mut bench.out)
    };
    assert_eq!(decline(2, 3, SINK), Verdict::Ignored);
    assert_eq!(decline(1, 2, SINK), Verdict::Ignored);
    assert_eq!(decline(1, 3, SINK), Verdict::Counts);
    assert_eq!(decline(1, 3, SOURCE), Verdict::Ignored, "it is aborted once");
    bench.expect(&[abort(3, FailureReason::UploadFailed("the disk is full".into()))]);
    assert_eq!(bench.core.deadline(), Some(at_ms(2000)), "the next one comes at its time");
}

#[test]
fn a_completing_checkpoint_is_aborted_neither_by_timeout_nor_by_decline() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.adding(1, false);
    bench.core.on_alarm(at_ms(60_000), &mut bench.out);
    let verdict =
        bench.core.on_decline(at_ms(60_000), attempt(1), id(1), SINK, FailureReason::TaskClosing, &mut bench.out);
    assert_eq!((verdict, bench.core.deadline()), (Verdict::Ignored, None));
    bench.expect(&[]);
}

#[test]
fn a_manifest_that_cannot_be_written_is_tried_again_and_then_aborts_the_checkpoint() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.ack(1, 1, SOURCE, false);
    bench.ack(1, 1, SINK, false);
    bench.out.clear();
    for tries in 1..MANIFEST_TRIES {
        bench.core.on_manifest_written(at_ms(1100), id(1), Err(Error::restart("no space")), &mut bench.out);
        bench.expect(&[write_manifest(1, false, backoff(tries))]);
    }
    bench.core.on_manifest_written(at_ms(1100), id(1), Err(Error::restart("no space")), &mut bench.out);
    bench.expect(&[
        abort(1, FailureReason::FinalizeFailed("no space".into())),
        discard(&[manifest(1, 1), path(1, SOURCE), path(1, SINK)]),
    ]);
}

#[test]
fn a_checkpoint_that_is_certainly_not_added_is_aborted_and_discarded() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.adding(1, false);
    bench.core.on_not_added(at_ms(1600), id(1), "no space", &mut bench.out);
    bench.expect(&[
        abort(1, FailureReason::FinalizeFailed("no space".into())),
        discard(&[manifest(1, 1), path(1, SOURCE), path(1, SINK)]),
    ]);
}

#[test]
fn the_end_of_the_attempt_aborts_a_checkpoint_that_still_collects() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.ack(1, 1, SOURCE, false);
    let settlement = bench.core.on_attempt_over(at_ms(1100), attempt(1), "worker-1 is lost", &mut bench.out);
    assert_eq!(settlement, Settlement::Settled);
    bench.expect(&[abort(1, FailureReason::AttemptOver("worker-1 is lost".into())), discard(&[path(1, SOURCE)])]);
    assert_eq!(bench.core.deadline(), None, "nothing is triggered between attempts");
}

#[test]
fn the_end_of_the_attempt_waits_for_a_completion_that_becomes_durable() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.adding(1, false);
    let settlement = bench.core.on_attempt_over(at_ms(1600), attempt(1), "worker-1 is lost", &mut bench.out);
    assert_eq!(settlement, Settlement::InFlight);
    bench.expect(&[]);
    bench.core.on_added(at_ms(1700), id(1), 2, &mut bench.out);
    bench.expect(&[complete(1, 2, 700, false), Effect::Settle]);
}

#[test]
fn the_end_of_the_attempt_waits_for_a_completion_that_fails() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.adding(1, false);
    bench.core.on_attempt_over(at_ms(1600), attempt(1), "worker-1 is lost", &mut bench.out);
    bench.core.on_not_added(at_ms(1700), id(1), "no space", &mut bench.out);
    let paths = [manifest(1, 1), path(1, SOURCE), path(1, SINK)];
    bench.expect(&[abort(1, FailureReason::FinalizeFailed("no space".into())), discard(&paths), Effect::Settle]);
}

#[test]
fn an_id_that_comes_after_the_attempt_is_never_used() {
    let mut bench = Bench::running();
    bench.core.on_alarm(at_ms(1000), &mut bench.out);
    bench.expect(&[Effect::Allocate]);
    bench.core.on_attempt_over(at_ms(1100), attempt(1), "worker-1 is lost", &mut bench.out);
    bench.core.on_id(at_ms(1200), 77, id(1), &mut bench.out);
    bench.expect(&[]);
    assert_eq!(bench.core.pending(), None);
}

#[test]
fn without_an_id_the_trigger_is_tried_again_later() {
    let mut bench = Bench::running();
    bench.core.on_alarm(at_ms(1000), &mut bench.out);
    bench.core.on_no_id(at_ms(1400), "no space", &mut bench.out);
    assert_eq!(bench.core.deadline(), Some(at_ms(2400)));
}

#[test]
fn a_new_attempt_triggers_with_its_own_clock() {
    let mut bench = Bench::running();
    bench.core.on_attempt_over(at_ms(500), attempt(1), "worker-1 is lost", &mut bench.out);
    bench.core.on_deployed(attempt(2), None);
    bench.core.on_running(at_ms(3000), attempt(2), &mut bench.out);
    assert_eq!(bench.core.deadline(), Some(at_ms(4000)));
    let verdict = bench.core.on_input_ended(at_ms(3100), attempt(1), SOURCE, &mut bench.out);
    assert_eq!(verdict, Verdict::Ignored, "the end of input of an older attempt");
}

#[test]
fn once_all_input_has_ended_the_final_checkpoint_is_triggered_at_once_and_is_the_last() {
    let mut bench = Bench::running();
    bench.end_input(100, SOURCE);
    bench.expect(&[]);
    bench.end_input(200, SINK);
    bench.expect(&[Effect::Allocate]);
    bench.core.on_id(at_ms(200), 77, id(1), &mut bench.out);
    bench.out.clear();
    bench.adding(1, true);
    bench.core.on_added(at_ms(300), id(1), 2, &mut bench.out);
    bench.expect(&[complete(1, 2, 100, true), notify(1)]);
    assert_eq!(bench.core.deadline(), None, "nothing follows the last");
}

#[test]
fn the_final_checkpoint_follows_the_one_that_is_pending() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.end_input(1100, SOURCE);
    bench.end_input(1100, SINK);
    bench.expect(&[]);
    bench.adding(1, false);
    bench.core.on_added(at_ms(1600), id(1), 2, &mut bench.out);
    bench.expect(&[complete(1, 2, 600, false), notify(1), Effect::Allocate]);
}

#[test]
fn a_final_checkpoint_that_is_aborted_is_tried_again_after_a_pause() {
    let mut bench = Bench::running();
    bench.end_input(100, SOURCE);
    bench.end_input(100, SINK);
    bench.core.on_id(at_ms(100), 77, id(1), &mut bench.out);
    bench.out.clear();
    bench.core.on_decline(
        at_ms(150),
        attempt(1),
        id(1),
        SINK,
        FailureReason::UploadFailed("no space".into()),
        &mut bench.out,
    );
    bench.expect(&[abort(1, FailureReason::UploadFailed("no space".into()))]);
    assert_eq!(bench.core.deadline(), Some(at_ms(1100)));
    bench.core.on_alarm(at_ms(1100), &mut bench.out);
    bench.expect(&[Effect::Allocate]);
}

#[test]
fn input_that_ends_before_every_subtask_runs_is_remembered() {
    let mut core = Checkpointing::new(&config(), topology());
    let mut out = Vec::new();
    core.on_deployed(attempt(1), None);
    core.on_input_ended(at_ms(1), attempt(1), SOURCE, &mut out);
    core.on_input_ended(at_ms(2), attempt(1), SINK, &mut out);
    assert_eq!(out, []);
    core.on_running(at_ms(3), attempt(1), &mut out);
    assert_eq!(out, [Effect::Allocate]);
}

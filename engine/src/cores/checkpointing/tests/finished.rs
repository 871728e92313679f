//! Subtasks that finish at different times: who is triggered, who is waited for, what is carried forward.

use super::*;

/// Checkpoint 1 holds the end of the source, which has finished since.
fn source_finished() -> Bench {
    let mut bench = Bench::running();
    bench.end_input(900, SOURCE);
    bench.triggered(1000, 1);
    bench.ack(1, 1, SOURCE, true);
    bench.ack(1, 1, SINK, false);
    bench.core.on_manifest_written(at_ms(1500), id(1), Ok(()), &mut bench.out);
    bench.core.on_added(at_ms(1500), id(1), 2, &mut bench.out);
    bench.out.clear();
    bench.finish(1600, SOURCE);
    bench
}

#[test]
fn a_finished_subtask_is_carried_forward_and_whoever_it_fed_is_triggered() {
    let mut bench = source_finished();
    bench.expect(&[]);
    bench.core.on_alarm(at_ms(2000), &mut bench.out);
    bench.expect(&[Effect::Allocate]);
    bench.core.on_id(at_ms(2000), 77, id(2), &mut bench.out);
    let sink = BTreeSet::from([SINK]);
    bench.expect(&[Effect::Trigger {
        attempt: attempt(1),
        barrier: Barrier { checkpoint: id(2), alignment: Guarantee::ExactlyOnce, triggered_ms: 77 },
        subtasks: sink.clone(),
        wait: sink,
    }]);
    assert_eq!(bench.ack(1, 2, SOURCE, true), Verdict::Ignored, "nobody waits for it");
    assert_eq!(bench.ack(1, 2, SINK, true), Verdict::Counts);
    let carried = Contribution { statistics: SnapshotStatistics::default(), ..contribution(1, SOURCE, true) };
    let Effect::WriteManifest { contributions, .. } = bench.out.pop().expect("all acks are in") else { panic!() };
    assert_eq!(contributions, BTreeMap::from([(SOURCE, carried), (SINK, contribution(2, SINK, true))]));
    bench.out.clear();
    bench.core.on_manifest_written(at_ms(2100), id(2), Ok(()), &mut bench.out);
    bench.out.clear();
    bench.core.on_added(at_ms(2100), id(2), 3, &mut bench.out);
    bench.expect(&[complete(2, 3, 100, true), notify(2)]);
}

#[test]
fn what_was_carried_forward_survives_the_abort_of_whoever_carried_it() {
    let mut bench = source_finished();
    bench.triggered(2000, 2);
    bench.core.on_alarm(at_ms(12_000), &mut bench.out);
    bench.expect(&[abort(2, FailureReason::Expired), Effect::Allocate]);
}

#[test]
fn a_subtask_that_finishes_aborts_what_waits_for_it_and_the_next_follows_at_once() {
    let mut bench = Bench::with(CheckpointConfig { max_concurrent: 2, ..config() });
    bench.end_input(900, SOURCE);
    bench.triggered(1000, 1);
    bench.triggered(2000, 2);
    bench.ack(1, 1, SOURCE, true);
    bench.ack(1, 1, SINK, false);
    bench.core.on_manifest_written(at_ms(2100), id(1), Ok(()), &mut bench.out);
    bench.core.on_added(at_ms(2100), id(1), 2, &mut bench.out);
    bench.out.clear();
    bench.finish(2200, SOURCE);
    bench.expect(&[abort(2, FailureReason::TaskClosing), Effect::Allocate]);
}

#[test]
fn a_subtask_that_has_acknowledged_may_finish() {
    let mut bench = Bench::with(CheckpointConfig { max_concurrent: 2, ..config() });
    bench.end_input(900, SOURCE);
    bench.triggered(1000, 1);
    bench.triggered(2000, 2);
    for checkpoint in [1, 2] {
        bench.ack(1, checkpoint, SOURCE, true);
    }
    bench.ack(1, 1, SINK, false);
    bench.core.on_manifest_written(at_ms(2100), id(1), Ok(()), &mut bench.out);
    bench.core.on_added(at_ms(2100), id(1), 2, &mut bench.out);
    bench.out.clear();
    bench.finish(2200, SOURCE);
    bench.expect(&[]);
    assert_eq!(bench.ack(1, 2, SINK, false), Verdict::Counts);
}

#[test]
fn a_finish_that_is_repeated_or_of_another_attempt_changes_nothing() {
    let mut bench = source_finished();
    let mut finished = |number| bench.core.on_finished(at_ms(1700), attempt(number), SOURCE, &mut bench.out);
    assert_eq!((finished(1), finished(2)), (Verdict::Ignored, Verdict::Ignored));
    bench.expect(&[]);
}

#[test]
fn the_final_checkpoint_is_taken_of_whoever_is_left() {
    let mut bench = source_finished();
    bench.end_input(1700, SINK);
    bench.expect(&[Effect::Allocate]);
}

#[test]
fn a_new_attempt_runs_all_of_them_again_from_what_was_restored() {
    let mut bench = source_finished();
    bench.core.on_attempt_over(at_ms(1800), attempt(1), "worker-1 is lost", &mut bench.out);
    bench.out.clear();
    let snapshots = vec![(SOURCE, handle(1, SOURCE, true)), (SINK, handle(1, SINK, false))];
    bench.core.on_deployed(attempt(2), Some(&RestoreFrom { checkpoint: id(1), snapshots }));
    bench.core.on_running(at_ms(2000), attempt(2), &mut bench.out);
    bench.core.on_alarm(at_ms(3000), &mut bench.out);
    bench.core.on_id(at_ms(3000), 77, id(2), &mut bench.out);
    let Some(Effect::Trigger { subtasks, wait, .. }) = bench.out.last() else { panic!("{:?}", bench.out) };
    assert_eq!((subtasks.len(), wait.len()), (1, 2), "the source, and both");
    bench.out.clear();
    bench.core.on_finished(at_ms(3100), attempt(2), SOURCE, &mut bench.out);
    let aborted = Effect::Abort { attempt: attempt(2), checkpoint: id(2), reason: FailureReason::TaskClosing };
    bench.expect(&[aborted, Effect::Allocate]);
    bench.core.on_id(at_ms(3100), 77, id(3), &mut bench.out);
    let Some(Effect::Trigger { wait, .. }) = bench.out.last() else { panic!("{:?}", bench.out) };
    assert_eq!(wait, &BTreeSet::from([SINK]), "its snapshot is carried forward from what was restored");
}

#[test]
#[should_panic(expected = "op-0[0] has finished, but the completed checkpoint does not hold its end")]
fn a_subtask_that_finishes_without_having_ended_is_a_bug() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.adding(1, false);
    bench.core.on_added(at_ms(1500), id(1), 2, &mut bench.out);
    bench.finish(1600, SOURCE);
    bench.out.clear();
    bench.triggered(2000, 2);
}

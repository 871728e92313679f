//! Several checkpoints pending at a time, pauses between them, and the order in which they complete.

use super::*;

fn concurrent(max_concurrent: usize) -> Bench {
    Bench::with(CheckpointConfig { max_concurrent, ..config() })
}

/// Checkpoints 1 and 2 are pending.
fn two() -> Bench {
    let mut bench = concurrent(2);
    bench.triggered(1000, 1);
    bench.triggered(2000, 2);
    bench
}

fn acked(bench: &mut Bench, checkpoint: u64) {
    assert_eq!(bench.ack(1, checkpoint, SOURCE, false), Verdict::Counts);
    assert_eq!(bench.ack(1, checkpoint, SINK, false), Verdict::Counts);
}

fn subsumed(checkpoint: u64, by: u64) -> Effect {
    abort(checkpoint, FailureReason::Subsumed { by: id(by) })
}

#[test]
fn so_many_are_pending_and_no_more() {
    let mut bench = two();
    bench.core.on_alarm(at_ms(9000), &mut bench.out);
    bench.expect(&[]);
    assert_eq!(bench.core.pending(), Some(id(1)), "the oldest");
    assert_eq!(bench.core.deadline(), Some(at_ms(11_000)), "it waits for room, or for the first to expire");
}

#[test]
fn an_older_one_is_subsumed_by_a_completion_before_that_is_notified() {
    let mut bench = two();
    bench.ack(1, 1, SINK, false);
    bench.adding(2, false);
    bench.core.on_added(at_ms(2500), id(2), 2, &mut bench.out);
    let expected = [complete(2, 2, 500, false), subsumed(1, 2), discard(&[path(1, SINK)]), notify(2)];
    bench.expect(&expected);
    assert_eq!(bench.ack(1, 1, SOURCE, false), Verdict::Ignored);
    bench.expect(&[discard(&[path(1, SOURCE)])]);
}

#[test]
fn one_that_is_ready_waits_while_a_newer_one_is_being_added_and_is_then_subsumed() {
    let mut bench = two();
    bench.adding(2, false);
    acked(&mut bench, 1);
    bench.expect(&[]);
    bench.core.on_added(at_ms(2500), id(2), 2, &mut bench.out);
    let paths = [path(1, SOURCE), path(1, SINK)];
    bench.expect(&[complete(2, 2, 500, false), subsumed(1, 2), discard(&paths), notify(2)]);
}

#[test]
fn one_that_is_ready_completes_after_all_when_the_newer_one_certainly_fails() {
    let mut bench = two();
    bench.adding(2, false);
    acked(&mut bench, 1);
    bench.core.on_not_added(at_ms(2500), id(2), "no space", &mut bench.out);
    let paths = [manifest(2, 1), path(2, SOURCE), path(2, SINK)];
    let expected = [
        abort(2, FailureReason::FinalizeFailed("no space".into())),
        discard(&paths),
        write_manifest(1, false, Duration::ZERO),
    ];
    bench.expect(&expected);
}

#[test]
fn a_newer_one_waits_for_the_slot_of_the_older() {
    let mut bench = two();
    bench.adding(1, false);
    acked(&mut bench, 2);
    bench.expect(&[]);
    bench.core.on_added(at_ms(2500), id(1), 2, &mut bench.out);
    let next = Effect::WriteManifest {
        attempt: attempt(1),
        checkpoint: id(2),
        triggered_ms: 77,
        duration: Duration::ZERO,
        contributions: [SOURCE, SINK].map(|subtask| (subtask, contribution(2, subtask, false))).into(),
        delay: Duration::ZERO,
    };
    bench.expect(&[complete(1, 2, 1500, false), notify(1), next]);
}

#[test]
fn the_end_of_the_attempt_aborts_all_but_the_one_that_is_being_added() {
    let mut bench = concurrent(3);
    (1..=3).for_each(|checkpoint| bench.triggered(1000 * checkpoint, checkpoint));
    bench.adding(2, false);
    acked(&mut bench, 3);
    let settlement = bench.core.on_attempt_over(at_ms(3500), attempt(1), "worker-1 is lost", &mut bench.out);
    assert_eq!(settlement, Settlement::InFlight);
    let over = |checkpoint| abort(checkpoint, FailureReason::AttemptOver("worker-1 is lost".into()));
    bench.expect(&[over(1), over(3), discard(&[path(3, SOURCE), path(3, SINK)])]);
    bench.core.on_added(at_ms(3600), id(2), 2, &mut bench.out);
    bench.expect(&[complete(2, 2, 1600, false), Effect::Settle]);
}

#[test]
fn the_last_checkpoint_ends_whatever_was_triggered_behind_it() {
    let mut bench = concurrent(2);
    bench.end_input(100, SOURCE);
    bench.end_input(100, SINK);
    bench.core.on_id(at_ms(100), 77, id(1), &mut bench.out);
    bench.out.clear();
    bench.triggered(1100, 2);
    bench.adding(1, true);
    bench.core.on_added(at_ms(1600), id(1), 2, &mut bench.out);
    bench.expect(&[complete(1, 2, 1500, true), notify(1), abort(2, FailureReason::TaskClosing)]);
    assert_eq!(bench.core.deadline(), None, "nothing follows the last");
}

#[test]
fn the_pause_begins_with_the_completion_and_means_one_at_a_time() {
    let mut bench =
        Bench::with(CheckpointConfig { max_concurrent: 3, min_pause: Duration::from_millis(700), ..config() });
    bench.triggered(1000, 1);
    bench.core.on_alarm(at_ms(2500), &mut bench.out);
    bench.expect(&[]);
    bench.adding(1, false);
    bench.core.on_added(at_ms(2600), id(1), 2, &mut bench.out);
    bench.expect(&[complete(1, 2, 1600, false), notify(1)]);
    assert_eq!(bench.core.deadline(), Some(at_ms(3300)));
    bench.core.on_alarm(at_ms(3299), &mut bench.out);
    bench.expect(&[]);
    bench.core.on_alarm(at_ms(3300), &mut bench.out);
    bench.expect(&[Effect::Allocate]);
}

#[test]
fn a_failure_begins_no_pause() {
    let mut bench = Bench::with(CheckpointConfig { min_pause: Duration::from_secs(5), ..config() });
    bench.triggered(1000, 1);
    bench.core.on_alarm(at_ms(11_000), &mut bench.out);
    bench.expect(&[abort(1, FailureReason::Expired), Effect::Allocate]);
}

#[test]
fn the_final_checkpoint_does_not_wait_for_the_pause_to_be_over() {
    let mut bench = Bench::with(CheckpointConfig { min_pause: Duration::from_secs(60), ..config() });
    bench.triggered(1000, 1);
    bench.adding(1, false);
    bench.core.on_added(at_ms(1500), id(1), 2, &mut bench.out);
    bench.out.clear();
    bench.end_input(1600, SOURCE);
    bench.end_input(1700, SINK);
    bench.expect(&[Effect::Allocate]);
}

#[test]
fn nothing_new_is_triggered_while_too_many_are_being_deleted() {
    let mut bench = Bench::running();
    bench.core.on_backlog(at_ms(500), 2, &mut bench.out);
    bench.core.on_alarm(at_ms(1000), &mut bench.out);
    bench.expect(&[]);
    assert_eq!(bench.core.deadline(), None, "it waits for the cleaner, not for a time");
    bench.core.on_backlog(at_ms(1700), 1, &mut bench.out);
    bench.expect(&[Effect::Allocate]);
}

#[test]
fn at_least_once_is_what_the_barrier_says() {
    let mut bench = Bench::with(CheckpointConfig { mode: CheckpointMode::AtLeastOnce, ..config() });
    bench.core.on_alarm(at_ms(1000), &mut bench.out);
    bench.out.clear();
    bench.core.on_id(at_ms(1000), 77, id(1), &mut bench.out);
    let Effect::Trigger { barrier, .. } = &bench.out[0] else { panic!("{:?}", bench.out) };
    assert_eq!(barrier.alignment, Guarantee::AtLeastOnce);
}

//! Failures that fail the attempt, and those that do not.

use super::*;

fn tolerating(tolerable_failures: u32) -> Bench {
    Bench::with(CheckpointConfig { tolerable_failures, max_concurrent: 2, ..config() })
}

impl Bench {
    fn decline(&mut self, ms: u64, checkpoint: u64, reason: FailureReason) {
        let verdict = self.core.on_decline(at_ms(ms), attempt(1), id(checkpoint), SINK, reason, &mut self.out);
        assert_eq!(verdict, Verdict::Counts);
    }
}

fn full() -> FailureReason {
    FailureReason::UploadFailed("no space".into())
}

fn fail_attempt(cause: &str) -> Effect {
    Effect::FailAttempt { attempt: attempt(1), cause: cause.to_owned() }
}

#[test]
fn one_failure_too_many_fails_the_attempt_and_nothing_follows_in_it() {
    let mut bench = tolerating(1);
    bench.triggered(1000, 1);
    bench.decline(1100, 1, full());
    bench.expect(&[abort(1, full())]);
    bench.triggered(2000, 2);
    bench.decline(2100, 2, full());
    let cause = "2 checkpoint(s) in a row failed and 1 are tolerated; the last, chk-2: a snapshot could not be stored: no space";
    bench.expect(&[abort(2, full()), fail_attempt(cause)]);
    bench.core.on_alarm(at_ms(9000), &mut bench.out);
    bench.expect(&[]);
    bench.core.on_attempt_over(at_ms(9000), attempt(1), cause, &mut bench.out);
    bench.core.on_deployed(attempt(2), None);
    bench.core.on_running(at_ms(9100), attempt(2), &mut bench.out);
    assert_eq!(bench.core.deadline(), Some(at_ms(10_100)), "the next attempt triggers again");
}

#[test]
fn a_completion_in_between_resets_the_count() {
    let mut bench = tolerating(1);
    bench.triggered(1000, 1);
    bench.decline(1100, 1, full());
    bench.out.clear();
    bench.triggered(2000, 2);
    bench.adding(2, false);
    bench.core.on_added(at_ms(2500), id(2), 2, &mut bench.out);
    bench.out.clear();
    bench.triggered(3000, 3);
    bench.decline(3100, 3, full());
    bench.expect(&[abort(3, full())]);
}

#[test]
fn several_that_expire_at_once_fail_the_attempt_once() {
    let mut bench = tolerating(0);
    bench.triggered(1000, 1);
    bench.triggered(2000, 2);
    bench.core.on_alarm(at_ms(12_000), &mut bench.out);
    let effects = std::mem::take(&mut bench.out);
    let [Effect::Abort { .. }, Effect::Abort { .. }, Effect::FailAttempt { attempt: failed, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(*failed, attempt(1));
}

#[test]
fn whoever_is_queued_when_the_attempt_fails_is_told() {
    let mut bench = tolerating(0);
    bench.triggered(1000, 1);
    bench.triggered(2000, 2);
    bench.core.on_request(at_ms(2050), RequestId(7), &mut bench.out);
    bench.decline(2100, 1, full());
    let told =
        bench.out.iter().any(|effect| matches!(effect, Effect::Answer { request: RequestId(7), result: Err(_) }));
    assert!(told && matches!(bench.out.last(), Some(Effect::FailAttempt { .. })), "{:?}", bench.out);
}

#[test]
fn a_completion_that_fails_after_the_attempt_is_over_is_not_held_against_the_next() {
    let mut bench = tolerating(0);
    bench.triggered(1000, 1);
    bench.adding(1, false);
    bench.core.on_attempt_over(at_ms(1600), attempt(1), "worker-1 is lost", &mut bench.out);
    bench.core.on_not_added(at_ms(1700), id(1), "no space", &mut bench.out);
    assert_eq!(bench.out.last(), Some(&Effect::Settle));
    bench.out.clear();
    bench.core.on_deployed(attempt(2), None);
    bench.core.on_running(at_ms(1800), attempt(2), &mut bench.out);
    bench.expect(&[]);
}

#[test]
fn a_decline_of_an_older_attempt_is_not_held_against_the_next() {
    let mut bench = tolerating(0);
    bench.triggered(1000, 1);
    bench.core.on_attempt_over(at_ms(1100), attempt(1), "worker-1 is lost", &mut bench.out);
    bench.core.on_deployed(attempt(2), None);
    bench.core.on_running(at_ms(1200), attempt(2), &mut bench.out);
    bench.out.clear();
    bench.triggered(2200, 2);
    let late = bench.core.on_decline(at_ms(2300), attempt(1), id(1), SINK, full(), &mut bench.out);
    let forged = bench.core.on_decline(at_ms(2300), attempt(1), id(2), SINK, full(), &mut bench.out);
    assert_eq!((late, forged), (Verdict::Ignored, Verdict::Ignored));
    bench.expect(&[]);
}

//! What a clock promises.

use crate::door::{BoxFuture, Env, Time};
use crate::runtime::mailbox::{Either, race};
use std::time::Duration;

/// Everything a clock promises.
pub async fn check(env: &Env) {
    time_never_goes_back(env).await;
    sleeps_are_never_early(env).await;
    deadlines_in_the_past_are_over(env).await;
    sleeps_end_in_the_order_of_their_deadlines(env).await;
    a_dropped_sleep_is_cancelled(env).await;
}

async fn time_never_goes_back(env: &Env) {
    let mut last = env.clock.now();
    for round in 0..10 {
        for _ in 0..100 {
            let now = env.clock.now();
            assert!(now >= last, "the clock went back from {last:?} to {now:?}");
            last = now;
        }
        env.sleep(Duration::from_micros(100 * round)).await;
    }
}

async fn sleeps_are_never_early(env: &Env) {
    for micros in [0, 1, 999, 1_000, 1_001, 7_777] {
        let deadline = env.clock.now() + Duration::from_micros(micros);
        env.clock.sleep_until(deadline).await;
        assert!(env.clock.now() >= deadline, "a sleep of {micros} us ended early");
    }
}

async fn deadlines_in_the_past_are_over(env: &Env) {
    env.sleep(Duration::from_millis(2)).await;
    env.clock.sleep_until(Time::default()).await;
}

async fn sleeps_end_in_the_order_of_their_deadlines(env: &Env) {
    let now = env.clock.now();
    let sleeps: Vec<BoxFuture<'static, Time>> = [40, 1, 20]
        .map(|millis| {
            let clock = env.clock.clone();
            let deadline = now + Duration::from_millis(millis);
            Box::pin(async move {
                clock.sleep_until(deadline).await;
                clock.now()
            }) as BoxFuture<'static, Time>
        })
        .into();
    let woken = super::all(env, sleeps).await;
    assert!(woken[1] <= woken[2] && woken[2] <= woken[0], "a later deadline woke its sleeper first: {woken:?}");
}

async fn a_dropped_sleep_is_cancelled(env: &Env) {
    let long = env.sleep(Duration::from_secs(3_600));
    let short = env.sleep(Duration::from_millis(1));
    assert!(matches!(race(long, short).await, Either::Second(())), "an hour passed before a millisecond did");
}

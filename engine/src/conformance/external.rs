//! What systems outside promise, while nothing fails. The body needs one that answers every request with the number of
//! requests before it, as eight bytes, little-endian first.

use super::all;
use crate::door::{BoxFuture, Env, ExternalError};
use bytes::Bytes;

/// Everything that is promised of `system`, which counts and was not asked before.
pub async fn check(env: &Env, system: &str) {
    what_has_no_name_fails_for_certain(env).await;
    requests_take_effect_once_and_before_their_answer(env, system).await;
    requests_side_by_side_take_effect_at_one_instant_each(env, system).await;
}

async fn ask(env: &Env, system: &str) -> u64 {
    let reply = env.externals.call(system, Bytes::from_static(b"next")).await.expect("it answers");
    u64::from_le_bytes(reply[..].try_into().expect("it counts in eight bytes"))
}

async fn what_has_no_name_fails_for_certain(env: &Env) {
    let reply = env.externals.call("nobody is called so", Bytes::new()).await;
    assert!(matches!(reply, Err(ExternalError::Failed(_))), "a system that is not there has no effect: {reply:?}");
}

async fn requests_take_effect_once_and_before_their_answer(env: &Env, system: &str) {
    for expected in 0..5 {
        assert_eq!(ask(env, system).await, expected, "an answered request took effect once, before its answer");
    }
}

async fn requests_side_by_side_take_effect_at_one_instant_each(env: &Env, system: &str) {
    let asking = (0..8).map(|_| {
        let (env, system) = (env.clone(), system.to_owned());
        Box::pin(async move { ask(&env, &system).await }) as BoxFuture<'static, u64>
    });
    let mut answers = all(env, asking.collect()).await;
    answers.sort_unstable();
    assert_eq!(answers, (5..13).collect::<Vec<_>>(), "each request took effect at an instant of its own");
}

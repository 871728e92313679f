//! What a spawner and its bells promise.

use crate::door::{Bell, BoxFuture, Env, Site};
use crate::runtime::mailbox::Mailbox;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Everything a spawner promises.
pub async fn check(env: &Env) {
    spawned_tasks_run_beside_their_parent(env).await;
    a_dropped_handle_lets_its_task_run_on(env).await;
    an_aborted_task_does_not_go_on(env).await;
    every_ring_arrives_exactly_once(env).await;
    rings_are_not_lost_between_looking_and_waiting(env).await;
}

async fn spawned_tasks_run_beside_their_parent(env: &Env) {
    let (to_child, mut child) = Mailbox::new(env, Site::new("child", 0));
    let (to_parent, mut parent) = Mailbox::new(env, Site::new("parent", 0));
    let echo = async move {
        loop {
            to_parent.post(child.take().await);
        }
    };
    let task = env.spawner.spawn(Site::new("echo", 0), Box::pin(echo));
    for n in 0..100_u32 {
        to_child.post(n);
        assert_eq!(parent.take().await, n, "an item was lost or overtaken between two tasks");
    }
    task.abort();
}

async fn a_dropped_handle_lets_its_task_run_on(env: &Env) {
    let (postbox, mut mailbox) = Mailbox::new(env, Site::new("detached", 0));
    let nap = env.sleep(Duration::from_millis(3));
    drop(env.spawner.spawn(
        Site::new("detached", 1),
        Box::pin(async move {
            nap.await;
            postbox.post(());
        }),
    ));
    mailbox.take().await;
}

async fn an_aborted_task_does_not_go_on(env: &Env) {
    let steps = Arc::new(AtomicU64::new(0));
    let (postbox, mut mailbox) = Mailbox::new(env, Site::new("aborted", 0));
    let (counted, inner) = (steps.clone(), env.clone());
    let task = env.spawner.spawn(
        Site::new("aborted", 1),
        Box::pin(async move {
            loop {
                counted.fetch_add(1, Ordering::SeqCst);
                postbox.post(());
                inner.sleep(Duration::from_millis(1)).await;
            }
        }),
    );
    mailbox.take().await;
    task.abort();
    // On another thread the task may be between two suspension points right now; after that it must stand still.
    env.sleep(Duration::from_millis(20)).await;
    let after = steps.load(Ordering::SeqCst);
    env.sleep(Duration::from_millis(20)).await;
    assert_eq!(steps.load(Ordering::SeqCst), after, "an aborted task went on");
}

async fn every_ring_arrives_exactly_once(env: &Env) {
    let bell = env.spawner.bell(Site::new("bell", 0));
    let ringers = 4;
    let rings = 1_000;
    let ring: Vec<BoxFuture<'static, ()>> = (0..ringers)
        .map(|_| {
            let bell = bell.clone();
            Box::pin(async move { (0..rings).for_each(|_| bell.ring()) }) as BoxFuture<'static, ()>
        })
        .collect();
    super::all(env, ring).await;
    let heard = wait_for(&*bell, ringers * rings).await;
    assert_eq!(heard, ringers * rings, "more rings arrived than were sent");
    env.sleep(Duration::from_millis(5)).await;
    assert_eq!(bell.rung(), ringers * rings, "a ring arrived twice");
}

/// Two tasks wake each other in turn: one lost wake-up and they both sleep for ever.
async fn rings_are_not_lost_between_looking_and_waiting(env: &Env) {
    let (ping, pong) = (env.spawner.bell(Site::new("ping", 0)), env.spawner.bell(Site::new("pong", 0)));
    let turns = 2_000;
    let player = |hears: Arc<dyn Bell>, rings: Arc<dyn Bell>| {
        Box::pin(async move {
            for turn in 0..turns {
                wait_for(&*hears, turn + 1).await;
                rings.ring();
            }
        }) as BoxFuture<'static, ()>
    };
    let players = vec![player(ping.clone(), pong.clone()), player(pong, ping.clone())];
    ping.ring();
    super::all(env, players).await;
    assert_eq!(wait_for(&*ping, turns + 1).await, turns + 1);
}

/// Waits until at least `count` rings have arrived.
async fn wait_for(bell: &dyn Bell, count: u64) -> u64 {
    poll_fn(|context| bell.poll_rung(count - 1, context)).await
}

//! The simulated world keeps the promises of the engine's door while nothing fails: the same bodies that hold production
//! to them.

use bytes::Bytes;
use cofferdam_engine::conformance;
use cofferdam_engine::door::Env;
use cofferdam_engine::ids::WorkerId;
use cofferdam_properties::external::{Model, Models};
use cofferdam_properties::history::{Fact, Process, What};
use cofferdam_world::{self as world, Budget, OnError, ProcessSpec, Tuning, WorldSpec};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

const SEEDS: u64 = 5;

/// Answers with the number of requests before.
#[derive(Default)]
struct Counter(u64);

impl Model for Counter {
    fn apply(&mut self, _: u64, _: &[u8]) -> Bytes {
        self.0 += 1;
        Bytes::copy_from_slice(&(self.0 - 1).to_le_bytes())
    }

    fn visible(&self) -> Vec<Bytes> {
        Vec::new()
    }
}

fn hold_to_promises<F, R>(body: F)
where
    F: Fn(Env) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    for seed in 0..SEEDS {
        let body = body.clone();
        let main = move |env| {
            let body = body(env);
            Box::pin(async move {
                body.await;
                Ok("conforms".to_owned())
            }) as _
        };
        let process = Process::Worker(WorkerId(0));
        let recording = world::run(WorldSpec {
            seed,
            processes: vec![ProcessSpec { process, main: Arc::new(main), on_error: OnError::EndRun }],
            hosts: 1,
            initial: BTreeMap::new(),
            models: Models::default().with("counter", Counter::default),
            faults: Vec::new(),
            heal_at_ms: u64::MAX,
            tuning: Tuning::default(),
            picks: cofferdam_world::Picks::Seed,
            record_picks: false,
            budget: Budget { events: 10_000_000, virtual_ms: 100_000_000 },
        });
        let ended = recording
            .history
            .entries
            .iter()
            .any(|entry| entry.what == What::Fact(Fact::Ended(Ok("conforms".to_owned()))));
        assert!(ended, "seed {seed}: {:?}", recording.ended);
    }
}

#[test]
fn the_simulated_clock_conforms() {
    hold_to_promises(|env| async move { conformance::clock::check(&env).await });
}

#[test]
fn the_simulated_schedule_conforms() {
    hold_to_promises(|env| async move { conformance::schedule::check(&env) });
}

#[test]
fn the_simulated_spawner_conforms() {
    hold_to_promises(|env| async move { conformance::spawner::check(&env).await });
}

#[test]
fn the_simulated_storage_conforms() {
    hold_to_promises(|env| async move { conformance::storage::check(&env, "output/conformance").await });
}

#[test]
fn the_simulated_network_conforms() {
    hold_to_promises(|env| async move { conformance::network::check(&env, "worker-0:0").await });
}

#[test]
fn simulated_systems_outside_conform() {
    hold_to_promises(|env| async move { conformance::external::check(&env, "counter").await });
}

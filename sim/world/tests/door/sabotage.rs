//! The conformance suites are worth something: each notices every door that breaks one of its promises. Here the crooked
//! doors lead into the simulated world, where a suite that waits for ever is seen to do so at once.

use cofferdam_engine::conformance::sabotage::{self, Sabotage, Suite};
use cofferdam_engine::conformance::trace;
use cofferdam_engine::ids::WorkerId;
use cofferdam_properties::external::Models;
use cofferdam_properties::history::{Process, What};
use cofferdam_world::{self as world, Budget, OnError, ProcessSpec, Recording, RunEnd, Tuning, WorldSpec};
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::Arc;

fn run(sabotage: &Sabotage) -> Recording {
    let (suite, apply) = (sabotage.suite, sabotage.apply);
    let main = move |env| {
        let env = apply(env);
        Box::pin(async move {
            suite.run(&env, "worker-0:0").await;
            Ok("noticed nothing".to_owned())
        }) as _
    };
    let process = Process::Worker(WorkerId(0));
    world::run(WorldSpec {
        seed: 1,
        processes: vec![ProcessSpec { process, main: Arc::new(main), on_error: OnError::EndRun }],
        hosts: 1,
        initial: BTreeMap::new(),
        models: Models::default(),
        faults: Vec::new(),
        heal_at_ms: u64::MAX,
        tuning: Tuning::default(),
        picks: cofferdam_world::Picks::Seed,
        record_picks: false,
        budget: Budget { events: 10_000_000, virtual_ms: 100_000_000 },
    })
}

/// The claims of a run, as the suite of the trace reads them.
fn record(recording: &Recording) -> Vec<String> {
    let claims = recording.history.entries.iter().filter_map(|entry| match &entry.what {
        What::Claim(event) => Some(format!("{event:?}")),
        What::Fact(_) => None,
    });
    claims.collect()
}

#[test]
fn every_broken_promise_is_noticed_by_its_suite() {
    for sabotage in sabotage::all() {
        let recording = run(&sabotage);
        let noticed = match (&recording.ended, sabotage.suite) {
            (RunEnd::Panicked { .. }, _) => !sabotage.hangs,
            (RunEnd::Deadlock | RunEnd::TimeBudget | RunEnd::EventBudget, _) => sabotage.hangs,
            (RunEnd::AllEnded, Suite::Trace) => {
                let record = record(&recording);
                catch_unwind(|| trace::check(&record)).is_err()
            }
            (RunEnd::AllEnded | RunEnd::Failed { .. }, _) => false,
        };
        assert!(noticed, "{:?}, where {}: {:?}", sabotage.suite, sabotage.name, recording.ended);
    }
}

#[test]
fn the_simulated_trace_conforms() {
    let honest = Sabotage { name: "nothing is broken", suite: Suite::Trace, hangs: false, apply: |env| env };
    let recording = run(&honest);
    assert_eq!(recording.ended, RunEnd::AllEnded);
    trace::check(&record(&recording));
}

//! What shrinking makes of failures that depend on one thing each, in a world that does nothing.

use super::*;
use crate::run::Staging;
use crate::shrink::steps::pace;
use crate::world::{Counters, Recording, RunEnd, WorldSpec};
use cofferdam_engine::config::JobConfig;
use cofferdam_engine::graph::{Job, JobGraph};
use cofferdam_properties::external::Models;
use cofferdam_properties::history::{Entry, Fact, History, Incarnation, Process, What};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Gets stuck if the stage says so.
fn world(spec: WorldSpec) -> Recording {
    let by = Incarnation { process: Process::COORDINATOR, number: 1 };
    let ended = Entry { time: 5, by, what: What::Fact(Fact::Ended(Ok("done".into()))) };
    Recording {
        history: History { entries: vec![ended], initial: BTreeMap::new() },
        fingerprint: spec.seed,
        events: 1,
        virtual_ns: 5,
        ended: if spec.initial.is_empty() { RunEnd::AllEnded } else { RunEnd::Deadlock },
        faults: Vec::new(),
        storage: BTreeMap::new(),
        counters: Counters::default(),
        offers: Vec::new(),
        idle_picks: 0,
    }
}

/// Runs that get stuck under these circumstances.
fn stuck_if(so: impl Fn(Seed, &Plan) -> bool + Send + Sync + 'static) -> Runner {
    let stage = move |seed: Seed, plan: &Plan| {
        let graph = JobGraph { name: "toy".into(), max_parallelism: 1, operators: Vec::new(), edges: Vec::new() };
        let job = Job { graph: Arc::new(graph), config: JobConfig::default() };
        let initial = so(seed, plan).then(|| ("stuck".to_owned(), bytes::Bytes::new())).into_iter().collect();
        Ok(Staging { job, initial, reference: None, models: Models::default(), processes: Vec::new() })
    };
    Runner::new(Arc::new(stage), world)
}

/// Allows so many runs.
struct Few(u64);

impl Watcher for Few {
    fn better(&mut self, _: &Outcome, _: &Size) {}

    fn go_on(&mut self, tried: u64) -> bool {
        tried < self.0
    }
}

fn shrunk(runner: &Runner, seed: Seed) -> Shrunk {
    shrink(runner, runner.run(seed), &mut Few(20_000)).expect("it fails")
}

#[test]
fn what_fails_always_ends_with_next_to_nothing() {
    for seed in (0..8).map(Seed) {
        let Shrunk { best, complete, .. } = shrunk(&stuck_if(|_, _| true), seed);
        assert!(complete && best.plan.faults.is_empty() && best.plan.input.records(1) <= 2, "{}", best.plan);
    }
}

/// Fewer records alone are another, shorter run.
#[test]
fn what_fails_only_in_a_long_job_has_few_records_that_take_long() {
    for seed in (0..8).map(Seed) {
        let long = pace::length_ns(&Plan::of(seed)) / 2;
        let Shrunk { best, .. } = shrunk(&stuck_if(move |_, plan| pace::length_ns(plan) >= long), seed);
        assert!(fresh::is_small(&best.plan), "{}", best.plan);
        assert!(pace::length_ns(&best.plan) >= long, "it was seen to fail");
    }
}

/// Taking away never leads from many records to few here, only drawing does.
#[test]
fn what_no_step_leads_to_is_drawn() {
    let fails = |seed: Seed, plan: &Plan| match plan.input.records(plan.parallelism) {
        0..=10 => seed.0 % 50 == 7,
        11..=25 => false,
        _ => true,
    };
    let of_seed = |seed| Plan::of(seed).input.records(Plan::of(seed).parallelism);
    let seed = (0..).map(Seed).find(|seed| of_seed(*seed) > 30 && seed.0 % 50 > 10).expect("most are larger");
    let Shrunk { best, .. } = shrunk(&stuck_if(fails), seed);
    assert!(fresh::is_small(&best.plan) && best.seed.0 % 50 == 7, "{}", best.plan);
}

#[test]
fn whoever_stops_early_has_the_best_so_far() {
    let runner = stuck_if(|_, _| true);
    let shrunk = shrink(&runner, runner.run(Seed(3)), &mut Few(4)).expect("it fails");
    assert!(!shrunk.complete && shrunk.tried == 4);
    assert!(fresh::weight(&shrunk.best.plan) < fresh::weight(&Plan::of(Seed(3))));
}

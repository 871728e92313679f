//! Measures a job in runs without faults, so that plans can fit its pace. Deterministic: always the same seed and plan.
//!
//! A job that fails already here has found its bug: no fault is needed for it. A state that encodes differently each time is
//! named here, whether a judge has noticed or not.

use super::{Check, Failure, failure};
use crate::plan::{Measured, OwnShape, Plan, Policy};
use crate::run::Runner;
use crate::seed::Seed;
use crate::verdict::Outcome;
use crate::world::{Picks, Tuning};
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::SubtaskId;
use cofferdam_properties::history::What;
use std::collections::BTreeMap;

const SEED: Seed = Seed(0);

/// What is known of the job by its parallelism.
pub fn shape(check: &Check, runner: &Runner) -> Result<OwnShape, Failure> {
    let mut shape = OwnShape { operators: 0, by_parallelism: Vec::new() };
    for parallelism in 1..=check.parallelism_max {
        let graph = check.build(parallelism).map_err(|cause| {
            let hint = "say .parallelism_up_to(…) if it cannot be wider";
            Failure::Usage(format!("{} cannot have parallelism {parallelism} ({hint}): {cause}", check.name))
        })?;
        shape.operators = graph.operators.len();
        let unknown = Measured { subtasks: graph.subtasks().len() as u32, ..Measured::default() };
        shape.by_parallelism.push(unknown);
        let outcome = runner.run_plan(SEED, plan(&shape, parallelism));
        if !outcome.verdict.passed() {
            return Err(failure::of(check, runner, outcome));
        }
        if let Some(unstable) = failure::unstable(check, &outcome) {
            return Err(unstable);
        }
        if let Some(last) = shape.by_parallelism.last_mut() {
            *last = measured(&outcome, unknown.subtasks);
        }
    }
    Ok(shape)
}

/// An undisturbed run, in which records take hardly any time. All that nobody sets here is drawn, and always the same.
fn plan(shape: &OwnShape, parallelism: u16) -> Plan {
    Plan {
        workers: 1,
        spare_workers: 0,
        parallelism,
        batch_records: 16,
        credits: 4,
        policy: Policy::plain(100, 60_000),
        heartbeat_interval_ms: 200,
        heartbeat_timeout_ms: 2_000,
        tuning: Tuning::default(),
        heal_at_ms: 1_000,
        liveness_ms: 3_600_000,
        picks: Picks::Seed,
        standby_lease_ms: None,
        faults: Vec::new(),
        clients: Vec::new(),
        second_start: None,
        ..Plan::of_own(SEED, shape)
    }
}

fn measured(outcome: &Outcome, subtasks: u32) -> Measured {
    let mut by_subtask: BTreeMap<SubtaskId, u64> = BTreeMap::new();
    let (mut records, mut began, mut last) = (0, None, 0);
    for entry in &outcome.history.entries {
        let (subtask, count) = match &entry.what {
            What::Claim(Event::SourceEmitted { subtask, records: count, .. }) => {
                records += *count;
                (*subtask, *count)
            }
            What::Claim(Event::Consumed { subtask, records: count, .. }) => (*subtask, *count),
            What::Claim(_) | What::Fact(_) => continue,
        };
        *by_subtask.entry(subtask).or_default() += count;
        last = entry.time;
        began.get_or_insert(entry.time);
    }
    Measured {
        subtasks,
        records,
        records_each: by_subtask.into_values().max().unwrap_or(0),
        lasts_ms: (last - began.unwrap_or(last)) / 1_000_000,
        deliveries: outcome.events,
    }
}

//! Runs to show in tests: the first seed that has what a test wants to see, whatever the generator draws.

use crate::builtin;
use crate::seed::Seed;
use crate::verdict::Outcome;
use cofferdam_engine::graph::Job;

/// The first run that passes and that `wanted` likes, with its job.
pub fn run(wanted: impl Fn(&Outcome) -> bool) -> (Outcome, Job) {
    let runner = builtin::runner();
    let mut outcomes = (0..500).map(|seed| runner.run(Seed(seed)));
    let outcome = outcomes.find(|outcome| outcome.verdict.passed() && wanted(outcome)).expect("one of 500 runs");
    let job = runner.stage(outcome.seed, &outcome.plan).expect("it was run").job;
    (outcome, job)
}

/// One with several faults, a restore, and a few completed checkpoints of more than one worker.
pub fn eventful() -> (Outcome, Job) {
    run(|outcome| {
        let history = &outcome.tally.history;
        let struck = outcome.tally.faults.values().any(|count| count.struck > 0);
        struck
            && outcome.plan.faults.len() > 1
            && outcome.plan.workers > 1
            && history.checkpoints_completed > 3
            && history.restores > 0
    })
}

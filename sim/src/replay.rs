//! `replay`: the same run again, in this process, told as a story.

use crate::exit::Exit;
use crate::explain::Explaining;
use crate::hunt::wire::Report;
use crate::report;
use crate::run::Runner;
use crate::seed::Seed;
use crate::verdict::Verdict;

/// Lines of the story on the failure screen.
const LINES_AROUND: usize = 16;

/// Runs `seed`, prints what came of it and says so in the exit code.
pub fn replay(runner: &Runner, seed: Seed, explaining: &Explaining, json: bool) -> Exit {
    let outcome = runner.run(seed);
    if let Err(exit) = explaining.explain(runner, &outcome, &seed.to_string(), json) {
        return exit;
    }
    if json {
        let mut line = serde_json::to_value(Report::of(&outcome, None)).expect("reports serialise");
        line["counters"] = serde_json::to_value(outcome.counters).expect("counters serialise");
        line["plan"] = serde_json::to_value(&outcome.plan).expect("plans serialise");
        println!("{line}");
        return exit_of(&outcome.verdict);
    }
    println!(
        "{seed}: {}, fingerprint {:016x}, {} deliveries in {} ms of virtual time, {} checkpoint(s) completed, {} restore(s)\n",
        outcome.verdict.label(),
        outcome.fingerprint,
        outcome.events,
        outcome.virtual_ms,
        outcome.tally.history.checkpoints_completed,
        outcome.tally.history.restores,
    );
    if outcome.verdict.passed() {
        println!("{}", outcome.plan);
    } else {
        // Last, because it ends in the command.
        print!("{}", report::screen(runner, &outcome, LINES_AROUND));
    }
    exit_of(&outcome.verdict)
}

/// What a verdict means for the exit code.
pub fn exit_of(verdict: &Verdict) -> Exit {
    match verdict {
        Verdict::Pass => Exit::Clean,
        Verdict::HarnessError { .. } => Exit::Harness,
        Verdict::Violation { .. }
        | Verdict::Stuck { .. }
        | Verdict::OverBudget { .. }
        | Verdict::EngineAssertion { .. }
        | Verdict::Hang { .. }
        | Verdict::Died { .. } => Exit::Violation,
    }
}

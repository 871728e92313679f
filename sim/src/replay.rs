//! `replay`: the same run again, in this process, told as a story; of a capsule also whether it does what it was kept for.

use crate::capsule::{Capsule, Replayed, Stale};
use crate::exit::Exit;
use crate::explain::Explaining;
use crate::hunt::wire::Report;
use crate::report;
use crate::run::Runner;
use crate::strategy::Drawn;
use crate::verdict::{Outcome, Verdict};
use cofferdam_launch::out;
use std::path::Path;

/// Lines of the story on the failure screen.
const LINES_AROUND: usize = 16;

/// Runs what is drawn from a seed, prints what came of it and says so in the exit code.
pub fn replay(runner: &Runner, drawn: Drawn, explaining: &Explaining, json: bool) -> Exit {
    let outcome = runner.run_plan(drawn.seed, drawn.plan());
    if let Err(exit) = explaining.explain(runner, &outcome, &drawn.to_string(), json) {
        return exit;
    }
    if json {
        out::say(as_json(&outcome));
        return exit_of(&outcome.verdict);
    }
    out::say(format_args!("{drawn}: {}", heading(&outcome)));
    tell(&outcome, explaining, || report::screen_of(runner, &outcome, LINES_AROUND, &drawn.to_string()));
    exit_of(&outcome.verdict)
}

/// Runs a capsule, and says whether what it was written for happens.
pub fn capsule(runner: &Runner, path: &Path, capsule: &Capsule, explaining: &Explaining, json: bool) -> Exit {
    let outcome = runner.run_plan(capsule.seed(), capsule.plan.clone());
    if let Err(exit) = explaining.explain(runner, &outcome, &path.display().to_string(), json) {
        return exit;
    }
    let replayed = capsule.weigh(&outcome, crate::cli::planted() == capsule.bug);
    if json {
        let mut line = as_json(&outcome);
        line["replayed"] = replayed.to_string().into();
        out::say(line);
        return exit_of_capsule(&replayed, &outcome);
    }
    out::say(format_args!("{}: {}", path.display(), heading(&outcome)));
    tell(&outcome, explaining, || report::screen_of_capsule(runner, &outcome, LINES_AROUND, path));
    out::say(format_args!("\n{}", told(path, capsule, &replayed)));
    exit_of_capsule(&replayed, &outcome)
}

/// The plan of a run that passes, or the `screen` of one that fails, which ends in the command. Not behind a moment: that was asked for,
/// and would be pushed off the screen.
fn tell(outcome: &Outcome, explaining: &Explaining, screen: impl FnOnce() -> String) {
    if explaining.until.is_some() {
        return;
    }
    if outcome.verdict.passed() {
        out::say(&outcome.plan);
    } else {
        out::say(screen());
    }
}

/// The verdict on a capsule, and what to do about it.
fn told(path: &Path, capsule: &Capsule, replayed: &Replayed) -> String {
    let advice = match replayed {
        Replayed::Stale(Stale::Reaches(_) | Stale::AnotherRun) => match &capsule.bug {
            Some(bug) => format!("\n  without its line `reaches` this writes it anew: cofferdam bugs {bug}"),
            None => "\n  say what it `reaches` now, or delete it".to_owned(),
        },
        Replayed::Stale(Stale::Fault(_) | Stale::Picks(_)) => {
            format!("\n  aim it again with: cofferdam replay {} --re-aim", path.display())
        }
        Replayed::Reproduces { .. } | Replayed::Passes { .. } | Replayed::Differs { .. } => String::new(),
    };
    let planted = match &capsule.bug {
        Some(bug) if crate::cli::planted().as_ref() != Some(bug) => {
            format!(" (it convicts the planted bug {bug}, which is not in this build)")
        }
        Some(_) | None => String::new(),
    };
    format!("{}: expected {}{planted}: {replayed}{advice}", path.display(), capsule.expect)
}

/// What came of a capsule, for whoever started the command: `git bisect run` takes 0 for good, 1 for bad, and skips 125.
fn exit_of_capsule(replayed: &Replayed, outcome: &Outcome) -> Exit {
    match replayed {
        Replayed::Stale(_) => Exit::Stale,
        Replayed::Reproduces { .. } | Replayed::Passes { .. } | Replayed::Differs { .. } => exit_of(&outcome.verdict),
    }
}

fn as_json(outcome: &Outcome) -> serde_json::Value {
    let mut line = serde_json::to_value(Report::of(outcome, None)).expect("reports serialise");
    line["counters"] = serde_json::to_value(outcome.counters).expect("counters serialise");
    line["plan"] = serde_json::to_value(&outcome.plan).expect("plans serialise");
    line
}

fn heading(outcome: &Outcome) -> String {
    format!(
        "{}, fingerprint {:016x}, {} deliveries in {} ms of virtual time, {} checkpoint(s) completed, {} restore(s)\n\n",
        outcome.verdict.label(),
        outcome.fingerprint,
        outcome.events,
        outcome.virtual_ms,
        outcome.tally.history.checkpoints_completed,
        outcome.tally.history.restores,
    )
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

//! Runs that failed once and were kept. What they were kept for is fixed, or the check fails again.
//!
//! A kept run that does not try any more what it was kept for proves nothing: it fails the check until it is aimed again or deleted.

use super::{Check, Failure, Summary, failure};
use crate::capsule::{Capsule, PASS, Replayed, re_aim, text};
use crate::exit::Exit;
use crate::explain::Explaining;
use crate::plan::JobKind;
use crate::run::Runner;
use crate::tally::Tally;
use crate::verdict::Outcome;
use std::path::Path;

/// Runs everything that is kept of this job; how many there are.
pub fn all(check: &Check, runner: &Runner) -> Result<u64, Failure> {
    let kept = text::load_all(&check.folder()).map_err(|error| Failure::Usage(error.to_string()))?;
    for (path, capsule) in &kept {
        weighed(runner, path, capsule, &run(runner, capsule))?;
    }
    Ok(kept.len() as u64)
}

/// Runs one capsule, and shows what is asked for.
pub fn alone(check: &Check, runner: &Runner, path: &Path, explaining: &Explaining) -> Result<Summary, Failure> {
    let capsule = loaded(check, path)?;
    let outcome = run(runner, &capsule);
    failure::show(explaining, runner, &outcome, &failure::command(path))?;
    weighed(runner, path, &capsule, &outcome)?;
    Ok(Summary { runs: 0, regressions: 1, tally: Tally::default() })
}

/// Aims one capsule again.
pub fn aim(check: &Check, runner: &Runner, path: &Path) -> Result<Summary, Failure> {
    match re_aim::command(runner, path, &expecting_pass(&loaded(check, path)?)) {
        Exit::Clean => Ok(Summary { regressions: 1, ..Summary::default() }),
        _ => Err(Failure::Usage(format!("{}: no run nearby has all its faults strike; delete it", path.display()))),
    }
}

fn loaded(check: &Check, path: &Path) -> Result<Capsule, Failure> {
    let capsule = text::load(path).map_err(|error| Failure::Usage(error.to_string()))?;
    if capsule.plan.job != JobKind::Own {
        let job = capsule.plan.job.name();
        return Err(Failure::Usage(format!("{} is a run of {job}, not of {}", path.display(), check.name)));
    }
    Ok(capsule)
}

fn run(runner: &Runner, capsule: &Capsule) -> Outcome {
    runner.run_plan(capsule.seed(), capsule.plan.clone())
}

fn weighed(runner: &Runner, path: &Path, capsule: &Capsule, outcome: &Outcome) -> Result<(), Failure> {
    match capsule.weigh(outcome, false) {
        Replayed::Stale(why) => Err(Failure::Stale { capsule: path.to_owned(), why }),
        _ if outcome.verdict.passed() => Ok(()),
        Replayed::Reproduces { .. } | Replayed::Passes { .. } | Replayed::Differs { .. } => {
            Err(failure::of_known(runner, outcome, path))
        }
    }
}

/// Whatever it failed of: it is expected not to do so any more.
fn expecting_pass(capsule: &Capsule) -> Capsule {
    Capsule { expect: PASS.to_owned(), ..capsule.clone() }
}

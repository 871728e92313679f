//! The failure screen: what is wrong, where, under which plan, what happened around it, and the command that shows it
//! again. One screen, ending in that command.

use crate::run::Runner;
use crate::story::{self, Marked};
use crate::verdict::{Outcome, Verdict};
use std::fmt::Write;
use std::path::Path;

/// The screen of a failing run, with `lines` of story before the first bad step and a few behind it.
pub fn screen(runner: &Runner, outcome: &Outcome, lines: usize) -> String {
    ending_in(runner, outcome, lines, &format!("cofferdam replay {}", outcome.seed))
}

/// The same, of a run that is kept in a file.
pub fn screen_of_capsule(runner: &Runner, outcome: &Outcome, lines: usize, capsule: &Path) -> String {
    ending_in(runner, outcome, lines, &format!("cofferdam replay {}", capsule.display()))
}

/// The same, of a run of this name.
pub fn screen_of(runner: &Runner, outcome: &Outcome, lines: usize, name: &str) -> String {
    ending_in(runner, outcome, lines, &format!("cofferdam replay {name}"))
}

/// The same, without a command.
pub fn without_command(runner: &Runner, outcome: &Outcome, lines: usize) -> String {
    let mut text = String::new();
    write_screen(&mut text, runner, outcome, lines).expect("strings can be written");
    text
}

fn ending_in(runner: &Runner, outcome: &Outcome, lines: usize, command: &str) -> String {
    format!("{}\nReplay it with:\n  {command}\n", without_command(runner, outcome, lines))
}

fn write_screen(text: &mut String, runner: &Runner, outcome: &Outcome, lines: usize) -> std::fmt::Result {
    let Outcome { seed, plan, verdict, history, .. } = outcome;
    writeln!(text, "{} of {seed}", heading(verdict))?;
    for line in verdict.what().lines() {
        writeln!(text, "  {line}")?;
    }
    let step = first_bad_step(outcome);
    if let Some(entry) = step.and_then(|at| history.entries.get(at)) {
        let (at, ms) = (step.unwrap_or_default(), entry.time / 1_000_000);
        writeln!(
            text,
            "  first bad step: entry {at} of {}, at {ms} ms, in {}",
            history.entries.len(),
            entry.by.process
        )?;
    }
    writeln!(text, "\nThe plan")?;
    for line in plan.to_string().lines() {
        writeln!(text, "  {line}")?;
    }
    if let Ok(staging) = runner.stage(*seed, plan)
        && !history.entries.is_empty()
    {
        let mark = step.unwrap_or(history.entries.len() - 1);
        let range = mark.saturating_sub(lines)..(mark + 1 + lines / 4).min(history.entries.len());
        writeln!(text, "\nThe story around it")?;
        text.push_str(&story::told(history, &staging.job.graph, range, &Marked::of(outcome)));
    }
    Ok(())
}

fn heading(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Violation { property, .. } => format!("VIOLATION of {property} in the run"),
        other => format!("{} in the run", other.label().to_uppercase()),
    }
}

/// The index of the entry that convicts, if the verdict knows one.
pub fn first_bad_step(outcome: &Outcome) -> Option<usize> {
    match &outcome.verdict {
        Verdict::Violation { step, .. } => *step,
        Verdict::EngineAssertion { .. } => outcome.history.entries.len().checked_sub(1),
        Verdict::Pass
        | Verdict::Stuck { .. }
        | Verdict::OverBudget { .. }
        | Verdict::HarnessError { .. }
        | Verdict::Hang { .. }
        | Verdict::Died { .. } => None,
    }
}

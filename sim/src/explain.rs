//! What `replay` does beside the verdict: the story line by line, how everybody stands at a moment of it, and the page.

#[cfg(test)]
pub(crate) mod example;

use crate::cli::complain;
use crate::exit::Exit;
use crate::moment::{Moment, standstill};
use crate::page::{self, Nearest};
use crate::replay::exit_of;
use crate::run::Runner;
use crate::story::{self, Marked};
use crate::verdict::Outcome;
use cofferdam_engine::launch::out;
use cofferdam_properties::Case;
use std::path::PathBuf;

/// How a replayed run shall be explained.
#[derive(clap::Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct Explaining {
    /// Tell every event
    #[arg(long)]
    pub trace: bool,
    /// Stop behind an entry (1234), a time (1234ms) or an event (ack_sent, ack_sent#3), and show how everybody stands there
    #[arg(long, value_name = "EVENT", requires = "trace")]
    pub until: Option<String>,
    /// Write the run as one page with its space-time diagram, a failing one above the nearest that passes
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl Explaining {
    /// Does what was asked for; no story where only JSON shall be printed. `replayed` is what `cofferdam replay` was given.
    pub fn explain(&self, runner: &Runner, outcome: &Outcome, replayed: &str, json: bool) -> Result<(), Exit> {
        let tell = self.trace && !json;
        if !tell && self.html.is_none() {
            return Ok(());
        }
        let staging = runner.stage(outcome.seed, &outcome.plan);
        let Some(staging) = staging.ok().filter(|_| !outcome.history.entries.is_empty()) else {
            return Err(complain(&format!("nothing happened: {}", outcome.verdict), exit_of(&outcome.verdict)));
        };
        let (history, graph) = (&outcome.history, &staging.job.graph);
        let usage = |message: String| complain(&message, Exit::Usage);
        let until = self.until.as_deref().map(|text| text.parse::<Moment>()?.find(history));
        let until = until.transpose().map_err(usage)?;
        if tell {
            let entries = 0..until.map_or(history.entries.len(), |until| until + 1);
            out::say(format_args!("{}\n", story::told(history, graph, entries, &Marked::of(outcome))));
        }
        if let Some(until) = until.filter(|_| tell) {
            out::say(format_args!("{}\n", standstill::told(&Case::new(history, &staging.job, None), until)));
        }
        if let Some(file) = &self.html {
            let nearest = nearest_passing(runner, outcome);
            let beside = nearest
                .as_ref()
                .map_or(String::new(), |(_, about)| format!(", above the nearest run that passes: {about}"));
            let nearest = nearest.as_ref().map(|(outcome, about)| Nearest { outcome, about });
            let page = page::page(outcome, graph, nearest, &format!("cofferdam replay {replayed}"));
            std::fs::write(file, page)
                .map_err(|error| usage(format!("{} cannot be written: {error}", file.display())))?;
            out::complain(format_args!("{}: the page of {replayed}{beside}", file.display()));
        }
        Ok(())
    }
}

/// The run of the same plan that passes with as few of the last faults left out as possible, and what it does without.
fn nearest_passing(runner: &Runner, outcome: &Outcome) -> Option<(Outcome, String)> {
    let faults = &outcome.plan.faults;
    if outcome.verdict.passed() {
        return None;
    }
    // Each is a run; a plan with very many faults is thinned out faster.
    let stride = faults.len().div_ceil(8).max(1);
    let fewer = (0..faults.len()).rev().step_by(stride).chain((stride > 1).then_some(0));
    for kept in fewer {
        let mut plan = outcome.plan.clone();
        plan.faults.truncate(kept);
        let other = runner.run_plan(outcome.seed, plan);
        if other.verdict.passed() {
            let about = match faults.len() - kept {
                _ if kept == 0 => "without any fault".to_owned(),
                1 => format!("without the last fault: {}", faults[kept]),
                n => format!("without the last {n} faults"),
            };
            return Some((other, about));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;
    use crate::verdict::Verdict;

    #[test]
    fn a_failing_run_is_shown_above_the_same_plan_without_its_last_fault() {
        let (runner, folder) = (builtin::runner(), tempfile::tempdir().expect("a folder"));
        let outcome = Outcome { verdict: Verdict::Stuck { what: "as it were".to_owned() }, ..example::eventful().0 };
        let (nearest, about) = nearest_passing(&runner, &outcome).expect("it passes");
        assert_eq!(nearest.plan.faults[..], outcome.plan.faults[..outcome.plan.faults.len() - 1]);
        assert!(about.contains(&outcome.plan.faults.last().expect("several").to_string()), "{about}");
        let file = folder.path().join("run.html");
        let explaining = Explaining { html: Some(file.clone()), ..Explaining::default() };
        assert_eq!(explaining.explain(&runner, &outcome, "g2:0x2", true), Ok(()));
        let page = std::fs::read_to_string(file).expect("it was written");
        assert!(page.contains("without the last fault") && page.contains("cofferdam replay g2:0x2"));
    }

    #[test]
    fn a_run_that_passes_has_nothing_beside_it() {
        let runner = builtin::runner();
        assert_eq!(nearest_passing(&runner, &example::eventful().0).map(|(_, about)| about), None);
    }

    #[test]
    fn what_cannot_be_shown_is_wrong_usage() {
        let (runner, folder) = (builtin::runner(), tempfile::tempdir().expect("a folder"));
        let outcome = example::eventful().0;
        let until = |text: &str| Explaining { trace: true, until: Some(text.to_owned()), ..Explaining::default() };
        let into_a_folder = Explaining { html: Some(folder.path().into()), ..Explaining::default() };
        for wrong in [until("nonsense"), until("99999999"), into_a_folder] {
            assert_eq!(wrong.explain(&runner, &outcome, "g2:0x2", false), Err(Exit::Usage), "{wrong:?}");
        }
    }
}

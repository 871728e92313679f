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
use cofferdam_launch::out;
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

/// What there is to show of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Explained {
    /// The story, and how everybody stands where it ends.
    pub story: Option<String>,
    /// Where the page lies now, and what is on it.
    pub page: Option<String>,
}

/// Why there is nothing to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unexplained {
    /// What was asked for is not there, or cannot be written; one line.
    Usage(String),
    /// The run has no history.
    Nothing,
}

impl Explaining {
    /// Whether anything was asked for.
    pub fn is_silent(&self) -> bool {
        *self == Self::default()
    }

    /// Says what was asked for; no story where only JSON shall be printed. `replayed` is what `cofferdam replay` was given.
    pub fn explain(&self, runner: &Runner, outcome: &Outcome, replayed: &str, json: bool) -> Result<(), Exit> {
        let asked = Self { trace: self.trace && !json, ..self.clone() };
        let explained = asked.explained(runner, outcome, &format!("cofferdam replay {replayed}"));
        let Explained { story, page } = explained.map_err(|why| match why {
            Unexplained::Usage(message) => complain(&message, Exit::Usage),
            Unexplained::Nothing => {
                complain(&format!("nothing happened: {}", outcome.verdict), exit_of(&outcome.verdict))
            }
        })?;
        if let Some(story) = story {
            out::say(format_args!("{story}\n"));
        }
        if let Some(page) = page {
            out::complain(page);
        }
        Ok(())
    }

    /// Makes what was asked for: the story as text, the page as a file, on which stands the `command` that replays the run.
    pub fn explained(&self, runner: &Runner, outcome: &Outcome, command: &str) -> Result<Explained, Unexplained> {
        let mut explained = Explained::default();
        if !self.trace && self.html.is_none() {
            return Ok(explained);
        }
        let staging = runner.stage(outcome.seed, &outcome.plan).map_err(|_| Unexplained::Nothing)?;
        let (history, graph) = (&outcome.history, &staging.job.graph);
        if history.entries.is_empty() {
            return Err(Unexplained::Nothing);
        }
        let until = self.until.as_deref().map(|text| text.parse::<Moment>()?.find(history));
        let until = until.transpose().map_err(Unexplained::Usage)?;
        if self.trace {
            let entries = 0..until.map_or(history.entries.len(), |until| until + 1);
            let mut story = story::told(history, graph, entries, &Marked::of(outcome));
            if let Some(until) = until {
                let case = Case::new(history, &staging.job, None).with_models(staging.models.clone());
                story.push_str(&format!("\n{}", standstill::told(&case, until)));
            }
            explained.story = Some(story);
        }
        if let Some(file) = &self.html {
            let nearest = nearest_passing(runner, outcome);
            let beside = nearest
                .as_ref()
                .map_or(String::new(), |(_, about)| format!(", above the nearest run that passes: {about}"));
            let nearest = nearest.as_ref().map(|(outcome, about)| Nearest { outcome, about });
            let page = page::page(outcome, graph, nearest, command);
            let unwritten = |error| Unexplained::Usage(format!("{} cannot be written: {error}", file.display()));
            std::fs::write(file, page).map_err(unwritten)?;
            explained.page = Some(format!("{}: the page of {command}{beside}", file.display()));
        }
        Ok(explained)
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
        let outcome =
            Outcome { verdict: Verdict::Stuck { what: "as it were".to_owned(), phase: None }, ..example::eventful().0 };
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

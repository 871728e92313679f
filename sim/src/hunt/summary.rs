//! What a hunt says: progress while it runs, failures as they come, and the [summary](Campaign) that shows it was not vacuous.

use super::campaign::Campaign;
use super::ledger::{Booked, Ledger};
use super::pool::Hunted;
use super::{HuntOptions, Output};
use crate::story;
use cofferdam_launch::out;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

/// Time between two lines of progress when no terminal shows a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Tells whoever watches how it goes.
pub struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    next_line: Duration,
}

impl Progress {
    /// For a hunt with these options.
    pub fn new(options: &HuntOptions) -> Self {
        let bar = (options.output == Output::Text && std::io::stderr().is_terminal()).then(|| bar(options));
        Self { output: options.output, bar, next_line: LINE_EVERY }
    }

    /// Time has passed.
    pub fn tick(&mut self, ledger: &Ledger, elapsed: Duration) {
        let line =
            || format!("{} run(s), {:.0}/s, {} failure(s)", ledger.runs, rate(ledger, elapsed), ledger.failures.len());
        if let Some(bar) = &self.bar {
            bar.set_position(ledger.runs);
            bar.set_message(format!("{:.0}/s, {} failure(s)", rate(ledger, elapsed), ledger.failures.len()));
        } else if self.output == Output::Text && elapsed >= self.next_line {
            self.next_line = elapsed + LINE_EVERY;
            out::complain(format_args!("{} s: {}", elapsed.as_secs(), line()));
        }
    }

    /// An answer has been booked.
    pub fn booked(&mut self, ledger: &Ledger, booked: &Booked) {
        match (booked, self.output) {
            (Booked::Fine, _) | (_, Output::Quiet) => {}
            (Booked::Failed { index, .. }, Output::Json) => {
                out::say(serde_json::to_string(&ledger.failures[*index]).expect("failures serialise"));
            }
            (Booked::Failed { index, first }, Output::Text) => self.failed(ledger, *index, *first),
            (Booked::Diverged(index), Output::Json) => {
                out::say(json!({ "divergence": ledger.divergences[*index] }));
            }
            (Booked::Diverged(index), Output::Text) => self.print(&divergence(ledger, *index)),
        }
    }

    fn failed(&self, ledger: &Ledger, index: usize, first: bool) {
        let failure = &ledger.failures[index];
        // Its screen comes last of all, shrunk.
        let again = if first { "found" } else { "again" };
        let drawn = failure.order.drawn();
        let how = match (&failure.order.plan, first) {
            (None, _) => format!("cofferdam replay {drawn}"),
            (Some(_), true) => format!("{drawn}, whose plan its capsule holds"),
            (Some(_), false) => drawn.to_string(),
        };
        self.print(&format!("{again} {}: {how}", failure.signature));
    }

    fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| out::say(text)),
            None => out::say(text),
        }
    }

    /// The hunt is over.
    pub fn finish(&self, options: &HuntOptions, hunted: &Hunted) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        match self.output {
            Output::Quiet => {}
            Output::Json => out::say(json!({ "summary": Campaign::of(options, hunted) })),
            Output::Text => out::say(Campaign::of(options, hunted)),
        }
    }
}

fn bar(options: &HuntOptions) -> ProgressBar {
    let (bar, template) = match options.seeds {
        Some(seeds) => (ProgressBar::new(seeds), "{bar:30} {pos}/{len} runs  {msg}  {elapsed} (left {eta})"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} runs  {msg}  {elapsed}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the template is well-formed"))
}

fn rate(ledger: &Ledger, elapsed: Duration) -> f64 {
    ledger.runs as f64 / elapsed.as_secs_f64().max(0.001)
}

fn divergence(ledger: &Ledger, index: usize) -> String {
    let divergence = &ledger.divergences[index];
    let (one, other) = divergence.fingerprints;
    let mut text = format!(
        "NOT DETERMINISTIC: {} ran twice, in two processes, with fingerprints {one:016x} and {other:016x}\n",
        divergence.run
    );
    let Some((first, again)) = &divergence.histories else { return text };
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    if let Some((line, left, right)) = story::first_difference(&read(first), &read(again)) {
        write!(text, "  first differing event: no. {line}\n    {left}\n    {right}\n").expect("strings can be written");
    }
    writeln!(text, "  histories: {} and {}", first.display(), again.display()).expect("strings can be written");
    text
}

//! What a hunt says: progress while it runs, failures as they come, and the summary that shows it was not vacuous.

use super::ledger::{Booked, Ledger};
use super::pool::Hunted;
use super::{HuntOptions, Output};
use crate::story;
use crate::tally::Tally;
use cofferdam_engine::launch::out;
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
        self.print(&format!("{again} {}: cofferdam replay {}", failure.signature, failure.report.seed));
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
            Output::Json => out::say(json_summary(options, hunted)),
            Output::Text => out::say(text_summary(options, hunted)),
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
        divergence.seed
    );
    let Some((first, again)) = &divergence.histories else { return text };
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    if let Some((line, left, right)) = story::first_difference(&read(first), &read(again)) {
        write!(text, "  first differing event: no. {line}\n    {left}\n    {right}\n").expect("strings can be written");
    }
    writeln!(text, "  histories: {} and {}", first.display(), again.display()).expect("strings can be written");
    text
}

/// What a hunt without failures bounds: the rule of three.
fn bound(runs: u64) -> f64 {
    3.0 / runs.max(1) as f64
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// Seeds whose failures are not of their own making are listed by this.
fn resume(options: &HuntOptions) -> String {
    format!("--from {}", options.first)
}

fn text_summary(options: &HuntOptions, hunted: &Hunted) -> String {
    let mut text = String::new();
    write_summary(&mut text, options, hunted).expect("strings can be written");
    text
}

fn write_summary(text: &mut String, options: &HuntOptions, hunted: &Hunted) -> std::fmt::Result {
    let (ledger, took) = (&hunted.ledger, hunted.took);
    let (tally, history) = (&ledger.tally, &ledger.tally.history);
    if let Some(trouble) = &hunted.trouble {
        writeln!(text, "the hunt could not go on: {trouble}")?;
    }
    let interrupted = if hunted.interrupted { " (interrupted)" } else { "" };
    writeln!(
        text,
        "{} runs in {:.1} s{interrupted}: {:.0}/s, {:.0}/s per child; {} deliveries, {:.0} s of virtual time; {}",
        ledger.runs,
        took.as_secs_f64(),
        rate(ledger, took),
        rate(ledger, took) / options.jobs.max(1) as f64,
        ledger.events,
        ledger.virtual_ms as f64 / 1000.0,
        resume(options)
    )?;
    let verdicts: Vec<String> = ledger.verdicts.iter().map(|(label, runs)| format!("{runs} {label}")).collect();
    writeln!(text, "verdicts     {}", verdicts.join(", "))?;
    writeln!(
        text,
        "checkpoints  {} completed, {} aborted; {} jobs finished",
        history.checkpoints_completed, history.checkpoints_aborted, history.finished
    )?;
    writeln!(
        text,
        "restores     {}, {} of them from non-empty state; so did {:.1} % of the {} runs with a planned crash",
        history.restores,
        history.restores_non_empty,
        percent(tally.crash_plans_with_state, tally.crash_plans),
        tally.crash_plans
    )?;
    write_processes(text, tally)?;
    for (kind, count) in &tally.faults {
        let (never, nothing) = (count.armed - count.triggered, count.triggered - count.struck);
        writeln!(
            text,
            "faults       {kind:<18} {:>6} armed, {:>6} struck, {nothing:>6} hit nothing, {never:>6} never fired",
            count.armed, count.struck
        )?;
    }
    writeln!(text, "determinism  {} seeds ran twice, {} differed", ledger.repeated, ledger.divergences.len())?;
    for (signature, count) in ledger.known.iter().filter(|(_, count)| **count > 0) {
        let capsule = options.known.get(signature).map(|path| path.display().to_string()).unwrap_or_default();
        writeln!(text, "known        {count} run(s) failed as {capsule} does: {signature}")?;
    }
    if ledger.failures.is_empty() && ledger.runs > 0 {
        let bound = bound(ledger.runs);
        writeln!(text, "clean        fewer than {bound:.5} of such runs fail, at 95 % confidence (3/N)")?;
    }
    Ok(())
}

/// What processes did, and what befell them.
fn write_processes(text: &mut String, tally: &Tally) -> std::fmt::Result {
    let history = &tally.history;
    let clients = &history.clients;
    writeln!(
        text,
        "clients      asked for {} checkpoints: {} completed, {} declined; {} answers lost, {} requests withdrawn",
        clients.checkpoints, clients.completed, clients.declined, clients.lost, clients.withdrawn
    )?;
    writeln!(
        text,
        "             asked {} times to cancel: {} jobs cancelled",
        clients.cancellations, clients.cancelled
    )?;
    let phases = &history.crashes;
    writeln!(
        text,
        "crashes      {}, {} of the coordinator: {} before the first checkpoint, {} between checkpoints, {} with one \
         pending, {} during a restore, {} after the end of input",
        phases.total(),
        history.coordinator_crashes,
        phases.before_first_checkpoint,
        phases.between_checkpoints,
        phases.checkpoint_pending,
        phases.during_restore,
        phases.after_input_ended
    )?;
    writeln!(text, "marks        {}", marks(history))?;
    writeln!(
        text,
        "leadership   {} runs with two coordinators; {} take-overs by the other one, {} of leaders that lived on",
        tally.standby_plans, history.take_overs, history.take_overs_from_living
    )
}

/// What histories were seen to hold besides, zeros included: a mark that no run reached is a hole in the plans.
fn marks(history: &cofferdam_properties::Tally) -> String {
    let above = [
        "checkpoints_completed",
        "checkpoints_aborted",
        "finished",
        "restores",
        "restores_non_empty",
        "coordinator_crashes",
        "take_overs",
        "take_overs_from_living",
    ];
    let counts = serde_json::to_value(history).expect("tallies serialise");
    let counts = counts.as_object().into_iter().flatten();
    let rest = counts.filter(|(name, count)| count.is_u64() && !above.contains(&name.as_str()));
    rest.map(|(name, count)| format!("{count} {}", name.replace('_', " "))).collect::<Vec<_>>().join(", ")
}

fn json_summary(options: &HuntOptions, hunted: &Hunted) -> serde_json::Value {
    let ledger = &hunted.ledger;
    json!({
        "summary": {
            "first": options.first,
            "runs": ledger.runs,
            "seconds": hunted.took.as_secs_f64(),
            "children": options.jobs,
            "verdicts": ledger.verdicts,
            "events": ledger.events,
            "virtual_ms": ledger.virtual_ms,
            "tally": ledger.tally,
            "repeated": ledger.repeated,
            "divergences": ledger.divergences,
            "failures": ledger.failures.len(),
            "known": ledger.known,
            "rate_below": ledger.failures.is_empty().then(|| bound(ledger.runs)),
            "interrupted": hunted.interrupted,
            "trouble": hunted.trouble,
        }
    })
}

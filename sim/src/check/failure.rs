//! What a check that fails has to say.

use super::Check;
use crate::capsule::{Capsule, Stale, text};
use crate::explain::{Explained, Explaining, Unexplained};
use crate::report;
use crate::run::Runner;
use crate::seed::Seed;
use crate::shrink::{Size, Watcher, shrink};
use crate::stopwatch::Stopwatch;
use crate::verdict::{Outcome, Verdict};
use cofferdam_engine::graph::Job;
use cofferdam_launch::out;
use cofferdam_properties::unstable;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Lines of the story on the screen.
const LINES_AROUND: usize = 12;

/// Why a check fails.
#[derive(Clone, PartialEq, Debug)]
pub enum Failure {
    /// It cannot be made as it is written; one line.
    Usage(String),
    /// A run that was kept does not try any more what it was kept for.
    Stale {
        /// Its file.
        capsule: PathBuf,
        /// What shows that.
        why: Stale,
    },
    /// A run failed.
    Run(Box<FailedRun>),
}

/// A run that failed.
#[derive(Clone, PartialEq, Debug)]
pub struct FailedRun {
    /// The smallest run that fails alike, as far as there was time.
    pub capsule: Capsule,
    /// Where it is kept already, if it failed before.
    pub known: Option<PathBuf>,
    /// The failure's screen, up to the command.
    screen: String,
    /// The entry to look at.
    look_at: usize,
}

impl Failure {
    /// The property that was violated, or what else went wrong with the run.
    pub fn property(&self) -> Option<&str> {
        match self {
            Self::Usage(_) | Self::Stale { .. } => None,
            Self::Run(run) => Some(&run.capsule.expect),
        }
    }

    /// Writes a new failure into `folder`, and says all there is to say. What the harness failed at is no finding.
    pub(super) fn kept_in(&self, folder: &Path) -> String {
        let Self::Run(run) = self else { return self.to_string() };
        if run.verdict_is_harness() {
            return format!("\n{}", run.screen);
        }
        let path = run.known.clone().unwrap_or_else(|| folder.join(run.capsule.file_name()));
        let kept = match &run.known {
            Some(_) => String::new(),
            None => match text::save(&path, &run.capsule) {
                Ok(()) => format!("Kept in {}: commit it, and it is run first from now on.\n", shown(&path).display()),
                Err(message) => return format!("\n{}\nIt could not be kept: {message}", run.screen),
            },
        };
        let show = format!(
            "before it, COFFERDAM_TRACE=1 tells every entry, COFFERDAM_UNTIL={} how everybody stands there\n\
             (or at 1234ms, or at ack_sent#3), and COFFERDAM_HTML=run.html draws the run on a page",
            run.look_at
        );
        format!("\n{}\n{kept}Replay it with the last line; {show}:\n  {}\n", run.screen, command(&path))
    }
}

impl FailedRun {
    fn verdict_is_harness(&self) -> bool {
        self.capsule.expect == Verdict::HarnessError { message: String::new() }.label()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            Self::Stale { capsule, why } => write!(
                f,
                "{}: stale: {why}; aim it again with COFFERDAM_RE_AIM=1 {}, or delete it",
                shown(capsule).display(),
                command(capsule)
            ),
            Self::Run(run) => f.write_str(&run.screen),
        }
    }
}

impl std::error::Error for Failure {}

/// What is said of a run that was found to fail: it is shrunk first.
pub fn of(check: &Check, runner: &Runner, outcome: Outcome) -> Failure {
    if let Some(unstable) = unstable(check, &outcome) {
        return unstable;
    }
    if matches!(outcome.verdict, Verdict::HarnessError { .. }) {
        return Failure::Run(Box::new(told(runner, &outcome, None)));
    }
    let mut limit = Limit { clock: Stopwatch::start(), time: check.shrink_for };
    let best = match shrink(runner, outcome.clone(), &mut limit) {
        Some(shrunk) => shrunk.best,
        None => outcome,
    };
    Failure::Run(Box::new(told(runner, &best, None)))
}

/// Names a state that encodes differently each time. Judges compare bytes, so they can say nothing of such a job.
pub fn unstable(check: &Check, outcome: &Outcome) -> Option<Failure> {
    let graph = check.build(outcome.plan.parallelism).ok()?;
    let job = Job { graph: Arc::new(graph), config: outcome.plan.config() };
    let found = unstable::find(&outcome.history, &job, &check.models)?;
    Some(Failure::Usage(format!("{}: {found}", check.name)))
}

/// What is said of a run that is kept in a file and fails again, or still.
pub fn of_known(runner: &Runner, outcome: &Outcome, path: &Path) -> Failure {
    Failure::Run(Box::new(told(runner, outcome, Some(path.to_owned()))))
}

fn told(runner: &Runner, outcome: &Outcome, known: Option<PathBuf>) -> FailedRun {
    FailedRun {
        capsule: Capsule::of(outcome),
        known,
        screen: report::without_command(runner, outcome, LINES_AROUND),
        look_at: report::first_bad_step(outcome).unwrap_or(outcome.history.entries.len().saturating_sub(1)),
    }
}

/// Shows what the environment asks for of a run that `command` replays.
pub fn show(explaining: &Explaining, runner: &Runner, outcome: &Outcome, command: &str) -> Result<(), Failure> {
    let Explained { story, page } = match explaining.explained(runner, outcome, command) {
        Ok(explained) => explained,
        Err(Unexplained::Usage(message)) => return Err(Failure::Usage(message)),
        // Why there is none is about to be told.
        Err(Unexplained::Nothing) => return Ok(()),
    };
    // Past the test harness, which would keep it for itself if the test passes.
    story.into_iter().chain(page).for_each(out::say);
    Ok(())
}

/// The command that runs a capsule again.
pub fn command(capsule: &Path) -> String {
    by_this_test(format_args!("COFFERDAM_CAPSULE={}", shown(capsule).display()))
}

/// The command that runs a seed again.
pub fn command_of_seed(seed: Seed) -> String {
    by_this_test(format_args!("COFFERDAM_SEED={seed}"))
}

/// A command for the test that is running.
fn by_this_test(what: fmt::Arguments<'_>) -> String {
    let here = std::thread::current();
    let test = here.name().filter(|name| *name != "main").unwrap_or_default();
    format!("{what} cargo test {test}").trim_end().to_owned()
}

/// Tests run in the folder of their package: a path below it is shorter from there.
fn shown(path: &Path) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let below = package.and_then(|package| path.strip_prefix(package).ok().map(Path::to_owned));
    below.unwrap_or_else(|| path.to_owned())
}

/// Nobody watches; time is limited.
struct Limit {
    clock: Stopwatch,
    time: Duration,
}

impl Watcher for Limit {
    fn better(&mut self, _: &Outcome, _: &Size) {}

    fn go_on(&mut self, _: u64) -> bool {
        self.clock.elapsed() < self.time
    }
}

//! `shrink`: from a seed or a capsule to the smallest capsule that fails alike, seen to do so in a fresh process.
//!
//! The best so far is on disk at every moment: Ctrl-C, a limit of time and a process that dies on the way cost nothing.

use super::{Size, Watcher, shrink};
use crate::capsule::{Capsule, text};
use crate::cli::complain;
use crate::exit::Exit;
use crate::report;
use crate::run::Runner;
use crate::stopwatch::Stopwatch;
use crate::verdict::{Outcome, Verdict};
use cofferdam_launch::out;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Lines of the story on the failure screen.
const LINES_AROUND: usize = 12;

/// How to shrink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShrinkOptions {
    /// Where the capsule goes; a name made of the failure in `folder` otherwise.
    pub out: Option<PathBuf>,
    /// Where it goes without a name.
    pub folder: PathBuf,
    /// How long at most.
    pub time: Duration,
    /// Written into the capsule: the planted bug that this build has.
    pub bug: Option<String>,
    /// What the capsule tells, instead of what the failure says.
    pub story: Option<String>,
    /// One line of JSON instead of the screen.
    pub json: bool,
}

/// What `--json` prints.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// Where the capsule lies.
    pub capsule: PathBuf,
    /// What it shows.
    pub signature: String,
    /// Before.
    pub from: Size,
    /// After.
    pub to: Size,
    /// Runs made.
    pub tried: u64,
    /// How long it took.
    pub seconds: f64,
    /// Whether nothing simpler is known.
    pub complete: bool,
    /// Whether a fresh process saw the same run fail.
    pub verified: bool,
}

/// Shrinks a run that fails, writes the capsule, and shows it.
pub fn command(runner: &Runner, failing: Outcome, options: &ShrinkOptions) -> Exit {
    if failing.verdict.passed() {
        return complain(&format!("{} passes: there is nothing to shrink", failing.seed), Exit::Usage);
    }
    if let Verdict::HarnessError { message } = &failing.verdict {
        return complain(&format!("the harness failed on {}: {message}", failing.seed), Exit::Harness);
    }
    let path = options.out.clone().unwrap_or_else(|| options.folder.join(Capsule::of(&failing).file_name()));
    let from = Size::of(&failing);
    let mut keeper = match Keeper::new(&path, options) {
        Ok(keeper) => keeper,
        Err(message) => return complain(&message, Exit::Harness),
    };
    keeper.keep(&failing);
    keeper.bar.set_message(from.to_string());
    let Some(shrunk) = shrink(runner, failing, &mut keeper) else { unreachable!("it fails") };
    keeper.bar.finish_and_clear();
    if let Some(message) = keeper.trouble.take() {
        return complain(&message, Exit::Harness);
    }
    let verified = reproduces_elsewhere(&path);
    let (to, best) = (Size::of(&shrunk.best), &shrunk.best);
    let report = Report {
        capsule: path.clone(),
        signature: best.verdict.signature(),
        from,
        to,
        tried: shrunk.tried,
        seconds: keeper.clock.elapsed().as_secs_f64(),
        complete: shrunk.complete,
        verified,
    };
    if options.json {
        out::say(format_args!("{}", serde_json::to_string(&report).expect("reports serialise")));
    } else {
        out::say(format_args!("{}", told(&report)));
        out::say(format_args!("\n{}", report::screen_of_capsule(runner, best, LINES_AROUND, &report.capsule)));
    }
    if verified { Exit::Violation } else { Exit::Harness }
}

fn told(report: &Report) -> String {
    let Report { capsule, from, to, tried, seconds, complete, verified, .. } = report;
    let end = if *complete { "nothing simpler is known" } else { "stopped early: there may be simpler ones" };
    let verified = if *verified { "a fresh process saw it fail alike" } else { "NOT REPRODUCED by a fresh process" };
    format!(
        "shrunk   from {from}\n         to   {to}\n         {tried} runs in {seconds:.1} s; {end}; {verified}\ncapsule  {}\n",
        capsule.display()
    )
}

/// Whether another process, which has only the file, sees the same.
fn reproduces_elsewhere(path: &Path) -> bool {
    let Ok(program) = std::env::current_exe() else { return false };
    let replay = Command::new(program).arg("replay").arg(path).arg("--json").stderr(Stdio::null()).output();
    let line: Option<serde_json::Value> = replay.ok().and_then(|output| serde_json::from_slice(&output.stdout).ok());
    line.is_some_and(|line| line["replayed"].as_str().is_some_and(|said| said.starts_with("reproduces")))
}

/// Keeps the best on disk and shows how it goes.
struct Keeper<'a> {
    path: &'a Path,
    options: &'a ShrinkOptions,
    clock: Stopwatch,
    bar: ProgressBar,
    interrupted: Arc<AtomicBool>,
    trouble: Option<String>,
}

impl<'a> Keeper<'a> {
    fn new(path: &'a Path, options: &'a ShrinkOptions) -> Result<Self, String> {
        let template =
            ProgressStyle::with_template("{spinner} {msg}; {prefix} runs tried").expect("the template is well-formed");
        let bar = if options.json { ProgressBar::hidden() } else { ProgressBar::new_spinner().with_style(template) };
        let interrupted = Arc::new(AtomicBool::new(false));
        crate::hunt::pool::on_interrupt({
            let interrupted = interrupted.clone();
            move || interrupted.store(true, Ordering::Relaxed)
        })?;
        Ok(Self { path, options, clock: Stopwatch::start(), bar, interrupted, trouble: None })
    }

    fn keep(&mut self, best: &Outcome) {
        let mut capsule = Capsule::of(best);
        capsule.bug = self.options.bug.clone();
        if let Some(story) = &self.options.story {
            capsule.story = format!("{}\n\n{}", story.trim(), capsule.story);
        }
        if let Err(message) = text::save(self.path, &capsule) {
            self.trouble.get_or_insert(message);
        }
    }
}

impl Watcher for Keeper<'_> {
    fn better(&mut self, best: &Outcome, size: &Size) {
        self.keep(best);
        self.bar.set_message(format!("{size}"));
    }

    fn go_on(&mut self, tried: u64) -> bool {
        self.bar.set_prefix(tried.to_string());
        self.bar.tick();
        let stopped = self.interrupted.load(Ordering::Relaxed) || self.trouble.is_some();
        !stopped && self.clock.elapsed() < self.options.time
    }
}

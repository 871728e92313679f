//! Anybody's job in one line: `check(my_job).seeds(200).run()` in a `#[test]`.
//!
//! ```
//! use cofferdam_engine::connectors::{FileSink, Text, TextLines};
//! use cofferdam_engine::job::{Count, Emit, JobBuilder};
//!
//! fn word_count(job: &JobBuilder) {
//!     job.source("lines", TextLines::new("input"))
//!         .flat_map("split", |line: Text, words: &mut Vec<Text>| words.extend(line.words()))
//!         .key_by(Text::clone)
//!         .emit(Emit::AtEnd)
//!         .aggregate("count", Count)
//!         .sink("counts", FileSink::new("output/counts", |(word, count): &(Text, u64), line: &mut Vec<u8>| {
//!             line.extend_from_slice(format!("{word} {count}").as_bytes());
//!         }));
//! }
//!
//! // The body of a test.
//! cofferdam_sim::check(word_count).input("input/a.txt", "to be or not to be\n").seeds(5).run();
//! ```
//!
//! 1. Runs that failed before (`regressions`) are run again.
//! 2. The job is run without faults once for each parallelism and measured (`calibrate`): plans fit its pace. A state that
//!    encodes differently each time is named, because no judge can compare it.
//! 3. Seeds are run on several threads, each in a world of its own, and judged by every property. The simulator chooses
//!    workers, parallelism, configuration and faults.
//! 4. The first failure is shrunk, kept as a capsule beside the test, and told on one screen, which ends in the command that
//!    shows it again. Commit the capsule: it is run first from then on.
//!
//! What a job writes under `output/` is judged; paths under it with a segment that begins with a dot are not visible yet.
//!
//! | variable | does |
//! |---|---|
//! | `COFFERDAM_SEED=g10:0x4d2` | runs this seed alone |
//! | `COFFERDAM_SEEDS=5000` | runs so many |
//! | `COFFERDAM_FROM=g10:0x4d2` | from this one on; `fresh`: from one that nobody chose |
//! | `COFFERDAM_CAPSULE=FILE` | runs this capsule alone |
//! | `COFFERDAM_RE_AIM=1` | with a capsule: writes it anew so that its faults strike again |
//! | `COFFERDAM_TRACE=1` | with a capsule or a seed: tells every entry of the run |
//! | `COFFERDAM_UNTIL=ack_sent#3` | the same, up to an entry (`1234`), a time (`1234ms`) or an event, and how everybody stands there |
//! | `COFFERDAM_HTML=run.html` | with a capsule or a seed: draws the run on a page, a failing one above the nearest that passes |
//!
//! Does not own: what a plan is, what is right, how runs are made smaller.
//!
//! Not handled: code of the job that never returns; a run is bounded by its deliveries, not by real time.

mod calibrate;
mod failure;
pub(crate) mod faults;
mod regressions;
mod seeds;
mod steering;
#[cfg(test)]
mod tests;

pub use failure::{FailedRun, Failure};
pub use faults::Faults;

use crate::builtin;
use crate::plan::{OwnShape, Plan};
use crate::run::{Runner, Staging};
use crate::seed::Seed;
use crate::tally::Tally;
use crate::world;
use bytes::Bytes;
use cofferdam_engine::config::CheckpointMode;
use cofferdam_engine::graph::Job;
use cofferdam_engine::job::JobBuilder;
use cofferdam_properties::Reference;
use cofferdam_properties::external::{Model, Models};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use steering::Steering;

/// Declares a job.
type Declare = Arc<dyn Fn(&JobBuilder) + Send + Sync>;

/// Seeds of a check that says nothing about their number.
const SEEDS: u64 = 200;
/// How long a failure is shrunk.
const SHRINK_FOR: Duration = Duration::from_secs(20);
/// No operator has more subtasks, unless the job says so itself.
const PARALLELISM_MAX: u16 = 3;
/// Where runs that failed are kept, beside the test's `Cargo.toml`.
const REGRESSIONS: &str = "cofferdam-regressions";

/// Begins the check of a job: see the head of [the module](mod@crate::check).
pub fn check<J: Fn(&JobBuilder) + Send + Sync + 'static>(job: J) -> Check {
    let full = std::any::type_name::<J>();
    let last = full.split("::").filter(|part| !part.starts_with('{')).last().unwrap_or("job");
    Check {
        name: plain(last),
        declare: Arc::new(job),
        input: BTreeMap::new(),
        reference: None,
        models: Models::default(),
        seeds: SEEDS,
        first: Seed(0),
        threads: None,
        faults: Faults::ALL,
        parallelism_max: PARALLELISM_MAX,
        shrink_for: SHRINK_FOR,
        regressions: None,
    }
}

/// A name that a file may have.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    name.chars().map(plain).collect()
}

/// The check of a job, still to be run.
#[derive(Clone)]
#[must_use = "nothing is checked before `run`"]
pub struct Check {
    name: String,
    declare: Declare,
    input: BTreeMap<String, Bytes>,
    reference: Option<Reference>,
    models: Models,
    seeds: u64,
    first: Seed,
    threads: Option<usize>,
    faults: Faults,
    parallelism_max: u16,
    shrink_for: Duration,
    regressions: Option<PathBuf>,
}

/// What a check that found nothing has seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub runs: u64,
    /// Runs that had failed once and pass now.
    pub regressions: u64,
    /// What happened in the seeds' runs.
    pub tally: Tally,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, regressions, tally } = self;
        let cofferdam_properties::Tally { checkpoints_completed, restores, restores_non_empty, .. } = tally.history;
        write!(f, "{runs} runs and {regressions} kept ones pass: {checkpoints_completed} checkpoints, ")?;
        write!(
            f,
            "{} crashes, {restores} restores, {restores_non_empty} of them of state",
            tally.history.crashes.total()
        )
    }
}

impl Check {
    /// What the job is called, where it is not called like its function.
    pub fn named(mut self, name: &str) -> Self {
        self.name = plain(name);
        self
    }

    /// Puts an object into storage before each run.
    pub fn input(mut self, path: &str, bytes: impl Into<Bytes>) -> Self {
        self.input.insert(path.to_owned(), bytes.into());
        self
    }

    /// Demands these lines of everything visible under `prefix`, in any order, each as often as here. Without it output is
    /// compared with a quiet re-execution by the same operators, which knows nothing of what they should do.
    pub fn expect_output<L: Into<String>>(mut self, prefix: &str, lines: impl IntoIterator<Item = L>) -> Self {
        let mut lines: Vec<String> = lines.into_iter().map(Into::into).collect();
        lines.sort_unstable();
        self.reference.get_or_insert_default().outputs.insert(prefix.to_owned(), lines);
        self
    }

    /// A system outside that the job's sinks write to: a state machine that stands for it. See [`crate::external`].
    pub fn external<M: Model + 'static>(mut self, system: &str, make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        self.models = self.models.with(system, make);
        self
    }

    /// How many seeds to run.
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds;
        self
    }

    /// The first seed. Always the same ones are run unless this or the environment says otherwise.
    pub fn from(mut self, seed: Seed) -> Self {
        self.first = seed;
        self
    }

    /// Threads that run seeds. One a core otherwise.
    pub fn jobs(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// What may strike.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Runs the job with at most this parallelism.
    pub fn parallelism_up_to(mut self, most: u16) -> Self {
        self.parallelism_max = most.max(1);
        self
    }

    /// How long the first failure is shrunk at most.
    pub fn shrink_for(mut self, time: Duration) -> Self {
        self.shrink_for = time;
        self
    }

    /// Where runs that failed are kept, instead of `cofferdam-regressions/NAME` beside the `Cargo.toml`.
    pub fn regressions(mut self, folder: impl Into<PathBuf>) -> Self {
        self.regressions = Some(folder.into());
        self
    }

    /// Checks, and panics with the failure's screen. What failed is kept as a file.
    #[track_caller]
    #[expect(clippy::print_stdout, reason = "a test's harness keeps this, and shows it with --nocapture")]
    pub fn run(self) -> Summary {
        match self.try_run() {
            Ok(summary) => {
                println!("{}: {summary}", self.name);
                summary
            }
            Err(failure) => panic!("{}", self.kept(failure)),
        }
    }

    /// Checks. Keeps nothing: the failure holds the capsule.
    pub fn try_run(&self) -> Result<Summary, Failure> {
        let steering = Steering::of(|name| std::env::var(name).ok(), self.first, self.seeds);
        self.steered(steering.map_err(Failure::Usage)?)
    }

    fn steered(&self, steering: Steering) -> Result<Summary, Failure> {
        if let Err(cause) = self.build(1) {
            return Err(Failure::Usage(format!("{}: {cause}", self.name)));
        }
        let runner = self.runner();
        match steering {
            Steering::Capsule { path, re_aim: true, .. } => regressions::aim(self, &runner, &path),
            Steering::Capsule { path, re_aim: false, explaining } => {
                regressions::alone(self, &runner, &path, &explaining)
            }
            Steering::Seed { seed, explaining } => {
                let shape = calibrate::shape(self, &runner)?;
                let outcome = runner.run_plan(seed, self.plan(seed, &shape));
                failure::show(&explaining, &runner, &outcome, &failure::command_of_seed(seed))?;
                if !outcome.verdict.passed() {
                    return Err(failure::of(self, &runner, outcome));
                }
                Ok(Summary { runs: 1, regressions: 0, tally: outcome.tally })
            }
            Steering::Seeds { first, count } => {
                let regressions = regressions::all(self, &runner)?;
                let shape = calibrate::shape(self, &runner)?;
                let tally = seeds::run(self, &runner, &shape, first, count)?;
                Ok(Summary { runs: count, regressions, tally })
            }
        }
    }

    /// The plan of a seed for this job.
    fn plan(&self, seed: Seed, shape: &OwnShape) -> Plan {
        let mut plan = Plan::of_own(seed, shape);
        // The question is whether it is exactly-once: less is not promised.
        plan.policy.mode = CheckpointMode::ExactlyOnce;
        plan.faults.retain(|fault| self.faults.allow(&fault.what));
        if !self.models.is_empty() {
            plan.faults.iter_mut().for_each(|fault| faults::outside(&mut fault.what));
        }
        plan
    }

    fn build(&self, parallelism: u16) -> Result<cofferdam_engine::graph::JobGraph, String> {
        let builder = JobBuilder::new(&self.name).parallelism(parallelism);
        (self.declare)(&builder);
        builder.build().map_err(|e| e.to_string())
    }

    fn runner(&self) -> Runner {
        let check = self.clone();
        let stage = move |_: Seed, plan: &Plan| {
            let job = Job { graph: Arc::new(check.build(plan.parallelism)?), config: plan.config() };
            let processes = builtin::processes(plan, &job);
            let (initial, reference, models) = (check.input.clone(), check.reference.clone(), check.models.clone());
            Ok(Staging { job, initial, reference, models, processes })
        };
        Runner::new(Arc::new(stage), world::run_here)
    }

    /// Where runs that failed are kept.
    fn folder(&self) -> PathBuf {
        self.regressions.clone().unwrap_or_else(|| {
            let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
            package.join(REGRESSIONS).join(&self.name)
        })
    }

    /// Writes a new failure down; what there is to say about it.
    fn kept(&self, failure: Failure) -> String {
        failure.kept_in(&self.folder())
    }
}

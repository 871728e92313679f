//! The command line of the simulator: `hunt`, `merge`, `replay`, `shrink`, `bugs` and `init`.

use crate::bugs::{self, BugsOptions, Strategies};
use crate::capsule::text::CapsuleError;
use crate::capsule::{self, Capsule, re_aim};
use crate::exit::{self, Exit};
use crate::explain::Explaining;
use crate::hunt::campaign::Campaign;
use crate::hunt::keep::{self, Keeping};
use crate::hunt::merge::{self, MergeArgs};
use crate::hunt::pool::ChildCommand;
use crate::hunt::publish::PublishArgs;
use crate::hunt::summary::Progress;
use crate::hunt::{self, HuntOptions, Output, Shard, writable};
use crate::plan::JobKind;
use crate::replay;
use crate::run::Runner;
use crate::seed::{Seed, SeedError};
use crate::shrink;
use crate::shrink::command::ShrinkOptions;
use crate::strategy::{Choice, Drawn, Name};
use clap::{Args, Parser, Subcommand};
use cofferdam_engine::jobs::BuiltIn;
use cofferdam_launch::out;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Seeds of a hunt that says nothing about its length.
const SEEDS: u64 = 5_000;

/// Runs without news after which a hunt is saturated, if nobody says how many. News decays: by the mix the first 9,500 runs hit
/// 4,800 cells, 17,000 runs 6,200 and 22,000 runs 6,700, still one in nine runs, and no hundred in a row were without any yet.
/// Two thousand in a row would take a night.
const SATURATED_AFTER: &str = "100";

/// The simulator's commands.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Run fresh seeds on every core until something breaks
    #[command(after_help = HUNT_HELP)]
    Hunt(HuntArgs),
    /// Run one seed or capsule again and tell what happened
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// Make a failing run as simple as it gets, and keep it as a capsule
    #[command(after_help = SHRINK_HELP)]
    Shrink(ShrinkArgs),
    /// Add up the results of several hunts
    #[command(after_help = MERGE_HELP)]
    Merge(MergeArgs),
    /// Plant known bugs into a copy of this workspace and hunt them
    #[command(after_help = BUGS_HELP)]
    Bugs(BugsArgs),
    /// Write what a workspace of your own needs to test its jobs
    Init {
        /// Its folder
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Run the seeds that arrive on standard input
    #[command(hide = true)]
    HuntChild,
}

const HUNT_HELP: &str = "\
Examples:
  cofferdam hunt                                      5,000 fresh seeds on every core
  cofferdam hunt --for 10m --stop-after 20            a nightly hunt
  cofferdam hunt --from g10:0x4d2 --seeds 1000        the same thousand seeds again
  cofferdam hunt --from g10:0x4d2 --seeds 9000 --shard 2/3  one of three machines
  cofferdam hunt --strategy sweep --seeds 10000       every single fault and many pairs of a small job
  cofferdam hunt --until-saturated --coverage c.json  until nothing new is struck any more

Exit codes: 0 clean, 1 something failed, 2 wrong usage, 3 harness error or not deterministic, 130 interrupted";

const MERGE_HELP: &str = "\
Examples:
  cofferdam merge shard-*.json                                what all shards saw
  cofferdam merge shard-*.json --junit hunt.xml --require-marks

Exit codes: those of a hunt";

const REPLAY_HELP: &str = "\
Examples:
  cofferdam replay g10:0x4d2                   verdict, plan and fingerprint
  cofferdam replay g10:0x4d2 --trace           the whole story, one line an event
  cofferdam replay g10:0x4d2 --trace --until 170ms  … until then, and how everybody stands
  cofferdam replay g10:0x4d2 --html run.html   its space-time diagram, beside the nearest run that passes
  cofferdam replay targeted:g10:0x4d2          a run of another strategy than random

Exit codes: 0 it passes, 1 it fails, 2 wrong usage, 3 harness error, 125 the seed is of another generator (stale)";

const SHRINK_HELP: &str = "\
Examples:
  cofferdam shrink g10:0x4d2                       into corpus/found, or ./capsules outside a workspace
  cofferdam shrink old.toml --out small.toml --for 5m

Exit codes: 1 it fails and was shrunk, 2 wrong usage, it passes or a capsule fails in another way, 3 harness error, 125 stale";

const BUGS_HELP: &str = "\
Examples:
  cofferdam bugs                       all of corpus/bugs, and the table
  cofferdam bugs --list                their stories
  cofferdam bugs ack-before-upload     one of them
  cofferdam bugs --repeat 9            nine hunts each, for the median
  cofferdam bugs --strategy mix,times  caught by the mix, and how long crashes at random times take

Exit codes: 0 all were caught, 1 some were not, 2 wrong usage, 3 a copy does not build";

/// Options of `hunt`.
#[derive(Args, Clone, Debug)]
pub struct HuntArgs {
    /// Only seeds that run this job
    pub job: Option<JobKind>,
    /// How plans are drawn: mix, random, targeted, sweep, priority, guided, times or kills
    #[arg(long, value_name = "NAME", default_value = "mix")]
    pub strategy: Choice,
    /// Stop once K runs in a row have struck nothing new; without K 100, which takes more than 20,000 runs
    #[arg(long, value_name = "K", num_args = 0..=1, default_missing_value = SATURATED_AFTER, value_parser = clap::value_parser!(u64).range(1..))]
    pub until_saturated: Option<u64>,
    /// How many seeds to run [default: 5000, or no limit with --for or --until-saturated]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// How long to run, as in 90s, 10m, 2h
    #[arg(long = "for", value_name = "TIME", value_parser = hunt::parse_duration)]
    pub time: Option<Duration>,
    /// The first seed [default: a random one, which is printed; 0 for the sweep]
    #[arg(long, value_name = "SEED")]
    pub from: Option<String>,
    /// Run the i-th of n equal shares of the seeds
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    pub shard: Shard,
    /// Stop after this many failing runs
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub stop_after: u64,
    /// Child processes [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Run one seed in this many twice, in another process, and compare; 0 for none
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub twice_every: u64,
    /// Kill a run that says nothing for this long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = hunt::parse_duration)]
    pub hang_after: Duration,
    /// Where a capsule of each new kind of failure goes [default: corpus/found]
    #[arg(long, value_name = "FOLDER")]
    pub capsules: Option<PathBuf>,
    /// Shrink each for this long at most; 0s for not at all
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = hunt::parse_duration)]
    pub shrink_for: Duration,
    /// Capsules of failures that are known: counted, not reported [default: corpus/known]
    #[arg(long, value_name = "FOLDER")]
    pub known: Option<PathBuf>,
    /// What to write beside the output
    #[command(flatten)]
    pub publish: PublishArgs,
    /// Print one line of JSON a failure, and one for the summary
    #[arg(long)]
    pub json: bool,
}

/// Options of `replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// The seed, as in g10:0x4d2 or targeted:g10:0x4d2, or a capsule
    pub what: String,
    /// If a capsule is stale or passes: look for the same violation nearby, and rewrite the file
    #[arg(long)]
    pub re_aim: bool,
    /// What to tell beside the verdict
    #[command(flatten)]
    pub explaining: Explaining,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `shrink`.
#[derive(Args, Clone, Debug)]
pub struct ShrinkArgs {
    /// The seed, as in g10:0x4d2 or targeted:g10:0x4d2, or a capsule
    pub what: String,
    /// Where the capsule goes [default: a name made of the failure, in corpus/found]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How long at most
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = hunt::parse_duration)]
    pub time: Duration,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// What the capsule shall tell
    #[arg(long, hide = true)]
    pub story: Option<String>,
}

/// Options of `bugs`.
#[derive(Args, Clone, Debug)]
pub struct BugsArgs {
    /// Which bugs [default: all]
    pub names: Vec<String>,
    /// How many seeds to hunt each bug with
    #[arg(long, visible_alias = "runs", value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// How plans are drawn; what comes behind the first is only compared with it: `mix,times`, or `all`
    #[arg(long, value_name = "NAMES", default_value = "mix", value_parser = bugs::parse_strategies)]
    pub strategy: Strategies,
    /// The first seed [default: a random one for each hunt]
    #[arg(long, value_name = "SEED")]
    pub from: Option<String>,
    /// How often to hunt each bug
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub repeat: u64,
    /// Child processes [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Shrink what was caught, each for this long at most, and keep the capsules in corpus/capsules
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "60s", value_parser = hunt::parse_duration)]
    pub shrink: Option<Duration>,
    /// Only tell their stories
    #[arg(long)]
    pub list: bool,
    /// Print one line of JSON a bug
    #[arg(long)]
    pub json: bool,
}

/// Does what a command says.
pub fn perform(command: &Command, runner: &Runner) -> Exit {
    match command {
        Command::Hunt(args) => hunt_for(args),
        Command::Replay(args) => match Subject::of(&args.what) {
            Ok(Subject::Drawn(drawn)) if args.re_aim => {
                complain(&format!("{drawn} is no capsule: there is nothing to aim again"), Exit::Usage)
            }
            Ok(Subject::Drawn(drawn)) => replay::replay(runner, drawn, &args.explaining, args.json),
            Ok(Subject::Capsule(path, capsule)) if args.re_aim => re_aim::command(runner, &path, &capsule),
            Ok(Subject::Capsule(path, capsule)) => {
                replay::capsule(runner, &path, &capsule, &args.explaining, args.json)
            }
            Err(exit) => exit,
        },
        Command::Shrink(args) => match Subject::of(&args.what) {
            Ok(subject) => shrink_for(runner, args, subject),
            Err(exit) => exit,
        },
        Command::Merge(args) => merge::command(args),
        Command::Bugs(args) => bugs_for(args),
        Command::Init { folder } => crate::init::init(folder),
        Command::HuntChild => hunt::child::main(runner),
    }
}

/// What shall run again.
enum Subject {
    Drawn(Drawn),
    Capsule(PathBuf, Box<Capsule>),
}

impl Subject {
    /// A file is a capsule; everything else is a seed.
    fn of(text: &str) -> Result<Self, Exit> {
        let path = PathBuf::from(text);
        if path.is_dir() {
            return Err(complain(&format!("{text} is a folder; a capsule is a file"), Exit::Usage));
        }
        if !path.is_file() && path.extension().is_none_or(|extension| extension != "toml") {
            return text.parse().map(Self::Drawn).map_err(|error: SeedError| refuse(&error));
        }
        match capsule::text::load(&path) {
            Ok(capsule) => match of_no_bug(&capsule) {
                Some(cause) => Err(complain(&format!("{}: {cause}", path.display()), Exit::Usage)),
                None => Ok(Self::Capsule(path, Box::new(capsule))),
            },
            Err(error) => {
                let exit = match error {
                    CapsuleError::Malformed { .. } => Exit::Usage,
                    CapsuleError::OtherBuild { .. } => Exit::Stale,
                };
                Err(complain(&error.to_string(), exit))
            }
        }
    }
}

/// What is wrong with the planted bug that a capsule names, where they can be looked up.
fn of_no_bug(capsule: &Capsule) -> Option<String> {
    let (bug, root) = (capsule.bug.as_ref()?, workspace().ok()?);
    let there = root.join("corpus/bugs").join(format!("{bug}.toml")).is_file();
    (!there).then(|| format!("there is no planted bug {bug}"))
}

fn shrink_for(runner: &Runner, args: &ShrinkArgs, subject: Subject) -> Exit {
    let (outcome, bug, story) = match subject {
        Subject::Drawn(drawn) => (runner.run_plan(drawn.seed, drawn.plan()), planted(), None),
        Subject::Capsule(path, capsule) => {
            let outcome = runner.run_plan(capsule.seed(), capsule.plan.clone());
            if let Some(message) = capsule.not_expected(&outcome) {
                return complain(&format!("{}: {message}", path.display()), Exit::Usage);
            }
            // What a hunt hands over as a capsule does not say whose build found it.
            (outcome, capsule.bug.or_else(planted), Some(capsule.story))
        }
    };
    let options = ShrinkOptions {
        out: args.out.clone(),
        folder: capsules_folder(),
        time: args.time,
        bug,
        story: args.story.clone().or(story),
        json: args.json,
    };
    shrink::command::command(runner, outcome, &options)
}

/// The planted bug that is active in this build, which is a copy with planted bugs then.
pub fn planted() -> Option<String> {
    std::env::var(bugs::SWITCH).ok().filter(|name| !name.is_empty())
}

/// Where new capsules go: the corpus of the workspace around the current folder, or a folder beside it.
pub fn capsules_folder() -> PathBuf {
    workspace().map_or_else(|_| PathBuf::from("capsules"), |root| root.join("corpus/found"))
}

fn hunt_for(args: &HuntArgs) -> Exit {
    let first = match (&args.from, args.strategy) {
        (None, Choice::One(Name::Sweep)) => Ok(Seed(0)),
        (None, _) => Ok(fresh_seed()),
        (Some(text), _) => parse_seed(text),
    };
    if let Some(job) = args.job.filter(|job| !args.strategy.runs(*job)) {
        return complain(&format!("the {} never runs {}", args.strategy, job.name()), Exit::Usage);
    }
    if args.time.is_some_and(|time| time.is_zero()) {
        return complain("--for 0s leaves no time for a single run", Exit::Usage);
    }
    let capsules = args.capsules.clone().unwrap_or_else(capsules_folder);
    // Noticed now, and not after a night.
    if let Err(message) = args.publish.writable().and_then(|()| writable::folder(&capsules)) {
        return complain(&message, Exit::Usage);
    }
    let known = match known_failures(args.known.as_deref()) {
        Ok(known) => known,
        Err(exit) => return exit,
    };
    let (first, command) = match (first, ChildCommand::of_this_program()) {
        (Err(exit), _) => return exit,
        (_, Err(message)) => return complain(&message, Exit::Harness),
        (Ok(first), Ok(command)) => (first, command),
    };
    let options = HuntOptions {
        first,
        strategy: args.strategy,
        saturated_after: args.until_saturated,
        job: args.job,
        seeds: args.seeds.or_else(|| (args.time.is_none() && args.until_saturated.is_none()).then_some(SEEDS)),
        time: args.time,
        shard: args.shard,
        stop_after: args.stop_after,
        jobs: jobs(args.jobs),
        twice_every: args.twice_every,
        hang_after: args.hang_after,
        known,
        output: if args.json { Output::Json } else { Output::Text },
    };
    if options.output == Output::Text {
        let (strategy, jobs) = (options.strategy, options.jobs);
        out::complain(format_args!("hunting from {first} by {strategy} with {jobs} child process(es)"));
    }
    let mut progress = Progress::new(&options);
    let hunted = hunt::pool::hunt(&options, &command, &mut progress);
    progress.finish(&options, &hunted);
    let keeping = Keeping { folder: capsules, time: args.shrink_for, hang_after: args.hang_after, json: args.json };
    for failure in keep::worth_keeping(&hunted.ledger) {
        match keep::keep(failure, &command, &keeping) {
            Ok(kept) => out::say(format_args!("\n{}", kept.told)),
            Err(message) => return complain(&message, Exit::Harness),
        }
    }
    merge::conclude(&Campaign::of(&options, &hunted), &args.publish, || {})
}

/// The failures that are known, by signature.
fn known_failures(folder: Option<&Path>) -> Result<BTreeMap<String, PathBuf>, Exit> {
    let folder = match (folder, workspace()) {
        (Some(folder), _) if !folder.is_dir() => {
            return Err(complain(&format!("{} is no folder of capsules", folder.display()), Exit::Usage));
        }
        (Some(folder), _) => folder.to_owned(),
        (None, Ok(root)) => root.join("corpus/known"),
        (None, Err(_)) => return Ok(BTreeMap::new()),
    };
    let capsules = capsule::text::load_all(&folder).map_err(|error| complain(&error.to_string(), Exit::Usage))?;
    if let Some((path, _)) = capsules.iter().find(|(_, capsule)| capsule.bug.is_some() || capsule.expects_pass()) {
        let message = format!("{}: a known failure neither passes nor is a planted bug's", path.display());
        return Err(complain(&message, Exit::Usage));
    }
    Ok(capsules.into_iter().map(|(path, capsule)| (capsule.signature, path)).collect())
}

fn bugs_for(args: &BugsArgs) -> Exit {
    let first = match args.from.as_deref().map(parse_seed).transpose() {
        Ok(first) => first,
        Err(exit) => return exit,
    };
    let options = BugsOptions {
        names: args.names.clone(),
        strategies: args.strategy.clone(),
        seeds: args.seeds,
        first,
        repeat: args.repeat,
        jobs: jobs(args.jobs),
        json: args.json,
        shrink: args.shrink,
        list: args.list,
    };
    match workspace() {
        Ok(root) => bugs::bugs(&root, &options),
        Err(message) => complain(&message, Exit::Usage),
    }
}

/// The workspace around the current folder.
fn workspace() -> Result<PathBuf, String> {
    let here = std::env::current_dir().map_err(|e| format!("the current folder cannot be read: {e}"))?;
    let root = here.ancestors().find(|folder| folder.join("corpus/bugs").is_dir());
    root.map(PathBuf::from).ok_or_else(|| {
        format!("{} is not inside Cofferdam's workspace: there is no corpus/bugs above it", here.display())
    })
}

fn jobs(asked: Option<u16>) -> usize {
    asked.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
}

/// Reads a seed, or says what is wrong with it.
pub fn parse_seed(text: &str) -> Result<Seed, Exit> {
    text.parse().map_err(|error: SeedError| refuse(&error))
}

fn refuse(error: &SeedError) -> Exit {
    let exit = match error {
        SeedError::Malformed(_) => Exit::Usage,
        SeedError::OtherGenerator { .. } => Exit::Stale,
    };
    complain(&error.to_string(), exit)
}

/// One line on standard error.
pub fn complain(message: &str, exit: Exit) -> Exit {
    out::complain(format_args!("error: {message}"));
    exit
}

/// A seed nobody chose: the standard library seeds its hashers from the operating system.
pub fn fresh_seed() -> Seed {
    Seed(std::hash::RandomState::new().build_hasher().finish())
}

/// Everything that `cofferdam` can do.
#[derive(Parser, Debug)]
#[command(name = "cofferdam", version, about = ABOUT, after_help = exit::TABLE, max_term_width = 110)]
struct Cofferdam {
    #[command(subcommand)]
    command: AnyCommand,
}

#[derive(Subcommand, Debug)]
enum AnyCommand {
    #[command(flatten)]
    Simulator(Command),
    #[command(flatten)]
    Engine(cofferdam_launch::Command),
}

const ABOUT: &str = "A stream engine with Flink-style checkpoints, and the simulator that tries to break them";

/// The whole of a binary that hunts what `runner` runs, and runs `jobs` for real.
pub fn main(runner: &Runner, jobs: &[BuiltIn]) -> ExitCode {
    let Cofferdam { command } = match cofferdam_launch::parsed() {
        Ok(asked) => asked,
        Err(ended) => return ended,
    };
    match command {
        AnyCommand::Simulator(command) => perform(&command, runner).into(),
        AnyCommand::Engine(command) => cofferdam_launch::execute(command, jobs).into(),
    }
}

//! The command line of the simulator: `hunt`, `replay` and `bugs`.

use crate::bugs::{self, BugsOptions};
use crate::exit::{self, Exit};
use crate::explain::Explaining;
use crate::hunt::pool::ChildCommand;
use crate::hunt::summary::Progress;
use crate::hunt::{self, HuntOptions, Output, Shard};
use crate::plan::JobKind;
use crate::replay;
use crate::run::Runner;
use crate::seed::{Seed, SeedError};
use clap::{Args, Parser, Subcommand};
use cofferdam_engine::jobs::BuiltIn;
use cofferdam_engine::launch;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Seeds of a hunt that says nothing about its length.
const SEEDS: u64 = 5_000;

/// The simulator's commands.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Run fresh seeds on every core until something breaks
    #[command(after_help = HUNT_HELP)]
    Hunt(HuntArgs),
    /// Run one seed again and tell what happened
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// Plant known bugs into a copy of this workspace and hunt them
    #[command(after_help = BUGS_HELP)]
    Bugs(BugsArgs),
    /// Run the seeds that arrive on standard input
    #[command(hide = true)]
    HuntChild,
}

const HUNT_HELP: &str = "\
Examples:
  cofferdam hunt                                      5,000 fresh seeds on every core
  cofferdam hunt --for 10m --stop-after 20            a nightly hunt
  cofferdam hunt --from g2:0x4d2 --seeds 1000         the same thousand seeds again
  cofferdam hunt --from g2:0x4d2 --seeds 9000 --shard 2/3   one of three machines

Exit codes: 0 clean, 1 something failed, 2 wrong usage, 3 harness error or not deterministic, 130 interrupted";

const REPLAY_HELP: &str = "\
Examples:
  cofferdam replay g2:0x4d2                    verdict, plan and fingerprint
  cofferdam replay g2:0x4d2 --trace            the whole story, one line an event
  cofferdam replay g2:0x4d2 --trace --until 170ms   … until then, and how everybody stands
  cofferdam replay g2:0x4d2 --html run.html    its space-time diagram, beside the nearest run that passes

Exit codes: 0 it passes, 1 it fails, 2 wrong usage, 3 harness error, 125 the seed is of another generator (stale)";

const BUGS_HELP: &str = "\
Examples:
  cofferdam bugs                       all of corpus/bugs, and the table
  cofferdam bugs --list                their stories
  cofferdam bugs ack-before-upload     one of them
  cofferdam bugs --repeat 9            nine hunts each, for the median

Exit codes: 0 all were caught, 1 some were not, 2 wrong usage, 3 a copy does not build";

/// Options of `hunt`.
#[derive(Args, Clone, Debug)]
pub struct HuntArgs {
    /// Only seeds that run this job
    pub job: Option<JobKind>,
    /// How many seeds to run [default: 5000, or no limit with --for]
    #[arg(long, value_name = "N")]
    pub seeds: Option<u64>,
    /// How long to run, as in 90s, 10m, 2h
    #[arg(long = "for", value_name = "TIME", value_parser = hunt::parse_duration)]
    pub time: Option<Duration>,
    /// The first seed [default: a random one, which is printed]
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
    /// Print one line of JSON a failure, and one for the summary
    #[arg(long)]
    pub json: bool,
}

/// Options of `replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// The seed, as in g2:0x4d2
    pub seed: String,
    #[command(flatten)]
    /// What to tell beside the verdict
    pub explaining: Explaining,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `bugs`.
#[derive(Args, Clone, Debug)]
pub struct BugsArgs {
    /// Which bugs [default: all]
    pub names: Vec<String>,
    /// How many seeds to hunt each bug with
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// The first seed [default: a random one for each hunt]
    #[arg(long, value_name = "SEED")]
    pub from: Option<String>,
    /// How often to hunt each bug
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub repeat: u64,
    /// Child processes [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
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
        Command::Replay(args) => match parse_seed(&args.seed) {
            Ok(seed) => replay::replay(runner, seed, &args.explaining, args.json),
            Err(exit) => exit,
        },
        Command::Bugs(args) => bugs_for(args),
        Command::HuntChild => hunt::child::main(runner),
    }
}

fn hunt_for(args: &HuntArgs) -> Exit {
    let first = match &args.from {
        None => Ok(fresh_seed()),
        Some(text) => parse_seed(text),
    };
    let (first, command) = match (first, ChildCommand::of_this_program()) {
        (Err(exit), _) => return exit,
        (_, Err(message)) => return complain(&message, Exit::Harness),
        (Ok(first), Ok(command)) => (first, command),
    };
    let options = HuntOptions {
        first,
        job: args.job,
        seeds: args.seeds.or(if args.time.is_some() { None } else { Some(SEEDS) }),
        time: args.time,
        shard: args.shard,
        stop_after: args.stop_after,
        jobs: jobs(args.jobs),
        twice_every: args.twice_every,
        hang_after: args.hang_after,
        output: if args.json { Output::Json } else { Output::Text },
    };
    if options.output == Output::Text {
        eprintln!("hunting from {first} with {} child process(es)", options.jobs);
    }
    let mut progress = Progress::new(&options);
    let hunted = hunt::pool::hunt(&options, &command, &mut progress);
    progress.finish(&options, &hunted);
    hunted.exit()
}

fn bugs_for(args: &BugsArgs) -> Exit {
    let first = match args.from.as_deref().map(parse_seed).transpose() {
        Ok(first) => first,
        Err(exit) => return exit,
    };
    let options = BugsOptions {
        names: args.names.clone(),
        seeds: args.seeds,
        first,
        repeat: args.repeat,
        jobs: jobs(args.jobs),
        json: args.json,
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
    text.parse().map_err(|error: SeedError| {
        let exit = match error {
            SeedError::Malformed(_) => Exit::Usage,
            SeedError::OtherGenerator { .. } => Exit::Stale,
        };
        complain(&error.to_string(), exit)
    })
}

/// One line on standard error.
pub fn complain(message: &str, exit: Exit) -> Exit {
    eprintln!("cofferdam: {message}");
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
    Engine(launch::Command),
}

const ABOUT: &str = "A stream engine with Flink-style checkpoints, and the simulator that tries to break them";

/// The whole of a binary that hunts what `runner` runs, and runs `jobs` for real.
pub fn main(runner: &Runner, jobs: &[BuiltIn]) -> ExitCode {
    match Cofferdam::parse().command {
        AnyCommand::Simulator(command) => perform(&command, runner).into(),
        AnyCommand::Engine(command) => launch::execute(command, jobs).into(),
    }
}

//! The command line of the simulator: `hunt`, `replay` and `bugs`.

use crate::exit::{self, Exit};
use crate::hunt::pool::ChildCommand;
use crate::hunt::summary::Progress;
use crate::hunt::{self, HuntOptions, Output, Shard};
use crate::plan::JobKind;
use crate::replay;
use crate::run::Runner;
use crate::seed::{Seed, SeedError};
use clap::{Args, Subcommand};
use std::hash::{BuildHasher, Hasher};
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
    /// Run the seeds that arrive on standard input
    #[command(hide = true)]
    HuntChild,
}

const HUNT_HELP: &str = "\
Examples:
  cofferdam hunt                                      5,000 fresh seeds on every core
  cofferdam hunt --for 10m --stop-after 20            a nightly hunt
  cofferdam hunt --from g1:0x4d2 --seeds 1000         the same thousand seeds again
  cofferdam hunt --from g1:0x4d2 --seeds 9000 --shard 2/3   one of three machines

Exit codes: 0 clean, 1 something failed, 2 wrong usage, 3 harness error or not deterministic, 130 interrupted";

const REPLAY_HELP: &str = "\
Examples:
  cofferdam replay g1:0x4d2            verdict, plan and fingerprint
  cofferdam replay g1:0x4d2 --trace    the whole story, one line an event

Exit codes: 0 it passes, 1 it fails, 2 wrong usage, 3 harness error, 125 the seed is of another generator (stale)";

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
    /// The seed, as in g1:0x4d2
    pub seed: String,
    /// Tell every event
    #[arg(long)]
    pub trace: bool,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Does what a command says.
pub fn perform(command: &Command, runner: &Runner) -> Exit {
    match command {
        Command::Hunt(args) => hunt_for(args),
        Command::Replay(args) => match parse_seed(&args.seed) {
            Ok(seed) => replay::replay(runner, seed, args.trace, args.json),
            Err(exit) => exit,
        },
        Command::HuntChild => hunt::child::main(runner),
    }
}

fn hunt_for(args: &HuntArgs) -> Exit {
    let first = match &args.from {
        None => Ok(Seed(random())),
        Some(text) => parse_seed(text),
    };
    let (first, command) = match (first, ChildCommand::of_this_program()) {
        (Err(exit), _) => return exit,
        (_, Err(message)) => return complain(&message, Exit::Harness),
        (Ok(first), Ok(command)) => (first, command),
    };
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let options = HuntOptions {
        first,
        job: args.job,
        seeds: args.seeds.or(if args.time.is_some() { None } else { Some(SEEDS) }),
        time: args.time,
        shard: args.shard,
        stop_after: args.stop_after,
        jobs: args.jobs.map_or_else(cores, usize::from),
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

/// A number nobody chose: the standard library seeds its hashers from the operating system.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// The table of exit codes, for the top-level help.
pub const EXIT_CODES: &str = exit::TABLE;

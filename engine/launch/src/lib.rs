//! The command line of the engine: any binary that hands its jobs to [`main`] can `run` and `inspect` them, start their
//! parts (`coordinator`, `worker`) as processes of their own, and ask things of them (`checkpoint`, `cancel`, `status`).
//!
//! A binary with commands of its own embeds [`Command`] in its own parser and calls [`execute`].

mod client;
mod cluster;
pub mod exit;
mod fit;
mod folders;
mod host;
mod inspect;
mod latest;
mod options;
pub mod out;
mod policy;
#[cfg(unix)]
mod rendezvous;
mod run;
mod secrets;
mod show;
mod signals;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use cofferdam_engine::jobs::BuiltIn;
pub use exit::Exit;
use std::process::ExitCode;

/// The engine's commands.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Run a job until its input is drained, going on from its latest completed checkpoint if there is one
    #[command(after_help = options::HELP)]
    Run(Box<options::RunArgs>),
    /// Coordinate a job whose workers are processes of their own; or wait for the leading coordinator to die
    #[command(after_help = cluster::COORDINATOR_HELP)]
    Coordinator(Box<cluster::CoordinatorArgs>),
    /// Work for a coordinator
    #[command(after_help = cluster::WORKER_HELP)]
    Worker(Box<cluster::WorkerArgs>),
    /// Have a running job take a checkpoint now, and wait until it is durable
    #[command(after_help = client::CHECKPOINT_HELP)]
    Checkpoint(client::ClientArgs),
    /// Cancel a running job, and wait until its end is durable
    #[command(after_help = client::CANCEL_HELP)]
    Cancel(client::ClientArgs),
    /// Tell how a running job stands
    #[command(after_help = client::STATUS_HELP)]
    Status(client::StatusArgs),
    /// Show what a checkpoint folder or a manifest holds, and check every stored byte of it
    #[command(after_help = inspect::HELP)]
    Inspect(inspect::InspectArgs),
}

#[derive(Parser)]
#[command(version, about = "Runs jobs of the Cofferdam stream engine", after_help = exit::TABLE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The whole of a binary that runs `jobs`. Wrong usage is answered and ends the process here.
pub fn main(jobs: &[BuiltIn]) -> ExitCode {
    match parsed::<Cli>() {
        Ok(cli) => execute(cli.command, jobs).into(),
        Err(ended) => ended,
    }
}

/// Reads the command line. Wrong usage is answered in one line, and help where it was asked for; then the exit code is left.
pub fn parsed<P: Parser>() -> Result<P, ExitCode> {
    P::try_parse().map_err(|error| {
        if !error.use_stderr() {
            out::say(error.render());
            return Exit::Done.into();
        }
        let help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        out::complain(if help { error.render().to_string() } else { in_one_line(&error.render().to_string()) });
        Exit::Usage.into()
    })
}

/// The first paragraph of what the parser says, which may list what is missing, and where to read on.
fn in_one_line(told: &str) -> String {
    let paragraph: Vec<&str> = told.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    let tip = told.lines().find_map(|line| line.trim().strip_prefix("tip: ")).map(|tip| format!("; {tip}"));
    format!("{}{} (--help tells more)", paragraph.join(" "), tip.unwrap_or_default())
}

/// Performs a command. Everything that goes wrong has been said on standard error, in one line, when it returns.
pub fn execute(command: Command, jobs: &[BuiltIn]) -> Exit {
    match command {
        Command::Run(args) => run::run(&args, jobs),
        Command::Coordinator(args) => cluster::coordinate(&args, jobs),
        Command::Worker(args) => cluster::work(&args, jobs),
        Command::Checkpoint(args) => client::checkpoint(&args),
        Command::Cancel(args) => client::cancel(&args),
        Command::Status(args) => client::status(&args),
        Command::Inspect(args) => inspect::inspect(&args),
    }
}

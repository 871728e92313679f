//! `coordinator` and `worker`: the two kinds of process of a job that runs on several machines, or is to survive the death
//! of one of its processes. The same code as [`run`](super::run), each part in a process of its own.
//!
//! 1. Every process is told the same job, with the same options, and sees the same folders.
//! 2. Coordinators watch each other through the checkpoint folder; workers are told the addresses of all of them.
//! 3. A coordinator prints the address that it listens on, alone on the first line of standard output.
//!
//! 4. All of them know one secret ([`secrets`](super::secrets)), and prove it on each connection before anything else is said.
//!    Listening beyond loopback needs a secret that the user has chosen.
//!
//! There is no encryption: who can read along on the network between the processes reads the records.

use super::exit::Exit;
use super::fit;
use super::host::{Outcome, host};
use super::options::{LOOPBACK, RunArgs, host_and_port};
use super::out;
use super::policy::positive_duration;
use super::run;
use super::show::{Part, summary, undeleted};
use clap::Args;
use cofferdam_engine::door::{Env, Site};
use cofferdam_engine::error::Result;
use cofferdam_engine::graph::Job;
use cofferdam_engine::ids::WorkerId;
use cofferdam_engine::jobs::BuiltIn;
use cofferdam_engine::os::mount::Mounts;
use cofferdam_engine::runtime::coordinator::{self, CoordinatorOptions, Listen, Rivalry, Start};
use cofferdam_engine::runtime::mailbox::{Either, Mailbox, race};
use cofferdam_engine::runtime::worker::{self, WorkerOptions};
use cofferdam_engine::secret::Secret;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub(super) const COORDINATOR_HELP: &str = "\
Examples:
  coordinator word-count --input in --output out --checkpoints chk --listen 127.0.0.1:6123 --workers 3
  coordinator word-count --input in --output out --checkpoints chk --listen 127.0.0.1:6124 --workers 3 --standby

The second takes over when the first has shown no sign of life for the lease. Start a coordinator again after a crash: it
waits for the lease as well, because it cannot know that its former self is dead.

Exit codes: 0 finished, 1 the job failed, 2 wrong usage, 3 deposed: a newer leader has taken over (never with --standby),
4 corrupt checkpoint, 101 a bug, 130 interrupted";

pub(super) const WORKER_HELP: &str = "\
Examples:
  worker word-count --input in --output out --checkpoints chk --join 127.0.0.1:6123,127.0.0.1:6124 --id 0

Job, folders and --parallelism must be those of the coordinator. A worker waits for a coordinator for as long as it takes;
one more than are needed is a spare that steps in when another is lost.

Exit codes: 0 the job is over, 1 refused by the coordinator, or it cannot listen, 2 wrong usage, 101 a bug,
130 interrupted";

/// Options of `coordinator`.
#[derive(Args, Clone, Debug)]
pub struct CoordinatorArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    pace: PaceArgs,
    /// Become a standby again when deposed, rather than stop
    #[arg(long)]
    standby: bool,
    /// Take over from a leader that has shown no sign of life for this long; the same for every coordinator
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    lease: Duration,
}

/// Options of `worker`.
#[derive(Args, Clone, Debug)]
pub struct WorkerArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    pace: PaceArgs,
    /// Where coordinators listen, separated by commas
    #[arg(long, value_name = "HOST:PORT,…", required = true, value_delimiter = ',', value_parser = host_and_port)]
    join: Vec<String>,
    /// Which worker this is, from 0; of two processes that say the same the later one waits until the earlier is lost
    #[arg(long, value_name = "N")]
    id: u16,
    /// Where other workers reach this one, if that is not where it listens
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    announce: Option<String>,
}

/// How soon silence counts as death.
#[derive(Args, Clone, Debug)]
struct PaceArgs {
    /// Silence after which the other end of a connection counts as dead; the same for every process
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    silence: Duration,
}

/// Heartbeats in the time after which silence counts as death.
const HEARTBEATS: u32 = 10;

/// Coordinates a job until it is over.
pub fn coordinate(args: &CoordinatorArgs, jobs: &[BuiltIn]) -> Exit {
    let (job, mounts, secret) = match prepare(&args.run, &args.pace, jobs) {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    if let Err(error) = fit::check(&args.run.checkpoints, &args.run.output, &job.graph) {
        out::complain(format_args!("error: {error}"));
        return Exit::Usage;
    }
    let rivalry = if args.standby { Rivalry::Standby } else { Rivalry::Await };
    let start = if args.standby { Start::Resume } else { Start::Submit };
    let (listen, workers, lease) = (Listen::At(listen(&args.run)), args.run.workers, args.lease);
    let part = Part::Coordinator { workers: usize::from(workers) };
    let (graph, told) = (job.graph.clone(), Arc::new(OnceLock::new()));
    let newest = told.clone();
    let hosted = host(mounts, part, |env| {
        Box::pin(async move {
            let (ready, mut listening) = Mailbox::new(&env, Site::new("coordinator.listening", 0));
            let (statistics, mut posted) = Mailbox::new(&env, Site::new("coordinator.statistics", 0));
            let (ready, statistics) = (Some(ready), Some(statistics));
            let spare = true;
            let options =
                CoordinatorOptions { listen, workers, spare, start, rivalry, lease, ready, statistics, secret };
            let mut leading = pin!(coordinator::run(env.clone(), job, options));
            match race(leading.as_mut(), pin!(listening.take())).await {
                Either::First(end) => return end,
                Either::Second(address) => out::say(address),
            }
            let end = leading.await;
            // One that led several times tells of the last.
            if let Some(statistics) = std::iter::from_fn(|| posted.try_take()).last() {
                newest.set(statistics).expect("a coordinator ends once");
            }
            end
        })
    });
    let exit = run::conclude(&args.run, &hosted.progress, hosted.outcome, hosted.took);
    undeleted(&hosted.progress.course()).into_iter().for_each(out::say);
    if let Some(statistics) = told.get() {
        out::say(summary(statistics, &graph));
    }
    exit
}

/// Works for a job until it is over.
pub fn work(args: &WorkerArgs, jobs: &[BuiltIn]) -> Exit {
    let (job, mounts, secret) = match prepare(&args.run, &args.pace, jobs) {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    let options = WorkerOptions {
        worker: WorkerId(args.id),
        coordinators: args.join.clone(),
        listen: listen(&args.run),
        announce: args.announce.clone(),
        secret,
    };
    let hosted =
        host(mounts, Part::Worker, |env: Env| Box::pin(worker::run(args.run.outside(env, jobs), job, options)));
    let (name, id) = (&args.run.job, WorkerId(args.id));
    match hosted.outcome {
        Outcome::Ended(()) => {
            out::say(format_args!("{id} of {name} is done"));
            Exit::Done
        }
        Outcome::Failed(error) => {
            out::complain(format_args!("error: {id} of {name}: {error}"));
            Exit::of(&error)
        }
        Outcome::Panicked(message) => {
            out::complain(format_args!("error: a bug stopped {id} of {name}: {message}"));
            Exit::Panicked
        }
        Outcome::Interrupted => {
            out::complain(format_args!(
                "{id} of {name} was interrupted; the job goes on once there are enough workers again"
            ));
            Exit::Interrupted
        }
    }
}

fn listen(args: &RunArgs) -> String {
    args.listen.clone().unwrap_or_else(|| LOOPBACK.to_owned())
}

/// The job, its folders and its secret, or the exit of a command line that is wrong.
fn prepare(args: &RunArgs, pace: &PaceArgs, jobs: &[BuiltIn]) -> Result<(Job, Mounts, Secret), Exit> {
    let prepared = args.prepare(jobs).and_then(|(job, folders)| {
        let mounts = folders.share(&job.graph.name)?;
        Ok((job, mounts, args.secret()?))
    });
    let (mut job, mounts, secret) = prepared.map_err(|error| {
        out::complain(format_args!("error: {error}"));
        Exit::Usage
    })?;
    job.config.heartbeat_timeout = pace.silence;
    job.config.heartbeat_interval = pace.silence / HEARTBEATS;
    Ok((job, mounts, secret))
}

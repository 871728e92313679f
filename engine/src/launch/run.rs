//! `run`: coordinator and workers as tasks of this one process, talking TCP as they would between machines.
//!
//! 1. Check the command line and the folders; nothing has happened yet.
//! 2. Start the coordinator; once it says where it listens, start the workers.
//! 3. Show progress until the coordinator ends, a task panics or the user interrupts.
//!
//! Stopping at any moment is safe, gently or by `kill -9`: the next run goes on from the latest completed checkpoint.
//! That is why an interruption simply leaves.

use super::exit::Exit;
use super::folders::Folders;
use super::show::{LOOK_EVERY, Show};
use crate::config::{CheckpointConfig, JobConfig};
use crate::door::{BoxFuture, Env, Site};
use crate::error::{Error, Result};
use crate::graph::Job;
use crate::ids::WorkerId;
use crate::jobs::{BuiltIn, JobParameters};
use crate::os::spawner::TokioSpawner;
use crate::os::trace::{Progress, TracingTrace};
use crate::runtime::coordinator::{self, CoordinatorOptions, JobEnd};
use crate::runtime::mailbox::{Either, Mailbox, race};
use crate::runtime::worker::{self, WorkerOptions};
use clap::Args;
use futures_util::future::select_all;
use indicatif::{HumanCount, HumanDuration};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

pub(super) const HELP: &str = "\
Examples:
  run word-count --input book.txt --output out --checkpoints chk
  run word-count --input books/ --output out --checkpoints chk --parallelism 4 --interval 200ms
  run keyed-sum --records 50000000 --output out --checkpoints chk

Run the same command again after a crash or an interruption: it goes on from the latest completed checkpoint.
COFFERDAM_LOG=cofferdam=info shows what happens (debug: each step of a checkpoint; trace: each batch).

Exit codes: 0 finished, 1 the job failed, 2 wrong usage, 3 fenced, 4 corrupt checkpoint, 101 a bug, 130 interrupted";

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Which job
    pub job: String,
    /// What to read: a file, or a folder with everything in it
    #[arg(long, value_name = "FILE_OR_FOLDER")]
    pub input: Option<PathBuf>,
    /// Where output goes; made if need be
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Where checkpoints go; made if need be
    #[arg(long, value_name = "DIR")]
    pub checkpoints: PathBuf,
    /// Subtasks of every operator; the same in every run of a job
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub parallelism: u16,
    /// Time from one checkpoint to the next, as in 200ms, 1s, 2m
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = positive_duration)]
    pub interval: Duration,
    /// Give a checkpoint up after this long
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = positive_duration)]
    pub timeout: Duration,
    /// Completed checkpoints to keep
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub retain: u64,
    /// Workers to spread the subtasks over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub workers: u16,
    /// Where the coordinator listens; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", value_parser = host_and_port)]
    pub listen: String,
    /// Records that each subtask of a generated source makes
    #[arg(long, value_name = "N")]
    pub records: Option<u64>,
    /// Different keys in generated records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: Option<u64>,
    /// Time between two batches of a generated source, to slow it down
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    pub pace: Option<Duration>,
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(e) => Err(format!("{e}; write 200ms, 1s or 2m")),
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("write HOST:PORT, such as 127.0.0.1:6123".to_owned()),
    }
}

/// Runs a job to its end.
pub fn run(args: &RunArgs, jobs: &[BuiltIn]) -> Exit {
    let (job, folders) = match prepare(args, jobs) {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::Usage;
        }
    };
    let mounts = match folders.mount(&job.graph.name) {
        Ok(mounts) => mounts,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::Usage;
        }
    };
    let progress = Arc::new(Progress::default());
    let mut show = Show::new(progress.clone());
    log_to(&show);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("error: cannot start the runtime: {e}");
            return Exit::Failed;
        }
    };
    let (outcome, took) = runtime.block_on(async {
        let spawner = Arc::new(TokioSpawner::default());
        let env = crate::os::env(mounts, Arc::new(TracingTrace::feeding(progress.clone())));
        let env = Env { spawner: spawner.clone(), ..env };
        let started = env.clock.now();
        let outcome = attend(&env, &spawner, job, args, &mut show).await;
        (outcome, env.clock.now().since(started))
    });
    show.clear();
    // Whatever is still being written may or may not arrive, as with a crash.
    runtime.shutdown_background();
    conclude(args, &progress, outcome, took)
}

fn prepare(args: &RunArgs, jobs: &[BuiltIn]) -> Result<(Job, Folders)> {
    let Some(found) = jobs.iter().find(|job| job.name == args.job) else {
        let known: Vec<&str> = jobs.iter().map(|job| job.name).collect();
        return Err(Error::give_up(format!("there is no job {}; the jobs are {}", args.job, known.join(", "))));
    };
    match (&args.input, found.reads_input) {
        (None, true) => return Err(Error::give_up(format!("job {} reads input: say --input", args.job))),
        (Some(_), false) => return Err(Error::give_up(format!("job {} makes its own input: drop --input", args.job))),
        (Some(_), true) | (None, false) => {}
    }
    let defaults = JobParameters::default();
    let config = JobConfig {
        checkpoints: CheckpointConfig {
            interval: args.interval,
            timeout: args.timeout,
            retained: usize::try_from(args.retain).unwrap_or(usize::MAX),
            ..defaults.config.checkpoints
        },
        ..defaults.config
    };
    let parameters = JobParameters {
        parallelism: args.parallelism,
        records: args.records.unwrap_or(defaults.records),
        keys: args.keys.unwrap_or(defaults.keys),
        interval: args.pace.unwrap_or(defaults.interval),
        config,
        ..defaults
    };
    let folders =
        Folders { input: args.input.clone(), output: args.output.clone(), checkpoints: args.checkpoints.clone() };
    Ok(((found.build)(&parameters)?, folders))
}

fn log_to(show: &Show) {
    let filter =
        EnvFilter::builder().with_env_var("COFFERDAM_LOG").with_default_directive(tracing::Level::ERROR.into());
    let writer = show.log_writer();
    // Fails if the binary that embeds us has set up its own: then that one is meant.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter.from_env_lossy())
        .with_writer(move || writer.clone())
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

/// How a run ended.
enum Outcome {
    Ended(JobEnd),
    Failed(Error),
    Panicked(String),
    Interrupted,
}

/// Runs the job and watches everything that may end it.
async fn attend(env: &Env, spawner: &TokioSpawner, job: Job, args: &RunArgs, show: &mut Show) -> Outcome {
    let interruption = match Interruption::listen() {
        Ok(interruption) => interruption,
        Err(e) => return Outcome::Failed(Error::give_up(format!("cannot listen for signals: {e}"))),
    };
    let started = env.clock.now();
    let job = async {
        match lead_and_work(env, job, args).await {
            Ok(end) => Outcome::Ended(end),
            Err(error) => Outcome::Failed(error),
        }
    };
    let panicked = async { Outcome::Panicked(spawner.panicked().await) };
    let interrupted = async {
        interruption.arrived().await;
        Outcome::Interrupted
    };
    let ends: [BoxFuture<'_, Outcome>; 3] = [Box::pin(job), Box::pin(panicked), Box::pin(interrupted)];
    let mut ended = select_all(ends);
    loop {
        match race(&mut ended, env.sleep(LOOK_EVERY)).await {
            Either::First((outcome, _, _)) => return outcome,
            Either::Second(()) => show.look(env.clock.now().since(started)),
        }
    }
}

/// What the tasks of a run say when they end.
enum Ended {
    Coordinator(Result<JobEnd>),
    Worker(Result<()>),
}

async fn lead_and_work(env: &Env, job: Job, args: &RunArgs) -> Result<JobEnd> {
    let (ended, mut mailbox) = Mailbox::new(env, Site::new("run", 0));
    let (ready, mut listening) = Mailbox::new(env, Site::new("run.listening", 0));
    let options = CoordinatorOptions { listen: args.listen.clone(), workers: args.workers, ready: Some(ready) };
    let leading = coordinator::run(env.clone(), job.clone(), options);
    let reply = ended.clone();
    let task = Box::pin(async move { reply.post(Ended::Coordinator(leading.await)) });
    env.spawner.spawn(Site::new("run.coordinator", 0), task);
    let coordinator = match race(pin!(mailbox.take()), pin!(listening.take())).await {
        Either::First(Ended::Coordinator(end)) => return end,
        Either::First(Ended::Worker(_)) => unreachable!("no worker has been started"),
        Either::Second(address) => address,
    };
    for worker in (0..args.workers).map(WorkerId) {
        let options = WorkerOptions { worker, coordinator: coordinator.clone(), listen: "127.0.0.1:0".to_owned() };
        let working = worker::run(env.clone(), job.clone(), options);
        let reply = ended.clone();
        let task = Box::pin(async move { reply.post(Ended::Worker(working.await)) });
        env.spawner.spawn(Site::new("run.worker", u64::from(worker.0)), task);
    }
    loop {
        match mailbox.take().await {
            Ended::Coordinator(end) => return end,
            // The coordinator told it to go, and ends by itself.
            Ended::Worker(Ok(())) => {}
            Ended::Worker(Err(error)) => return Err(error),
        }
    }
}

/// Ctrl-C, and the signal by which a service manager or `kill` asks to stop.
struct Interruption {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Interruption {
    #[cfg(unix)]
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(unix)]
    async fn arrived(mut self) {
        race(pin!(self.interrupt.recv()), pin!(self.terminate.recv())).await;
    }

    #[cfg(not(unix))]
    fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn arrived(self) {
        // Without a handler Ctrl-C simply ends the process, which is safe as well.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn conclude(args: &RunArgs, progress: &Progress, outcome: Outcome, took: Duration) -> Exit {
    let (job, output, course) = (&args.job, args.output.display(), progress.course());
    let from = course.last_completed.map(|last| last.checkpoint).or(course.resumed_from);
    let from = from.map_or(String::new(), |checkpoint| format!(" from {checkpoint}"));
    let again = format!("run the same command again to go on{from}");
    match outcome {
        Outcome::Ended(JobEnd::Finished { checkpoint }) => {
            println!(
                "{job} finished with {checkpoint}: {} records in {}, {} checkpoints, {} failed attempts; its output is in {output}",
                HumanCount(progress.records()),
                human(took),
                course.completed,
                course.failures,
            );
            Exit::Done
        }
        Outcome::Ended(JobEnd::AlreadyFinished { checkpoint }) => {
            println!("{job} had finished before, with {checkpoint}; its output is in {output}");
            Exit::Done
        }
        Outcome::Failed(error) => {
            let exit = Exit::of(&error);
            match exit {
                Exit::Fenced => eprintln!("fenced: {error}: another run of {job} has taken over, this one stopped"),
                Exit::Done | Exit::Failed | Exit::Usage | Exit::Corrupt | Exit::Panicked | Exit::Interrupted => {
                    eprintln!("error: {job} failed: {error}");
                }
            }
            exit
        }
        Outcome::Panicked(message) => {
            eprintln!("error: a bug stopped {job}: {message}; nothing is lost, {again}");
            Exit::Panicked
        }
        Outcome::Interrupted => {
            eprintln!("{job} was interrupted; nothing is lost, {again}");
            Exit::Interrupted
        }
    }
}

/// A duration for people: exact while it is short.
fn human(duration: Duration) -> String {
    if duration < Duration::from_secs(100) {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    HumanDuration(duration).to_string()
}

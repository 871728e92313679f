//! `run`: coordinator and workers as tasks of this one process, talking TCP as they would between machines.
//!
//! 1. Check the command line ([`options`](super::options)) and the folders ([`folders`](super::folders)); nothing has
//!    happened yet.
//! 2. Start the coordinator; once it says where it listens, start the workers.
//! 3. Wait for the coordinator to end ([`host`] shows progress, and watches for panics and the user).
//!
//! Stopping at any moment is safe, gently or by `kill -9`: the next run goes on from the latest completed checkpoint.
//! That is why an interruption simply leaves.

use super::exit::Exit;
use super::fit;
use super::host::{Outcome, host};
use super::options::RunArgs;
use super::out;
use super::show::{Part, summary, undeleted};
use crate::cores::statistics::Statistics;
use crate::door::{BoxFuture, Env, Site};
use crate::error::Result;
use crate::graph::Job;
use crate::ids::WorkerId;
use crate::jobs::BuiltIn;
use crate::os::trace::Progress;
use crate::runtime::coordinator::{self, CoordinatorOptions, JobEnd, LEASE, Rivalry, Start};
use crate::runtime::mailbox::{Either, Mailbox, race};
use crate::runtime::worker::{self, WorkerOptions};
use indicatif::{HumanCount, HumanDuration};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Runs a job to its end.
pub fn run(args: &RunArgs, jobs: &[BuiltIn]) -> Exit {
    let (job, folders) = match args.prepare(jobs) {
        Ok(prepared) => prepared,
        Err(error) => {
            out::complain(format_args!("error: {error}"));
            return Exit::Usage;
        }
    };
    let fits = fit::check(&folders.checkpoints, &job.graph);
    let mounts = match fits.and_then(|()| folders.mount(&job.graph.name)) {
        Ok(mounts) => mounts,
        Err(error) => {
            out::complain(format_args!("error: {error}"));
            return Exit::Usage;
        }
    };
    let (own, graph) = (args.clone(), job.graph.clone());
    let told = Arc::new(OnceLock::new());
    let statistics = told.clone();
    let work = |env| -> BoxFuture<'static, _> {
        let env = args.outside(env, jobs);
        Box::pin(async move { lead_and_work(&env, job, &own, &statistics).await })
    };
    let hosted = host(mounts, Part::Whole, work);
    let exit = conclude(args, &hosted.progress, hosted.outcome, hosted.took);
    if let Some(statistics) = told.get().filter(|statistics| statistics.counts().triggered > 0) {
        out::say(summary(statistics, &graph));
    }
    undeleted(&hosted.progress.course()).into_iter().for_each(out::say);
    exit
}

/// What the tasks of a run say when they end.
enum Ended {
    Coordinator(Result<JobEnd>),
    Worker(Result<()>),
}

/// Leaves the statistics of its checkpoints in `told` when the coordinator ends.
async fn lead_and_work(env: &Env, job: Job, args: &RunArgs, told: &OnceLock<Statistics>) -> Result<JobEnd> {
    let (statistics, mut posted) = Mailbox::new(env, Site::new("run.statistics", 0));
    let (ended, mut mailbox) = Mailbox::new(env, Site::new("run", 0));
    let (ready, mut listening) = Mailbox::new(env, Site::new("run.listening", 0));
    let options = CoordinatorOptions {
        listen: args.listen.clone(),
        workers: args.workers,
        start: Start::Submit,
        rivalry: Rivalry::Depose,
        lease: LEASE,
        ready: Some(ready),
        statistics: Some(statistics),
    };
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
        let options = WorkerOptions {
            worker,
            coordinators: vec![coordinator.clone()],
            listen: "127.0.0.1:0".to_owned(),
            announce: None,
        };
        let working = worker::run(env.clone(), job.clone(), options);
        let reply = ended.clone();
        let task = Box::pin(async move { reply.post(Ended::Worker(working.await)) });
        env.spawner.spawn(Site::new("run.worker", u64::from(worker.0)), task);
    }
    loop {
        match mailbox.take().await {
            Ended::Coordinator(end) => {
                if let Some(statistics) = posted.try_take() {
                    told.set(statistics).expect("one coordinator runs, and ends once");
                }
                return end;
            }
            // The coordinator told it to go, and ends by itself.
            Ended::Worker(Ok(())) => {}
            Ended::Worker(Err(error)) => return Err(error),
        }
    }
}

/// Says how the job ended.
pub(super) fn conclude(args: &RunArgs, progress: &Progress, outcome: Outcome<JobEnd>, took: Duration) -> Exit {
    let (job, output, course) = (&args.job, args.output.display(), progress.course());
    let from = course.last_completed.map(|last| last.checkpoint).or(course.resumed_from);
    let from = from.map_or(String::new(), |checkpoint| format!(" from {checkpoint}"));
    let again = format!("run the same command again to go on{from}");
    match outcome {
        Outcome::Ended(JobEnd::Finished { checkpoint }) => {
            out::say(format_args!(
                "{job} finished with {checkpoint}: {} records in {}, {} checkpoints, {} failed attempts; its output is in {output}",
                HumanCount(progress.records()),
                human(took),
                course.completed,
                course.failures,
            ));
            Exit::Done
        }
        Outcome::Ended(JobEnd::AlreadyFinished { checkpoint }) => {
            out::say(format_args!("{job} had finished before, with {checkpoint}; its output is in {output}"));
            Exit::Done
        }
        Outcome::Ended(JobEnd::Cancelled) => {
            out::complain(format_args!("{job} was cancelled"));
            Exit::Failed
        }
        Outcome::Failed(error) => {
            let exit = Exit::of(&error);
            match exit {
                Exit::Fenced => out::complain(format_args!(
                    "fenced: {error}: another run of {job} has taken over, this one stopped"
                )),
                Exit::Done
                | Exit::Failed
                | Exit::Usage
                | Exit::Corrupt
                | Exit::Unknown
                | Exit::Panicked
                | Exit::Interrupted => {
                    out::complain(format_args!("error: {job} failed: {error}"));
                }
            }
            exit
        }
        Outcome::Panicked(message) => {
            out::complain(format_args!("error: a bug stopped {job}: {message}; nothing is lost, {again}"));
            Exit::Panicked
        }
        Outcome::Interrupted => {
            out::complain(format_args!("{job} was interrupted; nothing is lost, {again}"));
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

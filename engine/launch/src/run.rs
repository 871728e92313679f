//! `run`: coordinator and workers as tasks of this one process, talking through sockets as they would between machines.
//!
//! 1. Check the command line ([`options`](super::options)) and the folders ([`folders`](super::folders)); nothing has
//!    happened yet.
//! 2. Start the coordinator; once it leads and says where it listens, start the workers. Unless told otherwise that is a socket
//!    that only this user can reach (`rendezvous`): clients find it through the checkpoints.
//! 3. Wait for the coordinator to end ([`host`] shows progress, and watches for panics and the user).
//!
//! Stopping at any moment is safe, gently or by `kill -9`: the next run goes on from the latest completed checkpoint.
//! That is why an interruption simply leaves.

use super::exit::Exit;
use super::fit;
use super::host::{Outcome, host};
use super::latest::{latest, newest};
use super::options::{LOOPBACK, RunArgs};
use super::out;
#[cfg(unix)]
use super::rendezvous::{self, Rendezvous};
use super::show::{Part, summary, undeleted};
use cofferdam_engine::cores::statistics::Statistics;
use cofferdam_engine::door::{BoxFuture, Env, Site};
use cofferdam_engine::error::Result;
use cofferdam_engine::graph::Job;
use cofferdam_engine::ids::{CheckpointId, WorkerId};
use cofferdam_engine::jobs::BuiltIn;
use cofferdam_engine::os::trace::Progress;
use cofferdam_engine::runtime::coordinator::{self, CoordinatorOptions, JobEnd, LEASE, Listen, Rivalry, Start};
use cofferdam_engine::runtime::mailbox::{Either, Mailbox, race};
use cofferdam_engine::runtime::worker::{self, WorkerOptions};
use cofferdam_engine::secret::Secret;
use indicatif::{HumanCount, HumanDuration};
use std::fmt::Display;
use std::path::Path;
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
    let fits = fit::check(&folders.checkpoints, &folders.output, &job.graph);
    let mounts = match fits.and_then(|()| folders.share(&job.graph.name)) {
        Ok(mounts) => mounts,
        Err(error) => {
            out::complain(format_args!("error: {error}"));
            return Exit::Usage;
        }
    };
    let secret = match args.secret() {
        Ok(secret) => secret,
        Err(error) => {
            out::complain(format_args!("error: {error}"));
            return Exit::Usage;
        }
    };
    let meeting = match Meeting::of(args) {
        Ok(meeting) => meeting,
        Err(error) => {
            out::complain(format_args!("error: {error}"));
            return Exit::Failed;
        }
    };
    let (own, graph) = (args.clone(), job.graph.clone());
    let told = Arc::new(OnceLock::new());
    let statistics = told.clone();
    let place = meeting.clone();
    let work = |env| -> BoxFuture<'static, _> {
        let env = args.outside(env, jobs);
        Box::pin(async move { lead_and_work(&env, job, &own, (secret, place), &statistics).await })
    };
    let hosted = host(mounts, Part::Whole, work);
    meeting.close(&args.checkpoints);
    let exit = conclude(args, &hosted.progress, hosted.outcome, hosted.took);
    if let Some(statistics) = told.get().filter(|statistics| statistics.counts().triggered > 0) {
        out::say(summary(statistics, &graph));
    }
    undeleted(&hosted.progress.course()).into_iter().for_each(out::say);
    exit
}

/// Where the parts of a run and its clients meet.
#[derive(Clone)]
enum Meeting {
    /// At a port.
    Port(String),
    /// In a private folder; and where in it, once the coordinator leads.
    #[cfg(unix)]
    Private(Rendezvous, Arc<OnceLock<String>>),
}

impl Meeting {
    fn of(args: &RunArgs) -> Result<Self> {
        match &args.listen {
            Some(listen) => Ok(Self::Port(listen.clone())),
            #[cfg(unix)]
            None => Ok(Self::Private(Rendezvous::open()?, Arc::default())),
            #[cfg(not(unix))]
            None => Ok(Self::Port(LOOPBACK.to_owned())),
        }
    }

    fn listen(&self) -> Listen {
        match self {
            Self::Port(address) => Listen::At(address.clone()),
            #[cfg(unix)]
            Self::Private(rendezvous, _) => Listen::OnceLeading { folder: rendezvous.address() },
        }
    }

    fn of_worker(&self, coordinator: &str, worker: u16) -> String {
        match self {
            Self::Port(_) => LOOPBACK.to_owned(),
            #[cfg(unix)]
            Self::Private(..) => rendezvous::of_worker(coordinator, worker),
        }
    }

    /// The coordinator leads and listens.
    fn opened(&self, coordinator: &str) {
        match self {
            Self::Port(_) => {}
            #[cfg(unix)]
            Self::Private(rendezvous, address) => {
                rendezvous.sweep(coordinator);
                address.set(coordinator.to_owned()).expect("a run has one coordinator");
            }
        }
    }

    /// The run is over, however it ended. One that did not lead found the job over, or another leader.
    fn close(&self, checkpoints: &Path) {
        match self {
            Self::Port(_) => {}
            #[cfg(unix)]
            Self::Private(rendezvous, address) => match address.get() {
                Some(own) => rendezvous.close(own),
                None => newest(checkpoints).into_iter().for_each(|(log, _)| rendezvous.sweep_all(log)),
            },
        }
    }
}

/// What the tasks of a run say when they end.
enum Ended {
    Coordinator(Result<JobEnd>),
    Worker(Result<()>),
}

/// Leaves the statistics of its checkpoints in `told` when the coordinator ends.
async fn lead_and_work(
    env: &Env,
    job: Job,
    args: &RunArgs,
    (secret, meeting): (Secret, Meeting),
    told: &OnceLock<Statistics>,
) -> Result<JobEnd> {
    let (statistics, mut posted) = Mailbox::new(env, Site::new("run.statistics", 0));
    let (ended, mut mailbox) = Mailbox::new(env, Site::new("run", 0));
    let (ready, mut listening) = Mailbox::new(env, Site::new("run.listening", 0));
    let options = CoordinatorOptions {
        listen: meeting.listen(),
        workers: args.workers,
        spare: false,
        start: Start::Submit,
        rivalry: Rivalry::Depose,
        lease: LEASE,
        ready: Some(ready),
        statistics: Some(statistics),
        secret: secret.clone(),
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
    meeting.opened(&coordinator);
    for worker in (0..args.workers).map(WorkerId) {
        let options = WorkerOptions {
            worker,
            coordinators: vec![coordinator.clone()],
            listen: meeting.of_worker(&coordinator, worker.0),
            announce: None,
            secret: secret.clone(),
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
    let again = || again(from, latest(&args.checkpoints), args.checkpoints.display());
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
            out::say(format_args!("{job} had finished before, with {checkpoint}"));
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
            out::complain(format_args!("error: a bug stopped {job}: {message}; {}", again()));
            Exit::Panicked
        }
        Outcome::Interrupted => {
            out::complain(format_args!("{job} was interrupted; {}", again()));
            Exit::Interrupted
        }
    }
}

/// What is left of a run that stopped early: it came to checkpoint `from`, and in the folder `found` is the latest.
fn again(from: Option<CheckpointId>, found: Result<Option<CheckpointId>>, folder: impl Display) -> String {
    match (from, found) {
        (_, Ok(Some(checkpoint))) => {
            format!("nothing is lost, run the same command again to go on from {checkpoint}")
        }
        (None, Ok(None)) => {
            "no checkpoint has completed, run the same command again to begin from the start".to_owned()
        }
        (Some(checkpoint), Ok(None)) => {
            format!("{checkpoint} had completed, but there is no checkpoint in {folder} any more")
        }
        (_, Err(error)) => format!("it cannot go on from its latest checkpoint: {error}"),
    }
}

/// A duration for people: exact while it is short.
fn human(duration: Duration) -> String {
    if duration < Duration::from_secs(100) {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    HumanDuration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_engine::error::Error;

    #[test]
    fn nothing_is_lost_is_said_only_when_it_is_true() {
        let seven = Some(CheckpointId(7));
        let promises = |from, found| again(from, found, "chk").starts_with("nothing is lost");
        assert!(promises(seven, Ok(seven)) && promises(None, Ok(seven)));
        assert!(!promises(seven, Ok(None)) && !promises(None, Ok(None)));
        assert!(!promises(seven, Err(Error::corrupt("chk/chk-7/a does not exist"))));
    }
}

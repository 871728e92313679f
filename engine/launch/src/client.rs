//! `checkpoint`, `cancel` and `status`: what may be wanted of a job that runs, wherever it runs.
//!
//! Every address is tried in turn until one leads. A client proves to know the secret of the job, which lies in the checkpoint
//! folder or in a file that is named; of the folder the client also learns where the leader listens. Nothing else is needed.
//! A request whose answer was lost is reported as that, with an exit code of its own: it may have been fulfilled.

use super::exit::Exit;
use super::folders::fetch;
#[cfg(unix)]
use super::latest::newest;
use super::options::host_and_port;
use super::out;
use super::policy::positive_duration;
#[cfg(unix)]
use super::rendezvous;
use super::secrets;
use clap::Args;
use cofferdam_engine::cores::lease::Standing;
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::messages::client::{Answer, JobState, JobStatus, Wish};
use cofferdam_engine::os::mount::{Mounts, Names};
use cofferdam_engine::os::trace::TracingTrace;
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::sign::Sign;
use cofferdam_engine::reason::Ended;
use cofferdam_engine::runtime::client::{ClientOptions, NoReply, Reply, ask};
use cofferdam_engine::secret::Secret;
use indicatif::HumanBytes;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(super) const CHECKPOINT_HELP: &str = "\
Examples:
  checkpoint --checkpoints chk
  checkpoint --coordinator 127.0.0.1:6123,127.0.0.1:6124 --secret-file secret --timeout 1m

Waits until the checkpoint is durable. It is triggered after the request arrived, and before any periodic one.

Exit codes: 0 durable, 1 there is none and will be none, or nobody leads, 2 wrong usage, 5 nobody knows: the answer was lost";

pub(super) const CANCEL_HELP: &str = "\
Examples:
  cancel --checkpoints chk
  cancel --coordinator 127.0.0.1:6123,127.0.0.1:6124 --secret-file secret

Waits until the end of the job is durable. Its checkpoints stay if it was started with --retain on-cancellation or always:
then the same job, started again, goes on from the newest.

Exit codes: 0 cancelled, 1 it had ended otherwise, or nobody leads, 2 wrong usage, 5 nobody knows: the answer was lost";

pub(super) const STATUS_HELP: &str = "\
Examples:
  status --checkpoints chk
  status --coordinator 127.0.0.1:6123,127.0.0.1:6124 --secret-file secret --json | jq .state

Exit codes: 0 told, 1 nobody leads, 2 wrong usage";

/// Options of `checkpoint` and `cancel`.
#[derive(Args, Clone, Debug)]
pub struct ClientArgs {
    /// The checkpoints of the job, which say where its coordinator listens, and hold its secret
    #[arg(long, value_name = "DIR", required_unless_present = "coordinator")]
    checkpoints: Option<PathBuf>,
    /// Where coordinators listen, separated by commas
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',', value_parser = host_and_port)]
    coordinator: Vec<String>,
    /// The secret of the job, if it was started with this option
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Wait no longer than this for the answer
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = positive_duration)]
    timeout: Duration,
    /// Silence after which a coordinator counts as dead
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    silence: Duration,
}

/// Options of `status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ClientArgs {
    /// Where to ask.
    fn coordinators(&self) -> Result<Vec<String>> {
        match &self.checkpoints {
            Some(checkpoints) if self.coordinator.is_empty() => Ok(vec![leader(checkpoints)?]),
            Some(_) | None => Ok(self.coordinator.clone()),
        }
    }

    fn secret(&self) -> Result<Secret> {
        match (&self.secret_file, &self.checkpoints) {
            (Some(file), checkpoints) => secrets::of(Some(file), checkpoints.as_deref().unwrap_or(Path::new(""))),
            (None, Some(checkpoints)) => secrets::known(checkpoints)?.ok_or_else(|| {
                Error::give_up(format!(
                    "there is no secret in checkpoints {}: no job was started there, or with --secret-file, which is needed then",
                    checkpoints.display()
                ))
            }),
            (None, None) => Err(Error::give_up(
                "only members of a job may ask: say --checkpoints, or --secret-file if the job was started with it",
            )),
        }
    }
}

/// Where the leader of these checkpoints listens: at the socket that the log names, or where its last sign of life says.
fn leader(checkpoints: &Path) -> Result<String> {
    let folder = checkpoints.display();
    if !checkpoints.is_dir() {
        return Err(Error::give_up(format!("checkpoints {folder} is not a folder")));
    }
    #[cfg(unix)]
    if let Some(address) = newest(checkpoints).and_then(|(log, generation)| rendezvous::find(log, generation)) {
        return Ok(address);
    }
    let bytes = fetch(checkpoints, layout::LEADER)?;
    let sign = bytes.ok_or_else(|| Error::give_up(format!("no coordinator has shown a sign of life in {folder}")))?;
    let names = Names::of([(layout::CHECKPOINTS, checkpoints)]);
    let sign = Sign::decode(&sign).map_err(|error| Error { message: names.as_typed(&error.message), ..error })?;
    match sign.standing {
        Standing::Leads => Ok(sign.address),
        Standing::Resigned => Err(Error::give_up(format!("nobody leads the job of {folder}: it is over"))),
    }
}

/// Has a checkpoint taken.
pub fn checkpoint(args: &ClientArgs) -> Exit {
    request(args, Wish::Checkpoint, |reply| match reply {
        Reply::Answer(Answer::Completed { checkpoint, bytes, duration_ms }) => {
            tell(format_args!("{checkpoint} is durable: {} in {duration_ms} ms\n", HumanBytes(bytes)));
            Exit::Done
        }
        Reply::Answer(Answer::Declined(refusal)) => complain(format_args!("no checkpoint was taken: {refusal}")),
        Reply::Answer(Answer::Over { how, .. }) => {
            complain(format_args!("no checkpoint was taken: the job has {}", ended(&how)))
        }
        Reply::Status(_) => complain(format_args!("the coordinator answered something else")),
    })
}

/// Has the job cancelled.
pub fn cancel(args: &ClientArgs) -> Exit {
    request(args, Wish::Cancel, |reply| match reply {
        Reply::Answer(Answer::Over { how: Ended::Cancelled, kept }) => {
            let kept = kept.map_or("no checkpoint is kept".to_owned(), |kept| format!("{kept} is kept"));
            tell(format_args!("the job is cancelled; {kept}\n"));
            Exit::Done
        }
        Reply::Answer(Answer::Over { how, .. }) => {
            complain(format_args!("it was too late to cancel the job: it has {}", ended(&how)))
        }
        Reply::Answer(Answer::Completed { .. } | Answer::Declined(_)) | Reply::Status(_) => {
            complain(format_args!("the coordinator answered something else"))
        }
    })
}

/// Tells how the job stands.
pub fn status(args: &StatusArgs) -> Exit {
    request(&args.client, Wish::Status, |reply| match reply {
        Reply::Status(status) if args.json => {
            tell(format_args!("{}\n", serde_json::to_string_pretty(&status).expect("a status serialises")));
            Exit::Done
        }
        Reply::Status(status) => {
            tell(format_args!("{}", render(&status)));
            Exit::Done
        }
        Reply::Answer(_) => complain(format_args!("the coordinator answered something else")),
    })
}

fn request(args: &ClientArgs, wish: Wish, on_reply: impl FnOnce(Reply) -> Exit) -> Exit {
    let secret = match args.secret() {
        Ok(secret) => secret,
        Err(error) => {
            complain(format_args!("{error}"));
            return Exit::Usage;
        }
    };
    let coordinators = match args.coordinators() {
        Ok(found) => found,
        Err(error) => return complain(format_args!("{error}")),
    };
    let options = ClientOptions { coordinators, wish, patience: args.timeout, silence: args.silence, secret };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return complain(format_args!("cannot start the runtime: {e}")),
    };
    let reply = runtime.block_on(async {
        let env = cofferdam_engine::os::env(Mounts::default(), Arc::new(TracingTrace::default()));
        ask(&env, &options).await
    });
    match reply {
        Ok(reply) => on_reply(reply),
        Err(NoReply::Unheard(why)) => complain(format_args!("nobody could be asked for {wish}: {why}")),
        Err(NoReply::Unknown(why)) => {
            out::complain(format_args!("error: {wish} was asked for, and nobody knows what has become of it: {why}"));
            Exit::Unknown
        }
    }
}

/// How a job has ended, behind "the job has".
fn ended(how: &Ended) -> String {
    match how {
        Ended::Cancelled => "been cancelled".to_owned(),
        Ended::Finished { .. } | Ended::Failed { .. } => how.to_string(),
    }
}

/// Whoever reads may have seen enough (`| head`): that is no error.
fn tell(text: fmt::Arguments<'_>) {
    let _ = std::io::stdout().write_fmt(text);
}

fn complain(what: fmt::Arguments<'_>) -> Exit {
    out::complain(format_args!("error: {what}"));
    Exit::Failed
}

/// A status for people, a line for each thing.
fn render(status: &JobStatus) -> String {
    let JobStatus {
        job,
        generation,
        attempt,
        state,
        workers,
        workers_missing,
        last_completed,
        pending,
        counts,
        last_failure,
    } = status;
    let list = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let mut text = format!("job          {job}: {state}\n");
    let mut line = |name: &str, what: String| writeln!(text, "{name:<12} {what}").expect("strings can be written");
    if let Some(generation) = generation {
        let attempt = attempt.map_or("no attempt yet".to_owned(), |attempt| format!("attempt {attempt}"));
        line("leadership", format!("{generation}, {attempt}"));
    }
    if !matches!(state, JobState::Ended(_)) {
        let missing = if *workers_missing > 0 { format!("; {workers_missing} missing") } else { String::new() };
        line("workers", format!("{}{missing}", list(workers.iter().map(ToString::to_string).collect())));
        line("pending", list(pending.iter().map(ToString::to_string).collect()));
    }
    line("last durable", last_completed.map_or("none".to_owned(), |checkpoint| checkpoint.to_string()));
    line(
        "checkpoints",
        format!(
            "{} triggered, {} completed, {} failed, {} in progress, {} restored",
            counts.triggered, counts.completed, counts.failed, counts.in_progress, counts.restored
        ),
    );
    if let Some(cause) = last_failure {
        line("last failure", cause.clone());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_engine::ids::{Attempt, CheckpointId, Generation, WorkerId};
    use cofferdam_engine::statistics::Counts;

    #[test]
    fn a_status_tells_whom_the_job_waits_for_and_why_it_failed() {
        let generation = Generation(2);
        let status = JobStatus {
            job: "words".to_owned(),
            generation: Some(generation),
            attempt: Some(Attempt { generation, number: 3 }),
            state: JobState::WaitingForWorkers,
            workers: vec![WorkerId(0), WorkerId(2)],
            workers_missing: 1,
            last_completed: Some(CheckpointId(7)),
            pending: vec![],
            counts: Counts { triggered: 9, completed: 7, failed: 2, ..Counts::default() },
            last_failure: Some("worker-1 is lost".to_owned()),
        };
        let expected = "job          words: waiting for workers\n\
            leadership   g2, attempt a2.3\n\
            workers      worker-0, worker-2; 1 missing\n\
            pending      none\n\
            last durable chk-7\n\
            checkpoints  9 triggered, 7 completed, 2 failed, 0 in progress, 0 restored\n\
            last failure worker-1 is lost\n";
        assert_eq!(render(&status), expected);
    }
}

//! The options of `run`, and the job that they ask for.

use super::folders::Folders;
use super::policy::{PolicyArgs, positive_duration};
use super::secrets;
use clap::Args;
use cofferdam_engine::door::Env;
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::graph::Job;
use cofferdam_engine::jobs::{BuiltIn, JobParameters};
use cofferdam_engine::os::external::Clients;
use cofferdam_engine::secret::Secret;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) const HELP: &str = "\
Examples:
  run word-count --input book.txt --output out --checkpoints chk
  run word-count --input books/ --output out --checkpoints chk --parallelism 4 --interval 200ms
  run keyed-sum --records 50000000 --output out --checkpoints chk --retain always --restart fixed:10:1s

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
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Workers to spread the subtasks over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub workers: u16,
    /// Where to listen; port 0 picks a free one. Otherwise a coordinator and a worker listen on 127.0.0.1:0, and `run` on a
    /// socket that only this user can reach
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub listen: Option<String>,
    /// What every process of the job and every client knows, and nobody else: at least 16 bytes. Without this option a secret
    /// is drawn and kept with the checkpoints, and who can read that is a member of the job
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Records that each subtask of a generated source makes
    #[arg(long, value_name = "N")]
    pub records: Option<u64>,
    /// Different keys in generated records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: Option<u64>,
    /// Time between two batches of a source, to slow it down
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    pub pace: Option<Duration>,
}

/// Where a process listens that was not told.
pub(super) const LOOPBACK: &str = "127.0.0.1:0";

pub(super) fn host_and_port(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("write HOST:PORT, such as 127.0.0.1:6123".to_owned()),
    }
}

impl RunArgs {
    /// The outside of a process that runs subtasks: with the systems that the job writes to.
    pub(super) fn outside(&self, env: Env, jobs: &[BuiltIn]) -> Env {
        let found = jobs.iter().find(|job| job.name == self.job);
        let clients = found.map_or_else(Clients::default, |job| (job.clients)());
        Env { externals: Arc::new(clients), ..env }
    }

    /// What members of the job know. Draws it if need be: the checkpoint folder must be there.
    pub(super) fn secret(&self) -> Result<Secret> {
        if let Some(listen) = self.listen.as_ref().filter(|listen| self.secret_file.is_none() && reaches_out(listen)) {
            return Err(Error::give_up(format!(
                "--listen {listen} lets other machines in: say --secret-file, with the same secret for every process of the job"
            )));
        }
        secrets::of(self.secret_file.as_deref(), &self.checkpoints)
    }

    /// The job that the options ask for, and its folders.
    pub(super) fn prepare(&self, jobs: &[BuiltIn]) -> Result<(Job, Folders)> {
        let Some(found) = jobs.iter().find(|job| job.name == self.job) else {
            let known: Vec<&str> = jobs.iter().map(|job| job.name).collect();
            return Err(Error::give_up(format!("there is no job {}; the jobs are {}", self.job, known.join(", "))));
        };
        match (&self.input, found.reads_input) {
            (None, true) => return Err(Error::give_up(format!("job {} reads input: say --input", self.job))),
            (Some(_), false) => {
                return Err(Error::give_up(format!("job {} makes its own input: drop --input", self.job)));
            }
            (Some(_), true) | (None, false) => {}
        }
        let defaults = JobParameters::default();
        let config = self.policy.configure(defaults.config)?;
        let parameters = JobParameters {
            parallelism: self.parallelism,
            records: self.records.unwrap_or(defaults.records),
            keys: self.keys.unwrap_or(defaults.keys),
            interval: self.pace.unwrap_or(defaults.interval),
            config,
            ..defaults
        };
        let folders =
            Folders { input: self.input.clone(), output: self.output.clone(), checkpoints: self.checkpoints.clone() };
        Ok(((found.build)(&parameters)?, folders))
    }
}

/// Whether listening there lets other machines in. A name that cannot be resolved will be refused by whoever listens.
fn reaches_out(address: &str) -> bool {
    let outside = |ip: IpAddr| !ip.is_loopback();
    address.to_socket_addrs().is_ok_and(|mut found| found.any(|socket| outside(socket.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_stays_inside() {
        for (address, outside) in
            [("127.0.0.1:0", false), ("[::1]:80", false), ("0.0.0.0:0", true), ("10.1.2.3:9", true)]
        {
            assert_eq!(reaches_out(address), outside, "{address}");
        }
    }
}

//! The jobs that come with the engine, by name, and the parameters that size them. They are examples, the subject of
//! benchmarks, and what the simulator hunts with when it is given no other job.
//!
//! Each job has a *reference*: what its output must be, computed from the same parameters and input by plain sequential
//! code that shares nothing with the engine but the definition of the input.

pub mod join;
pub mod keyed_sum;
pub mod word_count;

use crate::config::JobConfig;
use crate::error::{Error, Result};
use crate::graph::Job;
use crate::job::JobBuilder;
use crate::os::external::Clients;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Every built-in job.
pub const BUILT_IN: [BuiltIn; 3] = [word_count::JOB, join::JOB, keyed_sum::JOB];

/// A job that comes with the engine.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Whether it reads `input`.
    pub reads_input: bool,
    /// Builds it.
    pub build: fn(&JobParameters) -> Result<Job>,
    /// The systems outside that its sinks write to, as each process of it reaches them.
    pub clients: fn() -> Clients,
    /// What its output must be.
    pub reference: Reference,
}

/// The lines of the output below each prefix, sorted, from the parameters and the input objects by path.
pub type Reference = fn(&JobParameters, &BTreeMap<String, Bytes>) -> BTreeMap<String, Vec<String>>;

/// What sizes a built-in job. Every process must be given the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobParameters {
    /// Subtasks of every operator.
    pub parallelism: u16,
    /// How the job runs.
    pub config: JobConfig,
    /// Bytes of a split of text input.
    pub split_bytes: u64,
    /// Bytes read at a time from text input.
    pub chunk_bytes: u64,
    /// Records each subtask of a generator makes.
    pub records: u64,
    /// Time between the bursts of a generator; zero for none.
    pub interval: Duration,
    /// Records of a burst.
    pub burst: usize,
    /// Different keys that generators make; at least 1.
    pub keys: u64,
}

impl Default for JobParameters {
    fn default() -> Self {
        Self {
            parallelism: 1,
            config: JobConfig::default(),
            split_bytes: crate::connectors::lines::SPLIT_BYTES,
            chunk_bytes: crate::connectors::lines::CHUNK_BYTES,
            records: 1_000_000,
            interval: Duration::ZERO,
            burst: 1024,
            keys: 100_000,
        }
    }
}

impl JobParameters {
    fn job(&self, name: &str, define: impl FnOnce(&JobBuilder)) -> Result<Job> {
        let sizes = [self.split_bytes, self.chunk_bytes, self.burst as u64, self.keys];
        if let Some(position) = sizes.iter().position(|size| *size == 0) {
            let name = ["split_bytes", "chunk_bytes", "burst", "keys"][position];
            return Err(Error::give_up(format!("parameter {name} must be at least 1")));
        }
        if self.config.batch_records == 0 {
            return Err(Error::give_up("parameter batch_records must be at least 1"));
        }
        let job = JobBuilder::new(name).parallelism(self.parallelism);
        define(&job);
        Ok(Job { graph: Arc::new(job.build()?), config: self.config.clone() })
    }
}

/// The built-in job of this name; the error lists the names there are.
pub fn find(name: &str) -> Result<&'static BuiltIn> {
    static JOBS: [BuiltIn; 3] = BUILT_IN;
    JOBS.iter().find(|job| job.name == name).ok_or_else(|| {
        let names: Vec<&str> = JOBS.iter().map(|job| job.name).collect();
        Error::give_up(format!("there is no job {name:?}; the jobs are {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests;

//! `keyed-sum`: sums of generated numbers by key, the engine's yardstick.

use super::{BuiltIn, JobParameters};
use crate::connectors::{FileSink, Generator};
use crate::error::Result;
use crate::graph::Job;
use crate::hash::stable_hash;
use crate::job::{Emit, JobBuilder, Sink, Source, Sum};
use crate::os::external::Clients;
use bytes::Bytes;
use std::collections::BTreeMap;

/// `keyed-sum`.
pub const JOB: BuiltIn = BuiltIn {
    name: "keyed-sum",
    about: "sums generated numbers by key; the final sums to output/sums",
    reads_input: false,
    build,
    clients: Clients::default,
    reference,
};

const SUMS: &str = "output/sums";

/// Sums the numbers of `pairs` by key.
pub fn keyed_sum(job: &JobBuilder, pairs: impl Source<Item = (u64, u64)>, sums: impl Sink<(u64, u64)>) {
    job.source("pairs", pairs)
        .key_by(|pair| pair.0)
        .emit(Emit::AtEnd)
        .aggregate("sum", Sum(|pair: &(u64, u64)| pair.1))
        .sink("sums", sums);
}

/// The `index`-th pair of key and number that subtask `subtask` makes.
#[inline]
pub fn pair(keys: u64, subtask: u16, index: u64) -> (u64, u64) {
    let drawn = stable_hash(&(subtask, index));
    (drawn % keys, drawn >> 48)
}

fn build(parameters: &JobParameters) -> Result<Job> {
    parameters.job("keyed-sum", |job| {
        let keys = parameters.keys;
        let pairs = Generator::new(move |subtask, index| pair(keys, subtask, index))
            .records(parameters.records)
            .paced(parameters.interval, parameters.burst);
        let sums = FileSink::new(SUMS, |(key, sum): &(u64, u64), line| {
            line.extend_from_slice(format!("{key} {sum}").as_bytes());
        });
        keyed_sum(job, pairs, sums);
    })
}

/// The same by plain code.
fn reference(parameters: &JobParameters, _: &BTreeMap<String, Bytes>) -> BTreeMap<String, Vec<String>> {
    let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
    for subtask in 0..parameters.parallelism {
        for index in 0..parameters.records {
            let (key, number) = pair(parameters.keys, subtask, index);
            let sum = sums.entry(key).or_default();
            *sum = sum.wrapping_add(number);
        }
    }
    let mut lines: Vec<String> = sums.iter().map(|(key, sum)| format!("{key} {sum}")).collect();
    lines.sort_unstable();
    BTreeMap::from([(SUMS.into(), lines)])
}

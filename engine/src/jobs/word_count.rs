//! `word-count`: every word of the input as it passes, and how often each word came.

use super::{BuiltIn, JobParameters};
use crate::connectors::{FileSink, Text, TextLines};
use crate::error::Result;
use crate::graph::Job;
use crate::job::{Count, Emit, JobBuilder, Sink, Source};
use crate::os::external::Clients;
use bytes::Bytes;
use std::collections::BTreeMap;

/// `word-count`.
pub const JOB: BuiltIn = BuiltIn {
    name: "word-count",
    about: "counts the words of input; every word to output/tokens, the final counts to output/counts",
    reads_input: true,
    build,
    clients: Clients::default,
    reference,
};

const INPUT: &str = "input";
const TOKENS: &str = "output/tokens";
const COUNTS: &str = "output/counts";

/// Counts the words of `lines`.
pub fn word_count(
    job: &JobBuilder,
    lines: impl Source<Item = Text>,
    tokens: impl Sink<Text>,
    counts: impl Sink<(Text, u64)>,
) {
    let words = job
        .source("lines", lines)
        .flat_map("split", |line: Text, words: &mut Vec<Text>| words.extend(line.words()))
        .shared();
    words.clone().sink("tokens", tokens);
    words.key_by(Text::clone).emit(Emit::AtEnd).aggregate("count", Count).sink("counts", counts);
}

fn build(parameters: &JobParameters) -> Result<Job> {
    parameters.job("word-count", |job| {
        let lines = TextLines::new(INPUT)
            .split_bytes(parameters.split_bytes)
            .chunk_bytes(parameters.chunk_bytes)
            .pause(parameters.interval);
        let tokens = FileSink::new(TOKENS, |word: &Text, line| line.extend_from_slice(word.as_bytes()));
        let counts = FileSink::new(COUNTS, |(word, count): &(Text, u64), line| {
            line.extend_from_slice(word.as_bytes());
            line.extend_from_slice(format!(" {count}").as_bytes());
        });
        word_count(job, lines, tokens, counts);
    })
}

/// The same by plain code. Words that are not UTF-8 appear with replacement characters.
fn reference(_: &JobParameters, input: &BTreeMap<String, Bytes>) -> BTreeMap<String, Vec<String>> {
    let mut words = Vec::new();
    for (path, content) in input {
        if path == INPUT || path.starts_with("input/") {
            let parts = content.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
            words.extend(parts.map(|part| String::from_utf8_lossy(part).into_owned()));
        }
    }
    words.sort_unstable();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for word in &words {
        *counts.entry(word).or_default() += 1;
    }
    let mut counts: Vec<String> = counts.iter().map(|(word, count)| format!("{word} {count}")).collect();
    counts.sort_unstable();
    BTreeMap::from([(TOKENS.into(), words), (COUNTS.into(), counts)])
}

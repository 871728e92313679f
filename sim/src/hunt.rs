//! The hunter: fresh seeds on every core, each run in a child process.
//!
//! 1. The parent starts children of the same binary and hands them seeds over their standard input, a few ahead.
//! 2. A child runs them in order and answers each with one line of JSON ([`wire`]).
//! 3. The [`ledger`] decides what to run next and adds up the answers; the [`pool`] owns processes and the clock.
//! 4. A child that says nothing for too long is killed, one that dies is noticed: both cost the one seed that was
//!    running, which is named; the seeds behind it are handed to another child.
//! 5. Every fiftieth seed or so runs again in another process, and the fingerprints are compared.
//!
//! Strategies ([`crate::strategy`]) say what a seed runs; one of them learns from the answers, which the ledger keeps for it.
//!
//! Owns: which seeds run, what the summary says. Does not own: what a run is ([`crate::run`]).
//!
//! Invariant: a seed is counted exactly once, whatever happens to the child that runs it.

pub mod campaign;
pub mod child;
pub mod keep;
pub mod ledger;
pub mod merge;
pub mod pool;
pub mod publish;
pub mod summary;
pub mod wire;
pub mod writable;

use crate::plan::JobKind;
use crate::seed::Seed;
use crate::strategy::Choice;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What to hunt.
#[derive(Clone, PartialEq, Debug)]
pub struct HuntOptions {
    /// The first seed; the others follow it.
    pub first: Seed,
    /// How plans are drawn.
    pub strategy: Choice,
    /// Stop after so many runs in a row that hit no new cell of the coverage.
    pub saturated_after: Option<u64>,
    /// Only seeds whose plan runs this job.
    pub job: Option<JobKind>,
    /// How many seeds to run, unless time is the limit.
    pub seeds: Option<u64>,
    /// How long to run.
    pub time: Option<Duration>,
    /// Of `shards` machines, which one this is: it runs every `shards`-th seed.
    pub shard: Shard,
    /// Failing runs after which to stop.
    pub stop_after: u64,
    /// Child processes.
    pub jobs: usize,
    /// One in how many seeds runs twice; 0 for none.
    pub twice_every: u64,
    /// Silence after which a child is killed.
    pub hang_after: Duration,
    /// Failures that are known, by signature, with the capsule that says so: counted, not reported.
    pub known: BTreeMap<String, PathBuf>,
    /// Whether a person watches.
    pub output: Output,
}

/// Who reads the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// A person: progress on standard error, failures and summary on standard output.
    Text,
    /// A program: one line of JSON a failure, and one for the summary.
    Json,
    /// Nobody: the caller uses the [`ledger::Ledger`].
    Quiet,
}

/// One of several machines that share a hunt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    /// Which, from 0.
    pub index: u64,
    /// Of how many.
    pub of: u64,
}

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, of: 1 };
}

impl std::str::FromStr for Shard {
    type Err = String;

    /// Reads `2/8`: the second of eight, counted from 1.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a shard: expected i/n with 1 <= i <= n, as in 2/8");
        let (index, of) = text.split_once('/').ok_or_else(wrong)?;
        let (index, of): (u64, u64) = (index.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
        if index == 0 || index > of {
            return Err(wrong());
        }
        Ok(Self { index: index - 1, of })
    }
}

/// Reads `90s`, `10m`, `2h` or `1500ms`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration: expected something like 90s, 10m or 2h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit_ms: u64 = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        for text in ["10", "", "m", "1d", "-1s", "99999999999999999999h", "9999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shards_count_from_one() {
        assert_eq!("2/8".parse(), Ok(Shard { index: 1, of: 8 }));
        for text in ["0/8", "9/8", "1", "a/b", "1/0"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}

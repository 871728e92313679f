//! Cofferdam's simulator: a seeded world around the engine, the hunter that searches it for disasters, and the command
//! line.
//!
//! Is *your* job exactly-once? One line in a test asks a few hundred disasters ([`check()`]):
//!
//! ```
//! use cofferdam_engine::connectors::{FileSink, Generator};
//! use cofferdam_engine::job::{Emit, JobBuilder, Sum};
//!
//! fn sums(job: &JobBuilder) {
//!     job.source("numbers", Generator::new(|subtask, n| u64::from(subtask) + n).records(40))
//!         .key_by(|n| n % 7)
//!         .emit(Emit::AtEnd)
//!         .aggregate("sum", Sum(|n: &u64| *n))
//!         .sink("sums", FileSink::new("output/sums", |(key, sum): &(u64, u64), line: &mut Vec<u8>| {
//!             line.extend_from_slice(format!("{key} {sum}").as_bytes());
//!         }));
//! }
//!
//! // In a test that would be all:
//! cofferdam_sim::check(sums).seeds(5).run();
//! ```
//!
//! `cofferdam init` writes the configuration that cargo needs for it. What fails is told, stopped and drawn by variables of the
//! environment, see [`mod@check`]. Sinks to systems outside meet [`external`] models.
//!
//! # The determinism model
//!
//! 1. One number and a generator version decide everything: `g10:0x…` ([`seed`]).
//! 2. From it comes a *plan* ([`plan`]): job, shape, pace, faults. Plain data that a person can read.
//! 3. The *world* ([`world`]) makes every delivery and every free choice. Its randomness is keyed by purpose and logical
//!    coordinate, so that one thing more here moves nothing there.
//! 4. A run ([`run`]) leaves a history; judges read it. Its chained digest is the run's *fingerprint*, equal in every
//!    thread, process and build profile; the hunter ([`hunt`]) checks that on a sample of its seeds.
//!
//! Reading order: [`seed`] → [`plan`] → [`strategy`] → [`run`] → [`hunt`] → [`report`], [`story`] and [`replay`] → [`moment`]
//! and [`page`]; [`mod@check`] for jobs of others. The [`guide`] is for users and extenders.
//!
//! *Invariant:* real time, processes and threads exist in [`hunt`], [`bugs`], [`mod@check`] and [`stopwatch`] only, never inside a run.

pub mod bugs;
pub mod builtin;
pub mod capsule;
pub mod check;
pub mod cli;
pub mod coverage;
pub mod exit;
pub mod explain;
pub mod external;
#[cfg(any(doc, doctest))]
pub mod guide;
pub mod hunt;
pub mod init;
pub mod marks;
pub mod moment;
pub mod page;
pub mod plan;
pub mod replay;
pub mod report;
pub mod run;
pub mod second;
pub mod seed;
pub mod shrink;
pub mod signature;
pub mod stopwatch;
pub mod story;
pub mod strategy;
pub mod tally;
pub mod verdict;

pub use check::check;
pub use cofferdam_world as world;

/// The whole of a binary that hunts the built-in jobs and runs `jobs` for real.
pub fn main(jobs: &[cofferdam_engine::jobs::BuiltIn]) -> std::process::ExitCode {
    cli::main(&builtin::runner(), jobs)
}

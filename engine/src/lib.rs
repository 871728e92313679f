//! Cofferdam's engine: a stream engine with Flink-style checkpoints whose every contact with the world goes
//! through the traits of [`door`].
//!
//! Reading order: [`ids`], [`element`] and [`event`] (what there is) → [`door`] (the outside) → [`order`] (the law) →
//! [`graph`] and [`job`] (what runs) → [`runtime`] and [`cores`] (how) → [`persist`] (what is stored) → [`os`]
//! (the real world). The command line is a crate of its own, `cofferdam-launch`.
//!
//! ```
//! use cofferdam_engine::connectors::{FileSink, Text, TextLines};
//! use cofferdam_engine::job::{Count, JobBuilder};
//!
//! let job = JobBuilder::new("word-count").parallelism(2);
//! job.source("lines", TextLines::new("input"))
//!     .flat_map("split", |line: Text, words: &mut Vec<Text>| words.extend(line.words()))
//!     .key_by(Text::clone)
//!     .aggregate("count", Count)
//!     .sink("counts", FileSink::new("output/counts", |(word, count): &(Text, u64), line| {
//!         line.extend_from_slice(word.as_bytes());
//!         line.extend_from_slice(format!(" {count}").as_bytes());
//!     }));
//! let graph = job.build().expect("a well-formed job");
//! assert_eq!(graph.operators.len(), 3);
//! ```

pub mod codec;
pub mod config;
pub mod conformance;
pub mod connectors;
pub mod cores;
pub mod door;
pub mod element;
pub mod error;
pub mod event;
pub mod external;
pub mod graph;
pub mod hash;
pub mod ids;
pub mod job;
pub mod jobs;
pub mod layout;
pub mod messages;
pub mod order;
pub mod os;
pub mod persist;
pub mod reason;
pub mod runtime;
pub mod secret;
pub mod state;
pub mod statistics;

pub use config::JobConfig;
pub use error::{Error, Reaction, Result};
pub use graph::{Job, JobGraph};

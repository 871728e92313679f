//! Cofferdam's engine: a stream engine with Flink-style checkpoints whose every contact with the world goes
//! through the traits of [`door`].

pub mod config;
pub mod conformance;
pub mod connectors;
pub mod cores;
pub mod door;
pub mod element;
pub mod error;
pub mod event;
pub mod graph;
pub mod hash;
pub mod ids;
pub mod job;
pub mod jobs;
pub mod launch;
pub mod messages;
pub mod os;
pub mod persist;
pub mod runtime;
pub mod state;

pub use config::JobConfig;
pub use error::{Error, Reaction, Result};
pub use graph::{Job, JobGraph};

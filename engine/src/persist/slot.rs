//! A slot of the completed store: one numbered object of an append-only log, created by one conditional write.
//!
//! The coordinator that creates slot *n* decides it. A coordinator takes leadership by creating the next slot, so the
//! next create of its predecessor fails, and the predecessor knows that it is deposed. No other consensus is needed.

use super::{Kind, open, seal};
use crate::codec;
use crate::error::{Error, Result};
use crate::graph::JobGraph;
use crate::ids::{CheckpointId, Generation, LogId};
use crate::reason::Ended;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// 2: a job is recognised by its name alone; 3: every slot carries the id of its log.
const VERSION: u8 = 3;

/// A slot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Slot {
    /// Which log this is an entry of: drawn with entry 1 and copied into every later one, because retention frees entry 1.
    pub log: LogId,
    /// Where the job of this log started from, if that was a snapshot of another log. Copied like the id.
    pub lineage: Option<Lineage>,
    /// The leadership that wrote it.
    pub generation: Generation,
    /// Drawn by the writer, so that it recognises its own write when the outcome was unknown.
    pub token: u64,
    /// Every checkpoint id up to this one may have been used; a new leadership starts above it (order rule O1).
    pub ids_reserved: CheckpointId,
    /// Whose log this is.
    pub job: JobMark,
    /// What it says.
    pub record: SlotRecord,
}

/// The snapshot that a log started from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lineage {
    /// The log that took it.
    pub parent: LogId,
    /// Which checkpoint of that log.
    pub checkpoint: CheckpointId,
}

/// What a job is recognised by: its name. Operators, parallelism and layouts are compared when state is restored
/// (`cores::restore`), which names what differs; a fingerprint here could only say that something does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobMark {
    /// Its name.
    pub name: String,
}

impl JobMark {
    /// Of a graph.
    pub fn of(graph: &JobGraph) -> Self {
        Self { name: graph.name.clone() }
    }
}

impl fmt::Display for JobMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {}", self.name)
    }
}

/// What a slot says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SlotRecord {
    /// The writer leads from here on.
    NewGeneration,
    /// The commit point of a checkpoint.
    Completed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Path of its manifest.
        manifest: String,
        /// The oldest slot that still counts; slots below may be gone, and so may what they name.
        floor: u64,
    },
    /// More checkpoint ids were needed before any completed.
    IdsReserved,
    /// The job is over.
    Ended {
        /// How it ended.
        how: Ended,
        /// The oldest slot that still counts: this one, unless the retention policy keeps the checkpoints.
        floor: u64,
    },
}

impl SlotRecord {
    /// The oldest slot that still counts once this record is durable, if it says so.
    pub fn floor(&self) -> Option<u64> {
        match self {
            Self::Completed { floor, .. } | Self::Ended { floor, .. } => Some(*floor),
            Self::NewGeneration | Self::IdsReserved => None,
        }
    }
}

impl Slot {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        seal(Kind::Slot, VERSION, &bincode::serialize(self).expect("slots serialise"))
    }

    /// A slot from its stored form; `path` names it in errors.
    pub fn decode(path: &str, bytes: &[u8]) -> Result<Self> {
        let payload = open(Kind::Slot, VERSION, path, bytes)?;
        codec::decode(payload).map_err(|e| Error::corrupt(format!("{path} cannot be decoded: {e}")))
    }
}

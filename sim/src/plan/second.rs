//! A second start at the same output: what people do by mistake once a job is over, and what the engine has to refuse.

use serde::{Deserialize, Serialize};
use std::fmt;

/// With which checkpoints the job is started once more. The output is the one that the first start left behind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondStart {
    /// With none: another job on the same output.
    OtherLog,
    /// With a copy that was made when a checkpoint became durable, and is put back. The newest is never chosen.
    OldCopy {
        /// How many checkpoints before the last but one; counted round if there were not so many.
        older: u32,
    },
}

impl fmt::Display for SecondStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherLog => f.write_str("at the same output, with checkpoints of its own"),
            Self::OldCopy { older } => write!(f, "from a copy of the checkpoints, {} before the last", older + 1),
        }
    }
}

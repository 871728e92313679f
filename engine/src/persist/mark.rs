//! Marks at the root of the output: which log owns it, which leaderships have written to it, and up to which checkpoint
//! it is committed. What they mean is decided in [`crate::cores::ownership`].
//!
//! ```text
//! output/log-00000000000000a7   the log that this output belongs to
//! output/generation-3           the third leadership of that log owns the output, by the token of its claim
//! output/completed-7            chk-7 is durable in that log: what belongs to it may be visible
//! ```
//!
//! Invariant: a mark is created, never overwritten. Log and generation marks stay for as long as the output does.

use super::{Kind, layout, open, seal};
use crate::codec;
use crate::error::{Error, Result};
use crate::ids::{CheckpointId, Generation, LogId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

const VERSION: u8 = 1;

/// A mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Mark {
    /// The output belongs to this log.
    Log {
        /// Which log.
        log: LogId,
    },
    /// A leadership owns the output.
    Generation {
        /// Of this log.
        log: LogId,
        /// Which leadership.
        generation: Generation,
        /// The writer's token of the log entry that it leads by. Another copy of the log has another one.
        token: u64,
    },
    /// A checkpoint is durable.
    Completed {
        /// In this log.
        log: LogId,
        /// The leadership that completed it.
        generation: Generation,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
}

/// What a mark is called by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Name {
    /// Of [`Mark::Log`].
    Log(LogId),
    /// Of [`Mark::Generation`].
    Generation(Generation),
    /// Of [`Mark::Completed`].
    Completed(CheckpointId),
}

impl Mark {
    /// Its name.
    pub fn name(&self) -> Name {
        match self {
            Self::Log { log } => Name::Log(*log),
            Self::Generation { generation, .. } => Name::Generation(*generation),
            Self::Completed { checkpoint, .. } => Name::Completed(*checkpoint),
        }
    }

    /// The token of the leadership that it says owns the output.
    pub fn token(&self) -> Option<u64> {
        match self {
            Self::Generation { token, .. } => Some(*token),
            Self::Log { .. } | Self::Completed { .. } => None,
        }
    }

    /// The stored form.
    pub fn encode(&self) -> Bytes {
        seal(Kind::Mark, VERSION, &bincode::serialize(self).expect("marks serialise"))
    }

    /// The mark of this name from its stored form.
    pub fn decode(name: Name, bytes: &[u8]) -> Result<Self> {
        let path = name.path();
        let payload = open(Kind::Mark, VERSION, &path, bytes)?;
        let mark: Self =
            codec::decode(payload).map_err(|e| Error::corrupt(format!("{path} cannot be decoded: {e}")))?;
        if mark.name() != name {
            return Err(Error::corrupt(format!("{path} holds the mark {}", mark.name())));
        }
        Ok(mark)
    }
}

impl Name {
    /// Where the mark lies.
    pub fn path(self) -> String {
        layout::at_output(self)
    }

    /// The mark that lies at `path`, if it is the path of one.
    pub fn of(path: &str) -> Option<Self> {
        let name = layout::below_output(path)?;
        let (kind, value) = name.split_once('-')?;
        let found = match kind {
            "log" => Self::Log(LogId(u64::from_str_radix(value, 16).ok()?)),
            "generation" => Self::Generation(Generation(value.parse().ok()?)),
            "completed" => Self::Completed(CheckpointId(value.parse().ok()?)),
            _ => return None,
        };
        (found.to_string() == name).then_some(found)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(log) => write!(f, "log-{log}"),
            Self::Generation(generation) => write!(f, "generation-{}", generation.0),
            Self::Completed(checkpoint) => write!(f, "completed-{}", checkpoint.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reaction;

    fn marks() -> [Mark; 3] {
        let (log, generation) = (LogId(0xa7), Generation(3));
        [
            Mark::Log { log },
            Mark::Generation { log, generation, token: 9 },
            Mark::Completed { log, generation, checkpoint: CheckpointId(7) },
        ]
    }

    #[test]
    fn marks_are_found_by_their_names_and_read_back() {
        let paths = ["output/log-00000000000000a7", "output/generation-3", "output/completed-7"];
        for (mark, path) in marks().into_iter().zip(paths) {
            assert_eq!((mark.name().path().as_str(), Name::of(path)), (path, Some(mark.name())));
            assert_eq!(Mark::decode(mark.name(), &mark.encode()), Ok(mark));
        }
    }

    #[test]
    fn nothing_else_is_a_mark() {
        for path in [
            "output",
            "output/log-",
            "output/log-a7",
            "output/log-00000000000000A7",
            "output/generation-03",
            "output/completed-7.txt",
            "output/counts/completed-7",
            "checkpoints/log-00000000000000a7",
        ] {
            assert_eq!(Name::of(path), None, "{path}");
        }
    }

    #[test]
    fn an_empty_or_renamed_mark_is_corrupt_and_named() {
        let [_, generation, completed] = marks();
        for bytes in [Bytes::new(), completed.encode()] {
            let error = Mark::decode(generation.name(), &bytes).expect_err("it is not that mark");
            assert_eq!(error.reaction, Reaction::Corrupt);
            assert!(error.message.starts_with("output/generation-3 "), "{error}");
        }
    }
}

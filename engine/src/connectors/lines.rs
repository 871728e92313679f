//! A source of lines: of one object, or of every object under a prefix.
//!
//! 1. At its first start every subtask lists the input and cuts each object into *splits*, byte ranges of a fixed size.
//!    Split k of a path belongs to subtask `(stable_hash(path) + k) % parallelism`: no subtask needs to know what the
//!    others found, and no split has two owners or none.
//! 2. A line belongs to the split in which it starts. A reader skips the end of a line that started before its split,
//!    and reads past the end of the split to finish the last one that started in it.
//! 3. Splits are read in the order of (path, k), in chunks. The sequence of records depends on the splits alone.
//! 4. The state is the list of splits with the position reached in each, and a checksum of the bytes up to there.
//! 5. On a restore the splits come from the state, and the bytes before each position are read again: an input that has
//!    changed there cannot be continued exactly once, and the job ends.
//!
//! Invariant: a split's `offset` is where its next line starts, and behind every line that was returned.
//! Not handled: input that grows (what is appended after the listing is not read), other encodings, compression.

mod reader;
mod split;
mod window;

use crate::graph::SubtaskContext;
use crate::job::Source;
use std::time::Duration;

use super::text::Text;
pub use reader::LineReader;

/// Bytes of a split, unless said otherwise.
pub const SPLIT_BYTES: u64 = 16 << 20;

/// Bytes of a chunk, unless said otherwise.
pub const CHUNK_BYTES: u64 = 1 << 20;

/// Bytes read at a time past the end of a split, for the rest of its last line.
const TAIL_BYTES: u64 = 16 << 10;

/// The lines of text objects, as bytes without the newline. A carriage return before the newline stays.
#[derive(Clone, Debug)]
pub struct TextLines {
    path: String,
    split_bytes: u64,
    chunk_bytes: u64,
    pause: Duration,
}

impl TextLines {
    /// Reads the object `path`, or every object under `path/`.
    pub fn new(path: &str) -> Self {
        Self {
            path: path.trim_end_matches('/').into(),
            split_bytes: SPLIT_BYTES,
            chunk_bytes: CHUNK_BYTES,
            pause: Duration::ZERO,
        }
    }

    /// Cuts objects into ranges of this many bytes. Fixed for the life of the state.
    pub fn split_bytes(self, split_bytes: u64) -> Self {
        assert!(split_bytes >= 1, "a split has a byte");
        Self { split_bytes, ..self }
    }

    /// Reads this many bytes at a time.
    pub fn chunk_bytes(self, chunk_bytes: u64) -> Self {
        assert!(chunk_bytes >= 1, "a chunk has a byte");
        Self { chunk_bytes, ..self }
    }

    /// Waits this long between two batches, to slow it down.
    pub fn pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }
}

impl Source for TextLines {
    type Item = Text;
    type Reader = LineReader;

    fn reader(&self, context: &SubtaskContext) -> LineReader {
        LineReader::new(self.clone(), context)
    }
}

#[cfg(test)]
mod tests;

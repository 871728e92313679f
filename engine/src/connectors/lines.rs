//! A source of lines: of one object, or of every object under a prefix.
//!
//! 1. The coordinator lists the input once for the run. At its first start every subtask reads that listing and cuts each
//!    object into *splits*, byte ranges of a fixed size. Split k of a path belongs to subtask
//!    `(stable_hash(path) + k) % parallelism`: no subtask needs to know what the others found, and no split has two owners
//!    or none.
//! 2. A line belongs to the split in which it starts. A reader skips the end of a line that started before its split,
//!    and reads past the end of the split to finish the last one that started in it.
//! 3. Splits are read in the order of (path, k), in chunks. The sequence of records depends on the splits alone.
//! 4. The state is the list of unfinished splits: the listed length and version of each, the position in it, and a checksum
//!    of the bytes up to there. A finished split leaves the state: nothing of it is needed any more.
//! 5. Each read says which version its bytes are of. Whenever that is another one than was listed, or than the read before
//!    found, [`crate::cores::input`] decides: the reader goes on, verifies what it has consumed and goes on, or ends the job.
//!    So a restore reads nothing again while the input is as it was listed.
//!
//! Invariant: a split's `offset` is where its next line starts, and behind every line that was returned.
//! Not handled: input that grows (what is appended after the listing is not read), other encodings, compression. A change of
//! bytes that are not consumed yet, in a file of the same length, cannot be told from what was listed: it is read as it is.

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

    fn reads(&self) -> Option<String> {
        Some(self.path.clone())
    }
}

#[cfg(test)]
mod tests;

//! The part of a split that has been read but not consumed: finds lines in it, however they lie across chunks.
//!
//! ```text
//! start-1 start                        end             size
//!    |----|----- end of a line -----\n--|-- a line --\n--|
//!         ^ skipped, counted            ^ the first line of the next split
//! ```
//!
//! A value without I/O: bytes come in by [`Window::append`], lines go out by [`Window::take_lines`].
//!
//! Invariants: `consumed` ≤ `searched` ≤ the number of bytes; bytes between `consumed` and `searched` hold no newline;
//! `checksum` is that of the bytes from the split's start to `consumed`.

use super::split::Split;
use crate::connectors::text::Text;

/// What a window can say about its split.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// These lines come next.
    Lines(Vec<Text>),
    /// Bytes are missing to tell.
    NeedsBytes,
    /// No line is left in the split.
    Done,
}

/// Whether the start of a line is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The byte before the split decides whether a line starts with it.
    Before,
    /// Inside a line that started before the split.
    Skipping,
    /// `consumed` is the start of a line.
    AtLine,
}

/// Bytes of one split.
#[derive(Debug)]
pub(super) struct Window {
    phase: Phase,
    bytes: Vec<u8>,
    /// Where in the object `bytes` starts.
    origin: u64,
    consumed: usize,
    searched: usize,
    checksum: u32,
}

impl Window {
    /// A window at the position of `split`.
    pub fn at(split: &Split) -> Self {
        let inside = split.start == 0 || split.offset > split.start;
        let (phase, origin) = if inside { (Phase::AtLine, split.offset) } else { (Phase::Before, split.start - 1) };
        Self { phase, bytes: Vec::new(), origin, consumed: 0, searched: 0, checksum: split.checksum }
    }

    /// Where in the object the next bytes to append start.
    pub fn next_byte(&self) -> u64 {
        self.origin + self.bytes.len() as u64
    }

    /// Up to where the bytes of the split are known, and their checksum from its start on.
    pub fn known(&self, split: &Split) -> (u64, u32) {
        match self.phase {
            Phase::Before => (split.offset, self.checksum),
            Phase::Skipping | Phase::AtLine => {
                (self.next_byte(), crc32c::crc32c_append(self.checksum, &self.bytes[self.consumed..]))
            }
        }
    }

    /// Adds bytes that were read from [`Window::next_byte`] on.
    pub fn append(&mut self, chunk: &[u8]) {
        self.bytes.drain(..self.consumed);
        self.origin += self.consumed as u64;
        self.searched -= self.consumed;
        self.consumed = 0;
        self.bytes.extend_from_slice(chunk);
        self.validate();
    }

    /// Finds up to `most` lines and moves `split` behind them.
    pub fn take_lines(&mut self, split: &mut Split, most: usize) -> Step {
        assert!(!split.is_done(), "a split that is done has no lines");
        if self.phase != Phase::AtLine {
            match self.skip(split) {
                Step::NeedsBytes => return Step::NeedsBytes,
                Step::Done => return Step::Done,
                Step::Lines(_) => {}
            }
        }
        let mut lines = Vec::new();
        while lines.len() < most && self.position() < split.end {
            let Some(length) = self.find_newline() else {
                if self.next_byte() == split.size {
                    // The last line of the object has no newline.
                    lines.push(Text::from(&self.bytes[self.consumed..]));
                    self.consume(self.bytes.len() - self.consumed);
                }
                break;
            };
            lines.push(Text::from(&self.bytes[self.consumed..][..length]));
            self.consume(length + 1);
        }
        self.validate();
        if lines.is_empty() {
            assert!(self.position() < split.end, "a split with no lines left is done");
            return Step::NeedsBytes;
        }
        split.advance(self.position(), self.checksum);
        Step::Lines(lines)
    }

    /// Finds the first line that starts in the split: no lines, if it did.
    fn skip(&mut self, split: &Split) -> Step {
        if self.phase == Phase::Before {
            let Some(before) = self.bytes.first() else {
                return Step::NeedsBytes;
            };
            self.phase = if *before == b'\n' { Phase::AtLine } else { Phase::Skipping };
            // This byte belongs to the split before: it is not part of the checksum.
            (self.consumed, self.searched) = (1, 1);
            assert_eq!(self.position(), split.start, "one byte was read before the split");
        }
        if self.phase == Phase::Skipping {
            match self.find_newline() {
                Some(length) => {
                    self.consume(length + 1);
                    self.phase = Phase::AtLine;
                }
                None => self.consume(self.bytes.len() - self.consumed),
            }
        }
        match self.phase {
            Phase::AtLine if self.position() < split.end => Step::Lines(Vec::new()),
            Phase::Skipping if self.position() < split.end => Step::NeedsBytes,
            Phase::AtLine | Phase::Skipping => Step::Done,
            Phase::Before => unreachable!("decided above"),
        }
    }

    /// Where in the object the first byte that is not consumed lies.
    fn position(&self) -> u64 {
        self.origin + self.consumed as u64
    }

    /// How many bytes lie before the next newline.
    fn find_newline(&mut self) -> Option<usize> {
        match self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') {
            Some(further) => {
                self.searched += further;
                Some(self.searched - self.consumed)
            }
            None => {
                self.searched = self.bytes.len();
                None
            }
        }
    }

    fn consume(&mut self, count: usize) {
        self.checksum = crc32c::crc32c_append(self.checksum, &self.bytes[self.consumed..][..count]);
        self.consumed += count;
        self.searched = self.searched.max(self.consumed);
    }

    fn validate(&self) {
        assert!(self.consumed <= self.searched, "what is consumed was searched: {self:?}");
        assert!(self.searched <= self.bytes.len(), "what was searched is there: {self:?}");
        assert!(self.phase != Phase::Before || self.consumed == 0, "the byte before is looked at first: {self:?}");
    }
}

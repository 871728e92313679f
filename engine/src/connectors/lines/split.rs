//! A split: the lines that start in one byte range of one object, and how far they have been read.

use crate::cores::input::Edition;
use crate::door::{ObjectMeta, Version};
use crate::hash::stable_hash;
use serde::{Deserialize, Serialize};

/// A byte range of an object, and the position in it. One in which no line is left is forgotten.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Split {
    /// The object.
    pub path: String,
    /// Its length when it was listed: bytes beyond do not exist.
    pub size: u64,
    /// Its version when it was listed.
    pub version: Version,
    /// First byte of the range.
    pub start: u64,
    /// Byte after the range.
    pub end: u64,
    /// Where the next line starts; `start` until the first batch.
    pub offset: u64,
    /// CRC-32C of the bytes from `start` to `offset`.
    pub checksum: u32,
}

impl Split {
    /// The splits of an object that belong to subtask `index`.
    pub fn of(object: &ObjectMeta, split_bytes: u64, index: u16, parallelism: u16) -> Vec<Self> {
        assert!(index < parallelism, "subtask {index} of {parallelism}");
        let (path, size) = (&object.path, object.bytes);
        let first = stable_hash(path);
        let owned = |k: &u64| first.wrapping_add(*k) % u64::from(parallelism) == u64::from(index);
        let splits = (0..size.div_ceil(split_bytes)).filter(owned).map(|k| {
            let start = k * split_bytes;
            let end = start.saturating_add(split_bytes).min(size);
            let (path, version) = (path.clone(), object.version.clone());
            Self { path, size, version, start, end, offset: start, checksum: 0 }
        });
        splits.inspect(Self::validate).collect()
    }

    /// The object as it was listed.
    pub fn listed(&self) -> Edition {
        Edition { bytes: self.size, version: self.version.clone() }
    }

    /// Moves behind the lines that were returned: to `offset`, where the bytes since `start` have `checksum`.
    pub fn advance(&mut self, offset: u64, checksum: u32) {
        assert!(!self.is_done(), "nothing is left in a split that is done");
        assert!(offset > self.offset, "positions only move forward");
        (self.offset, self.checksum) = (offset, checksum);
        self.validate();
    }

    /// Whether no line is left.
    pub fn is_done(&self) -> bool {
        self.offset >= self.end
    }

    /// Checks the invariants.
    pub fn validate(&self) {
        assert!(self.is_sound(), "a position lies in its split and a split in its object: {self:?}");
    }

    /// Whether the invariants hold: a stored split may be anything.
    pub fn is_sound(&self) -> bool {
        let in_object = self.start < self.end && self.end <= self.size;
        in_object && self.start <= self.offset && self.offset <= self.size
    }
}

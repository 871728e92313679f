//! The record of a part: the length and checksum of a file of committed output, in a hidden folder beside it.
//!
//! ```text
//! output/counts/part-00001-0000000003               the part
//! output/counts/.checksums/part-00001-0000000003    its record
//! ```
//!
//! A sink creates the record, and only then gives the staged part its name, in one step. So of a part with a record
//! * the part is there: it is committed;
//! * the staged part is there: it is about to be committed;
//! * neither is there: it was committed, and then moved away by its reader or lost. A restart neither writes it again nor
//!   misses it.

use super::{Kind, open, seal};
use crate::codec;
use crate::error::{Error, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// 2: with the name of the staged part.
const VERSION: u8 = 2;

/// A part that a sink has staged, as a checkpoint remembers it until it is committed: the sink's committable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StagedPart {
    /// Where it is staged.
    pub staged: String,
    /// Where it will be visible.
    pub shown: String,
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of all of it.
    pub checksum: u32,
}

impl StagedPart {
    /// Whether this is its content.
    pub fn describes(&self, content: &[u8]) -> bool {
        content.len() as u64 == self.bytes && crc32c::crc32c(content) == self.checksum
    }

    /// The record that belongs to it.
    pub fn record(&self) -> PartRecord {
        let (folder, name) = self.shown.rsplit_once('/').unwrap_or(("", &self.shown));
        let staged = self.staged.strip_prefix(folder).unwrap_or(&self.staged).trim_start_matches('/');
        PartRecord { name: name.to_owned(), bytes: self.bytes, checksum: self.checksum, staged: staged.to_owned() }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        bincode::serialize(self).expect("committables serialise")
    }

    /// A staged part from its stored form. `None`: these are the bytes of something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        codec::decode(bytes).ok()
    }
}

/// What a part is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartRecord {
    /// The name of its file.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of all of it.
    pub checksum: u32,
    /// Where it was staged, in the folder of the part.
    pub staged: String,
}

impl PartRecord {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        seal(Kind::Part, VERSION, &bincode::serialize(self).expect("records serialise"))
    }

    /// A record from its stored form; `path` names it in errors.
    pub fn decode(path: &str, bytes: &[u8]) -> Result<Self> {
        let payload = open(Kind::Part, VERSION, path, bytes)?;
        codec::decode(payload).map_err(|e| Error::corrupt(format!("{path} cannot be decoded: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_lies_beside_its_part_and_is_read_back() {
        let record = PartRecord { name: "part-1".to_owned(), bytes: 7, checksum: 9, staged: ".staging/a".to_owned() };
        assert_eq!(PartRecord::decode("here", &record.encode()), Ok(record.clone()));
        assert!(PartRecord::decode("here", &record.encode()[1..]).is_err());
    }
}

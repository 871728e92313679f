//! The record of a part: the length and checksum of a file of committed output, in a hidden folder beside it.
//!
//! ```text
//! output/counts/part-00001-0000000003               the part
//! output/counts/.checksums/part-00001-0000000003    its record
//! ```
//!
//! A sink creates the record once the part is durable, and deletes what it had staged only then. So a record without its part
//! says that the part was lost or taken away, while a part without a record may be one that is being committed.

use super::{Kind, open, seal};
use crate::codec;
use crate::error::{Error, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

/// The folder of the records.
pub const CHECKSUMS: &str = ".checksums";

/// What a part is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartRecord {
    /// The name of its file.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of all of it.
    pub checksum: u32,
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

    /// Where the record of a part goes.
    pub fn path(part: &str) -> String {
        let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
        format!("{folder}/{CHECKSUMS}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_lies_beside_its_part_and_is_read_back() {
        assert_eq!(PartRecord::path("output/x/part-1"), "output/x/.checksums/part-1");
        let record = PartRecord { name: "part-1".to_owned(), bytes: 7, checksum: 9 };
        assert_eq!(PartRecord::decode("here", &record.encode()), Ok(record.clone()));
        assert!(PartRecord::decode("here", &record.encode()[1..]).is_err());
    }
}

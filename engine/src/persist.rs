//! Persisted formats. Every stored object is an envelope: what it is, its version, its length, its checksum.
//!
//! ```text
//! "CFDM"  kind u8  version u8  payload …  length of the payload u64 LE  crc32c u32 LE (of everything before it)
//! ```
//!
//! The length comes last, so that an object can be sent on its way before its end is known.
//!
//! Where each of them lies is said in [`layout`].

pub mod blob;
pub mod layout;
pub mod listing;
pub mod manifest;
pub mod mark;
pub mod part;
pub mod reader;
pub mod sign;
pub mod slot;

use crate::error::{Error, Result};
use bytes::{BufMut, Bytes, BytesMut};

const MAGIC: &[u8; 4] = b"CFDM";
const HEADER: usize = 4 + 1 + 1;
const TRAILER: usize = 8 + 4;

/// What an envelope holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A slot of the completed store.
    Slot = 1,
    /// A manifest.
    Manifest = 2,
    /// A blob of sections.
    Blob = 3,
    /// A leader's sign of life.
    Sign = 4,
    /// A mark of an output.
    Mark = 5,
    /// The record of a part of output.
    Part = 6,
    /// A listing of the input.
    Listing = 7,
}

/// An envelope being written: what will stand at its end.
#[derive(Debug)]
pub struct Sealing {
    length: u64,
    checksum: u32,
}

impl Sealing {
    /// Begins an envelope, and says how.
    pub fn begin(kind: Kind, version: u8) -> (Self, [u8; HEADER]) {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(MAGIC);
        (header[4], header[5]) = (kind as u8, version);
        (Self { length: 0, checksum: crc32c::crc32c(&header) }, header)
    }

    /// Counts the next bytes of the payload in.
    pub fn add(&mut self, payload: &[u8]) {
        self.length += payload.len() as u64;
        self.checksum = crc32c::crc32c_append(self.checksum, payload);
    }

    /// The end of the envelope, its whole length, and the checksum of all of it.
    pub fn end(self) -> ([u8; TRAILER], u64, u32) {
        let mut trailer = [0; TRAILER];
        trailer[..8].copy_from_slice(&self.length.to_le_bytes());
        let checksum = crc32c::crc32c_append(self.checksum, &trailer[..8]);
        trailer[8..].copy_from_slice(&checksum.to_le_bytes());
        (trailer, self.length + (HEADER + TRAILER) as u64, crc32c::crc32c_append(checksum, &trailer[8..]))
    }
}

/// Wraps a payload.
pub fn seal(kind: Kind, version: u8, payload: &[u8]) -> Bytes {
    let (mut sealing, header) = Sealing::begin(kind, version);
    sealing.add(payload);
    let (trailer, length, _) = sealing.end();
    let mut bytes = BytesMut::with_capacity(HEADER + payload.len() + TRAILER);
    bytes.put_slice(&header);
    bytes.put_slice(payload);
    bytes.put_slice(&trailer);
    assert_eq!(bytes.len() as u64, length, "an envelope is as long as it says");
    bytes.freeze()
}

/// Unwraps an envelope; `path` names it in errors.
pub fn open<'a>(kind: Kind, version: u8, path: &str, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let damaged = |what: &str| Error::corrupt(format!("{path} is damaged: {what}"));
    let split = bytes.split_first_chunk::<HEADER>();
    let Some((header, (payload, trailer))) =
        split.and_then(|(header, rest)| Some((header, rest.split_last_chunk::<TRAILER>()?)))
    else {
        return Err(damaged(&format!("only {} bytes long", bytes.len())));
    };
    if &header[..4] != MAGIC {
        return Err(Error::corrupt(format!("{path} is not a file of Cofferdam (wrong magic)")));
    }
    if header[4] != kind as u8 {
        return Err(Error::corrupt(format!("{path} is not a {kind:?} but of kind {}", header[4])));
    }
    if header[5] != version {
        return Err(Error::corrupt(format!("{path} has format version {}; this build reads {version}", header[5])));
    }
    let mut sealing = Sealing::begin(kind, version).0;
    sealing.add(payload);
    if *trailer != sealing.end().0 {
        let length = u64::from_le_bytes(trailer[..8].try_into().expect("eight bytes"));
        let whole = length.saturating_add((HEADER + TRAILER) as u64);
        // A length that does not fit is of no file: it was read where a whole one ends.
        return Err(damaged(&if whole == bytes.len() as u64 {
            "the checksum does not match".to_owned()
        } else {
            format!("{} bytes long, and not as long as it was written", bytes.len())
        }));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_flipped_byte_is_noticed(payload in proptest::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut bytes = seal(Kind::Slot, 1, &payload).to_vec();
            prop_assert_eq!(open(Kind::Slot, 1, "x", &bytes).expect("intact"), &payload[..]);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(open(Kind::Slot, 1, "x", &bytes).is_err());
        }

        #[test]
        fn a_cut_off_file_is_noticed(payload in proptest::collection::vec(any::<u8>(), 0..64), keep in any::<prop::sample::Index>()) {
            let bytes = seal(Kind::Blob, 1, &payload);
            let keep = keep.index(bytes.len());
            prop_assert!(open(Kind::Blob, 1, "x", &bytes[..keep]).is_err());
        }
    }

    #[test]
    fn a_file_of_another_length_is_named_with_the_length_that_it_has() {
        let longer = [&seal(Kind::Mark, 1, b"mine")[..], b"and more"].concat();
        let error = open(Kind::Mark, 1, "out/completed-1", &longer).expect_err("it is longer than it was");
        let expected =
            format!("out/completed-1 is damaged: {} bytes long, and not as long as it was written", longer.len());
        assert_eq!(error.message, expected);
    }
}

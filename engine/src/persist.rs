//! Persisted formats. Every stored object is an envelope: what it is, its version, its length, its checksum.
//!
//! ```text
//! "CFDM"  kind u8  version u8  length u64 LE  payload …  crc32c u32 LE (of everything before it)
//! ```
//!
//! The layout of a checkpoint directory:
//!
//! ```text
//! checkpoints/log/0000000001           a slot of the completed store      [slot]
//! checkpoints/leader                   the leader's sign of life          [sign]
//! checkpoints/chk-7/manifest-g1        names the snapshots of a checkpoint [manifest]
//! checkpoints/chk-7/count-0-a1.2       one subtask's snapshot             [blob]
//! ```

pub mod blob;
pub mod manifest;
pub mod reader;
pub mod sign;
pub mod slot;

use crate::error::{Error, Result};
use bytes::{BufMut, Bytes, BytesMut};

const MAGIC: &[u8; 4] = b"CFDM";
const HEADER: usize = 4 + 1 + 1 + 8;

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
}

/// Wraps a payload.
pub fn seal(kind: Kind, version: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER + payload.len() + 4);
    bytes.put_slice(MAGIC);
    bytes.put_u8(kind as u8);
    bytes.put_u8(version);
    bytes.put_u64_le(payload.len() as u64);
    bytes.put_slice(payload);
    let checksum = crc32c::crc32c(&bytes);
    bytes.put_u32_le(checksum);
    bytes.freeze()
}

/// Unwraps an envelope; `path` names it in errors.
pub fn open<'a>(kind: Kind, version: u8, path: &str, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let damaged = |what: &str| Error::corrupt(format!("{path} is damaged: {what}"));
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
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
    let length = u64::from_le_bytes(header[6..].try_into().expect("eight bytes"));
    if rest.len() as u64 != length.saturating_add(4) {
        return Err(damaged(&format!("{} bytes instead of {}", bytes.len(), length.saturating_add(HEADER as u64 + 4))));
    }
    let (payload, checksum) = rest.split_at(rest.len() - 4);
    let found = crc32c::crc32c(&bytes[..bytes.len() - 4]);
    if checksum != found.to_le_bytes() {
        return Err(damaged("the checksum does not match"));
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
}

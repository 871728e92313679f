//! The listing of the input: every object that a run reads, with its length and version, as the coordinator found it.
//!
//! The coordinator makes one listing for each attempt that starts from nothing, before it deploys that attempt. Every
//! manifest of the run names the listing, and an attempt that restores a checkpoint uses the listing of its manifest.
//! So input is listed once in the life of the state, whichever coordinator leads and whichever worker reads.
//!
//! A listing is an object of its own because a frame cannot hold a million names. It lies in the folder of a checkpoint id
//! below those of its run, and lives as long as a manifest names it or its attempt lasts, like a snapshot that is carried forward.

use super::{Kind, open, seal};
use crate::codec;
use crate::door::ObjectMeta;
use crate::error::{Error, Result};
use crate::messages::ListingHandle;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

/// What a run reads.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Listing {
    /// Each object or folder that a source reads, with the objects that it is or holds, sorted by path.
    pub inputs: Vec<(String, Vec<ObjectMeta>)>,
}

impl Listing {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        seal(Kind::Listing, VERSION, &bincode::serialize(self).expect("listings serialise"))
    }

    /// A listing from its stored form; `path` names it in errors.
    pub fn decode(path: &str, bytes: &[u8]) -> Result<Self> {
        let payload = open(Kind::Listing, VERSION, path, bytes)?;
        let listing: Self =
            codec::decode(payload).map_err(|e| Error::corrupt(format!("{path} cannot be decoded: {e}")))?;
        let sorted = listing.inputs.iter().all(|(_, objects)| objects.is_sorted_by(|a, b| a.path < b.path));
        if sorted { Ok(listing) } else { Err(Error::corrupt(format!("{path} does not list objects in their order"))) }
    }

    /// The listing that a handle names, from the bytes that were found there.
    pub fn open(handle: &ListingHandle, bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 != handle.bytes || crc32c::crc32c(bytes) != handle.checksum {
            let (path, found, expected) = (&handle.path, bytes.len(), handle.bytes);
            return Err(Error::corrupt(format!(
                "{path} is not the listing that was written: {found} bytes instead of {expected}, or another checksum"
            )));
        }
        Self::decode(&handle.path, bytes)
    }

    /// The handle of a stored form that lies at `path`.
    pub fn handle(path: String, encoded: &[u8]) -> ListingHandle {
        ListingHandle { path, bytes: encoded.len() as u64, checksum: crc32c::crc32c(encoded) }
    }

    /// The objects of an input.
    pub fn objects(&self, input: &str) -> Option<&[ObjectMeta]> {
        self.inputs.iter().find(|(path, _)| path == input).map(|(_, objects)| objects.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::Version;
    use crate::error::Reaction;

    fn listing() -> Listing {
        let object = |path: &str, bytes| ObjectMeta {
            path: path.to_owned(),
            bytes,
            version: Version::File { inode: 7, modified_ns: 1 },
        };
        Listing { inputs: vec![("input".to_owned(), vec![object("input/a", 3), object("input/b", 0)])] }
    }

    #[test]
    fn a_listing_is_read_as_it_was_written_and_by_its_handle_alone() {
        let encoded = listing().encode();
        let handle = Listing::handle("checkpoints/chk-0/listing-a1.1".to_owned(), &encoded);
        assert_eq!(Listing::open(&handle, &encoded), Ok(listing()));
        let other = Listing { inputs: Vec::new() }.encode();
        assert_eq!(Listing::open(&handle, &other).expect_err("another one").reaction, Reaction::Corrupt);
    }

    #[test]
    fn a_listing_out_of_order_is_corrupt() {
        let mut unsorted = listing();
        unsorted.inputs[0].1.reverse();
        assert_eq!(Listing::decode("x", &unsorted.encode()).expect_err("unsorted").reaction, Reaction::Corrupt);
    }
}

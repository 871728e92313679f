//! A blob: the sections of one subtask's snapshot, encoded one by one so that the encoder can pause between pages, and
//! can send what it has before it knows the rest.

use super::{Kind, Sealing, open};
use crate::codec;
use crate::error::{Error, Result};
use crate::state::{Digest, Section};
use bytes::Bytes;

const VERSION: u8 = 1;

/// Blobs up to this many bytes are collected without growing on the way.
const SMALL: usize = 1024;

/// Collects encoded sections.
pub struct BlobBuilder {
    /// What was not taken yet.
    encoded: Vec<u8>,
    sealing: Sealing,
    digest: Digest,
}

/// The rest of a blob, and what is known of the whole.
pub struct Finished {
    /// The last bytes.
    pub rest: Bytes,
    /// The length of all of it.
    pub bytes: u64,
    /// CRC-32C of all of it.
    pub checksum: u32,
    /// [`crate::state::digest`] of the sections.
    pub digest: u64,
}

impl Default for BlobBuilder {
    fn default() -> Self {
        let (sealing, header) = Sealing::begin(Kind::Blob, VERSION);
        let mut encoded = Vec::with_capacity(SMALL);
        encoded.extend_from_slice(&header);
        Self { encoded, sealing, digest: Digest::default() }
    }
}

impl BlobBuilder {
    /// Encodes a section and says how many bytes it took.
    pub fn add(&mut self, section: &Section) -> usize {
        let before = self.encoded.len();
        bincode::serialize_into(&mut self.encoded, section).expect("sections serialise");
        self.sealing.add(&self.encoded[before..]);
        self.digest.add(section);
        self.encoded.len() - before
    }

    /// How much has been encoded and not been taken.
    pub fn waiting(&self) -> usize {
        self.encoded.len()
    }

    /// Takes what has been encoded so far.
    pub fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.encoded))
    }

    /// The rest of the stored form.
    pub fn finish(mut self) -> Finished {
        let (trailer, bytes, checksum) = self.sealing.end();
        self.encoded.extend_from_slice(&trailer);
        Finished { rest: Bytes::from(self.encoded), bytes, checksum, digest: self.digest.finish() }
    }
}

/// The sections of a blob; `path` names it in errors.
pub fn decode(path: &str, bytes: &[u8]) -> Result<Vec<Section>> {
    let mut payload = open(Kind::Blob, VERSION, path, bytes)?;
    let mut sections = Vec::new();
    while !payload.is_empty() {
        let section = codec::decode_next(&mut payload)
            .map_err(|e| Error::corrupt(format!("{path} holds a section that cannot be decoded: {e}")))?;
        sections.push(section);
    }
    Ok(sections)
}

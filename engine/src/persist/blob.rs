//! A blob: the sections of one subtask's snapshot, encoded one by one so that the encoder can pause between pages.

use super::{Kind, open, seal};
use crate::error::{Error, Result};
use crate::ids::{Attempt, CheckpointId};
use crate::state::{Digest, Section};
use bytes::Bytes;

const VERSION: u8 = 1;

/// Collects encoded sections.
#[derive(Default)]
pub struct BlobBuilder {
    payload: Vec<u8>,
    digest: Digest,
}

impl BlobBuilder {
    /// Encodes a section and says how many bytes it took.
    pub fn add(&mut self, section: &Section) -> usize {
        let before = self.payload.len();
        bincode::serialize_into(&mut self.payload, section).expect("sections serialise");
        self.digest.add(section);
        self.payload.len() - before
    }

    /// The stored form, and the digest of the sections.
    pub fn finish(self) -> (Bytes, u64) {
        (seal(Kind::Blob, VERSION, &self.payload), self.digest.finish())
    }
}

/// The sections of a blob; `path` names it in errors.
pub fn decode(path: &str, bytes: &[u8]) -> Result<Vec<Section>> {
    let mut payload = open(Kind::Blob, VERSION, path, bytes)?;
    let mut sections = Vec::new();
    while !payload.is_empty() {
        let section = bincode::deserialize_from(&mut payload)
            .map_err(|e| Error::corrupt(format!("{path} holds a section that cannot be decoded: {e}")))?;
        sections.push(section);
    }
    Ok(sections)
}

/// Where a subtask's snapshot goes. The attempt is part of the name: a zombie of an older attempt can never
/// overwrite a newer one's blob (SPARK-51714).
pub fn path(checkpoint: CheckpointId, uid: &str, index: u16, attempt: Attempt) -> String {
    format!("checkpoints/{checkpoint}/{uid}-{index}-{attempt}")
}

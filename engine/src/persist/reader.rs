//! The offline reader: a checkpoint from nothing but a way to fetch bytes. Synchronous, and sharing no code with
//! the runtime that restores, so that a judge or `inspect` has a second opinion.

use super::manifest::Manifest;
use super::{blob, layout, slot};
use crate::error::{Error, Result};
use crate::ids::{CheckpointId, Generation};
use crate::messages::SnapshotHandle;
use crate::state::{self, Section};
use bytes::Bytes;
use slot::{Slot, SlotRecord};

/// Reads a whole object. `Ok(None)` if there is none.
pub type Fetch<'a> = &'a dyn Fn(&str) -> Result<Option<Bytes>>;

/// The slots that exist among `paths`, in order, read and checked.
pub fn read_log(fetch: Fetch<'_>, paths: &[String]) -> Result<Vec<(u64, Slot)>> {
    let mut numbers: Vec<u64> = paths.iter().filter_map(|path| layout::log_entry_number(path)).collect();
    numbers.sort_unstable();
    let read = |number| {
        let path = layout::log_entry(number);
        let bytes = fetch(&path)?.ok_or_else(|| Error::corrupt(format!("{path} was listed but is missing")))?;
        Ok((number, Slot::decode(&path, &bytes)?))
    };
    numbers.into_iter().map(read).collect()
}

/// The manifests of the completed checkpoints that a log retains, oldest first.
pub fn retained(log: &[(u64, Slot)]) -> Vec<String> {
    let floor = log.iter().rev().find_map(|(_, slot)| slot.record.floor());
    let retained = log.iter().filter(|(number, _)| Some(*number) >= floor);
    retained
        .filter_map(|(_, slot)| match &slot.record {
            SlotRecord::Completed { manifest, .. } => Some(manifest.clone()),
            SlotRecord::NewGeneration | SlotRecord::IdsReserved | SlotRecord::Ended { .. } => None,
        })
        .collect()
}

/// The newest retained checkpoint in a log, and the leadership that completed it.
pub fn newest(log: &[(u64, Slot)]) -> Option<(Generation, CheckpointId)> {
    let floor = log.iter().rev().find_map(|(_, slot)| slot.record.floor());
    log.iter().rev().take_while(|(number, _)| Some(*number) >= floor).find_map(|(_, slot)| match &slot.record {
        SlotRecord::Completed { checkpoint, .. } => Some((slot.generation, *checkpoint)),
        SlotRecord::NewGeneration | SlotRecord::IdsReserved | SlotRecord::Ended { .. } => None,
    })
}

/// A manifest.
pub fn read_manifest(fetch: Fetch<'_>, path: &str) -> Result<Manifest> {
    let bytes = fetch(path)?.ok_or_else(|| Error::corrupt(format!("{path} does not exist")))?;
    Manifest::decode(path, &bytes)
}

/// The sections of one subtask's snapshot, checked against everything its handle says.
pub fn read_snapshot(fetch: Fetch<'_>, handle: &SnapshotHandle) -> Result<Vec<Section>> {
    let path = &handle.path;
    let bytes = fetch(path)?.ok_or_else(|| Error::corrupt(format!("{path} does not exist")))?;
    if bytes.len() as u64 != handle.bytes || crc32c::crc32c(&bytes) != handle.checksum {
        return Err(Error::corrupt(format!(
            "{path} is not the object that was acknowledged (length or checksum differ)"
        )));
    }
    let sections = blob::decode(path, &bytes)?;
    if state::digest(&sections) != handle.digest {
        return Err(Error::corrupt(format!("{path}: the digest of its state is not the acknowledged one")));
    }
    Ok(sections)
}

//! The latest checkpoint in a folder, for the last words of a run that stops early: what they promise has been looked at.

use super::folders::{fetch, slots};
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::ids::{CheckpointId, Generation, LogId};
use cofferdam_engine::os::mount::Names;
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::reader;
use std::fs;
use std::path::Path;

/// Looks at a folder in which deletions may still be under way.
const TRIES: u32 = 3;

/// The newest completed checkpoint, with every file that it consists of there and as long as it has to be; `None` if none
/// has completed. Says nothing about their bytes, which `inspect` checks.
pub fn latest(folder: &Path) -> Result<Option<CheckpointId>> {
    let mut looked = look(folder);
    for _ in 1..TRIES {
        if looked.is_err() {
            looked = look(folder);
        }
    }
    let names = Names::of([(layout::CHECKPOINTS, folder)]);
    looked.map_err(|error| Error { message: names.as_typed(&error.message), ..error })
}

/// The log of a checkpoint folder, and the newest leadership in it, if that can be read.
pub fn newest(folder: &Path) -> Option<(LogId, Generation)> {
    let log = reader::read_log(&|path: &str| fetch(folder, path), &slots(folder).ok()?).ok()?;
    log.last().map(|(_, slot)| (slot.log, slot.generation))
}

fn look(folder: &Path) -> Result<Option<CheckpointId>> {
    let fetch = |path: &str| fetch(folder, path);
    let log = reader::read_log(&fetch, &slots(folder)?)?;
    let Some(path) = reader::retained(&log).pop() else { return Ok(None) };
    let manifest = reader::read_manifest(&fetch, &path)?;
    for handle in manifest.snapshots() {
        let file = folder.join(layout::below_checkpoints(&handle.path).unwrap_or(&handle.path));
        let found = fs::metadata(&file).map_err(|e| Error::corrupt(format!("{}: {e}", file.display())))?.len();
        if found != handle.bytes {
            let (file, bytes) = (file.display(), handle.bytes);
            return Err(Error::corrupt(format!("{file} has {found} bytes instead of {bytes}")));
        }
    }
    Ok(Some(manifest.checkpoint))
}

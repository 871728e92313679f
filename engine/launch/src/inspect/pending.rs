//! What the newest checkpoint has yet to commit: each part that it holds as staged is staged, or was committed.
//!
//! A restart commits these parts again. One of which neither the staged file nor the part nor its record
//! ([`cofferdam_engine::persist::part`]) is there is lost, and the restart will say so; this says it before.
//!
//! Not handled: what other sinks hold, whose committables only they can read. A part that is there and is not what was
//! committed is found by its record ([`super::output`]).

use super::TRIES_MAX;
use crate::folders::{fetch, slots};
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::ids::CheckpointId;
use cofferdam_engine::os::mount::Names;
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::part::StagedPart;
use cofferdam_engine::persist::reader;
use cofferdam_engine::state::SectionKind;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What became of the parts that a checkpoint holds as staged.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Parts that are staged still.
    pub staged: Vec<String>,
    /// What is lost or damaged, one line each.
    pub problems: Vec<String>,
}

/// Of the newest checkpoint in a folder. What cannot be read there is told by the report on the checkpoints.
pub fn of(checkpoints: &Path, output: &Path) -> Pending {
    let look = || {
        let before = slots(checkpoints)?;
        Ok::<_, Error>((look(checkpoints, output, &before)?, before))
    };
    let mut found = Pending::default();
    for _ in 0..TRIES_MAX {
        let Ok((pending, before)) = look() else { return found };
        found = pending;
        // A job that runs goes on, and commits what was staged.
        if found.problems.is_empty() || slots(checkpoints).is_ok_and(|after| after == before) {
            break;
        }
    }
    found
}

fn look(checkpoints: &Path, output: &Path, slots: &[String]) -> Result<Pending> {
    let fetch = |path: &str| fetch(checkpoints, path);
    let (mut found, log) = (Pending::default(), reader::read_log(&fetch, slots)?);
    let Some(newest) = reader::retained(&log).pop() else { return Ok(found) };
    let manifest = reader::read_manifest(&fetch, &newest)?;
    let names = Names::of([(layout::OUTPUT, output)]);
    for handle in manifest.snapshots() {
        for section in reader::read_snapshot(&fetch, handle)? {
            if section.kind != SectionKind::Sink {
                continue;
            }
            let held = bincode::deserialize::<BTreeMap<CheckpointId, Vec<u8>>>(&section.bytes).unwrap_or_default();
            for part in held.values().filter_map(|bytes| StagedPart::decode(bytes)) {
                match stand(output, &part) {
                    Some(Stand::Staged) => found.staged.push(names.as_typed(&part.shown)),
                    Some(Stand::Committed) | None => {}
                    Some(Stand::Lost(why)) => found.problems.push(
                        names.as_typed(&format!("{} of {} {why}: output is lost", part.shown, manifest.checkpoint)),
                    ),
                }
            }
        }
    }
    Ok(found)
}

enum Stand {
    Staged,
    Committed,
    Lost(&'static str),
}

/// `None`: this is no part below the output.
fn stand(output: &Path, part: &StagedPart) -> Option<Stand> {
    let file = |path: &str| -> Option<PathBuf> { Some(output.join(layout::below_output(path)?)) };
    let (staged, shown, record) = (file(&part.staged)?, file(&part.shown)?, file(&layout::part_record(&part.shown))?);
    let is_right = |file: &Path| fs::read(file).is_ok_and(|content| part.describes(&content));
    Some(if is_right(&staged) {
        Stand::Staged
    } else if is_right(&shown) {
        Stand::Committed
    } else if staged.exists() {
        Stand::Lost("is staged, but not as it was written")
    } else if shown.exists() || record.exists() {
        Stand::Committed
    } else {
        Stand::Lost("is neither staged nor committed")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_staged_or_committed_or_lost() {
        let output = tempfile::tempdir().expect("a folder");
        let part = StagedPart {
            staged: "output/x/.staging/end-0/a1.1-chk-3".to_owned(),
            shown: "output/x/part-00000-0000000003".to_owned(),
            bytes: 2,
            checksum: crc32c::crc32c(b"1\n"),
        };
        let [staged, shown, record] =
            ["x/.staging/end-0/a1.1-chk-3", "x/part-00000-0000000003", "x/.checksums/part-00000-0000000003"]
                .map(|name| output.path().join(name));
        let put = |file: &Path, content: &str| {
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, content).expect("a file");
        };
        let says = || match stand(output.path(), &part).expect("it is a part") {
            Stand::Staged => "staged",
            Stand::Committed => "committed",
            Stand::Lost(why) => why,
        };
        assert_eq!(says(), "is neither staged nor committed");
        put(&staged, "1\n");
        assert_eq!(says(), "staged");
        put(&staged, "2\n");
        assert_eq!(says(), "is staged, but not as it was written");
        put(&shown, "1\n");
        assert_eq!(says(), "committed");
        fs::remove_file(&staged).expect("removed");
        fs::remove_file(&shown).expect("removed");
        put(&record, "its reader has moved it away");
        assert_eq!(says(), "committed");
        assert!(stand(output.path(), &StagedPart { staged: "tables/7".to_owned(), ..part.clone() }).is_none());
    }
}

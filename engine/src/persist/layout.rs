//! Where everything lies: the only file of the engine that spells a path.
//!
//! ```text
//! checkpoints/log/0000000001           an entry of the completed store     [slot]
//! checkpoints/leader                   the leader's sign of life           [sign]
//! checkpoints/chk-7/manifest-a1.2      names the snapshots of a checkpoint [manifest]
//! checkpoints/chk-7/count-0-a1.2       one subtask's snapshot              [blob]
//! checkpoints/chk-0/listing-a1.1       the input of a run                  [listing]
//! output/log-00000000000000a7          marks of the owner of the output    [mark]
//! output/counts/part-00000-0000000007  a part of output, and               [files]
//! output/counts/.checksums/part-…      its record                          [part]
//! output/counts/.staging/count-0/…     what a sink has staged              [files]
//! ```
//!
//! Paths are relative to the mounts of a process: its checkpoints, its output, its input. What the bytes of a state consist of
//! is another layout ([`crate::layout`]).

use crate::ids::{Attempt, CheckpointId};
use std::fmt::{self, Write as _};

/// The mount of checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";
/// The mount of the output.
pub const OUTPUT: &str = "output";
/// The mount of the input.
pub const INPUT: &str = "input";

/// The folder of the log.
pub const LOG: &str = "checkpoints/log";
/// The leader's sign of life.
pub const LEADER: &str = "checkpoints/leader";

/// The folder of the records of parts, beside the parts.
pub const CHECKSUMS: &str = ".checksums";
/// The folder of staged objects, in that of a sink.
pub const STAGING: &str = ".staging";

const MANIFEST: &str = "manifest-";

/// How long most paths are at most.
const LENGTH: usize = 64;

/// A path, written down without growing on the way.
fn spelled(path: fmt::Arguments<'_>) -> String {
    let mut spelled = String::with_capacity(LENGTH);
    spelled.write_fmt(path).expect("a string takes everything");
    spelled
}

/// Entry `number` of the log. Entries count from 1.
pub fn log_entry(number: u64) -> String {
    spelled(format_args!("{LOG}/{number:010}"))
}

/// The number of the log entry at `path`.
pub fn log_entry_number(path: &str) -> Option<u64> {
    path.strip_prefix(LOG)?.strip_prefix('/')?.parse().ok()
}

/// The manifest of a checkpoint. The attempt is part of the name, as for snapshots.
pub fn manifest(checkpoint: CheckpointId, attempt: Attempt) -> String {
    spelled(format_args!("{CHECKPOINTS}/{checkpoint}/{MANIFEST}{attempt}"))
}

/// Whether `path` is that of a manifest.
pub fn is_manifest(path: &str) -> bool {
    let name = path.bytes().rposition(|byte| byte == b'/').map_or(path, |slash| &path[slash + 1..]);
    name.starts_with(MANIFEST)
}

/// The snapshot of a subtask. The attempt is part of the name: a zombie of an older attempt can never overwrite a newer one's
/// blob (SPARK-51714).
pub fn snapshot(checkpoint: CheckpointId, uid: &str, index: u16, attempt: Attempt) -> String {
    spelled(format_args!("{}", Snapshot { checkpoint, uid, index, attempt }))
}

/// Whether `path` is that of this snapshot. Nothing is written down for it: every acknowledgement is asked.
pub fn is_snapshot(path: &str, checkpoint: CheckpointId, uid: &str, index: u16, attempt: Attempt) -> bool {
    let mut rest = Rest(path);
    write!(rest, "{}", Snapshot { checkpoint, uid, index, attempt }).is_ok() && rest.0.is_empty()
}

struct Snapshot<'a> {
    checkpoint: CheckpointId,
    uid: &'a str,
    index: u16,
    attempt: Attempt,
}

impl fmt::Display for Snapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { checkpoint, uid, index, attempt } = self;
        write!(f, "{CHECKPOINTS}/{checkpoint}/{uid}-{index}-{attempt}")
    }
}

/// What is left of a path behind that which was written; an error as soon as they differ.
struct Rest<'a>(&'a str);

impl fmt::Write for Rest<'_> {
    fn write_str(&mut self, next: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(next).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// The listing of an attempt whose checkpoints have the id `next` or higher ones: in the folder of a lower id, which no sweep
/// mistakes for that of a pending checkpoint.
pub fn listing(next: CheckpointId, attempt: Attempt) -> String {
    let below = CheckpointId(next.0.saturating_sub(1));
    spelled(format_args!("{CHECKPOINTS}/{below}/listing-{attempt}"))
}

/// The checkpoint in whose folder `path` lies.
pub fn checkpoint_of(path: &str) -> Option<CheckpointId> {
    let rest = path.strip_prefix(CHECKPOINTS)?.strip_prefix("/chk-")?;
    let digits = rest.bytes().position(|byte| byte == b'/')?;
    rest[..digits].parse().ok().map(CheckpointId)
}

/// The object `name` in a folder of a checkpoint that was found on a disk.
pub fn in_folder(folder: &str, name: &str) -> String {
    spelled(format_args!("{CHECKPOINTS}/{folder}/{name}"))
}

/// A path below the mount of checkpoints, without the mount: what a tool that opens the folder itself needs.
pub fn below_checkpoints(path: &str) -> Option<&str> {
    path.strip_prefix(CHECKPOINTS)?.strip_prefix('/')
}

/// What lies at the root of the output by this name.
pub fn at_output(name: impl fmt::Display) -> String {
    spelled(format_args!("{OUTPUT}/{name}"))
}

/// The name of what lies at the root of the output, or below it.
pub fn below_output(path: &str) -> Option<&str> {
    path.strip_prefix(OUTPUT)?.strip_prefix('/')
}

/// The record of a part of output.
pub fn part_record(part: &str) -> String {
    let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
    spelled(format_args!("{folder}/{CHECKSUMS}/{name}"))
}

/// The folder in which a sink that writes to `directory` stages.
pub fn staging(directory: &str) -> String {
    spelled(format_args!("{directory}/{STAGING}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Generation;

    #[test]
    fn what_is_placed_is_recognised() {
        let attempt = Attempt { generation: Generation(2), number: 3 };
        assert_eq!(log_entry(7), "checkpoints/log/0000000007");
        assert_eq!((log_entry_number(&log_entry(7)), log_entry_number(LEADER)), (Some(7), None));
        let (manifest, snapshot) = (manifest(CheckpointId(7), attempt), snapshot(CheckpointId(7), "count", 0, attempt));
        assert_eq!(
            (manifest.as_str(), snapshot.as_str()),
            ("checkpoints/chk-7/manifest-a2.3", "checkpoints/chk-7/count-0-a2.3")
        );
        assert!(is_manifest(&manifest) && !is_manifest(&snapshot));
        let is_count = |path: &str| is_snapshot(path, CheckpointId(7), "count", 0, attempt);
        assert!(is_count(&snapshot) && !is_count(&manifest));
        let others = [&snapshot[1..], &snapshot[..snapshot.len() - 1], &format!("{snapshot}0"), ""];
        assert!(!others.into_iter().any(is_count));
        for path in [&manifest, &snapshot] {
            assert_eq!(checkpoint_of(path), Some(CheckpointId(7)));
        }
        assert_eq!(
            (checkpoint_of(LEADER), checkpoint_of("checkpoints/chk-x/a"), checkpoint_of(&log_entry(1))),
            (None, None, None)
        );
        assert_eq!(below_checkpoints(&snapshot), Some("chk-7/count-0-a2.3"));
    }

    #[test]
    fn a_listing_lies_in_the_folder_of_a_lower_checkpoint() {
        let attempt = Attempt { generation: Generation(2), number: 3 };
        assert_eq!(listing(CheckpointId(101), attempt), "checkpoints/chk-100/listing-a2.3");
        assert_eq!(listing(CheckpointId(1), attempt), "checkpoints/chk-0/listing-a2.3");
    }

    #[test]
    fn what_belongs_to_a_sink_lies_in_its_folder() {
        assert_eq!(part_record("output/x/part-1"), "output/x/.checksums/part-1");
        assert_eq!(staging("output/x"), "output/x/.staging");
        assert_eq!((at_output("log-a"), below_output("output/log-a")), ("output/log-a".to_owned(), Some("log-a")));
        assert_eq!(below_output("outputs/log-a"), None);
    }
}

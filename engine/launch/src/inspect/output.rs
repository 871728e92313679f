//! Committed output, checked against the records that its sinks left beside it ([`cofferdam_engine::persist::part`]).
//!
//! Noticed: a part that is missing, longer or shorter than it was, or of which a byte has changed; a record that is damaged.
//! Not noticed: a part that is gone together with its record, and what sinks without such records wrote. Only told: parts
//! that are staged still, so their commit was interrupted, and those without a record, which something else wrote.

use super::pending::Pending;
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::persist::layout::CHECKSUMS;
use cofferdam_engine::persist::part::PartRecord;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;

/// What was found in an output folder.
#[derive(Debug, Serialize)]
pub struct OutputReport {
    /// The folder.
    pub folder: String,
    /// Parts that are what was committed.
    pub sound: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Parts without a record.
    pub unknown: Vec<String>,
    /// Parts that are about to be committed: a job that runs does that, or a restart.
    pub staged: Vec<String>,
    /// Parts that are not there, if their readers may have moved them away.
    pub taken: Option<u64>,
    /// What is damaged or missing, one line each.
    pub problems: Vec<String>,
}

impl OutputReport {
    /// Checks everything below `folder`.
    ///
    /// `may_be_taken`: readers move parts away, so one that is missing is no problem if its record is there.
    pub fn of(folder: &Path, pending: Option<Pending>, may_be_taken: bool) -> Result<Self> {
        let (sound, bytes, unknown, staged, problems) = (0, 0, Vec::new(), Vec::new(), Vec::new());
        let (folder_name, taken) = (folder.display().to_string(), may_be_taken.then_some(0));
        let mut report = Self { folder: folder_name, sound, bytes, unknown, staged, taken, problems };
        let records = report.folder(folder)?;
        let alone = pending.is_none();
        let pending = pending.unwrap_or_default();
        let others = pending.staged.into_iter().filter(|part| !report.staged.contains(part)).collect::<Vec<_>>();
        report.staged.extend(others);
        report.problems.extend(pending.problems);
        if records == 0 && alone && report.problems.is_empty() {
            let shown = folder.display();
            return Err(Error::give_up(format!(
                "{shown} holds no committed output with checksums: nothing can be verified"
            )));
        }
        Ok(report)
    }

    /// Checks a folder and those in it; says how many records there are.
    fn folder(&mut self, folder: &Path) -> Result<u64> {
        let (mut records, mut recorded) = (0, BTreeSet::new());
        let checksums = folder.join(CHECKSUMS);
        if checksums.is_dir() {
            for (name, record) in entries(&checksums)? {
                records += 1;
                self.part(folder, &name, &record);
                recorded.insert(name);
            }
        }
        for (name, path) in entries(folder)?.into_iter().filter(|(name, _)| !name.starts_with('.')) {
            if path.is_dir() {
                records += self.folder(&path)?;
            } else if name.starts_with("part-") && !recorded.contains(&name) {
                self.unknown.push(path.display().to_string());
            }
        }
        Ok(records)
    }

    fn part(&mut self, folder: &Path, name: &str, record: &Path) {
        let part = folder.join(name);
        match check(&part, name, record) {
            Ok(Stand::Sound(bytes)) => (self.sound, self.bytes) = (self.sound + 1, self.bytes + bytes),
            Ok(Stand::Staged) => self.staged.push(part.display().to_string()),
            Ok(Stand::Absent(bytes)) => match &mut self.taken {
                Some(taken) => *taken += 1,
                None => {
                    self.problems.push(format!("{} is missing: {bytes} bytes were committed", part.display()));
                }
            },
            Err(error) => self.problems.push(error.message),
        }
    }

    /// The report as text for people.
    pub fn render(&self) -> String {
        let Self { folder, sound, bytes, unknown, staged, taken, problems } = self;
        let bytes = indicatif::HumanBytes(*bytes);
        let damaged = problems.len();
        let mut text = format!("{folder}: {sound} parts, {bytes}, are what was committed; {damaged} are not\n");
        if let Some(taken) = taken {
            text += &format!("  {taken} are not there: their readers have moved them away\n");
        }
        for part in unknown {
            text += &format!("  {part} has no checksum: something else wrote it\n");
        }
        for part in staged {
            text += &format!("  {part} is staged: its job commits it, now or when it is started again\n");
        }
        text
    }
}

/// What became of a part that has a record.
enum Stand {
    /// It is what its record says, and has this length.
    Sound(u64),
    /// It is not visible yet.
    Staged,
    /// It is not there. It had this length.
    Absent(u64),
}

fn check(part: &Path, name: &str, record: &Path) -> Result<Stand> {
    let cannot = |path: &Path, e: io::Error| Error::corrupt(format!("cannot read {}: {e}", path.display()));
    let stored = fs::read(record).map_err(|e| cannot(record, e))?;
    let PartRecord { name: named, bytes, checksum, staged } =
        PartRecord::decode(&record.display().to_string(), &stored)?;
    let shown = part.display();
    if named != name {
        return Err(Error::corrupt(format!("{} is the record of {named}", record.display())));
    }
    let mut file = match File::open(part) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let is_staged = part.parent().is_some_and(|folder| !staged.is_empty() && folder.join(&staged).is_file());
            return Ok(if is_staged { Stand::Staged } else { Stand::Absent(bytes) });
        }
        Err(e) => return Err(cannot(part, e)),
    };
    let (mut length, mut found, mut piece) = (0, 0, vec![0; PIECE]);
    loop {
        match file.read(&mut piece).map_err(|e| cannot(part, e))? {
            0 => break,
            read => {
                length += read as u64;
                found = crc32c::crc32c_append(found, &piece[..read]);
            }
        }
    }
    if length != bytes {
        return Err(Error::corrupt(format!("{shown} has {length} bytes, {bytes} were committed")));
    }
    if found != checksum {
        return Err(Error::corrupt(format!("{shown} is not what was committed: its checksum differs")));
    }
    Ok(Stand::Sound(bytes))
}

/// What lies in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let cannot = |e: io::Error| Error::give_up(format!("cannot read {}: {e}", folder.display()));
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(cannot)?;
    let named = |entry: fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry.path());
    let mut found: Vec<_> = entries.into_iter().map(named).collect();
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// Two parts of one sink with their records.
    fn output() -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = folder.path().join("counts");
        fs::create_dir_all(sink.join(CHECKSUMS)).expect("a folder");
        for (name, content) in [("part-00000-0000000003", "to 1\nbe 2\n"), ("part-00001-0000000003", "or 1\n")] {
            fs::write(sink.join(name), content).expect("a part");
            let checksum = crc32c::crc32c(content.as_bytes());
            let staged = format!(".staging/counts-0/{name}");
            let record = PartRecord { name: name.to_owned(), bytes: content.len() as u64, checksum, staged };
            fs::write(sink.join(CHECKSUMS).join(name), record.encode()).expect("a record");
        }
        folder
    }

    #[test]
    fn output_as_it_was_committed_is_sound() {
        let folder = output();
        let report = OutputReport::of(folder.path(), None, false).expect("a report");
        assert_eq!((report.sound, report.bytes), (2, 15));
        assert!(report.problems.is_empty() && report.unknown.is_empty(), "{report:?}");
        assert!(report.render().contains("2 parts, 15 B, are what was committed; 0 are not"), "{}", report.render());
    }

    #[test]
    fn every_damage_is_noticed_and_named() {
        type Damage = fn(&Path);
        let damages: [(Damage, &str); 5] = [
            (|part| fs::remove_file(part).expect("removed"), "is missing: 10 bytes were committed"),
            (|part| fs::write(part, "to 1\nbe 2").expect("cut off"), "has 9 bytes, 10 were committed"),
            (
                |part| fs::write(part, "to 1\nbe 3\n").expect("flipped"),
                "is not what was committed: its checksum differs",
            ),
            (|part| fs::write(part, "").expect("emptied"), "has 0 bytes, 10 were committed"),
            (|part| fs::write(part, "to 1\nbe 2\n\n").expect("longer"), "has 11 bytes, 10 were committed"),
        ];
        for (damage, what) in damages {
            let folder = output();
            let part = folder.path().join("counts/part-00000-0000000003");
            damage(&part);
            let report = OutputReport::of(folder.path(), None, false).expect("a report");
            assert_eq!(report.problems, [format!("{} {what}", part.display())]);
            assert_eq!(report.sound, 1);
        }
    }

    #[test]
    fn every_flipped_byte_of_a_record_is_noticed() {
        let folder = output();
        let record = folder.path().join("counts").join(CHECKSUMS).join("part-00000-0000000003");
        let bytes = fs::read(&record).expect("bytes");
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::write(&record, flipped).expect("written");
            let problems = OutputReport::of(folder.path(), None, false).expect("a report").problems;
            assert!(problems.len() == 1 && problems[0].contains("part-00000-0000000003"), "{at}: {problems:?}");
        }
    }

    #[test]
    fn what_readers_moved_away_is_counted_if_they_may() {
        let folder = output();
        fs::remove_file(folder.path().join("counts/part-00000-0000000003")).expect("moved away");
        let report = OutputReport::of(folder.path(), None, true).expect("a report");
        assert!(report.problems.is_empty() && report.taken == Some(1), "{report:?}");
        assert!(report.render().contains("1 are not there: their readers have moved them away"), "{}", report.render());
    }

    #[test]
    fn a_part_whose_commit_was_interrupted_is_told_and_no_damage() {
        let folder = output();
        let (sink, name) = (folder.path().join("counts"), "part-00000-0000000003");
        let staging = sink.join(".staging/counts-0");
        fs::create_dir_all(&staging).expect("a folder");
        fs::rename(sink.join(name), staging.join(name)).expect("moved");
        let report = OutputReport::of(folder.path(), None, false).expect("a report");
        assert!(report.problems.is_empty() && report.staged.len() == 1, "{report:?}");
        assert!(report.render().contains("part-00000-0000000003 is staged"), "{}", report.render());
    }

    #[test]
    fn what_has_no_record_is_told_and_no_damage() {
        let folder = output();
        fs::write(folder.path().join("counts/part-00000-0000000004"), "new").expect("a part");
        let report = OutputReport::of(folder.path(), None, false).expect("a report");
        assert!(report.problems.is_empty() && report.unknown.len() == 1, "{report:?}");
        let empty = tempfile::tempdir().expect("a folder");
        let refused = OutputReport::of(empty.path(), None, false).expect_err("nothing to verify");
        assert!(refused.message.ends_with("nothing can be verified"), "{refused}");
    }
}

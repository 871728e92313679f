//! What `inspect` says of good, damaged and foreign folders.

use super::*;
use bytes::Bytes;
use cofferdam_engine::ids::{Attempt, CheckpointId, Generation, KeyGroup, LogId};
use cofferdam_engine::messages::SnapshotHandle;
use cofferdam_engine::persist::blob::{BlobBuilder, Finished};
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::manifest::{Manifest, OperatorSnapshot};
use cofferdam_engine::persist::slot::{JobMark, Slot, SlotRecord};
use cofferdam_engine::state::{Section, SectionKind, encode_entries};
use cofferdam_engine::statistics::SnapshotStatistics;
use tempfile::TempDir;

const ATTEMPT: Attempt = Attempt { generation: Generation(1), number: 2 };

fn put(folder: &TempDir, path: &str, bytes: &Bytes) -> PathBuf {
    let file = folder.path().join(path.strip_prefix("checkpoints/").expect("a path in storage"));
    fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    fs::write(&file, bytes).expect("a file");
    file
}

/// A folder with one checkpoint of one keyed subtask; also the files of slot, manifest and blob.
fn checkpoint() -> (TempDir, [PathBuf; 3]) {
    let folder = tempfile::tempdir().expect("a folder");
    let id = CheckpointId(7);
    let mut builder = BlobBuilder::default();
    for (group, count) in [(3, 2_u8), (9, 1)] {
        let entries = (0..count).map(|n| (vec![n], vec![n; 10])).collect();
        let bytes = encode_entries(entries);
        builder.add(&Section { kind: SectionKind::Keyed, name: "count".into(), group: Some(KeyGroup(group)), bytes });
    }
    let Finished { rest: bytes, digest, .. } = builder.finish();
    let path = layout::snapshot(id, "counter", 0, ATTEMPT);
    let handle = SnapshotHandle {
        path: path.clone(),
        bytes: bytes.len() as u64,
        checksum: crc32c::crc32c(&bytes),
        digest,
        ended: true,
    };
    let blob = put(&folder, &path, &bytes);
    let spent =
        SnapshotStatistics { start_delay_ms: 1, alignment_ms: 2, sync_ms: 3, async_ms: 40, bytes: handle.bytes };
    let (subtasks, statistics) = (vec![handle], vec![spent]);
    let operators = vec![OperatorSnapshot { uid: "counter".into(), states: Vec::new(), subtasks, statistics }];
    let manifest = Manifest {
        checkpoint: id,
        attempt: ATTEMPT,
        job: "counting".into(),
        max_parallelism: 128,
        triggered_ms: 0,
        duration_ms: 46,
        operators,
        listing: None,
    };
    let path = layout::manifest(id, ATTEMPT);
    let file = put(&folder, &path, &manifest.encode());
    let record = SlotRecord::Completed { checkpoint: id, manifest: path, floor: 2 };
    let job = JobMark { name: "count".into() };
    let (log, lineage, generation) = (LogId(5), None, Generation(1));
    let slot = Slot { log, lineage, generation, token: 1, ids_reserved: CheckpointId(100), job, record };
    let slot = put(&folder, &layout::log_entry(2), &slot.encode());
    (folder, [slot, file, blob])
}

fn look(path: &Path) -> Result<Report> {
    read(&target(path)?)
}

#[test]
fn a_folder_tells_its_log_and_its_checkpoints() {
    let (folder, files) = checkpoint();
    let report = look(folder.path()).expect("a report");
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.log.len(), 1);
    let [found] = &report.checkpoints[..] else { panic!("one checkpoint: {report:?}") };
    assert!(found.last && found.job == "counting" && found.operators[0].subtasks[0].sections.len() == 2);
    let text = text::render(&report);
    assert!(text.contains("chk-7 completed, slots below 2 no longer count"), "{text}");
    assert!(text.contains("chk-7 (the final one)"), "{text}");
    assert!(text.contains("acknowledged by all 46 ms after the trigger"), "{text}");
    let line = text.lines().find(|line| line.trim_start().starts_with("counter[0]")).expect("a line of the table");
    assert!(line.contains("1 ms        2 ms        3 ms       40 ms"), "{text}");
    assert!(text.contains("keyed \"count\": 3 entries in 2 key groups (at most 2 in one)"), "{text}");
    assert!(text.contains(&files[2].display().to_string()), "{text}");
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["checkpoints"][0]["operators"][0]["subtasks"][0]["sections"][0]["key_group"], 3);
}

#[test]
fn a_manifest_of_an_older_format_is_told_by_its_version() {
    let (folder, [_, manifest, _]) = checkpoint();
    let mut bytes = fs::read(&manifest).expect("bytes");
    bytes[5] = 1;
    fs::write(&manifest, bytes).expect("written");
    let problems = look(folder.path()).expect("a report").problems;
    assert!(problems.len() == 1 && problems[0].ends_with("has format version 1; this build reads 3"), "{problems:?}");
}

#[test]
fn a_manifest_and_its_folder_tell_the_same_checkpoint() {
    let (_folder, [_, manifest, _]) = checkpoint();
    for path in [manifest.as_path(), manifest.parent().expect("a folder")] {
        let report = look(path).expect("a report");
        assert_eq!((report.checkpoints.len(), report.log.len(), report.problems.len()), (1, 0, 0), "{report:?}");
    }
}

#[test]
fn every_damaged_or_missing_file_is_named() {
    for victim in 0..3 {
        let damages: [fn(&Path); 3] = [
            |file| fs::write(file, [&fs::read(file).expect("bytes")[..], b"!"].concat()).expect("longer"),
            |file| fs::write(file, &fs::read(file).expect("bytes")[..9]).expect("shorter"),
            |file| fs::write(file, b"something else altogether").expect("foreign"),
        ];
        for damage in damages {
            let (folder, files) = checkpoint();
            damage(&files[victim]);
            let problems = match look(folder.path()) {
                Ok(report) => report.problems,
                Err(error) => vec![error.message],
            };
            let name = files[victim].strip_prefix(folder.path()).expect("below").display().to_string();
            assert!(problems.len() == 1 && problems[0].contains(&name), "{name}: {problems:?}");
            assert!(!problems[0].contains('\n'), "{problems:?}");
        }
    }
    let (folder, files) = checkpoint();
    fs::remove_file(&files[2]).expect("removed");
    let problems = look(folder.path()).expect("a report").problems;
    assert!(problems.len() == 1 && problems[0].ends_with("counter-0-a1.2 does not exist"), "{problems:?}");
}

#[test]
fn what_is_no_checkpoint_is_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = look(folder.path()).expect_err("an empty folder");
    assert!(refused.message.ends_with("is no checkpoint folder: it has neither a log nor a manifest"), "{refused}");
    let refused = look(&folder.path().join("absent")).expect_err("nothing there");
    assert!(refused.message.starts_with("cannot read"), "{refused}");
    let file = folder.path().join("book.txt");
    fs::write(&file, "It was the best of times, it was the worst of times").expect("a file");
    let problems = look(&file).expect("a report").problems;
    assert!(problems.len() == 1 && problems[0].contains("book.txt is not a file of Cofferdam"), "{problems:?}");
}

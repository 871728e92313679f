//! What was found, as data: the source of both the text and the JSON.

use crate::folders::fetch;
use cofferdam_engine::cores::retention::belongs;
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::ids::CheckpointId;
use cofferdam_engine::messages::SnapshotHandle;
use cofferdam_engine::os::mount::Names;
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::manifest::{Manifest, OperatorSnapshot};
use cofferdam_engine::persist::reader;
use cofferdam_engine::persist::slot::{Slot, SlotRecord};
use cofferdam_engine::state::{Section, SectionKind, StateDescriptor, decode_entries};
use cofferdam_engine::statistics::SnapshotStatistics;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// Everything found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The folder that was read.
    pub folder: String,
    /// The log of completed checkpoints, oldest first; empty if only manifests were read.
    pub log: Vec<SlotReport>,
    /// The checkpoints, oldest first.
    pub checkpoints: Vec<CheckpointReport>,
    /// What is damaged or missing, one line each.
    pub problems: Vec<String>,
}

/// A slot of the log.
#[derive(Debug, Serialize)]
pub struct SlotReport {
    /// The log's id, as the mark of its output names it.
    pub log: String,
    pub slot: u64,
    pub generation: u64,
    pub ids_reserved: CheckpointId,
    pub record: SlotRecord,
}

/// A checkpoint.
#[derive(Debug, Serialize)]
pub struct CheckpointReport {
    pub checkpoint: CheckpointId,
    pub manifest: String,
    pub job: String,
    pub attempt: String,
    pub triggered: String,
    /// From the trigger to the last acknowledgement.
    pub duration_ms: u64,
    /// Whether the job ends with it.
    pub last: bool,
    pub key_groups: u16,
    pub bytes: u64,
    pub operators: Vec<OperatorReport>,
}

/// What a checkpoint holds of one operator.
#[derive(Debug, Serialize)]
pub struct OperatorReport {
    pub uid: String,
    pub states: Vec<StateDescriptor>,
    pub subtasks: Vec<SubtaskReport>,
}

/// What a checkpoint holds of one subtask.
#[derive(Debug, Serialize)]
pub struct SubtaskReport {
    pub index: usize,
    pub file: String,
    pub bytes: u64,
    pub checksum: String,
    pub digest: String,
    pub ended: bool,
    /// Whether it had finished, so that its snapshot was carried forward from an older checkpoint.
    pub carried: bool,
    /// What taking it cost; nothing if it was carried forward.
    pub statistics: SnapshotStatistics,
    /// Empty if the file is damaged or missing.
    pub sections: Vec<SectionReport>,
}

/// A section of a snapshot.
#[derive(Debug, Serialize)]
pub struct SectionReport {
    pub kind: SectionKind,
    pub name: String,
    pub key_group: Option<u16>,
    pub bytes: usize,
    /// Entries of keyed state, committables of a sink.
    pub entries: Option<usize>,
}

impl Report {
    /// The log of a checkpoint folder, and every checkpoint that it retains.
    pub fn of_log(folder: &Path, slots: &[String]) -> Result<Self> {
        let log = reader::read_log(&|path: &str| fetch(folder, path), slots).map_err(|e| in_folder(folder, e))?;
        let mut report = Self::of_manifests(folder, &reader::retained(&log));
        report.log = log.into_iter().map(SlotReport::of).collect();
        Ok(report)
    }

    /// The checkpoints of these manifests.
    pub fn of_manifests(folder: &Path, manifests: &[String]) -> Self {
        let mut report = Self {
            folder: folder.display().to_string(),
            log: Vec::new(),
            checkpoints: Vec::new(),
            problems: Vec::new(),
        };
        for path in manifests {
            match reader::read_manifest(&|path: &str| fetch(folder, path), path) {
                Ok(manifest) => report.add(folder, path, manifest),
                Err(error) => report.problem(folder, error),
            }
        }
        report
    }

    fn add(&mut self, folder: &Path, path: &str, manifest: Manifest) {
        let (last, bytes) = (manifest.last(), manifest.bytes());
        let checkpoint = manifest.checkpoint;
        let operators = manifest.operators.into_iter();
        let operators = operators.map(|operator| self.operator(folder, checkpoint, operator)).collect();
        let triggered = UNIX_EPOCH + Duration::from_millis(manifest.triggered_ms);
        self.checkpoints.push(CheckpointReport {
            checkpoint: manifest.checkpoint,
            manifest: file(folder, path),
            job: manifest.job,
            attempt: manifest.attempt.to_string(),
            triggered: humantime::format_rfc3339_millis(triggered).to_string(),
            duration_ms: manifest.duration_ms,
            last,
            key_groups: manifest.max_parallelism,
            bytes,
            operators,
        });
    }

    fn operator(&mut self, folder: &Path, checkpoint: CheckpointId, operator: OperatorSnapshot) -> OperatorReport {
        let subtasks = operator.subtasks.iter().zip(&operator.statistics).enumerate();
        let subtasks = subtasks.map(|(index, (handle, statistics))| SubtaskReport {
            carried: !belongs(&handle.path, checkpoint),
            statistics: *statistics,
            ..self.subtask(folder, index, handle)
        });
        let subtasks = subtasks.collect();
        OperatorReport { uid: operator.uid, states: operator.states, subtasks }
    }

    fn subtask(&mut self, folder: &Path, index: usize, handle: &SnapshotHandle) -> SubtaskReport {
        let read = reader::read_snapshot(&|path: &str| fetch(folder, path), handle);
        let sections = read.unwrap_or_else(|error| {
            self.problem(folder, error);
            Vec::new()
        });
        let file = file(folder, &handle.path);
        let sections = sections.into_iter().map(|section| {
            let report = SectionReport::of(&section);
            if report.entries.is_none() && !matches!(section.kind, SectionKind::Source | SectionKind::Operator) {
                self.problems.push(format!("{file}: section {} cannot be decoded", section.name));
            }
            report
        });
        SubtaskReport {
            index,
            sections: sections.collect(),
            file,
            bytes: handle.bytes,
            checksum: format!("{:08x}", handle.checksum),
            digest: format!("{:016x}", handle.digest),
            ended: handle.ended,
            carried: false,
            statistics: SnapshotStatistics::default(),
        }
    }

    fn problem(&mut self, folder: &Path, error: Error) {
        self.problems.push(in_folder(folder, error).message);
    }
}

impl SlotReport {
    fn of((slot, content): (u64, Slot)) -> Self {
        let Slot { log, generation, ids_reserved, record, .. } = content;
        Self { log: log.to_string(), slot, generation: generation.0, ids_reserved, record }
    }
}

impl SectionReport {
    fn of(section: &Section) -> Self {
        let entries = match section.kind {
            SectionKind::Keyed => decode_entries(&section.bytes).map(|entries| entries.len()),
            SectionKind::Sink => {
                bincode::deserialize::<BTreeMap<CheckpointId, Vec<u8>>>(&section.bytes).ok().map(|map| map.len())
            }
            SectionKind::Source | SectionKind::Operator => None,
        };
        Self {
            kind: section.kind,
            name: section.name.clone(),
            key_group: section.group.map(|group| group.0),
            bytes: section.bytes.len(),
            entries,
        }
    }
}

/// The file on disk of a path in storage.
fn file(folder: &Path, path: &str) -> String {
    folder.join(layout::below_checkpoints(path).unwrap_or(path)).display().to_string()
}

/// The same error, naming files on disk.
pub(super) fn in_folder(folder: &Path, error: Error) -> Error {
    let names = Names::of([(layout::CHECKPOINTS, folder)]);
    Error { message: names.as_typed(&error.message), ..error }
}

//! A sink of text files that shows every record exactly once.
//!
//! 1. `write` formats records into lines, in memory.
//! 2. `prepare(n)` writes them as one *staged* object, `DIR/.staging/UID-INDEX/ATTEMPT-CHECKPOINT`: durable, and hidden
//!    from `cat DIR/part-*`. The committable names it, the final object, and length and checksum of both.
//! 3. `commit` creates the *record* of the part, its length and checksum ([`PartRecord`]), and then gives the staged object the
//!    name `DIR/part-INDEX-CHECKPOINT`. Repeating any step of that changes nothing: the names are fixed, and so are the bytes.
//!    A part that exists is never overwritten: unless it has the same length and checksum, something else wrote it.
//! 4. A restart commits again what the restored checkpoint holds. Readers may have moved parts away by then. The staged
//!    object is there exactly as long as the part has not been visible (where storage renames in one step), so a part is
//!    visible once. If the staged object is gone and the part too, the record says that the part was committed.
//! 5. Records of parts that readers moved away are deleted once there are many of them (`files/records.rs`).
//! 6. `recover` deletes what attempts before this one staged. What they staged for the restored checkpoint was committed
//!    just before, and the rest will be written again.
//!
//! A staged object that has vanished counts as committed only if the part is there with the same bytes, or its record is:
//! lost data is never a success.
//!
//! Invariant: the buffer holds exactly the lines written since the last successful `prepare`.
//! Not handled: output of an earlier, unrelated job in the same directory; lines that must fit in memory between two
//! checkpoints; a restore with less parallelism. A staged object that storage writes late, after a request that was repeated
//! and committed, lies hidden until the next restart, or until the coordinator clears up behind a finished job.

mod records;

use super::objects::{self, Found, Renamed};
use crate::door::Env;
use crate::element::Record;
use crate::error::{Error, Result};
use crate::graph::SubtaskContext;
use crate::ids::{Attempt, CheckpointId, Generation};
use crate::job::{Sink, SinkWriter};
use crate::persist::layout;
use crate::persist::part::{PartRecord, StagedPart};
use bytes::Bytes;
use records::{Records, path_of};

/// Appends the text of a record, without a newline.
pub type Format<T> = fn(&T, &mut Vec<u8>);

/// Writes each record as a line of text files under a directory.
pub struct FileSink<T> {
    directory: String,
    format: Format<T>,
}

impl<T> FileSink<T> {
    /// Writes to `directory`, e.g. `"output/counts"`.
    pub fn new(directory: &str, format: Format<T>) -> Self {
        Self { directory: directory.trim_end_matches('/').into(), format }
    }
}

impl<T: Record> Sink<T> for FileSink<T> {
    type Writer = FileWriter<T>;

    fn writer(&self, context: &SubtaskContext) -> FileWriter<T> {
        let index = context.subtask.index;
        FileWriter {
            env: context.env.clone(),
            staging: format!("{}/{}-{index}", layout::staging(&self.directory), context.uid),
            part: format!("{}/part-{index:05}", self.directory),
            attempt: context.attempt,
            format: self.format,
            buffer: Vec::new(),
            doubtful: Vec::new(),
            records: Records::default(),
        }
    }

    fn destination(&self) -> Option<String> {
        Some(self.directory.clone())
    }

    fn staging(&self) -> Option<String> {
        Some(layout::staging(&self.directory))
    }
}

/// Writes the files of one subtask.
pub struct FileWriter<T> {
    env: Env,
    /// Folder of this subtask's staged objects.
    staging: String,
    /// Final path up to the checkpoint.
    part: String,
    attempt: Attempt,
    format: Format<T>,
    buffer: Vec<u8>,
    /// Staged objects that a failed `prepare` may have left, which no committable names.
    doubtful: Vec<String>,
    /// Records of parts that this writer committed.
    records: Records,
}

impl<T: Record> SinkWriter<T> for FileWriter<T> {
    fn write(&mut self, records: Vec<T>) {
        for record in &records {
            (self.format)(record, &mut self.buffer);
            self.buffer.push(b'\n');
        }
    }

    async fn prepare(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>> {
        self.records.on_prepared(checkpoint);
        if self.buffer.is_empty() {
            return Ok(None);
        }
        // Should this future be dropped half-way the job restarts anyway; the lines are still counted as unstaged.
        let content = Bytes::copy_from_slice(&self.buffer);
        let part = StagedPart {
            staged: format!("{}/{}-{checkpoint}", self.staging, self.attempt),
            shown: path_of(&self.part, checkpoint),
            bytes: content.len() as u64,
            checksum: crc32c::crc32c(&content),
        };
        assert!(part.describes(&content), "the committable is of this content");
        assert!(!self.doubtful.contains(&part.staged), "a checkpoint is prepared once an attempt");
        if let Err(error) = objects::overwrite(&self.env, &part.staged, &content).await {
            self.doubtful.push(part.staged);
            return Err(error);
        }
        self.buffer.clear();
        Ok(Some(part.encode()))
    }

    async fn commit(&mut self, committable: &[u8]) -> Result<()> {
        let part = StagedPart::decode(committable)
            .ok_or_else(|| Error::corrupt(format!("a committable of {} cannot be decoded", self.part)))?;
        match objects::read(&self.env, &part.staged, 0..u64::MAX).await? {
            Found::Object(content) if part.describes(&content) => self.show(&part).await?,
            Found::Object(content) => self.discard(&part, &content).await?,
            Found::Nothing if self.is_committed(&part).await? => {}
            Found::Nothing => return Err(lost(&part)),
        }
        while let Some(path) = self.doubtful.last() {
            objects::delete(&self.env, path).await?;
            self.doubtful.pop();
        }
        self.records.on_committed(&self.env, &self.part, &part.shown).await;
        Ok(())
    }

    async fn recover(&mut self) -> Result<()> {
        assert!(self.buffer.is_empty(), "recovery comes before any record");
        for object in objects::list(&self.env, &self.staging).await? {
            let name = object.path.strip_prefix(&self.staging).and_then(|rest| rest.strip_prefix('/'));
            // What is not named like ours is not ours to delete.
            if name.and_then(attempt_of).is_some_and(|attempt| attempt < self.attempt) {
                objects::delete(&self.env, &object.path).await?;
            }
        }
        Ok(())
    }
}

impl<T: Record> FileWriter<T> {
    /// Whether a part was committed before, by what is known without the staged object. Its reader may have moved it away.
    async fn is_committed(&self, part: &StagedPart) -> Result<bool> {
        match objects::read(&self.env, &part.shown, 0..u64::MAX).await? {
            Found::Object(content) if part.describes(&content) => return Ok(true),
            Found::Object(content) => return Err(foreign(part, &content)),
            Found::Nothing => {}
        }
        let path = layout::part_record(&part.shown);
        match objects::read(&self.env, &path, 0..u64::MAX).await? {
            Found::Object(stored) if PartRecord::decode(&path, &stored)? == part.record() => Ok(true),
            Found::Object(_) => {
                Err(Error::corrupt(format!("{} is gone, and {path} is the record of another part", part.shown)))
            }
            Found::Nothing => Ok(false),
        }
    }

    /// Makes a part visible. One that is there already has to have the same bytes.
    async fn show(&self, part: &StagedPart) -> Result<()> {
        let StagedPart { staged, shown, .. } = part;
        // A record that is there already is of the same part.
        objects::put_once(&self.env, &layout::part_record(shown), &part.record().encode()).await?;
        match objects::rename(&self.env, staged, shown).await? {
            // Nothing is left there of a request whose reply was lost.
            Renamed::Done | Renamed::Nothing => Ok(()),
            Renamed::Exists => match objects::read(&self.env, shown, 0..u64::MAX).await? {
                Found::Object(found) if part.describes(&found) => objects::delete(&self.env, staged).await,
                Found::Object(found) => Err(foreign(part, &found)),
                Found::Nothing => Err(Error::restart(format!("{shown} existed and is gone"))),
            },
        }
    }

    /// Deletes a staged object that is not what was staged, if the part is visible all the same.
    async fn discard(&self, part: &StagedPart, found: &[u8]) -> Result<()> {
        let StagedPart { staged, shown, bytes, .. } = part;
        match objects::read(&self.env, shown, 0..u64::MAX).await? {
            Found::Object(content) if part.describes(&content) => objects::delete(&self.env, staged).await,
            Found::Object(_) | Found::Nothing => {
                let found = found.len();
                Err(Error::corrupt(format!(
                    "{staged} is not what was staged: {found} bytes or their checksum differ from the {bytes} written"
                )))
            }
        }
    }
}

fn lost(part: &StagedPart) -> Error {
    let StagedPart { staged, shown, .. } = part;
    Error::corrupt(format!("{staged} is gone, but {shown} was never written: output is lost"))
}

fn foreign(part: &StagedPart, found: &[u8]) -> Error {
    let StagedPart { shown, bytes, .. } = part;
    let found = found.len();
    Error::corrupt(format!(
        "{shown} exists with other content, {found} bytes instead of {bytes}: something else wrote it, and it is not overwritten"
    ))
}

/// The attempt in the name of a staged object, `aG.N-chk-C`.
fn attempt_of(name: &str) -> Option<Attempt> {
    let (attempt, checkpoint) = name.split_once("-chk-")?;
    checkpoint.parse::<u64>().ok()?;
    let (generation, number) = attempt.strip_prefix('a')?.split_once('.')?;
    Some(Attempt { generation: Generation(generation.parse().ok()?), number: number.parse().ok()? })
}

#[cfg(test)]
mod tests;

//! A sink of text files that shows every record exactly once.
//!
//! 1. `write` formats records into lines, in memory.
//! 2. `prepare(n)` writes them as one *staged* object, `DIR/.staging/UID-INDEX/ATTEMPT-CHECKPOINT`: durable, and hidden
//!    from `cat DIR/part-*`. The committable names it, the final object, and length and checksum of both.
//! 3. `commit` creates `DIR/part-INDEX-CHECKPOINT` from the staged object and deletes the staged one. In between it leaves
//!    the length and checksum of the part beside it ([`PartRecord`]), for `inspect --output`. Repeating any part of that
//!    changes nothing: the names are fixed, and so are the bytes. A part that exists is never overwritten:
//!    unless it has the same length and checksum, something else wrote it.
//! 4. `recover` deletes what attempts before this one staged. What they staged for the restored checkpoint was committed
//!    just before, and the rest will be written again.
//!
//! A staged object that has vanished counts as committed only if the final one is there with the same bytes: lost data
//! is never a success.
//!
//! Invariant: the buffer holds exactly the lines written since the last successful `prepare`.
//! Not handled: output of an earlier, unrelated job in the same directory; lines that must fit in memory between two
//! checkpoints; a restore with less parallelism. A staged object that storage writes late, after a request that was repeated
//! and committed, lies hidden until the next restart, or until the coordinator clears up behind a finished job.

use super::objects::{self, Created, Found};
use crate::codec;
use crate::door::Env;
use crate::element::Record;
use crate::error::{Error, Result};
use crate::graph::SubtaskContext;
use crate::ids::{Attempt, CheckpointId, Generation};
use crate::job::{Sink, SinkWriter};
use crate::persist::part::PartRecord;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The folder of staged objects, in that of the output.
const STAGING: &str = ".staging";

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
            staging: format!("{}/{STAGING}/{}-{index}", self.directory, context.uid),
            part: format!("{}/part-{index:05}", self.directory),
            attempt: context.attempt,
            format: self.format,
            buffer: Vec::new(),
            doubtful: Vec::new(),
        }
    }

    fn destination(&self) -> Option<String> {
        Some(self.directory.clone())
    }

    fn staging(&self) -> Option<String> {
        Some(format!("{}/{STAGING}", self.directory))
    }
}

/// What a checkpoint remembers of a staged object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Committable {
    staged: String,
    shown: String,
    bytes: u64,
    checksum: u32,
}

impl Committable {
    fn describes(&self, content: &[u8]) -> bool {
        content.len() as u64 == self.bytes && crc32c::crc32c(content) == self.checksum
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
}

impl<T: Record> SinkWriter<T> for FileWriter<T> {
    fn write(&mut self, records: Vec<T>) {
        for record in &records {
            (self.format)(record, &mut self.buffer);
            self.buffer.push(b'\n');
        }
    }

    async fn prepare(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        // Should this future be dropped half-way the job restarts anyway; the lines are still counted as unstaged.
        let content = Bytes::copy_from_slice(&self.buffer);
        let committable = Committable {
            staged: format!("{}/{}-{checkpoint}", self.staging, self.attempt),
            shown: format!("{}-{:010}", self.part, checkpoint.0),
            bytes: content.len() as u64,
            checksum: crc32c::crc32c(&content),
        };
        assert!(committable.describes(&content), "the committable is of this content");
        assert!(!self.doubtful.contains(&committable.staged), "a checkpoint is prepared once an attempt");
        if let Err(error) = objects::overwrite(&self.env, &committable.staged, &content).await {
            self.doubtful.push(committable.staged);
            return Err(error);
        }
        self.buffer.clear();
        Ok(Some(bincode::serialize(&committable).expect("committables serialise")))
    }

    async fn commit(&mut self, committable: &[u8]) -> Result<()> {
        let committable: Committable = codec::decode(committable)
            .map_err(|e| Error::corrupt(format!("a committable of {} cannot be decoded: {e}", self.part)))?;
        let Committable { staged, shown, .. } = &committable;
        match objects::read(&self.env, staged, 0..u64::MAX).await? {
            Found::Object(content) if committable.describes(&content) => {
                self.show(&committable, &content).await?;
                self.record(&committable).await?;
                objects::delete(&self.env, staged).await?;
            }
            Found::Object(content) => {
                let (found, expected) = (content.len(), committable.bytes);
                return Err(Error::corrupt(format!(
                    "{staged} is not what was staged: {found} bytes or their checksum differ from the {expected} written"
                )));
            }
            Found::Nothing => match objects::read(&self.env, shown, 0..u64::MAX).await? {
                Found::Object(content) if committable.describes(&content) => {}
                Found::Object(_) => {
                    return Err(Error::corrupt(format!("{staged} is gone and {shown} holds something else")));
                }
                Found::Nothing => {
                    return Err(Error::corrupt(format!(
                        "{staged} is gone, but {shown} was never written: output is lost"
                    )));
                }
            },
        }
        while let Some(path) = self.doubtful.last() {
            objects::delete(&self.env, path).await?;
            self.doubtful.pop();
        }
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
    /// Leaves beside a part what it is made of. One that is there already is of the same part.
    async fn record(&self, committable: &Committable) -> Result<()> {
        let Committable { shown, bytes, checksum, .. } = committable;
        let name = shown.rsplit('/').next().unwrap_or(shown).to_owned();
        let record = PartRecord { name, bytes: *bytes, checksum: *checksum }.encode();
        objects::put_once(&self.env, &PartRecord::path(shown), &record).await
    }

    /// Creates the final object. One that is there already has to have the same bytes.
    async fn show(&self, committable: &Committable, content: &Bytes) -> Result<()> {
        let shown = &committable.shown;
        match objects::create(&self.env, shown, content).await? {
            Created::Done => return Ok(()),
            Created::Exists => {}
        }
        match objects::read(&self.env, &committable.shown, 0..u64::MAX).await? {
            Found::Object(found) if committable.describes(&found) => Ok(()),
            Found::Object(found) => Err(Error::corrupt(format!(
                "{shown} exists with other content, {} bytes instead of {}: something else wrote it, and it is not overwritten",
                found.len(),
                committable.bytes
            ))),
            Found::Nothing => Err(Error::restart(format!("{shown} existed and is gone"))),
        }
    }
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

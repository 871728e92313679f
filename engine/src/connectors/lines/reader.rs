//! Reads the splits of one subtask, one after the other. The only thing ever awaited by `next_batch` is a request that
//! is kept in the reader, so that a dropped future loses nothing and repeats nothing.

use super::split::Split;
use super::window::{Step, Window};
use super::{TAIL_BYTES, TextLines};
use crate::codec;
use crate::connectors::objects::{self, Found};
use crate::connectors::text::Text;
use crate::door::{BoxFuture, Env};
use crate::error::{Error, Result};
use crate::graph::SubtaskContext;
use crate::job::SourceReader;
use crate::layout::Layout;
use bytes::Bytes;

/// Reads lines.
pub struct LineReader {
    env: Env,
    source: TextLines,
    index: u16,
    parallelism: u16,
    batch_records: usize,
    /// `None` until the input has been listed, once in the life of the state.
    splits: Option<Vec<Split>>,
    /// Which split is being read; those before it are done.
    current: usize,
    /// What has been read of it.
    window: Option<Window>,
    /// The listing that is under way.
    listing: Option<BoxFuture<'static, Result<Vec<Split>>>>,
    /// The read that is under way.
    reading: Option<BoxFuture<'static, Result<Bytes>>>,
    /// What is waited for before the next batch.
    pausing: Option<BoxFuture<'static, ()>>,
}

impl LineReader {
    pub(super) fn new(source: TextLines, context: &SubtaskContext) -> Self {
        assert!(context.batch_records >= 1, "a batch has a record");
        Self {
            env: context.env.clone(),
            source,
            index: context.subtask.index,
            parallelism: context.parallelism,
            batch_records: context.batch_records,
            splits: None,
            current: 0,
            window: None,
            listing: None,
            reading: None,
            pausing: None,
        }
    }

    /// The request for every split of this subtask.
    fn list(&self) -> BoxFuture<'static, Result<Vec<Split>>> {
        let (env, source) = (self.env.clone(), self.source.clone());
        let (index, parallelism) = (self.index, self.parallelism);
        Box::pin(async move {
            let objects = objects::list(&env, &source.path).await?;
            if objects.is_empty() {
                return Err(Error::give_up(format!("input {:?} does not exist", source.path)));
            }
            assert!(objects.is_sorted_by(|a, b| a.path < b.path), "storage lists in the order of paths");
            let splits = objects
                .iter()
                .flat_map(|object| Split::of(&object.path, object.bytes, source.split_bytes, index, parallelism));
            Ok(splits.collect())
        })
    }

    /// The request for the bytes of `split` from `from` on.
    fn read(&self, split: &Split, from: u64) -> BoxFuture<'static, Result<Bytes>> {
        assert!(from < split.size, "there are bytes to read");
        let chunk_bytes = self.source.chunk_bytes;
        // Past the end only the rest of one line is wanted.
        let to = if from < split.end {
            split.end.min(from.saturating_add(chunk_bytes))
        } else {
            split.size.min(from.saturating_add(chunk_bytes.min(TAIL_BYTES)))
        };
        read_part(self.env.clone(), split.path.clone(), from, to)
    }
}

/// Some bytes from `from` on, at most up to `to`.
fn read_part(env: Env, path: String, from: u64, to: u64) -> BoxFuture<'static, Result<Bytes>> {
    assert!(from < to, "a part has a byte");
    Box::pin(async move {
        match objects::read(&env, &path, from..to).await? {
            Found::Nothing => Err(Error::give_up(format!("input {path} has vanished; byte {from} is wanted"))),
            Found::Object(bytes) if bytes.is_empty() => {
                Err(Error::give_up(format!("input {path} has shrunk: it ends before byte {from}")))
            }
            Found::Object(bytes) => {
                assert!(bytes.len() as u64 <= to - from, "storage returns at most the range");
                Ok(bytes)
            }
        }
    })
}

/// Re-reads what the snapshot says was consumed of a split.
async fn verify(env: &Env, split: &Split, chunk_bytes: u64) -> Result<()> {
    let (path, offset) = (&split.path, split.offset);
    let (mut position, mut checksum) = (split.start, 0);
    while position < offset {
        let to = offset.min(position.saturating_add(chunk_bytes));
        let part = read_part(env.clone(), path.clone(), position, to).await;
        let bytes = part.map_err(|e| e.while_doing(format!("going back to byte {offset} of {path}")))?;
        checksum = crc32c::crc32c_append(checksum, &bytes);
        position += bytes.len() as u64;
    }
    assert_eq!(position, offset, "parts are never longer than asked for");
    if checksum != split.checksum {
        let start = split.start;
        return Err(Error::give_up(format!(
            "input {path} has changed between byte {start} and byte {offset}, up to where the checkpoint has read it"
        )));
    }
    Ok(())
}

impl SourceReader for LineReader {
    type Item = Text;

    async fn next_batch(&mut self) -> Result<Option<Vec<Text>>> {
        if self.splits.is_none() {
            let request = self.listing.take().unwrap_or_else(|| self.list());
            let splits = self.listing.insert(request).await;
            self.listing = None;
            self.splits = Some(splits?);
        }
        if let Some(pausing) = &mut self.pausing {
            pausing.await;
            self.pausing = None;
        }
        loop {
            let splits = self.splits.as_mut().expect("listed above");
            let Some(split) = splits.get_mut(self.current) else {
                return Ok(None);
            };
            if split.done {
                self.current += 1;
                self.window = None;
                continue;
            }
            let window = self.window.get_or_insert_with(|| Window::at(split));
            match window.take_lines(split, self.batch_records) {
                Step::Lines(lines) => {
                    let pause = self.source.pause;
                    self.pausing = (!pause.is_zero()).then(|| self.env.sleep(pause));
                    return Ok(Some(lines));
                }
                Step::Done => continue,
                Step::NeedsBytes => {}
            }
            let from = window.next_byte();
            let split = split.clone();
            let request = self.reading.take().unwrap_or_else(|| self.read(&split, from));
            let bytes = self.reading.insert(request).await;
            self.reading = None;
            self.window.as_mut().expect("placed above").append(&bytes?);
        }
    }

    fn positions(&self) -> Vec<u8> {
        bincode::serialize(&self.splits).expect("splits serialise")
    }

    fn layout() -> Layout {
        Layout::known::<Option<Vec<Split>>>()
    }

    async fn restore(&mut self, positions: &[u8]) -> Result<()> {
        assert!(self.splits.is_none(), "restored at most once, before any batch");
        let path = &self.source.path;
        let splits: Option<Vec<Split>> = codec::decode(positions)
            .map_err(|e| Error::corrupt(format!("the positions in input {path:?} cannot be decoded: {e}")))?;
        for split in splits.iter().flatten() {
            if !split.is_sound() {
                return Err(Error::corrupt(format!("a position in input {} makes no sense: {split:?}", split.path)));
            }
            verify(&self.env, split, self.source.chunk_bytes).await?;
        }
        self.splits = splits;
        Ok(())
    }
}

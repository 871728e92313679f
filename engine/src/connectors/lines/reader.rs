//! Reads the splits of one subtask, one after the other. The only thing ever awaited by `next_batch` is a request that
//! is kept in the reader, so that a dropped future loses nothing and repeats nothing.

use super::split::Split;
use super::window::{Step, Window};
use super::{TAIL_BYTES, TextLines};
use crate::codec;
use crate::connectors::objects::{self, Found};
use crate::connectors::text::Text;
use crate::cores::input::{Comparison, Edition, Refusal, compare};
use crate::door::{BoxFuture, Env, Piece};
use crate::error::{Error, Result};
use crate::graph::SubtaskContext;
use crate::job::SourceReader;
use crate::layout::Layout;
use crate::messages::ListingHandle;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;

/// Changes of an object between two batches after which the attempt fails: its writer may be done by the next attempt.
const CHANGES_MAX: u32 = 8;

/// Reads lines.
pub struct LineReader {
    env: Env,
    source: TextLines,
    listing: Option<ListingHandle>,
    index: u16,
    parallelism: u16,
    batch_records: usize,
    /// The splits that are not finished, in order; the first one is being read. `None` until the listing was read, once in
    /// the life of the state.
    splits: Option<VecDeque<Split>>,
    /// What has been read of the first split.
    window: Option<Window>,
    /// The edition of its object that was accepted last; `None` until a read.
    accepted: Option<Edition>,
    /// How often another edition was found since the last batch.
    changes: u32,
    /// The request that is under way.
    underway: Option<BoxFuture<'static, Result<Reply>>>,
    /// What is waited for before the next batch.
    pausing: Option<BoxFuture<'static, ()>>,
}

/// What a request comes back with.
enum Reply {
    /// Every split of this subtask.
    Splits(VecDeque<Split>),
    /// The next bytes of the first split.
    Part(Piece),
    /// What is known of the first split is the same in this edition.
    Verified {
        /// The newest one that was found.
        edition: Edition,
        /// What was read before, and counts now.
        part: Option<Piece>,
    },
    /// While it was verified the object was written again: nothing is known of the newest edition.
    WrittenMeanwhile,
}

impl LineReader {
    pub(super) fn new(source: TextLines, context: &SubtaskContext) -> Self {
        assert!(context.batch_records >= 1, "a batch has a record");
        Self {
            env: context.env.clone(),
            source,
            listing: context.listing.clone(),
            index: context.subtask.index,
            parallelism: context.parallelism,
            batch_records: context.batch_records,
            splits: None,
            window: None,
            accepted: None,
            changes: 0,
            underway: None,
            pausing: None,
        }
    }

    /// The request for every split of this subtask.
    fn list(&self) -> BoxFuture<'static, Result<Reply>> {
        let (env, source, handle) = (self.env.clone(), self.source.clone(), self.listing.clone());
        let (index, parallelism) = (self.index, self.parallelism);
        Box::pin(async move {
            let missing =
                || Error::corrupt(format!("the job reads {}, but no listing of it was deployed", source.path));
            let listing = objects::listing(&env, &handle.ok_or_else(missing)?).await?;
            let objects = listing.objects(&source.path).ok_or_else(missing)?;
            let splits = objects.iter().flat_map(|object| Split::of(object, source.split_bytes, index, parallelism));
            Ok(Reply::Splits(splits.collect()))
        })
    }

    /// The request for the bytes of `split` from `from` on.
    fn read(&self, split: &Split, from: u64) -> BoxFuture<'static, Result<Reply>> {
        assert!(from < split.size, "there are bytes to read");
        let chunk_bytes = self.source.chunk_bytes;
        // Past the end only the rest of one line is wanted.
        let to = if from < split.end {
            split.end.min(from.saturating_add(chunk_bytes))
        } else {
            split.size.min(from.saturating_add(chunk_bytes.min(TAIL_BYTES)))
        };
        let (env, split) = (self.env.clone(), split.clone());
        Box::pin(async move { part(&env, &split, from..to).await.map(Reply::Part) })
    }

    /// The next request: there is a split, and it needs bytes from `from` on, unless the splits are not known.
    fn request(&self) -> BoxFuture<'static, Result<Reply>> {
        match (self.splits.as_ref().and_then(VecDeque::front), &self.window) {
            (Some(split), Some(window)) => self.read(split, window.next_byte()),
            (Some(_) | None, _) => self.list(),
        }
    }

    fn on_reply(&mut self, reply: Reply) -> Result<()> {
        match reply {
            Reply::Splits(splits) => self.splits = Some(splits),
            Reply::Verified { edition, part } => {
                self.accepted = Some(edition);
                if let Some(part) = part {
                    self.window.as_mut().expect("it stays for the part").append(&part.bytes);
                }
            }
            Reply::WrittenMeanwhile => self.count_change()?,
            Reply::Part(piece) => return self.on_part(piece),
        }
        Ok(())
    }

    fn count_change(&mut self) -> Result<()> {
        self.changes += 1;
        if self.changes > CHANGES_MAX {
            let split = self.splits.as_ref().and_then(VecDeque::front).expect("the first split is read");
            let shown = self.env.storage.shown(&split.path);
            return Err(Error::restart(format!("input {shown} keeps changing while it is read")));
        }
        Ok(())
    }

    /// Bytes arrived: they count if they are of an edition that goes on from what was consumed.
    fn on_part(&mut self, piece: Piece) -> Result<()> {
        let split = self.splits.as_ref().and_then(VecDeque::front).expect("a part is read of the first split");
        let (listed, found) = (split.listed(), Edition::of(&piece));
        match compare(&listed, self.accepted.as_ref().unwrap_or(&listed), &found) {
            Comparison::Fits => {
                self.accepted = Some(found);
                self.window.as_mut().expect("it asked for the part").append(&piece.bytes);
            }
            Comparison::GrewAgain => {
                let known = self.window.as_ref().expect("it asked for the part").known(split);
                self.verify(found, known, true, Some(piece));
            }
            how @ (Comparison::VerifyPrefix | Comparison::ReadToListed) => {
                let known = (split.offset, split.checksum);
                self.count_change()?;
                self.verify(found, known, how == Comparison::ReadToListed, None);
                // What was read and not consumed is of the edition before.
                self.window = None;
            }
            Comparison::Refuse(why) => return Err(refused(&self.env, split, why)),
        }
        Ok(())
    }

    /// Compares the first split up to a byte, whose checksum is known, with the edition `found` of its object.
    fn verify(&mut self, found: Edition, known: (u64, u32), to_listed: bool, part: Option<Piece>) {
        let split = self.splits.as_ref().and_then(VecDeque::front).expect("a part is read of the first split");
        let (env, split, chunk_bytes) = (self.env.clone(), split.clone(), self.source.chunk_bytes);
        self.underway = Some(Box::pin(async move {
            Ok(match verify(&env, &split, chunk_bytes, found, known, to_listed).await? {
                Some(edition) => Reply::Verified { edition, part },
                None => Reply::WrittenMeanwhile,
            })
        }));
    }

    /// No line is left in the first split.
    fn close(&mut self) {
        self.splits.as_mut().and_then(VecDeque::pop_front).expect("a split was read");
        (self.window, self.accepted) = (None, None);
    }
}

fn refused(env: &Env, split: &Split, why: Refusal) -> Error {
    Error::give_up(why.explain(&env.storage.shown(&split.path), split.size))
}

/// Some bytes of a range of the object; none if it ends before.
async fn part(env: &Env, split: &Split, range: Range<u64>) -> Result<Piece> {
    assert!(range.start < range.end, "a part has a byte");
    let most = range.end - range.start;
    match objects::piece(env, &split.path, range).await? {
        Found::Nothing => Err(refused(env, split, Refusal::Gone)),
        Found::Object(piece) => {
            assert!(piece.bytes.len() as u64 <= most, "storage returns at most the range");
            Ok(piece)
        }
    }
}

/// Reads a split again up to the byte `until`, in the edition `found` of its object, and with `to_listed` the end of its listed
/// part. Says in which edition it ends; `None` if the object was written again meanwhile.
async fn verify(
    env: &Env,
    split: &Split,
    chunk_bytes: u64,
    found: Edition,
    (until, checksum): (u64, u32),
    to_listed: bool,
) -> Result<Option<Edition>> {
    assert!((split.offset..=split.size).contains(&until), "what is consumed is verified");
    let listed = split.listed();
    let mut edition = found;
    let read = async |range: Range<u64>, edition: &mut Edition| -> Result<Option<Bytes>> {
        let piece = part(env, split, range).await?;
        let now = Edition::of(&piece);
        match compare(&listed, edition, &now) {
            Comparison::Fits | Comparison::GrewAgain => *edition = now,
            Comparison::VerifyPrefix | Comparison::ReadToListed => return Ok(None),
            Comparison::Refuse(why) => return Err(refused(env, split, why)),
        }
        Ok(Some(piece.bytes))
    };
    if to_listed {
        let Some(last) = read(split.size - 1..split.size, &mut edition).await? else { return Ok(None) };
        if last[..] != *b"\n" {
            return Err(refused(env, split, Refusal::CutOff { bytes: edition.bytes }));
        }
    }
    let (mut position, mut found) = (split.start, 0);
    while position < until {
        let range = position..until.min(position.saturating_add(chunk_bytes));
        let Some(bytes) = read(range, &mut edition).await? else { return Ok(None) };
        found = crc32c::crc32c_append(found, &bytes);
        position += bytes.len() as u64;
    }
    assert_eq!(position, until, "parts are never longer than asked for");
    if found != checksum {
        return Err(refused(env, split, Refusal::Changed { start: split.start, end: until }));
    }
    Ok(Some(edition))
}

impl SourceReader for LineReader {
    type Item = Text;

    async fn next_batch(&mut self) -> Result<Option<Vec<Text>>> {
        if let Some(pausing) = &mut self.pausing {
            pausing.await;
            self.pausing = None;
        }
        loop {
            if let Some(splits) = &mut self.splits {
                let Some(split) = splits.front_mut() else { return Ok(None) };
                let window = self.window.get_or_insert_with(|| Window::at(split));
                match window.take_lines(split, self.batch_records) {
                    Step::Lines(lines) => {
                        if split.is_done() {
                            self.close();
                        }
                        self.changes = 0;
                        let pause = self.source.pause;
                        self.pausing = (!pause.is_zero()).then(|| self.env.sleep(pause));
                        return Ok(Some(lines));
                    }
                    Step::Done => {
                        self.close();
                        continue;
                    }
                    Step::NeedsBytes => {}
                }
            }
            let request = self.underway.take().unwrap_or_else(|| self.request());
            let reply = self.underway.insert(request).await;
            self.underway = None;
            self.on_reply(reply?)?;
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
        let splits: Option<VecDeque<Split>> = codec::decode(positions)
            .map_err(|e| Error::corrupt(format!("the positions in input {path:?} cannot be decoded: {e}")))?;
        if let Some(split) = splits.iter().flatten().find(|split| !split.is_sound() || split.is_done()) {
            return Err(Error::corrupt(format!("a position in input {} makes no sense: {split:?}", split.path)));
        }
        self.splits = splits;
        Ok(())
    }
}

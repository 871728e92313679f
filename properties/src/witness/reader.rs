//! A source's reader, driven by record counts: the witness must stand exactly where the recorded run stood, wherever
//! the batches of the two runs end.
//!
//! As long as batches end alike the reader is asked for whole batches. If one reaches past the record wanted, the way
//! from the last snapshot is read again record by record. That is slow and does not happen with readers whose batches
//! depend on their position alone.

use super::subtask::Taken;
use cofferdam_engine::element::Batch;
use cofferdam_engine::graph::ErasedReader;
use cofferdam_engine::state::Section;
use futures_util::FutureExt;
use std::rc::Rc;

/// Makes a reader that returns batches of at most so many records; `None` for the job's own number.
pub type MakeReader = Box<dyn Fn(Option<usize>) -> Box<dyn ErasedReader>>;

/// A reader and how far it has come.
pub struct Rereader {
    reader: Box<dyn ErasedReader>,
    make: MakeReader,
    base: Option<Rc<Taken>>,
    /// Records since `base`.
    records: u64,
}

/// Why records could not be read.
#[derive(Debug)]
pub enum Unread {
    /// The input ends this many records earlier.
    Missing(u64),
    /// The reader is at fault, or the quiet world.
    Harness(String),
}

impl Rereader {
    /// A reader at the start of its input.
    pub fn new(reader: Box<dyn ErasedReader>, make: MakeReader) -> Self {
        Self { reader, make, base: None, records: 0 }
    }

    /// Goes to where a snapshot was taken.
    pub fn restore(&mut self, taken: &Rc<Taken>) -> Result<(), Unread> {
        restore(self.reader.as_mut(), taken.reader_sections())?;
        self.rebase(taken.clone());
        Ok(())
    }

    /// Remembers the snapshot that was just taken as a place to return to.
    pub fn rebase(&mut self, taken: Rc<Taken>) {
        self.base = Some(taken);
        self.records = 0;
    }

    /// The positions behind the last record passed on.
    pub fn sections(&self) -> Vec<Section> {
        self.reader.snapshot()
    }

    /// Passes exactly `n` records on.
    pub fn take(&mut self, n: u64, mut pass_on: impl FnMut(Batch)) -> Result<(), Unread> {
        let mut wanted = n;
        while wanted > 0 {
            let Some(batch) = next(self.reader.as_mut())? else { return Err(Unread::Missing(wanted)) };
            let here = batch.len() as u64;
            if here > wanted {
                drop(batch);
                return self.take_one_by_one(wanted, pass_on);
            }
            wanted -= here;
            self.records += here;
            pass_on(batch);
        }
        Ok(())
    }

    /// Whether there are no records left.
    pub fn is_at_end(&mut self) -> Result<bool, Unread> {
        Ok(next(self.reader.as_mut())?.is_none())
    }

    fn take_one_by_one(&mut self, n: u64, mut pass_on: impl FnMut(Batch)) -> Result<(), Unread> {
        let mut single = (self.make)(Some(1));
        if let Some(base) = &self.base {
            restore(single.as_mut(), base.reader_sections())?;
        }
        for record in 0..self.records + n {
            match next(single.as_mut())? {
                Some(batch) if batch.len() == 1 && record < self.records => drop(batch),
                Some(batch) if batch.len() == 1 => pass_on(batch),
                Some(batch) => {
                    let message = format!("a reader was asked for batches of 1 record and returned {}", batch.len());
                    return Err(Unread::Harness(message));
                }
                None => return Err(Unread::Missing(self.records + n - record)),
            }
        }
        self.records += n;
        let mut reader = (self.make)(None);
        restore(reader.as_mut(), &single.snapshot())?;
        self.reader = reader;
        Ok(())
    }
}

fn next(reader: &mut dyn ErasedReader) -> Result<Option<Batch>, Unread> {
    let batch = reader.next_batch().now_or_never();
    let batch = batch.ok_or_else(|| Unread::Harness("a reader waits for ever in a quiet world".to_owned()))?;
    let batch = batch.map_err(|error| Unread::Harness(format!("a reader failed in a quiet world: {error}")))?;
    if batch.as_ref().is_some_and(Batch::is_empty) {
        return Err(Unread::Harness("a reader returned an empty batch".to_owned()));
    }
    Ok(batch)
}

fn restore(reader: &mut dyn ErasedReader, sections: &[Section]) -> Result<(), Unread> {
    let restored = reader.restore(sections).now_or_never();
    let restored = restored.ok_or_else(|| Unread::Harness("a reader restores for ever in a quiet world".to_owned()))?;
    restored.map_err(|error| Unread::Harness(format!("a reader refuses its own snapshot: {error}")))
}

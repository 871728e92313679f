//! A source's reader, driven by record counts: the witness must stand exactly where the recorded run stood, wherever
//! the batches of the two runs end.
//!
//! As long as batches end alike the reader is asked for whole batches. If one reaches past the record wanted, the way
//! from the last snapshot is read again record by record. That is slow and does not happen with readers whose batches
//! depend on their position alone.
//!
//! Positions are compared by what comes next, see [`Rereader::same_position`].

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

    /// Whether two positions stand before the same record, whatever else they say: a reader may have looked ahead, at
    /// the list of its input or past a split without records, and been interrupted.
    pub fn same_position(&self, one: &[Section], other: &[Section]) -> Result<bool, Unread> {
        let behind_the_next = |sections: &[Section]| {
            let mut reader = (self.make)(Some(1));
            restore(reader.as_mut(), sections)?;
            let batch = next(reader.as_mut())?;
            Ok((batch.is_some(), reader.snapshot()))
        };
        Ok(behind_the_next(one)? == behind_the_next(other)?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_engine::door::BoxFuture;
    use cofferdam_engine::error::Result;
    use cofferdam_engine::state::SectionKind;
    use std::future::ready;

    /// Numbers below ten, in batches; notes in its positions whether it has looked at its input.
    struct Counter {
        next: u64,
        batch: u64,
        looked: bool,
    }

    impl ErasedReader for Counter {
        fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Batch>>> {
            self.looked = true;
            let batch: Vec<u64> = (self.next..10).take(self.batch as usize).collect();
            self.next += batch.len() as u64;
            Box::pin(ready(Ok((!batch.is_empty()).then(|| Batch::new(batch)))))
        }

        fn snapshot(&self) -> Vec<Section> {
            let bytes = vec![self.next as u8, u8::from(self.looked)];
            vec![Section { kind: SectionKind::Source, name: "next".to_owned(), group: None, bytes }]
        }

        fn restore(&mut self, sections: &[Section]) -> BoxFuture<'_, Result<()>> {
            (self.next, self.looked) = (u64::from(sections[0].bytes[0]), sections[0].bytes[1] == 1);
            Box::pin(ready(Ok(())))
        }
    }

    fn counter(batch: usize) -> Box<dyn ErasedReader> {
        Box::new(Counter { next: 0, batch: batch as u64, looked: false })
    }

    fn rereader() -> Rereader {
        Rereader::new(counter(4), Box::new(|batch| counter(batch.unwrap_or(4))))
    }

    fn take(reader: &mut Rereader, n: u64) -> Vec<u64> {
        let mut records = Vec::new();
        reader.take(n, |batch| records.extend(batch.into_records::<u64>())).expect("as many records");
        records
    }

    #[test]
    fn a_batch_that_ends_elsewhere_moves_the_position_by_the_records_alone() {
        let mut reader = rereader();
        assert_eq!(take(&mut reader, 4), [0, 1, 2, 3]);
        assert_eq!(take(&mut reader, 3), [4, 5, 6]);
        assert_eq!(reader.sections()[0].bytes, [7, 1]);
        assert_eq!(take(&mut reader, 3), [7, 8, 9]);
        assert!(reader.is_at_end().expect("readable"));
    }

    #[test]
    fn records_past_the_end_are_missing() {
        let mut reader = rereader();
        take(&mut reader, 8);
        assert!(matches!(reader.take(5, |_| ()), Err(Unread::Missing(3))));
    }

    #[test]
    fn positions_are_the_same_if_the_same_record_is_next() {
        let at = |next, looked| Counter { next, batch: 1, looked }.snapshot();
        let reader = rereader();
        assert!(reader.same_position(&at(3, false), &at(3, true)).expect("readable"));
        assert!(!reader.same_position(&at(3, true), &at(4, true)).expect("readable"));
        assert!(!reader.same_position(&at(9, true), &at(10, true)).expect("readable"));
    }
}

//! A source that makes its records: each is a function of its subtask and its index there, so that a restore needs
//! nothing but the next index.
//!
//! Unpaced it yields full batches as fast as they are taken. Paced it yields a *burst* of records at a time, the n-th
//! burst not before n intervals after the reader's first: a reader that fell behind catches up at full speed.

use crate::door::{BoxFuture, Env, Time};
use crate::element::Record;
use crate::error::{Error, Result};
use crate::graph::SubtaskContext;
use crate::job::{Source, SourceReader};
use crate::layout::Layout;
use std::marker::PhantomData;
use std::time::Duration;

/// A source of made records.
#[derive(Clone)]
pub struct Generator<T, F> {
    make: F,
    records: Option<u64>,
    pace: Option<Pace>,
    types: PhantomData<fn() -> T>,
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    interval: Duration,
    burst: usize,
}

impl<T, F: Fn(u16, u64) -> T> Generator<T, F> {
    /// Makes records with `make(subtask index, record index)`, without end. It must be a pure function.
    pub fn new(make: F) -> Self {
        Self { make, records: None, pace: None, types: PhantomData }
    }

    /// Ends after this many records a subtask.
    pub fn records(self, each_subtask: u64) -> Self {
        Self { records: Some(each_subtask), ..self }
    }

    /// At most `burst` records every `interval`, a subtask. An interval of zero is no pace at all.
    pub fn paced(self, interval: Duration, burst: usize) -> Self {
        assert!(burst >= 1, "a burst has a record");
        Self { pace: (!interval.is_zero()).then_some(Pace { interval, burst }), ..self }
    }
}

impl<T, F> Source for Generator<T, F>
where
    T: Record,
    F: Fn(u16, u64) -> T + Clone + Send + Sync + 'static,
{
    type Item = T;
    type Reader = GeneratorReader<T, F>;

    fn reader(&self, context: &SubtaskContext) -> Self::Reader {
        GeneratorReader {
            env: context.env.clone(),
            subtask: context.subtask.index,
            batch_records: context.batch_records,
            generator: self.clone(),
            next: 0,
            began: None,
            bursts: 0,
            alarm: None,
        }
    }
}

/// Makes the records of one subtask.
pub struct GeneratorReader<T, F> {
    env: Env,
    subtask: u16,
    batch_records: usize,
    generator: Generator<T, F>,
    /// Index of the next record: the position.
    next: u64,
    /// When the first burst of this reader was due. Not part of the state: a restored reader starts a new rhythm.
    began: Option<Time>,
    /// Bursts of this reader so far.
    bursts: u64,
    /// The wait for the next burst, kept here so that a dropped future does not start it anew.
    alarm: Option<BoxFuture<'static, ()>>,
}

impl<T, F> GeneratorReader<T, F> {
    async fn await_turn(&mut self, pace: Pace) {
        let began = *self.began.get_or_insert_with(|| self.env.clock.now());
        let wait = pace.interval.as_nanos().saturating_mul(u128::from(self.bursts));
        let due = began + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
        if self.alarm.is_none() && self.env.clock.now() < due {
            self.alarm = Some(self.env.clock.sleep_until(due));
        }
        if let Some(alarm) = &mut self.alarm {
            alarm.await;
            self.alarm = None;
        }
        self.bursts += 1;
    }
}

impl<T, F> SourceReader for GeneratorReader<T, F>
where
    T: Record,
    F: Fn(u16, u64) -> T + Clone + Send + Sync + 'static,
{
    type Item = T;

    async fn next_batch(&mut self) -> Result<Option<Vec<T>>> {
        let left = self.generator.records.map_or(u64::MAX, |records| records.saturating_sub(self.next));
        if left == 0 {
            return Ok(None);
        }
        let mut count = self.batch_records;
        if let Some(pace) = self.generator.pace {
            self.await_turn(pace).await;
            count = count.min(pace.burst);
        }
        // Nothing is awaited from here on: the position moves with the records or not at all.
        let count = u64::try_from(count).unwrap_or(u64::MAX).min(left);
        let (subtask, make) = (self.subtask, &self.generator.make);
        let records: Vec<T> = (self.next..self.next + count).map(|index| make(subtask, index)).collect();
        self.next += count;
        assert!(!records.is_empty(), "a batch has a record");
        Ok(Some(records))
    }

    fn positions(&self) -> Vec<u8> {
        self.next.to_le_bytes().to_vec()
    }

    fn layout() -> Layout {
        Layout::known::<u64>()
    }

    async fn restore(&mut self, positions: &[u8]) -> Result<()> {
        assert_eq!(self.next, 0, "restored at most once, before any batch");
        let bytes = positions.try_into();
        self.next = u64::from_le_bytes(bytes.map_err(|_| Error::corrupt("a generator's position is 8 bytes long"))?);
        match self.generator.records {
            Some(records) if self.next > records => Err(Error::give_up(format!(
                "the checkpoint is {} records into a generator that makes only {records}",
                self.next
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::world::{self, World};
    use futures_util::FutureExt;

    fn reader(outside: &World, generator: &Generator<u64, fn(u16, u64) -> u64>) -> impl SourceReader<Item = u64> {
        generator.reader(&world::context(outside, "numbers", 1, 2, 4))
    }

    fn numbers() -> Generator<u64, fn(u16, u64) -> u64> {
        let make: fn(u16, u64) -> u64 = |subtask, index| u64::from(subtask) * 100 + index;
        Generator::new(make)
    }

    #[test]
    fn records_are_made_until_the_last_one() {
        let world = World::default();
        let mut reader = reader(&world, &numbers().records(6));
        let mut next = || reader.next_batch().now_or_never().expect("unpaced").expect("no error");
        assert_eq!(next(), Some(vec![100, 101, 102, 103]));
        assert_eq!(next(), Some(vec![104, 105]));
        assert_eq!(next(), None);
        assert_eq!(next(), None);
    }

    #[test]
    fn a_restored_generator_goes_on_where_the_snapshot_was() {
        let world = World::default();
        let mut first = reader(&world, &numbers().records(6));
        first.next_batch().now_or_never().expect("unpaced").expect("no error");
        let mut second = reader(&world, &numbers().records(6));
        second.restore(&first.positions()).now_or_never().expect("ready").expect("fits");
        let rest = second.next_batch().now_or_never().expect("unpaced").expect("no error");
        assert_eq!(rest, Some(vec![104, 105]));
        let mut shorter = reader(&world, &numbers().records(3));
        let error = shorter.restore(&first.positions()).now_or_never().expect("ready").expect_err("too far");
        assert_eq!(error.reaction, crate::error::Reaction::GiveUp);
    }

    #[test]
    fn a_paced_generator_keeps_its_rhythm_however_often_it_is_interrupted() {
        let world = World::default();
        world.stop_clock();
        let generator = numbers().paced(Duration::from_millis(10), 2);
        let mut reader = reader(&world, &generator);
        let first = reader.next_batch().now_or_never().expect("the first burst is due at once").expect("no error");
        assert_eq!(first, Some(vec![100, 101]));
        for _ in 0..3 {
            assert!(reader.next_batch().now_or_never().is_none(), "not due yet");
        }
        world.advance(Duration::from_millis(9));
        assert!(reader.next_batch().now_or_never().is_none(), "not due yet");
        world.advance(Duration::from_millis(1));
        assert_eq!(reader.next_batch().now_or_never().expect("due").expect("no error"), Some(vec![102, 103]));
        world.advance(Duration::from_millis(25));
        for expected in [[104, 105], [106, 107]] {
            assert_eq!(reader.next_batch().now_or_never().expect("late").expect("ok"), Some(expected.to_vec()));
        }
        assert!(reader.next_batch().now_or_never().is_none(), "caught up");
    }
}

//! Routes: how the output of a chain spreads over the subtasks of one edge's consumer.
//!
//! 1. The chain hands a route a whole batch: one virtual call a batch, and a monomorphic loop over its records.
//! 2. Each record goes to the lane of its target; a lane that holds `batch_records` records moves to the outbox.
//! 3. `flush` moves what is left: before a barrier, at the end of input, and whenever the subtask runs out of input.
//!
//! Invariant: between calls every lane holds fewer than `batch_records` records.
//! Does not own: the records' way from the outbox on, credit, and sequence numbers.

use crate::element::{Batch, Record};
use crate::graph::{Exchange, Outbox, SubtaskContext};
use crate::hash::{key_group, owner_of, stable_hash};
use crate::ids::EdgeId;
use std::hash::Hash;
use std::marker::PhantomData;

/// One edge's side of a chain.
pub trait Route<T>: Send {
    /// Routes the records away, leaving `records` empty.
    fn take(&mut self, records: &mut Vec<T>, out: &mut Outbox);

    /// Routes copies of the records.
    fn copy(&mut self, records: &[T], out: &mut Outbox);

    /// Moves every buffered record to the outbox.
    fn flush(&mut self, out: &mut Outbox);

    /// Checks the invariant.
    fn validate(&self);
}

/// The records on their way to one subtask.
struct Lane<T> {
    edge: EdgeId,
    target: u16,
    buffer: Vec<T>,
    batch_records: usize,
}

impl<T: Record> Lane<T> {
    #[inline]
    fn push(&mut self, record: T, out: &mut Outbox) {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(self.batch_records);
        }
        self.buffer.push(record);
        if self.buffer.len() == self.batch_records {
            self.flush(out);
        }
    }

    fn flush(&mut self, out: &mut Outbox) {
        if !self.buffer.is_empty() {
            assert!(self.buffer.len() <= self.batch_records, "a batch has at most batch_records records");
            out.batches.push((self.edge, self.target, Batch::new(std::mem::take(&mut self.buffer))));
        }
    }
}

/// Chooses among the targets of an edge.
trait Choose<T>: Send {
    /// The position among `targets` lanes.
    fn choose(&mut self, record: &T, targets: usize) -> usize;
}

/// To the one subtask of the same index.
struct Only;

impl<T> Choose<T> for Only {
    #[inline]
    fn choose(&mut self, _record: &T, targets: usize) -> usize {
        debug_assert_eq!(targets, 1, "forward has one target");
        0
    }
}

/// To each in turn, starting with the producer's own index. The position is not part of the state: which subtask a
/// record goes to is free, and after a restore the turn starts again.
struct InTurn {
    next: usize,
}

impl<T> Choose<T> for InTurn {
    #[inline]
    fn choose(&mut self, _record: &T, targets: usize) -> usize {
        let chosen = self.next % targets;
        self.next = chosen + 1;
        chosen
    }
}

/// To the owner of the key's group.
struct ByKey<T, K, F> {
    key: F,
    max_parallelism: u16,
    types: PhantomData<fn(&T) -> K>,
}

impl<T, K: Hash, F: Fn(&T) -> K + Send> Choose<T> for ByKey<T, K, F> {
    #[inline]
    fn choose(&mut self, record: &T, targets: usize) -> usize {
        let group = key_group(stable_hash(&(self.key)(record)), self.max_parallelism);
        usize::from(owner_of(group, targets as u16, self.max_parallelism))
    }
}

/// Every record to exactly one target.
struct Partition<T, C> {
    lanes: Vec<Lane<T>>,
    choose: C,
}

impl<T: Record, C: Choose<T>> Route<T> for Partition<T, C> {
    fn take(&mut self, records: &mut Vec<T>, out: &mut Outbox) {
        let targets = self.lanes.len();
        if let [lane] = &mut self.lanes[..]
            && lane.buffer.is_empty()
            && records.len() == lane.batch_records
        {
            // A full batch for the only target needs no copy.
            out.batches.push((lane.edge, lane.target, Batch::new(std::mem::take(records))));
            return;
        }
        for record in records.drain(..) {
            let target = self.choose.choose(&record, targets);
            self.lanes[target].push(record, out);
        }
    }

    fn copy(&mut self, records: &[T], out: &mut Outbox) {
        let targets = self.lanes.len();
        for record in records {
            let target = self.choose.choose(record, targets);
            self.lanes[target].push(record.clone(), out);
        }
    }

    fn flush(&mut self, out: &mut Outbox) {
        self.lanes.iter_mut().for_each(|lane| lane.flush(out));
    }

    fn validate(&self) {
        assert!(!self.lanes.is_empty(), "an edge has a target");
        assert!(self.lanes.iter().all(|lane| lane.buffer.len() < lane.batch_records), "full lanes have moved on");
    }
}

/// Every record to every target.
struct Everywhere<T> {
    lanes: Vec<Lane<T>>,
}

impl<T: Record> Route<T> for Everywhere<T> {
    fn take(&mut self, records: &mut Vec<T>, out: &mut Outbox) {
        let (last, others) = self.lanes.split_last_mut().expect("an edge has a target");
        for record in records.drain(..) {
            others.iter_mut().for_each(|lane| lane.push(record.clone(), out));
            last.push(record, out);
        }
    }

    fn copy(&mut self, records: &[T], out: &mut Outbox) {
        for record in records {
            self.lanes.iter_mut().for_each(|lane| lane.push(record.clone(), out));
        }
    }

    fn flush(&mut self, out: &mut Outbox) {
        self.lanes.iter_mut().for_each(|lane| lane.flush(out));
    }

    fn validate(&self) {
        assert!(!self.lanes.is_empty(), "an edge has a target");
        assert!(self.lanes.iter().all(|lane| lane.buffer.len() < lane.batch_records), "full lanes have moved on");
    }
}

/// An edge as its producer sees it, once the graph is complete.
#[derive(Clone, Copy, Debug)]
pub struct RoutePlan {
    /// The edge.
    pub edge: EdgeId,
    /// How records choose.
    pub exchange: Exchange,
    /// Subtasks of the consumer.
    pub targets: u16,
}

/// Makes the live routes of one edge, one a producing subtask.
pub trait RouteMaker<T>: Send + Sync {
    /// The route of the subtask that `context` describes.
    fn make(&self, plan: RoutePlan, context: &SubtaskContext) -> Box<dyn Route<T>>;
}

/// Edges that do not look at the record: forward, rebalance and broadcast.
pub struct Blind;

impl<T: Record> RouteMaker<T> for Blind {
    fn make(&self, plan: RoutePlan, context: &SubtaskContext) -> Box<dyn Route<T>> {
        let index = context.subtask.index;
        match plan.exchange {
            Exchange::Forward => Box::new(Partition { lanes: vec![lane(plan, index, context)], choose: Only }),
            Exchange::Rebalance => {
                Box::new(Partition { lanes: lanes(plan, context), choose: InTurn { next: usize::from(index) } })
            }
            Exchange::Broadcast => Box::new(Everywhere { lanes: lanes(plan, context) }),
            Exchange::Hash => unreachable!("{} has no key", plan.edge),
        }
    }
}

/// Edges to the owner of a key.
pub struct Keyed<T, K, F> {
    key: F,
    types: PhantomData<fn(&T) -> K>,
}

impl<T, K, F> Keyed<T, K, F> {
    /// Routes by what `key` says.
    pub fn new(key: F) -> Self {
        Self { key, types: PhantomData }
    }
}

impl<T, K, F> RouteMaker<T> for Keyed<T, K, F>
where
    T: Record,
    K: Hash + 'static,
    F: Fn(&T) -> K + Clone + Send + Sync + 'static,
{
    fn make(&self, plan: RoutePlan, context: &SubtaskContext) -> Box<dyn Route<T>> {
        assert_eq!(plan.exchange, Exchange::Hash, "{} has a key", plan.edge);
        let max_parallelism = context.max_parallelism;
        let choose = ByKey { key: self.key.clone(), max_parallelism, types: PhantomData };
        Box::new(Partition { lanes: lanes(plan, context), choose })
    }
}

fn lane<T>(plan: RoutePlan, target: u16, context: &SubtaskContext) -> Lane<T> {
    assert!(target < plan.targets, "{} has {} targets", plan.edge, plan.targets);
    assert!(context.batch_records >= 1, "a batch has a record");
    Lane { edge: plan.edge, target, buffer: Vec::new(), batch_records: context.batch_records }
}

fn lanes<T>(plan: RoutePlan, context: &SubtaskContext) -> Vec<Lane<T>> {
    (0..plan.targets).map(|target| lane(plan, target, context)).collect()
}

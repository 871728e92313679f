//! What a record costs in the data plane of one subtask, without channels and tasks: nanoseconds are per record
//! (criterion's throughput), on one core.
//!
//! * `keyed_sum`: a batch of 1,024 pairs through the head, the state and the routes of the built-in job's sum.
//! * `…/snapshot_every_N`: the same with a snapshot every N batches, encoded or only taken: the copy-on-write tax. At
//!   10 million records a second one snapshot a second is one every 10,000 batches.
//! * `generate_and_route`: the source's side: making pairs and routing them by key to four targets.
//! * `words`: splitting lines into words and counting them.

use cofferdam_engine::connectors::{Discard, Text};
use cofferdam_engine::door::{self, BoxFuture, Env, Site, Time, Work};
use cofferdam_engine::element::Batch;
use cofferdam_engine::error::Result;
use cofferdam_engine::event::Event;
use cofferdam_engine::graph::{Chain, Instance, JobGraph, Outbox, SubtaskContext};
use cofferdam_engine::ids::{Attempt, OperatorId, SubtaskId};
use cofferdam_engine::job::{Count, Emit, JobBuilder, Source, SourceReader};
use cofferdam_engine::jobs::keyed_sum::{keyed_sum, pair};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;

const BATCH: usize = 1024;
const KEYS: u64 = 100_000;

/// A source that is never read: the benchmark feeds the chain itself.
struct Silent<T>(std::marker::PhantomData<fn() -> T>);

impl<T: cofferdam_engine::element::Record> Source for Silent<T> {
    type Item = T;
    type Reader = Silent<T>;
    fn reader(&self, _context: &SubtaskContext) -> Self {
        Self(self.0)
    }
}

impl<T: cofferdam_engine::element::Record> SourceReader for Silent<T> {
    type Item = T;
    async fn next_batch(&mut self) -> Result<Option<Vec<T>>> {
        Ok(None)
    }
    fn positions(&self) -> Vec<u8> {
        Vec::new()
    }
    async fn restore(&mut self, _positions: &[u8]) -> Result<()> {
        Ok(())
    }
}

fn silent<T>() -> Silent<T> {
    Silent(std::marker::PhantomData)
}

/// An outside that nothing here ever asks for anything.
struct Nowhere;

impl door::Clock for Nowhere {
    fn now(&self) -> Time {
        unreachable!("no time in this benchmark")
    }
    fn wall_ms(&self) -> u64 {
        unreachable!("no time in this benchmark")
    }
    fn sleep_until(&self, _: Time) -> BoxFuture<'static, ()> {
        unreachable!("no time in this benchmark")
    }
    fn work(&self, _: Site, _: Work) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

impl door::Network for Nowhere {
    fn listen(&self, _: String) -> BoxFuture<'static, Result<Box<dyn door::Listener>, door::NetworkError>> {
        unreachable!("no network in this benchmark")
    }
    fn connect(&self, _: String) -> BoxFuture<'static, Result<door::Connection, door::NetworkError>> {
        unreachable!("no network in this benchmark")
    }
}

impl door::Storage for Nowhere {
    fn read(&self, _: &str, _: std::ops::Range<u64>) -> BoxFuture<'static, Result<door::Piece, door::StorageError>> {
        unreachable!("no storage in this benchmark")
    }
    fn write(
        &self,
        _: &str,
        _: bytes::Bytes,
        _: door::WriteMode,
    ) -> BoxFuture<'static, Result<(), door::StorageError>> {
        unreachable!("no storage in this benchmark")
    }
    fn rename(&self, _: &str, _: &str) -> BoxFuture<'static, Result<(), door::StorageError>> {
        unreachable!("no storage in this benchmark")
    }
    fn upload(&self, _: &str) -> Box<dyn door::Upload> {
        unreachable!("no storage in this benchmark")
    }
    fn delete(&self, _: &str) -> BoxFuture<'static, Result<(), door::StorageError>> {
        unreachable!("no storage in this benchmark")
    }
    fn list(&self, _: &str, _: door::Depth) -> BoxFuture<'static, Result<Vec<door::ObjectMeta>, door::StorageError>> {
        unreachable!("no storage in this benchmark")
    }
    fn incarnation(&self) -> u64 {
        unreachable!("no storage in this benchmark")
    }
    fn clear(&self, _: std::collections::BTreeSet<u64>) -> BoxFuture<'static, Result<(), door::StorageError>> {
        unreachable!("no storage in this benchmark")
    }
}

impl door::Schedule for Nowhere {
    fn pick(&self, _: Site, _: usize) -> usize {
        0
    }
    fn token(&self, _: Site) -> u64 {
        0
    }
    fn nonce(&self, _: Site) -> [u8; 32] {
        unreachable!("no connections in this benchmark")
    }
}

impl door::Spawner for Nowhere {
    fn spawn(&self, _: Site, _: BoxFuture<'static, ()>) -> Box<dyn door::TaskHandle> {
        unreachable!("no tasks in this benchmark")
    }
    fn bell(&self, _: Site) -> Arc<dyn door::Bell> {
        unreachable!("no tasks in this benchmark")
    }
}

impl door::Trace for Nowhere {
    fn emit(&self, _: Event) {}
}

/// The chain of subtask 0 of an operator.
fn chain(graph: &JobGraph, uid: &str) -> Box<dyn Chain> {
    let operator = graph.operators.iter().find(|operator| operator.uid == uid).expect("an operator of the job");
    let outside = Arc::new(Nowhere);
    let env = Env {
        clock: outside.clone(),
        network: outside.clone(),
        storage: outside.clone(),
        externals: Arc::new(cofferdam_engine::os::external::Clients::default()),
        schedule: outside.clone(),
        spawner: outside.clone(),
        trace: outside,
    };
    let subtask = SubtaskId { operator: OperatorId(operator.id.0), index: 0 };
    let instance = (operator.factory)(&SubtaskContext {
        env,
        subtask,
        uid: uid.into(),
        parallelism: operator.parallelism,
        max_parallelism: graph.max_parallelism,
        attempt: Attempt::default(),
        batch_records: BATCH,
        listing: None,
    });
    match instance {
        Instance::Source(_, chain) | Instance::Transform(chain) => chain,
        Instance::Sink(_) => panic!("{uid} is a sink"),
    }
}

fn batches() -> impl FnMut() -> Batch {
    let mut next = 0;
    move || {
        next += BATCH as u64;
        Batch::new((next - BATCH as u64..next).map(|index| pair(KEYS, 0, index)).collect())
    }
}

/// The chain of the sum, with every key present.
fn warm_sum() -> Box<dyn Chain> {
    let job = JobBuilder::new("sum");
    keyed_sum(&job, silent(), Discard);
    let mut sum = chain(&job.build().expect("a good job"), "sum");
    sum.on_batch(0, Batch::new((0..KEYS).map(|key| (key, 1_u64)).collect()), &mut Outbox::default());
    sum
}

fn keyed_sums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keyed_sum");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("no_snapshots", |bencher| {
        let (mut sum, mut out) = (warm_sum(), Outbox::default());
        bencher.iter_batched(batches(), |batch| sum.on_batch(0, batch, &mut out), BatchSize::SmallInput);
        assert!(out.batches.is_empty(), "sums come at the end");
    });
    for (name, every, encode) in [
        ("snapshot_every_10000_batches", 10_000, true),
        ("snapshot_every_1000_batches", 1_000, true),
        ("snapshot_every_1000_batches_not_encoded", 1_000, false),
    ] {
        group.bench_function(name, |bencher| {
            let (mut sum, mut out) = (warm_sum(), Outbox::default());
            let (mut count, mut held) = (0_u64, None);
            let step = |batch| {
                if count.is_multiple_of(every) {
                    let pages = sum.snapshot();
                    held = if encode {
                        black_box(cofferdam_engine::state::collect(pages).len());
                        None
                    } else {
                        Some(pages)
                    };
                }
                count += 1;
                sum.on_batch(0, batch, &mut out);
                black_box(&held);
            };
            bencher.iter_batched(batches(), step, BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    group.throughput(Throughput::Elements(BATCH as u64));
    let job = JobBuilder::new("route").parallelism(4);
    keyed_sum(&job, silent(), Discard);
    let mut pairs = chain(&job.build().expect("a good job"), "pairs");
    group.bench_function("by_key_to_four", |bencher| {
        let mut out = Outbox::default();
        let step = |batch| {
            pairs.on_batch(0, batch, &mut out);
            out.batches.drain(..).for_each(|(_, _, batch)| drop(black_box(batch)));
        };
        bencher.iter_batched(batches(), step, BatchSize::SmallInput);
    });
    group.finish();
}

fn words(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("words");
    let lines: Vec<Text> = (0..BATCH as u64)
        .map(|line| {
            let words: Vec<String> = (0..8).map(|word| format!("word{}", pair(5_000, word, line).0)).collect();
            Text::from(words.join(" ").as_str())
        })
        .collect();
    group.throughput(Throughput::Elements(8 * BATCH as u64));
    let job = JobBuilder::new("words");
    let words = job
        .source("lines", silent::<Text>())
        .flat_map("split", |line: Text, out: &mut Vec<Text>| out.extend(line.words()));
    words.key_by(Text::clone).emit(Emit::AtEnd).aggregate("count", Count).sink("counts", Discard);
    let graph = job.build().expect("a good job");
    let (mut split, mut count) = (chain(&graph, "lines"), chain(&graph, "count"));
    let (mut between, mut out) = (Outbox::default(), Outbox::default());
    group.bench_function("split_route_and_count", |bencher| {
        let step = |batch| {
            split.on_batch(0, batch, &mut between);
            between.batches.drain(..).for_each(|(_, _, batch)| count.on_batch(0, batch, &mut out));
        };
        bencher.iter_batched(|| Batch::new(lines.clone()), step, BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, keyed_sums, routes, words);
criterion_main!(benches);

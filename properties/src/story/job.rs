//! The job of the stories: numbers are read from two files, summed by their remainder modulo three, and written out.
//!
//! ```text
//! numbers[0..2]  --hash-->  sums[0..2]  --rebalance-->  out[0]
//! ```

use bytes::Bytes;
use cofferdam_engine::config::{JobConfig, RetentionPolicy};
use cofferdam_engine::door::{BoxFuture, Env, WriteMode, whole};
use cofferdam_engine::element::{Batch, RecordCodec};
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::graph::{
    Chain, Edge, ErasedReader, ErasedWriter, Exchange, Instance, Job, JobGraph, OperatorKind, OperatorNode, Outbox,
    SubtaskContext,
};
use cofferdam_engine::ids::{CheckpointId, EdgeId, KeyGroup, OperatorId};
use cofferdam_engine::state::{self, Pages, Section, SectionKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records per batch.
pub const BATCH: usize = 2;

/// The job.
pub fn job() -> Job {
    let graph = JobGraph {
        name: "sums".to_owned(),
        max_parallelism: 3,
        operators: vec![
            node(0, "numbers", 2, OperatorKind::Source, |context| {
                let reader = Numbers {
                    env: context.env.clone(),
                    index: context.subtask.index,
                    next: 0,
                    batch: context.batch_records,
                };
                Instance::Source(Box::new(reader), Box::new(Spread::default()))
            }),
            node(1, "sums", 2, OperatorKind::Transform, |_| Instance::Transform(Box::new(Sums::default()))),
            node(2, "out", 1, OperatorKind::Sink, |context| {
                Instance::Sink(Box::new(Lines {
                    env: context.env.clone(),
                    attempt: context.attempt.to_string(),
                    lines: String::new(),
                }))
            }),
        ],
        edges: vec![edge(0, Exchange::Hash), edge(1, Exchange::Rebalance)],
    };
    let mut config = JobConfig { batch_records: BATCH, ..JobConfig::default() };
    config.checkpoints.retention = RetentionPolicy::Always;
    Job { graph: Arc::new(graph), config }
}

fn node(
    id: u16,
    uid: &str,
    parallelism: u16,
    kind: OperatorKind,
    factory: impl Fn(&SubtaskContext) -> Instance + Send + Sync + 'static,
) -> OperatorNode {
    let factory = Arc::new(factory);
    let (uid, states, staging) = (uid.to_owned(), Vec::new(), None);
    OperatorNode { id: OperatorId(id), uid, parallelism, kind, states, staging, reads: None, factory }
}

fn edge(id: u16, exchange: Exchange) -> Edge {
    let (from, to) = (OperatorId(id), OperatorId(id + 1));
    Edge { id: EdgeId(id), from, to, input: 0, exchange, codec: RecordCodec::of::<u64>() }
}

/// The input: `input/numbers-0` and `-1` hold one number a line.
pub fn input(numbers: [&[u64]; 2]) -> BTreeMap<String, Bytes> {
    let lines = |numbers: &[u64]| numbers.iter().map(|n| format!("{n}\n")).collect::<String>();
    let object = |(index, numbers)| (format!("input/numbers-{index}"), Bytes::from(lines(numbers)));
    numbers.into_iter().enumerate().map(object).collect()
}

struct Numbers {
    env: Env,
    index: u16,
    next: u64,
    batch: usize,
}

impl ErasedReader for Numbers {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Batch>>> {
        Box::pin(async {
            let bytes = whole::read(&self.env.storage, &format!("input/numbers-{}", self.index)).await?;
            let text = String::from_utf8(bytes.to_vec()).expect("text");
            let rest = text.lines().skip(self.next as usize).take(self.batch);
            let numbers: Vec<u64> = rest.map(|line| line.parse().expect("a number")).collect();
            self.next += numbers.len() as u64;
            Ok((!numbers.is_empty()).then(|| Batch::new(numbers)))
        })
    }

    fn snapshot(&self) -> Vec<Section> {
        vec![Section {
            kind: SectionKind::Source,
            name: "position".to_owned(),
            group: None,
            bytes: self.next.to_le_bytes().to_vec(),
        }]
    }

    fn restore(&mut self, sections: &[Section]) -> BoxFuture<'_, Result<()>> {
        let bytes = sections[0].bytes[..].try_into().expect("eight bytes");
        self.next = u64::from_le_bytes(bytes);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Sends each number to the owner of its remainder.
#[derive(Default)]
struct Spread {
    held: [Vec<u64>; 2],
}

impl Spread {
    fn pass_on(&mut self, to: usize, out: &mut Outbox) {
        if !self.held[to].is_empty() {
            out.batches.push((EdgeId(0), to as u16, Batch::new(std::mem::take(&mut self.held[to]))));
        }
    }
}

impl Chain for Spread {
    fn on_batch(&mut self, _: u16, batch: Batch, out: &mut Outbox) {
        for number in batch.into_records::<u64>() {
            let to = usize::from(number % 3 == 0);
            self.held[to].push(number);
            if self.held[to].len() == BATCH {
                self.pass_on(to, out);
            }
        }
    }

    fn on_end(&mut self, _: &mut Outbox) {}

    fn flush(&mut self, out: &mut Outbox) {
        (0..2).for_each(|to| self.pass_on(to, out));
    }

    fn snapshot(&mut self) -> Box<dyn Pages> {
        Box::new(Vec::new().into_iter())
    }

    fn restore(&mut self, sections: &[Section]) -> Result<()> {
        assert!(sections.is_empty(), "it is stateless");
        Ok(())
    }
}

/// Sums the numbers of each remainder; emits each running sum.
#[derive(Default)]
struct Sums {
    of: BTreeMap<u64, u64>,
    held: Vec<u64>,
}

impl Chain for Sums {
    fn on_batch(&mut self, _: u16, batch: Batch, _: &mut Outbox) {
        for number in batch.into_records::<u64>() {
            let sum = self.of.entry(number % 3).or_default();
            *sum += number;
            self.held.push(*sum);
        }
    }

    fn on_end(&mut self, _: &mut Outbox) {
        self.held.extend(self.of.values().map(|sum| 1000 + sum));
    }

    fn flush(&mut self, out: &mut Outbox) {
        if !self.held.is_empty() {
            out.batches.push((EdgeId(1), 0, Batch::new(std::mem::take(&mut self.held))));
        }
    }

    fn snapshot(&mut self) -> Box<dyn Pages> {
        let section = |(remainder, sum): (&u64, &u64)| Section {
            kind: SectionKind::Keyed,
            name: "sum".to_owned(),
            group: Some(KeyGroup(*remainder as u16)),
            bytes: state::encode_entries(vec![(remainder.to_le_bytes().to_vec(), sum.to_le_bytes().to_vec())]),
        };
        Box::new(self.of.iter().map(section).collect::<Vec<_>>().into_iter())
    }

    fn restore(&mut self, sections: &[Section]) -> Result<()> {
        for section in sections {
            let entries = state::decode_entries(&section.bytes).expect("entries");
            let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            self.of.extend(entries.into_iter().map(|(remainder, sum)| (number(remainder), number(sum))));
        }
        Ok(())
    }
}

/// Stages lines under `output/.staged/`, and copies them to `output/sums/` on commit.
struct Lines {
    env: Env,
    attempt: String,
    lines: String,
}

impl ErasedWriter for Lines {
    fn write(&mut self, batch: Batch) {
        for record in batch.into_records::<u64>() {
            self.lines += &format!("{record}\n");
        }
    }

    fn prepare(&mut self, checkpoint: CheckpointId) -> BoxFuture<'_, Result<Option<Vec<u8>>>> {
        Box::pin(async move {
            if self.lines.is_empty() {
                return Ok(None);
            }
            let name = format!("{checkpoint}-{}", self.attempt);
            let lines = Bytes::from(self.lines.clone());
            self.env.storage.write(&format!("output/.staged/{name}"), lines, WriteMode::Overwrite).await?;
            self.lines.clear();
            Ok(Some(name.into_bytes()))
        })
    }

    fn commit<'a>(&'a mut self, committable: &'a [u8]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let name = std::str::from_utf8(committable).map_err(|e| Error::corrupt(e.to_string()))?;
            let lines = whole::read(&self.env.storage, &format!("output/.staged/{name}")).await?;
            Ok(self.env.storage.write(&format!("output/sums/{name}"), lines, WriteMode::Overwrite).await?)
        })
    }

    fn recover(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

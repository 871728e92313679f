//! For tests: runs a whole job in one loop, through the factories alone, with aligned checkpoints and restores. It shares
//! nothing with the runtime but the graph, so it shows that the pieces of the data plane fit each other.

use crate::connectors::world::{World, attempt};
use crate::element::Batch;
use crate::error::Result;
use crate::graph::{Instance, Job, JobGraph, Outbox, SubtaskContext};
use crate::ids::{ChannelId, CheckpointId, SubtaskId};
use crate::state::{self, Section};
use futures_util::FutureExt;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What a checkpoint holds of each subtask: sections, pending committables, and whether its input had ended.
pub type Snapshots = BTreeMap<SubtaskId, (Vec<Section>, Pending, bool)>;

type Pending = BTreeMap<CheckpointId, Vec<u8>>;

struct Live {
    instance: Instance,
    pending: Pending,
    ended: bool,
}

/// A job, one step at a time.
pub struct Run {
    graph: Arc<JobGraph>,
    subtasks: BTreeMap<SubtaskId, Live>,
    channels: BTreeMap<ChannelId, VecDeque<Batch>>,
    /// Records that went over each channel.
    pub passed: BTreeMap<ChannelId, usize>,
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the world answers at once")
}

impl Run {
    /// Starts attempt `number`, from nothing or from a checkpoint whose committables are then committed.
    pub fn start(job: &Job, world: &World, number: u32, from: Option<&Snapshots>) -> Result<Self> {
        let graph = job.graph.clone();
        let mut subtasks = BTreeMap::new();
        let inputs = graph.inputs_read();
        let listing = (!inputs.is_empty()).then(|| world.list_input(&inputs));
        for subtask in graph.subtasks() {
            let operator = graph.operator(subtask.operator);
            let context = SubtaskContext {
                env: world.env(),
                subtask,
                uid: operator.uid.clone(),
                parallelism: operator.parallelism,
                max_parallelism: graph.max_parallelism,
                attempt: attempt(number),
                batch_records: job.config.batch_records,
                listing: listing.clone(),
            };
            let mut live = Live { instance: (operator.factory)(&context), pending: Pending::new(), ended: false };
            if let Some(snapshots) = from {
                live.restore(&snapshots[&subtask])?;
            }
            if let Instance::Sink(writer) = &mut live.instance {
                ready(writer.recover())?;
            }
            subtasks.insert(subtask, live);
        }
        Ok(Self { graph, subtasks, channels: BTreeMap::new(), passed: BTreeMap::new() })
    }

    fn deliver(&mut self, from: SubtaskId, outbox: Outbox) {
        for (edge, to, batch) in outbox.batches {
            let of = self.graph.edge(edge);
            assert_eq!(of.from, from.operator, "a chain writes to its own edges");
            assert!(self.graph.consumers(of, from.index).contains(&to), "a channel leads there");
            let channel = ChannelId { edge, from: from.index, to };
            *self.passed.entry(channel).or_default() += batch.len();
            // Through the codec, as between two workers.
            let batch = of.codec.decode(&of.codec.encode(&batch)).expect("its own bytes");
            self.channels.entry(channel).or_default().push_back(batch);
        }
    }

    /// Lets one source or one channel go on; `pick` says which.
    pub fn step(&mut self, pick: usize) -> Result<()> {
        let full: Vec<ChannelId> = self.channels.iter().filter(|(_, q)| !q.is_empty()).map(|(c, _)| *c).collect();
        let sources: Vec<SubtaskId> =
            self.subtasks.iter().filter(|(_, live)| live.is_source() && !live.ended).map(|(id, _)| *id).collect();
        match pick % (full.len() + sources.len()).max(1) {
            n if n < full.len() => self.consume(full[n]),
            n if n < full.len() + sources.len() => self.produce(sources[n - full.len()])?,
            _ => {}
        }
        Ok(())
    }

    fn produce(&mut self, subtask: SubtaskId) -> Result<()> {
        let live = self.subtasks.get_mut(&subtask).expect("known");
        let Instance::Source(reader, chain) = &mut live.instance else { panic!("{subtask} is no source") };
        let mut out = Outbox::default();
        match ready(reader.next_batch())? {
            Some(batch) => chain.on_batch(0, batch, &mut out),
            None => {
                live.ended = true;
                chain.on_end(&mut out);
                chain.flush(&mut out);
            }
        }
        self.deliver(subtask, out);
        Ok(())
    }

    fn consume(&mut self, channel: ChannelId) {
        let batch = self.channels.get_mut(&channel).and_then(VecDeque::pop_front).expect("not empty");
        let edge = self.graph.edge(channel.edge);
        let (subtask, input) = (SubtaskId { operator: edge.to, index: channel.to }, edge.input);
        let live = self.subtasks.get_mut(&subtask).expect("known");
        let mut out = Outbox::default();
        match &mut live.instance {
            Instance::Transform(chain) => chain.on_batch(input, batch, &mut out),
            Instance::Sink(writer) => writer.write(batch),
            Instance::Source(..) => panic!("{subtask} has no input"),
        }
        self.deliver(subtask, out);
    }

    /// A checkpoint: in topological order each subtask consumes all that was sent before the barrier, flushes and is
    /// snapshotted. Sinks stage.
    pub fn checkpoint(&mut self, checkpoint: CheckpointId) -> Result<Snapshots> {
        let mut snapshots = Snapshots::new();
        for subtask in self.graph.subtasks() {
            self.drain(subtask);
            let live = self.subtasks.get_mut(&subtask).expect("known");
            let mut out = Outbox::default();
            if let Instance::Source(_, chain) | Instance::Transform(chain) = &mut live.instance {
                chain.flush(&mut out);
            }
            if let Instance::Sink(writer) = &mut live.instance
                && let Some(committable) = ready(writer.prepare(checkpoint))?
            {
                live.pending.insert(checkpoint, committable);
            }
            snapshots.insert(subtask, live.snapshot());
            self.deliver(subtask, out);
        }
        Ok(snapshots)
    }

    fn drain(&mut self, subtask: SubtaskId) {
        let graph = self.graph.clone();
        for edge in graph.inputs(subtask.operator) {
            for from in graph.producers(edge, subtask.index) {
                let channel = ChannelId { edge: edge.id, from, to: subtask.index };
                while self.channels.get(&channel).is_some_and(|queue| !queue.is_empty()) {
                    self.consume(channel);
                }
            }
        }
    }

    /// The checkpoint is durable: sinks commit.
    pub fn commit(&mut self) -> Result<()> {
        self.subtasks.values_mut().try_for_each(Live::commit)
    }

    /// Runs to the end of input and through the last checkpoint.
    pub fn finish(&mut self, last: CheckpointId) -> Result<()> {
        for subtask in self.graph.subtasks() {
            while self.subtasks[&subtask].is_source() && !self.subtasks[&subtask].ended {
                self.produce(subtask)?;
            }
            self.drain(subtask);
            let live = self.subtasks.get_mut(&subtask).expect("known");
            let mut out = Outbox::default();
            if let Instance::Transform(chain) = &mut live.instance
                && !live.ended
            {
                chain.on_end(&mut out);
                chain.flush(&mut out);
            }
            live.ended = true;
            self.deliver(subtask, out);
        }
        self.checkpoint(last)?;
        assert!(self.channels.values().all(VecDeque::is_empty), "everything arrived");
        self.commit()
    }
}

impl Live {
    fn is_source(&self) -> bool {
        matches!(self.instance, Instance::Source(..))
    }

    fn snapshot(&mut self) -> (Vec<Section>, Pending, bool) {
        let sections = match &mut self.instance {
            Instance::Source(reader, chain) => {
                reader.snapshot().into_iter().chain(state::collect(chain.snapshot())).collect()
            }
            Instance::Transform(chain) => state::collect(chain.snapshot()),
            Instance::Sink(_) => Vec::new(),
        };
        (sections, self.pending.clone(), self.ended)
    }

    fn restore(&mut self, (sections, pending, ended): &(Vec<Section>, Pending, bool)) -> Result<()> {
        match &mut self.instance {
            Instance::Source(reader, chain) => {
                ready(reader.restore(sections))?;
                chain.restore(sections)?;
            }
            Instance::Transform(chain) => chain.restore(sections)?,
            Instance::Sink(_) => assert!(sections.is_empty(), "pending committables are kept apart here"),
        }
        (self.pending, self.ended) = (pending.clone(), *ended);
        let again = self.snapshot();
        assert_eq!(&again.0, sections, "restored state is the state of the snapshot");
        self.commit()
    }

    fn commit(&mut self) -> Result<()> {
        let Instance::Sink(writer) = &mut self.instance else { return Ok(()) };
        for committable in self.pending.values() {
            ready(writer.commit(committable))?;
        }
        self.pending.clear();
        Ok(())
    }
}

//! The erased job graph: what is left of a typed job once the builder is done with it.
//!
//! Jobs are values built by a function, so every process builds the same graph; [`JobGraph::fingerprint`] is
//! compared in the handshake. An operator's [`Factory`] makes the live pieces of one subtask. The same factory
//! serves the engine and the judges that re-execute a run.
//!
//! Invariant: edges go from lower to higher operator numbers, so operator order is a topological order.

#[cfg(test)]
pub mod fixture;

use crate::config::JobConfig;
use crate::door::{BoxFuture, Env};
use crate::element::{Batch, RecordCodec};
use crate::error::Result;
use crate::hash::StableHasher;
use crate::ids::{Attempt, CheckpointId, EdgeId, OperatorId, SubtaskId};
use crate::messages::ListingHandle;
use crate::state::{Pages, Section, StateDescriptor};
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A job: what to run and how.
#[derive(Clone, Debug)]
pub struct Job {
    /// What to run.
    pub graph: Arc<JobGraph>,
    /// How.
    pub config: JobConfig,
}

/// Operators and the edges between them.
#[derive(Debug)]
pub struct JobGraph {
    /// The job's name.
    pub name: String,
    /// Fixed number of key groups, for the life of the state.
    pub max_parallelism: u16,
    /// Indexed by [`OperatorId`], in topological order.
    pub operators: Vec<OperatorNode>,
    /// Indexed by [`EdgeId`].
    pub edges: Vec<Edge>,
}

/// One operator: a source, a chain of transformations or a sink.
pub struct OperatorNode {
    /// Its number.
    pub id: OperatorId,
    /// Its name across versions of the job; state is addressed by it.
    pub uid: String,
    /// How many subtasks.
    pub parallelism: u16,
    /// Which of the three.
    pub kind: OperatorKind,
    /// The states it may hold.
    pub states: Vec<StateDescriptor>,
    /// Of a sink: the folder of what it has staged. Nothing in it is needed once the job has finished.
    pub staging: Option<String>,
    /// The object, or the folder of objects, that a source reads, if it reads objects.
    pub reads: Option<String>,
    /// Makes a subtask.
    pub factory: Factory,
}

/// The three kinds of operator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OperatorKind {
    /// Produces records from outside.
    Source,
    /// Turns records into records.
    Transform,
    /// Takes records outside.
    Sink,
}

/// Makes the live pieces of one subtask.
pub type Factory = Arc<dyn Fn(&SubtaskContext) -> Instance + Send + Sync>;

/// A connection between two operators.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Its number.
    pub id: EdgeId,
    /// The producing operator.
    pub from: OperatorId,
    /// The consuming operator.
    pub to: OperatorId,
    /// Which input of the consumer: 0, or 1 for the second of `connect`. Several edges may share an input (`union`).
    pub input: u16,
    /// How records choose among the consumer's subtasks.
    pub exchange: Exchange,
    /// The record type.
    pub codec: RecordCodec,
}

/// How records choose among the consumer's subtasks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Exchange {
    /// Subtask i to subtask i; equal parallelism.
    Forward,
    /// By the key group of the record's key.
    Hash,
    /// Round-robin over the subtasks.
    Rebalance,
    /// Every record to every subtask.
    Broadcast,
}

/// What a subtask is told about itself.
#[derive(Clone)]
pub struct SubtaskContext {
    /// The outside, for sources and sinks.
    pub env: Env,
    /// Who it is.
    pub subtask: SubtaskId,
    /// The operator's uid.
    pub uid: String,
    /// Subtasks of its operator.
    pub parallelism: u16,
    /// Key groups of the job.
    pub max_parallelism: u16,
    /// The incarnation of the job.
    pub attempt: Attempt,
    /// Records per batch.
    pub batch_records: usize,
    /// The listing of the input, if the job reads objects.
    pub listing: Option<ListingHandle>,
}

/// The live pieces of one subtask, by kind.
pub enum Instance {
    /// A reader whose batches go through a chain.
    Source(Box<dyn ErasedReader>, Box<dyn Chain>),
    /// A chain.
    Transform(Box<dyn Chain>),
    /// A writer.
    Sink(Box<dyn ErasedWriter>),
}

/// The synchronous heart of a source or transform subtask: an operator, the stateless transformations fused to
/// it, and the partitioning of its output.
pub trait Chain: Send {
    /// Processes a batch that arrived on `input`. Full output batches go to `out`, the rest stays until
    /// [`Chain::flush`].
    fn on_batch(&mut self, input: u16, batch: Batch, out: &mut Outbox);

    /// All input has been processed: emits what was held back for the end. At most once in the life of the state.
    fn on_end(&mut self, out: &mut Outbox);

    /// Moves every buffered output record to `out`.
    fn flush(&mut self, out: &mut Outbox);

    /// A view of the state as it is now; cheap, and unaffected by later changes.
    fn snapshot(&mut self) -> Box<dyn Pages>;

    /// Takes over the sections of a snapshot. Called at most once, before any batch.
    fn restore(&mut self, sections: &[Section]) -> Result<()>;
}

/// A source's reader behind its type.
pub trait ErasedReader: Send {
    /// The next batch of records, `None` at the end of all splits. Cancel-safe: a future dropped before it is ready
    /// has lost nothing. The *sequence of records* of a reader depends on its splits alone, not on timing.
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Batch>>>;

    /// The positions behind the last batch returned.
    fn snapshot(&self) -> Vec<Section>;

    /// Goes to the positions of a snapshot. Called at most once, before any batch.
    fn restore(&mut self, sections: &[Section]) -> BoxFuture<'_, Result<()>>;
}

/// A sink's writer behind its type. The pending committables are kept by the runtime, not by the writer.
pub trait ErasedWriter: Send {
    /// Takes records. Nothing becomes visible.
    fn write(&mut self, batch: Batch);

    /// Stages everything written since the last successful `prepare`, durably and invisibly; `None` if there is
    /// nothing. After an error what was written is still here, and the next `prepare` stages it.
    fn prepare(&mut self, checkpoint: CheckpointId) -> BoxFuture<'_, Result<Option<Vec<u8>>>>;

    /// Makes a staged committable visible. Idempotent, also across processes. The runtime calls it only with the
    /// authority of a durable completion.
    fn commit<'a>(&'a mut self, committable: &'a [u8]) -> BoxFuture<'a, Result<()>>;

    /// After a restore, once every restored committable is committed: removes what older attempts staged.
    fn recover(&mut self) -> BoxFuture<'_, Result<()>>;
}

/// Where a chain leaves its output: batches in order, each for one subtask of one edge's consumer.
#[derive(Debug, Default)]
pub struct Outbox {
    /// In order of production; order matters per edge and target only.
    pub batches: Vec<(EdgeId, u16, Batch)>,
}

impl JobGraph {
    /// A hash of everything that processes must agree on.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = StableHasher::default();
        self.name.hash(&mut hasher);
        self.max_parallelism.hash(&mut hasher);
        for operator in &self.operators {
            operator.uid.hash(&mut hasher);
            operator.parallelism.hash(&mut hasher);
            operator.kind.hash(&mut hasher);
            operator.states.hash(&mut hasher);
        }
        for edge in &self.edges {
            (edge.from, edge.to, edge.input, edge.exchange, edge.codec.type_name).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The operator with this number.
    pub fn operator(&self, id: OperatorId) -> &OperatorNode {
        &self.operators[usize::from(id.0)]
    }

    /// The edge with this number.
    pub fn edge(&self, id: EdgeId) -> &Edge {
        &self.edges[usize::from(id.0)]
    }

    /// Edges into an operator, in order.
    pub fn inputs(&self, id: OperatorId) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.to == id)
    }

    /// Edges out of an operator, in order.
    pub fn outputs(&self, id: OperatorId) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.from == id)
    }

    /// Every subtask, in order.
    pub fn subtasks(&self) -> Vec<SubtaskId> {
        let all = self.operators.iter();
        all.flat_map(|o| (0..o.parallelism).map(move |index| SubtaskId { operator: o.id, index })).collect()
    }

    /// Every object, or folder of objects, that a source reads, sorted.
    pub fn inputs_read(&self) -> Vec<String> {
        let read: BTreeSet<&String> = self.operators.iter().filter_map(|operator| operator.reads.as_ref()).collect();
        read.into_iter().cloned().collect()
    }

    /// The producing subtasks whose channels of `edge` reach consumer `to`.
    pub fn producers(&self, edge: &Edge, to: u16) -> Vec<u16> {
        match edge.exchange {
            Exchange::Forward => vec![to],
            Exchange::Hash | Exchange::Rebalance | Exchange::Broadcast => {
                (0..self.operator(edge.from).parallelism).collect()
            }
        }
    }

    /// The consuming subtasks that producer `from` has channels of `edge` to.
    pub fn consumers(&self, edge: &Edge, from: u16) -> Vec<u16> {
        match edge.exchange {
            Exchange::Forward => vec![from],
            Exchange::Hash | Exchange::Rebalance | Exchange::Broadcast => {
                (0..self.operator(edge.to).parallelism).collect()
            }
        }
    }

    /// A subtask for people: uid and index.
    pub fn show(&self, subtask: SubtaskId) -> String {
        format!("{}[{}]", self.operator(subtask.operator).uid, subtask.index)
    }
}

impl std::fmt::Debug for OperatorNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} x{}", self.uid, self.kind, self.parallelism)
    }
}

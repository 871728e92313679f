//! A random job graph: operators over one record type, as plain data that a plan can carry, print and shrink.
//!
//! 1. [`draw`] makes one from a number: two to nine operators, connected, with several sources and sinks, unions, fan-out
//!    and every exchange.
//! 2. `build` makes it a job through the public API of the engine, one `match` over the operators.
//! 3. `reference` says what must come out, as a plain evaluation over bags of records that shares no operator with the
//!    engine. It stays silent about whatever comes after an operator that depends on the order of records.
//! 4. `smaller` takes a piece away from it, for shrinking.
//!
//! Invariant ([`GraphSpec::validate`]): inputs come from earlier nodes, every node but a sink has a consumer, two-input
//! operators have something on both ports, forwarding joins equal parallelisms, and all of it hangs together.

mod build;
mod draw;
mod functions;
mod outside;
mod reference;
mod show;
mod smaller;

pub use draw::draw;
pub use functions::Datum;
pub use outside::LOG;

use crate::external::Log;
use crate::seed::Seed;
use bytes::Bytes;
use cofferdam_properties::external::Models;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Operators in topological order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GraphSpec {
    /// Different keys of the records that sources make.
    pub keys: u32,
    /// The operators; others name them by their index.
    pub nodes: Vec<Node>,
}

/// One operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Node {
    /// What it does.
    pub operator: Operator,
    /// Its subtasks.
    pub parallelism: u16,
    /// Where its records come from; several on one port are a union.
    pub inputs: Vec<Input>,
    /// A stateless step fused to it; never to a sink.
    pub fused: Option<Step>,
}

/// One edge, as its consumer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Input {
    /// Which input of the operator: 0, or 1 for the second of two.
    pub port: u16,
    /// The index of the producer.
    pub from: usize,
    /// How its records travel.
    pub exchange: Travel,
}

/// How records travel along an edge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Travel {
    /// Subtask i to subtask i.
    Forward,
    /// Each to the next subtask in turn.
    Rebalance,
    /// Every record to every subtask.
    Broadcast,
    /// To the owner of the key; for keyed operators, and for them alone.
    ByKey,
}

/// A stateless transformation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// `map`: adds to the value.
    Add(i64),
    /// `map`: another key, one of so many.
    Rekey(u32),
    /// `filter`: drops about one record in so many.
    Drop(u64),
    /// `flat_map`: so many records for each, with ids of their own.
    Expand(u64),
}

/// What an operator does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each field is named after what it sets")]
pub enum Operator {
    /// A source that makes records, each subtask so many.
    Generate { salt: u64, records: u64, interval_ms: u64, burst: usize },
    /// A source of lines in files.
    Read { salt: u64, lines: u64, files: u16, split_bytes: u64, chunk_bytes: u64 },
    /// A stateless transformation as an operator of its own.
    Apply(Step),
    /// Keyed: the sum of values, at the end.
    Sum,
    /// Keyed: the greatest record, at the end.
    Greatest,
    /// Keyed: each record the first time it is seen.
    Distinct,
    /// Keyed: says so after every n-th record.
    Tick { every: u64 },
    /// Keyed: the sum so far and how many, at every record. Depends on the order.
    RunningSum,
    /// Keyed: the last record, at the end. Depends on the order.
    Last,
    /// Keyed: the sum of every n records, then forgets the key. Depends on the order.
    Session { every: u64 },
    /// A subtask numbers its records. Depends on the order.
    Number,
    /// A subtask holds everything back until the end.
    Hold,
    /// A subtask lets records go n at a time.
    Gather { size: usize },
    /// Keyed, two inputs: an id once it was seen on both.
    Join,
    /// Keyed, two inputs: the sums of both, at the end.
    CoGroup,
    /// Keyed, two inputs: records of the second that reach the greatest value of the first so far. Depends on the order.
    Gate,
    /// Two inputs: both, told apart, and counted.
    Tag,
    /// Two inputs, the second broadcast: at the end, the first with the sum of the second.
    Enrich,
    /// A sink of text files.
    Write,
    /// A sink to a log outside.
    Append,
}

impl Operator {
    /// Its name, for uids and for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Generate { .. } => "generate",
            Self::Read { .. } => "read",
            Self::Apply(Step::Add(_)) => "add",
            Self::Apply(Step::Rekey(_)) => "rekey",
            Self::Apply(Step::Drop(_)) => "drop",
            Self::Apply(Step::Expand(_)) => "expand",
            Self::Sum => "sum",
            Self::Greatest => "greatest",
            Self::Distinct => "distinct",
            Self::Tick { .. } => "tick",
            Self::RunningSum => "running-sum",
            Self::Last => "last",
            Self::Session { .. } => "session",
            Self::Number => "number",
            Self::Hold => "hold",
            Self::Gather { .. } => "gather",
            Self::Join => "join",
            Self::CoGroup => "co-group",
            Self::Gate => "gate",
            Self::Tag => "tag",
            Self::Enrich => "enrich",
            Self::Write => "write",
            Self::Append => "append",
        }
    }

    /// Whether nothing comes out of it.
    pub fn is_sink(&self) -> bool {
        matches!(self, Self::Write | Self::Append)
    }

    /// How many inputs it has.
    pub fn ports(&self) -> u16 {
        match self {
            Self::Generate { .. } | Self::Read { .. } => 0,
            Self::Join | Self::CoGroup | Self::Gate | Self::Tag | Self::Enrich => 2,
            _ => 1,
        }
    }

    /// Whether its records must travel by key.
    pub fn is_keyed(&self) -> bool {
        match self {
            Self::Sum | Self::Greatest | Self::Distinct | Self::Tick { .. } => true,
            Self::RunningSum | Self::Last | Self::Session { .. } => true,
            Self::Join | Self::CoGroup | Self::Gate => true,
            Self::Generate { .. } | Self::Read { .. } | Self::Apply(_) | Self::Write | Self::Append => false,
            Self::Number | Self::Hold | Self::Gather { .. } | Self::Tag | Self::Enrich => false,
        }
    }

    /// Whether what comes out depends on the order in which records arrive, or on the subtask.
    pub fn depends_on_order(&self) -> bool {
        matches!(self, Self::RunningSum | Self::Last | Self::Session { .. } | Self::Number | Self::Gate)
    }

    /// Whether it lets go many records at once: at the end, or a few at a time.
    pub fn holds_back(&self) -> bool {
        let at_end =
            matches!(self, Self::Sum | Self::Greatest | Self::Last | Self::Hold | Self::CoGroup | Self::Enrich);
        at_end || matches!(self, Self::Gather { .. })
    }

    /// Whether records that come again make records come out again, and nothing else.
    pub fn only_repeats(&self) -> bool {
        match self {
            Self::Generate { .. } | Self::Read { .. } | Self::Apply(_) | Self::Write | Self::Append => true,
            Self::Greatest | Self::Distinct | Self::Hold | Self::Gather { .. } | Self::Join | Self::Tag => true,
            Self::Sum | Self::Tick { .. } | Self::CoGroup | Self::Enrich => false,
            Self::RunningSum | Self::Last | Self::Session { .. } | Self::Number | Self::Gate => false,
        }
    }
}

impl Node {
    /// Whether it is a sink.
    pub fn is_sink(&self) -> bool {
        self.operator.is_sink()
    }

    /// Whether it is a source.
    pub fn is_source(&self) -> bool {
        self.operator.ports() == 0
    }
}

impl GraphSpec {
    /// Every subtask.
    pub fn subtasks(&self) -> u32 {
        self.nodes.iter().map(|node| u32::from(node.parallelism)).sum()
    }

    /// The most subtasks of an operator.
    pub fn widest(&self) -> u16 {
        self.nodes.iter().map(|node| node.parallelism).max().unwrap_or(1)
    }

    /// The longest way from a source to a sink, in edges.
    pub fn depth(&self) -> usize {
        let mut depths: Vec<usize> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            depths.push(node.inputs.iter().map(|input| depths[input.from] + 1).max().unwrap_or(0));
        }
        depths.into_iter().max().unwrap_or(0)
    }

    /// The most operators on a way from a source to a sink that let go at once what they have held back.
    pub fn bursts(&self) -> u64 {
        let mut bursts: Vec<u64> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let before = node.inputs.iter().map(|input| bursts[input.from]).max().unwrap_or(0);
            bursts.push(before + u64::from(node.operator.holds_back()));
        }
        bursts.into_iter().max().unwrap_or(0)
    }

    /// At most how many records come out of each node. Of a sink: how many go in.
    pub fn volumes(&self) -> Vec<u64> {
        let mut volumes: Vec<u64> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let at = |port| self.arriving(node, port, &volumes);
            let head = match node.operator {
                Operator::Generate { records, .. } => records.saturating_mul(node.parallelism.into()),
                Operator::Read { lines, .. } => lines,
                Operator::Apply(step) => expanded(at(0), Some(step)),
                Operator::Sum | Operator::Greatest | Operator::Last => at(0).min(u64::from(self.keys)),
                Operator::Tick { every } | Operator::Session { every } => at(0) / every,
                Operator::Join => at(0).min(at(1)),
                Operator::CoGroup => at(0).saturating_add(at(1)).min(u64::from(self.keys)),
                Operator::Gate => at(1),
                Operator::Tag => at(0).saturating_add(at(1)),
                Operator::Distinct | Operator::RunningSum | Operator::Number => at(0),
                Operator::Hold | Operator::Gather { .. } | Operator::Enrich => at(0),
                Operator::Write | Operator::Append => at(0),
            };
            volumes.push(expanded(head, node.fused));
        }
        volumes
    }

    /// Records that its sources produce.
    pub fn produced(&self) -> u64 {
        let of = |node: &Node| match node.operator {
            Operator::Generate { records, .. } => records * u64::from(node.parallelism),
            Operator::Read { lines, .. } => lines,
            _ => 0,
        };
        self.nodes.iter().map(of).sum()
    }

    fn arriving(&self, node: &Node, port: u16, volumes: &[u64]) -> u64 {
        let inputs = node.inputs.iter().filter(|input| input.port == port);
        let arriving = inputs.map(|input| volumes[input.from].saturating_mul(self.copies(node, input)));
        arriving.fold(0, u64::saturating_add)
    }

    /// How often each record of an edge arrives.
    fn copies(&self, node: &Node, input: &Input) -> u64 {
        if input.exchange == Travel::Broadcast { u64::from(node.parallelism) } else { 1 }
    }

    /// By node: the records that one of its subtasks takes, about.
    pub fn loads(&self) -> Vec<u64> {
        let volumes = self.volumes();
        let load = |(n, node): (usize, &Node)| {
            let all = if node.is_source() {
                volumes[n]
            } else {
                (0..2).map(|port| self.arriving(node, port, &volumes)).sum()
            };
            let sharing = if node.operator.is_keyed() {
                u32::from(node.parallelism).min(self.keys)
            } else {
                node.parallelism.into()
            };
            all.div_ceil(u64::from(sharing))
        };
        self.nodes.iter().enumerate().map(load).collect()
    }

    /// Whether some source reads objects.
    pub fn reads_objects(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.operator, Operator::Read { .. }))
    }

    /// Whether some sink writes to the log outside.
    pub fn writes_outside(&self) -> bool {
        self.nodes.iter().any(|node| node.operator == Operator::Append)
    }

    /// The systems outside that it writes to.
    pub fn models(&self) -> Models {
        let models = Models::default();
        if self.writes_outside() { models.with(LOG, Log::new) } else { models }
    }

    /// The objects that its sources read.
    pub fn objects(&self, seed: Seed, folder: &str) -> BTreeMap<String, Bytes> {
        let all = self.nodes.iter().enumerate();
        all.flat_map(|(n, node)| functions::files(self, node, seed, &functions::folder_of(folder, n))).collect()
    }

    /// Whether the invariant holds; the error says what does not.
    pub fn validate(&self) -> Result<(), String> {
        if self.keys == 0 {
            return Err("a graph has a key".to_owned());
        }
        for (n, node) in self.nodes.iter().enumerate() {
            self.validate_node(n, node).map_err(|what| format!("n{n} ({}): {what}", node.operator.name()))?;
        }
        let sinks = self.nodes.iter().filter(|node| node.is_sink()).count();
        let pieces = self.pieces();
        match (sinks, pieces.iter().all(|piece| *piece == 0)) {
            (0, _) => Err("a graph has a sink".to_owned()),
            (_, false) => Err("the graph falls into pieces".to_owned()),
            (_, true) => Ok(()),
        }
    }

    fn validate_node(&self, n: usize, node: &Node) -> Result<(), String> {
        let check = |good: bool, what: &str| if good { Ok(()) } else { Err(what.to_owned()) };
        let ports = node.operator.ports();
        check(node.parallelism >= 1, "no subtask")?;
        check((0..ports).all(|port| node.inputs.iter().any(|input| input.port == port)), "a port without an input")?;
        check(
            node.is_sink() || self.nodes.iter().any(|other| other.inputs.iter().any(|i| i.from == n)),
            "no consumer",
        )?;
        check(!node.is_sink() || node.fused.is_none(), "fused to a sink")?;
        for input in &node.inputs {
            check(input.port < ports, "an input without a port")?;
            check(input.from < n, "an input from behind")?;
            let from = &self.nodes[input.from];
            check(!from.is_sink(), "an input from a sink")?;
            check(
                (input.exchange == Travel::ByKey) == node.operator.is_keyed(),
                "keyed records for others, or others",
            )?;
            let equal = from.parallelism == node.parallelism;
            check(input.exchange != Travel::Forward || equal, "forwarded between unequal parallelisms")?;
            let side = node.operator == Operator::Enrich && input.port == 1;
            check(!side || input.exchange == Travel::Broadcast, "a side that is not broadcast")?;
        }
        node.operator
            .sizes()
            .iter()
            .chain(node.fused.iter().flat_map(|step| step.size()).collect::<Vec<_>>().iter())
            .try_for_each(|size| check(*size >= 1, "a size of zero"))
    }

    /// By node: the first node of the piece of the graph that it belongs to.
    fn pieces(&self) -> Vec<usize> {
        let mut pieces: Vec<usize> = (0..self.nodes.len()).collect();
        for (n, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                let (a, b) = (pieces[n], pieces[input.from]);
                pieces.iter_mut().filter(|piece| **piece == a.max(b)).for_each(|piece| *piece = a.min(b));
            }
        }
        pieces
    }
}

fn expanded(records: u64, step: Option<Step>) -> u64 {
    match step {
        Some(Step::Expand(copies)) => records.saturating_mul(copies),
        Some(Step::Add(_) | Step::Rekey(_) | Step::Drop(_)) | None => records,
    }
}

impl Step {
    /// A size that must not be zero.
    fn size(self) -> Option<u64> {
        match self {
            Self::Add(_) => None,
            Self::Rekey(keys) => Some(keys.into()),
            Self::Drop(one_in) => Some(one_in),
            Self::Expand(copies) => Some(copies),
        }
    }
}

impl Operator {
    /// Sizes that must not be zero.
    fn sizes(&self) -> Vec<u64> {
        match *self {
            Self::Generate { burst, .. } => vec![burst as u64],
            Self::Read { files, split_bytes, chunk_bytes, .. } => vec![files.into(), split_bytes, chunk_bytes],
            Self::Apply(step) => step.size().into_iter().collect(),
            Self::Tick { every } | Self::Session { every } => vec![every],
            Self::Gather { size } => vec![size as u64],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;

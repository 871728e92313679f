//! The typed front of the job graph: what the author of a pipeline writes.
//!
//! ```
//! use cofferdam_engine::connectors::text::Text;
//! use cofferdam_engine::job::{Count, Emit, JobBuilder, Sink, Source};
//!
//! pub fn word_count(job: &JobBuilder, lines: impl Source<Item = Text>, tokens: impl Sink<Text>, counts: impl Sink<(Text, u64)>) {
//!     let words = job
//!         .source("lines", lines)
//!         .flat_map("split", |line, words: &mut Vec<Text>| words.extend(line.words()))
//!         .shared();
//!     words.clone().sink("tokens", tokens);
//!     words.key_by(|word| word.clone()).emit(Emit::AtEnd).aggregate("count", Count).sink("counts", counts);
//! }
//! ```
//!
//! 1. Streams are typed; stateless transformations fuse into the operator before them at compile time.
//! 2. Sealing an operator leaves a closure that will make its subtasks once its edges are known.
//! 3. [`JobBuilder::build`] checks the whole, decides how records travel, and yields the erased [`JobGraph`].
//!
//! Operators are numbered in the order of their first mention, which is a topological order, because a stream exists
//! before whatever consumes it. State is addressed by uid: renaming an operator abandons its state. Each state is stored
//! with the layout of its type (`states`), and a restore compares layouts: changing a type abandons its state as well.

mod aggregate;
mod chain;
mod connect;
mod endpoint;
mod head;
mod keyed;
mod local;
mod route;
mod states;
mod stream;
mod transform;

pub use aggregate::{Aggregation, Count, Emit, Sum};
pub use chain::NodeChain;
pub use connect::{Connected, ProcessBoth, ProcessedTwo, TwoInputFunction, TwoInputs};
pub use endpoint::{Sink, SinkWriter, Source, SourceOrigin, SourceReader};
pub use head::{Head, KeyedHead, KeyedOrigin, Origin, PassThrough, Passing, Program};
pub use keyed::{Aggregate, Keyed, KeyedFunction, OneInput, Process, Processed, ProcessedOne, Reduce};
pub use local::{
    LocalFunction, LocalHead, LocalOrigin, LocalProgram, LocalTwoInputFunction, Localised, OneLocal, TwoLocal,
};
pub use route::{Route, RoutePlan};
pub use stream::{Begun, Fused, Shared, SinkEnd, Stream};
pub use transform::{Filter, FlatMap, Map, Then, Transform, Unchanged};

use crate::element::RecordCodec;
use crate::error::{Error, Result};
use crate::graph::{Edge, Exchange, Factory, JobGraph, OperatorKind, OperatorNode};
use crate::ids::{EdgeId, OperatorId};
use states::DraftState;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Key groups of a job that says nothing about them. Fixed for the life of the state.
pub const MAX_PARALLELISM: u16 = 128;

/// A job under construction.
pub struct JobBuilder {
    name: String,
    parallelism: u16,
    max_parallelism: u16,
    draft: RefCell<Draft>,
}

#[derive(Default)]
struct Draft {
    operators: Vec<DraftOperator>,
    edges: Vec<DraftEdge>,
    uids: BTreeSet<String>,
    destinations: BTreeMap<String, String>,
    problems: Vec<String>,
}

struct DraftOperator {
    uid: String,
    kind: OperatorKind,
    parallelism: Option<u16>,
    states: Vec<DraftState>,
    version: Option<u32>,
    staging: Option<String>,
    reads: Option<String>,
    sealed: Option<Sealed>,
}

/// Makes the factory of an operator whose outgoing edges are known.
type Sealed = Box<dyn FnOnce(Vec<RoutePlan>) -> Factory>;

struct DraftEdge {
    from: OperatorId,
    to: OperatorId,
    input: u16,
    exchange: Option<Exchange>,
    codec: RecordCodec,
}

impl JobBuilder {
    /// An empty job whose operators have one subtask each.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), parallelism: 1, max_parallelism: MAX_PARALLELISM, draft: RefCell::default() }
    }

    /// The parallelism of every operator that says nothing else.
    pub fn parallelism(self, parallelism: u16) -> Self {
        Self { parallelism, ..self }
    }

    /// The number of key groups: no operator can ever have more subtasks. Fixed for the life of the state.
    pub fn max_parallelism(self, max_parallelism: u16) -> Self {
        Self { max_parallelism, ..self }
    }

    /// Begins a stream.
    pub fn source<S: Source>(&self, uid: &str, source: S) -> Stream<'_, SourceOrigin<S>, Unchanged> {
        let operator = self.add_operator(uid, OperatorKind::Source, vec![endpoint::source_state::<S>()]);
        self.draft.borrow_mut().operators[usize::from(operator.0)].reads = source.reads();
        Stream::new(self, operator, SourceOrigin(source))
    }

    /// Checks the job and makes it a graph; the error names the operator that is wrong.
    pub fn build(self) -> Result<JobGraph> {
        let Self { name, parallelism, max_parallelism, draft } = self;
        let draft = draft.into_inner();
        let wrong = |what: String| Error::give_up(format!("job {name:?}: {what}"));
        if let Some(problem) = draft.problems.into_iter().next() {
            return Err(wrong(problem));
        }
        if draft.operators.is_empty() {
            return Err(wrong("it has no operators".into()));
        }
        let mut operators = Vec::with_capacity(draft.operators.len());
        for operator in draft.operators {
            let parallelism = operator.parallelism.unwrap_or(parallelism);
            check_parallelism(&operator.uid, parallelism, max_parallelism).map_err(wrong)?;
            operators.push((operator, parallelism));
        }
        let mut edges = Vec::with_capacity(draft.edges.len());
        for (number, edge) in draft.edges.into_iter().enumerate() {
            let [from, to] = [edge.from, edge.to].map(|id| &operators[usize::from(id.0)]);
            let exchange = resolve(&edge, (&from.0.uid, from.1), (&to.0.uid, to.1)).map_err(wrong)?;
            assert!(edge.from < edge.to, "a stream exists before its consumer");
            let DraftEdge { from, to, input, codec, .. } = edge;
            edges.push(Edge { id: EdgeId(number as u16), from, to, input, exchange, codec });
        }
        let parallelisms: Vec<u16> = operators.iter().map(|(_, parallelism)| *parallelism).collect();
        let mut nodes = Vec::with_capacity(operators.len());
        for (number, (operator, parallelism)) in operators.into_iter().enumerate() {
            let id = OperatorId(number as u16);
            let outputs = edges.iter().filter(|edge| edge.from == id);
            let plans: Vec<RoutePlan> = outputs
                .map(|edge| RoutePlan {
                    edge: edge.id,
                    exchange: edge.exchange,
                    targets: parallelisms[usize::from(edge.to.0)],
                })
                .collect();
            let DraftOperator { uid, kind, states, version, staging, reads, sealed, .. } = operator;
            if version.is_some() && states.is_empty() {
                return Err(wrong(format!("operator {uid:?} has a state version but no state")));
            }
            let consumed = kind == OperatorKind::Sink || !plans.is_empty();
            let Some(sealed) = sealed.filter(|_| consumed) else {
                return Err(wrong(format!("nobody consumes the output of operator {uid:?}")));
            };
            let states = states.into_iter().map(|state| state.finish(&uid, version)).collect::<Result<_, _>>();
            let states = states.map_err(wrong)?;
            nodes.push(OperatorNode { id, uid, parallelism, kind, states, staging, reads, factory: sealed(plans) });
        }
        Ok(JobGraph { name, max_parallelism, operators: nodes, edges })
    }

    fn add_operator(&self, uid: &str, kind: OperatorKind, states: Vec<DraftState>) -> OperatorId {
        self.claim_uid(uid);
        let mut draft = self.draft.borrow_mut();
        let id = u16::try_from(draft.operators.len()).expect("fewer than 65,536 operators");
        draft.operators.push(DraftOperator {
            uid: uid.into(),
            kind,
            parallelism: None,
            states,
            version: None,
            staging: None,
            reads: None,
            sealed: None,
        });
        OperatorId(id)
    }

    fn claim_uid(&self, uid: &str) {
        let mut draft = self.draft.borrow_mut();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if uid.is_empty() || uid.starts_with('.') || !uid.chars().all(plain) {
            // Uids are parts of paths in storage.
            draft.problems.push(format!(
                "{uid:?} is no uid: use letters, digits, '-', '_' and '.', and begin with none of the last"
            ));
        } else if !draft.uids.insert(uid.into()) {
            draft.problems.push(format!("two operators have the uid {uid:?}"));
        }
    }

    fn claim_destination(&self, uid: &str, destination: String) {
        let mut draft = self.draft.borrow_mut();
        if let Some(other) = draft.destinations.get(&destination) {
            let problem = format!("sinks {other:?} and {uid:?} would both write to {destination}");
            draft.problems.push(problem);
        } else {
            draft.destinations.insert(destination, uid.into());
        }
    }

    fn set_staging(&self, operator: OperatorId, staging: Option<String>) {
        self.draft.borrow_mut().operators[usize::from(operator.0)].staging = staging;
    }

    fn set_parallelism(&self, operator: OperatorId, parallelism: u16) {
        self.draft.borrow_mut().operators[usize::from(operator.0)].parallelism = Some(parallelism);
    }

    fn set_state_version(&self, operator: OperatorId, version: u32) {
        self.draft.borrow_mut().operators[usize::from(operator.0)].version = Some(version);
    }

    fn seal(&self, operator: OperatorId, sealed: impl FnOnce(Vec<RoutePlan>) -> Factory + 'static) {
        let slot = &mut self.draft.borrow_mut().operators[usize::from(operator.0)].sealed;
        assert!(slot.is_none(), "an operator is sealed once");
        *slot = Some(Box::new(sealed));
    }

    fn add_edge(
        &self,
        from: OperatorId,
        to: OperatorId,
        input: u16,
        exchange: Option<Exchange>,
        codec: RecordCodec,
    ) -> EdgeId {
        let edges = &mut self.draft.borrow_mut().edges;
        let id = u16::try_from(edges.len()).expect("fewer than 65,536 edges");
        edges.push(DraftEdge { from, to, input, exchange, codec });
        EdgeId(id)
    }
}

fn check_parallelism(uid: &str, parallelism: u16, max_parallelism: u16) -> Result<(), String> {
    if parallelism == 0 {
        return Err(format!("operator {uid:?} has parallelism 0; it needs at least 1"));
    }
    if parallelism > max_parallelism {
        return Err(format!(
            "operator {uid:?} has parallelism {parallelism}, more than the job's max_parallelism of {max_parallelism}"
        ));
    }
    Ok(())
}

/// How the records of an edge travel: as the author said, or else the cheapest way that uses every subtask.
fn resolve(edge: &DraftEdge, from: (&str, u16), to: (&str, u16)) -> Result<Exchange, String> {
    match edge.exchange {
        Some(Exchange::Forward) if from.1 != to.1 => Err(format!(
            "cannot forward from operator {:?} with parallelism {} to {:?} with parallelism {}; make them equal or rebalance",
            from.0, from.1, to.0, to.1
        )),
        Some(exchange) => Ok(exchange),
        None if from.1 == to.1 => Ok(Exchange::Forward),
        None => Ok(Exchange::Rebalance),
    }
}

#[cfg(test)]
pub(crate) mod sequential;
#[cfg(test)]
mod tests;

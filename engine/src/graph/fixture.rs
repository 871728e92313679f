//! Graphs for unit tests: their operators have places and channels, and never run.

use super::{Edge, Exchange, Instance, JobGraph, OperatorKind, OperatorNode};
use crate::element::RecordCodec;
use crate::ids::{EdgeId, OperatorId};
use std::sync::Arc;

/// An operator without state.
pub fn operator(id: u16, uid: &str, parallelism: u16, kind: OperatorKind) -> OperatorNode {
    OperatorNode {
        id: OperatorId(id),
        uid: uid.into(),
        parallelism,
        kind,
        states: vec![],
        staging: None,
        reads: None,
        factory: Arc::new(|_| -> Instance { panic!("nothing runs") }),
    }
}

/// An edge of numbers into the first input of `to`.
pub fn edge(id: u16, from: u16, to: u16, exchange: Exchange) -> Edge {
    let (from, to) = (OperatorId(from), OperatorId(to));
    Edge { id: EdgeId(id), from, to, input: 0, exchange, codec: RecordCodec::of::<u64>() }
}

/// One source, `numbers`, and one sink behind it, `out`.
pub fn pass() -> JobGraph {
    let operators = vec![operator(0, "numbers", 1, OperatorKind::Source), operator(1, "out", 1, OperatorKind::Sink)];
    JobGraph { name: "pass".into(), max_parallelism: 8, operators, edges: vec![edge(0, 0, 1, Exchange::Forward)] }
}

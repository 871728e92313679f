//! Streams, as the author of a job sees them.
//!
//! A [`Stream`] is an operator still under construction: `map`, `filter` and `flat_map` fuse into it. Whatever sends its
//! records elsewhere (a sink, a key, `union`, `rebalance`, …) seals it into a [`Shared`] stream, which any number of
//! consumers may attach to; a transformation of a shared stream begins an operator of its own.

use super::endpoint::{self, Sink};
use super::head::{Origin, OutOf, Passing};
use super::route::{Blind, RouteMaker};
use super::transform::{Filter, FlatMap, Map, Then, Transform, Unchanged};
use super::{JobBuilder, chain::NodeChain};
use crate::element::{Record, RecordCodec};
use crate::graph::{Exchange, OperatorKind};
use crate::ids::{EdgeId, OperatorId};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// The output of an operator that can still grow.
#[must_use = "a stream that nobody consumes fails the build"]
pub struct Stream<'j, O, X> {
    pub(super) job: &'j JobBuilder,
    operator: OperatorId,
    origin: O,
    transform: X,
}

/// A stream with one more transformation.
pub type Fused<'j, O, X, Y> = Stream<'j, O, Then<X, Y, <X as Transform<OutOf<O>>>::Out>>;

impl<'j, O: Origin> Stream<'j, O, Unchanged> {
    pub(super) fn new(job: &'j JobBuilder, operator: OperatorId, origin: O) -> Self {
        Self { job, operator, origin, transform: Unchanged }
    }
}

impl<'j, O: Origin, X: Transform<OutOf<O>>> Stream<'j, O, X> {
    /// Sets the parallelism of the operator: of its head and of everything fused to it.
    pub fn parallelism(self, parallelism: u16) -> Self {
        self.job.set_parallelism(self.operator, parallelism);
        self
    }

    /// Sets the version of what the operator keeps in checkpoints: give it another one whenever that means something else
    /// than before. A restore refuses state of another version. Types whose layout cannot be traced need a version.
    pub fn state_version(self, version: u32) -> Self {
        self.job.set_state_version(self.operator, version);
        self
    }

    /// One record for each record.
    pub fn map<U, F>(self, uid: &str, function: F) -> Fused<'j, O, X, Map<F>>
    where
        U: Send + Sync + 'static,
        F: Fn(X::Out) -> U + Clone + Send + Sync + 'static,
    {
        self.fuse(uid, Map(function))
    }

    /// Only the records that pass.
    pub fn filter<F>(self, uid: &str, function: F) -> Fused<'j, O, X, Filter<F>>
    where
        F: Fn(&X::Out) -> bool + Clone + Send + Sync + 'static,
    {
        self.fuse(uid, Filter(function))
    }

    /// Any number of records for each record: the function appends them.
    pub fn flat_map<U, F>(self, uid: &str, function: F) -> Fused<'j, O, X, FlatMap<F, U>>
    where
        U: Send + Sync + 'static,
        F: Fn(X::Out, &mut Vec<U>) + Clone + Send + Sync + 'static,
    {
        self.fuse(uid, FlatMap::new(function))
    }

    fn fuse<Y: Transform<X::Out>>(self, uid: &str, next: Y) -> Fused<'j, O, X, Y> {
        self.job.claim_uid(uid);
        let Self { job, operator, origin, transform } = self;
        Stream { job, operator, origin, transform: Then::new(transform, next) }
    }
}

impl<'j, O: Origin, X: Transform<OutOf<O>, Out: Record>> Stream<'j, O, X> {
    /// Seals the operator, so that several consumers can attach.
    pub fn shared(self) -> Shared<'j, X::Out> {
        let Self { job, operator, origin, transform } = self;
        let routes: Routes<X::Out> = Rc::default();
        let attached = routes.clone();
        job.seal(operator, move |plans| {
            let makers: Vec<Arc<dyn RouteMaker<X::Out>>> =
                attached.borrow().iter().map(|(_, maker)| maker.clone()).collect();
            assert_eq!(makers.len(), plans.len(), "every edge of the operator has its route");
            Arc::new(move |context| {
                let routes = makers.iter().zip(&plans).map(|(maker, plan)| maker.make(*plan, context)).collect();
                let chain = NodeChain::new(origin.head(context), transform.clone(), routes);
                origin.instance(Box::new(chain), context)
            })
        });
        Shared { job, producers: vec![Producer { operator, exchange: None, routes }] }
    }

    /// The records of both streams.
    pub fn union(self, other: impl Into<Shared<'j, X::Out>>) -> Shared<'j, X::Out> {
        self.shared().union(other)
    }

    /// Subtask i to subtask i of the consumer, which must have the same parallelism.
    pub fn forward(self) -> Shared<'j, X::Out> {
        self.shared().forward()
    }

    /// Each record to the next subtask of the consumer in turn. Which one comes first is fixed, and is not part of the
    /// state: the turn starts again after a restore.
    pub fn rebalance(self) -> Shared<'j, X::Out> {
        self.shared().rebalance()
    }

    /// Every record to every subtask of the consumer.
    pub fn broadcast(self) -> Shared<'j, X::Out> {
        self.shared().broadcast()
    }

    /// Ends in a sink.
    pub fn sink<S: Sink<X::Out>>(self, uid: &str, sink: S) -> SinkEnd<'j> {
        self.shared().sink(uid, sink)
    }
}

impl<'j, O: Origin, X: Transform<OutOf<O>, Out = T>, T: Record> From<Stream<'j, O, X>> for Shared<'j, T> {
    fn from(stream: Stream<'j, O, X>) -> Self {
        stream.shared()
    }
}

/// The edges of a sealed operator so far.
type Routes<T> = Rc<RefCell<Vec<(EdgeId, Arc<dyn RouteMaker<T>>)>>>;

/// A sealed operator and how its records shall travel.
#[derive(Clone)]
struct Producer<T> {
    operator: OperatorId,
    exchange: Option<Exchange>,
    routes: Routes<T>,
}

/// A stream that any number of consumers may attach to: clone it for each.
#[must_use = "a stream that nobody consumes fails the build"]
pub struct Shared<'j, T> {
    pub(super) job: &'j JobBuilder,
    producers: Vec<Producer<T>>,
}

impl<T: Clone> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        Self { job: self.job, producers: self.producers.clone() }
    }
}

/// A transformation of a shared stream: an operator of its own.
pub type Begun<'j, T, Y> = Fused<'j, Passing<T>, Unchanged, Y>;

impl<'j, T: Record> Shared<'j, T> {
    /// One record for each record, in an operator of its own.
    pub fn map<U, F>(self, uid: &str, function: F) -> Begun<'j, T, Map<F>>
    where
        U: Send + Sync + 'static,
        F: Fn(T) -> U + Clone + Send + Sync + 'static,
    {
        self.begin(uid, Map(function))
    }

    /// Only the records that pass, in an operator of its own.
    pub fn filter<F>(self, uid: &str, function: F) -> Begun<'j, T, Filter<F>>
    where
        F: Fn(&T) -> bool + Clone + Send + Sync + 'static,
    {
        self.begin(uid, Filter(function))
    }

    /// Any number of records for each record, in an operator of its own.
    pub fn flat_map<U, F>(self, uid: &str, function: F) -> Begun<'j, T, FlatMap<F, U>>
    where
        U: Send + Sync + 'static,
        F: Fn(T, &mut Vec<U>) + Clone + Send + Sync + 'static,
    {
        self.begin(uid, FlatMap::new(function))
    }

    fn begin<Y: Transform<T>>(self, uid: &str, first: Y) -> Begun<'j, T, Y> {
        let operator = self.job.add_operator(uid, OperatorKind::Transform, Vec::new());
        self.attach(operator, 0);
        Stream { job: self.job, operator, origin: Passing::default(), transform: Then::new(Unchanged, first) }
    }

    /// The records of both streams. Each keeps its own way of travelling.
    pub fn union(mut self, other: impl Into<Shared<'j, T>>) -> Self {
        let other = other.into();
        assert!(std::ptr::eq(self.job, other.job), "streams of two jobs cannot be one");
        self.producers.extend(other.producers);
        self
    }

    /// Subtask i to subtask i of the consumer, which must have the same parallelism. Without a word about it, records
    /// are forwarded between equal and rebalanced between unequal parallelisms.
    pub fn forward(self) -> Self {
        self.travelling(Exchange::Forward)
    }

    /// Each record to the next subtask of the consumer in turn. Which one comes first is fixed, and is not part of the
    /// state: the turn starts again after a restore.
    pub fn rebalance(self) -> Self {
        self.travelling(Exchange::Rebalance)
    }

    /// Every record to every subtask of the consumer.
    pub fn broadcast(self) -> Self {
        self.travelling(Exchange::Broadcast)
    }

    fn travelling(mut self, exchange: Exchange) -> Self {
        self.producers.iter_mut().for_each(|producer| producer.exchange = Some(exchange));
        self
    }

    /// Ends in a sink.
    pub fn sink<S: Sink<T>>(self, uid: &str, sink: S) -> SinkEnd<'j> {
        let job = self.job;
        if let Some(destination) = sink.destination() {
            job.claim_destination(uid, destination);
        }
        let operator = job.add_operator(uid, OperatorKind::Sink, vec![endpoint::sink_state()]);
        job.set_staging(operator, sink.staging());
        self.attach(operator, 0);
        job.seal(operator, |plans| {
            assert!(plans.is_empty(), "nothing comes after a sink");
            Arc::new(move |context| endpoint::sink_instance(&sink, context))
        });
        SinkEnd { job, operator }
    }

    pub(super) fn attach(&self, to: OperatorId, input: u16) {
        self.connect(to, input, None, Arc::new(Blind));
    }

    pub(super) fn attach_by_key(&self, to: OperatorId, input: u16, route: Arc<dyn RouteMaker<T>>) {
        self.connect(to, input, Some(Exchange::Hash), route);
    }

    fn connect(&self, to: OperatorId, input: u16, forced: Option<Exchange>, route: Arc<dyn RouteMaker<T>>) {
        for producer in &self.producers {
            let exchange = forced.or(producer.exchange);
            let edge = self.job.add_edge(producer.operator, to, input, exchange, RecordCodec::of::<T>());
            producer.routes.borrow_mut().push((edge, route.clone()));
        }
    }
}

/// A finished branch of the job.
pub struct SinkEnd<'j> {
    job: &'j JobBuilder,
    operator: OperatorId,
}

impl SinkEnd<'_> {
    /// Sets the parallelism of the sink.
    pub fn parallelism(self, parallelism: u16) -> Self {
        self.job.set_parallelism(self.operator, parallelism);
        self
    }

    /// Sets the version of what the sink keeps in checkpoints: see [`Stream::state_version`].
    pub fn state_version(self, version: u32) -> Self {
        self.job.set_state_version(self.operator, version);
        self
    }
}

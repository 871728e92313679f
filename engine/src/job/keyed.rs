//! Keyed streams: `aggregate`, `reduce` and `process` over one value of state a key.
//!
//! Records of a key meet in the subtask that owns its key group, and are processed in order of arrival there.

use super::aggregate::{Aggregation, Emit};
use super::head::{KeyedOrigin, Origin, OutOf, Program, with_state_of};
use super::route;
use super::stream::{Shared, Stream};
use super::transform::{Transform, Unchanged};
use crate::element::{Batch, Record};
use crate::graph::OperatorKind;
use crate::ids::OperatorId;
use crate::state::backend::{Key, KeyedBackend, Value};
use std::marker::PhantomData;
use std::sync::Arc;

/// A stream whose records have a key.
pub struct Keyed<'j, T, K, F> {
    pub(super) stream: Shared<'j, T>,
    pub(super) key: F,
    emit: Emit,
    types: PhantomData<fn(&T) -> K>,
}

/// A stream that a keyed program has just been applied to.
pub type Processed<'j, P> = Stream<'j, KeyedOrigin<P>, Unchanged>;

/// The same for one input.
pub type ProcessedOne<'j, T, K, F, G> = Processed<'j, OneInput<T, K, F, G>>;

impl<'j, O: Origin, X: Transform<OutOf<O>, Out: Record>> Stream<'j, O, X> {
    /// Gives each record a key.
    pub fn key_by<K, F>(self, key: F) -> Keyed<'j, X::Out, K, F>
    where
        K: Key,
        F: Fn(&X::Out) -> K + Clone + Send + Sync + 'static,
    {
        self.shared().key_by(key)
    }
}

impl<'j, T: Record> Shared<'j, T> {
    /// Gives each record a key. However the stream would have travelled, its records now go to the owner of their key.
    pub fn key_by<K, F>(self, key: F) -> Keyed<'j, T, K, F>
    where
        K: Key,
        F: Fn(&T) -> K + Clone + Send + Sync + 'static,
    {
        Keyed::new(self, key)
    }
}

impl<'j, T, K, F> Keyed<'j, T, K, F>
where
    T: Record,
    K: Key,
    F: Fn(&T) -> K + Clone + Send + Sync + 'static,
{
    pub(super) fn new(stream: Shared<'j, T>, key: F) -> Self {
        Self { stream, key, emit: Emit::Updates, types: PhantomData }
    }

    /// When aggregations emit; every update unless said otherwise.
    pub fn emit(self, emit: Emit) -> Self {
        Self { emit, ..self }
    }

    /// Folds the records of a key into `(key, result)`.
    pub fn aggregate<A: Aggregation<T>>(self, uid: &str, aggregation: A) -> ProcessedOne<'j, T, K, F, Aggregate<A>> {
        let emit = self.emit;
        self.process_with(uid, Aggregate { aggregation, emit })
    }

    /// Combines the records of a key two by two, the earlier one first, into `(key, record)`.
    pub fn reduce<R>(self, uid: &str, combine: R) -> ProcessedOne<'j, T, K, F, Reduce<R>>
    where
        R: Fn(&mut T, T) + Clone + Send + Sync + 'static,
    {
        let emit = self.emit;
        self.process_with(uid, Reduce { combine, emit })
    }

    /// Processes each record with the state of its key: key, record, state (`None` at first; leave `None` to forget the
    /// key) and output.
    pub fn process<S, U, G>(self, uid: &str, function: G) -> ProcessedOne<'j, T, K, F, Process<G, S, U>>
    where
        S: Value,
        U: Send + Sync + 'static,
        G: Fn(&K, T, &mut Option<S>, &mut Vec<U>) + Clone + Send + Sync + 'static,
    {
        self.process_with(uid, Process { function, types: PhantomData })
    }

    /// Processes each record, and the end of input, with the state of its key.
    pub fn process_with<G: KeyedFunction<K, T>>(self, uid: &str, function: G) -> ProcessedOne<'j, T, K, F, G> {
        let job = self.stream.job;
        let program = OneInput { key: self.key.clone(), function, types: PhantomData };
        let (origin, state) = KeyedOrigin::new(program);
        let operator = job.add_operator(uid, OperatorKind::Transform, vec![state]);
        self.attach(operator, 0);
        Stream::new(job, operator, origin)
    }

    pub(super) fn attach(&self, operator: OperatorId, input: u16) {
        self.stream.attach_by_key(operator, input, Arc::new(route::Keyed::new(self.key.clone())));
    }
}

/// What happens to the records of one key.
pub trait KeyedFunction<K, T>: Clone + Send + Sync + 'static {
    /// What is kept for a key.
    type State: Value;
    /// What comes out.
    type Out: Send + Sync + 'static;

    /// Processes one record with the state of its key; `None` afterwards forgets the key.
    fn on_record(&self, key: &K, record: T, state: &mut Option<Self::State>, out: &mut Vec<Self::Out>);

    /// Whether [`KeyedFunction::on_end`] does anything.
    fn acts_on_end(&self) -> bool {
        false
    }

    /// Processes the end of input for a key that has state.
    fn on_end(&self, key: &K, state: &Self::State, out: &mut Vec<Self::Out>) {
        let _ = (key, state, out);
    }
}

/// A function as the program of a keyed operator with one input.
pub struct OneInput<T, K, F, G> {
    key: F,
    function: G,
    types: PhantomData<fn(&T) -> K>,
}

impl<T, K, F: Clone, G: Clone> Clone for OneInput<T, K, F, G> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), function: self.function.clone(), types: PhantomData }
    }
}

impl<T, K, F, G> Program for OneInput<T, K, F, G>
where
    T: Record,
    K: Key,
    F: Fn(&T) -> K + Clone + Send + Sync + 'static,
    G: KeyedFunction<K, T>,
{
    type Key = K;
    type State = G::State;
    type Out = G::Out;

    #[inline]
    fn on_batch<B: KeyedBackend<K, G::State>>(&self, input: u16, batch: Batch, state: &mut B, out: &mut Vec<G::Out>) {
        assert_eq!(input, 0, "a keyed operator has one input");
        for record in batch.into_records::<T>() {
            let key = (self.key)(&record);
            with_state_of(state, key, |key, value| self.function.on_record(key, record, value, out));
        }
    }

    fn acts_on_end(&self) -> bool {
        self.function.acts_on_end()
    }

    fn on_end_of(&self, key: &K, state: &G::State, out: &mut Vec<G::Out>) {
        self.function.on_end(key, state, out);
    }
}

/// [`Keyed::aggregate`].
#[derive(Clone)]
pub struct Aggregate<A> {
    aggregation: A,
    emit: Emit,
}

impl<K: Key, T, A: Aggregation<T>> KeyedFunction<K, T> for Aggregate<A> {
    type State = A::State;
    type Out = (K, A::Out);

    #[inline]
    fn on_record(&self, key: &K, record: T, state: &mut Option<A::State>, out: &mut Vec<(K, A::Out)>) {
        let state = state.get_or_insert_with(|| self.aggregation.start());
        self.aggregation.add(state, record);
        if self.emit == Emit::Updates {
            out.push((key.clone(), self.aggregation.result(state)));
        }
    }

    fn acts_on_end(&self) -> bool {
        self.emit == Emit::AtEnd
    }

    fn on_end(&self, key: &K, state: &A::State, out: &mut Vec<(K, A::Out)>) {
        out.push((key.clone(), self.aggregation.result(state)));
    }
}

/// [`Keyed::reduce`].
#[derive(Clone)]
pub struct Reduce<R> {
    combine: R,
    emit: Emit,
}

impl<K: Key, T: Record, R: Fn(&mut T, T) + Clone + Send + Sync + 'static> KeyedFunction<K, T> for Reduce<R> {
    type State = T;
    type Out = (K, T);

    #[inline]
    fn on_record(&self, key: &K, record: T, state: &mut Option<T>, out: &mut Vec<(K, T)>) {
        let state = match state {
            Some(state) => {
                (self.combine)(state, record);
                state
            }
            None => state.insert(record),
        };
        if self.emit == Emit::Updates {
            out.push((key.clone(), state.clone()));
        }
    }

    fn acts_on_end(&self) -> bool {
        self.emit == Emit::AtEnd
    }

    fn on_end(&self, key: &K, state: &T, out: &mut Vec<(K, T)>) {
        out.push((key.clone(), state.clone()));
    }
}

/// [`Keyed::process`].
pub struct Process<G, S, U> {
    function: G,
    types: PhantomData<fn(S) -> U>,
}

impl<G: Clone, S, U> Clone for Process<G, S, U> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), types: PhantomData }
    }
}

impl<K, T, S, U, G> KeyedFunction<K, T> for Process<G, S, U>
where
    S: Value,
    U: Send + Sync + 'static,
    G: Fn(&K, T, &mut Option<S>, &mut Vec<U>) + Clone + Send + Sync + 'static,
{
    type State = S;
    type Out = U;

    #[inline]
    fn on_record(&self, key: &K, record: T, state: &mut Option<S>, out: &mut Vec<U>) {
        (self.function)(key, record, state, out);
    }
}

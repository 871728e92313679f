//! Two keyed streams that meet in one operator: both see the same state of a key.
//!
//! Nothing orders the records of one side against those of the other: a job whose result shall not depend on
//! timing keeps what it needs of both sides in its state.

use super::head::{KeyedOrigin, Program, with_state_of};
use super::keyed::{Keyed, Processed};
use super::stream::Stream;
use crate::element::{Batch, Record};
use crate::graph::OperatorKind;
use crate::state::backend::{Key, KeyedBackend, Value};
use std::marker::PhantomData;

/// Two keyed streams, about to be processed together.
pub struct Connected<'j, A, B, K, F, G> {
    pub(super) first: Keyed<'j, A, K, F>,
    pub(super) second: Keyed<'j, B, K, G>,
}

/// A stream that a program for two inputs has just been applied to.
pub type ProcessedTwo<'j, A, B, K, F, G, H> = Processed<'j, TwoInputs<A, B, K, F, G, H>>;

impl<'j, T, K, F> Keyed<'j, T, K, F>
where
    T: Record,
    K: Key,
    F: Fn(&T) -> K + Clone + Send + Sync + 'static,
{
    /// Meets another stream with the same keys: one operator sees both.
    pub fn connect<U, G>(self, other: Keyed<'j, U, K, G>) -> Connected<'j, T, U, K, F, G>
    where
        U: Record,
        G: Fn(&U) -> K + Clone + Send + Sync + 'static,
    {
        Connected { first: self, second: other }
    }
}

impl<'j, A, B, K, F, G> Connected<'j, A, B, K, F, G>
where
    A: Record,
    B: Record,
    K: Key,
    F: Fn(&A) -> K + Clone + Send + Sync + 'static,
    G: Fn(&B) -> K + Clone + Send + Sync + 'static,
{
    /// Processes each record with the state of its key: `first` those of the first stream, `second` those of the second.
    pub fn process<S, U, P, Q>(
        self,
        uid: &str,
        first: P,
        second: Q,
    ) -> ProcessedTwo<'j, A, B, K, F, G, ProcessBoth<P, Q, S, U>>
    where
        S: Value,
        U: Send + Sync + 'static,
        P: Fn(&K, A, &mut Option<S>, &mut Vec<U>) + Clone + Send + Sync + 'static,
        Q: Fn(&K, B, &mut Option<S>, &mut Vec<U>) + Clone + Send + Sync + 'static,
    {
        self.process_with(uid, ProcessBoth { first, second, types: PhantomData })
    }

    /// Processes each record of both streams, and the end of input, with the state of its key.
    pub fn process_with<H: TwoInputFunction<K, A, B>>(
        self,
        uid: &str,
        function: H,
    ) -> ProcessedTwo<'j, A, B, K, F, G, H> {
        let job = self.first.stream.job;
        let keys = (self.first.key.clone(), self.second.key.clone());
        let (origin, state) = KeyedOrigin::new(TwoInputs { keys, function, types: PhantomData });
        let operator = job.add_operator(uid, OperatorKind::Transform, vec![state]);
        self.first.attach(operator, 0);
        self.second.attach(operator, 1);
        Stream::new(job, operator, origin)
    }
}

/// What happens to the records of one key from two streams.
pub trait TwoInputFunction<K, A, B>: Clone + Send + Sync + 'static {
    /// What is kept for a key.
    type State: Value;
    /// What comes out.
    type Out: Send + Sync + 'static;

    /// Processes a record of the first stream.
    fn on_first(&self, key: &K, record: A, state: &mut Option<Self::State>, out: &mut Vec<Self::Out>);

    /// Processes a record of the second stream.
    fn on_second(&self, key: &K, record: B, state: &mut Option<Self::State>, out: &mut Vec<Self::Out>);

    /// Whether [`TwoInputFunction::on_end`] does anything.
    fn acts_on_end(&self) -> bool {
        false
    }

    /// Processes the end of both inputs for a key that has state.
    fn on_end(&self, key: &K, state: &Self::State, out: &mut Vec<Self::Out>) {
        let _ = (key, state, out);
    }
}

/// A function as the program of a keyed operator with two inputs.
pub struct TwoInputs<A, B, K, F, G, H> {
    keys: (F, G),
    function: H,
    types: PhantomData<fn(&A, &B) -> K>,
}

impl<A, B, K, F: Clone, G: Clone, H: Clone> Clone for TwoInputs<A, B, K, F, G, H> {
    fn clone(&self) -> Self {
        Self { keys: self.keys.clone(), function: self.function.clone(), types: PhantomData }
    }
}

impl<A, B, K, F, G, H> Program for TwoInputs<A, B, K, F, G, H>
where
    A: Record,
    B: Record,
    K: Key,
    F: Fn(&A) -> K + Clone + Send + Sync + 'static,
    G: Fn(&B) -> K + Clone + Send + Sync + 'static,
    H: TwoInputFunction<K, A, B>,
{
    type Key = K;
    type State = H::State;
    type Out = H::Out;

    fn on_batch<S: KeyedBackend<K, H::State>>(&self, input: u16, batch: Batch, state: &mut S, out: &mut Vec<H::Out>) {
        match input {
            0 => batch.into_records::<A>().into_iter().for_each(|record| {
                let key = (self.keys.0)(&record);
                with_state_of(state, key, |key, value| self.function.on_first(key, record, value, out));
            }),
            1 => batch.into_records::<B>().into_iter().for_each(|record| {
                let key = (self.keys.1)(&record);
                with_state_of(state, key, |key, value| self.function.on_second(key, record, value, out));
            }),
            2.. => panic!("a connected operator has two inputs, not input {input}"),
        }
    }

    fn acts_on_end(&self) -> bool {
        self.function.acts_on_end()
    }

    fn on_end_of(&self, key: &K, state: &H::State, out: &mut Vec<H::Out>) {
        self.function.on_end(key, state, out);
    }
}

/// [`Connected::process`].
pub struct ProcessBoth<P, Q, S, U> {
    first: P,
    second: Q,
    types: PhantomData<fn(S) -> U>,
}

impl<P: Clone, Q: Clone, S, U> Clone for ProcessBoth<P, Q, S, U> {
    fn clone(&self) -> Self {
        Self { first: self.first.clone(), second: self.second.clone(), types: PhantomData }
    }
}

impl<K, A, B, S, U, P, Q> TwoInputFunction<K, A, B> for ProcessBoth<P, Q, S, U>
where
    S: Value,
    U: Send + Sync + 'static,
    P: Fn(&K, A, &mut Option<S>, &mut Vec<U>) + Clone + Send + Sync + 'static,
    Q: Fn(&K, B, &mut Option<S>, &mut Vec<U>) + Clone + Send + Sync + 'static,
{
    type State = S;
    type Out = U;

    fn on_first(&self, key: &K, record: A, state: &mut Option<S>, out: &mut Vec<U>) {
        (self.first)(key, record, state, out);
    }

    fn on_second(&self, key: &K, record: B, state: &mut Option<S>, out: &mut Vec<U>) {
        (self.second)(key, record, state, out);
    }
}

//! Operators whose state belongs to the subtask instead of a key: counters, buffers, and sides that are broadcast.
//!
//! Which records a subtask sees depends on the exchange in front of it, and their order on timing. A job whose result
//! shall not depend on either treats the state accordingly: a buffer that lets everything go at the end of input, or a
//! side that every subtask is sent in full ([`Shared::broadcast`]).
//!
//! Invariant: equal state has equal bytes, so it holds no hash set (maps of any kind are sorted where they are encoded).
//! Not handled: another parallelism at a restore; views that are cheaper than encoding the whole value.

use super::head::{Head, Origin};
use super::states::DraftState;
use super::stream::{Shared, Stream};
use super::transform::Unchanged;
use crate::codec::{self, Encoding};
use crate::element::{Batch, Record};
use crate::error::{Error, Result};
use crate::graph::{OperatorKind, SubtaskContext};
use crate::state::backend::Value;
use crate::state::{Pages, Section, SectionKind};
use std::marker::PhantomData;

/// What a subtask does with its records and a state of its own.
pub trait LocalFunction<T>: Clone + Send + Sync + 'static {
    /// What a subtask keeps.
    type State: Value + Default;
    /// What comes out.
    type Out: Send + Sync + 'static;

    /// Processes one record.
    fn on_record(&self, record: T, state: &mut Self::State, out: &mut Vec<Self::Out>);

    /// Processes the end of input, once.
    fn on_end(&self, state: &mut Self::State, out: &mut Vec<Self::Out>) {
        let _ = (state, out);
    }
}

/// The same for two inputs.
pub trait LocalTwoInputFunction<A, B>: Clone + Send + Sync + 'static {
    /// What a subtask keeps.
    type State: Value + Default;
    /// What comes out.
    type Out: Send + Sync + 'static;

    /// Processes a record of the first stream.
    fn on_first(&self, record: A, state: &mut Self::State, out: &mut Vec<Self::Out>);

    /// Processes a record of the second stream.
    fn on_second(&self, record: B, state: &mut Self::State, out: &mut Vec<Self::Out>);

    /// Processes the end of both inputs, once.
    fn on_end(&self, state: &mut Self::State, out: &mut Vec<Self::Out>) {
        let _ = (state, out);
    }
}

/// A stream that a program with local state has just been applied to.
pub type Localised<'j, P> = Stream<'j, LocalOrigin<P>, Unchanged>;

impl<'j, T: Record> Shared<'j, T> {
    /// Processes each record, and the end of input, with one value of state a subtask.
    pub fn process_local<F: LocalFunction<T>>(self, uid: &str, function: F) -> Localised<'j, OneLocal<T, F>> {
        let (origin, state) = LocalOrigin::new(OneLocal { function, types: PhantomData });
        let operator = self.job.add_operator(uid, OperatorKind::Transform, vec![state]);
        self.attach(operator, 0);
        Stream::new(self.job, operator, origin)
    }

    /// Processes the records of two streams, and the end of both, with one value of state a subtask. Each stream keeps
    /// its own way of travelling.
    pub fn process_local_with<U, F>(
        self,
        uid: &str,
        second: impl Into<Shared<'j, U>>,
        function: F,
    ) -> Localised<'j, TwoLocal<T, U, F>>
    where
        U: Record,
        F: LocalTwoInputFunction<T, U>,
    {
        let (origin, state) = LocalOrigin::new(TwoLocal { function, types: PhantomData });
        let operator = self.job.add_operator(uid, OperatorKind::Transform, vec![state]);
        self.attach(operator, 0);
        second.into().attach(operator, 1);
        Stream::new(self.job, operator, origin)
    }
}

const STATE: &str = "local";

/// A local program, whatever its number of inputs.
pub trait LocalProgram: Clone + Send + Sync + 'static {
    /// What a subtask keeps.
    type State: Value + Default;
    /// What comes out.
    type Out: Send + Sync + 'static;

    /// Processes a batch.
    fn on_batch(&self, input: u16, batch: Batch, state: &mut Self::State, out: &mut Vec<Self::Out>);

    /// Processes the end of all input.
    fn on_end(&self, state: &mut Self::State, out: &mut Vec<Self::Out>);
}

/// [`Shared::process_local`].
pub struct OneLocal<T, F> {
    function: F,
    types: PhantomData<fn(T)>,
}

impl<T, F: Clone> Clone for OneLocal<T, F> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), types: PhantomData }
    }
}

impl<T: Record, F: LocalFunction<T>> LocalProgram for OneLocal<T, F> {
    type State = F::State;
    type Out = F::Out;

    fn on_batch(&self, input: u16, batch: Batch, state: &mut F::State, out: &mut Vec<F::Out>) {
        assert_eq!(input, 0, "a local operator has one input");
        batch.into_records::<T>().into_iter().for_each(|record| self.function.on_record(record, state, out));
    }

    fn on_end(&self, state: &mut F::State, out: &mut Vec<F::Out>) {
        self.function.on_end(state, out);
    }
}

/// [`Shared::process_local_with`].
pub struct TwoLocal<A, B, F> {
    function: F,
    types: PhantomData<fn(A, B)>,
}

impl<A, B, F: Clone> Clone for TwoLocal<A, B, F> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), types: PhantomData }
    }
}

impl<A: Record, B: Record, F: LocalTwoInputFunction<A, B>> LocalProgram for TwoLocal<A, B, F> {
    type State = F::State;
    type Out = F::Out;

    fn on_batch(&self, input: u16, batch: Batch, state: &mut F::State, out: &mut Vec<F::Out>) {
        match input {
            0 => batch.into_records::<A>().into_iter().for_each(|record| self.function.on_first(record, state, out)),
            1 => batch.into_records::<B>().into_iter().for_each(|record| self.function.on_second(record, state, out)),
            2.. => panic!("a local operator of two streams has two inputs, not input {input}"),
        }
    }

    fn on_end(&self, state: &mut F::State, out: &mut Vec<F::Out>) {
        self.function.on_end(state, out);
    }
}

/// A local program with its state.
pub struct LocalHead<P: LocalProgram> {
    program: P,
    state: P::State,
    encoding: Encoding,
}

impl<P: LocalProgram> Head for LocalHead<P> {
    type Out = P::Out;

    fn on_batch(&mut self, input: u16, batch: Batch, out: &mut Vec<P::Out>) {
        self.program.on_batch(input, batch, &mut self.state, out);
    }

    fn on_end(&mut self, out: &mut Vec<P::Out>) {
        self.program.on_end(&mut self.state, out);
    }

    fn snapshot(&mut self) -> Box<dyn Pages> {
        let bytes = self.encoding.encode(&self.state);
        let section = Section { kind: SectionKind::Operator, name: STATE.into(), group: None, bytes };
        Box::new(vec![section].into_iter())
    }

    fn restore(&mut self, sections: &[Section]) -> Result<()> {
        let [Section { kind: SectionKind::Operator, name, group: None, bytes }] = sections else {
            return Err(Error::corrupt("the snapshot of an operator with local state does not hold that state alone"));
        };
        if name != STATE {
            return Err(Error::corrupt(format!("the snapshot holds state {name:?} instead of {STATE:?}")));
        }
        self.state =
            codec::decode(bytes).map_err(|e| Error::corrupt(format!("state {STATE:?} cannot be decoded: {e}")))?;
        Ok(())
    }
}

/// The origin of [`LocalHead`].
pub struct LocalOrigin<P> {
    program: P,
    encoding: Encoding,
}

impl<P: LocalProgram> LocalOrigin<P> {
    /// An origin, and what its operator says about its state.
    fn new(program: P) -> (Self, DraftState) {
        let state = DraftState::of::<P::State>(STATE, SectionKind::Operator);
        let (_, encoding) = state.encodings();
        (Self { program, encoding }, state)
    }
}

impl<P: LocalProgram> Origin for LocalOrigin<P> {
    type Head = LocalHead<P>;

    fn head(&self, _context: &SubtaskContext) -> LocalHead<P> {
        LocalHead { program: self.program.clone(), state: P::State::default(), encoding: self.encoding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::world::{World, context};
    use crate::connectors::{Discard, Generator};
    use crate::graph::{Chain, Instance, Outbox};
    use crate::job::JobBuilder;

    /// Holds everything back until the end.
    #[derive(Clone)]
    struct Hold;

    impl LocalFunction<u64> for Hold {
        type State = Vec<u64>;
        type Out = u64;

        fn on_record(&self, record: u64, held: &mut Vec<u64>, _: &mut Vec<u64>) {
            held.push(record);
        }

        fn on_end(&self, held: &mut Vec<u64>, out: &mut Vec<u64>) {
            out.append(held);
        }
    }

    /// Adds the sum of the second stream to each record of the first that comes after it.
    #[derive(Clone)]
    struct Raise;

    impl LocalTwoInputFunction<u64, u32> for Raise {
        type State = u64;
        type Out = u64;

        fn on_first(&self, record: u64, by: &mut u64, out: &mut Vec<u64>) {
            out.push(record + *by);
        }

        fn on_second(&self, record: u32, by: &mut u64, _: &mut Vec<u64>) {
            *by += u64::from(record);
        }
    }

    fn numbers() -> Generator<u64, fn(u16, u64) -> u64> {
        Generator::new((|_, index| index) as fn(u16, u64) -> u64).records(1)
    }

    /// The chain of the last operator but the sink.
    fn chain(define: impl Fn(&JobBuilder)) -> Box<dyn Chain> {
        let job = JobBuilder::new("local");
        define(&job);
        let graph = job.build().expect("a good job");
        let operator = &graph.operators[graph.operators.len() - 2];
        assert_eq!(operator.states[0].kind, SectionKind::Operator);
        match (operator.factory)(&context(&World::default(), &operator.uid, 0, 1, 8)) {
            Instance::Transform(chain) => chain,
            Instance::Source(..) | Instance::Sink(_) => panic!("a local operator transforms"),
        }
    }

    fn hold(job: &JobBuilder) {
        job.source("numbers", numbers()).shared().process_local("hold", Hold).sink("end", Discard);
    }

    fn raise(job: &JobBuilder) {
        let by = job.source("by", numbers()).map("narrow", |n| n as u32).broadcast();
        let numbers = job.source("numbers", numbers()).shared();
        numbers.process_local_with("raise", by, Raise).sink("end", Discard);
    }

    fn sent(chain: &mut dyn Chain, out: &mut Outbox) -> Vec<u64> {
        chain.flush(out);
        out.batches.drain(..).flat_map(|(.., batch)| batch.into_records::<u64>()).collect()
    }

    #[test]
    fn what_is_held_back_survives_a_restore_and_leaves_at_the_end_once() {
        let mut out = Outbox::default();
        let mut first = chain(hold);
        first.on_batch(0, Batch::new(vec![3_u64, 1]), &mut out);
        assert_eq!(sent(&mut *first, &mut out), [] as [u64; 0]);
        let taken = crate::state::collect(first.snapshot());
        first.on_batch(0, Batch::new(vec![9_u64]), &mut out);

        let mut second = chain(hold);
        second.restore(&taken).expect("its own snapshot");
        second.on_batch(0, Batch::new(vec![2_u64]), &mut out);
        second.on_end(&mut out);
        assert_eq!(sent(&mut *second, &mut out), [3, 1, 2]);
        let empty = crate::state::collect(chain(hold).snapshot());
        assert_eq!(crate::state::collect(second.snapshot()), empty, "nothing is held any more");
    }

    #[test]
    fn both_inputs_see_one_state() {
        let mut out = Outbox::default();
        let mut chain = chain(raise);
        chain.on_batch(0, Batch::new(vec![1_u64]), &mut out);
        chain.on_batch(1, Batch::new(vec![10_u32, 20]), &mut out);
        chain.on_batch(0, Batch::new(vec![2_u64]), &mut out);
        chain.on_end(&mut out);
        assert_eq!(sent(&mut *chain, &mut out), [1, 32]);
    }

    #[test]
    fn a_snapshot_of_something_else_is_refused() {
        let section =
            |kind, name: &str, bytes: &[u8]| Section { kind, name: name.into(), group: None, bytes: bytes.into() };
        let stateless = section(SectionKind::Operator, STATE, &[0; 8]);
        for sections in [
            vec![],
            vec![stateless.clone(), stateless],
            vec![section(SectionKind::Sink, STATE, &[0; 8])],
            vec![section(SectionKind::Operator, "other", &[0; 8])],
            vec![section(SectionKind::Operator, STATE, &[0; 3])],
        ] {
            let error = chain(hold).restore(&sections).expect_err("not its state");
            assert_eq!(error.reaction, crate::error::Reaction::Corrupt, "{sections:?}");
        }
    }
}

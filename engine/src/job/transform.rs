//! Stateless transformations, composed at compile time: a chain of `map`, `filter` and `flat_map` becomes one loop over
//! a batch, without a virtual call or an intermediate buffer per record.
//!
//! A transformation is cloned once a subtask. What it holds besides the user's closure is scratch space, empty
//! between records, so there is nothing to snapshot. A closure must be a pure function of its record: the judges call
//! it again.

use std::marker::PhantomData;

/// Turns each record into any number of records.
pub trait Transform<I>: Clone + Send + Sync + 'static {
    /// What comes out.
    type Out: Send + Sync + 'static;

    /// Emits what becomes of one record.
    fn apply<E: FnMut(Self::Out)>(&mut self, record: I, emit: &mut E);

    /// Moves every record of `input` through, to the end of `output`.
    #[inline]
    fn apply_all(&mut self, input: &mut Vec<I>, output: &mut Vec<Self::Out>) {
        for record in input.drain(..) {
            self.apply(record, &mut |result| output.push(result));
        }
    }
}

/// Nothing fused yet: records pass as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unchanged;

impl<I: Send + Sync + 'static> Transform<I> for Unchanged {
    type Out = I;

    #[inline]
    fn apply<E: FnMut(I)>(&mut self, record: I, emit: &mut E) {
        emit(record);
    }

    #[inline]
    fn apply_all(&mut self, input: &mut Vec<I>, output: &mut Vec<I>) {
        if output.is_empty() {
            std::mem::swap(input, output);
        } else {
            output.append(input);
        }
    }
}

/// One record for one record.
#[derive(Clone, Copy)]
pub struct Map<F>(pub(super) F);

impl<I, U, F> Transform<I> for Map<F>
where
    F: Fn(I) -> U + Clone + Send + Sync + 'static,
    U: Send + Sync + 'static,
{
    type Out = U;

    #[inline]
    fn apply<E: FnMut(U)>(&mut self, record: I, emit: &mut E) {
        emit((self.0)(record));
    }
}

/// Only the records that pass.
#[derive(Clone, Copy)]
pub struct Filter<F>(pub(super) F);

impl<I, F> Transform<I> for Filter<F>
where
    F: Fn(&I) -> bool + Clone + Send + Sync + 'static,
    I: Send + Sync + 'static,
{
    type Out = I;

    #[inline]
    fn apply<E: FnMut(I)>(&mut self, record: I, emit: &mut E) {
        if (self.0)(&record) {
            emit(record);
        }
    }
}

/// Any number of records for one record.
pub struct FlatMap<F, U> {
    function: F,
    scratch: Vec<U>,
}

impl<F, U> FlatMap<F, U> {
    pub(super) fn new(function: F) -> Self {
        Self { function, scratch: Vec::new() }
    }
}

impl<F: Clone, U> Clone for FlatMap<F, U> {
    fn clone(&self) -> Self {
        debug_assert!(self.scratch.is_empty(), "cloned between records only");
        Self::new(self.function.clone())
    }
}

impl<I, U, F> Transform<I> for FlatMap<F, U>
where
    F: Fn(I, &mut Vec<U>) + Clone + Send + Sync + 'static,
    U: Send + Sync + 'static,
{
    type Out = U;

    #[inline]
    fn apply<E: FnMut(U)>(&mut self, record: I, emit: &mut E) {
        (self.function)(record, &mut self.scratch);
        self.scratch.drain(..).for_each(emit);
    }

    #[inline]
    fn apply_all(&mut self, input: &mut Vec<I>, output: &mut Vec<U>) {
        // The user's closure only ever appends, so the batch itself can be its output.
        for record in input.drain(..) {
            let before = output.len();
            (self.function)(record, output);
            assert!(output.len() >= before, "flat_map may only append to its output");
        }
    }
}

/// The first, then the second.
pub struct Then<A, B, M> {
    first: A,
    second: B,
    between: PhantomData<fn(M)>,
}

impl<A, B, M> Then<A, B, M> {
    pub(super) fn new(first: A, second: B) -> Self {
        Self { first, second, between: PhantomData }
    }
}

impl<A: Clone, B: Clone, M> Clone for Then<A, B, M> {
    fn clone(&self) -> Self {
        Self::new(self.first.clone(), self.second.clone())
    }
}

impl<I, M, A, B> Transform<I> for Then<A, B, M>
where
    A: Transform<I, Out = M>,
    B: Transform<M>,
    M: 'static,
{
    type Out = B::Out;

    #[inline]
    fn apply<E: FnMut(B::Out)>(&mut self, record: I, emit: &mut E) {
        let second = &mut self.second;
        self.first.apply(record, &mut |between| second.apply(between, emit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_transformations_act_in_their_order() {
        let doubled = Then::new(Unchanged, Map(|n: u32| n * 2));
        let kept = Then::new(doubled, Filter(|n: &u32| !n.is_multiple_of(3)));
        let mut fused =
            Then::new(kept, FlatMap::new(|n: u32, out: &mut Vec<String>| out.extend([n.to_string(), "!".into()])));
        let (mut input, mut output) = (vec![1, 2, 3, 4], vec!["before".to_owned()]);
        fused.apply_all(&mut input, &mut output);
        assert_eq!(output, ["before", "2", "!", "4", "!", "8", "!"]);
        assert!(input.is_empty());
    }

    #[test]
    fn a_lone_flat_map_appends_to_what_is_there() {
        let mut twice = FlatMap::new(|n: u32, out: &mut Vec<u32>| out.extend([n, n]));
        let (mut input, mut output) = (vec![1, 2], vec![9]);
        twice.apply_all(&mut input, &mut output);
        assert_eq!(output, [9, 1, 1, 2, 2]);
    }
}

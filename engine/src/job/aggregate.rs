//! Aggregations, and when their results come out.

use crate::state::backend::Value;

/// When a keyed aggregation emits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Emit {
    /// The new result after every record.
    Updates,
    /// The final result of every key once, at the end of input, in the order of encoded keys.
    AtEnd,
}

/// Folds the records of a key into a result. If the order of records does not matter to it, neither does the order in
/// which they arrive matter to the job.
pub trait Aggregation<T>: Clone + Send + Sync + 'static {
    /// What is kept for a key.
    type State: Value;
    /// What comes out.
    type Out: Send + Sync + 'static;

    /// The state before the first record.
    fn start(&self) -> Self::State;

    /// Adds a record.
    fn add(&self, state: &mut Self::State, record: T);

    /// The result so far.
    fn result(&self, state: &Self::State) -> Self::Out;
}

/// How many records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count;

impl<T> Aggregation<T> for Count {
    type State = u64;
    type Out = u64;

    fn start(&self) -> u64 {
        0
    }

    #[inline]
    fn add(&self, state: &mut u64, _record: T) {
        *state += 1;
    }

    #[inline]
    fn result(&self, state: &u64) -> u64 {
        *state
    }
}

/// The sum of a number in every record, modulo 2⁶⁴.
#[derive(Clone, Copy)]
pub struct Sum<F>(pub F);

impl<T, F: Fn(&T) -> u64 + Clone + Send + Sync + 'static> Aggregation<T> for Sum<F> {
    type State = u64;
    type Out = u64;

    fn start(&self) -> u64 {
        0
    }

    #[inline]
    fn add(&self, state: &mut u64, record: T) {
        // Wrapping, because an overflow would depend on nothing a user could repair while the job runs.
        *state = state.wrapping_add((self.0)(&record));
    }

    #[inline]
    fn result(&self, state: &u64) -> u64 {
        *state
    }
}

//! The seam between keyed operators and where their state lies: every backend is a [`KeyedBackend`].
//!
//! The trait is generic, not an object: a chain is compiled for its backend, so that the hot path (one
//! [`KeyedBackend::update`] a record) has no virtual call. What crosses to the rest of the engine is erased:
//! [`Pages`] and [`Section`]s.
//!
//! Every backend promises:
//! 1. it holds keys of the groups in its [`Ownership`] only, and panics at any other;
//! 2. a snapshot is not affected by later updates;
//! 3. equal state encodes to equal bytes, whatever the order of updates that led to it.

use crate::error::Result;
use crate::hash::owner_of;
use crate::ids::KeyGroup;
use crate::state::{Pages, Section};
use serde::{Serialize, de::DeserializeOwned};
use std::hash::Hash;

/// A type that may be kept in state.
pub trait Value: Clone + Send + Sync + Serialize + DeserializeOwned + 'static {}
impl<T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static> Value for T {}

/// A type that state may be kept by. Its `Hash` must feed the same bytes on every machine and in every build: derive
/// it, from integers, strings, byte strings, tuples and structs of such.
pub trait Key: Value + Hash + Eq {}
impl<T: Value + Hash + Eq> Key for T {}

/// Keyed value state of one subtask.
pub trait KeyedBackend<K: Key, V: Value>: Send {
    /// Changes the value of `key`, whose stable hash is `hash`. A value that is `None` afterwards is forgotten.
    fn update<R>(&mut self, hash: u64, key: K, change: impl FnOnce(&K, &mut Option<V>) -> R) -> R;

    /// Visits every key that has a value, in the order of encoded keys: deterministic, but meaning nothing.
    fn visit_sorted(&self, visit: &mut impl FnMut(&K, &V));

    /// A view of the state as it is now.
    fn snapshot(&mut self) -> Box<dyn Pages>;

    /// Takes over the keyed sections of a snapshot. Called at most once, before any update.
    fn restore(&mut self, sections: &[Section]) -> Result<()>;

    /// Checks the invariants that are cheap to check.
    fn validate(&self);
}

/// The key groups of one subtask: contiguous.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ownership {
    /// The first group.
    pub first: KeyGroup,
    /// How many.
    pub count: u16,
    /// Key groups of the job.
    pub max_parallelism: u16,
}

impl Ownership {
    /// What subtask `index` of `parallelism` owns.
    pub fn of(index: u16, parallelism: u16, max_parallelism: u16) -> Self {
        assert!(index < parallelism, "subtask {index} of {parallelism}");
        assert!(parallelism <= max_parallelism, "{parallelism} subtasks cannot share {max_parallelism} key groups");
        let owned = |group: &u16| owner_of(KeyGroup(*group), parallelism, max_parallelism) == index;
        let first = (0..max_parallelism).find(owned).expect("every subtask owns a group");
        let count = (first..max_parallelism).take_while(owned).count();
        Self { first: KeyGroup(first), count: u16::try_from(count).expect("at most max_parallelism"), max_parallelism }
    }

    /// The position of `group` among the owned ones, if it is one.
    #[inline]
    pub fn position(&self, group: KeyGroup) -> Option<usize> {
        let position = group.0.wrapping_sub(self.first.0);
        (position < self.count).then_some(usize::from(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ownerships_of_all_subtasks_partition_the_groups() {
        for (parallelism, max_parallelism) in [(1, 1), (1, 128), (3, 128), (7, 10), (128, 128), (5, 1000)] {
            let mut next = 0;
            for index in 0..parallelism {
                let ownership = Ownership::of(index, parallelism, max_parallelism);
                assert_eq!(ownership.first.0, next);
                next += ownership.count;
                assert_eq!(ownership.position(KeyGroup(next - 1)), Some(usize::from(ownership.count) - 1));
                assert_eq!(ownership.position(KeyGroup(next)), None);
            }
            assert_eq!(next, max_parallelism);
        }
    }
}

//! Heads: what a chain begins with. Either records pass as they are (sources, and stateless operators that had to
//! start a subtask of their own), or a keyed program turns them into output with the help of its state.
//!
//! An [`Origin`] is a head before it lives: the builder keeps one an operator, and every subtask makes its own head.

use super::states::DraftState;
use crate::codec::Encoding;
use crate::element::{Batch, Record};
use crate::error::{Error, Result};
use crate::graph::{Chain, Instance, SubtaskContext};
use crate::hash::stable_hash;
use crate::state::backend::{Key, KeyedBackend, Ownership, Value};
use crate::state::memory::MemoryBackend;
use crate::state::{Pages, Section, SectionKind};
use std::marker::PhantomData;

/// The stateful part of a chain.
pub trait Head: Send + 'static {
    /// What it hands to the fused transformations.
    type Out: Send + Sync + 'static;

    /// Processes a batch, appending what comes out.
    fn on_batch(&mut self, input: u16, batch: Batch, out: &mut Vec<Self::Out>);

    /// All input has been processed: appends what was held back.
    fn on_end(&mut self, out: &mut Vec<Self::Out>);

    /// A view of the state.
    fn snapshot(&mut self) -> Box<dyn Pages>;

    /// Takes over the sections of a snapshot.
    fn restore(&mut self, sections: &[Section]) -> Result<()>;

    /// Checks the invariants that are cheap to check after every batch.
    fn validate(&self) {}
}

/// Makes the heads of one operator.
pub trait Origin: Send + Sync + 'static {
    /// What its heads are.
    type Head: Head;

    /// The head of the subtask that `context` describes.
    fn head(&self, context: &SubtaskContext) -> Self::Head;

    /// The subtask around its chain.
    fn instance(&self, chain: Box<dyn Chain>, context: &SubtaskContext) -> Instance {
        let _ = context;
        Instance::Transform(chain)
    }
}

/// What comes out of an origin's heads.
pub type OutOf<O> = <<O as Origin>::Head as Head>::Out;

/// Records pass as they are.
pub struct PassThrough<T>(PhantomData<fn(T)>);

impl<T> Default for PassThrough<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Record> Head for PassThrough<T> {
    type Out = T;

    #[inline]
    fn on_batch(&mut self, input: u16, batch: Batch, out: &mut Vec<T>) {
        assert_eq!(input, 0, "a stateless operator has one input");
        let mut records = batch.into_records::<T>();
        if out.is_empty() {
            *out = records;
        } else {
            out.append(&mut records);
        }
    }

    fn on_end(&mut self, _out: &mut Vec<T>) {}

    fn snapshot(&mut self) -> Box<dyn Pages> {
        Box::new(Vec::new().into_iter())
    }

    fn restore(&mut self, sections: &[Section]) -> Result<()> {
        // A source's positions are in the same blob; the state of an operator is not for us.
        let is_state = |kind: SectionKind| matches!(kind, SectionKind::Keyed | SectionKind::Operator);
        match sections.iter().find(|section| is_state(section.kind)) {
            Some(section) => {
                Err(Error::give_up(format!("the checkpoint holds state {:?} for a stateless operator", section.name)))
            }
            None => Ok(()),
        }
    }
}

/// The origin of [`PassThrough`].
pub struct Passing<T>(PhantomData<fn(T)>);

impl<T> Default for Passing<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Record> Origin for Passing<T> {
    type Head = PassThrough<T>;

    fn head(&self, _context: &SubtaskContext) -> PassThrough<T> {
        PassThrough::default()
    }
}

/// What a keyed operator does, whatever its number of inputs and wherever its state lies.
pub trait Program: Clone + Send + Sync + 'static {
    /// The key of every input.
    type Key: Key;
    /// The value kept for a key.
    type State: Value;
    /// What comes out.
    type Out: Send + Sync + 'static;

    /// Processes a batch.
    fn on_batch<B>(&self, input: u16, batch: Batch, state: &mut B, out: &mut Vec<Self::Out>)
    where
        B: KeyedBackend<Self::Key, Self::State>;

    /// Whether [`Program::on_end_of`] does anything.
    fn acts_on_end(&self) -> bool;

    /// Processes the end of input for one key.
    fn on_end_of(&self, key: &Self::Key, state: &Self::State, out: &mut Vec<Self::Out>);
}

/// Updates the state of the key of one record.
#[inline]
pub fn with_state_of<K, V, B>(backend: &mut B, key: K, change: impl FnOnce(&K, &mut Option<V>))
where
    K: Key,
    V: Value,
    B: KeyedBackend<K, V>,
{
    let hash = stable_hash(&key);
    backend.update(hash, key, change);
}

/// The name of the state of every keyed operator.
pub const VALUE: &str = "value";

/// A program with its state.
pub struct KeyedHead<P: Program, B> {
    program: P,
    state: B,
}

impl<P, B> Head for KeyedHead<P, B>
where
    P: Program,
    B: KeyedBackend<P::Key, P::State> + 'static,
{
    type Out = P::Out;

    #[inline]
    fn on_batch(&mut self, input: u16, batch: Batch, out: &mut Vec<P::Out>) {
        self.program.on_batch(input, batch, &mut self.state, out);
    }

    fn on_end(&mut self, out: &mut Vec<P::Out>) {
        if self.program.acts_on_end() {
            self.state.visit_sorted(&mut |key, state| self.program.on_end_of(key, state, out));
        }
    }

    fn snapshot(&mut self) -> Box<dyn Pages> {
        self.state.snapshot()
    }

    fn restore(&mut self, sections: &[Section]) -> Result<()> {
        self.state.restore(sections)
    }

    fn validate(&self) {
        self.state.validate();
    }
}

/// The origin of keyed heads whose state is in memory.
pub struct KeyedOrigin<P> {
    program: P,
    keys: Encoding,
    values: Encoding,
}

impl<P: Program> KeyedOrigin<P> {
    /// An origin, and what its operator says about its state.
    pub(super) fn new(program: P) -> (Self, DraftState) {
        let state = DraftState::keyed::<P::Key, P::State>(VALUE);
        let (keys, values) = state.encodings();
        (Self { program, keys, values }, state)
    }
}

impl<P: Program> Origin for KeyedOrigin<P> {
    type Head = KeyedHead<P, MemoryBackend<P::Key, P::State>>;

    fn head(&self, context: &SubtaskContext) -> Self::Head {
        let ownership = Ownership::of(context.subtask.index, context.parallelism, context.max_parallelism);
        let state = MemoryBackend::new(VALUE, ownership).encoded(self.keys, self.values);
        KeyedHead { program: self.program.clone(), state }
    }
}

//! The identities of the protocol, one newtype each: nothing here is interchangeable.
//!
//! *Attempt* is one execution of the job from its deployment, *generation* one leadership of the coordinator; both
//! fence whatever is older. Operators, edges and subtasks are numbered by the job graph, which every process builds
//! alike; persisted state is addressed by the operator's uid instead.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number!(
    /// A checkpoint. Ids strictly increase for the life of the job, across every fail-over (order rule O1).
    CheckpointId(u64), "chk-"
);
number!(
    /// One leadership of the coordinator, counted by the slot log.
    Generation(u64), "g"
);
number!(
    /// A coordinator process: the first, or a standby.
    CoordinatorId(u16), "coordinator-"
);
number!(
    /// A worker process, hosting subtasks.
    WorkerId(u16), "worker-"
);
number!(
    /// A client process, which wants something of a running job.
    ClientId(u16), "client-"
);
number!(
    /// An operator's position in the job graph.
    OperatorId(u16), "op-"
);
number!(
    /// An edge's position in the job graph.
    EdgeId(u16), "edge-"
);
number!(
    /// A key group: the unit in which keyed state is stored, and one day moved.
    KeyGroup(u16), "kg-"
);

/// One log of completed checkpoints, and so one job with everything that it has written. Drawn with entry 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct LogId(pub u64);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl CheckpointId {
    /// The largest id that is used: the ids around it can be counted, too.
    pub const MAX: Self = Self(u64::MAX >> 1);

    /// Whether a coordinator may have given it to a checkpoint.
    pub fn is_possible(self) -> bool {
        Self(0) < self && self <= Self::MAX
    }

    /// The id after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One execution of the job, from its deployment until it fails, finishes or is cancelled. Ordered by generation first,
/// so that no attempt of a deposed coordinator can outrank one of its successor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Attempt {
    /// The leadership that deployed it.
    pub generation: Generation,
    /// Counted from 1 within the generation.
    pub number: u32,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}.{}", self.generation.0, self.number)
    }
}

/// One parallel instance of an operator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct SubtaskId {
    /// The operator.
    pub operator: OperatorId,
    /// The instance, from 0.
    pub index: u16,
}

impl fmt::Display for SubtaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.operator, self.index)
    }
}

/// One first-in-first-out lane of an edge, from one subtask to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct ChannelId {
    /// The edge.
    pub edge: EdgeId,
    /// Index of the producing subtask.
    pub from: u16,
    /// Index of the consuming subtask.
    pub to: u16,
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}>{}", self.edge, self.from, self.to)
    }
}

/// Packs up to four small numbers into the lane of a [`Site`](crate::door::Site).
pub fn lane(a: u16, b: u16, c: u16, d: u16) -> u64 {
    (u64::from(a) << 48) | (u64::from(b) << 32) | (u64::from(c) << 16) | u64::from(d)
}

impl SubtaskId {
    /// This subtask as the lane of a site.
    pub fn lane(self) -> u64 {
        lane(self.operator.0, self.index, 0, 0)
    }
}

impl ChannelId {
    /// This channel as the lane of a site.
    pub fn lane(self) -> u64 {
        lane(self.edge.0, self.from, self.to, 0)
    }
}

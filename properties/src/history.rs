//! What a run leaves behind: *claims*, announced by the engine, and *facts*, recorded by the doubles of the world
//! around it. Durability, visibility and ownership are judged on facts.
//!
//! Entries are in the one total order in which the world made things happen.

use crate::external::Change;
use bytes::Bytes;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, ClientId, CoordinatorId, WorkerId};
use std::collections::BTreeMap;
use std::fmt;

/// A process of the job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Process {
    /// A coordinator: the first, or a standby.
    Coordinator(CoordinatorId),
    /// A worker.
    Worker(WorkerId),
    /// A client.
    Client(ClientId),
}

impl Process {
    /// The first coordinator.
    pub const COORDINATOR: Self = Self::Coordinator(CoordinatorId(0));
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator(coordinator) => coordinator.fmt(f),
            Self::Worker(worker) => worker.fmt(f),
            Self::Client(client) => client.fmt(f),
        }
    }
}

/// One incarnation of a process; a restart is a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct Incarnation {
    /// Which process.
    pub process: Process,
    /// Counted from 1.
    pub number: u32,
}

/// Everything recorded of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In the order in which things happened.
    pub entries: Vec<Entry>,
    /// Objects that were in storage before the run began: the input.
    pub initial: BTreeMap<String, Bytes>,
}

/// One thing that happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Virtual nanoseconds since the run began.
    pub time: u64,
    /// Where.
    pub by: Incarnation,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum What {
    /// The engine says so.
    Claim(Event),
    /// The world saw it.
    Fact(Fact),
}

/// Something that the world saw.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Fact {
    /// A process came up.
    Started,
    /// A process was crashed.
    Crashed,
    /// A process's main function returned: `Ok`, or its error for people.
    Ended(Result<String, String>),
    /// An object became visible and durable. `by` asked for it, and may be dead by now.
    Written {
        /// Its path.
        path: String,
        /// Its content.
        bytes: Bytes,
    },
    /// An object was removed.
    Deleted {
        /// Its path.
        path: String,
    },
    /// `by` is told that nobody knows whether its write or delete of an object took effect.
    OutcomeUnknown {
        /// The object's path.
        path: String,
    },
    /// After that `by` is told how the object stands: a read found it, or a later write of it was decided.
    OutcomeKnown {
        /// The object's path.
        path: String,
    },
    /// An object of the input was changed from outside: this is its content now, if it still exists.
    InputChanged {
        /// Its path.
        path: String,
        /// Its content.
        bytes: Option<Bytes>,
        /// Another file has taken its place; otherwise, the file that it was before was written into.
        replaced: bool,
    },
    /// Fault `n` of the plan struck.
    FaultFired(usize),
    /// No fault strikes from here on, and what was broken works again.
    Healed,
    /// A report that no right worker sends was put on the connection of `by` to a coordinator.
    RogueSent {
        /// That coordinator.
        to: Incarnation,
        /// The attempt of the report beside which it was sent.
        attempt: Attempt,
        /// What is wrong with it, for people.
        what: String,
    },
    /// `by` reads a report that no right worker sends.
    RogueReceived {
        /// The worker on whose connection it came.
        from: Incarnation,
        /// The attempt of the report that it was forged from.
        attempt: Attempt,
    },
    /// What readers of a system outside can see has changed. `by` asked for it, and may be dead by now.
    ShownOutside {
        /// Which system.
        system: String,
        /// How.
        change: Change,
    },
}

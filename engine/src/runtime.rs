//! Shells: the async code that takes an event, steps a core, announces and performs each effect.
//!
//! *Invariant:* no shell decides protocol, with three exceptions that say so in their heads: `decision` (upload or
//! abort), `coordinator` (watch, lead or stop), `coordinator/farewell` (how long to wait).
//! *Invariant:* a task waits only for the door (clock, connection, storage, bell), and never for two things at once but
//! in a fixed order ([`mailbox::race`]).

pub mod changes;
pub mod channel;
pub mod client;
pub mod coordinator;
pub mod decision;
pub mod dial;
pub mod gate;
pub mod link;
pub mod mailbox;
pub mod patience;
pub mod snapshot;
pub mod subtask;
pub mod worker;

//! Shells: the async code that takes an event, steps a core, announces and performs each effect.

pub mod channel;
pub mod coordinator;
pub mod link;
pub mod mailbox;
pub mod subtask;
pub mod worker;

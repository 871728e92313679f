//! The commands of the engine, in processes of their own: bad input, clients, clusters, ownership of an output, readers,
//! other builds of a job, strangers.
//!
//! One program, because each costs a link.

#[cfg(unix)]
mod attack;
mod bad_input;
mod binary;
mod client;
mod cluster;
mod embedded;
mod ends;
mod input;
mod layout;
mod ownership;
mod readers;

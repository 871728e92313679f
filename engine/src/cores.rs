//! Protocol logic as plain synchronous values: no async, lock, clock or I/O.
//!
//! A core has `on_<event>(&mut self, now, …, out)`, pushes variants of its one closed `Effect` enum, and runs
//! `validate()` after every step. Shells ([`crate::runtime`]) are the only async code.

pub mod alignment;
pub mod backoff;
pub mod checkpointing;
pub mod commands;
pub mod completed;
pub mod connections;
pub mod early_links;
pub mod failover;
pub mod handshake;
pub mod hosting;
pub mod input;
pub mod leading;
pub mod lease;
pub mod links;
pub mod ownership;
pub mod reports;
pub mod restarting;
pub mod restore;
pub mod retention;
pub mod roster;
pub mod statistics;
pub mod sweeping;
pub mod task;
pub mod transactions;
pub mod uploading;
pub mod wiring;

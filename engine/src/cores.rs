//! Protocol logic as plain synchronous values: no async, lock, clock or I/O.
//!
//! A core has `on_<event>(&mut self, now, …, out)`, with `now` where time counts, and pushes variants of its one closed
//! `Effect` enum. A core that only judges or counts has no effects and returns its answer (`commands`, `links`,
//! `reports`, `restarting`, `statistics`, `sweeping`). What has to hold between two steps is asserted by `validate()`
//! after each step. `backoff`, `input`, `restore` and `wiring` are functions and values, without events. Shells
//! ([`crate::runtime`]) are the only async code. Order rules O1 to O12 are explained in [`crate::order`].

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

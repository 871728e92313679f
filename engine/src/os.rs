//! The production side of the [door](crate::door): tokio, sockets and object stores.
//!
//! | trait | here | by |
//! |---|---|---|
//! | `Clock` | [`clock::TokioClock`] | tokio's timer |
//! | `Network` | [`network::SocketNetwork`] | TCP or Unix sockets, length-delimited frames |
//! | `Storage` | [`storage::MountedStorage`] | one `object_store` per first path segment ([`mount`]) |
//! | `Externals` | [`external::Clients`] | a client each, brought by the caller that starts the process |
//! | `Schedule` | [`schedule::SpreadSchedule`] | a mixed counter; operating-system randomness for tokens |
//! | `Spawner` | [`spawner::TokioSpawner`] | `tokio::spawn`, an atomic counter per bell |
//! | `Trace` | [`trace::TracingTrace`] | `tracing`, and [`trace::Progress`] for people |
//!
//! Must be used inside a tokio runtime with time and I/O enabled. Owns no protocol logic. The same bodies of
//! [`crate::conformance`] hold this and the simulated world to the guarantees of the door.

pub mod clock;
pub mod external;
mod input;
pub mod mount;
pub mod network;
mod place;
mod rename;
pub mod schedule;
pub mod spawner;
pub mod storage;
pub mod trace;
mod upload;

use crate::door::{Env, Trace};
use std::sync::Arc;

/// The production environment of this process.
pub fn env(mounts: mount::Mounts, trace: Arc<dyn Trace>) -> Env {
    Env {
        clock: Arc::new(clock::TokioClock::default()),
        network: Arc::new(network::SocketNetwork),
        storage: Arc::new(storage::MountedStorage::new(mounts)),
        externals: Arc::new(external::Clients::default()),
        schedule: Arc::new(schedule::SpreadSchedule::default()),
        spawner: Arc::new(spawner::TokioSpawner::default()),
        trace,
    }
}

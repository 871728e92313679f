//! Systems outside in the quiet world, and what the witness's commits show there.
//!
//! Only what changes while a commit is re-executed counts as shown by it. What a sink shows at any other time is visible in
//! the witness's systems too, but in nobody's name.

use crate::external::{Change, Systems};
use bytes::Bytes;
use cofferdam_engine::door::{BoxFuture, ExternalError, Externals};
use cofferdam_engine::ids::{CheckpointId, SubtaskId};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that a commit has shown, or hidden, in a system outside.
#[derive(Clone, Debug)]
pub struct ShownOutside {
    /// The entry of the commit's start.
    pub at: usize,
    /// By which sink.
    pub subtask: SubtaskId,
    /// Staged for which checkpoint.
    pub checkpoint: CheckpointId,
    /// Where.
    pub system: String,
    /// What.
    pub change: Change,
}

/// Models that answer at once.
#[derive(Clone, Default)]
pub struct QuietSystems(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    systems: Systems,
    changes: Vec<(String, Change)>,
}

impl QuietSystems {
    /// Over these models.
    pub fn of(systems: Systems) -> Self {
        Self(Arc::new(Mutex::new(Told { systems, changes: Vec::new() })))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has changed since the last call.
    pub fn take_changes(&self) -> Vec<(String, Change)> {
        std::mem::take(&mut self.told().changes)
    }
}

impl Externals for QuietSystems {
    fn call(&self, system: &str, request: Bytes) -> BoxFuture<'static, Result<Bytes, ExternalError>> {
        let mut told = self.told();
        let reply = match told.systems.apply(system, 0, &request) {
            None => Err(ExternalError::Failed(format!("no system outside is called {system:?} here"))),
            Some((reply, change)) => {
                if !change.is_empty() {
                    told.changes.push((system.to_owned(), change));
                }
                Ok(reply)
            }
        };
        Box::pin(ready(reply))
    }
}

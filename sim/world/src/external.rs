//! Systems outside: models on a node of their own, which no fault takes down.
//!
//! A request goes the way of storage requests, to the path `external/NAME`: it takes effect at one instant of its own, is
//! lost, hangs or comes late like they do, and the same faults strike it. Whatever it asks for, it counts as a write.

use super::Shared;
use super::incarnation::Port;
use super::state::State;
use super::storage::{Operation, Reply, Request};
use super::wait::Outcome;
use bytes::Bytes;
use cofferdam_engine::door::{BoxFuture, ExternalError, Externals, StorageError};
use cofferdam_properties::history::{Fact, What};

/// What the path of a system begins with.
pub(crate) const FOLDER: &str = "external/";

impl Externals for Port {
    fn call(&self, system: &str, request: Bytes) -> BoxFuture<'static, Result<Bytes, ExternalError>> {
        let reply = Reply::new(&self.door, &format!("{FOLDER}{system}"), Request::Call(request));
        Box::pin(async move {
            match reply.await {
                Outcome::Answered(result) => result,
                other => unreachable!("a call ended with {other:?}"),
            }
        })
    }
}

/// What strikes storage strikes systems outside alike.
pub(super) fn of_storage(error: StorageError) -> ExternalError {
    match error {
        StorageError::Unknown(what) => ExternalError::Unknown(what),
        StorageError::Fenced => ExternalError::Fenced,
        StorageError::NotFound(what) | StorageError::Exists(what) | StorageError::Failed(what) => {
            ExternalError::Failed(what)
        }
    }
}

impl State {
    /// A request takes effect.
    pub(super) fn call(&mut self, world: &Shared, operation: &Operation, request: &[u8]) -> Outcome {
        let system = operation.path.strip_prefix(FOLDER).unwrap_or(&operation.path);
        let Some((reply, change)) = self.systems.apply(system, world.now(), request) else {
            return Outcome::Answered(Err(ExternalError::Failed(format!(
                "no system outside is called {system:?} here"
            ))));
        };
        if !change.is_empty() {
            let by = self.incarnation(operation.incarnation).who;
            self.record(world.now(), by, What::Fact(Fact::ShownOutside { system: system.to_owned(), change }));
        }
        Outcome::Answered(Ok(reply))
    }
}

//! Systems outside, in production: clients by the name that sinks know them by.

use crate::door::{BoxFuture, ExternalError, Externals};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Talks to one system. The promises are those of [`Externals::call`].
pub trait Client: Send + Sync {
    /// Asks, and waits for the answer.
    fn call(&self, request: Bytes) -> BoxFuture<'static, Result<Bytes, ExternalError>>;
}

/// Clients by name; the same in every process of a job.
#[derive(Clone, Default)]
pub struct Clients(BTreeMap<String, Arc<dyn Client>>);

impl Clients {
    /// With one more.
    pub fn with(mut self, system: &str, client: Arc<dyn Client>) -> Self {
        self.0.insert(system.to_owned(), client);
        self
    }
}

impl Externals for Clients {
    fn call(&self, system: &str, request: Bytes) -> BoxFuture<'static, Result<Bytes, ExternalError>> {
        match self.0.get(system) {
            Some(client) => client.call(request),
            None => {
                let unknown = ExternalError::Failed(format!("no system outside is called {system:?} here"));
                Box::pin(std::future::ready(Err(unknown)))
            }
        }
    }
}

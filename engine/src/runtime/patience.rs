//! Storage and systems outside that always answer: a request that takes too long is given up, so that nothing in the engine waits for ever
//! for a reply that will never come.
//!
//! A read or listing that was given up has failed. A change that was given up may still take effect: its outcome is
//! *unknown*, and whoever asked reads back (order rule O7).
//!
//! Owns: the bound, put around the storage of a process once, when it starts. Does not own: what is done about it.
//! Not handled: a request too large for the time; reads are split ([`whole`](crate::door::whole)), and so are snapshots.

use super::mailbox::{Either, race};
use crate::door::{
    BoxFuture, Clock, Env, ExternalError, Externals, ObjectMeta, Piece, Storage, StorageError, Upload, WriteMode,
};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The same outside, whose storage and systems answer within `timeout`.
pub fn bounded(env: Env, timeout: Duration) -> Env {
    let storage = Bounded { storage: env.storage, bound: Bound { clock: env.clock.clone(), timeout } };
    let bound = Bound { clock: env.clock.clone(), timeout };
    let externals = BoundedExternals { externals: env.externals, bound };
    Env { storage: Arc::new(storage), externals: Arc::new(externals), ..env }
}

#[derive(Clone)]
struct Bound {
    clock: Arc<dyn Clock>,
    timeout: Duration,
}

struct Bounded {
    storage: Arc<dyn Storage>,
    bound: Bound,
}

impl Bound {
    /// `request`, or `otherwise` if that takes too long. The time begins with the first poll.
    fn on<'a, T: Send + 'a, E: Send + 'a>(
        &self,
        path: &str,
        request: BoxFuture<'a, Result<T, E>>,
        otherwise: fn(String) -> E,
    ) -> BoxFuture<'a, Result<T, E>> {
        let (bound, path) = (self.clone(), path.to_owned());
        Box::pin(async move {
            let alarm = bound.clock.sleep_until(bound.clock.now() + bound.timeout);
            match race(request, alarm).await {
                Either::First(reply) => reply,
                Either::Second(()) => Err(otherwise(format!("{path}: no reply within {:?}", bound.timeout))),
            }
        })
    }
}

impl Storage for Bounded {
    fn read(&self, path: &str, range: Range<u64>) -> BoxFuture<'static, Result<Piece, StorageError>> {
        self.bound.on(path, self.storage.read(path, range), StorageError::Failed)
    }

    fn write(&self, path: &str, bytes: Bytes, mode: WriteMode) -> BoxFuture<'static, Result<(), StorageError>> {
        self.bound.on(path, self.storage.write(path, bytes, mode), StorageError::Unknown)
    }

    fn upload(&self, path: &str) -> Box<dyn Upload> {
        let (upload, bound) = (self.storage.upload(path), self.bound.clone());
        Box::new(BoundedUpload { upload, bound, path: path.to_owned() })
    }

    fn delete(&self, path: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        self.bound.on(path, self.storage.delete(path), StorageError::Unknown)
    }

    fn list(&self, prefix: &str) -> BoxFuture<'static, Result<Vec<ObjectMeta>, StorageError>> {
        self.bound.on(prefix, self.storage.list(prefix), StorageError::Failed)
    }
}

struct BoundedUpload {
    upload: Box<dyn Upload>,
    bound: Bound,
    path: String,
}

impl Upload for BoundedUpload {
    fn part(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StorageError>> {
        self.bound.on(&self.path, self.upload.part(bytes), StorageError::Unknown)
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        self.bound.on(&self.path, self.upload.complete(), StorageError::Unknown)
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        self.bound.on(&self.path, self.upload.abort(), StorageError::Unknown)
    }
}

struct BoundedExternals {
    externals: Arc<dyn Externals>,
    bound: Bound,
}

impl Externals for BoundedExternals {
    fn call(&self, system: &str, request: Bytes) -> BoxFuture<'static, Result<Bytes, ExternalError>> {
        self.bound.on(system, self.externals.call(system, request), ExternalError::Unknown)
    }
}

//! Storage and systems outside that always answer: a request that takes too long is given up, so that nothing in the
//! engine waits without end for a reply.
//!
//! A read or listing that was given up has failed. A change that was given up may still take effect: its outcome is
//! *unknown*, and the requester reads back (order rule O7). A write that was given up is still waited for, in the
//! background ([`Changes`]).
//!
//! Owns: the bound, put around the storage of a process once, when it starts. Does not own: what is done about it.
//! Not handled: a request too large for the time; reads are split ([`whole`](crate::door::whole)), and so are snapshots.

use super::changes::Changes;
use super::mailbox::{Either, race};
use crate::door::{
    BoxFuture, Clock, Depth, Env, ExternalError, Externals, ObjectMeta, Piece, Storage, StorageError, Upload, WriteMode,
};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The same outside, whose storage and systems answer within `timeout`, and the changes that it has under way.
pub fn bounded(env: Env, timeout: Duration) -> (Env, Changes) {
    let changes = Changes::new(&env);
    let bound = Bound { clock: env.clock.clone(), timeout };
    let storage = Bounded { storage: env.storage, bound: bound.clone(), changes: changes.clone() };
    let externals = BoundedExternals { externals: env.externals, bound };
    (Env { storage: Arc::new(storage), externals: Arc::new(externals), ..env }, changes)
}

#[derive(Clone)]
struct Bound {
    clock: Arc<dyn Clock>,
    timeout: Duration,
}

struct Bounded {
    storage: Arc<dyn Storage>,
    bound: Bound,
    changes: Changes,
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
        let write = self.changes.keep(self.storage.write(path, bytes, mode));
        self.bound.on(path, Box::pin(write), StorageError::Unknown)
    }

    fn rename(&self, from: &str, to: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        let rename = self.changes.keep(self.storage.rename(from, to));
        self.bound.on(to, Box::pin(rename), StorageError::Unknown)
    }

    fn upload(&self, path: &str) -> Box<dyn Upload> {
        let (upload, bound, changes) = (Some(self.storage.upload(path)), self.bound.clone(), self.changes.clone());
        Box::new(BoundedUpload { upload, bound, changes, doubtful: false, path: path.to_owned() })
    }

    fn delete(&self, path: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        self.bound.on(path, self.storage.delete(path), StorageError::Unknown)
    }

    fn list(&self, prefix: &str, depth: Depth) -> BoxFuture<'static, Result<Vec<ObjectMeta>, StorageError>> {
        self.bound.on(prefix, self.storage.list(prefix, depth), StorageError::Failed)
    }

    fn incarnation(&self) -> u64 {
        self.storage.incarnation()
    }

    fn clear(&self, living: BTreeSet<u64>) -> BoxFuture<'static, Result<(), StorageError>> {
        self.bound.on("what dead processes left unpublished", self.storage.clear(living), StorageError::Unknown)
    }

    fn shown(&self, path: &str) -> String {
        self.storage.shown(path)
    }
}

struct BoundedUpload {
    /// `None` once it is dropped.
    upload: Option<Box<dyn Upload>>,
    bound: Bound,
    changes: Changes,
    /// Whether a completion was asked for that may still take effect.
    doubtful: bool,
    path: String,
}

impl BoundedUpload {
    fn open(&mut self) -> &mut Box<dyn Upload> {
        self.upload.as_mut().expect("it is not dropped")
    }
}

impl Upload for BoundedUpload {
    fn part(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StorageError>> {
        let (bound, path) = (self.bound.clone(), self.path.clone());
        bound.on(&path, self.open().part(bytes), StorageError::Unknown)
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        self.doubtful = true;
        Box::pin(async {
            let (bound, path) = (self.bound.clone(), self.path.clone());
            let completed = bound.on(&path, self.open().complete(), StorageError::Unknown).await;
            self.doubtful = matches!(completed, Err(StorageError::Failed(_) | StorageError::Unknown(_)));
            completed
        })
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async {
            let (bound, path) = (self.bound.clone(), self.path.clone());
            let aborted = bound.on(&path, self.open().abort(), StorageError::Unknown).await;
            self.doubtful &= aborted.is_err();
            aborted
        })
    }
}

/// Of a completion that may still take effect the object would appear when no process expects it any more. What is
/// aborted cannot be completed.
impl Drop for BoundedUpload {
    fn drop(&mut self) {
        if let Some(mut upload) = self.upload.take().filter(|_| self.doubtful) {
            let abort = async move {
                // If storage does not do it, it cannot be done.
                let _ = upload.abort().await;
            };
            self.changes.abandon(Box::pin(abort));
        }
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

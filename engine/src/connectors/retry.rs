//! Bounded patience with storage: requests that may be repeated without harm (reads, lists, deletes, overwrites with the
//! same bytes) are repeated a few times before the job has to restart.
//!
//! A definite failure and an unknown outcome are treated alike, because of that harmlessness.

use crate::door::whole;
use crate::door::{BoxFuture, Env, ObjectMeta, StorageError, WriteMode};
use crate::error::{Error, Result};
use bytes::Bytes;
use std::ops::Range;
use std::time::Duration;

/// Tries before giving up.
const TRIES_MAX: u32 = 4;

/// Pause before the second try; doubled before each later one.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// What storage has to say besides success and failure.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// The object, or what was asked about it.
    Object(T),
    /// There is no such object.
    Nothing,
}

/// Reads a range of an object, all of it.
pub(super) async fn read(env: &Env, path: &str, range: Range<u64>) -> Result<Found<Bytes>> {
    repeat(env, "reading", || whole::read_range(&env.storage, path, range.clone())).await
}

/// Lists objects.
pub(super) async fn list(env: &Env, prefix: &str) -> Result<Vec<ObjectMeta>> {
    match repeat(env, "listing", || env.storage.list(prefix)).await? {
        Found::Object(objects) => Ok(objects),
        Found::Nothing => Ok(Vec::new()),
    }
}

/// Writes an object, over whatever is there. Repeating it is harmless because nobody else writes to this path.
pub(super) async fn overwrite(env: &Env, path: &str, bytes: &Bytes) -> Result<()> {
    match repeat(env, "writing", || env.storage.write(path, bytes.clone(), WriteMode::Overwrite)).await? {
        Found::Object(()) => Ok(()),
        Found::Nothing => Err(Error::restart(format!("writing {path}: storage says that it does not exist"))),
    }
}

/// Deletes an object.
pub(super) async fn delete(env: &Env, path: &str) -> Result<()> {
    repeat(env, "deleting", || env.storage.delete(path)).await.map(|_| ())
}

async fn repeat<T>(
    env: &Env,
    doing: &str,
    request: impl Fn() -> BoxFuture<'static, Result<T, StorageError>>,
) -> Result<Found<T>> {
    let mut pause = PAUSE_FIRST;
    for tried in 1..=TRIES_MAX {
        let error = match request().await {
            Ok(reply) => return Ok(Found::Object(reply)),
            Err(StorageError::NotFound(_)) => return Ok(Found::Nothing),
            Err(error @ StorageError::Fenced) => return Err(Error::from(error)),
            Err(error @ StorageError::Exists(_)) => return Err(Error::from(error).while_doing(doing)),
            Err(error @ (StorageError::Failed(_) | StorageError::Unknown(_))) => error,
        };
        if tried == TRIES_MAX {
            return Err(Error::from(error).while_doing(format!("{doing}, {TRIES_MAX} times")));
        }
        env.sleep(pause).await;
        pause *= 2;
    }
    unreachable!("the last try returns")
}

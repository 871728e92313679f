//! What connectors ask of storage: requests that may be repeated without harm, and are, before the job has to restart.

use crate::door::{BoxFuture, Depth, Env, ObjectMeta, Piece, StorageError, WriteMode, retry, whole};
use crate::error::{Error, Result};
use crate::messages::ListingHandle;
use crate::persist::listing::Listing;
use bytes::Bytes;
use std::ops::Range;

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

/// Reads some bytes of a range, at least one if there is one.
pub(super) async fn piece(env: &Env, path: &str, range: Range<u64>) -> Result<Found<Piece>> {
    let request = || -> BoxFuture<'static, _> {
        let (storage, path, range) = (env.storage.clone(), path.to_owned(), range.clone());
        Box::pin(async move { whole::piece(&storage, &path, range.start, range.end).await })
    };
    repeat(env, "reading", request).await
}

/// Reads a listing of the input that the coordinator made.
pub(super) async fn listing(env: &Env, handle: &ListingHandle) -> Result<Listing> {
    match read(env, &handle.path, 0..u64::MAX).await? {
        Found::Object(bytes) => Listing::open(handle, &bytes),
        Found::Nothing => Err(Error::corrupt(format!("{}, the listing of the input, does not exist", handle.path))),
    }
}

/// Lists objects.
pub(super) async fn list(env: &Env, prefix: &str) -> Result<Vec<ObjectMeta>> {
    match repeat(env, "listing", || env.storage.list(prefix, Depth::Tree)).await? {
        Found::Object(objects) => Ok(objects),
        Found::Nothing => Ok(Vec::new()),
    }
}

/// What became of a change of name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Renamed {
    /// The object has its new name.
    Done,
    /// Another object has that name.
    Exists,
    /// There is no object of the old name. A request whose reply was lost may have renamed it.
    Nothing,
}

/// Gives an object a name that no object has.
pub(super) async fn rename(env: &Env, from: &str, to: &str) -> Result<Renamed> {
    match retry::storage(env, || env.storage.rename(from, to)).await {
        Ok(()) => Ok(Renamed::Done),
        Err(StorageError::Exists(_)) => Ok(Renamed::Exists),
        Err(StorageError::NotFound(_)) => Ok(Renamed::Nothing),
        Err(error) => Err(given_up(error, "renaming")),
    }
}

/// Writes an object, over whatever is there. Repeating it is harmless because no other process writes to this path.
pub(super) async fn overwrite(env: &Env, path: &str, bytes: &Bytes) -> Result<()> {
    match repeat(env, "writing", || env.storage.write(path, bytes.clone(), WriteMode::Overwrite)).await? {
        Found::Object(()) => Ok(()),
        Found::Nothing => Err(Error::restart(format!("writing {path}: storage says that it does not exist"))),
    }
}

/// Creates an object of which every writer would write the same.
pub(super) async fn put_once(env: &Env, path: &str, bytes: &Bytes) -> Result<()> {
    let create = || {
        let created = env.storage.write(path, bytes.clone(), WriteMode::Create);
        let done = async move {
            match created.await {
                Err(StorageError::Exists(_)) => Ok(()),
                outcome => outcome,
            }
        };
        Box::pin(done) as BoxFuture<'static, _>
    };
    repeat(env, "writing", create).await.map(|_| ())
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
    match retry::storage(env, request).await {
        Ok(reply) => Ok(Found::Object(reply)),
        Err(StorageError::NotFound(_)) => Ok(Found::Nothing),
        Err(error) => Err(given_up(error, doing)),
    }
}

fn given_up(error: StorageError, doing: &str) -> Error {
    match error {
        StorageError::Fenced => Error::from(error),
        StorageError::Exists(_) | StorageError::NotFound(_) => Error::from(error).while_doing(doing),
        StorageError::Failed(_) | StorageError::Unknown(_) => {
            Error::from(error).while_doing(format!("{doing}, {} times", retry::TRIES_MAX))
        }
    }
}

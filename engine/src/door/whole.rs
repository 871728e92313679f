//! Reading on until everything is there: the one place that knows that a read may be short.
//!
//! 1. Ask for what is still missing, at most [`READ_BYTES_MAX`] at a time, so that no single request takes long.
//! 2. The first answer says how long the object is. Repeat from where it ended, until the range or the object is over.
//!
//! Owns: the loop. Does not own: retries, which differ by caller; a caller that repeats begins anew.
//! Invariant: `Ok` holds every byte of the range that the object has.
//! Not handled: an object that is overwritten meanwhile. No process reads what is still being written; a length or
//! version that changes is an error all the same.

use super::{BoxFuture, Piece, Storage, StorageError};
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use std::sync::Arc;

/// The most that one request asks for.
pub const READ_BYTES_MAX: u64 = 8 << 20;

/// Reads a whole object.
pub fn read(storage: &Arc<dyn Storage>, path: &str) -> BoxFuture<'static, Result<Bytes, StorageError>> {
    read_range(storage, path, 0..u64::MAX)
}

/// Reads all of a range, cut off at the end of the object.
pub fn read_range(
    storage: &Arc<dyn Storage>,
    path: &str,
    range: Range<u64>,
) -> BoxFuture<'static, Result<Bytes, StorageError>> {
    let (storage, path) = (storage.clone(), path.to_owned());
    Box::pin(async move {
        let first = piece(&storage, &path, range.start, range.end).await?;
        let end = range.end.min(first.size);
        let mut at = range.start.saturating_add(first.bytes.len() as u64);
        if at >= end {
            return Ok(first.bytes);
        }
        // Not the whole range at once: the length is only what storage says.
        let mut bytes = BytesMut::from(first.bytes);
        while at < end {
            let next = piece(&storage, &path, at, end).await?;
            if (next.size, &next.version) != (first.size, &first.version) {
                return Err(StorageError::Failed(format!("{path} changed while it was read")));
            }
            at += next.bytes.len() as u64;
            bytes.extend_from_slice(&next.bytes);
        }
        Ok(bytes.freeze())
    })
}

/// Some bytes of a range: at least one, unless there is none. A store that breaks its promises is an error, never an endless loop.
pub async fn piece(storage: &Arc<dyn Storage>, path: &str, start: u64, end: u64) -> Result<Piece, StorageError> {
    let wanted = start..end.min(start.saturating_add(READ_BYTES_MAX));
    let piece = storage.read(path, wanted.clone()).await?;
    let (length, most) = (piece.bytes.len() as u64, wanted.end.min(piece.size).saturating_sub(start));
    if length > most || (length == 0 && most > 0) {
        return Err(StorageError::Failed(format!(
            "{path}: {length} bytes of {wanted:?}, the object has {}",
            piece.size
        )));
    }
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::world::World;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn however_short_the_reads_all_bytes_are_read(
            object in proptest::collection::vec(any::<u8>(), 0..200),
            start in 0..220_u64,
            length in 0..220_u64,
            shortness in 0..20_u64,
        ) {
            let world = World::with(&[("a", &object)]);
            world.read_at_most(shortness);
            let storage: Arc<dyn Storage> = Arc::new(world);
            let range = start..start + length;
            let read = read_range(&storage, "a", range.clone()).now_or_never().expect("ready at once").expect("there");
            let within = |at: u64| (at as usize).min(object.len());
            prop_assert_eq!(&read[..], &object[within(range.start)..within(range.end)]);
            prop_assert_eq!(&super::read(&storage, "a").now_or_never().expect("ready").expect("there")[..], &object[..]);
        }
    }
}

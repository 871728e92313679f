//! An upload that keeps its parts in memory and ends in one write: for doubles of storage, whose objects are small.

use super::{BoxFuture, StorageError, Upload};
use bytes::Bytes;
use std::future::ready;

/// Writes a whole object, over whatever is there.
type Write = Box<dyn Fn(Bytes) -> BoxFuture<'static, Result<(), StorageError>> + Send>;

/// See the head of the file.
pub struct Collected {
    path: String,
    /// `None` once it is over.
    parts: Option<Vec<u8>>,
    write: Write,
}

impl Collected {
    /// An upload to `path` that ends in `write`.
    pub fn upload(
        path: &str,
        write: impl Fn(Bytes) -> BoxFuture<'static, Result<(), StorageError>> + Send + 'static,
    ) -> Box<dyn Upload> {
        Box::new(Self { path: path.to_owned(), parts: Some(Vec::new()), write: Box::new(write) })
    }
}

impl Upload for Collected {
    fn part(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StorageError>> {
        let Some(parts) = &mut self.parts else {
            return Box::pin(ready(Err(StorageError::NotFound(self.path.clone()))));
        };
        parts.extend_from_slice(&bytes);
        Box::pin(ready(Ok(())))
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            let Some(parts) = &self.parts else { return Err(StorageError::NotFound(self.path.clone())) };
            (self.write)(Bytes::copy_from_slice(parts)).await?;
            self.parts = None;
            Ok(())
        })
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        self.parts = None;
        Box::pin(ready(Ok(())))
    }
}

//! An upload in parts, as one incarnation makes it: each step is a request ([`super::storage`]).

use super::incarnation::Door;
use super::storage::{Reply, Request};
use bytes::Bytes;
use cofferdam_engine::door::{BoxFuture, StorageError, Upload};
use std::sync::Arc;

/// An upload of one incarnation.
pub(super) struct WorldUpload {
    pub door: Arc<Door>,
    pub path: String,
    pub number: u64,
    /// Parts that count.
    pub parts: u32,
}

impl Upload for WorldUpload {
    fn part(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StorageError>> {
        let reply = Reply::new(&self.door, &self.path, Request::Part(self.number, self.parts, bytes)).done();
        Box::pin(async move {
            reply.await?;
            self.parts += 1;
            Ok(())
        })
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        assert!(self.parts > 0, "an upload has a part");
        Reply::new(&self.door, &self.path, Request::Complete(self.number, self.parts)).done()
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        Reply::new(&self.door, &self.path, Request::Abort(self.number)).done()
    }
}

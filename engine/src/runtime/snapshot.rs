//! The asynchronous part of a snapshot: encode page by page, upload, and say how it went.
//!
//! 1. Pages of the copy-on-write view are encoded one by one; after each the task yields through the door.
//! 2. The blob is written under a name of its own attempt, so nobody else's object is ever overwritten (SPARK-51714).
//! 3. Durable: ack with the handle. Failed: decline; the job goes on.
//!
//! An upload for an aborted checkpoint stops at the next step, and deletes what it may have left; that of a cancelled attempt
//! just stops. Neither acks nor declines: [`Decision`] says who may.
//! Not handled: deleting what a failed upload, or one of a cancelled attempt, may have left; the coordinator cleans by listing.

use super::retry;
use crate::door::{Env, Site, StorageError, Work, WriteMode};
use crate::event::Event;
use crate::ids::{Attempt, CheckpointId, SubtaskId};
use crate::messages::{SnapshotHandle, ToCoordinator};
use crate::persist::blob::{self, BlobBuilder};
use crate::reason::FailureReason;
use crate::runtime::mailbox::Postbox;
use crate::runtime::subtask::{Decision, ms};
use crate::state::{Pages, Section};
use crate::statistics::SnapshotStatistics;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Everything the asynchronous part needs, owned: it shares nothing with the subtask that goes on (FLINK-9263).
pub struct AsyncPart {
    /// The outside.
    pub env: Env,
    /// The incarnation of the job.
    pub attempt: Attempt,
    /// Whose snapshot.
    pub subtask: SubtaskId,
    /// The operator's uid.
    pub uid: String,
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// Whether the subtask had processed all its input.
    pub ended: bool,
    /// Where acks and declines go.
    pub reports: Postbox<ToCoordinator>,
    /// Set when the attempt is over.
    pub cancelled: Arc<AtomicBool>,
    /// Who has the last word on this part.
    pub decision: Arc<Decision>,
    /// What aligning and the synchronous part took.
    pub statistics: SnapshotStatistics,
}

impl AsyncPart {
    /// Runs to the ack or the decline: `sections` were small enough to encode at once, `pages` is the view of the rest.
    pub async fn run(self, sections: Vec<Section>, pages: Option<Box<dyn Pages>>) {
        let (attempt, subtask, checkpoint) = (self.attempt, self.subtask, self.checkpoint);
        let started = self.env.clock.now();
        let (blob, digest) = self.encode(sections, pages).await;
        let path = blob::path(checkpoint, &self.uid, subtask.index, attempt);
        let snapshot = SnapshotHandle {
            path: path.clone(),
            bytes: blob.len() as u64,
            checksum: crc32c::crc32c(&blob),
            digest,
            ended: self.ended,
        };
        if self.is_over() {
            return;
        }
        let bytes = snapshot.bytes;
        self.env.emit(Event::UploadStarted { attempt, subtask, checkpoint, path: path.clone(), bytes });
        let uploaded = self.upload(&path, blob).await;
        if !self.decision.answer() {
            // Nobody else will ever look for it. If it stays after all, the next sweep finds it.
            let _ = self.env.storage.delete(&path).await;
            return;
        }
        if self.is_cancelled() {
            return;
        }
        match uploaded {
            Ok(()) => {
                self.env.emit(Event::UploadEnded { attempt, subtask, checkpoint, path, digest });
                self.env.emit(Event::AckSent { attempt, subtask, checkpoint, digest });
                let async_ms = ms(self.env.clock.now().since(started));
                let statistics = SnapshotStatistics { async_ms, bytes, ..self.statistics };
                self.reports.post(ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, statistics });
            }
            Err(error) => {
                let cause = error.to_string();
                let reason = FailureReason::UploadFailed(cause.clone());
                self.env.emit(Event::UploadFailed { attempt, subtask, checkpoint, cause });
                self.env.emit(Event::DeclineSent { attempt, subtask, checkpoint, reason: reason.clone() });
                self.reports.post(ToCoordinator::Decline { attempt, checkpoint, subtask, reason });
            }
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    fn is_over(&self) -> bool {
        self.is_cancelled() || self.decision.is_discarded()
    }

    async fn encode(&self, sections: Vec<Section>, mut pages: Option<Box<dyn Pages>>) -> (Bytes, u64) {
        let mut blob = BlobBuilder::default();
        let site = Site::new("encode", self.subtask.lane());
        for section in sections {
            blob.add(&section);
        }
        while let Some(section) = pages.as_mut().and_then(|pages| pages.next_page()) {
            if self.is_over() {
                break;
            }
            let bytes = blob.add(&section);
            if let Some(delay) = self.env.clock.work(site, Work::Page(bytes as u64)) {
                delay.await;
            }
        }
        blob.finish()
    }

    /// `Exists` can only be this very upload, whose reply was lost: nobody else uses the name.
    async fn upload(&self, path: &str, blob: Bytes) -> Result<(), StorageError> {
        let write = || self.env.storage.write(path, blob.clone(), WriteMode::Create);
        match retry::storage(&self.env, write).await {
            Err(StorageError::Exists(_)) => Ok(()),
            result => result,
        }
    }
}

//! The asynchronous part of a snapshot: encode page by page, upload, and say how it went.
//!
//! 1. Pages of the copy-on-write view are encoded one by one; after each the task yields through the door.
//! 2. As soon as there is enough for a part it is uploaded, so that only a part and a page are ever held. A blob that is
//!    smaller than a part is written at once.
//! 3. The blob has a name of its own attempt, so nobody else's object is ever overwritten (SPARK-51714).
//! 4. Durable, which an upload in parts is when it is complete: ack with the handle. Failed: decline; the job goes on.
//!
//! An upload for an aborted checkpoint stops at the next step, and deletes what it may have left; that of a cancelled attempt
//! just stops, once its request is answered ([`Changes`](super::changes::Changes)). Neither acks nor declines: `Decision` says who may. Parts of an upload that ended early are taken back.
//! Not handled: deleting an object that a failed upload, or one of a cancelled attempt, may have left; the coordinator cleans
//! by listing.

use crate::cores::backoff::backoff;
use crate::door::{Env, Site, StorageError, Upload, Work, WriteMode, retry};
use crate::event::Event;
use crate::ids::{Attempt, CheckpointId, SubtaskId};
use crate::messages::{SnapshotHandle, ToCoordinator};
use crate::persist::blob::{self, BlobBuilder, Finished};
use crate::reason::FailureReason;
use crate::runtime::mailbox::Postbox;
use crate::runtime::subtask::{Decision, ms};
use crate::state::{Pages, Section};
use crate::statistics::SnapshotStatistics;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tries to store a part, or to complete an upload, before it has failed.
const PART_TRIES: u32 = 4;

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
    /// A blob that is larger is uploaded in parts of this size.
    pub part_bytes: usize,
    /// Where acks and declines go.
    pub reports: Postbox<ToCoordinator>,
    /// Set when the attempt is over.
    pub cancelled: Arc<AtomicBool>,
    /// Who has the last word on this part.
    pub decision: Arc<Decision>,
    /// What aligning and the synchronous part took.
    pub statistics: SnapshotStatistics,
}

/// How the upload ended.
enum Uploaded {
    Done(SnapshotHandle),
    Failed(StorageError),
    /// The attempt or the checkpoint was over before anything was visible.
    Over,
}

impl AsyncPart {
    /// Runs to the ack or the decline: `sections` were small enough to encode at once, `pages` is the view of the rest.
    pub async fn run(self, sections: Vec<Section>, pages: Option<Box<dyn Pages>>) {
        let (attempt, subtask, checkpoint) = (self.attempt, self.subtask, self.checkpoint);
        let started = self.env.clock.now();
        let path = blob::path(checkpoint, &self.uid, subtask.index, attempt);
        let uploaded = self.store(&path, sections, pages).await;
        if let Uploaded::Over = uploaded {
            return;
        }
        if !self.decision.answer() {
            // Nobody else will ever look for it. If it stays after all, the next sweep finds it.
            let _ = self.env.storage.delete(&path).await;
            return;
        }
        if self.is_cancelled() {
            return;
        }
        match uploaded {
            Uploaded::Done(snapshot) => {
                let (bytes, digest) = (snapshot.bytes, snapshot.digest);
                self.env.emit(Event::UploadEnded { attempt, subtask, checkpoint, path, digest });
                self.env.emit(Event::AckSent { attempt, subtask, checkpoint, digest });
                let async_ms = ms(self.env.clock.now().since(started));
                let statistics = SnapshotStatistics { async_ms, bytes, ..self.statistics };
                self.reports.post(ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, statistics });
            }
            Uploaded::Failed(error) => {
                let cause = error.to_string();
                let reason = FailureReason::UploadFailed(cause.clone());
                self.env.emit(Event::UploadFailed { attempt, subtask, checkpoint, cause });
                self.env.emit(Event::DeclineSent { attempt, subtask, checkpoint, reason: reason.clone() });
                self.reports.post(ToCoordinator::Decline { attempt, checkpoint, subtask, reason });
            }
            Uploaded::Over => {}
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    fn is_over(&self) -> bool {
        self.is_cancelled() || self.decision.is_discarded()
    }

    /// Encodes and uploads, holding no more than a part and a page.
    async fn store(&self, path: &str, sections: Vec<Section>, mut pages: Option<Box<dyn Pages>>) -> Uploaded {
        let mut blob = BlobBuilder::default();
        let mut parts = None;
        for section in sections {
            blob.add(&section);
        }
        while let Some(page) = pages.as_mut().and_then(|pages| pages.next_page()) {
            self.work(blob.add(&page)).await;
            if self.is_over() {
                return self.cancel(parts).await;
            }
            if blob.waiting() < self.part_bytes {
                continue;
            }
            let parts = parts.get_or_insert_with(|| self.begin(path, blob.waiting() as u64));
            if let Err(error) = self.part(parts, blob.take()).await {
                return self.give_up(parts, Uploaded::Failed(error)).await;
            }
        }
        let Finished { rest, bytes, checksum, digest } = blob.finish();
        if self.is_over() {
            return self.cancel(parts).await;
        }
        let uploaded = match &mut parts {
            None => self.write(path, rest).await,
            Some(parts) => self.complete(parts, path, rest, bytes).await,
        };
        match (uploaded, &mut parts) {
            (Ok(()), _) => {
                Uploaded::Done(SnapshotHandle { path: path.to_owned(), bytes, checksum, digest, ended: self.ended })
            }
            (Err(error), None) => Uploaded::Failed(error),
            (Err(error), Some(parts)) => self.give_up(parts, Uploaded::Failed(error)).await,
        }
    }

    /// A page of so many bytes was encoded; the task yields through the door.
    async fn work(&self, bytes: usize) {
        let site = Site::new("encode", self.subtask.lane());
        if let Some(delay) = self.env.clock.work(site, Work::Page(bytes as u64)) {
            delay.await;
        }
    }

    /// Says that an upload begins, of as many bytes as are known by now.
    fn started(&self, path: &str, bytes: u64) {
        let (attempt, subtask, checkpoint) = (self.attempt, self.subtask, self.checkpoint);
        self.env.emit(Event::UploadStarted { attempt, subtask, checkpoint, path: path.to_owned(), bytes });
    }

    fn begin(&self, path: &str, bytes: u64) -> Box<dyn Upload> {
        self.started(path, bytes);
        self.env.storage.upload(path)
    }

    /// `Exists` can only be this very upload, whose reply was lost: nobody else uses the name.
    async fn write(&self, path: &str, blob: Bytes) -> Result<(), StorageError> {
        self.started(path, blob.len() as u64);
        let write = || self.env.storage.write(path, blob.clone(), WriteMode::Create);
        match retry::storage(&self.env, write).await {
            Err(StorageError::Exists(_)) => Ok(()),
            result => result,
        }
    }

    /// Whatever became of a try, the same part may be given again.
    async fn part(&self, upload: &mut Box<dyn Upload>, bytes: Bytes) -> Result<(), StorageError> {
        let mut tries = 0;
        loop {
            match upload.part(bytes.clone()).await {
                Err(StorageError::Failed(_) | StorageError::Unknown(_)) if tries + 1 < PART_TRIES => tries += 1,
                outcome => return outcome,
            }
            self.env.sleep(backoff(tries)).await;
        }
    }

    /// The rest, and then the object: an outcome that is unknown is settled by looking whether the object is there. It
    /// appears whole or not at all, and nobody else uses the name.
    async fn complete(
        &self,
        upload: &mut Box<dyn Upload>,
        path: &str,
        rest: Bytes,
        bytes: u64,
    ) -> Result<(), StorageError> {
        self.part(upload, rest).await?;
        let mut tries = 0;
        loop {
            let error = match upload.complete().await {
                Ok(()) => return Ok(()),
                Err(error @ StorageError::Failed(_)) => error,
                Err(error @ (StorageError::Fenced | StorageError::Exists(_))) => return Err(error),
                Err(error @ (StorageError::Unknown(_) | StorageError::NotFound(_))) => {
                    match retry::storage(&self.env, || self.env.storage.read(path, 0..1)).await {
                        Ok(found) if found.size == bytes => return Ok(()),
                        Ok(_) | Err(_) => error,
                    }
                }
            };
            tries += 1;
            if tries == PART_TRIES {
                return Err(error);
            }
            self.env.sleep(backoff(tries)).await;
        }
    }

    async fn cancel(&self, parts: Option<Box<dyn Upload>>) -> Uploaded {
        match parts {
            Some(mut parts) => self.give_up(&mut parts, Uploaded::Over).await,
            None => Uploaded::Over,
        }
    }

    /// Parts that nobody will complete are taken back. If that fails, storage clears them away in time.
    async fn give_up(&self, upload: &mut Box<dyn Upload>, ended: Uploaded) -> Uploaded {
        let _ = upload.abort().await;
        ended
    }
}

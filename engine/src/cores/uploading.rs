//! Uploading: the asynchronous part of a snapshot, from the view of the state to the acknowledgement.
//!
//! 1. Pages of the view are encoded one by one; after each page other tasks may run ([`Effect::Yield`]).
//! 2. As soon as there is enough for a part it is uploaded, so only a part and a page are ever held. A blob that is
//!    smaller than a part is written at once.
//! 3. The blob has a name of its own attempt, so no other process's object is ever overwritten (SPARK-51714). If the object
//!    exists already, an earlier try of this very write has succeeded.
//! 4. Durable, which an upload in parts is when it is *complete*: acknowledge with the handle. Failed: decline; the job
//!    goes on.
//!
//! ```text
//! page ─ page ─┬─ less than a part ─────────────────── write ──┐
//!              └─ part ─ page ─ part ─ … ─ rest ─ complete ────┴─ decide ─ acknowledge | decline | delete
//! ```
//!
//! A part whose outcome is unknown is stored again: storing a part twice is harmless. A completion whose outcome is unknown
//! is settled by looking whether the object is there with its whole length: it appears whole or not at all.
//!
//! The checkpoint may be aborted, or the attempt cancelled, meanwhile. While pages are encoded the upload stops behind
//! the current page, aborts its parts and reports nothing. Once all pages are encoded it runs to [`Effect::Decide`]
//! (order rule O4): the upload of an aborted checkpoint then deletes what it has stored, because until the next sweep
//! nothing else looks for it. The shell reads two atomics when it steps the core. `cancelled` is the flag of the
//! attempt, which the worker sets when it cancels the attempt. `over` is that flag, or a decision that the subtask has
//! discarded ([`super::task::Effect::Discard`]).
//!
//! Owns: what was encoded and not stored yet, tries of parts and completions. Does not own: the pages, the requests, tries of
//! the whole write and of the look (the door repeats those), the decision.
//! Invariant (`validate`): a blob is written whole or in parts, never both; every part but the last has the size of a part.
//! Not handled: deleting an object that a failed upload, or one of a cancelled attempt, may have left: the coordinator
//! cleans by listing.

use super::backoff::backoff;
use super::task::Snapshot;
use crate::door::{StorageError, Time};
use crate::event::Event;
use crate::ids::{Attempt, SubtaskId};
use crate::messages::{SnapshotHandle, ToCoordinator};
use crate::persist::blob::{BlobBuilder, Finished};
use crate::persist::layout;
use crate::reason::FailureReason;
use crate::state::Section;
use crate::statistics::{SnapshotStatistics, ms};
use bytes::Bytes;
use std::time::Duration;

/// Tries to store a part, or to complete an upload, before it has failed.
const TRIES: u32 = 4;

/// What an upload asks for. An effect that is answered is the last of its step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Announce this.
    Announce(Event),
    /// Send this report to the coordinator, through the queue that the reports of the subtask take
    /// ([`Hosting::on_report`](super::hosting::Hosting::on_report)).
    Report(ToCoordinator),
    /// Take the next page of the view; then [`on_page`](Uploading::on_page), at once.
    NextPage,
    /// A page of this length in bytes was encoded: let other tasks run; then [`on_yielded`](Uploading::on_yielded).
    Yield(usize),
    /// Begin an upload in parts. Nothing answers.
    Begin,
    /// Store the next part; then [`on_part`](Uploading::on_part).
    StorePart {
        /// Its bytes.
        bytes: Bytes,
        /// How long to wait first.
        delay: Duration,
    },
    /// Make the object of all parts appear; then [`on_parts_finished`](Uploading::on_parts_finished).
    FinishParts {
        /// How long to wait first.
        delay: Duration,
    },
    /// Look how long the object is; then [`on_looked`](Uploading::on_looked).
    Look,
    /// Create the object with these bytes; then [`on_written`](Uploading::on_written).
    Write(Bytes),
    /// Abort the upload in parts; then [`on_upload_aborted`](Uploading::on_upload_aborted).
    AbortUpload,
    /// Try to win the decision against a discard of this checkpoint (see [`super::task`]); then
    /// [`on_decided`](Uploading::on_decided), at once.
    Decide,
    /// Delete the object. Nothing answers.
    Delete,
}

/// The asynchronous part of one snapshot.
pub struct Uploading {
    attempt: Attempt,
    subtask: SubtaskId,
    snapshot: Snapshot,
    path: String,
    /// When it began.
    started: Time,
    /// Once so much is encoded it is uploaded as a part.
    part_bytes: usize,
    blob: BlobBuilder,
    /// Whether an upload in parts was begun.
    in_parts: bool,
    /// Tries of the current request that went wrong in a row.
    tries: u32,
    stage: Stage,
}

enum Stage {
    New,
    Encoding,
    /// This part is being stored, and more may come.
    Storing(Bytes),
    /// The last part is being stored.
    StoringRest(Bytes, SnapshotHandle),
    Completing(SnapshotHandle),
    /// The last completion has an unknown outcome.
    Looking(SnapshotHandle, StorageError),
    Writing(SnapshotHandle),
    Aborting(Result<(), StorageError>),
    Deciding(Result<SnapshotHandle, StorageError>),
    Over,
}

impl Uploading {
    /// An upload that was not begun. `uid` is the operator's; a blob larger than `part_bytes` is uploaded in parts.
    pub fn new((attempt, subtask): (Attempt, SubtaskId), uid: &str, snapshot: Snapshot, part_bytes: usize) -> Self {
        let path = layout::snapshot(snapshot.checkpoint, uid, subtask.index, attempt);
        assert!(part_bytes > 0, "a part holds something");
        let (started, blob) = (Time(0), BlobBuilder::default());
        Self {
            attempt,
            subtask,
            snapshot,
            path,
            started,
            part_bytes,
            blob,
            in_parts: false,
            tries: 0,
            stage: Stage::New,
        }
    }

    /// Where the snapshot is stored.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Begins. `sections` are small enough to be encoded at once; the rest comes page by page.
    pub fn start(&mut self, now: Time, sections: &[Section], out: &mut Vec<Effect>) {
        assert!(matches!(self.stage, Stage::New), "an upload begins once");
        (self.started, self.stage) = (now, Stage::Encoding);
        for section in sections {
            self.blob.add(section);
        }
        out.push(Effect::NextPage);
    }

    /// The next page, or none any more. `over`: the checkpoint is aborted, or the attempt is cancelled.
    pub fn on_page(&mut self, page: Option<&Section>, over: bool, out: &mut Vec<Effect>) {
        assert!(matches!(self.stage, Stage::Encoding), "no page was asked for");
        match page {
            Some(page) => out.push(Effect::Yield(self.blob.add(page))),
            None => self.encoded(over, out),
        }
        self.validate();
    }

    /// The page is encoded, and others have run.
    pub fn on_yielded(&mut self, over: bool, out: &mut Vec<Effect>) {
        assert!(matches!(self.stage, Stage::Encoding), "no page was encoded");
        if over {
            return self.stop(out);
        }
        if self.blob.waiting() < self.part_bytes {
            out.push(Effect::NextPage);
            return;
        }
        if !self.in_parts {
            self.in_parts = true;
            self.announce_start(self.blob.waiting() as u64, out);
            out.push(Effect::Begin);
        }
        let bytes = self.blob.take();
        self.stage = Stage::Storing(bytes.clone());
        self.store(bytes, out);
        self.validate();
    }

    fn encoded(&mut self, over: bool, out: &mut Vec<Effect>) {
        let Finished { rest, bytes, checksum, digest } = std::mem::take(&mut self.blob).finish();
        assert!(bytes >= rest.len() as u64, "the rest is part of the whole");
        if over {
            return self.stop(out);
        }
        let handle = SnapshotHandle { path: self.path.clone(), bytes, checksum, digest, ended: self.snapshot.ended };
        if self.in_parts {
            self.stage = Stage::StoringRest(rest.clone(), handle);
            self.store(rest, out);
        } else {
            self.announce_start(rest.len() as u64, out);
            self.stage = Stage::Writing(handle);
            out.push(Effect::Write(rest));
        }
    }

    /// Says that an upload begins, of as many bytes as are known by now.
    fn announce_start(&self, bytes: u64, out: &mut Vec<Effect>) {
        let (attempt, subtask, checkpoint) = (self.attempt, self.subtask, self.snapshot.checkpoint);
        out.push(Effect::Announce(Event::UploadStarted {
            attempt,
            subtask,
            checkpoint,
            path: self.path.clone(),
            bytes,
        }));
    }

    fn store(&mut self, bytes: Bytes, out: &mut Vec<Effect>) {
        self.tries = 0;
        out.push(Effect::StorePart { bytes, delay: Duration::ZERO });
    }

    /// The reply about a part. Storing a part twice is harmless.
    pub fn on_part(&mut self, stored: Result<(), StorageError>, out: &mut Vec<Effect>) {
        let (Stage::Storing(bytes) | Stage::StoringRest(bytes, _)) = &self.stage else {
            panic!("no part is being stored")
        };
        match stored {
            Err(StorageError::Failed(_) | StorageError::Unknown(_)) if self.tries + 1 < TRIES => {
                self.tries += 1;
                out.push(Effect::StorePart { bytes: bytes.clone(), delay: backoff(self.tries) });
            }
            Err(error) => self.give_up(error, out),
            Ok(()) => self.stored(out),
        }
        self.validate();
    }

    fn stored(&mut self, out: &mut Vec<Effect>) {
        self.tries = 0;
        if let Stage::StoringRest(_, handle) = &self.stage {
            self.stage = Stage::Completing(handle.clone());
            out.push(Effect::FinishParts { delay: Duration::ZERO });
        } else {
            self.stage = Stage::Encoding;
            out.push(Effect::NextPage);
        }
        self.validate();
    }

    /// What became of the completion of an upload in parts.
    pub fn on_parts_finished(&mut self, completed: Result<(), StorageError>, out: &mut Vec<Effect>) {
        let Stage::Completing(handle) = &self.stage else { panic!("nothing is being completed") };
        let handle = handle.clone();
        match completed {
            Ok(()) => self.decide(Ok(handle), out),
            Err(error @ StorageError::Failed(_)) => self.complete_again(error, out),
            Err(error @ (StorageError::Fenced | StorageError::Exists(_))) => self.give_up(error, out),
            Err(error @ (StorageError::Unknown(_) | StorageError::NotFound(_))) => {
                self.stage = Stage::Looking(handle, error);
                out.push(Effect::Look);
            }
        }
        self.validate();
    }

    /// The length of the object, if it is there. It appears whole or not at all, and no other process uses the name.
    pub fn on_looked(&mut self, found: Result<u64, StorageError>, out: &mut Vec<Effect>) {
        let Stage::Looking(handle, error) = &self.stage else { panic!("nothing was looked for") };
        let (handle, error) = (handle.clone(), error.clone());
        match found {
            Ok(bytes) if bytes == handle.bytes => self.decide(Ok(handle), out),
            Ok(_) | Err(_) => {
                self.stage = Stage::Completing(handle);
                self.complete_again(error, out);
            }
        }
        self.validate();
    }

    fn complete_again(&mut self, error: StorageError, out: &mut Vec<Effect>) {
        assert!(matches!(self.stage, Stage::Completing(_)), "nothing is being completed");
        self.tries += 1;
        if self.tries == TRIES {
            return self.give_up(error, out);
        }
        out.push(Effect::FinishParts { delay: backoff(self.tries) });
    }

    /// What became of a blob that is written at once.
    pub fn on_written(&mut self, written: Result<(), StorageError>, out: &mut Vec<Effect>) {
        let Stage::Writing(handle) = &self.stage else { panic!("nothing is being written") };
        let handle = handle.clone();
        match written {
            Ok(()) | Err(StorageError::Exists(_)) => self.decide(Ok(handle), out),
            Err(error) => self.decide(Err(error), out),
        }
        self.validate();
    }

    fn stop(&mut self, out: &mut Vec<Effect>) {
        assert!(matches!(self.stage, Stage::Encoding), "an upload stops between two pages");
        if self.in_parts {
            self.stage = Stage::Aborting(Ok(()));
            out.push(Effect::AbortUpload);
        } else {
            self.stage = Stage::Over;
        }
    }

    /// An upload in parts that will never be completed is aborted. If that fails, storage clears the parts away in time.
    fn give_up(&mut self, error: StorageError, out: &mut Vec<Effect>) {
        assert!(self.in_parts, "there are parts to abort");
        (self.tries, self.stage) = (0, Stage::Aborting(Err(error)));
        out.push(Effect::AbortUpload);
    }

    /// The upload in parts is aborted, as far as that is known.
    pub fn on_upload_aborted(&mut self, out: &mut Vec<Effect>) {
        let Stage::Aborting(ended) = std::mem::replace(&mut self.stage, Stage::Over) else {
            panic!("nothing is aborted")
        };
        if let Err(error) = ended {
            self.decide(Err(error), out);
        }
        self.validate();
    }

    fn decide(&mut self, uploaded: Result<SnapshotHandle, StorageError>, out: &mut Vec<Effect>) {
        self.stage = Stage::Deciding(uploaded);
        out.push(Effect::Decide);
    }

    /// `answers`: the upload won the decision, and may send its acknowledgement or decline. `cancelled`: the attempt is over, so it
    /// sends neither.
    pub fn on_decided(&mut self, now: Time, answers: bool, cancelled: bool, out: &mut Vec<Effect>) {
        let (attempt, subtask, checkpoint) = (self.attempt, self.subtask, self.snapshot.checkpoint);
        let Stage::Deciding(uploaded) = std::mem::replace(&mut self.stage, Stage::Over) else {
            panic!("nothing was to be decided")
        };
        if !answers {
            // If it stays after all, the next sweep finds it.
            out.push(Effect::Delete);
            return;
        }
        if cancelled {
            return;
        }
        match uploaded {
            Ok(snapshot) => {
                assert_eq!(snapshot.ended, self.snapshot.ended, "the handle says how the subtask stood");
                let (path, bytes, digest) = (self.path.clone(), snapshot.bytes, snapshot.digest);
                out.push(Effect::Announce(Event::UploadEnded { attempt, subtask, checkpoint, path, digest }));
                out.push(Effect::Announce(Event::AckSent { attempt, subtask, checkpoint, digest }));
                let async_ms = ms(now.since(self.started));
                let statistics = SnapshotStatistics { async_ms, bytes, ..self.snapshot.statistics };
                out.push(Effect::Report(ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, statistics }));
            }
            Err(error) => {
                let cause = error.to_string();
                let reason = FailureReason::UploadFailed(cause.clone());
                out.push(Effect::Announce(Event::UploadFailed { attempt, subtask, checkpoint, cause }));
                out.push(Effect::Announce(Event::DeclineSent { attempt, subtask, checkpoint, reason: reason.clone() }));
                out.push(Effect::Report(ToCoordinator::Decline { attempt, checkpoint, subtask, reason }));
            }
        }
    }

    fn validate(&self) {
        assert!(self.tries < TRIES, "tries are bounded");
        match &self.stage {
            Stage::Storing(bytes) => assert!(self.in_parts && bytes.len() >= self.part_bytes, "a part is full"),
            Stage::StoringRest(..) | Stage::Completing(_) | Stage::Looking(..) | Stage::Aborting(_) => {
                assert!(self.in_parts, "only what was begun in parts ends in parts");
            }
            Stage::Writing(_) => assert!(!self.in_parts, "what was begun in parts is completed, not written"),
            Stage::Deciding(Ok(handle)) => assert_eq!(handle.path, self.path, "it answers with what it has stored"),
            Stage::New | Stage::Encoding | Stage::Deciding(Err(_)) | Stage::Over => {}
        }
    }
}

#[cfg(test)]
mod tests;

//! The shell of the asynchronous part of a snapshot: it takes the next page or a reply, steps the core
//! ([`crate::cores::uploading`]), and performs the effects in their order. It decides nothing; whether the upload may
//! answer for its checkpoint is said by [`Decision`].
//!
//! A cancelled attempt drops the subtask, not the request of this task that is under way
//! ([`Changes`](super::changes::Changes)).

use super::decision::Decision;
use super::mailbox::Postbox;
use crate::cores::uploading::{Effect, Uploading};
use crate::door::{Env, Site, Upload, Work, WriteMode, retry};
use crate::ids::SubtaskId;
use crate::messages::ToCoordinator;
use crate::state::{Pages, Section};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Everything the asynchronous part needs, owned: it shares nothing with the subtask that goes on (FLINK-9263).
pub struct AsyncPart {
    /// The core.
    pub core: Uploading,
    /// The outside.
    pub env: Env,
    /// Whose snapshot.
    pub subtask: SubtaskId,
    /// Where acks and declines go.
    pub reports: Postbox<ToCoordinator>,
    /// Set when the attempt is over.
    pub cancelled: Arc<AtomicBool>,
    /// Whether it may answer.
    pub decision: Arc<Decision>,
    /// What is encoded page by page.
    pub pages: Option<Box<dyn Pages>>,
    /// The upload in parts, once there is one.
    pub parts: Option<Box<dyn Upload>>,
}

impl AsyncPart {
    /// Runs until the upload has acknowledged, declined, stopped or deleted what it stored. `sections` are small enough
    /// to be encoded at once.
    pub async fn run(mut self, sections: Vec<Section>) {
        let (mut effects, mut out) = (Vec::new(), Vec::new());
        self.core.start(self.env.clock.now(), &sections, &mut out);
        drop(sections);
        while !out.is_empty() {
            std::mem::swap(&mut effects, &mut out);
            for effect in effects.drain(..) {
                self.perform(effect, &mut out).await;
            }
        }
    }

    async fn perform(&mut self, effect: Effect, out: &mut Vec<Effect>) {
        match effect {
            Effect::Announce(event) => self.env.emit(event),
            Effect::Report(report) => self.reports.post(report),
            Effect::NextPage => {
                let page = self.pages.as_mut().and_then(|pages| pages.next_page());
                self.core.on_page(page.as_ref(), self.must_stop(), out);
            }
            Effect::Yield(bytes) => {
                let site = Site::new("encode", self.subtask.lane());
                if let Some(delay) = self.env.clock.work(site, Work::Page(bytes as u64)) {
                    delay.await;
                }
                self.core.on_yielded(self.must_stop(), out);
            }
            Effect::Begin => self.parts = Some(self.env.storage.upload(self.core.path())),
            Effect::StorePart { bytes, delay } => {
                pause(&self.env, delay).await;
                let stored = self.parts().part(bytes).await;
                self.core.on_part(stored, out);
            }
            Effect::FinishParts { delay } => {
                pause(&self.env, delay).await;
                let completed = self.parts().complete().await;
                self.core.on_parts_finished(completed, out);
            }
            Effect::Look => {
                let look = || self.env.storage.read(self.core.path(), 0..1);
                let found = retry::storage(&self.env, look).await;
                self.core.on_looked(found.map(|piece| piece.size), out);
            }
            Effect::Write(blob) => {
                let write = || self.env.storage.write(self.core.path(), blob.clone(), WriteMode::Create);
                let written = retry::storage(&self.env, write).await;
                self.core.on_written(written, out);
            }
            Effect::AbortUpload => {
                let _ = self.parts().abort().await;
                self.core.on_upload_aborted(out);
            }
            Effect::Decide => {
                // Dropped first: what of it is still under way is aborted before the object is deleted.
                self.parts = None;
                let answers = self.decision.answer();
                self.core.on_decided(self.env.clock.now(), answers, self.is_cancelled(), out);
            }
            Effect::Delete => {
                let _ = self.env.storage.delete(self.core.path()).await;
            }
        }
    }

    fn parts(&mut self) -> &mut Box<dyn Upload> {
        self.parts.as_mut().expect("an upload in parts was begun")
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    fn must_stop(&self) -> bool {
        self.is_cancelled() || self.decision.is_discarded()
    }
}

/// A zero delay skips the clock.
async fn pause(env: &Env, delay: Duration) {
    if !delay.is_zero() {
        env.sleep(delay).await;
    }
}

//! From the last ack to the durable slot, and the abort of whatever does not get there.
//!
//! Completions go through the log one at a time, the oldest that is ready first. So the log holds ids in rising order:
//! ```text
//! acks of 5 ── Create(slot of 5) .............. lands: 5 is durable ── 4 is subsumed, however many acks it has
//!       acks of 4 ── ready, and waits ──────────┘
//! ```
//! Had 4 been added behind 5, a restart would restore 4 although what 5 holds was committed (order rule O6).

use super::effect::{CompletionReport, Effect};
use super::pending::{MANIFEST_TRIES, Pending, Stage};
use super::{ABORTED_REMEMBERED, Checkpointing, Judgement};
use crate::cores::backoff::backoff;
use crate::door::Time;
use crate::error::Error;
use crate::ids::CheckpointId;
use crate::reason::{FailureReason, Refusal};
use std::time::Duration;

impl Checkpointing {
    /// Path of a pending checkpoint's manifest.
    pub fn manifest(&self, checkpoint: CheckpointId) -> Option<String> {
        self.pending.get(&checkpoint).map(Pending::manifest)
    }

    /// Begins to complete the oldest checkpoint that is ready, unless another is completing.
    pub(super) fn begin_completing(&mut self, out: &mut Vec<Effect>) {
        if self.pending.values().any(Pending::is_completing) {
            return;
        }
        let ready = self.pending.values_mut().find_map(|pending| match pending.stage {
            Stage::Ready { duration } => Some((pending, duration)),
            Stage::Collecting { .. } | Stage::Writing { .. } | Stage::Adding => None,
        });
        if let Some((pending, duration)) = ready {
            out.push(pending.write_manifest(duration, 0, Duration::ZERO));
        }
    }

    /// Answers [`Effect::WriteManifest`]. Writing again is harmless, so no outcome needs to be known for certain.
    pub fn on_manifest_written(
        &mut self,
        now: Time,
        checkpoint: CheckpointId,
        reply: Result<(), Error>,
        out: &mut Vec<Effect>,
    ) {
        let pending = self.pending.get_mut(&checkpoint).expect("the reply fits the request");
        let Stage::Writing { duration, tries } = pending.stage else { panic!("no manifest was being written") };
        match reply {
            Ok(()) => {
                pending.stage = Stage::Adding;
                out.push(Effect::AddToStore { checkpoint, manifest: pending.manifest() });
            }
            Err(_) if tries + 1 < MANIFEST_TRIES => {
                out.push(pending.write_manifest(duration, tries + 1, backoff(tries + 1)));
            }
            Err(error) => self.fail_completing(now, checkpoint, error.to_string(), out),
        }
        self.validate();
    }

    /// Answers [`Effect::AddToStore`]: the slot is durable, and the output is marked with the checkpoint.
    pub fn on_added(&mut self, now: Time, checkpoint: CheckpointId, number: u64, out: &mut Vec<Effect>) {
        let pending = self.pending.remove(&checkpoint).expect("a checkpoint is being added");
        assert_eq!(pending.stage, Stage::Adding, "the reply fits the request");
        assert_eq!(pending.contributions.len(), self.topology.len(), "every subtask contributes");
        let (attempt, last) = (pending.attempt, pending.is_last());
        out.push(Effect::Complete(CompletionReport {
            attempt,
            checkpoint,
            number,
            manifest: pending.manifest(),
            bytes: pending.bytes(),
            duration: now.since(pending.triggered),
            last,
        }));
        self.latest = pending.snapshots();
        self.tolerance.on_success(checkpoint);
        self.paused_until = now + self.config.min_pause;
        if let Some(request) = pending.request {
            out.push(Effect::Answer { request, result: Ok(checkpoint) });
        }
        self.subsume(now, checkpoint, out);
        match &self.live {
            Some(live) => {
                assert_eq!(live.attempt, attempt, "no attempt is deployed while a completion is under way");
                out.push(Effect::Notify { attempt, checkpoint });
                if last {
                    self.end(now, out);
                }
            }
            None => out.push(Effect::Settle),
        }
        self.hasten_final(now);
        self.go_on(now, out);
        self.validate();
    }

    /// Answers [`Effect::AddToStore`]: the slot is not added, and it never will be.
    pub fn on_not_added(&mut self, now: Time, checkpoint: CheckpointId, cause: &str, out: &mut Vec<Effect>) {
        let pending = self.pending.get(&checkpoint).expect("a checkpoint is being added");
        assert_eq!(pending.stage, Stage::Adding, "the reply fits the request");
        self.fail_completing(now, checkpoint, cause.to_owned(), out);
        self.validate();
    }

    fn fail_completing(&mut self, now: Time, checkpoint: CheckpointId, cause: String, out: &mut Vec<Effect>) {
        self.abort(now, checkpoint, FailureReason::FinalizeFailed(cause), out);
        if self.live.is_none() {
            out.push(Effect::Settle);
        }
        self.go_on(now, out);
    }

    /// Nothing older than a durable checkpoint may complete any more.
    fn subsume(&mut self, now: Time, by: CheckpointId, out: &mut Vec<Effect>) {
        for checkpoint in self.pending.range(..by).map(|(checkpoint, _)| *checkpoint).collect::<Vec<_>>() {
            self.abort(now, checkpoint, FailureReason::Subsumed { by }, out);
        }
    }

    /// The last checkpoint is durable: subtasks exit, and acknowledge no newer one.
    fn end(&mut self, now: Time, out: &mut Vec<Effect>) {
        for checkpoint in self.pending.keys().copied().collect::<Vec<_>>() {
            self.abort(now, checkpoint, FailureReason::TaskClosing, out);
        }
        self.stop_triggering(&Refusal::Ending, out);
    }

    pub(super) fn abort(&mut self, now: Time, checkpoint: CheckpointId, reason: FailureReason, out: &mut Vec<Effect>) {
        let pending = self.pending.remove(&checkpoint).expect("a checkpoint is pending");
        let (attempt, paths) = (pending.attempt, pending.stored());
        out.push(Effect::Abort { attempt, checkpoint, reason: reason.clone() });
        if !paths.is_empty() {
            out.push(Effect::Discard { paths });
        }
        if self.aborted.len() == ABORTED_REMEMBERED {
            self.aborted.pop_front();
        }
        self.aborted.push_back(checkpoint);
        if self.live.as_ref().is_some_and(|live| live.attempt == attempt) {
            match self.tolerance.on_failure(checkpoint, &reason) {
                Judgement::Tolerated => {}
                Judgement::Exceeded { cause } => self.exceeded = Some(cause),
            }
        }
        if let Some(request) = pending.request {
            out.push(Effect::Answer { request, result: Err(Refusal::Failed { checkpoint, reason }) });
        }
        self.hasten_final(if pending.is_final { now + self.retry_delay() } else { now });
    }
}

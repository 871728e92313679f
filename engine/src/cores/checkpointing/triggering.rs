//! When the next checkpoint is triggered, and that it always is.
//!
//! 1. A request by hand goes first; then the periodic one, when it is due and the pause is over.
//! 2. Both wait for room: fewer than `max_concurrent` pending, no more than that many being deleted.
//! 3. The id is asked for; once it is there the plan is made of the subtasks that run *now* (order rule O2).
//!
//! The due time of the periodic one is kept while it cannot be triggered, and looked at after every step: nothing has to
//! remember to arm it again (FLINK-13256, FLINK-18137).

use super::effect::{Effect, RequestId};
use super::pending::{Pending, Stage};
use super::requests::refuse;
use super::{Checkpointing, Live, RETRY_DELAY_MAX};
use crate::config::CheckpointMode;
use crate::cores::restore::Contribution;
use crate::door::Time;
use crate::element::{Barrier, Guarantee};
use crate::ids::CheckpointId;
use crate::reason::Refusal;
use crate::statistics::SnapshotStatistics;

/// How near the next trigger of an attempt is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Triggering {
    /// Some subtask has not restored yet (FLINK-22003).
    NotYet,
    /// The next periodic one is due then.
    Due(Time),
    /// An id was asked for.
    Allocating {
        /// What the checkpoint is triggered for.
        origin: Origin,
        /// When the next periodic one was due.
        due: Time,
    },
    /// The last checkpoint is durable, or the attempt has to fail: nothing follows.
    Over,
}

/// What a checkpoint is triggered for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    Periodic,
    Request(RequestId),
}

impl Checkpointing {
    /// A client asks for a checkpoint. Answered by [`Effect::Answer`], now or once it is durable or has failed.
    pub fn on_request(&mut self, now: Time, request: RequestId, out: &mut Vec<Effect>) {
        let triggering = self.live.as_ref().map(|live| live.triggering);
        match triggering {
            None | Some(Triggering::NotYet) => out.push(refuse(request, Refusal::NotRunning)),
            Some(Triggering::Over) => out.push(refuse(request, Refusal::Ending)),
            Some(Triggering::Due(_) | Triggering::Allocating { .. }) => self.requests.push(request, out),
        }
        self.go_on(now, out);
        self.validate();
    }

    /// The client that asked is gone. A checkpoint that is being triggered for it goes on like any other.
    pub fn on_withdrawn(&mut self, request: RequestId) {
        self.requests.withdraw(request);
        self.validate();
    }

    /// Answers [`Effect::Allocate`]. If no trigger waits for the id any more, it is never used.
    pub fn on_id(&mut self, now: Time, wall_ms: u64, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        assert!(self.newest.is_none_or(|newest| newest < checkpoint), "ids increase");
        self.newest = Some(checkpoint);
        let is_final = self.all_ended();
        let Some(live) = &mut self.live else { return self.validate() };
        let Triggering::Allocating { origin, due } = live.triggering else { return self.validate() };
        live.triggering = Triggering::Due(match origin {
            Origin::Periodic => now + self.config.interval,
            Origin::Request(_) => due,
        });
        let plan = self.topology.plan(&live.finished, &self.latest);
        assert!(!plan.wait.is_empty(), "the last checkpoint completes before the last subtask finishes");
        let carried = plan.carried.into_iter();
        let contribution = |snapshot| Contribution { snapshot, statistics: SnapshotStatistics::default() };
        let pending = Pending {
            attempt: live.attempt,
            checkpoint,
            request: match origin {
                Origin::Periodic => None,
                Origin::Request(request) => Some(request),
            },
            triggered: now,
            triggered_ms: wall_ms,
            is_final,
            wait: plan.wait.clone(),
            contributions: carried.map(|(subtask, snapshot)| (subtask, contribution(snapshot))).collect(),
            stage: Stage::Collecting { deadline: now + self.config.timeout },
        };
        let alignment = match self.config.mode {
            CheckpointMode::ExactlyOnce => Guarantee::ExactlyOnce,
            CheckpointMode::AtLeastOnce => Guarantee::AtLeastOnce,
        };
        let barrier = Barrier { checkpoint, alignment, triggered_ms: wall_ms };
        out.push(Effect::Trigger { attempt: live.attempt, barrier, subtasks: plan.trigger, wait: plan.wait });
        self.pending.insert(checkpoint, pending);
        self.go_on(now, out);
        self.validate();
    }

    /// Answers [`Effect::Allocate`]: there is none now.
    pub fn on_no_id(&mut self, now: Time, cause: &str, out: &mut Vec<Effect>) {
        let retry = now + self.retry_delay();
        if let Some(live) = &mut self.live
            && let Triggering::Allocating { origin, due } = live.triggering
        {
            match origin {
                Origin::Periodic => live.triggering = Triggering::Due(retry),
                Origin::Request(request) => {
                    live.triggering = Triggering::Due(due.max(retry));
                    out.push(refuse(request, Refusal::NoId(cause.to_owned())));
                }
            }
        }
        self.go_on(now, out);
        self.validate();
    }

    /// Pending checkpoints at a time. A pause after each completion means one.
    pub(super) fn max_concurrent(&self) -> usize {
        if self.config.min_pause.is_zero() { self.config.max_concurrent.max(1) } else { 1 }
    }

    /// Whether one more checkpoint may be pending.
    pub(super) fn has_room(&self) -> bool {
        let max = self.max_concurrent();
        self.pending.len() < max && self.backlog <= max
    }

    /// When the next periodic checkpoint may be triggered. The final one does not wait for the pause to be over.
    pub(super) fn periodic_due(&self) -> Option<Time> {
        match &self.live {
            Some(Live { triggering: Triggering::Due(due), .. }) if self.all_ended() => Some(*due),
            Some(Live { triggering: Triggering::Due(due), .. }) => Some(self.paused_until.max(*due)),
            Some(_) | None => None,
        }
    }

    /// How long to wait before what just failed is tried again.
    pub(super) fn retry_delay(&self) -> std::time::Duration {
        self.config.interval.min(RETRY_DELAY_MAX)
    }

    /// The next periodic checkpoint is due at `at`, if not before.
    pub(super) fn hasten(&mut self, at: Time) {
        match self.live.as_mut().map(|live| &mut live.triggering) {
            Some(Triggering::Due(due) | Triggering::Allocating { due, .. }) => *due = at.min(*due),
            Some(Triggering::NotYet | Triggering::Over) | None => {}
        }
    }

    /// Once every subtask has ended its input only the final checkpoint is waited for: it is due at `at`.
    pub(super) fn hasten_final(&mut self, at: Time) {
        if self.all_ended() {
            self.hasten(at);
        }
    }

    /// Nothing more is triggered in this attempt, and every request that waits is refused.
    pub(super) fn stop_triggering(&mut self, refusal: &Refusal, out: &mut Vec<Effect>) {
        let live = self.live.as_mut().expect("only a deployed attempt triggers");
        let before = std::mem::replace(&mut live.triggering, Triggering::Over);
        if let Triggering::Allocating { origin: Origin::Request(request), .. } = before {
            out.push(refuse(request, refusal.clone()));
        }
        self.requests.refuse_all(refusal, out);
    }

    pub(super) fn trigger_if_due(&mut self, now: Time, out: &mut Vec<Effect>) {
        if !self.has_room() {
            return;
        }
        let is_due = self.periodic_due().is_some_and(|due| due <= now);
        let Some(live) = &mut self.live else { return };
        let Triggering::Due(due) = live.triggering else { return };
        let origin = match self.requests.pop() {
            Some(request) => Origin::Request(request),
            None if is_due => Origin::Periodic,
            None => return,
        };
        live.triggering = Triggering::Allocating { origin, due };
        out.push(Effect::Allocate);
    }
}

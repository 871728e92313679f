//! The attempt that runs here: its fence, its subtasks, and the links of other workers that it reads.
//!
//! 1. An attempt starts if it is newer than every attempt that was deployed here before, and ends what ran until then.
//!    So an older deployment that arrives late starts nothing.
//! 2. It is cancelled by the deployment of a newer attempt, by a `Cancel` that names it or a newer attempt, by `JobDone`, and
//!    by the end of its session.
//! 3. It reads one link of each producing worker. A link that comes too early is held, one that is not awaited is hung
//!    up on.
//! 4. A link that breaks fails it: what was on its way is lost. The worker reports that behind what its subtasks have
//!    reported until then.
//! 5. A subtask that has finished takes nothing any more.

use super::{Comparing, Effect, Hosting, announce};
use crate::cores::early_links::{self, EarlyLinks, LinkId};
use crate::cores::links::Violation;
use crate::cores::transactions::Completion;
use crate::cores::wiring::Wiring;
use crate::element::Barrier;
use crate::error::Error;
use crate::event::Event;
use crate::ids::{Attempt, CheckpointId, SubtaskId, WorkerId};
use crate::messages::{Deployment, ToCoordinator, ToWorker};
use crate::reason::FailureReason;
use std::collections::BTreeSet;

/// The attempt that runs here.
#[derive(Debug)]
pub(super) struct Running {
    pub attempt: Attempt,
    /// The subtasks here that have not finished.
    subtasks: BTreeSet<SubtaskId>,
    /// The producing workers whose link has not come yet.
    awaited: BTreeSet<WorkerId>,
}

impl Running {
    /// Its subtasks here that have not finished, in order.
    pub fn subtasks(&self) -> impl Iterator<Item = &SubtaskId> {
        self.subtasks.iter()
    }

    pub fn validate(&self, me: WorkerId) {
        assert!(self.attempt > Attempt::default(), "what runs was deployed");
        assert!(!self.awaited.contains(&me), "a worker has no link to itself");
    }
}

impl Hosting {
    /// Answers [`Effect::CompareBarrier`]: whether the barrier of a trigger contradicts none that came on links.
    pub fn on_barrier_compared(&mut self, compared: Result<(), Violation>, out: &mut Vec<Effect>) {
        let Some(Comparing { barrier, subtasks }) = self.pause.take() else { panic!("no barrier was to be compared") };
        assert!(self.running.is_some(), "a barrier is compared in an attempt");
        match compared {
            Ok(()) => subtasks.into_iter().for_each(|subtask| self.trigger_one(subtask, barrier, out)),
            Err(violation) => self.reject(&format!("its trigger {violation}"), out),
        }
        self.validate();
    }

    /// A subtask of this worker, one of its uploads or the worker itself ([`Effect::Report`]) reports. A report about
    /// an attempt of another leadership is not for this coordinator.
    pub fn on_report(&mut self, report: ToCoordinator, out: &mut Vec<Effect>) {
        assert!(self.pause.is_none(), "one input is worked on at a time");
        assert!(report.attempt().is_some_and(|attempt| self.has_run(attempt)), "what runs here reports");
        if let ToCoordinator::Finished { attempt, subtask } = &report
            && let Some(running) = self.running.as_mut().filter(|running| running.attempt == *attempt)
        {
            let ran = running.subtasks.remove(subtask);
            assert!(ran, "{subtask} finishes once");
        }
        if self.commands.on_report(&report) {
            out.push(Effect::Send(report.bounded()));
        }
        self.validate();
    }

    /// A link of `attempt` has arrived from another worker. Links are counted.
    pub fn on_link(&mut self, link: LinkId, attempt: Attempt, from: WorkerId, out: &mut Vec<Effect>) {
        assert!(self.pause.is_none(), "one input is worked on at a time");
        let mut effects = Vec::new();
        self.early.on_arrived(link, attempt, from, &mut effects);
        assert!(matches!(effects.len(), 1 | 2), "a link is taken or not, and may replace another one");
        for effect in effects {
            match effect {
                early_links::Effect::Attach => self.attach(link, attempt, from, out),
                early_links::Effect::Hold { link } => {
                    let limit = self.job.config.heartbeat_timeout * 2;
                    out.push(Effect::HoldLink { link, attempt, from, limit });
                }
                early_links::Effect::Refuse => out.push(Effect::RefuseLink { link }),
                early_links::Effect::Call { .. } => panic!("a link that arrives calls no other"),
                early_links::Effect::Release { link } => out.push(Effect::ReleaseLink { link }),
            }
        }
        self.validate();
    }

    /// A link that was held has been called. The attempt may be over again.
    pub fn on_link_called(&mut self, link: LinkId, attempt: Attempt, from: WorkerId, out: &mut Vec<Effect>) {
        assert!(self.has_run(attempt), "a link is called when its attempt is deployed");
        self.attach(link, attempt, from, out);
        self.validate();
    }

    /// The peer of a link that was held is gone, or was held for too long.
    pub fn on_link_gone(&mut self, link: LinkId) {
        self.early.on_gone(link);
        self.validate();
    }

    /// A link of an attempt is broken.
    pub fn on_link_broken(&mut self, attempt: Attempt, cause: Error, out: &mut Vec<Effect>) {
        assert!(self.has_run(attempt), "a link belongs to an attempt");
        if self.runs(attempt) {
            announce(Event::LinkFailed { attempt, worker: self.me, cause: cause.message.clone() }, out);
            out.push(Effect::Report(ToCoordinator::Failed { attempt, subtask: None, error: cause }));
        }
        self.validate();
    }

    /// Starts an attempt, and calls the links that have waited for it.
    pub(super) fn deploy(&mut self, deployment: &Deployment, out: &mut Vec<Effect>) {
        let attempt = deployment.attempt;
        if attempt <= self.early.newest() {
            return;
        }
        assert_eq!(self.commands.welcomed(), Some(attempt.generation), "the leader of this session deploys");
        self.cancel(out);
        assert!(self.running.is_none(), "one attempt runs at a time");
        let wiring = Wiring::of(&self.job.graph, self.me, deployment);
        let subtasks = wiring.subtasks.iter().map(|wired| wired.subtask).collect();
        self.running = Some(Running { attempt, subtasks, awaited: wiring.awaited() });
        out.push(Effect::StartAttempt(Box::new(wiring)));
        self.step_links(out, |early, effects| early.on_deployed(attempt, effects));
    }

    /// Stops what runs, if anything does.
    pub(super) fn cancel(&mut self, out: &mut Vec<Effect>) {
        let Some(running) = self.running.take() else { return };
        assert_eq!(running.attempt, self.early.newest(), "no older attempt runs");
        out.push(Effect::CancelAttempt);
        announce(Event::AttemptCancelled { attempt: running.attempt, worker: self.me }, out);
    }

    /// A checkpoint is triggered at subtasks of this worker, unless the attempt is over.
    pub(super) fn trigger(
        &mut self,
        attempt: Attempt,
        barrier: Barrier,
        subtasks: Vec<SubtaskId>,
        out: &mut Vec<Effect>,
    ) {
        if self.runs(attempt) {
            assert!(!subtasks.is_empty(), "a checkpoint is triggered somewhere");
            assert!(barrier.checkpoint.is_possible(), "ids can be counted");
            self.pause = Some(Comparing { barrier, subtasks });
            out.push(Effect::CompareBarrier(barrier));
        }
    }

    /// A subtask that has finished declines: the trigger was under way meanwhile.
    fn trigger_one(&self, subtask: SubtaskId, barrier: Barrier, out: &mut Vec<Effect>) {
        let Some(running) = &self.running else { panic!("a barrier is compared in an attempt that runs") };
        if running.subtasks.contains(&subtask) {
            return out.push(Effect::Trigger { subtask, barrier });
        }
        let (attempt, checkpoint, reason) = (running.attempt, barrier.checkpoint, FailureReason::TaskClosing);
        announce(Event::DeclineSent { attempt, subtask, checkpoint, reason: reason.clone() }, out);
        out.push(Effect::Report(ToCoordinator::Decline { attempt, checkpoint, subtask, reason }));
    }

    pub(super) fn complete(&self, attempt: Attempt, message: &ToWorker, out: &mut Vec<Effect>) {
        let Some(completion) = Completion::announced(message) else { panic!("a completion is announced") };
        if let Some(subtasks) = self.unfinished(attempt) {
            assert!(completion.checkpoint().is_possible(), "ids can be counted");
            out.push(Effect::Complete { subtasks, completion });
        }
    }

    pub(super) fn abort(&self, attempt: Attempt, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        assert!(checkpoint.is_possible(), "ids can be counted");
        if let Some(subtasks) = self.unfinished(attempt) {
            out.push(Effect::Abort { subtasks, checkpoint });
        }
    }

    /// Steps the links that are held, none of which arrives just now.
    pub(super) fn step_links(
        &mut self,
        out: &mut Vec<Effect>,
        step: impl FnOnce(&mut EarlyLinks, &mut Vec<early_links::Effect>),
    ) {
        let mut effects = Vec::new();
        step(&mut self.early, &mut effects);
        out.extend(effects.into_iter().map(|effect| match effect {
            early_links::Effect::Call { link } => Effect::CallLink { link },
            early_links::Effect::Release { link } => Effect::ReleaseLink { link },
            early_links::Effect::Attach | early_links::Effect::Hold { .. } | early_links::Effect::Refuse => {
                panic!("only a link that arrives is attached, held or refused")
            }
        }));
    }

    /// The attempt reads a link if it runs and has none of that worker yet.
    fn attach(&mut self, link: LinkId, attempt: Attempt, from: WorkerId, out: &mut Vec<Effect>) {
        let running = self.running.as_mut().filter(|running| running.attempt == attempt);
        let is_awaited = running.is_some_and(|running| running.awaited.remove(&from));
        out.push(if is_awaited { Effect::AttachLink { link, from } } else { Effect::RefuseLink { link } });
    }

    /// Whether this attempt is not newer than the newest one that was deployed here. Such an attempt runs, is over, or was never
    /// deployed here.
    fn has_run(&self, attempt: Attempt) -> bool {
        Attempt::default() < attempt && attempt <= self.early.newest()
    }

    fn runs(&self, attempt: Attempt) -> bool {
        self.running.as_ref().is_some_and(|running| running.attempt == attempt)
    }

    /// The subtasks here that have not finished, if this attempt runs and there are any.
    fn unfinished(&self, attempt: Attempt) -> Option<Vec<SubtaskId>> {
        let running = self.running.as_ref().filter(|running| running.attempt == attempt)?;
        (!running.subtasks.is_empty()).then(|| running.subtasks.iter().copied().collect())
    }
}

//! The shell of the leading coordinator: it takes an input, steps the core ([`crate::cores::leading`]), and performs
//! the effects in their order. It decides nothing: which effect stands where, and what follows from a reply, is said by
//! the core alone.

use super::requests::Requests;
use super::sockets::Sockets;
use super::{Input, JobEnd, Member};
use crate::cores::leading::{Effect, Leading, Next};
use crate::cores::restarting::DRAWS;
use crate::cores::statistics::Statistics;
use crate::door::{BoxFuture, Site, Time};
use crate::error::Result;
use crate::graph::JobGraph;
use crate::persist::manifest::Manifest;
use crate::runtime::mailbox::Mailbox;
use std::sync::Arc;

/// A coordinator that has taken leadership.
pub(super) struct Leader {
    core: Leading,
    requests: Requests,
    sockets: Sockets,
    /// What restored checkpoints are assigned to.
    graph: Arc<JobGraph>,
}

impl Leader {
    pub fn new(requests: Requests, core: Leading, graph: Arc<JobGraph>) -> Self {
        Self { core, requests, sockets: Sockets::default(), graph }
    }

    /// Leads until the end.
    pub async fn lead(&mut self, mailbox: &mut Mailbox<Input>) -> Result<JobEnd> {
        let mut out = Vec::new();
        self.core.start(self.now(), &mut out);
        self.perform(&mut out);
        let mut alarm: Option<(Time, BoxFuture<'static, ()>)> = None;
        loop {
            let next = self.core.on_idle(self.now(), self.requests.is_drained(), &mut out);
            self.perform(&mut out);
            let deadline = match next {
                Next::WaitUntil(deadline) => deadline,
                Next::End(end) => return end,
            };
            // An alarm that is early only makes us look at the clock; arming a new one for every frame would not.
            let armed = match &mut alarm {
                Some((at, armed)) if *at <= deadline => armed,
                Some(_) | None => {
                    let (_, armed) = alarm.insert((deadline, self.requests.env.clock.sleep_until(deadline)));
                    armed
                }
            };
            match mailbox.take_before(armed).await {
                Some(input) => self.on_input(input, &mut out),
                None => {
                    alarm = None;
                    self.core.on_alarm(self.now(), &mut out);
                }
            }
            self.perform(&mut out);
        }
    }

    /// What its checkpoints have cost.
    pub fn statistics(&self) -> Statistics {
        self.core.statistics()
    }

    pub fn on_accepted(&mut self, member: Member) {
        let (id, mut out) = (self.sockets.next_id(), Vec::new());
        self.core.on_accepted(self.now(), id, member.connection.peer.clone(), member.claim, &mut out);
        self.perform(&mut out);
        self.sockets.open(id, &self.requests.env, self.requests.inbox(), member);
    }

    fn now(&self) -> Time {
        self.requests.env.clock.now()
    }

    fn on_input(&mut self, input: Input, out: &mut Vec<Effect>) {
        let now = self.now();
        let core = &mut self.core;
        match input {
            Input::Accepted(member) => self.on_accepted(member),
            Input::NotListening(error) => core.on_not_listening(now, &error.to_string(), out),
            Input::Message(connection, message) => core.on_message(now, connection, message, out),
            Input::Unfit(connection, reason) => core.on_unfit(now, connection, reason, out),
            Input::Broken(connection, cause) => core.on_broken(now, connection, &cause, out),
            Input::LogListed(reply) => core.on_log_listed(now, reply, out),
            Input::SlotRead(number, reply) => core.on_slot_read(now, number, reply, out),
            Input::SlotCreated(number, reply) => core.on_slot_created(now, number, reply, out),
            Input::ManifestWritten(checkpoint, reply) => core.on_manifest_written(now, checkpoint, reply, out),
            Input::RestoreRead(attempt, reply) => core.on_restore_read(now, attempt, reply, out),
            Input::RunInputListed(attempt, reply) => core.on_input_listed(now, attempt, reply, out),
            Input::RunInputCompared(later) => core.on_input_compared(now, later, out),
            Input::ManifestRead(checkpoint, named) => core.on_manifest_read(now, checkpoint, named, out),
            Input::Probed(number, exists) => core.on_probed(now, number, exists, out),
            Input::SweepListed(paths) => core.on_sweep_listed(now, paths.as_deref(), out),
            Input::Deleted(checkpoint, all) => core.on_deleted(now, checkpoint, all, out),
            Input::Freed(all) => core.on_freed(now, all, out),
            Input::Discarded => core.on_discarded(),
            Input::Drained => core.on_drained(),
            Input::StagingSwept => core.on_staging_swept(),
            Input::SignWritten => core.on_sign_written(),
            Input::MarksListed(reply) => core.on_marks_listed(now, reply, out),
            Input::MarkRead(name, reply) => core.on_mark_read(now, name, reply, out),
            Input::MarkCreated(name, reply) => core.on_mark_created(now, name, reply, out),
            Input::MarksDeleted(gone) => core.on_marks_deleted(now, &gone, out),
        }
    }

    /// Performs everything that was asked for. What is drawn or read of the clock goes back at once, and more may be
    /// asked for then.
    fn perform(&mut self, out: &mut Vec<Effect>) {
        while !out.is_empty() {
            for effect in std::mem::take(out) {
                self.perform_one(effect, out);
            }
        }
    }

    fn perform_one(&mut self, effect: Effect, out: &mut Vec<Effect>) {
        let requests = &mut self.requests;
        match effect {
            Effect::Announce(event) => requests.env.emit(event),
            Effect::Connection(effect) => self.sockets.perform(effect),
            Effect::DrawToken { number } => {
                let token = requests.env.schedule.token(Site::new("coordinator.slot", number));
                self.core.on_token(token, out);
            }
            Effect::DrawDelay { attempt } => {
                let site = Site::new("coordinator.restart", u64::from(attempt.number));
                self.core.on_delay(requests.env.schedule.pick(site, DRAWS), out);
            }
            Effect::ReadWallClock => self.core.on_wall_clock(requests.env.clock.wall_ms(), out),
            Effect::ListLog { delay } => requests.list_log(delay),
            Effect::ReadSlot { number, delay } => requests.read_slot(number, delay),
            Effect::CreateSlot { number, slot, delay } => requests.create_slot(number, &slot, delay),
            Effect::WriteManifest { path, manifest, delay } => {
                requests.write_manifest(manifest.checkpoint, path, Manifest::encode(&manifest), delay);
            }
            Effect::Discard { paths } => requests.discard(paths),
            Effect::ListMarks { delay } => requests.list_marks(delay),
            Effect::ReadMark { name, delay } => requests.read_mark(name, delay),
            Effect::CreateMark { mark, delay } => requests.create_mark(&mark, delay),
            Effect::DeleteMarks { names } => requests.delete_marks(names),
            Effect::ReadRestore { attempt, latest } => requests.read_restore(attempt, latest, self.graph.clone()),
            Effect::ListInput { attempt, path, inputs } => requests.list_input(attempt, path, inputs),
            Effect::CompareInput { listing } => requests.compare_input(listing),
            Effect::WriteSign(sign) => requests.write_sign(&sign),
            Effect::ClearUnfinished { living } => requests.clear(living),
            Effect::Clean(effect) => requests.perform_retention(effect),
            Effect::Drain { limit } => requests.drain(limit),
            Effect::Cease => requests.cease(),
            Effect::SweepStaging { folders } => requests.sweep_staging(folders),
        }
    }
}

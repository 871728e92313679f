//! A worker process: hosts the subtasks that the coordinator places here (Flink's TaskManager).
//!
//! ```text
//! gate    ─┐                   ┌─> session: reader and writer of a coordinator's connection
//! readers ─┼─> Mailbox<Input> ─┤
//! reports ─┤                   ├─> attempt: channels, subtasks, links
//! alarm   ─┘                   └─> links that wait for their attempt
//! ```
//!
//! One loop: it takes an input, steps the core ([`crate::cores::hosting`]), and performs the effects in their order.
//! The core says which coordinator is dialled, what is sent, which attempt runs and when the worker is done; the loop
//! decides nothing. Everything that waits for a frame is a task of its own that posts what it learned, except dialling,
//! during which inputs wait. A process that listens at a coordinator's address and does not know the secret is passed
//! over.
//!
//! Owns: the tasks of the attempt, of the session and of the links that are held. Does not own: any protocol decision.

mod attempt;
mod links;
mod means;
mod session;
mod sight;

use super::dial::dial;
use super::mailbox::{Either, Mailbox, race};
use super::patience;
use super::subtask::Control;
use crate::cores::early_links::LinkId;
use crate::cores::hosting::{Effect, Hosting, Next};
use crate::door::{BoxFuture, Connection, Env, Time};
use crate::error::{Error, Result};
use crate::graph::Job;
use crate::ids::{Attempt, WorkerId};
use crate::messages::handshake::Claim;
use crate::messages::{Sight, ToCoordinator, ToWorker};
use crate::secret::Secret;
use attempt::RunningAttempt;
use links::Links;
use means::{Means, site};
use session::Session;
use std::pin::pin;
use std::time::Duration;

/// How a worker starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerOptions {
    /// Who it is; workers count from 0.
    pub worker: WorkerId,
    /// Where coordinators listen: the leader and its standbys. Tried in turn.
    pub coordinators: Vec<String>,
    /// Where to listen for other workers; port 0 picks one.
    pub listen: String,
    /// Where other workers reach this one, if that is not where it listens.
    pub announce: Option<String>,
    /// What members of the job know.
    pub secret: Secret,
}

/// What the loop waits for.
enum Input {
    /// A frame of the coordinator.
    Message { session: u64, message: ToWorker },
    /// The coordinator's connection is over.
    CoordinatorLost { session: u64, cause: Error },
    /// A link has arrived from another worker.
    Link { attempt: Attempt, from: WorkerId, connection: Connection },
    /// A link that was held has been called.
    LinkCalled { link: LinkId, attempt: Attempt, from: WorkerId, connection: Connection },
    /// The peer of a link that was held is gone, or the link was held for too long.
    LinkGone { link: LinkId },
    /// The leadership was looked for in the folders of this worker.
    Seen { session: u64, seen: Result<Sight> },
    /// A link of an attempt is over.
    LinkBroken { attempt: Attempt, cause: Error },
}

/// Runs a worker until the job is done. Errors: the coordinator refused it, or it cannot listen.
pub async fn run(env: Env, job: Job, options: WorkerOptions) -> Result<()> {
    let (env, changes) = patience::bounded(env, job.config.storage_timeout);
    let WorkerOptions { worker: me, coordinators, listen, announce, secret } = options;
    let listener = env.network.listen(listen).await.map_err(|e| Error::give_up(e.to_string()))?;
    let (inputs, mailbox) = Mailbox::new(&env, site("worker", me));
    let (reports, reported) = Mailbox::new(&env, site("reports", me));
    let data_address = announce.unwrap_or_else(|| listener.address());
    let means = Means { env, job, me, secret, inputs, reports, changes };
    let acceptor = links::accept(&means, listener);
    let incarnation = means.env.storage.incarnation();
    let mut worker = Worker {
        core: Hosting::new(means.job.clone(), me, coordinators, incarnation, data_address),
        means,
        mailbox,
        reported,
        alarm: None,
        dialled: None,
        session: None,
        attempt: None,
        links: Links::default(),
    };
    let ended = worker.serve().await;
    acceptor.abort();
    ended
}

struct Worker {
    core: Hosting,
    means: Means,
    mailbox: Mailbox<Input>,
    reported: Mailbox<ToCoordinator>,
    /// The time of the alarm that is armed.
    alarm: Option<(Time, BoxFuture<'static, ()>)>,
    /// The connection that was made last, until its session is opened.
    dialled: Option<Connection>,
    session: Option<Session>,
    attempt: Option<RunningAttempt>,
    links: Links,
}

impl Worker {
    /// Serves until the core says that the worker is done.
    async fn serve(&mut self) -> Result<()> {
        let mut out = Vec::new();
        loop {
            let next = self.core.on_idle(self.now(), self.means.changes.is_idle(), &mut out);
            self.perform(&mut out);
            if !matches!(next, Next::WaitUntil(_)) {
                self.alarm = None;
            }
            match next {
                Next::Dial { coordinator, limit } => self.dial(&coordinator, limit, &mut out).await,
                Next::Pause(pause) => {
                    self.means.env.sleep(pause).await;
                    self.core.on_paused();
                }
                Next::WaitUntil(deadline) => self.take(deadline, &mut out).await,
                Next::DrainUntil(deadline) => {
                    let beat = self.means.env.clock.sleep_until(deadline);
                    race(pin!(self.means.changes.drained()), beat).await;
                    self.core.on_alarm(self.now(), &mut out);
                }
                Next::End(end) => return end,
            }
            self.perform(&mut out);
        }
    }

    async fn dial(&mut self, coordinator: &str, limit: Duration, out: &mut Vec<Effect>) {
        let Means { env, secret, me, .. } = &self.means;
        match dial(env, coordinator, limit, secret, Claim::Worker(*me)).await {
            Ok(connection) => {
                self.dialled = Some(connection);
                self.core.on_connected(self.now(), out);
            }
            Err(error) => self.core.on_unreachable(error.to_string(), out),
        }
    }

    /// Takes an input, else a report. An alarm stays armed until its time has changed: what arrives arms no other.
    async fn take(&mut self, deadline: Time, out: &mut Vec<Effect>) {
        let armed = self.alarm.take().filter(|(at, _)| *at == deadline);
        let (_, armed) = self.alarm.insert(match armed {
            Some(armed) => armed,
            None => (deadline, self.means.env.clock.sleep_until(deadline)),
        });
        let input = Box::pin(self.mailbox.take_before(armed));
        match race(input, Box::pin(self.reported.take())).await {
            Either::First(Some(input)) => self.on_input(input, out),
            Either::First(None) => {
                self.alarm = None;
                self.core.on_alarm(self.now(), out);
            }
            Either::Second(report) => self.core.on_report(report, out),
        }
    }

    fn now(&self) -> Time {
        self.means.env.clock.now()
    }

    fn on_input(&mut self, input: Input, out: &mut Vec<Effect>) {
        let now = self.now();
        let core = &mut self.core;
        match input {
            Input::Message { session, message } => core.on_message(now, session, message, out),
            Input::CoordinatorLost { session, cause } => core.on_disconnected(session, cause, out),
            Input::Seen { session, seen } => core.on_seen(session, seen, out),
            Input::Link { attempt, from, connection } => {
                core.on_link(self.links.on_arrived(connection), attempt, from, out);
            }
            Input::LinkCalled { link, attempt, from, connection } => {
                self.links.on_called(link, connection);
                core.on_link_called(link, attempt, from, out);
            }
            Input::LinkGone { link } => {
                self.links.on_gone(link);
                core.on_link_gone(link);
            }
            Input::LinkBroken { attempt, cause } => core.on_link_broken(attempt, cause, out),
        }
    }

    /// Performs everything that was asked for. Whether a barrier may enter goes back at once, and more may be asked for
    /// then.
    fn perform(&mut self, out: &mut Vec<Effect>) {
        while !out.is_empty() {
            for effect in std::mem::take(out) {
                self.perform_one(effect, out);
            }
        }
    }

    fn perform_one(&mut self, effect: Effect, out: &mut Vec<Effect>) {
        match effect {
            Effect::Announce(event) => self.means.env.emit(event),
            Effect::OpenSession { session } => {
                let connection = self.dialled.take().expect("a session begins with a connection");
                self.session = Some(Session::open(&self.means, session, connection));
            }
            Effect::CloseSession => self.session.take().expect("it is open").close(),
            Effect::Send(message) => self.session.as_ref().expect("it is open").send(&message),
            Effect::Look { generation } => self.session.as_mut().expect("it is open").look(&self.means, generation),
            Effect::Report(report) => self.means.reports.post(report),
            Effect::StartAttempt(wiring) => self.attempt = Some(RunningAttempt::start(&self.means, *wiring)),
            Effect::CancelAttempt => self.attempt.take().expect("it was started").cancel(),
            Effect::CompareBarrier(barrier) => {
                let compared = self.attempt().compare(barrier);
                self.core.on_barrier_compared(compared, out);
            }
            Effect::Trigger { subtask, barrier } => self.attempt().tell(&[subtask], Control::Trigger(barrier)),
            Effect::Complete { subtasks, completion } => {
                self.attempt().tell(&subtasks, Control::Completed(completion));
            }
            Effect::Abort { subtasks, checkpoint } => self.attempt().tell(&subtasks, Control::Aborted(checkpoint)),
            Effect::AttachLink { link, from } => {
                let connection = self.links.take(link);
                self.attempt().attach(from, connection);
            }
            Effect::HoldLink { link, attempt, from, limit } => {
                self.links.hold(&self.means, link, (attempt, from), limit);
            }
            Effect::RefuseLink { link } => drop(self.links.take(link)),
            Effect::CallLink { link } => self.links.call(link),
            Effect::ReleaseLink { link } => self.links.release(link),
        }
    }

    fn attempt(&mut self) -> &mut RunningAttempt {
        self.attempt.as_mut().expect("an attempt runs")
    }
}

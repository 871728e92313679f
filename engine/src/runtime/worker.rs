//! A worker process: hosts the subtasks that the coordinator places here (Flink's TaskManager).
//!
//! 1. Listen for data, connect to a coordinator, register; again after a pause, with the next address, for as long as it
//!    takes to find one that leads. Who listens at an address and does not know the secret is passed over.
//!    Once welcome, look for the mark of that leadership in the output: a worker that sees another output is refused.
//! 2. On `Deploy`: cancel whatever older attempt runs, build channels, subtasks and links (`attempt`).
//! 3. Pass triggers, completions and aborts to the subtasks, and their reports to the coordinator.
//! 4. A lost or silent coordinator cancels the attempt: only a living leader may let a job run.
//! 5. Told that the job is over: drain what is under way in storage, then hang up.
//!
//! One loop over one mailbox; connections have a reader and a writer task that know nothing but bytes and that mailbox.
//! Inputs carry their session (one registration) so that a late message of a former connection is ignored.
//!
//! Owns: the attempt's tasks, the coordinator's connection. Does not own: any protocol decision.
//! Not handled: a worker that serves several jobs.

mod attempt;
mod sight;

use super::changes::Changes;
use super::dial::dial;
use super::gate::Gate;
use super::mailbox::{Either, Mailbox, Postbox, race};
use super::patience;
use crate::cores::commands::{Commands, Verdict};
use crate::cores::early_links::{EarlyLinks, Effect, LinkId};
use crate::cores::handshake::Entrance;
use crate::door::{BoxFuture, Connection, Env, Listener, Site, TaskHandle, Time};
use crate::error::{Error, Reaction, Result};
use crate::event::Event;
use crate::graph::Job;
use crate::ids::{Attempt, Generation, WorkerId};
use crate::messages::handshake::Claim;
use crate::messages::{Deployment, PROTOCOL_VERSION, Sight, ToCoordinator, ToWorker, decode, encode};
use crate::secret::Secret;
use attempt::RunningAttempt;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
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
    /// The peer of a link that was held is gone, or waited for too long.
    LinkGone { link: LinkId },
    /// The leadership was looked for in the folders of this worker.
    Seen { session: u64, seen: Result<Sight> },
    /// A link of an attempt is over.
    LinkBroken { attempt: Attempt, cause: Error },
}

const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Runs a worker until the job is done. Errors: the coordinator refused it, or it cannot listen.
pub async fn run(env: Env, job: Job, options: WorkerOptions) -> Result<()> {
    let (env, changes) = patience::bounded(env, job.config.storage_timeout);
    let listening = env.network.listen(options.listen.clone()).await;
    let listener = listening.map_err(|e| Error::give_up(e.to_string()))?;
    let (inputs, mailbox) = Mailbox::new(&env, site("worker", &options));
    let (reports, reported) = Mailbox::new(&env, site("reports", &options));
    assert!(!options.coordinators.is_empty(), "a worker has a coordinator to look for");
    let data_address = options.announce.clone().unwrap_or_else(|| listener.address());
    let gate = Gate {
        env: env.clone(),
        secret: options.secret.clone(),
        entrance: Entrance::Worker(options.worker),
        patience: job.config.heartbeat_timeout,
    };
    let accepting = Box::pin(accept(gate, listener, inputs.clone()));
    let acceptor = env.spawner.spawn(site("accept", &options), accepting);
    let mut worker = Worker {
        commands: Commands::new(options.worker, &job.graph),
        incarnation: env.storage.incarnation(),
        env,
        changes,
        job,
        options,
        data_address,
        inputs,
        mailbox,
        reports,
        reported,
        session: 0,
        attempt: None,
        links: 0,
        early: EarlyLinks::default(),
        held: BTreeMap::new(),
        missed: BTreeSet::new(),
    };
    let ended = worker.serve().await;
    worker.cancel();
    acceptor.abort();
    ended
}

fn site(what: &'static str, options: &WorkerOptions) -> Site {
    Site::new(what, u64::from(options.worker.0))
}

struct Worker {
    env: Env,
    job: Job,
    options: WorkerOptions,
    /// What tells this process from others that say they are the same worker, and what it has not published from theirs.
    incarnation: u64,
    changes: Changes,
    data_address: String,
    inputs: Postbox<Input>,
    mailbox: Mailbox<Input>,
    /// What subtasks report; given to every subtask.
    reports: Postbox<ToCoordinator>,
    reported: Mailbox<ToCoordinator>,
    session: u64,
    /// What coordinators may say.
    commands: Commands,
    attempt: Option<RunningAttempt>,
    /// Links that have arrived.
    links: u64,
    early: EarlyLinks,
    held: BTreeMap<LinkId, HeldLink>,
    /// Why no coordinator has taken this worker in so far.
    missed: BTreeSet<String>,
}

/// A link that waits for its attempt.
struct HeldLink {
    call: Postbox<()>,
    task: Box<dyn TaskHandle>,
}

/// One registration with the coordinator.
struct Session {
    outgoing: Postbox<Bytes>,
    tasks: Vec<Box<dyn TaskHandle>>,
    heard: Time,
    /// Where the coordinator was reached.
    coordinator: String,
}

impl Worker {
    /// One session after the other, one coordinator after the other, until the job is done.
    async fn serve(&mut self) -> Result<()> {
        for turn in 0.. {
            let limit = self.job.config.heartbeat_timeout;
            let WorkerOptions { worker, coordinators, secret, .. } = self.options.clone();
            let coordinator = coordinators[turn % coordinators.len()].clone();
            let connection = match dial(&self.env, &coordinator, limit, &secret, Claim::Worker(worker)).await {
                Ok(connection) => connection,
                Err(error) => {
                    self.missed(error.to_string());
                    self.env.sleep(RECONNECT_PAUSE).await;
                    continue;
                }
            };
            let mut session = self.open(connection, coordinator);
            let ended = self.attend(&mut session).await;
            if let Ok(SessionEnd::JobDone) = ended {
                self.drain(&session).await;
            }
            session.tasks.iter().for_each(|task| task.abort());
            match ended? {
                SessionEnd::JobDone => return Ok(()),
                SessionEnd::CoordinatorLost => {
                    self.cancel();
                    self.env.sleep(RECONNECT_PAUSE).await;
                }
            }
        }
        unreachable!("there is always a next turn")
    }

    /// A coordinator cannot be reached or does not lead. Says so once of each.
    fn missed(&mut self, why: String) {
        if self.missed.insert(why) {
            let all: Vec<&str> = self.missed.iter().map(String::as_str).collect();
            self.waits(format!("a coordinator that leads: {}", all.join("; ")));
        }
    }

    fn waits(&self, what: String) {
        self.env.emit(Event::WorkerIdle { worker: self.options.worker, what });
    }

    fn open(&mut self, connection: Connection, coordinator: String) -> Session {
        self.session += 1;
        self.commands.on_session();
        let session = self.session;
        let (outgoing, frames) = Mailbox::new(&self.env, site("to-coordinator", &self.options));
        let inputs = self.inputs.clone();
        let read = async move {
            let mut receiver = connection.receiver;
            let cause = loop {
                match receiver.receive().await.map_err(Error::from).and_then(|frame| decode(&frame)) {
                    Ok(message) => inputs.post(Input::Message { session, message }),
                    Err(error) => break error,
                }
            };
            inputs.post(Input::CoordinatorLost { session, cause });
        };
        let inputs = self.inputs.clone();
        let write = async move {
            let (mut sender, mut frames): (_, Mailbox<Bytes>) = (connection.sender, frames);
            let cause = loop {
                if let Err(error) = sender.send(frames.take().await).await {
                    break Error::from(error);
                }
            };
            inputs.post(Input::CoordinatorLost { session, cause });
        };
        let tasks = vec![
            self.env.spawner.spawn(site("from-coordinator", &self.options), Box::pin(read)),
            self.env.spawner.spawn(site("to-coordinator", &self.options), Box::pin(write)),
        ];
        outgoing.post(encode(&ToCoordinator::Register {
            protocol: PROTOCOL_VERSION,
            graph: self.job.graph.fingerprint(),
            worker: self.options.worker,
            incarnation: self.incarnation,
            data_address: self.data_address.clone(),
        }));
        Session { outgoing, tasks, heard: self.env.clock.now(), coordinator }
    }

    async fn attend(&mut self, session: &mut Session) -> Result<SessionEnd> {
        let (interval, timeout) = (self.job.config.heartbeat_interval, self.job.config.heartbeat_timeout);
        let mut beat: BoxFuture<'static, ()> = self.env.sleep(interval);
        loop {
            let wake = {
                let first = Box::pin(self.mailbox.take_before(&mut beat));
                race(first, Box::pin(self.reported.take())).await
            };
            match wake {
                Either::First(Some(input)) => {
                    if let ControlFlow::Break(end) = self.on_input(input, session)? {
                        return Ok(end);
                    }
                }
                Either::First(None) => {
                    if self.env.clock.now().since(session.heard) > timeout {
                        return Ok(SessionEnd::CoordinatorLost);
                    }
                    session.outgoing.post(encode(&ToCoordinator::Heartbeat));
                    beat = self.env.sleep(interval);
                }
                Either::Second(report) => self.report(report, session),
            }
        }
    }

    /// Before it hangs up at the end of the job: what is under way may leave something behind, and the coordinator looks for
    /// that once the workers are gone.
    async fn drain(&mut self, session: &Session) {
        self.cancel();
        let until = self.env.clock.now() + self.job.config.storage_timeout;
        while !self.changes.is_idle() && self.env.clock.now() < until {
            let beat = self.env.sleep(self.job.config.heartbeat_interval);
            race(pin!(self.changes.drained()), beat).await;
            session.outgoing.post(encode(&ToCoordinator::Heartbeat));
        }
    }

    /// Looks for a leadership in the folders of this worker.
    fn look(&self, generation: Generation) -> Box<dyn TaskHandle> {
        let (env, inputs, session) = (self.env.clone(), self.inputs.clone(), self.session);
        let look = async move {
            let seen = sight::look(&env, generation).await;
            inputs.post(Input::Seen { session, seen });
        };
        self.env.spawner.spawn(site("worker.output", &self.options), Box::pin(look))
    }

    /// Passes a report on. One of another leadership is not for this coordinator.
    fn report(&mut self, report: ToCoordinator, session: &Session) {
        if let ToCoordinator::Finished { attempt, subtask } = &report
            && let Some(running) = self.attempt.as_mut().filter(|running| running.id() == *attempt)
        {
            running.finished(*subtask);
        }
        if self.commands.on_report(&report) {
            session.outgoing.post(encode(&report.bounded()));
        }
    }

    fn on_input(&mut self, input: Input, session: &mut Session) -> Result<ControlFlow<SessionEnd>> {
        match input {
            Input::Message { session: of, message } if of == self.session => {
                session.heard = self.env.clock.now();
                if let ToWorker::Welcome { generation } = message {
                    session.tasks.push(self.look(generation));
                }
                return self.on_message(message, session);
            }
            Input::Seen { session: of, seen } if of == self.session => match seen {
                Ok(sight) => session.outgoing.post(encode(&ToCoordinator::Sees(sight))),
                // Storage may be well again when the coordinator is dialled next.
                Err(error) if error.reaction == Reaction::Restart => {
                    let worker = self.options.worker;
                    self.env.emit(Event::CoordinatorLost { worker, cause: error.message });
                    return Ok(ControlFlow::Break(SessionEnd::CoordinatorLost));
                }
                Err(error) => return Err(error),
            },
            Input::CoordinatorLost { session: of, cause } if of == self.session => {
                if cause.reaction == Reaction::GiveUp {
                    return Err(cause);
                }
                let worker = self.options.worker;
                self.env.emit(Event::CoordinatorLost { worker, cause: cause.message });
                return Ok(ControlFlow::Break(SessionEnd::CoordinatorLost));
            }
            Input::Message { .. } | Input::CoordinatorLost { .. } | Input::Seen { .. } => {}
            Input::Link { attempt, from, connection } => self.on_link(attempt, from, connection),
            Input::LinkCalled { link, attempt, from, connection } => {
                self.held.remove(&link);
                self.attach(attempt, from, connection);
            }
            Input::LinkGone { link } => {
                self.held.remove(&link);
                self.early.on_gone(link);
            }
            Input::LinkBroken { attempt, cause } => {
                if self.attempt.as_ref().is_some_and(|running| running.id() == attempt) {
                    let worker = self.options.worker;
                    self.env.emit(Event::LinkFailed { attempt, worker, cause: cause.message.clone() });
                    self.reports.post(ToCoordinator::Failed { attempt, subtask: None, error: cause });
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn on_message(&mut self, message: ToWorker, session: &Session) -> Result<ControlFlow<SessionEnd>> {
        if let Verdict::Reject(violation) = self.commands.on_command(&message) {
            return Ok(self.reject(&format!("it {violation}")));
        }
        match message {
            ToWorker::Welcome { generation } => {
                self.missed.clear();
                let mut out = Vec::new();
                self.early.on_welcomed(generation, &mut out);
                out.into_iter().for_each(|effect| self.perform(effect, None));
                self.waits(format!("a deployment by generation {generation}"));
            }
            ToWorker::Heartbeat => {}
            ToWorker::Occupied => {
                let worker = self.options.worker;
                self.waits(format!("another process that is {worker} already"));
                self.env.emit(Event::WorkerWaits { worker });
            }
            ToWorker::Standby => {
                self.missed(format!("{} stands by", session.coordinator));
                return Ok(ControlFlow::Break(SessionEnd::CoordinatorLost));
            }
            ToWorker::Refused { reason } => return Err(Error::give_up(reason)),
            ToWorker::Deploy(deployment) => self.deploy(deployment),
            ToWorker::Trigger { attempt, .. }
            | ToWorker::Completed { attempt, .. }
            | ToWorker::Aborted { attempt, .. } => {
                let running = self.attempt.as_ref().filter(|running| running.id() == attempt);
                if let Some(Err(violation)) = running.map(|running| running.tell(&message)) {
                    return Ok(self.reject(&format!("its trigger {violation}")));
                }
            }
            ToWorker::Cancel { attempt } => {
                if self.attempt.as_ref().is_some_and(|running| running.id() <= attempt) {
                    self.cancel();
                }
            }
            ToWorker::JobDone => return Ok(ControlFlow::Break(SessionEnd::JobDone)),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The coordinator sent what no right leader sends: this session is over.
    fn reject(&self, cause: &str) -> ControlFlow<SessionEnd> {
        let worker = self.options.worker;
        self.env.emit(Event::CommandRejected { worker, cause: cause.to_owned() });
        self.env.emit(Event::CoordinatorLost { worker, cause: format!("rejected: {cause}") });
        ControlFlow::Break(SessionEnd::CoordinatorLost)
    }

    fn deploy(&mut self, deployment: Deployment) {
        let attempt = deployment.attempt;
        if attempt <= self.early.newest() {
            return;
        }
        self.cancel();
        let me = (self.options.worker, self.options.secret.clone());
        let (reports, inputs, changes) = (self.reports.clone(), self.inputs.clone(), self.changes.clone());
        self.attempt = Some(RunningAttempt::start(&self.env, &self.job, me, &deployment, reports, inputs, changes));
        let mut out = Vec::new();
        self.early.on_deployed(attempt, &mut out);
        out.into_iter().for_each(|effect| self.perform(effect, None));
    }

    fn on_link(&mut self, attempt: Attempt, from: WorkerId, connection: Connection) {
        self.links += 1;
        let mut out = Vec::new();
        self.early.on_arrived(LinkId(self.links), attempt, from, &mut out);
        let mut arrived = Some((attempt, from, connection));
        for effect in out {
            let this = if matches!(effect, Effect::Attach | Effect::Hold { .. }) { arrived.take() } else { None };
            self.perform(effect, this);
        }
    }

    fn perform(&mut self, effect: Effect, arrived: Option<(Attempt, WorkerId, Connection)>) {
        match (effect, arrived) {
            (Effect::Attach, Some((attempt, from, connection))) => self.attach(attempt, from, connection),
            (Effect::Hold { link }, Some((attempt, from, connection))) => self.hold(link, attempt, from, connection),
            (Effect::Attach | Effect::Hold { .. }, None) => panic!("only a link that arrives is attached or held"),
            // Its connection is dropped here.
            (Effect::Refuse, _) => {}
            (Effect::Call { link }, _) => self.held.get(&link).into_iter().for_each(|held| held.call.post(())),
            (Effect::Release { link }, _) => self.held.remove(&link).into_iter().for_each(|held| held.task.abort()),
        }
    }

    fn attach(&mut self, attempt: Attempt, from: WorkerId, connection: Connection) {
        if let Some(running) = self.attempt.as_mut().filter(|running| running.id() == attempt) {
            running.attach(from, connection);
        }
    }

    /// Keeps a link whose attempt is not deployed here yet: until it is called, its peer hangs up, or the peer must have given
    /// up waiting.
    fn hold(&mut self, link: LinkId, attempt: Attempt, from: WorkerId, mut connection: Connection) {
        let at = Site::new("link-early", link.0);
        let (call, mut called) = Mailbox::new(&self.env, at);
        let (inputs, limit) = (self.inputs.clone(), self.env.sleep(self.job.config.heartbeat_timeout * 2));
        let wait = async move {
            // Nothing is sent on a link before it is called: whatever comes is its end.
            let gone = Box::pin(race(connection.receiver.receive(), limit));
            let woken = race(Box::pin(called.take()), gone).await;
            match woken {
                Either::First(()) => inputs.post(Input::LinkCalled { link, attempt, from, connection }),
                Either::Second(_) => inputs.post(Input::LinkGone { link }),
            }
        };
        let task = self.env.spawner.spawn(at, Box::pin(wait));
        self.held.insert(link, HeldLink { call, task });
    }

    fn cancel(&mut self) {
        if let Some(running) = self.attempt.take() {
            running.cancel();
            self.env.emit(Event::AttemptCancelled { attempt: running.id(), worker: self.options.worker });
        }
    }
}

enum SessionEnd {
    JobDone,
    CoordinatorLost,
}

/// Accepts links of other workers, for as long as this worker lives.
async fn accept(gate: Gate, mut listener: Box<dyn Listener>, inputs: Postbox<Input>) {
    loop {
        let inputs = inputs.clone();
        let admit = move |connection, claim| {
            let Claim::Link { attempt, from, .. } = claim else { panic!("a worker lets links in, not {claim}") };
            inputs.post(Input::Link { attempt, from, connection });
        };
        gate.keep(&mut *listener, admit).await;
        gate.env.sleep(RECONNECT_PAUSE).await;
    }
}

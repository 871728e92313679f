//! Hosting: what a worker process does, as a composition of cores. One input goes in, a list of effects comes out.
//!
//! ```text
//!                    ┌── commands ───── may the coordinator send this now
//! input ── Hosting ──┼── early links ── which links wait for their attempt
//!            │       └── wiring ─────── what runs here of an attempt
//!            v
//!         effects
//! ```
//!
//! 1. The worker dials one coordinator after the other, with a pause between them. A connection that it makes is a
//!    *session*, in which it registers. What comes of a connection carries its session; what comes of a subtask or a
//!    link carries its attempt. Inputs of former sessions are ignored.
//! 2. A leader welcomes it. The worker looks for that leadership in its own folders and says what it sees.
//! 3. A deployment starts an attempt, if it is newer than every attempt before it. An older attempt is cancelled first
//!    (`attempts`).
//! 4. Triggers, completions and aborts of the running attempt go to its subtasks, reports of the subtasks to the
//!    coordinator. A trigger names its subtasks; each gets [`Effect::Trigger`], which is the `Control::Trigger` of its
//!    [`super::task`]; [`Effect::Complete`] is `Control::Completed`, [`Effect::Abort`] is `Control::Aborted`. A trigger
//!    for a subtask that has finished is declined (FLINK-23741). Subtasks, their uploads and the worker itself report
//!    through one queue ([`Hosting::on_report`]).
//! 5. A session ends when its connection breaks, when the coordinator is silent for the heartbeat timeout, or when it
//!    sends what no right leader sends. The attempt ends with it: only a living leader may let a job run.
//! 6. At the end of the job the worker cancels what runs, and waits until the outcome of every write and
//!    upload of this process is known, with heartbeats meanwhile. Then it hangs up. Reason: the coordinator looks for what
//!    is left behind once the workers are gone.
//!
//! *Pause.* Barriers enter this process on links too, and are compared with each other where the links are read
//! ([`super::links::Barriers`]). A trigger ends with [`Effect::CompareBarrier`], and goes on with the answer.
//!
//! Owns: the session, the fence of attempts, which subtasks still run, which links are awaited. Does not own: sockets,
//! tasks, channels, the clock.
//! Invariants (`validate`): an attempt runs in a session only, under the leadership that has welcomed this worker, and
//! is the newest one that was ever deployed here.
//! Not handled: a worker that serves several jobs.

mod attempts;
mod effect;

pub use effect::{Effect, Next};

use super::commands::{Commands, Verdict};
use super::early_links::EarlyLinks;
use crate::door::Time;
use crate::element::Barrier;
use crate::error::{Error, Reaction, Result};
use crate::event::Event;
use crate::graph::Job;
use crate::ids::{Generation, SubtaskId, WorkerId};
use crate::messages::{PROTOCOL_VERSION, Sight, ToCoordinator, ToWorker};
use attempts::Running;
use std::collections::BTreeSet;
use std::time::Duration;

/// Time between the end of a session, or a coordinator that was not reached, and the next one that is dialled.
pub const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// A worker process.
#[derive(Debug)]
pub struct Hosting {
    me: WorkerId,
    job: Job,
    /// Where coordinators listen.
    coordinators: Vec<String>,
    /// Counts the coordinators that were dialled.
    turn: usize,
    /// The first frame of every session.
    registration: ToCoordinator,
    /// The newest session.
    session: u64,
    stage: Stage,
    /// What the coordinator of this session may send.
    commands: Commands,
    early: EarlyLinks,
    running: Option<Running>,
    /// Why no coordinator has welcomed this worker so far, each announced once.
    missed: BTreeSet<String>,
    pause: Option<Comparing>,
}

/// How far the worker is with its coordinators.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    /// The coordinator whose turn it is is dialled.
    Dialling,
    /// The next one is dialled after a pause.
    Pausing,
    /// A coordinator was reached.
    Attending { heard: Time, next_beat: Time },
    /// The job is over. Until then the worker waits for the outcome of its writes and uploads.
    Draining { until: Time },
    /// Nothing more is done.
    Over(Result<()>),
}

/// A trigger whose barrier is compared with those of the links.
#[derive(Debug)]
struct Comparing {
    barrier: Barrier,
    subtasks: Vec<SubtaskId>,
}

impl Hosting {
    /// A worker that has reached no coordinator yet. Other workers reach it at `data_address`.
    pub fn new(job: Job, me: WorkerId, coordinators: Vec<String>, incarnation: u64, data_address: String) -> Self {
        assert!(!coordinators.is_empty(), "a worker has a coordinator to look for");
        let graph = job.graph.fingerprint();
        let registration =
            ToCoordinator::Register { protocol: PROTOCOL_VERSION, graph, worker: me, incarnation, data_address };
        Self {
            me,
            commands: Commands::new(me, &job.graph),
            job,
            coordinators,
            turn: 0,
            registration,
            session: 0,
            stage: Stage::Dialling,
            early: EarlyLinks::default(),
            running: None,
            missed: BTreeSet::new(),
            pause: None,
        }
    }

    /// Nothing is left of an input. `is_drained`: the outcome of every write and upload of this process is known.
    pub fn on_idle(&mut self, now: Time, is_drained: bool, out: &mut Vec<Effect>) -> Next {
        assert!(self.pause.is_none(), "nothing is over while a trigger waits");
        let is_attending = matches!(self.stage, Stage::Attending { .. });
        assert!(is_attending || self.running.is_none(), "what ran was cancelled");
        let config = &self.job.config;
        let next = match &self.stage {
            Stage::Dialling => Next::Dial { coordinator: self.coordinator(), limit: config.heartbeat_timeout },
            Stage::Pausing => Next::Pause(RECONNECT_PAUSE),
            Stage::Attending { next_beat, .. } => Next::WaitUntil(*next_beat),
            Stage::Draining { until } if is_drained || now >= *until => {
                out.push(Effect::CloseSession);
                self.stage = Stage::Over(Ok(()));
                Next::End(Ok(()))
            }
            Stage::Draining { .. } => Next::DrainUntil(now + config.heartbeat_interval),
            Stage::Over(end) => Next::End(end.clone()),
        };
        self.validate();
        next
    }

    /// Answers [`Next::Dial`]: a member of the job listens there.
    pub fn on_connected(&mut self, now: Time, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::Dialling, "a connection is asked for");
        assert!(self.running.is_none(), "an attempt ends with its session");
        self.session += 1;
        self.commands.on_session();
        assert_eq!(self.commands.welcomed(), None, "a session begins without a leader");
        self.stage = Stage::Attending { heard: now, next_beat: now + self.job.config.heartbeat_interval };
        out.push(Effect::OpenSession { session: self.session });
        out.push(Effect::Send(self.registration.clone()));
        self.validate();
    }

    /// Answers [`Next::Dial`]: there is no member of the job.
    pub fn on_unreachable(&mut self, why: String, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::Dialling, "a connection is asked for");
        self.miss(why, out);
        self.stage = Stage::Pausing;
        self.validate();
    }

    /// Answers [`Next::Pause`].
    pub fn on_paused(&mut self) {
        assert_eq!(self.stage, Stage::Pausing, "a pause is asked for");
        self.turn += 1;
        self.stage = Stage::Dialling;
        self.validate();
    }

    /// The time of [`Next::WaitUntil`] has come before an input, or that of [`Next::DrainUntil`] or the end of all
    /// changes.
    pub fn on_alarm(&mut self, now: Time, out: &mut Vec<Effect>) {
        let config = &self.job.config;
        match &mut self.stage {
            Stage::Attending { heard, .. } if now.since(*heard) > config.heartbeat_timeout => self.lose(out),
            Stage::Attending { next_beat, .. } => {
                *next_beat = now + config.heartbeat_interval;
                out.push(Effect::Send(ToCoordinator::Heartbeat));
            }
            Stage::Draining { .. } => out.push(Effect::Send(ToCoordinator::Heartbeat)),
            Stage::Dialling | Stage::Pausing | Stage::Over(_) => panic!("no alarm is asked for"),
        }
        self.validate();
    }

    /// The coordinator of a session has sent this.
    pub fn on_message(&mut self, now: Time, session: u64, message: ToWorker, out: &mut Vec<Effect>) {
        if self.is_former(session) {
            return;
        }
        let Stage::Attending { heard, .. } = &mut self.stage else { panic!("inputs come while a session is open") };
        assert!(*heard <= now, "time does not go back");
        *heard = now;
        match self.commands.on_command(&message) {
            Verdict::Accept => self.act_on(now, message, out),
            Verdict::Reject(violation) => self.reject(&format!("it {violation}"), out),
        }
        self.validate();
    }

    /// The connection of a session is over.
    pub fn on_disconnected(&mut self, session: u64, cause: Error, out: &mut Vec<Effect>) {
        if self.is_former(session) {
            return;
        }
        match cause.reaction {
            // The coordinator is of another build.
            Reaction::GiveUp => self.end(cause, out),
            Reaction::Restart | Reaction::Corrupt | Reaction::Fenced => self.lose_for(cause.message, out),
        }
        self.validate();
    }

    /// Answers [`Effect::Look`].
    pub fn on_seen(&mut self, session: u64, seen: Result<Sight>, out: &mut Vec<Effect>) {
        if self.is_former(session) {
            return;
        }
        match seen {
            Ok(sight) => out.push(Effect::Send(ToCoordinator::Sees(sight))),
            Err(error) => match error.reaction {
                // Storage may answer when the coordinator is dialled next.
                Reaction::Restart => self.lose_for(error.message, out),
                Reaction::GiveUp | Reaction::Corrupt | Reaction::Fenced => self.end(error, out),
            },
        }
        self.validate();
    }

    /// Acts on what the coordinator may send.
    fn act_on(&mut self, now: Time, message: ToWorker, out: &mut Vec<Effect>) {
        match message {
            ToWorker::Welcome { generation } => self.join(generation, out),
            ToWorker::Heartbeat => {}
            ToWorker::Occupied => {
                self.wait_for(format!("another process that is {} already", self.me), out);
                announce(Event::WorkerWaits { worker: self.me }, out);
            }
            ToWorker::Standby => {
                self.miss(format!("{} stands by", self.coordinator()), out);
                self.lose(out);
            }
            ToWorker::Refused { reason } => self.end(Error::give_up(reason), out),
            ToWorker::Deploy(deployment) => self.deploy(&deployment, out),
            ToWorker::Trigger { attempt, barrier, subtasks } => self.trigger(attempt, barrier, subtasks, out),
            ToWorker::Completed { attempt, .. } => self.complete(attempt, &message, out),
            ToWorker::Aborted { attempt, checkpoint } => self.abort(attempt, checkpoint, out),
            ToWorker::Cancel { attempt } => {
                if self.running.as_ref().is_some_and(|running| running.attempt <= attempt) {
                    self.cancel(out);
                }
            }
            ToWorker::JobDone => {
                self.cancel(out);
                self.stage = Stage::Draining { until: now + self.job.config.storage_timeout };
            }
        }
    }

    /// A leader welcomes this worker. Held links of other leaderships are released.
    fn join(&mut self, generation: Generation, out: &mut Vec<Effect>) {
        assert_eq!(self.commands.welcomed(), Some(generation), "the leader of this session welcomes");
        assert!(self.running.is_none(), "nothing runs before that");
        out.push(Effect::Look { generation });
        self.missed.clear();
        self.step_links(out, |early, effects| early.on_welcomed(generation, effects));
        self.wait_for(format!("a deployment by generation {generation}"), out);
    }

    /// A coordinator cannot be reached or does not lead. Each cause is announced once until a leader welcomes this worker.
    fn miss(&mut self, why: String, out: &mut Vec<Effect>) {
        assert!(!why.is_empty(), "a cause is for people");
        if self.missed.insert(why) {
            let all: Vec<&str> = self.missed.iter().map(String::as_str).collect();
            self.wait_for(format!("a coordinator that leads: {}", all.join("; ")), out);
        }
    }

    fn wait_for(&self, what: String, out: &mut Vec<Effect>) {
        announce(Event::WorkerIdle { worker: self.me, what }, out);
    }

    /// The coordinator sent what no right leader sends.
    fn reject(&mut self, cause: &str, out: &mut Vec<Effect>) {
        announce(Event::CommandRejected { worker: self.me, cause: cause.to_owned() }, out);
        self.lose_for(format!("rejected: {cause}"), out);
    }

    fn lose_for(&mut self, cause: String, out: &mut Vec<Effect>) {
        announce(Event::CoordinatorLost { worker: self.me, cause }, out);
        self.lose(out);
    }

    /// The session is over, and what ran in it.
    fn lose(&mut self, out: &mut Vec<Effect>) {
        assert!(matches!(self.stage, Stage::Attending { .. }), "a session ends once");
        out.push(Effect::CloseSession);
        self.cancel(out);
        assert!(self.running.is_none(), "an attempt ends with its session");
        self.stage = Stage::Pausing;
    }

    /// The session is over, and no other coordinator can help.
    fn end(&mut self, why: Error, out: &mut Vec<Effect>) {
        self.lose(out);
        self.stage = Stage::Over(Err(why));
    }

    /// Whether an input belongs to a session that is over.
    fn is_former(&self, session: u64) -> bool {
        assert!(session > 0 && session <= self.session, "sessions are counted");
        assert!(self.pause.is_none(), "one input is worked on at a time");
        session < self.session
    }

    /// The coordinator whose turn it is.
    fn coordinator(&self) -> String {
        self.coordinators[self.turn % self.coordinators.len()].clone()
    }

    fn validate(&self) {
        let is_attending = matches!(self.stage, Stage::Attending { .. });
        let welcomed = self.commands.welcomed().filter(|_| is_attending);
        assert!(welcomed.is_none() || self.missed.is_empty(), "a worker that has a leader looks for none");
        assert!(self.session as usize <= self.turn + 1, "a coordinator is dialled once for each session");
        assert!(self.running.is_some() || self.pause.is_none(), "a barrier is compared in an attempt that runs");
        if let Stage::Attending { .. } | Stage::Draining { .. } = self.stage {
            assert!(self.session > 0, "a coordinator was reached");
        }
        if is_attending {
            let own = self.running.as_ref().map(|running| running.attempt);
            assert_eq!(self.commands.running(), own, "what its leader lets run runs here");
            let own = self.running.iter().flat_map(Running::subtasks);
            assert!(self.commands.unfinished().eq(own), "what runs here and has not finished is known");
        }
        let Some(running) = &self.running else { return };
        assert!(is_attending, "only a living leader lets something run");
        assert_eq!(welcomed, Some(running.attempt.generation), "the leader of this session lets it run");
        assert_eq!(running.attempt, self.early.newest(), "no older attempt runs");
        running.validate(self.me);
    }
}

fn announce(event: Event, out: &mut Vec<Effect>) {
    out.push(Effect::Announce(event));
}

#[cfg(test)]
mod tests;

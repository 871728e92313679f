//! A worker under test: it hosts two sources of a job, and their sink runs elsewhere and on it. Effects are rendered as
//! short lines, so that a test reads as a list of what happens.

use super::*;
use crate::config::JobConfig;
use crate::cores::early_links::LinkId;
use crate::cores::links::Violation;
use crate::element::Guarantee;
use crate::graph::fixture::{edge, operator};
use crate::graph::{Exchange, JobGraph, OperatorKind};
use crate::ids::{Attempt, CheckpointId, OperatorId};
use crate::messages::Deployment;
use std::sync::Arc;

pub const ME: WorkerId = WorkerId(1);
pub const OTHER: WorkerId = WorkerId(2);
/// Both run here.
pub const SOURCES: [SubtaskId; 2] =
    [SubtaskId { operator: OperatorId(0), index: 0 }, SubtaskId { operator: OperatorId(0), index: 1 }];
/// The first runs here, the second on the other worker.
pub const SINKS: [SubtaskId; 2] =
    [SubtaskId { operator: OperatorId(2), index: 0 }, SubtaskId { operator: OperatorId(2), index: 1 }];
/// Runs on the other worker.
const FAR_SOURCE: SubtaskId = SubtaskId { operator: OperatorId(1), index: 0 };

pub struct Worker {
    pub core: Hosting,
    pub now: Duration,
    pub links: u64,
    /// What the next barrier that enters is found to be.
    pub compared: Result<(), Violation>,
}

/// Two sources with two parallel sinks behind each.
pub fn job() -> Job {
    let operators = vec![
        operator(0, "numbers", 2, OperatorKind::Source),
        operator(1, "letters", 1, OperatorKind::Source),
        operator(2, "out", 2, OperatorKind::Sink),
    ];
    let edges = vec![edge(0, 0, 2, Exchange::Rebalance), edge(1, 1, 2, Exchange::Rebalance)];
    let graph = JobGraph { name: "pass".into(), max_parallelism: 8, operators, edges };
    let config = JobConfig {
        heartbeat_interval: Duration::from_secs(1),
        heartbeat_timeout: Duration::from_secs(3),
        storage_timeout: Duration::from_secs(5),
        ..JobConfig::default()
    };
    Job { graph: Arc::new(graph), config }
}

pub fn attempt(generation: u64, number: u32) -> Attempt {
    Attempt { generation: Generation(generation), number }
}

pub fn deployment(attempt: Attempt) -> ToWorker {
    let mine = [SOURCES[0], SOURCES[1]].map(|source| (source, ME));
    let placement = [&mine[..], &[(FAR_SOURCE, OTHER), (SINKS[0], ME), (SINKS[1], OTHER)]].concat();
    let addresses = vec![(ME, "here:1".into()), (OTHER, "there:1".into())];
    ToWorker::Deploy(Deployment { attempt, placement, addresses, restore: None, listing: None })
}

pub fn trigger(attempt: Attempt, checkpoint: u64, subtasks: &[SubtaskId]) -> ToWorker {
    let barrier = Barrier { checkpoint: CheckpointId(checkpoint), alignment: Guarantee::ExactlyOnce, triggered_ms: 0 };
    ToWorker::Trigger { attempt, barrier, subtasks: subtasks.to_vec() }
}

pub fn finished(attempt: Attempt, subtask: SubtaskId) -> ToCoordinator {
    ToCoordinator::Finished { attempt, subtask }
}

impl Worker {
    /// It has dialled nothing. Two coordinators are known to it.
    pub fn new() -> Self {
        let coordinators = vec!["first".to_owned(), "second".to_owned()];
        let core = Hosting::new(job(), ME, coordinators, 7, "here:1".into());
        Self { core, now: Duration::ZERO, links: 0, compared: Ok(()) }
    }

    /// The first coordinator was reached.
    pub fn registered() -> Self {
        let mut worker = Self::new();
        assert_eq!(worker.next(), ["dial first"]);
        worker.connected();
        worker
    }

    /// It leads, and has welcomed the worker.
    pub fn welcome() -> Self {
        let mut worker = Self::registered();
        worker.message(ToWorker::Welcome { generation: Generation(1) });
        worker
    }

    /// Its first attempt runs.
    pub fn running() -> Self {
        let mut worker = Self::welcome();
        worker.deploy(attempt(1, 1));
        worker
    }

    /// Feeds an input, answers whether a barrier may enter, and renders what was asked for.
    pub fn step(&mut self, input: impl FnOnce(&mut Hosting, Time, &mut Vec<Effect>)) -> Vec<String> {
        let now = self.time();
        let mut out = Vec::new();
        input(&mut self.core, now, &mut out);
        let mut lines = Vec::new();
        while !out.is_empty() {
            for effect in std::mem::take(&mut out) {
                lines.push(line(&effect));
                if let Effect::CompareBarrier(_) = effect {
                    self.core.on_barrier_compared(self.compared, &mut out);
                }
            }
        }
        lines
    }

    fn time(&self) -> Time {
        Time(0) + self.now
    }

    /// What the worker does next while changes are under way in storage.
    pub fn next(&mut self) -> Vec<String> {
        self.next_if(false)
    }

    /// What it does next, rendered behind what it asks for first.
    pub fn next_if(&mut self, is_drained: bool) -> Vec<String> {
        let mut next = None;
        let mut lines = self.step(|core, now, out| next = Some(core.on_idle(now, is_drained, out)));
        lines.push(match next.expect("it was asked") {
            Next::Dial { coordinator, .. } => format!("dial {coordinator}"),
            Next::Pause(pause) => format!("pause for {pause:?}"),
            Next::WaitUntil(Time(ns)) => format!("wait until {:?}", Duration::from_nanos(ns)),
            Next::DrainUntil(Time(ns)) => format!("drain until {:?}", Duration::from_nanos(ns)),
            Next::End(Ok(())) => "end".into(),
            Next::End(Err(error)) => format!("end: {error}"),
        });
        lines
    }

    pub fn connected(&mut self) -> Vec<String> {
        self.step(Hosting::on_connected)
    }

    pub fn unreachable(&mut self, why: &str) -> Vec<String> {
        self.step(|core, _, out| core.on_unreachable(why.into(), out))
    }

    /// The pause is over, and the next coordinator is reached.
    pub fn dial_again(&mut self) -> Vec<String> {
        self.core.on_paused();
        self.connected()
    }

    /// So many seconds after the start.
    pub fn alarm(&mut self, seconds: u64) -> Vec<String> {
        self.now = Duration::from_secs(seconds);
        self.step(Hosting::on_alarm)
    }

    /// The coordinator of the newest session sends this.
    pub fn message(&mut self, message: ToWorker) -> Vec<String> {
        let session = self.core.session;
        self.step(|core, now, out| core.on_message(now, session, message, out))
    }

    pub fn deploy(&mut self, attempt: Attempt) -> Vec<String> {
        self.message(deployment(attempt))
    }

    pub fn disconnected(&mut self, cause: Error) -> Vec<String> {
        let session = self.core.session;
        self.step(|core, _, out| core.on_disconnected(session, cause, out))
    }

    pub fn seen(&mut self, seen: Result<Sight>) -> Vec<String> {
        let session = self.core.session;
        self.step(|core, _, out| core.on_seen(session, seen, out))
    }

    pub fn report(&mut self, report: ToCoordinator) -> Vec<String> {
        self.step(|core, _, out| core.on_report(report, out))
    }

    /// The other worker opens a link.
    pub fn link(&mut self, attempt: Attempt) -> Vec<String> {
        self.links += 1;
        let link = LinkId(self.links);
        self.step(|core, _, out| core.on_link(link, attempt, OTHER, out))
    }

    pub fn link_called(&mut self, link: u64, attempt: Attempt) -> Vec<String> {
        self.step(|core, _, out| core.on_link_called(LinkId(link), attempt, OTHER, out))
    }

    pub fn link_broken(&mut self, attempt: Attempt) -> Vec<String> {
        self.step(|core, _, out| core.on_link_broken(attempt, Error::restart("reset"), out))
    }
}

/// One effect, as people say it.
fn line(effect: &Effect) -> String {
    match effect {
        Effect::Announce(Event::WorkerIdle { what, .. }) => format!("announce that it waits for {what}"),
        Effect::Announce(Event::CommandRejected { cause, .. }) => format!("announce CommandRejected: {cause}"),
        Effect::Announce(event) => format!("announce {}", variant(event)),
        Effect::OpenSession { session } => format!("open session {session}"),
        Effect::CloseSession => "close the session".into(),
        Effect::Send(message) => format!("send {}", variant(message)),
        Effect::Look { generation } => format!("look for {generation}"),
        Effect::Report(report) => format!("report {}", variant(report)),
        Effect::StartAttempt(wiring) => format!("start {}", wiring.attempt),
        Effect::CancelAttempt => "cancel the attempt".into(),
        Effect::CompareBarrier(barrier) => format!("compare the barrier of {}", barrier.checkpoint),
        Effect::Trigger { subtask, barrier } => format!("trigger {} at {subtask}", barrier.checkpoint),
        Effect::Complete { subtasks, completion } => {
            format!("complete {} at {}", completion.checkpoint(), all(subtasks))
        }
        Effect::Abort { subtasks, checkpoint } => format!("abort {checkpoint} at {}", all(subtasks)),
        Effect::AttachLink { link, from } => format!("attach link {} from {from}", link.0),
        Effect::HoldLink { link, attempt, limit, .. } => format!("hold link {} for {attempt}, {limit:?}", link.0),
        Effect::RefuseLink { link } => format!("refuse link {}", link.0),
        Effect::CallLink { link } => format!("call link {}", link.0),
        Effect::ReleaseLink { link } => format!("release link {}", link.0),
    }
}

fn variant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

fn all(subtasks: &[SubtaskId]) -> String {
    subtasks.iter().map(SubtaskId::to_string).collect::<Vec<_>>().join(", ")
}

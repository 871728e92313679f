//! A coordinator under test: a job of one source and one sink on one worker. Draws are answered at once, and effects
//! are rendered as short lines, so that a test reads as a list of what happens.

use super::*;
use crate::config::{CheckpointConfig, JobConfig, RestartStrategy, RetentionPolicy};
use crate::cores::completed::Start;
use crate::door::StorageError;
use crate::graph::fixture::pass;
use crate::ids::{LogId, OperatorId, SubtaskId};
use crate::messages::client::Wish;
use crate::messages::handshake::Claim;
use crate::messages::{PROTOCOL_VERSION, Sight, SnapshotHandle, ToCoordinator};
use crate::persist::layout;
use crate::persist::mark::Name;
use crate::persist::slot::{JobMark, Slot};
use crate::statistics::SnapshotStatistics;
use std::sync::Arc;

pub const SOURCE: SubtaskId = SubtaskId { operator: OperatorId(0), index: 0 };
pub const SINK: SubtaskId = SubtaskId { operator: OperatorId(1), index: 0 };
pub const WORKER: WorkerId = WorkerId(1);
/// The token of the claim.
pub const TOKEN: u64 = 7;

pub struct Coordinator {
    pub core: Leading,
    pub now: Duration,
    /// Every slot that was to be created.
    slots: BTreeMap<u64, Slot>,
    accepted: u64,
}

fn job() -> Job {
    // No time passes but what a test lets pass.
    let (long, checkpoints) = (Duration::from_secs(3600), JobConfig::default().checkpoints);
    let config = JobConfig {
        heartbeat_interval: long,
        heartbeat_timeout: long,
        checkpoints: CheckpointConfig {
            interval: Duration::from_secs(10),
            retention: RetentionPolicy::Never,
            tolerable_failures: 1000,
            ..checkpoints
        },
        restart: RestartStrategy::FixedDelay { attempts: 9, delay: Duration::from_secs(1) },
        ..JobConfig::default()
    };
    Job { graph: Arc::new(pass()), config }
}

pub fn attempt(number: u32) -> Attempt {
    Attempt { generation: crate::ids::Generation(1), number }
}

pub fn absent<T>() -> Result<T, StorageError> {
    Err(StorageError::NotFound("it".into()))
}

pub fn failed<T>() -> Result<T, StorageError> {
    Err(StorageError::Failed("the disk is full".into()))
}

/// The first leader of a new log.
fn claimed(job: &Job) -> (Completed, Slot) {
    let (mut out, mut store) = (Vec::new(), Completed::new(TOKEN, JobMark::of(&job.graph), Start::Submit));
    store.start(&mut out);
    store.on_listed(Ok(vec![]), &mut out);
    store.on_read(1, absent(), &mut out);
    let mut slots = out.iter().filter_map(|effect| match effect {
        completed::Effect::Create { slot, .. } => Some(slot.clone()),
        _ => None,
    });
    let slot = slots.next_back().expect("the first slot is claimed");
    store.on_created(1, Ok(()), &mut out);
    store.on_listed(Ok(vec![1]), &mut out);
    (store, slot)
}

impl Coordinator {
    /// It has taken leadership, and asked for nothing yet.
    pub fn new() -> Self {
        let job = job();
        let (store, slot) = claimed(&job);
        let core = Leading::new(Time(0), job, 1, store, Duration::from_secs(3600), "here:1".into());
        Self { core, now: Duration::ZERO, slots: BTreeMap::from([(1, slot)]), accepted: 0 }
    }

    /// It owns its output, and nothing is registered.
    pub fn owner() -> Self {
        let mut coordinator = Self::new();
        coordinator.step(|core, now, out| core.start(now, out));
        let told = coordinator.take_output();
        assert!(told.contains(&"announce OutputOwned".to_owned()), "{told:?}");
        coordinator
    }

    /// Its first attempt runs on its worker, at connection 1.
    pub fn running() -> Self {
        let mut coordinator = Self::owner();
        coordinator.register();
        coordinator.sees_output(1, Some(TOKEN));
        coordinator.restored();
        coordinator
    }

    /// Checkpoint 1 is acknowledged and its manifest durable: slot 2 is being created.
    pub fn completing() -> Self {
        let mut coordinator = Self::running();
        coordinator.alarm(10);
        coordinator.ack(1, SOURCE);
        coordinator.ack(1, SINK);
        let told = coordinator.manifest_written(1);
        assert_eq!(told.last().map(String::as_str), Some("create slot 2"));
        coordinator
    }

    /// Feeds an input, answers what is drawn, and renders what was asked for.
    pub fn step(&mut self, input: impl FnOnce(&mut Leading, Time, &mut Vec<Effect>)) -> Vec<String> {
        let now = Time(0) + self.now;
        let mut out = Vec::new();
        input(&mut self.core, now, &mut out);
        let mut lines = Vec::new();
        while !out.is_empty() {
            for effect in std::mem::take(&mut out) {
                lines.push(line(&effect));
                match effect {
                    Effect::DrawToken { number } => self.core.on_token(100 + number, &mut out),
                    Effect::DrawDelay { .. } => self.core.on_delay(0, &mut out),
                    Effect::ReadWallClock => self.core.on_wall_clock(0, &mut out),
                    Effect::CreateSlot { number, slot, .. } => drop(self.slots.insert(number, slot)),
                    _ => {}
                }
            }
        }
        lines
    }

    /// Storage answers until the output is owned.
    pub fn take_output(&mut self) -> Vec<String> {
        let (log, generation) = (Name::Log(LogId(TOKEN)), Name::Generation(crate::ids::Generation(1)));
        let mut lines = self.step(|core, now, out| core.on_marks_listed(now, Ok(vec![]), out));
        lines.extend(self.step(|core, now, out| core.on_mark_created(now, generation, Ok(()), out)));
        lines.extend(self.step(|core, now, out| core.on_mark_created(now, log, Ok(()), out)));
        lines.extend(self.step(|core, now, out| core.on_marks_listed(now, Ok(vec![log, generation]), out)));
        lines
    }

    pub fn connect(&mut self, claim: Claim) -> ConnectionId {
        self.accepted += 1;
        let id = ConnectionId(self.accepted);
        self.step(|core, now, out| core.on_accepted(now, id, "peer:1".into(), claim, out));
        id
    }

    pub fn message(&mut self, connection: u64, message: ToCoordinator) -> Vec<String> {
        self.step(|core, now, out| core.on_message(now, ConnectionId(connection), message, out))
    }

    /// A process connects and wants to be the worker.
    pub fn register(&mut self) -> Vec<String> {
        let id = self.connect(Claim::Worker(WORKER));
        let (protocol, graph) = (PROTOCOL_VERSION, job().graph.fingerprint());
        let (worker, incarnation, data_address) = (WORKER, id.0, "there:1".to_owned());
        self.message(id.0, ToCoordinator::Register { protocol, graph, worker, incarnation, data_address })
    }

    pub fn sees_output(&mut self, connection: u64, token: Option<u64>) -> Vec<String> {
        self.sees(connection, token, Some(1))
    }

    pub fn sees(&mut self, connection: u64, token: Option<u64>, log: Option<u64>) -> Vec<String> {
        self.message(connection, ToCoordinator::Sees(Sight { token, log: log.map(crate::ids::Generation) }))
    }

    /// Both subtasks of attempt 1 restore.
    fn restored(&mut self) {
        for subtask in [SOURCE, SINK] {
            self.message(1, ToCoordinator::Restored { attempt: attempt(1), subtask });
        }
    }

    pub fn ask(&mut self, wish: Wish) -> Vec<String> {
        let id = self.connect(Claim::Client);
        self.message(id.0, ToCoordinator::Ask(wish))
    }

    pub fn ack(&mut self, checkpoint: u64, subtask: SubtaskId) -> Vec<String> {
        let (attempt, checkpoint) = (attempt(1), CheckpointId(checkpoint));
        let uid = if subtask == SOURCE { "numbers" } else { "out" };
        let path = layout::snapshot(checkpoint, uid, 0, attempt);
        let snapshot = SnapshotHandle { path, bytes: 5, checksum: 1, digest: 2, ended: false };
        let statistics = SnapshotStatistics { bytes: 5, ..SnapshotStatistics::default() };
        self.message(1, ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, statistics })
    }

    pub fn manifest_written(&mut self, checkpoint: u64) -> Vec<String> {
        self.step(|core, now, out| core.on_manifest_written(now, CheckpointId(checkpoint), Ok(()), out))
    }

    pub fn slot_created(&mut self, number: u64, reply: Result<(), StorageError>) -> Vec<String> {
        self.step(|core, now, out| core.on_slot_created(now, number, reply, out))
    }

    /// Storage shows the slot as it was created.
    pub fn slot_read(&mut self, number: u64) -> Vec<String> {
        let bytes = self.slots[&number].encode();
        self.step(|core, now, out| core.on_slot_read(now, number, Ok(bytes), out))
    }

    /// Another leader has written this slot.
    pub fn slot_is_of_another(&mut self, number: u64) -> Vec<String> {
        let slot = Slot { token: 666, ..self.slots[&number].clone() };
        self.step(|core, now, out| core.on_slot_read(now, number, Ok(slot.encode()), out))
    }

    pub fn mark_created(&mut self, checkpoint: u64) -> Vec<String> {
        let name = Name::Completed(CheckpointId(checkpoint));
        self.step(|core, now, out| core.on_mark_created(now, name, Ok(()), out))
    }

    /// No newer leadership has left its mark.
    pub fn no_newer_owner(&mut self) -> Vec<String> {
        let newer = Name::Generation(crate::ids::Generation(2));
        self.step(|core, now, out| core.on_mark_read(now, newer, absent(), out))
    }

    pub fn broken(&mut self, connection: u64) -> Vec<String> {
        self.step(|core, now, out| core.on_broken(now, ConnectionId(connection), "reset", out))
    }

    /// So many seconds after the start.
    pub fn alarm(&mut self, seconds: u64) -> Vec<String> {
        self.now = Duration::from_secs(seconds);
        self.step(|core, now, out| core.on_alarm(now, out))
    }

    /// What the shell does next.
    pub fn idle(&mut self) -> (Vec<String>, Next) {
        let mut next = None;
        let lines = self.step(|core, now, out| next = Some(core.on_idle(now, true, out)));
        (lines, next.expect("it was asked"))
    }
}

/// One effect, as people say it.
fn line(effect: &Effect) -> String {
    match effect {
        Effect::Announce(event) => format!("announce {}", variant(event)),
        Effect::Connection(connections::Effect::Send { to, message }) => {
            format!("send {} to {}", variant(message), all(to))
        }
        Effect::Connection(connections::Effect::Answer { to, message }) => {
            format!("answer {} to {}", variant(message), all(to))
        }
        Effect::Connection(connections::Effect::Read { connection, .. }) => format!("read on {}", connection.0),
        Effect::Connection(connections::Effect::Close { connection }) => format!("close {}", connection.0),
        Effect::DrawToken { number } => format!("draw a token for slot {number}"),
        Effect::DrawDelay { attempt } => format!("draw a delay after {attempt}"),
        Effect::ReadWallClock => "read the wall clock".into(),
        Effect::ListLog { .. } => "list the log".into(),
        Effect::ReadSlot { number, .. } => format!("read slot {number}"),
        Effect::CreateSlot { number, .. } => format!("create slot {number}"),
        Effect::WriteManifest { manifest, .. } => format!("write the manifest of {}", manifest.checkpoint),
        Effect::Discard { paths } => format!("discard {} blobs", paths.len()),
        Effect::ListMarks { .. } => "list the marks".into(),
        Effect::ReadMark { name, .. } => format!("read mark {name}"),
        Effect::CreateMark { mark, .. } => format!("create mark {}", mark.name()),
        Effect::DeleteMarks { names } => format!("delete {} marks", names.len()),
        Effect::ReadRestore { latest, .. } => format!("read {} to restore it", latest.checkpoint),
        Effect::ListInput { .. } => "list the input".into(),
        Effect::CompareInput { .. } => "compare the input".into(),
        Effect::WriteSign(_) => "write the sign of life".into(),
        Effect::ClearUnfinished { .. } => "clear unfinished writes".into(),
        Effect::Clean(effect) => format!("clean: {}", variant(effect)),
        Effect::Drain { .. } => "drain".into(),
        Effect::Cease => "ask storage for nothing more".into(),
        Effect::SweepStaging { .. } => "sweep staging".into(),
    }
}

fn variant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

fn all(connections: &[ConnectionId]) -> String {
    connections.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(", ")
}

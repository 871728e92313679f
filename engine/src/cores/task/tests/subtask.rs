//! A subtask under test. Effects are rendered as short lines, so that a test reads as a list of what happens.

use super::*;
use crate::element::{Barrier, Guarantee};
use crate::ids::{EdgeId, Generation, OperatorId};
use crate::messages::RestoreFrom;
use crate::persist::blob::BlobBuilder;
use bytes::Bytes;
use std::time::Duration;

pub struct Subtask {
    pub core: Task,
    /// Why it failed.
    pub failure: Option<String>,
    /// What was uploaded last.
    pub stored: Option<Snapshot>,
    now: Duration,
    seq: u64,
}

const ATTEMPT: Attempt = Attempt { generation: Generation(1), number: 1 };

pub fn barrier(checkpoint: u64) -> Barrier {
    Barrier { checkpoint: CheckpointId(checkpoint), alignment: Guarantee::ExactlyOnce, triggered_ms: 1000 }
}

pub fn completed(checkpoint: u64) -> Completion {
    let checkpoint = CheckpointId(checkpoint);
    Completion::restored(&RestoreFrom { checkpoint, snapshots: vec![] })
}

/// The checkpoints under which something is pending.
pub fn pending(core: &Task) -> Vec<u64> {
    let [section] = &core.sections()[..] else { panic!("a sink keeps one section") };
    let pending: BTreeMap<CheckpointId, Vec<u8>> = bincode::deserialize(&section.bytes).expect("committables");
    pending.into_keys().map(|checkpoint| checkpoint.0).collect()
}

impl Subtask {
    /// It was not started.
    pub fn new(role: Role) -> Self {
        Self::with(role, SnapshotMode::Async)
    }

    fn with(role: Role, snapshot_mode: SnapshotMode) -> Self {
        let from: &[u16] = if role == Role::Source { &[] } else { &[0, 1] };
        let core = Task::new(Description {
            attempt: ATTEMPT,
            subtask: SubtaskId { operator: OperatorId(3), index: 2 },
            uid: "counts".into(),
            role,
            channels: from.iter().map(|&from| ChannelId { edge: EdgeId(0), from, to: 2 }).collect(),
            snapshot_mode,
        });
        Self { core, failure: None, stored: None, now: Duration::ZERO, seq: 0 }
    }

    /// It runs, and has no state.
    pub fn running(role: Role) -> Self {
        Self::new(role).started()
    }

    /// As [`Subtask::running`], with synchronous snapshots.
    pub fn synchronous(role: Role) -> Self {
        Self::with(role, SnapshotMode::Sync).started()
    }

    fn started(mut self) -> Self {
        self.step(|core, _, out| core.start(None, out));
        self.digest(0);
        if self.core.is.role == Role::Sink {
            self.recovered(Ok(()));
        }
        self
    }

    /// A sink that stages for this checkpoint.
    pub fn preparing(checkpoint: u64) -> Self {
        let mut sink = Self::running(Role::Sink);
        sink.barrier(0, checkpoint);
        sink.barrier(1, checkpoint);
        sink
    }

    /// Takes a whole snapshot. A sink stages the number of the checkpoint.
    pub fn snapshot(&mut self, checkpoint: u64) {
        if self.core.is.role == Role::Source || self.core.alignment.all_ended() {
            self.control(Control::Trigger(barrier(checkpoint)));
        } else {
            self.barrier(0, checkpoint);
            self.barrier(1, checkpoint);
        }
        if self.core.is.role == Role::Sink {
            self.prepared(Ok(Some(vec![checkpoint as u8])));
        }
        self.viewed();
    }

    pub fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    pub fn now(&self) -> Now {
        Now { time: Time(0) + self.now, wall_ms: 1000 + u64::try_from(self.now.as_millis()).expect("a short test") }
    }

    /// Gives the core an input, and renders what it asks for.
    pub fn step(&mut self, input: impl FnOnce(&mut Task, Now, &mut Vec<Effect>)) -> Vec<String> {
        let (now, mut out) = (self.now(), Vec::new());
        input(&mut self.core, now, &mut out);
        for effect in &out {
            match effect {
                Effect::Report(ToCoordinator::Failed { error, .. }) => self.failure = Some(error.message.clone()),
                Effect::Upload(snapshot) => self.stored = Some(*snapshot),
                _ => {}
            }
        }
        out.iter().map(render).collect()
    }

    fn marker(&mut self, channel: usize, marker: Marker) -> Vec<String> {
        let seq = self.seq;
        self.seq += 1;
        self.step(|core, now, out| core.on_marker(now, channel, seq, marker, out))
    }

    pub fn barrier(&mut self, channel: usize, checkpoint: u64) -> Vec<String> {
        self.marker(channel, Marker::Barrier(barrier(checkpoint)))
    }

    /// A barrier that blocks nothing.
    pub fn counted(&mut self, channel: usize, checkpoint: u64) -> Vec<String> {
        let alignment = Guarantee::AtLeastOnce;
        self.marker(channel, Marker::Barrier(Barrier { alignment, ..barrier(checkpoint) }))
    }

    pub fn end(&mut self, channel: usize) -> Vec<String> {
        self.marker(channel, Marker::EndOfInput)
    }

    pub fn closed(&mut self, channel: usize) -> Vec<String> {
        self.marker(channel, Marker::Closed)
    }

    pub fn control(&mut self, control: Control) -> Vec<String> {
        self.step(|core, now, out| core.on_control(now, control, out))
    }

    pub fn aborted(&mut self, checkpoint: u64) -> Vec<String> {
        self.control(Control::Aborted(CheckpointId(checkpoint)))
    }

    pub fn prepared(&mut self, prepared: crate::error::Result<Option<Vec<u8>>>) -> Vec<String> {
        self.step(|core, now, out| core.on_prepared(now, prepared, out))
    }

    pub fn viewed(&mut self) -> Vec<String> {
        self.step(|core, now, out| core.on_viewed(now, out))
    }

    pub fn uploaded(&mut self) -> Vec<String> {
        self.step(|core, now, out| core.on_uploaded(now, out))
    }

    pub fn committed(&mut self, committed: crate::error::Result<()>) -> Vec<String> {
        self.step(|core, now, out| core.on_committed(now, committed, out))
    }

    pub fn drained(&mut self) -> Vec<String> {
        self.step(|core, now, out| core.on_drained(now, out))
    }

    pub fn digest(&mut self, digest: u64) -> Vec<String> {
        self.step(|core, now, out| core.on_digest(now, digest, out))
    }

    pub fn recovered(&mut self, recovered: crate::error::Result<()>) -> Vec<String> {
        self.step(|core, now, out| core.on_staged_discarded(now, recovered, out))
    }

    pub fn taken_over(&mut self, taken: crate::error::Result<()>) -> Vec<String> {
        self.step(|core, _, out| core.on_state_restored(taken, out))
    }

    /// Starts from a snapshot, which is read.
    pub fn restore(&mut self, checkpoint: u64, (handle, blob): &(SnapshotHandle, Bytes)) -> Vec<String> {
        let restore = Some((completed(checkpoint), handle.clone()));
        let mut told = self.step(|core, _, out| core.start(restore, out));
        told.extend(self.step(|core, _, out| core.on_snapshot_read(Ok(blob.clone()), out)));
        told
    }

    /// A stored snapshot of these sections.
    pub fn handle(&self, sections: &[Section], ended: bool) -> (SnapshotHandle, Bytes) {
        let mut blob = BlobBuilder::default();
        for section in sections {
            blob.add(section);
        }
        let finished = blob.finish();
        let (bytes, checksum, digest) = (finished.bytes, finished.checksum, finished.digest);
        (SnapshotHandle { path: "chk/blob".into(), bytes, checksum, digest, ended }, finished.rest)
    }

    /// The snapshot of a sink under which committables of these checkpoints are pending.
    pub fn holding(&self, checkpoints: &[u64]) -> (SnapshotHandle, Bytes) {
        let mut transactions = Transactions::default();
        for &n in checkpoints {
            transactions.on_prepared(CheckpointId(n), Some(vec![n as u8]));
        }
        self.handle(&[transactions.snapshot()], false)
    }
}

fn render(effect: &Effect) -> String {
    let name = |debug: String| debug.split([' ', '(', '{']).next().expect("a variant has a name").to_owned();
    match effect {
        Effect::Announce(event) => format!("announce {}", name(format!("{event:?}"))),
        Effect::Report(report) => format!("report {}", name(format!("{report:?}"))),
        Effect::Broadcast(Marker::Barrier(barrier)) => format!("broadcast barrier {}", barrier.checkpoint.0),
        Effect::Broadcast(Marker::Cancel(checkpoint)) => format!("broadcast cancel {}", checkpoint.0),
        Effect::Broadcast(Marker::EndOfInput) => "broadcast end".into(),
        Effect::Broadcast(Marker::Closed) => "broadcast closed".into(),
        Effect::Flush => "flush".into(),
        Effect::ReadSnapshot(_) => "read the snapshot".into(),
        Effect::RestoreState(sections) => format!("take over {} sections", sections.len()),
        Effect::DigestState => "digest the state".into(),
        Effect::DiscardStaged => "remove old staging".into(),
        Effect::FinishOutput => "finish the output".into(),
        Effect::DrainOutput => "drain the output".into(),
        Effect::Prepare(checkpoint) => format!("prepare {}", checkpoint.0),
        Effect::ViewState => "view the state".into(),
        Effect::Upload(snapshot) if snapshot.awaited => format!("upload {} and wait", snapshot.checkpoint.0),
        Effect::Upload(snapshot) => format!("upload {}", snapshot.checkpoint.0),
        Effect::Discard(checkpoint) => format!("discard {}", checkpoint.0),
        Effect::Forget(checkpoint) => format!("forget {}", checkpoint.0),
        Effect::Commit(committable) => format!("commit {committable:?}"),
    }
}

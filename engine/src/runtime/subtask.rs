//! The shell of a subtask: one task that owns one chain (or source reader, or sink writer) and its input and output
//! channels. It takes an element, records or a message of the worker, steps the core ([`crate::cores::task`]), and
//! performs the effects in their order. It decides nothing; which element comes first is chosen in
//! `steps`, and which end an upload has by [`Decision`](super::decision::Decision).
//!
//! The data path, in order: channel → alignment → operator → outbox → channel. Records never pass through the core: it is
//! asked which channel may be taken from. Which of the ready channels comes first is the door's choice (`steps`).
//!
//! Owns: its channels' ends, its state. Does not own: any decision, placement, connections, fail-over.
//! Invariant: between two steps every record taken has been processed, and its output is in the chain's buffers or on
//! channels.
//! Not here: time-outs. The door does not promise an answer: the process bounds each of its requests
//! ([`crate::runtime::patience`]), and blobs are read in pieces, so the bound does not depend on the size of the state.

mod body;
mod driver;
mod output;
mod records;
mod steps;

use super::changes::Changes;
use super::channel::ChannelReceiver;
use super::mailbox::{Mailbox, Postbox};
use super::snapshot::AsyncPart;
use crate::config::SnapshotMode;
pub use crate::cores::task::Control;
use crate::cores::task::{Description, Effect, Marker, Snapshot, Task};
use crate::cores::transactions::Completion;
use crate::cores::uploading::Uploading;
use crate::door::{Bell, Site, retry, whole};
use crate::element::{Batch, Element};
use crate::error::Result;
use crate::graph::{Instance, SubtaskContext};
use crate::messages::{SnapshotHandle, ToCoordinator};
use crate::state;
use body::{Body, View};
use driver::Driver;
use output::Output;
pub use output::OutputEdge;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Everything a subtask is made of.
pub struct SubtaskShell {
    /// Who it is, and the outside.
    pub context: SubtaskContext,
    /// Its operator, reader or writer.
    pub instance: Instance,
    /// Its input channels, in graph order.
    pub inputs: Vec<InputChannel>,
    /// Its output channels, by edge.
    pub outputs: Vec<OutputEdge>,
    /// Control messages of the worker.
    pub control: Mailbox<Control>,
    /// Rings when a full output channel has room again.
    pub credit: Arc<dyn Bell>,
    /// Reports to the coordinator.
    pub reports: Postbox<ToCoordinator>,
    /// Set when the attempt is over.
    pub cancelled: Arc<AtomicBool>,
    /// Whether the subtask blocks during an upload.
    pub snapshot_mode: SnapshotMode,
    /// Snapshots that are larger are uploaded in parts of this size.
    pub part_bytes: usize,
    /// What to restore.
    pub restore: Option<(Completion, SnapshotHandle)>,
    /// Running writes of its process.
    pub changes: Changes,
}

/// An input channel.
pub struct InputChannel {
    /// Its queue.
    pub queue: ChannelReceiver,
    /// Which input of the operator.
    pub input: u16,
}

/// The running form of [`SubtaskShell`].
struct Running {
    driver: Driver,
    context: SubtaskContext,
    body: Body,
    inputs: Vec<InputChannel>,
    output: Output,
    reports: Postbox<ToCoordinator>,
    cancelled: Arc<AtomicBool>,
    part_bytes: usize,
    changes: Changes,
    /// What is about to be stored.
    view: Option<View>,
    /// Scratch of [`steps`]: the channels to take from, and those to wait for.
    ready: Vec<usize>,
    empty: Vec<usize>,
}

/// What a subtask does next.
enum Step {
    Control(Control),
    Element(usize),
    Records(Result<Option<Batch>>),
}

impl SubtaskShell {
    /// Runs until the subtask exits or fails. A cancelled attempt drops it.
    pub async fn run(self) {
        let body = Body::from(self.instance);
        let core = Task::new(Description {
            attempt: self.context.attempt,
            subtask: self.context.subtask,
            uid: self.context.uid.clone(),
            role: body.role(),
            channels: self.inputs.iter().map(|input| input.queue.id()).collect(),
            snapshot_mode: self.snapshot_mode,
        });
        let running = Running {
            driver: Driver::new(core, self.control, self.context.env.clone()),
            context: self.context,
            body,
            inputs: self.inputs,
            output: Output::new(self.outputs, self.credit),
            reports: self.reports,
            cancelled: self.cancelled,
            part_bytes: self.part_bytes,
            changes: self.changes,
            view: None,
            ready: Vec::new(),
            empty: Vec::new(),
        };
        running.run(self.restore).await;
    }
}

impl Running {
    async fn run(mut self, restore: Option<(Completion, SnapshotHandle)>) {
        let mut out = Vec::new();
        self.driver.core.start(restore, &mut out);
        loop {
            self.perform(&mut out).await;
            if self.driver.core.is_over() {
                return;
            }
            match self.next_step().await {
                Step::Control(control) => self.driver.core.on_control(self.driver.now(), control, &mut out),
                Step::Element(channel) => self.on_element(channel, &mut out).await,
                Step::Records(Ok(Some(batch))) => self.on_records(batch).await,
                Step::Records(Ok(None)) => self.driver.core.on_exhausted(self.driver.now(), &mut out),
                Step::Records(Err(error)) => self.driver.core.on_read_failed(error, &mut out),
            }
        }
    }

    async fn on_element(&mut self, channel: usize, out: &mut Vec<Effect>) {
        let input = &mut self.inputs[channel];
        let (id, input, (seq, element)) = (input.queue.id(), input.input, input.queue.take());
        let marker = match element {
            Element::Batch(batch) => return self.on_batch((id, input, seq), batch).await,
            Element::Barrier(barrier) => Marker::Barrier(barrier),
            Element::Cancel(checkpoint) => Marker::Cancel(checkpoint),
            Element::EndOfInput => Marker::EndOfInput,
            Element::Closed => Marker::Closed,
        };
        self.driver.core.on_marker(self.driver.now(), channel, seq, marker, out);
    }

    /// Performs everything that was asked for. An answer may ask for more.
    async fn perform(&mut self, out: &mut Vec<Effect>) {
        while !out.is_empty() {
            for effect in std::mem::take(out) {
                self.perform_one(effect, out).await;
            }
        }
    }

    async fn perform_one(&mut self, effect: Effect, out: &mut Vec<Effect>) {
        match effect {
            Effect::Announce(event) => self.context.env.emit(event),
            Effect::Report(report) => self.reports.post(report),
            Effect::Broadcast(marker) => self.output.broadcast(marker),
            Effect::Flush => self.output.flush(&mut self.body),
            // Before it is restored a subtask uploads nothing: control messages wait in the mailbox.
            Effect::ReadSnapshot(handle) => {
                let env = &self.context.env;
                let read = retry::storage(env, || whole::read(&env.storage, &handle.path)).await;
                self.driver.core.on_snapshot_read(read, out);
            }
            Effect::RestoreState(sections) => {
                self.driver.core.on_state_restored(self.body.take_over(sections).await, out)
            }
            Effect::DigestState => {
                let (mut sections, pages) = self.body.view(self.driver.core.sections());
                sections.extend(pages.into_iter().flat_map(state::collect));
                self.driver.core.on_digest(self.driver.now(), state::digest(&sections), out);
            }
            Effect::DiscardStaged => {
                let recovered = self.driver.attend(self.body.writer().recover()).await;
                self.driver.core.on_staged_discarded(self.driver.now(), recovered, out);
            }
            Effect::FinishOutput => self.body.on_end(&mut self.output.outbox),
            Effect::DrainOutput => {
                self.driver.attend(Box::pin(self.output.drain(&mut self.body))).await;
                self.driver.core.on_drained(self.driver.now(), out);
            }
            Effect::Prepare(checkpoint) => {
                let prepared = self.driver.attend(self.body.writer().prepare(checkpoint)).await;
                self.driver.core.on_prepared(self.driver.now(), prepared, out);
            }
            Effect::ViewState => {
                self.view = Some(self.body.view(self.driver.core.sections()));
                self.driver.core.on_viewed(self.driver.now(), out);
            }
            Effect::Upload(snapshot) => self.upload(snapshot, out).await,
            Effect::Discard(checkpoint) => self.driver.discard(checkpoint),
            Effect::Forget(checkpoint) => self.driver.forget(checkpoint),
            Effect::Commit(committable) => {
                let committed = self.driver.attend(self.body.writer().commit(&committable)).await;
                self.driver.core.on_committed(self.driver.now(), committed, out);
            }
        }
    }

    async fn upload(&mut self, snapshot: Snapshot, out: &mut Vec<Effect>) {
        let (sections, pages) = self.view.take().expect("a view is stored");
        let subtask = self.context.subtask;
        let env = self.context.env.clone();
        let whose = (self.context.attempt, subtask);
        let upload = AsyncPart {
            core: Uploading::new(whose, &self.context.uid, snapshot, self.part_bytes),
            env,
            subtask,
            reports: self.reports.clone(),
            cancelled: self.cancelled.clone(),
            decision: self.driver.decision(snapshot.checkpoint),
            pages,
            parts: None,
        };
        // A cancelled attempt drops the subtask, not its request in the middle.
        let upload = self.changes.keep(Box::pin(upload.run(sections)));
        if snapshot.awaited {
            self.driver.attend(upload).await;
            self.driver.core.on_uploaded(self.driver.now(), out);
        } else {
            self.context.env.spawner.spawn(Site::new("upload", subtask.lane()), Box::pin(upload));
        }
    }
}

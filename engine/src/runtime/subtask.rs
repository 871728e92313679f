//! A subtask: one task that owns one chain (or source reader, or sink writer), its input and output channels.
//!
//! The data path, in order: channel → align → operator → outbox → channel.
//! 1. Restore (`restore`): state back, committables of the restored checkpoint committed again.
//! 2. One step at a time (`steps`): a control message first, else an element of an unblocked channel, or records of
//!    the source. Which of the ready channels comes first is the door's choice.
//! 3. At a barrier (`checkpoint`, order rule O3), as one step with respect to records: output buffered so far, barrier
//!    downstream, sink prepares, view of the state; then the asynchronous part uploads and acknowledges.
//! 4. At the end of all input, as soon as the alignment says so: the operator finishes its output once in the life of the
//!    state, batch by batch as credit comes, downstream is told, and the subtask stays for barriers.
//! 5. It exits once it is told of a completed checkpoint that holds the end it announced (FLIP-147):
//!    ```text
//!    … records ── end ── [n] ── [n+1] ── closed       snapshot n says ended; n or n+1 is durable: commit, closed, exit
//!    ```
//!    Earlier, and whatever its sink staged last would never be committed (FLINK-2491).
//!
//! Owns: its channels' ends, its state, its committables. Does not own: placement, connections, fail-over.
//! Invariant: between two steps every record taken has been processed, and its output is in the chain's buffers or on channels.

mod parts;
mod restore;
mod steps;

use super::changes::Changes;
use super::channel::{ChannelReceiver, ChannelSender};
use super::mailbox::{Mailbox, Postbox};
use super::snapshot::AsyncPart;
use crate::config::SnapshotMode;
use crate::cores::alignment::{Alignment, Effect};
use crate::cores::transactions::{self, Completion, Transactions};
use crate::door::{Bell, Site, Work};
use crate::element::{Barrier, Batch, Element};
use crate::error::{Error, Reaction, Result};
use crate::event::Event;
use crate::graph::{Chain, ErasedReader, ErasedWriter, Instance, Outbox, SubtaskContext};
use crate::ids::{Attempt, CheckpointId, EdgeId, SubtaskId};
use crate::messages::{SnapshotHandle, ToCoordinator};
use crate::reason::FailureReason;
use crate::state::{Pages, Section};
use parts::Parts;
pub(super) use parts::{Decision, ms};
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What the worker tells a subtask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// Start a checkpoint; for subtasks without running producers.
    Trigger(Barrier),
    /// A checkpoint is durable.
    Completed(Completion),
    /// A checkpoint will not complete.
    Aborted(CheckpointId),
}

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
    /// What the worker tells it.
    pub control: Mailbox<Control>,
    /// Rings when a full output channel has room again.
    pub credit: Arc<dyn Bell>,
    /// What it tells the coordinator.
    pub reports: Postbox<ToCoordinator>,
    /// Set when the attempt is over.
    pub cancelled: Arc<AtomicBool>,
    /// Who waits for uploads.
    pub snapshot_mode: SnapshotMode,
    /// Snapshots that are larger are uploaded in parts of this size.
    pub part_bytes: usize,
    /// What to restore.
    pub restore: Option<(Completion, SnapshotHandle)>,
    /// What its process has under way.
    pub changes: Changes,
}

/// An input channel.
pub struct InputChannel {
    /// Its queue.
    pub queue: ChannelReceiver,
    /// Which input of the operator.
    pub input: u16,
}

/// The output channels of one edge, by consumer.
pub struct OutputEdge {
    /// Which edge.
    pub edge: EdgeId,
    /// The consumers this subtask has a channel to.
    pub targets: Vec<(u16, ChannelSender)>,
}

/// The running form of [`SubtaskShell`].
struct Running {
    context: SubtaskContext,
    body: Body,
    inputs: Vec<InputChannel>,
    outputs: Vec<OutputEdge>,
    control: Mailbox<Control>,
    credit: Arc<dyn Bell>,
    reports: Postbox<ToCoordinator>,
    cancelled: Arc<AtomicBool>,
    snapshot_mode: SnapshotMode,
    part_bytes: usize,
    changes: Changes,
    alignment: Alignment,
    /// Whether all input has been processed, now or before the restored checkpoint.
    ended: bool,
    /// Whether downstream and the coordinator know, in this attempt.
    end_announced: bool,
    /// The first checkpoint behind the announced end: once it or a later one is durable the subtask exits.
    end_held_by: Option<CheckpointId>,
    parts: Parts,
    outbox: Outbox,
    /// Scratch of [`steps`]: the channels to take from, and those to wait for.
    ready: Vec<usize>,
    empty: Vec<usize>,
}

enum Body {
    Source { reader: Box<dyn ErasedReader>, chain: Box<dyn Chain>, exhausted: bool },
    Transform { chain: Box<dyn Chain> },
    Sink { writer: Box<dyn ErasedWriter>, transactions: Transactions },
}

/// What a subtask does next.
enum Step {
    Control(Control),
    Element(usize),
    Records(Option<Batch>),
}

impl SubtaskShell {
    /// Runs to the end of the job, or to a failure, which is reported.
    pub async fn run(self) {
        let (env, attempt, subtask) = (self.context.env.clone(), self.context.attempt, self.context.subtask);
        let reports = self.reports.clone();
        if let Err(error) = Running::run(self).await {
            env.emit(Event::SubtaskFailed { attempt, subtask, cause: error.to_string() });
            reports.post(ToCoordinator::Failed { attempt, subtask: Some(subtask), error });
        }
    }
}

impl Running {
    async fn run(shell: SubtaskShell) -> Result<()> {
        let body = match shell.instance {
            Instance::Source(reader, chain) => Body::Source { reader, chain, exhausted: false },
            Instance::Transform(chain) => Body::Transform { chain },
            Instance::Sink(writer) => Body::Sink { writer, transactions: Transactions::default() },
        };
        let mut running = Self {
            alignment: Alignment::new(shell.inputs.len()),
            context: shell.context,
            body,
            inputs: shell.inputs,
            outputs: shell.outputs,
            control: shell.control,
            credit: shell.credit,
            reports: shell.reports,
            cancelled: shell.cancelled,
            snapshot_mode: shell.snapshot_mode,
            part_bytes: shell.part_bytes,
            changes: shell.changes,
            ended: false,
            end_announced: false,
            end_held_by: None,
            parts: Parts::default(),
            outbox: Outbox::default(),
            ready: Vec::new(),
            empty: Vec::new(),
        };
        running.restore(shell.restore).await?;
        loop {
            let flow = match running.next_step().await? {
                Step::Control(control) => running.on_control(control).await?,
                Step::Element(channel) => running.on_element(channel).await?,
                Step::Records(records) => running.on_records(records).await?,
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    fn ids(&self) -> (Attempt, SubtaskId) {
        (self.context.attempt, self.context.subtask)
    }

    async fn on_records(&mut self, records: Option<Batch>) -> Result<ControlFlow<()>> {
        let (attempt, subtask) = self.ids();
        let Body::Source { chain, exhausted, .. } = &mut self.body else { unreachable!("only sources read") };
        let Some(batch) = records else {
            *exhausted = true;
            self.end_input().await;
            return Ok(ControlFlow::Continue(()));
        };
        let records = batch.len() as u64;
        self.context.env.emit(Event::SourceEmitted { attempt, subtask, records });
        chain.on_batch(0, batch, &mut self.outbox);
        self.send_outbox();
        self.work("source", records).await;
        Ok(ControlFlow::Continue(()))
    }

    async fn on_element(&mut self, channel: usize) -> Result<ControlFlow<()>> {
        let (attempt, subtask) = self.ids();
        let env = self.context.env.clone();
        let input = &mut self.inputs[channel];
        let id = input.queue.id();
        let (seq, element) = input.queue.take();
        let mut effects = Vec::new();
        match element {
            Element::Batch(batch) => {
                let records = batch.len() as u64;
                env.emit(Event::Consumed { attempt, subtask, channel: id, seq, records });
                match &mut self.body {
                    Body::Transform { chain } => chain.on_batch(input.input, batch, &mut self.outbox),
                    Body::Sink { writer, .. } => writer.write(batch),
                    Body::Source { .. } => unreachable!("a source has no input channel"),
                }
                self.send_outbox();
                self.work("process", records).await;
            }
            Element::Barrier(barrier) => {
                let checkpoint = barrier.checkpoint;
                env.emit(Event::BarrierReceived { attempt, subtask, channel: id, seq, checkpoint });
                self.alignment.on_barrier(channel, barrier, &mut effects);
            }
            Element::Cancel(checkpoint) => {
                env.emit(Event::CancelReceived { attempt, subtask, channel: id, seq, checkpoint });
                self.alignment.on_cancel(channel, checkpoint, &mut effects);
            }
            Element::EndOfInput => {
                env.emit(Event::EndReceived { attempt, subtask, channel: id, seq });
                self.alignment.on_end(channel, &mut effects);
            }
            Element::Closed => {
                env.emit(Event::ClosedReceived { attempt, subtask, channel: id, seq });
                self.alignment.on_closed(channel, &mut effects);
            }
        }
        self.perform(effects).await
    }

    async fn on_control(&mut self, control: Control) -> Result<ControlFlow<()>> {
        let (attempt, subtask) = self.ids();
        let env = self.context.env.clone();
        let mut effects = Vec::new();
        match control {
            Control::Trigger(barrier) => {
                env.emit(Event::TriggerReceived { attempt, subtask, checkpoint: barrier.checkpoint });
                self.alignment.on_trigger(barrier, &mut effects);
            }
            Control::Aborted(checkpoint) => {
                env.emit(Event::AbortReceived { attempt, subtask, checkpoint });
                self.parts.discard(checkpoint);
                self.alignment.on_abort(checkpoint, &mut effects);
            }
            Control::Completed(completion) => {
                let checkpoint = completion.checkpoint();
                env.emit(Event::NotifyReceived { attempt, subtask, checkpoint });
                self.commit(completion).await?;
                self.parts.forget(checkpoint);
                if self.end_held_by.is_some_and(|held| held <= checkpoint) {
                    self.finish();
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        self.perform(effects).await
    }

    async fn perform(&mut self, effects: Vec<Effect>) -> Result<ControlFlow<()>> {
        let (attempt, subtask) = self.ids();
        let env = self.context.env.clone();
        for effect in effects {
            match effect {
                Effect::Begin(barrier) => {
                    self.parts.on_begin(&env, barrier);
                    env.emit(Event::AlignmentStarted { attempt, subtask, checkpoint: barrier.checkpoint });
                }
                Effect::Snapshot(barrier) => {
                    if self.parts.is_aligning(barrier.checkpoint) {
                        env.emit(Event::AlignmentEnded { attempt, subtask, checkpoint: barrier.checkpoint });
                    }
                    self.checkpoint(barrier).await?;
                }
                Effect::Abandon(checkpoint) => {
                    self.parts.on_abandon(checkpoint);
                    env.emit(Event::AlignmentAborted { attempt, subtask, checkpoint });
                }
                Effect::Decline(checkpoint, reason) => self.decline(checkpoint, reason),
                Effect::Cancel(checkpoint) => {
                    self.broadcast(|| Element::Cancel(checkpoint));
                    env.emit(Event::CancelEmitted { attempt, subtask, checkpoint });
                }
                Effect::EndOfInput => self.end_input().await,
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Order rule O3: records before the barrier, the barrier, then the snapshot; nothing is processed in between.
    async fn checkpoint(&mut self, barrier: Barrier) -> Result<()> {
        let (attempt, subtask) = self.ids();
        let checkpoint = barrier.checkpoint;
        let watch = self.parts.on_snapshot(&self.context.env, barrier);
        self.flush();
        self.broadcast(|| Element::Barrier(barrier));
        self.context.env.emit(Event::BarrierEmitted { attempt, subtask, checkpoint });
        if let Body::Sink { writer, transactions } = &mut self.body {
            match writer.prepare(checkpoint).await {
                Ok(committable) => transactions.on_prepared(checkpoint, committable),
                Err(error) if error.reaction == Reaction::Restart => {
                    let cause = error.to_string();
                    self.context.env.emit(Event::PrepareFailed { attempt, subtask, checkpoint, cause: cause.clone() });
                    self.decline(checkpoint, FailureReason::PrepareFailed(cause));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            self.context.env.emit(Event::Prepared { attempt, subtask, checkpoint });
        }
        let (sections, pages) = self.snapshot();
        self.context.env.emit(Event::SnapshotTaken { attempt, subtask, checkpoint, ended: self.ended });
        if self.end_announced {
            self.end_held_by.get_or_insert(checkpoint);
        }
        let part = AsyncPart {
            env: self.context.env.clone(),
            attempt,
            subtask,
            uid: self.context.uid.clone(),
            checkpoint,
            ended: self.ended,
            part_bytes: self.part_bytes,
            reports: self.reports.clone(),
            cancelled: self.cancelled.clone(),
            decision: self.parts.start(checkpoint),
            statistics: watch.stop(&self.context.env),
        };
        // A cancelled attempt drops the subtask, not its request in the middle.
        let part = self.changes.keep(Box::pin(part.run(sections, pages)));
        match self.snapshot_mode {
            SnapshotMode::Sync => part.await,
            SnapshotMode::Async => {
                let site = Site::new("upload", subtask.lane());
                self.context.env.spawner.spawn(site, Box::pin(part));
            }
        }
        Ok(())
    }

    /// The state as it is now: small sections at once, the rest as a view.
    fn snapshot(&mut self) -> (Vec<Section>, Option<Box<dyn Pages>>) {
        match &mut self.body {
            Body::Source { reader, chain, .. } => (reader.snapshot(), Some(chain.snapshot())),
            Body::Transform { chain } => (Vec::new(), Some(chain.snapshot())),
            Body::Sink { transactions, .. } => (vec![transactions.snapshot()], None),
        }
    }

    async fn commit(&mut self, completion: Completion) -> Result<()> {
        let (attempt, subtask) = self.ids();
        let Body::Sink { writer, transactions } = &mut self.body else { return Ok(()) };
        let mut due = Vec::new();
        transactions.on_completed(completion, &mut due);
        for transactions::Effect::Commit(checkpoint, committable) in due {
            self.context.env.emit(Event::CommitStarted { attempt, subtask, checkpoint });
            writer.commit(&committable).await?;
            self.context.env.emit(Event::CommitEnded { attempt, subtask, checkpoint });
            transactions.on_committed(checkpoint);
        }
        Ok(())
    }

    /// All input has been processed. The operator's own end happens once in the life of its state; downstream and the
    /// coordinator are told in every attempt.
    ///
    /// What the operator still emits waits for credit here, and so does everything else the subtask is told: a barrier must not
    /// overtake it. Nobody downstream waits for this subtask's barrier while holding back its credit, because a channel is
    /// blocked only behind a barrier of this very subtask.
    async fn end_input(&mut self) {
        let (attempt, subtask) = self.ids();
        if !self.ended {
            self.context.env.emit(Event::InputEnded { attempt, subtask });
            match &mut self.body {
                Body::Source { chain, .. } | Body::Transform { chain } => chain.on_end(&mut self.outbox),
                Body::Sink { .. } => {}
            }
            self.ended = true;
        }
        if let Body::Source { chain, .. } | Body::Transform { chain } = &mut self.body {
            chain.flush(&mut self.outbox);
        }
        for (edge, target, batch) in std::mem::take(&mut self.outbox.batches) {
            let channel = channel_to(&self.outputs, edge, target);
            while !channel.has_credit() {
                let seen = self.credit.rung();
                if !channel.has_credit() {
                    poll_fn(|task| self.credit.poll_rung(seen, task)).await;
                }
            }
            channel.push(Element::Batch(batch));
        }
        self.end_announced = true;
        self.broadcast(|| Element::EndOfInput);
        self.reports.post(ToCoordinator::InputEnded { attempt, subtask });
    }

    /// The end is durable and everything is committed: nobody will hear of this subtask again.
    fn finish(&mut self) {
        let (attempt, subtask) = self.ids();
        assert!(self.ended && self.end_announced, "a subtask finishes behind its announced end");
        // The checkpoints they belong to will not complete: the coordinator learns that there will be no acknowledgement.
        self.parts.discard_all();
        self.broadcast(|| Element::Closed);
        self.context.env.emit(Event::SubtaskFinished { attempt, subtask });
        self.reports.post(ToCoordinator::Finished { attempt, subtask });
    }

    fn decline(&self, checkpoint: CheckpointId, reason: FailureReason) {
        let (attempt, subtask) = self.ids();
        self.context.env.emit(Event::DeclineSent { attempt, subtask, checkpoint, reason: reason.clone() });
        self.reports.post(ToCoordinator::Decline { attempt, checkpoint, subtask, reason });
    }

    fn flush(&mut self) {
        match &mut self.body {
            Body::Source { chain, .. } | Body::Transform { chain } => chain.flush(&mut self.outbox),
            Body::Sink { .. } => {}
        }
        self.send_outbox();
    }

    fn send_outbox(&mut self) {
        send(&mut self.outbox, &self.outputs);
    }

    fn broadcast(&self, element: impl Fn() -> Element) {
        for (_, channel) in self.outputs.iter().flat_map(|output| &output.targets) {
            channel.push(element());
        }
    }

    fn has_credit(&self) -> bool {
        self.outputs.iter().all(|output| output.targets.iter().all(|(_, channel)| channel.has_credit()))
    }

    /// Says how much was processed; under test, time passes.
    async fn work(&mut self, what: &'static str, records: u64) {
        let site = Site::new(what, self.context.subtask.lane());
        if let Some(delay) = self.context.env.clock.work(site, Work::Records(records)) {
            delay.await;
        }
    }
}

/// Puts every batch of the outbox on its channel.
fn send(outbox: &mut Outbox, outputs: &[OutputEdge]) {
    for (edge, target, batch) in outbox.batches.drain(..) {
        channel_to(outputs, edge, target).push(Element::Batch(batch));
    }
}

fn channel_to(outputs: &[OutputEdge], edge: EdgeId, target: u16) -> &ChannelSender {
    let output = outputs.iter().find(|output| output.edge == edge).expect("chains write to their own edges");
    let found = output.targets.iter().find(|(to, _)| *to == target);
    let (_, channel) = found.expect("chains write to their edge's consumers");
    channel
}

/// An error of the subtask, with its name.
fn named(error: Error, uid: &str, index: u16) -> Error {
    error.while_doing(format_args!("{uid}[{index}]"))
}

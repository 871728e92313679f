//! Histories for the judges' tests, told step by step: a small engine that does everything right, one thing after the
//! other, and records claims and facts as the real one would.
//!
//! A test that convicts takes such a story and falsifies it: see [`Story::falsify`] and its neighbours.

mod falsify;
pub mod job;
mod stored;

use crate::history::{Entry, Fact, History, Incarnation, Process, What};
use crate::witness::external::QuietSystems;
use crate::witness::quiet::{self, QuietStorage};
use crate::witness::run::Run;
use crate::witness::subtask::{Live, Taken};
use crate::witness::topology::Topology;
use bytes::Bytes;
use cofferdam_engine::door::Env;
use cofferdam_engine::event::Event;
use cofferdam_engine::graph::{Job, OperatorKind, SubtaskContext};
use cofferdam_engine::ids::{Attempt, CheckpointId, ClientId, Generation, LogId, SubtaskId, WorkerId};
use cofferdam_engine::messages::client::{Answer, Wish};
use cofferdam_engine::messages::{ListingHandle, SnapshotHandle};
use cofferdam_engine::persist::blob::{BlobBuilder, Finished};
use cofferdam_engine::persist::manifest::{Manifest, OperatorSnapshot};
use cofferdam_engine::persist::slot::SlotRecord;
use cofferdam_engine::persist::{layout, mark::Mark};
use cofferdam_engine::reason::{Ended, FailureReason};
use cofferdam_engine::statistics::SnapshotStatistics;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// A history in the making.
pub struct Story {
    pub history: History,
    pub job: Job,
    topology: Topology,
    env: Env,
    storage: Arc<QuietStorage>,
    generation: Generation,
    attempt: Attempt,
    run: Run,
    /// Elements put on each channel's far end so far.
    seqs: Vec<u64>,
    slots: u64,
    checkpoints: u64,
    pub pending: Option<Pending>,
    completed: Option<Completed>,
    numbers: BTreeMap<Process, u32>,
    /// Channels whose barrier of the pending checkpoint has been taken already.
    overtaken: Vec<usize>,
    /// By subtask that has finished: the snapshot that later checkpoints carry.
    carried: BTreeMap<usize, (Rc<Taken>, SnapshotHandle)>,
    /// What the clean-up at the end overlooks.
    spared: Vec<String>,
    /// What manifests name as the listing of the input.
    pub listing: Option<ListingHandle>,
}

/// A checkpoint under way.
pub struct Pending {
    pub id: CheckpointId,
    taken: Vec<Option<(Rc<Taken>, SnapshotHandle)>>,
}

struct Completed {
    id: CheckpointId,
    taken: Vec<Rc<Taken>>,
    handles: Vec<SnapshotHandle>,
}

/// The id of the story's log.
pub const LOG: LogId = LogId(0xc0ff);

const EVERY_ID: CheckpointId = CheckpointId(1000);

impl Story {
    /// A leader and nothing deployed.
    pub fn of(numbers: [&[u64]; 2]) -> Self {
        let job = job::job();
        let topology = Topology::of(&job.graph);
        let history = History { initial: job::input(numbers), entries: Vec::new() };
        let (env, storage) = quiet::world(&history.initial, QuietSystems::default());
        let run = Run::new(Attempt::default(), None, &topology);
        let mut story = Self {
            history,
            env,
            storage,
            generation: Generation(0),
            attempt: Attempt::default(),
            run,
            seqs: vec![0; topology.channels.len()],
            slots: 0,
            checkpoints: 0,
            pending: None,
            completed: None,
            numbers: BTreeMap::new(),
            overtaken: Vec::new(),
            carried: BTreeMap::new(),
            spared: Vec::new(),
            listing: None,
            topology,
            job,
        };
        [Process::COORDINATOR, worker(0), worker(1)].into_iter().for_each(|process| story.start(process));
        story.lead();
        story
    }

    /// A story of twelve numbers, deployed.
    pub fn begun() -> Self {
        let mut story = Self::of([&[1, 2, 3, 4, 5, 6], &[7, 8, 9, 10, 11, 12]]);
        story.deploy();
        story
    }

    /// A whole run with a checkpoint, a crash, a restore from it, and a finish.
    pub fn whole() -> Self {
        let mut story = Self::begun();
        story.emit(0, 2);
        story.emit(1, 4);
        story.consume_all();
        story.checkpoint();
        story.emit(0, 2);
        story.consume_all();
        story.crash(worker(0));
        story.start(worker(0));
        story.deploy();
        story.finish();
        story
    }

    // --- what is recorded ---

    pub fn record(&mut self, process: Process, what: What) {
        let number = self.numbers.get(&process).copied().unwrap_or(1);
        let time = self.history.entries.len() as u64 * 1000;
        self.history.entries.push(Entry { time, by: Incarnation { process, number }, what });
    }

    pub fn claim(&mut self, process: Process, event: Event) {
        self.record(process, What::Claim(event));
    }

    pub fn fact(&mut self, process: Process, fact: Fact) {
        self.record(process, What::Fact(fact));
    }

    pub fn wrote(&mut self, process: Process, path: &str, bytes: Bytes) {
        self.fact(process, Fact::Written { path: path.to_owned(), bytes });
    }

    pub fn start(&mut self, process: Process) {
        *self.numbers.entry(process).or_default() += 1;
        self.fact(process, Fact::Started);
    }

    pub fn crash(&mut self, process: Process) {
        self.fact(process, Fact::Crashed);
    }

    // --- the coordinator ---

    pub fn lead(&mut self) {
        self.lead_by(Process::COORDINATOR);
    }

    /// A coordinator takes over.
    pub fn lead_by(&mut self, coordinator: Process) {
        self.generation.0 += 1;
        self.attempt = Attempt { generation: self.generation, number: 0 };
        let slot = self.write_slot(SlotRecord::NewGeneration);
        self.claim(coordinator, Event::LeadershipTaken { generation: self.generation, slot });
        self.mark(Mark::Generation { log: LOG, generation: self.generation, token: self.slots });
        if self.generation == Generation(1) {
            self.mark(Mark::Log { log: LOG });
        }
    }

    pub fn write_slot(&mut self, record: SlotRecord) -> u64 {
        self.slots += 1;
        let slot = self.slot(self.generation, record);
        self.wrote(Process::COORDINATOR, &layout::log_entry(self.slots), slot.encode());
        self.slots
    }

    /// The pending checkpoint is given up.
    pub fn abort(&mut self, reason: FailureReason) {
        let checkpoint = self.pending.take().expect("triggered").id;
        self.claim(Process::COORDINATOR, Event::CheckpointAborted { checkpoint, reason });
    }

    /// A new attempt; what is pending is given up first.
    pub fn deploy(&mut self) {
        if self.pending.is_some() {
            self.abort(FailureReason::AttemptOver("the next attempt begins".to_owned()));
        }
        self.deploy_without_cleaning();
    }

    /// A new attempt, whatever is pending.
    pub fn deploy_without_cleaning(&mut self) {
        self.pending = None;
        self.attempt.number += 1;
        let (attempt, restore) = (self.attempt, self.completed.as_ref().map(|completed| completed.id));
        self.run = Run::new(attempt, restore, &self.topology);
        self.seqs.fill(0);
        self.carried.clear();
        self.claim(Process::COORDINATOR, Event::AttemptDeployed { attempt, restore });
        for number in 0..self.topology.subtasks.len() {
            self.restore(number);
        }
        self.claim(Process::COORDINATOR, Event::AttemptRunning { attempt });
    }

    fn restore(&mut self, number: usize) {
        let (attempt, subtask) = (self.attempt, self.topology.subtasks[number]);
        let node = self.topology.graph.operator(subtask.operator);
        let context = SubtaskContext {
            env: self.env.clone(),
            subtask,
            uid: node.uid.clone(),
            parallelism: node.parallelism,
            max_parallelism: self.topology.graph.max_parallelism,
            attempt,
            batch_records: job::BATCH,
            listing: None,
        };
        let mut live = Live::new(&node.factory, &context, node.kind);
        let at = place(subtask);
        if let Some(completed) = &self.completed {
            let checkpoint = completed.id;
            live.restore(checkpoint, &completed.taken[number]).expect("its own snapshot");
            self.claim(at, Event::RestoreStarted { attempt, subtask, checkpoint });
        }
        let (digest, ended) = {
            let taken = live.snapshot();
            (taken.digest, taken.ended)
        };
        let checkpoint = self.run.restore;
        self.claim(at, Event::Restored { attempt, subtask, checkpoint, digest, ended });
        self.run.lives[number] = Some(live);
        self.commit(number, EVERY_ID);
    }

    // --- elements ---

    pub fn subtask(&self, number: usize) -> SubtaskId {
        self.topology.subtasks[number]
    }

    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// Source `index` emits `records`.
    pub fn emit(&mut self, index: usize, records: u64) {
        let (attempt, subtask) = (self.attempt, self.topology.subtasks[index]);
        self.claim(place(subtask), Event::SourceEmitted { attempt, subtask, records });
        self.run.on_emitted(&self.topology, index, records).expect("there are as many");
        self.run.flush(&self.topology, index);
    }

    /// Source `index` emits `records` behind its barrier, and they are taken in front of the consumers' snapshots.
    pub fn overtake(&mut self, index: usize, records: u64) {
        self.emit(index, records);
        for lane in self.topology.outputs[index].clone() {
            let (number, channel) = (self.consumer(lane), self.topology.channels[lane]);
            let checkpoint = self.pending.as_ref().expect("triggered").id;
            let (attempt, subtask) = (self.attempt, self.topology.subtasks[number]);
            let seq = self.next_seq(lane);
            self.claim(place(subtask), Event::BarrierReceived { attempt, subtask, channel, seq, checkpoint });
            self.run.next_element(&self.topology, number, channel, seq).expect("the next element");
            self.overtaken.push(lane);
            self.consume(lane);
        }
    }

    /// Takes the next element of a channel.
    fn next_seq(&mut self, lane: usize) -> u64 {
        let seq = self.seqs[lane];
        self.seqs[lane] += 1;
        seq
    }

    fn consumer(&self, lane: usize) -> usize {
        self.topology.inputs.iter().position(|inputs| inputs.contains(&lane)).expect("a channel that is used")
    }

    /// Everything on a channel is consumed.
    pub fn consume(&mut self, lane: usize) {
        let records = self.run.lanes[lane].queued();
        let number = self.consumer(lane);
        if records > 0 {
            let (seq, channel) = (self.next_seq(lane), self.topology.channels[lane]);
            let (attempt, subtask) = (self.attempt, self.topology.subtasks[number]);
            self.claim(place(subtask), Event::Consumed { attempt, subtask, channel, seq, records });
            self.run.on_consumed(&self.topology, number, (channel, seq), records).expect("they are there");
            self.run.flush(&self.topology, number);
        }
    }

    /// Everything on all channels is consumed.
    pub fn consume_all(&mut self) {
        (0..self.topology.channels.len()).for_each(|lane| self.consume(lane));
    }

    // --- a checkpoint ---

    /// Triggers a checkpoint at all sources.
    pub fn trigger(&mut self) -> CheckpointId {
        self.checkpoints += 1;
        let (attempt, checkpoint) = (self.attempt, CheckpointId(self.checkpoints));
        self.claim(Process::COORDINATOR, Event::CheckpointTriggered { attempt, checkpoint });
        self.pending = Some(Pending { id: checkpoint, taken: vec![None; self.topology.subtasks.len()] });
        checkpoint
    }

    /// The barrier passes all subtasks, in order: each consumes what is in front of it and takes its snapshot.
    pub fn snapshot_all(&mut self) {
        (0..self.topology.subtasks.len()).for_each(|number| self.snapshot(number));
    }

    /// The barrier passes one subtask.
    pub fn snapshot(&mut self, number: usize) {
        let checkpoint = self.pending.as_ref().expect("triggered").id;
        let (attempt, subtask) = (self.attempt, self.topology.subtasks[number]);
        if let Some(carried) = self.carried.get(&number) {
            self.pending.as_mut().expect("triggered").taken[number] = Some(carried.clone());
            return;
        }
        let (at, mut lanes) = (place(subtask), self.topology.inputs[number].clone());
        lanes.retain(|lane| !self.carried.contains_key(&self.topology.producers[*lane]));
        if lanes.is_empty() {
            self.claim(at, Event::TriggerReceived { attempt, subtask, checkpoint });
        }
        for lane in &lanes {
            self.consume(*lane);
        }
        for (nth, lane) in lanes.iter().enumerate() {
            if self.overtaken.contains(lane) {
                self.overtaken.retain(|overtaken| overtaken != lane);
                continue;
            }
            let (seq, channel) = (self.next_seq(*lane), self.topology.channels[*lane]);
            self.claim(at, Event::BarrierReceived { attempt, subtask, channel, seq, checkpoint });
            self.run.next_element(&self.topology, number, channel, seq).expect("the next element");
            if nth == 0 {
                self.claim(at, Event::AlignmentStarted { attempt, subtask, checkpoint });
            }
        }
        if !lanes.is_empty() {
            self.claim(at, Event::AlignmentEnded { attempt, subtask, checkpoint });
        }
        self.run.flush(&self.topology, number);
        self.claim(at, Event::BarrierEmitted { attempt, subtask, checkpoint });
        if self.topology.graph.operator(subtask.operator).kind == OperatorKind::Sink {
            self.run.live(number).expect("restored").prepare(checkpoint).expect("staged");
            for (path, bytes) in self.storage.take_written() {
                self.wrote(at, &path, bytes);
            }
            self.claim(at, Event::Prepared { attempt, subtask, checkpoint });
        }
        let taken = self.run.live(number).expect("restored").snapshot();
        self.claim(at, Event::SnapshotTaken { attempt, subtask, checkpoint, ended: taken.ended });
        self.upload(number, taken);
    }

    fn upload(&mut self, number: usize, taken: Rc<Taken>) {
        let checkpoint = self.pending.as_ref().expect("triggered").id;
        let (attempt, subtask) = (self.attempt, self.topology.subtasks[number]);
        let mut builder = BlobBuilder::default();
        taken.sections().iter().for_each(|section| {
            builder.add(section);
        });
        let Finished { rest: bytes, digest, .. } = builder.finish();
        let path =
            layout::snapshot(checkpoint, &self.topology.graph.operator(subtask.operator).uid, subtask.index, attempt);
        let (at, size) = (place(subtask), bytes.len() as u64);
        let handle = SnapshotHandle {
            path: path.clone(),
            bytes: size,
            checksum: crc32c::crc32c(&bytes),
            digest,
            ended: taken.ended,
        };
        self.claim(at, Event::UploadStarted { attempt, subtask, checkpoint, path: path.clone(), bytes: size });
        self.wrote(at, &path, bytes);
        self.claim(at, Event::UploadEnded { attempt, subtask, checkpoint, path, digest });
        self.claim(at, Event::AckSent { attempt, subtask, checkpoint, digest });
        self.claim(Process::COORDINATOR, Event::AckReceived { attempt, checkpoint, subtask });
        self.pending.as_mut().expect("triggered").taken[number] = Some((taken, handle));
    }

    /// The manifest and the slot are written: the commit point.
    pub fn complete(&mut self) {
        let Pending { id: checkpoint, taken } = self.pending.take().expect("triggered");
        let (taken, handles): (Vec<_>, Vec<_>) = taken.into_iter().map(|taken| taken.expect("all acks are in")).unzip();
        let mut rest = handles.clone().into_iter();
        let operator = |node: &cofferdam_engine::graph::OperatorNode| OperatorSnapshot {
            uid: node.uid.clone(),
            states: Vec::new(),
            subtasks: rest.by_ref().take(usize::from(node.parallelism)).collect(),
            statistics: vec![SnapshotStatistics::default(); usize::from(node.parallelism)],
        };
        let manifest = Manifest {
            checkpoint,
            attempt: self.attempt,
            job: self.topology.graph.name.clone(),
            max_parallelism: self.topology.graph.max_parallelism,
            triggered_ms: 0,
            duration_ms: 1,
            operators: self.topology.graph.operators.iter().map(operator).collect(),
            listing: self.listing.clone(),
        };
        let (path, last) = (layout::manifest(checkpoint, self.attempt), manifest.last());
        self.claim(Process::COORDINATOR, Event::ManifestStarted { checkpoint, path: path.clone() });
        self.wrote(Process::COORDINATOR, &path, manifest.encode());
        self.claim(Process::COORDINATOR, Event::ManifestWritten { checkpoint, path: path.clone() });
        let floor = self.slots + 1;
        self.claim(Process::COORDINATOR, Event::CompletionStarted { checkpoint, slot: floor });
        let slot = self.write_slot(SlotRecord::Completed { checkpoint, manifest: path.clone(), floor });
        self.mark(Mark::Completed { log: LOG, generation: self.generation, checkpoint });
        let (bytes, duration_ms) = (manifest.bytes(), 1);
        let durable = Event::CompletionDurable { checkpoint, slot, manifest: path, bytes, duration_ms, last };
        self.claim(Process::COORDINATOR, durable);
        self.completed = Some(Completed { id: checkpoint, taken, handles });
    }

    /// The sinks are notified and commit.
    pub fn notify(&mut self) {
        let upto = self.completed.as_ref().expect("completed").id;
        (0..self.topology.subtasks.len()).for_each(|number| self.commit(number, upto));
    }

    fn commit(&mut self, number: usize, upto: CheckpointId) {
        let (attempt, subtask) = (self.attempt, self.topology.subtasks[number]);
        let pending: Vec<_> = self.run.live(number).expect("restored").pending.keys().copied().collect();
        for checkpoint in pending.into_iter().filter(|checkpoint| *checkpoint <= upto) {
            self.claim(place(subtask), Event::CommitStarted { attempt, subtask, checkpoint });
            let live = self.run.live(number).expect("restored");
            live.commit(checkpoint).expect("committed");
            live.pending.remove(&checkpoint);
            for (path, bytes) in self.storage.take_written() {
                self.wrote(place(subtask), &path, bytes);
            }
            self.claim(place(subtask), Event::CommitEnded { attempt, subtask, checkpoint });
        }
    }

    /// A whole checkpoint.
    pub fn checkpoint(&mut self) -> CheckpointId {
        let checkpoint = self.trigger();
        self.snapshot_all();
        self.complete();
        self.notify();
        checkpoint
    }

    /// The rest of the input is processed, the final checkpoint completes, the job finishes.
    pub fn finish(&mut self) {
        for source in 0..2 {
            while self.has_more(source) {
                self.emit(source, 1);
            }
        }
        self.end_input();
        let checkpoint = self.checkpoint();
        let floor = self.slots;
        self.write_slot(SlotRecord::Ended { how: Ended::Finished { checkpoint }, floor });
        self.claim(Process::COORDINATOR, Event::JobFinished { checkpoint });
        self.sweep();
        self.fact(Process::COORDINATOR, Fact::Ended(Ok("finished".to_owned())));
    }

    /// A client has the job cancelled, which keeps what is retained.
    pub fn cancel(&mut self) {
        let client = Process::Client(ClientId(0));
        let (attempt, cause) = (self.attempt, "the job is cancelled".to_owned());
        self.start(client);
        self.claim(client, Event::WishSent { wish: Wish::Cancel });
        self.claim(Process::COORDINATOR, Event::RequestReceived { request: 7, wish: Wish::Cancel });
        self.claim(Process::COORDINATOR, Event::AttemptFailed { attempt, cause });
        let (floor, kept) = (self.slots, self.completed.as_ref().map(|completed| completed.id));
        self.write_slot(SlotRecord::Ended { how: Ended::Cancelled, floor });
        self.claim(Process::COORDINATOR, Event::JobCancelled { checkpoint: kept });
        let answer = Answer::Over { how: Ended::Cancelled, kept };
        self.claim(Process::COORDINATOR, Event::RequestAnswered { request: 7, answer: answer.clone() });
        self.claim(client, Event::AnswerHeard { answer });
        self.sweep();
    }

    /// The clean-up will overlook an object.
    pub fn spare(&mut self, path: &str) {
        self.spared.push(path.to_owned());
    }

    /// Everything that nothing points to is deleted.
    /// The job fails for good, and its newest checkpoint stays.
    pub fn fail(&mut self, cause: &str) {
        let (floor, cause) = (self.slots, cause.to_owned());
        self.write_slot(SlotRecord::Ended { how: Ended::Failed { cause: cause.clone() }, floor });
        self.claim(Process::COORDINATOR, Event::JobFailed { cause });
        self.sweep();
    }

    fn sweep(&mut self) {
        let completed = self.completed.as_ref().expect("the final checkpoint");
        let mut keep: Vec<String> = completed.handles.iter().map(|handle| handle.path.clone()).collect();
        keep.push(layout::manifest(completed.id, self.attempt));
        keep.extend([layout::log_entry(self.slots - 1), layout::log_entry(self.slots)]);
        keep.extend(self.spared.iter().chain(self.listing.iter().map(|listing| &listing.path)).cloned());
        let mut stored = std::collections::BTreeSet::new();
        for entry in &self.history.entries {
            match &entry.what {
                What::Fact(Fact::Written { path, .. }) => stored.insert(path.clone()),
                What::Fact(Fact::Deleted { path }) => stored.remove(path),
                _ => false,
            };
        }
        let hidden = |path: &String| path.starts_with("output/.") || path.starts_with("checkpoints/");
        for path in stored.into_iter().filter(|path| hidden(path) && !keep.contains(path)) {
            self.claim(Process::COORDINATOR, Event::DeleteStarted { path: path.clone() });
            self.fact(Process::COORDINATOR, Fact::Deleted { path });
        }
    }

    fn has_more(&mut self, source: usize) -> bool {
        let text = &self.history.initial[&format!("input/numbers-{source}")];
        let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
        let position = self.run.live(source).expect("restored").snapshot();
        u64::from_le_bytes(position.sections()[0].bytes[..].try_into().expect("eight bytes")) < lines
    }

    /// The end of the input passes all subtasks.
    pub fn end_input(&mut self) {
        (0..self.topology.subtasks.len()).for_each(|number| self.end_input_of(number));
    }

    /// The end of the input passes one subtask; ends that it has taken already do not come again.
    pub fn end_input_of(&mut self, number: usize) {
        let (attempt, subtask) = (self.attempt, self.topology.subtasks[number]);
        for lane in self.topology.inputs[number].clone() {
            if self.run.lanes[lane].ended {
                continue;
            }
            self.consume(lane);
            let (seq, channel) = (self.next_seq(lane), self.topology.channels[lane]);
            self.claim(place(subtask), Event::EndReceived { attempt, subtask, channel, seq });
            self.run.on_end_received(&self.topology, number, (channel, seq)).expect("its turn");
        }
        self.claim(place(subtask), Event::InputEnded { attempt, subtask });
        self.run.on_input_ended(&self.topology, number).expect("its turn");
        self.run.flush(&self.topology, number);
    }

    /// A subtask takes the end of its channel from source `index`.
    pub fn take_end(&mut self, number: usize, index: usize) {
        for lane in self.topology.inputs[number].clone() {
            if self.topology.producers[lane] != index {
                continue;
            }
            self.consume(lane);
            let (attempt, subtask) = (self.attempt, self.topology.subtasks[number]);
            let (seq, channel) = (self.next_seq(lane), self.topology.channels[lane]);
            self.claim(place(subtask), Event::EndReceived { attempt, subtask, channel, seq });
            self.run.on_end_received(&self.topology, number, (channel, seq)).expect("its turn");
        }
    }

    /// A subtask exits, its end being durable, and its consumers take the close of its channels.
    pub fn leave(&mut self, number: usize) {
        let (attempt, subtask) = (self.attempt, self.topology.subtasks[number]);
        let completed = self.completed.as_ref().expect("a checkpoint that holds its end");
        self.carried.insert(number, (completed.taken[number].clone(), completed.handles[number].clone()));
        self.claim(place(subtask), Event::SubtaskFinished { attempt, subtask });
        for lane in self.topology.outputs[number].clone() {
            let consumer = self.consumer(lane);
            let (seq, channel) = (self.next_seq(lane), self.topology.channels[lane]);
            let subtask = self.topology.subtasks[consumer];
            self.claim(place(subtask), Event::ClosedReceived { attempt, subtask, channel, seq });
            self.run.on_closed_received(&self.topology, consumer, (channel, seq)).expect("its turn");
        }
    }

    /// Paths of the newest completed checkpoint's snapshots.
    pub fn blobs(&self) -> Vec<String> {
        self.completed.iter().flat_map(|completed| &completed.handles).map(|handle| handle.path.clone()).collect()
    }
}

/// A worker.
pub fn worker(number: u16) -> Process {
    Process::Worker(WorkerId(number))
}

/// Which worker runs a subtask.
pub fn place(subtask: SubtaskId) -> Process {
    worker(subtask.index % 2)
}

//! One attempt on one worker: its channels, subtasks and links.
//!
//! 1. A channel whose two ends live here is one queue. Otherwise the producer's worker has a queue that a link drains, and the
//!    consumer's worker one that a link fills ([`link`]).
//! 2. Links to other workers are opened at once; links from them are attached when they arrive.
//! 3. A subtask that has finished is nobody's to trigger any more: a trigger that was under way is declined (FLINK-23741), and
//!    a link ends by itself when everybody who used it has finished.
//! 4. Cancelling drops every task at its next suspension point. What was under way in storage may still happen, and goes on
//!    being counted ([`Changes`]).

use super::Input;
use crate::cores::links::{Barriers, Violation};
use crate::cores::transactions::Completion;
use crate::door::{Bell, Connection, Env, Site, TaskHandle};
use crate::element::Barrier;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::graph::{Edge, Job, JobGraph, SubtaskContext};
use crate::ids::{Attempt, ChannelId, CheckpointId, SubtaskId, WorkerId, lane};
use crate::messages::{Deployment, ListingHandle, SnapshotHandle, ToCoordinator, ToWorker};
use crate::reason::FailureReason;
use crate::runtime::changes::Changes;
use crate::runtime::channel::{ChannelReceiver, ChannelSender, Upstream, channel};
use crate::runtime::link::{self, IncomingLane, OutgoingLane, Pace, SharedBarriers};
use crate::runtime::mailbox::{Mailbox, Postbox};
use crate::runtime::subtask::{Control, InputChannel, OutputEdge, SubtaskShell};
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const CONNECT_TRIES: u32 = 20;
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// The running tasks of an attempt.
pub(super) struct RunningAttempt {
    attempt: Attempt,
    me: WorkerId,
    env: Env,
    secret: Secret,
    /// What sources read.
    listing: Option<ListingHandle>,
    pace: Pace,
    /// The way to each subtask that has not finished.
    controls: BTreeMap<SubtaskId, Postbox<Control>>,
    reports: Postbox<ToCoordinator>,
    tasks: Vec<Arc<dyn TaskHandle>>,
    cancelled: Arc<AtomicBool>,
    /// Consuming ends that wait for their producing worker to connect.
    awaited: BTreeMap<WorkerId, Awaited>,
    /// What enters from the coordinator and on links.
    barriers: SharedBarriers,
    inputs: Postbox<Input>,
    changes: Changes,
}

/// The consuming ends of all channels from one worker.
struct Awaited {
    lanes: BTreeMap<ChannelId, IncomingLane>,
    taken: Mailbox<ChannelId>,
}

/// Everything needed while building.
struct Build<'a> {
    env: &'a Env,
    graph: &'a JobGraph,
    credits: u32,
    me: WorkerId,
    placement: BTreeMap<SubtaskId, WorkerId>,
    /// Ends that have been made and not yet been given to their subtask.
    senders: BTreeMap<ChannelId, ChannelSender>,
    receivers: BTreeMap<ChannelId, ChannelReceiver>,
    /// Credit bell of each producing subtask here.
    bells: BTreeMap<SubtaskId, Arc<dyn Bell>>,
    outgoing: BTreeMap<WorkerId, Vec<OutgoingLane>>,
    incoming: BTreeMap<WorkerId, (Postbox<ChannelId>, Awaited)>,
}

impl RunningAttempt {
    /// Builds and starts everything the deployment places on `me`.
    pub(super) fn start(
        env: &Env,
        job: &Job,
        (me, secret): (WorkerId, Secret),
        deployment: &Deployment,
        reports: Postbox<ToCoordinator>,
        inputs: Postbox<Input>,
        changes: Changes,
    ) -> Self {
        let graph = &*job.graph;
        let mut build = Build {
            env,
            graph,
            credits: job.config.credits,
            me,
            placement: deployment.placement.iter().copied().collect(),
            senders: BTreeMap::new(),
            receivers: BTreeMap::new(),
            bells: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
        };
        build.bells();
        graph.edges.iter().for_each(|edge| build.channels(edge));
        let mut running = Self {
            attempt: deployment.attempt,
            me,
            env: env.clone(),
            secret,
            listing: deployment.listing.clone(),
            pace: Pace::of(job.config.heartbeat_timeout),
            controls: BTreeMap::new(),
            reports,
            tasks: Vec::new(),
            cancelled: Arc::default(),
            awaited: BTreeMap::new(),
            barriers: Arc::new(Mutex::new(Barriers::new(deployment.restore.as_ref().map(|from| from.checkpoint)))),
            inputs,
            changes,
        };
        let mut restore = deployment.restore.clone().map_or_else(BTreeMap::new, |from| {
            let completion = Completion::restored(&from);
            from.snapshots.into_iter().map(|(subtask, handle)| (subtask, (completion, handle))).collect()
        });
        let mine: Vec<SubtaskId> = build.mine().collect();
        for subtask in mine {
            running.start_subtask(&mut build, job, subtask, restore.remove(&subtask));
        }
        let addresses: BTreeMap<WorkerId, String> = deployment.addresses.iter().cloned().collect();
        for (to, lanes) in std::mem::take(&mut build.outgoing) {
            let address = addresses.get(&to).expect("every worker of the placement has an address").clone();
            running.open_link(to, address, lanes);
        }
        running.awaited = build.incoming.into_iter().map(|(from, (_, awaited))| (from, awaited)).collect();
        running
    }

    /// Which attempt.
    pub(super) fn id(&self) -> Attempt {
        self.attempt
    }

    fn start_subtask(
        &mut self,
        build: &mut Build<'_>,
        job: &Job,
        subtask: SubtaskId,
        restore: Option<(Completion, SnapshotHandle)>,
    ) {
        let operator = build.graph.operator(subtask.operator);
        let context = SubtaskContext {
            env: build.env.clone(),
            subtask,
            uid: operator.uid.clone(),
            parallelism: operator.parallelism,
            max_parallelism: build.graph.max_parallelism,
            attempt: self.attempt,
            batch_records: job.config.batch_records,
            listing: self.listing.clone(),
        };
        let (control, messages) = Mailbox::new(build.env, Site::new("control", subtask.lane()));
        let shell = SubtaskShell {
            instance: (operator.factory)(&context),
            inputs: build.inputs_of(subtask),
            outputs: build.outputs_of(subtask),
            control: messages,
            credit: build.bells[&subtask].clone(),
            reports: self.reports.clone(),
            cancelled: self.cancelled.clone(),
            snapshot_mode: job.config.checkpoints.snapshot,
            part_bytes: job.config.checkpoints.part_bytes,
            restore,
            changes: self.changes.clone(),
            context,
        };
        self.controls.insert(subtask, control);
        let task = build.env.spawner.spawn(Site::new("subtask", subtask.lane()), Box::pin(shell.run()));
        self.tasks.push(task.into());
    }

    fn open_link(&mut self, to: WorkerId, address: String, lanes: Vec<OutgoingLane>) {
        let site = Site::new("link-out", lane(self.me.0, to.0, 0, 0));
        let (attempt, pace, inputs, env) = (self.attempt, self.pace, self.inputs.clone(), self.env.clone());
        let (ends, secret) = ((attempt, self.me, to), self.secret.clone());
        let carry = async move {
            if let Err(cause) = run_outgoing(env, site, address, (ends, secret), lanes, pace).await {
                let cause = cause.while_doing(format_args!("link to {to}"));
                inputs.post(Input::LinkBroken { attempt, cause });
            }
        };
        self.tasks.push(self.env.spawner.spawn(site, Box::pin(carry)).into());
    }

    /// A producing worker has connected.
    pub(super) fn attach(&mut self, from: WorkerId, connection: Connection) {
        let Some(Awaited { lanes, taken }) = self.awaited.remove(&from) else { return };
        let site = Site::new("link-in", lane(self.me.0, from.0, 0, 0));
        let (attempt, pace, env) = (self.attempt, self.pace, self.env.clone());
        let broken = move |inputs: Postbox<Input>, cause: Error| {
            inputs.post(Input::LinkBroken { attempt, cause: cause.while_doing(format_args!("link from {from}")) });
        };
        let (receiver, sender) = (connection.receiver, connection.sender);
        let inputs = self.inputs.clone();
        let write = link::write_credits(env.clone(), sender, taken, pace);
        let write = async move { broken(inputs, write.await) };
        let write: Arc<dyn TaskHandle> = self.env.spawner.spawn(site, Box::pin(write)).into();
        self.tasks.push(write.clone());
        let (inputs, barriers) = (self.inputs.clone(), self.barriers.clone());
        let read = async move {
            match link::read_elements(env, receiver, lanes, barriers, pace).await {
                // Everybody at the other end has finished: with this the last half of the connection goes.
                Ok(()) => write.abort(),
                Err(cause) => broken(inputs, cause),
            }
        };
        self.tasks.push(self.env.spawner.spawn(site, Box::pin(read)).into());
    }

    /// A subtask has finished: nobody there takes what it is told.
    pub(super) fn finished(&mut self, subtask: SubtaskId) {
        self.controls.remove(&subtask);
    }

    fn trigger(&self, barrier: Barrier, subtask: SubtaskId) {
        match self.controls.get(&subtask) {
            Some(control) => control.post(Control::Trigger(barrier)),
            None => self.decline(barrier.checkpoint, subtask),
        }
    }

    fn decline(&self, checkpoint: CheckpointId, subtask: SubtaskId) {
        let (attempt, reason) = (self.attempt, FailureReason::TaskClosing);
        self.env.emit(Event::DeclineSent { attempt, subtask, checkpoint, reason: reason.clone() });
        self.reports.post(ToCoordinator::Decline { attempt, checkpoint, subtask, reason });
    }

    /// Passes a message of the coordinator to the subtasks it concerns. An error says why it cannot be right.
    pub(super) fn tell(&self, message: &ToWorker) -> Result<(), Violation> {
        match message {
            ToWorker::Trigger { barrier, subtasks, .. } => {
                self.barriers.lock().unwrap_or_else(PoisonError::into_inner).on_barrier(*barrier)?;
                subtasks.iter().for_each(|subtask| self.trigger(*barrier, *subtask));
            }
            ToWorker::Completed { .. } => {
                let completion = Completion::announced(message).expect("it is a completion");
                self.controls.values().for_each(|control| control.post(Control::Completed(completion)));
            }
            ToWorker::Aborted { checkpoint, .. } => {
                self.controls.values().for_each(|control| control.post(Control::Aborted(*checkpoint)));
            }
            ToWorker::Welcome { .. }
            | ToWorker::Standby
            | ToWorker::Occupied
            | ToWorker::Refused { .. }
            | ToWorker::Heartbeat
            | ToWorker::Deploy(_)
            | ToWorker::Cancel { .. }
            | ToWorker::JobDone => unreachable!("not for subtasks"),
        }
        Ok(())
    }

    /// Stops every task.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.tasks.iter().for_each(|task| task.abort());
    }
}

async fn run_outgoing(
    env: Env,
    site: Site,
    address: String,
    (ends, secret): ((Attempt, WorkerId, WorkerId), Secret),
    lanes: Vec<OutgoingLane>,
    pace: Pace,
) -> Result<()> {
    let mut tries = 1;
    let connection = loop {
        match link::open(&env, &address, CONNECT_LIMIT, &secret, ends).await {
            Ok(connection) => break connection,
            Err(error) if tries == CONNECT_TRIES => return Err(error.into()),
            Err(_) => tries += 1,
        }
        env.sleep(CONNECT_PAUSE).await;
    };
    link::carry(&env, site, connection, lanes, pace, link::RECORDS_BYTES_MAX).await
}

impl Build<'_> {
    fn mine(&self) -> impl Iterator<Item = SubtaskId> {
        self.placement.iter().filter(|(_, worker)| **worker == self.me).map(|(subtask, _)| *subtask)
    }

    fn worker_of(&self, subtask: SubtaskId) -> WorkerId {
        *self.placement.get(&subtask).expect("the placement covers every subtask")
    }

    fn bells(&mut self) {
        let bells = self.mine().map(|subtask| (subtask, self.env.spawner.bell(Site::new("credit", subtask.lane()))));
        self.bells = bells.collect();
    }

    /// Makes the local ends of every channel of an edge.
    fn channels(&mut self, edge: &Edge) {
        for to in 0..self.graph.operator(edge.to).parallelism {
            for from in self.graph.producers(edge, to) {
                let id = ChannelId { edge: edge.id, from, to };
                let producer = SubtaskId { operator: edge.from, index: from };
                let consumer = SubtaskId { operator: edge.to, index: to };
                self.channel(edge, id, producer, consumer);
            }
        }
    }

    fn channel(&mut self, edge: &Edge, id: ChannelId, producer: SubtaskId, consumer: SubtaskId) {
        let (producer_at, consumer_at) = (self.worker_of(producer), self.worker_of(consumer));
        if producer_at == self.me {
            let upstream = Upstream::Local(self.bells[&producer].clone());
            let what = if consumer_at == self.me { "channel" } else { "channel-out" };
            let (sender, receiver) = channel(self.env, Site::new(what, id.lane()), id, self.credits, upstream);
            self.senders.insert(id, sender);
            if consumer_at == self.me {
                self.receivers.insert(id, receiver);
            } else {
                let producer = self.graph.operator(edge.from).uid.clone();
                let lane = OutgoingLane::new(receiver, edge.codec, producer, self.credits);
                self.outgoing.entry(consumer_at).or_default().push(lane);
            }
        } else if consumer_at == self.me {
            let (env, me) = (self.env, self.me);
            let (taken, awaited) = self.incoming.entry(producer_at).or_insert_with(|| {
                let site = Site::new("credit-out", lane(me.0, producer_at.0, 0, 0));
                let (post, taken) = Mailbox::new(env, site);
                (post, Awaited { lanes: BTreeMap::new(), taken })
            });
            let upstream = Upstream::Link(taken.clone());
            let (queue, receiver) = channel(env, Site::new("channel-in", id.lane()), id, self.credits, upstream);
            awaited.lanes.insert(id, IncomingLane { queue, codec: edge.codec });
            self.receivers.insert(id, receiver);
        }
    }

    fn inputs_of(&mut self, subtask: SubtaskId) -> Vec<InputChannel> {
        let mut inputs = Vec::new();
        for edge in self.graph.inputs(subtask.operator) {
            for from in self.graph.producers(edge, subtask.index) {
                let id = ChannelId { edge: edge.id, from, to: subtask.index };
                let queue = self.receivers.remove(&id).expect("made for every consumer here");
                inputs.push(InputChannel { queue, input: edge.input });
            }
        }
        inputs
    }

    fn outputs_of(&mut self, subtask: SubtaskId) -> Vec<OutputEdge> {
        let mut outputs = Vec::new();
        for edge in self.graph.outputs(subtask.operator) {
            let mut targets = Vec::new();
            for to in self.graph.consumers(edge, subtask.index) {
                let id = ChannelId { edge: edge.id, from: subtask.index, to };
                targets.push((to, self.senders.remove(&id).expect("made for every producer here")));
            }
            outputs.push(OutputEdge { edge: edge.id, targets });
        }
        outputs
    }
}

//! One attempt on one worker: its channels, subtasks and links, as the core has wired them ([`crate::cores::wiring`]).
//!
//! 1. A channel whose two ends are here is one queue. Otherwise the producer's worker has a queue that a link drains, and the
//!    consumer's worker one that a link fills ([`link`]).
//! 2. Links to other workers are opened at once; links from them are attached when they arrive. A link ends by itself when
//!    every subtask that used it has finished.
//! 3. Cancelling drops the tasks of subtasks and links at their next suspension point. An upload goes on: it reads
//!    `cancelled`, begins no further page, and reports nothing. What was under way in storage may still happen, and
//!    goes on being counted ([`Changes`](crate::runtime::changes::Changes)).
//!
//! Owns: queues and tasks. Does not own: which attempt runs, which subtask takes a message ([`crate::cores::hosting`]).

use super::Input;
use super::means::Means;
use crate::cores::links::{Barriers, Violation};
use crate::cores::wiring::{Channel, Ends, Subtask, Wiring};
use crate::door::{Bell, Connection, Env, Site, TaskHandle};
use crate::element::Barrier;
use crate::error::{Error, Result};
use crate::graph::SubtaskContext;
use crate::ids::{Attempt, ChannelId, SubtaskId, WorkerId, lane};
use crate::messages::ListingHandle;
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

/// The tasks of an attempt, uploads aside.
pub(super) struct RunningAttempt {
    attempt: Attempt,
    me: WorkerId,
    env: Env,
    secret: Secret,
    /// What sources read.
    listing: Option<ListingHandle>,
    pace: Pace,
    /// The way to each subtask.
    controls: BTreeMap<SubtaskId, Postbox<Control>>,
    tasks: Vec<Arc<dyn TaskHandle>>,
    cancelled: Arc<AtomicBool>,
    /// Consuming ends that wait for their producing worker to connect.
    awaited: BTreeMap<WorkerId, Awaited>,
    /// What enters from the coordinator and on links.
    barriers: SharedBarriers,
    inputs: Postbox<Input>,
}

/// The consuming ends of all channels from one worker.
struct Awaited {
    lanes: BTreeMap<ChannelId, IncomingLane>,
    taken: Mailbox<ChannelId>,
}

/// Everything needed while building.
struct Build<'a> {
    means: &'a Means,
    /// Ends that have been made and not yet been given to their subtask.
    senders: BTreeMap<ChannelId, ChannelSender>,
    receivers: BTreeMap<ChannelId, ChannelReceiver>,
    /// Credit bell of each subtask here.
    bells: BTreeMap<SubtaskId, Arc<dyn Bell>>,
    outgoing: BTreeMap<WorkerId, Vec<OutgoingLane>>,
    incoming: BTreeMap<WorkerId, (Postbox<ChannelId>, Awaited)>,
}

impl RunningAttempt {
    /// Builds and starts what the core has wired.
    pub fn start(means: &Means, wiring: Wiring) -> Self {
        let Wiring { attempt, listing, restored, subtasks, channels, links } = wiring;
        let mut build = Build {
            means,
            senders: BTreeMap::new(),
            receivers: BTreeMap::new(),
            bells: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
        };
        subtasks.iter().for_each(|wired| build.bell(wired.subtask));
        channels.into_iter().for_each(|channel| build.channel(channel));
        let mut running = Self {
            attempt,
            me: means.me,
            env: means.env.clone(),
            secret: means.secret.clone(),
            listing,
            pace: Pace::of(means.job.config.heartbeat_timeout),
            controls: BTreeMap::new(),
            tasks: Vec::new(),
            cancelled: Arc::default(),
            awaited: BTreeMap::new(),
            barriers: Arc::new(Mutex::new(Barriers::new(restored))),
            inputs: means.inputs.clone(),
        };
        subtasks.into_iter().for_each(|wired| running.start_subtask(&mut build, wired));
        for (to, address) in links {
            let lanes = build.outgoing.remove(&to).expect("a link has lanes");
            running.open_link(to, address, lanes);
        }
        running.awaited = build.incoming.into_iter().map(|(from, (_, awaited))| (from, awaited)).collect();
        running
    }

    fn start_subtask(&mut self, build: &mut Build<'_>, wired: Subtask) {
        let Subtask { subtask, restore, inputs, outputs } = wired;
        let Means { env, job, reports, changes, .. } = build.means;
        let operator = job.graph.operator(subtask.operator);
        let context = SubtaskContext {
            env: env.clone(),
            subtask,
            uid: operator.uid.clone(),
            parallelism: operator.parallelism,
            max_parallelism: job.graph.max_parallelism,
            attempt: self.attempt,
            batch_records: job.config.batch_records,
            listing: self.listing.clone(),
        };
        let (control, messages) = Mailbox::new(env, Site::new("control", subtask.lane()));
        let shell = SubtaskShell {
            instance: (operator.factory)(&context),
            inputs: inputs.into_iter().map(|(id, input)| build.input(id, input)).collect(),
            outputs: outputs
                .into_iter()
                .map(|(edge, channels)| OutputEdge { edge, targets: build.targets(&channels) })
                .collect(),
            control: messages,
            credit: build.bells[&subtask].clone(),
            reports: reports.clone(),
            cancelled: self.cancelled.clone(),
            snapshot_mode: job.config.checkpoints.snapshot,
            part_bytes: job.config.checkpoints.part_bytes,
            restore,
            changes: changes.clone(),
            context,
        };
        self.controls.insert(subtask, control);
        let task = env.spawner.spawn(Site::new("subtask", subtask.lane()), Box::pin(shell.run()));
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
    pub fn attach(&mut self, from: WorkerId, connection: Connection) {
        let Awaited { lanes, taken } = self.awaited.remove(&from).expect("a link is attached once");
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
                // All subtasks at the other end have finished: with this the last half of the connection goes.
                Ok(()) => write.abort(),
                Err(cause) => broken(inputs, cause),
            }
        };
        self.tasks.push(self.env.spawner.spawn(site, Box::pin(read)).into());
    }

    /// Compares a barrier with those that came on links. An error says why it cannot be right.
    pub fn compare(&self, barrier: Barrier) -> Result<(), Violation> {
        self.barriers.lock().unwrap_or_else(PoisonError::into_inner).on_barrier(barrier)
    }

    /// Passes a message to subtasks.
    pub fn tell(&self, subtasks: &[SubtaskId], control: Control) {
        subtasks.iter().for_each(|subtask| self.controls[subtask].post(control));
    }

    /// Drops the tasks of subtasks and links. Uploads read the flag.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.tasks.iter().for_each(|task| task.abort());
    }
}

impl Build<'_> {
    fn bell(&mut self, subtask: SubtaskId) {
        let bell = self.means.env.spawner.bell(Site::new("credit", subtask.lane()));
        self.bells.insert(subtask, bell);
    }

    /// Makes the ends of a channel that are here.
    fn channel(&mut self, Channel { id, ends }: Channel) {
        let (graph, credits) = (&self.means.job.graph, self.means.job.config.credits);
        let (env, me, edge) = (&self.means.env, self.means.me, graph.edge(id.edge));
        match ends {
            Ends::Here { producer } => {
                let upstream = Upstream::Local(self.bells[&producer].clone());
                let (sender, receiver) = channel(env, Site::new("channel", id.lane()), id, credits, upstream);
                self.senders.insert(id, sender);
                self.receivers.insert(id, receiver);
            }
            Ends::Outgoing { producer, to } => {
                let upstream = Upstream::Local(self.bells[&producer].clone());
                let (sender, receiver) = channel(env, Site::new("channel-out", id.lane()), id, credits, upstream);
                self.senders.insert(id, sender);
                let uid = graph.operator(edge.from).uid.clone();
                let lane = OutgoingLane::new(receiver, edge.codec, uid, credits);
                self.outgoing.entry(to).or_default().push(lane);
            }
            Ends::Incoming { from } => {
                let (taken, awaited) = self.incoming.entry(from).or_insert_with(|| {
                    let site = Site::new("credit-out", lane(me.0, from.0, 0, 0));
                    let (post, taken) = Mailbox::new(env, site);
                    (post, Awaited { lanes: BTreeMap::new(), taken })
                });
                let upstream = Upstream::Link(taken.clone());
                let (queue, receiver) = channel(env, Site::new("channel-in", id.lane()), id, credits, upstream);
                awaited.lanes.insert(id, IncomingLane { queue, codec: edge.codec });
                self.receivers.insert(id, receiver);
            }
        }
    }

    fn input(&mut self, id: ChannelId, input: u16) -> InputChannel {
        InputChannel { queue: self.receivers.remove(&id).expect("made for every consumer here"), input }
    }

    fn targets(&mut self, channels: &[ChannelId]) -> Vec<(u16, ChannelSender)> {
        let sender = |id: &ChannelId| (id.to, self.senders.remove(id).expect("made for every producer here"));
        channels.iter().map(sender).collect()
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

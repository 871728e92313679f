//! Wiring: what one worker runs of an attempt, and what that is connected with, as a value. The shell makes exactly
//! this and decides nothing.
//!
//! ```text
//!  worker 1                                   worker 2
//!  [numbers/0] ── channel, both ends ──> [map/0]
//!             └── channel ── link 1 to 2 ──────────────> [map/1]
//! ```
//!
//! 1. The subtasks that the placement puts here run here. Each restores its own snapshot, if the attempt restores any.
//! 2. A channel has a producing and a consuming end. Both here: one queue. One here: a link brings the elements to the
//!    worker of the other end, or from it.
//! 3. There is one link for each ordered pair of workers. The producing worker opens it.
//!
//! Owns: nothing, it is made once for each deployment. Does not own: queues, tasks, connections.
//! Invariants (`validate`): every channel with an end here is the input of its consumer and the output of its producer
//! exactly once, as far as they run here.

use super::transactions::Completion;
use crate::graph::{Edge, JobGraph};
use crate::ids::{Attempt, ChannelId, CheckpointId, EdgeId, SubtaskId, WorkerId};
use crate::messages::{Deployment, ListingHandle, SnapshotHandle};
use std::collections::{BTreeMap, BTreeSet};

/// What runs on one worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wiring {
    /// Of this attempt.
    pub attempt: Attempt,
    /// What sources read.
    pub listing: Option<ListingHandle>,
    /// The checkpoint that the attempt restores.
    pub restored: Option<CheckpointId>,
    /// The subtasks here, in order.
    pub subtasks: Vec<Subtask>,
    /// Every channel with an end here, in the order in which they are made.
    pub channels: Vec<Channel>,
    /// The workers that elements are brought to, in order, with their addresses.
    pub links: Vec<(WorkerId, String)>,
}

/// A subtask that runs here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subtask {
    /// Which one.
    pub subtask: SubtaskId,
    /// What it restores.
    pub restore: Option<(Completion, SnapshotHandle)>,
    /// Its input channels, in the order of the graph, and which input of the operator each belongs to.
    pub inputs: Vec<(ChannelId, u16)>,
    /// Its output channels by edge, in the order of the graph.
    pub outputs: Vec<(EdgeId, Vec<ChannelId>)>,
}

/// A channel with an end here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Channel {
    /// Which one.
    pub id: ChannelId,
    /// Where its ends are.
    pub ends: Ends,
}

/// Where the ends of a channel are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    /// Both are here.
    Here {
        /// The subtask that waits for credit.
        producer: SubtaskId,
    },
    /// The producer is here.
    Outgoing {
        /// The subtask that waits for credit.
        producer: SubtaskId,
        /// The worker of the consumer.
        to: WorkerId,
    },
    /// The consumer is here.
    Incoming {
        /// The worker of the producer.
        from: WorkerId,
    },
}

impl Wiring {
    /// What a deployment lets run on `me`.
    pub fn of(graph: &JobGraph, me: WorkerId, deployment: &Deployment) -> Self {
        let placement: BTreeMap<SubtaskId, WorkerId> = deployment.placement.iter().copied().collect();
        let mut restore = snapshots(deployment);
        let mine = placement.iter().filter(|(_, worker)| **worker == me).map(|(subtask, _)| *subtask);
        let subtasks = mine.map(|subtask| Subtask {
            subtask,
            restore: restore.remove(&subtask),
            inputs: Self::inputs_of(graph, subtask),
            outputs: Self::outputs_of(graph, subtask),
        });
        let subtasks = subtasks.collect();
        let channels = channels(graph, me, &placement);
        let addresses: BTreeMap<WorkerId, &String> = deployment.addresses.iter().map(|(at, own)| (*at, own)).collect();
        let to: BTreeSet<WorkerId> = channels.iter().filter_map(|channel| channel.ends.to()).collect();
        let address = |to: &WorkerId| (*addresses.get(to).expect("every host has an address")).clone();
        let wiring = Self {
            attempt: deployment.attempt,
            listing: deployment.listing.clone(),
            restored: deployment.restore.as_ref().map(|from| from.checkpoint),
            subtasks,
            channels,
            links: to.iter().map(|to| (*to, address(to))).collect(),
        };
        wiring.validate(me);
        wiring
    }

    /// The workers whose links are read here.
    pub fn awaited(&self) -> BTreeSet<WorkerId> {
        self.channels.iter().filter_map(|channel| channel.ends.from()).collect()
    }

    fn inputs_of(graph: &JobGraph, subtask: SubtaskId) -> Vec<(ChannelId, u16)> {
        let mut inputs = Vec::new();
        for edge in graph.inputs(subtask.operator) {
            let id = |from| ChannelId { edge: edge.id, from, to: subtask.index };
            inputs.extend(graph.producers(edge, subtask.index).into_iter().map(|from| (id(from), edge.input)));
        }
        inputs
    }

    fn outputs_of(graph: &JobGraph, subtask: SubtaskId) -> Vec<(EdgeId, Vec<ChannelId>)> {
        let channels = |edge: &Edge| {
            let id = |to| ChannelId { edge: edge.id, from: subtask.index, to };
            (edge.id, graph.consumers(edge, subtask.index).into_iter().map(id).collect())
        };
        graph.outputs(subtask.operator).map(channels).collect()
    }

    fn validate(&self, me: WorkerId) {
        assert!(
            self.subtasks.windows(2).all(|pair| pair[0].subtask < pair[1].subtask),
            "a subtask runs once, in order"
        );
        assert!(self.restored.is_none_or(CheckpointId::is_possible), "what is restored was once triggered");
        assert!(
            self.subtasks.iter().all(|wired| wired.restore.is_some() == self.restored.is_some()),
            "all restore or none"
        );
        assert!(!self.awaited().contains(&me), "no link leads back");
        assert!(self.links.iter().all(|(to, _)| *to != me), "no link leads back");
        let ends_here = |is_here: fn(Ends) -> bool| {
            let here = self.channels.iter().filter(|channel| is_here(channel.ends));
            let mut ids: Vec<ChannelId> = here.map(|channel| channel.id).collect();
            ids.sort_unstable();
            ids
        };
        let mut inputs: Vec<ChannelId> =
            self.subtasks.iter().flat_map(|wired| &wired.inputs).map(|(id, _)| *id).collect();
        inputs.sort_unstable();
        assert_eq!(inputs, ends_here(Ends::has_consumer), "an input has one consuming end here");
        let outputs = self.subtasks.iter().flat_map(|wired| &wired.outputs);
        let mut outputs: Vec<ChannelId> = outputs.flat_map(|(_, channels)| channels).copied().collect();
        outputs.sort_unstable();
        assert_eq!(outputs, ends_here(Ends::has_producer), "an output has one producing end here");
        assert!(inputs.windows(2).all(|pair| pair[0] != pair[1]), "an input is read once");
        assert!(outputs.windows(2).all(|pair| pair[0] != pair[1]), "an output is written once");
        let hosts = |producer| self.subtasks.binary_search_by_key(&producer, |wired| wired.subtask).is_ok();
        let mut producers = self.channels.iter().filter_map(|channel| channel.ends.producer());
        assert!(producers.all(hosts), "credit rings at a subtask here");
    }
}

impl Ends {
    /// The worker that a link brings elements to.
    fn to(self) -> Option<WorkerId> {
        match self {
            Self::Outgoing { to, .. } => Some(to),
            Self::Here { .. } | Self::Incoming { .. } => None,
        }
    }

    /// The worker that a link brings elements from.
    fn from(self) -> Option<WorkerId> {
        match self {
            Self::Incoming { from } => Some(from),
            Self::Here { .. } | Self::Outgoing { .. } => None,
        }
    }

    /// The producing subtask, if it is here.
    fn producer(self) -> Option<SubtaskId> {
        match self {
            Self::Here { producer } | Self::Outgoing { producer, .. } => Some(producer),
            Self::Incoming { .. } => None,
        }
    }

    fn has_producer(self) -> bool {
        self.from().is_none()
    }

    fn has_consumer(self) -> bool {
        self.to().is_none()
    }
}

/// What every subtask of the job restores.
fn snapshots(deployment: &Deployment) -> BTreeMap<SubtaskId, (Completion, SnapshotHandle)> {
    let Some(from) = &deployment.restore else { return BTreeMap::new() };
    let completion = Completion::restored(from);
    from.snapshots.iter().map(|(subtask, handle)| (*subtask, (completion, handle.clone()))).collect()
}

/// Every channel with an end on `me`: edge by edge, consumer by consumer.
fn channels(graph: &JobGraph, me: WorkerId, placement: &BTreeMap<SubtaskId, WorkerId>) -> Vec<Channel> {
    let at = |subtask: SubtaskId| *placement.get(&subtask).expect("the placement covers every subtask");
    let mut channels = Vec::new();
    for edge in &graph.edges {
        for to in 0..graph.operator(edge.to).parallelism {
            for from in graph.producers(edge, to) {
                let producer = SubtaskId { operator: edge.from, index: from };
                let consumer = SubtaskId { operator: edge.to, index: to };
                let (producing, consuming) = (at(producer), at(consumer));
                let ends = if producing == me && consuming == me {
                    Ends::Here { producer }
                } else if producing == me {
                    Ends::Outgoing { producer, to: consuming }
                } else if consuming == me {
                    Ends::Incoming { from: producing }
                } else {
                    continue;
                };
                channels.push(Channel { id: ChannelId { edge: edge.id, from, to }, ends });
            }
        }
    }
    channels
}

#[cfg(test)]
mod tests;

//! What is sent and arrives: barriers from producer to consumer, and the messages of a checkpoint between coordinator
//! and subtasks.

use cofferdam_engine::event::Event;
use cofferdam_engine::graph::JobGraph;
use cofferdam_engine::ids::{Attempt, ChannelId, CheckpointId, SubtaskId, WorkerId};
use cofferdam_properties::history::{History, Incarnation, Process, What};
use std::collections::BTreeMap;

/// What travels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sort {
    /// A barrier, on a channel.
    Barrier,
    /// A cancellation marker, on a channel.
    Cancel,
    /// A trigger.
    Trigger,
    /// An ack.
    Ack,
    /// A decline.
    Decline,
    /// A notification of completion.
    Notify,
    /// A notification of an abort.
    Abort,
}

impl Sort {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Barrier, Self::Cancel, Self::Trigger, Self::Ack, Self::Decline, Self::Notify, Self::Abort];

    /// Its name on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Barrier => "barrier",
            Self::Cancel => "cancel",
            Self::Trigger => "trigger",
            Self::Ack => "ack",
            Self::Decline => "decline",
            Self::Notify => "notify",
            Self::Abort => "abort",
        }
    }
}

/// From one entry to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Arrow {
    /// It is sent.
    pub from: usize,
    /// It arrives.
    pub to: usize,
    /// What it is.
    pub sort: Sort,
    /// Of which checkpoint.
    pub checkpoint: u64,
}

/// Who may receive what was sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Address {
    Consumers(SubtaskId),
    Worker(WorkerId),
    Coordinator(SubtaskId),
    Everybody,
}

type Sent = BTreeMap<(Sort, CheckpointId, Option<Attempt>, Address), usize>;

/// Every arrow of a history, by its end.
pub fn of(history: &History, graph: &JobGraph) -> Vec<Arrow> {
    let mut sent = Sent::new();
    let mut arrows = Vec::new();
    for (at, entry) in history.entries.iter().enumerate() {
        let What::Claim(event) = &entry.what else { continue };
        let Some(checkpoint) = event.checkpoint() else { continue };
        if let Some((sort, address)) = departure(event) {
            sent.insert((sort, checkpoint, event.attempt().filter(|_| sort != Sort::Abort), address), at);
        }
        if let Some((sort, address)) = arrival(event, entry.by, graph) {
            let attempt = event.attempt().filter(|_| sort != Sort::Abort);
            if let Some(from) = sent.get(&(sort, checkpoint, attempt, address)) {
                arrows.push(Arrow { from: *from, to: at, sort, checkpoint: checkpoint.0 });
            }
        }
    }
    arrows
}

fn departure(event: &Event) -> Option<(Sort, Address)> {
    match *event {
        Event::BarrierEmitted { subtask, .. } => Some((Sort::Barrier, Address::Consumers(subtask))),
        Event::CancelEmitted { subtask, .. } => Some((Sort::Cancel, Address::Consumers(subtask))),
        Event::TriggerSent { worker, .. } => Some((Sort::Trigger, Address::Worker(worker))),
        Event::AckSent { subtask, .. } => Some((Sort::Ack, Address::Coordinator(subtask))),
        Event::DeclineSent { subtask, .. } => Some((Sort::Decline, Address::Coordinator(subtask))),
        Event::NotifySent { worker, .. } => Some((Sort::Notify, Address::Worker(worker))),
        Event::CheckpointAborted { .. } => Some((Sort::Abort, Address::Everybody)),
        _ => None,
    }
}

fn arrival(event: &Event, by: Incarnation, graph: &JobGraph) -> Option<(Sort, Address)> {
    let here = match by.process {
        Process::Worker(worker) => Some(Address::Worker(worker)),
        _ => None,
    };
    match *event {
        Event::BarrierReceived { channel, .. } => Some((Sort::Barrier, Address::Consumers(producer(channel, graph)?))),
        Event::CancelReceived { channel, .. } => Some((Sort::Cancel, Address::Consumers(producer(channel, graph)?))),
        Event::TriggerReceived { .. } => Some((Sort::Trigger, here?)),
        Event::AckReceived { subtask, .. } => Some((Sort::Ack, Address::Coordinator(subtask))),
        Event::DeclineReceived { subtask, .. } => Some((Sort::Decline, Address::Coordinator(subtask))),
        Event::NotifyReceived { .. } => Some((Sort::Notify, here?)),
        Event::AbortReceived { .. } => Some((Sort::Abort, Address::Everybody)),
        _ => None,
    }
}

fn producer(channel: ChannelId, graph: &JobGraph) -> Option<SubtaskId> {
    let edge = graph.edges.get(usize::from(channel.edge.0))?;
    Some(SubtaskId { operator: edge.from, index: channel.from })
}

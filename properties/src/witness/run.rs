//! One attempt, re-executed: its subtasks and its channels.
//!
//! Channels are streams of records: where batches end does not matter. A chain is flushed only when its records are
//! asked for, so that batches mostly end where the engine's ended.

use super::lane::Lane;
use super::reader::Unread;
use super::subtask::Live;
use super::topology::Topology;
use cofferdam_engine::ids::{Attempt, ChannelId, CheckpointId};

/// A re-executed attempt.
pub struct Run {
    /// Which attempt.
    pub attempt: Attempt,
    /// What it was deployed to restore.
    pub restore: Option<CheckpointId>,
    /// By subtask; `None` until it has restored.
    pub lives: Vec<Option<Live>>,
    /// By channel.
    pub lanes: Vec<Lane>,
    /// Whether it restored state that differs from a fresh subtask's.
    pub non_empty: bool,
}

/// Why a claim cannot be re-executed.
#[derive(Debug)]
pub enum Refusal {
    /// It is illegal: what it says cannot have happened in a correct run.
    Illegal(String),
    /// The harness is at fault.
    Harness(String),
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Missing(n) => Self::Illegal(format!("emitted {n} records more than its input holds")),
            Unread::Harness(message) => Self::Harness(message),
        }
    }
}

fn illegal(message: impl Into<String>) -> Refusal {
    Refusal::Illegal(message.into())
}

impl Run {
    /// An attempt of which nothing has restored yet.
    pub fn new(attempt: Attempt, restore: Option<CheckpointId>, topology: &Topology) -> Self {
        let lives = topology.subtasks.iter().map(|_| None).collect();
        let lanes = topology.channels.iter().map(|_| Lane::default()).collect();
        Self { attempt, restore, lives, lanes, non_empty: false }
    }

    /// The subtask, which must have restored, and must not have finished.
    pub fn live(&mut self, subtask: usize) -> Result<&mut Live, Refusal> {
        match self.lives[subtask].as_mut() {
            Some(live) if live.finished => Err(illegal("goes on after it has finished")),
            Some(live) => Ok(live),
            None => Err(illegal("runs before it has restored")),
        }
    }

    /// A source emits `n` records.
    pub fn on_emitted(&mut self, topology: &Topology, subtask: usize, n: u64) -> Result<(), Refusal> {
        let live = self.live(subtask)?;
        if live.end_announced {
            return Err(illegal(format!("emits {n} records after the end of its input")));
        }
        live.emit(n)?;
        self.drain(topology, subtask);
        Ok(())
    }

    /// A subtask consumes `n` records of a channel.
    pub fn on_consumed(
        &mut self,
        topology: &Topology,
        subtask: usize,
        (channel, seq): (ChannelId, u64),
        n: u64,
    ) -> Result<(), Refusal> {
        let lane = self.next_element(topology, subtask, channel, seq)?;
        if self.lanes[lane].queued() < n {
            self.flush(topology, topology.producers[lane]);
        }
        let (lane, live) = (&mut self.lanes[lane], self.lives[subtask].as_mut());
        let live = live.ok_or_else(|| illegal("consumes records before it has restored"))?;
        if live.end_announced || live.finished || lane.ended {
            return Err(illegal(format!("consumes {n} records of {channel} after its end")));
        }
        if lane.queued() < n {
            let queued = lane.queued();
            return Err(illegal(format!(
                "consumes {n} records of {channel}, on which only {queued} were left to take"
            )));
        }
        let edge = topology.graph.edge(channel.edge);
        lane.take(n, &edge.codec, |batch| live.process(edge.input, batch));
        self.drain(topology, subtask);
        Ok(())
    }

    /// Any element leaves a channel: it must be the next one.
    pub fn next_element(
        &mut self,
        topology: &Topology,
        subtask: usize,
        channel: ChannelId,
        seq: u64,
    ) -> Result<usize, Refusal> {
        let number = topology.channel(channel).filter(|lane| topology.inputs[subtask].contains(lane));
        let number =
            number.ok_or_else(|| illegal(format!("takes an element of {channel}, which is no input of it")))?;
        let lane = &mut self.lanes[number];
        if lane.next_seq != seq {
            let due = lane.next_seq;
            return Err(illegal(format!("takes element {seq} of {channel} where element {due} was due")));
        }
        lane.next_seq += 1;
        Ok(number)
    }

    /// The end of a channel leaves it.
    pub fn on_end_received(
        &mut self,
        topology: &Topology,
        subtask: usize,
        (channel, seq): (ChannelId, u64),
    ) -> Result<(), Refusal> {
        let lane = self.next_element(topology, subtask, channel, seq)?;
        let producer = topology.producers[lane];
        self.flush(topology, producer);
        if !self.lives[producer].as_ref().is_some_and(|live| live.ended) {
            return Err(illegal(format!("takes the end of {channel}, whose producer has not ended")));
        }
        let lane = &mut self.lanes[lane];
        if lane.queued() > 0 {
            return Err(illegal(format!("takes the end of {channel} in front of {} records", lane.queued())));
        }
        if std::mem::replace(&mut lane.ended, true) {
            return Err(illegal(format!("takes the end of {channel} a second time")));
        }
        Ok(())
    }

    /// The close of a channel leaves it; says who its producer is.
    pub fn on_closed_received(
        &mut self,
        topology: &Topology,
        subtask: usize,
        (channel, seq): (ChannelId, u64),
    ) -> Result<usize, Refusal> {
        let lane = self.next_element(topology, subtask, channel, seq)?;
        if !self.lanes[lane].ended {
            return Err(illegal(format!("takes the close of {channel} before its end")));
        }
        Ok(topology.producers[lane])
    }

    /// A subtask has processed all its input. One that was restored behind its end need not see it again.
    pub fn on_input_ended(&mut self, topology: &Topology, subtask: usize) -> Result<(), Refusal> {
        let open = topology.inputs[subtask].iter().find(|lane| !self.lanes[**lane].ended);
        let restored = self.lives[subtask].as_ref().is_some_and(|live| live.ended);
        if let Some(open) = open.filter(|_| !restored) {
            return Err(illegal(format!("ends its input although {} has not ended", topology.channels[*open])));
        }
        let live = self.live(subtask)?;
        if live.end_announced {
            return Err(illegal("ends its input a second time"));
        }
        if !live.is_at_end()? {
            return Err(illegal("ends its input although records are left"));
        }
        live.end();
        self.drain(topology, subtask);
        Ok(())
    }

    /// Puts everything that a subtask has produced on its channels. Nothing happens if it has not restored.
    pub fn flush(&mut self, topology: &Topology, subtask: usize) {
        if let Some(live) = &mut self.lives[subtask] {
            live.flush();
            self.drain(topology, subtask);
        }
    }

    fn drain(&mut self, topology: &Topology, subtask: usize) {
        let live = self.lives[subtask].as_mut().expect("it has just produced");
        let from = topology.subtasks[subtask].index;
        for (edge, to, batch) in live.outbox.batches.drain(..) {
            let lane = topology.channel_to(edge, from, to).expect("a chain writes to channels of its graph");
            debug_assert_eq!(topology.producers[lane], subtask, "a chain writes to its own channels");
            self.lanes[lane].push(batch);
        }
    }
}

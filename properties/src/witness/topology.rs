//! Dense numbers for the subtasks and channels of a graph, so that the witness finds them by index.

use cofferdam_engine::graph::{Edge, JobGraph};
use cofferdam_engine::ids::{ChannelId, EdgeId, SubtaskId};
use std::sync::Arc;

/// A graph, numbered through.
pub struct Topology {
    /// The graph.
    pub graph: Arc<JobGraph>,
    /// Every subtask, in order.
    pub subtasks: Vec<SubtaskId>,
    /// By subtask: the channels into it, in order.
    pub inputs: Vec<Vec<usize>>,
    /// By subtask: the channels out of it, in order.
    pub outputs: Vec<Vec<usize>>,
    /// By channel: its producer.
    pub producers: Vec<usize>,
    /// By channel: its name.
    pub channels: Vec<ChannelId>,
    first_subtask: Vec<usize>,
    first_channel: Vec<usize>,
}

impl Topology {
    /// The numbering of `graph`.
    pub fn of(graph: &Arc<JobGraph>) -> Self {
        let subtasks = graph.subtasks();
        let mut first_subtask = vec![0];
        for operator in &graph.operators {
            first_subtask.push(first_subtask.last().expect("never empty") + usize::from(operator.parallelism));
        }
        let mut topology = Self {
            graph: graph.clone(),
            inputs: vec![Vec::new(); subtasks.len()],
            outputs: vec![Vec::new(); subtasks.len()],
            subtasks,
            producers: Vec::new(),
            channels: Vec::new(),
            first_subtask,
            first_channel: Vec::new(),
        };
        graph.edges.iter().for_each(|edge| topology.add(edge));
        topology
    }

    /// Channels are numbered as a full matrix, producers by consumers; those that the exchange does not use stay empty.
    fn add(&mut self, edge: &Edge) {
        self.first_channel.push(self.channels.len());
        for from in 0..self.graph.operator(edge.from).parallelism {
            let used = self.graph.consumers(edge, from);
            for to in 0..self.graph.operator(edge.to).parallelism {
                let channel = self.channels.len();
                let producer = self.first_subtask[usize::from(edge.from.0)] + usize::from(from);
                let consumer = self.first_subtask[usize::from(edge.to.0)] + usize::from(to);
                self.channels.push(ChannelId { edge: edge.id, from, to });
                self.producers.push(producer);
                if used.contains(&to) {
                    self.outputs[producer].push(channel);
                    self.inputs[consumer].push(channel);
                }
            }
        }
    }

    /// The number of a subtask, if the graph has it.
    pub fn subtask(&self, id: SubtaskId) -> Option<usize> {
        let operator = self.graph.operators.get(usize::from(id.operator.0))?;
        (id.index < operator.parallelism)
            .then(|| self.first_subtask[usize::from(id.operator.0)] + usize::from(id.index))
    }

    /// The number of a channel, if the graph has its edge and both subtasks.
    pub fn channel(&self, id: ChannelId) -> Option<usize> {
        let edge = self.graph.edges.get(usize::from(id.edge.0))?;
        let (from, to) = (self.graph.operator(edge.from).parallelism, self.graph.operator(edge.to).parallelism);
        (id.from < from && id.to < to).then(|| self.first_channel[usize::from(id.edge.0)] + lane(id.from, id.to, to))
    }

    /// The number of the channel of `edge` from subtask `from` of its producer to subtask `to` of its consumer.
    pub fn channel_to(&self, edge: EdgeId, from: u16, to: u16) -> Option<usize> {
        self.channel(ChannelId { edge, from, to })
    }
}

fn lane(from: u16, to: u16, consumers: u16) -> usize {
    usize::from(from) * usize::from(consumers) + usize::from(to)
}

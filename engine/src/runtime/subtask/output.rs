//! The output of a subtask: its channels by edge, and what lies in front of them.

use super::body::Body;
use crate::cores::task::Marker;
use crate::door::Bell;
use crate::element::Element;
use crate::graph::Outbox;
use crate::ids::EdgeId;
use crate::runtime::channel::ChannelSender;
use std::future::poll_fn;
use std::sync::Arc;

/// The output channels of one edge, by consumer.
pub struct OutputEdge {
    /// Which edge.
    pub edge: EdgeId,
    /// The consumers this subtask has a channel to.
    pub targets: Vec<(u16, ChannelSender)>,
}

pub(super) struct Output {
    edges: Vec<OutputEdge>,
    /// Rings when a full channel has room again.
    pub credit: Arc<dyn Bell>,
    /// Where the operator leaves full batches.
    pub outbox: Outbox,
}

impl Output {
    pub fn new(edges: Vec<OutputEdge>, credit: Arc<dyn Bell>) -> Self {
        Self { edges, credit, outbox: Outbox::default() }
    }

    /// Whether every channel has room for another batch.
    pub fn has_credit(&self) -> bool {
        self.edges.iter().all(|edge| edge.targets.iter().all(|(_, channel)| channel.has_credit()))
    }

    /// Puts every batch of the outbox on its channel.
    pub fn send(&mut self) {
        for (edge, target, batch) in self.outbox.batches.drain(..) {
            channel_to(&self.edges, edge, target).push(Element::Batch(batch));
        }
    }

    /// Puts everything that the operator has buffered on its channels.
    pub fn flush(&mut self, body: &mut Body) {
        body.flush(&mut self.outbox);
        self.send();
    }

    /// As [`Output::flush`], but each batch waits for credit.
    pub async fn drain(&mut self, body: &mut Body) {
        body.flush(&mut self.outbox);
        for (edge, target, batch) in std::mem::take(&mut self.outbox.batches) {
            let channel = channel_to(&self.edges, edge, target);
            while !channel.has_credit() {
                let seen = self.credit.rung();
                if !channel.has_credit() {
                    poll_fn(|task| self.credit.poll_rung(seen, task)).await;
                }
            }
            channel.push(Element::Batch(batch));
        }
    }

    /// Puts a marker on every channel. It needs no credit.
    pub fn broadcast(&self, marker: Marker) {
        for (_, channel) in self.edges.iter().flat_map(|edge| &edge.targets) {
            channel.push(marker.into());
        }
    }
}

fn channel_to(edges: &[OutputEdge], edge: EdgeId, target: u16) -> &ChannelSender {
    let output = edges.iter().find(|output| output.edge == edge).expect("chains write to their own edges");
    let found = output.targets.iter().find(|(to, _)| *to == target);
    let (_, channel) = found.expect("chains write to their edge's consumers");
    channel
}

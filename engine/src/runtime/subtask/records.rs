//! The data path: records go through the operator and onto their channels. The core has no part in it but to say what may be
//! taken.

use super::{Body, Running};
use crate::door::{Site, Work};
use crate::element::Batch;
use crate::event::Event;
use crate::ids::ChannelId;

impl Running {
    /// Records of the source.
    pub(super) async fn on_records(&mut self, batch: Batch) {
        let (attempt, subtask, records) = (self.context.attempt, self.context.subtask, batch.len() as u64);
        self.context.env.emit(Event::SourceEmitted { attempt, subtask, records });
        let Body::Source { chain, .. } = &mut self.body else { unreachable!("only sources read") };
        chain.on_batch(0, batch, &mut self.output.outbox);
        self.output.send();
        self.work("source", records).await;
    }

    /// Records that were taken from a channel.
    pub(super) async fn on_batch(&mut self, (channel, input, seq): (ChannelId, u16, u64), batch: Batch) {
        let (attempt, subtask, records) = (self.context.attempt, self.context.subtask, batch.len() as u64);
        self.context.env.emit(Event::Consumed { attempt, subtask, channel, seq, records });
        self.body.on_batch(input, batch, &mut self.output.outbox);
        self.output.send();
        self.work("process", records).await;
    }

    /// Says how much was processed; under test, time passes.
    async fn work(&mut self, what: &'static str, records: u64) {
        let site = Site::new(what, self.context.subtask.lane());
        if let Some(delay) = self.context.env.clock.work(site, Work::Records(records)) {
            delay.await;
        }
    }
}

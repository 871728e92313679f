//! What a subtask does next: the one place where it chooses.
//!
//! Control messages come first: an abort that waited behind data would find its checkpoint taken, and a subtask that is slow at
//! snapshots would never catch up. Among the channels that are ready the door picks. A batch needs credit on every output channel first, an event does
//! not: it produces nothing but itself. Before waiting, buffered output goes out, so nothing sits in a buffer while idle.

use super::{Body, InputChannel, Running, Step, send};
use crate::door::Site;
use crate::error::Result;
use crate::runtime::channel::Front;
use std::future::poll_fn;
use std::task::Poll;

impl Running {
    /// Waits for the next step.
    pub(super) async fn next_step(&mut self) -> Result<Step> {
        match self.body {
            Body::Source { .. } => self.next_source_step().await,
            Body::Transform { .. } | Body::Sink { .. } => Ok(self.next_element_step().await),
        }
    }

    async fn next_source_step(&mut self) -> Result<Step> {
        loop {
            let seen = self.credit.rung();
            let has_credit = self.has_credit();
            let Self { body, control, credit, outbox, outputs, .. } = self;
            let Body::Source { reader, chain, exhausted } = body else { unreachable!("only sources read") };
            let may_read = has_credit && !*exhausted;
            if let Some(message) = control.try_take() {
                return Ok(Step::Control(message));
            }
            let mut records = may_read.then(|| reader.next_batch());
            let mut flushed = false;
            let step = poll_fn(|task| {
                if let Some(records) = &mut records
                    && let Poll::Ready(records) = records.as_mut().poll(task)
                {
                    return Poll::Ready(Some(records.map(Step::Records)));
                }
                if !flushed {
                    flushed = true;
                    chain.flush(outbox);
                    send(outbox, outputs);
                }
                if let Poll::Ready(message) = control.poll_take(task) {
                    return Poll::Ready(Some(Ok(Step::Control(message))));
                }
                if !has_credit && credit.poll_rung(seen, task).is_ready() {
                    return Poll::Ready(None);
                }
                Poll::Pending
            })
            .await;
            if let Some(step) = step {
                return step;
            }
        }
    }

    async fn next_element_step(&mut self) -> Step {
        let site = Site::new("step", self.context.subtask.lane());
        loop {
            let seen = self.credit.rung();
            let has_credit = self.has_credit();
            if let Some(message) = self.control.try_take() {
                return Step::Control(message);
            }
            self.collect_ready(has_credit);
            match self.ready[..] {
                [] => {}
                [only] => return Step::Element(only),
                [..] => return Step::Element(self.ready[self.context.env.schedule.pick(site, self.ready.len())]),
            }
            self.flush();
            self.wait(seen, has_credit).await;
        }
    }

    fn collect_ready(&mut self, has_credit: bool) {
        self.ready.clear();
        for (channel, input) in self.inputs.iter().enumerate() {
            let takeable = match input.queue.front() {
                Some(Front::Batch) => has_credit,
                Some(Front::Event) => true,
                None => false,
            };
            if takeable && !self.alignment.is_blocked(channel) {
                self.ready.push(channel);
            }
        }
    }

    async fn wait(&mut self, seen: u64, has_credit: bool) {
        let Self { control, inputs, alignment, credit, .. } = self;
        // Decided once: what arrives while waiting must end the wait, and what lies there already (a batch without
        // credit) must not.
        let empty = |(channel, input): &(usize, &InputChannel)| {
            input.queue.front().is_none() && !alignment.is_blocked(*channel)
        };
        let awaited: Vec<&InputChannel> = inputs.iter().enumerate().filter(empty).map(|(_, input)| input).collect();
        poll_fn(|task| {
            let mut ready = control.poll_arrived(task).is_ready();
            for input in &awaited {
                ready |= input.queue.poll_arrived(task).is_ready();
            }
            ready |= !has_credit && credit.poll_rung(seen, task).is_ready();
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

//! What a subtask does next: the one place where it chooses.
//!
//! Control messages come first: an abort that waited behind data would find its checkpoint taken, and a subtask that is slow at
//! snapshots would never catch up. (Of records and a control message that a waiting source finds at once, the records come
//! first.) Among the channels that the core lets it take from the door picks. A batch needs credit on every output channel;
//! an event does not: a barrier flushes at most a partial batch for each channel, and the last end of input drains the
//! output batch by batch. Before waiting, buffered output goes out, so nothing sits in a buffer while idle.

use super::driver::Driver;
use super::{Body, Running, Step};
use crate::cores::task::Look;
use crate::door::Site;
use std::future::poll_fn;
use std::task::Poll;

impl Running {
    /// Waits for the next step.
    pub(super) async fn next_step(&mut self) -> Step {
        match self.body {
            Body::Source { .. } => self.next_source_step().await,
            Body::Transform { .. } | Body::Sink { .. } => self.next_element_step().await,
        }
    }

    async fn next_source_step(&mut self) -> Step {
        loop {
            let seen = self.output.credit.rung();
            let has_credit = self.output.has_credit();
            let may_read = self.driver.core.may_read(has_credit);
            let Self { driver: Driver { control, .. }, body, output, .. } = self;
            let Body::Source { reader, chain } = body else { unreachable!("only sources read") };
            if let Some(message) = control.try_take() {
                return Step::Control(message);
            }
            let mut records = may_read.then(|| reader.next_batch());
            let mut flushed = false;
            let step = poll_fn(|task| {
                if let Some(records) = &mut records
                    && let Poll::Ready(records) = records.as_mut().poll(task)
                {
                    return Poll::Ready(Some(Step::Records(records)));
                }
                if !flushed {
                    flushed = true;
                    chain.flush(&mut output.outbox);
                    output.send();
                }
                if let Poll::Ready(message) = control.poll_take(task) {
                    return Poll::Ready(Some(Step::Control(message)));
                }
                if !has_credit && output.credit.poll_rung(seen, task).is_ready() {
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
            let seen = self.output.credit.rung();
            let has_credit = self.output.has_credit();
            if let Some(message) = self.driver.control.try_take() {
                return Step::Control(message);
            }
            self.collect_ready(has_credit);
            match self.ready[..] {
                [] => {}
                [only] => return Step::Element(only),
                [..] => return Step::Element(self.ready[self.context.env.schedule.pick(site, self.ready.len())]),
            }
            self.output.flush(&mut self.body);
            self.wait(seen, has_credit).await;
        }
    }

    /// Looks at every channel once: what may be taken, and what is empty and may be waited for. Reason for the one look:
    /// an element that arrives between two would be missed by both, and the subtask would never wake.
    fn collect_ready(&mut self, has_credit: bool) {
        self.ready.clear();
        self.empty.clear();
        for (channel, input) in self.inputs.iter().enumerate() {
            match self.driver.core.look(channel, input.queue.front(), has_credit) {
                Look::Take => self.ready.push(channel),
                Look::Wait => self.empty.push(channel),
                Look::Leave => {}
            }
        }
    }

    async fn wait(&mut self, seen: u64, has_credit: bool) {
        // What has arrived since the look ends the wait; what lay there already (a batch without credit) must not.
        let Self { driver: Driver { control, .. }, inputs, empty, output, .. } = self;
        poll_fn(|task| {
            let mut ready = control.poll_arrived(task).is_ready();
            for channel in empty.iter() {
                ready |= inputs[*channel].queue.poll_arrived(task).is_ready();
            }
            ready |= !has_credit && output.credit.poll_rung(seen, task).is_ready();
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

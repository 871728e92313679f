//! Links: how channels cross from worker to worker. One connection per ordered pair of workers and attempt carries every
//! channel from the one to the other, and credit back.
//!
//! ```text
//! producer's worker                                        consumer's worker
//!   subtask → queue ┐                                    ┌→ queue → subtask
//!   subtask → queue ┴→ writer ── Hello, Element … ──→ reader ┘       │ batch taken
//!                      reader ←──────── Credits ──── writer ←────────┘
//! ```
//!
//! 1. The producing side connects and says [`Frame::Hello`] with its attempt; a consumer of another attempt hangs up.
//! 2. Elements carry the channel's own numbers; a gap means a bug or a broken peer, and ends the link.
//! 3. A batch is sent only with credit: one for every batch the consumer's queue may still take. Events need none.
//! 4. Whatever ends a link ends the attempt: the worker reports it, and the job restarts from its latest checkpoint.
//!
//! Owns: the frames, the credit of the far queue. Does not own: the queues, reconnecting (there is none within an attempt).

use super::channel::{ChannelReceiver, ChannelSender, Front};
use super::dial::dial;
use super::mailbox::{Mailbox, Postbox};
use crate::door::{Connection, Env, FrameReceiver, FrameSender, Site};
use crate::element::{Barrier, Element, RecordCodec};
use crate::error::{Error, Result};
use crate::ids::{Attempt, ChannelId, CheckpointId, WorkerId};
use crate::messages::{decode, encode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// What crosses a link.
#[derive(Serialize, Deserialize)]
pub enum Frame {
    /// The first frame, from the producing side.
    Hello {
        /// The attempt whose elements follow.
        attempt: Attempt,
        /// The producing worker.
        from: WorkerId,
    },
    /// One element of one channel.
    Element {
        /// Which channel.
        channel: ChannelId,
        /// Which element of the channel, from 0.
        seq: u64,
        /// The element.
        element: WireElement,
    },
    /// Batches the consumer has taken, from the consuming side.
    Credits(Vec<(ChannelId, u32)>),
}

/// An [`Element`] with its records encoded by the edge's codec.
#[derive(Serialize, Deserialize)]
#[expect(missing_docs, reason = "mirrors Element")]
pub enum WireElement {
    Batch(#[serde(with = "serde_bytes")] Vec<u8>),
    Barrier(Barrier),
    Cancel(CheckpointId),
    EndOfInput,
}

/// A channel as the producing side of a link sees it.
pub struct OutgoingLane {
    /// Where the producer leaves elements.
    pub queue: ChannelReceiver,
    /// How to encode them.
    pub codec: RecordCodec,
    /// Batches that may still be sent.
    pub credit: u32,
}

/// A channel as the consuming side of a link sees it.
pub struct IncomingLane {
    /// Where the consumer finds elements.
    pub queue: ChannelSender,
    /// How to decode them.
    pub codec: RecordCodec,
}

/// Connects to a consumer's worker and introduces the attempt.
pub async fn open(env: &Env, address: &str, limit: Duration, attempt: Attempt, from: WorkerId) -> Result<Connection> {
    let mut connection = dial(env, address, limit).await?;
    connection.sender.send(encode(&Frame::Hello { attempt, from })).await?;
    Ok(connection)
}

/// Reads the introduction of a connecting worker.
pub async fn greet(connection: &mut Connection) -> Result<(Attempt, WorkerId)> {
    match next_frame(&mut *connection.receiver).await? {
        Frame::Hello { attempt, from } => Ok((attempt, from)),
        Frame::Element { .. } | Frame::Credits(_) => {
            Err(Error::restart(format!("{} sent data before its introduction", connection.peer)))
        }
    }
}

async fn next_frame(receiver: &mut dyn FrameReceiver) -> Result<Frame> {
    decode(&receiver.receive().await?)
}

/// Sends the elements of `lanes` until the connection breaks; returns why. `credits` is filled by [`read_credits`].
pub async fn write_elements(
    env: &Env,
    site: Site,
    mut sender: Box<dyn FrameSender>,
    mut lanes: Vec<OutgoingLane>,
    mut credits: Mailbox<(ChannelId, u32)>,
) -> Error {
    loop {
        while let Some((channel, batches)) = credits.try_take() {
            let Some(lane) = lanes.iter_mut().find(|lane| lane.queue.id() == channel) else {
                return Error::restart(format!("credit for {channel}, which is not of this link"));
            };
            lane.credit += batches;
        }
        let ready: Vec<usize> = (0..lanes.len()).filter(|&i| may_send(&lanes[i])).collect();
        if ready.is_empty() {
            wait_for_work(&mut lanes, &mut credits).await;
            continue;
        }
        let lane = &mut lanes[ready[env.schedule.pick(site, ready.len())]];
        let channel = lane.queue.id();
        let (seq, element) = lane.queue.take();
        let element = match element {
            Element::Batch(batch) => {
                lane.credit -= 1;
                WireElement::Batch(lane.codec.encode(&batch))
            }
            Element::Barrier(barrier) => WireElement::Barrier(barrier),
            Element::Cancel(checkpoint) => WireElement::Cancel(checkpoint),
            Element::EndOfInput => WireElement::EndOfInput,
        };
        if let Err(error) = sender.send(encode(&Frame::Element { channel, seq, element })).await {
            return error.into();
        }
    }
}

fn may_send(lane: &OutgoingLane) -> bool {
    match lane.queue.front() {
        Some(Front::Batch) => lane.credit > 0,
        Some(Front::Event) => true,
        None => false,
    }
}

async fn wait_for_work(lanes: &mut [OutgoingLane], credits: &mut Mailbox<(ChannelId, u32)>) {
    poll_fn(|context| {
        let mut ready = credits.poll_arrived(context).is_ready();
        for lane in lanes.iter() {
            // A lane without credit whose front is a batch waits for credit, not for elements.
            let starved = lane.credit == 0 && lane.queue.front() == Some(Front::Batch);
            ready |= !starved && lane.queue.poll_arrived(context).is_ready();
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Passes the credit that comes back to [`write_elements`] until the connection breaks; returns why.
pub async fn read_credits(mut receiver: Box<dyn FrameReceiver>, credits: Postbox<(ChannelId, u32)>) -> Error {
    loop {
        match next_frame(&mut *receiver).await {
            Ok(Frame::Credits(taken)) => taken.into_iter().for_each(|credit| credits.post(credit)),
            Ok(Frame::Hello { .. } | Frame::Element { .. }) => return Error::restart("data came back on a link"),
            Err(error) => return error,
        }
    }
}

/// Puts arriving elements into the consumers' queues until the connection breaks; returns why.
pub async fn read_elements(mut receiver: Box<dyn FrameReceiver>, lanes: BTreeMap<ChannelId, IncomingLane>) -> Error {
    loop {
        let (channel, seq, element) = match next_frame(&mut *receiver).await {
            Ok(Frame::Element { channel, seq, element }) => (channel, seq, element),
            Ok(Frame::Hello { .. } | Frame::Credits(_)) => return Error::restart("a link was introduced twice"),
            Err(error) => return error,
        };
        let Some(lane) = lanes.get(&channel) else {
            return Error::restart(format!("an element of {channel}, which is not of this link"));
        };
        if lane.queue.pushed() != seq {
            return Error::restart(format!("{channel} jumped from element {} to {seq}", lane.queue.pushed()));
        }
        let element = match element {
            WireElement::Batch(_) if !lane.queue.has_credit() => {
                return Error::restart(format!("{channel} sent a batch without credit"));
            }
            WireElement::Batch(bytes) => match lane.codec.decode(&bytes) {
                Ok(batch) => Element::Batch(batch),
                Err(error) => return error,
            },
            WireElement::Barrier(barrier) => Element::Barrier(barrier),
            WireElement::Cancel(checkpoint) => Element::Cancel(checkpoint),
            WireElement::EndOfInput => Element::EndOfInput,
        };
        lane.queue.push(element);
    }
}

/// Returns credit for the batches that consumers take until the connection breaks; returns why.
pub async fn write_credits(mut sender: Box<dyn FrameSender>, mut taken: Mailbox<ChannelId>) -> Error {
    loop {
        let mut credits = BTreeMap::from([(taken.take().await, 1)]);
        while let Some(channel) = taken.try_take() {
            *credits.entry(channel).or_insert(0) += 1;
        }
        if let Err(error) = sender.send(encode(&Frame::Credits(credits.into_iter().collect()))).await {
            return error.into();
        }
    }
}

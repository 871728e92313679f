//! The consuming side of a link: elements into queues, credit back.

use super::{Frame, Listening, Pace, WireElement};
use crate::door::{Env, FrameReceiver, FrameSender};
use crate::element::{Element, RecordCodec};
use crate::error::{Error, Result};
use crate::ids::ChannelId;
use crate::messages::encode;
use crate::runtime::channel::ChannelSender;
use crate::runtime::mailbox::Mailbox;
use std::collections::BTreeMap;

/// A channel as the consuming side of a link sees it.
pub struct IncomingLane {
    /// Where the consumer finds elements.
    pub queue: ChannelSender,
    /// How to decode them.
    pub codec: RecordCodec,
}

/// Puts arriving elements into the consumers' queues until every lane is closed. Errors: why the link is over before that.
pub async fn read_elements(
    env: Env,
    receiver: Box<dyn FrameReceiver>,
    mut lanes: BTreeMap<ChannelId, IncomingLane>,
    pace: Pace,
) -> Result<()> {
    let mut receiver = Listening::new(env, receiver, pace);
    while !lanes.is_empty() {
        let (channel, seq, element) = match receiver.next().await? {
            Frame::Element { channel, seq, element } => (channel, seq, element),
            Frame::Hello { .. } | Frame::Credits(_) | Frame::KeepAlive => {
                return Err(Error::restart("a link was introduced twice"));
            }
        };
        let Some(lane) = lanes.get(&channel) else {
            return Err(Error::restart(format!("an element of {channel}, which is closed or not of this link")));
        };
        if lane.queue.pushed() != seq {
            return Err(Error::restart(format!("{channel} jumped from element {} to {seq}", lane.queue.pushed())));
        }
        let element = match element {
            WireElement::Batch(_) if !lane.queue.has_credit() => {
                return Err(Error::restart(format!("{channel} sent a batch without credit")));
            }
            WireElement::Batch(bytes) => Element::Batch(lane.codec.decode(&bytes)?),
            WireElement::Barrier(barrier) => Element::Barrier(barrier),
            WireElement::Cancel(checkpoint) => Element::Cancel(checkpoint),
            WireElement::EndOfInput => Element::EndOfInput,
            WireElement::Closed => Element::Closed,
        };
        let closed = matches!(element, Element::Closed);
        lane.queue.push(element);
        if closed {
            lanes.remove(&channel);
        }
    }
    Ok(())
}

/// Returns credit for the batches that consumers take until the connection breaks; returns why.
pub async fn write_credits(
    env: Env,
    mut sender: Box<dyn FrameSender>,
    mut taken: Mailbox<ChannelId>,
    pace: Pace,
) -> Error {
    let mut beat = env.sleep(pace.beat);
    loop {
        let frame = match taken.take_before(&mut beat).await {
            Some(first) => {
                let mut credits = BTreeMap::from([(first, 1)]);
                while let Some(channel) = taken.try_take() {
                    *credits.entry(channel).or_insert(0) += 1;
                }
                Frame::Credits(credits.into_iter().collect())
            }
            None => {
                beat = env.sleep(pace.beat);
                Frame::KeepAlive
            }
        };
        if let Err(error) = sender.send(encode(&frame)).await {
            return error.into();
        }
    }
}

//! The consuming side of a link: elements into queues, credit back.

use super::{Frame, Listening, Pace, WireElement};
use crate::cores::links::{Arrival, Barriers, Lane, Violation};
use crate::door::{Env, FrameReceiver, FrameSender};
use crate::element::{Element, RecordCodec};
use crate::error::{Error, Result};
use crate::ids::ChannelId;
use crate::messages::encode;
use crate::runtime::channel::ChannelSender;
use crate::runtime::mailbox::Mailbox;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A channel as the consuming side of a link sees it.
pub struct IncomingLane {
    /// Where the consumer finds elements.
    pub queue: ChannelSender,
    /// How to decode them.
    pub codec: RecordCodec,
}

/// The barriers that enter a worker in one attempt, whichever way.
pub type SharedBarriers = Arc<Mutex<Barriers>>;

/// Puts arriving elements into the consumers' queues until every lane is closed. Errors: why the link is over before that.
pub async fn read_elements(
    env: Env,
    receiver: Box<dyn FrameReceiver>,
    lanes: BTreeMap<ChannelId, IncomingLane>,
    barriers: SharedBarriers,
    pace: Pace,
) -> Result<()> {
    let mut receiver = Listening::new(env, receiver, pace);
    let mut lanes: BTreeMap<_, _> = lanes.into_iter().map(|(id, lane)| (id, (lane, Lane::default()))).collect();
    while !lanes.is_empty() {
        let (channel, seq, element) = match receiver.next().await? {
            Frame::Element { channel, seq, element } => (channel, seq, element),
            Frame::Ready | Frame::Credits(_) | Frame::KeepAlive => {
                return Err(Error::restart("the producing side of a link sent what the consuming side sends"));
            }
        };
        let Some((lane, came)) = lanes.get_mut(&channel) else {
            return Err(Error::restart(format!("an element of {channel}, which is closed or not of this link")));
        };
        let arrival = arrival(&element, &lane.queue);
        let judged = came.on_element(seq, arrival).and_then(|()| judge_barrier(arrival, &barriers));
        judged.map_err(|violation| Error::restart(format!("{channel} {violation}")))?;
        let element = match element {
            WireElement::Batch(bytes) => Element::Batch(lane.codec.decode(&bytes)?),
            WireElement::Barrier(barrier) => Element::Barrier(barrier),
            WireElement::Cancel(checkpoint) => Element::Cancel(checkpoint),
            WireElement::EndOfInput => Element::EndOfInput,
            WireElement::Closed => Element::Closed,
        };
        lane.queue.push(element);
        if came.is_closed() {
            lanes.remove(&channel);
        }
    }
    Ok(())
}

fn arrival(element: &WireElement, queue: &ChannelSender) -> Arrival {
    match element {
        WireElement::Batch(_) => Arrival::Batch { has_credit: queue.has_credit() },
        WireElement::Barrier(barrier) => Arrival::Barrier(*barrier),
        WireElement::Cancel(checkpoint) => Arrival::Cancel(*checkpoint),
        WireElement::EndOfInput => Arrival::EndOfInput,
        WireElement::Closed => Arrival::Closed,
    }
}

fn judge_barrier(arrival: Arrival, barriers: &SharedBarriers) -> Result<(), Violation> {
    match arrival {
        Arrival::Barrier(barrier) => barriers.lock().unwrap_or_else(PoisonError::into_inner).on_barrier(barrier),
        Arrival::Batch { .. } | Arrival::Cancel(_) | Arrival::EndOfInput | Arrival::Closed => Ok(()),
    }
}

/// Says that the consumers run, then returns credit for the batches that they take until the connection breaks; returns why.
pub async fn write_credits(
    env: Env,
    mut sender: Box<dyn FrameSender>,
    mut taken: Mailbox<ChannelId>,
    pace: Pace,
) -> Error {
    if let Err(error) = sender.send(encode(&Frame::Ready)).await {
        return error.into();
    }
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

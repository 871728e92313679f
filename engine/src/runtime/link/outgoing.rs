//! The producing side of a link: elements from queues, as far as credit goes.

use super::{Frame, Listening, Pace, WireElement};
use crate::cores::links::Window;
use crate::door::{BoxFuture, Connection, Env, FrameSender, Site};
use crate::element::{Batch, Element, Front, RecordCodec};
use crate::error::{Error, Result};
use crate::ids::ChannelId;
use crate::messages::encode;
use crate::runtime::channel::ChannelReceiver;
use crate::runtime::mailbox::{Either, Mailbox, Postbox, race};
use std::future::poll_fn;
use std::task::Poll;

/// A channel as the producing side of a link sees it.
pub struct OutgoingLane {
    /// Where the producer leaves elements.
    queue: ChannelReceiver,
    /// How to encode them.
    codec: RecordCodec,
    /// The producing operator, for messages.
    producer: String,
    /// Whether batches may still be sent.
    window: Window,
    /// Elements sent.
    sent: u64,
    /// What is left of a batch that was too large for a frame, last part first.
    rest: Vec<Batch>,
    closed: bool,
}

/// What the writer woke up for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Woken {
    /// Elements or credit.
    Work,
    /// Nothing was said for a beat.
    Beat,
}

impl OutgoingLane {
    /// The lane that drains `queue`, whose consumer has room for `credit` batches.
    pub fn new(queue: ChannelReceiver, codec: RecordCodec, producer: String, credit: u32) -> Self {
        Self { queue, codec, producer, window: Window::new(credit), sent: 0, rest: Vec::new(), closed: false }
    }

    fn front(&self) -> Option<Front> {
        if self.rest.is_empty() { self.queue.front() } else { Some(Front::Batch) }
    }

    fn may_send(&self) -> bool {
        match self.front() {
            Some(Front::Batch) => self.window.is_open(),
            Some(Front::Event) => true,
            None => false,
        }
    }

    /// The next frame; its records take at most `bytes_max`.
    fn next(&mut self, bytes_max: usize) -> Result<Frame> {
        let next = self.rest.pop().map_or_else(|| self.queue.take().1, Element::Batch);
        let element = match next {
            Element::Batch(batch) => {
                self.window.on_sent();
                WireElement::Batch(self.encode(batch, bytes_max)?)
            }
            Element::Barrier(barrier) => WireElement::Barrier(barrier),
            Element::Cancel(checkpoint) => WireElement::Cancel(checkpoint),
            Element::EndOfInput => WireElement::EndOfInput,
            Element::Closed => {
                self.closed = true;
                WireElement::Closed
            }
        };
        let seq = self.sent;
        self.sent += 1;
        Ok(Frame::Element { channel: self.queue.id(), seq, element })
    }

    /// The bytes of a batch, or of as much of it as fits.
    fn encode(&mut self, mut batch: Batch, bytes_max: usize) -> Result<Vec<u8>> {
        loop {
            let bytes = self.codec.encode(&batch);
            if bytes.len() <= bytes_max {
                return Ok(bytes);
            }
            if batch.len() == 1 {
                return Err(Error::give_up(format!(
                    "operator \"{}\" emitted a record of {} bytes; one that goes to another worker may have {bytes_max}",
                    self.producer,
                    bytes.len(),
                )));
            }
            let half = batch.len() / 2;
            let (front, back) = self.codec.split_front(batch, half);
            self.rest.push(back);
            batch = front;
        }
    }
}

/// Waits until the consuming side runs the attempt, then carries elements out and credit in until every lane is closed and the consuming side has hung up. Errors: why the link is
/// over before that.
pub async fn carry(
    env: &Env,
    site: Site,
    connection: Connection,
    lanes: Vec<OutgoingLane>,
    pace: Pace,
    bytes_max: usize,
) -> Result<()> {
    let mut receiver = Listening::new(env.clone(), connection.receiver, pace);
    match receiver.next().await? {
        Frame::Ready => {}
        Frame::Element { .. } | Frame::Credits(_) | Frame::KeepAlive => {
            return Err(Error::restart("a link was used before both sides were ready"));
        }
    }
    let (credits, arrived) = Mailbox::new(env, site);
    let mut read = Box::pin(read_credits(receiver, credits));
    let write = write_elements(env, site, connection.sender, (lanes, bytes_max), arrived, pace);
    match race(&mut read, Box::pin(write)).await {
        Either::First(cause) | Either::Second(Err(cause)) => Err(cause),
        Either::Second(Ok(())) => {
            // Hanging up first could overtake what is still under way to the other side.
            let _hung_up: Error = read.await;
            Ok(())
        }
    }
}

/// Sends the elements of `lanes` until all are closed.
async fn write_elements(
    env: &Env,
    site: Site,
    mut sender: Box<dyn FrameSender>,
    (mut lanes, bytes_max): (Vec<OutgoingLane>, usize),
    mut credits: Mailbox<(ChannelId, u32)>,
    pace: Pace,
) -> Result<()> {
    let mut beat = env.sleep(pace.beat);
    let mut spoke = false;
    while !lanes.iter().all(|lane| lane.closed) {
        while let Some((channel, batches)) = credits.try_take() {
            let Some(lane) = lanes.iter_mut().find(|lane| lane.queue.id() == channel) else {
                return Err(Error::restart(format!("credit for {channel}, which is not of this link")));
            };
            let returned = lane.window.on_credit(batches);
            returned.map_err(|violation| Error::restart(format!("{channel} {violation}")))?;
        }
        let ready: Vec<usize> = (0..lanes.len()).filter(|&i| lanes[i].may_send()).collect();
        let frame = if !ready.is_empty() {
            spoke = true;
            lanes[ready[env.schedule.pick(site, ready.len())]].next(bytes_max)?
        } else if wait_for_work(&mut lanes, &mut credits, &mut beat).await == Woken::Beat {
            beat = env.sleep(pace.beat);
            if std::mem::replace(&mut spoke, false) {
                continue;
            }
            Frame::KeepAlive
        } else {
            continue;
        };
        sender.send(encode(&frame)).await?;
    }
    Ok(())
}

async fn wait_for_work(
    lanes: &mut [OutgoingLane],
    credits: &mut Mailbox<(ChannelId, u32)>,
    beat: &mut BoxFuture<'static, ()>,
) -> Woken {
    poll_fn(|context| {
        let mut ready = credits.poll_arrived(context).is_ready();
        for lane in lanes.iter_mut() {
            // A lane without credit whose front is a batch waits for credit, not for elements.
            let starved = !lane.window.is_open() && lane.front() == Some(Front::Batch);
            ready |= !starved && lane.queue.poll_arrived(context).is_ready();
        }
        if ready {
            return Poll::Ready(Woken::Work);
        }
        beat.as_mut().poll(context).map(|()| Woken::Beat)
    })
    .await
}

/// Passes the credit that comes back to [`write_elements`] until the connection breaks; returns why.
async fn read_credits(mut receiver: Listening, credits: Postbox<(ChannelId, u32)>) -> Error {
    loop {
        match receiver.next().await {
            Ok(Frame::Credits(taken)) => taken.into_iter().for_each(|credit| credits.post(credit)),
            Ok(Frame::Ready | Frame::Element { .. } | Frame::KeepAlive) => {
                return Error::restart("data came back on a link");
            }
            Err(error) => return error,
        }
    }
}

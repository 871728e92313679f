//! Links: how channels cross from worker to worker. One connection per ordered pair of workers and attempt carries every
//! channel from the one to the other, and credit back.
//!
//! ```text
//! producer's worker                                        consumer's worker
//!   subtask → queue ┐                                    ┌→ queue → subtask
//!   subtask → queue ┴→ writer ──── Element … ──────→ reader ┘       │ batch taken
//!                      reader ←── Ready, Credits … ── writer ←───────┘
//! ```
//!
//! 1. The producing side connects, and claims in the handshake ([`crate::cores::handshake`]) to bring the elements of an
//!    attempt. A consumer says [`Frame::Ready`] once it runs that attempt, and hangs up if it never will. Nothing is sent before.
//! 2. Elements carry the channel's own numbers. A gap, or an element or credit that no right peer sends then, ends the link
//!    ([`crate::cores::links`]).
//! 3. A batch is sent only with credit: one for every batch the consumer's queue may still take. Events need none. A batch too
//!    large for a frame travels in parts, each with a number and credit of its own.
//! 4. Both sides send a frame at least every [`Pace::beat`]. Silence means a connection that neither side knows to be
//!    broken, whatever coordinator and workers hear of each other; unnoticed, the last element on it would be lost for
//!    good.
//! 5. Once every lane is closed the consuming side hangs up, and the link is over. Whatever else ends
//!    a link ends the attempt: the worker reports it, and the job restarts from its latest checkpoint.
//!
//! Owns: the frames, the credit of the far queue. Does not own: the queues, reconnecting (there is none within an attempt).

mod incoming;
mod outgoing;

pub use incoming::{IncomingLane, SharedBarriers, read_elements, write_credits};
pub use outgoing::{OutgoingLane, carry};

use super::dial::{DialError, dial};
use crate::door::{BoxFuture, Connection, Env, FRAME_BYTES_MAX, FrameReceiver};
use crate::element::Barrier;
use crate::error::{Error, Result};
use crate::ids::{Attempt, ChannelId, CheckpointId, WorkerId};
use crate::messages::decode;
use crate::messages::handshake::Claim;
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// What crosses a link.
#[derive(Serialize, Deserialize)]
pub enum Frame {
    /// The first frame, from the consuming side: it runs the attempt.
    Ready,
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
    /// There was nothing else to say.
    KeepAlive,
}

/// An [`Element`](crate::element::Element) with its records encoded by the edge's codec.
#[derive(Serialize, Deserialize)]
#[expect(missing_docs, reason = "mirrors Element")]
pub enum WireElement {
    Batch(#[serde(with = "serde_bytes")] Vec<u8>),
    Barrier(Barrier),
    Cancel(CheckpointId),
    EndOfInput,
    Closed,
}

/// What is left for records in the largest frame: [`Frame::Element`] around them takes less than this difference.
pub const RECORDS_BYTES_MAX: usize = FRAME_BYTES_MAX - 64;

/// How often a link says something, and how long it may be silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Time between frames of a side that has nothing to say.
    pub beat: Duration,
    /// A side that has said nothing for one to two times as long is gone.
    pub patience: Duration,
}

impl Pace {
    /// As patient as coordinator and workers are with each other, and not more talkative than that takes.
    pub fn of(heartbeat_timeout: Duration) -> Self {
        Self { beat: heartbeat_timeout / 3, patience: heartbeat_timeout }
    }
}

/// Connects the producing worker `from` to the consuming one.
pub async fn open(
    env: &Env,
    address: &str,
    limit: Duration,
    secret: &Secret,
    (attempt, from, to): (Attempt, WorkerId, WorkerId),
) -> Result<Connection, DialError> {
    dial(env, address, limit, secret, Claim::Link { attempt, from, to }).await
}

/// Receives frames, and notices when none comes for too long.
struct Listening {
    env: Env,
    receiver: Box<dyn FrameReceiver>,
    patience: Duration,
    /// Whether a frame arrived since the alarm was set: no frame needs to look at the clock.
    heard: bool,
    alarm: BoxFuture<'static, ()>,
}

impl Listening {
    fn new(env: Env, receiver: Box<dyn FrameReceiver>, pace: Pace) -> Self {
        let alarm = env.sleep(pace.patience);
        Self { env, receiver, patience: pace.patience, heard: false, alarm }
    }

    /// The next frame that says something.
    async fn next(&mut self) -> Result<Frame> {
        loop {
            let Self { receiver, alarm, .. } = self;
            let mut receive = receiver.receive();
            let received = poll_fn(|context| match receive.as_mut().poll(context) {
                Poll::Ready(frame) => Poll::Ready(Some(frame)),
                Poll::Pending => alarm.as_mut().poll(context).map(|()| None),
            });
            match received.await {
                Some(frame) => {
                    self.heard = true;
                    match decode(&frame?)? {
                        Frame::KeepAlive => {}
                        frame @ (Frame::Ready | Frame::Element { .. } | Frame::Credits(_)) => return Ok(frame),
                    }
                }
                None if std::mem::replace(&mut self.heard, false) => self.alarm = self.env.sleep(self.patience),
                None => return Err(Error::restart(format!("silent for {:?}", self.patience))),
            }
        }
    }
}

#[cfg(test)]
mod tests;

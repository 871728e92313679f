//! Frames on a stream of bytes, whatever carries it.
//!
//! ```text
//! frame := length u32 little-endian, then that many bytes
//! ```
//!
//! Frames are written straight to the socket, prefix and payload in one call: nothing waits in a buffer for a
//! flush, and the engine batches records already. (Rejected: a buffered writer with a task that flushes it when idle;
//! it saves a system call per frame and costs a wake-up.)
//!
//! Invariant: memory grows with the bytes that have arrived, never with what a prefix promises, and never beyond the bound of
//! the receiver.
//!
//! Not handled: a half-open connection stays silent, as the door says; heartbeats notice it.

use crate::door::{BoxFuture, Connection, FRAME_BYTES_MAX, FrameReceiver, FrameSender, NetworkError};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of the length prefix.
const PREFIX: usize = 4;

/// Room made for one read, until a frame has shown by arriving that it is larger.
const READ_BYTES: usize = 64 << 10;

/// A connection on the two halves of a stream.
pub fn connection<R, W>(read: R, write: W, peer: String) -> Connection
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let receiver =
        Receiver { read, peer: peer.clone(), bytes_max: FRAME_BYTES_MAX, arrived: BytesMut::new(), end: None };
    Connection {
        sender: Box::new(Sender { write, peer: peer.clone(), state: SenderState::BetweenFrames }),
        receiver: Box::new(receiver),
        peer,
    }
}

struct Sender<W> {
    write: W,
    peer: String,
    state: SenderState,
}

enum SenderState {
    BetweenFrames,
    /// A part of a frame may be on its way; still so at the next send means that the last one was dropped.
    InFrame,
    Broken(NetworkError),
}

impl<W: AsyncWrite + Unpin + Send> FrameSender for Sender<W> {
    fn send(&mut self, frame: Bytes) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(async move {
            match &self.state {
                SenderState::BetweenFrames => {}
                SenderState::InFrame => {
                    let why = "an earlier frame was given up half-way".to_owned();
                    return Err(NetworkError::Broken(self.peer.clone(), why));
                }
                SenderState::Broken(error) => return Err(error.clone()),
            }
            let length = match u32::try_from(frame.len()) {
                Ok(length) if frame.len() <= FRAME_BYTES_MAX => length,
                _ => {
                    return Err(NetworkError::Malformed(
                        "this process".to_owned(),
                        too_long(frame.len(), FRAME_BYTES_MAX),
                    ));
                }
            };
            self.state = SenderState::InFrame;
            let mut rest = Bytes::copy_from_slice(&length.to_le_bytes()).chain(frame);
            // `write_all_buf` hands both parts to one vectored write.
            match self.write.write_all_buf(&mut rest).await {
                Ok(()) => {
                    self.state = SenderState::BetweenFrames;
                    Ok(())
                }
                Err(e) => {
                    let error = NetworkError::Broken(self.peer.clone(), e.to_string());
                    self.state = SenderState::Broken(error.clone());
                    Err(error)
                }
            }
        })
    }
}

struct Receiver<R> {
    read: R,
    peer: String,
    /// The longest frame that is read.
    bytes_max: usize,
    /// Bytes that have arrived and are not yet part of a returned frame: what makes `receive` cancel-safe.
    arrived: BytesMut,
    end: Option<NetworkError>,
}

impl<R> Receiver<R> {
    /// Takes the first frame if it is complete, or says how many more bytes it needs.
    fn take_frame(&mut self) -> Result<Frame, String> {
        let Some(prefix) = self.arrived.first_chunk::<PREFIX>() else {
            return Ok(Frame::Missing(PREFIX - self.arrived.len()));
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > self.bytes_max {
            return Err(too_long(length, self.bytes_max));
        }
        if self.arrived.len() < PREFIX + length {
            return Ok(Frame::Missing(PREFIX + length - self.arrived.len()));
        }
        self.arrived.advance(PREFIX);
        Ok(Frame::Whole(self.arrived.split_to(length).freeze()))
    }

    /// Makes room for `missing` more bytes, but for at most as much again as has arrived, so that a lying prefix costs
    /// nothing; and for at least [`READ_BYTES`] if at all, so that small frames arrive many at a time. A bound that is lower
    /// than that is all the room there is.
    fn make_room(&mut self, missing: usize) {
        let at_once = READ_BYTES.min(self.bytes_max.saturating_add(PREFIX));
        let wanted = missing.min(self.arrived.len().max(at_once));
        if self.arrived.capacity() - self.arrived.len() < wanted {
            self.arrived.reserve(wanted.max(at_once));
        }
    }

    fn end(&mut self, error: NetworkError) -> NetworkError {
        // Nothing can follow; the memory goes now, not when the connection is dropped.
        self.arrived = BytesMut::new();
        self.end.insert(error).clone()
    }
}

enum Frame {
    Whole(Bytes),
    Missing(usize),
}

impl<R: AsyncRead + Unpin + Send> FrameReceiver for Receiver<R> {
    fn receive(&mut self) -> BoxFuture<'_, Result<Bytes, NetworkError>> {
        Box::pin(async move {
            if let Some(end) = &self.end {
                return Err(end.clone());
            }
            loop {
                let missing = match self.take_frame() {
                    Ok(Frame::Whole(frame)) => return Ok(frame),
                    Ok(Frame::Missing(missing)) => missing,
                    Err(why) => {
                        let error = NetworkError::Malformed(self.peer.clone(), why);
                        return Err(self.end(error));
                    }
                };
                self.make_room(missing);
                let why = match self.read.read_buf(&mut self.arrived).await {
                    Ok(0) if self.arrived.is_empty() => "the peer closed it".to_owned(),
                    Ok(0) => "the peer closed it in the middle of a frame".to_owned(),
                    Ok(_) => continue,
                    Err(e) => e.to_string(),
                };
                let error = NetworkError::Broken(self.peer.clone(), why);
                return Err(self.end(error));
            }
        })
    }

    fn bound(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }
}

fn too_long(length: usize, bytes_max: usize) -> String {
    format!("a frame of {length} bytes, where {bytes_max} are allowed")
}

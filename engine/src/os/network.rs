//! Connections over TCP.
//!
//! ```text
//! frame := length u32 little-endian, then that many bytes
//! ```
//!
//! Frames are written straight to the socket, prefix and payload in one call: nothing waits in a buffer for a
//! flush, and the engine batches records already. (Rejected: a buffered writer with a task that flushes it when idle;
//! it saves a system call per frame and costs a wake-up.) `TCP_NODELAY` is on, so small frames leave at once.
//!
//! Invariant: memory grows with the bytes that have arrived, never with what a prefix promises.
//!
//! Not handled: a half-open connection is silent for ever, as the door says; heartbeats notice it. There is no
//! authentication and no encryption: listen on addresses that only your own machines reach.

use crate::door::{
    BoxFuture, Connection, FRAME_BYTES_MAX, FrameReceiver, FrameSender, Listener, Network, NetworkError,
};
use bytes::{Buf, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of the length prefix.
const PREFIX: usize = 4;

/// Room made for one read, until a frame has shown by arriving that it is larger.
const READ_BYTES: usize = 64 << 10;

/// TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpNetwork;

impl Network for TcpNetwork {
    fn listen(&self, address: String) -> BoxFuture<'static, Result<Box<dyn Listener>, NetworkError>> {
        Box::pin(async move {
            let cannot = |e: io::Error| NetworkError::CannotListen(address.clone(), e.to_string());
            let socket = TcpListener::bind(&address).await.map_err(cannot)?;
            let address = socket.local_addr().map_err(cannot)?.to_string();
            Ok(Box::new(TcpDoor { socket, address }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, address: String) -> BoxFuture<'static, Result<Connection, NetworkError>> {
        Box::pin(async move {
            let refused = |e: io::Error| NetworkError::Refused(address.clone(), e.to_string());
            let stream = TcpStream::connect(&address).await.map_err(refused)?;
            connection(stream, address.clone()).map_err(refused)
        })
    }
}

struct TcpDoor {
    socket: TcpListener,
    address: String,
}

impl Listener for TcpDoor {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn accept(&mut self) -> BoxFuture<'_, Result<Connection, NetworkError>> {
        Box::pin(async move {
            loop {
                let (stream, peer) = match self.socket.accept().await {
                    Ok(accepted) => accepted,
                    // The peer gave up while it was queued: not our trouble.
                    Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
                    Err(e) => return Err(NetworkError::CannotListen(self.address.clone(), e.to_string())),
                };
                // A peer that is gone already fails here; the next one may not be.
                if let Ok(connection) = connection(stream, peer.to_string()) {
                    return Ok(connection);
                }
            }
        })
    }
}

fn connection(stream: TcpStream, peer: String) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    Ok(Connection {
        sender: Box::new(TcpSender { write, peer: peer.clone(), state: SenderState::BetweenFrames }),
        receiver: Box::new(TcpReceiver { read, peer: peer.clone(), arrived: BytesMut::new(), end: None }),
        peer,
    })
}

struct TcpSender {
    write: OwnedWriteHalf,
    peer: String,
    state: SenderState,
}

enum SenderState {
    BetweenFrames,
    /// A part of a frame may be on its way; still so at the next send means that the last one was dropped.
    InFrame,
    Broken(NetworkError),
}

impl FrameSender for TcpSender {
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
                _ => return Err(NetworkError::Malformed("this process".to_owned(), too_long(frame.len() as u64))),
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

struct TcpReceiver {
    read: OwnedReadHalf,
    peer: String,
    /// Bytes that have arrived and are not yet part of a returned frame: what makes `receive` cancel-safe.
    arrived: BytesMut,
    end: Option<NetworkError>,
}

impl TcpReceiver {
    /// Takes the first frame if it is complete, or says how many more bytes it needs.
    fn take_frame(&mut self) -> Result<Frame, String> {
        let Some(prefix) = self.arrived.first_chunk::<PREFIX>() else {
            return Ok(Frame::Missing(PREFIX - self.arrived.len()));
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(too_long(length as u64));
        }
        if self.arrived.len() < PREFIX + length {
            return Ok(Frame::Missing(PREFIX + length - self.arrived.len()));
        }
        self.arrived.advance(PREFIX);
        Ok(Frame::Whole(self.arrived.split_to(length).freeze()))
    }

    /// Makes room for `missing` more bytes, but for at most as much again as has arrived, so that a lying prefix costs
    /// nothing; and for at least [`READ_BYTES`] if at all, so that small frames arrive many at a time.
    fn make_room(&mut self, missing: usize) {
        let wanted = missing.min(self.arrived.len().max(READ_BYTES));
        if self.arrived.capacity() - self.arrived.len() < wanted {
            self.arrived.reserve(wanted.max(READ_BYTES));
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

impl FrameReceiver for TcpReceiver {
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
}

fn too_long(length: u64) -> String {
    format!("a frame of {length} bytes, where {FRAME_BYTES_MAX} are allowed")
}

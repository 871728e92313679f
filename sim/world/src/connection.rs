//! The network's handles: what the engine holds of listeners and connections.
//!
//! A handle of a fenced incarnation does nothing: its futures never complete and dropping it tells nobody, because
//! the crash that fenced it has already decided what the peers will notice.

use super::incarnation::{Door, Port};
use super::keyed::{Domain, identity};
use super::network::{ConnectRequest, ConnectionEnd, Sent};
use super::queue::Arrival;
use super::wait::{Outcome, WaitId, register};
use bytes::Bytes;
use cofferdam_engine::door::{
    BoxFuture, Connection, FRAME_BYTES_MAX, FrameReceiver, FrameSender, Listener, Network, NetworkError,
};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

impl Network for Port {
    fn listen(&self, address: String) -> BoxFuture<'static, Result<Box<dyn Listener>, NetworkError>> {
        let door = self.door.clone();
        Box::pin(poll_fn(move |_| {
            if door.is_fenced() {
                return Poll::Pending;
            }
            let opened = door.world.lock().network.listen(door.index, door.who.process, &address);
            Poll::Ready(opened.map(|(number, address)| {
                Box::new(WorldListener { door: door.clone(), number, address }) as Box<dyn Listener>
            }))
        }))
    }

    fn connect(&self, address: String) -> BoxFuture<'static, Result<Connection, NetworkError>> {
        Box::pin(Connect { door: self.door.clone(), address, wait: None })
    }
}

struct Connect {
    door: Arc<Door>,
    address: String,
    wait: Option<WaitId>,
}

impl Future for Connect {
    type Output = Result<Connection, NetworkError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.door.is_fenced() {
            return Poll::Pending;
        }
        let world = &this.door.world;
        let mut state = world.lock();
        let wait = match this.wait {
            Some(wait) => wait,
            None => {
                let wait = state.waits.add(this.door.index, Outcome::Open);
                let occurrence = state.count(this.door.index, Domain::Network, identity(&this.address));
                let key = identity((this.door.key, &this.address, occurrence));
                let word = world.keyed.draw(Domain::Network, key, 0);
                let latency = world.tuning.link.from_draw(word);
                let arrives = state.faults.arrival(world.now(), latency, this.door.index, None);
                let request = ConnectRequest { wait, incarnation: this.door.index, address: this.address.clone(), key };
                state.queue.push(arrives, word, Arrival::Connect(Box::new(request)));
                this.wait = Some(wait);
                wait
            }
        };
        let outcome = match state.waits.poll(wait, context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(outcome) => outcome,
        };
        this.wait = None;
        let Outcome::Connected(connected) = outcome else { unreachable!("a connection request ends connected or not") };
        Poll::Ready(connected.map(|end| {
            let peer = state.network.hand_out(end);
            connection(&this.door, end, peer)
        }))
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        let Some(wait) = self.wait else { return };
        let mut state = self.door.world.lock();
        let rest = state.waits.free(wait);
        if let Some((Outcome::Connected(Ok(end)), _)) = &rest
            && !self.door.is_fenced()
        {
            state.close_end(&self.door.world, *end);
        }
        drop(state);
        drop(rest);
    }
}

fn connection(door: &Arc<Door>, end: ConnectionEnd, peer: String) -> Connection {
    Connection {
        peer,
        sender: Box::new(Sender(HalfOfEnd { door: door.clone(), end })),
        receiver: Box::new(Receiver {
            half: HalfOfEnd { door: door.clone(), end },
            bytes_max: FRAME_BYTES_MAX,
            over: None,
        }),
    }
}

struct WorldListener {
    door: Arc<Door>,
    number: u32,
    address: String,
}

impl Listener for WorldListener {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn accept(&mut self) -> BoxFuture<'_, Result<Connection, NetworkError>> {
        Box::pin(poll_fn(|context| {
            if self.door.is_fenced() {
                return Poll::Pending;
            }
            let mut state = self.door.world.lock();
            match state.network.incoming(self.number) {
                Some(end) => {
                    let peer = state.network.hand_out(end);
                    Poll::Ready(Ok(connection(&self.door, end, peer)))
                }
                None => {
                    let waiter = state.network.accept_waiter(self.number);
                    register(waiter, context);
                    Poll::Pending
                }
            }
        }))
    }
}

impl Drop for WorldListener {
    fn drop(&mut self) {
        if !self.door.is_fenced() {
            let mut state = self.door.world.lock();
            let waiter = state.network.accept_waiter(self.number).take();
            state.close_listener(&self.door.world, self.number);
            drop(state);
            drop(waiter);
        }
    }
}

/// What a sender and a receiver have in common.
struct HalfOfEnd {
    door: Arc<Door>,
    end: ConnectionEnd,
}

impl Drop for HalfOfEnd {
    fn drop(&mut self) {
        if !self.door.is_fenced() {
            self.door.world.lock().drop_half(&self.door.world, self.end);
        }
    }
}

struct Sender(HalfOfEnd);

impl FrameSender for Sender {
    fn send(&mut self, frame: Bytes) -> BoxFuture<'_, Result<(), NetworkError>> {
        assert!(frame.len() <= FRAME_BYTES_MAX, "a frame of {} bytes is too long to be sent", frame.len());
        Box::pin(Send { half: &self.0, frame: Some(frame) })
    }
}

struct Send<'a> {
    half: &'a HalfOfEnd,
    /// Until it is handed over.
    frame: Option<Bytes>,
}

impl Future for Send<'_> {
    type Output = Result<(), NetworkError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let half = self.half;
        if half.door.is_fenced() {
            return Poll::Pending;
        }
        let world = &half.door.world;
        let frame = self.frame.take().expect("a send is not polled after it has ended");
        let mut state = world.lock();
        match state.send_frame(world, half.end, frame) {
            Sent::Away => Poll::Ready(Ok(())),
            Sent::Broken(error) => Poll::Ready(Err(error)),
            Sent::Full(frame) => {
                register(state.network.send_waiter(half.end), context);
                drop(state);
                self.frame = Some(frame);
                Poll::Pending
            }
        }
    }
}

impl Drop for Send<'_> {
    fn drop(&mut self) {
        // The contract: a dropped send breaks the connection, whatever the frame's fate.
        if self.frame.is_some() && !self.half.door.is_fenced() {
            self.half.door.world.lock().abandon_send(&self.half.door.world, self.half.end);
        }
    }
}

struct Receiver {
    half: HalfOfEnd,
    bytes_max: usize,
    /// A frame was malformed: there are no more.
    over: Option<NetworkError>,
}

impl FrameReceiver for Receiver {
    fn receive(&mut self) -> BoxFuture<'_, Result<Bytes, NetworkError>> {
        let Self { half, bytes_max, over } = self;
        Box::pin(poll_fn(move |context| {
            if half.door.is_fenced() {
                return Poll::Pending;
            }
            if let Some(error) = over {
                return Poll::Ready(Err(error.clone()));
            }
            let world = &half.door.world;
            let mut state = world.lock();
            match state.receive_frame(world, half.end) {
                Some(Ok(frame)) if frame.len() > *bytes_max => {
                    let what = format!("a frame of {} bytes, where {bytes_max} are allowed", frame.len());
                    Poll::Ready(Err(over.insert(NetworkError::Malformed(state.network.peer(half.end), what)).clone()))
                }
                Some(received) => Poll::Ready(received),
                None => {
                    register(state.network.receive_waiter(half.end), context);
                    Poll::Pending
                }
            }
        }))
    }

    fn bound(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }
}

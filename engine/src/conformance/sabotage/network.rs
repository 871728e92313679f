//! Networks with one broken promise each.

use super::DAWDLE;
use crate::door::{BoxFuture, Clock, Connection, FrameReceiver, Listener, Network, NetworkError};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// What is broken. Frames: the tenth of each connection.
#[derive(Clone, Copy)]
pub(super) enum NetworkFlaw {
    Reorders,
    Repeats,
    Merges,
    Loses,
    Garbles,
    ForgetsWhenGivenUp,
    SpeaksAfterBreak,
    HidesBreaks,
    SharesPorts,
    IgnoresBounds,
}

/// The frame that suffers.
const VICTIM: u64 = 10;

#[derive(Clone)]
struct Flawed {
    clock: Arc<dyn Clock>,
    flaw: NetworkFlaw,
}

impl Flawed {
    fn connection(&self, connection: Connection) -> Connection {
        let Connection { peer, sender, receiver } = connection;
        let receiver =
            CrookedReceiver { inner: receiver, flawed: self.clone(), received: 0, held: None, broken: false };
        Connection { peer, sender, receiver: Box::new(receiver) }
    }
}

pub(super) struct CrookedNetwork {
    inner: Arc<dyn Network>,
    flawed: Flawed,
}

impl CrookedNetwork {
    pub fn new(inner: Arc<dyn Network>, clock: Arc<dyn Clock>, flaw: NetworkFlaw) -> Self {
        Self { inner, flawed: Flawed { clock, flaw } }
    }
}

impl Network for CrookedNetwork {
    fn listen(&self, address: String) -> BoxFuture<'static, Result<Box<dyn Listener>, NetworkError>> {
        let (inner, flawed) = (self.inner.clone(), self.flawed.clone());
        Box::pin(async move {
            let listener = match inner.listen(address.clone()).await {
                Err(NetworkError::CannotListen(..)) if matches!(flawed.flaw, NetworkFlaw::SharesPorts) => {
                    let (host, _) = address.rsplit_once(':').expect("an address has a port");
                    inner.listen(format!("{host}:0")).await?
                }
                other => other?,
            };
            Ok(Box::new(CrookedListener { inner: listener, flawed }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, address: String) -> BoxFuture<'static, Result<Connection, NetworkError>> {
        let (inner, flawed) = (self.inner.clone(), self.flawed.clone());
        Box::pin(async move { Ok(flawed.connection(inner.connect(address).await?)) })
    }
}

struct CrookedListener {
    inner: Box<dyn Listener>,
    flawed: Flawed,
}

impl Listener for CrookedListener {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn accept(&mut self) -> BoxFuture<'_, Result<Connection, NetworkError>> {
        let accepting = self.inner.accept();
        let flawed = self.flawed.clone();
        Box::pin(async move { Ok(flawed.connection(accepting.await?)) })
    }
}

struct CrookedReceiver {
    inner: Box<dyn FrameReceiver>,
    flawed: Flawed,
    received: u64,
    /// To be given next.
    held: Option<Bytes>,
    broken: bool,
}

impl CrookedReceiver {
    /// What is given in place of the frame that suffers.
    async fn mistreat(&mut self, frame: Bytes) -> Result<Bytes, NetworkError> {
        Ok(match self.flawed.flaw {
            NetworkFlaw::Reorders => {
                let next = self.inner.receive().await?;
                self.held = Some(frame);
                next
            }
            NetworkFlaw::Repeats => {
                self.held = Some(frame.clone());
                frame
            }
            NetworkFlaw::Merges => {
                let mut both = BytesMut::from(&frame[..]);
                both.extend_from_slice(&self.inner.receive().await?);
                both.freeze()
            }
            NetworkFlaw::Loses => self.inner.receive().await?,
            NetworkFlaw::Garbles => frame.iter().map(|byte| byte ^ 1).collect(),
            NetworkFlaw::ForgetsWhenGivenUp
            | NetworkFlaw::SpeaksAfterBreak
            | NetworkFlaw::HidesBreaks
            | NetworkFlaw::SharesPorts
            | NetworkFlaw::IgnoresBounds => frame,
        })
    }
}

impl FrameReceiver for CrookedReceiver {
    fn receive(&mut self) -> BoxFuture<'_, Result<Bytes, NetworkError>> {
        Box::pin(async move {
            if let Some(held) = self.held.take() {
                return Ok(held);
            }
            if self.broken && matches!(self.flawed.flaw, NetworkFlaw::SpeaksAfterBreak) {
                return Ok(Bytes::new());
            }
            let received = self.inner.receive().await;
            self.broken |= received.is_err();
            match (received, self.flawed.flaw) {
                (Ok(frame), NetworkFlaw::ForgetsWhenGivenUp) => {
                    // Dropped here, the frame is gone.
                    let clock = self.flawed.clock.clone();
                    clock.sleep_until(clock.now() + DAWDLE).await;
                    Ok(frame)
                }
                (Err(_), NetworkFlaw::HidesBreaks) => std::future::pending().await,
                (Ok(frame), _) => {
                    self.received += 1;
                    if self.received == VICTIM { self.mistreat(frame).await } else { Ok(frame) }
                }
                (Err(error), _) => Err(error),
            }
        })
    }

    fn bound(&mut self, bytes_max: usize) {
        if !matches!(self.flawed.flaw, NetworkFlaw::IgnoresBounds) {
            self.inner.bound(bytes_max);
        }
    }
}

//! Being asked to stop.

#[cfg(unix)]
use cofferdam_engine::runtime::mailbox::race;
use std::io;
#[cfg(unix)]
use std::pin::pin;

/// Ctrl-C, and the signal by which a service manager or `kill` asks to stop.
pub struct Interruption {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Interruption {
    #[cfg(unix)]
    /// Starts to listen; from here on the signals do not end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(unix)]
    /// Ready once one of them has arrived.
    pub async fn arrived(mut self) {
        race(pin!(self.interrupt.recv()), pin!(self.terminate.recv())).await;
    }

    #[cfg(not(unix))]
    pub fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    pub async fn arrived(self) {
        // Without a handler Ctrl-C simply ends the process, which is safe as well.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

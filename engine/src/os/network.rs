//! Connections over sockets: TCP between machines, Unix sockets between processes of one.
//!
//! | address | socket |
//! |---|---|
//! | `HOST:PORT` | TCP (`tcp`); port 0 is one of the system's choice |
//! | `unix:PATH` | a Unix socket (`unix`); a `PATH` that ends in `/` is a name of the network's choice in that folder |
//!
//! Frames have the same form on both (`framed`). Who is at the other end is not known here: every connection begins with a
//! handshake ([`crate::runtime::gate`]).
//!
//! Not handled: encryption. TLS belongs between the stream and `framed`, whose halves take any stream; what identifies its
//! channel belongs into the proofs of [`crate::cores::handshake`].

mod framed;
mod tcp;
#[cfg(unix)]
mod unix;

pub use tcp::TcpNetwork;
#[cfg(unix)]
pub use unix::{PATH_BYTES_MAX, UnixNetwork};

use crate::door::{BoxFuture, Connection, Listener, Network, NetworkError};

/// What the address of a Unix socket begins with.
pub const UNIX: &str = "unix:";

/// Sockets of both kinds.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketNetwork;

impl Network for SocketNetwork {
    fn listen(&self, address: String) -> BoxFuture<'static, Result<Box<dyn Listener>, NetworkError>> {
        #[cfg(unix)]
        if address.starts_with(UNIX) {
            return UnixNetwork.listen(address);
        }
        TcpNetwork.listen(address)
    }

    fn connect(&self, address: String) -> BoxFuture<'static, Result<Connection, NetworkError>> {
        #[cfg(unix)]
        if address.starts_with(UNIX) {
            return UnixNetwork.connect(address);
        }
        TcpNetwork.connect(address)
    }
}

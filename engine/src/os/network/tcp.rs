//! TCP. `TCP_NODELAY` is on, so small frames leave at once.
//!
//! There is no encryption: listen on addresses that only your own machines reach.

use super::framed;
use crate::door::{BoxFuture, Connection, Listener, Network, NetworkError};
use std::io;
use tokio::net::{TcpListener, TcpStream};

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
    Ok(framed::connection(read, write, peer))
}

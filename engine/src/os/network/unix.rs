//! Unix sockets: files through which processes of one machine meet. Who may open the folder of such a file may connect.
//!
//! 1. Listening makes the file. A file of that name on which no process listens any more is a remainder, and is replaced.
//! 2. A listener that is dropped removes its file; a process that is killed leaves it behind.
//!
//! Not handled: folders. The caller that names one ensures that no other user can enter it (`launch/rendezvous.rs`).

use super::{UNIX, framed};
use crate::door::{BoxFuture, Connection, Listener, Network, NetworkError};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// The longest path of a socket that every Unix takes: Linux has room for 107 bytes, others for 103.
pub const PATH_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Unix sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnixNetwork;

impl Network for UnixNetwork {
    fn listen(&self, address: String) -> BoxFuture<'static, Result<Box<dyn Listener>, NetworkError>> {
        Box::pin(async move {
            let cannot = |why: String| NetworkError::CannotListen(address.clone(), why);
            let path = path(&address).map_err(cannot)?;
            let path = if address.ends_with('/') { path.join(format!("{:016x}", rand::random::<u64>())) } else { path };
            let socket = bind(&path).await.map_err(|e| cannot(e.to_string()))?;
            let file = identity(&path).map_err(|e| cannot(e.to_string()))?;
            Ok(Box::new(UnixDoor { socket, path, file }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, address: String) -> BoxFuture<'static, Result<Connection, NetworkError>> {
        Box::pin(async move {
            let refused = |why: String| NetworkError::Refused(address.clone(), why);
            let path = path(&address).map_err(refused)?;
            let stream = UnixStream::connect(&path).await.map_err(|e| refused(e.to_string()))?;
            Ok(connection(stream, address.clone()))
        })
    }
}

struct UnixDoor {
    socket: UnixListener,
    path: PathBuf,
    /// Which file it made, so that it removes no other.
    file: (u64, u64),
}

impl Drop for UnixDoor {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            // One that stays is replaced or removed by the next leader.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listener for UnixDoor {
    fn address(&self) -> String {
        format!("{UNIX}{}", self.path.display())
    }

    fn accept(&mut self) -> BoxFuture<'_, Result<Connection, NetworkError>> {
        Box::pin(async move {
            loop {
                match self.socket.accept().await {
                    Ok((stream, _)) => return Ok(connection(stream, "a process of this machine".to_owned())),
                    // The peer gave up while it was queued.
                    Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(e) => return Err(NetworkError::CannotListen(self.address(), e.to_string())),
                }
            }
        })
    }
}

fn connection(stream: UnixStream, peer: String) -> Connection {
    let (read, write) = stream.into_split();
    framed::connection(read, write, peer)
}

/// The path of an address, if it is one that can be used.
fn path(address: &str) -> Result<PathBuf, String> {
    let path = address.strip_prefix(UNIX).filter(|path| path.starts_with('/'));
    let path = path.ok_or_else(|| format!("write {UNIX} and the full path of a socket"))?;
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("its path has {} bytes, and a socket's path has at most {PATH_BYTES_MAX}", path.len()));
    }
    Ok(PathBuf::from(path))
}

async fn bind(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && is_remainder(path).await => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// Whether a socket is there that no process listens on.
async fn is_remainder(path: &Path) -> bool {
    UnixStream::connect(path).await.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

//! The gate of a process that listens: a peer passes only when it has proved to be a member of the job.
//!
//! ```text
//! listener ─> accept ─┬─> handshake ─> member: handed over with its claim
//!                     ├─> handshake ─> stranger: hung up on, without a word
//!                     └─> …            at most STRANGERS_MAX at a time, each for at most `patience`
//! ```
//!
//! What a peer can hold here before its proof is bounded in bytes ([`HANDSHAKE_BYTES_MAX`] a frame), in time and in number, and
//! is released when it hangs up. One more than [`STRANGERS_MAX`] ends the oldest handshake: holding connections keeps no member
//! out, dialling faster than a handshake takes does.
//!
//! Owns: connections until they are trusted. Does not own: who is trusted ([`crate::cores::handshake`]), and what a member may
//! do.

use super::mailbox::{Either, race};
use crate::cores::backoff::backoff;
use crate::cores::handshake::{Accepting, Distrust, Effect, Entrance};
use crate::door::{Connection, Env, FRAME_BYTES_MAX, Listener, NetworkError, Site, TaskHandle};
use crate::event::Event;
use crate::messages::handshake::{Claim, HANDSHAKE_BYTES_MAX, Nonce};
use crate::secret::Secret;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Handshakes that go on at a time.
pub const STRANGERS_MAX: usize = 128;

/// Failed accepts in a row after which the port counts as lost.
const ACCEPT_TRIES: u32 = 10;

/// What a gate knows.
#[derive(Clone)]
pub struct Gate {
    /// The outside.
    pub env: Env,
    /// What members know.
    pub secret: Secret,
    /// Whom it lets in.
    pub entrance: Entrance,
    /// How long a handshake may take.
    pub patience: Duration,
}

impl Gate {
    /// Lets members in, each to `admit`, until the listener cannot accept any more. Says why then.
    pub async fn keep(
        &self,
        listener: &mut dyn Listener,
        admit: impl Fn(Connection, Claim) + Clone + Send + 'static,
    ) -> NetworkError {
        let mut strangers: VecDeque<Stranger> = VecDeque::new();
        let (mut count, mut tries) = (0, 0);
        loop {
            let connection = match listener.accept().await {
                Ok(connection) => connection,
                Err(error) => {
                    tries += 1;
                    if tries == ACCEPT_TRIES {
                        return error;
                    }
                    self.env.sleep(backoff(tries)).await;
                    continue;
                }
            };
            (count, tries) = (count + 1, 0);
            strangers.retain(|stranger| !stranger.over.load(Ordering::Relaxed));
            if strangers.len() == STRANGERS_MAX {
                strangers.pop_front().expect("there are many").task.abort();
            }
            let (gate, admit, over) = (self.clone(), admit.clone(), Arc::new(AtomicBool::new(false)));
            let ended = over.clone();
            let meet = async move {
                gate.meet(count, connection, admit).await;
                ended.store(true, Ordering::Relaxed);
            };
            let task = self.env.spawner.spawn(Site::new("gate", count), Box::pin(meet));
            strangers.push_back(Stranger { task, over });
        }
    }

    async fn meet(&self, number: u64, mut connection: Connection, admit: impl Fn(Connection, Claim)) {
        let nonce = Nonce(self.env.schedule.nonce(Site::new("gate", number)));
        let handshake = Accepting::new(self.secret.clone(), self.entrance, nonce);
        let patience = self.env.sleep(self.patience);
        match race(Box::pin(accept(handshake, &mut connection)), patience).await {
            Either::First(Ok(Ok(claim))) => {
                self.env.emit(Event::PeerTrusted { peer: connection.peer.clone(), worker: claim.worker() });
                admit(connection, claim);
            }
            Either::First(Ok(Err(distrust))) => {
                let (peer, cause) = (connection.peer, distrust.to_string());
                self.env.emit(Event::PeerDistrusted { peer, cause });
            }
            Either::First(Err(NetworkError::Malformed(peer, cause))) => {
                self.env.emit(Event::PeerDistrusted { peer, cause });
            }
            // It hung up, or sent nothing: no attempt to get in that is worth announcing.
            Either::First(Err(_)) | Either::Second(()) => {}
        }
    }
}

struct Stranger {
    task: Box<dyn TaskHandle>,
    over: Arc<AtomicBool>,
}

/// The accepting end of a handshake.
async fn accept(
    mut handshake: Accepting,
    connection: &mut Connection,
) -> Result<Result<Claim, Distrust>, NetworkError> {
    connection.receiver.bound(HANDSHAKE_BYTES_MAX);
    let mut out = Vec::new();
    loop {
        let frame = connection.receiver.receive().await?;
        handshake.on_frame(&frame, &mut out);
        for effect in out.drain(..) {
            match effect {
                Effect::Send(frame) => connection.sender.send(frame).await?,
                Effect::Trust(claim) => {
                    // Clients have nothing long to say.
                    if claim != Claim::Client {
                        connection.receiver.bound(FRAME_BYTES_MAX);
                    }
                    return Ok(Ok(claim));
                }
                Effect::Distrust(why) => return Ok(Err(why)),
            }
        }
    }
}

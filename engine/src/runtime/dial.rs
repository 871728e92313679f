//! Dialling: connecting to a member of the job, with a limit. The door's `connect` may never answer, so its caller
//! bounds it; and what answers may be any process, until it has proved to be a member.

use super::mailbox::{Either, race};
use crate::cores::handshake::{Dialling, Distrust, Effect};
use crate::door::{Connection, Env, FRAME_BYTES_MAX, NetworkError, Site};
use crate::error::Error;
use crate::event::Event;
use crate::ids::lane;
use crate::messages::handshake::{Claim, HANDSHAKE_BYTES_MAX, Nonce};
use crate::secret::Secret;
use std::fmt;
use std::time::Duration;

/// Why there is no connection to a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DialError {
    /// None came up, or it broke.
    Network(NetworkError),
    /// Who answers is no member.
    Distrusted(Distrust),
}

/// Connects to `address`, where a member of the job is expected, or gives up after `limit`.
pub async fn dial(
    env: &Env,
    address: &str,
    limit: Duration,
    secret: &Secret,
    claim: Claim,
) -> Result<Connection, DialError> {
    let meet = async {
        let mut connection = env.network.connect(address.to_owned()).await?;
        introduce(env, &mut connection, secret, claim, site(claim)).await?;
        Ok(connection)
    };
    let met = match race(Box::pin(meet), env.sleep(limit)).await {
        Either::First(met) => met,
        Either::Second(()) => {
            let why = format!("no answer within {} ms", limit.as_millis());
            Err(NetworkError::Refused(address.to_owned(), why).into())
        }
    };
    if let Err(DialError::Distrusted(why)) = &met {
        env.emit(Event::PeerDistrusted { peer: address.to_owned(), cause: why.to_string() });
    }
    met
}

/// The dialling end of a handshake.
async fn introduce(
    env: &Env,
    connection: &mut Connection,
    secret: &Secret,
    claim: Claim,
    site: Site,
) -> Result<(), DialError> {
    connection.receiver.bound(HANDSHAKE_BYTES_MAX);
    let mut out = Vec::new();
    let nonce = Nonce(env.schedule.nonce(site));
    let mut handshake = Dialling::open(secret.clone(), claim, nonce, &mut out);
    loop {
        for effect in out.drain(..) {
            match effect {
                Effect::Send(frame) => connection.sender.send(frame).await?,
                Effect::Trust(_) => {
                    connection.receiver.bound(FRAME_BYTES_MAX);
                    return Ok(());
                }
                Effect::Distrust(why) => return Err(DialError::Distrusted(why)),
            }
        }
        let frame = connection.receiver.receive().await?;
        handshake.on_frame(&frame, &mut out);
    }
}

/// Where the nonce of a handshake is drawn.
fn site(claim: Claim) -> Site {
    match claim {
        Claim::Worker(worker) => Site::new("dial.coordinator", u64::from(worker.0)),
        Claim::Client => Site::new("dial.client", 0),
        Claim::Link { from, to, .. } => Site::new("dial.link", lane(from.0, to.0, 0, 0)),
    }
}

impl From<NetworkError> for DialError {
    fn from(error: NetworkError) -> Self {
        Self::Network(error)
    }
}

impl From<DialError> for Error {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Network(error) => error.into(),
            DialError::Distrusted(_) => Self::restart(error.to_string()),
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(error) => error.fmt(f),
            Self::Distrusted(why) => write!(f, "the process there is not trusted: {why}"),
        }
    }
}

//! A client: asks the coordinator that leads for one thing, and says what has become of it.
//!
//! 1. Dial one address after the other; say the wish once both have proved to be members of the job. A standby says that it does not lead: then the next.
//! 2. Answer each heartbeat until the answer comes. Silence counts as death, in both directions.
//! 3. Once the wish was sent, only an answer says what came of it. A connection that ends without one leaves the
//!    outcome *unknown*, and no other coordinator is asked: the wish may have been fulfilled.
//!
//! Owns: one connection at a time. Not handled: asking again; a caller that knows that asking twice does no harm may do
//! so.

use super::dial::{DialError, dial};
use super::mailbox::{Either, race};
use crate::door::{Connection, Env, NetworkError};
use crate::error::{Error, Reaction};
use crate::event::Event;
use crate::messages::client::{Answer, JobStatus, ToClient, Wish};
use crate::messages::handshake::Claim;
use crate::messages::{ToCoordinator, decode, encode};
use crate::secret::Secret;
use std::time::Duration;

/// How a client asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientOptions {
    /// Where coordinators listen: the leader and its standbys. Tried in turn, once each.
    pub coordinators: Vec<String>,
    /// What it wants.
    pub wish: Wish,
    /// How long it waits for the answer, from when the wish was sent.
    pub patience: Duration,
    /// Silence of a coordinator after which it counts as dead.
    pub silence: Duration,
    /// What members of the job know.
    pub secret: Secret,
}

/// What the leader said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// What has become of the wish.
    Answer(Answer),
    /// How the job stands.
    Status(Box<JobStatus>),
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoReply {
    /// No address leads to a coordinator that listens to the wish: nothing was done. Says why of each.
    Unheard(String),
    /// The wish was sent, and what has become of it is not known.
    Unknown(String),
}

/// What came of one address.
enum Visit {
    Answered(Reply),
    /// Nothing was done there; ask the next.
    Elsewhere(String),
    /// The wish may have been heard.
    Lost(String),
}

/// Asks until a coordinator answers, or the addresses or the time are used up.
pub async fn ask(env: &Env, options: &ClientOptions) -> Result<Reply, NoReply> {
    assert!(!options.coordinators.is_empty(), "a client has a coordinator to ask");
    let mut unheard = Vec::new();
    for address in &options.coordinators {
        let connection = match dial(env, address, options.silence, &options.secret, Claim::Client).await {
            Ok(connection) => connection,
            Err(DialError::Network(error)) => {
                unheard.push(error.to_string());
                continue;
            }
            Err(error @ DialError::Distrusted(_)) => {
                unheard.push(format!("{address}: {error}"));
                continue;
            }
        };
        match visit(env, options, connection).await {
            Visit::Answered(reply) => return Ok(reply),
            Visit::Elsewhere(why) => unheard.push(format!("{address}: {why}")),
            // To ask for the status changes nothing, so the next may be asked.
            Visit::Lost(why) if options.wish == Wish::Status => unheard.push(format!("{address}: {why}")),
            Visit::Lost(why) => {
                env.emit(Event::AnswerLost { cause: why.clone() });
                return Err(NoReply::Unknown(format!("{address}: {why}")));
            }
        }
    }
    Err(NoReply::Unheard(unheard.join("; ")))
}

async fn visit(env: &Env, options: &ClientOptions, connection: Connection) -> Visit {
    let Connection { mut sender, mut receiver, .. } = connection;
    let wish = options.wish;
    if wish != Wish::Status {
        env.emit(Event::WishSent { wish });
    }
    let until = env.clock.now() + options.patience;
    let mut say = encode(&ToCoordinator::Ask(wish));
    loop {
        let heard = async {
            sender.send(say).await?;
            receiver.receive().await
        };
        let silent = env.clock.now() + options.silence;
        let frame = match race(Box::pin(heard), env.clock.sleep_until(silent.min(until))).await {
            Either::First(Ok(frame)) => frame,
            Either::First(Err(NetworkError::Broken(_, cause))) => return Visit::Lost(cause),
            Either::First(Err(error)) => return Visit::Lost(error.to_string()),
            Either::Second(()) if until <= silent => {
                return Visit::Lost(format!("no answer within {:?}", options.patience));
            }
            Either::Second(()) => return Visit::Lost(format!("no sign of life for {:?}", options.silence)),
        };
        let reply = match decode(&frame) {
            Ok(ToClient::Heartbeat) => {
                say = encode(&ToCoordinator::Heartbeat);
                continue;
            }
            Ok(ToClient::Standby) => return Visit::Elsewhere("it does not lead".to_owned()),
            Ok(ToClient::Busy) => return Visit::Elsewhere("too many clients are connected".to_owned()),
            Ok(ToClient::Answer(answer)) => {
                env.emit(Event::AnswerHeard { answer: answer.clone() });
                Reply::Answer(answer)
            }
            Ok(ToClient::Status(status)) => Reply::Status(status),
            // A coordinator of another build has not understood the wish.
            Err(Error { reaction: Reaction::GiveUp, message }) => return Visit::Elsewhere(message),
            Err(error) => return Visit::Lost(error.message),
        };
        return Visit::Answered(reply);
    }
}

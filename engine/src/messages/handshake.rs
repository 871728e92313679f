//! The frames with which both ends of a connection prove that they are members of the job, before anything else is said.
//!
//! ```text
//! dialling end                                accepting end
//!   | -- Opening { claim, nonce } ----------------> |   whom it says it is, and 256 fresh random bits
//!   | <--------------- Challenge { nonce, proof } -- |   proof over both nonces and the claim
//!   | -- Response { proof } -----------------------> |   a proof over the same, in the other direction
//!   | -- Register, Ask, … -------------------------> |   the first frame of the protocol itself
//! ```
//!
//! An end that is not convinced hangs up without a word. These frames never change their form, so that processes of different
//! builds recognise each other and can say so afterwards, in [`super`]'s frames.

use crate::codec;
use crate::ids::{Attempt, WorkerId};
use crate::secret::Proof;
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;

/// The longest frame that is read before both ends have proved themselves.
pub const HANDSHAKE_BYTES_MAX: usize = 1024;

/// Bits that no other process can have predicted, drawn for one handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Nonce(pub [u8; 32]);

/// Whom the dialling end says it is. Proofs hold for this claim alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Claim {
    /// A worker that wants to register with a coordinator.
    Worker(WorkerId),
    /// A client that wants to ask a coordinator for something.
    Client,
    /// A worker that wants to bring another one elements.
    Link {
        /// Of this attempt.
        attempt: Attempt,
        /// The producing worker, which dials.
        from: WorkerId,
        /// The consuming worker.
        to: WorkerId,
    },
}

impl Claim {
    /// The worker that the dialling end says it is, if it says so.
    pub fn worker(self) -> Option<WorkerId> {
        match self {
            Self::Worker(worker) | Self::Link { from: worker, .. } => Some(worker),
            Self::Client => None,
        }
    }
}

/// The first frame.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Opening {
    /// Whom the dialling end says it is.
    pub claim: Claim,
    /// Drawn by the dialling end.
    pub nonce: Nonce,
}

/// The answer to an [`Opening`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// Drawn by the accepting end.
    pub nonce: Nonce,
    /// That the accepting end knows the secret.
    pub proof: Proof,
}

/// The answer to a [`Challenge`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Response {
    /// That the dialling end knows the secret.
    pub proof: Proof,
}

/// What every frame of a handshake begins with: the handshake's name and version.
const MAGIC: [u8; 4] = *b"CFH\x01";

/// The bytes of a frame.
pub fn encode<T: Serialize>(frame: &T) -> Bytes {
    let mut bytes = MAGIC.to_vec();
    bincode::serialize_into(&mut bytes, frame).expect("handshakes serialise");
    assert!(bytes.len() <= HANDSHAKE_BYTES_MAX, "a frame of {} bytes would not be read", bytes.len());
    Bytes::from(bytes)
}

/// A frame from its bytes, if they are one.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    codec::decode(bytes.strip_prefix(&MAGIC)?).ok()
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(worker) => worker.fmt(f),
            Self::Client => f.write_str("a client"),
            Self::Link { attempt, from, to } => write!(f, "the link of attempt {attempt} from {from} to {to}"),
        }
    }
}

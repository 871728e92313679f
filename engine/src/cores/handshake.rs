//! The handshake: both ends of a new connection prove that they know the secret of the job, without telling it.
//!
//! 1. The dialling end opens with a claim (its role, its id, for a link its attempt) and a nonce.
//! 2. The accepting end answers with a nonce and a proof. The dialling end verifies it, and hangs up if it is wrong.
//! 3. The dialling end answers with its own proof. The accepting end verifies it; from here on both trust each other.
//!
//! A proof is over *direction, claim, both nonces*, so that it is worth nothing elsewhere:
//!
//! | attack | fails because |
//! |---|---|
//! | a response that was recorded is sent again | the accepting end's nonce is another one |
//! | a challenge is sent back to the process it came from | a proof names its direction, and an end refuses its own nonce |
//! | a client's proof is used to register a worker, or for another attempt | a proof names the claim |
//! | a stranger listens where a coordinator did | the accepting end proves itself first |
//!
//! Owns: who is trusted. Does not own: the bytes on the way, time and number of handshakes ([`crate::runtime::gate`]).
//! Not handled: a process between the two ends, which passes the handshake on and then speaks for one of them. Against that
//! helps TLS: its channel binding (RFC 9266) belongs into `text`, as one more thing that a proof is over.

use crate::ids::WorkerId;
use crate::messages::handshake::{Challenge, Claim, HANDSHAKE_BYTES_MAX, Nonce, Opening, Response, decode, encode};
use crate::secret::Secret;
use bytes::Bytes;
use std::fmt;

/// What a handshake asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send this frame.
    Send(Bytes),
    /// The other end is a member, and is whom it claims to be. The handshake is over.
    Trust(Claim),
    /// Hang up, without a word. The handshake is over.
    Distrust(Distrust),
}

/// Why the other end is not trusted. For the people at this end only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Distrust {
    /// It does not speak this handshake.
    Garbled,
    /// It claims to be something that has no business here.
    Misplaced(Claim),
    /// It sent this end's own nonce back.
    Reflected,
    /// Its proof is wrong: it does not know the secret.
    Unproven,
}

/// Whom an accepting end lets in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entrance {
    /// Of a coordinator: workers and clients.
    Coordinator,
    /// Of this worker: links that lead to it.
    Worker(WorkerId),
}

impl Entrance {
    fn is_for(self, claim: Claim) -> bool {
        match (self, claim) {
            (Self::Coordinator, Claim::Worker(_) | Claim::Client) => true,
            (Self::Worker(own), Claim::Link { from, to, .. }) => own == to && from != to,
            (Self::Coordinator, Claim::Link { .. }) | (Self::Worker(_), Claim::Worker(_) | Claim::Client) => false,
        }
    }
}

/// Which end a proof is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Dialling,
    Accepting,
}

/// What a proof is over. Every part has a fixed length or its length in front, so that no two handshakes share a text.
fn text(direction: Direction, claim: Claim, dialling: Nonce, accepting: Nonce) -> Vec<u8> {
    let direction: &[u8; 9] = match direction {
        Direction::Dialling => b"dialling ",
        Direction::Accepting => b"accepting",
    };
    let claim = encode(&claim);
    let length = (claim.len() as u64).to_le_bytes();
    [&b"cofferdam handshake 1: "[..], direction, &length, &claim, &dialling.0, &accepting.0].concat()
}

/// The dialling end.
#[derive(Clone, Debug)]
pub struct Dialling {
    secret: Secret,
    claim: Claim,
    nonce: Nonce,
    over: bool,
}

impl Dialling {
    /// Opens a handshake. The nonce must be fresh.
    pub fn open(secret: Secret, claim: Claim, nonce: Nonce, out: &mut Vec<Effect>) -> Self {
        out.push(Effect::Send(encode(&Opening { claim, nonce })));
        Self { secret, claim, nonce, over: false }
    }

    /// The answer of the accepting end.
    pub fn on_frame(&mut self, frame: &[u8], out: &mut Vec<Effect>) {
        assert!(!self.over, "a handshake that is over hears nothing");
        assert!(frame.len() <= HANDSHAKE_BYTES_MAX, "longer frames are not read before the proof");
        self.over = true;
        let before = out.len();
        match decode::<Challenge>(frame) {
            None => out.push(Effect::Distrust(Distrust::Garbled)),
            Some(challenge) if challenge.nonce == self.nonce => out.push(Effect::Distrust(Distrust::Reflected)),
            Some(Challenge { nonce, proof }) => {
                let said = |direction| text(direction, self.claim, self.nonce, nonce);
                if self.secret.verifies(&said(Direction::Accepting), &proof) {
                    let proof = self.secret.prove(&said(Direction::Dialling));
                    out.push(Effect::Send(encode(&Response { proof })));
                    out.push(Effect::Trust(self.claim));
                } else {
                    out.push(Effect::Distrust(Distrust::Unproven));
                }
            }
        }
        assert!(out.len() > before, "an answer decides");
    }
}

/// The accepting end.
#[derive(Clone, Debug)]
pub struct Accepting {
    secret: Secret,
    entrance: Entrance,
    nonce: Nonce,
    stage: Stage,
}

/// How far the accepting end is.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The other end has said nothing yet.
    Awaiting,
    /// It was challenged.
    Challenged(Opening),
    Over,
}

impl Accepting {
    /// Waits for the other end. The nonce must be fresh.
    pub fn new(secret: Secret, entrance: Entrance, nonce: Nonce) -> Self {
        Self { secret, entrance, nonce, stage: Stage::Awaiting }
    }

    /// A frame of the dialling end.
    pub fn on_frame(&mut self, frame: &[u8], out: &mut Vec<Effect>) {
        assert!(frame.len() <= HANDSHAKE_BYTES_MAX, "longer frames are not read before the proof");
        let before = out.len();
        match self.stage {
            Stage::Awaiting => self.on_opening(frame, out),
            Stage::Challenged(opening) => self.on_response(opening, frame, out),
            Stage::Over => panic!("a handshake that is over hears nothing"),
        }
        assert_eq!(out.len(), before + 1, "a frame has one consequence");
    }

    fn on_opening(&mut self, frame: &[u8], out: &mut Vec<Effect>) {
        let opening = match decode::<Opening>(frame) {
            None => return self.distrust(Distrust::Garbled, out),
            Some(opening) if opening.nonce == self.nonce => return self.distrust(Distrust::Reflected, out),
            Some(opening) if !self.entrance.is_for(opening.claim) => {
                return self.distrust(Distrust::Misplaced(opening.claim), out);
            }
            Some(opening) => opening,
        };
        let proof = self.secret.prove(&self.text(Direction::Accepting, opening));
        self.stage = Stage::Challenged(opening);
        out.push(Effect::Send(encode(&Challenge { nonce: self.nonce, proof })));
    }

    fn on_response(&mut self, opening: Opening, frame: &[u8], out: &mut Vec<Effect>) {
        let Some(response) = decode::<Response>(frame) else { return self.distrust(Distrust::Garbled, out) };
        if !self.secret.verifies(&self.text(Direction::Dialling, opening), &response.proof) {
            return self.distrust(Distrust::Unproven, out);
        }
        assert!(self.entrance.is_for(opening.claim), "only a claim that belongs here was challenged");
        self.stage = Stage::Over;
        out.push(Effect::Trust(opening.claim));
    }

    fn distrust(&mut self, why: Distrust, out: &mut Vec<Effect>) {
        self.stage = Stage::Over;
        out.push(Effect::Distrust(why));
    }

    fn text(&self, direction: Direction, opening: Opening) -> Vec<u8> {
        text(direction, opening.claim, opening.nonce, self.nonce)
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Garbled => f.write_str("it does not speak the handshake of Cofferdam"),
            Self::Misplaced(claim) => write!(f, "it claims to be {claim}, which has no business here"),
            Self::Reflected => f.write_str("it sends back what it was sent"),
            Self::Unproven => f.write_str("it does not know the secret of this job"),
        }
    }
}

#[cfg(test)]
mod tests;

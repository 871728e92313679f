//! The secret of a job: a process that knows it is a member of the job, any other is not.
//!
//! The secret itself never leaves the process. What is sent are *proofs*: HMAC-SHA256 over a text that both ends know and
//! that no other connection shares ([`crate::cores::handshake`]).
//!
//! Owns the only use of cryptography. Does not own where the secret is kept (`engine/launch/src/secrets.rs`).

use crate::error::{Error, Result};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;

/// Fewer bytes than this can be guessed.
pub const SECRET_BYTES_MIN: usize = 16;

/// A secret. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// HMAC-SHA256 of a text under a secret.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Proof([u8; 32]);

impl Secret {
    /// A secret of these bytes. Errors: they are too few.
    pub fn new(bytes: Vec<u8>) -> Result<Self> {
        if bytes.len() < SECRET_BYTES_MIN {
            let message = format!("a secret has at least {SECRET_BYTES_MIN} bytes, this one has {}", bytes.len());
            return Err(Error::give_up(message));
        }
        Ok(Self(bytes))
    }

    /// Proves to know this secret.
    pub fn prove(&self, text: &[u8]) -> Proof {
        Proof(self.mac(text).finalize().into_bytes().into())
    }

    /// Whether `proof` was made of `text` by a process that knows this secret. Takes the same time for every wrong proof, so
    /// that the time says nothing about the right one.
    pub fn verifies(&self, text: &[u8], proof: &Proof) -> bool {
        self.mac(text).verify_slice(&proof.0).is_ok()
    }

    fn mac(&self, text: &[u8]) -> Hmac<Sha256> {
        Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length").chain_update(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_secret_and_its_text_alone() {
        let secret = |byte| Secret::new(vec![byte; SECRET_BYTES_MIN]).expect("long enough");
        let proof = secret(1).prove(b"text");
        assert!(secret(1).verifies(b"text", &proof));
        assert!(!secret(2).verifies(b"text", &proof));
        assert!(!secret(1).verifies(b"texts", &proof));
        let mut other = proof;
        other.0[31] ^= 1;
        assert!(!secret(1).verifies(b"text", &other));
    }

    /// Test case 1 of RFC 4231, whose key has 20 bytes.
    #[test]
    fn proofs_are_hmac_sha256() {
        let proof = Secret::new(vec![0x0b; 20]).expect("long enough").prove(b"Hi There");
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(proof.0.map(|byte| format!("{byte:02x}")).concat(), expected);
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused_and_none_is_printed() {
        let error = Secret::new(b"hunter2".to_vec()).expect_err("too short");
        assert!(error.message.contains("at least 16 bytes") && !error.message.contains("hunter2"), "{error}");
        assert_eq!(format!("{:?}", Secret::new(vec![b'x'; 16]).expect("long enough")), "Secret");
    }
}

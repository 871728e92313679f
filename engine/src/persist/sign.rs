//! The leader's sign of life: one small object, overwritten again and again ([`crate::cores::lease`]).
//!
//! Nothing is decided by it but when a standby tries to lead; the log decides whether it does.

use super::layout::LEADER;
use super::{Kind, open, seal};
use crate::error::{Error, Result};
use crate::ids::Generation;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

/// What the writer of a sign is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Standing {
    /// It leads.
    Leads,
    /// The job is over, or the leader leaves it to others: no standby has to wait for the lease.
    Resigned,
}

/// A sign of life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sign {
    /// The leadership that wrote it.
    pub generation: Generation,
    /// Grows while that leadership lasts.
    pub beat: u64,
    /// Whether it still leads.
    pub standing: Standing,
    /// Where the leader listens, for people.
    pub address: String,
}

impl Sign {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        seal(Kind::Sign, VERSION, &bincode::serialize(self).expect("signs serialise"))
    }

    /// A sign from its stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let payload = open(Kind::Sign, VERSION, LEADER, bytes)?;
        bincode::deserialize(payload).map_err(|e| Error::corrupt(format!("{LEADER} cannot be decoded: {e}")))
    }
}

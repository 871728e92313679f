//! The clients of a plan: who wants what of the job, and when.

use cofferdam_engine::messages::client::Wish;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A process that asks for one thing after the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Client {
    /// In the order in which they are asked for.
    pub asks: Vec<Ask>,
    /// It does not know the secret of the job, and tries to get what it wants by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stranger: Option<Trick>,
}

/// What a stranger tries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trick {
    /// Asks at once, without a handshake.
    Bypasses,
    /// Answers the challenge with a proof that it made of another secret, and asks.
    Forges,
    /// Answers the challenge with the proof that came with it, and asks.
    Reflects,
    /// Forges, and registers as a worker that does not exist.
    Registers,
    /// Holds more connections than are borne.
    Floods,
}

impl fmt::Display for Trick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bypasses => "without a handshake",
            Self::Forges => "with a forged proof",
            Self::Reflects => "with a reflected proof",
            Self::Registers => "as a worker, with a forged proof",
            Self::Floods => "on many connections",
        })
    }
}

/// One wish. Times are virtual milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// How long after the start of the client, if the wish before has been answered by then.
    pub at_ms: u64,
    /// What is wanted. Who wants the job cancelled asks again until there is an answer; who wants a checkpoint of a job that
    /// does not run, a few times.
    pub wish: Wish,
    /// How long the client waits for the answer.
    pub patience_ms: u64,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Ask { at_ms, wish, patience_ms }) in self.asks.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{wish} at {at_ms} ms for {patience_ms} ms")?;
        }
        if let Some(trick) = self.stranger {
            write!(f, ", a stranger, {trick}")?;
        }
        Ok(())
    }
}

//! The clients of a plan: who wants what of the job, and when.

use cofferdam_engine::messages::client::Wish;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A process that asks for one thing after the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Client {
    /// In the order in which they are asked for.
    pub asks: Vec<Ask>,
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
        Ok(())
    }
}

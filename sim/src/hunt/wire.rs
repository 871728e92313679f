//! What parent and child say to each other: one line of JSON each way per run.
//!
//! ```text
//! parent                                   child
//!   | -- Order {seed, keep} ---------------> |   several ahead; run in order
//!   | <-------------------- Report {seed} -- |
//!   | -- (end of file) --------------------> |   the child exits at once
//! ```

use crate::seed::Seed;
use crate::tally::Tally;
use crate::verdict::{Outcome, Verdict};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Run this.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Which seed.
    pub seed: Seed,
    /// Where to leave the full history, for runs that are compared with another one of the same seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<PathBuf>,
}

/// This came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Which seed.
    pub seed: Seed,
    /// The verdict.
    pub verdict: Verdict,
    /// Digest of the whole history.
    pub fingerprint: u64,
    /// What happened, counted.
    pub tally: Tally,
    /// Deliveries of the world.
    pub events: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// The failure screen, unless the run passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<String>,
}

impl Report {
    /// The report on an outcome.
    pub fn of(outcome: &Outcome, screen: Option<String>) -> Self {
        Self {
            seed: outcome.seed,
            verdict: outcome.verdict.clone(),
            fingerprint: outcome.fingerprint,
            tally: outcome.tally.clone(),
            events: outcome.events,
            virtual_ms: outcome.virtual_ms,
            screen,
        }
    }

    /// What the parent says of a run whose child cannot say it any more.
    pub fn lost(seed: Seed, verdict: Verdict) -> Self {
        let screen = format!("{verdict}\n\nReplay it with:\n  cofferdam replay {seed} --trace\n");
        Self { seed, verdict, fingerprint: 0, tally: Tally::default(), events: 0, virtual_ms: 0, screen: Some(screen) }
    }
}

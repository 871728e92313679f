//! What parent and child say to each other: one line of JSON each way per run.
//!
//! ```text
//! parent                                   child
//!   | -- Order {seed, strategy, …} --------> |   several ahead; run in order
//!   | <-------------------- Report {seed} -- |
//!   | -- (end of file) --------------------> |   the child exits at once
//! ```

use crate::coverage::Coverage;
use crate::plan::Plan;
use crate::seed::Seed;
use crate::strategy::{Drawn, Name};
use crate::tally::Tally;
use crate::verdict::{Outcome, Verdict};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Run this.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Which seed.
    pub seed: Seed,
    /// Who draws its plan.
    #[serde(default)]
    pub strategy: Name,
    /// The plan, of a strategy that needs more than the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<Plan>>,
    /// Where to leave the full history, for runs that are compared with another one of the same seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<PathBuf>,
}

impl Order {
    /// To run what is drawn from a seed.
    pub fn of(Drawn { strategy, seed }: Drawn) -> Self {
        Self { seed, strategy, plan: None, keep: None }
    }

    /// What it runs.
    pub fn plan(&self) -> Plan {
        match &self.plan {
            Some(plan) => Plan::clone(plan),
            None => self.drawn().plan(),
        }
    }

    /// Its name, for people. It replays the run unless the order has a plan of its own.
    pub fn drawn(&self) -> Drawn {
        Drawn { strategy: self.strategy, seed: self.seed }
    }
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
    /// What was struck, and where.
    #[serde(default)]
    pub coverage: Coverage,
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
            coverage: Coverage::of(&outcome.plan, &outcome.faults),
            events: outcome.events,
            virtual_ms: outcome.virtual_ms,
            screen,
        }
    }

    /// What the parent says of a run whose child cannot say it any more.
    pub fn lost(order: &Order, verdict: Verdict) -> Self {
        let screen = format!("{verdict}\n\nReplay it with:\n  cofferdam replay {} --trace\n", order.drawn());
        Self {
            seed: order.seed,
            verdict,
            fingerprint: 0,
            tally: Tally::default(),
            coverage: Coverage::default(),
            events: 0,
            virtual_ms: 0,
            screen: Some(screen),
        }
    }
}

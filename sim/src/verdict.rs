//! What became of a run.

use crate::plan::Plan;
use crate::seed::Seed;
use crate::signature::{Phase, Place};
use crate::tally::Tally;
use crate::world::{Counters, FaultRecord, Offer};
use cofferdam_properties::history::History;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The verdict on a run, and the only things it can be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Every property held, and after healing the job finished.
    Pass,
    /// A property was violated; the first one found.
    Violation {
        /// Which property.
        property: String,
        /// What is wrong, in one or a few lines.
        what: String,
        /// The first bad step: an index into the history.
        step: Option<usize>,
        /// Where in the job that was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Place>,
    },
    /// After healing the job did not finish within its bound of virtual time.
    Stuck {
        /// What is known about it.
        what: String,
        /// How far the job had come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<Phase>,
    },
    /// The run used up its events: it lives, but gets nowhere.
    OverBudget {
        /// What is known about it.
        what: String,
        /// How far the job had come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<Phase>,
    },
    /// The engine panicked: one of its own assertions failed.
    EngineAssertion {
        /// The panic's message and place.
        message: String,
    },
    /// The simulator itself failed; nothing is known about the engine.
    HarnessError {
        /// What failed.
        message: String,
    },
    /// The process of the run said nothing for too long and was killed. Only a hunt can tell.
    Hang {
        /// How long.
        what: String,
    },
    /// The process of the run died. Only a hunt can tell.
    Died {
        /// How.
        what: String,
    },
}

impl Verdict {
    /// One word or two, for tables.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Violation { .. } => "violation",
            Self::Stuck { .. } => "stuck",
            Self::OverBudget { .. } => "over budget",
            Self::EngineAssertion { .. } => "engine assertion",
            Self::HarnessError { .. } => "harness error",
            Self::Hang { .. } => "hang",
            Self::Died { .. } => "died",
        }
    }

    /// Whether nothing is wrong.
    pub fn passed(&self) -> bool {
        *self == Self::Pass
    }

    /// What failures are grouped by: the property with its place in the job, or the label with the phase of the
    /// job or the line of an assertion.
    pub fn signature(&self) -> String {
        match self {
            Self::Violation { property, place: Some(place), .. } => format!("{property} ({place})"),
            Self::Violation { property, place: None, .. } => property.clone(),
            Self::EngineAssertion { message } => {
                let place = message.rsplit_once(" at ").map_or(message.as_str(), |(_, place)| place);
                format!("engine assertion at {place}")
            }
            Self::Stuck { phase: Some(phase), .. } | Self::OverBudget { phase: Some(phase), .. } => {
                format!("{} ({phase})", self.label())
            }
            Self::Pass
            | Self::Stuck { phase: None, .. }
            | Self::OverBudget { phase: None, .. }
            | Self::HarnessError { .. }
            | Self::Hang { .. }
            | Self::Died { .. } => self.label().to_owned(),
        }
    }

    /// What must have convicted for two failures to be of one kind: the property, or the label.
    pub fn property(&self) -> &str {
        match self {
            Self::Violation { property, .. } => property,
            other => other.label(),
        }
    }

    /// What is wrong; empty for a pass.
    pub fn what(&self) -> &str {
        match self {
            Self::Pass => "",
            Self::Violation { what, .. }
            | Self::Stuck { what, .. }
            | Self::OverBudget { what, .. }
            | Self::Hang { what }
            | Self::Died { what } => what,
            Self::EngineAssertion { message } | Self::HarnessError { message } => message,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            _ => write!(f, "{}: {}", self.signature(), self.what()),
        }
    }
}

/// Everything that is left of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed it came from.
    pub seed: Seed,
    /// What was run.
    pub plan: Plan,
    /// What became of it.
    pub verdict: Verdict,
    /// Digest of the whole history: equal in another thread, process and build profile.
    pub fingerprint: u64,
    /// What happened, counted.
    pub tally: Tally,
    /// Deliveries of the world.
    pub events: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// What the world did, counted.
    pub counters: Counters,
    /// What became of each fault of the plan.
    pub faults: Vec<FaultRecord>,
    /// Every free choice, if asked for.
    pub offers: Vec<Offer>,
    /// Choices of the plan's list that made no difference.
    pub idle_picks: usize,
    /// What happened, in full.
    pub history: History,
}

//! A capsule: a run kept as a small text file, so that what failed once is tried again for ever.
//!
//! It holds the whole plan, the seed of everything the plan leaves open, what is expected, and the story. TOML, meant to be
//! read and changed by people ([`text`] writes and reads it).
//!
//! A replay has one of four results ([`Replayed`]). *Stale* is one of them, because a run that passes proves something only if
//! it still tries what the capsule was kept for: a refactor that moves a coordinate must not turn it silently green. What shows
//! that ([`Stale`]): every fault struck, every listed choice made a difference, and the run comes where the capsule says that
//! it must. A capsule that has none of these passes only as the very run that was recorded.
//!
//! Invariant: a capsule depends on no generator. Plans are drawn differently one day; this one is written down.

pub mod re_aim;
pub mod text;

use crate::moment::Moment;
use crate::plan::Plan;
use crate::seed::{GENERATOR, Seed};
use crate::verdict::Outcome;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the file's layout.
pub const FORMAT: u32 = 1;

/// What is expected of a capsule whose bug is fixed, or was planted elsewhere.
pub const PASS: &str = "pass";

/// See the head of the file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capsule {
    /// [`FORMAT`] when it was written.
    pub format: u32,
    /// [`GENERATOR`] when it was written: since then the world may draw delays and input differently.
    pub generator: u32,
    /// Decides what the plan leaves open.
    #[serde(with = "text::hex")]
    pub seed: u64,
    /// `pass`, or the property that is violated (or `stuck`, `engine assertion`, …).
    pub expect: String,
    /// The kind of failure, as hunts tell them apart.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signature: String,
    /// The first digits of the run's fingerprint.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
    /// The planted bug that it convicts; without it the run passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bug: Option<String>,
    /// The last event (`ack_sent#3`) before what it was written for makes a difference: a run that does not come there tries
    /// nothing. For a capsule without faults and listed choices, which would always pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaches: Option<String>,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub story: String,
    /// What runs.
    pub plan: Plan,
}

/// What came of a replay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Replayed {
    /// What was expected happened.
    Reproduces {
        /// The whole run is the same, fingerprint and all.
        exactly: bool,
    },
    /// The violation does not happen any more.
    Passes {
        /// Whether something shows that it was tried.
        tried: bool,
    },
    /// It passes, and did not try what it was kept for.
    Stale(Stale),
    /// Something else is wrong.
    Differs {
        /// Its signature.
        signature: String,
    },
}

/// Why a run that passes says nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stale {
    /// This fault never struck.
    Fault(usize),
    /// So many listed choices made no difference.
    Picks(usize),
    /// It never came to this event.
    Reaches(String),
    /// It is another run than the one that was recorded, and has nothing of the above.
    AnotherRun,
}

impl Capsule {
    /// What `outcome` was, to be expected again.
    pub fn of(outcome: &Outcome) -> Self {
        Self {
            format: FORMAT,
            generator: GENERATOR,
            seed: outcome.seed.0,
            expect: outcome.verdict.property().to_owned(),
            signature: if outcome.verdict.passed() { String::new() } else { outcome.verdict.signature() },
            fingerprint: format!("{:016x}", outcome.fingerprint),
            bug: None,
            reaches: None,
            story: outcome.verdict.what().to_owned(),
            plan: outcome.plan.clone(),
        }
    }

    /// The seed, as this build's.
    pub fn seed(&self) -> Seed {
        Seed(self.seed)
    }

    /// Whether a clean engine must pass it.
    pub fn expects_pass(&self) -> bool {
        self.expect == PASS
    }

    /// Weighs a run of this capsule. `planted`: the bug it was written for is in this build.
    pub fn weigh(&self, outcome: &Outcome, planted: bool) -> Replayed {
        let expected = if self.bug.is_some() && !planted { PASS } else { self.expect.as_str() };
        let property = outcome.verdict.property();
        match (property == expected, self.stale(outcome)) {
            (true, Some(why)) if expected == PASS => Replayed::Stale(why),
            (true, _) => Replayed::Reproduces { exactly: self.is_exactly(outcome) },
            // The recorded run failed, so a run that passes is another one: no surprise, but no proof either.
            (false, Some(Stale::AnotherRun)) if property == PASS => Replayed::Passes { tried: false },
            (false, Some(why)) if property == PASS => Replayed::Stale(why),
            (false, None) if property == PASS => Replayed::Passes { tried: true },
            (false, _) => Replayed::Differs { signature: outcome.verdict.signature() },
        }
    }

    /// Why a run that passes would say nothing.
    fn stale(&self, outcome: &Outcome) -> Option<Stale> {
        if let Some(fault) = outcome.faults.iter().position(|record| record.struck == 0) {
            return Some(Stale::Fault(fault));
        }
        if outcome.idle_picks > 0 {
            return Some(Stale::Picks(outcome.idle_picks));
        }
        match &self.reaches {
            Some(event) => {
                let found = event.parse::<Moment>().and_then(|moment| moment.find(&outcome.history));
                found.is_err().then(|| Stale::Reaches(event.clone()))
            }
            None => (!self.shows_what_it_tries() && !self.is_exactly(outcome)).then_some(Stale::AnotherRun),
        }
    }

    /// Whether a run of it can be told from one that tries nothing, other than by being the very one that was recorded.
    pub fn shows_what_it_tries(&self) -> bool {
        !self.plan.faults.is_empty() || self.plan.picks.listed().is_some_and(|n| n > 0) || self.reaches.is_some()
    }

    /// Why a run of this capsule is not the failure it was kept for, in one line. One that is expected to pass may fail in
    /// any way.
    pub fn not_expected(&self, outcome: &Outcome) -> Option<String> {
        let Self { expect, bug, .. } = self;
        let verdict = &outcome.verdict;
        if verdict.passed() {
            let planted = bug.as_ref().map(|bug| format!(" (it convicts the planted bug {bug}, if this build has it)"));
            return Some(format!("it passes{}: there is nothing to shrink", planted.unwrap_or_default()));
        }
        let another = !self.expects_pass() && verdict.property() != expect;
        let (fails, property) = (verdict.signature(), verdict.property());
        another.then(|| {
            format!("expected {expect}, but it fails with {fails}: to shrink that, let it expect `{property}`")
        })
    }

    fn is_exactly(&self, outcome: &Outcome) -> bool {
        !self.fingerprint.is_empty() && format!("{:016x}", outcome.fingerprint).starts_with(&self.fingerprint)
    }

    /// A name for its file: the property and a few digits of the seed.
    pub fn file_name(&self) -> String {
        let what: String = self.expect.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("{what}-{:08x}.toml", self.seed ^ (self.seed >> 32) & 0xffff_ffff)
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reproduces { exactly: true } => f.write_str("reproduces, the same run to the last event"),
            Self::Reproduces { exactly: false } => {
                f.write_str("reproduces, though by another run than the one written down")
            }
            Self::Passes { tried: true } => f.write_str("passes: what it was written for does not happen any more"),
            Self::Passes { tried: false } => f.write_str(
                "passes, as another run than the one recorded: no fault, choice or event shows that it tries the same",
            ),
            Self::Stale(why) => write!(f, "stale: {why}"),
            Self::Differs { signature } => write!(f, "fails in another way: {signature}"),
        }
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => write!(f, "fault {fault} never struck anything"),
            Self::Picks(n) => write!(f, "{n} of its listed choices never came up, or made no difference"),
            Self::Reaches(event) => write!(f, "it never comes to {event}"),
            Self::AnotherRun => f.write_str(
                "it is another run than the one recorded, and no fault, choice or event shows that it tries the same",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;

    #[test]
    fn a_capsule_is_no_capsule_of_another_failure() {
        let outcome = builtin::runner().run(Seed(1));
        let mut capsule = Capsule::of(&outcome);
        assert!(capsule.not_expected(&outcome).expect("it passes").starts_with("it passes"));
        let verdict = crate::verdict::Verdict::Stuck { what: "for ever".to_owned(), phase: None };
        let stuck = Outcome { verdict, ..outcome };
        assert_eq!(capsule.not_expected(&stuck), None, "what was fixed may break again, in any way");
        for (expect, told) in [("stuck", false), ("no-orphans", true)] {
            capsule.expect = expect.to_owned();
            let message = capsule.not_expected(&stuck);
            assert_eq!(message.is_some(), told, "{message:?}");
            assert!(message.is_none_or(|message| message.contains("expected no-orphans") && message.contains("stuck")));
        }
    }
}

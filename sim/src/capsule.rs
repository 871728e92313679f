//! A capsule: a run kept as a small text file, so that what failed once is tried again for ever.
//!
//! It holds the whole plan, the seed of everything the plan leaves open, what is expected, and the story. TOML, meant to be
//! read and changed by people ([`text`] writes and reads it).
//!
//! A replay has one of five results ([`Replayed`]). *Stale* is one of them, because a fault that never fired proves nothing:
//! a refactor that moves a coordinate must not turn a capsule silently green.
//!
//! Invariant: a capsule depends on no generator. Plans are drawn differently one day; this one is written down.

pub mod re_aim;
pub mod text;

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
    /// The violation does not happen any more, though every fault fired.
    Passes,
    /// Fault `n` never fired, so nothing was tried.
    Stale {
        /// Index into the plan's faults.
        fault: usize,
    },
    /// Something else is wrong.
    Differs {
        /// Its signature.
        signature: String,
    },
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
        let never_fired = || outcome.faults.iter().position(|record| record.struck == 0);
        let property = outcome.verdict.property();
        match (property == expected, never_fired()) {
            (true, Some(fault)) if expected == PASS => Replayed::Stale { fault },
            (true, _) => Replayed::Reproduces { exactly: self.is_exactly(outcome) },
            (false, Some(fault)) if property == PASS => Replayed::Stale { fault },
            (false, None) if property == PASS => Replayed::Passes,
            (false, _) => Replayed::Differs { signature: outcome.verdict.signature() },
        }
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
            Self::Passes => f.write_str("passes: what it was written for does not happen any more"),
            Self::Stale { fault } => write!(f, "stale: fault {fault} never struck anything"),
            Self::Differs { signature } => write!(f, "fails in another way: {signature}"),
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
        let verdict = crate::verdict::Verdict::Stuck { what: "for ever".to_owned() };
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

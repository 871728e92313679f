//! Strategies: how a hunt comes by its plans.
//!
//! | name | a plan is | replayed by |
//! |---|---|---|
//! | `random` | drawn by the generator ([`crate::plan::draw`]) | `g10:0x2a` |
//! | `targeted` | a drawn job, struck at coordinates that it can reach, each as likely as any other ([`targeted`]) | `targeted:g10:0x2a` |
//! | `sweep` | one cell of all single faults, then of pairs, of a small job ([`sweep`]) | `sweep:g10:0x2a` |
//! | `priority` | drawn, under a schedule of stubborn choices with a few changes of mind ([`priority`]) | `priority:g10:0x2a` |
//! | `guided` | an earlier plan that reached something new, changed a little ([`guided`]) | its capsule |
//! | `kills` | as `times`, on machines and networks that are steady: a test that kills processes of a healthy cluster | `kills:g10:0x2a` |
//! | `times` | drawn, with crashes at random times only: what the others are compared with | `times:g10:0x2a` |
//!
//! The *mix* lets each seed say which of them it is for, by weight.
//!
//! Invariant: but for `guided` a plan is a pure function of strategy and seed ([`Drawn`]), and every run is one of its plan
//! and seed.

pub mod aim;
pub mod crucial;
pub mod guided;
pub mod limits;
pub mod priority;
pub mod sweep;
pub mod targeted;

use crate::plan::input::Draws;
use crate::plan::{JobKind, Plan};
use crate::seed::{Seed, SeedError};
use crate::world::{Fault, FaultKind, Target, Trigger};
use clap::ValueEnum;
use cofferdam_engine::hash::stable_hash;
use cofferdam_engine::ids::WorkerId;
use cofferdam_properties::history::Process;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A way to come by plans.
pub trait Strategy: Sync {
    /// The plan of a seed. `kept` are earlier plans that reached something new; most strategies learn nothing from them.
    fn plan(&self, seed: Seed, kept: &[Plan]) -> Plan;

    /// The job of that plan, without drawing the rest.
    fn job_of(&self, seed: Seed) -> JobKind {
        Plan::job_of(seed)
    }
}

/// The strategies by name; see the head of the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the head of the file tells them")]
pub enum Name {
    #[default]
    Random,
    Targeted,
    Sweep,
    Priority,
    Guided,
    Times,
    Kills,
}

impl Name {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Random, Self::Targeted, Self::Sweep, Self::Priority, Self::Guided, Self::Times, Self::Kills];

    /// On the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Targeted => "targeted",
            Self::Sweep => "sweep",
            Self::Priority => "priority",
            Self::Guided => "guided",
            Self::Times => "times",
            Self::Kills => "kills",
        }
    }

    /// Who does it.
    pub fn strategy(self) -> &'static dyn Strategy {
        match self {
            Self::Random => &Random,
            Self::Targeted => &targeted::Targeted,
            Self::Sweep => &sweep::Sweep,
            Self::Priority => &priority::Priority,
            Self::Guided => &guided::Guided,
            Self::Times => &Times,
            Self::Kills => &Kills,
        }
    }

    /// Whether its plans depend on what earlier runs reached.
    pub fn learns(self) -> bool {
        self == Self::Guided
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a hunt draws its plans by: one strategy, or the mix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Choice {
    /// This one.
    One(Name),
    /// Each seed says which.
    Mix,
}

/// Of the mix, in tenths. The sweep is one of a small job and so the cheapest; plans at times only are left to comparisons.
const WEIGHTS: [(Name, u64); 5] =
    [(Name::Random, 3), (Name::Targeted, 3), (Name::Guided, 2), (Name::Priority, 1), (Name::Sweep, 1)];

impl Choice {
    /// The strategy that `seed` is for.
    pub fn of(self, seed: Seed) -> Name {
        let Self::Mix = self else {
            let Self::One(name) = self else { unreachable!("it is one or the mix") };
            return name;
        };
        let mut left = stable_hash(&("strategy", seed.0)) % WEIGHTS.iter().map(|(_, weight)| weight).sum::<u64>();
        for (name, weight) in WEIGHTS {
            if left < weight {
                return name;
            }
            left -= weight;
        }
        unreachable!("it is less than the sum of the weights")
    }

    /// Whether some seed may be for a strategy that learns.
    pub fn learns(self) -> bool {
        match self {
            Self::One(name) => name.learns(),
            Self::Mix => true,
        }
    }

    /// Whether it runs this job at all.
    pub fn runs(self, job: JobKind) -> bool {
        self != Self::One(Name::Sweep) || job == sweep::JOB
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => name.fmt(f),
            Self::Mix => f.write_str("mix"),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = || Name::ALL.into_iter().find(|name| name.as_str() == text).map(Self::One);
        let choice = if text == "mix" { Some(Self::Mix) } else { one() };
        choice.ok_or_else(|| {
            let names: Vec<&str> = Name::ALL.iter().map(|name| name.as_str()).collect();
            format!("`{text}` is no strategy: there are mix, {}", names.join(", "))
        })
    }
}

/// A plan by its strategy and its seed: `targeted:g10:0x2a`, or just the seed for a random one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Drawn {
    /// By whom.
    pub strategy: Name,
    /// From what.
    pub seed: Seed,
}

impl Drawn {
    /// The plan. One that learns has nothing to learn from here.
    pub fn plan(self) -> Plan {
        self.strategy.strategy().plan(self.seed, &[])
    }
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.strategy {
            Name::Random => self.seed.fmt(f),
            name => write!(f, "{name}:{}", self.seed),
        }
    }
}

impl FromStr for Drawn {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        let pure = |prefix: &str| Name::ALL.into_iter().find(|name| name.as_str() == prefix && !name.learns());
        let named = text.split_once(':').and_then(|(prefix, rest)| Some((pure(prefix)?, rest)));
        let (strategy, seed) = named.unwrap_or((Name::Random, text));
        Ok(Self { strategy, seed: seed.parse()? })
    }
}

/// As the generator draws them.
struct Random;

impl Strategy for Random {
    fn plan(&self, seed: Seed, _: &[Plan]) -> Plan {
        Plan::of(seed)
    }
}

/// What somebody would do who knows nothing of protocols: one to three crashes of single processes at random times.
struct Times;

impl Strategy for Times {
    fn plan(&self, seed: Seed, _: &[Plan]) -> Plan {
        let mut plan = Plan::of(seed);
        let mut draws = Draws::of(seed, "times");
        let crash = |draws: &mut Draws| {
            let process = match draws.below(u64::from(plan.workers) + 1) {
                0 => Process::COORDINATOR,
                worker => Process::Worker(WorkerId(worker as u16 - 1)),
            };
            let at = Trigger::Time { ms: draws.below(aim::length_ms(&plan) * 3 / 2) };
            let what = FaultKind::Crash { process: Target::Process(process), restart_after_ms: 1 + draws.below(200) };
            Fault { at, what }
        };
        let count = 1 + draws.below(3);
        plan.faults = (0..count).map(|_| crash(&mut draws)).collect();
        plan
    }
}

/// What a test on real machines amounts to: the same crashes, and nothing else is unkind. Everything takes about as long as
/// it usually does, nobody is favoured, every peer hears of a crash, and clocks agree.
struct Kills;

impl Strategy for Kills {
    fn plan(&self, seed: Seed, kept: &[Plan]) -> Plan {
        let mut plan = Times.plan(seed, kept);
        plan.tuning = plan.tuning.steady();
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::is_crash;

    #[test]
    fn every_plan_of_every_strategy_makes_sense_and_is_the_same_again() {
        let kept: Vec<Plan> = (0..20).map(|n| targeted::Targeted.plan(Seed(n), &[])).collect();
        for seed in (0..60).map(|n| Seed(n * 7)) {
            for name in Name::ALL {
                let plan = name.strategy().plan(seed, &kept);
                assert_eq!(plan.validate(), Ok(()), "{name}: {plan}");
                assert_eq!(plan, name.strategy().plan(seed, &kept));
                let named = plan.faults.iter().flat_map(|fault| fault.what.names());
                assert!(named.into_iter().all(|process| aim::has(&plan, process)), "{name}: {plan}");
                if !name.learns() {
                    assert_eq!(plan.job, name.strategy().job_of(seed), "{name}");
                }
            }
        }
    }

    #[test]
    fn the_mix_has_all_of_its_strategies_by_weight() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in (0..10_000).map(Seed) {
            *counts.entry(Choice::Mix.of(seed)).or_insert(0_u64) += 1;
        }
        for (name, weight) in WEIGHTS {
            assert!(counts[&name].abs_diff(weight * 1_000) < 200, "{counts:?}");
        }
    }

    #[test]
    fn a_plan_is_named_by_its_strategy_and_seed_if_they_decide_it() {
        for text in ["g10:0x000000000000002a", "targeted:g10:0x000000000000002a"] {
            assert_eq!(text.parse::<Drawn>().map(|drawn| drawn.to_string()), Ok(text.to_owned()));
        }
        assert!("guided:g10:0x2a".parse::<Drawn>().is_err(), "it takes more than the seed");
        assert!("nobody".parse::<Choice>().is_err());
        assert_eq!("mix".parse(), Ok(Choice::Mix));
    }

    #[test]
    fn the_baseline_knows_nothing_of_protocols() {
        for plan in (0..100).map(|n| Times.plan(Seed(n), &[])) {
            let blind = |fault: &Fault| matches!(fault.at, Trigger::Time { .. }) && is_crash(&fault.what);
            assert!(!plan.faults.is_empty() && plan.faults.iter().all(blind), "{plan}");
        }
        let steady = Kills.plan(Seed(3), &[]);
        assert_eq!(steady.faults, Times.plan(Seed(3), &[]).faults);
        assert_eq!((steady.tuning.favour_percent, steady.tuning.half_open_one_in), (0, 0));
    }
}

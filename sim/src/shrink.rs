//! Shrinking: from a run that fails to the smallest one that fails in the same way.
//!
//! 1. [`steps`] proposes simpler plans, the boldest first: fewer faults, a smaller job, a quieter world, earlier and simpler
//!    coordinates, default choices.
//! 2. A candidate counts only if the *same property* is violated by the same kind of operator in the same phase of the job.
//!    Another plan is another schedule, so each is tried under a few seeds.
//! 3. The first that counts is the new best, and is given to [`Watcher::better`] at once: whoever stops early has it.
//! 4. Steps are repeated until a whole round finds nothing simpler.
//! 5. Then small runs are drawn afresh ([`fresh`]); one that fails alike is taken through the steps again. It ends when many
//!    in a row were of no use, or [`Watcher::go_on`] says no.
//!
//! Every step makes something smaller, and no records, subtasks or faults more, so it ends. Not handled: a failure that shows only in
//! wall-clock time (a hang of the process).
//!
//! Invariant: the best is a run that was seen to fail.

pub mod command;
pub mod fresh;
pub mod steps;

use crate::plan::input::Draws;
use crate::plan::{InputShape, Plan};
use crate::run::Runner;
use crate::seed::Seed;
use crate::verdict::{Outcome, Verdict};
use crate::world::Picks;
use cofferdam_engine::hash::stable_hash;
use std::collections::BTreeSet;

/// Seeds under which each candidate is tried: the best one's own, and the next ones.
const SEEDS_EACH: u64 = 3;
/// What is simpler is hardly longer: a candidate has so many times the deliveries of the best, and so many more. Those that
/// fail in another way often get nowhere until the end of all time.
const LONGER: u64 = 2;
const LONGER_BY: u64 = 2_000;
/// Draws without any use after which a shrink ends, while the best is large.
const PATIENCE: u64 = 20_000;
/// And once it is small.
const PATIENCE_SMALL: u64 = 400;

/// Who watches a shrink, and may end it.
pub trait Watcher {
    /// A simpler run was found.
    fn better(&mut self, best: &Outcome, size: &Size);
    /// Whether to try another candidate; `tried` have been.
    fn go_on(&mut self, tried: u64) -> bool;
}

/// How large a failing run is, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "each is named after what it counts")]
pub struct Size {
    pub faults: usize,
    pub operators: usize,
    pub subtasks: u32,
    pub records: u64,
    pub checkpoints: u64,
    /// Choices that are not the default; none if the seed decides.
    pub picks: Option<usize>,
    /// Entries of the history.
    pub entries: usize,
}

impl Size {
    /// The size of a run.
    pub fn of(outcome: &Outcome) -> Self {
        let plan = &outcome.plan;
        Self {
            faults: plan.faults.len(),
            operators: plan.input.operators(),
            subtasks: plan.input.subtasks(plan.parallelism),
            records: plan.input.records(plan.parallelism),
            checkpoints: outcome.tally.history.checkpoints_completed + outcome.tally.history.checkpoints_aborted,
            picks: plan.picks.listed(),
            entries: outcome.history.entries.len(),
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { faults, operators, subtasks, records, checkpoints, picks, entries } = self;
        write!(f, "{faults} fault(s), {operators} operator(s), {subtasks} subtask(s), {records} record(s), ")?;
        write!(f, "{checkpoints} checkpoint(s), {entries} entries")?;
        match picks {
            None => Ok(()),
            Some(0) => f.write_str(", default choices"),
            Some(n) => write!(f, ", {n} choice(s)"),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Shrunk {
    /// The simplest run that fails alike.
    pub best: Outcome,
    /// Runs made.
    pub tried: u64,
    /// Whether nothing simpler is known, rather than no time left.
    pub complete: bool,
}

/// Makes `failing` as simple as it gets. `None` if it does not fail.
pub fn shrink(runner: &Runner, failing: Outcome, watcher: &mut dyn Watcher) -> Option<Shrunk> {
    if failing.verdict.passed() {
        return None;
    }
    let mut search = Search { runner, best: failing, seen: BTreeSet::new(), tried: 0, stopped: false, watcher };
    search.simplify();
    search.start_afresh();
    let Search { best, tried, stopped, .. } = search;
    Some(Shrunk { best, tried, complete: !stopped })
}

struct Search<'a> {
    runner: &'a Runner,
    best: Outcome,
    /// Digests of what was tried already.
    seen: BTreeSet<u64>,
    tried: u64,
    stopped: bool,
    watcher: &'a mut dyn Watcher,
}

impl Search<'_> {
    /// Takes every step until none leads anywhere.
    fn simplify(&mut self) {
        loop {
            let before = self.best.plan.clone();
            for step in steps::STEPS {
                self.exhaust(*step);
            }
            self.choices();
            if self.stopped || self.best.plan == before {
                return;
            }
        }
    }

    /// Draws small runs until too many in a row were of no use; each that is simplifies further.
    fn start_afresh(&mut self) {
        let mut draws = Draws::of(self.best.seed, "shrink");
        let mut fruitless = 0;
        while !self.stopped && fruitless < patience(&self.best.plan) {
            let drawn = fresh::draw(&self.best.plan, &mut draws);
            let seed = Seed(draws.below(u64::MAX));
            if drawn.is_some_and(|plan| self.fails_alike(seed, &plan)) {
                self.simplify();
                fruitless = 0;
            } else {
                fruitless += 1;
            }
        }
    }

    /// Takes a step as often as it leads anywhere.
    fn exhaust(&mut self, step: steps::Step) {
        while !self.stopped && step(&self.best.plan).into_iter().any(|plan| self.adopt(plan, SEEDS_EACH)) {}
    }

    /// Runs a candidate; whether it is the new best.
    fn adopt(&mut self, plan: Plan, seeds: u64) -> bool {
        if self.stopped || plan == self.best.plan || plan.validate().is_err() {
            return false;
        }
        let digest = stable_hash(&serde_json::to_string(&plan).expect("plans serialise"));
        if !self.seen.insert(digest) {
            return false;
        }
        let first = self.best.seed;
        (0..seeds).any(|n| self.fails_alike(first.plus(n), &plan))
    }

    fn fails_alike(&mut self, seed: Seed, plan: &Plan) -> bool {
        self.stopped = self.stopped || !self.watcher.go_on(self.tried);
        if self.stopped {
            return false;
        }
        self.tried += 1;
        let enough = self.best.events * LONGER + LONGER_BY;
        let mut outcome = self.runner.run_up_to(enough, seed, plan.clone());
        if outcome.events >= enough && alike(&outcome.verdict, &self.best.verdict) {
            // What was cut short was not seen to fail.
            self.tried += 1;
            outcome = self.runner.run_plan(seed, plan.clone());
        }
        if !alike(&outcome.verdict, &self.best.verdict) {
            return false;
        }
        self.best = outcome;
        self.watcher.better(&self.best, &Size::of(&self.best));
        true
    }

    /// Free choices: all in turns, or as few others as possible.
    fn choices(&mut self) {
        if self.best.plan.picks.listed().is_none()
            && !self.adopt(Plan { picks: Picks::turns(), ..self.best.plan.clone() }, SEEDS_EACH)
        {
            if self.stopped {
                return;
            }
            let noted = self.runner.run_with_picks(self.best.seed, self.best.plan.clone());
            self.tried += 1;
            // The same run, written down; it must not be tried under another seed.
            let but = noted.offers.into_iter().filter(|offer| !offer.is_default()).map(|offer| offer.pick).collect();
            if !self.adopt(Plan { picks: Picks::Turns { but }, ..self.best.plan.clone() }, 1) {
                return;
            }
        }
        let mut chunk = self.best.plan.picks.listed().unwrap_or(0);
        while chunk > 0 && !self.stopped {
            let shorter = steps::without_chunks(&self.best.plan, chunk);
            if !shorter.into_iter().any(|plan| self.adopt(plan, 1)) {
                chunk /= 2;
            }
            chunk = chunk.min(self.best.plan.picks.listed().unwrap_or(0));
        }
    }
}

/// How many draws in a row may be of no use.
fn patience(best: &Plan) -> u64 {
    match &best.input {
        // There is no other job than the one that somebody wrote.
        InputShape::Own(_) => 0,
        _ if fresh::is_small(best) => PATIENCE_SMALL,
        _ => PATIENCE,
    }
}

/// Whether two runs fail in the same way.
pub fn alike(one: &Verdict, other: &Verdict) -> bool {
    match (one, other) {
        (Verdict::Pass, _) | (_, Verdict::Pass) => false,
        _ => one.signature() == other.signature(),
    }
}

#[cfg(test)]
mod tests;

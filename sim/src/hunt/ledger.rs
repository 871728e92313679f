//! The ledger of a hunt: which seed is next, and what all answers add up to. A value; no process, no clock.
//!
//! 1. [`Ledger::next`] gives a process its next order: a repetition that another process ran first, a seed handed
//!    back by a lost child, or a fresh one.
//! 2. [`Ledger::on_report`] counts the answer. Answers to repetitions are compared, not counted.
//! 3. [`Ledger::on_lost`] books the seed that took its child down, and takes back those behind it.
//! 4. Plans whose runs hit something new are kept for the strategy that learns from them.
//!
//! Invariants: every seed handed out is counted once; a repetition never runs in the process of the first run.

use super::wire::{Order, Report};
use super::{HuntOptions, Shard};
use crate::coverage::Coverage;
use crate::plan::{JobKind, Plan};
use crate::seed::Seed;
use crate::strategy::{Choice, Name};
use crate::tally::{FaultCount, Tally};
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

/// Which child process, counted over the whole hunt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ProcessNumber(pub u64);

/// A failing run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Failure {
    /// What it is grouped by.
    pub signature: String,
    /// What was asked for.
    pub order: Order,
    /// The answer.
    #[serde(flatten)]
    pub report: Report,
}

/// Two runs of one seed that differ.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Divergence {
    /// Which.
    pub run: String,
    /// Both fingerprints.
    pub fingerprints: (u64, u64),
    /// Both histories, if they were kept.
    pub histories: Option<(PathBuf, PathBuf)>,
}

/// What became of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Booked {
    /// A pass, a failure that is known, or an expected repetition.
    Fine,
    /// A failure; the first of its signature if so said.
    Failed {
        /// Index into [`Ledger::failures`].
        index: usize,
        /// Whether no earlier failure had its signature.
        first: bool,
    },
    /// The repetition did not do the same.
    Diverged(usize),
}

/// A run that shall be made again.
#[derive(Clone, PartialEq, Debug)]
struct Repetition {
    order: Order,
    fingerprint: u64,
    by: ProcessNumber,
}

/// What a strategy did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Share {
    /// Its runs.
    pub runs: u64,
    /// Runs of these that did not pass, known failures aside.
    pub failures: u64,
    /// Cells of the coverage that it was the first to hit.
    pub new_cells: u64,
    /// Its faults.
    pub faults: FaultCount,
}

impl Share {
    /// Adds another one's.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.failures += other.failures;
        self.new_cells += other.new_cells;
        self.faults.add(other.faults);
    }
}

/// Plans that are kept to learn from, at most; the oldest go first.
const KEPT_MAX: usize = 400;

/// See the head of the file.
#[derive(Debug)]
pub struct Ledger {
    first: Seed,
    shard: Shard,
    strategy: Choice,
    job: Option<JobKind>,
    /// Fresh seeds still to hand out; `None` without limit.
    left: Option<u64>,
    /// Position behind the last fresh seed, within the whole hunt.
    position: u64,
    stop_after: u64,
    stopped: bool,
    twice_every: u64,
    keep_in: Option<PathBuf>,
    handed_back: VecDeque<Order>,
    to_repeat: VecDeque<Repetition>,
    repeating: BTreeMap<Seed, Repetition>,
    sampled: BTreeSet<Seed>,
    outstanding: BTreeMap<Seed, Order>,
    /// Plans that reached something new, the newest last.
    kept: Vec<Plan>,
    saturated_after: Option<u64>,
    /// Runs since a cell was hit for the first time.
    runs_without_news: u64,

    /// Runs counted.
    pub runs: u64,
    /// Runs by label of verdict.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// Their tallies.
    pub tally: Tally,
    /// What they struck, and where.
    pub coverage: Coverage,
    /// They, by strategy.
    pub strategies: BTreeMap<Name, Share>,
    /// Their events.
    pub events: u64,
    /// Their virtual milliseconds.
    pub virtual_ms: u64,
    /// Runs that failed as is known, by signature.
    pub known: BTreeMap<String, u64>,
    /// Runs that did not pass, and not in a known way.
    pub failures: Vec<Failure>,
    /// Seeds run twice.
    pub repeated: u64,
    /// Seeds whose runs differ.
    pub divergences: Vec<Divergence>,
}

impl Ledger {
    /// An empty ledger. Histories of repeated seeds are kept in `keep_in` while they may be needed.
    pub fn new(options: &HuntOptions, keep_in: Option<PathBuf>) -> Self {
        assert!(options.shard.index < options.shard.of, "a shard lies within its hunt");
        assert!(options.job.is_none_or(|job| options.strategy.runs(job)), "some seed must be wanted");
        let share = |seeds: u64| (seeds + options.shard.of - 1 - options.shard.index) / options.shard.of;
        Self {
            first: options.first,
            shard: options.shard,
            strategy: options.strategy,
            job: options.job,
            left: options.seeds.map(share),
            position: 0,
            stop_after: options.stop_after,
            stopped: false,
            twice_every: options.twice_every,
            keep_in,
            handed_back: VecDeque::new(),
            to_repeat: VecDeque::new(),
            repeating: BTreeMap::new(),
            sampled: BTreeSet::new(),
            outstanding: BTreeMap::new(),
            kept: Vec::new(),
            saturated_after: options.saturated_after,
            runs_without_news: 0,
            runs: 0,
            verdicts: BTreeMap::new(),
            tally: Tally::default(),
            coverage: Coverage::default(),
            strategies: BTreeMap::new(),
            events: 0,
            virtual_ms: 0,
            known: options.known.keys().map(|signature| (signature.clone(), 0)).collect(),
            failures: Vec::new(),
            repeated: 0,
            divergences: Vec::new(),
        }
    }

    /// Hands out no more fresh seeds.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// What `process` shall run next, if there is anything for it.
    pub fn next(&mut self, process: ProcessNumber) -> Option<Order> {
        let order = self.next_repetition(process).or_else(|| self.handed_back.pop_front()).or_else(|| self.fresh())?;
        let before = self.outstanding.insert(order.seed, order.clone());
        assert!(before.is_none(), "a seed is under way once at a time");
        self.validate();
        Some(order)
    }

    fn next_repetition(&mut self, process: ProcessNumber) -> Option<Order> {
        let at = self.to_repeat.iter().position(|repetition| repetition.by != process)?;
        let repetition = self.to_repeat.remove(at).expect("a position within");
        let keep = repetition.order.keep.as_ref().map(|first| first.with_extension("again"));
        let order = Order { keep, ..repetition.order.clone() };
        self.repeating.insert(order.seed, repetition);
        Some(order)
    }

    fn fresh(&mut self) -> Option<Order> {
        if self.stopped || self.left == Some(0) {
            return None;
        }
        let (seed, strategy) = loop {
            let position = self.position;
            self.position += 1;
            let seed = self.first.plus(position);
            let strategy = self.strategy.of(seed);
            let wanted = self.job.is_none_or(|job| strategy.strategy().job_of(seed) == job);
            if wanted && position % self.shard.of == self.shard.index {
                break (seed, strategy);
            }
        };
        self.left = self.left.map(|left| left - 1);
        let number = self.runs + self.outstanding.len() as u64;
        let sampled = self.twice_every > 0 && number.is_multiple_of(self.twice_every);
        let keep =
            self.keep_in.as_ref().filter(|_| sampled).map(|folder| folder.join(format!("{:016x}.first", seed.0)));
        if sampled {
            self.sampled.insert(seed);
        }
        let plan = strategy.learns().then(|| Box::new(strategy.strategy().plan(seed, &self.kept)));
        Some(Order { seed, strategy, plan, keep })
    }

    /// Books an answer of `process`.
    pub fn on_report(&mut self, process: ProcessNumber, report: Report) -> Booked {
        let order = self.outstanding.remove(&report.seed);
        let order = order.unwrap_or_else(|| panic!("{} was never asked for", report.seed));
        let booked = match self.repeating.remove(&report.seed) {
            Some(first) => self.compare(first, &report),
            None => self.count(process, order, report),
        };
        let saturated = self.saturated_after.is_some_and(|runs| self.runs_without_news >= runs);
        if saturated || self.failures.len() as u64 >= self.stop_after {
            self.stopped = true;
        }
        self.validate();
        booked
    }

    fn compare(&mut self, first: Repetition, again: &Report) -> Booked {
        self.repeated += 1;
        let kept = first.order.keep.clone();
        if first.fingerprint == again.fingerprint {
            for path in kept.iter().flat_map(|kept| [kept.clone(), kept.with_extension("again")]) {
                // Left-overs in a temporary folder harm nobody.
                let _ = std::fs::remove_file(path);
            }
            return Booked::Fine;
        }
        self.divergences.push(Divergence {
            run: first.order.drawn().to_string(),
            fingerprints: (first.fingerprint, again.fingerprint),
            histories: kept.map(|kept| (kept.clone(), kept.with_extension("again"))),
        });
        Booked::Diverged(self.divergences.len() - 1)
    }

    fn count(&mut self, process: ProcessNumber, order: Order, report: Report) -> Booked {
        self.runs += 1;
        *self.verdicts.entry(report.verdict.label()).or_default() += 1;
        self.tally.add(&report.tally);
        self.events += report.events;
        self.virtual_ms += report.virtual_ms;
        self.learn(&order, &report);
        if self.sampled.remove(&report.seed) {
            let lost = matches!(report.verdict, Verdict::Hang { .. } | Verdict::Died { .. });
            if !lost {
                let (order, fingerprint) = (order.clone(), report.fingerprint);
                self.to_repeat.push_back(Repetition { order, fingerprint, by: process });
            }
        }
        if report.verdict.passed() {
            return Booked::Fine;
        }
        let signature = report.verdict.signature();
        if let Some(count) = self.known.get_mut(&signature) {
            *count += 1;
            return Booked::Fine;
        }
        self.strategies.entry(order.strategy).or_default().failures += 1;
        let first = self.failures.iter().all(|failure| failure.signature != signature);
        self.failures.push(Failure { signature, order, report });
        Booked::Failed { index: self.failures.len() - 1, first }
    }

    /// Counts what a run struck, and keeps its plan if that was new.
    fn learn(&mut self, order: &Order, report: &Report) {
        let new_cells = self.coverage.add(&report.coverage);
        let share = self.strategies.entry(order.strategy).or_default();
        share.runs += 1;
        share.new_cells += new_cells;
        report.tally.faults.values().for_each(|count| share.faults.add(*count));
        self.runs_without_news = if new_cells > 0 { 0 } else { self.runs_without_news + 1 };
        if new_cells > 0 && self.strategy.learns() {
            self.kept.drain(..(self.kept.len() + 1).saturating_sub(KEPT_MAX));
            self.kept.push(order.plan());
        }
    }

    /// A child is gone: `running` took it down, `behind` never ran.
    pub fn on_lost(&mut self, process: ProcessNumber, running: Seed, verdict: Verdict, behind: Vec<Order>) -> Booked {
        for order in behind {
            self.outstanding.remove(&order.seed);
            match self.repeating.remove(&order.seed) {
                Some(repetition) => self.to_repeat.push_front(repetition),
                None => self.handed_back.push_back(order),
            }
        }
        let lost = self.outstanding.get(&running).map(|order| Report::lost(order, verdict));
        self.on_report(process, lost.unwrap_or_else(|| panic!("{running} was never asked for")))
    }

    /// Whether all there is left to do must not happen in `process`: it should make room for another.
    pub fn needs_another(&self, process: ProcessNumber) -> bool {
        !self.to_repeat.is_empty() && self.to_repeat.iter().all(|repetition| repetition.by == process)
    }

    /// Whether everything handed out is answered and nothing is left to hand out.
    pub fn finished(&self) -> bool {
        let fresh = !self.stopped && self.left != Some(0);
        self.outstanding.is_empty() && self.to_repeat.is_empty() && self.handed_back.is_empty() && !fresh
    }

    /// Fresh seeds not yet handed out, if limited.
    pub fn left(&self) -> Option<u64> {
        self.left
    }

    fn validate(&self) {
        assert!(self.repeating.len() <= self.outstanding.len(), "a repetition is under way or it is not");
        assert!(self.kept.len() <= KEPT_MAX);
        assert_eq!(self.strategies.values().map(|share| share.runs).sum::<u64>(), self.runs);
        assert_eq!(self.verdicts.values().sum::<u64>(), self.runs, "every run has one verdict");
        assert!(self.failures.len() as u64 <= self.runs);
        assert!(self.divergences.len() as u64 <= self.repeated);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Output;
    use super::*;
    use crate::strategy::Drawn;
    use crate::world::FaultRecord;
    use std::time::Duration;

    const A: ProcessNumber = ProcessNumber(1);
    const B: ProcessNumber = ProcessNumber(2);

    fn options(seeds: u64) -> HuntOptions {
        HuntOptions {
            first: Seed(100),
            strategy: Choice::One(Name::Random),
            saturated_after: None,
            job: None,
            seeds: Some(seeds),
            time: None,
            shard: Shard::WHOLE,
            stop_after: 1,
            jobs: 2,
            twice_every: 0,
            hang_after: Duration::from_secs(1),
            known: BTreeMap::new(),
            output: Output::Quiet,
        }
    }

    fn report(seed: Seed, verdict: Verdict, fingerprint: u64) -> Report {
        let order = Order::of(Drawn { strategy: Name::Random, seed });
        Report { fingerprint, screen: None, ..Report::lost(&order, verdict) }
    }

    fn seeds_of(ledger: &mut Ledger) -> Vec<u64> {
        std::iter::from_fn(|| ledger.next(A)).map(|order| order.seed.0).collect()
    }

    #[test]
    fn every_seed_is_handed_out_once_and_the_hunt_ends() {
        let mut ledger = Ledger::new(&options(3), None);
        assert_eq!(seeds_of(&mut ledger), [100, 101, 102]);
        for seed in [100, 101, 102] {
            assert!(!ledger.finished());
            assert_eq!(ledger.on_report(A, report(Seed(seed), Verdict::Pass, 7)), Booked::Fine);
        }
        assert!(ledger.finished());
        assert_eq!(ledger.runs, 3);
    }

    #[test]
    fn shards_share_the_seeds_without_overlap() {
        let mut all = Vec::new();
        for index in 0..3 {
            let options = HuntOptions { shard: Shard { index, of: 3 }, ..options(10) };
            all.extend(seeds_of(&mut Ledger::new(&options, None)));
        }
        all.sort_unstable();
        assert_eq!(all, (100..110).collect::<Vec<_>>());
    }

    #[test]
    fn a_lost_child_costs_one_seed_and_hands_back_the_rest() {
        let mut ledger = Ledger::new(&HuntOptions { stop_after: 9, ..options(3) }, None);
        let orders: Vec<Order> = std::iter::from_fn(|| ledger.next(A)).collect();
        let hang = Verdict::Hang { what: "silent".into() };
        let booked = ledger.on_lost(A, orders[0].seed, hang, orders[1..].to_vec());
        assert_eq!(booked, Booked::Failed { index: 0, first: true });
        let again: Vec<Seed> = std::iter::from_fn(|| ledger.next(B)).map(|order| order.seed).collect();
        assert_eq!(again, [Seed(101), Seed(102)]);
        ledger.on_report(B, report(Seed(101), Verdict::Pass, 7));
        ledger.on_report(B, report(Seed(102), Verdict::Pass, 7));
        assert!(ledger.finished());
        assert_eq!((ledger.runs, ledger.failures.len()), (3, 1));
    }

    #[test]
    fn a_repetition_runs_in_another_process_and_a_difference_is_reported() {
        let mut ledger = Ledger::new(&HuntOptions { twice_every: 1, ..options(1) }, None);
        let order = ledger.next(A).expect("one seed");
        ledger.on_report(A, report(order.seed, Verdict::Pass, 7));
        assert_eq!(ledger.next(A), None);
        assert!(ledger.needs_another(A));
        assert_eq!(ledger.next(B).expect("the repetition").seed, order.seed);
        assert_eq!(ledger.on_report(B, report(order.seed, Verdict::Pass, 8)), Booked::Diverged(0));
        assert_eq!(ledger.divergences[0].fingerprints, (7, 8));
        assert_eq!(ledger.runs, 1, "a repetition is no run of its own");
        assert!(ledger.finished());
    }

    #[test]
    fn known_failures_are_counted_and_stop_nothing() {
        let known = BTreeMap::from([("stuck".to_owned(), PathBuf::from("corpus/known/stuck.toml"))]);
        let mut ledger = Ledger::new(&HuntOptions { known, ..options(2) }, None);
        for _ in 0..2 {
            let order = ledger.next(A).expect("more seeds");
            let stuck = Verdict::Stuck { what: "no progress".into(), phase: None };
            assert_eq!(ledger.on_report(A, report(order.seed, stuck, 1)), Booked::Fine);
        }
        assert_eq!((ledger.runs, ledger.failures.len(), ledger.known["stuck"]), (2, 0, 2));
        assert_eq!(ledger.verdicts["stuck"], 2, "and they show");
    }

    #[test]
    fn enough_failures_stop_the_hunt_and_equal_ones_are_grouped() {
        let mut ledger = Ledger::new(&HuntOptions { stop_after: 2, ..options(100) }, None);
        let stuck = || Verdict::Stuck { what: "no progress".into(), phase: None };
        for first in [true, false] {
            let order = ledger.next(A).expect("more seeds");
            let booked = ledger.on_report(A, report(order.seed, stuck(), 1));
            assert!(matches!(booked, Booked::Failed { first: f, .. } if f == first));
        }
        assert_eq!(ledger.next(A), None);
        assert!(ledger.finished());
    }

    /// A report on a run in which every fault struck.
    fn striking(order: &Order) -> Report {
        let plan = order.plan();
        let records = vec![FaultRecord { triggered: true, struck: 1 }; plan.faults.len()];
        Report { coverage: Coverage::of(&plan, &records), ..report(order.seed, Verdict::Pass, 7) }
    }

    #[test]
    fn a_plan_that_reached_something_new_is_kept_changed_and_repeated_as_it_was() {
        let guided = HuntOptions { strategy: Choice::One(Name::Guided), twice_every: 1, ..options(40) };
        let mut ledger = Ledger::new(&guided, None);
        let mut first = Vec::new();
        for _ in 0..40 {
            let order = ledger.next(A).expect("a seed");
            ledger.on_report(A, striking(&order));
            first.push(order);
        }
        assert!(ledger.coverage.counts().hit > 40, "{:?}", ledger.coverage.counts());
        let alone = |order: &&Order| order.plan() == order.drawn().plan();
        assert!(first.iter().filter(alone).count() < 25, "most learned from those before");
        for order in &first {
            assert_eq!(ledger.next(B).expect("the repetition").plan, order.plan);
            ledger.on_report(B, striking(order));
        }
        assert!(ledger.finished());
    }

    #[test]
    fn a_hunt_that_finds_nothing_new_ends() {
        let mut ledger = Ledger::new(&HuntOptions { saturated_after: Some(3), ..options(100) }, None);
        let mut runs = 0;
        while let Some(order) = ledger.next(A) {
            runs += 1;
            let report = if runs < 5 { striking(&order) } else { report(order.seed, Verdict::Pass, 7) };
            ledger.on_report(A, report);
        }
        assert!((5..=8).contains(&runs), "{runs}");
        assert!(ledger.finished());
    }
}

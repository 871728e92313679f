//! What one hunt or many of them add up to: the summary, as a value that is printed, written down, read back and merged.

use super::HuntOptions;
use super::ledger::{Divergence, Failure, Share};
use super::pool::Hunted;
use crate::coverage::Coverage;
use crate::exit::Exit;
use crate::marks;
use crate::strategy::Name;
use crate::tally::Tally;
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// See the head of the file.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Campaign {
    /// The first seed, of a single hunt or of shards of one.
    pub first: String,
    /// How plans were drawn.
    pub strategy: String,
    /// Hunts that are in it.
    pub hunts: u64,
    /// Runs counted.
    pub runs: u64,
    /// Wall-clock seconds, added up.
    pub seconds: f64,
    /// Child processes, of the largest hunt.
    pub children: usize,
    /// Runs by label of verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// Deliveries.
    pub events: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// What happened.
    pub tally: Tally,
    /// What was struck, and where.
    pub coverage: Coverage,
    /// By strategy.
    pub strategies: BTreeMap<Name, Share>,
    /// Seeds run twice.
    pub repeated: u64,
    /// Of these, those that differed.
    pub divergences: Vec<Divergence>,
    /// Runs that failed in no known way.
    pub failures: u64,
    /// They, by signature.
    pub kinds: BTreeMap<String, Kind>,
    /// Runs that failed as is known, by signature.
    pub known: BTreeMap<String, Known>,
    /// What any campaign must reach, and this one has not.
    pub missing_marks: Vec<String>,
    /// The share of failing runs that is excluded with 95 % confidence, if there were none.
    pub rate_below: Option<f64>,
    /// Whether Ctrl-C ended a hunt.
    pub interrupted: bool,
    /// What the harness itself failed at.
    pub trouble: Option<String>,
}

/// Failures of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kind {
    /// How many.
    pub runs: u64,
    /// The property or the label that says it.
    pub property: String,
    /// The first of them, by strategy and seed.
    pub run: String,
    /// What was wrong with it.
    pub what: String,
}

/// Failures that are known.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Known {
    /// How many.
    pub runs: u64,
    /// Where that is written down.
    pub capsule: String,
}

impl Campaign {
    /// Of one hunt.
    pub fn of(options: &HuntOptions, hunted: &Hunted) -> Self {
        let ledger = &hunted.ledger;
        let capsule = |signature: &String| options.known.get(signature).map(|path| path.display().to_string());
        let known = |(signature, runs): (&String, &u64)| {
            (signature.clone(), Known { runs: *runs, capsule: capsule(signature).unwrap_or_default() })
        };
        let mut campaign = Self {
            first: options.first.to_string(),
            strategy: options.strategy.to_string(),
            hunts: 1,
            runs: ledger.runs,
            seconds: hunted.took.as_secs_f64(),
            children: options.jobs,
            verdicts: ledger.verdicts.iter().map(|(label, runs)| ((*label).to_owned(), *runs)).collect(),
            events: ledger.events,
            virtual_ms: ledger.virtual_ms,
            tally: ledger.tally.clone(),
            coverage: ledger.coverage.clone(),
            strategies: ledger.strategies.clone(),
            repeated: ledger.repeated,
            divergences: ledger.divergences.clone(),
            failures: ledger.failures.len() as u64,
            known: ledger.known.iter().filter(|(_, runs)| **runs > 0).map(known).collect(),
            interrupted: hunted.interrupted,
            trouble: hunted.trouble.clone(),
            ..Self::default()
        };
        ledger.failures.iter().for_each(|failure| campaign.failed(failure));
        campaign.concluded()
    }

    fn failed(&mut self, failure: &Failure) {
        let verdict = &failure.report.verdict;
        let first = || Kind {
            runs: 0,
            property: verdict.property().to_owned(),
            run: failure.order.drawn().to_string(),
            what: verdict.what().to_owned(),
        };
        self.kinds.entry(failure.signature.clone()).or_insert_with(first).runs += 1;
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        if self.hunts == 0 {
            *self = other.clone();
            return;
        }
        for (mine, its) in [(&mut self.first, &other.first), (&mut self.strategy, &other.strategy)] {
            if mine != its {
                "several".clone_into(mine);
            }
        }
        self.hunts += other.hunts;
        self.runs += other.runs;
        self.seconds += other.seconds;
        self.children = self.children.max(other.children);
        other.verdicts.iter().for_each(|(label, runs)| *self.verdicts.entry(label.clone()).or_default() += runs);
        self.events += other.events;
        self.virtual_ms += other.virtual_ms;
        self.tally.add(&other.tally);
        self.coverage.add(&other.coverage);
        other.strategies.iter().for_each(|(name, share)| self.strategies.entry(*name).or_default().add(share));
        self.repeated += other.repeated;
        self.divergences.extend(other.divergences.iter().cloned());
        self.failures += other.failures;
        for (signature, kind) in &other.kinds {
            let known = || Kind { runs: 0, ..kind.clone() };
            self.kinds.entry(signature.clone()).or_insert_with(known).runs += kind.runs;
        }
        for (signature, known) in &other.known {
            let first = || Known { runs: 0, ..known.clone() };
            self.known.entry(signature.clone()).or_insert_with(first).runs += known.runs;
        }
        self.interrupted |= other.interrupted;
        self.trouble = self.trouble.take().or_else(|| other.trouble.clone());
        *self = std::mem::take(self).concluded();
    }

    /// With what follows from all the rest.
    fn concluded(self) -> Self {
        let missing_marks = marks::missing(&self.tally);
        let clean = self.kinds.is_empty() && self.runs > 0;
        Self { missing_marks, rate_below: clean.then(|| bound(self.runs)), ..self }
    }

    /// The exit code that says it.
    pub fn exit(&self) -> Exit {
        let harness = Verdict::HarnessError { message: String::new() };
        let broken = self.kinds.values().any(|kind| kind.property == harness.property());
        match () {
            () if self.interrupted => Exit::Interrupted,
            () if self.trouble.is_some() || broken || !self.divergences.is_empty() => Exit::Harness,
            () if self.failures > 0 => Exit::Violation,
            () => Exit::Clean,
        }
    }

    fn rate(&self) -> f64 {
        self.runs as f64 / self.seconds.max(0.001)
    }
}

/// What runs without failures bound: the rule of three.
fn bound(runs: u64) -> f64 {
    3.0 / runs.max(1) as f64
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_history(f)?;
        for (kind, count) in &self.tally.faults {
            let (never, nothing) = (count.armed - count.triggered, count.triggered - count.struck);
            writeln!(
                f,
                "faults       {kind:<21} {:>6} armed, {:>6} struck, {nothing:>6} hit nothing, {never:>6} never fired",
                count.armed, count.struck
            )?;
        }
        self.write_search(f)?;
        writeln!(f, "determinism  {} seeds ran twice, {} differed", self.repeated, self.divergences.len())?;
        for (signature, known) in &self.known {
            writeln!(f, "known        {} run(s) failed as {} does: {signature}", known.runs, known.capsule)?;
        }
        match self.rate_below {
            Some(bound) => {
                writeln!(f, "clean        fewer than {bound:.5} of such runs fail, at 95 % confidence (3/N)")
            }
            None => Ok(()),
        }
    }
}

impl Campaign {
    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(trouble) = &self.trouble {
            writeln!(f, "the hunt could not go on: {trouble}")?;
        }
        let interrupted = if self.interrupted { " (interrupted)" } else { "" };
        let hunts = if self.hunts > 1 { format!(" of {} hunts", self.hunts) } else { String::new() };
        writeln!(
            f,
            "{} runs{hunts} in {:.1} s{interrupted}: {:.0}/s, {:.0}/s per child; {} deliveries, {:.0} s of virtual time; \
             --from {} --strategy {}",
            self.runs,
            self.seconds,
            self.rate(),
            self.rate() / self.children.max(1) as f64,
            self.events,
            self.virtual_ms as f64 / 1000.0,
            self.first,
            self.strategy
        )?;
        let verdicts: Vec<String> = self.verdicts.iter().map(|(label, runs)| format!("{runs} {label}")).collect();
        writeln!(f, "verdicts     {}", verdicts.join(", "))
    }

    fn write_history(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tally, history) = (&self.tally, &self.tally.history);
        writeln!(
            f,
            "checkpoints  {} completed, {} aborted; {} jobs finished",
            history.checkpoints_completed, history.checkpoints_aborted, history.finished
        )?;
        writeln!(
            f,
            "restores     {}, {} of them from non-empty state; so did {:.1} % of the {} runs with a planned crash",
            history.restores,
            history.restores_non_empty,
            percent(tally.crash_plans_with_state, tally.crash_plans),
            tally.crash_plans
        )?;
        let clients = &history.clients;
        writeln!(
            f,
            "clients      asked for {} checkpoints: {} completed, {} declined; {} answers lost, {} requests withdrawn",
            clients.checkpoints, clients.completed, clients.declined, clients.lost, clients.withdrawn
        )?;
        let (cancellations, cancelled) = (clients.cancellations, clients.cancelled);
        writeln!(f, "             asked {cancellations} times to cancel: {cancelled} jobs cancelled")?;
        let phases = &history.crashes;
        writeln!(
            f,
            "crashes      {}, {} of the coordinator: {} before the first checkpoint, {} between checkpoints, {} with one \
             pending, {} during a restore, {} after the end of input",
            phases.total(),
            history.coordinator_crashes,
            phases.before_first_checkpoint,
            phases.between_checkpoints,
            phases.checkpoint_pending,
            phases.during_restore,
            phases.after_input_ended
        )?;
        writeln!(f, "besides      {}", besides(history))?;
        writeln!(
            f,
            "leadership   {} runs with two coordinators; {} take-overs by the other one, {} of leaders that lived on",
            tally.standby_plans, history.take_overs, history.take_overs_from_living
        )
    }

    fn write_search(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, share) in &self.strategies {
            let name = name.as_str();
            writeln!(
                f,
                "strategy     {name:<9} {:>7} runs, {:>5.1} % of {:>6} faults struck, first to hit {:>5} cells, {} failure(s)",
                share.runs,
                percent(share.faults.struck, share.faults.armed),
                share.faults.armed,
                share.new_cells,
                share.failures
            )?;
        }
        let counts = self.coverage.counts();
        writeln!(
            f,
            "coverage     {} cells hit (point x fault x topology), {} fired and hit nothing, {} never fired, {} never armed",
            counts.hit, counts.hit_nothing, counts.never_fired, counts.never_armed
        )?;
        let (missing, all) = (self.missing_marks.len(), marks::count());
        writeln!(f, "marks        {} of {all} reached", all - missing)?;
        self.missing_marks.iter().try_for_each(|mark| writeln!(f, "             MISSING: {mark}"))
    }
}

/// What histories were seen to hold besides, zeros included.
fn besides(history: &cofferdam_properties::Tally) -> String {
    let above = [
        "checkpoints_completed",
        "checkpoints_aborted",
        "finished",
        "restores",
        "restores_non_empty",
        "coordinator_crashes",
        "take_overs",
        "take_overs_from_living",
    ];
    let counts = serde_json::to_value(history).expect("tallies serialise");
    let counts = counts.as_object().into_iter().flatten();
    let rest = counts.filter(|(name, count)| count.is_u64() && !above.contains(&name.as_str()));
    rest.map(|(name, count)| format!("{count} {}", name.replace('_', " "))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(runs: u64, property: Option<&str>) -> Campaign {
        let kind = |property: &str| Kind {
            runs: 1,
            property: property.to_owned(),
            run: "targeted:g10:0x1".to_owned(),
            what: "two of them".to_owned(),
        };
        let kinds: BTreeMap<_, _> = property.map(|p| (p.to_owned(), kind(p))).into_iter().collect();
        let campaign = Campaign { hunts: 1, runs, failures: kinds.len() as u64, kinds, ..Campaign::default() };
        campaign.concluded()
    }

    #[test]
    fn campaigns_add_up_and_one_failure_is_a_failure_of_the_whole() {
        let mut sum = campaign(1_000, None);
        assert_eq!((sum.exit(), sum.rate_below), (Exit::Clean, Some(0.003)));
        sum.add(&campaign(500, Some("no-orphans")));
        sum.add(&campaign(500, Some("no-orphans")));
        assert_eq!((sum.runs, sum.hunts, sum.failures, sum.kinds["no-orphans"].runs), (2_000, 3, 2, 2));
        assert_eq!((sum.exit(), sum.rate_below), (Exit::Violation, None));
        sum.add(&campaign(1, Some("harness error")));
        assert_eq!(sum.exit(), Exit::Harness);
    }

    #[test]
    fn a_campaign_survives_being_written_down() {
        let campaign = campaign(7, Some("stuck"));
        let text = serde_json::to_string(&campaign).expect("campaigns serialise");
        assert_eq!(serde_json::from_str::<Campaign>(&text).expect("and back"), campaign);
    }
}

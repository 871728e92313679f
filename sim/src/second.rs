//! The second act of a run: the job is started once more at the output that the first act left behind, with checkpoints that do
//! not belong to it ([`SecondStart`]).
//!
//! 1. What storage held is read off the history of the first act: everything at its end, but the checkpoints as they were when
//!    the copy was made.
//! 2. The same processes run in a world of their own, without faults.
//! 3. They must refuse: nothing becomes visible ([`visible_belongs_to_log`]), and the coordinator gives the job up and says that
//!    it is for the output.
//!
//! Not staged: two copies at the same time, and systems outside, whose state is not part of the history.

use crate::plan::{Plan, SecondStart};
use crate::run::{GAVE_UP, Staging, end_of_coordinator, last_progress};
use crate::seed::Seed;
use crate::signature::{Phase, Place};
use crate::verdict::{Outcome, Verdict};
use crate::world::{Picks, Recording, RunEnd, WorldSpec};
use bytes::Bytes;
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::mark::Name;
use cofferdam_properties::Case;
use cofferdam_properties::history::{Fact, History, What};
use cofferdam_properties::judges::visible_belongs_to_log;
use cofferdam_properties::ledger::Ledger;
use std::collections::BTreeMap;

/// The plan of the second act.
pub fn plan(plan: &Plan) -> Plan {
    Plan { faults: Vec::new(), clients: Vec::new(), picks: Picks::Seed, second_start: None, ..plan.clone() }
}

/// What storage holds when the second act begins; `None` if the first one has left nothing to be wrong about. A log
/// that holds the newest checkpoint that the output is marked with may go on, and so may any log if there is no such
/// mark: the job was cancelled, say, before the output was marked with the last one.
pub fn storage(history: &History, start: SecondStart) -> Option<BTreeMap<String, Bytes>> {
    let ledger = Ledger::of(history);
    let copied = match start {
        SecondStart::OtherLog => None,
        SecondStart::OldCopy { older } => {
            let old = ledger.completed.len().checked_sub(1).filter(|old| *old > 0)?;
            Some(&ledger.completed[old - 1 - older as usize % old])
        }
    };
    let copied_at = copied.map(|copied| copied.at);
    ledger.completed.first()?;
    let is_checkpoint = |path: &String| path.split('/').next() == Some(layout::CHECKPOINTS);
    let mut objects = history.initial.clone();
    let mut copy = BTreeMap::new();
    for (at, entry) in history.entries.iter().enumerate() {
        match &entry.what {
            What::Fact(Fact::Written { path, bytes }) => drop(objects.insert(path.clone(), bytes.clone())),
            What::Fact(Fact::Deleted { path }) => drop(objects.remove(path)),
            What::Fact(_) | What::Claim(_) => {}
        }
        if Some(at) == copied_at {
            copy =
                objects.iter().filter(|(path, _)| is_checkpoint(path)).map(|(p, b)| (p.clone(), b.clone())).collect();
        }
    }
    let held = copied.map(|copied| copied.checkpoint);
    let goes_further = |path: &String| matches!(Name::of(path), Some(Name::Completed(marked)) if Some(marked) > held);
    objects.keys().any(goes_further).then_some(())?;
    objects.retain(|path, _| !is_checkpoint(path));
    objects.extend(copy);
    Some(objects)
}

/// The world of the second act.
pub fn world(seed: Seed, plan: &Plan, staging: &Staging, initial: BTreeMap<String, Bytes>) -> WorldSpec {
    WorldSpec {
        seed: seed.0,
        processes: staging.processes.clone(),
        hosts: plan.needed_workers(),
        initial,
        models: staging.models.clone(),
        faults: Vec::new(),
        heal_at_ms: 0,
        tuning: plan.tuning.clone(),
        picks: Picks::Seed,
        record_picks: false,
        budget: plan.budget(),
    }
}

/// The outcome of both acts, given that of the first, which passed. What went wrong in the second is told by its history.
pub fn judge(first: Outcome, start: SecondStart, staging: &Staging, recording: Recording) -> Outcome {
    let case = Case::new(&recording.history, &staging.job, None).with_models(staging.models.clone());
    let verdict = weigh(&case, start, &recording.ended);
    drop(case);
    let mut outcome = first;
    outcome.fingerprint ^= recording.fingerprint.rotate_left(1);
    outcome.events += recording.events;
    outcome.tally.refused_starts = u64::from(verdict.passed());
    if !verdict.passed() {
        outcome.history = recording.history;
    }
    outcome.verdict = verdict;
    outcome
}

fn weigh(case: &Case<'_>, start: SecondStart, ended: &RunEnd) -> Verdict {
    if let RunEnd::Panicked { process, message } = ended {
        return Verdict::EngineAssertion { message: format!("{process}, when started {start}: {message}") };
    }
    if let Some(violation) = (visible_belongs_to_log::PROPERTY.judge)(case) {
        let place = Some(Place::of(case.history, &case.job.graph, violation.at));
        let what = format!("when started {start}: {}: {}", violation.subject, violation.message);
        return Verdict::Violation { property: violation.property.to_owned(), what, step: Some(violation.at), place };
    }
    let refused = |how: &String| how.starts_with(GAVE_UP) && how.contains("output");
    let what = match end_of_coordinator(case.history) {
        Some(Ok(how)) if refused(how) => return Verdict::Pass,
        Some(Ok(how) | Err(how)) => how.clone(),
        None => last_progress(case),
    };
    let phase = Some(Phase::behind(&case.history.entries));
    Verdict::Stuck { what: format!("started {start}, it is not refused: {what}"), phase }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;
    use crate::plan::JobKind;

    /// A run without faults that ends well, and what its second act is like.
    fn outcome(start: SecondStart) -> Outcome {
        let of = |seed: &Seed| Plan::job_of(*seed) == JobKind::WordCount;
        let seed = (0..).map(Seed).find(of).expect("a third of them");
        let quiet = Plan { second_start: Some(start), faults: Vec::new(), clients: Vec::new(), ..Plan::of(seed) };
        builtin::runner().run_plan(seed, quiet)
    }

    #[test]
    fn a_second_start_is_refused_and_counted() {
        for start in [SecondStart::OtherLog, SecondStart::OldCopy { older: 0 }, SecondStart::OldCopy { older: 1 }] {
            let outcome = outcome(start);
            assert_eq!((&outcome.verdict, outcome.tally.refused_starts), (&Verdict::Pass, 1), "{start}");
        }
    }

    #[test]
    fn a_second_start_that_may_go_on_is_reported() {
        let first = outcome(SecondStart::OtherLog);
        let start = SecondStart::OldCopy { older: 0 };
        let mut objects = storage(&first.history, start).expect("there are checkpoints");
        // Nobody would know that this output is further than its log.
        objects.retain(|path, _| !path.starts_with("output/completed-"));
        let (seed, plan) = (first.seed, plan(&first.plan));
        let staging = builtin::runner().stage(seed, &plan).expect("it can be staged");
        let recording = crate::world::run(world(seed, &plan, &staging, objects));
        let judged = judge(first, start, &staging, recording);
        assert!(!judged.verdict.passed(), "{:?}", judged.verdict);
    }
}

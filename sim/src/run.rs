//! A run: a seed and its plan become a world, the world runs, the judges judge.
//!
//! 1. [`Subject`] stages the plan: the job, its input, the reference of its result and the processes.
//! 2. The world runs under the plan's faults until it heals, and on until everybody is done or the budget is.
//! 3. How it ended is weighed before the properties: a panic of the engine ends the story where it happened.
//!
//! Does not own: what time costs (the world), what is right (the judges).
//!
//! Invariant: the outcome is a pure function of seed and plan. A run never panics because the engine does.

use crate::plan::Plan;
use crate::second;
use crate::seed::Seed;
use crate::signature::{Phase, Place};
use crate::tally::Tally;
use crate::verdict::{Outcome, Verdict};
use crate::world::{Budget, Counters, ProcessSpec, Recording, RunEnd, WorldSpec, on_thread_of_its_own, quietly};
use bytes::Bytes;
use cofferdam_engine::event::Event;
use cofferdam_engine::graph::Job;
use cofferdam_properties::external::Models;
use cofferdam_properties::history::{Fact, History, Process, What};
use cofferdam_properties::judges::clean_failure::failed_legitimately;
use cofferdam_properties::{Case, HARNESS, Reference, judge_all};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Everything a plan does not say itself because a function of the plan can.
pub struct Staging {
    /// What runs.
    pub job: Job,
    /// The input.
    pub initial: BTreeMap<String, Bytes>,
    /// What should come out.
    pub reference: Option<Reference>,
    /// The systems outside that it writes to.
    pub models: Models,
    /// Who runs it.
    pub processes: Vec<ProcessSpec>,
}

/// What is under test: stages a plan.
pub type Subject = Arc<dyn Fn(Seed, &Plan) -> Result<Staging, String> + Send + Sync>;

/// The world that runs a spec, on the fresh thread that it is called on.
pub type World = fn(WorldSpec) -> Recording;

/// What a coordinator's main function says first when it gives the job up.
pub const GAVE_UP: &str = "the job gave up: ";

/// Runs seeds of one subject.
#[derive(Clone)]
pub struct Runner {
    subject: Subject,
    world: World,
}

impl Runner {
    /// A runner.
    pub fn new(subject: Subject, world: World) -> Self {
        Self { subject, world }
    }

    /// The staging of a plan.
    pub fn stage(&self, seed: Seed, plan: &Plan) -> Result<Staging, String> {
        (self.subject)(seed, plan)
    }

    /// Runs a seed.
    pub fn run(&self, seed: Seed) -> Outcome {
        self.run_plan(seed, Plan::of(seed))
    }

    /// Runs a plan under a seed.
    pub fn run_plan(&self, seed: Seed, plan: Plan) -> Outcome {
        self.run_plan_then(seed, plan, |outcome| outcome)
    }

    /// Runs a plan under a seed, and hands the outcome over on the thread of the run, if it came to that: what a run has
    /// allocated is let go of most cheaply there.
    pub fn run_plan_then<T: Send>(&self, seed: Seed, plan: Plan, then: impl FnOnce(Outcome) -> T + Send) -> T {
        let budget = plan.budget();
        self.run_noting(seed, plan, false, budget, then)
    }

    /// Runs a plan under a seed, but ends the run after so many deliveries.
    pub fn run_up_to(&self, events: u64, seed: Seed, plan: Plan) -> Outcome {
        let budget = plan.budget();
        let budget = Budget { events: budget.events.min(events), ..budget };
        self.run_noting(seed, plan, false, budget, |outcome| outcome)
    }

    /// Runs a plan under a seed, and writes down every free choice.
    pub fn run_with_picks(&self, seed: Seed, plan: Plan) -> Outcome {
        let budget = plan.budget();
        self.run_noting(seed, plan, true, budget, |outcome| outcome)
    }

    fn run_noting<T: Send>(
        &self,
        seed: Seed,
        plan: Plan,
        record_picks: bool,
        budget: Budget,
        then: impl FnOnce(Outcome) -> T + Send,
    ) -> T {
        let Staging { job, initial, reference, models, processes } = match self.stage(seed, &plan) {
            Ok(staging) => staging,
            Err(message) => return then(failed(seed, plan, format!("the plan cannot be staged: {message}"))),
        };
        let world = self.world;
        let spec = WorldSpec {
            seed: seed.0,
            processes,
            hosts: plan.needed_workers(),
            initial,
            models: models.clone(),
            faults: plan.faults.clone(),
            heal_at_ms: plan.heal_at_ms,
            tuning: plan.tuning.clone(),
            picks: plan.picks.clone(),
            record_picks,
            budget,
        };
        // The world is the first thing on its thread.
        on_thread_of_its_own(|| {
            then(match catch_unwind(AssertUnwindSafe(|| world(spec))) {
                Ok(recording) => self.run_on(judged(seed, plan, (&job, reference.as_ref(), models), recording)),
                Err(panic) => failed(seed, plan, format!("the world panicked: {}", message_of(&*panic))),
            })
        })
    }

    /// The second act of a run that has passed so far, if its plan has one.
    fn run_on(&self, first: Outcome) -> Outcome {
        let Some(start) = first.plan.second_start.filter(|_| first.verdict.passed()) else { return first };
        let Some(initial) = second::storage(&first.history, start) else { return first };
        let (seed, plan) = (first.seed, second::plan(&first.plan));
        let staging = match self.stage(seed, &plan) {
            Ok(staging) => staging,
            Err(message) => return failed(seed, plan, format!("the second act cannot be staged: {message}")),
        };
        let spec = second::world(seed, &plan, &staging, initial);
        let run = || catch_unwind(AssertUnwindSafe(|| (self.world)(spec)));
        match on_thread_of_its_own(run) {
            Ok(recording) => quietly(|| second::judge(first, start, &staging, recording)),
            Err(panic) => failed(seed, plan, format!("the world of the second act panicked: {}", message_of(&*panic))),
        }
    }
}

/// The outcome of a run that the harness could not make.
fn failed(seed: Seed, plan: Plan, message: String) -> Outcome {
    Outcome {
        seed,
        plan,
        verdict: Verdict::HarnessError { message },
        fingerprint: 0,
        tally: Tally::default(),
        events: 0,
        virtual_ms: 0,
        counters: Counters::default(),
        faults: Vec::new(),
        offers: Vec::new(),
        idle_picks: 0,
        history: History::default(),
    }
}

fn judged(
    seed: Seed,
    plan: Plan,
    (job, reference, models): (&Job, Option<&Reference>, Models),
    recording: Recording,
) -> Outcome {
    let Recording { history, fingerprint, events, virtual_ns, ended, faults, counters, offers, idle_picks, .. } =
        recording;
    let case = Case::new(&history, job, reference).with_models(models);
    // Judges re-execute operators, which may panic: that is a verdict, not news.
    let weighed = quietly(|| {
        catch_unwind(AssertUnwindSafe(|| {
            let verdict = weigh(&case, &ended);
            (verdict, Tally::of(&plan, &faults, cofferdam_properties::Tally::of(&case)))
        }))
    });
    let (verdict, tally) = weighed.unwrap_or_else(|panic| {
        let message = format!("a judge panicked: {}", message_of(&*panic));
        (Verdict::HarnessError { message }, Tally::default())
    });
    drop(case);
    let virtual_ms = virtual_ns / 1_000_000;
    Outcome {
        seed,
        plan,
        verdict,
        fingerprint,
        tally,
        events,
        virtual_ms,
        counters,
        faults,
        offers,
        idle_picks,
        history,
    }
}

fn weigh(case: &Case<'_>, ended: &RunEnd) -> Verdict {
    if let RunEnd::Panicked { process, message } = ended {
        return Verdict::EngineAssertion { message: format!("{process}: {message}") };
    }
    if let Some(violation) = judge_all(case).into_iter().next() {
        let what = format!("{}: {}", violation.subject, violation.message);
        if violation.property == HARNESS {
            return Verdict::HarnessError { message: what };
        }
        let place = Some(Place::of(case.history, &case.job.graph, violation.at));
        return Verdict::Violation { property: violation.property.to_owned(), what, step: Some(violation.at), place };
    }
    let phase = || Some(Phase::behind(&case.history.entries));
    let stuck = |what: String| Verdict::Stuck { what, phase: phase() };
    match ended {
        RunEnd::Panicked { .. } => unreachable!("handled above"),
        RunEnd::EventBudget => {
            Verdict::OverBudget { what: format!("all events are used up; {}", last_progress(case)), phase: phase() }
        }
        RunEnd::TimeBudget => stuck(format!("not finished within its time after healing; {}", last_progress(case))),
        RunEnd::Deadlock => stuck(format!("everybody waits and nothing is on its way; {}", last_progress(case))),
        RunEnd::Failed { process, message } => stuck(format!("{process} failed: {message}")),
        RunEnd::AllEnded => match end_of_coordinator(case.history) {
            Some(Ok(how)) if how.starts_with(GAVE_UP) && !failed_legitimately(case) => stuck(how.clone()),
            Some(Ok(_)) => Verdict::Pass,
            Some(Err(error)) => stuck(format!("the coordinator failed: {error}")),
            None => stuck(format!("the coordinator never came to an end; {}", last_progress(case))),
        },
    }
}

/// How the newest coordinator to end did so. One that gave the job up is heard first, whatever another one says: there
/// is one end, and it is everybody's. One that knows it is believed before one that was merely deposed, or taken down.
pub(crate) fn end_of_coordinator(history: &History) -> Option<&Result<String, String>> {
    let ends = history.entries.iter().rev().filter_map(|entry| match &entry.what {
        What::Fact(Fact::Ended(how)) if matches!(entry.by.process, Process::Coordinator(_)) => Some(how),
        What::Fact(_) | What::Claim(_) => None,
    });
    let gave_up = |how: &&Result<String, String>| how.as_ref().is_ok_and(|how| how.starts_with(GAVE_UP));
    ends.clone().find(gave_up).or_else(|| ends.clone().find(|how| how.is_ok())).or_else(|| ends.clone().next())
}

/// The last thing that got done, for a run that got stuck.
pub(crate) fn last_progress(case: &Case<'_>) -> String {
    let progress = case.history.entries.iter().rev().find_map(|entry| {
        let what = match &entry.what {
            What::Claim(Event::CompletionDurable { checkpoint, .. }) => format!("{checkpoint} was completed"),
            What::Claim(Event::AttemptRunning { attempt }) => format!("attempt {attempt} was running"),
            What::Claim(Event::AttemptDeployed { attempt, .. }) => format!("attempt {attempt} was deployed"),
            What::Claim(Event::LeadershipTaken { generation, .. }) => format!("generation {generation} took over"),
            What::Claim(_) | What::Fact(_) => return None,
        };
        Some(format!("the last progress was at {} ms, when {what}", entry.time / 1_000_000))
    });
    progress.unwrap_or_else(|| "there never was any progress".to_owned())
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("(no message)").to_owned()
}

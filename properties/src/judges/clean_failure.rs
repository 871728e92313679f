//! Clean failure: a job fails for good only once its restarts are used up, says so only once that is durable, and then
//! nothing follows.
//!
//! Source: Flink, *Task Failure Recovery*; order rule O12; FLINK-31041, FLINK-25486.
//!
//! 1. A `Failed` slot comes after more failures than the restart strategy puts up with. Failures are counted by attempts: one
//!    counts once, whatever was reported about it. What a strategy measures in time is counted without it. Or it names an
//!    object of the input that was changed so that it cannot be read on, and that its subtask was not done with.
//! 2. `JobFailed` is announced with the cause that a durable slot names.
//! 3. A `Cancelled` slot comes after a client has asked for it, and `JobCancelled` after the slot.
//! 4. After a slot that ends the job no attempt is deployed, no checkpoint is triggered, and no other slot follows. A leader
//!    that was deposed before and does not know it yet may trigger one: nothing can come of it.
//! 5. An attempt does not fail of what was reported of an older one (FLINK-13593).
//!
//! Does not check that the newest checkpoint stays restorable: see [`completed_is_restorable`](super::completed_is_restorable)
//! and [`retention`](super::retention).

use crate::case::{Case, Property, Violation};
use crate::history::{Fact, Process, What};
use crate::ledger::{InputState, SlotFact};
use cofferdam_engine::config::RestartStrategy;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, Generation};
use cofferdam_engine::messages::client::Wish;
use cofferdam_engine::persist::slot::{Slot, SlotRecord};
use cofferdam_engine::reason::Ended;
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "clean-failure";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "a job fails only once its restarts are used up, durably, and then nothing follows",
    source: "order rule O12; FLINK-31041, FLINK-25486",
    judge,
};

/// Whether the job failed for good as it may: its restarts were used up.
pub fn failed_legitimately(case: &Case<'_>) -> bool {
    // A job that finds no input does not begin, so its log says nothing of an end.
    let end = case.history.entries.len();
    let begins_not = case.ledger().protocol.iter().any(|at| match &case.history.entries[*at].what {
        What::Fact(Fact::Ended(Ok(how))) => nothing_to_read(case, end, how),
        What::Fact(_) | What::Claim(_) => false,
    });
    if begins_not {
        return true;
    }
    let mut failed = case.ledger().slots.iter().filter_map(|fact| Some((fact, failure(fact)?)));
    failed.next().is_some_and(|(fact, (slot, cause))| too_early(case, fact.at, slot.generation, cause).is_none())
}

fn judge(case: &Case<'_>) -> Option<Violation> {
    let mut over: Option<Over<'_>> = None;
    let (mut reports, mut wanted) = (Reports::default(), false);
    let mut slots = case.ledger().slots.iter().peekable();
    for &at in &case.ledger().protocol {
        if let Some(fact) = slots.next_if(|fact| fact.at == at) {
            if let Some(Over { number, .. }) = over.filter(|over| fact.number > over.number) {
                let message = format!("follows slot {number}, with which the job was over");
                return Some(Violation::new(NAME, at, format!("slot {}", fact.number), message));
            }
            if let Some((slot, cause)) = failure(fact)
                && let Some(message) = too_early(case, at, slot.generation, cause)
            {
                return Some(Violation::new(NAME, at, slot.generation, message));
            }
            if let Ok(Slot { generation, record: SlotRecord::Ended { how, .. }, .. }) = &fact.slot {
                if *how == Ended::Cancelled && !wanted {
                    return Some(Violation::new(NAME, at, "the job", "is cancelled, but nobody has asked for it"));
                }
                over = Some(Over { number: fact.number, generation: *generation, how });
            }
        }
        let What::Claim(event) = &case.history.entries[at].what else { continue };
        wanted |= matches!(event, Event::WishSent { wish: Wish::Cancel });
        let stale = reports.on_event(case, case.history.entries[at].by.process, event);
        if let Some((subject, message)) = follows(event, over).or(stale) {
            return Some(Violation::new(NAME, at, subject, message));
        }
    }
    None
}

/// The slot that ended the job.
#[derive(Clone, Copy)]
struct Over<'a> {
    number: u64,
    generation: Generation,
    how: &'a Ended,
}

fn failure(fact: &SlotFact) -> Option<(&Slot, &str)> {
    match &fact.slot {
        Ok(slot @ Slot { record: SlotRecord::Ended { how: Ended::Failed { cause }, .. }, .. }) => Some((slot, cause)),
        _ => None,
    }
}

/// What workers have reported of attempts, as the coordinator words it.
#[derive(Default)]
struct Reports(BTreeMap<String, BTreeSet<Attempt>>);

impl Reports {
    fn on_event(&mut self, case: &Case<'_>, by: Process, event: &Event) -> Option<(String, String)> {
        match event {
            Event::SubtaskFailed { attempt, subtask, cause } => {
                let report = format!("{} on {by}: {cause}", case.job.graph.show(*subtask));
                self.0.entry(report).or_default().insert(*attempt);
            }
            Event::LinkFailed { attempt, worker, cause } => {
                self.0.entry(format!("{worker}: {cause}")).or_default().insert(*attempt);
            }
            Event::AttemptFailed { attempt, cause } => {
                let of = self.0.get(cause).filter(|of| !of.contains(attempt))?;
                let older = of.last().expect("somebody reported it");
                return Some((
                    attempt.to_string(),
                    format!("fails because of a report about {older}, an earlier attempt: {cause}"),
                ));
            }
            _ => {}
        }
        None
    }
}

/// What is wrong with a claim, given how the job ended before it.
fn follows(event: &Event, over: Option<Over<'_>>) -> Option<(String, String)> {
    match (event, over) {
        (Event::JobFailed { cause }, Some(Over { how: Ended::Failed { cause: recorded }, .. }))
            if cause == recorded =>
        {
            None
        }
        (Event::JobFailed { cause }, _) => {
            Some(("the job".to_owned(), format!("failed ({cause}), but no slot says so")))
        }
        (Event::JobCancelled { .. }, Some(Over { how: Ended::Cancelled, .. })) => None,
        (Event::JobCancelled { .. }, _) => {
            Some(("the job".to_owned(), "was cancelled, but no slot says so".to_owned()))
        }
        (Event::AttemptDeployed { attempt, .. }, Some(Over { how, generation, .. }))
            if attempt.generation >= generation =>
        {
            Some((attempt.to_string(), format!("is deployed after the job was over: {how:?}")))
        }
        (Event::CheckpointTriggered { attempt, checkpoint }, Some(Over { how, generation, .. }))
            if attempt.generation >= generation =>
        {
            Some((checkpoint.to_string(), format!("is triggered after the job was over: {how:?}")))
        }
        _ => None,
    }
}

/// Why the job need not have failed yet.
fn too_early(case: &Case<'_>, at: usize, generation: Generation, cause: &str) -> Option<String> {
    if let Some(refused) = refused_input(case, at, cause) {
        return refused;
    }
    let allowed = match case.job.config.restart {
        RestartStrategy::None => 0,
        RestartStrategy::FixedDelay { attempts, .. } => attempts,
        RestartStrategy::FailureRate { failures, .. } => failures,
        RestartStrategy::ExponentialDelay { attempts, .. } => attempts.unwrap_or(u32::MAX),
    };
    let counted = failures(case, at, generation, cause);
    (counted <= allowed)
        .then(|| format!("gives the job up at failure {counted}, of which {allowed} are put up with: {cause}"))
}

/// Whether a cause says that an input does not exist, every object of which has been removed before `at`.
fn nothing_to_read(case: &Case<'_>, at: usize, cause: &str) -> bool {
    let ledger = case.ledger();
    case.job.graph.inputs_read().iter().any(|input| {
        let mut below = ledger.input_paths().filter(|path| path.starts_with(&format!("{input}/")));
        cause.ends_with(&format!("input {input} does not exist"))
            && below.all(|path| ledger.input_before(path, at).any(|state| state.bytes.is_none()))
    })
}

/// What is wrong with a failure that is about an object of the input which was changed; `None` if it is about none.
fn refused_input(case: &Case<'_>, at: usize, cause: &str) -> Option<Option<String>> {
    let ledger = case.ledger();
    if nothing_to_read(case, at, cause) {
        return Some(None);
    }
    let mut named = ledger.input_paths().filter(|path| cause.contains(&format!("input {path} ")));
    let path = named.find(|path| ledger.input_before(path, at).count() > 1)?;
    if !cannot_be_read_on(&ledger.input_before(path, at).collect::<Vec<_>>()) {
        return Some(Some(format!("gives the job up although {path} can be read on: {cause}")));
    }
    let reporter = ledger.protocol.iter().rev().filter(|entry| **entry < at).find_map(|entry| {
        match &case.history.entries[*entry].what {
            What::Claim(Event::SubtaskFailed { attempt, subtask, cause: why }) if cause.ends_with(why.as_str()) => {
                Some((*attempt, *subtask))
            }
            _ => None,
        }
    });
    let Some((attempt, subtask)) = reporter else {
        return Some(Some(format!("gives the job up because of {path}, of which no subtask complained: {cause}")));
    };
    let ended = case.ledger().protocol.iter().take_while(|entry| **entry < at).any(|entry| {
        matches!(&case.history.entries[*entry].what,
            What::Claim(Event::Restored { attempt: a, subtask: s, ended: true, .. }) if (*a, *s) == (attempt, subtask))
    });
    let who = case.job.graph.show(subtask);
    Some(
        ended.then(|| {
            format!("gives the job up because of {path}, although {who} had processed all its input: {cause}")
        }),
    )
}

/// Whether an object that was in these states one after the other may be refused: it is gone, it is shorter than it was, it
/// grew behind a line that had no end, or it is another file and longer. Whichever of the earlier states was listed.
fn cannot_be_read_on(states: &[InputState<'_>]) -> bool {
    states.iter().enumerate().any(|(n, listed)| {
        let Some(listed) = listed.bytes else { return false };
        let mut replaced = false;
        states[n + 1..].iter().any(|later| {
            replaced |= later.replaced;
            later.bytes.is_none_or(|later| {
                let grown = later.len() > listed.len();
                later.len() < listed.len() || (grown && (replaced || listed.last() != Some(&b'\n')))
            })
        })
    })
}

/// How many failures of a leadership may have counted at `at`. Attempts that failed before they were deployed leave
/// nothing but a gap in the numbers; one that failed last, not even that.
fn failures(case: &Case<'_>, at: usize, generation: Generation, cause: &str) -> u32 {
    let in_a_row = matches!(case.job.config.restart, RestartStrategy::FixedDelay { .. });
    let (mut newest, mut since, mut unseen) = (0, 1, 1);
    // A checkpoint that completes after its attempt has failed forgives nothing of that failure, only of what was before it.
    let (mut over, mut forgiven) = (false, None);
    for &entry in case.ledger().coordination.iter().take_while(|entry| **entry < at) {
        match &case.history.entries[entry].what {
            What::Claim(Event::AttemptDeployed { attempt, .. }) if attempt.generation == generation => {
                newest = attempt.number;
                over = false;
                since = forgiven.take().unwrap_or(since);
            }
            What::Claim(Event::AttemptFailed { attempt, cause: why }) if attempt.generation == generation => {
                unseen = u32::from(!cause.ends_with(why.as_str()));
                over = true;
            }
            What::Claim(Event::CompletionDurable { checkpoint, .. }) if in_a_row => {
                let of_it = case.ledger().completed_at(*checkpoint, entry);
                match of_it.is_some_and(|completed| completed.generation == generation) {
                    true if over => forgiven = Some(newest + 1),
                    // The attempt during which it completed may yet fail.
                    true => since = newest.max(1),
                    false => {}
                }
            }
            _ => {}
        }
    }
    (newest + unseen + 1).saturating_sub(since).saturating_sub(forgotten(case, at, generation))
}

/// How many failures of a leadership a failure rate no longer counts at `at`. Clocks drift, so it may still count those that are
/// hardly older than its interval.
fn forgotten(case: &Case<'_>, at: usize, generation: Generation) -> u32 {
    let RestartStrategy::FailureRate { interval, .. } = case.job.config.restart else { return 0 };
    let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    let fails = |entry: &&usize| {
        let what = &case.history.entries[**entry].what;
        matches!(what, What::Claim(Event::AttemptFailed { attempt, .. }) if attempt.generation == generation)
    };
    let before = case.ledger().coordination.iter().take_while(|entry| **entry < at);
    let times: Vec<u64> = before.filter(fails).map(|entry| case.history.entries[*entry].time).collect();
    let oldest = times.last().map_or(0, |last| last.saturating_sub(interval.saturating_add(interval / 10)));
    times.iter().filter(|time| **time < oldest).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Story;
    use cofferdam_engine::ids::WorkerId;

    const CAUSE: &str = "no restart is allowed; the last failure: a worker is lost";

    /// A job that fails once.
    fn failed(strategy: RestartStrategy) -> Story {
        let mut story = Story::begun();
        story.job.config.restart = strategy;
        story.checkpoint();
        let attempt = story.attempt();
        story.claim(Process::COORDINATOR, Event::AttemptFailed { attempt, cause: "a worker is lost".to_owned() });
        story
    }

    fn record(story: &mut Story) {
        story.write_slot(SlotRecord::Ended { how: Ended::Failed { cause: CAUSE.to_owned() }, floor: 1 });
    }

    fn announce(story: &mut Story) {
        story.claim(Process::COORDINATOR, Event::JobFailed { cause: CAUSE.to_owned() });
    }

    #[test]
    fn a_job_that_fails_when_it_may_passes() {
        let mut story = failed(RestartStrategy::None);
        record(&mut story);
        announce(&mut story);
        assert_eq!(story.judge_by(NAME), None);
    }

    #[test]
    fn a_failure_announced_before_it_is_durable_convicts() {
        let mut story = failed(RestartStrategy::None);
        announce(&mut story);
        assert!(story.judge_by(NAME).expect("a conviction").message.contains("no slot says so"));
    }

    #[test]
    fn a_job_given_up_with_restarts_left_convicts() {
        let delay = std::time::Duration::ZERO;
        let mut story = failed(RestartStrategy::FixedDelay { attempts: 1, delay });
        record(&mut story);
        assert!(story.judge_by(NAME).expect("a conviction").message.contains("at failure 1, of which 1"));
    }

    /// A job with a rate of two failures in 100 ms that fails at these milliseconds.
    fn failed_at(times: [u64; 3]) -> Story {
        let (delay, interval) = (std::time::Duration::ZERO, std::time::Duration::from_millis(100));
        let mut story = failed(RestartStrategy::FailureRate { failures: 2, interval, delay });
        for _ in 1..times.len() {
            story.deploy();
            let attempt = story.attempt();
            story.claim(Process::COORDINATOR, Event::AttemptFailed { attempt, cause: "a worker is lost".to_owned() });
        }
        let failures = story.history.entries.iter_mut();
        let failures = failures.filter(|entry| matches!(entry.what, What::Claim(Event::AttemptFailed { .. })));
        failures.zip(times).for_each(|(entry, ms)| entry.time = ms * 1_000_000);
        record(&mut story);
        story
    }

    /// A job that gives up because of `input/numbers-0`, of which this became before a subtask said so.
    fn refused(changes: &[Option<&'static [u8]>], ended: bool) -> Option<String> {
        let mut story = Story::begun();
        story.job.config.restart = RestartStrategy::FixedDelay { attempts: 9, delay: std::time::Duration::ZERO };
        story.checkpoint();
        for bytes in changes {
            let (path, bytes) = ("input/numbers-0".to_owned(), bytes.map(bytes::Bytes::from_static));
            story.fact(Process::COORDINATOR, Fact::InputChanged { path, bytes, replaced: false });
        }
        if ended {
            (0..2).for_each(|source| story.emit(source, 6));
            story.end_input();
            story.checkpoint();
            story.deploy();
        }
        let (attempt, subtask) = (story.attempt(), story.subtask(0));
        let cause = "input input/numbers-0 is not what was listed".to_owned();
        story.claim(Process::Worker(WorkerId(0)), Event::SubtaskFailed { attempt, subtask, cause: cause.clone() });
        story.fail(&format!("numbers[0] on worker-0: {cause}"));
        story.judge_by(NAME).map(|violation| violation.message)
    }

    #[test]
    fn a_job_whose_input_cannot_be_read_on_may_fail_at_once() {
        assert_eq!(refused(&[None], false), None);
        assert_eq!(refused(&[Some(b"1\n2\n")], false), None);
        assert_eq!(refused(&[Some(b"1\n2\n3\n4\n5\n6"), Some(b"1\n2\n3\n4\n5\n67\n")], false), None);
    }

    #[test]
    fn a_job_that_refuses_input_that_can_be_read_on_convicts() {
        let touched: &[u8] = b"1\n2\n3\n4\n5\n6\n";
        for changes in [&[Some(touched)][..], &[Some(b"1\n2\n3\n4\n5\n6\n7\n")]] {
            let message = refused(changes, false).expect("a conviction");
            assert!(message.contains("although input/numbers-0 can be read on"), "{message}");
        }
        assert!(refused(&[], false).expect("a conviction").contains("of which 9 are put up with"));
    }

    #[test]
    fn a_subtask_that_is_done_with_its_input_and_refuses_it_convicts() {
        let message = refused(&[None], true).expect("a conviction");
        assert!(message.contains("although numbers[0] had processed all its input"), "{message}");
    }

    #[test]
    fn failures_from_before_the_interval_of_a_rate_do_not_count() {
        assert_eq!(failed_at([10, 50, 100]).judge_by(NAME), None);
        assert_eq!(failed_at([10, 50, 115]).judge_by(NAME), None, "clocks drift");
        let message = failed_at([10, 500, 540]).judge_by(NAME).expect("a conviction").message;
        assert!(message.contains("at failure 2, of which 2"), "{message}");
    }

    #[test]
    fn a_cancelled_job_passes_if_somebody_wanted_it_and_a_slot_says_so() {
        let cancelled = || {
            let mut story = Story::begun();
            story.checkpoint();
            story.cancel();
            story
        };
        let mut story = cancelled();
        assert_eq!(story.judge_by(NAME), None);
        story.drop_first(|what| matches!(what, What::Claim(Event::WishSent { .. })));
        assert!(story.judge_by(NAME).expect("a conviction").message.contains("nobody has asked for it"));
        let mut story = cancelled();
        let is_slot =
            |what: &What| matches!(what, What::Fact(Fact::Written { path, .. }) if path.ends_with("log/0000000003"));
        story.drop_first(is_slot);
        assert_eq!(story.judge_by(NAME).expect("a conviction").message, "was cancelled, but no slot says so");
    }

    #[test]
    fn an_attempt_that_fails_of_an_older_ones_failure_convicts() {
        let cause = "worker-0: link to worker-1: it broke".to_owned();
        let mut story = failed(RestartStrategy::None);
        let (attempt, worker) = (story.attempt(), WorkerId(0));
        story.claim(Process::Worker(worker), Event::LinkFailed { attempt, worker, cause: cause[10..].to_owned() });
        story.deploy();
        story.claim(Process::COORDINATOR, Event::AttemptFailed { attempt: story.attempt(), cause });
        assert!(
            story.judge_by(NAME).expect("a conviction").message.starts_with("fails because of a report about a1.1")
        );
    }

    #[test]
    fn an_attempt_after_the_end_convicts() {
        let mut story = failed(RestartStrategy::None);
        record(&mut story);
        story.deploy();
        assert!(story.judge_by(NAME).expect("a conviction").message.contains("after the job was over"));
    }

    #[test]
    fn a_deposed_leader_that_has_not_heard_of_the_end_passes() {
        let mut story = failed(RestartStrategy::None);
        let attempt = story.attempt();
        story.lead();
        record(&mut story);
        let checkpoint = cofferdam_engine::ids::CheckpointId(2);
        story.claim(Process::COORDINATOR, Event::CheckpointTriggered { attempt, checkpoint });
        assert_eq!(story.judge_by(NAME), None);
    }

    #[test]
    fn leadership_over_a_job_that_is_over_convicts() {
        let mut story = failed(RestartStrategy::None);
        record(&mut story);
        story.lead();
        assert!(story.judge_by(NAME).expect("a conviction").message.contains("with which the job was over"));
    }
}

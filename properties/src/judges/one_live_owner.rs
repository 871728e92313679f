//! One live owner: of the job there is one leader, of the leader one live attempt, of a subtask one process, and only
//! those act.
//!
//! Source: order rule O12 and the fencing of attempts and generations; SPARK-51714, FLINK-25486.
//!
//! 1. Each slot is written once, and never by a generation older than the newest durable one.
//! 2. Attempts are deployed by a durable leadership, with rising numbers, and by the process that took it.
//! 3. A leader triggers, and counts acks, for its newest attempt only.
//! 4. A subtask restores and takes its snapshots in one process per attempt, and no process goes back to an older attempt.
//! 5. A sink commits what it has staged or was restored with, and only what a durable checkpoint *of its own line*
//!    covers: one that its attempt took, or the one it was restored from. A later attempt's checkpoint covers nothing
//!    that an older attempt staged.
//! 6. Once a worker says that it has cancelled an attempt, no subtask of it does anything there.
//! 7. Once a coordinator says that it is deposed, it deploys, triggers, completes and notifies nothing any more, unless it
//!    takes leadership again, and then only in its new one. Until it knows, two coordinators may both be alive and act: what the older one still does is harmless by 1, 2 and 9.
//! 8. A coordinator that says that a lease has expired next takes the leadership that follows the one it has watched, and
//!    not that of another standby that was faster. For nearly a lease (clocks drift) no new sign of life of its leader had come,
//!    unless old ones landed late on newer ones.
//! 9. Snapshots, manifests and what sinks stage are written by one incarnation of one process each: no two attempts, and
//!    no two coordinators, share a name (SPARK-51714).
//!
//! Does not check who consumes elements (re-execution would stop at it), nor splits and key groups, which move with
//! their subtasks.

use crate::case::{Case, Property, Violation};
use crate::history::{Fact, Incarnation, What};
use crate::ledger::{SlotFact, is_visible};
use cofferdam_engine::cores::lease::Standing;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, Generation, SubtaskId};
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::mark;
use cofferdam_engine::persist::sign::Sign;
use cofferdam_engine::persist::slot::SlotRecord;
use std::collections::BTreeMap;

const NAME: &str = "one-live-owner";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "only the newest leader, its newest attempt and one process per subtask act",
    source: "order rule O12; SPARK-51714, FLINK-25486",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let found = [
        judge_slots(&case.ledger().slots),
        judge_claims(case),
        judge_commits(case),
        judge_cancelled(case),
        judge_deposed(case),
        judge_take_overs(case),
        judge_leases(case),
        judge_writers(case),
    ];
    found.into_iter().flatten().min_by_key(|violation| violation.at)
}

fn judge_slots(slots: &[SlotFact]) -> Option<Violation> {
    let mut newest = Generation(0);
    for (nth, fact) in slots.iter().enumerate() {
        let violation = |message| Some(Violation::new(NAME, fact.at, format!("slot {}", fact.number), message));
        if slots[..nth].iter().any(|before| before.number == fact.number) {
            return violation("is written a second time".to_owned());
        }
        let Ok(slot) = &fact.slot else { continue };
        if slot.generation < newest {
            return violation(format!("is written by {}, which {newest} has deposed", slot.generation));
        }
        if slot.record == SlotRecord::NewGeneration {
            newest = slot.generation;
        }
    }
    None
}

/// Who has acted as what.
#[derive(Default)]
struct Owners {
    leaders: BTreeMap<Generation, Incarnation>,
    attempts: BTreeMap<Generation, Attempt>,
    subtasks: BTreeMap<(Attempt, SubtaskId), Incarnation>,
    /// The newest attempt that ran in each.
    newest: BTreeMap<Incarnation, Attempt>,
}

fn judge_claims(case: &Case<'_>) -> Option<Violation> {
    let ledger = case.ledger();
    let mut owners = Owners::default();
    ledger.protocol.iter().find_map(|&at| {
        let entry = &case.history.entries[at];
        let What::Claim(event) = &entry.what else { return None };
        let (subject, message) = match event {
            Event::AttemptDeployed { attempt, .. } => {
                let leads = ledger.generation_at(at) >= Some(attempt.generation);
                let message = owners.on_deployed(*attempt, entry.by, leads)?;
                (attempt.to_string(), message)
            }
            Event::CheckpointTriggered { attempt, checkpoint } => {
                let message = owners.on_led(*attempt, entry.by, "is triggered")?;
                (checkpoint.to_string(), message)
            }
            Event::AckReceived { attempt, checkpoint, .. } => {
                let message = owners.on_led(*attempt, entry.by, "has an ack counted")?;
                (checkpoint.to_string(), message)
            }
            Event::Restored { attempt, subtask, .. } | Event::SnapshotTaken { attempt, subtask, .. } => {
                let newest = owners.newest.entry(entry.by).or_default();
                *newest = (*newest).max(*attempt);
                if *newest > *attempt {
                    let message = format!("runs in {} {}, which has run {newest}", entry.by.process, entry.by.number);
                    return Some(Violation::new(NAME, at, format!("{subtask} of {attempt}"), message));
                }
                let owner = *owners.subtasks.entry((*attempt, *subtask)).or_insert(entry.by);
                if owner == entry.by {
                    return None;
                }
                (format!("{subtask} of {attempt}"), format!("runs in {} {} as well", owner.process, owner.number))
            }
            _ => return None,
        };
        Some(Violation::new(NAME, at, subject, message))
    })
}

impl Owners {
    fn on_deployed(&mut self, attempt: Attempt, by: Incarnation, leads: bool) -> Option<String> {
        if !leads {
            return Some(format!("is deployed although {} is not durable", attempt.generation));
        }
        let leader = *self.leaders.entry(attempt.generation).or_insert(by);
        if leader != by {
            return Some(format!("is deployed by {} {}, which does not lead", by.process, by.number));
        }
        let newest = self.attempts.entry(attempt.generation).or_default();
        if *newest >= attempt {
            return Some(format!("is deployed after {newest}"));
        }
        *newest = attempt;
        None
    }

    fn on_led(&self, attempt: Attempt, by: Incarnation, what: &str) -> Option<String> {
        match self.attempts.get(&attempt.generation) {
            Some(newest) if *newest != attempt => Some(format!("{what} for {attempt} although {newest} is deployed")),
            None => Some(format!("{what} for {attempt}, which was never deployed")),
            Some(_) if self.leaders.get(&attempt.generation) != Some(&by) => {
                Some(format!("{what} by {} {}, which does not lead", by.process, by.number))
            }
            Some(_) => None,
        }
    }
}

fn judge_cancelled(case: &Case<'_>) -> Option<Violation> {
    let mut cancelled: BTreeMap<Incarnation, Attempt> = BTreeMap::new();
    case.history.entries.iter().enumerate().find_map(|(at, entry)| {
        let What::Claim(event) = &entry.what else { return None };
        if let Event::AttemptCancelled { attempt, .. } = event {
            cancelled.insert(entry.by, *attempt);
            return None;
        }
        let over = *cancelled.get(&entry.by)?;
        let (attempt, subtask) = (event.attempt()?, event.subtask()?);
        if attempt > over {
            return None;
        }
        let subject = format!("{} of {attempt}", case.job.graph.show(subtask));
        Some(Violation::new(NAME, at, subject, format!("goes on in {} after it was cancelled there", entry.by.process)))
    })
}

fn judge_deposed(case: &Case<'_>) -> Option<Violation> {
    let ledger = case.ledger();
    // Of those that were deposed and said so: the leadership they have taken since, if any.
    let mut deposed: BTreeMap<Incarnation, Option<Generation>> = BTreeMap::new();
    ledger.coordination.iter().find_map(|&at| {
        let entry = &case.history.entries[at];
        let What::Claim(event) = &entry.what else { return None };
        let (subject, does, generation) = match event {
            Event::Deposed { .. } => {
                deposed.insert(entry.by, None);
                return None;
            }
            _ if deposed.is_empty() => return None,
            Event::LeadershipTaken { generation, .. } => {
                deposed.entry(entry.by).and_modify(|leads| *leads = Some(*generation));
                return None;
            }
            Event::AttemptDeployed { attempt, .. } => (attempt.to_string(), "deployed", Some(attempt.generation)),
            Event::CheckpointTriggered { attempt, checkpoint } => {
                (checkpoint.to_string(), "triggered", Some(attempt.generation))
            }
            Event::CompletionDurable { checkpoint, .. } => {
                let by = ledger.completed_at(*checkpoint, at).map(|completed| completed.generation);
                (checkpoint.to_string(), "completed", by)
            }
            Event::NotifySent { attempt, checkpoint, .. } => {
                (checkpoint.to_string(), "notified", Some(attempt.generation))
            }
            _ => return None,
        };
        let leads = *deposed.get(&entry.by)?;
        let message = format!("is {does} by {} {}, which knows that it is deposed", entry.by.process, entry.by.number);
        (leads.is_none() || leads != generation).then(|| Violation::new(NAME, at, subject, message))
    })
}

fn judge_take_overs(case: &Case<'_>) -> Option<Violation> {
    let mut watched: BTreeMap<Incarnation, Option<Generation>> = BTreeMap::new();
    case.ledger().coordination.iter().find_map(|&at| {
        let entry = &case.history.entries[at];
        match &entry.what {
            What::Claim(Event::LeaseExpired { generation, .. }) => {
                watched.insert(entry.by, *generation);
                None
            }
            What::Claim(Event::LeadershipTaken { generation, .. }) => {
                let watched = watched.remove(&entry.by)?.unwrap_or_default();
                let deposed = Generation(generation.0 - 1);
                let message = format!("deposes {deposed}, but has watched {watched}");
                (deposed != watched).then(|| Violation::new(NAME, at, generation, message))
            }
            _ => None,
        }
    })
}

fn judge_leases(case: &Case<'_>) -> Option<Violation> {
    case.ledger().coordination.iter().find_map(|&at| {
        let What::Claim(Event::LeaseExpired { generation: Some(generation), lease_ms }) =
            &case.history.entries[at].what
        else {
            return None;
        };
        let quiet_ms = longest_quiet(case, at, *generation)? / 1_000_000;
        let message =
            format!("loses its lease of {lease_ms} ms although it was never quiet for more than {quiet_ms} ms");
        (quiet_ms * 10 < lease_ms * 9).then(|| Violation::new(NAME, at, generation, message))
    })
}

/// The longest time without a new sign of life of `generation` or a newer one, since whoever says `at` came up. `None` if
/// somebody said goodbye, or an old sign landed on a newer one.
fn longest_quiet(case: &Case<'_>, at: usize, generation: Generation) -> Option<u64> {
    let entries = &case.history.entries[..=at];
    let (now, by) = (entries[at].time, entries[at].by);
    let started = entries.iter().find(|entry| entry.by == by).map_or(0, |entry| entry.time);
    let (mut newest, mut since, mut longest) = ((generation, 0), started, 0);
    for entry in entries {
        let What::Fact(Fact::Written { path, bytes }) = &entry.what else { continue };
        let Some(sign) = Some(bytes).filter(|_| path == layout::LEADER).and_then(|bytes| Sign::decode(bytes).ok())
        else {
            continue;
        };
        if sign.standing == Standing::Resigned {
            return None;
        }
        // One that lands late hides a newer one from whoever reads: then nobody can be told off for not having seen it.
        if (sign.generation, sign.beat) < newest && entry.time >= started {
            return None;
        }
        if (sign.generation, sign.beat) > newest {
            newest = (sign.generation, sign.beat);
            longest = longest.max(entry.time.saturating_sub(since));
            since = entry.time.max(started);
        }
    }
    Some(longest.max(now.saturating_sub(since)))
}

fn judge_writers(case: &Case<'_>) -> Option<Violation> {
    // Of marks another property knows who writes them: what a leader has committed its successor marks as well.
    let shared = |path: &str| {
        *path == *layout::LEADER || layout::log_entry_number(path).is_some() || mark::Name::of(path).is_some()
    };
    let rewritten = case.ledger().rewritten().filter(|(path, _)| !is_visible(path) && !shared(path));
    let second = rewritten.filter_map(|(path, writes)| {
        let writer = |at: &usize| case.history.entries[*at].by;
        let first = writer(writes.first()?);
        let other = writes.into_iter().find(|at| writer(at) != first)?;
        let message = format!("is written by {} {} as well", first.process, first.number);
        Some(Violation::new(NAME, other, path, message))
    });
    second.min_by_key(|violation| violation.at)
}

fn judge_commits(case: &Case<'_>) -> Option<Violation> {
    let ledger = case.ledger();
    case.account().commits.iter().find_map(|commit| {
        let message = if !commit.staged {
            "commits what it has not staged"
        } else if commit.restored >= Some(commit.checkpoint)
            || ledger.durable_by(commit.attempt, commit.checkpoint, commit.at)
        {
            return None;
        } else {
            "commits what no durable checkpoint of its own covers"
        };
        let subject = format!("{} of {}", case.job.graph.show(commit.subtask), commit.attempt);
        Some(Violation::new(NAME, commit.at, subject, format!("{message}: {}", commit.checkpoint)))
    })
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::history::{Process, What};
    use crate::story::{Story, worker};
    use bytes::Bytes;
    use cofferdam_engine::cores::lease::Standing;
    use cofferdam_engine::event::Event;
    use cofferdam_engine::ids::{Attempt, CheckpointId, CoordinatorId, Generation, OperatorId, SubtaskId, WorkerId};
    use cofferdam_engine::persist::layout;
    use cofferdam_engine::persist::sign::Sign;
    use cofferdam_engine::persist::slot::{Slot, SlotRecord};

    const STANDBY: Process = Process::Coordinator(CoordinatorId(1));

    fn message(story: &Story) -> String {
        story.judge_by(NAME).expect("a conviction").message
    }

    #[test]
    fn one_leader_with_one_attempt_at_a_time_passes() {
        let mut story = Story::begun();
        story.checkpoint();
        story.crash(Process::COORDINATOR);
        story.start(Process::COORDINATOR);
        story.lead();
        story.deploy();
        story.finish();
        assert_eq!(story.judge(), []);
    }

    #[test]
    fn a_slot_of_a_deposed_leader_convicts() {
        let mut story = Story::begun();
        story.lead();
        let record = SlotRecord::IdsReserved;
        let ids_reserved = CheckpointId(2000);
        let slot = Slot { token: 9, ids_reserved, ..story.slot(Generation(1), record) };
        story.wrote(Process::COORDINATOR, &layout::log_entry(3), slot.encode());
        assert_eq!(message(&story), "is written by g1, which g2 has deposed");
    }

    #[test]
    fn a_slot_written_twice_convicts() {
        let mut story = Story::begun();
        story.write_slot(SlotRecord::IdsReserved);
        let again = story.history.entries.last().expect("the slot").clone();
        story.history.entries.push(again);
        assert_eq!(message(&story), "is written a second time");
    }

    #[test]
    fn a_subtask_that_goes_on_after_its_attempt_was_cancelled_convicts() {
        let mut story = Story::begun();
        let (attempt, host) = (story.attempt(), WorkerId(0));
        story.claim(worker(0), Event::AttemptCancelled { attempt, worker: host });
        assert_eq!(story.judge_by(NAME), None, "cancelling is not wrong");
        let subtask = SubtaskId { operator: OperatorId(0), index: 0 };
        story.claim(worker(0), Event::SourceEmitted { attempt, subtask, records: 1 });
        assert_eq!(message(&story), "goes on in worker-0 after it was cancelled there");
    }

    #[test]
    fn a_trigger_for_an_older_attempt_convicts() {
        let mut story = Story::begun();
        let older = story.attempt();
        story.deploy();
        let trigger = Event::CheckpointTriggered { attempt: older, checkpoint: CheckpointId(7) };
        story.claim(Process::COORDINATOR, trigger);
        assert_eq!(message(&story), "is triggered for a1.1 although a1.2 is deployed");
    }

    #[test]
    fn an_attempt_of_nobody_convicts() {
        let mut story = Story::begun();
        let attempt = Attempt { generation: Generation(5), number: 1 };
        story.claim(Process::COORDINATOR, Event::AttemptDeployed { attempt, restore: None });
        assert_eq!(message(&story), "is deployed although g5 is not durable");
    }

    #[test]
    fn a_second_process_that_leads_the_same_generation_convicts() {
        let mut story = Story::begun();
        story.crash(Process::COORDINATOR);
        story.start(Process::COORDINATOR);
        story.deploy();
        assert_eq!(message(&story), "is deployed by coordinator-0 2, which does not lead");
    }

    #[test]
    fn two_coordinators_that_are_both_alive_pass_until_one_knows_that_it_is_deposed() {
        let mut story = Story::begun();
        let older = story.attempt();
        let trigger = |id| Event::CheckpointTriggered { attempt: older, checkpoint: CheckpointId(id) };
        story.start(STANDBY);
        story.lead_by(STANDBY);
        // The one that was replaced goes on, and does no harm.
        story.claim(Process::COORDINATOR, trigger(7));
        assert_eq!(story.judge_by(NAME), None);
        story.claim(Process::COORDINATOR, Event::Deposed { generation: Generation(2) });
        assert_eq!(story.judge_by(NAME), None);
        story.claim(Process::COORDINATOR, trigger(8));
        assert_eq!(message(&story), "is triggered by coordinator-0 1, which knows that it is deposed");
    }

    #[test]
    fn a_deposed_coordinator_that_leads_again_does_so_in_its_new_leadership_only() {
        let mut story = Story::begun();
        let older = story.attempt();
        story.start(STANDBY);
        story.lead_by(STANDBY);
        story.claim(Process::COORDINATOR, Event::Deposed { generation: Generation(1) });
        story.lead();
        story.deploy();
        story.checkpoint();
        assert_eq!(story.judge_by(NAME), None);
        story.claim(
            Process::COORDINATOR,
            Event::NotifySent { attempt: older, checkpoint: CheckpointId(1), worker: WorkerId(0) },
        );
        assert_eq!(message(&story), "is notified by coordinator-0 1, which knows that it is deposed");
    }

    fn expired(generation: u64) -> Event {
        Event::LeaseExpired { generation: Some(Generation(generation)), lease_ms: 0 }
    }

    /// A leader shows a sign of life at each of these milliseconds; then a standby says that its lease of 300 ms has expired.
    fn expires_after(signs: &[u64], at_ms: u64) -> Story {
        let mut story = Story::begun();
        story.start(STANDBY);
        let begun = story.history.entries.last().expect("it started").time;
        let at = |story: &mut Story, ms: u64| {
            story.history.entries.last_mut().expect("just recorded").time = begun + ms * 1_000_000;
        };
        for (&ms, beat) in signs.iter().zip(1..) {
            let (generation, standing) = (Generation(1), Standing::Leads);
            let sign = Sign { generation, beat, standing, address: String::new() };
            story.wrote(Process::COORDINATOR, layout::LEADER, sign.encode());
            at(&mut story, ms);
        }
        story.claim(STANDBY, Event::LeaseExpired { generation: Some(Generation(1)), lease_ms: 300 });
        at(&mut story, at_ms);
        story
    }

    #[test]
    fn a_lease_of_somebody_who_was_quiet_for_so_long_expires() {
        assert_eq!(expires_after(&[100, 200], 500).judge_by(NAME), None);
        assert_eq!(expires_after(&[100, 400, 410], 420).judge_by(NAME), None, "it may learn of it late");
    }

    #[test]
    fn an_old_sign_that_lands_on_a_newer_one_excuses_whoever_reads() {
        let mut story = expires_after(&[100, 200, 300], 310);
        let expired = story.history.entries.pop().expect("it expires last");
        let old = Sign { generation: Generation(1), beat: 1, standing: Standing::Leads, address: String::new() };
        story.wrote(Process::COORDINATOR, layout::LEADER, old.encode());
        story.history.entries.last_mut().expect("just recorded").time = expired.time;
        story.history.entries.push(expired);
        assert_eq!(story.judge_by(NAME), None);
    }

    #[test]
    fn a_lease_that_expires_although_there_were_signs_of_life_convicts() {
        let story = expires_after(&[100, 200, 300], 310);
        assert_eq!(message(&story), "loses its lease of 300 ms although it was never quiet for more than 100 ms");
    }

    #[test]
    fn a_standby_that_deposes_another_one_that_was_faster_convicts() {
        let mut story = Story::begun();
        story.start(STANDBY);
        story.claim(STANDBY, expired(1));
        story.lead_by(STANDBY);
        story.claim(Process::COORDINATOR, expired(2));
        story.lead();
        assert_eq!(story.judge_by(NAME), None);
        story.claim(STANDBY, expired(2));
        story.lead_by(STANDBY);
        assert_eq!(message(&story), "deposes g3, but has watched g2");
    }

    #[test]
    fn an_object_of_two_writers_convicts() {
        for path in ["checkpoints/chk-1/sums-0", "checkpoints/chk-1/manifest", "output/.staged/chk-1"] {
            let mut story = Story::begun();
            story.wrote(worker(0), path, Bytes::from_static(b"one"));
            story.wrote(worker(0), path, Bytes::from_static(b"one"));
            assert_eq!(story.judge_by(NAME), None);
            story.wrote(worker(1), path, Bytes::from_static(b"two"));
            assert_eq!(message(&story), "is written by worker-0 1 as well");
        }
    }

    #[test]
    fn a_subtask_in_two_processes_convicts() {
        let mut story = Story::begun();
        story.trigger();
        story.snapshot(0);
        let snapshot = story.find(|what| matches!(what, What::Claim(Event::SnapshotTaken { .. })));
        story.history.entries[snapshot].by.process = worker(1);
        assert_eq!(message(&story), "runs in worker-0 1 as well");
    }

    #[test]
    fn a_process_that_goes_back_to_an_older_attempt_convicts() {
        let mut story = Story::begun();
        let restored = story.find(|what| matches!(what, What::Claim(Event::Restored { .. })));
        let older = story.history.entries[restored].clone();
        story.deploy();
        assert_eq!(story.judge_by(NAME), None);
        story.history.entries.push(older);
        assert_eq!(message(&story), "runs in worker-0 1, which has run a1.2");
    }

    #[test]
    fn a_commit_before_the_checkpoint_is_durable_convicts() {
        let mut story = Story::begun();
        story.emit(0, 2);
        let checkpoint = story.trigger();
        story.snapshot_all();
        let (attempt, subtask) = (story.attempt(), story.subtask(4));
        story.claim(worker(0), Event::CommitStarted { attempt, subtask, checkpoint });
        assert_eq!(message(&story), "commits what no durable checkpoint of its own covers: chk-1");
    }

    #[test]
    fn a_zombie_that_commits_on_a_newer_attempts_checkpoint_convicts() {
        let mut story = Story::begun();
        story.emit(0, 2);
        let staged = story.trigger();
        story.snapshot_all();
        let (zombie, subtask) = (story.attempt(), story.subtask(4));
        story.deploy();
        let covering = story.checkpoint();
        assert!(covering > staged);
        story.claim(worker(0), Event::CommitStarted { attempt: zombie, subtask, checkpoint: staged });
        assert_eq!(message(&story), "commits what no durable checkpoint of its own covers: chk-1");
    }
}

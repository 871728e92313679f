//! What is visible belongs to this log: nothing is shown in an output that another log owns, or that is committed further than
//! this log reaches.
//!
//! Source: Flink, *Two-phase commit*, which leaves it to the user that one job writes to one place; restoring an old copy of the
//! checkpoints, starting a second job on the same output and running two copies at once wrote records twice or lost them.
//!
//! The output has marks at its root. Judged on what the world saw of them:
//! 1. Whenever an object becomes visible, the output bears the mark of this log, and of no other log but the one that this one
//!    started from; and the newest checkpoint marked as completed is one that this log holds, at or above the object's own.
//! 2. An attempt is deployed by a leadership that has marked the output, and what it restores is marked as completed. No number
//!    is missing between the mark of that leadership and the oldest one that stood when it was made.
//! 3. A checkpoint is notified once it is marked as completed, and only if two things had not happened by the time of its mark:
//!    the mark of the next leadership, and the deployment of an attempt by any newer one. For a leader that marks again what
//!    its successor has marked already, that time is the beginning of its own last try.
//!    Only the mark of a newer leadership above a missing number is no reason against it: before that leadership deploys, it
//!    has marked the missing numbers and read what is completed.
//! 4. Marks are written once. Of log and leaderships they stay; that of a checkpoint goes once a newer one is there.
//!
//! *Newest* is by leadership first: a copy of the log may have used higher ids under an older one. Does not check systems outside
//! the storage, nor marks that cannot be read.

use crate::case::{Case, Property, Violation};
use crate::history::{Entry, Fact, Incarnation, What};
use crate::ledger::is_visible;
use bytes::Bytes;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, CheckpointId, Generation, LogId};
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::mark::{Mark, Name};
use cofferdam_engine::persist::slot::{Lineage, Slot, SlotRecord};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "visible-belongs-to-log";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "what becomes visible belongs to the log that owns the output, and is never ahead of it",
    source: "Flink: Two-phase commit; a second job, an old copy and two copies at one output",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let mut output = Output::at_the_beginning(case);
    case.ledger().protocol.iter().find_map(|&at| {
        let Entry { by, what, .. } = &case.history.entries[at];
        let by = *by;
        let (subject, message) = match what {
            What::Fact(Fact::Written { path, bytes }) => match Name::of(path) {
                Some(name) => (path.clone(), output.on_marked(name, bytes)?),
                None if is_visible(path) => (path.clone(), output.forbids(case, at, path)?),
                None => return None,
            },
            What::Fact(Fact::Deleted { path }) => (path.clone(), output.on_unmarked(Name::of(path)?)?),
            What::Claim(Event::AttemptDeployed { attempt, restore }) => {
                (attempt.to_string(), output.on_deployed(*attempt, *restore)?)
            }
            What::Claim(Event::MarkStarted { checkpoint: Some(checkpoint), .. }) => {
                output.begun.insert((by, *checkpoint), output.deployed);
                return None;
            }
            What::Claim(Event::NotifySent { attempt, checkpoint, .. }) => {
                (checkpoint.to_string(), output.on_notified(by, *attempt, *checkpoint)?)
            }
            What::Fact(_) | What::Claim(_) => return None,
        };
        Some(Violation::new(NAME, at, subject, message))
    })
}

/// The marks of the output, as the world sees them.
#[derive(Default)]
struct Output {
    /// The log of the run, and where it started from.
    log: Option<(LogId, Option<Lineage>)>,
    /// Checkpoints that it held before the run began.
    held: BTreeSet<(Generation, CheckpointId)>,
    marks: BTreeMap<Name, Mark>,
    /// The oldest leadership with a mark when that of a leadership was made.
    oldest: BTreeMap<Generation, Generation>,
    /// The leaderships that had marked the output when a checkpoint was first marked.
    marked: BTreeMap<CheckpointId, BTreeSet<Generation>>,
    /// The newest leadership that has deployed an attempt.
    deployed: Generation,
    /// What it was when a leader last began to mark a checkpoint.
    begun: BTreeMap<(Incarnation, CheckpointId), Generation>,
}

impl Output {
    fn at_the_beginning(case: &Case<'_>) -> Self {
        let initial = &case.history.initial;
        let slots = || initial.iter().filter(|(path, _)| layout::log_entry_number(path).is_some());
        let known = slots().filter_map(|(path, bytes)| Slot::decode(path, bytes).ok());
        let mut written = case.ledger().slots.iter().filter_map(|fact| fact.slot.as_ref().ok());
        let log = known.clone().next().or_else(|| written.next().cloned()).map(|slot| (slot.log, slot.lineage));
        let held = known.filter_map(|slot| match slot.record {
            SlotRecord::Completed { checkpoint, .. } => Some((slot.generation, checkpoint)),
            SlotRecord::NewGeneration | SlotRecord::IdsReserved | SlotRecord::Ended { .. } => None,
        });
        let mut output = Self { log, held: held.collect(), ..Self::default() };
        for (path, bytes) in initial {
            if let Some(name) = Name::of(path) {
                output.on_marked(name, bytes);
            }
        }
        output
    }

    /// The leaderships that have marked the output, oldest first.
    fn leaderships(&self) -> impl DoubleEndedIterator<Item = Generation> {
        self.marks
            .keys()
            .filter_map(|name| if let Name::Generation(generation) = name { Some(*generation) } else { None })
    }

    /// The newest checkpoint that is marked as completed.
    fn committed(&self) -> Option<(Generation, CheckpointId)> {
        let completed = self.marks.values().filter_map(|mark| match mark {
            Mark::Completed { generation, checkpoint, .. } => Some((*generation, *checkpoint)),
            Mark::Log { .. } | Mark::Generation { .. } => None,
        });
        completed.max()
    }

    fn on_marked(&mut self, name: Name, bytes: &Bytes) -> Option<String> {
        let mark = Mark::decode(name, bytes).ok()?;
        if let Name::Completed(checkpoint) = name {
            let leaderships = self.leaderships().collect();
            self.marked.entry(checkpoint).or_insert(leaderships);
        }
        if let Name::Generation(generation) = name {
            let oldest = self.leaderships().next().unwrap_or(generation);
            self.oldest.entry(generation).or_insert(oldest);
        }
        self.marks.insert(name, mark).map(|_| "is a mark and is written a second time".to_owned())
    }

    fn on_unmarked(&mut self, name: Name) -> Option<String> {
        let gone = self.marks.remove(&name)?;
        match gone {
            Mark::Log { .. } | Mark::Generation { .. } => Some("is deleted, and marks of owners stay".to_owned()),
            Mark::Completed { generation, checkpoint, .. } => (self.committed() < Some((generation, checkpoint)))
                .then(|| "is deleted although no newer checkpoint is marked".to_owned()),
        }
    }

    /// Why an object must not become visible.
    fn forbids(&self, case: &Case<'_>, at: usize, path: &str) -> Option<String> {
        let (log, lineage) = self.log?;
        let owners = self.marks.keys().filter_map(|name| if let Name::Log(log) = name { Some(*log) } else { None });
        let parent = lineage.map(|lineage| lineage.parent);
        for owner in owners.clone() {
            if owner != log && Some(owner) != parent {
                return Some(format!("becomes visible by log {log} although the output belongs to log {owner}"));
            }
        }
        if !owners.clone().any(|owner| owner == log) {
            return Some(format!("becomes visible although the output does not bear the mark of log {log}"));
        }
        let Some((generation, committed)) = self.committed() else {
            return Some("becomes visible before any checkpoint is marked as completed".to_owned());
        };
        let mut completed = case.ledger().completed.iter().take_while(|completed| completed.at < at);
        let holds = self.held.contains(&(generation, committed))
            || completed.any(|completed| (completed.generation, completed.checkpoint) == (generation, committed));
        if !holds {
            return Some(format!(
                "becomes visible although the output is committed up to {committed}, which this log does not hold"
            ));
        }
        let own = case.account().shown.get(path).map(|shown| shown.checkpoint)?;
        (own > committed)
            .then(|| format!("becomes visible when the output is committed up to {committed}, and not to {own}"))
    }

    fn on_deployed(&mut self, attempt: Attempt, restore: Option<CheckpointId>) -> Option<String> {
        let generation = attempt.generation;
        if !self.marks.contains_key(&Name::Generation(generation)) {
            return Some(format!("is deployed before {generation} has marked the output"));
        }
        self.deployed = self.deployed.max(generation);
        let oldest = self.oldest.get(&generation).copied().unwrap_or(generation);
        let mut between = (oldest.0..generation.0).map(Generation);
        if let Some(missing) = between.find(|between| !self.marks.contains_key(&Name::Generation(*between))) {
            return Some(format!(
                "is deployed by {generation} although the output has no mark of {missing}, but of {oldest}"
            ));
        }
        let restore = restore?;
        let marked = self.committed().is_some_and(|(_, committed)| committed >= restore);
        (!marked).then(|| format!("is deployed from {restore}, which is not marked as completed"))
    }

    fn on_notified(&self, by: Incarnation, attempt: Attempt, checkpoint: CheckpointId) -> Option<String> {
        let Some(leaderships) = self.marked.get(&checkpoint) else {
            return Some("is notified before it is marked as completed".to_owned());
        };
        let (own, next) = (attempt.generation, Generation(attempt.generation.0 + 1));
        if leaderships.contains(&next) {
            return Some(format!(
                "is notified by {own} although {next} had marked the output before it was marked as completed"
            ));
        }
        let newer = self.begun.get(&(by, checkpoint)).filter(|deployed| **deployed > own)?;
        Some(format!("is notified by {own} although {newer} had deployed before {own} marked it as completed"))
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::history::{Fact, Process, What};
    use crate::story::{LOG, Story, worker};
    use cofferdam_engine::event::Event;
    use cofferdam_engine::ids::{Attempt, CheckpointId, Generation, LogId, WorkerId};
    use cofferdam_engine::persist::mark::{Mark, Name};

    fn message(story: &Story) -> String {
        story.judge_by(NAME).expect("a conviction").message
    }

    fn is_mark(what: &What, name: Name) -> bool {
        matches!(what, What::Fact(Fact::Written { path, .. }) if *path == name.path())
    }

    /// A whole run in which this mark is never made.
    fn without(name: Name) -> Story {
        let mut story = Story::whole();
        story.drop_first(|what| is_mark(what, name));
        story
    }

    /// A whole run in which the output has this mark from the beginning.
    fn found(mark: Mark) -> Story {
        let mut story = Story::whole();
        story.history.initial.insert(mark.name().path(), mark.encode());
        story
    }

    #[test]
    fn an_output_that_is_marked_in_order_passes() {
        assert_eq!(Story::whole().judge_by(NAME), None);
    }

    #[test]
    fn output_of_another_log_convicts() {
        let other = LogId(1);
        assert_eq!(
            message(&found(Mark::Log { log: other })),
            format!("becomes visible by log {LOG} although the output belongs to log {other}")
        );
    }

    #[test]
    fn output_that_is_committed_further_than_the_log_convicts() {
        let ahead = Mark::Completed { log: LOG, generation: Generation(1), checkpoint: CheckpointId(57) };
        let expected = "becomes visible although the output is committed up to chk-57, which this log does not hold";
        assert_eq!(message(&found(ahead)), expected);
    }

    #[test]
    fn an_output_without_its_marks_convicts() {
        let expected = format!("becomes visible although the output does not bear the mark of log {LOG}");
        assert_eq!(message(&without(Name::Log(LOG))), expected);
        let message = message(&without(Name::Completed(CheckpointId(1))));
        assert_eq!(message, "becomes visible before any checkpoint is marked as completed");
    }

    #[test]
    fn an_attempt_that_is_deployed_before_the_output_is_owned_convicts() {
        assert_eq!(message(&without(Name::Generation(Generation(1)))), "is deployed before g1 has marked the output");
    }

    #[test]
    fn an_attempt_that_is_deployed_above_a_missing_mark_convicts() {
        let mut story = Story::begun();
        story.lead();
        story.lead();
        story.deploy();
        assert_eq!(story.judge_by(NAME), None);
        story.drop_first(|what| is_mark(what, Name::Generation(Generation(2))));
        let expected = "is deployed by g3 although the output has no mark of g2, but of g1";
        assert_eq!(message(&story), expected);
        story.lead();
        story.deploy();
        let third = Attempt { generation: Generation(3), number: 1 };
        story.drop_first(
            |what| matches!(what, What::Claim(Event::AttemptDeployed { attempt, .. }) if *attempt == third),
        );
        assert_eq!(message(&story), expected.replace("by g3", "by g4"), "the gap is not directly below");
    }

    #[test]
    fn a_mark_that_comes_late_below_the_first_owner_is_not_demanded() {
        let mut story = Story::begun();
        story.lead();
        story.lead();
        story.deploy();
        story.drop_first(|what| is_mark(what, Name::Generation(Generation(2))));
        let at = story.find(|what| is_mark(what, Name::Generation(Generation(1))));
        let late = story.history.entries.remove(at);
        let behind = story.find(|what| is_mark(what, Name::Generation(Generation(3)))) + 1;
        // The first leader never owned the output: its mark comes behind that of the third.
        let first = Attempt { generation: Generation(1), number: 1 };
        story.insert_before(behind, worker(0), late.what);
        story.drop_first(
            |what| matches!(what, What::Claim(Event::AttemptDeployed { attempt, .. }) if *attempt == first),
        );
        assert_eq!(story.judge_by(NAME), None);
    }

    #[test]
    fn a_notification_of_what_is_marked_again_behind_the_deployment_of_a_newer_leadership_convicts() {
        let mut story = Story::begun();
        story.checkpoint();
        let first = story.attempt();
        let behind = |story: &mut Story, begun: usize| {
            let mark = Event::MarkStarted { path: String::new(), checkpoint: Some(CheckpointId(1)) };
            story.insert_before(begun, Process::COORDINATOR, What::Claim(mark));
        };
        let notified = Event::NotifySent { attempt: first, checkpoint: CheckpointId(1), worker: WorkerId(0) };
        let at = story.history.entries.len();
        story.lead();
        story.deploy();
        story.claim(Process::COORDINATOR, notified);
        behind(&mut story, at);
        assert_eq!(story.judge_by(NAME), None);
        let end = story.history.entries.len() - 1;
        behind(&mut story, end);
        assert_eq!(message(&story), "is notified by g1 although g2 had deployed before g1 marked it as completed");
    }

    #[test]
    fn a_notification_before_its_mark_and_one_behind_a_newer_leadership_convict() {
        let notified = |story: &mut Story, checkpoint: u64| {
            let (attempt, checkpoint) = (story.attempt(), CheckpointId(checkpoint));
            story.claim(Process::COORDINATOR, Event::NotifySent { attempt, checkpoint, worker: WorkerId(0) });
        };
        let mut story = Story::begun();
        story.checkpoint();
        notified(&mut story, 1);
        assert_eq!(story.judge_by(NAME), None);
        notified(&mut story, 2);
        assert_eq!(message(&story), "is notified before it is marked as completed");
        let mut story = Story::begun();
        let newer = Mark::Generation { log: LOG, generation: Generation(2), token: 9 };
        story.wrote(worker(0), &newer.name().path(), newer.encode());
        story.checkpoint();
        notified(&mut story, 1);
        let expected = "is notified by g1 although g2 had marked the output before it was marked as completed";
        assert_eq!(message(&story), expected);
        let at = story.find(|what| is_mark(what, newer.name()));
        story.history.entries.remove(at);
        let above = Mark::Generation { log: LOG, generation: Generation(3), token: 9 };
        story.insert_before(
            at,
            worker(0),
            What::Fact(Fact::Written { path: above.name().path(), bytes: above.encode() }),
        );
        assert_eq!(story.judge_by(NAME), None, "its leader reads what is completed once it has marked g2 as well");
    }

    #[test]
    fn marks_are_written_once_and_only_older_ones_go() {
        let of_log = Mark::Log { log: LOG };
        let mut story = Story::begun();
        story.wrote(worker(0), &of_log.name().path(), of_log.encode());
        assert_eq!(message(&story), "is a mark and is written a second time");
        let mut story = Story::begun();
        story.checkpoint();
        story.checkpoint();
        let gone = |checkpoint| Fact::Deleted { path: Name::Completed(CheckpointId(checkpoint)).path() };
        story.fact(Process::COORDINATOR, gone(1));
        assert_eq!(story.judge_by(NAME), None);
        story.fact(Process::COORDINATOR, gone(2));
        assert_eq!(message(&story), "is deleted although no newer checkpoint is marked");
    }
}

//! Unknown outcome: a request of which nobody knows whether it took effect is neither a success nor a failure.
//!
//! Source: order rule O7; FLINK-22494. Storage was asked to write and the reply was lost: the object may be there, may
//! never be, or may still arrive. Until the process has read it back, or has written it again for certain,
//! 1. it does not announce it: no `UploadEnded`, `ManifestWritten`, `LeadershipTaken`, `CompletionDurable` or
//!    `CommitEnded` that rests on it;
//! 2. it does not give up what a slot may have completed: no `CheckpointAborted` of that checkpoint, and no
//!    `DeleteStarted` of anything in its folder.
//!
//! The world says which requests ended that way, and when that has an end; what really happened to them is the business
//! of [`announced_implies_stored`](super::announced_implies_stored) and
//! [`completed_is_restorable`](super::completed_is_restorable). This judge convicts a process that was merely lucky.
//! Does not check deletes of an unknown outcome, which may be repeated at will, nor unacknowledged blobs, whose
//! checkpoint cannot complete.

use crate::case::{Case, Property, Violation};
use crate::history::{Fact, Incarnation, What};
use crate::witness::Shown;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{CheckpointId, SubtaskId};
use cofferdam_engine::persist::layout;
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "unknown-outcome";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "what may or may not have happened is neither announced nor undone before it was read back",
    source: "order rule O7; FLINK-22494",
    judge,
};

/// What processes do not know.
#[derive(Default)]
struct Doubts<'a> {
    paths: BTreeSet<(Incarnation, &'a str)>,
    /// The checkpoint that a process last wanted to add in a slot.
    adding: BTreeMap<Incarnation, (u64, CheckpointId)>,
}

fn judge(case: &Case<'_>) -> Option<Violation> {
    // Most runs have no unknown outcome at all.
    case.ledger().has_doubts.then_some(())?;
    let mut doubts = Doubts::default();
    case.ledger().protocol.iter().find_map(|&at| {
        let entry = &case.history.entries[at];
        let (subject, message) = match &entry.what {
            What::Fact(Fact::OutcomeUnknown { path }) => {
                doubts.paths.insert((entry.by, path));
                return None;
            }
            What::Fact(Fact::OutcomeKnown { path }) => {
                doubts.paths.remove(&(entry.by, path.as_str()));
                return None;
            }
            What::Fact(_) => return None,
            What::Claim(Event::CompletionStarted { checkpoint, slot }) => {
                doubts.adding.insert(entry.by, (*slot, *checkpoint));
                return None;
            }
            What::Claim(event @ Event::LeadershipTaken { .. }) => {
                // It has read what became of every slot, and adds nothing that an earlier leadership of its own wanted to.
                doubts.adding.remove(&entry.by);
                doubts.convict(entry.by, event)?
            }
            What::Claim(event @ Event::CompletionDurable { .. }) => {
                // It knows the slot now: doubts about it are about its deletion from here on.
                let convicted = doubts.convict(entry.by, event);
                doubts.adding.remove(&entry.by);
                convicted?
            }
            What::Claim(event @ Event::CheckpointAborted { checkpoint, .. }) => {
                let convicted = doubts.convict(entry.by, event);
                // The checkpoint is given up with nothing in doubt: a later proposal for that slot is another one.
                doubts.adding.retain(|by, (_, adding)| *by != entry.by || adding != checkpoint);
                convicted?
            }
            What::Claim(_) if doubts.paths.is_empty() => return None,
            What::Claim(Event::CommitEnded { subtask, checkpoint, .. }) => {
                let of_it = |shown: &Shown| (shown.subtask, shown.checkpoint) == (*subtask, *checkpoint);
                let mut shown = case.account().shown.iter().filter(|(_, shown)| of_it(shown));
                let (path, _) = shown.find(|(path, _)| doubts.has(entry.by, path))?;
                (path.clone(), announces(*subtask, *checkpoint))
            }
            What::Claim(event) => doubts.convict(entry.by, event)?,
        };
        Some(Violation::new(NAME, at, subject, message))
    })
}

fn announces(subtask: SubtaskId, checkpoint: CheckpointId) -> String {
    format!("{subtask} announces the commit of {checkpoint} although it does not know whether this was written")
}

impl Doubts<'_> {
    fn has(&self, by: Incarnation, path: &str) -> bool {
        self.paths.contains(&(by, path))
    }

    /// What is wrong with a claim: its subject, and why.
    fn convict(&self, by: Incarnation, event: &Event) -> Option<(String, String)> {
        let announced = match event {
            Event::UploadEnded { path, .. } | Event::ManifestWritten { path, .. } => path.clone(),
            Event::LeadershipTaken { slot, .. } | Event::CompletionDurable { slot, .. } => layout::log_entry(*slot),
            Event::CheckpointAborted { checkpoint, .. } => {
                let slot = self.unsettled(by, |adding| adding == *checkpoint)?;
                return Some((checkpoint.to_string(), format!("is given up although slot {slot} may complete it")));
            }
            Event::DeleteStarted { path } => {
                let slot = self.unsettled(by, |adding| path.starts_with(&format!("checkpoints/{adding}/")))?;
                return Some((path.clone(), format!("is about to be deleted although slot {slot} may need it")));
            }
            _ => return None,
        };
        let message = format!("is announced by {} although it does not know whether it was written", by.process);
        self.has(by, &announced).then_some((announced, message))
    }

    /// The slot that may have added a checkpoint, if nobody knows.
    fn unsettled(&self, by: Incarnation, is_it: impl Fn(CheckpointId) -> bool) -> Option<u64> {
        let (slot, checkpoint) = *self.adding.get(&by)?;
        (self.has(by, &layout::log_entry(slot)) && is_it(checkpoint)).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::history::{Fact, Process, What};
    use crate::story::{Story, place};
    use cofferdam_engine::event::Event;
    use cofferdam_engine::ids::CheckpointId;
    use cofferdam_engine::persist::layout;
    use cofferdam_engine::reason::FailureReason;

    fn doubt(story: &mut Story, process: Process, path: &str, before: impl Fn(&What) -> bool) {
        let at = story.find(before);
        story.insert_before(at, process, What::Fact(Fact::OutcomeUnknown { path: path.to_owned() }));
    }

    fn settle(story: &mut Story, process: Process, path: &str, before: impl Fn(&What) -> bool) {
        let at = story.find(before);
        story.insert_before(at, process, What::Fact(Fact::OutcomeKnown { path: path.to_owned() }));
    }

    fn completes(what: &What) -> bool {
        matches!(what, What::Claim(Event::CompletionDurable { .. }))
    }

    fn completed() -> Story {
        let mut story = Story::begun();
        story.emit(0, 2);
        story.checkpoint();
        story
    }

    fn convicts(story: &Story, subject: &str, message: &str) {
        let violation = story.judge_by(NAME).expect("a conviction");
        assert_eq!((violation.subject.as_str(), violation.message.as_str()), (subject, message));
    }

    #[test]
    fn what_was_read_back_may_be_announced() {
        let mut story = completed();
        doubt(&mut story, Process::COORDINATOR, &layout::log_entry(2), completes);
        settle(&mut story, Process::COORDINATOR, &layout::log_entry(2), completes);
        assert_eq!(story.judge(), []);
    }

    #[test]
    fn a_completion_that_was_not_read_back_convicts_even_if_it_is_durable() {
        let mut story = completed();
        doubt(&mut story, Process::COORDINATOR, &layout::log_entry(2), completes);
        let message = "is announced by coordinator-0 although it does not know whether it was written";
        convicts(&story, "checkpoints/log/0000000002", message);
    }

    #[test]
    fn an_upload_that_was_not_read_back_convicts() {
        let mut story = completed();
        let (subtask, path) = (story.subtask(0), "checkpoints/chk-1/numbers-0-a1.1");
        doubt(&mut story, place(subtask), path, |what| matches!(what, What::Claim(Event::UploadEnded { .. })));
        convicts(&story, path, "is announced by worker-0 although it does not know whether it was written");
    }

    #[test]
    fn a_commit_that_was_not_read_back_convicts() {
        let mut story = Story::whole();
        let (path, ended) =
            ("output/sums/chk-1-a1.1", |what: &What| matches!(what, What::Claim(Event::CommitEnded { .. })));
        let sink = story.subtask(4);
        doubt(&mut story, place(sink), path, ended);
        let message = "op-2[0] announces the commit of chk-1 although it does not know whether this was written";
        convicts(&story, path, message);
    }

    #[test]
    fn an_abort_of_what_a_slot_may_have_completed_convicts() {
        let mut story = completed();
        story.falsify(|event| match event {
            Event::CompletionDurable { checkpoint, .. } => {
                *event = Event::CheckpointAborted { checkpoint: *checkpoint, reason: FailureReason::Cancelled };
                true
            }
            _ => false,
        });
        let aborts = |what: &What| matches!(what, What::Claim(Event::CheckpointAborted { .. }));
        doubt(&mut story, Process::COORDINATOR, &layout::log_entry(2), aborts);
        convicts(&story, "chk-1", "is given up although slot 2 may complete it");
    }

    #[test]
    fn a_deletion_of_what_a_slot_may_need_convicts() {
        let mut story = Story::begun();
        let (checkpoint, slot) = (CheckpointId(1), 2);
        story.claim(Process::COORDINATOR, Event::CompletionStarted { checkpoint, slot });
        story.fact(Process::COORDINATOR, Fact::OutcomeUnknown { path: layout::log_entry(2) });
        let path = "checkpoints/chk-1/manifest-a1.1".to_owned();
        story.claim(Process::COORDINATOR, Event::DeleteStarted { path: path.clone() });
        convicts(&story, &path, "is about to be deleted although slot 2 may need it");
    }

    /// Found by a hunt: the slot could not be created for certain, and was proposed again for the end of the job.
    #[test]
    fn a_checkpoint_that_was_given_up_for_certain_is_not_in_doubt_with_the_next_proposal_of_its_slot() {
        let mut story = Story::begun();
        let (checkpoint, slot) = (CheckpointId(1), 2);
        story.claim(Process::COORDINATOR, Event::CompletionStarted { checkpoint, slot });
        let reason = FailureReason::FinalizeFailed("storage is unavailable".into());
        story.claim(Process::COORDINATOR, Event::CheckpointAborted { checkpoint, reason });
        story.fact(Process::COORDINATOR, Fact::OutcomeUnknown { path: layout::log_entry(2) });
        let path = "checkpoints/chk-1/manifest-a1.1".to_owned();
        story.claim(Process::COORDINATOR, Event::DeleteStarted { path });
        assert_eq!(story.judge_by(NAME), None);
    }

    /// Found by a guided hunt: `Never` retained, the replies to deletes lost, and the manifest deleted again.
    #[test]
    fn a_deletion_may_be_repeated_while_that_of_its_slot_is_in_doubt() {
        let mut story = completed();
        let path = "checkpoints/chk-1/manifest-a1.1".to_owned();
        story.fact(Process::COORDINATOR, Fact::OutcomeUnknown { path: layout::log_entry(2) });
        story.claim(Process::COORDINATOR, Event::DeleteStarted { path });
        assert_eq!(story.judge_by(NAME), None);
    }
}

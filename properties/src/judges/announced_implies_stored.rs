//! Announced implies stored: whoever says that something is durable or visible says so after the world saw it.
//!
//! Source: order rules O4 and O6; FLINK-5667. An announcement that comes too early survives a crash in which the thing
//! itself is lost.
//!
//! | claim | needs, before it |
//! |---|---|
//! | `LeadershipTaken` | the slot, a `NewGeneration` of this generation |
//! | `UploadEnded` | a blob at the path whose state has the digest |
//! | `AckSent`, `AckReceived` | an `UploadEnded` of this snapshot |
//! | `ManifestWritten` | a manifest of this checkpoint at the path |
//! | `CompletionDurable` | the slot, a `Completed` of this checkpoint and manifest |
//! | `NotifySent` | a `Completed` slot of this checkpoint |
//! | `CommitEnded` | every object that the witness's commit makes visible, with its bytes |
//! | `SubtaskFinished` | a durable checkpoint that holds the end of the subtask's input |
//! | `JobFinished` | a `Finished` slot of this checkpoint |
//!
//! Does not check that what is stored stays: see [`completed_is_restorable`](super::completed_is_restorable).

use crate::case::{Case, Property, Violation};
use crate::history::What;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, CheckpointId, SubtaskId};
use cofferdam_engine::persist::slot::SlotRecord;
use std::collections::BTreeMap;

const NAME: &str = "announced-implies-stored";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "what is announced as durable or visible had been stored before",
    source: "order rules O4, O6; FLINK-5667",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let ledger = case.ledger();
    let mut uploads = Uploads::new();
    let announced = ledger.protocol.iter().find_map(|&at| {
        let What::Claim(event) = &case.history.entries[at].what else { return None };
        let (subject, message) = lacks(case, &mut uploads, at, event)?;
        Some(Violation::new(NAME, at, subject, message))
    });
    [announced, judge_commits(case)].into_iter().flatten().min_by_key(|violation| violation.at)
}

/// The digest of every upload that ended.
type Uploads = BTreeMap<(Attempt, SubtaskId, CheckpointId), u64>;

/// What a claim lacks: its subject, and what is missing.
fn lacks(case: &Case<'_>, uploads: &mut Uploads, at: usize, event: &Event) -> Option<(String, String)> {
    let ledger = case.ledger();
    match event {
        Event::LeadershipTaken { generation, slot } => {
            let taken = ledger.slot_says(at, *slot, |slot| {
                slot.generation == *generation && slot.record == SlotRecord::NewGeneration
            });
            (!taken).then(|| (generation.to_string(), format!("is announced, but slot {slot} does not say so")))
        }
        Event::UploadEnded { attempt, subtask, checkpoint, path, digest } => {
            uploads.insert((*attempt, *subtask, *checkpoint), *digest);
            let stored = ledger.was_stored(path, *digest, at);
            (!stored)
                .then(|| (path.clone(), format!("is announced as stored, but no blob with digest {digest:016x} is")))
        }
        Event::AckSent { attempt, subtask, checkpoint, digest } => {
            let uploaded = uploads.get(&(*attempt, *subtask, *checkpoint)) == Some(digest);
            (!uploaded).then(|| (subtask.to_string(), format!("acknowledges {checkpoint} before its upload ended")))
        }
        Event::AckReceived { attempt, checkpoint, subtask } => {
            let uploaded = uploads.contains_key(&(*attempt, *subtask, *checkpoint));
            (!uploaded).then(|| (checkpoint.to_string(), format!("counts an ack of {subtask}, which uploaded nothing")))
        }
        Event::ManifestWritten { checkpoint, path } => {
            let stored = ledger.manifest_was_stored(*checkpoint, path, at);
            (!stored).then(|| (path.clone(), format!("is announced as stored, but no manifest of {checkpoint} is")))
        }
        Event::CompletionDurable { checkpoint, slot, manifest, .. } => {
            let durable = ledger.slot_says(at, *slot, |slot| match &slot.record {
                SlotRecord::Completed { checkpoint: c, manifest: m, .. } => c == checkpoint && m == manifest,
                _ => false,
            });
            (!durable).then(|| (checkpoint.to_string(), format!("is announced, but slot {slot} does not say so")))
        }
        Event::NotifySent { checkpoint, worker, .. } => {
            let durable = ledger.completed_at(*checkpoint, at).is_some();
            (!durable).then(|| (checkpoint.to_string(), format!("is notified to {worker} before it is durable")))
        }
        Event::SubtaskFinished { attempt, subtask } => {
            let graph = &case.job.graph;
            let uid = &graph.operator(subtask.operator).uid;
            let durable = ledger.end_is_durable((uid, subtask.index), at);
            let subject = || format!("{} of {attempt}", graph.show(*subtask));
            (!durable).then(|| (subject(), "finishes although no durable checkpoint holds its end".to_owned()))
        }
        Event::JobFinished { checkpoint } => {
            let finished = ledger.finished().is_some_and(|finished| finished < at);
            (!finished).then(|| (checkpoint.to_string(), "ends the job, but no slot says so".to_owned()))
        }
        _ => None,
    }
}

fn judge_commits(case: &Case<'_>) -> Option<Violation> {
    let account = case.account();
    account.commits.iter().filter_map(|commit| Some((commit, commit.ended?))).find_map(|(commit, ended)| {
        let mut shown = account
            .shown
            .iter()
            .filter(|(_, shown)| (shown.subtask, shown.checkpoint) == (commit.subtask, commit.checkpoint));
        let (path, _) = shown.find(|(path, shown)| case.ledger().object_at(path, ended) != Some(&shown.bytes))?;
        let message = format!("{} has committed {} without making it visible", commit.subtask, commit.checkpoint);
        Some(Violation::new(NAME, ended, path, message))
    })
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::history::{Fact, What};
    use crate::story::Story;
    use cofferdam_engine::event::Event;

    /// A run in which a fact comes only after the claim about it.
    fn late(is_fact: impl Fn(&What) -> bool) -> Story {
        let mut story = Story::whole();
        let entry = story.drop_first(is_fact);
        story.history.entries.push(entry);
        story
    }

    fn writes(part: &'static str) -> impl Fn(&What) -> bool {
        move |what| matches!(what, What::Fact(Fact::Written { path, .. }) if path.contains(part))
    }

    fn convicts(story: &Story, subject: &str) {
        let violation = story.judge_by(NAME).expect("a conviction");
        assert_eq!(violation.subject, subject, "{violation}");
    }

    #[test]
    fn claims_behind_their_facts_pass() {
        assert_eq!(Story::whole().judge_by(NAME), None);
    }

    #[test]
    fn leadership_without_its_slot_convicts() {
        convicts(&late(writes("log/0000000001")), "g1");
    }

    #[test]
    fn an_upload_without_its_blob_convicts() {
        convicts(&late(writes("sums-0")), "checkpoints/chk-1/sums-0-a1.1");
    }

    #[test]
    fn an_ack_without_an_upload_convicts() {
        convicts(&late(|what| matches!(what, What::Claim(Event::UploadEnded { .. }))), "op-0[0]");
    }

    #[test]
    fn a_manifest_that_is_not_there_convicts() {
        convicts(&late(writes("manifest")), "checkpoints/chk-1/manifest-a1.1");
    }

    #[test]
    fn a_completion_without_its_slot_convicts() {
        convicts(&late(writes("log/0000000002")), "chk-1");
    }

    #[test]
    fn a_commit_that_shows_nothing_convicts() {
        convicts(&late(writes("output/sums")), "output/sums/chk-1-a1.1");
    }

    #[test]
    fn a_subtask_that_exits_before_its_end_is_durable_convicts() {
        let mut story = Story::begun();
        story.emit(0, 6);
        story.end_input_of(0);
        let (attempt, subtask) = (story.attempt(), story.subtask(0));
        story.claim(crate::story::place(subtask), Event::SubtaskFinished { attempt, subtask });
        convicts(&story, "numbers[0] of a1.1");
    }

    #[test]
    fn a_finish_without_its_slot_convicts() {
        convicts(&late(writes("log/0000000004")), "chk-2");
    }
}

//! Completed is restorable: from its commit point on, and until it falls below the retention floor of a later slot, a
//! checkpoint can be read back from storage, at every instant.
//!
//! Source: order rules O6 (the commit point comes last), O7 and O8 (pointers go before data); FLINK-22494.
//!
//! 1. When a `Completed` slot becomes durable, its manifest, all snapshots and the listing of the input, if there is one,
//!    exist, can be decoded and are what their handles say; the manifest is of this checkpoint and names a snapshot for every subtask of the job.
//! 2. Until a later slot's floor passes it (of a checkpoint, or of the end of the job), none of these objects is deleted or overwritten with something else.
//! 3. Neither is any slot at or above the floor.
//!
//! Judged on facts alone. Does not check that the state is right: that is the oracle's business.

use crate::case::{Case, Property, Violation};
use crate::history::{Fact, What};
use crate::ledger::{Completed, Ledger};
use cofferdam_engine::error::Error;
use cofferdam_engine::graph::JobGraph;
use cofferdam_engine::ids::CheckpointId;
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::listing::Listing;
use cofferdam_engine::persist::manifest::Manifest;
use std::collections::BTreeMap;

const NAME: &str = "completed-is-restorable";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "a retained completed checkpoint can be read back from storage at every instant",
    source: "order rules O6, O7, O8; FLINK-22494",
    judge,
};

/// By path: the newest slot on whose behalf the object must stay, and the checkpoint that it completes, if it does.
type Protected<'a> = BTreeMap<&'a str, (u64, Option<CheckpointId>)>;

fn judge(case: &Case<'_>) -> Option<Violation> {
    let ledger = case.ledger();
    let mut protected = Protected::new();
    let mut slots = ledger.slots.iter().peekable();
    let mut completed = ledger.completed.iter().peekable();
    for &at in &ledger.facts {
        let What::Fact(fact) = &case.history.entries[at].what else { continue };
        let (path, does) = match fact {
            Fact::Written { path, .. } => (path, "overwrites"),
            Fact::Deleted { path } => (path, "deletes"),
            _ => continue,
        };
        if let Some(&(slot, checkpoint)) = protected.get(path.as_str()) {
            let same = matches!(fact, Fact::Written { bytes, .. } if ledger.object_at(path, at) == Some(bytes));
            if !same {
                let needed = match checkpoint {
                    Some(checkpoint) => format!("{checkpoint} (slot {slot}) needs it"),
                    None => format!("slot {slot} still counts"),
                };
                let message = format!("{} {does} it although {needed}", case.history.entries[at].by.process);
                return Some(Violation::new(NAME, at, path, message));
            }
        }
        if let Some(written) = slots.next_if(|slot| slot.at == at) {
            if let Err(error) = &written.slot {
                return Some(Violation::new(NAME, at, path, error.to_string()));
            }
            protected.insert(path, (written.number, None));
            let floor = written.slot.as_ref().ok().and_then(|slot| slot.record.floor());
            if let Some(floor) = floor {
                protected.retain(|path, (needed_by, _)| layout::log_entry_number(path).unwrap_or(*needed_by) >= floor);
            }
        }
        if let Some(completed) = completed.next_if(|completed| completed.at == at) {
            if let Some(message) = unreadable(ledger, &case.job.graph, completed) {
                return Some(Violation::new(NAME, at, completed.checkpoint, message));
            }
            protect(&mut protected, completed);
        }
    }
    None
}

/// Why a checkpoint cannot be restored at its commit point.
fn unreadable(ledger: &Ledger<'_>, graph: &JobGraph, completed: &Completed) -> Option<String> {
    let manifest = match &completed.manifest {
        Ok(manifest) => manifest,
        Err(error) => return Some(format!("completes in slot {}, but {error}", completed.slot)),
    };
    if manifest.checkpoint != completed.checkpoint {
        return Some(format!("completes with {}, which is the manifest of {}", completed.path, manifest.checkpoint));
    }
    if completed.floor > completed.slot {
        return Some(format!("completes in slot {}, which is below its own floor {}", completed.slot, completed.floor));
    }
    if let Some(message) = incomplete(graph, manifest) {
        return Some(message);
    }
    let broken = manifest.snapshots().find_map(|handle| ledger.check_snapshot(handle, completed.at).err());
    let broken = broken.or_else(|| {
        let listing = manifest.listing.as_ref()?;
        match ledger.object_at(&listing.path, completed.at) {
            Some(bytes) => Listing::open(listing, bytes).err(),
            None => Some(Error::corrupt(format!("{}, the listing of the input, does not exist", listing.path))),
        }
    });
    broken.map(|error| format!("completes in slot {}, but {error}", completed.slot))
}

fn incomplete(graph: &JobGraph, manifest: &Manifest) -> Option<String> {
    let missing = graph.operators.iter().find(|node| {
        let operator = manifest.operators.iter().find(|operator| operator.uid == node.uid);
        operator.is_none_or(|operator| operator.subtasks.len() != usize::from(node.parallelism))
    })?;
    Some(format!("completes without a snapshot of every subtask of {}", missing.uid))
}

fn protect<'a>(protected: &mut Protected<'a>, completed: &'a Completed) {
    let manifest = completed.manifest.as_ref().expect("it was just read");
    let named = manifest.named().map(String::as_str);
    for path in named.chain([completed.path.as_str()]) {
        protected.insert(path, (completed.slot, Some(completed.checkpoint)));
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::history::{Fact, What};
    use crate::story::{Story, worker};
    use bytes::Bytes;
    use cofferdam_engine::ids::CheckpointId;
    use cofferdam_engine::persist::layout;
    use cofferdam_engine::persist::listing::Listing;
    use cofferdam_engine::persist::slot::SlotRecord;

    fn completed() -> Story {
        let mut story = Story::begun();
        story.emit(0, 2);
        story.checkpoint();
        story
    }

    #[test]
    fn checkpoints_that_stay_until_they_are_subsumed_pass() {
        let mut story = completed();
        let subsumed = story.blobs();
        story.checkpoint();
        subsumed.into_iter().for_each(|path| story.fact(worker(0), Fact::Deleted { path }));
        story.fact(worker(0), Fact::Deleted { path: layout::log_entry(1) });
        assert_eq!(story.judge_by(NAME), None);
    }

    #[test]
    fn a_blob_deleted_too_early_convicts() {
        let mut story = completed();
        let path = story.blobs().remove(0);
        story.fact(worker(0), Fact::Deleted { path: path.clone() });
        let violation = story.judge_by(NAME).expect("a conviction");
        assert_eq!((violation.subject, violation.message.contains("deletes it")), (path, true));
    }

    #[test]
    fn a_blob_overwritten_by_a_zombie_convicts() {
        let mut story = completed();
        let path = story.blobs().remove(0);
        story.wrote(worker(1), &path, Bytes::from_static(b"a zombie's"));
        assert!(story.judge_by(NAME).expect("a conviction").message.contains("overwrites it"));
    }

    #[test]
    fn a_listing_that_is_missing_or_deleted_convicts() {
        let listing = Listing::default().encode();
        let path = "checkpoints/chk-0/listing-a1.1";
        let mut story = Story::begun();
        story.listing = Some(Listing::handle(path.to_owned(), &listing));
        story.checkpoint();
        assert!(
            story.judge_by(NAME).expect("a conviction").message.contains("the listing of the input, does not exist")
        );
        let mut story = Story::begun();
        story.listing = Some(Listing::handle(path.to_owned(), &listing));
        story.wrote(worker(0), path, listing);
        story.checkpoint();
        assert_eq!(story.judge_by(NAME), None);
        story.fact(worker(0), Fact::Deleted { path: path.to_owned() });
        assert_eq!(story.judge_by(NAME).expect("a conviction").subject, path);
    }

    #[test]
    fn a_slot_in_front_of_its_blobs_convicts() {
        let mut story = completed();
        let path = story.blobs().remove(0);
        let is_blob = |what: &What| matches!(what, What::Fact(Fact::Written { path: p, .. }) if *p == path);
        let late = story.drop_first(is_blob);
        story.history.entries.push(late);
        assert!(story.judge_by(NAME).expect("a conviction").message.contains("does not exist"));
    }

    #[test]
    fn a_slot_without_a_manifest_convicts() {
        let mut story = Story::begun();
        let manifest = "checkpoints/chk-1/manifest-a1.1".to_owned();
        story.write_slot(SlotRecord::Completed { checkpoint: CheckpointId(1), manifest, floor: 2 });
        assert!(story.judge_by(NAME).expect("a conviction").message.contains("does not exist"));
    }

    #[test]
    fn a_slot_that_a_late_create_puts_back_below_the_floor_says_nothing() {
        let mut story = completed();
        let subsumed = story.blobs();
        let slot =
            story.find(|what| matches!(what, What::Fact(Fact::Written { path, .. }) if *path == layout::log_entry(2)));
        let late = story.history.entries[slot].clone();
        story.checkpoint();
        subsumed.into_iter().for_each(|path| story.fact(worker(0), Fact::Deleted { path }));
        story.fact(worker(0), Fact::Deleted { path: layout::log_entry(2) });
        story.history.entries.push(late);
        story.fact(worker(0), Fact::Deleted { path: layout::log_entry(2) });
        assert_eq!(story.judge_by(NAME), None);
    }

    #[test]
    fn a_slot_that_vanishes_convicts() {
        let mut story = completed();
        story.fact(worker(0), Fact::Deleted { path: layout::log_entry(2) });
        assert_eq!(story.judge_by(NAME).expect("a conviction").subject, layout::log_entry(2));
    }
}

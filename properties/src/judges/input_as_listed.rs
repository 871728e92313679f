//! Input as listed: a run reads one listing of its input, which is what was there when it was made.
//!
//! Source: FLIP-27 (the enumerator assigns splits once, and its state is part of the checkpoint); FLINK-31006.
//!
//! 1. A listing holds every object of the input and nothing else, each with a length that it had. What changed before the
//!    listing was announced may be listed as it was before or after the change.
//! 2. The manifest of a checkpoint names the listing of its run: that of the checkpoint that its attempt restored, and, if
//!    the attempt started from nothing, the one that was made for the attempt.
//!
//! Does not check what is read of the listed objects: the witness reads them as they were listed
//! ([`exactly_once_state`](super::exactly_once_state)), and [`clean_failure`](super::clean_failure) says when they may be
//! refused.

use crate::case::{Case, Property, Violation};
use crate::history::What;
use crate::ledger::{Completed, Ledger};
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, CheckpointId};
use std::collections::BTreeMap;

const NAME: &str = "input-as-listed";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "a run reads one listing of its input, which is what was there when it was made",
    source: "FLIP-27",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let ledger = case.ledger();
    let mut listed: BTreeMap<Attempt, &str> = BTreeMap::new();
    let mut restored: BTreeMap<Attempt, (usize, CheckpointId)> = BTreeMap::new();
    let mut completed = ledger.completed.iter().peekable();
    for &at in &ledger.protocol {
        if let Some(completed) = completed.next_if(|completed| completed.at == at)
            && let Some(message) = strange(ledger, completed, &listed, &restored)
        {
            return Some(Violation::new(NAME, at, completed.checkpoint, message));
        }
        match &case.history.entries[at].what {
            What::Claim(Event::InputListed { attempt, path, .. }) => {
                listed.insert(*attempt, path);
                if let Some(message) = wrong(case, at, path) {
                    return Some(Violation::new(NAME, at, path, message));
                }
            }
            What::Claim(Event::AttemptDeployed { attempt, restore: Some(checkpoint) }) => {
                restored.insert(*attempt, (at, *checkpoint));
            }
            _ => {}
        }
    }
    None
}

/// What is wrong with a listing that was about to be stored at `at`, if it ever was.
fn wrong(case: &Case<'_>, at: usize, path: &str) -> Option<String> {
    let ledger = case.ledger();
    let (_, listing) = ledger.listing(path)?;
    let listing = match listing {
        Ok(listing) => listing,
        Err(error) => return Some(error.to_string()),
    };
    for input in case.job.graph.inputs_read() {
        let Some(objects) = listing.objects(&input) else { return Some(format!("does not list {input}")) };
        let mut lengths: BTreeMap<&str, u64> = objects.iter().map(|o| (o.path.as_str(), o.bytes)).collect();
        let inside =
            |path: &str| path.strip_prefix(&input).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        for object in ledger.input_paths().filter(|path| inside(path)) {
            let length = lengths.remove(object);
            if !ledger.input_before(object, at).any(|state| state.bytes.map(|bytes| bytes.len() as u64) == length) {
                let says =
                    length.map_or("does not list it".to_owned(), |length| format!("lists it with {length} bytes"));
                return Some(format!("{says}, which {object} never had before"));
            }
        }
        if let Some(unknown) = lengths.keys().next() {
            return Some(format!("lists {unknown}, which never existed"));
        }
    }
    None
}

/// How a checkpoint names another listing than that of its run.
fn strange(
    ledger: &Ledger<'_>,
    completed: &Completed,
    listed: &BTreeMap<Attempt, &str>,
    restored: &BTreeMap<Attempt, (usize, CheckpointId)>,
) -> Option<String> {
    let manifest = completed.manifest.as_ref().ok()?;
    let due = match restored.get(&manifest.attempt) {
        Some((at, checkpoint)) => {
            let from = ledger.completed_at(*checkpoint, *at)?.manifest.as_ref().ok()?;
            from.listing.as_ref().map(|listing| listing.path.as_str())
        }
        None => listed.get(&manifest.attempt).copied(),
    };
    let named = manifest.listing.as_ref().map(|listing| listing.path.as_str());
    let show = |path: Option<&str>| path.map_or("no listing".to_owned(), |path| format!("the listing {path}"));
    (named != due).then(|| format!("names {}, but its run reads {}", show(named), show(due)))
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::history::{Fact, Process};
    use crate::story::{Story, job, worker};
    use bytes::Bytes;
    use cofferdam_engine::door::{ObjectMeta, Version};
    use cofferdam_engine::event::Event;
    use cofferdam_engine::persist::listing::Listing;
    use std::sync::Arc;

    /// A story whose job says that it reads the folder `input`, which holds these objects.
    fn reading(objects: &[(&str, u64)]) -> Story {
        let mut story = Story::begun();
        let mut job = job::job();
        Arc::get_mut(&mut job.graph).expect("it is fresh").operators[0].reads = Some("input".to_owned());
        story.job = job;
        list(&mut story, objects);
        story
    }

    fn list(story: &mut Story, objects: &[(&str, u64)]) {
        let object = |(path, bytes): &(&str, u64)| ObjectMeta {
            path: (*path).to_owned(),
            bytes: *bytes,
            version: Version::Tag(String::new()),
        };
        let listing = Listing { inputs: vec![("input".to_owned(), objects.iter().map(object).collect())] }.encode();
        let (attempt, objects) = (story.attempt(), objects.len() as u64);
        let path = format!("checkpoints/chk-0/listing-{attempt}");
        story.claim(Process::COORDINATOR, Event::InputListed { attempt, path: path.clone(), objects });
        story.wrote(Process::COORDINATOR, &path, listing.clone());
        story.listing = Some(Listing::handle(path, &listing));
    }

    const WHOLE: [(&str, u64); 2] = [("input/numbers-0", 12), ("input/numbers-1", 15)];

    fn message(story: &Story) -> Option<String> {
        story.judge_by(NAME).map(|violation| violation.message)
    }

    #[test]
    fn a_listing_of_what_is_there_passes() {
        assert_eq!(message(&reading(&WHOLE)), None);
    }

    #[test]
    fn a_listing_that_lacks_an_object_or_invents_one_or_its_length_convicts() {
        let of = |objects: &[(&str, u64)]| message(&reading(objects)).expect("a conviction");
        assert!(of(&WHOLE[..1]).contains("does not list it, which input/numbers-1 never had"));
        assert!(of(&[WHOLE[0], ("input/numbers-1", 14)]).contains("lists it with 14 bytes"));
        assert!(
            of(&[WHOLE[0], WHOLE[1], ("input/numbers-2", 1)]).contains("lists input/numbers-2, which never existed")
        );
    }

    #[test]
    fn what_changed_before_may_be_listed_either_way_and_what_changes_later_may_not() {
        let changed = |before: bool, objects: &[(&str, u64)]| {
            let mut story = reading(&WHOLE);
            let grown = Fact::InputChanged {
                path: "input/numbers-1".to_owned(),
                bytes: Some(Bytes::from(vec![0; 20])),
                replaced: false,
            };
            if before {
                story.fact(worker(0), grown.clone());
            }
            story.deploy();
            list(&mut story, objects);
            story.fact(worker(0), grown);
            message(&story)
        };
        let grown = [WHOLE[0], ("input/numbers-1", 20)];
        assert_eq!(changed(true, &WHOLE), None);
        assert_eq!(changed(true, &grown), None);
        assert!(changed(false, &grown).is_some());
    }

    #[test]
    fn a_checkpoint_that_names_another_listing_than_its_run_reads_convicts() {
        let mut story = reading(&WHOLE);
        story.checkpoint();
        story.deploy();
        story.checkpoint();
        assert_eq!(message(&story), None);
        // The restored run lists its input anew.
        story.deploy();
        list(&mut story, &WHOLE);
        story.checkpoint();
        assert!(
            message(&story)
                .expect("a conviction")
                .contains("but its run reads the listing checkpoints/chk-0/listing-a1.1")
        );
    }

    #[test]
    fn a_checkpoint_that_names_no_listing_convicts() {
        let mut story = reading(&WHOLE);
        story.listing = None;
        story.checkpoint();
        assert!(message(&story).expect("a conviction").starts_with("names no listing"));
    }
}

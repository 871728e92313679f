//! Retention: neither more nor fewer completed checkpoints count than configured, and what no longer counts goes in order:
//! the pointer, then the manifest, then the blobs; slots the lowest first.
//!
//! Source: order rule O8; FLINK-22014; SeaTunnel #12096 (a counter in memory forgets).
//!
//! 1. A `Completed` slot's floor leaves as many checkpoints as shall be retained, or all if there are fewer.
//! 2. The slot that ends the job leaves all of them or none, as the retention policy says.
//! 3. A blob that a completed manifest names is deleted only once that manifest has been.
//! 4. A slot is deleted only once every lower one has been: whoever finds a number free knows that all lower ones are.
//!
//! Judged on facts alone. That what counts stays is [`completed_is_restorable`](super::completed_is_restorable)'s business.

use crate::case::{Case, Property, Violation};
use crate::history::{Fact, What};
use crate::ledger::SlotFact;
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::manifest::Manifest;
use cofferdam_engine::persist::slot::SlotRecord;
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "retention";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "as many checkpoints count as shall be retained, and the others go pointer first",
    source: "order rule O8; FLINK-22014",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let ledger = case.ledger();
    let mut kept = Kept::default();
    let mut slots = ledger.slots.iter().peekable();
    let mut completed = ledger.completed.iter().peekable();
    for &at in &ledger.facts {
        if let Some(fact) = slots.next_if(|fact| fact.at == at)
            && let Some(message) = kept.on_slot(case, fact)
        {
            return Some(Violation::new(NAME, at, format!("slot {}", fact.number), message));
        }
        if let Some(completed) = completed.next_if(|completed| completed.at == at)
            && let Ok(manifest) = &completed.manifest
        {
            kept.manifests.insert(&completed.path, manifest);
        }
        if let What::Fact(Fact::Deleted { path }) = &case.history.entries[at].what
            && let Some(message) = kept.on_deleted(path)
        {
            return Some(Violation::new(NAME, at, path, message));
        }
    }
    None
}

#[derive(Default)]
struct Kept<'a> {
    /// The slots of the checkpoints that count.
    counting: Vec<u64>,
    /// The completed manifests that have not been deleted, by path. They are few, and deletions too: blobs need no index.
    manifests: BTreeMap<&'a str, &'a Manifest>,
    /// Slots that have been written and not deleted since.
    slots: BTreeSet<u64>,
}

impl<'a> Kept<'a> {
    fn on_slot(&mut self, case: &Case<'_>, fact: &'a SlotFact) -> Option<String> {
        self.slots.insert(fact.number);
        let record = &fact.slot.as_ref().ok()?.record;
        let before = self.counting.len();
        let config = &case.job.config.checkpoints;
        let (expected, why) = match record {
            SlotRecord::Completed { .. } => {
                self.counting.push(fact.number);
                ((before + 1).min(config.retained), format!("{} shall be retained", config.retained))
            }
            SlotRecord::Ended { how, .. } => {
                (if config.retention.keeps(how) { before } else { 0 }, format!("the policy is {:?}", config.retention))
            }
            SlotRecord::NewGeneration | SlotRecord::IdsReserved => return None,
        };
        let floor = record.floor().expect("these records name a floor");
        self.counting.retain(|number| *number >= floor);
        let left = self.counting.len();
        (left != expected).then(|| format!("leaves {left} checkpoints instead of {expected}: {why}"))
    }

    fn on_deleted(&mut self, path: &'a str) -> Option<String> {
        self.manifests.remove(path);
        let names_it = |manifest: &Manifest| manifest.named().any(|named| named == path);
        if let Some((manifest, _)) = self.manifests.iter().find(|(_, manifest)| names_it(manifest)) {
            return Some(format!("is deleted before the manifest {manifest}, which names it"));
        }
        let number = layout::log_entry_number(path)?;
        let lowest = self.slots.first().copied();
        self.slots.remove(&number);
        let lower = lowest.filter(|lowest| *lowest < number)?;
        Some(format!("is deleted before slot {lower}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, worker};
    use cofferdam_engine::config::RetentionPolicy;
    use cofferdam_engine::ids::CheckpointId;
    use cofferdam_engine::reason::Ended;

    /// Two completed checkpoints, of which one is retained.
    fn story() -> (Story, Vec<String>) {
        let mut story = Story::begun();
        story.job.config.checkpoints.retained = 1;
        story.checkpoint();
        let subsumed = story.blobs();
        story.checkpoint();
        (story, subsumed)
    }

    fn delete(story: &mut Story, path: &str) {
        story.fact(worker(0), Fact::Deleted { path: path.to_owned() });
    }

    const MANIFEST: &str = "checkpoints/chk-1/manifest-a1.1";

    #[test]
    fn what_goes_in_order_passes() {
        let (mut story, blobs) = story();
        delete(&mut story, MANIFEST);
        blobs.iter().for_each(|path| delete(&mut story, path));
        (1..3).for_each(|number| delete(&mut story, &layout::log_entry(number)));
        assert_eq!(story.judge_by(NAME), None);
    }

    #[test]
    fn a_blob_before_its_manifest_convicts() {
        let (mut story, blobs) = story();
        delete(&mut story, &blobs[0]);
        assert!(story.judge_by(NAME).expect("a conviction").message.contains("before the manifest"));
    }

    #[test]
    fn a_slot_before_a_lower_one_convicts() {
        let (mut story, _) = story();
        delete(&mut story, &layout::log_entry(2));
        assert!(story.judge_by(NAME).expect("a conviction").message.contains("before slot 1"));
    }

    #[test]
    fn a_floor_that_keeps_too_few_or_too_many_convicts() {
        for (retained, says) in [(3, "leaves 1 checkpoints instead of 2"), (1, "leaves 2 checkpoints instead of 1")] {
            let mut story = Story::begun();
            story.checkpoint();
            story.job.config.checkpoints.retained = retained;
            let floor = if retained == 1 { 1 } else { 3 };
            let manifest = "checkpoints/chk-2/manifest-a1.1".to_owned();
            story.write_slot(SlotRecord::Completed { checkpoint: CheckpointId(2), manifest, floor });
            let message = story.judge_by(NAME).expect("a conviction").message;
            assert!(message.starts_with(says), "{message}");
        }
    }

    #[test]
    fn an_end_that_drops_what_the_policy_keeps_convicts() {
        let (mut story, _) = story();
        story.job.config.checkpoints.retention = RetentionPolicy::OnFailure;
        story.write_slot(SlotRecord::Ended { how: Ended::Failed { cause: "bad luck".to_owned() }, floor: 4 });
        assert!(story.judge_by(NAME).expect("a conviction").message.contains("leaves 0 checkpoints instead of 1"));
    }
}

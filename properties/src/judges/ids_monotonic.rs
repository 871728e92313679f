//! Ids monotonic: checkpoint ids strictly increase for the life of the job, and so do generations.
//!
//! Source: order rule O1 ("strictly increasing for the life of the job, including across coordinator fail-over and
//! across restart-without-state"). Subsumption, commits and the names of stored objects compare ids.
//!
//! 1. Within a generation the ids of triggered checkpoints strictly increase.
//! 2. Every id of a generation is above every id of any older generation, whichever was announced first: a deposed
//!    coordinator may go on triggering for a while.
//! 3. In the slot log, by slot number: generations never decrease and a `NewGeneration` raises them, completed ids
//!    strictly increase, reservations never shrink, and no id completes that was not reserved.
//!
//! Does not check that ids are dense: gaps after a fail-over are meant. Nor who may write a slot: that is
//! a matter of ownership.

use crate::case::{Case, Property, Violation};
use crate::history::What;
use crate::ledger::SlotFact;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{CheckpointId, Generation};
use cofferdam_engine::persist::slot::{Slot, SlotRecord};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

const NAME: &str = "ids-monotonic";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "checkpoint ids and generations strictly increase for the life of the job",
    source: "order rule O1",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let triggered = judge_triggers(case);
    let slots = judge_slots(case);
    // The earlier one: it is the likelier cause.
    [triggered, slots].into_iter().flatten().min_by_key(|violation| violation.at)
}

/// Lowest and highest id triggered by each generation so far.
type Ranges = BTreeMap<Generation, (CheckpointId, CheckpointId)>;

fn judge_triggers(case: &Case<'_>) -> Option<Violation> {
    let mut ranges = Ranges::new();
    for &at in &case.ledger().coordination {
        let What::Claim(Event::CheckpointTriggered { attempt, checkpoint }) = &case.history.entries[at].what else {
            continue;
        };
        let (generation, id) = (attempt.generation, *checkpoint);
        let below = ranges.range(..=generation).map(|(_, (_, highest))| *highest).max();
        let above = ranges.range((Excluded(generation), Unbounded)).map(|(_, (lowest, _))| *lowest).min();
        if let Some(other) = below.filter(|highest| *highest >= id).or(above.filter(|lowest| *lowest <= id)) {
            let message = format!("triggered by {attempt} although {other} was triggered before it");
            return Some(Violation::new(NAME, at, id, message));
        }
        ranges.entry(generation).or_insert((id, id)).1 = id;
    }
    None
}

fn judge_slots(case: &Case<'_>) -> Option<Violation> {
    let mut by_number: Vec<&SlotFact> = case.ledger().slots.iter().collect();
    // By number, not by time: what counts is what a reader of the log sees.
    by_number.sort_by_key(|fact| fact.number);
    let mut readable = by_number.iter().filter_map(|fact| Some((*fact, fact.slot.as_ref().ok()?)));
    let mut log = Log::default();
    readable.find_map(|(fact, slot)| {
        let message = log.add(slot)?;
        Some(Violation::new(NAME, fact.at, format!("slot {}", fact.number), message))
    })
}

/// The log as read so far.
#[derive(Default)]
struct Log {
    generation: Generation,
    reserved: CheckpointId,
    completed: CheckpointId,
}

impl Log {
    /// Reads the next slot and says what is wrong with it.
    fn add(&mut self, slot: &Slot) -> Option<String> {
        let Slot { generation, ids_reserved, record, .. } = slot;
        if *generation < self.generation {
            return Some(format!("{generation} comes after {}", self.generation));
        }
        if *ids_reserved < self.reserved {
            return Some(format!("ids up to {ids_reserved} are reserved after {} were", self.reserved));
        }
        match record {
            SlotRecord::NewGeneration if *generation == self.generation => {
                return Some(format!("{generation} is taken a second time"));
            }
            SlotRecord::Completed { checkpoint, .. } if *checkpoint <= self.completed => {
                return Some(format!("{checkpoint} completes after {}", self.completed));
            }
            SlotRecord::Completed { checkpoint, .. } if checkpoint > ids_reserved => {
                return Some(format!("{checkpoint} completes although only ids up to {ids_reserved} are reserved"));
            }
            SlotRecord::Completed { checkpoint, .. } => self.completed = *checkpoint,
            _ => {}
        }
        self.generation = *generation;
        self.reserved = *ids_reserved;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::history::Process;
    use crate::story::Story;
    use cofferdam_engine::event::Event;
    use cofferdam_engine::ids::{Attempt, CheckpointId, Generation};
    use cofferdam_engine::persist::layout;
    use cofferdam_engine::persist::slot::{Slot, SlotRecord};

    fn message(story: &Story) -> String {
        story.judge_by(NAME).expect("a conviction").message
    }

    fn trigger(story: &mut Story, generation: u64, checkpoint: u64) {
        let attempt = Attempt { generation: Generation(generation), number: 1 };
        let checkpoint = CheckpointId(checkpoint);
        story.claim(Process::COORDINATOR, Event::CheckpointTriggered { attempt, checkpoint });
    }

    fn write(story: &mut Story, number: u64, generation: u64, ids_reserved: u64, record: SlotRecord) {
        let (generation, ids_reserved) = (Generation(generation), CheckpointId(ids_reserved));
        let slot = Slot { token: 0, ids_reserved, ..story.slot(generation, record) };
        story.wrote(Process::COORDINATOR, &layout::log_entry(number), slot.encode());
    }

    #[test]
    fn rising_ids_pass() {
        assert_eq!(Story::whole().judge_by(NAME), None);
    }

    #[test]
    fn a_deposed_leader_may_go_on_below_its_successor() {
        let mut story = Story::begun();
        trigger(&mut story, 1, 1);
        trigger(&mut story, 2, 11);
        trigger(&mut story, 1, 2);
        assert_eq!(story.judge_by(NAME), None);
    }

    #[test]
    fn a_deposed_leader_that_reaches_its_successors_ids_convicts() {
        let mut story = Story::begun();
        trigger(&mut story, 2, 11);
        trigger(&mut story, 1, 11);
        assert_eq!(message(&story), "triggered by a1.1 although chk-11 was triggered before it");
    }

    #[test]
    fn an_id_used_again_convicts() {
        let mut story = Story::begun();
        trigger(&mut story, 1, 4);
        trigger(&mut story, 1, 4);
        assert_eq!(message(&story), "triggered by a1.1 although chk-4 was triggered before it");
    }

    #[test]
    fn an_id_used_again_after_a_fail_over_convicts() {
        let mut story = Story::begun();
        trigger(&mut story, 1, 4);
        trigger(&mut story, 2, 3);
        assert_eq!(message(&story), "triggered by a2.1 although chk-4 was triggered before it");
    }

    #[test]
    fn a_generation_taken_twice_convicts() {
        let mut story = Story::begun();
        write(&mut story, 2, 1, 1000, SlotRecord::NewGeneration);
        assert_eq!(message(&story), "g1 is taken a second time");
    }

    #[test]
    fn a_checkpoint_that_completes_out_of_order_convicts() {
        let mut story = Story::begun();
        let record = |checkpoint| SlotRecord::Completed {
            checkpoint: CheckpointId(checkpoint),
            manifest: String::new(),
            floor: 2,
        };
        write(&mut story, 2, 1, 1000, record(5));
        write(&mut story, 3, 1, 1000, record(5));
        assert_eq!(message(&story), "chk-5 completes after chk-5");
    }

    #[test]
    fn a_checkpoint_beyond_the_reservation_convicts() {
        let mut story = Story::begun();
        let checkpoint = CheckpointId(2000);
        write(&mut story, 2, 1, 1000, SlotRecord::Completed { checkpoint, manifest: String::new(), floor: 2 });
        assert_eq!(message(&story), "chk-2000 completes although only ids up to chk-1000 are reserved");
    }
}

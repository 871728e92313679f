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
    for &at in &case.ledger().protocol {
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
            SlotRecord::NewGeneration | SlotRecord::IdsReserved | SlotRecord::Finished { .. } => {}
        }
        self.generation = *generation;
        self.reserved = *ids_reserved;
        None
    }
}

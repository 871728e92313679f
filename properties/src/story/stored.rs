//! What a story's coordinator stores: entries of its log, and marks of its output.

use super::{EVERY_ID, LOG, Story};
use crate::history::Process;
use cofferdam_engine::ids::Generation;
use cofferdam_engine::persist::mark::Mark;
use cofferdam_engine::persist::slot::{JobMark, Slot, SlotRecord};

impl Story {
    /// A mark of the output.
    pub fn mark(&mut self, mark: Mark) {
        self.wrote(Process::COORDINATOR, &mark.name().path(), mark.encode());
    }

    /// An entry of the story's log.
    pub fn slot(&self, generation: Generation, record: SlotRecord) -> Slot {
        let job = JobMark::of(&self.job.graph);
        Slot { log: LOG, lineage: None, generation, token: self.slots, ids_reserved: EVERY_ID, job, record }
    }
}

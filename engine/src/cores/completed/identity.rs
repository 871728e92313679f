//! What a log is known by outside: its id, where it started from, and how far it reaches. The output is marked with these
//! ([`crate::cores::ownership`]).

use super::{Completed, Retained};
use crate::ids::{CheckpointId, Generation, LogId};
use crate::persist::slot::{Lineage, SlotRecord};

impl Completed {
    /// The newest completed checkpoint: the one to restore.
    pub fn latest(&self) -> Option<Retained> {
        self.newest().map(|(number, _, checkpoint, manifest)| Retained {
            number,
            checkpoint,
            manifest: manifest.clone(),
        })
    }

    /// The writer's token of the claim: what it leads by.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// The log's id. The claim that begins a log gives it its own token, which no other process has drawn.
    pub fn id(&self) -> LogId {
        self.log.last_key_value().map_or(LogId(self.token), |(_, top)| top.log)
    }

    /// The snapshot of another log that this one started from.
    pub fn lineage(&self) -> Option<Lineage> {
        self.log.last_key_value().and_then(|(_, top)| top.lineage)
    }

    /// The newest completed checkpoint, and the leadership that completed it.
    pub fn held(&self) -> Option<(Generation, CheckpointId)> {
        self.newest().map(|(_, generation, checkpoint, _)| (generation, checkpoint))
    }

    /// Where the newest completed checkpoint is recorded, by which leadership, and its manifest. Asked at every step of a leader.
    fn newest(&self) -> Option<(u64, Generation, CheckpointId, &String)> {
        self.log.range(self.floor()..).rev().find_map(|(number, slot)| match &slot.record {
            SlotRecord::Completed { checkpoint, manifest, .. } => {
                Some((*number, slot.generation, *checkpoint, manifest))
            }
            SlotRecord::NewGeneration | SlotRecord::IdsReserved | SlotRecord::Ended { .. } => None,
        })
    }
}

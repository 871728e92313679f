//! The manifest of a checkpoint (Flink's `_metadata`): which snapshots it consists of, what they hold and what they cost.
//!
//! The snapshot of a subtask that had finished was *carried forward*: its blob lies in the folder of an older checkpoint, and
//! lives as long as any manifest that names it.

use super::{Kind, open, seal};
use crate::codec;
use crate::error::{Error, Result};
use crate::ids::{Attempt, CheckpointId};
use crate::messages::{ListingHandle, SnapshotHandle};
use crate::state::StateDescriptor;
use crate::statistics::SnapshotStatistics;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// 2: trigger to last acknowledgement, and what each snapshot cost. 3: layouts of states, and the listing of the input.
const VERSION: u8 = 3;

/// What a checkpoint consists of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// The attempt that took it.
    pub attempt: Attempt,
    /// The job's name.
    pub job: String,
    /// Key groups of the job.
    pub max_parallelism: u16,
    /// Milliseconds since 1970 at the trigger, for people.
    pub triggered_ms: u64,
    /// From the trigger to the last acknowledgement, in milliseconds.
    pub duration_ms: u64,
    /// Every operator, in graph order.
    pub operators: Vec<OperatorSnapshot>,
    /// The listing of the input, if the job reads objects. It lies in the folder of an older checkpoint.
    pub listing: Option<ListingHandle>,
}

/// What a checkpoint holds of one operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OperatorSnapshot {
    /// The operator's uid.
    pub uid: String,
    /// The states it declared.
    pub states: Vec<StateDescriptor>,
    /// One handle a subtask, in order; their number is the parallelism.
    pub subtasks: Vec<SnapshotHandle>,
    /// What each of them cost, in the same order; nothing if it was carried forward.
    pub statistics: Vec<SnapshotStatistics>,
}

impl Manifest {
    /// Whether every snapshot was taken behind the end of its subtask's input: the last checkpoint.
    pub fn last(&self) -> bool {
        self.snapshots().all(|snapshot| snapshot.ended)
    }

    /// Every snapshot.
    pub fn snapshots(&self) -> impl Iterator<Item = &SnapshotHandle> {
        self.operators.iter().flat_map(|operator| &operator.subtasks)
    }

    /// The path of every object that it names.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        self.snapshots().map(|snapshot| &snapshot.path).chain(self.listing.iter().map(|listing| &listing.path))
    }

    /// Total length of the snapshots in bytes.
    pub fn bytes(&self) -> u64 {
        self.snapshots().map(|snapshot| snapshot.bytes).fold(0, u64::saturating_add)
    }

    /// The stored form.
    pub fn encode(&self) -> Bytes {
        seal(Kind::Manifest, VERSION, &bincode::serialize(self).expect("manifests serialise"))
    }

    /// A manifest from its stored form; `path` names it in errors.
    pub fn decode(path: &str, bytes: &[u8]) -> Result<Self> {
        let payload = open(Kind::Manifest, VERSION, path, bytes)?;
        let manifest: Self =
            codec::decode(payload).map_err(|e| Error::corrupt(format!("{path} cannot be decoded: {e}")))?;
        let odd = manifest.operators.iter().find(|operator| operator.subtasks.len() != operator.statistics.len());
        match odd {
            None => Ok(manifest),
            Some(OperatorSnapshot { uid, .. }) => {
                Err(Error::corrupt(format!("{path} has not one line of statistics for each subtask of \"{uid}\"")))
            }
        }
    }
}

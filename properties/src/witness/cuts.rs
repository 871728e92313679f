//! Where each snapshot cuts each channel: records sent before the producer's, records taken before the consumer's.

use super::run::Run;
use super::topology::Topology;
use cofferdam_engine::ids::{Attempt, CheckpointId};
use std::collections::BTreeMap;

/// Cuts of the newest checkpoints.
#[derive(Default)]
pub struct Cuts {
    of: BTreeMap<(CheckpointId, Attempt), Vec<Cut>>,
}

/// One channel, cut.
#[derive(Clone, Copy, Default)]
struct Cut {
    sent: Option<u64>,
    taken: Option<u64>,
}

impl Cuts {
    /// A subtask's snapshot cuts all its channels; says what is wrong with the first that is cut inconsistently.
    pub fn on_snapshot(
        &mut self,
        topology: &Topology,
        run: &Run,
        subtask: usize,
        checkpoint: CheckpointId,
    ) -> Option<String> {
        let fresh = || vec![Cut::default(); topology.channels.len()];
        let cuts = self.of.entry((checkpoint, run.attempt)).or_insert_with(fresh);
        for lane in &topology.outputs[subtask] {
            cuts[*lane].sent = Some(run.lanes[*lane].sent);
        }
        for lane in &topology.inputs[subtask] {
            cuts[*lane].taken = Some(run.lanes[*lane].taken);
        }
        let touched = topology.outputs[subtask].iter().chain(&topology.inputs[subtask]);
        touched.copied().find_map(|lane| {
            let Cut { sent: Some(sent), taken: Some(taken) } = cuts[lane] else { return None };
            let channel = topology.channels[lane];
            (sent != taken).then(|| {
                format!("{channel} is cut after {sent} records by its producer and after {taken} by its consumer")
            })
        })
    }

    /// Forgets checkpoints below `floor`.
    pub fn forget_below(&mut self, floor: CheckpointId) {
        self.of = self.of.split_off(&(floor, Attempt::default()));
    }
}

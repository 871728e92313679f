//! Where each snapshot cuts each channel: records sent before the producer's, records taken before the consumer's.
//!
//! Exactly-once barriers cut both ends behind the same record. At-least-once barriers may cut the consumer behind more
//! records than the producer, which are processed again after a restore, but never behind fewer, which would be lost.
//! A producer that has finished takes no snapshot: its end, which the consumer has taken by then, is its cut.
//!
//! Whatever barriers promise, a snapshot behind the end of input needs snapshots of all producers that are: another would
//! send again after a restore, to somebody who has finished its output and not necessarily to whom it sent before.

use super::run::Run;
use super::topology::Topology;
use super::{AT_LEAST_ONCE, CONSISTENT_CUT};
use cofferdam_engine::config::CheckpointMode;
use cofferdam_engine::ids::{Attempt, ChannelId, CheckpointId};
use std::collections::{BTreeMap, BTreeSet};

/// Cuts of the newest checkpoints.
pub struct Cuts {
    mode: CheckpointMode,
    of: BTreeMap<(CheckpointId, Attempt), Vec<Cut>>,
    /// Checkpoints with a channel whose consumer had taken more than its producer had sent.
    overlapping: BTreeSet<(CheckpointId, Attempt)>,
    overlaps: u64,
}

/// One channel, cut.
#[derive(Clone, Copy, Default)]
struct Cut {
    producer: Option<End>,
    consumer: Option<End>,
}

/// One end of a channel, cut.
#[derive(Clone, Copy)]
struct End {
    /// Records sent, or taken.
    records: u64,
    /// Whether the subtask had processed its input.
    ended: bool,
}

impl Cuts {
    /// Cuts of a job whose barriers promise `mode`.
    pub fn of(mode: CheckpointMode) -> Self {
        Self { mode, of: BTreeMap::new(), overlapping: BTreeSet::new(), overlaps: 0 }
    }

    /// What an inconsistent cut convicts of.
    pub fn property(&self) -> &'static str {
        match self.mode {
            CheckpointMode::ExactlyOnce => CONSISTENT_CUT,
            CheckpointMode::AtLeastOnce => AT_LEAST_ONCE,
        }
    }

    /// Channels cut behind more records at their consumer than at their producer.
    pub fn overlapping(&self) -> u64 {
        self.overlaps
    }

    /// Whether a checkpoint has such a channel.
    pub fn overlaps(&self, checkpoint: (CheckpointId, Attempt)) -> bool {
        self.overlapping.contains(&checkpoint)
    }

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
        let ended = run.lives[subtask].as_ref().is_some_and(|live| live.ended);
        for lane in &topology.outputs[subtask] {
            cuts[*lane].producer = Some(End { records: run.lanes[*lane].sent, ended });
        }
        for lane in &topology.inputs[subtask] {
            cuts[*lane].consumer = Some(End { records: run.lanes[*lane].taken, ended });
        }
        let touched = topology.outputs[subtask].iter().chain(&topology.inputs[subtask]);
        let mut wrong = None;
        for lane in touched.copied() {
            let Cut { producer: Some(producer), consumer: Some(consumer) } = cuts[lane] else { continue };
            if consumer.records > producer.records {
                self.overlaps += 1;
                self.overlapping.insert((checkpoint, run.attempt));
            }
            wrong = wrong.or_else(|| wrong_cut(self.mode, topology.channels[lane], producer, consumer));
        }
        wrong
    }

    /// Forgets checkpoints below `floor`.
    pub fn forget_below(&mut self, floor: CheckpointId) {
        self.of = self.of.split_off(&(floor, Attempt::default()));
    }
}

fn wrong_cut(mode: CheckpointMode, channel: ChannelId, producer: End, consumer: End) -> Option<String> {
    let (sent, taken) = (producer.records, consumer.records);
    let fine = match mode {
        CheckpointMode::ExactlyOnce => sent == taken,
        CheckpointMode::AtLeastOnce => sent <= taken,
    };
    if !fine {
        let message =
            format!("{channel} is cut after {sent} records by its producer and after {taken} by its consumer");
        return Some(message);
    }
    (consumer.ended && !producer.ended)
        .then(|| format!("{channel} is cut behind the end of input by its consumer and in front of it by its producer"))
}

//! Barrier order and alignment: between two barriers there is exactly what belongs there.
//!
//! Source: order rule O3 and Flink, *Barrier alignment*: after barrier n on a channel no record of that channel is
//! processed until n was received on all channels; the barrier is emitted, then the snapshot is taken, and all of it is
//! one atomic step with respect to records.
//!
//! Per attempt and subtask:
//! 1. barriers of a channel strictly increase, and so do emitted barriers and snapshots;
//! 2. after barrier n on a channel nothing is consumed from it until the alignment of n ended, its snapshot was taken
//!    or it was given up;
//! 3. barrier n is emitted, and snapshot n is taken, only after barrier n on *every* channel whose producer has not
//!    finished, ended ones included; if all producers have, after a trigger;
//! 4. a subtask with outputs emits barrier n before snapshot n, and processes nothing in between.
//!
//! Does not check which records are in front of a barrier: re-execution and [`consistent_cut`](super::consistent_cut)
//! do. Where barriers promise only *at least once* nothing blocks: the second rule falls away.

use crate::case::{Case, Property, Violation};
use crate::history::What;
use crate::witness::topology::Topology;
use cofferdam_engine::config::CheckpointMode;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, ChannelId, CheckpointId, SubtaskId};

const NAME: &str = "barrier-alignment";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "snapshots and barriers wait for the barrier on every channel, and blocked channels are left alone",
    source: "order rule O3; Flink: Barrier alignment",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let topology = Topology::of(&case.job.graph);
    let mode = case.job.config.checkpoints.mode;
    let mut attempts: Vec<(Attempt, Vec<Inputs>)> = Vec::new();
    for (at, entry) in case.history.entries.iter().enumerate() {
        let What::Claim(event) = &entry.what else { continue };
        let Some((attempt, subtask)) = subtask_of(event) else { continue };
        let Some(number) = topology.subtask(subtask) else { continue };
        if !attempts.iter().any(|(known, _)| *known == attempt) {
            attempts.push((attempt, topology.subtasks.iter().map(|_| Inputs::new(mode)).collect()));
        }
        let (_, inputs) = attempts.iter_mut().rev().find(|(known, _)| *known == attempt).expect("just added");
        let has_outputs = !topology.outputs[number].is_empty();
        if let Some(message) = inputs[number].on_event(&topology, &topology.inputs[number], has_outputs, event) {
            return Some(Violation::new(NAME, at, format!("{} of {attempt}", topology.graph.show(subtask)), message));
        }
    }
    None
}

/// The subtask of an event that matters here.
fn subtask_of(event: &Event) -> Option<(Attempt, SubtaskId)> {
    match *event {
        Event::SourceEmitted { attempt, subtask, .. }
        | Event::Consumed { attempt, subtask, .. }
        | Event::BarrierReceived { attempt, subtask, .. }
        | Event::CancelReceived { attempt, subtask, .. }
        | Event::EndReceived { attempt, subtask, .. }
        | Event::ClosedReceived { attempt, subtask, .. }
        | Event::TriggerReceived { attempt, subtask, .. }
        | Event::AlignmentEnded { attempt, subtask, .. }
        | Event::AlignmentAborted { attempt, subtask, .. }
        | Event::BarrierEmitted { attempt, subtask, .. }
        | Event::SnapshotTaken { attempt, subtask, .. }
        | Event::AbortReceived { attempt, subtask, .. } => Some((attempt, subtask)),
        _ => None,
    }
}

/// Where one subtask stands.
struct Inputs {
    mode: CheckpointMode,
    /// Channels on which something arrived that matters here.
    lanes: Vec<Lane>,
    /// The newest barrier seen on any channel.
    newest: CheckpointId,
    /// Given up, so that their barriers block nothing.
    aborted: Vec<CheckpointId>,
    /// The newest that was triggered here.
    triggered: CheckpointId,
    /// The newest that blocks nothing any more because it is through.
    through: CheckpointId,
    emitted: CheckpointId,
    snapshot: CheckpointId,
    processed_since_emitted: bool,
}

/// What arrived on one channel.
struct Lane {
    number: usize,
    /// The barriers that may still be waited with, in order; the newest is always there.
    barriers: Vec<CheckpointId>,
    ended: bool,
    closed: bool,
}

impl Inputs {
    fn new(mode: CheckpointMode) -> Self {
        Self {
            mode,
            lanes: Vec::new(),
            newest: CheckpointId::default(),
            aborted: Vec::new(),
            triggered: CheckpointId::default(),
            through: CheckpointId::default(),
            emitted: CheckpointId::default(),
            snapshot: CheckpointId::default(),
            processed_since_emitted: false,
        }
    }

    /// Says what is wrong with the event.
    fn on_event(&mut self, topology: &Topology, lanes: &[usize], has_outputs: bool, event: &Event) -> Option<String> {
        match *event {
            Event::SourceEmitted { .. } => {
                self.processed_since_emitted = true;
                None
            }
            Event::Consumed { channel, .. } => {
                self.processed_since_emitted = true;
                let barrier = self.barrier_on(topology.channel(channel)?)?;
                self.blocks(barrier).then(|| format!("consumes {channel} although it is blocked by barrier {barrier}"))
            }
            Event::BarrierReceived { channel, checkpoint, .. } => self.on_barrier(topology, channel, checkpoint),
            Event::EndReceived { channel, .. } => {
                self.lane(topology.channel(channel)?).ended = true;
                None
            }
            Event::ClosedReceived { channel, .. } => {
                self.lane(topology.channel(channel)?).closed = true;
                None
            }
            Event::CancelReceived { checkpoint, .. }
            | Event::AlignmentAborted { checkpoint, .. }
            | Event::AbortReceived { checkpoint, .. } => {
                self.aborted.push(checkpoint);
                None
            }
            Event::TriggerReceived { checkpoint, .. } => {
                self.triggered = self.triggered.max(checkpoint);
                None
            }
            Event::AlignmentEnded { checkpoint, .. } => {
                let missing = self.missing(topology, lanes, checkpoint);
                self.through = self.through.max(checkpoint);
                missing.map(|missing| format!("ends the alignment of {checkpoint} without {missing}"))
            }
            Event::BarrierEmitted { checkpoint, .. } => self.on_emitted(topology, lanes, checkpoint),
            Event::SnapshotTaken { checkpoint, .. } => self.on_snapshot(topology, lanes, has_outputs, checkpoint),
            _ => None,
        }
    }

    fn lane(&mut self, number: usize) -> &mut Lane {
        let known = self.lanes.iter().position(|lane| lane.number == number).unwrap_or_else(|| {
            self.lanes.push(Lane { number, barriers: Vec::new(), ended: false, closed: false });
            self.lanes.len() - 1
        });
        &mut self.lanes[known]
    }

    fn barrier_on(&self, number: usize) -> Option<CheckpointId> {
        self.lanes.iter().find(|lane| lane.number == number)?.barriers.last().copied()
    }

    /// Obsolete barriers (older than another one, given up, or through) block nothing, and neither do those that promise
    /// only *at least once*.
    fn blocks(&self, barrier: CheckpointId) -> bool {
        self.mode == CheckpointMode::ExactlyOnce
            && barrier > self.through
            && barrier == self.newest
            && !self.aborted.contains(&barrier)
    }

    /// Which barrier (or trigger) a checkpoint lacks here.
    fn missing(&self, topology: &Topology, lanes: &[usize], checkpoint: CheckpointId) -> Option<String> {
        let triggered = self.triggered == checkpoint;
        let mut has_cause = triggered;
        for number in lanes {
            let lane = self.lanes.iter().find(|lane| lane.number == *number);
            let here = lane.is_some_and(|lane| match self.mode {
                CheckpointMode::ExactlyOnce => lane.barriers.last() == Some(&checkpoint),
                CheckpointMode::AtLeastOnce => lane.barriers.contains(&checkpoint),
            });
            has_cause |= here;
            // Nothing comes behind a close; nor behind an end, for whom all producers are known to have finished.
            let needless = lane.is_some_and(|lane| lane.closed || (triggered && lane.ended));
            if !here && !needless {
                return Some(format!("its barrier on {}", topology.channels[*number]));
            }
        }
        (!has_cause).then(|| "a barrier or a trigger".to_owned())
    }

    fn on_barrier(&mut self, topology: &Topology, channel: ChannelId, checkpoint: CheckpointId) -> Option<String> {
        let number = topology.channel(channel)?;
        let before = self.barrier_on(number);
        let is_blocked = before.is_some_and(|before| self.blocks(before));
        let oldest = self.snapshot;
        let lane = self.lane(number);
        lane.barriers.retain(|barrier| *barrier > oldest);
        lane.barriers.push(checkpoint);
        self.newest = self.newest.max(checkpoint);
        let before = before?;
        if before >= checkpoint {
            return Some(format!("receives barrier {checkpoint} on {channel} after barrier {before}"));
        }
        is_blocked
            .then(|| format!("takes barrier {checkpoint} from {channel} although it is blocked by barrier {before}"))
    }

    fn on_emitted(&mut self, topology: &Topology, lanes: &[usize], checkpoint: CheckpointId) -> Option<String> {
        if checkpoint <= self.emitted {
            return Some(format!("emits barrier {checkpoint} after barrier {}", self.emitted));
        }
        self.emitted = checkpoint;
        self.processed_since_emitted = false;
        let missing = self.missing(topology, lanes, checkpoint)?;
        Some(format!("emits barrier {checkpoint} without {missing}"))
    }

    fn on_snapshot(
        &mut self,
        topology: &Topology,
        lanes: &[usize],
        has_outputs: bool,
        checkpoint: CheckpointId,
    ) -> Option<String> {
        let before = std::mem::replace(&mut self.snapshot, checkpoint);
        self.through = self.through.max(checkpoint);
        if checkpoint <= before {
            return Some(format!("takes snapshot {checkpoint} after snapshot {before}"));
        }
        if let Some(missing) = self.missing(topology, lanes, checkpoint) {
            return Some(format!("takes snapshot {checkpoint} without {missing}"));
        }
        if has_outputs && self.emitted != checkpoint {
            return Some(format!("takes snapshot {checkpoint} before it has emitted the barrier"));
        }
        if has_outputs && self.processed_since_emitted {
            return Some(format!("processes records between barrier and snapshot {checkpoint}"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::history::What;
    use crate::story::Story;
    use cofferdam_engine::event::Event;
    use cofferdam_engine::ids::{CheckpointId, OperatorId};

    fn aligned() -> Story {
        let mut story = Story::begun();
        story.emit(0, 2);
        story.emit(1, 2);
        story.checkpoint();
        story
    }

    fn message(story: &Story) -> String {
        story.judge_by(NAME).expect("a conviction").message
    }

    fn is_snapshot_of(operator: u16) -> impl Fn(&What) -> bool {
        move |what| match what {
            What::Claim(Event::SnapshotTaken { subtask, .. }) => subtask.operator == OperatorId(operator),
            _ => false,
        }
    }

    #[test]
    fn an_aligned_checkpoint_passes() {
        assert_eq!(aligned().judge_by(NAME), None);
        assert_eq!(Story::whole().judge_by(NAME), None);
    }

    #[test]
    fn a_record_taken_from_a_blocked_channel_convicts() {
        let mut story = aligned();
        // The last batch in front of a barrier is consumed behind it.
        story.move_before(
            |what| matches!(what, What::Claim(Event::Consumed { .. })),
            |what| matches!(what, What::Claim(Event::AlignmentEnded { .. })),
        );
        assert!(message(&story).contains("although it is blocked by barrier chk-1"));
    }

    #[test]
    fn a_snapshot_without_all_barriers_convicts() {
        let mut story = aligned();
        story.drop_first(|what| matches!(what, What::Claim(Event::BarrierReceived { .. })));
        assert!(message(&story).contains("without its barrier on edge-0:0>0"));
    }

    #[test]
    fn a_snapshot_before_the_barrier_is_emitted_convicts() {
        let mut story = aligned();
        story.move_before(is_snapshot_of(0), |what| matches!(what, What::Claim(Event::BarrierEmitted { .. })));
        assert!(message(&story).contains("before it has emitted the barrier"));
    }

    #[test]
    fn a_record_between_barrier_and_snapshot_convicts() {
        let mut story = aligned();
        story.move_before(|what| matches!(what, What::Claim(Event::SourceEmitted { .. })), is_snapshot_of(0));
        assert!(message(&story).contains("processes records between barrier and snapshot chk-1"));
    }

    #[test]
    fn a_barrier_that_comes_twice_convicts() {
        let mut story = aligned();
        story.checkpoint();
        story.falsify(|event| match event {
            Event::BarrierReceived { checkpoint, .. } => {
                *checkpoint = CheckpointId(1);
                true
            }
            _ => false,
        });
        assert!(message(&story).contains("receives barrier chk-1 on edge-1:1>0 after barrier chk-1"));
    }

    #[test]
    fn a_snapshot_that_nobody_asked_for_convicts() {
        let mut story = aligned();
        story.drop_first(|what| matches!(what, What::Claim(Event::TriggerReceived { .. })));
        assert_eq!(message(&story), "emits barrier chk-1 without a barrier or a trigger");
    }

    #[test]
    fn a_cancelled_alignment_blocks_nothing() {
        let mut story = aligned();
        let aborted = story.find(|what| matches!(what, What::Claim(Event::AlignmentStarted { .. }))) + 1;
        let (attempt, subtask) = (story.attempt(), story.subtask(2));
        let abort = Event::AlignmentAborted { attempt, subtask, checkpoint: CheckpointId(1) };
        story.insert_before(aborted, crate::story::place(subtask), What::Claim(abort));
        let is_of_it = |what: &What| match what {
            What::Claim(Event::AlignmentEnded { subtask: s, .. }) => *s == subtask,
            _ => false,
        };
        story.move_before(|what| matches!(what, What::Claim(Event::Consumed { .. })), is_of_it);
        let verdict = story.judge_by(NAME);
        assert!(!verdict.is_some_and(|violation| violation.message.contains("blocked")));
    }
}

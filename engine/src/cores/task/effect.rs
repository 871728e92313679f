//! The control messages of a subtask, and its effects.

use crate::cores::transactions::Completion;
use crate::element::{Barrier, Element};
use crate::event::Event;
use crate::ids::CheckpointId;
use crate::messages::{SnapshotHandle, ToCoordinator};
use crate::state::Section;
use crate::statistics::SnapshotStatistics;

/// A control message of the worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// Start a checkpoint; for subtasks without running producers.
    Trigger(Barrier),
    /// A checkpoint is durable.
    Completed(Completion),
    /// A checkpoint will not complete.
    Aborted(CheckpointId),
}

/// What travels on a channel beside records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marker {
    /// A checkpoint passes.
    Barrier(Barrier),
    /// The checkpoint will not happen.
    Cancel(CheckpointId),
    /// No more records will come on this channel.
    EndOfInput,
    /// The producer is gone: nothing more will come on this channel.
    Closed,
}

impl From<Marker> for Element {
    fn from(marker: Marker) -> Self {
        match marker {
            Marker::Barrier(barrier) => Self::Barrier(barrier),
            Marker::Cancel(checkpoint) => Self::Cancel(checkpoint),
            Marker::EndOfInput => Self::EndOfInput,
            Marker::Closed => Self::Closed,
        }
    }
}

/// What a subtask asks for. Effects are performed in their order. One that takes time is always the last of a step: the
/// core has paused, and goes on with the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Announce this.
    Announce(Event),
    /// Send this report to the coordinator, through [`Hosting::on_report`](crate::cores::hosting::Hosting::on_report)
    /// of its worker.
    Report(ToCoordinator),
    /// Put this on every output channel, behind what is there. A channel to another worker is carried by a link. The
    /// shell of the receiving subtask takes it from its input channel and calls [`on_marker`](super::Task::on_marker).
    Broadcast(Marker),
    /// Put the output that the operator has buffered on its channels.
    Flush,
    /// Read this snapshot; then [`on_snapshot_read`](super::Task::on_snapshot_read).
    ReadSnapshot(SnapshotHandle),
    /// Hand these sections to the reader and the operator; then [`on_state_restored`](super::Task::on_state_restored).
    RestoreState(Vec<Section>),
    /// Encode the live state and digest it; then [`on_digest`](super::Task::on_digest), at once.
    DigestState,
    /// Remove what former attempts have staged; then [`on_staged_discarded`](super::Task::on_staged_discarded).
    DiscardStaged,
    /// Let the operator emit what it has held back for the end of its input.
    FinishOutput,
    /// Put all output on its channels, batch by batch as credit comes; then [`on_drained`](super::Task::on_drained).
    DrainOutput,
    /// Stage what was written since the last barrier; then [`on_prepared`](super::Task::on_prepared).
    Prepare(CheckpointId),
    /// Take a view of the state as it is now, with [`Task::sections`](super::Task::sections); then
    /// [`on_viewed`](super::Task::on_viewed), at once.
    ViewState,
    /// Start an [`Uploading`](crate::cores::uploading::Uploading) with the view. It acknowledges or declines.
    Upload(Snapshot),
    /// Discard the upload of this checkpoint, unless it has won the decision already.
    Discard(CheckpointId),
    /// Free the decision about the upload of this checkpoint, which is durable: the upload has acknowledged.
    Forget(CheckpointId),
    /// Make a staged committable visible; then [`on_committed`](super::Task::on_committed).
    Commit(Vec<u8>),
}

/// A snapshot that is about to be uploaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// Whether the subtask had processed all its input.
    pub ended: bool,
    /// What aligning and the synchronous part took.
    pub statistics: SnapshotStatistics,
    /// Whether the subtask blocks until the upload is over, also if it is discarded meanwhile; then
    /// [`on_uploaded`](super::Task::on_uploaded).
    pub awaited: bool,
}

/// What may be done with an input channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// Take the element at its front.
    Take,
    /// Wait until an element arrives.
    Wait,
    /// Leave it alone: it is blocked behind a barrier, or its records need credit.
    Leave,
}

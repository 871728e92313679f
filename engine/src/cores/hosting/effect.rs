//! What a worker asks for, and what its shell does next.

use crate::cores::early_links::LinkId;
use crate::cores::transactions::Completion;
use crate::cores::wiring::Wiring;
use crate::door::Time;
use crate::element::Barrier;
use crate::error::Result;
use crate::event::Event;
use crate::ids::{Attempt, CheckpointId, Generation, SubtaskId, WorkerId};
use crate::messages::ToCoordinator;
use std::time::Duration;

/// What a worker asks for. Effects are performed in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Announce this.
    Announce(Event),
    /// Read and write the connection that was just made. What is read of it is of this session.
    OpenSession {
        /// Which one, counted from 1.
        session: u64,
    },
    /// Hang up, and stop what belongs to the session.
    CloseSession,
    /// Send this to the coordinator of the session.
    Send(ToCoordinator),
    /// Look for a leadership in the folders of this worker; then [`on_seen`](super::Hosting::on_seen).
    Look {
        /// Which one.
        generation: Generation,
    },
    /// Put this behind what the subtasks have reported; then [`on_report`](super::Hosting::on_report), in that order.
    Report(ToCoordinator),
    /// Start the subtasks, channels and links of an attempt. No other attempt runs on this worker.
    StartAttempt(Box<Wiring>),
    /// Stop the attempt: abort its subtasks and links where they wait. A stopped subtask takes no further step. Its
    /// uploads are not aborted: a flag shows them that the attempt is over, and they report nothing
    /// ([`crate::cores::uploading`]).
    CancelAttempt,
    /// Compare a barrier with those that came on links; then
    /// [`on_barrier_compared`](super::Hosting::on_barrier_compared), at once. Always the last effect of a step: the
    /// core has paused.
    CompareBarrier(Barrier),
    /// A subtask of the attempt starts a checkpoint. A subtask that has failed takes no more messages: its shell drops
    /// them. Neither does one that has exited and whose report is still on its way.
    Trigger {
        /// At which subtask.
        subtask: SubtaskId,
        /// With this barrier.
        barrier: Barrier,
    },
    /// A checkpoint is durable. A subtask that is over drops this, as it drops a [`Trigger`](Self::Trigger).
    Complete {
        /// The subtasks that learn it, in order.
        subtasks: Vec<SubtaskId>,
        /// The proof.
        completion: Completion,
    },
    /// A checkpoint will not complete. A subtask that is over drops this, as it drops a [`Trigger`](Self::Trigger).
    Abort {
        /// The subtasks that learn it, in order.
        subtasks: Vec<SubtaskId>,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// The attempt reads this link.
    AttachLink {
        /// Which one.
        link: LinkId,
        /// The producing worker.
        from: WorkerId,
    },
    /// Keep a link until it is called or released, its peer hangs up, or `limit` is over; then
    /// [`on_link_called`](super::Hosting::on_link_called) or [`on_link_gone`](super::Hosting::on_link_gone).
    HoldLink {
        /// Which one.
        link: LinkId,
        /// The attempt that it belongs to.
        attempt: Attempt,
        /// The producing worker.
        from: WorkerId,
        /// After this its peer has given up.
        limit: Duration,
    },
    /// Hang up on a link that has arrived or was called.
    RefuseLink {
        /// Which one.
        link: LinkId,
    },
    /// The attempt of a held link runs.
    CallLink {
        /// Which one.
        link: LinkId,
    },
    /// Hang up on a held link.
    ReleaseLink {
        /// Which one.
        link: LinkId,
    },
}

/// What the shell does once nothing is left of an input.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Next {
    /// Dial a coordinator; then [`on_connected`](super::Hosting::on_connected) or
    /// [`on_unreachable`](super::Hosting::on_unreachable). Inputs wait meanwhile.
    Dial {
        /// Where.
        coordinator: String,
        /// For how long at most.
        limit: Duration,
    },
    /// Wait; then [`on_paused`](super::Hosting::on_paused). Inputs wait meanwhile.
    Pause(Duration),
    /// Wait for an input or a report, but not longer than this; then [`on_alarm`](super::Hosting::on_alarm).
    WaitUntil(Time),
    /// Wait until the outcome of every write and upload of this process is known, but not longer than this; then, in either
    /// case, [`on_alarm`](super::Hosting::on_alarm). No input is taken any more.
    DrainUntil(Time),
    /// The worker is done.
    End(Result<()>),
}

//! What the engine announces: the points of the protocol, each with its coordinates.
//!
//! Production shows them as `tracing` events. The simulator records them as the *claims* of a run, aims its
//! faults at them, and judges re-execute the run from them. So the order of announcing matters:
//! * an event that *starts* something is emitted before the first effect, one that *ends* something after the last;
//! * [`Event::Consumed`] and [`Event::SourceEmitted`] are emitted before the records are processed, in
//!   processing order per subtask: together they are the complete order of elements of that subtask.
//!
//! An event says nothing about durability or visibility by itself: those are judged on what the doubles saw.

mod coordinates;

use crate::ids::{Attempt, ChannelId, CheckpointId, Generation, SubtaskId, WorkerId};
use crate::messages::client::{Answer, Wish};
use crate::reason::FailureReason;

/// One announcement.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(missing_docs, reason = "coordinates are named after their types; the variant says the rest")]
pub enum Event {
    // --- Coordinator: leadership and attempts ---
    /// The slot that makes this process the leader is durable.
    LeadershipTaken { generation: Generation, slot: u64 },
    /// A mark of the output is about to be created; `checkpoint` is durable if the mark says that of it.
    MarkStarted { path: String, checkpoint: Option<CheckpointId> },
    /// The output is this leadership's, and committed up to what the log holds.
    OutputOwned { generation: Generation },
    /// A standby has seen no sign of life of the leader, whose last was of `generation`, for as long as a lease, and is about to
    /// claim the log.
    LeaseExpired { generation: Option<Generation>, lease_ms: u64 },
    /// A newer leader exists; this process stops.
    Deposed { generation: Generation },
    /// A worker was accepted.
    WorkerRegistered { worker: WorkerId },
    /// Another process is this worker; one that wants to be it as well waits. Said by the coordinator and by the one that waits.
    WorkerWaits { worker: WorkerId },
    /// A worker that does not fit was turned away.
    WorkerRefused { reason: String },
    /// A registered worker sent what no right worker can send: its connection is about to be closed.
    ReportRejected { worker: WorkerId, attempt: Attempt, cause: String },
    /// The process at the other end of a new connection, which it knows as `peer`, has proved to be a member of the job: this
    /// worker, or a client.
    PeerTrusted { peer: String, worker: Option<WorkerId> },
    /// The process at the other end of a new connection is no member of the job, and was hung up on.
    PeerDistrusted { peer: String, cause: String },
    /// A worker's connection is lost or silent.
    WorkerLost { worker: WorkerId },
    /// A worker runs nothing; `what` it waits for is for people. Announced when that changes.
    WorkerIdle { worker: WorkerId, what: String },
    /// The latest completed checkpoint was read back from storage, about to be deployed.
    RestoreRead { attempt: Attempt, checkpoint: CheckpointId },
    /// The input of an attempt that starts from nothing was listed, so many objects, and the listing is about to be stored.
    InputListed { attempt: Attempt, path: String, objects: u64 },
    /// Objects came to the input after it was listed, or grew: what came is not read. `first` names one of them for people.
    InputIgnored { added: u64, grown: u64, first: String },
    /// Deployments are about to be sent.
    AttemptDeployed { attempt: Attempt, restore: Option<CheckpointId> },
    /// Every subtask has restored.
    AttemptRunning { attempt: Attempt },
    /// The attempt is over before the job finished: it failed, or the job is cancelled. `cause` is for people.
    AttemptFailed { attempt: Attempt, cause: String },
    /// The next attempt follows this one, which failed, after so long.
    RestartScheduled { attempt: Attempt, delay_ns: u64 },

    // --- Coordinator: one checkpoint ---
    /// An id was allocated and the plan made.
    CheckpointTriggered { attempt: Attempt, checkpoint: CheckpointId },
    /// A trigger is about to be sent.
    TriggerSent { attempt: Attempt, checkpoint: CheckpointId, worker: WorkerId },
    /// An ack that counts arrived.
    AckReceived { attempt: Attempt, checkpoint: CheckpointId, subtask: SubtaskId },
    /// A decline that counts arrived.
    DeclineReceived { attempt: Attempt, checkpoint: CheckpointId, subtask: SubtaskId },
    /// All acks are in; the manifest is about to be written.
    ManifestStarted { checkpoint: CheckpointId, path: String },
    /// The manifest is durable.
    ManifestWritten { checkpoint: CheckpointId, path: String },
    /// The slot is about to be created.
    CompletionStarted { checkpoint: CheckpointId, slot: u64 },
    /// The slot is durable, which is the commit point, and the output is marked.
    CompletionDurable {
        checkpoint: CheckpointId,
        slot: u64,
        manifest: String,
        bytes: u64,
        duration_ms: u64,
        last: bool,
    },
    /// The checkpoint will not complete.
    CheckpointAborted { checkpoint: CheckpointId, reason: FailureReason },
    /// The statistics of this leadership after a checkpoint completed or failed; `remembered` are kept one by one.
    StatisticsKept { triggered: u64, in_progress: u64, completed: u64, failed: u64, restored: u64, remembered: u64 },
    /// A client's wish arrived that is not answered at once; requests count from 1 in each leadership, with gaps.
    RequestReceived { request: u64, wish: Wish },
    /// The answer is about to be sent.
    RequestAnswered { request: u64, answer: Answer },
    /// The client is gone: there will be no answer.
    RequestWithdrawn { request: u64 },
    /// A notification of completion is about to be sent.
    NotifySent { attempt: Attempt, checkpoint: CheckpointId, worker: WorkerId },
    /// The checkpoint fell out of retention.
    CheckpointSubsumed { checkpoint: CheckpointId },
    /// An object of a subsumed or aborted checkpoint is about to be deleted.
    DeleteStarted { path: String },
    /// Every subtask has finished and that is durable.
    JobFinished { checkpoint: CheckpointId },
    /// It could not be deleted; the next sweep tries again.
    DeleteFailed { path: String, cause: String },
    /// The job is over without having finished, and that is durable. The newest checkpoint stays restorable, unless the
    /// retention policy says otherwise.
    JobFailed { cause: String },
    /// The job was cancelled, and that is durable.
    JobCancelled { checkpoint: Option<CheckpointId> },

    // --- Subtask: restore ---
    /// The subtask's blob is about to be read.
    RestoreStarted { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },
    /// The subtask's live state is complete, before its first element and before commits are repeated. `digest` is
    /// [`crate::state::digest`] of the live state, encoded afresh.
    Restored { attempt: Attempt, subtask: SubtaskId, checkpoint: Option<CheckpointId>, digest: u64, ended: bool },

    // --- Subtask: elements, in processing order ---
    /// The source produced records, about to be processed by its own chain.
    SourceEmitted { attempt: Attempt, subtask: SubtaskId, records: u64 },
    /// A batch left a channel, about to be processed. `seq` counts elements of the channel from 0.
    Consumed { attempt: Attempt, subtask: SubtaskId, channel: ChannelId, seq: u64, records: u64 },
    /// A barrier left a channel.
    BarrierReceived { attempt: Attempt, subtask: SubtaskId, channel: ChannelId, seq: u64, checkpoint: CheckpointId },
    /// A cancellation marker left a channel.
    CancelReceived { attempt: Attempt, subtask: SubtaskId, channel: ChannelId, seq: u64, checkpoint: CheckpointId },
    /// The end of input left a channel.
    EndReceived { attempt: Attempt, subtask: SubtaskId, channel: ChannelId, seq: u64 },
    /// The producer of a channel is gone.
    ClosedReceived { attempt: Attempt, subtask: SubtaskId, channel: ChannelId, seq: u64 },
    /// All input has been processed; the operator is about to finish its output.
    InputEnded { attempt: Attempt, subtask: SubtaskId },

    // --- Subtask: one checkpoint ---
    /// A trigger reached a subtask without running producers.
    TriggerReceived { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },
    /// The first barrier of several arrived.
    AlignmentStarted { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },
    /// The last barrier arrived.
    AlignmentEnded { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },
    /// The alignment will not end: cancelled, aborted or superseded.
    AlignmentAborted { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },
    /// The barrier is on every output channel, behind every record of before.
    BarrierEmitted { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },
    /// The cancellation marker is on every output channel.
    CancelEmitted { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },
    /// The sink staged everything written since the last barrier (pre-commit).
    Prepared { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },
    /// The sink could not stage; what was written stays for the next checkpoint.
    PrepareFailed { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId, cause: String },
    /// The copy-on-write view exists: later changes are not part of the snapshot.
    SnapshotTaken { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId, ended: bool },
    /// What was encoded first is about to be written: the whole blob, or the first part of a large one, whose rest is
    /// encoded and written part by part. `bytes` counts what is encoded by now.
    UploadStarted { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId, path: String, bytes: u64 },
    /// The blob is durable.
    UploadEnded { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId, path: String, digest: u64 },
    /// The blob could not be written.
    UploadFailed { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId, cause: String },
    /// The ack is about to be sent.
    AckSent { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId, digest: u64 },
    /// A decline is about to be sent.
    DeclineSent { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId, reason: FailureReason },
    /// The subtask handles a completion.
    NotifyReceived { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },
    /// An abort reached the subtask, which may be waiting in the midst of a step.
    AbortReceived { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },
    /// The sink is about to make what it staged for `checkpoint` visible.
    CommitStarted { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },
    /// It is visible.
    CommitEnded { attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },

    // --- Subtask: the end ---
    /// The subtask exits: a completed checkpoint holds the end of its input.
    SubtaskFinished { attempt: Attempt, subtask: SubtaskId },
    /// The subtask failed.
    SubtaskFailed { attempt: Attempt, subtask: SubtaskId, cause: String },
    /// A link of the worker to or from another one broke.
    LinkFailed { attempt: Attempt, worker: WorkerId, cause: String },
    /// The coordinator sent what no right leader can send: the worker is about to give up the connection.
    CommandRejected { worker: WorkerId, cause: String },
    /// The worker lost its coordinator and will cancel what it runs.
    CoordinatorLost { worker: WorkerId, cause: String },
    /// The worker stopped every task of an attempt.
    AttemptCancelled { attempt: Attempt, worker: WorkerId },

    // --- Client ---
    /// A wish is about to be sent.
    WishSent { wish: Wish },
    /// Its answer arrived.
    AnswerHeard { answer: Answer },
    /// There will be no answer, and the outcome is not known; `cause` is for people.
    AnswerLost { cause: String },
}

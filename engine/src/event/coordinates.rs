//! The name and the coordinates of an event: what a fault aims at and a story is filtered by.

use super::Event;
use crate::ids::{Attempt, CheckpointId, SubtaskId};

/// Says each variant's name once; the match is exhaustive, so a new event cannot be forgotten.
macro_rules! names {
    ($($variant:ident => $name:literal),* $(,)?) => {
        impl Event {
            /// The names of all events, as [`Event::name`] says them.
            pub const NAMES: &[&str] = &[$($name),*];

            /// The variant in snake case, as it is serialised.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                }
            }
        }
    };
}

names! {
    LeadershipTaken => "leadership_taken",
    MarkStarted => "mark_started",
    OutputOwned => "output_owned",
    LeaseExpired => "lease_expired",
    Deposed => "deposed",
    WorkerRegistered => "worker_registered",
    WorkerWaits => "worker_waits",
    WorkerRefused => "worker_refused",
    PeerTrusted => "peer_trusted",
    PeerDistrusted => "peer_distrusted",
    ReportRejected => "report_rejected",
    WorkerLost => "worker_lost",
    CommandRejected => "command_rejected",
    WorkerIdle => "worker_idle",
    CoordinatorLost => "coordinator_lost",
    RestoreRead => "restore_read",
    InputListed => "input_listed",
    InputIgnored => "input_ignored",
    AttemptDeployed => "attempt_deployed",
    AttemptRunning => "attempt_running",
    AttemptFailed => "attempt_failed",
    RestartScheduled => "restart_scheduled",
    CheckpointTriggered => "checkpoint_triggered",
    TriggerSent => "trigger_sent",
    AckReceived => "ack_received",
    DeclineReceived => "decline_received",
    ManifestStarted => "manifest_started",
    ManifestWritten => "manifest_written",
    CompletionStarted => "completion_started",
    CompletionDurable => "completion_durable",
    CheckpointAborted => "checkpoint_aborted",
    StatisticsKept => "statistics_kept",
    RequestReceived => "request_received",
    RequestAnswered => "request_answered",
    RequestWithdrawn => "request_withdrawn",
    NotifySent => "notify_sent",
    CheckpointSubsumed => "checkpoint_subsumed",
    DeleteStarted => "delete_started",
    DeleteFailed => "delete_failed",
    JobFinished => "job_finished",
    JobFailed => "job_failed",
    JobCancelled => "job_cancelled",
    RestoreStarted => "restore_started",
    Restored => "restored",
    SourceEmitted => "source_emitted",
    Consumed => "consumed",
    BarrierReceived => "barrier_received",
    CancelReceived => "cancel_received",
    EndReceived => "end_received",
    ClosedReceived => "closed_received",
    InputEnded => "input_ended",
    TriggerReceived => "trigger_received",
    AlignmentStarted => "alignment_started",
    AlignmentEnded => "alignment_ended",
    AlignmentAborted => "alignment_aborted",
    BarrierEmitted => "barrier_emitted",
    CancelEmitted => "cancel_emitted",
    Prepared => "prepared",
    PrepareFailed => "prepare_failed",
    SnapshotTaken => "snapshot_taken",
    UploadStarted => "upload_started",
    UploadEnded => "upload_ended",
    UploadFailed => "upload_failed",
    AckSent => "ack_sent",
    DeclineSent => "decline_sent",
    NotifyReceived => "notify_received",
    AbortReceived => "abort_received",
    CommitStarted => "commit_started",
    CommitEnded => "commit_ended",
    SubtaskFinished => "subtask_finished",
    SubtaskFailed => "subtask_failed",
    LinkFailed => "link_failed",
    AttemptCancelled => "attempt_cancelled",
    WishSent => "wish_sent",
    AnswerHeard => "answer_heard",
    AnswerLost => "answer_lost",
}

/// A pattern of variants whose fields say nothing: exhaustive matches need not spend a line on each.
macro_rules! any_of {
    ($($variant:ident)+) => { $(Self::$variant { .. })|+ };
}

impl Event {
    /// The checkpoint it is about, if it is about one.
    pub fn checkpoint(&self) -> Option<CheckpointId> {
        match self {
            Self::RestoreRead { checkpoint, .. }
            | Self::CheckpointTriggered { checkpoint, .. }
            | Self::TriggerSent { checkpoint, .. }
            | Self::AckReceived { checkpoint, .. }
            | Self::DeclineReceived { checkpoint, .. }
            | Self::ManifestStarted { checkpoint, .. }
            | Self::ManifestWritten { checkpoint, .. }
            | Self::CompletionStarted { checkpoint, .. }
            | Self::CompletionDurable { checkpoint, .. }
            | Self::CheckpointAborted { checkpoint, .. }
            | Self::NotifySent { checkpoint, .. }
            | Self::CheckpointSubsumed { checkpoint }
            | Self::JobFinished { checkpoint }
            | Self::RestoreStarted { checkpoint, .. }
            | Self::BarrierReceived { checkpoint, .. }
            | Self::CancelReceived { checkpoint, .. }
            | Self::TriggerReceived { checkpoint, .. }
            | Self::AlignmentStarted { checkpoint, .. }
            | Self::AlignmentEnded { checkpoint, .. }
            | Self::AlignmentAborted { checkpoint, .. }
            | Self::BarrierEmitted { checkpoint, .. }
            | Self::CancelEmitted { checkpoint, .. }
            | Self::Prepared { checkpoint, .. }
            | Self::PrepareFailed { checkpoint, .. }
            | Self::SnapshotTaken { checkpoint, .. }
            | Self::UploadStarted { checkpoint, .. }
            | Self::UploadEnded { checkpoint, .. }
            | Self::UploadFailed { checkpoint, .. }
            | Self::AckSent { checkpoint, .. }
            | Self::DeclineSent { checkpoint, .. }
            | Self::NotifyReceived { checkpoint, .. }
            | Self::AbortReceived { checkpoint, .. }
            | Self::CommitStarted { checkpoint, .. }
            | Self::CommitEnded { checkpoint, .. } => Some(*checkpoint),
            Self::AttemptDeployed { restore, .. } => *restore,
            Self::JobCancelled { checkpoint } | Self::MarkStarted { checkpoint, .. } => *checkpoint,
            Self::Restored { checkpoint, .. } => *checkpoint,
            any_of!(
                InputListed InputIgnored LeadershipTaken OutputOwned
                LeaseExpired WorkerRefused PeerTrusted PeerDistrusted ReportRejected Deposed WorkerRegistered
                WorkerWaits WorkerIdle WorkerLost
                CommandRejected CoordinatorLost AttemptRunning AttemptFailed RestartScheduled LinkFailed
                DeleteStarted DeleteFailed RequestReceived RequestAnswered RequestWithdrawn WishSent AnswerHeard
                AnswerLost StatisticsKept JobFailed ClosedReceived SourceEmitted Consumed EndReceived InputEnded
                SubtaskFinished SubtaskFailed AttemptCancelled
            ) => None,
        }
    }

    /// The subtask it is about, if it is about one.
    pub fn subtask(&self) -> Option<SubtaskId> {
        match self {
            Self::AckReceived { subtask, .. }
            | Self::DeclineReceived { subtask, .. }
            | Self::RestoreStarted { subtask, .. }
            | Self::Restored { subtask, .. }
            | Self::SourceEmitted { subtask, .. }
            | Self::Consumed { subtask, .. }
            | Self::BarrierReceived { subtask, .. }
            | Self::CancelReceived { subtask, .. }
            | Self::EndReceived { subtask, .. }
            | Self::ClosedReceived { subtask, .. }
            | Self::InputEnded { subtask, .. }
            | Self::TriggerReceived { subtask, .. }
            | Self::AlignmentStarted { subtask, .. }
            | Self::AlignmentEnded { subtask, .. }
            | Self::AlignmentAborted { subtask, .. }
            | Self::BarrierEmitted { subtask, .. }
            | Self::CancelEmitted { subtask, .. }
            | Self::Prepared { subtask, .. }
            | Self::PrepareFailed { subtask, .. }
            | Self::SnapshotTaken { subtask, .. }
            | Self::UploadStarted { subtask, .. }
            | Self::UploadEnded { subtask, .. }
            | Self::UploadFailed { subtask, .. }
            | Self::AckSent { subtask, .. }
            | Self::DeclineSent { subtask, .. }
            | Self::NotifyReceived { subtask, .. }
            | Self::AbortReceived { subtask, .. }
            | Self::CommitStarted { subtask, .. }
            | Self::CommitEnded { subtask, .. }
            | Self::SubtaskFinished { subtask, .. }
            | Self::SubtaskFailed { subtask, .. } => Some(*subtask),
            any_of!(
                LeadershipTaken MarkStarted OutputOwned
                LeaseExpired WorkerRefused PeerTrusted PeerDistrusted ReportRejected Deposed WorkerRegistered
                WorkerWaits WorkerIdle WorkerLost
                CommandRejected CoordinatorLost RestoreRead InputListed InputIgnored AttemptDeployed AttemptRunning AttemptFailed
                RestartScheduled LinkFailed CheckpointTriggered TriggerSent ManifestStarted ManifestWritten
                CompletionStarted CompletionDurable CheckpointAborted NotifySent CheckpointSubsumed DeleteStarted
                JobFinished DeleteFailed RequestReceived RequestAnswered RequestWithdrawn WishSent AnswerHeard
                AnswerLost StatisticsKept JobFailed JobCancelled AttemptCancelled
            ) => None,
        }
    }

    /// The attempt it belongs to, if it belongs to one.
    pub fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::RestoreRead { attempt, .. }
            | Self::InputListed { attempt, .. }
            | Self::AttemptDeployed { attempt, .. }
            | Self::AttemptRunning { attempt }
            | Self::AttemptFailed { attempt, .. }
            | Self::ReportRejected { attempt, .. }
            | Self::RestartScheduled { attempt, .. }
            | Self::LinkFailed { attempt, .. }
            | Self::CheckpointTriggered { attempt, .. }
            | Self::TriggerSent { attempt, .. }
            | Self::AckReceived { attempt, .. }
            | Self::DeclineReceived { attempt, .. }
            | Self::NotifySent { attempt, .. }
            | Self::RestoreStarted { attempt, .. }
            | Self::Restored { attempt, .. }
            | Self::SourceEmitted { attempt, .. }
            | Self::Consumed { attempt, .. }
            | Self::BarrierReceived { attempt, .. }
            | Self::CancelReceived { attempt, .. }
            | Self::EndReceived { attempt, .. }
            | Self::ClosedReceived { attempt, .. }
            | Self::InputEnded { attempt, .. }
            | Self::TriggerReceived { attempt, .. }
            | Self::AlignmentStarted { attempt, .. }
            | Self::AlignmentEnded { attempt, .. }
            | Self::AlignmentAborted { attempt, .. }
            | Self::BarrierEmitted { attempt, .. }
            | Self::CancelEmitted { attempt, .. }
            | Self::Prepared { attempt, .. }
            | Self::PrepareFailed { attempt, .. }
            | Self::SnapshotTaken { attempt, .. }
            | Self::UploadStarted { attempt, .. }
            | Self::UploadEnded { attempt, .. }
            | Self::UploadFailed { attempt, .. }
            | Self::AckSent { attempt, .. }
            | Self::DeclineSent { attempt, .. }
            | Self::NotifyReceived { attempt, .. }
            | Self::AbortReceived { attempt, .. }
            | Self::CommitStarted { attempt, .. }
            | Self::CommitEnded { attempt, .. }
            | Self::SubtaskFinished { attempt, .. }
            | Self::SubtaskFailed { attempt, .. }
            | Self::AttemptCancelled { attempt, .. } => Some(*attempt),
            any_of!(
                InputIgnored LeadershipTaken MarkStarted OutputOwned
                LeaseExpired WorkerRefused PeerTrusted PeerDistrusted Deposed WorkerRegistered
                WorkerWaits WorkerIdle WorkerLost CommandRejected
                CoordinatorLost ManifestStarted ManifestWritten CompletionStarted CompletionDurable
                CheckpointAborted CheckpointSubsumed DeleteStarted DeleteFailed RequestReceived RequestAnswered
                RequestWithdrawn WishSent AnswerHeard AnswerLost StatisticsKept JobFinished JobCancelled JobFailed
            ) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OperatorId;

    #[test]
    fn the_name_is_the_serialised_tag() {
        let event = Event::AckSent {
            attempt: Attempt::default(),
            subtask: SubtaskId { operator: OperatorId(1), index: 2 },
            checkpoint: CheckpointId(3),
            digest: 4,
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["event"], event.name());
        assert_eq!(event.checkpoint(), Some(CheckpointId(3)));
        assert_eq!(event.subtask().map(|s| s.index), Some(2));
        assert_eq!(event.attempt(), Some(Attempt::default()));
    }

    #[test]
    fn names_are_unique_and_deserialise_as_tags() {
        let mut names = Event::NAMES.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Event::NAMES.len());
        for name in names {
            // An unknown tag is reported as such; a known one complains about its fields or succeeds.
            let parsed = serde_json::from_value::<Event>(serde_json::json!({ "event": name }));
            if let Err(error) = parsed {
                assert!(!error.to_string().contains("unknown variant"), "{name}: {error}");
            }
        }
    }
}

//! What is wrong with a report, for the cause of a lost connection.

use crate::cores::reports::FIGURE_MAX;
use crate::ids::{Attempt, CheckpointId, SubtaskId};
use crate::messages::TEXT_BYTES_MAX;
use std::fmt;

/// What no right worker sends. Nothing in it is longer than a line, whatever the worker sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// The attempt was never deployed.
    NeverDeployed(Attempt),
    /// The job has no such subtask.
    NoSuchSubtask(SubtaskId),
    /// Another worker hosts the subtask in this attempt.
    HostedElsewhere(SubtaskId),
    /// The worker hosts nothing in this attempt.
    HostsNothing(Attempt),
    /// The path of a snapshot is not the one that the subtask uses for this checkpoint and attempt.
    ForeignPath {
        /// That one.
        expected: String,
    },
    /// A length or a time is impossible.
    Figures(SubtaskId),
    /// A text is longer than a worker may send.
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A checkpoint is declined for a reason that only the coordinator can have.
    ReasonOfTheCoordinator(&'static str),
    /// The checkpoint was not triggered at the subtask in this attempt.
    NotTriggered(CheckpointId, SubtaskId),
    /// The subtask has acknowledged or declined the checkpoint before.
    AnsweredTwice(CheckpointId, SubtaskId),
    /// The snapshot ends before the subtask does, or does not end behind its end.
    WrongEnd(CheckpointId, SubtaskId),
    /// Something else has to be said first.
    TooEarly(Said, SubtaskId),
    /// It was said before.
    SaidTwice(Said, SubtaskId),
    /// The subtask had finished.
    Finished(Said, SubtaskId),
    /// No durable checkpoint of this attempt holds the end of the subtask.
    EndNotDurable(SubtaskId),
}

/// What a subtask says once in an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named after the messages")]
pub enum Said {
    Restored,
    InputEnded,
    Finished,
    Failed,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restored => "restored",
            Self::InputEnded => "input ended",
            Self::Finished => "finished",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverDeployed(attempt) => write!(f, "reports for attempt {attempt}, which was never deployed"),
            Self::NoSuchSubtask(subtask) => write!(f, "reports for {subtask}, which the job does not have"),
            Self::HostedElsewhere(subtask) => write!(f, "reports for {subtask}, which another worker hosts"),
            Self::HostsNothing(attempt) => write!(f, "reports for attempt {attempt}, in which it hosts nothing"),
            Self::ForeignPath { expected } => write!(f, "acknowledged another path than {expected}"),
            Self::Figures(subtask) => {
                write!(
                    f,
                    "acknowledged a snapshot of {subtask} with impossible figures (0, above {FIGURE_MAX}, or contradictory)"
                )
            }
            Self::TooLong { bytes } => {
                write!(f, "sent a text of {bytes} bytes; a text may have {TEXT_BYTES_MAX}")
            }
            Self::ReasonOfTheCoordinator(reason) => {
                write!(f, "declined a checkpoint as \"{reason}\", which only the coordinator can say")
            }
            Self::NotTriggered(checkpoint, subtask) => {
                write!(f, "answered {checkpoint} for {subtask}, where it was not triggered")
            }
            Self::AnsweredTwice(checkpoint, subtask) => write!(f, "answered {checkpoint} for {subtask} twice"),
            Self::WrongEnd(checkpoint, subtask) => {
                write!(f, "acknowledged {checkpoint} for {subtask} on the wrong side of the end of its input")
            }
            Self::TooEarly(said, subtask) => write!(f, "reported \"{said}\" for {subtask} too early"),
            Self::SaidTwice(said, subtask) => write!(f, "reported \"{said}\" for {subtask} twice"),
            Self::Finished(said, subtask) => write!(f, "reported \"{said}\" for {subtask}, which had finished"),
            Self::EndNotDurable(subtask) => {
                write!(f, "reported \"finished\" for {subtask}, but no durable checkpoint holds its end")
            }
        }
    }
}

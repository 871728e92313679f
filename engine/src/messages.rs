//! The frames between coordinator and worker. Data between workers has frames of its own
//! ([`crate::runtime::link`]).
//!
//! ```text
//! worker                              coordinator
//!   | <- Opening, Challenge, Response ----> |   both are members of the job ([`handshake`])
//!   | -- Register ------------------------> |   refused unless protocol and graph agree
//!   | <------------------------- Welcome -- |   once the output is this leadership's
//!   | -- Sees ----------------------------> |   refused unless output and checkpoints are the same
//!   | <-------------------------- Deploy -- |   once every worker is there
//!   | -- Restored (each subtask) ---------> |   all restored: periodic triggering begins
//!   | <------------------------- Trigger -- |
//!   | -- Ack (each subtask) --------------> |   all acks: manifest, slot (the commit point), mark of the output
//!   | <----------------------- Completed -- |
//!   | -- InputEnded (each subtask) -------> |   all ended: the next checkpoint, at once
//!   | -- Finished (each subtask) ---------> |   after a completed checkpoint that holds its end
//!   | <------------------------- JobDone -- |
//! ```
//!
//! Every message about an attempt carries the attempt. The receiver ignores a message of an older attempt. What no right worker or
//! leader sends ends the connection ([`crate::cores::reports`], [`crate::cores::commands`]). What clients say and
//! hear is in [`client`].

pub mod client;
pub mod handshake;

use crate::codec;
use crate::element::Barrier;
use crate::error::{Error, Result};
use crate::ids::{Attempt, CheckpointId, Generation, SubtaskId, WorkerId};
use crate::reason::FailureReason;
use crate::statistics::SnapshotStatistics;
use bytes::Bytes;
use client::Wish;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Changes with every incompatible change of a frame.
pub const PROTOCOL_VERSION: u32 = 5;

/// The longest text that a worker sends: the cause of a failure. A worker cuts off what is longer ([`ToCoordinator::bounded`]), and a
/// coordinator rejects it.
pub const TEXT_BYTES_MAX: usize = 8 << 10;

/// What a worker finds of the leadership that welcomed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sight {
    /// The token in the mark of that leadership at the worker's output, or `None` if there is no such mark.
    pub token: Option<u64>,
    /// The leadership that wrote the newest entry of the log among the worker's checkpoints, or `None` without a log.
    pub log: Option<Generation>,
}

/// From worker or client to coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToCoordinator {
    /// The first frame of a worker's connection, behind the handshake.
    Register {
        /// [`PROTOCOL_VERSION`] of the worker.
        protocol: u32,
        /// [`crate::graph::JobGraph::fingerprint`] of the worker.
        graph: u64,
        /// Who it is.
        worker: WorkerId,
        /// Drawn when its process started: two processes that say they are the same worker are told apart by it.
        incarnation: u64,
        /// Where other workers reach it.
        data_address: String,
    },
    /// Answers [`ToWorker::Welcome`]: what the worker finds in its own folders.
    Sees(Sight),
    /// The first frame of a client's connection.
    Ask(Wish),
    /// Still alive.
    Heartbeat,
    /// A subtask has its state back and processes elements from now on.
    Restored {
        /// Of this attempt.
        attempt: Attempt,
        /// Which subtask.
        subtask: SubtaskId,
    },
    /// A subtask's snapshot is durable.
    Ack {
        /// Of this attempt.
        attempt: Attempt,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Which subtask.
        subtask: SubtaskId,
        /// What it stored.
        snapshot: SnapshotHandle,
        /// What that cost.
        statistics: SnapshotStatistics,
    },
    /// A subtask cannot take part in a checkpoint.
    Decline {
        /// Of this attempt.
        attempt: Attempt,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Which subtask.
        subtask: SubtaskId,
        /// Why not.
        reason: FailureReason,
    },
    /// A subtask has processed all its input; it stays for barriers.
    InputEnded {
        /// Of this attempt.
        attempt: Attempt,
        /// Which subtask.
        subtask: SubtaskId,
    },
    /// A subtask that had ended its input has seen a checkpoint complete that holds its end, committed, and exited.
    Finished {
        /// Of this attempt.
        attempt: Attempt,
        /// Which subtask.
        subtask: SubtaskId,
    },
    /// Something of this attempt failed on this worker.
    Failed {
        /// Of this attempt.
        attempt: Attempt,
        /// Which subtask, if it was one.
        subtask: Option<SubtaskId>,
        /// Why.
        error: Error,
    },
}

impl ToCoordinator {
    /// The attempt that it is about. A heartbeat, a registration and a wish are about none.
    pub fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Register { .. } | Self::Sees(_) | Self::Ask(_) | Self::Heartbeat => None,
            Self::Restored { attempt, .. }
            | Self::Ack { attempt, .. }
            | Self::Decline { attempt, .. }
            | Self::InputEnded { attempt, .. }
            | Self::Finished { attempt, .. }
            | Self::Failed { attempt, .. } => Some(*attempt),
        }
    }

    /// The same with texts of at most [`TEXT_BYTES_MAX`].
    pub fn bounded(mut self) -> Self {
        match &mut self {
            Self::Decline {
                reason: FailureReason::PrepareFailed(text) | FailureReason::UploadFailed(text), ..
            } => cut(text),
            Self::Failed { error, .. } => cut(&mut error.message),
            Self::Register { .. }
            | Self::Sees(_)
            | Self::Ask(_)
            | Self::Heartbeat
            | Self::Restored { .. }
            | Self::Ack { .. }
            | Self::Decline { .. }
            | Self::InputEnded { .. }
            | Self::Finished { .. } => {}
        }
        self
    }
}

/// Cuts off what is longer than a text may be, at a character.
fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
}

/// From coordinator to worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// The worker fits. It counts once it has said that it sees the mark of this leadership in its output.
    Welcome {
        /// Which leadership.
        generation: Generation,
    },
    /// The worker does not fit; there is no use in trying again.
    Refused {
        /// Why not.
        reason: String,
    },
    /// The coordinator does not lead; try the next one.
    Standby,
    /// Another process is registered as this worker; stay connected, and take its place when it is lost.
    Occupied,
    /// Still alive.
    Heartbeat,
    /// Run these subtasks. Implies the end of every older attempt on this worker.
    Deploy(Deployment),
    /// Start a checkpoint at these subtasks of this worker: the running ones without a running producer.
    Trigger {
        /// Of this attempt.
        attempt: Attempt,
        /// The barrier to inject.
        barrier: Barrier,
        /// Where.
        subtasks: Vec<SubtaskId>,
    },
    /// A checkpoint is durable and marked in the output: commit everything up to it.
    Completed {
        /// Of this attempt.
        attempt: Attempt,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// A checkpoint will not complete.
    Aborted {
        /// Of this attempt.
        attempt: Attempt,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// Stop every subtask of this attempt and of every older attempt.
    Cancel {
        /// Which attempt.
        attempt: Attempt,
    },
    /// The job has finished, failed or been cancelled, and that is durable. The worker cancels its attempt, waits until the
    /// outcome of its writes and uploads is known, and exits.
    JobDone,
}

/// Who runs what, and from which state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Deployment {
    /// The attempt to run.
    pub attempt: Attempt,
    /// Every subtask of the job, in order, with its worker.
    pub placement: Vec<(SubtaskId, WorkerId)>,
    /// The data address of every worker, in order.
    pub addresses: Vec<(WorkerId, String)>,
    /// What to restore; `None` starts from nothing.
    pub restore: Option<RestoreFrom>,
    /// The listing of the input, if the job reads objects.
    pub listing: Option<ListingHandle>,
}

/// Where the listing of the input lies ([`crate::persist::listing`]) and how to recognise it.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub struct ListingHandle {
    /// Its path.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of all of it.
    pub checksum: u32,
}

/// A completed checkpoint as the subtasks see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RestoreFrom {
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// The snapshot of every subtask, in order.
    pub snapshots: Vec<(SubtaskId, SnapshotHandle)>,
}

/// Where a subtask's snapshot lies and how to recognise it.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub struct SnapshotHandle {
    /// Path of the blob.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of the whole blob.
    pub checksum: u32,
    /// [`crate::state::digest`] of its sections.
    pub digest: u64,
    /// Whether the subtask had processed all its input, so that it must not process the end again.
    pub ended: bool,
}

/// What every frame begins with: a frame without it is from a stranger.
const MAGIC: [u8; 2] = *b"CF";
/// Bytes before the message itself: the magic, and the protocol version of its writer.
const PREAMBLE: usize = 4;

/// The bytes of a message.
pub fn encode<T: Serialize>(message: &T) -> Bytes {
    let mut frame = Vec::with_capacity(PREAMBLE + 64);
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&(PROTOCOL_VERSION as u16).to_le_bytes());
    bincode::serialize_into(&mut frame, message).expect("messages serialise");
    Bytes::from(frame)
}

/// A message from its bytes. A peer of another build is told apart from one that talks nonsense: with it there is no use in
/// trying again.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T> {
    let Some((preamble, message)) = frame.split_first_chunk::<PREAMBLE>() else {
        return Err(Error::restart(format!("malformed message: only {} bytes", frame.len())));
    };
    let [first, second, low, high] = *preamble;
    if [first, second] != MAGIC {
        return Err(Error::restart("malformed message: not from Cofferdam"));
    }
    let protocol = u32::from(u16::from_le_bytes([low, high]));
    if protocol != PROTOCOL_VERSION {
        let message =
            format!("the peer is of another build: it speaks protocol {protocol}, this one {PROTOCOL_VERSION}");
        return Err(Error::give_up(message));
    }
    codec::decode(message).map_err(|e| Error::restart(format!("malformed message: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reaction;
    use proptest::prelude::*;

    fn frames() -> Vec<Bytes> {
        let register = ToCoordinator::Register {
            protocol: PROTOCOL_VERSION,
            graph: 7,
            worker: WorkerId(1),
            incarnation: 7,
            data_address: "here:1".to_owned(),
        };
        vec![encode(&register), encode(&ToWorker::Refused { reason: "why".to_owned() }), encode(&ToWorker::Standby)]
    }

    #[test]
    fn a_peer_of_another_build_is_told_apart_from_nonsense() {
        let mut frame = frames()[0].to_vec();
        frame[2] ^= 1;
        assert_eq!(decode::<ToCoordinator>(&frame).expect_err("another build").reaction, Reaction::GiveUp);
        frame[0] ^= 1;
        assert_eq!(decode::<ToCoordinator>(&frame).expect_err("nonsense").reaction, Reaction::Restart);
    }

    #[test]
    fn a_long_cause_is_cut_off_at_a_character() {
        let (attempt, subtask) = (Attempt::default(), None);
        let long = ToCoordinator::Failed { attempt, subtask, error: Error::restart("ü".repeat(TEXT_BYTES_MAX)) };
        let ToCoordinator::Failed { error, .. } = long.bounded() else { panic!("another message") };
        assert_eq!(error.message, "ü".repeat(TEXT_BYTES_MAX / 2));
    }

    proptest! {
        #[test]
        fn mutated_frames_are_errors_or_other_messages(
            which in 0..3_usize,
            at in any::<prop::sample::Index>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let mut frame = frames()[which].to_vec();
            let at = at.index(frame.len());
            let end = frame.len().min(at + bytes.len());
            frame.splice(at..end, bytes);
            // Whatever comes of it: no panic, and no allocation beyond what a frame may hold.
            let _ = decode::<ToCoordinator>(&frame);
            let _ = decode::<ToWorker>(&frame);
        }
    }
}

//! Rogue workers: what a registered worker says beside its reports that no right worker says.
//!
//! 1. A fault arms a [`Rogue`]. The next report of that worker (of a coordinator: the next to it) that the forgery fits is taken as
//!    its pattern, so attempt, checkpoint and connection are those of the run.
//! 2. The forged report goes on the same connection: in front of the right one, so that it cannot be rejected for having been said
//!    before; a repeated one behind it. If the plan says so, the right report is lost: a coordinator that accepts the forged one
//!    is not saved by the rejection of the right one.
//! 3. [`Fact::RogueSent`] says so in the history, and [`Fact::RogueReceived`] when the coordinator has read it.
//!
//! Everything forged is certainly wrong when it arrives: what would be, but might have become right meanwhile (the next attempt, the
//! next checkpoint), is put far enough away.
//! Not modelled: frames that do not decode, reports of workers that never registered.

use super::Shared;
use super::network::Frame;
use super::state::State;
use bytes::Bytes;
use cofferdam_engine::ids::{CheckpointId, SubtaskId};
use cofferdam_engine::messages::{ToCoordinator, decode, encode};
use cofferdam_engine::persist::layout;
use cofferdam_properties::history::{Fact, Process, What};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a rogue worker says. What a right worker might say as well, such as that a snapshot is durable which is not, is not among
/// it: no coordinator can know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgery {
    /// A report for a subtask of another worker.
    ForeignSubtask,
    /// A report for a subtask that the job does not have.
    NoSuchSubtask,
    /// A report for an attempt that was never deployed.
    OtherAttempt,
    /// A report that was sent just before.
    Repeated,
    /// A report that something else has to come before, or an answer to a checkpoint that was not triggered.
    Early,
    /// An acknowledgement whose path is not the subtask's.
    ForeignPath,
    /// An acknowledgement of a snapshot of impossible length.
    Figures,
}

impl Forgery {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ForeignSubtask,
        Self::NoSuchSubtask,
        Self::OtherAttempt,
        Self::Repeated,
        Self::Early,
        Self::ForeignPath,
        Self::Figures,
    ];
}

impl fmt::Display for Forgery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForeignSubtask => "a report for a subtask of another worker",
            Self::NoSuchSubtask => "a report for a subtask that does not exist",
            Self::OtherAttempt => "a report for an attempt that was never deployed",
            Self::Repeated => "a report twice",
            Self::Early => "a report too early",
            Self::ForeignPath => "an acknowledgement of a foreign path",
            Self::Figures => "an acknowledgement of impossible length",
        })
    }
}

/// A forgery that waits for its pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rogue {
    pub fault: usize,
    /// The incarnation whose connections carry it.
    pub of: u32,
    pub forgery: Forgery,
    /// Whether the right report is lost.
    pub instead: bool,
}

/// Further than any number that a run gets to.
const FAR: u16 = 10_000;

impl State {
    /// The frames to send instead of `frame`, from the first of two incarnations to the second, if a forgery fits it.
    pub(super) fn forge(&mut self, world: &Shared, (by, to): (u32, u32), frame: &Bytes) -> Option<Vec<Frame>> {
        if self.faults.rogues.is_empty() {
            return None;
        }
        let (worker, coordinator) = (self.incarnation(by).who, self.incarnation(to).who);
        if !matches!((worker.process, coordinator.process), (Process::Worker(_), Process::Coordinator(_))) {
            return None;
        }
        let report = decode::<ToCoordinator>(frame).ok()?;
        let attempt = report.attempt()?;
        let hosts = self.hosts;
        let fitting = |rogue: &Rogue| {
            let fits = rogue.of == by || rogue.of == to;
            if fits { forged(rogue.forgery, report.clone(), hosts) } else { None }
        };
        let (number, forged) =
            self.faults.rogues.iter().enumerate().find_map(|(n, rogue)| Some((n, fitting(rogue)?)))?;
        let Rogue { fault, forgery, instead, .. } = self.faults.rogues.remove(number);
        self.count_strike(world, fault, by);
        let fact = Fact::RogueSent { to: coordinator, attempt, what: format!("{forgery}: {}", show(&forged)) };
        self.record(world.now(), worker, What::Fact(fact));
        let forged = Frame { bytes: encode(&forged), rogue: Some(attempt) };
        let right = Frame { bytes: frame.clone(), rogue: None };
        Some(match forgery {
            Forgery::Repeated => vec![right, forged],
            Forgery::ForeignSubtask
            | Forgery::NoSuchSubtask
            | Forgery::OtherAttempt
            | Forgery::Early
            | Forgery::ForeignPath
            | Forgery::Figures
                if instead =>
            {
                vec![forged]
            }
            Forgery::ForeignSubtask
            | Forgery::NoSuchSubtask
            | Forgery::OtherAttempt
            | Forgery::Early
            | Forgery::ForeignPath
            | Forgery::Figures => vec![forged, right],
        })
    }
}

/// What a right worker does not say in place of `report`; `None` if the forgery does not fit it.
fn forged(forgery: Forgery, report: ToCoordinator, hosts: u16) -> Option<ToCoordinator> {
    match forgery {
        Forgery::ForeignSubtask => elsewhere(report, |subtask| {
            // Placement goes by index: the next subtask is on the next host, or does not exist.
            let step = if hosts > 1 { 1 } else { FAR };
            SubtaskId { index: subtask.index.wrapping_add(step), ..subtask }
        }),
        Forgery::NoSuchSubtask => {
            elsewhere(report, |subtask| SubtaskId { index: subtask.index.wrapping_add(FAR), ..subtask })
        }
        Forgery::OtherAttempt => Some(of_another_attempt(report)),
        Forgery::Repeated => match report {
            // What fails an attempt is late the second time.
            ToCoordinator::Failed { .. } => None,
            report => Some(report),
        },
        Forgery::Early => early(report),
        Forgery::ForeignPath => with_snapshot(report, |path, _| *path = layout::log_entry(1)),
        Forgery::Figures => with_snapshot(report, |_, bytes| *bytes = u64::MAX),
    }
}

/// The same for another subtask.
fn elsewhere(mut report: ToCoordinator, other: impl Fn(SubtaskId) -> SubtaskId) -> Option<ToCoordinator> {
    match &mut report {
        ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, .. } => {
            let uid = uid_in(&snapshot.path);
            *subtask = other(*subtask);
            snapshot.path = layout::snapshot(*checkpoint, &uid, subtask.index, *attempt);
        }
        ToCoordinator::Restored { subtask, .. }
        | ToCoordinator::Decline { subtask, .. }
        | ToCoordinator::InputEnded { subtask, .. }
        | ToCoordinator::Finished { subtask, .. }
        | ToCoordinator::Failed { subtask: Some(subtask), .. } => *subtask = other(*subtask),
        ToCoordinator::Register { .. }
        | ToCoordinator::Sees(_)
        | ToCoordinator::Ask(_)
        | ToCoordinator::Heartbeat
        | ToCoordinator::Failed { subtask: None, .. } => return None,
    }
    Some(report)
}

fn of_another_attempt(mut report: ToCoordinator) -> ToCoordinator {
    match &mut report {
        ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, .. } => {
            let uid = uid_in(&snapshot.path);
            attempt.number += u32::from(FAR);
            snapshot.path = layout::snapshot(*checkpoint, &uid, subtask.index, *attempt);
        }
        ToCoordinator::Restored { attempt, .. }
        | ToCoordinator::Decline { attempt, .. }
        | ToCoordinator::InputEnded { attempt, .. }
        | ToCoordinator::Finished { attempt, .. }
        | ToCoordinator::Failed { attempt, .. } => attempt.number += u32::from(FAR),
        ToCoordinator::Register { .. } | ToCoordinator::Sees(_) | ToCoordinator::Ask(_) | ToCoordinator::Heartbeat => {
            unreachable!("it is about no attempt")
        }
    }
    report
}

/// Finished before it has restored, or before its input has ended; an answer to a checkpoint of the far future.
fn early(report: ToCoordinator) -> Option<ToCoordinator> {
    let far = |checkpoint: CheckpointId| CheckpointId(checkpoint.0 + 1_000_000);
    match report {
        ToCoordinator::Restored { attempt, subtask } | ToCoordinator::InputEnded { attempt, subtask } => {
            Some(ToCoordinator::Finished { attempt, subtask })
        }
        ToCoordinator::Ack { attempt, checkpoint, subtask, mut snapshot, statistics } => {
            let checkpoint = far(checkpoint);
            snapshot.path = layout::snapshot(checkpoint, &uid_in(&snapshot.path), subtask.index, attempt);
            Some(ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, statistics })
        }
        ToCoordinator::Decline { attempt, checkpoint, subtask, reason } => {
            Some(ToCoordinator::Decline { attempt, checkpoint: far(checkpoint), subtask, reason })
        }
        ToCoordinator::Register { .. }
        | ToCoordinator::Sees(_)
        | ToCoordinator::Ask(_)
        | ToCoordinator::Heartbeat
        | ToCoordinator::Finished { .. }
        | ToCoordinator::Failed { .. } => None,
    }
}

fn with_snapshot(mut report: ToCoordinator, change: impl Fn(&mut String, &mut u64)) -> Option<ToCoordinator> {
    let ToCoordinator::Ack { snapshot, statistics, .. } = &mut report else { return None };
    change(&mut snapshot.path, &mut snapshot.bytes);
    statistics.bytes = snapshot.bytes;
    Some(report)
}

/// The operator in the name of a blob: `checkpoints/chk-7/UID-INDEX-ATTEMPT`.
fn uid_in(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let mut parts = name.rsplitn(3, '-');
    parts.nth(2).unwrap_or_default().to_owned()
}

/// A report in a few words.
fn show(report: &ToCoordinator) -> String {
    match report {
        ToCoordinator::Restored { subtask, .. } => format!("{subtask} restored"),
        ToCoordinator::Ack { checkpoint, subtask, snapshot, .. } => {
            format!("{subtask} acknowledges {checkpoint} as {}", snapshot.path)
        }
        ToCoordinator::Decline { checkpoint, subtask, .. } => format!("{subtask} declines {checkpoint}"),
        ToCoordinator::InputEnded { subtask, .. } => format!("the input of {subtask} ended"),
        ToCoordinator::Finished { subtask, .. } => format!("{subtask} finished"),
        ToCoordinator::Failed { subtask: Some(subtask), .. } => format!("{subtask} failed"),
        ToCoordinator::Failed { subtask: None, .. } => "a link failed".to_owned(),
        ToCoordinator::Register { .. } | ToCoordinator::Sees(_) | ToCoordinator::Ask(_) | ToCoordinator::Heartbeat => {
            "no report".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_engine::ids::{Attempt, Generation, OperatorId};
    use cofferdam_engine::messages::SnapshotHandle;
    use cofferdam_engine::statistics::SnapshotStatistics;

    const ATTEMPT: Attempt = Attempt { generation: Generation(2), number: 1 };
    const SUBTASK: SubtaskId = SubtaskId { operator: OperatorId(1), index: 0 };

    fn ack() -> ToCoordinator {
        let path = layout::snapshot(CheckpointId(7), "my-sum", 0, ATTEMPT);
        let snapshot = SnapshotHandle { path, bytes: 5, checksum: 0, digest: 0, ended: false };
        let statistics = SnapshotStatistics { bytes: 5, ..SnapshotStatistics::default() };
        ToCoordinator::Ack { attempt: ATTEMPT, checkpoint: CheckpointId(7), subtask: SUBTASK, snapshot, statistics }
    }

    fn told(forgery: Forgery, workers: u16) -> String {
        show(&forged(forgery, ack(), workers).expect("an acknowledgement can be forged in every way"))
    }

    #[test]
    fn a_forged_acknowledgement_is_right_but_for_one_thing() {
        let of = |text: &str| format!("{text} as checkpoints/chk-");
        assert_eq!(told(Forgery::Repeated, 2), of("op-1[0] acknowledges chk-7") + "7/my-sum-0-a2.1");
        assert_eq!(told(Forgery::ForeignSubtask, 2), of("op-1[1] acknowledges chk-7") + "7/my-sum-1-a2.1");
        assert_eq!(told(Forgery::ForeignSubtask, 1), told(Forgery::NoSuchSubtask, 2), "one worker hosts everything");
        assert_eq!(told(Forgery::OtherAttempt, 2), of("op-1[0] acknowledges chk-7") + "7/my-sum-0-a2.10001");
        assert_eq!(told(Forgery::Early, 2), of("op-1[0] acknowledges chk-1000007") + "1000007/my-sum-0-a2.1");
        assert!(told(Forgery::ForeignPath, 2).starts_with("op-1[0] acknowledges chk-7 as checkpoints/log/"));
    }

    #[test]
    fn what_a_forgery_does_not_fit_it_waits_for() {
        let finished = ToCoordinator::Finished { attempt: ATTEMPT, subtask: SUBTASK };
        assert_eq!(forged(Forgery::Early, finished.clone(), 2), None);
        assert_eq!(forged(Forgery::ForeignPath, finished.clone(), 2), None);
        assert_eq!(forged(Forgery::Repeated, finished.clone(), 2), Some(finished));
        let restored = ToCoordinator::Restored { attempt: ATTEMPT, subtask: SUBTASK };
        let early = Some(ToCoordinator::Finished { attempt: ATTEMPT, subtask: SUBTASK });
        assert_eq!(forged(Forgery::Early, restored, 2), early);
    }
}

//! When a fault strikes: at a point of the protocol, or at a time.

use super::lazily;
use super::pace::Pace;
use crate::world::{CheckpointAt, Point, Trigger};
use cofferdam_engine::ids::WorkerId;
use cofferdam_properties::history::Process;
use proptest::prelude::*;
use proptest::sample::select;

/// Points of the coordinator that name a checkpoint.
const COORDINATOR: &[&str] = &[
    "checkpoint_triggered",
    "trigger_sent",
    "ack_received",
    "manifest_started",
    "manifest_written",
    "completion_started",
    "mark_started",
    "completion_durable",
    "notify_sent",
    "checkpoint_subsumed",
];

/// Points of workers that name a checkpoint.
const WORKER: &[&str] = &[
    "trigger_received",
    "barrier_received",
    "alignment_started",
    "alignment_ended",
    "barrier_emitted",
    "prepared",
    "snapshot_taken",
    "upload_started",
    "upload_ended",
    "ack_sent",
    "notify_received",
    "commit_started",
    "commit_ended",
];

/// Points of a recovery, and how often each is announced before the first.
fn recovery(pace: &Pace) -> Vec<(&'static str, u32)> {
    vec![
        ("restore_read", 0),
        ("restore_started", 0),
        ("attempt_failed", 0),
        ("attempt_cancelled", 0),
        ("worker_lost", 0),
        ("coordinator_lost", 0),
        ("attempt_deployed", 1),
        ("attempt_running", 1),
        ("leadership_taken", 1),
        ("worker_registered", u32::from(pace.workers)),
        ("restored", pace.subtasks),
    ]
}

/// Points of a change of leaders. One leadership is taken before the first.
const LEADERSHIP: &[(&str, u32)] =
    &[("lease_expired", 1), ("leadership_taken", 1), ("output_owned", 1), ("deposed", 0)];

/// Points near the end of the job.
const ENDING: &[&str] = &["input_ended", "end_received", "subtask_finished", "job_finished"];

/// Which checkpoint: mostly a later one, so that there is something to restore.
fn ordinal() -> impl Strategy<Value = CheckpointAt> {
    prop_oneof![1 => Just(0), 2 => Just(1), 24 => 2..4_u32, 12 => 4..7_u32].prop_map(CheckpointAt::Ordinal)
}

/// A step of a checkpoint.
pub fn at_checkpoint() -> BoxedStrategy<Trigger> {
    lazily(move || {
        let event = prop_oneof![2 => select(COORDINATOR), 3 => select(WORKER)];
        let occurrence = prop_oneof![3 => Just(0), 1 => 1..6_u32];
        (event, ordinal(), occurrence)
            .prop_map(|(event, checkpoint, occurrence)| point(event, Some(checkpoint), occurrence))
    })
}

/// A step of a recovery.
pub fn in_recovery(pace: &Pace) -> BoxedStrategy<Trigger> {
    let pace = pace.clone();
    lazily(move || {
        let pace = &pace;
        (select(recovery(pace)), prop_oneof![2 => Just(0), 1 => 0..6_u32])
            .prop_map(|((event, before), more)| point(event, None, before + more))
    })
}

/// A step of a change of leaders.
pub fn of_leadership() -> BoxedStrategy<Trigger> {
    lazily(move || {
        (select(LEADERSHIP), prop_oneof![3 => Just(0), 1 => 1..3_u32])
            .prop_map(|((event, before), more)| point(event, None, before + more))
    })
}

/// A step after which connections are opened.
pub fn before_dialling() -> BoxedStrategy<Trigger> {
    lazily(move || {
        let events = vec!["attempt_failed", "attempt_cancelled", "worker_lost", "coordinator_lost"];
        (select(events), prop_oneof![3 => Just(0), 1 => 1..4_u32])
            .prop_map(|(event, occurrence)| point(event, None, occurrence))
    })
}

/// A step of the end of a job.
pub fn at_end() -> BoxedStrategy<Trigger> {
    lazily(move || (select(ENDING), 0..4_u32).prop_map(|(event, occurrence)| point(event, None, occurrence)))
}

/// The first end of a subtask on this worker.
pub fn at_first_end(worker: u16) -> Trigger {
    let process = Some(Process::Worker(WorkerId(worker)));
    Trigger::Point(Point { event: "subtask_finished".to_owned(), process, ..Point::default() })
}

/// The end of a job that finishes.
pub fn job_finished() -> Trigger {
    point("job_finished", None, 0)
}

/// Any of these.
pub fn at_any_point(pace: &Pace) -> BoxedStrategy<Trigger> {
    let pace = pace.clone();
    lazily(move || prop_oneof![5 => at_checkpoint(), 1 => in_recovery(&pace), 1 => at_end()])
}

/// A time.
pub fn at_time(pace: &Pace) -> BoxedStrategy<Trigger> {
    (pace.length_ms / 2..pace.length_ms * 3 / 2).prop_map(|ms| Trigger::Time { ms }).boxed()
}

fn point(event: &str, checkpoint: Option<CheckpointAt>, occurrence: u32) -> Trigger {
    Trigger::Point(Point { event: event.to_owned(), checkpoint, occurrence, ..Point::default() })
}

/// A point or a time.
pub fn any_trigger(pace: &Pace) -> BoxedStrategy<Trigger> {
    let pace = pace.clone();
    lazily(move || prop_oneof![3 => at_any_point(&pace), 2 => at_time(&pace)])
}

/// The same point, some times later.
pub fn later(at: BoxedStrategy<Trigger>, times: std::ops::RangeInclusive<u32>) -> BoxedStrategy<Trigger> {
    (at, times)
        .prop_map(|(at, times)| match at {
            Trigger::Point(point) => {
                Trigger::Point(Point { occurrence: (point.occurrence + 1) * (times + 1) - 1, ..point })
            }
            time @ Trigger::Time { .. } => time,
        })
        .boxed()
}

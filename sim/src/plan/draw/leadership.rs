//! Faults that make leadership change hands: the leader is gone, stands still or is cut off for longer than the lease, and
//! what comes next strikes whoever takes over.

use super::lazily;
use super::pace::Pace;
use super::trigger::{at_checkpoint, at_end, at_time, in_recovery, later, of_leadership};
use crate::world::{Fault, FaultKind, Point, Requests, Target, Trigger};
use cofferdam_engine::ids::{CoordinatorId, WorkerId};
use cofferdam_properties::history::Process;
use proptest::prelude::*;

/// One change of leaders or more.
pub fn leadership(pace: &Pace, lease_ms: u64) -> BoxedStrategy<Vec<Fault>> {
    let pace = pace.clone();
    lazily(move || {
        let pace = &pace;
        let first = || lost(prop_oneof![4 => at_checkpoint(), 1 => at_time(pace), 1 => at_end()].boxed(), lease_ms);
        let meanwhile = || prop_oneof![2 => of_leadership(), 1 => later(in_recovery(pace), 1..=2)].boxed();
        prop_oneof![
            4 => first().prop_map(|fault| vec![fault]),
            // Whoever takes over dies of it, or is deposed in turn.
            3 => (first(), crash(meanwhile(), lease_ms)).prop_map(|(a, b)| vec![a, b]),
            2 => (first(), lost(meanwhile(), lease_ms)).prop_map(|(a, b)| vec![a, b]),
            1 => (first(), crash(meanwhile(), lease_ms), lost(later(of_leadership(), 1..=2), lease_ms))
                .prop_map(|(a, b, c)| vec![a, b, c]),
            1 => (both(at_checkpoint(), lease_ms), crash(of_leadership(), lease_ms)).prop_map(|(a, b)| vec![a, b]),
            1 => (first(), both(meanwhile(), lease_ms)).prop_map(|(a, b)| vec![a, b]),
            1 => (hidden(lease_ms), restless(pace)).prop_map(|(first, then)| [vec![first], then].concat()),
        ]
    })
}

/// The leader works and is well, but nobody sees a sign of it, nor does it learn of its successor at once.
fn hidden(lease_ms: u64) -> BoxedStrategy<Fault> {
    lazily(move || {
        (any::<bool>(), lease_ms * 5 / 4..lease_ms * 4, at_checkpoint()).prop_map(|(early, for_ms, at)| {
            let prefix = "checkpoints/leader".to_owned();
            let taken = Point { event: "leadership_taken".to_owned(), ..Point::default() };
            let at = if early { Trigger::Point(taken) } else { at };
            Fault { at, what: FaultKind::ThrottleStorage { prefix, for_ms } }
        })
    })
}

/// A worker goes over to the new leader, and as soon as that has work for it back to the old one.
fn restless(pace: &Pace) -> BoxedStrategy<Vec<Fault>> {
    let pace = pace.clone();
    lazily(move || {
        let pace = &pace;
        let point =
            |event: &str, occurrence| Trigger::Point(Point { event: event.to_owned(), occurrence, ..Point::default() });
        (0..pace.workers, 1..3_u32, 1..4_u32).prop_map(move |(worker, taken, deployed)| {
            let process = Target::Process(Process::Worker(WorkerId(worker)));
            let leave = |at| Fault { at, what: FaultKind::ResetConnections { process } };
            vec![leave(point("leadership_taken", taken)), leave(point("attempt_deployed", deployed))]
        })
    })
}

/// From what a lease puts up with to several of them; mostly long enough.
fn absence(lease_ms: u64) -> impl Strategy<Value = u64> {
    prop_oneof![1 => lease_ms / 2..lease_ms, 5 => lease_ms * 5 / 4..lease_ms * 4]
}

/// The leader shows no sign of life for a while.
fn lost(at: BoxedStrategy<Trigger>, lease_ms: u64) -> BoxedStrategy<Fault> {
    lazily(move || {
        let at = at.clone();
        let process = Target::Leader;
        let sign = || "checkpoints/leader".to_owned();
        let what = prop_oneof![
            4 => absence(lease_ms).prop_map(move |restart_after_ms| FaultKind::Crash { process, restart_after_ms }),
            4 => absence(lease_ms).prop_map(move |for_ms| FaultKind::Pause { process, for_ms }),
            3 => absence(lease_ms).prop_map(move |for_ms| FaultKind::StallStorage { process, for_ms }),
            2 => absence(lease_ms).prop_map(move |for_ms| FaultKind::Partition { process, for_ms }),
            // It works, and nobody sees it.
            2 => absence(lease_ms).prop_map(move |for_ms| FaultKind::ThrottleStorage { prefix: sign(), for_ms }),
            1 => (2..8_u32, lease_ms / 2..lease_ms * 2).prop_map(move |(count, late_ms)| FaultKind::LoseReplies {
                prefix: sign(),
                requests: Requests::Writes,
                count,
                late_ms,
            }),
        ];
        (at, what).prop_map(|(at, what)| Fault { at, what })
    })
}

/// A coordinator dies, for a short time or a long one.
fn crash(at: BoxedStrategy<Trigger>, lease_ms: u64) -> BoxedStrategy<Fault> {
    lazily(move || {
        let at = at.clone();
        let whom = prop_oneof![3 => Just(Target::Announcer), 1 => Just(Target::Leader)];
        (at, whom, prop_oneof![1 => 1..80_u64, 1 => absence(lease_ms)]).prop_map(|(at, process, restart_after_ms)| {
            Fault { at, what: FaultKind::Crash { process, restart_after_ms } }
        })
    })
}

/// Both of them at the same instant.
fn both(at: BoxedStrategy<Trigger>, lease_ms: u64) -> BoxedStrategy<Fault> {
    lazily(move || {
        let at = at.clone();
        (at, 1..lease_ms * 2).prop_map(|(at, restart_after_ms)| {
            let processes = [0, 1].map(CoordinatorId).map(Process::Coordinator).to_vec();
            Fault { at, what: FaultKind::CrashTogether { processes, restart_after_ms } }
        })
    })
}

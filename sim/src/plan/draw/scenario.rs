//! The faults of a plan: a *scenario* and up to three more, of processes, of the network and of storage.

use super::lazily;
use super::leadership::leadership;
use super::pace::Pace;
use super::storage::{any_storage_fault, failing_reads, failing_uploads, storage_fault, stragglers};
use super::trigger::{
    any_trigger, at_any_point, at_checkpoint, at_end, at_first_end, at_time, before_dialling, in_recovery, later,
};
use crate::plan::LONG_PAUSE_MS;
use crate::world::{Fault, FaultKind, Forgery, Target, Trigger};
use cofferdam_engine::ids::{CoordinatorId, WorkerId};
use cofferdam_properties::history::Process;
use proptest::prelude::*;
use proptest::sample::select;

/// The faults of a plan.
pub fn scenario(pace: &Pace) -> BoxedStrategy<Vec<Fault>> {
    match pace.lease_ms {
        None => ordinary(pace).boxed(),
        Some(lease_ms) => {
            let more = proptest::collection::vec(any_fault(pace), 0..=2_usize);
            let changes = (leadership(pace, lease_ms), more).prop_map(|(changes, more)| then(changes, more));
            prop_oneof![3 => changes, 2 => ordinary(pace)].boxed()
        }
    }
}

/// What may happen to every job.
fn ordinary(pace: &Pace) -> BoxedStrategy<Vec<Fault>> {
    let pace = pace.clone();
    lazily(move || {
        let pace = &pace;
        let more = |range| proptest::collection::vec(any_fault(pace), range);
        let first = || crash(at_checkpoint(), pace);
        let trouble = || {
            prop_oneof![
                storage_fault(in_recovery(pace)),
                failing_reads(in_recovery(pace)),
                link_fault(in_recovery(pace), pace)
            ]
        };
        // The later step waits for a recovery of a recovery: its point has come up in the first one already.
        let again = || crash(later(in_recovery(pace), 1..=3), pace);
        let storm = proptest::collection::vec(prop_oneof![crash(at_end(), pace), link_fault(at_end(), pace)], 2..=4);
        prop_oneof![
            2 => Just(Vec::new()),
            16 => (first(), more(0..=3_usize)).prop_map(|(crash, more)| then(vec![crash], more)),
            8 => (first(), crash(in_recovery(pace), pace), more(0..=2)).prop_map(|(a, b, more)| then(vec![a, b], more)),
            3 => (first(), crash(in_recovery(pace), pace), again()).prop_map(|(a, b, c)| vec![a, b, c]),
            6 => (first(), trouble(), more(0..=2)).prop_map(|(a, b, more)| then(vec![a, b], more)),
            4 => (crash(at_time(pace), pace), more(0..=2)).prop_map(|(crash, more)| then(vec![crash], more)),
            1 => (crash(at_end(), pace), more(0..=1)).prop_map(|(crash, more)| then(vec![crash], more)),
            2 => (first(), storm).prop_map(|(crash, storm)| then(vec![crash], storm)),
            4 => (zombie(at_checkpoint(), pace), more(0..=2)).prop_map(|(zombie, more)| then(vec![zombie], more)),
            1 => (first(), zombie(in_recovery(pace), pace)).prop_map(|(a, b)| vec![a, b]),
            4 => (together(at_checkpoint(), pace), more(0..=1)).prop_map(|(crash, more)| then(vec![crash], more)),
            1 => (first(), together(in_recovery(pace), pace)).prop_map(|(a, b)| vec![a, b]),
            2 => proptest::collection::vec(failing_uploads(at_checkpoint()), 2..=4),
            1 => stragglers(),
            2 => overtaken_ends(pace),
            6 => more(1..=4),
        ]
    })
}

/// A worker stands still while its subtasks finish, not for long enough to be lost, and the attempt fails of something
/// else. So the cancellation, the next attempt and the last reports of the old one come at once.
fn overtaken_ends(pace: &Pace) -> BoxedStrategy<Vec<Fault>> {
    let workers = pace.workers - pace.spare;
    if workers < 2 {
        return link_fault(at_end(), pace).prop_map(|fault| vec![fault]).boxed();
    }
    (0..workers, 1..workers, 60..400_u64, 0..4_u8, 1..30_u64)
        .prop_map(move |(still, by, for_ms, how, restart_after_ms)| {
            let worker = |number| Process::Worker(WorkerId(number));
            let (process, other) = (Target::Process(worker(still)), worker((still + by) % workers));
            let fails = match how {
                0 => FaultKind::Crash { process: Target::Process(other), restart_after_ms },
                _ => FaultKind::Disconnect { process, from: other },
            };
            [FaultKind::Pause { process, for_ms }, fails].map(|what| Fault { at: at_first_end(still), what }).to_vec()
        })
        .boxed()
}

fn then(mut faults: Vec<Fault>, more: Vec<Fault>) -> Vec<Fault> {
    faults.extend(more);
    faults
}

fn any_fault(pace: &Pace) -> BoxedStrategy<Fault> {
    let pace = pace.clone();
    lazily(move || {
        let pace = &pace;
        prop_oneof![
            2 => crash(at_any_point(pace), pace),
            4 => any_storage_fault(pace),
            5 => link_fault(any_trigger(pace), pace),
        ]
    })
}

fn crash(at: BoxedStrategy<Trigger>, pace: &Pace) -> BoxedStrategy<Fault> {
    let pace = pace.clone();
    lazily(move || {
        let at = at.clone();
        let pace = &pace;
        // Short absences are noticed by broken connections, long ones by silence.
        let absence = prop_oneof![4 => 1..80_u64, 1 => 80..800_u64];
        (at, process(pace), 0..4_u8, absence).prop_map(|(at, other, chance, restart_after_ms)| {
            // A time has no announcer; a point is mostly about the one who announces it.
            let announcer = chance > 0 && matches!(at, Trigger::Point(_));
            let process = if announcer { Target::Announcer } else { Target::Process(other) };
            Fault { at, what: FaultKind::Crash { process, restart_after_ms } }
        })
    })
}

fn process(pace: &Pace) -> BoxedStrategy<Process> {
    let pace = pace.clone();
    lazily(move || {
        let pace = &pace;
        let (workers, coordinators) = (pace.workers, coordinators(pace));
        prop_oneof![
            1 => (0..coordinators.len()).prop_map(move |nth| coordinators[nth]),
            2 => (0..workers).prop_map(|worker| Process::Worker(WorkerId(worker))),
        ]
    })
}

/// All of them.
fn coordinators(pace: &Pace) -> Vec<Process> {
    let count = 1 + u16::from(pace.lease_ms.is_some());
    (0..count).map(CoordinatorId).map(Process::Coordinator).collect()
}

/// Two processes at the same instant, or all of them.
fn together(at: BoxedStrategy<Trigger>, pace: &Pace) -> BoxedStrategy<Fault> {
    let pace = pace.clone();
    lazily(move || {
        let at = at.clone();
        let pace = &pace;
        let workers = pace.workers;
        let coordinators = coordinators(pace);
        (at, any::<bool>(), 0..workers, 1..200_u64).prop_map(move |(at, all, worker, restart_after_ms)| {
            let workers = if all { 0..workers } else { worker..worker + 1 };
            let coordinators = if all { &coordinators[..] } else { &coordinators[..1] };
            let workers = workers.map(WorkerId).map(Process::Worker);
            let processes = coordinators.iter().copied().chain(workers).collect();
            Fault { at, what: FaultKind::CrashTogether { processes, restart_after_ms } }
        })
    })
}

/// A process that is replaced and goes on afterwards, mostly when its successor is at work.
fn zombie(at: BoxedStrategy<Trigger>, pace: &Pace) -> BoxedStrategy<Fault> {
    let pace = pace.clone();
    lazily(move || {
        let at = at.clone();
        let pace = &pace;
        (at, process(pace), any::<bool>(), 5..300_u64, 1..1_500_u64, 1..1_000_u64).prop_map(
            |(at, other, announces, replaced_after_ms, longer_ms, lives_ms)| {
                let announcer = announces && matches!(at, Trigger::Point(_));
                let process = if announcer { Target::Announcer } else { Target::Process(other) };
                let for_ms = replaced_after_ms + longer_ms;
                Fault { at, what: FaultKind::Zombie { process, for_ms, replaced_after_ms, lives_ms } }
            },
        )
    })
}

/// Trouble with the ways of one process, or with its clock.
fn link_fault(at: BoxedStrategy<Trigger>, pace: &Pace) -> BoxedStrategy<Fault> {
    let pace = pace.clone();
    lazily(move || {
        let at = at.clone();
        let pace = &pace;
        let target = || process(pace).prop_map(Target::Process);
        let what = prop_oneof![
            2 => target().prop_map(|process| FaultKind::ResetConnections { process }),
            2 => connected(pace).prop_map(|(process, from)| {
                FaultKind::Disconnect { process: Target::Process(process), from }
            }),
            2 => (target(), 5..60_u32, 20..500_u64).prop_map(|(process, factor, for_ms)| {
                FaultKind::SlowLinks { process, factor, for_ms }
            }),
            2 => (target(), 10..800_u64).prop_map(|(process, for_ms)| FaultKind::Partition { process, for_ms }),
            2 => (target(), any::<bool>(), 10..1_500_u64).prop_map(|(process, inbound, for_ms)| {
                FaultKind::OneWay { process, inbound, for_ms }
            }),
            2 => (target(), proptest::option::of(10..1_500_u64)).prop_map(|(process, believed_ms)| {
                FaultKind::HalfOpen { process, believed_ms }
            }),
            2 => (target(), 10..800_u64).prop_map(|(process, for_ms)| FaultKind::Pause { process, for_ms }),
            2 => (target(), LONG_PAUSE_MS..3_000).prop_map(|(process, for_ms)| FaultKind::Pause { process, for_ms }),
            2 => (target(), select(Forgery::ALL.to_vec()), any::<bool>()).prop_map(|(process, forgery, instead)| {
                FaultKind::Rogue { process, forgery, instead }
            }),
            1 => (target(), 20..1_500_u64).prop_map(|(process, for_ms)| FaultKind::StallStorage { process, for_ms }),
            1 => (target(), -100_000_000..100_000_000_i64).prop_map(|(process, by_ms)| {
                FaultKind::JumpWallClock { process, by_ms }
            }),
        ];
        prop_oneof![
            16 => (at.clone(), what).prop_map(|(at, what)| Fault { at, what }),
            1 => refusal(pace),
            1 => zombie(at.clone(), pace),
            1 => together(at, pace),
        ]
    })
}

/// Two processes that mostly have a connection: every worker has one to its coordinator, and those that host subtasks have
/// links.
fn connected(pace: &Pace) -> BoxedStrategy<(Process, Process)> {
    let hosts = pace.workers.min(pace.parallelism);
    let worker = |number| Process::Worker(WorkerId(number));
    let with_coordinator = (0..pace.workers, any::<bool>()).prop_map(move |(number, outwards)| {
        let pair = (worker(number), Process::COORDINATOR);
        if outwards { pair } else { (pair.1, pair.0) }
    });
    if hosts < 2 {
        return with_coordinator.boxed();
    }
    let linked = (0..hosts, 1..hosts).prop_map(move |(one, by)| (worker(one), worker((one + by) % hosts)));
    prop_oneof![with_coordinator, linked].boxed()
}

/// Ports refuse when somebody is about to dial: connections are opened in recoveries, and last.
fn refusal(pace: &Pace) -> BoxedStrategy<Fault> {
    let pace = pace.clone();
    lazily(move || {
        let pace = &pace;
        (before_dialling(), process(pace), 20..800_u64).prop_map(|(at, process, for_ms)| {
            let process = Target::Process(process);
            Fault { at, what: FaultKind::Refuse { process, for_ms } }
        })
    })
}

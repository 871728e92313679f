//! The faults of a plan: a *scenario* and up to three more, of processes, of the network and of storage.

use super::pace::Pace;
use super::storage::{any_storage_fault, failing_reads, storage_fault};
use super::trigger::{any_trigger, at_any_point, at_checkpoint, at_end, at_time, in_recovery};
use crate::world::{Fault, FaultKind, Target, Trigger};
use cofferdam_engine::ids::WorkerId;
use cofferdam_properties::history::Process;
use proptest::prelude::*;

/// The faults of a plan.
pub fn scenario(pace: &Pace) -> impl Strategy<Value = Vec<Fault>> + use<> {
    let more = |range| proptest::collection::vec(any_fault(pace), range);
    let first = || crash(at_checkpoint(), pace);
    let trouble = || prop_oneof![storage_fault(in_recovery(pace)), failing_reads(in_recovery(pace))];
    prop_oneof![
        1 => Just(Vec::new()),
        10 => (first(), more(0..=3_usize)).prop_map(|(crash, more)| then(vec![crash], more)),
        5 => (first(), crash(in_recovery(pace), pace), more(0..=2)).prop_map(|(a, b, more)| then(vec![a, b], more)),
        4 => (first(), trouble(), more(0..=2)).prop_map(|(a, b, more)| then(vec![a, b], more)),
        2 => (crash(at_time(pace), pace), more(0..=2)).prop_map(|(crash, more)| then(vec![crash], more)),
        1 => (crash(at_end(), pace), more(0..=1)).prop_map(|(crash, more)| then(vec![crash], more)),
        4 => more(1..=4),
    ]
}

fn then(mut faults: Vec<Fault>, more: Vec<Fault>) -> Vec<Fault> {
    faults.extend(more);
    faults
}

fn any_fault(pace: &Pace) -> impl Strategy<Value = Fault> + use<> {
    prop_oneof![
        2 => crash(at_any_point(pace), pace),
        4 => any_storage_fault(pace),
        3 => link_fault(pace),
    ]
}

fn crash(at: BoxedStrategy<Trigger>, pace: &Pace) -> BoxedStrategy<Fault> {
    // Short absences are noticed by broken connections, long ones by silence.
    let absence = prop_oneof![4 => 1..80_u64, 1 => 80..800_u64];
    (at, process(pace), 0..4_u8, absence)
        .prop_map(|(at, other, chance, restart_after_ms)| {
            // A time has no announcer; a point is mostly about the one who announces it.
            let announcer = chance > 0 && matches!(at, Trigger::Point(_));
            let process = if announcer { Target::Announcer } else { Target::Process(other) };
            Fault { at, what: FaultKind::Crash { process, restart_after_ms } }
        })
        .boxed()
}

fn process(pace: &Pace) -> impl Strategy<Value = Process> + use<> {
    let workers = pace.workers;
    prop_oneof![
        1 => Just(Process::COORDINATOR),
        2 => (0..workers).prop_map(|worker| Process::Worker(WorkerId(worker))),
    ]
}

fn link_fault(pace: &Pace) -> BoxedStrategy<Fault> {
    let target = || process(pace).prop_map(Target::Process);
    let what = prop_oneof![
        2 => target().prop_map(|process| FaultKind::ResetConnections { process }),
        2 => (target(), 5..60_u32, 20..500_u64).prop_map(|(process, factor, for_ms)| {
            FaultKind::SlowLinks { process, factor, for_ms }
        }),
        2 => (target(), 10..800_u64).prop_map(|(process, for_ms)| FaultKind::Partition { process, for_ms }),
        2 => (target(), 10..800_u64).prop_map(|(process, for_ms)| FaultKind::Pause { process, for_ms }),
    ];
    (any_trigger(pace), what).prop_map(|(at, what)| Fault { at, what }).boxed()
}

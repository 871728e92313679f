//! Simpler faults: fewer kinds, earlier coordinates, shorter and smaller ones.

use super::towards;
use crate::world::{CheckpointAt, Fault, FaultKind, InputChange, Point, Target, Trigger};
use cofferdam_engine::ids::WorkerId;
use cofferdam_properties::history::Process;

/// Everything one step simpler.
pub fn simpler(fault: &Fault) -> Vec<Fault> {
    let kinds = kinds(&fault.what).into_iter().map(|what| Fault { what, at: fault.at.clone() });
    let triggers = triggers(&fault.at).into_iter().map(|at| Fault { at, what: fault.what.clone() });
    kinds.chain(triggers).collect()
}

/// Workers that are gone are replaced by the last one.
pub fn within(fault: &mut Fault, workers: u16) {
    rename(fault, |process| {
        if let Process::Worker(worker) = process {
            *worker = WorkerId(worker.0.min(workers - 1));
        }
    });
}

/// The standby is gone.
pub fn without_standby(fault: &mut Fault) {
    rename(fault, |process| {
        if matches!(process, Process::Coordinator(_)) {
            *process = Process::COORDINATOR;
        }
    });
}

fn rename(fault: &mut Fault, rename: impl Fn(&mut Process)) {
    if let Trigger::Point(Point { process: Some(process), .. }) = &mut fault.at {
        rename(process);
    }
    if let Some(Target::Process(process)) = target(&mut fault.what) {
        rename(process);
    }
    match &mut fault.what {
        FaultKind::CrashTogether { processes, .. } => {
            processes.iter_mut().for_each(rename);
            processes.dedup();
        }
        FaultKind::Disconnect { from, .. } => rename(from),
        _ => {}
    }
}

fn target(what: &mut FaultKind) -> Option<&mut Target> {
    match what {
        FaultKind::Crash { process, .. }
        | FaultKind::Pause { process, .. }
        | FaultKind::ResetConnections { process }
        | FaultKind::Rogue { process, .. }
        | FaultKind::SlowLinks { process, .. }
        | FaultKind::Partition { process, .. }
        | FaultKind::OneWay { process, .. }
        | FaultKind::Disconnect { process, .. }
        | FaultKind::HalfOpen { process, .. }
        | FaultKind::Refuse { process, .. }
        | FaultKind::Zombie { process, .. }
        | FaultKind::StallStorage { process, .. }
        | FaultKind::JumpWallClock { process, .. } => Some(process),
        _ => None,
    }
}

fn triggers(at: &Trigger) -> Vec<Trigger> {
    match at {
        Trigger::Time { ms } => towards(*ms, 0).into_iter().map(|ms| Trigger::Time { ms }).collect(),
        Trigger::Point(point) => points(point).into_iter().map(Trigger::Point).collect(),
    }
}

fn points(point: &Point) -> Vec<Point> {
    let mut points = Vec::new();
    for occurrence in towards(point.occurrence.into(), 0) {
        points.push(Point { occurrence: occurrence as u32, ..point.clone() });
    }
    if let Some(CheckpointAt::Ordinal(n)) = point.checkpoint {
        for earlier in towards(n.into(), 0) {
            points.push(Point { checkpoint: Some(CheckpointAt::Ordinal(earlier as u32)), ..point.clone() });
        }
    }
    if point.process.is_some() {
        points.push(Point { process: None, ..point.clone() });
    }
    points
}

/// The same with a shorter duration, or a smaller count.
fn kinds(what: &FaultKind) -> Vec<FaultKind> {
    let mut kinds = match what {
        FaultKind::Zombie { process, replaced_after_ms, .. } => {
            vec![FaultKind::Crash { process: *process, restart_after_ms: *replaced_after_ms }]
        }
        FaultKind::CrashTogether { processes, restart_after_ms } => fewer_processes(processes, *restart_after_ms),
        FaultKind::HalfOpen { process, .. } | FaultKind::Rogue { process, instead: false, .. } => {
            vec![FaultKind::ResetConnections { process: *process }]
        }
        FaultKind::Rogue { process, forgery, instead: true } => {
            let beside = FaultKind::Rogue { process: *process, forgery: *forgery, instead: false };
            vec![FaultKind::ResetConnections { process: *process }, beside]
        }
        FaultKind::OneWay { process, for_ms, .. } => vec![FaultKind::Partition { process: *process, for_ms: *for_ms }],
        FaultKind::ChangeInput { object, change: InputChange::Replace } => {
            vec![FaultKind::ChangeInput { object: *object, change: InputChange::Touch }]
        }
        _ => Vec::new(),
    };
    for which in 0..3 {
        let Some(value) = number(&mut what.clone(), which).map(|n| n.get()) else { break };
        for smaller in towards(value, number(&mut what.clone(), which).map_or(0, |n| n.least())) {
            let mut kind = what.clone();
            if let Some(mut number) = number(&mut kind, which) {
                number.set(smaller);
            }
            kinds.push(kind);
        }
    }
    kinds
}

fn fewer_processes(processes: &[Process], restart_after_ms: u64) -> Vec<FaultKind> {
    if let [one] = processes {
        return vec![FaultKind::Crash { process: Target::Process(*one), restart_after_ms }];
    }
    let without = |out: usize| {
        let mut processes = processes.to_vec();
        processes.remove(out);
        FaultKind::CrashTogether { processes, restart_after_ms }
    };
    (0..processes.len()).map(without).collect()
}

/// A number of a fault, and the least that makes sense.
enum Number<'a> {
    Long(&'a mut u64, u64),
    Short(&'a mut u32, u64),
}

impl Number<'_> {
    fn get(&self) -> u64 {
        match self {
            Self::Long(value, _) => **value,
            Self::Short(value, _) => u64::from(**value),
        }
    }

    fn least(&self) -> u64 {
        match self {
            Self::Long(value, least) => (*least).min(**value),
            Self::Short(value, least) => (*least).min(u64::from(**value)),
        }
    }

    fn set(&mut self, to: u64) {
        match self {
            Self::Long(value, _) => **value = to,
            Self::Short(value, _) => **value = to as u32,
        }
    }
}

fn number(what: &mut FaultKind, which: usize) -> Option<Number<'_>> {
    use Number::{Long, Short};
    let numbers = match what {
        FaultKind::Crash { restart_after_ms, .. } | FaultKind::CrashTogether { restart_after_ms, .. } => {
            vec![Long(restart_after_ms, 1)]
        }
        FaultKind::Pause { for_ms, .. }
        | FaultKind::Partition { for_ms, .. }
        | FaultKind::OneWay { for_ms, .. }
        | FaultKind::Refuse { for_ms, .. }
        | FaultKind::StallStorage { for_ms, .. }
        | FaultKind::ThrottleStorage { for_ms, .. }
        | FaultKind::ShortReads { for_ms, .. } => vec![Long(for_ms, 1)],
        FaultKind::SlowLinks { factor, for_ms, .. } | FaultKind::SlowStorage { factor, for_ms, .. } => {
            vec![Long(for_ms, 1), Short(factor, 2)]
        }
        FaultKind::Zombie { for_ms, replaced_after_ms, lives_ms, .. } => {
            vec![Long(for_ms, 1), Long(replaced_after_ms, 1), Long(lives_ms, 1)]
        }
        FaultKind::FailStorage { count, .. } | FaultKind::HangStorage { count, .. } => vec![Short(count, 1)],
        FaultKind::DelayPastTheEnd { count, after_ms, .. } => vec![Short(count, 1), Long(after_ms, 0)],
        FaultKind::LoseReplies { count, late_ms, .. } => vec![Short(count, 1), Long(late_ms, 0)],
        FaultKind::LimitBandwidth { for_ms, .. } => vec![Long(for_ms, 1)],
        FaultKind::StaleListings { behind_ms, for_ms, .. } => vec![Long(for_ms, 1), Long(behind_ms, 1)],
        FaultKind::HalfOpen { .. }
        | FaultKind::ResetConnections { .. }
        | FaultKind::Rogue { .. }
        | FaultKind::Disconnect { .. }
        | FaultKind::JumpWallClock { .. } => Vec::new(),
        FaultKind::ChangeInput { object, .. } => vec![Short(object, 0)],
    };
    numbers.into_iter().nth(which)
}

//! A small job, struck in every way: systematic where the other strategies draw.
//!
//! The cells are numbered, and the seed says which one a plan is of, in this order:
//! 1. all single faults: every event ([`aim::AIMS`]) × every kind of fault × without and with a second coordinator;
//! 2. pairs around the metadata that leaders share: one fault just after it was written, another just before it is read.
//!
//! Seeds go round: the next round strikes the same cells under other delays. `hunt --strategy sweep` begins at seed 0.

use super::{Strategy, aim};
use crate::plan::graph::{GraphSpec, Input, Node, Operator, Travel};
use crate::plan::input::Draws;
use crate::plan::{InputShape, JobKind, KINDS, Plan, Policy};
use crate::seed::Seed;
use crate::world::{CheckpointAt, Delay, Fault, Picks, Point, Target, Trigger, Tuning};
use cofferdam_engine::config::{CheckpointMode, RestartStrategy, RetentionPolicy, SnapshotMode};
use std::time::Duration;

/// What it runs.
pub const JOB: JobKind = JobKind::Graph;

/// See the head of the file.
pub struct Sweep;

/// Just after shared metadata was written.
const WRITTEN: [&str; 6] =
    ["upload_ended", "manifest_written", "completion_durable", "leadership_taken", "delete_started", "commit_ended"];
/// Just before it is read.
const READ: [&str; 5] = ["attempt_failed", "lease_expired", "leadership_taken", "restore_read", "restore_started"];
/// What pairs are made of: what loses a process, or what it thinks it knows.
const IN_PAIRS: [&str; 6] = ["crash", "crash together", "zombie", "long pause", "lost replies", "late effects"];

const PAIRS: u64 = 2 * (WRITTEN.len() * READ.len() * IN_PAIRS.len() * IN_PAIRS.len()) as u64;

/// How many cells there are.
pub fn cells() -> u64 {
    singles() + PAIRS
}

fn singles() -> u64 {
    2 * (swept().len() * KINDS.len()) as u64
}

/// Nobody asks anything of the small job.
fn swept() -> Vec<aim::Aim> {
    aim::AIMS.iter().filter(|aim| aim.needs != aim::Needs::Client).copied().collect()
}

impl Strategy for Sweep {
    fn plan(&self, seed: Seed, _: &[Plan]) -> Plan {
        let mut draws = Draws::of(seed, "sweep");
        let cell = seed.0 % cells();
        if cell < singles() { single(cell, &mut draws) } else { pair(cell - singles(), &mut draws) }
    }

    fn job_of(&self, _: Seed) -> JobKind {
        JOB
    }
}

/// Takes one of `choices` off a number.
fn one_of<T: Copy>(number: &mut u64, choices: &[T]) -> T {
    let choice = choices[(*number % choices.len() as u64) as usize];
    *number /= choices.len() as u64;
    choice
}

fn single(mut cell: u64, draws: &mut Draws) -> Plan {
    let mut plan = tiny(one_of(&mut cell, &[false, true]));
    let kind = one_of(&mut cell, &KINDS);
    let aim = one_of(&mut cell, &swept());
    plan.faults.extend(aim::cause(&plan, &aim, draws));
    let at = point(aim.event, aim.of_checkpoint);
    let what = aim::of_kind(kind, Target::Announcer, &plan, draws);
    plan.faults.push(Fault { at, what });
    plan
}

fn pair(mut cell: u64, draws: &mut Draws) -> Plan {
    let mut plan = tiny(one_of(&mut cell, &[false, true]));
    let (first, second) = (one_of(&mut cell, &IN_PAIRS), one_of(&mut cell, &IN_PAIRS));
    let (written, read) = (one_of(&mut cell, &WRITTEN), one_of(&mut cell, &READ));
    for (event, kind) in [(written, first), (read, second)] {
        let of_checkpoint = aim::AIMS.iter().any(|aim| aim.event == event && aim.of_checkpoint);
        let what = aim::of_kind(kind, Target::Announcer, &plan, draws);
        plan.faults.push(Fault { at: point(event, of_checkpoint), what });
    }
    plan
}

/// The second checkpoint, so that there is something to restore.
fn point(event: &str, of_checkpoint: bool) -> Trigger {
    let checkpoint = of_checkpoint.then_some(CheckpointAt::Ordinal(1));
    Trigger::Point(Point { event: event.to_owned(), checkpoint, ..Point::default() })
}

/// A job of three operators and five subtasks on two workers: records cross a link, barriers are aligned, a sink commits.
pub fn tiny(standby: bool) -> Plan {
    let input = |from, exchange| vec![Input { port: 0, from, exchange }];
    let node = |operator, parallelism, inputs| Node { operator, parallelism, inputs, fused: None };
    let source = Operator::Generate { salt: 1, records: 20, interval_ms: 20, burst: 1 };
    let nodes = vec![
        node(source, 2, Vec::new()),
        node(Operator::Sum, 2, input(0, Travel::ByKey)),
        node(Operator::Write, 1, input(1, Travel::Rebalance)),
    ];
    Plan {
        job: JOB,
        workers: 2,
        spare_workers: 0,
        parallelism: 2,
        batch_records: 2,
        credits: 2,
        policy: Policy {
            interval_ms: 60,
            timeout_ms: 2_000,
            min_pause_ms: 0,
            max_concurrent: 1,
            tolerable_failures: u32::MAX,
            mode: CheckpointMode::ExactlyOnce,
            snapshot: SnapshotMode::Async,
            part_bytes: 1 << 20,
            retained: 1,
            retention: RetentionPolicy::Never,
            restart: RestartStrategy::FixedDelay { attempts: 10_000, delay: Duration::from_millis(10) },
        },
        heartbeat_interval_ms: 80,
        heartbeat_timeout_ms: 320,
        supervisor_delay_ms: 20,
        standby_lease_ms: standby.then_some(400),
        input: InputShape::Graph(GraphSpec { keys: 3, nodes }),
        tuning: Tuning { work_per_record: Delay::new(1_000_000, 1_000_000), ..Tuning::default() },
        heal_at_ms: 3_000,
        liveness_ms: 70_000,
        picks: Picks::Seed,
        faults: Vec::new(),
        clients: Vec::new(),
        second_start: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::kind_of;
    use std::collections::BTreeSet;

    #[test]
    fn a_round_has_every_cell_once() {
        let told = |n: u64| {
            let plan = Sweep.plan(Seed(n), &[]);
            let kinds: Vec<String> = plan.faults.iter().map(|f| format!("{} {}", f.at, kind_of(&f.what))).collect();
            (plan.standby_lease_ms.is_some(), kinds)
        };
        let last_of_single = |n| told(n).1.pop();
        let swept: BTreeSet<_> = (0..singles()).map(|n| (told(n).0, last_of_single(n))).collect();
        assert_eq!(swept.len() as u64, singles());
        let pairs: BTreeSet<_> = (singles()..cells()).map(told).collect();
        assert_eq!(pairs.len() as u64, PAIRS);
    }
}

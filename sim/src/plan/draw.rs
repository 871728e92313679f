//! Plans from seeds: proptest strategies, used as a library.
//!
//! 1. The job comes from a stream of its own, so that a hunt can pick seeds by job without drawing plans.
//! 2. Shape and pace come next: work per record is chosen so that the job lasts for several checkpoints, whatever
//!    its size; everything in time is then a fraction of that length.
//! 3. Faults are drawn as a *scenario* (a crash at a point, a second crash during the recovery of the first, trouble
//!    with storage or links, …) plus up to two more. Crashes mostly wait for a later checkpoint, so that what is restored
//!    is not empty.
//!
//! Any change here makes old seeds mean something else: count [`crate::seed::GENERATOR`] up with it.

use super::{InputShape, JobKind, Plan, input};
use crate::seed::Seed;
use crate::world::{CheckpointAt, Delay, Fault, FaultKind, Point, Requests, Target, Trigger, Tuning};
use cofferdam_engine::config::SnapshotMode;
use cofferdam_engine::ids::WorkerId;
use cofferdam_properties::history::Process;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// The job of a seed.
pub fn job(seed: Seed) -> JobKind {
    // Three in five count words: one keyed state, the simplest story to read.
    if seed.stream("job")[0] < 154 { JobKind::WordCount } else { JobKind::Join }
}

/// The plan of a seed.
pub fn plan(seed: Seed) -> Plan {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.stream("plan"));
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    let tree = plans(job(seed)).new_tree(&mut runner).expect("no strategy rejects");
    tree.current()
}

/// How large and how fast.
#[derive(Clone, Debug)]
struct Pace {
    workers: u16,
    parallelism: u16,
    subtasks: u32,
    input: InputShape,
    /// How long the job would take if nothing went wrong.
    length_ms: u64,
    interval_ms: u64,
    /// How slow storage is, compared with the ordinary.
    storage: u64,
}

/// Every plan of a job.
fn plans(job: JobKind) -> impl Strategy<Value = Plan> {
    pace(job).prop_flat_map(move |pace| {
        let channels = channels(&pace);
        let checkpoints = (timeout(&pace), any::<bool>(), 1..=3_usize);
        let failover = (1..120_u64, 60..=150_u64, 3..=6_u64, 5..200_u64);
        (Just(pace.clone()), channels, checkpoints, failover, tuning(&pace), scenario(&pace)).prop_map(
            move |(pace, (batch_records, credits), (timeout_ms, asynchronous, retained), failover, tuning, faults)| {
                let (restart_delay_ms, heartbeat_interval_ms, silent_beats, supervisor_delay_ms) = failover;
                Plan {
                    job,
                    workers: pace.workers,
                    parallelism: pace.parallelism,
                    batch_records,
                    credits,
                    checkpoint_interval_ms: pace.interval_ms,
                    checkpoint_timeout_ms: timeout_ms,
                    snapshot: if asynchronous { SnapshotMode::Async } else { SnapshotMode::Sync },
                    retained,
                    restart_delay_ms,
                    heartbeat_interval_ms,
                    heartbeat_timeout_ms: heartbeat_interval_ms * silent_beats,
                    supervisor_delay_ms,
                    input: pace.input,
                    tuning,
                    heal_at_ms: pace.length_ms * 4 + 1_000,
                    liveness_ms: pace.length_ms * 20 + 60_000,
                    faults,
                }
            },
        )
    })
}

fn pace(job: JobKind) -> impl Strategy<Value = Pace> {
    let storage = select(vec![1, 1, 1, 2, 2, 4]);
    (1..=3_u16, 1..=3_u16, input::shapes(job), 400..1_000_u64, 6..=12_u64, storage).prop_map(
        move |(workers, parallelism, input, length_ms, checkpoints, storage)| Pace {
            workers,
            parallelism,
            subtasks: u32::from(parallelism) * job.operators(),
            input,
            length_ms,
            interval_ms: length_ms / checkpoints,
            storage,
        },
    )
}

/// Records per batch and credits. What lies in channels is a small part of the input: a barrier travels behind it, and
/// a job whose input is all in channels has no time for a second checkpoint.
fn channels(pace: &Pace) -> impl Strategy<Value = (usize, u32)> + use<> {
    let records = pace.input.records_each(pace.parallelism) as usize;
    select(vec![1, 1, 1, 2, 2, 3, 4]).prop_flat_map(move |credits| {
        let most = (records / (12 * (credits as usize + 1))).clamp(1, 16);
        (1..=most, Just(credits))
    })
}

/// Time for the slowest upload there is without a fault, or for the whole job as well. Faults make checkpoints expire,
/// not the plan: after healing they must be able to complete.
fn timeout(pace: &Pace) -> impl Strategy<Value = u64> + use<> {
    let (slowest_ms, length_ms) = (300 + 150 * pace.storage, pace.length_ms);
    prop_oneof![
        2 => (0..200_u64).prop_map(move |more| slowest_ms + more),
        3 => (1..6_u64).prop_map(move |times| slowest_ms + length_ms * times),
    ]
}

fn tuning(pace: &Pace) -> impl Strategy<Value = Tuning> + use<> {
    let per_record_ns = pace.length_ms * 1_000_000 / pace.input.records_each(pace.parallelism);
    let storage = pace.storage;
    (select(vec![0, 50, 100, 200]), 0..4_u32, select(vec![0, 4, 8, 16]), 2..=24_u32, 0..10_u64).prop_map(
        move |(slowness_percent, latency, half_open_one_in, window, encode_ms)| {
            let ordinary = Tuning::default();
            let scaled =
                |delay: Delay, by: u64| Delay { base_ns: delay.base_ns * by, spread_ns: delay.spread_ns * by, ..delay };
            Tuning {
                link: scaled(ordinary.link, 1 << latency),
                storage: scaled(ordinary.storage, storage),
                work_per_record: Delay::new(per_record_ns / 2, per_record_ns).with_tail(64, 5),
                // Pages are small here; records come between them.
                encode_per_kb_ns: encode_ms * 4_000_000,
                half_open_one_in,
                window,
                slowness_percent,
                ..ordinary
            }
        },
    )
}

/// Points of the coordinator that name a checkpoint.
const COORDINATOR: &[&str] = &[
    "checkpoint_triggered",
    "trigger_sent",
    "ack_received",
    "manifest_started",
    "manifest_written",
    "completion_started",
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

/// Points near the end of the job.
const ENDING: &[&str] = &["input_ended", "end_received", "subtask_finished", "job_finished"];

/// The faults of a plan.
fn scenario(pace: &Pace) -> impl Strategy<Value = Vec<Fault>> + use<> {
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
        4 => storage_fault(any_trigger(pace)),
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

/// Which checkpoint: mostly a later one, so that there is something to restore.
fn ordinal() -> impl Strategy<Value = CheckpointAt> {
    prop_oneof![1 => Just(0), 5 => Just(1), 20 => 2..4_u32, 4 => 4..7_u32].prop_map(CheckpointAt::Ordinal)
}

fn at_checkpoint() -> BoxedStrategy<Trigger> {
    let event = prop_oneof![2 => select(COORDINATOR), 3 => select(WORKER)];
    let occurrence = prop_oneof![3 => Just(0), 1 => 1..6_u32];
    (event, ordinal(), occurrence)
        .prop_map(|(event, checkpoint, occurrence)| point(event, Some(checkpoint), occurrence))
        .boxed()
}

fn in_recovery(pace: &Pace) -> BoxedStrategy<Trigger> {
    (select(recovery(pace)), prop_oneof![2 => Just(0), 1 => 0..6_u32])
        .prop_map(|((event, before), more)| point(event, None, before + more))
        .boxed()
}

fn at_end() -> BoxedStrategy<Trigger> {
    (select(ENDING), 0..4_u32).prop_map(|(event, occurrence)| point(event, None, occurrence)).boxed()
}

fn at_any_point(pace: &Pace) -> BoxedStrategy<Trigger> {
    prop_oneof![5 => at_checkpoint(), 1 => in_recovery(pace), 1 => at_end()].boxed()
}

fn at_time(pace: &Pace) -> BoxedStrategy<Trigger> {
    (pace.length_ms / 3..pace.length_ms * 3 / 2).prop_map(|ms| Trigger::Time { ms }).boxed()
}

fn point(event: &str, checkpoint: Option<CheckpointAt>, occurrence: u32) -> Trigger {
    Trigger::Point(Point { event: event.to_owned(), checkpoint, occurrence, ..Point::default() })
}

/// How many requests: some that retries get over, some that they do not.
fn burst() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 1..4_u32, 2 => 4..16_u32]
}

/// Paths that a storage fault hits.
fn prefix() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just("checkpoints/log"),
        // The slots without their listing.
        2 => Just("checkpoints/log/"),
        4 => Just("checkpoints/chk"),
        1 => Just("checkpoints"),
        3 => Just("output"),
        1 => Just("input"),
    ]
    .prop_map(str::to_owned)
}

fn storage_fault(at: BoxedStrategy<Trigger>) -> BoxedStrategy<Fault> {
    let requests = prop_oneof![
        4 => Just(Requests::Writes),
        2 => Just(Requests::Reads),
        1 => Just(Requests::Deletes),
        1 => Just(Requests::All),
    ];
    let late = prop_oneof![2 => Just(0), 1 => 1..400_u64];
    let what = prop_oneof![
        2 => (prefix(), 4..60_u32, 20..600_u64).prop_map(|(prefix, factor, for_ms)| {
            FaultKind::SlowStorage { prefix, factor, for_ms }
        }),
        3 => (prefix(), requests, burst()).prop_map(|(prefix, requests, count)| {
            FaultKind::FailStorage { prefix, requests, count }
        }),
        3 => (prefix(), burst(), late).prop_map(|(prefix, count, late_ms)| {
            FaultKind::LoseReplies { prefix, requests: Requests::All, count, late_ms }
        }),
    ];
    (at, what).prop_map(|(at, what)| Fault { at, what }).boxed()
}

/// Storage that cannot be read while somebody recovers.
fn failing_reads(at: BoxedStrategy<Trigger>) -> BoxedStrategy<Fault> {
    (at, prefix(), burst())
        .prop_map(|(at, prefix, count)| Fault {
            at,
            what: FaultKind::FailStorage { prefix, requests: Requests::Reads, count },
        })
        .boxed()
}

fn any_trigger(pace: &Pace) -> BoxedStrategy<Trigger> {
    prop_oneof![3 => at_any_point(pace), 2 => at_time(pace)].boxed()
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

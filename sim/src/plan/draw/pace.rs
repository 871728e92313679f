//! Shape and pace: how large a job is, how long it would take, and how slow everything around it is.

use crate::plan::InputShape;
use crate::world::{Delay, Tuning};
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

/// How large and how fast.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Workers, spare ones included.
    pub workers: u16,
    /// So many more than the job needs.
    pub spare: u16,
    /// Of every operator.
    pub parallelism: u16,
    /// All of them.
    pub subtasks: u32,
    /// What is read.
    pub input: Arc<InputShape>,
    /// How long the job would take if nothing went wrong.
    pub length_ms: u64,
    /// Between periodic checkpoints.
    pub interval_ms: u64,
    /// How slow storage is, compared with the ordinary.
    pub storage: u64,
    /// There is a second coordinator, and it waits so long for a sign of life.
    pub lease_ms: Option<u64>,
}

/// Every pace of a job with one of these inputs.
pub fn pace(inputs: BoxedStrategy<InputShape>) -> impl Strategy<Value = Pace> {
    let storage = select(vec![1, 1, 1, 2, 2, 4]);
    (workers(), 1..=3_u16, inputs, 400..1_000_u64, 6..=12_u64, storage, leases()).prop_map(
        |((needed, spare), parallelism, input, length_ms, checkpoints, storage, lease_ms)| {
            let parallelism = input.fitting(parallelism);
            let length_ms = length_ms + input.lasts_ms(parallelism);
            let subtasks = input.subtasks(parallelism);
            let (interval_ms, input) = (length_ms / checkpoints, Arc::new(input));
            let workers = needed + spare;
            Pace { workers, spare, parallelism, subtasks, input, length_ms, interval_ms, storage, lease_ms }
        },
    )
}

/// Workers that the job needs, and spare ones: in every sixth plan there is one more, which takes the place of one that
/// is away.
fn workers() -> impl Strategy<Value = (u16, u16)> {
    (1..=3_u16, prop_oneof![5 => Just(0), 1 => Just(1)])
}

/// Every third plan has a standby. Three signs of life in a lease, each of them several times as long as an ordinary
/// write takes: who leads and is well keeps the lease, and whoever takes over does so within the job.
fn leases() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 1 => (300..800_u64).prop_map(Some)]
}

/// Records per batch and credits. What lies in channels is a small part of the input: a barrier travels behind it, and
/// a job whose input is all in channels has no time for a second checkpoint.
pub fn channels(pace: &Pace) -> impl Strategy<Value = (usize, u32)> + use<> {
    let records = pace.input.records_each(pace.parallelism) as usize;
    select(vec![1, 1, 1, 2, 2, 3, 4]).prop_flat_map(move |credits| {
        let most = (records / (12 * (credits as usize + 1))).clamp(1, 16);
        (1..=most, Just(credits))
    })
}

/// How long things take.
pub fn tuning(pace: &Pace) -> impl Strategy<Value = Tuning> + use<> {
    let per_record_ns = pace.length_ms * 1_000_000 / pace.input.records_each(pace.parallelism);
    let storage = pace.storage;
    // Mostly clocks as they are, sometimes far too fast or too slow; timeouts are several times the intervals.
    let drift = select(vec![200, 200, 10_000, 50_000]);
    // Mostly so few frames on their way that senders have to wait; more where they travel longer, or nothing gets through.
    let windows = select(vec![1, 2, 2, 3, 4, 6, 10, 24]);
    let links = (0..4_u32, select(vec![0, 4, 8, 16]), windows, select(vec![1, 1, 8, 30]));
    (select(vec![0, 50, 100, 200]), links, 0..10_u64, drift).prop_map(
        move |(slowness_percent, (latency, half_open_one_in, window, unfair_links), encode_ms, drift_ppm)| {
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
                unfair_links,
                window: (window << latency) * (1 + unfair_links / 4),
                drift_ppm,
                slowness_percent,
                ..ordinary
            }
        },
    )
}

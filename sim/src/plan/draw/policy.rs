//! The coordinator's policy: what it puts up with, and how.
//!
//! Most plans cannot exhaust the restarts of their job, and none fails it by its own impatience: after healing the job must
//! be able to finish. A few allow so few restarts that failing for good is a legitimate end.

use super::pace::Pace;
use crate::plan::Policy;
use crate::plan::policy::WHOLE;
use cofferdam_engine::config::{CheckpointMode, RestartStrategy, RetentionPolicy, SnapshotMode};
use proptest::prelude::*;
use std::time::Duration;

/// Restarts in a row that a plan allows.
const RESTARTS: u32 = 10_000;

/// Every policy.
pub fn policies(pace: &Pace) -> impl Strategy<Value = Policy> + use<> {
    let snapshots = (any::<bool>(), parts(), 1..=3_usize, retention());
    let slower_ms = SLOWER_IN_PARTS_MS * pace.storage;
    (patience(pace), snapshots, restarts(), rhythm(pace), modes()).prop_map(
        move |(
            (timeout_ms, tolerable_failures),
            (asynchronous, part_bytes, retained, retention),
            restart,
            rhythm,
            mode,
        )| Policy {
            interval_ms: rhythm.interval_ms,
            // Several at a time share the subtasks that encode them, and parts take their time.
            timeout_ms: (timeout_ms + if part_bytes < WHOLE { slower_ms } else { 0 }) * rhythm.max_concurrent as u64,
            min_pause_ms: rhythm.min_pause_ms,
            max_concurrent: rhythm.max_concurrent,
            tolerable_failures,
            mode,
            snapshot: if asynchronous { SnapshotMode::Async } else { SnapshotMode::Sync },
            part_bytes,
            retained,
            retention,
            restart,
        },
    )
}

/// How checkpoints follow each other.
#[derive(Clone, Copy, Debug)]
struct Rhythm {
    interval_ms: u64,
    min_pause_ms: u64,
    max_concurrent: usize,
}

/// One after the other, with a pause in between, or several at a time: then the next must come before the last has completed.
/// As many complete in one job as without, so that there is something to restore.
fn rhythm(pace: &Pace) -> impl Strategy<Value = Rhythm> + use<> {
    let interval_ms = pace.interval_ms;
    let plain = Rhythm { interval_ms, min_pause_ms: 0, max_concurrent: 1 };
    prop_oneof![
        6 => Just(plain),
        1 => (1..=interval_ms / 2).prop_map(move |min_pause_ms| Rhythm {
            interval_ms: interval_ms / 3,
            min_pause_ms,
            ..plain
        }),
        2 => (2..=3_usize, 1..=2_u64).prop_map(move |(max_concurrent, faster)| Rhythm {
            interval_ms: (interval_ms / faster).max(5),
            max_concurrent,
            ..plain
        }),
    ]
}

/// When a checkpoint expires, and how many may fail in a row; one more fails the attempt, and the restart strategy puts up
/// with that. Expired checkpoints are put up with only where none needs to expire: a barrier may have to wait for all the
/// records there are, and a job whose every attempt ends before its first checkpoint never comes to an end.
fn patience(pace: &Pace) -> impl Strategy<Value = (u64, u32)> + use<> {
    let long_ms = 1_000 + pace.length_ms * 16;
    prop_oneof![
        4 => timeout(pace).prop_map(|timeout_ms| (timeout_ms, u32::MAX)),
        1 => (0..=3_u32).prop_map(move |failures| (long_ms, failures)),
    ]
}

/// Time for the slowest upload there is without a fault behind the largest burst of records, or for the whole job as well. Faults make checkpoints expire,
/// not the plan: after healing they must be able to complete.
fn timeout(pace: &Pace) -> impl Strategy<Value = u64> + use<> {
    let length_ms = pace.length_ms;
    let slowest_ms = 300 + 150 * pace.storage + pace.input.bursts_ms(length_ms);
    prop_oneof![
        2 => (0..200_u64).prop_map(move |more| slowest_ms + more),
        3 => (1..6_u64).prop_map(move |times| slowest_ms + length_ms * times),
    ]
}

/// What barriers promise.
fn modes() -> impl Strategy<Value = CheckpointMode> {
    prop_oneof![4 => Just(CheckpointMode::ExactlyOnce), 1 => Just(CheckpointMode::AtLeastOnce)]
}

/// How much longer the slowest upload takes in parts, one after the other.
const SLOWER_IN_PARTS_MS: u64 = 400;

/// Snapshots are small here; every fourth plan uploads most of them in parts.
fn parts() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(WHOLE), 1 => 150..2_000_usize]
}

/// What becomes of the retained checkpoints at the end.
fn retention() -> impl Strategy<Value = RetentionPolicy> {
    let policies =
        [RetentionPolicy::Never, RetentionPolicy::OnFailure, RetentionPolicy::OnCancellation, RetentionPolicy::Always];
    proptest::sample::select(policies.to_vec())
}

/// How the job is restarted: as often as it takes, or (one plan in twenty) hardly ever.
fn restarts() -> impl Strategy<Value = RestartStrategy> {
    prop_oneof![
        38 => strategies(RESTARTS..=RESTARTS),
        1 => strategies(1..=3),
        1 => Just(RestartStrategy::None),
    ]
}

fn strategies(attempts: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = RestartStrategy> {
    let ms = Duration::from_millis;
    let exponential = (attempts.clone(), 1..60_u64, 1..5_u64, 100..300_u32, 0..=50_u32, 200..5_000_u64);
    prop_oneof![
        4 => (attempts.clone(), 1..120_u64)
            .prop_map(move |(attempts, delay)| RestartStrategy::FixedDelay { attempts, delay: ms(delay) }),
        1 => (attempts, 100..5_000_u64, 1..120_u64).prop_map(move |(failures, interval, delay)| {
            RestartStrategy::FailureRate { failures, interval: ms(interval), delay: ms(delay) }
        }),
        2 => exponential.prop_map(move |(attempts, first, longer, multiplier_percent, jitter_percent, reset_after)| {
            RestartStrategy::ExponentialDelay {
                initial: ms(first),
                max: ms(first * longer),
                multiplier_percent,
                jitter_percent,
                reset_after: ms(reset_after),
                attempts: Some(attempts),
            }
        }),
    ]
}

//! The coordinator's policy: what it puts up with, and how.
//!
//! No plan may exhaust the restarts of its job legitimately, nor fail it by its own impatience: after healing
//! every job must be able to finish.

use super::pace::Pace;
use crate::plan::Policy;
use cofferdam_engine::config::{CheckpointMode, RestartStrategy, RetentionPolicy, SnapshotMode};
use proptest::prelude::*;
use std::time::Duration;

/// Restarts in a row that a plan allows.
const RESTARTS: u32 = 10_000;

/// Every policy.
pub fn policies(pace: &Pace) -> impl Strategy<Value = Policy> + use<> {
    let snapshots = (any::<bool>(), parts(), 1..=3_usize);
    let slower_ms = SLOWER_IN_PARTS_MS * pace.storage;
    (timeout(pace), snapshots, restarts(), rhythm(pace), tolerance(), modes()).prop_map(
        move |(timeout_ms, (asynchronous, part_bytes, retained), restart, rhythm, tolerable_failures, mode)| Policy {
            interval_ms: rhythm.interval_ms,
            timeout_ms: if part_bytes < WHOLE { timeout_ms + slower_ms } else { timeout_ms },
            min_pause_ms: rhythm.min_pause_ms,
            max_concurrent: rhythm.max_concurrent,
            tolerable_failures,
            mode,
            snapshot: if asynchronous { SnapshotMode::Async } else { SnapshotMode::Sync },
            part_bytes,
            retained,
            retention: RetentionPolicy::OnCancellation,
            restart,
            manual_triggers_ms: Vec::new(),
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
        4 => Just(plain),
        2 => (1..=interval_ms / 2).prop_map(move |min_pause_ms| Rhythm {
            interval_ms: interval_ms / 3,
            min_pause_ms,
            ..plain
        }),
        3 => (2..=3_usize, 2..=6_u64).prop_map(move |(max_concurrent, faster)| Rhythm {
            interval_ms: (interval_ms / faster).max(5),
            max_concurrent,
            ..plain
        }),
    ]
}

/// Failed checkpoints in a row. One too many fails the attempt, and the restart strategy puts up with that.
fn tolerance() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(u32::MAX), 1 => 0..=3_u32]
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

/// What barriers promise.
fn modes() -> impl Strategy<Value = CheckpointMode> {
    prop_oneof![4 => Just(CheckpointMode::ExactlyOnce), 1 => Just(CheckpointMode::AtLeastOnce)]
}

/// No snapshot of a plan is larger.
const WHOLE: usize = 1 << 20;

/// How much longer the slowest upload takes in parts, one after the other.
const SLOWER_IN_PARTS_MS: u64 = 400;

/// Snapshots are small here; every fourth plan uploads some of them in parts.
fn parts() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(WHOLE), 1 => 600..3_000_usize]
}

/// How the job is restarted.
fn restarts() -> impl Strategy<Value = RestartStrategy> {
    (1..120_u64)
        .prop_map(|delay_ms| RestartStrategy::FixedDelay { attempts: RESTARTS, delay: Duration::from_millis(delay_ms) })
}

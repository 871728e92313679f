//! Storage faults.

use super::lazily;
use super::trigger::{any_trigger, at_checkpoint, job_finished};
use crate::plan::draw::pace::Pace;
use crate::world::{Fault, FaultKind, InputChange, Requests, Trigger};
use cofferdam_engine::door::LISTING_AGE_MAX;
use proptest::prelude::*;

/// Any of them, at any time.
pub fn any_storage_fault(pace: &Pace) -> BoxedStrategy<Fault> {
    storage_fault(any_trigger(pace))
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

/// Any of them.
pub fn storage_fault(at: BoxedStrategy<Trigger>) -> BoxedStrategy<Fault> {
    lazily(move || {
        let at = at.clone();
        let what = prop_oneof![3 => slowness(), 3 => failure(), 4 => doubt(), 2 => distortion()];
        (at, what).prop_map(|(at, what)| Fault { at, what })
    })
}

/// Requests take longer.
fn slowness() -> BoxedStrategy<FaultKind> {
    lazily(move || {
        prop_oneof![
            2 => (prefix(), 4..60_u32, 20..600_u64).prop_map(|(prefix, factor, for_ms)| {
                FaultKind::SlowStorage { prefix, factor, for_ms }
            }),
            1 => (prefix(), 1..40_u32, 50..600_u64).prop_map(|(prefix, bytes_per_ms, for_ms)| {
                FaultKind::LimitBandwidth { prefix, bytes_per_ms, for_ms }
            }),
        ]
    })
}

/// Requests fail for certain.
fn failure() -> BoxedStrategy<FaultKind> {
    lazily(move || {
        let requests = prop_oneof![
            4 => Just(Requests::Writes),
            2 => Just(Requests::Reads),
            1 => Just(Requests::Deletes),
            1 => Just(Requests::All),
        ];
        prop_oneof![
            3 => (prefix(), requests, burst()).prop_map(|(prefix, requests, count)| {
                FaultKind::FailStorage { prefix, requests, count }
            }),
            1 => (prefix(), 20..800_u64).prop_map(|(prefix, for_ms)| FaultKind::ThrottleStorage { prefix, for_ms }),
        ]
    })
}

/// What became of a request is not known.
fn doubt() -> BoxedStrategy<FaultKind> {
    lazily(move || {
        let changes = prop_oneof![3 => Just(Requests::All), 1 => Just(Requests::Deletes)];
        let hanging = prop_oneof![3 => Just(Requests::Writes), 1 => Just(Requests::Reads), 1 => Just(Requests::All)];
        let late = prop_oneof![1 => Just(0), 1 => 1..400_u64];
        prop_oneof![
            3 => (prefix(), changes, burst(), late).prop_map(|(prefix, requests, count, late_ms)| {
                FaultKind::LoseReplies { prefix, requests, count, late_ms }
            }),
            1 => (prefix(), hanging, 1..3_u32).prop_map(|(prefix, requests, count)| {
                FaultKind::HangStorage { prefix, requests, count }
            }),
        ]
    })
}

/// Writes that time out and are repeated, and land when the job is over, near the last sweep.
pub fn stragglers() -> BoxedStrategy<Vec<Fault>> {
    lazily(move || {
        let prefix = prop_oneof![Just("checkpoints"), Just("output")];
        (at_checkpoint(), at_checkpoint(), prefix, 1..=3_u32, 100..1_000_u64, 5..35_u32).prop_map(
            |(at, again, prefix, count, after_ms, factor)| {
                let below = if prefix == "output" { "output" } else { "checkpoints/chk" }.to_owned();
                let what = FaultKind::DelayPastTheEnd { prefix: below, count, after_ms };
                let slow = FaultKind::SlowStorage { prefix: prefix.to_owned(), factor, for_ms: 2_000 };
                let straggling = |at| Fault { at, what: what.clone() };
                vec![straggling(at), straggling(again), Fault { at: job_finished(), what: slow }]
            },
        )
    })
}

/// Answers that are allowed, but not what one would like to hear.
fn distortion() -> BoxedStrategy<FaultKind> {
    lazily(move || {
        // What a sink overlooks when it starts, the coordinator finds behind the end.
        let listed = prop_oneof![2 => Just("checkpoints"), 1 => Just("checkpoints/log"), 1 => Just("output")];
        // Not quite as old as a listing may be, for clocks drift.
        let oldest_ms = LISTING_AGE_MAX.as_millis() as u64 - 1;
        prop_oneof![
            (prefix(), 100..2_000_u64).prop_map(|(prefix, for_ms)| FaultKind::ShortReads { prefix, for_ms }),
            (listed, 1..=oldest_ms, 200..2_000_u64).prop_map(|(prefix, behind_ms, for_ms)| {
                FaultKind::StaleListings { prefix: prefix.to_owned(), behind_ms, for_ms }
            }),
        ]
    })
}

/// Storage that cannot be read while somebody recovers.
pub fn failing_reads(at: BoxedStrategy<Trigger>) -> BoxedStrategy<Fault> {
    lazily(move || {
        let at = at.clone();
        (at, prefix(), burst()).prop_map(|(at, prefix, count)| Fault {
            at,
            what: FaultKind::FailStorage { prefix, requests: Requests::Reads, count },
        })
    })
}

/// Storage that takes no snapshot for long enough for the checkpoint to fail, or does not say that it took one.
pub fn failing_uploads(at: BoxedStrategy<Trigger>) -> BoxedStrategy<Fault> {
    lazily(move || {
        let at = at.clone();
        let (prefix, requests) = ("checkpoints/chk", Requests::Writes);
        let failing =
            (4..12_u32).prop_map(move |count| FaultKind::FailStorage { prefix: prefix.to_owned(), requests, count });
        let silent = (1..6_u32).prop_map(move |count| FaultKind::LoseReplies {
            prefix: prefix.to_owned(),
            requests: Requests::All,
            count,
            late_ms: 0,
        });
        (at, prop_oneof![3 => failing, 1 => silent]).prop_map(|(at, what)| Fault { at, what })
    })
}

/// Uploads in parts of which a part or the last step fails, or does not say whether it was done: now, later or never.
pub fn doubtful_uploads() -> BoxedStrategy<Fault> {
    lazily(move || {
        let prefix = || "checkpoints/chk".to_owned();
        let requests = || prop_oneof![1 => Just(Requests::Parts), 2 => Just(Requests::Completions)];
        let late = prop_oneof![1 => Just(0), 2 => 1..400_u64];
        let what = prop_oneof![
            2 => (requests(), burst()).prop_map(move |(requests, count)| {
                FaultKind::FailStorage { prefix: prefix(), requests, count }
            }),
            4 => (requests(), burst(), late).prop_map(move |(requests, count, late_ms)| {
                FaultKind::LoseReplies { prefix: prefix(), requests, count, late_ms }
            }),
            2 => (requests(), 1..3_u32).prop_map(move |(requests, count)| {
                FaultKind::HangStorage { prefix: prefix(), requests, count }
            }),
        ];
        (at_checkpoint(), what).prop_map(|(at, what)| Fault { at, what })
    })
}

/// Systems outside that do not do what they are asked, do not say so, or are out of reach.
pub fn doubtful_calls() -> BoxedStrategy<Fault> {
    lazily(move || {
        let (prefix, requests) = (|| "external/".to_owned(), Requests::All);
        let late = prop_oneof![1 => Just(0), 2 => 1..400_u64];
        let what = prop_oneof![
            2 => burst().prop_map(move |count| FaultKind::FailStorage { prefix: prefix(), requests, count }),
            4 => (burst(), late).prop_map(move |(count, late_ms)| {
                FaultKind::LoseReplies { prefix: prefix(), requests, count, late_ms }
            }),
            1 => (1..3_u32).prop_map(move |count| FaultKind::HangStorage { prefix: prefix(), requests, count }),
            1 => (4..60_u32, 20..600_u64).prop_map(move |(factor, for_ms)| {
                FaultKind::SlowStorage { prefix: prefix(), factor, for_ms }
            }),
        ];
        (at_checkpoint(), what).prop_map(|(at, what)| Fault { at, what })
    })
}

/// Changes of the input: mostly such that the job reads on.
pub fn changes_of_input(pace: &Pace) -> BoxedStrategy<Vec<Fault>> {
    let pace = pace.clone();
    lazily(move || {
        let pace = &pace;
        let change = prop_oneof![
            4 => Just(InputChange::Touch),
            2 => Just(InputChange::Replace),
            4 => Just(InputChange::Append),
            3 => Just(InputChange::Add),
            1 => Just(InputChange::Truncate),
            1 => Just(InputChange::Delete),
        ];
        let what = (0..6_u32, change).prop_map(|(object, change)| FaultKind::ChangeInput { object, change });
        let fault = (any_trigger(pace), what).prop_map(|(at, what)| Fault { at, what });
        proptest::collection::vec(fault, 1..=2)
    })
}

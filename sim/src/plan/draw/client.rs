//! Clients: three plans in ten have some that ask for checkpoints, one in twenty has one that cancels the job.
//!
//! One plan in ten has a stranger, which asks without being a member of the job.
//! Some ask at the same time, so that requests wait for each other; some are impatient, and gone before their answer.

use super::lazily;
use super::pace::Pace;
use crate::plan::{Ask, Client, Trick};
use crate::world::{Fault, FaultKind, Point, Target, Trigger};
use cofferdam_engine::messages::client::Wish;
use proptest::prelude::*;
use proptest::sample::select;

/// Longer than anything takes that is going to happen.
const PATIENCE_MS: u64 = 20_000;

/// The clients of a plan, and what strikes when one of them asks.
pub fn clients(pace: &Pace) -> impl Strategy<Value = (Vec<Client>, Vec<Fault>)> + use<> {
    let asking = (proptest::collection::vec(asking(pace), 1..=3), proptest::option::weighted(0.3, struck()));
    let cancelling = cancelling(pace);
    let both = (asking.clone(), cancelling.clone());
    let members = prop_oneof![
        66 => Just((Vec::new(), Vec::new())),
        29 => asking.prop_map(|(clients, fault)| (clients, fault.into_iter().collect())),
        3 => cancelling.prop_map(|client| (vec![client], Vec::new())),
        2 => both.prop_map(|((mut clients, fault), cancelling)| {
            clients.push(cancelling);
            (clients, fault.into_iter().collect())
        }),
    ];
    (members, proptest::option::weighted(0.1, stranger(pace))).prop_map(|((mut clients, faults), stranger)| {
        clients.extend(stranger);
        (clients, faults)
    })
}

/// Tries something a few times.
fn stranger(pace: &Pace) -> BoxedStrategy<Client> {
    let pace = pace.clone();
    lazily(move || {
        let pace = &pace;
        let wish = select(vec![Wish::Cancel, Wish::Cancel, Wish::Checkpoint]);
        let ask =
            (0..pace.length_ms * 3 / 2, wish).prop_map(|(at_ms, wish)| Ask { at_ms, wish, patience_ms: PATIENCE_MS });
        let tricks = vec![Trick::Bypasses, Trick::Forges, Trick::Reflects, Trick::Registers, Trick::Floods];
        (proptest::collection::vec(ask, 1..=3), select(tricks)).prop_map(|(mut asks, trick)| {
            asks.sort_by_key(|ask| ask.at_ms);
            Client { asks, stranger: Some(trick) }
        })
    })
}

fn asking(pace: &Pace) -> BoxedStrategy<Client> {
    let pace = pace.clone();
    lazily(move || {
        let pace = &pace;
        let length_ms = pace.length_ms;
        let wish = select(vec![Wish::Checkpoint, Wish::Checkpoint, Wish::Checkpoint, Wish::Checkpoint, Wish::Status]);
        let ask = (length_ms / 4..length_ms * 3 / 2, wish, patience()).prop_map(|(at_ms, wish, patience_ms)| Ask {
            at_ms,
            wish,
            patience_ms,
        });
        proptest::collection::vec(ask, 1..=4).prop_map(|mut asks| {
            asks.sort_by_key(|ask| ask.at_ms);
            Client { asks, stranger: None }
        })
    })
}

fn patience() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![7 => Just(PATIENCE_MS), 1 => 1..120_u64]
}

fn cancelling(pace: &Pace) -> impl Strategy<Value = Client> + Clone + use<> {
    (pace.length_ms / 4..pace.length_ms * 3 / 2, patience()).prop_map(|(at_ms, patience_ms)| Client {
        asks: vec![Ask { at_ms, wish: Wish::Cancel, patience_ms }],
        stranger: None,
    })
}

/// The coordinator dies while somebody waits, or as the answer goes out; or another takes its place.
fn struck() -> BoxedStrategy<Fault> {
    lazily(move || {
        let process = Target::Announcer;
        let what = prop_oneof![
            3 => (1..200_u64).prop_map(move |restart_after_ms| FaultKind::Crash { process, restart_after_ms }),
            1 => (5..200_u64, 1..800_u64, 1..800_u64).prop_map(move |(replaced_after_ms, longer_ms, lives_ms)| {
                FaultKind::Zombie { process, for_ms: replaced_after_ms + longer_ms, replaced_after_ms, lives_ms }
            }),
        ];
        let event = select(vec!["request_received", "request_received", "request_answered", "request_withdrawn"]);
        (event, 0..3_u32, what).prop_map(|(event, occurrence, what)| {
            let at = Trigger::Point(Point { event: event.to_owned(), occurrence, ..Point::default() });
            Fault { at, what }
        })
    })
}

//! Exhaustive small scope: every order in which one operator can take what lies on its two channels, on the real engine.
//!
//! A stateless search, depth first. A run is decided by its free choices, in order; the search forces a prefix of them, with
//! defaults behind it, looks at what else could have been chosen there, and goes on from each of these.
//!
//! *Commuting choices are pruned* by sleep sets (Godefroid): two batches of records from two channels lead to the same state in
//! either order, for the operator only adds up. So once one order was explored, the other is explored only if something that
//! does not commute, a barrier or the end of input, comes between. What is left is every order of barriers among records.
//!
//! Every run crashes once, restores, and is judged by all properties.

use cofferdam_engine::event::Event;
use cofferdam_properties::history::What;
use cofferdam_sim::plan::graph::{GraphSpec, Input, Node, Operator, Travel};
use cofferdam_sim::plan::{InputShape, Plan};
use cofferdam_sim::seed::Seed;
use cofferdam_sim::strategy::sweep;
use cofferdam_sim::verdict::Outcome;
use cofferdam_sim::world::{CheckpointAt, Delay, Fault, FaultKind, Pick, Picks, Point, Target, Trigger};
use cofferdam_sim::{builtin, report};
use std::collections::BTreeSet;

/// Two source subtasks, one operator with a channel from each, one sink, on one worker. It crashes when its checkpoint
/// no. `crash`, from 0, is durable.
fn plan(records: u64, crash: u32) -> Plan {
    let node = |operator, parallelism, inputs| Node { operator, parallelism, inputs, fused: None };
    let input = |from, exchange| vec![Input { port: 0, from, exchange }];
    let nodes = vec![
        node(Operator::Generate { salt: 1, records, interval_ms: 0, burst: 1 }, 2, Vec::new()),
        node(Operator::Sum, 1, input(0, Travel::ByKey)),
        node(Operator::Write, 1, input(1, Travel::Rebalance)),
    ];
    let mut plan = sweep::tiny(false);
    plan.input = InputShape::Graph(GraphSpec { keys: 2, nodes });
    (plan.workers, plan.batch_records, plan.credits) = (1, 1, 3);
    (plan.policy.interval_ms, plan.policy.max_concurrent) = (INTERVAL_MS, 2);
    plan.tuning.work_per_record = Delay::new(WORK_MS * 1_000_000, 0);
    (plan.tuning.drift_ppm, plan.tuning.slowness_percent) = (0, 0);
    let durable =
        Point { event: "notify_sent".into(), checkpoint: Some(CheckpointAt::Ordinal(crash)), ..Point::default() };
    let process = Target::Process(cofferdam_properties::history::Process::Worker(cofferdam_engine::ids::WorkerId(0)));
    let what = FaultKind::Crash { process, restart_after_ms: 5 };
    plan.faults = vec![Fault { at: Trigger::Point(durable), what }];
    plan
}

const INTERVAL_MS: u64 = 14;
const WORK_MS: u64 = 6;

/// The operator that has the choices.
const OPERATOR: u16 = 1;

/// Something that the operator took from a channel in the first attempt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Taken {
    /// Index into the history.
    at: usize,
    channel: usize,
    records: bool,
}

/// What was taken, in order. Channels are numbered in the order of the producers.
fn taken(outcome: &Outcome) -> Vec<Taken> {
    let of = |(at, what): (usize, &What)| {
        let What::Claim(event) = what else { return None };
        let (attempt, subtask, channel, records) = match event {
            Event::Consumed { attempt, subtask, channel, .. } => (attempt, subtask, channel, true),
            Event::BarrierReceived { attempt, subtask, channel, .. }
            | Event::CancelReceived { attempt, subtask, channel, .. }
            | Event::EndReceived { attempt, subtask, channel, .. }
            | Event::ClosedReceived { attempt, subtask, channel, .. } => (attempt, subtask, channel, false),
            _ => return None,
        };
        let first = attempt.number == 1 && attempt.generation.0 == 1 && subtask.operator.0 == OPERATOR;
        first.then(|| Taken { at, channel: usize::from(channel.from), records })
    };
    outcome.history.entries.iter().map(|entry| &entry.what).enumerate().filter_map(of).collect()
}

/// A point of the search: choices that are forced, and the channels of which the next element was explored already in an order
/// that leads to the same state.
struct Branch {
    forced: Vec<Pick>,
    asleep: BTreeSet<usize>,
}

/// What a search saw.
#[derive(Default)]
struct Seen {
    runs: u64,
    /// Runs that turned out to repeat others on their way.
    redundant: u64,
    fingerprints: BTreeSet<u64>,
    /// What was taken, but for the order of what commutes.
    orders: BTreeSet<Vec<(usize, bool)>>,
}

/// The order of what was taken, with records between two other things sorted: they commute.
fn normal(taken: &[Taken]) -> Vec<(usize, bool)> {
    let mut order: Vec<(usize, bool)> = taken.iter().map(|taken| (taken.channel, taken.records)).collect();
    order.chunk_by_mut(|one, other| one.1 && other.1).for_each(<[_]>::sort_unstable);
    order
}

/// Runs every order of the choices of a plan, or one of each class of orders that commute.
fn search(plan: &Plan, prune: bool) -> Seen {
    let (runner, mut seen) = (builtin::runner(), Seen::default());
    let mut stack = vec![Branch { forced: Vec::new(), asleep: BTreeSet::new() }];
    while let Some(node) = stack.pop() {
        let picks = Picks::Turns { but: node.forced.clone() };
        let outcome = runner.run_with_picks(Seed(1), Plan { picks, ..plan.clone() });
        assert!(outcome.verdict.passed(), "\n{}", report::screen(&runner, &outcome, 12));
        let history = &outcome.tally.history;
        assert!(history.restores_non_empty == 1 && history.checkpoints_completed > 1, "{history:?}");
        seen.runs += 1;
        assert!(seen.runs < 20_000, "the scope is too large");
        seen.fingerprints.insert(outcome.fingerprint);
        seen.orders.insert(normal(&taken(&outcome)));
        seen.redundant += u64::from(!branch(&outcome, node, prune, &mut stack));
    }
    seen
}

/// Puts what could have been chosen instead on the stack. Says whether the run is unlike those before to its end.
fn branch(outcome: &Outcome, node: Branch, prune: bool, stack: &mut Vec<Branch>) -> bool {
    let steps = taken(outcome);
    // Choices of a restored attempt are left to turns.
    let offers: Vec<_> =
        outcome.offers.iter().filter(|offer| offer.pick.life == 1 && offer.pick.site == "step").collect();
    assert!(offers.iter().all(|offer| offer.choices == 2 && offer.pick.lane == offers[0].pick.lane), "one chooses");
    let forced = node.forced.len();
    assert!(offers.iter().zip(&node.forced).all(|(offer, pick)| offer.pick == *pick), "a prefix leads to where it did");
    let mut asleep = node.asleep;
    let from = forced.checked_sub(1).map_or(0, |last| offers[last].entries);
    let mut fresh = forced == 0;
    for (n, step) in steps.iter().enumerate().skip_while(|(_, step)| step.at < from) {
        if !fresh {
            // What the last forced choice took: the node's sleep set is that of after it.
            fresh = true;
            continue;
        }
        let commutes = |other: usize| {
            let next = steps[n..].iter().find(|next| next.channel == other);
            prune && step.records && next.is_some_and(|next| next.records)
        };
        let before = n.checked_sub(1).map_or(0, |before| steps[before].at);
        let offer = offers.iter().position(|offer| (before + 1..=step.at).contains(&offer.entries));
        let other = 1 - step.channel;
        let independent = commutes(other);
        if let Some(offer) = offer.filter(|_| !asleep.contains(&other)) {
            let mut instead = offers[offer].pick.clone();
            instead.choice = 1 - instead.choice;
            let forced = offers[..offer].iter().map(|offer| offer.pick.clone()).chain([instead]).collect();
            let asleep = if independent { BTreeSet::from([step.channel]) } else { BTreeSet::new() };
            stack.push(Branch { forced, asleep });
        }
        if asleep.contains(&step.channel) {
            return false;
        }
        if !independent {
            asleep.clear();
        }
    }
    true
}

/// Whether the first barrier came from `channel`, and how many records of the other channel came before its own.
fn first_barrier(order: &[(usize, bool)]) -> Option<(usize, usize)> {
    let at = order.iter().position(|(_, records)| !records)?;
    let other = 1 - order[at].0;
    let between = order[at..].iter().take_while(|(channel, records)| *channel != other || *records);
    Some((order[at].0, between.filter(|(channel, _)| *channel == other).count()))
}

#[test]
fn every_order_of_barriers_among_records_is_survived() {
    let seen = search(&plan(8, 1), true);
    let alignments: BTreeSet<(usize, usize)> = seen.orders.iter().filter_map(|order| first_barrier(order)).collect();
    println!(
        "{} schedules, {} of them redundant to some point; {} different runs, {} orders; first alignments {alignments:?}",
        seen.runs,
        seen.redundant,
        seen.fingerprints.len(),
        seen.orders.len()
    );
    for channel in [0, 1] {
        assert!(alignments.iter().any(|(first, _)| *first == channel), "either barrier comes first: {alignments:?}");
        assert!(alignments.contains(&(channel, 0)) && alignments.iter().any(|(c, n)| *c == channel && *n > 0));
    }
    assert!(seen.fingerprints.len() as u64 > seen.runs / 2, "schedules are different runs");
}

/// The reduction leaves nothing out: without it there are more runs, and no other orders.
#[test]
fn what_is_pruned_is_only_what_commutes() {
    let plan = plan(4, 0);
    let (pruned, all) = (search(&plan, true), search(&plan, false));
    println!("{} schedules of {}, {} orders", pruned.runs, all.runs, all.orders.len());
    assert_eq!(pruned.orders, all.orders);
    assert!(pruned.runs < all.runs);
    assert_eq!(all.fingerprints.len() as u64, all.runs, "every schedule is another run");
}

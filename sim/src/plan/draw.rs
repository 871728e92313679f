//! Plans from seeds: proptest strategies, used as a library.
//!
//! 1. The job comes from a stream of its own, so that a hunt can pick seeds by job without drawing plans.
//! 2. Shape and pace come next (`pace`): work per record is chosen so that the job lasts for several checkpoints,
//!    whatever its size; everything in time is then a fraction of that length.
//! 3. The coordinator's policy is drawn to fit the pace (`policy`).
//! 4. Faults are drawn as a *scenario* (`scenario`, `storage`): a crash at a point, a second crash during the recovery
//!    of the first, trouble with storage or links, a change of leaders (`leadership`), … plus up to three more. Crashes mostly wait for a later checkpoint
//!    (`trigger`), so that what is restored is not empty.
//! 5. Where snapshots are uploaded in parts, every second plan has a fault for a part or the completion, and where a sink
//!    writes to a system outside, for what it asks there. Where a source reads objects, every fourth plan changes some.
//! 6. Clients come last (`client`), some with a fault of their own.
//! 7. One plan in six has a worker more than the job needs, which takes the place of one that is away.
//! 8. One plan in fifteen or so is started once more when it is over, with checkpoints that do not belong to its
//!    output.
//!
//! Any change here makes old seeds mean something else: count [`crate::seed::GENERATOR`] up with it.

mod client;
mod leadership;
mod pace;
mod policy;
mod scenario;
mod storage;
mod trigger;

use super::{InputShape, JobKind, OwnShape, Plan, SecondStart, input};
use crate::seed::Seed;
use crate::world::Picks;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::{NewTree, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fmt;
use std::sync::Arc;

/// How many of the plans whose jobs read objects change them.
const CHANGES_OF_INPUT: f64 = 0.25;

/// The job of a seed.
pub fn job(seed: Seed) -> JobKind {
    match seed.stream("job")[0] {
        // Nearly half run a graph of their own; three of the others in five count words, the simplest story to read.
        0..118 => JobKind::Graph,
        118..200 => JobKind::WordCount,
        200.. => JobKind::Join,
    }
}

/// The plan of a seed.
pub fn plan(seed: Seed) -> Plan {
    let job = job(seed);
    draw(seed, plans(job, input::shapes(job)))
}

/// The plan of a seed for a job of this shape.
pub fn own(seed: Seed, shape: &OwnShape) -> Plan {
    draw(seed, plans(JobKind::Own, Just(InputShape::Own(shape.clone())).boxed()))
}

/// A strategy that is made when it is drawn from: of the alternatives of a plan, most never are.
fn lazily<S: Strategy + 'static>(make: impl Fn() -> S + 'static) -> BoxedStrategy<S::Value> {
    Lazily(make).boxed()
}

struct Lazily<F>(F);

impl<F> fmt::Debug for Lazily<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lazily")
    }
}

impl<S: Strategy, F: Fn() -> S> Strategy for Lazily<F> {
    type Tree = S::Tree;
    type Value = S::Value;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        (self.0)().new_tree(runner)
    }
}

fn draw(seed: Seed, plans: impl Strategy<Value = Plan>) -> Plan {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.stream("plan"));
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    let tree = plans.new_tree(&mut runner).expect("no strategy rejects");
    tree.current()
}

/// Every plan of a job.
fn plans(job: JobKind, inputs: BoxedStrategy<InputShape>) -> impl Strategy<Value = Plan> {
    pace::pace(inputs).prop_flat_map(move |pace| {
        // Each in a box of its own: together, what draws them would be moved about by the hundred kilobytes.
        let channels = pace::channels(&pace).boxed();
        let failover = (60..=150_u64, 3..=6_u64, 5..200_u64);
        let (policy, tuning, faults) =
            (policy::policies(&pace).boxed(), pace::tuning(&pace).boxed(), scenario::scenario(&pace));
        let clients = client::clients(&pace).boxed();
        let changes = option::weighted(CHANGES_OF_INPUT, storage::changes_of_input(&pace)).boxed();
        let doubts = (option::of(storage::doubtful_uploads()), option::of(storage::doubtful_calls()), changes);
        let ends = (clients, option::weighted(0.08, second_starts()).boxed());
        (Just(pace), channels, policy, failover, tuning, (faults, doubts), ends).prop_map(
            move |(pace, (batch_records, credits), policy, failover, tuning, (mut faults, doubts), ends)| {
                let ((uploads, calls, changes), ((clients, struck), second_start)) = (doubts, ends);
                let second_start = second_start.filter(|_| !pace.input.writes_outside());
                faults.extend(uploads.filter(|_| policy.uploads_in_parts()));
                faults.extend(calls.filter(|_| pace.input.writes_outside()));
                faults.extend(changes.filter(|_| pace.input.reads_objects()).into_iter().flatten());
                faults.extend(struck);
                let (heartbeat_interval_ms, silent_beats, supervisor_delay_ms) = failover;
                Plan {
                    job,
                    workers: pace.workers,
                    spare_workers: pace.spare,
                    parallelism: pace.parallelism,
                    batch_records,
                    credits,
                    policy,
                    heartbeat_interval_ms,
                    heartbeat_timeout_ms: heartbeat_interval_ms * silent_beats,
                    supervisor_delay_ms,
                    standby_lease_ms: pace.lease_ms,
                    input: Arc::unwrap_or_clone(pace.input),
                    tuning,
                    heal_at_ms: pace.length_ms * 4 + 1_000,
                    liveness_ms: pace.length_ms * 20 + 60_000,
                    picks: Picks::Seed,
                    faults,
                    clients,
                    second_start,
                }
            },
        )
    })
}

fn second_starts() -> impl Strategy<Value = SecondStart> {
    prop_oneof![1 => Just(SecondStart::OtherLog), 3 => (0..4_u32).prop_map(|older| SecondStart::OldCopy { older })]
}

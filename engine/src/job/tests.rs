//! The builder: what it makes of good jobs, and what it says about bad ones.

use super::sequential::Run;
use super::*;
use crate::JobConfig;
use crate::connectors::world::{World, context};
use crate::connectors::{Discard, FileSink, Generator};
use crate::element::Batch;
use crate::error::Reaction;
use crate::graph::{Instance, Job, Outbox};
use crate::hash::{key_group, owner_of, stable_hash};
use crate::ids::{ChannelId, CheckpointId};
use crate::layout::Layout;
use crate::state::SectionKind;
use std::sync::Arc;

fn numbers(count: u64) -> impl Source<Item = u64> {
    Generator::new(|subtask, index| u64::from(subtask) * 1000 + index).records(count)
}

fn lines<T: std::fmt::Debug>(directory: &str) -> FileSink<T> {
    FileSink::new(directory, |record, line| line.extend_from_slice(format!("{record:?}").as_bytes()))
}

/// Runs a job to its end and returns the sorted lines of `output/x`.
fn run(job: JobBuilder, batch_records: usize) -> (World, Vec<String>, Run) {
    let (world, graph) = (World::default(), Arc::new(job.build().expect("a good job")));
    let job = Job { graph, config: JobConfig { batch_records, ..JobConfig::default() } };
    let mut run = Run::start(&job, &world, 1, None).expect("starts");
    run.finish(CheckpointId(1)).expect("finishes");
    let parts = world.under("output/x/part-");
    let text: Vec<String> = parts.values().map(|part| String::from_utf8(part.to_vec()).expect("text")).collect();
    let mut lines: Vec<String> = text.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
    lines.sort_unstable();
    (world, lines, run)
}

fn refusal(job: JobBuilder) -> String {
    let error = job.build().expect_err("a bad job");
    assert_eq!(error.reaction, Reaction::GiveUp);
    assert!(error.message.starts_with("job \"bad\": "), "{error}");
    error.message["job \"bad\": ".len()..].to_owned()
}

#[test]
fn an_empty_job_is_refused() {
    assert_eq!(refusal(JobBuilder::new("bad")), "it has no operators");
}

#[test]
fn two_operators_of_one_uid_are_refused_even_when_one_is_fused() {
    let job = JobBuilder::new("bad");
    job.source("numbers", numbers(1)).map("twice", |n| n * 2).map("twice", |n: u64| n * 2).sink("end", Discard);
    assert_eq!(refusal(job), "two operators have the uid \"twice\"");
}

#[test]
fn a_uid_that_would_lead_elsewhere_in_storage_is_refused() {
    for uid in ["", "a/b", "..", "a b", "é"] {
        let job = JobBuilder::new("bad");
        job.source(uid, numbers(1)).sink("end", Discard);
        assert!(refusal(job).contains("is no uid"));
    }
}

#[test]
fn impossible_parallelisms_are_refused() {
    let job = JobBuilder::new("bad").max_parallelism(4);
    job.source("numbers", numbers(1)).sink("end", Discard).parallelism(0);
    assert_eq!(refusal(job), "operator \"end\" has parallelism 0; it needs at least 1");
    let job = JobBuilder::new("bad").max_parallelism(4);
    job.source("numbers", numbers(1)).parallelism(5).sink("end", Discard);
    assert_eq!(refusal(job), "operator \"numbers\" has parallelism 5, more than the job's max_parallelism of 4");
}

#[test]
fn forwarding_between_unequal_parallelisms_is_refused() {
    let job = JobBuilder::new("bad").parallelism(2);
    job.source("numbers", numbers(1)).forward().sink("end", Discard).parallelism(3);
    let message = refusal(job);
    assert!(message.starts_with("cannot forward from operator \"numbers\" with parallelism 2 to \"end\""), "{message}");
}

#[test]
fn streams_that_nobody_consumes_are_refused() {
    let job = JobBuilder::new("bad");
    drop(job.source("numbers", numbers(1)));
    assert_eq!(refusal(job), "nobody consumes the output of operator \"numbers\"");
    let job = JobBuilder::new("bad");
    drop(job.source("numbers", numbers(1)).shared());
    assert_eq!(refusal(job), "nobody consumes the output of operator \"numbers\"");
    let job = JobBuilder::new("bad");
    drop(job.source("numbers", numbers(1)).key_by(|n| *n).aggregate("count", Count));
    assert_eq!(refusal(job), "nobody consumes the output of operator \"count\"");
}

#[test]
fn two_sinks_into_one_directory_are_refused() {
    let job = JobBuilder::new("bad");
    let numbers = job.source("numbers", numbers(1)).shared();
    numbers.clone().sink("one", lines("output/x"));
    numbers.sink("two", lines("output/x/"));
    assert_eq!(refusal(job), "sinks \"one\" and \"two\" would both write to output/x");
}

#[test]
fn edges_travel_as_told_or_else_by_parallelism() {
    let job = JobBuilder::new("good").parallelism(2);
    let numbers = job.source("numbers", numbers(1)).shared();
    numbers.clone().sink("equal", Discard);
    numbers.clone().sink("unequal", Discard).parallelism(3);
    numbers.clone().rebalance().sink("in-turn", Discard);
    numbers.clone().broadcast().sink("everywhere", Discard).parallelism(5);
    numbers.clone().rebalance().union(numbers.clone()).sink("both", Discard);
    numbers.broadcast().key_by(|n| *n).aggregate("count", Count).parallelism(4).sink("counts", Discard);
    let graph = job.build().expect("a good job");
    let exchanges: Vec<Exchange> = graph.edges.iter().map(|edge| edge.exchange).collect();
    use Exchange::{Broadcast, Forward, Hash, Rebalance};
    assert_eq!(exchanges, [Forward, Rebalance, Rebalance, Broadcast, Rebalance, Forward, Hash, Rebalance]);
    let uids: Vec<(&str, u16)> = graph.operators.iter().map(|o| (o.uid.as_str(), o.parallelism)).collect();
    let expected =
        [("numbers", 2), ("equal", 2), ("unequal", 3), ("in-turn", 2), ("everywhere", 5), ("both", 2), ("count", 4)];
    assert_eq!(uids[..7], expected);
    assert!(graph.edges.iter().all(|edge| edge.from < edge.to), "operators are in topological order");
}

#[test]
fn the_states_of_each_operator_are_declared() {
    let job = JobBuilder::new("good");
    job.source("numbers", numbers(1)).key_by(|n| n % 2).aggregate("count", Count).sink("end", Discard);
    let graph = job.build().expect("a good job");
    let kinds: Vec<SectionKind> = graph.operators.iter().map(|operator| operator.states[0].kind).collect();
    assert_eq!(kinds, [SectionKind::Source, SectionKind::Keyed, SectionKind::Sink]);
    assert_eq!(
        (&graph.operators[1].states[0].key_type[..], &graph.operators[1].states[0].value_type[..]),
        ("u64", "u64")
    );
    let layouts = graph.operators.iter().map(|operator| operator.states[0].value.to_string());
    assert_eq!(layouts.collect::<Vec<_>>(), ["u64", "u64", "map<u64, list<u8>>"]);
    assert_eq!(graph.operators[1].states[0].key, Some(Layout::of::<u64>().expect("a layout")));
}

/// A state that nobody can trace.
#[derive(Clone, Debug, Default, serde::Serialize)]
struct Secret(u64);

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (checked, number) = <((), u64)>::deserialize(deserializer)?;
        let () = checked;
        if number == 77 { Ok(Self(number)) } else { Err(serde::de::Error::custom("not 77")) }
    }
}

/// A job that keeps a secret beside a number.
fn secretive(version: Option<u32>) -> Result<JobGraph> {
    let job = JobBuilder::new("secret");
    let keyed = job.source("numbers", numbers(1)).key_by(|n| n % 2);
    let kept = keyed.process("keep", |_: &u64, n, state: &mut Option<(Secret, u64)>, out: &mut Vec<u64>| {
        state.get_or_insert_default().1 += n;
        out.push(n);
    });
    match version {
        Some(version) => kept.state_version(version).sink("end", Discard),
        None => kept.sink("end", Discard),
    };
    job.build()
}

#[test]
fn a_state_without_a_layout_needs_a_version() {
    let error = secretive(None).expect_err("nothing describes it").message;
    assert!(
        error.starts_with("job \"secret\": state \"value\" of operator \"keep\": the value type (")
            && error.contains("has a layout that cannot be traced (not 77): give it a version with .state_version(1)"),
        "{error}"
    );
    let graph = secretive(Some(3)).expect("its version describes it");
    let state = &graph.operators[1].states[0];
    assert_eq!((state.value.is_opaque(), state.version), (true, Some(3)));
    assert_ne!(graph.fingerprint(), secretive(Some(4)).expect("a job").fingerprint());
}

#[test]
fn a_version_of_no_state_is_refused() {
    let job = JobBuilder::new("versioned");
    job.source("numbers", numbers(1)).shared().map("same", |n| n).state_version(1).sink("end", Discard);
    let error = job.build().expect_err("it keeps nothing").message;
    assert_eq!(error, "job \"versioned\": operator \"same\" has a state version but no state");
}

#[test]
fn transformations_fuse_into_their_source() {
    let job = JobBuilder::new("good");
    let odd = job.source("numbers", numbers(6)).filter("odd", |n| n % 2 == 1);
    odd.flat_map("twice", |n, out| out.extend([n, n]))
        .map("text", |n: u64| format!("<{n}>"))
        .sink("end", lines("output/x"));
    let (_, lines, run) = run(job, 4);
    assert_eq!(lines, ["\"<1>\"", "\"<1>\"", "\"<3>\"", "\"<3>\"", "\"<5>\"", "\"<5>\""]);
    assert_eq!(run.passed.len(), 1, "one channel: source to sink");
}

#[test]
fn a_shared_stream_reaches_every_consumer_once() {
    let job = JobBuilder::new("good").parallelism(2);
    let numbers = job.source("numbers", numbers(3)).shared();
    let small = numbers.clone().map("small", |n| n);
    let large = numbers.clone().map("large", |n| n + 5000);
    small.union(large).union(numbers).sink("end", lines("output/x")).parallelism(1);
    let (_, lines, _) = run(job, 2);
    let expected: Vec<u64> = [0, 1, 2, 1000, 1001, 1002].iter().flat_map(|n| [*n, *n, n + 5000]).collect();
    let mut expected: Vec<String> = expected.iter().map(u64::to_string).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn rebalance_serves_targets_in_turn_and_broadcast_serves_all() {
    let job = JobBuilder::new("good");
    let numbers = job.source("numbers", numbers(9)).shared();
    numbers.clone().rebalance().sink("in-turn", Discard).parallelism(3);
    numbers.broadcast().sink("everywhere", Discard).parallelism(3);
    let (_, _, run) = run(job, 2);
    let passed: Vec<usize> = run.passed.values().copied().collect();
    assert_eq!(passed, [3, 3, 3, 9, 9, 9]);
}

#[test]
fn records_go_to_the_owner_of_their_key_group() {
    let job = JobBuilder::new("good").max_parallelism(16);
    job.source("numbers", numbers(200))
        .key_by(|n| n % 50)
        .aggregate("count", Count)
        .parallelism(3)
        .sink("end", Discard);
    let (_, _, run) = run(job, 7);
    let mut expected = [0; 3];
    (0..200_u64).for_each(|n| expected[usize::from(owner_of(key_group(stable_hash(&(n % 50)), 16), 3, 16))] += 1);
    for (to, expected) in expected.into_iter().enumerate() {
        let channel = ChannelId { edge: EdgeId(0), from: 0, to: to as u16 };
        assert_eq!(run.passed[&channel], expected);
    }
}

#[test]
fn aggregations_emit_every_update_or_the_final_result() {
    for (emit, expected) in [
        (Emit::Updates, vec!["(0, 0)", "(0, 2)", "(0, 6)", "(1, 1)", "(1, 4)"]),
        (Emit::AtEnd, vec!["(0, 6)", "(1, 4)"]),
    ] {
        let job = JobBuilder::new("good");
        let sums = job.source("numbers", numbers(5)).key_by(|n| n % 2).emit(emit).aggregate("sum", Sum(|n: &u64| *n));
        sums.sink("end", lines("output/x"));
        assert_eq!(run(job, 2).1, expected);
        let job = JobBuilder::new("good");
        let sums = job.source("numbers", numbers(5)).key_by(|n| n % 2).emit(emit).reduce("sum", |sum, n| *sum += n);
        sums.sink("end", lines("output/x"));
        assert_eq!(run(job, 2).1, expected);
    }
}

#[test]
fn a_process_that_forgets_its_key_leaves_no_state() {
    let job = JobBuilder::new("good");
    // Pairs up consecutive records of a key.
    let pairs = job.source("numbers", numbers(7)).key_by(|n| n % 2).process(
        "pair",
        |key: &u64, n: u64, waiting: &mut Option<u64>, out: &mut Vec<(u64, u64, u64)>| match waiting.take() {
            Some(first) => out.push((*key, first, n)),
            None => *waiting = Some(n),
        },
    );
    pairs.sink("end", lines("output/x"));
    let graph = Arc::new(job.build().expect("a good job"));
    let job = Job { graph, config: JobConfig::default() };
    let mut run = Run::start(&job, &World::default(), 1, None).expect("starts");
    run.finish(CheckpointId(1)).expect("finishes");
    let snapshots = run.checkpoint(CheckpointId(2)).expect("no trouble");
    let sections: Vec<usize> = snapshots.values().map(|(sections, ..)| sections.len()).collect();
    // 0 pairs with 2 and 4 with 6; 1 pairs with 3, and 5 still waits: the key 1 is all there is.
    assert_eq!(sections, [1, 1, 0]);
}

#[test]
fn connected_streams_see_one_state() {
    let job = JobBuilder::new("good").parallelism(2);
    let left = job.source("left", numbers(3)).key_by(|n| n % 1000);
    let right = job.source("right", numbers(2)).key_by(|n| n % 1000);
    // Per key: how many of each side so far.
    let counts = left.connect(right).process(
        "counts",
        |_: &u64, _: u64, seen: &mut Option<(u64, u64)>, _: &mut Vec<(u64, u64, u64)>| {
            seen.get_or_insert_default().0 += 1;
        },
        |key: &u64, _: u64, seen: &mut Option<(u64, u64)>, out: &mut Vec<(u64, u64, u64)>| {
            let seen = seen.get_or_insert_default();
            seen.1 += 1;
            out.push((*key, seen.0, seen.1));
        },
    );
    counts.sink("end", lines("output/x"));
    // The runner ends sources in order, so the left side comes first.
    assert_eq!(run(job, 2).1, ["(0, 2, 1)", "(0, 2, 2)", "(1, 2, 1)", "(1, 2, 2)"]);
}

#[test]
fn full_batches_leave_at_once_and_the_rest_at_a_flush() {
    let job = JobBuilder::new("good");
    let numbers = job.source("numbers", numbers(1)).flat_map("triple", |n: u64, out| out.extend([n; 3])).shared();
    numbers.clone().sink("one", Discard);
    numbers.sink("two", Discard);
    let graph = job.build().expect("a good job");
    let Instance::Source(_, mut chain) = (graph.operators[0].factory)(&context(&World::default(), "numbers", 0, 1, 4))
    else {
        panic!("a source");
    };
    let mut out = Outbox::default();
    chain.on_batch(0, Batch::new(vec![1_u64, 2, 3]), &mut out);
    let sent = |out: &mut Outbox| -> Vec<(u16, Vec<u64>)> {
        out.batches.drain(..).map(|(edge, _, batch)| (edge.0, batch.into_records())).collect()
    };
    let full = [vec![1, 1, 1, 2], vec![2, 2, 3, 3]];
    assert_eq!(
        sent(&mut out),
        [(0, full[0].clone()), (0, full[1].clone()), (1, full[0].clone()), (1, full[1].clone())]
    );
    chain.flush(&mut out);
    assert_eq!(sent(&mut out), [(0, vec![3]), (1, vec![3])]);
    chain.flush(&mut out);
    chain.on_end(&mut out);
    assert!(out.batches.is_empty(), "a stateless chain holds nothing back");
    assert!(crate::state::collect(chain.snapshot()).is_empty(), "a stateless chain has no state");
}

/// A map that lists its entries in another order once it was restored.
#[derive(Clone, Debug, Default)]
struct Turning(std::collections::BTreeMap<u64, u64>, bool);

impl serde::Serialize for Turning {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.1 { serializer.collect_map(self.0.iter().rev()) } else { serializer.collect_map(&self.0) }
    }
}

impl<'de> serde::Deserialize<'de> for Turning {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::collections::BTreeMap::deserialize(deserializer).map(|entries| Self(entries, true))
    }
}

/// Keeps the map itself.
#[derive(Clone)]
struct Collect;

impl LocalFunction<u64> for Collect {
    type State = Vec<Option<Turning>>;
    type Out = u64;

    fn on_record(&self, record: u64, state: &mut Self::State, _: &mut Vec<u64>) {
        state.resize_with(1, Option::default);
        state[0].get_or_insert_default().0.insert(record, 1);
    }
}

#[test]
fn equal_maps_in_state_have_equal_bytes_before_and_after_a_restore() {
    let keyed = |job: &JobBuilder| {
        let collect = |_: &u8, n: u64, state: &mut Option<(u8, Turning)>, _: &mut Vec<u64>| {
            state.get_or_insert_default().1.0.insert(n, 1);
        };
        job.source("numbers", numbers(1)).key_by(|_| 0_u8).process("maps", collect).sink("end", Discard);
    };
    let local = |job: &JobBuilder| {
        job.source("numbers", numbers(1)).shared().process_local("maps", Collect).sink("end", Discard);
    };
    for declare in [&keyed as &dyn Fn(&JobBuilder), &local] {
        let job = JobBuilder::new("maps");
        declare(&job);
        let graph = job.build().expect("a good job");
        let fresh = || match (graph.operators[1].factory)(&context(&World::default(), "maps", 0, 1, 8)) {
            Instance::Transform(chain) => chain,
            Instance::Source(..) | Instance::Sink(_) => panic!("a keyed operator transforms"),
        };
        let mut first = fresh();
        first.on_batch(0, Batch::new(vec![3_u64, 1, 2]), &mut Outbox::default());
        let taken = crate::state::collect(first.snapshot());
        let mut second = fresh();
        second.restore(&taken).expect("its own snapshot");
        assert_eq!(crate::state::collect(second.snapshot()), taken);
    }
}

//! Every built-in job, run through the factories with crashes at arbitrary moments, against its sequential reference.

use super::{BUILT_IN, BuiltIn, JobParameters, find};
use crate::connectors::world::World;
use crate::error::Reaction;
use crate::ids::CheckpointId;
use crate::job::sequential::{Run, Snapshots};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

const TEXTS: [(&str, &[u8]); 4] = [
    ("input/a.txt", b"to be or not to be\nthat is the question\n\nwhether tis nobler in the mind to suffer"),
    ("input/b.txt", b""),
    ("input/deep/c.txt", b"\n\nthe slings and arrows of outrageous fortune\r\nor to take arms\n"),
    ("unrelated/d.txt", b"not to be read\n"),
];

fn small(parallelism: u16, batch_records: usize) -> JobParameters {
    let mut parameters = JobParameters { parallelism, ..JobParameters::default() };
    parameters.config.batch_records = batch_records;
    (parameters.split_bytes, parameters.chunk_bytes) = (16, 5);
    (parameters.records, parameters.keys, parameters.burst) = (100, 7, 3);
    parameters
}

/// The visible output: the sorted lines of every part below each prefix.
fn output(world: &World, prefixes: impl Iterator<Item = String>) -> BTreeMap<String, Vec<String>> {
    let lines = |prefix: &str| {
        let parts = world.under(&format!("{prefix}/part-"));
        let mut lines: Vec<String> = parts
            .values()
            .flat_map(|part| String::from_utf8_lossy(part).lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        lines.sort_unstable();
        lines
    };
    prefixes.map(|prefix| (prefix.clone(), lines(&prefix))).collect()
}

/// Runs a job through a script: each number is a step, a checkpoint (with or without its completion) or a crash.
fn survives(job: &BuiltIn, parameters: &JobParameters, script: &[u16]) {
    let world = World::with(&TEXTS);
    let built = (job.build)(parameters).expect("a good job");
    let (mut attempt, mut next) = (1, CheckpointId(1));
    let mut completed: Option<Snapshots> = None;
    let mut run = Run::start(&built, &world, attempt, None).expect("starts");
    for choice in script {
        match choice % 32 {
            0 | 1 => {
                let snapshots = run.checkpoint(next).expect("storage works");
                next = next.next();
                if choice % 32 == 0 {
                    completed = Some(snapshots);
                    run.commit().expect("storage works");
                }
            }
            2 => {
                // Complete, and crash before anybody hears of it.
                completed = Some(run.checkpoint(next).expect("storage works"));
                next = next.next();
                attempt += 1;
                run = Run::start(&built, &world, attempt, completed.as_ref()).expect("restores");
            }
            3 => {
                attempt += 1;
                run = Run::start(&built, &world, attempt, completed.as_ref()).expect("restores");
            }
            4.. => run.step(usize::from(choice / 32)).expect("no trouble"),
        }
    }
    run.finish(next).expect("finishes");
    let input: BTreeMap<String, Bytes> = world.under("input");
    let expected = (job.reference)(parameters, &input);
    assert!(expected.values().any(|lines| !lines.is_empty()), "the reference says something");
    assert_eq!(output(&world, expected.keys().cloned()), expected, "{} differs from its reference", job.name);
    let hidden: Vec<String> = world.under("output").into_keys().filter(|path| path.contains("/.staging/")).collect();
    assert!(hidden.is_empty(), "nothing stays staged: {hidden:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn built_in_jobs_are_exactly_once_under_crashes(
        job in prop::sample::select(&BUILT_IN[..]),
        parallelism in 1_u16..4,
        batch_records in 1_usize..6,
        script in prop::collection::vec(any::<u16>(), 0..400),
    ) {
        survives(&job, &small(parallelism, batch_records), &script);
    }
}

#[test]
fn built_in_jobs_without_a_crash_agree_with_their_references() {
    for job in BUILT_IN {
        for parallelism in [1, 2, 5] {
            survives(&job, &small(parallelism, 4), &[]);
        }
    }
}

#[test]
fn jobs_are_found_by_name() {
    assert_eq!(find("word-count").expect("built in").name, "word-count");
    let error = find("wordcount").expect_err("no such job");
    assert_eq!(error.reaction, Reaction::GiveUp);
    assert!(error.message.contains("word-count, join, keyed-sum"), "{error}");
}

#[test]
fn sizes_of_zero_are_named() {
    let parameters = JobParameters { chunk_bytes: 0, ..small(1, 1) };
    let error = (super::word_count::JOB.build)(&parameters).expect_err("no chunks");
    assert!(error.message.contains("chunk_bytes"), "{error}");
    let error = (super::join::JOB.build)(&small(0, 1)).expect_err("no subtasks");
    assert!(error.message.contains("parallelism 0"), "{error}");
}

#[test]
fn every_process_builds_the_same_graph() {
    for job in BUILT_IN {
        let build = || (job.build)(&small(2, 4)).expect("a good job").graph.fingerprint();
        assert_eq!(build(), build());
    }
}

//! The smoke lane: the engine survives a fixed set of disasters, and a run is nothing but its seed.
//!
//! `COFFERDAM_SEED=g10:0x4d2` runs just that one; `COFFERDAM_SEEDS=5000` says how many.

use cofferdam_sim::hunt::wire::{Order, Report};
use cofferdam_sim::seed::Seed;
use cofferdam_sim::strategy::{Drawn, Name};
use cofferdam_sim::tally::Tally;
use cofferdam_sim::verdict::Outcome;
use cofferdam_sim::{builtin, marks, report, story};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Seeds of the smoke lane. Few enough for a debug build, and always the same.
const SEEDS: u64 = 600;
const LINES_AROUND: usize = 12;

fn from_environment<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// Runs seeds on two threads and adds up what they did; a failing one panics with its screen.
fn survive(seeds: &[Seed]) -> Tally {
    let (runner, next, total) = (builtin::runner(), AtomicU64::new(0), Mutex::new(Tally::default()));
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            let outcome = runner.run(*seed);
            assert!(outcome.verdict.passed(), "\n{}", report::screen(&runner, &outcome, LINES_AROUND));
            total.lock().unwrap_or_else(PoisonError::into_inner).add(&outcome.tally);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_built_in_jobs_survive_a_fixed_set_of_disasters() {
    if let Some(seed) = from_environment::<Seed>("COFFERDAM_SEED") {
        survive(&[seed]);
        return;
    }
    let seeds: Vec<Seed> = (0..from_environment("COFFERDAM_SEEDS").unwrap_or(SEEDS)).map(Seed).collect();
    let tally = survive(&seeds);
    if seeds.len() as u64 >= SEEDS {
        assert_eq!(marks::missing(&tally), Vec::<String>::new(), "{tally:#?}");
    }
}

/// Seeds whose plans differ in what they exercise.
const SAMPLE: [Seed; 6] = [Seed(11), Seed(12), Seed(13), Seed(14), Seed(15), Seed(1 << 40)];

#[test]
fn a_seed_does_the_same_in_another_thread() {
    let runner = builtin::runner();
    for seed in SAMPLE {
        let (one, other): (Outcome, Outcome) = std::thread::scope(|scope| {
            let other = scope.spawn(|| runner.run(seed));
            (runner.run(seed), other.join().expect("a run does not panic"))
        });
        let difference = story::first_difference(&story::in_full(&one.history), &story::in_full(&other.history));
        assert_eq!(difference, None, "{seed}");
        assert_eq!(one.fingerprint, other.fingerprint, "{seed}");
        assert_eq!(one.tally, other.tally, "{seed}");
    }
}

#[test]
fn a_seed_does_the_same_in_another_process() {
    let runner = builtin::runner();
    let mut child = Command::new(env!("CARGO_BIN_EXE_cofferdam"))
        .arg("hunt-child")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut orders = child.stdin.take().expect("piped");
    let mut answers = BufReader::new(child.stdout.take().expect("piped"));
    for seed in SAMPLE {
        let order =
            serde_json::to_string(&Order::of(Drawn { strategy: Name::Random, seed })).expect("orders serialise");
        writeln!(orders, "{order}").expect("the child reads");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("the child answers");
        let there: Report = serde_json::from_str(&answer).expect("with a report");
        assert_eq!(there, Report::of(&runner.run(seed), None), "{seed}");
    }
    drop(orders);
    assert!(child.wait().expect("it ends with its input").success());
}

/// `| head`: standard output, or `2>&1 | head`: standard error as well, is a pipe whose reader has gone.
#[test]
fn nobody_reading_to_the_end_changes_no_exit_code() {
    let replay = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        command.arg("replay").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        drop(child.stdout.take());
        child
    };
    for output in ["--trace", "--json"] {
        let ended = replay(&["0x0", output]).wait_with_output().expect("it ends");
        assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""), "{output}");
    }
    let mut stale = replay(&["g0:0x0"]);
    drop(stale.stderr.take());
    assert_eq!(stale.wait().expect("it ends").code(), Some(125));
}

#[test]
fn no_two_seeds_of_a_sample_are_the_same_run() {
    let runner = builtin::runner();
    let fingerprints: std::collections::BTreeSet<u64> =
        SAMPLE.iter().map(|seed| runner.run(*seed).fingerprint).collect();
    assert_eq!(fingerprints.len(), SAMPLE.len());
}

/// A changed generator must have a new number, or old seeds silently mean other runs.
#[test]
fn the_generator_draws_what_it_drew_when_it_got_its_number() {
    let pure = || Name::ALL.into_iter().filter(|name| !name.learns());
    let seeds = (0..64).map(|n| Seed(n * 0x1234_5678_9abc));
    let plans: Vec<String> =
        seeds.flat_map(|seed| pure().map(move |name| format!("{:?}", name.strategy().plan(seed, &[])))).collect();
    let digest = cofferdam_engine::hash::stable_hash(&plans);
    assert_eq!(digest, GENERATOR_DIGEST, "count GENERATOR up and write down {digest:#x}");
}

const GENERATOR_DIGEST: u64 = 0x65e_bfcf_6ec0_d76a;

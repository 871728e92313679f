//! Jobs that are right, and jobs that are not.

use super::*;
use crate::capsule::{Capsule, Stale, text};
use crate::world::{Fault, FaultKind, Point, Target, Trigger};
use cofferdam_engine::connectors::{FileSink, Generator, Text, TextLines};
use cofferdam_engine::door::{Env, WriteMode};
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::graph::SubtaskContext;
use cofferdam_engine::ids::CheckpointId;
use cofferdam_engine::job::{Count, Emit, Sink, SinkWriter};
use cofferdam_engine::state::backend::Value;

fn word_count(job: &JobBuilder) {
    job.source("lines", TextLines::new("input"))
        .flat_map("split", |line: Text, words: &mut Vec<Text>| words.extend(line.words()))
        .key_by(Text::clone)
        .emit(Emit::AtEnd)
        .aggregate("count", Count)
        .sink(
            "counts",
            FileSink::new("output/counts", |(word, count): &(Text, u64), line: &mut Vec<u8>| {
                line.extend_from_slice(format!("{} {count}", String::from_utf8_lossy(word.as_bytes())).as_bytes());
            }),
        );
}

const LINES: &str = "to be or not to be\nthat is the question\n";

fn counted() -> Check {
    check(word_count).input("input/a.txt", LINES.repeat(8)).input("input/b.txt", LINES).seeds(30).jobs(2)
}

#[test]
fn a_job_that_is_right_passes_and_was_really_tried() {
    let lines = ["be 18", "is 9", "not 9", "or 9", "question 9", "that 9", "the 9", "to 18"];
    let summary = counted().expect_output("output/counts", lines).try_run().expect("it is right");
    let history = summary.tally.history;
    assert_eq!(summary.runs, 30);
    assert!(history.checkpoints_completed > 60 && history.restores_non_empty > 10, "{summary}");
}

#[test]
fn an_independent_reference_convicts_a_job_that_does_something_else() {
    let failure = counted()
        .expect_output("output/counts", ["be 17"])
        .shrink_for(Duration::ZERO)
        .try_run()
        .expect_err("it says 18");
    assert_eq!(failure.property(), Some("exactly-once-output"), "{failure}");
}

/// Shows what it should stage.
struct Early;

struct EarlyWriter {
    env: Env,
    prefix: String,
    lines: Vec<u8>,
}

impl Sink<u64> for Early {
    type Writer = EarlyWriter;

    fn writer(&self, context: &SubtaskContext) -> EarlyWriter {
        let prefix = format!("output/early/{}-{}", context.subtask.index, context.attempt);
        EarlyWriter { env: context.env.clone(), prefix, lines: Vec::new() }
    }
}

impl SinkWriter<u64> for EarlyWriter {
    fn write(&mut self, records: Vec<u64>) {
        records.iter().for_each(|record| self.lines.extend_from_slice(format!("{record}\n").as_bytes()));
    }

    async fn prepare(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>> {
        let path = format!("{}-{checkpoint}", self.prefix);
        let written = self.env.storage.write(&path, self.lines.clone().into(), WriteMode::Overwrite).await;
        written.map_err(|e| Error::restart(e.to_string()))?;
        self.lines.clear();
        Ok(Some(path.into_bytes()))
    }

    async fn commit(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    async fn recover(&mut self) -> Result<()> {
        Ok(())
    }
}

fn numbers(job: &JobBuilder) {
    job.source("numbers", Generator::new(|_, n| n).records(40)).sink("early", Early);
}

#[test]
fn a_sink_that_shows_things_early_is_convicted_shrunk_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = check(numbers).seeds(30).regressions(folder.path()).shrink_for(Duration::from_secs(2));
    let failure = check.try_run().expect_err("nothing may be visible before its checkpoint");
    assert_eq!(failure.property(), Some("exactly-once-output"), "{failure}");
    let Failure::Run(run) = &failure else { unreachable!("a run failed") };
    assert_eq!(run.capsule.plan.faults, [], "it needs no fault");

    let told = check.kept(failure);
    let kept = text::load_all(folder.path()).expect("capsules");
    assert_eq!(kept.len(), 1, "{told}");
    let last = told.lines().last().expect("a screen");
    assert!(last.contains(&format!("COFFERDAM_CAPSULE={} cargo test ", kept[0].0.display())), "{told}");
    let (_, entry) = told.split_once("first bad step: entry ").expect("a bad step");
    let entry = entry.split(' ').next().expect("a number");
    assert!(told.contains(&format!("COFFERDAM_UNTIL={entry} ")), "{told}");
}

#[test]
fn what_was_kept_is_run_first_and_passes_once_it_is_mended() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = check(numbers).seeds(1).regressions(folder.path()).shrink_for(Duration::ZERO);
    wrong.kept(wrong.try_run().expect_err("wrong"));
    let again = wrong.try_run().expect_err("still wrong");
    assert!(matches!(&again, Failure::Run(run) if run.known.is_some()), "{again}");

    let mended = |job: &JobBuilder| {
        let sink = FileSink::new("output/late", |n: &u64, line: &mut Vec<u8>| line.extend(n.to_string().into_bytes()));
        job.source("numbers", Generator::new(|_, n| n).records(40)).sink("early", sink);
    };
    let summary = check(mended).seeds(1).regressions(folder.path()).try_run().expect("right");
    assert_eq!((summary.runs, summary.regressions), (1, 1));
}

#[test]
fn a_kept_run_whose_fault_never_strikes_is_stale() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = check(word_count).input("input/a.txt", LINES).seeds(1).regressions(folder.path());
    let runner = check.runner();
    let shape = calibrate::shape(&check, &runner).expect("it is right");
    let what = FaultKind::ThrottleStorage { prefix: "output".to_owned(), for_ms: 10 };
    let faults = vec![Fault { at: Trigger::Time { ms: 100_000_000 }, what }];
    let plan = Plan { faults, ..check.plan(Seed(0), &shape) };
    let mut capsule = Capsule::of(&runner.run_plan(Seed(0), plan));
    capsule.expect = "exactly-once-state".to_owned();
    text::save(&folder.path().join("old.toml"), &capsule).expect("written");
    let failure = check.try_run().expect_err("it proves nothing");
    let message = failure.to_string();
    assert!(message.contains("old.toml: stale: fault 0 never struck anything"), "{message}");
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn a_job_that_cannot_be_built_is_told_in_one_line() {
    let nothing = |_: &JobBuilder| {};
    let failure = check(nothing).named("my job").try_run().expect_err("no operators");
    assert_eq!(failure, Failure::Usage("my-job: job \"my-job\": it has no operators".to_owned()));
}

#[test]
fn faults_can_be_narrowed_down() {
    let shape = OwnShape {
        operators: 2,
        by_parallelism: vec![crate::plan::Measured { subtasks: 2, records_each: 100, ..Default::default() }],
    };
    let only = |faults: Faults| {
        let check = check(numbers).faults(faults);
        let plans = (0..200).map(Seed).map(|seed| check.plan(seed, &shape));
        plans.flat_map(|plan| plan.faults).map(|fault| crate::plan::kind_of(&fault.what)).collect::<Vec<_>>()
    };
    assert_eq!(only(Faults::NONE), Vec::<&str>::new());
    let crashes = only(Faults::CRASHES);
    assert!(!crashes.is_empty() && crashes.iter().all(|kind| kind.contains("crash")), "{crashes:?}");
    assert!(only(Faults::ALL).len() > only(Faults::NETWORK.and(Faults::STORAGE)).len());
}

#[test]
fn one_capsule_is_run_alone_and_can_be_aimed_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kept.toml");
    let check = counted().regressions(folder.path());
    let shape = calibrate::shape(&check, &check.runner()).expect("it is right");
    let crash = |occurrence| {
        let point = Point { event: "attempt_running".to_owned(), occurrence, ..Point::default() };
        let what = FaultKind::Crash { process: Target::Announcer, restart_after_ms: 5 };
        let faults = vec![Fault { at: Trigger::Point(point), what }];
        Capsule::of(&check.runner().run_plan(Seed(1), Plan { faults, ..check.plan(Seed(1), &shape) }))
    };
    let explaining = crate::explain::Explaining::default();
    let alone =
        |re_aim| check.steered(Steering::Capsule { path: path.clone(), re_aim, explaining: explaining.clone() });

    text::save(&path, &crash(0)).expect("written");
    assert_eq!(alone(false).expect("it passes").regressions, 1);

    // The fourth attempt of a job that is started once.
    text::save(&path, &crash(3)).expect("written");
    assert!(matches!(alone(false), Err(Failure::Stale { why: Stale::Fault(0), .. })));
    alone(true).expect("there is one nearby");
    assert_eq!(alone(false).expect("it strikes again").regressions, 1);
}

#[test]
fn a_capsule_of_a_built_in_job_is_no_capsule_of_this_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.toml");
    text::save(&path, &Capsule::of(&builtin::runner().run(Seed(3)))).expect("written");
    let capsule = Steering::Capsule { path, re_aim: false, explaining: crate::explain::Explaining::default() };
    let failure = counted().steered(capsule).expect_err("another job");
    assert!(failure.to_string().ends_with("not of word_count"), "{failure}");
}

#[test]
fn a_run_of_ones_own_job_is_drawn_whether_it_was_kept_or_is_drawn_from_a_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("run.html");
    let explaining = |until: Option<&str>| {
        let until = until.map(str::to_owned);
        crate::explain::Explaining { trace: until.is_some(), until, html: Some(page.clone()) }
    };
    let drawn = || std::fs::read_to_string(&page).expect("a page");
    let seed = Steering::Seed { seed: Seed(7), explaining: explaining(None) };
    assert_eq!(counted().steered(seed).expect("it is right").runs, 1);
    assert!(drawn().contains(&format!("COFFERDAM_SEED={} cargo test ", Seed(7))), "it says how to replay it");

    let wrong = check(numbers).shrink_for(Duration::ZERO);
    let Err(Failure::Run(run)) = wrong.try_run() else { unreachable!("a run failed") };
    let path = folder.path().join("kept.toml");
    text::save(&path, &run.capsule).expect("written");
    let alone = |until| {
        let explaining = explaining(Some(until));
        wrong.steered(Steering::Capsule { path: path.clone(), re_aim: false, explaining }).expect_err("wrong")
    };
    let failure = alone("ack_sent");
    assert!(matches!(failure, Failure::Run(_)) && drawn().contains("kept.toml cargo test "), "{failure}");
    let failure = alone("ack_sent#999");
    assert!(matches!(&failure, Failure::Usage(message) if message.contains("no ack_sent#999")), "{failure}");
}

fn line(n: &u64, line: &mut Vec<u8>) {
    line.extend(n.to_string().into_bytes());
}

/// A few records now and then, for far longer than an ordinary plan lasts.
fn slow(job: &JobBuilder) {
    let numbers = Generator::new(|_, n| n).records(40).paced(Duration::from_millis(100), 2);
    job.source("numbers", numbers).sink("all", FileSink::new("output/all", line));
}

/// Many records, and far more of them behind an operator than before it.
fn large(job: &JobBuilder) {
    let numbers = Generator::new(|subtask, n| u64::from(subtask) << 32 | n).records(150);
    job.source("numbers", numbers)
        .flat_map("repeat", |n: u64, more: &mut Vec<u64>| more.extend((0..20).map(|m| n * 20 + m)))
        .key_by(|n| n % 50)
        .aggregate("count", Count)
        .sink(
            "counts",
            FileSink::new("output/counts", |(_, count): &(u64, u64), text: &mut Vec<u8>| line(count, text)),
        );
}

/// Nothing at all.
fn empty(job: &JobBuilder) {
    job.source("lines", TextLines::new("input"))
        .sink("all", FileSink::new("output/all", |text: &Text, line: &mut Vec<u8>| line.extend(text.as_bytes())));
}

#[test]
fn plans_fit_a_job_of_any_pace() {
    for (check, least) in [(check(slow), 100), (check(large), 20), (check(empty).input("input/a.txt", ""), 0)] {
        let name = check.name.clone();
        let summary = check.seeds(12).try_run().unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert!(summary.tally.history.checkpoints_completed >= least, "{name}: {summary}");
        println!("{name}: {summary}");
    }
}

/// How often each word was followed by each other one, in a map of any kind.
fn followers<M>(job: &JobBuilder)
where
    M: Value + Default + Extend<(Text, u64)> + IntoIterator<Item = (Text, u64)>,
{
    let count = |_: &u8, line: Text, seen: &mut Option<M>, out: &mut Vec<u64>| {
        let mut counts: BTreeMap<Text, u64> = seen.take().unwrap_or_default().into_iter().collect();
        line.words().for_each(|word| *counts.entry(word).or_default() += 1);
        out.push(counts.values().sum());
        seen.get_or_insert_default().extend(counts);
    };
    job.source("lines", TextLines::new("input"))
        .key_by(|_| 0_u8)
        .process("followers", count)
        .sink("sums", FileSink::new("output/sums", line));
}

#[expect(clippy::disallowed_types, reason = "what users of the engine keep, and the engine does not")]
mod hashed {
    pub type Map = std::collections::HashMap<super::Text, u64>;
    pub type Set = std::collections::HashSet<super::Text>;
}

#[test]
fn a_right_job_whose_state_is_a_hash_map_passes() {
    for check in [check(followers::<hashed::Map>), check(followers::<BTreeMap<Text, u64>>)] {
        let check = check.input("input/a.txt", LINES.repeat(8)).input("input/b.txt", LINES);
        let summary = check.seeds(20).try_run().expect("it is right");
        assert!(summary.tally.history.restores_non_empty > 0, "{summary}");
    }
}

#[test]
fn a_state_that_encodes_differently_each_time_is_named_and_the_engine_is_not_convicted() {
    let distinct = |job: &JobBuilder| {
        let first = |_: &u8, line: Text, seen: &mut Option<hashed::Set>, out: &mut Vec<u64>| {
            seen.get_or_insert_default().extend(line.words());
            out.extend(seen.as_ref().map(|seen| seen.len() as u64));
        };
        job.source("lines", TextLines::new("input"))
            .key_by(|_| 0_u8)
            .process("distinct", first)
            .sink("sums", FileSink::new("output/sums", line));
    };
    let failure =
        check(distinct).named("words").input("input/a.txt", LINES).seeds(1).try_run().expect_err("a hash set");
    let told = "words: state \"value\" of operator \"distinct\" encodes differently each time, so snapshots";
    assert!(matches!(&failure, Failure::Usage(message) if message.starts_with(told)), "{failure}");
}

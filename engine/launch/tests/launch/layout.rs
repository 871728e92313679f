//! The next build of a job and the checkpoints of the last one, as real processes: a state is what it was written as.
//!
//! This test binary is the job's binary as well: it starts itself, with only [`as_a_job`] to run.

use clap::Parser;
use cofferdam_engine::connectors::{FileSink, Generator};
use cofferdam_engine::graph::Job;
use cofferdam_engine::job::{Aggregation, Emit, JobBuilder};
use cofferdam_engine::jobs::{BuiltIn, JobParameters};
use cofferdam_engine::state::backend::Value;
use cofferdam_launch::{Command, execute};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is kept for each customer, build by build.
mod first {
    #[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
    pub struct Totals {
        pub orders: u64,
        pub cents: u64,
    }
}

mod swapped {
    #[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
    pub struct Totals {
        pub cents: u64,
        pub orders: u64,
    }
}

mod moved {
    /// The same fields in another module, by another name.
    #[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
    pub struct Sums {
        pub orders: u64,
        pub cents: u64,
    }
}

/// One of them.
trait Totals: Value + Default {
    fn add(&mut self, cents: u64);
    fn show(&self) -> (u64, u64);
}

macro_rules! totals {
    ($($totals:ty)*) => {
        $(impl Totals for $totals {
            fn add(&mut self, cents: u64) {
                self.orders += 1;
                self.cents += cents;
            }

            fn show(&self) -> (u64, u64) {
                (self.orders, self.cents)
            }
        })*
    };
}

totals!(first::Totals swapped::Totals moved::Sums);

struct Add<T>(std::marker::PhantomData<fn() -> T>);

impl<T> Clone for Add<T> {
    fn clone(&self) -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T: Totals> Aggregation<u64> for Add<T> {
    type State = T;
    type Out = (u64, u64);

    fn start(&self) -> T {
        T::default()
    }

    fn add(&self, state: &mut T, cents: u64) {
        state.add(cents);
    }

    fn result(&self, state: &T) -> (u64, u64) {
        state.show()
    }
}

const ORDERS: u64 = 400;

fn build<T: Totals>(parameters: &JobParameters) -> cofferdam_engine::Result<Job> {
    let job = JobBuilder::new("orders").parallelism(parameters.parallelism);
    let log = std::env::var_os("LAYOUT_DIES_AFTER").map(PathBuf::from);
    // Dies once a checkpoint is complete, so there is something to go on from.
    let die = move |cents: u64| {
        let complete = |log: &PathBuf| log.join("0000000002").exists();
        assert!(!log.as_ref().is_some_and(complete), "the machine dies");
        cents
    };
    let paced = Generator::new(|_, index| index).records(ORDERS).paced(Duration::from_millis(2), 1);
    let write = |(customer, (orders, cents)): &(u64, (u64, u64)), line: &mut Vec<u8>| {
        line.extend_from_slice(format!("{customer} orders={orders} cents={cents}").as_bytes());
    };
    job.source("orders", paced)
        .map("die", die)
        .key_by(|cents| cents % 3)
        .emit(Emit::AtEnd)
        .aggregate("totals", Add::<T>(std::marker::PhantomData))
        .sink("out", FileSink::new("output", write));
    Ok(Job { graph: std::sync::Arc::new(job.build()?), config: parameters.config.clone() })
}

fn built(build: fn(&JobParameters) -> cofferdam_engine::Result<Job>) -> [BuiltIn; 1] {
    let clients = cofferdam_engine::os::external::Clients::default;
    let reference = |_: &JobParameters, _: &BTreeMap<_, _>| BTreeMap::new();
    [BuiltIn { name: "orders", about: "adds up orders", reads_input: false, clients, build, reference }]
}

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Not a test but the job's process, where the environment says which build of it.
#[test]
fn as_a_job() {
    let Some(build_of) = std::env::var_os("LAYOUT_BUILD") else { return };
    let jobs = match build_of.to_str() {
        Some("first") => built(build::<first::Totals>),
        Some("swapped") => built(build::<swapped::Totals>),
        Some("moved") => built(build::<moved::Sums>),
        other => panic!("no build {other:?}"),
    };
    let arguments = std::env::var("LAYOUT_ARGUMENTS").expect("arguments");
    let exit = execute(Cli::parse_from(arguments.split('\n')).command, &jobs);
    std::process::exit(exit.code().into());
}

struct Bench(tempfile::TempDir);

impl Bench {
    /// A job whose process died behind a checkpoint.
    fn interrupted() -> Self {
        let bench = Self(tempfile::tempdir().expect("a folder"));
        let (code, said) = bench.run("first", "1", true);
        assert_eq!(code, 101, "{said}");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a build of the job: exit code, and what is on standard error.
    fn run(&self, build: &str, parallelism: &str, dies: bool) -> (i32, String) {
        let [out, chk] = ["out", "chk"].map(|name| self.path(name).display().to_string());
        let arguments = ["program", "run", "orders", "--output", &out, "--checkpoints", &chk];
        let arguments = [&arguments[..], &["--interval", "20ms", "--parallelism", parallelism]].concat();
        let mut child = std::process::Command::new(std::env::current_exe().expect("a test has a path"));
        child.args(["--exact", "layout::as_a_job", "--nocapture"]).env("LAYOUT_BUILD", build);
        child.env("LAYOUT_ARGUMENTS", arguments.join("\n")).env_remove("COFFERDAM_LOG");
        if dies {
            child.env("LAYOUT_DIES_AFTER", self.path("chk/log"));
        }
        let output = child.output().expect("the process runs");
        (output.status.code().expect("it exits"), String::from_utf8(output.stderr).expect("UTF-8"))
    }

    fn log(&self) -> BTreeSet<PathBuf> {
        files(&self.path("chk/log")).collect()
    }

    fn output(&self) -> Vec<String> {
        // The marks of the owner lie beside the parts, and are no text.
        let is_part = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().starts_with("part-");
        let parts = files(&self.path("out")).filter(is_part);
        let texts = parts.map(|path| std::fs::read_to_string(path).expect("text"));
        let mut lines: Vec<String> =
            texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        lines.sort_unstable();
        lines
    }
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let paths = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    paths.filter(|path| !path.file_name().expect("a name").to_string_lossy().starts_with('.'))
}

/// One line, naming what differs; and nothing was done.
#[track_caller]
fn assert_refused(bench: &Bench, build: &str, parallelism: &str, what: &str) {
    let log = bench.log();
    let (code, said) = bench.run(build, parallelism, false);
    assert_eq!(code, 2, "{said}");
    let told: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(told.len(), 1, "{said}");
    assert!(told[0].starts_with("error: cannot restore chk-") && told[0].ends_with(what), "{said}");
    assert_eq!(bench.log(), log, "a refusal changes nothing");
}

#[test]
fn the_next_build_is_refused_where_its_state_differs_and_goes_on_where_it_does_not() {
    let bench = Bench::interrupted();
    let field = r#": state "value" of operator "totals": field 1 was "orders: u64", is now "cents: u64""#;
    assert_refused(&bench, "swapped", "1", field);
    let parallelism = r#": operator "orders" has parallelism 1 in the checkpoint but 2 in the job"#;
    assert_refused(&bench, "first", "2", parallelism);

    let (code, said) = bench.run("moved", "1", false);
    assert_eq!(code, 0, "{said}");
    let of = |customer| (0..ORDERS).filter(move |order| order % 3 == customer);
    let line = |customer| format!("{customer} orders={} cents={}", of(customer).count(), of(customer).sum::<u64>());
    assert_eq!(bench.output(), [line(0), line(1), line(2)]);

    // A job that has finished says so: nothing is restored.
    let (code, said) = bench.run("swapped", "1", false);
    assert_eq!(code, 0, "{said}");
}

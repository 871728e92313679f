//! The engine's commands inside a binary of somebody else, with a job of their own. Here one that has a bug.

use clap::Parser;
use cofferdam_engine::connectors::{Discard, Generator};
use cofferdam_engine::graph::Job;
use cofferdam_engine::job::JobBuilder;
use cofferdam_engine::jobs::{BuiltIn, JobParameters};
use cofferdam_launch::{Command, Exit, execute};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const BUGGY: BuiltIn = BuiltIn {
    name: "buggy",
    about: "panics at record 1,000",
    reads_input: false,
    clients: cofferdam_engine::os::external::Clients::default,
    build,
    reference: |_, _| BTreeMap::new(),
};

fn build(parameters: &JobParameters) -> cofferdam_engine::Result<Job> {
    let job = JobBuilder::new("buggy").parallelism(parameters.parallelism);
    let numbers = Generator::new(|_, index| index).records(parameters.records);
    let check = |number: u64| {
        assert!(number < 1_000, "there is no number {number}");
        number
    };
    job.source("numbers", numbers).map("check", check).sink("nowhere", Discard);
    Ok(Job { graph: Arc::new(job.build()?), config: parameters.config.clone() })
}

fn run(records: &str, folder: &std::path::Path) -> Exit {
    let (output, checkpoints) = (folder.join("out"), folder.join("chk"));
    let folders = [output.as_os_str(), "--checkpoints".as_ref(), checkpoints.as_os_str()];
    let start = ["program", "run", "buggy", "--records", records, "--interval", "20ms", "--output"];
    let command = start.iter().map(|part| part.as_ref()).chain(folders);
    execute(Cli::parse_from(command).command, &[BUGGY])
}

#[test]
fn a_job_of_ones_own_runs_and_is_inspected() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(run("1000", folder.path()), Exit::Done);
    let checkpoints = folder.path().join("chk");
    let inspect = ["program".as_ref(), "inspect".as_ref(), checkpoints.as_os_str()];
    assert_eq!(execute(Cli::parse_from(inspect).command, &[]), Exit::Done);
}

#[test]
fn a_panic_in_a_job_ends_the_process_instead_of_leaving_it_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(run("2000", folder.path()), Exit::Panicked);
}

//! The hunter against runs that misbehave: this program is its own child, and a toy world does what the seed says.

#![expect(clippy::unwrap_used, reason = "a test")]

use cofferdam_engine::config::JobConfig;
use cofferdam_engine::graph::{Job, JobGraph};
use cofferdam_launch::out;
use cofferdam_properties::external::Models;
use cofferdam_properties::history::{Entry, Fact, History, Incarnation, Process, What};
use cofferdam_sim::exit::Exit;
use cofferdam_sim::hunt::pool::{ChildCommand, Hunted, hunt};
use cofferdam_sim::hunt::summary::Progress;
use cofferdam_sim::hunt::{self, HuntOptions, Output, Shard};
use cofferdam_sim::plan::Plan;
use cofferdam_sim::run::{Runner, Staging};
use cofferdam_sim::seed::Seed;
use cofferdam_sim::strategy::{Choice, Name};
use cofferdam_sim::verdict::Verdict;
use cofferdam_sim::world::{Counters, Recording, RunEnd, WorldSpec};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What the toy world makes of each seed.
const HANGS: u64 = 1_003;
const ABORTS: u64 = 2_003;
const STICKS: u64 = 3_003;
const DIFFERS: u64 = 4_000;

fn world(spec: WorldSpec) -> Recording {
    let by = Incarnation { process: Process::COORDINATOR, number: 1 };
    let time = if spec.seed == DIFFERS { u64::from(std::process::id()) } else { 5 };
    let ended = Entry { time, by, what: What::Fact(Fact::Ended(Ok("done".into()))) };
    match spec.seed {
        HANGS => loop {
            std::hint::spin_loop();
        },
        ABORTS => std::process::abort(),
        _ => {}
    }
    Recording {
        history: History { entries: vec![ended], initial: BTreeMap::new() },
        fingerprint: spec.seed ^ time,
        events: 1,
        virtual_ns: time,
        ended: if spec.seed == STICKS { RunEnd::Deadlock } else { RunEnd::AllEnded },
        faults: Vec::new(),
        storage: BTreeMap::new(),
        counters: Counters::default(),
        offers: Vec::new(),
        idle_picks: 0,
    }
}

fn runner() -> Runner {
    let stage = |_: Seed, _: &Plan| {
        let graph = JobGraph { name: "toy".into(), max_parallelism: 1, operators: Vec::new(), edges: Vec::new() };
        let job = Job { graph: Arc::new(graph), config: JobConfig::default() };
        Ok(Staging { job, initial: BTreeMap::new(), reference: None, models: Models::default(), processes: Vec::new() })
    };
    Runner::new(Arc::new(stage), world)
}

fn options(first: u64, seeds: u64) -> HuntOptions {
    HuntOptions {
        first: Seed(first),
        strategy: Choice::One(Name::Random),
        saturated_after: None,
        job: None,
        seeds: Some(seeds),
        time: None,
        shard: Shard::WHOLE,
        stop_after: 100,
        jobs: 2,
        twice_every: 0,
        known: BTreeMap::new(),
        hang_after: Duration::from_secs(2),
        output: Output::Quiet,
    }
}

fn hunted(options: &HuntOptions) -> Hunted {
    let command = ChildCommand::of_this_program().unwrap();
    let hunted = hunt(options, &command, &mut Progress::new(options));
    assert_eq!(hunted.trouble, None);
    hunted
}

fn a_clean_hunt_runs_every_seed() {
    let hunted = hunted(&options(0, 300));
    assert_eq!(hunted.ledger.runs, 300);
    assert_eq!(hunted.exit(), Exit::Clean);
}

fn a_hanging_run_is_killed_and_named_and_the_others_run() {
    let hunted = hunted(&options(1_000, 60));
    let failures = &hunted.ledger.failures;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].report.seed, Seed(HANGS));
    assert!(matches!(failures[0].report.verdict, Verdict::Hang { .. }));
    assert_eq!(hunted.ledger.runs, 60);
    assert_eq!(hunted.exit(), Exit::Violation);
}

fn an_aborting_run_costs_one_seed() {
    let hunted = hunted(&options(2_000, 60));
    let failures = &hunted.ledger.failures;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].report.seed, Seed(ABORTS));
    assert!(matches!(&failures[0].report.verdict, Verdict::Died { what } if what.contains("signal 6")));
    assert_eq!(hunted.ledger.runs, 60);
}

fn a_stuck_run_ends_the_hunt_with_a_screen_that_ends_in_the_command() {
    let hunted = hunted(&HuntOptions { stop_after: 1, ..options(3_000, 100_000_000) });
    assert_eq!(hunted.ledger.failures[0].report.seed, Seed(STICKS));
    let screen = hunted.ledger.failures[0].report.screen.as_deref().unwrap();
    assert!(screen.ends_with(&format!("cofferdam replay {}\n", Seed(STICKS))), "{screen}");
    assert!(hunted.ledger.runs < 1_000);
}

fn a_run_that_differs_in_another_process_is_a_harness_error_with_both_histories() {
    for jobs in [1, 2] {
        let hunted = hunted(&HuntOptions { jobs, twice_every: 1, ..options(DIFFERS, 20) });
        assert_eq!(hunted.ledger.repeated, 20);
        assert_eq!(hunted.ledger.divergences.len(), 1);
        let (one, other) = hunted.ledger.divergences[0].histories.clone().unwrap();
        assert_ne!(std::fs::read(&one).unwrap(), std::fs::read(other).unwrap());
        assert_eq!(hunted.exit(), Exit::Harness);
        std::fs::remove_dir_all(one.parent().unwrap()).unwrap();
    }
}

/// Whatever a child writes finds the disk full: that says nothing about the runs.
fn a_full_disk_is_trouble_of_the_harness_and_no_finding() {
    let ChildCommand { program, arguments, environment } = ChildCommand::of_this_program().unwrap();
    // The shell stays, and holds the pipe that the hunt listens to.
    let full = format!("{} {} > /dev/full; exit $?", program.display(), arguments.join(" "));
    let command = ChildCommand { program: "/bin/sh".into(), arguments: vec!["-c".into(), full], environment };
    let options = options(0, 60);
    let hunted = hunt(&options, &command, &mut Progress::new(&options));
    assert!(hunted.ledger.failures.is_empty());
    let trouble = hunted.trouble.as_deref().unwrap();
    assert!(trouble.contains("No space left on device") && !trouble.contains('\n'), "{trouble}");
    assert_eq!(hunted.exit(), Exit::Harness);
}

fn a_limit_of_time_ends_the_hunt() {
    let limit = Some(Duration::from_millis(300));
    let hunted = hunted(&HuntOptions { seeds: None, time: limit, ..options(10_000, 0) });
    assert!(hunted.ledger.runs > 0);
    assert_eq!(hunted.exit(), Exit::Clean);
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("hunt-child") {
        std::process::exit(hunt::child::main(&runner()).code().into());
    }
    let scenarios: [(&str, fn()); 7] = [
        ("a clean hunt runs every seed", a_clean_hunt_runs_every_seed),
        ("a hanging run is killed and named, and the others run", a_hanging_run_is_killed_and_named_and_the_others_run),
        ("an aborting run costs one seed", an_aborting_run_costs_one_seed),
        (
            "a stuck run ends the hunt with a screen that ends in the command",
            a_stuck_run_ends_the_hunt_with_a_screen_that_ends_in_the_command,
        ),
        (
            "a run that differs in another process is a harness error with both histories",
            a_run_that_differs_in_another_process_is_a_harness_error_with_both_histories,
        ),
        ("a full disk is trouble of the harness, and no finding", a_full_disk_is_trouble_of_the_harness_and_no_finding),
        ("a limit of time ends the hunt", a_limit_of_time_ends_the_hunt),
    ];
    for (name, scenario) in scenarios {
        scenario();
        out::say(format_args!("ok: {name}"));
    }
}

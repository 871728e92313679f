//! One owner of an output: what is refused that would write where another log writes, or write a second time.
//!
//! `COFFERDAM_STARTS=200` starts all processes of a cluster at once so often.

use crate::binary::{self, Ended, lines, pause};
use crate::ends::assert_ends;
use cofferdam_engine::jobs::{self, JobParameters};
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tempfile::TempDir;

struct Bench {
    engine: PathBuf,
    folder: TempDir,
}

/// A run that takes as long as it takes, and one that takes longer than any test.
const QUICK: &[&str] = &[];
const SLOW: &[&str] = &["--pace", "100ms"];

impl Bench {
    fn new() -> Self {
        Self { engine: binary::engine(), folder: tempfile::tempdir().expect("a folder") }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, kind: &str, (output, checkpoints): (&str, &str), more: &[&str]) -> Vec<String> {
        let size = [kind, "keyed-sum", "--records", "300000", "--keys", "50", "--interval", "20ms"];
        let (output, checkpoints) = (self.at(output).display().to_string(), self.at(checkpoints).display().to_string());
        let folders = ["--output", &output, "--checkpoints", &checkpoints];
        size.iter().chain(&folders).chain(more).map(|&part| part.to_owned()).collect()
    }

    fn start(&self, kind: &str, folders: (&str, &str), more: &[&str]) -> Child {
        let command = self.command(kind, folders, more);
        binary::start(&self.engine, &command.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn run(&self, folders: (&str, &str), pace: &[&str]) -> Ended {
        let command = self.command("run", folders, pace);
        binary::run(&self.engine, &command.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A slow run that is at least `entries` further in its log.
    fn begin(&self, folders: (&str, &str), entries: u64) -> Child {
        let before = self.newest(folders.1);
        let mut child = self.start("run", folders, SLOW);
        while self.newest(folders.1) < before + entries && child.try_wait().expect("a child can be asked").is_none() {
            pause(Duration::from_millis(1));
        }
        child
    }

    /// The newest entry of a log.
    fn newest(&self, checkpoints: &str) -> u64 {
        let Ok(entries) = fs::read_dir(self.at(checkpoints).join("log")) else { return 0 };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter_map(|name| name.parse().ok()).max().unwrap_or(0)
    }

    /// Copies a folder while nobody writes there, or until a copy is whole.
    fn copy(&self, from: &str, to: &str) {
        let copied = std::process::Command::new("cp").arg("-a").args([self.at(from), self.at(to)]).status();
        assert!(copied.expect("cp runs").success());
    }

    fn marks(&self, output: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.at(output)).expect("the output is there");
        let mut marks: Vec<PathBuf> =
            entries.map(|entry| entry.expect("an entry").path()).filter(|p| p.is_file()).collect();
        marks.sort_unstable();
        marks
    }

    #[track_caller]
    fn assert_sums(&self, output: &str) {
        let parameters = JobParameters { records: 300_000, keys: 50, ..JobParameters::default() };
        let reference = jobs::find("keyed-sum").expect("a built-in job").reference;
        let expected = reference(&parameters, &BTreeMap::new()).remove("output/sums").expect("sums");
        assert_eq!(lines(&self.at(output).join("sums")), expected);
    }
}

fn kill(mut child: Child) {
    child.kill().expect("a child can be killed");
    child.wait().expect("it has ended");
}

#[test]
fn of_two_jobs_with_checkpoints_of_their_own_the_second_is_refused_at_the_output_of_the_first() {
    let bench = Bench::new();
    kill(bench.begin(("out", "chk"), 3));
    let marks = bench.marks("out");
    assert_ends(&bench.run(("out", "fresh"), QUICK), 2, &["holds", "choose an empty output folder"]);
    // One that has a log already, from another output.
    kill(bench.begin(("elsewhere", "other"), 3));
    assert_ends(&bench.run(("out", "other"), QUICK), 2, &["out", "belongs to the checkpoints of log"]);
    assert_eq!(bench.marks("out"), marks, "what is refused leaves no trace");
    assert_eq!(bench.run(("out", "chk"), QUICK).code, Some(0));
    bench.assert_sums("out");
}

#[test]
fn checkpoints_do_not_go_on_at_an_output_without_their_marks() {
    let bench = Bench::new();
    kill(bench.begin(("out", "chk"), 3));
    assert_ends(&bench.run(("elsewhere", "chk"), QUICK), 2, &["end with chk-", "output is elsewhere"]);
    assert_eq!(bench.run(("out", "chk"), QUICK).code, Some(0));
    bench.assert_sums("out");
}

#[test]
fn a_start_with_another_output_does_not_stop_the_run_that_it_would_take_over_from() {
    let bench = Bench::new();
    let mut running = bench.begin(("out", "chk"), 3);
    let log = bench.newest("chk");
    assert_ends(&bench.run(("elsewhere", "chk"), QUICK), 2, &["output is elsewhere"]);
    while bench.newest("chk") < log + 3 {
        assert_eq!(running.try_wait().expect("a child can be asked"), None, "it goes on");
        pause(Duration::from_millis(1));
    }
    kill(running);
    assert_eq!(bench.run(("out", "chk"), QUICK).code, Some(0));
    bench.assert_sums("out");
}

#[test]
fn two_copies_of_which_one_has_skipped_a_number_see_each_other() {
    let bench = Bench::new();
    let original = bench.begin(("out", "chk"), 3);
    bench.copy("chk", "copy");
    // A claim whose process dies before it has marked the output, mostly.
    let claimed = bench.newest("copy");
    // If the original has completed another checkpoint since, the copy is an old one, and refused.
    let mut unmarked = bench.start("run", ("out", "copy"), SLOW);
    while bench.newest("copy") == claimed && unmarked.try_wait().expect("a child can be asked").is_none() {
        pause(Duration::from_micros(100));
    }
    kill(unmarked);
    let copy = bench.start("run", ("out", "copy"), SLOW);
    pause(Duration::from_secs(2));
    kill(original);
    kill(copy);
    let ends = [bench.run(("out", "chk"), QUICK), bench.run(("out", "copy"), QUICK)];
    assert!(ends.iter().filter(|ended| ended.code == Some(0)).count() <= 1, "{ends:?}");
    let ends = if ends.iter().any(|ended| ended.code == Some(0)) {
        ends
    } else {
        [bench.run(("out", "chk"), QUICK), bench.run(("out", "copy"), QUICK)]
    };
    assert_eq!(ends.iter().filter(|ended| ended.code == Some(0)).count(), 1, "{ends:?}");
    bench.assert_sums("out");
}

#[test]
fn a_finished_job_says_so_without_looking_at_its_output() {
    let bench = Bench::new();
    assert_eq!(bench.run(("out", "chk"), QUICK).code, Some(0));
    let says_so = || {
        let again = bench.run(("out", "chk"), QUICK);
        assert!(again.code == Some(0) && again.stdout.contains("keyed-sum had finished before"), "{again:?}");
        assert_eq!(again.stderr, "");
    };
    // What a killed process of the job staged is cleared away.
    let staging = bench.at("out/sums/.staging/sums-0");
    fs::create_dir_all(&staging).expect("a folder");
    fs::write(staging.join("a1.1-chk-3"), "staged").expect("a file");
    says_so();
    assert!(!staging.join("a1.1-chk-3").exists(), "it is left behind");
    fs::rename(bench.at("out"), bench.at("away")).expect("the output is there");
    says_so();
    assert!(!bench.at("out").exists(), "the output is made anew");
    // What another job staged is not.
    assert_eq!(bench.run(("out", "other"), QUICK).code, Some(0));
    fs::create_dir_all(&staging).expect("a folder");
    fs::write(staging.join("a1.1-chk-3"), "staged").expect("a file");
    says_so();
    assert!(staging.join("a1.1-chk-3").exists(), "the output of another job was looked at");
    fs::remove_dir_all(bench.at("out")).expect("the output is there");
    fs::write(bench.at("out"), "no folder").expect("a file");
    says_so();
}

#[test]
fn folders_that_are_one_are_found_out_by_any_path() {
    let bench = Bench::new();
    assert_ends(&bench.run(("missing/../chk", "chk"), QUICK), 2, &["must lie apart"]);
}

#[test]
fn messages_name_marks_by_the_folder_that_was_typed() {
    let bench = Bench::new();
    kill(bench.begin(("out", "chk"), 3));
    kill(bench.begin(("elsewhere", "other"), 3));
    let refused = bench.run(("out", "other"), QUICK);
    assert_ends(&refused, 2, &[&format!("{}/log-", bench.at("out").display())]);
    assert!(!refused.stderr.contains(" output/"), "{refused:?}");
}

#[test]
fn output_that_the_newest_checkpoint_has_yet_to_commit_is_inspected_as_well() {
    let bench = Bench::new();
    assert_eq!(bench.run(("out", "chk"), &["--retain", "always"]).code, Some(0));
    let inspect = || {
        let (chk, out) = (bench.at("chk").display().to_string(), bench.at("out").display().to_string());
        binary::run(&bench.engine, &["inspect", &chk, "--output", &out])
    };
    assert_eq!(inspect().code, Some(0), "{:?}", inspect());
    fs::remove_dir_all(bench.at("out/sums")).expect("the output is there");
    let lost = inspect();
    assert_eq!(lost.code, Some(4), "{lost:?}");
    assert!(lost.stderr.contains("is neither staged nor committed: output is lost"), "{lost:?}");
}

#[test]
fn an_old_copy_of_the_checkpoints_that_is_put_back_is_refused_and_the_right_ones_go_on() {
    let bench = Bench::new();
    kill(bench.begin(("out", "chk"), 3));
    bench.copy("chk", "old");
    kill(bench.begin(("out", "chk"), 5));
    assert_ends(&bench.run(("out", "old"), QUICK), 2, &["committed up to chk-", "end with chk-", "an old copy"]);
    assert_eq!(bench.run(("out", "chk"), QUICK).code, Some(0));
    bench.assert_sums("out");
    assert_ends(&bench.run(("out", "old"), QUICK), 2, &["committed up to chk-", "an old copy"]);
    bench.assert_sums("out");
}

#[test]
fn of_two_copies_at_once_one_is_fenced_or_refused_and_the_output_is_right() {
    let bench = Bench::new();
    kill(bench.begin(("out", "chk"), 3));
    bench.copy("chk", "copy");
    // The copy goes on, and completes checkpoints; what it was copied from is an old copy now.
    let copy = bench.begin(("out", "copy"), 4);
    let original = bench.run(("out", "chk"), QUICK);
    assert_ends(&original, 2, &["committed up to chk-", "end with chk-"]);
    kill(copy);
    assert_eq!(bench.run(("out", "copy"), QUICK).code, Some(0));
    bench.assert_sums("out");
}

#[test]
fn a_leader_steps_down_when_a_copy_of_its_checkpoints_has_taken_the_output() {
    let bench = Bench::new();
    kill(bench.begin(("out", "chk"), 3));
    bench.copy("chk", "copy");
    // Two leaders of the same number, of two logs that know nothing of each other.
    let first = bench.start("run", ("out", "chk"), SLOW);
    let second = bench.start("run", ("out", "copy"), SLOW);
    pause(Duration::from_millis(1500));
    kill(first);
    kill(second);
    let ends = [bench.run(("out", "chk"), QUICK), bench.run(("out", "copy"), QUICK)];
    let codes = ends.each_ref().map(|ended| ended.code);
    // Whichever lost may have been refused at once, or have to come again before it is told.
    let ends = if codes.contains(&Some(0)) {
        ends
    } else {
        [bench.run(("out", "chk"), QUICK), bench.run(("out", "copy"), QUICK)]
    };
    let finished = ends.iter().filter(|ended| ended.code == Some(0)).count();
    assert_eq!(finished, 1, "{ends:?}");
    bench.assert_sums("out");
}

#[test]
fn an_unreadable_mark_is_corrupt_and_named() {
    for (damaged, empty) in [("completed-", true), ("log-", true), ("completed-", false)] {
        let bench = Bench::new();
        kill(bench.begin(("out", "chk"), 4));
        let is_it = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(damaged));
        let mark = bench.marks("out").into_iter().rfind(is_it).expect("it is marked");
        let mut bytes = fs::read(&mark).expect("a mark");
        bytes[8] ^= 1;
        fs::write(&mark, if empty { Vec::new() } else { bytes }).expect("it is written over");
        let name = mark.file_name().expect("a name").to_string_lossy().into_owned();
        assert_ends(&bench.run(("out", "chk"), QUICK), 4, &[&name, "is damaged"]);
    }
}

#[test]
fn a_worker_that_writes_elsewhere_is_refused_at_both_ends_and_the_job_goes_on() {
    let bench = Bench::new();
    let address = address();
    let coordinator =
        bench.start("coordinator", ("out", "chk"), &["--listen", &address, "--lease", "1s", "--silence", "2s"]);
    let join = ["--join", &address, "--id", "0", "--silence", "2s"];
    let stranger = binary::finish(bench.start("worker", ("elsewhere", "chk"), &join));
    // Before that it may have told what it waits for.
    let last = stranger.stderr.lines().last().expect("a line");
    assert!(stranger.code == Some(1) && last.contains("worker-0 writes to another output"), "{stranger:?}");
    assert!(last.contains("its folder holds no generation-1"), "{stranger:?}");
    assert_eq!(binary::finish(bench.start("worker", ("out", "chk"), &join)).code, Some(0));
    let coordinator = binary::finish(coordinator);
    assert_eq!(coordinator.code, Some(0), "{coordinator:?}");
    assert!(coordinator.stderr.contains("worker-0 writes to another output"), "{coordinator:?}");
    bench.assert_sums("out");
}

#[test]
fn a_worker_that_stores_checkpoints_elsewhere_is_refused_and_the_job_goes_on() {
    let bench = Bench::new();
    let (address, secret) = (address(), bench.at("secret").display().to_string());
    fs::write(&secret, "known to members of this job").expect("a file");
    let silence = ["--secret-file", &secret, "--silence", "2s"];
    let listen = [&["--listen", &address, "--lease", "1s"][..], &silence].concat();
    let coordinator = bench.start("coordinator", ("out", "chk"), &listen);
    let join = [&["--join", &address, "--id", "0"][..], &silence].concat();
    let stranger = binary::finish(bench.start("worker", ("out", "elsewhere"), &join));
    let last = stranger.stderr.lines().last().expect("a line");
    assert!(stranger.code == Some(1) && last.contains("its folder holds no log; give both the same"), "{stranger:?}");
    assert_eq!(binary::finish(bench.start("worker", ("out", "chk"), &join)).code, Some(0));
    let coordinator = binary::finish(coordinator);
    assert_eq!(coordinator.code, Some(0), "{coordinator:?}");
    assert!(coordinator.stderr.contains("worker-0 stores checkpoints elsewhere"), "{coordinator:?}");
    bench.assert_sums("out");
}

/// An address that was free a moment ago, and that no connection gets by itself: those begin at port 32768. Reason: a
/// worker that dials before its coordinator listens may get the very port that it dials.
fn address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 12_000).expect("it fits");
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

#[test]
fn all_processes_of_a_cluster_may_start_at_once() {
    let starts =
        std::env::var("COFFERDAM_STARTS").map_or(3, |text| text.parse().expect("COFFERDAM_STARTS is a number"));
    for start in 0..starts {
        let bench = Bench::new();
        let (leader, standby) = (address(), address());
        let join = format!("{leader},{standby}");
        let coordinator = |listen: &str, more: &[&str]| {
            let fixed =
                ["--workers", "4", "--parallelism", "4", "--listen", listen, "--lease", "1s", "--silence", "2s"];
            bench.start("coordinator", ("out", "chk"), &[&fixed[..], more].concat())
        };
        let worker = |id: &str| {
            bench.start(
                "worker",
                ("out", "chk"),
                &["--parallelism", "4", "--join", &join, "--id", id, "--silence", "2s"],
            )
        };
        let mut processes = vec![worker("0"), worker("1"), worker("2"), worker("3")];
        processes.extend([coordinator(&leader, &[]), coordinator(&standby, &["--standby"])]);
        for process in processes {
            let ended = binary::finish(process);
            assert_eq!(ended.code, Some(0), "start {start}: {ended:?}");
        }
        assert!(Path::new(&bench.at("out/sums")).exists(), "start {start}");
    }
}

//! What `checkpoint`, `cancel` and `status` do to a job in processes of its own, and what they say where there is none.

use crate::binary::{self, Ended, lines};
use crate::ends::assert_ends;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use tempfile::TempDir;

struct Bench {
    engine: PathBuf,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { engine: binary::engine(), folder: tempfile::tempdir().expect("a folder") }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Part of a job that takes a minute, longer than any test.
    fn start(&self, kind: &str, more: &[&str]) -> Child {
        let (out, chk) = (self.at("out"), self.at("chk"));
        let job = ["--records", "3000000", "--keys", "9", "--pace", "20ms", "--output", &out, "--checkpoints", &chk];
        let policy = ["--interval", "1h", "--silence", "5s"];
        binary::start(&self.engine, &[&[kind, "keyed-sum"][..], &job, &policy, more].concat())
    }

    /// A coordinator of one worker, and where it listens.
    fn coordinator(&self, more: &[&str]) -> (Child, String) {
        let mut child = self.start("coordinator", more);
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("it is piped")).read_line(&mut line).expect("a line");
        (child, line.trim().to_owned())
    }

    fn ask(&self, what: &str, address: &str) -> Ended {
        binary::run(&self.engine, &[what, "--coordinator", address, "--checkpoints", &self.at("chk")])
    }

    fn status(&self, address: &str) -> Value {
        self.status_of(&["--coordinator", address])
    }

    /// The same, asked of the leader of the checkpoints if nobody is named.
    fn status_of(&self, whom: &[&str]) -> Value {
        let chk = self.at("chk");
        let ended = binary::run(&self.engine, &[&["status", "--json", "--checkpoints", &chk][..], whom].concat());
        if ended.code != Some(0) {
            return Value::Null;
        }
        serde_json::from_str(&ended.stdout).expect("JSON")
    }

    /// Waits until the job is in `state`.
    fn wait(&self, address: &str, state: &str) -> Value {
        for _ in 0..600 {
            let status = self.status(address);
            if status["state"] == state {
                return status;
            }
            binary::pause(Duration::from_millis(50));
        }
        panic!("never {state}: {}", self.status(address));
    }
}

#[test]
fn a_running_job_takes_a_checkpoint_tells_of_it_and_is_cancelled() {
    let bench = Bench::new();
    let (coordinator, leader) = bench.coordinator(&["--lease", "1s", "--retain", "on-cancellation"]);
    let waiting = bench.wait(&leader, "waiting_for_workers");
    assert_eq!((&waiting["workers_missing"], &waiting["job"]), (&1.into(), &"keyed-sum".into()));
    assert_ends(&bench.ask("checkpoint", &leader), 1, &["no checkpoint was taken", "does not run"]);

    let worker = bench.start("worker", &["--join", &leader, "--id", "0"]);
    bench.wait(&leader, "running");
    let taken = bench.ask("checkpoint", &leader);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    let checkpoint = taken.stdout.split_whitespace().next().expect("a checkpoint").to_owned();
    assert!(taken.stdout.contains("is durable: "), "{taken:?}");
    let status = bench.ask("status", &leader);
    assert!(status.stdout.contains("job          keyed-sum: running"), "{status:?}");
    assert!(status.stdout.contains(&format!("last durable {checkpoint}")), "{status:?}");

    let cancelled = bench.ask("cancel", &leader);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    assert_eq!(cancelled.stdout, format!("the job is cancelled; {checkpoint} is kept\n"));
    let coordinator = binary::finish(coordinator);
    assert!(coordinator.code == Some(1) && coordinator.stderr.contains("keyed-sum was cancelled"), "{coordinator:?}");
    assert_eq!(binary::finish(worker).code, Some(0), "a worker of a cancelled job has nothing to complain about");
    let kept = binary::run(&bench.engine, &["inspect", &bench.at("chk")]);
    assert!(kept.code == Some(0) && kept.stdout.contains(&checkpoint), "{kept:?}");
    assert_ends(&bench.ask("status", &leader), 1, &["nobody could be asked", &leader]);

    // Started again, it goes on from there, and to the end, nobody slowing it down.
    let (out, chk) = (bench.at("out"), bench.at("chk"));
    let again = ["run", "keyed-sum", "--records", "3000000", "--keys", "9", "--output", &out, "--checkpoints", &chk];
    let again = binary::run(&bench.engine, &again);
    assert!(again.code == Some(0) && again.stdout.contains("1 restored"), "{again:?}");
    assert_eq!(lines(Path::new(&bench.at("out/sums"))).len(), 9);
}

#[test]
fn a_cancelled_job_drops_its_checkpoints_if_they_are_kept_on_failure_only() {
    let bench = Bench::new();
    let (coordinator, leader) = bench.coordinator(&["--lease", "1s", "--retain", "on-failure"]);
    let worker = bench.start("worker", &["--join", &leader, "--id", "0"]);
    bench.wait(&leader, "running");
    assert_eq!(bench.ask("checkpoint", &leader).code, Some(0));
    let cancelled = bench.ask("cancel", &leader);
    assert_eq!(cancelled.stdout, "the job is cancelled; no checkpoint is kept\n", "{cancelled:?}");
    assert_eq!(binary::finish(coordinator).code, Some(1));
    assert_eq!(binary::finish(worker).code, Some(0));
    let left = std::fs::read_dir(bench.at("chk")).expect("the folder stays");
    let left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("chk-")), "{left:?}");

    // Started again it would have to begin again, at an output that shows records already.
    let (out, chk) = (bench.at("out"), bench.at("chk"));
    let again = ["run", "keyed-sum", "--records", "3000000", "--keys", "9", "--output", &out, "--checkpoints", &chk];
    let again = binary::run(&bench.engine, &again);
    assert_ends(&again, 2, &["committed up to chk-", "were not to be retained"]);
}

#[test]
fn a_run_is_found_through_its_checkpoints_and_listens_on_no_port() {
    let bench = Bench::new();
    let runtime = bench.at("runtime");
    std::fs::create_dir(&runtime).expect("a folder");
    let (out, chk) = (bench.at("out"), bench.at("chk"));
    let job = ["run", "keyed-sum", "--records", "3000000", "--keys", "9", "--pace", "20ms", "--parallelism", "2"];
    let more = ["--workers", "2", "--interval", "1h", "--output", &out, "--checkpoints", &chk];
    let start = || {
        let mut command = Command::new(&bench.engine);
        command.args(job).args(more).env("XDG_RUNTIME_DIR", &runtime);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().expect("the binary starts")
    };
    let sockets = || -> Vec<String> {
        let found = std::fs::read_dir(Path::new(&runtime).join("cofferdam")).into_iter().flatten().flatten();
        let mut names: Vec<String> = found.map(|entry| entry.file_name().into_string().expect("text")).collect();
        names.sort_unstable();
        names
    };
    let mut killed = start();
    let running = |ended: &Value| ended["state"] == "running";
    wait_until(|| running(&bench.status_of(&[])));
    let left = sockets();
    assert!(left.len() == 3 || !cfg!(unix), "a coordinator and two workers listen: {left:?}");
    #[cfg(target_os = "linux")]
    assert_eq!(ports_of(killed.id()), 0, "a run listens on a port");
    killed.kill().expect("it can be killed");
    killed.wait().expect("it is dead");
    assert_ends(&binary::run(&bench.engine, &["status", "--checkpoints", &chk]), 1, &["nobody could be asked"]);

    let run = start();
    wait_until(|| running(&bench.status_of(&[])));
    let now = sockets();
    // Their names are of the log, which says where to ask also where the sign of life does not.
    let inspected: Value =
        serde_json::from_str(&binary::run(&bench.engine, &["inspect", "--json", &chk]).stdout).expect("JSON");
    let log = inspected["log"][0]["log"].as_str().expect("an id").to_owned();
    assert!(now.iter().all(|name| name.starts_with(&format!("{log}-g2"))), "{log}: {now:?}");
    std::fs::remove_file(Path::new(&chk).join("leader")).expect("a sign of life");
    let ask = |what: &str| -> Ended {
        let mut command = Command::new(&bench.engine);
        let asked = command.args([what, "--checkpoints", &chk]).env("XDG_RUNTIME_DIR", &runtime).output();
        asked.expect("it runs").into()
    };
    assert_eq!(ask("status").code, Some(0));
    assert!(now.len() == 3 && now.iter().all(|name| !left.contains(name)) || !cfg!(unix), "{left:?} then {now:?}");
    assert_eq!(ask("checkpoint").code, Some(0));
    let cancelled = ask("cancel");
    assert!(cancelled.stdout.contains("the job is cancelled; chk-"), "{cancelled:?}");
    assert_eq!(binary::finish(run).code, Some(1));
    assert_eq!(sockets(), [""; 0], "a run that ends removes its sockets");
    let over = binary::run(&bench.engine, &["cancel", "--checkpoints", &chk]);
    assert_ends(&over, 1, &["nobody leads the job", "it is over"]);
}

/// Ports on which a process listens.
#[cfg(target_os = "linux")]
fn ports_of(process: u32) -> usize {
    let links = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").flatten();
    let inodes = links.filter_map(|entry| {
        let link = std::fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok()?;
        Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    });
    let mut tables = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("a table");
    tables += &std::fs::read_to_string(format!("/proc/{process}/net/tcp6")).unwrap_or_default();
    let listening: Vec<&str> = tables.lines().filter(|line| line.contains(" 0A ")).collect();
    inodes.filter(|inode| listening.iter().any(|line| line.split_whitespace().nth(9) == Some(inode))).count()
}

fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        binary::pause(Duration::from_millis(50));
    }
    panic!("it never comes true");
}

#[cfg(unix)]
#[test]
fn a_standby_is_passed_over_and_a_lost_answer_is_told_as_that() {
    let bench = Bench::new();
    let (mut first, leader) = bench.coordinator(&["--standby", "--lease", "1s"]);
    bench.wait(&leader, "waiting_for_workers");
    let (mut second, standby) = bench.coordinator(&["--standby", "--lease", "1h"]);
    assert_ends(&bench.ask("cancel", &standby), 1, &["nobody could be asked", &standby, "does not lead"]);
    assert_eq!(bench.status(&format!("{standby},{leader}"))["state"], "waiting_for_workers");

    let mut worker = bench.start("worker", &["--join", &leader, "--id", "0"]);
    bench.wait(&leader, "running");
    // A worker that stands still acknowledges nothing, and the answer is not known when its coordinator dies.
    let stopped = Command::new("kill").args(["-STOP", &worker.id().to_string()]).status().expect("kill is there");
    assert!(stopped.success());
    let addresses = format!("{leader},{standby}");
    let chk = bench.at("chk");
    let ask = ["checkpoint", "--coordinator", &addresses, "--checkpoints", &chk];
    let client = binary::start(&bench.engine, &ask);
    while bench.status(&leader)["pending"].as_array().is_none_or(Vec::is_empty) {
        binary::pause(Duration::from_millis(20));
    }
    first.kill().expect("a coordinator can be killed");
    assert_ends(&binary::finish(client), 5, &["a checkpoint was asked for", "nobody knows", &leader]);
    second.kill().expect("a coordinator can be killed");
    // Only then is its port closed for certain.
    second.wait().expect("it is dead");
    assert_ends(&bench.ask("checkpoint", &addresses), 1, &["nobody could be asked", &leader, &standby]);
    worker.kill().expect("a worker can be killed");
    for child in [first, second, worker] {
        binary::finish(child);
    }
}

#[test]
fn whoever_answers_with_something_else_is_asked_for_nothing() {
    let bench = Bench::new();
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = stranger.local_addr().expect("an address").to_string();
    let secret = bench.at("secret");
    std::fs::write(&secret, "at least sixteen bytes\n").expect("a file");
    for what in ["cancel", "status"] {
        let whom = ["--coordinator", &address, "--silence", "300ms", "--secret-file", &secret];
        let ended = binary::run(&bench.engine, &[&[what][..], &whom].concat());
        assert_ends(&ended, 1, &["nobody could be asked", &address, "no answer within 300 ms"]);
    }
}

#[test]
fn command_lines_that_make_no_sense_are_refused_by_name() {
    let bench = Bench::new();
    for what in ["checkpoint", "cancel", "status"] {
        let ended = binary::run(&bench.engine, &[what, "--coordinator", "127.0.0.1:1"]);
        assert_ends(&ended, 2, &["only members", "--checkpoints", "--secret-file"]);
        let ended = binary::run(&bench.engine, &[what, "--checkpoints", &bench.at("nowhere")]);
        assert_ends(&ended, 2, &["there is no secret in checkpoints", "nowhere", "--secret-file"]);
        assert_eq!(binary::run(&bench.engine, &[what]).code, Some(2), "a client is told whom to ask");
        let ended = bench.ask(what, "nowhere");
        assert!(ended.code == Some(2) && ended.stderr.contains("--coordinator"), "{ended:?}");
    }
    assert_eq!(
        binary::run(&bench.engine, &["cancel", "--coordinator", "127.0.0.1:1", "--timeout", "0s"]).code,
        Some(2)
    );
}

//! What `coordinator` and `worker` say to bad input: one clear line and the documented exit code; to a worker that does not
//! fit, a line at both ends.

use crate::binary::{self, Ended, lines};
use crate::ends::assert_ends;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Child;
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

    fn start(&self, kind: &str, more: &[&str]) -> Child {
        let (out, chk) = (self.at("out"), self.at("chk"));
        let fixed = [kind, "keyed-sum", "--records", "5000", "--keys", "9", "--output", &out, "--checkpoints", &chk];
        binary::start(&self.engine, &[&fixed[..], more].concat())
    }

    fn run(&self, kind: &str, more: &[&str]) -> Ended {
        binary::finish(self.start(kind, more))
    }

    /// A coordinator that waits for one worker, and where.
    fn coordinator(&self) -> (Child, String) {
        let mut child = self.start("coordinator", &["--lease", "1s", "--silence", "2s"]);
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("it is piped")).read_line(&mut line).expect("a line");
        // Byte by byte, so that what it says later is still there for whoever reads on. It leads when it says this.
        let (mut said, mut byte) = (Vec::new(), [0]);
        while !said.ends_with(b"waiting for 1 of 1 workers\n") {
            let read = child.stderr.as_mut().expect("it is piped").read(&mut byte).expect("it is readable");
            if read == 0 {
                panic!("it ended without waiting for its worker: {:?}", binary::finish(child));
            }
            said.push(byte[0]);
        }
        (child, line.trim().to_owned())
    }
}

#[test]
fn a_coordinator_and_a_worker_finish_a_job() {
    let bench = Bench::new();
    let (coordinator, address) = bench.coordinator();
    let worker = bench.run("worker", &["--join", &address, "--id", "0", "--silence", "2s"]);
    assert_eq!(worker.code, Some(0), "{worker:?}");
    assert!(worker.stdout.contains("worker-0 of keyed-sum is done"), "{worker:?}");
    let coordinator = binary::finish(coordinator);
    assert_eq!(coordinator.code, Some(0), "{coordinator:?}");
    assert!(coordinator.stdout.contains("keyed-sum finished with chk-"), "{coordinator:?}");
    assert!(coordinator.stdout.contains("checkpoints: ") && coordinator.stdout.contains("slowest "), "{coordinator:?}");
    assert_eq!(lines(Path::new(&bench.at("out/sums"))).len(), 9);
    let again = bench.run("coordinator", &["--lease", "1s"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains("had finished before"), "{again:?}");
}

#[test]
fn a_worker_of_another_graph_is_refused_at_both_ends_and_the_job_goes_on() {
    let bench = Bench::new();
    let (coordinator, address) = bench.coordinator();
    let join = ["--join", &address, "--id", "0", "--silence", "2s"];
    let stranger = bench.run("worker", &[&join[..], &["--parallelism", "2"]].concat());
    assert_ends(&stranger, 1, &["worker-0", "does not fit", "keyed-sum"]);
    assert_eq!(bench.run("worker", &join).code, Some(0));
    let coordinator = binary::finish(coordinator);
    assert_eq!(coordinator.code, Some(0), "{coordinator:?}");
    assert!(coordinator.stderr.contains("refused a worker: worker-0 does not fit"), "{coordinator:?}");
}

#[test]
fn a_port_in_use_is_named() {
    let bench = Bench::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    assert_ends(&bench.run("coordinator", &["--listen", &address]), 1, &[&address, "in use"]);
    let worker = bench.run("worker", &["--listen", &address, "--join", "127.0.0.1:1", "--id", "0"]);
    assert_ends(&worker, 1, &[&address, "in use"]);
}

#[test]
fn who_listens_beyond_loopback_needs_a_secret_of_the_users_own() {
    let bench = Bench::new();
    let (join, open) = (["--join", "127.0.0.1:1", "--id", "0"], ["--listen", "0.0.0.0:0"]);
    for (kind, more) in [("coordinator", &[][..]), ("worker", &join), ("run", &[])] {
        let ended = bench.run(kind, &[&open[..], more].concat());
        assert_ends(&ended, 2, &["--listen 0.0.0.0:0 lets other machines in", "--secret-file"]);
    }
    fs::write(bench.at("short"), "hunter2\n").expect("a file");
    let ended = bench.run("run", &["--secret-file", &bench.at("short")]);
    assert_ends(&ended, 2, &["short", "at least 16 bytes"]);
    fs::write(bench.at("secret"), "as long as a secret must be\n").expect("a file");
    let ended = bench.run("run", &[&open[..], &["--secret-file", &bench.at("secret")]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn folders_that_cannot_be_used_are_refused_before_anything_starts() {
    let bench = Bench::new();
    fs::write(bench.at("chk"), "not a folder").expect("a file");
    assert_ends(&bench.run("coordinator", &[]), 2, &["chk is not a folder"]);
    assert_ends(&bench.run("worker", &["--join", "127.0.0.1:1", "--id", "0"]), 2, &["chk is not a folder"]);
}

#[test]
fn command_lines_that_make_no_sense_are_refused_by_name() {
    let bench = Bench::new();
    for (kind, options) in [
        ("coordinator", &["--workers=0"][..]),
        ("coordinator", &["--lease=0s"]),
        ("coordinator", &["--silence=never"]),
        ("worker", &["--join=nowhere", "--id=0"]),
        ("worker", &["--join=127.0.0.1:1", "--id=many"]),
    ] {
        let ended = bench.run(kind, options);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let option = options[options.len() - 1].split('=').next().expect("an option");
        assert!(ended.stderr.contains(option) || ended.stderr.contains("--join"), "{ended:?}");
    }
    assert_eq!(bench.run("worker", &[]).code, Some(2), "a worker is told whom to join");
    let unknown = binary::run(&bench.engine, &["coordinator", "kount", "--output", "o", "--checkpoints", "c"]);
    assert_ends(&unknown, 2, &["kount", "word-count"]);
}

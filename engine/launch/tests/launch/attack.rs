//! Strangers attack the processes of a job through every port that they listen on, and the job ends as if nobody had: forged
//! frames, floods, a wrong secret, recorded and reflected handshakes, another user.
//!
//! What a process spends on strangers is measured on Linux, as memory and open files.

use crate::binary::{self, Ended, lines, pause};
use cofferdam_engine::ids::WorkerId;
use cofferdam_engine::messages::client::Wish;
use cofferdam_engine::messages::handshake::{self, Challenge, Claim, Nonce, Opening, Response};
use cofferdam_engine::messages::{self, PROTOCOL_VERSION, ToCoordinator};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use tempfile::TempDir;

/// A coordinator and a worker on loopback, with a job of a few seconds.
struct Target {
    engine: PathBuf,
    folder: TempDir,
    coordinator: Child,
    worker: Child,
    address: String,
}

impl Target {
    fn start(records: &str) -> Self {
        let engine = binary::engine();
        let folder = tempfile::tempdir().expect("a folder");
        let mut coordinator = start(&engine, folder.path(), "coordinator", records, &["--lease", "1s"]);
        let mut line = String::new();
        BufReader::new(coordinator.stdout.as_mut().expect("it is piped")).read_line(&mut line).expect("a line");
        let address = line.trim().to_owned();
        let worker = start(&engine, folder.path(), "worker", records, &["--join", &address, "--id", "0"]);
        let target = Self { engine, folder, coordinator, worker, address };
        target.wait_until_running();
        target
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn ask(&self, what: &str, more: &[&str]) -> Ended {
        let chk = self.at("chk");
        binary::run(&self.engine, &[&[what, "--coordinator", &self.address, "--checkpoints", &chk], more].concat())
    }

    fn wait_until_running(&self) {
        for _ in 0..600 {
            if self.ask("status", &[]).stdout.contains("keyed-sum: running") {
                return;
            }
            pause(Duration::from_millis(50));
        }
        panic!("it never runs: {:?}", self.ask("status", &[]));
    }

    fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("the coordinator listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket option");
        stream
    }

    /// The job has not noticed anything: it runs its first attempt, takes a checkpoint, and a member can cancel it.
    fn ends_well(self) {
        let status = self.ask("status", &[]);
        assert!(status.stdout.contains("attempt a1.1\n"), "the attack has failed an attempt: {status:?}");
        assert_eq!(self.ask("checkpoint", &[]).code, Some(0));
        let cancelled = self.ask("cancel", &[]);
        assert!(cancelled.stdout.contains("the job is cancelled"), "{cancelled:?}");
        assert_eq!(binary::finish(self.worker).code, Some(0));
        assert_eq!(binary::finish(self.coordinator).code, Some(1));
    }
}

fn start(engine: &Path, folder: &Path, kind: &str, records: &str, more: &[&str]) -> Child {
    let at = |name: &str| folder.join(name).display().to_string();
    let (out, chk) = (at("out"), at("chk"));
    let job = [kind, "keyed-sum", "--records", records, "--keys", "9", "--pace", "20ms"];
    let rest = ["--interval", "1h", "--silence", "5s", "--output", &out, "--checkpoints", &chk];
    binary::start(engine, &[&job, &rest, more].concat())
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

/// The next frame, or `None` if the other end has hung up.
fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).ok()?;
    let mut bytes = vec![0; u32::from_le_bytes(prefix) as usize];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Says something; the other end hangs up without a word.
#[track_caller]
fn is_hung_up_on(stream: &mut TcpStream, bytes: &[u8]) {
    // It may have hung up while this is written.
    let _ = stream.write_all(bytes);
    assert_eq!(receive(stream), None, "a stranger was answered");
}

fn opening(claim: Claim) -> Vec<u8> {
    frame(&handshake::encode(&Opening { claim, nonce: Nonce([7; 32]) }))
}

/// Opens a handshake and is challenged.
fn challenged(stream: &mut TcpStream, claim: Claim) -> Challenge {
    stream.write_all(&opening(claim)).expect("it is taken");
    let challenge = receive(stream).expect("a challenge");
    handshake::decode(&challenge).expect("a challenge")
}

fn forged() -> Vec<Vec<u8>> {
    let register = ToCoordinator::Register {
        protocol: PROTOCOL_VERSION,
        graph: 7,
        worker: WorkerId(0),
        incarnation: 7,
        data_address: "127.0.0.1:1".to_owned(),
    };
    let wishes = [Wish::Cancel, Wish::Checkpoint, Wish::Status].map(|wish| messages::encode(&ToCoordinator::Ask(wish)));
    let mut frames: Vec<Vec<u8>> = wishes.iter().map(|wish| frame(wish)).collect();
    frames.push(frame(&messages::encode(&register)));
    frames.push(frame(b""));
    frames.push(frame(&[0xff; 1024]));
    frames.push(vec![0xff; 64]);
    frames.push(frame(&[7; 1025]));
    frames.push((64_u32 << 20).to_le_bytes().to_vec());
    frames.push(b"GET / HTTP/1.1\r\n\r\n".to_vec());
    frames
}

#[test]
fn frames_of_strangers_are_not_answered_before_or_behind_a_challenge() {
    let target = Target::start("3000000");
    for bytes in forged() {
        is_hung_up_on(&mut target.dial(), &bytes);
        for claim in [Claim::Client, Claim::Worker(WorkerId(0))] {
            let mut stream = target.dial();
            challenged(&mut stream, claim);
            is_hung_up_on(&mut stream, &bytes);
        }
    }
    target.ends_well();
}

#[test]
fn a_handshake_that_was_recorded_or_reflected_opens_nothing() {
    let target = Target::start("3000000");
    // A client of the job talks through a stranger, who writes down what it says.
    let between = TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = between.local_addr().expect("an address").to_string();
    let chk = target.at("chk");
    let client = binary::start(&target.engine, &["status", "--coordinator", &proxy, "--checkpoints", &chk]);
    let (mut near, _) = between.accept().expect("the client dials");
    let mut far = target.dial();
    let mut recorded = Vec::new();
    for says in [true, false, true, true, false] {
        let (from, to) = if says { (&mut near, &mut far) } else { (&mut far, &mut near) };
        let said = receive(from).expect("a frame");
        to.write_all(&frame(&said)).expect("it is taken");
        if says {
            recorded.push(frame(&said));
        }
    }
    drop((near, far));
    assert_eq!(binary::finish(client).code, Some(0), "nothing was changed on the way");
    // Said again, it opens nothing: the challenge is another one.
    let mut again = target.dial();
    again.write_all(&recorded[0]).expect("it is taken");
    receive(&mut again).expect("a challenge");
    is_hung_up_on(&mut again, &recorded[1..].concat());
    // The proof that comes with a challenge is of the other direction, also on another connection.
    let (mut one, mut other) = (target.dial(), target.dial());
    let proof = challenged(&mut one, Claim::Client).proof;
    is_hung_up_on(&mut one, &frame(&handshake::encode(&Response { proof })));
    challenged(&mut other, Claim::Client);
    is_hung_up_on(&mut other, &frame(&handshake::encode(&Response { proof })));
    target.ends_well();
}

#[test]
fn who_knows_another_secret_is_told_so_by_its_own_process_only() {
    let target = Target::start("3000000");
    let secret = target.at("other");
    std::fs::write(&secret, "sixteen bytes or more\n").expect("a file");
    for what in ["cancel", "checkpoint", "status"] {
        let ended = binary::run(&target.engine, &[what, "--coordinator", &target.address, "--secret-file", &secret]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("does not know the secret of this job"), "{ended:?}");
    }
    let join = ["--join", &target.address, "--id", "0", "--secret-file", &secret];
    let mut stranger = start(&target.engine, target.folder.path(), "worker", "3000000", &join);
    let mut line = String::new();
    BufReader::new(stranger.stderr.as_mut().expect("it is piped")).read_line(&mut line).expect("a line");
    assert!(line.contains("hung up on") && line.contains("does not know the secret of this job"), "{line}");
    stranger.kill().expect("it looks for its coordinator");
    stranger.wait().expect("it is dead");
    target.ends_well();
}

/// Resident bytes and open files of a process.
#[cfg(target_os = "linux")]
fn spends(process: u32) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kib: u64 = line.split_whitespace().next().expect("a number").parse().expect("a number");
    (kib << 10, std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").count())
}

/// The port where a worker waits for links: the one that it listens on.
#[cfg(target_os = "linux")]
fn port_of(process: u32) -> String {
    let links = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").flatten();
    let inodes: Vec<String> = links
        .filter_map(|entry| {
            let link = std::fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok()?;
            Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("a table");
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[3] == "0A" && inodes.iter().any(|inode| inode == row[9])).expect("it listens");
    let (_, port) = row[1].split_once(':').expect("an address has a port");
    format!("127.0.0.1:{}", u16::from_str_radix(port, 16).expect("a port"))
}

#[cfg(target_os = "linux")]
#[test]
fn a_flood_costs_little_is_forgotten_and_keeps_no_member_out() {
    let target = Target::start("3000000");
    for (process, address) in
        [(target.coordinator.id(), target.address.clone()), (target.worker.id(), port_of(target.worker.id()))]
    {
        let (bytes_before, files_before) = spends(process);
        let mut held = Vec::new();
        for n in 0..600_u32 {
            let Ok(mut stream) = TcpStream::connect(&address) else { continue };
            stream.set_write_timeout(Some(Duration::from_millis(20))).expect("a socket option");
            // Nothing, half a frame, a promise of a large frame and some of it, an opening.
            let _ = match n % 4 {
                0 => Ok(()),
                1 => stream.write_all(&[100, 0, 0, 0, 1, 2]),
                2 => stream.write_all(&[&(64_u32 << 20).to_le_bytes()[..], &[0; 60_000]].concat()),
                _ => stream.write_all(&opening(Claim::Client)),
            };
            held.push(stream);
        }
        assert_eq!(target.ask("status", &[]).code, Some(0), "the flood keeps a client out");
        let (bytes, files) = spends(process);
        assert!(bytes < bytes_before + (32 << 20), "{address}: {bytes_before} bytes have become {bytes}");
        assert!(files < files_before + 200, "{address}: {files_before} open files have become {files}");
        drop(held);
        let mut files = files;
        for _ in 0..200 {
            if files <= files_before + 2 {
                break;
            }
            pause(Duration::from_millis(50));
            files = spends(process).1;
        }
        assert!(files <= files_before + 2, "{address}: {files} files stay open of {files_before}");
    }
    target.ends_well();
}

#[test]
fn a_second_process_with_the_id_of_a_worker_waits_and_steps_in() {
    let mut target = Target::start("3000000");
    let join = ["--join", &target.address, "--id", "0"];
    let mut second = start(&target.engine, target.folder.path(), "worker", "3000000", &join);
    let mut line = String::new();
    BufReader::new(second.stderr.as_mut().expect("it is piped")).read_line(&mut line).expect("a line");
    assert!(line.contains("another process is worker-0 already"), "{line}");
    assert_eq!(target.worker.try_wait().expect("it can be asked"), None, "the first one was made to leave");
    let status = target.ask("status", &[]);
    assert!(status.stdout.contains("attempt a1.1\n"), "the second process has failed an attempt: {status:?}");
    target.worker.kill().expect("it can be killed");
    target.worker.wait().expect("it is dead");
    let mut tries = (0..600).map(|_| target.ask("status", &[]).stdout);
    let steps_in = tries.any(|status| status.contains("keyed-sum: running") && status.contains("attempt a1.2\n"));
    assert!(steps_in, "the second process never steps in: {:?}", target.ask("status", &[]));
    assert!(target.ask("cancel", &[]).stdout.contains("is cancelled"));
    assert_eq!(binary::finish(second).code, Some(0));
    assert_eq!(binary::finish(target.coordinator).code, Some(1));
}

#[test]
fn another_user_can_neither_ask_nor_reach_a_run() {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let other = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "true"];
    if !is_root || !Command::new("setpriv").args(other).status().is_ok_and(|status| status.success()) {
        println!("skipped: only root can act as another user, with setpriv");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let engine = binary::engine();
    let folder = tempfile::tempdir().expect("a folder");
    // The other user can see everything but what is private.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("opened");
    let copy = folder.path().join("engine");
    std::fs::copy(&engine, &copy).expect("the binary can be copied");
    let (out, chk) = (folder.path().join("out").display().to_string(), folder.path().join("chk").display().to_string());
    let job = ["run", "keyed-sum", "--records", "600000", "--keys", "9", "--pace", "20ms"];
    let run = binary::start(&copy, &[&job[..], &["--output", &out, "--checkpoints", &chk]].concat());
    let ask = |what: &str| binary::run(&copy, &[what, "--checkpoints", &chk]);
    let mut tries = (0..600).map(|_| ask("status"));
    assert!(tries.any(|status| status.stdout.contains("keyed-sum: running")), "{:?}", ask("status"));
    let secret = folder.path().join("guess").display().to_string();
    std::fs::write(&secret, "sixteen bytes or more").expect("a file");
    for what in ["cancel", "checkpoint"] {
        for (more, says) in [(&[][..], "cannot read secret"), (&["--secret-file", &secret], "ermission denied")] {
            let mut command = Command::new("setpriv");
            command.args(&other[..5]).arg(&copy).args([what, "--checkpoints", &chk]).args(more);
            let ended = command.output().expect("setpriv runs");
            let told = String::from_utf8_lossy(&ended.stderr);
            assert!(!ended.status.success() && told.contains(says), "{told}");
        }
    }
    let run = binary::finish(run);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(lines(&folder.path().join("out/sums")).len(), 9);
}

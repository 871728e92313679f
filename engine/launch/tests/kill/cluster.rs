//! Processes for real, killed and stopped at random: two coordinators and three workers on loopback count words, and what
//! they leave must be exactly what the text holds.
//!
//! The choices (whom, when, `kill -9` or `SIGSTOP` and later `SIGCONT`) come from `COFFERDAM_KILL_SEED`; the moments are
//! as precise as the machine. `COFFERDAM_KILLS=100` asks for more of them: as many jobs as that takes, one after the other.
//!
//! Nothing here asserts a time. A cluster that does not finish in ten minutes after the last kill hangs.

use crate::binary::{self, lines, pause};
use crate::leftovers;
use crate::random::Random;
use crate::text::Text;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const WORKERS: usize = 3;
/// Kills of one job.
const KILLS_PER_JOB: u64 = 12;
/// Bad luck: a job may be over before its kills are; so much text makes that rare.
const LINES: u64 = 60_000;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// A process of the cluster, and what it takes to start it again.
struct Member {
    name: String,
    command: Vec<String>,
    child: Child,
    stopped: bool,
}

impl Member {
    /// Starts a process; what it says on standard error is appended to a file.
    fn start(engine: &Path, folder: &Path, name: &str, command: Vec<String>) -> Self {
        let child = spawn(engine, folder, name, &command);
        Self { name: name.to_owned(), command, child, stopped: false }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "{} cannot be sent {signal}", self.name);
    }

    fn exit_code(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().expect("a child can be asked").map(|status| status.code())
    }

    fn kill(&mut self) {
        // It may have ended by itself just now.
        let _ = self.child.kill();
        self.child.wait().expect("a killed child ends");
        self.stopped = false;
    }
}

fn spawn(engine: &Path, folder: &Path, name: &str, command: &[String]) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join(format!("{name}.log")));
    let mut process = Command::new(engine);
    process.args(command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.expect("a log file"));
    process.env("COFFERDAM_LOG", "cofferdam=info").spawn().expect("the binary starts")
}

/// The first line on standard output; the rest is read by nobody and is short.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("it is piped")).read_line(&mut line).expect("a line");
    line.trim().to_owned()
}

struct Cluster {
    engine: PathBuf,
    folder: TempDir,
    members: Vec<Member>,
}

impl Cluster {
    fn start(engine: &Path, folder: TempDir) -> Self {
        // A copy: a build that goes on meanwhile must not exchange the binary under a cluster that starts it again.
        let copy = folder.path().join("engine");
        fs::copy(engine, &copy).expect("the binary can be copied");
        let engine = &copy;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (input, output, checkpoints) = (path("in"), path("out"), path("chk"));
        let common = move |kind: &str| {
            let job = [kind, "word-count", "--parallelism", "3", "--interval", "100ms", "--pace", "60ms"];
            let folders = ["--input", &input, "--output", &output, "--checkpoints", &checkpoints, "--silence", "2s"];
            job.iter().chain(&folders).map(|&part| part.to_owned()).collect::<Vec<String>>()
        };
        let with = |kind: &str, more: &[&str]| {
            let mut command = common(kind);
            command.extend(more.iter().map(|&part| part.to_owned()));
            command
        };
        let coordinator = ["--workers", "3", "--standby", "--lease", "1s"];
        let mut members = Vec::new();
        let mut addresses = Vec::new();
        for number in 0..2 {
            let name = format!("coordinator-{number}");
            let any = with("coordinator", &[&coordinator[..], &["--listen", "127.0.0.1:0"]].concat());
            let mut member = Member::start(engine, folder.path(), &name, any);
            let address = first_line(&mut member.child);
            // Started again it listens where the workers look for it.
            member.command = with("coordinator", &[&coordinator[..], &["--listen", &address]].concat());
            addresses.push(address);
            members.push(member);
        }
        for number in 0..WORKERS {
            let more = ["--join", &addresses.join(","), "--id", &number.to_string()].map(str::to_owned);
            let more: Vec<&str> = more.iter().map(String::as_str).collect();
            let command = with("worker", &more);
            members.push(Member::start(engine, folder.path(), &format!("worker-{number}"), command));
        }
        Self { engine: engine.to_owned(), folder, members }
    }

    /// Whether the job is over. Whoever ended by himself ended well, or something is wrong.
    fn is_over(&mut self) -> bool {
        let mut over = false;
        for at in 0..self.members.len() {
            match self.members[at].exit_code() {
                None => {}
                Some(Some(0)) => over = true,
                Some(code) => panic!("{} ended with {code:?}:\n{}", self.members[at].name, self.story()),
            }
        }
        over
    }

    fn strike(&mut self, random: &mut Random) -> String {
        let (engine, folder) = (self.engine.clone(), self.folder.path().to_owned());
        let at = random.below(self.members.len() as u64) as usize;
        let stop = random.below(4) == 0;
        let member = &mut self.members[at];
        if stop && !member.stopped {
            member.signal("-STOP");
            member.stopped = true;
            return format!("stopped {}", member.name);
        }
        member.kill();
        // A short gap or none: sometimes the others notice before it is back, sometimes not.
        pause(Duration::from_millis(random.below(2) * random.below(400)));
        member.child = spawn(&engine, &folder, &member.name, &member.command);
        format!("killed {}", member.name)
    }

    /// Lets some of those that stand still go on.
    fn resume(&mut self, chance: u64, random: &mut Random) {
        for member in self.members.iter_mut().filter(|member| member.stopped) {
            if random.below(chance) == 0 {
                member.signal("-CONT");
                member.stopped = false;
            }
        }
    }

    /// What everybody said, for whoever has to find out.
    fn story(&self) -> String {
        let said = |member: &Member| {
            let log = fs::read_to_string(self.folder.path().join(format!("{}.log", member.name)));
            let log = log.unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(25).collect();
            format!("--- {}\n{}\n", member.name, tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        self.members.iter().map(said).collect()
    }

    /// A coordinator that finds the job over sweeps what processes that were killed at the end have left behind.
    fn start_once_more(&self) {
        let command: Vec<&str> = self.members[0].command.iter().map(String::as_str).collect();
        let ended = binary::run(&self.engine, &command);
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    }

    /// Waits for the coordinators to end; what they leave must be sound.
    fn finish(&mut self) {
        for _ in 0..60_000 {
            self.is_over();
            if self.members.iter_mut().take(2).all(|member| member.exit_code().is_some()) {
                // A worker that came up when the job was over would look for a coordinator for ever; its operator ends it.
                self.members.iter_mut().for_each(Member::kill);
                self.start_once_more();
                leftovers::judge(&self.engine, self.folder.path(), 0);
                return;
            }
            pause(Duration::from_millis(10));
        }
        panic!("the job does not end:\n{}", self.story());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            // It may have ended already.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

/// Runs one job under up to `kills` kills, and says how many there were.
#[expect(clippy::print_stdout, reason = "what was done is part of the result of a long run")]
fn run_job(engine: &Path, seed: u64, kills: u64) -> u64 {
    let mut random = Random(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let text = Text::write(folder.path(), LINES, &mut random);
    let mut cluster = Cluster::start(engine, folder);
    let (mut done, mut stops) = (0, 0);
    while done < kills {
        // Mostly long enough for checkpoints, now and then into the middle of a recovery.
        let wait = if random.below(3) == 0 { random.below(150) } else { 300 + random.below(1_500) };
        pause(Duration::from_millis(wait));
        if cluster.is_over() {
            break;
        }
        cluster.resume(3, &mut random);
        let struck = cluster.strike(&mut random);
        if struck.starts_with("killed") { done += 1 } else { stops += 1 }
    }
    cluster.resume(1, &mut random);
    cluster.finish();
    let output = |name: &str| lines(&cluster.folder.path().join(name));
    assert!(output("out/tokens") == text.words, "the words are not those of the text\n{}", cluster.story());
    assert!(output("out/counts") == text.counts, "the counts are wrong\n{}", cluster.story());
    println!("seed {seed}: {done} kills, {stops} stops, {} words right", text.words.len());
    done
}

#[test]
fn a_cluster_that_is_killed_at_random_counts_every_word_once() {
    let engine = binary::engine();
    let (kills, seed) = (from_environment("COFFERDAM_KILLS", 5), from_environment("COFFERDAM_KILL_SEED", 1));
    let mut done = 0;
    for job in 0.. {
        if done >= kills {
            break;
        }
        assert!(job < 10 + kills, "jobs end before they can be killed");
        done += run_job(&engine, seed + job, KILLS_PER_JOB.min(kills - done));
    }
    println!("{done} kills survived");
}

#[test]
fn strangers_that_do_not_speak_as_workers_do_are_hung_up_on_and_disturb_no_job() {
    let engine = binary::engine();
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = Random(7);
    let text = Text::write(folder.path(), LINES, &mut random);
    let mut cluster = Cluster::start(&engine, folder);
    let address = cluster.members[0].command.last().expect("an address").clone();
    for garbage in [&b"{\"json\": true}\n"[..], &[0xff; 64], &[4, 0, 0, 0, 1], &[0; 4]] {
        use std::io::Write;
        let mut stranger = std::net::TcpStream::connect(&address).expect("somebody listens");
        stranger.write_all(garbage).expect("it is taken");
        if garbage.len() != 5 {
            // Hung up on at once; only half a frame is waited for.
            let mut answer = Vec::new();
            let _ = stranger.read_to_end(&mut answer);
        }
    }
    cluster.finish();
    assert!(lines(&cluster.folder.path().join("out/tokens")) == text.words, "{}", cluster.story());
}

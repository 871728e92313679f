//! The shell of a hunt: child processes, their pipes, the wall clock and Ctrl-C.
//!
//! One thread a child turns its lines into messages; this thread alone decides. A child is replaced when it dies,
//! when it is silent for too long, after `RUNS_PER_CHILD` runs (what a panicking run leaks ends with it), and
//! when only repetitions are left that it must not run. What a child's own harness fails at is no finding: it ends the hunt.

use super::ledger::{Ledger, ProcessNumber};
use super::wire::{Order, Report};
use super::{HuntOptions, summary};
use crate::exit::Exit;
use crate::stopwatch::Stopwatch;
use crate::verdict::Verdict;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// Runs after which a child is replaced.
const RUNS_PER_CHILD: u64 = 500;
/// Orders a child holds: enough that it never waits for the parent.
const AHEAD: usize = 6;
/// How often time is looked at when nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// The program that children run, and its arguments before those of the hunt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Environment variables it needs.
    pub environment: Vec<(String, String)>,
}

impl ChildCommand {
    /// This very program.
    pub fn of_this_program() -> Result<Self, String> {
        let program =
            std::env::current_exe().map_err(|e| format!("cannot find this program to start it again: {e}"))?;
        // What a run frees the next one takes: to give it back to the system in between only costs.
        let environment = vec![("MIMALLOC_PURGE_DELAY".into(), "-1".into())];
        Ok(Self { program, arguments: vec!["hunt-child".into()], environment })
    }
}

/// Something that happened.
enum Message {
    Line(ProcessNumber, String),
    Ended(ProcessNumber),
    Interrupted,
}

/// A running child.
struct Runner {
    number: ProcessNumber,
    process: Child,
    orders: ChildStdin,
    ahead: VecDeque<Order>,
    runs: u64,
    heard: Stopwatch,
    last_words: std::thread::JoinHandle<String>,
}

/// How a hunt ended.
pub struct Hunted {
    /// Everything counted.
    pub ledger: Ledger,
    /// Wall-clock time.
    pub took: Duration,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
    /// What the harness itself failed at, if it did.
    pub trouble: Option<String>,
}

impl Hunted {
    /// The exit code that says it.
    pub fn exit(&self) -> Exit {
        let harness = self.ledger.failures.iter().any(|f| matches!(f.report.verdict, Verdict::HarnessError { .. }));
        match () {
            () if self.interrupted => Exit::Interrupted,
            () if self.trouble.is_some() || harness || !self.ledger.divergences.is_empty() => Exit::Harness,
            () if !self.ledger.failures.is_empty() => Exit::Violation,
            () => Exit::Clean,
        }
    }
}

/// Hunts, telling `progress` what happens.
pub fn hunt(options: &HuntOptions, command: &ChildCommand, progress: &mut summary::Progress) -> Hunted {
    let clock = Stopwatch::start();
    let keep_in = std::env::temp_dir().join(format!("cofferdam-hunt-{}", std::process::id()));
    let kept = std::fs::create_dir_all(&keep_in).is_ok();
    let mut pool = Pool::new(options, command, Ledger::new(options, kept.then(|| keep_in.clone())));
    let trouble = pool.run(&clock, progress).err();
    for mut child in std::mem::take(&mut pool.children) {
        // A child that is gone already is as good as killed.
        let _ = child.process.kill();
        let _ = child.process.wait();
    }
    if pool.ledger.divergences.is_empty() {
        let _ = std::fs::remove_dir_all(&keep_in);
    }
    Hunted { interrupted: pool.interrupted, took: clock.elapsed(), ledger: pool.ledger, trouble }
}

struct Pool<'a> {
    options: &'a HuntOptions,
    command: &'a ChildCommand,
    ledger: Ledger,
    children: Vec<Runner>,
    started: u64,
    /// Children in a row that died without an answer: a program that cannot start is no finding.
    stillborn: u64,
    interrupted: bool,
    send: Sender<Message>,
    messages: Receiver<Message>,
}

impl<'a> Pool<'a> {
    fn new(options: &'a HuntOptions, command: &'a ChildCommand, ledger: Ledger) -> Self {
        let (send, messages) = mpsc::channel();
        let (children, started, stillborn, interrupted) = (Vec::new(), 0, 0, false);
        Self { options, command, ledger, children, started, stillborn, interrupted, send, messages }
    }

    fn run(&mut self, clock: &Stopwatch, progress: &mut summary::Progress) -> Result<(), String> {
        listen_for_interrupts(self.send.clone())?;
        for _ in 0..self.options.jobs.max(1) {
            self.start_child()?;
        }
        while !self.ledger.finished() && !self.interrupted {
            match self.messages.recv_timeout(TICK) {
                Ok(Message::Line(number, line)) => self.on_line(number, &line, progress)?,
                Ok(Message::Ended(number)) => self.on_ended(number, None, progress)?,
                Ok(Message::Interrupted) => self.interrupted = true,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the pool holds a sender itself"),
            }
            if self.options.time.is_some_and(|limit| clock.elapsed() >= limit) {
                self.ledger.stop();
            }
            self.kill_the_silent(progress)?;
            self.make_room()?;
            progress.tick(&self.ledger, clock.elapsed());
        }
        Ok(())
    }

    fn start_child(&mut self) -> Result<(), String> {
        self.started += 1;
        let number = ProcessNumber(self.started);
        // A process group of its own: Ctrl-C is for the parent to deal with.
        let mut process = Command::new(&self.command.program)
            .args(&self.command.arguments)
            .envs(self.command.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", self.command.program.display()))?;
        let orders = process.stdin.take().expect("piped");
        let (stdout, stderr) = (process.stdout.take().expect("piped"), process.stderr.take().expect("piped"));
        let send = self.send.clone();
        spawn("answers", move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if send.send(Message::Line(number, line)).is_err() {
                    return;
                }
            }
            // The hunt may be over.
            let _ = send.send(Message::Ended(number));
        })?;
        let last_words = spawn("last words", move || tail_of(stderr))?;
        let (ahead, runs, heard) = (VecDeque::new(), 0, Stopwatch::start());
        self.children.push(Runner { number, process, orders, ahead, runs, heard, last_words });
        self.feed(self.children.len() - 1);
        Ok(())
    }

    fn feed(&mut self, at: usize) {
        let child = &mut self.children[at];
        while child.ahead.len() < AHEAD && child.runs + (child.ahead.len() as u64) < RUNS_PER_CHILD {
            let Some(order) = self.ledger.next(child.number) else { break };
            let mut line = serde_json::to_vec(&order).expect("orders serialise");
            line.push(b'\n');
            if child.ahead.is_empty() {
                child.heard = Stopwatch::start();
            }
            child.ahead.push_back(order);
            // A broken pipe shows up as the end of the child's output.
            if child.orders.write_all(&line).is_err() {
                break;
            }
        }
    }

    fn position(&self, number: ProcessNumber) -> Option<usize> {
        self.children.iter().position(|child| child.number == number)
    }

    fn on_line(&mut self, number: ProcessNumber, line: &str, progress: &mut summary::Progress) -> Result<(), String> {
        let Some(at) = self.position(number) else { return Ok(()) };
        let report: Report = serde_json::from_str(line)
            .map_err(|e| format!("a child of the hunt said something that is no report: {e}: {line}"))?;
        let child = &mut self.children[at];
        let order =
            child.ahead.pop_front().ok_or_else(|| format!("an answer for {} that nobody asked for", report.seed))?;
        if order.seed != report.seed {
            return Err(format!("asked for {}, a child answered for {}", order.seed, report.seed));
        }
        child.runs += 1;
        child.heard = Stopwatch::start();
        self.stillborn = 0;
        let booked = self.ledger.on_report(number, report);
        progress.booked(&self.ledger, &booked);
        self.feed(at);
        Ok(())
    }

    /// A child's output has ended: by itself, or because it was killed for `hang`.
    fn on_ended(
        &mut self,
        number: ProcessNumber,
        hang: Option<Verdict>,
        progress: &mut summary::Progress,
    ) -> Result<(), String> {
        let Some(at) = self.position(number) else { return Ok(()) };
        let mut child = self.children.swap_remove(at);
        // Already dead or about to be.
        let _ = child.process.kill();
        let status = child.process.wait().map_err(|e| format!("cannot learn how a child ended: {e}"))?;
        drop(child.orders);
        let words = child.last_words.join().unwrap_or_default();
        // A full disk, say: nothing is known about the run, and the next child would not fare better.
        if hang.is_none() && status.code() == Some(Exit::Harness.code().into()) {
            let last = words.trim_end().lines().next_back().unwrap_or("a child of the hunt failed without a word");
            return Err(last.trim_start_matches("error: ").to_owned());
        }
        let how = match (status.signal(), status.code()) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, code) => format!("exit code {}", code.unwrap_or_default()),
        };
        if let Some(order) = child.ahead.pop_front() {
            self.stillborn += u64::from(child.runs == 0);
            if self.stillborn > 3 * self.options.jobs as u64 {
                return Err(format!("children die before their first answer ({how}): {}", words.trim_end()));
            }
            let died = Verdict::Died { what: format!("the process died ({how}): {}", words.trim_end()) };
            let verdict = hang.unwrap_or(died);
            let booked = self.ledger.on_lost(number, order.seed, verdict, child.ahead.into());
            progress.booked(&self.ledger, &booked);
        }
        self.start_child()
    }

    fn kill_the_silent(&mut self, progress: &mut summary::Progress) -> Result<(), String> {
        let limit = self.options.hang_after;
        let silent = |child: &&Runner| !child.ahead.is_empty() && child.heard.elapsed() >= limit;
        let silent: Vec<ProcessNumber> = self.children.iter().filter(silent).map(|child| child.number).collect();
        for number in silent {
            let what = format!("the run said nothing for {} s of wall-clock time and was killed", limit.as_secs());
            self.on_ended(number, Some(Verdict::Hang { what }), progress)?;
        }
        Ok(())
    }

    /// Replaces idle children that have had their share, or that only repetitions of their own runs are left for.
    fn make_room(&mut self) -> Result<(), String> {
        for at in (0..self.children.len()).rev() {
            if !self.children[at].ahead.is_empty() {
                continue;
            }
            self.feed(at);
            let child = &self.children[at];
            let spent = child.runs >= RUNS_PER_CHILD || self.ledger.needs_another(child.number);
            if child.ahead.is_empty() && spent && !self.ledger.finished() {
                let mut child = self.children.swap_remove(at);
                // It has answered everything.
                let _ = child.process.kill();
                let _ = child.process.wait();
                self.start_child()?;
            }
        }
        Ok(())
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<std::thread::JoinHandle<T>, String> {
    std::thread::Builder::new().name(name.into()).spawn(body).map_err(|e| format!("cannot start a thread: {e}"))
}

/// The last few kilobytes of what a child says on standard error.
fn tail_of(mut stderr: impl Read) -> String {
    const KEEP: usize = 4096;
    let (mut tail, mut chunk) = (Vec::new(), [0; 1024]);
    while let Ok(n @ 1..) = stderr.read(&mut chunk) {
        tail.extend_from_slice(&chunk[..n]);
        let surplus = tail.len().saturating_sub(KEEP);
        tail.drain(..surplus);
    }
    String::from_utf8_lossy(&tail).into_owned()
}

/// Turns Ctrl-C into a message.
fn listen_for_interrupts(send: Sender<Message>) -> Result<(), String> {
    on_interrupt(move || {
        // The hunt may be over.
        let _ = send.send(Message::Interrupted);
    })
}

/// Calls `then` at the first Ctrl-C.
pub fn on_interrupt(then: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|e| format!("cannot listen for Ctrl-C: {e}"))?;
    spawn("ctrl-c", move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            then();
        }
    })?;
    Ok(())
}

//! What a hunt leaves behind: a capsule for each new kind of failure, shrunk by a process of its own.
//!
//! A run that hangs or takes its process down cannot be shrunk; its capsule holds the plan as it was drawn.

use super::ledger::{Failure, Ledger};
use super::pool::ChildCommand;
use crate::capsule::{Capsule, FORMAT, text};
use crate::seed::GENERATOR;
use crate::stopwatch::Stopwatch;
use crate::verdict::Verdict;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How failures are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keeping {
    /// Where capsules go.
    pub folder: PathBuf,
    /// How long each is shrunk at most.
    pub time: Duration,
    /// Silence of the shrinking process after its time, before it is killed.
    pub hang_after: Duration,
    /// One line of JSON each, instead of a screen.
    pub json: bool,
}

/// A failure that was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Where.
    pub capsule: PathBuf,
    /// The screen, or the line of JSON.
    pub told: String,
}

/// The first failure of each kind; what the harness itself failed at is no finding.
pub fn worth_keeping(ledger: &Ledger) -> impl Iterator<Item = &Failure> {
    let failures = &ledger.failures;
    failures.iter().enumerate().filter_map(|(at, failure)| {
        let first = failures[..at].iter().all(|earlier| earlier.signature != failure.signature);
        (first && !matches!(failure.report.verdict, Verdict::HarnessError { .. })).then_some(failure)
    })
}

/// Keeps one failure of runs of `program`.
pub fn keep(failure: &Failure, program: &ChildCommand, keeping: &Keeping) -> Result<Kept, String> {
    let drawn = as_drawn(failure);
    let path = keeping.folder.join(drawn.file_name());
    let unshrunk = |path: &Path| {
        text::save(path, &drawn)?;
        let screen = failure.report.screen.clone().unwrap_or_default();
        let told = if keeping.json { String::new() } else { format!("{screen}\nkept as {}\n", path.display()) };
        Ok(Kept { capsule: path.to_owned(), told })
    };
    if keeping.time.is_zero() || matches!(failure.report.verdict, Verdict::Hang { .. } | Verdict::Died { .. }) {
        return unshrunk(&path);
    }
    let what = to_shrink(failure, &path)?;
    let told = shrunk_elsewhere(&what, program, keeping, &path, &[])?;
    if path.is_file() { Ok(Kept { capsule: path, told }) } else { unshrunk(&path) }
}

/// The capsule of a failure that was not shrunk.
fn as_drawn(failure: &Failure) -> Capsule {
    Capsule {
        format: FORMAT,
        generator: GENERATOR,
        seed: failure.report.seed.0,
        expect: failure.report.verdict.property().to_owned(),
        signature: failure.signature.clone(),
        fingerprint: format!("{:016x}", failure.report.fingerprint),
        bug: None,
        reaches: None,
        story: failure.report.verdict.what().to_owned(),
        plan: failure.order.plan(),
    }
}

/// What another process shrinks: the name of the run, or a capsule at `path` if no name is enough.
pub fn to_shrink(failure: &Failure, path: &Path) -> Result<String, String> {
    if failure.order.plan.is_none() {
        return Ok(failure.order.drawn().to_string());
    }
    text::save(path, &as_drawn(failure))?;
    Ok(path.display().to_string())
}

/// Lets a process of `program` shrink `what` into `path`, and gives what it says.
pub fn shrunk_elsewhere(
    what: &str,
    program: &ChildCommand,
    keeping: &Keeping,
    path: &Path,
    more: &[String],
) -> Result<String, String> {
    let mut command = Command::new(&program.program);
    command.arg("shrink").arg(what).arg("--out").arg(path).arg("--for").arg(format!("{}ms", keeping.time.as_millis()));
    command.args(keeping.json.then_some("--json")).args(more);
    let mut child = command
        .envs(program.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start {}: {e}", program.program.display()))?;
    let mut stdout = child.stdout.take().expect("piped");
    let reading = std::thread::Builder::new().name("shrunk".into()).spawn(move || {
        let mut told = String::new();
        // What could be read is what there is to show.
        let _ = stdout.read_to_string(&mut told);
        told
    });
    let reading = reading.map_err(|e| format!("cannot start a thread: {e}"))?;
    let (clock, limit) = (Stopwatch::start(), keeping.time + keeping.hang_after);
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        if clock.elapsed() > limit {
            // The best so far is in the file.
            let _ = child.kill();
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(reading.join().unwrap_or_default())
}

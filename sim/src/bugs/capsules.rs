//! The capsules of planted bugs, `corpus/capsules/NAME.toml`: the smallest known run that each of them spoils.
//!
//! With the bug the capsule fails, without it the run passes and all its faults fire; only then is it kept, and only if the one
//! that is there is no smaller. `cargo test` replays them on the clean engine; `bugs` replays them with the bug before it hunts.
//!
//! Without faults a run shows nothing of what it tries, and passes for ever. So the last event before bug and no bug part is
//! written into such a capsule: a run has to come there.

use super::planted::PlantedBug;
use crate::builtin;
use crate::capsule::{Capsule, text};
use crate::exit::Exit;
use crate::hunt::keep::{Keeping, shrunk_elsewhere, to_shrink};
use crate::hunt::ledger::Failure;
use crate::hunt::pool::ChildCommand;
use crate::shrink::command::Report;
use crate::shrink::fresh::weight;
use crate::story::{self, Marked};
use cofferdam_properties::history::{History, What};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Silence of a shrinking process before it is killed.
const HANG_AFTER: Duration = Duration::from_secs(30);

/// Where the capsule of a bug lies.
pub fn path(root: &Path, bug: &PlantedBug) -> PathBuf {
    root.join("corpus/capsules").join(format!("{}.toml", bug.name))
}

/// What `planted`, which has the bug, makes of its capsule; `None` if there is none.
pub fn replayed(root: &Path, bug: &PlantedBug, planted: &ChildCommand) -> Result<Option<String>, String> {
    let path = path(root, bug);
    if !path.is_file() {
        return Ok(None);
    }
    let output = planted_replay(&path, planted, "--json")?;
    let line: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
    let said = line.and_then(|line| line["replayed"].as_str().map(str::to_owned));
    let complaint = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let said = said.unwrap_or_else(complaint);
    if convicts(&said) {
        settle(&path, planted)?;
    }
    Ok(Some(said))
}

/// Whether a capsule still does what it is kept for, by what `replay` says of it.
pub fn convicts(said: &str) -> bool {
    said.starts_with("reproduces")
}

fn planted_replay(capsule: &Path, planted: &ChildCommand, how: &str) -> Result<Output, String> {
    Command::new(&planted.program)
        .arg("replay")
        .arg(capsule)
        .arg(how)
        .envs(planted.environment.iter().cloned())
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot start {}: {e}", planted.program.display()))
}

/// Writes into a capsule that shows nothing of what it tries where its run must come.
fn settle(path: &Path, planted: &ChildCommand) -> Result<(), String> {
    let capsule = text::load(path).map_err(|error| error.to_string())?;
    if capsule.shows_what_it_tries() {
        return Ok(());
    }
    let runner = builtin::runner();
    let outcome = runner.run_plan(capsule.seed(), capsule.plan.clone());
    let graph = runner.stage(outcome.seed, &outcome.plan)?.job.graph;
    let history = &outcome.history;
    let here = story::told(history, &graph, 0..history.entries.len(), &Marked::of(&outcome));
    let output = planted_replay(path, planted, "--trace")?;
    let there = String::from_utf8_lossy(&output.stdout);
    let common = lines(&here).zip(lines(&there)).take_while(|(one, other)| one == other).count();
    let reaches = Some(last_event(history, common).ok_or("nothing happens before the bug acts")?);
    text::save(path, &Capsule { reaches, ..capsule })
}

/// The entries of a story: neither headings nor pointers, which depend on the verdict.
fn lines(story: &str) -> impl Iterator<Item = &str> {
    let entries = story.lines().filter_map(|line| line.get(1..));
    entries.filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()))
}

/// The last event among the first `common` entries, and which of its name.
fn last_event(history: &History, common: usize) -> Option<String> {
    let names = history.entries.iter().take(common).filter_map(|entry| match &entry.what {
        What::Claim(event) => Some(event.name()),
        What::Fact(_) => None,
    });
    let last = names.clone().last()?;
    Some(format!("{last}#{}", names.filter(|name| *name == last).count()))
}

/// Shrinks a failure of `planted`, and keeps the capsule if the clean engine passes it. `replayed` is what came of the one
/// that is there.
pub fn shrink(
    root: &Path,
    bug: &PlantedBug,
    planted: &ChildCommand,
    failure: &Failure,
    time: Duration,
    replayed: Option<&str>,
) -> Result<Option<Report>, String> {
    let draft = root.join("target/bugs/capsules").join(format!("{}.toml", bug.name));
    let keeping = Keeping { folder: PathBuf::new(), time, hang_after: HANG_AFTER, json: true };
    let story = ["--story".to_owned(), bug.story.clone()];
    let what = to_shrink(failure, &draft)?;
    let told = shrunk_elsewhere(&what, planted, &keeping, &draft, &story)?;
    let Ok(report) = serde_json::from_str::<Report>(&told) else { return Ok(None) };
    if report.verified {
        settle(&draft, planted)?;
    }
    let path = path(root, bug);
    let good = replayed.is_some_and(convicts);
    if report.verified && !(good && is_no_larger(&path, &draft)) && passes_here(&draft)? {
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder"))
            .and_then(|()| std::fs::copy(&draft, &path).map(drop))
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(Some(report))
}

/// Whether one capsule is as small as another, or smaller.
fn is_no_larger(one: &Path, other: &Path) -> bool {
    let weight = |path: &Path| text::load(path).ok().map(|capsule| weight(&capsule.plan));
    weight(one).zip(weight(other)).is_some_and(|(one, other)| one <= other)
}

/// Whether this program, which has no bug, passes a capsule with all its faults fired.
fn passes_here(capsule: &Path) -> Result<bool, String> {
    let program = std::env::current_exe().map_err(|e| format!("cannot find this program to start it again: {e}"))?;
    let mut replay = Command::new(program);
    replay.arg("replay").arg(capsule).arg("--json").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = replay.status().map_err(|e| format!("cannot start this program again: {e}"))?;
    Ok(status.code() == Some(Exit::Clean.code().into()))
}

//! The capsules of planted bugs, `corpus/capsules/NAME.toml`: the smallest known run that each of them spoils.
//!
//! With the bug the capsule fails, without it the run passes and all its faults fire; only then is it kept, and only if the one
//! that is there is no smaller. `cargo test` replays them on the clean engine; `bugs` replays them with the bug before it hunts.

use super::planted::PlantedBug;
use crate::capsule::text;
use crate::exit::Exit;
use crate::hunt::keep::{Keeping, shrunk_elsewhere, to_shrink};
use crate::hunt::ledger::Failure;
use crate::hunt::pool::ChildCommand;
use crate::shrink::command::Report;
use crate::shrink::fresh::weight;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
    let output = Command::new(&planted.program)
        .arg("replay")
        .arg(&path)
        .arg("--json")
        .envs(planted.environment.iter().cloned())
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot start {}: {e}", planted.program.display()))?;
    let line: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
    let said = line.and_then(|line| line["replayed"].as_str().map(str::to_owned));
    let complaint = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(Some(said.unwrap_or_else(complaint)))
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
    let path = path(root, bug);
    let good = replayed.is_some_and(|said| said.starts_with("reproduces"));
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

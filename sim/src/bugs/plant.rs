//! The builds that plant bugs: which bugs share one, and the files that their edits change.
//!
//! The program of `cofferdam-planting` finds the places and writes the files. It is built and started here, because it parses
//! source with `syn`, which no hunt should have to compile.

use super::planted::PlantedBug;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Bugs that share a copy of the workspace.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Build {
    /// Whose edits are in it.
    pub bugs: Vec<PlantedBug>,
    /// The edited files, by path within the workspace.
    pub files: BTreeMap<String, String>,
}

/// A bug as the program reads it.
#[derive(Serialize)]
struct Bug<'b> {
    name: &'b str,
    edits: &'b [Value],
}

/// A build as the program writes it.
#[derive(Deserialize)]
struct Written {
    bugs: Vec<String>,
    files: BTreeMap<String, String>,
}

/// What the program reads of these bugs.
pub fn for_program(bugs: &[PlantedBug]) -> Result<String, String> {
    let bugs: Vec<Bug<'_>> = bugs.iter().map(|bug| Bug { name: &bug.name, edits: &bug.edits }).collect();
    serde_json::to_string(&bugs).map_err(|e| format!("the planted bugs cannot be written: {e}"))
}

/// The builds that it takes to plant `bugs` into the workspace at `root`.
pub fn builds(root: &Path, bugs: &[PlantedBug]) -> Result<Vec<Build>, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let failed = |e: std::io::Error| format!("cannot start cofferdam-planting: {e}");
    let mut program = Command::new(cargo)
        .args(["run", "--quiet", "--package", "cofferdam-planting", "--"])
        .arg(root)
        .current_dir(root)
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut input = program.stdin.take().expect("it is a pipe");
    // A program that ends early says why, and that is reported.
    let written = input.write_all(for_program(bugs)?.as_bytes());
    drop(input);
    let output = program.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    written.map_err(failed)?;
    let builds: Vec<Written> = serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("cofferdam-planting writes what does not read: {e}"))?;
    let named = |name: &String| bugs.iter().find(|bug| bug.name == *name).cloned();
    let with_bugs = |Written { bugs, files }: Written| Build { bugs: bugs.iter().filter_map(named).collect(), files };
    Ok(builds.into_iter().map(with_bugs).collect())
}

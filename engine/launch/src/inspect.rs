//! `inspect`: what a checkpoint folder or one manifest holds, and whether committed output is what was committed, with
//! every stored byte read back and checked. Checkpoints are read by the offline reader
//! ([`cofferdam_engine::persist::reader`]), which shares no code with a restore.
//!
//! Reads only. A job may be running: a checkpoint that is subsumed while it is being read is no damage, so what looks
//! like damage counts only if the log has not moved on meanwhile.

mod output;
mod pending;
mod report;
mod text;

use super::exit::Exit;
use super::folders::slots;
use super::out;
use clap::Args;
use cofferdam_engine::error::{Error, Reaction, Result};
use cofferdam_engine::persist::layout;
use output::OutputReport;
use report::Report;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(super) const HELP: &str = "\
Examples:
  inspect chk                            the log, and every checkpoint it retains
  inspect chk/chk-7/manifest-a1.1        one checkpoint
  inspect chk --json | jq .checkpoints
  inspect --output out                   committed output against the checksums that its sinks left
  inspect chk --output out               the same, and what the newest checkpoint has yet to commit

--output notices a part that is missing, has another length, or of which a byte has changed. It cannot see a part that is gone
together with its checksum (.checksums beside it), nor what a sink wrote that leaves none, and nothing in systems outside.
Readers may move parts away, but must leave their checksums: by these a job that starts again knows what it has committed. Say
--taken where readers do that: parts that are not there are counted then, and are no damage.

Exit codes: 0 sound, 2 there is nothing to inspect, 4 stored bytes are not what was written";

/// Times that a moving log is read again.
const TRIES_MAX: usize = 10;

/// Options of `inspect`.
#[derive(Args, Clone, Debug)]
pub struct InspectArgs {
    /// A checkpoint folder, the folder of one checkpoint, or a manifest
    #[arg(value_name = "DIR_OR_MANIFEST", required_unless_present = "output")]
    pub path: Option<PathBuf>,
    /// An output folder, to verify what is committed in it
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Readers move parts away: one that is not there is no damage if its checksum is
    #[arg(long, requires = "output")]
    pub taken: bool,
    /// Print JSON, with the entries of every key group
    #[arg(long)]
    pub json: bool,
}

/// What the path turned out to be.
#[derive(Clone, Debug)]
enum Target {
    /// A checkpoint folder, with a log.
    Log(PathBuf),
    /// Manifests, by their paths in storage, below a folder.
    Manifests(PathBuf, Vec<String>),
}

/// Shows what is at a path, and what became of committed output.
pub fn inspect(args: &InspectArgs) -> Exit {
    let checkpoints = args.path.as_deref().map(|path| {
        let report = target(path).and_then(|target| read(&target));
        shown(report, args.json, text::render, |report| &report.problems)
    });
    let output = args.output.as_deref().map(|folder| {
        let pending = args.path.as_deref().map(|checkpoints| pending::of(checkpoints, folder));
        shown(OutputReport::of(folder, pending, args.taken), args.json, OutputReport::render, |report| &report.problems)
    });
    // The worst of them: corrupt before usage before done.
    [checkpoints, output].into_iter().flatten().max_by_key(|exit| exit.code()).unwrap_or(Exit::Usage)
}

/// Prints a report and its problems.
fn shown<R: Serialize>(
    report: Result<R>,
    json: bool,
    render: impl Fn(&R) -> String,
    problems: impl Fn(&R) -> &[String],
) -> Exit {
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            out::complain(format_args!("error: {error}"));
            return if error.reaction == Reaction::Corrupt { Exit::Corrupt } else { Exit::Usage };
        }
    };
    out::say(if json { serde_json::to_string_pretty(&report).expect("reports serialise") } else { render(&report) });
    for problem in problems(&report) {
        out::complain(format_args!("error: {problem}"));
    }
    if problems(&report).is_empty() { Exit::Done } else { Exit::Corrupt }
}

fn read(target: &Target) -> Result<Report> {
    let folder = match target {
        Target::Log(folder) => folder,
        Target::Manifests(folder, manifests) => return Ok(Report::of_manifests(folder, manifests)),
    };
    let mut before = slots(folder)?;
    for _ in 1..TRIES_MAX {
        let report = Report::of_log(folder, &before);
        let after = slots(folder)?;
        match report {
            Ok(report) if report.problems.is_empty() => return Ok(report),
            Ok(_) | Err(_) if after != before => before = after,
            Ok(_) | Err(_) => return report,
        }
    }
    Report::of_log(folder, &before)
}

fn target(path: &Path) -> Result<Target> {
    let shown = path.display();
    let cannot = |e: io::Error| Error::give_up(format!("cannot read {shown}: {e}"));
    let meta = fs::metadata(path).map_err(cannot)?;
    let real = fs::canonicalize(path).map_err(cannot)?;
    if meta.is_file() {
        let folder = real.parent().expect("a file lies in a folder");
        return Ok(in_checkpoint(folder, vec![name(&real)]));
    }
    if !meta.is_dir() {
        return Err(Error::give_up(format!("{shown} is neither a folder nor a manifest")));
    }
    if !slots(path)?.is_empty() {
        return Ok(Target::Log(path.to_owned()));
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(cannot)?;
    let mut manifests: Vec<String> = entries.iter().map(|entry| name(&entry.path())).collect();
    manifests.retain(|name| layout::is_manifest(name));
    manifests.sort_unstable();
    if manifests.is_empty() {
        return Err(Error::give_up(format!("{shown} is no checkpoint folder: it has neither a log nor a manifest")));
    }
    Ok(in_checkpoint(&real, manifests))
}

/// Manifests in the folder of a checkpoint, which lies in the folder that all paths begin from.
fn in_checkpoint(checkpoint: &Path, manifests: Vec<String>) -> Target {
    let folder = checkpoint.parent().unwrap_or(checkpoint);
    let checkpoint = name(checkpoint);
    let paths = manifests.iter().map(|manifest| layout::in_folder(&checkpoint, manifest)).collect();
    Target::Manifests(folder.to_owned(), paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;

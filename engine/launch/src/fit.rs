//! Whether a job fits the checkpoints that it would go on from, and they the output, before anything is started.
//!
//! The coordinator judges the same again, by what storage holds when it leads. But to lead it deposes another leader, and a
//! program that cannot restore the job, or writes elsewhere, must not stop the one that runs it.
//!
//! Not judged here: what cannot be read. The coordinator reads it again, and retries.

use super::folders::{fetch, slots};
use cofferdam_engine::cores::ownership::{self, Claimant};
use cofferdam_engine::cores::restore;
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::graph::JobGraph;
use cofferdam_engine::ids::Generation;
use cofferdam_engine::os::mount::Names;
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::mark::{Mark, Name};
use cofferdam_engine::persist::reader;
use cofferdam_engine::persist::slot::{Slot, SlotRecord};
use cofferdam_engine::reason::Ended;
use std::fs;
use std::io;
use std::path::Path;

/// Refuses a job that [does not fit](check_state) its checkpoints, and checkpoints that [do not fit](check_output) the
/// output. A job that has finished restores nothing and writes nothing; a log without entries has no leader to be deposed.
pub fn check(checkpoints: &Path, output: &Path, graph: &JobGraph) -> Result<()> {
    // The marks before the log: what is marked as completed was in the log before.
    let marks = marks(output);
    let fetch = |path: &str| fetch(checkpoints, path);
    let log = reader::read_log(&fetch, &slots(checkpoints)?).unwrap_or_default();
    let Some((_, last)) = log.last() else { return Ok(()) };
    let finished = matches!(&last.record, SlotRecord::Ended { how: Ended::Finished { .. }, .. });
    if finished || last.job.name != graph.name {
        return Ok(());
    }
    let fits = check_state(&fetch, &log, graph).and_then(|()| check_output(marks.as_deref(), &log, last));
    let names = Names::of([(layout::CHECKPOINTS, checkpoints), (layout::OUTPUT, output)]);
    fits.map_err(|error| Error { message: names.as_typed(&error.message), ..error })
}

/// Refuses a job whose state is not what the newest checkpoint of its own log holds.
fn check_state(fetch: reader::Fetch<'_>, log: &[(u64, Slot)], graph: &JobGraph) -> Result<()> {
    let Some(newest) = reader::retained(log).pop() else { return Ok(()) };
    match reader::read_manifest(fetch, &newest) {
        Ok(manifest) => restore::assign(graph, &manifest).map(drop),
        Err(_) => Ok(()),
    }
}

/// Refuses an output that is not of this log, or that is further than it.
fn check_output(marks: Option<&[Mark]>, log: &[(u64, Slot)], last: &Slot) -> Result<()> {
    let Some(marks) = marks else { return Ok(()) };
    let claimant = Claimant {
        log: last.log,
        lineage: last.lineage,
        generation: Generation(last.generation.0 + 1),
        token: 0,
        held: reader::newest(log),
    };
    ownership::refusal(&claimant, marks).map_or(Ok(()), Err)
}

/// The marks of an output, if all of them can be read. An output that does not exist has none.
fn marks(output: &Path) -> Option<Vec<Mark>> {
    let entries = match fs::read_dir(output) {
        Ok(entries) => entries,
        Err(e) => return (e.kind() == io::ErrorKind::NotFound).then(Vec::new),
    };
    let mut marks = Vec::new();
    for entry in entries {
        let path = layout::at_output(entry.ok()?.file_name().to_string_lossy());
        if let Some(name) = Name::of(&path) {
            marks.push(Mark::decode(name, &fs::read(output.join(name.to_string())).ok()?).ok()?);
        }
    }
    Some(marks)
}

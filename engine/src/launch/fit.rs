//! Whether a job fits the checkpoints that it would go on from, before anything is started.
//!
//! The coordinator judges the same again, by what storage holds when it leads. But to lead it deposes another leader, and a
//! program that cannot restore the job must not stop the one that runs it.
//!
//! Not judged here: what cannot be read. The coordinator reads it again, and retries.

use super::folders::{fetch, slots};
use crate::cores::restore;
use crate::error::Result;
use crate::graph::JobGraph;
use crate::persist::reader;
use crate::persist::slot::{Ended, SlotRecord};
use std::path::Path;

/// Refuses a job whose state is not what the newest checkpoint of its own log holds. A job that has finished restores
/// nothing.
pub fn check(checkpoints: &Path, graph: &JobGraph) -> Result<()> {
    let fetch = |path: &str| fetch(checkpoints, path);
    let log = reader::read_log(&fetch, &slots(checkpoints)?).unwrap_or_default();
    let Some((_, last)) = log.last() else { return Ok(()) };
    let finished = matches!(&last.record, SlotRecord::Ended { how: Ended::Finished { .. }, .. });
    if finished || last.job.name != graph.name {
        return Ok(());
    }
    let Some(newest) = reader::retained(&log).pop() else { return Ok(()) };
    match reader::read_manifest(&fetch, &newest) {
        Ok(manifest) => restore::assign(graph, &manifest).map(drop),
        Err(_) => Ok(()),
    }
}

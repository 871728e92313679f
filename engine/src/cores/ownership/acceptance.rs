//! Whether the marks of an output allow a leadership to write there. Pure.
//!
//! 1. The output belongs to the leadership's own log, to the log that the job started from, or to none yet.
//! 2. A log that holds a completed checkpoint finds its own mark and the mark of the leadership that completed it: otherwise
//!    what that checkpoint knows as written lies elsewhere, or this is an old copy of the output. Readers may move parts
//!    away, so the absence of parts says nothing; marks stay.
//! 3. No mark of a completed checkpoint is ahead of the log that left it. If one is, the log is an old copy, and going
//!    on would write records a second time. Generations come first in that comparison: another copy may have used
//!    higher ids earlier.
//! 4. Output of the log that the job started from counts up to the checkpoint that it started from.
//! 5. No newer leadership has left its mark.

use crate::error::Error;
use crate::ids::{CheckpointId, Generation, LogId};
use crate::persist::mark::{Mark, Name};
use crate::persist::slot::Lineage;
use std::collections::{BTreeMap, BTreeSet};

/// Who wants to write to an output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claimant {
    /// The log that it leads.
    pub log: LogId,
    /// Where that log started from.
    pub lineage: Option<Lineage>,
    /// Its leadership.
    pub generation: Generation,
    /// The writer's token of the log entry that it leads by.
    pub token: u64,
    /// The newest checkpoint that the log holds, and the leadership that completed it.
    pub held: Option<(Generation, CheckpointId)>,
}

/// The marks of an output, as far as they count.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Marks {
    pub logs: BTreeSet<LogId>,
    pub generations: BTreeSet<Generation>,
    /// Of completed checkpoints; `None` until it is read.
    pub completed: BTreeMap<CheckpointId, Option<(LogId, Generation)>>,
}

/// What the marks say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The leadership may write.
    Ours,
    /// A newer one does.
    Newer(Generation),
    /// It must not, whether it leads or not.
    Refused(Error),
}

impl Marks {
    /// What a listing shows; what was read before is known still.
    pub fn on_listed(&mut self, names: &[Name]) {
        let mut known = std::mem::take(self);
        for name in names {
            match *name {
                Name::Log(log) => drop(self.logs.insert(log)),
                Name::Generation(generation) => drop(self.generations.insert(generation)),
                Name::Completed(checkpoint) => {
                    self.completed.insert(checkpoint, known.completed.remove(&checkpoint).flatten());
                }
            }
        }
    }

    /// A mark of a completed checkpoint that has not been read.
    pub fn unread(&self) -> Option<Name> {
        let mut unread = self.completed.iter().filter(|(_, content)| content.is_none());
        unread.next_back().map(|(checkpoint, _)| Name::Completed(*checkpoint))
    }

    /// A mark of a completed checkpoint was read, or has just been created.
    pub fn on_known(&mut self, mark: &Mark) {
        if let Mark::Completed { log, generation, checkpoint } = *mark {
            self.completed.insert(checkpoint, Some((log, generation)));
        }
    }

    /// The first number without a mark between the oldest mark and `own`. Not only directly below `own`: a leader that died
    /// between its own mark and those of missing numbers leaves a gap further down.
    pub fn skipped(&self, own: Generation) -> Option<Generation> {
        let mut next = *self.generations.first()?;
        for older in self.generations.range(..own) {
            if *older != next {
                break;
            }
            next = Generation(next.0 + 1);
        }
        (next < own).then_some(next)
    }

    /// The marks of completed checkpoints that `newest` makes superfluous.
    pub fn older(&self, newest: CheckpointId) -> Vec<Name> {
        self.completed.range(..newest).map(|(checkpoint, _)| Name::Completed(*checkpoint)).collect()
    }

    pub fn judge(&self, claimant: &Claimant) -> Verdict {
        assert_eq!(self.unread(), None, "all marks are read before they are judged");
        let verdict = self.judge_logs(claimant).or_else(|| self.judge_completed(claimant));
        if let Some(refusal) = verdict {
            return Verdict::Refused(Error::give_up(refusal));
        }
        match self.generations.last() {
            Some(newest) if *newest > claimant.generation => Verdict::Newer(*newest),
            Some(_) | None => Verdict::Ours,
        }
    }

    fn judge_logs(&self, claimant: &Claimant) -> Option<String> {
        let own = claimant.log;
        let accepted = |log: &&LogId| **log == own || Some(**log) == claimant.lineage.map(|lineage| lineage.parent);
        if let Some(foreign) = self.logs.iter().find(|log| !accepted(log)) {
            return Some(format!(
                "{} says that this output belongs to the checkpoints of log {foreign}, but these are the checkpoints of log \
                 {own}: name another output folder, or the checkpoints that belong to this one",
                Name::Log(*foreign).path()
            ));
        }
        let (generation, checkpoint) = claimant.held?;
        let absent = if !self.logs.contains(&own) {
            Name::Log(own)
        } else if !self.generations.contains(&generation) {
            Name::Generation(generation)
        } else {
            return None;
        };
        Some(format!(
            "these checkpoints end with {checkpoint}, but their output is elsewhere: {} does not exist; name the output folder \
             that belongs to them",
            absent.path()
        ))
    }

    fn judge_completed(&self, claimant: &Claimant) -> Option<String> {
        let known = self.completed.iter().filter_map(|(checkpoint, content)| Some((*checkpoint, (*content)?)));
        known.rev().find_map(|(checkpoint, (log, generation))| {
            let lineage = claimant.lineage.filter(|lineage| lineage.parent == log);
            let but = match (log == claimant.log, lineage) {
                (true, _) => ahead(claimant.held, generation, checkpoint)?,
                (false, Some(Lineage { checkpoint: start, .. })) => beyond(start, checkpoint)?,
                (false, None) => format!("but these are the checkpoints of log {}", claimant.log),
            };
            let path = Name::Completed(checkpoint).path();
            Some(format!("this output is committed up to {checkpoint} of log {log} ({path}), {but}"))
        })
    }
}

/// Why output of the own log goes too far, if it does.
fn ahead(held: Option<(Generation, CheckpointId)>, generation: Generation, checkpoint: CheckpointId) -> Option<String> {
    if held >= Some((generation, checkpoint)) {
        return None;
    }
    let why = match held {
        Some((_, held)) => format!(
            "but these checkpoints end with {held}: they are an old copy; name the checkpoints that {checkpoint} belongs to, or \
             begin"
        ),
        None => {
            "but no completed checkpoint is left in these checkpoints: they are an old copy, or the job ended and they \
                 were not to be retained; begin"
                .to_owned()
        }
    };
    Some(format!("{why} again with empty folders for output and checkpoints"))
}

/// Why output of the log that the job started from goes too far, if it does.
fn beyond(start: CheckpointId, checkpoint: CheckpointId) -> Option<String> {
    (checkpoint > start).then(|| format!("but this job started from {start} of that log"))
}

//! Commits, re-executed: each exactly once, however often the engine repeats it.

use super::external::ShownOutside;
use super::{Commit, Shown, Witness};
use crate::case::Violation;
use crate::ledger::is_visible;
use cofferdam_engine::ids::{Attempt, CheckpointId, SubtaskId};

impl Witness<'_> {
    pub(super) fn on_commit_ended(
        &mut self,
        at: usize,
        (attempt, subtask): (Attempt, SubtaskId),
        checkpoint: CheckpointId,
    ) -> Result<(), Violation> {
        let mut commits = self.account.commits.iter_mut().rev();
        let of_it = |c: &&mut Commit| (c.attempt, c.subtask, c.checkpoint) == (attempt, subtask, checkpoint);
        if let Some(commit) = commits.find(of_it) {
            commit.ended = Some(at);
        }
        self.with(at, attempt, subtask, |_, run, subtask| {
            run.live(subtask)?.pending.remove(&checkpoint);
            Ok(())
        })
    }

    pub(super) fn on_commit_started(
        &mut self,
        at: usize,
        (attempt, subtask): (Attempt, SubtaskId),
        checkpoint: CheckpointId,
    ) -> Result<(), Violation> {
        let again = self.committed.contains(&(subtask, checkpoint));
        self.systems.take_changes();
        let (staged, restored) = self.with(at, attempt, subtask, |_, run, number| {
            let live = run.live(number)?;
            let staged = live.has_staged(checkpoint) && (again || live.commit(checkpoint)?);
            Ok((staged, live.restored))
        })?;
        if staged {
            self.committed.insert((subtask, checkpoint));
        }
        let changes = self.systems.take_changes().into_iter();
        let shown = changes.map(|(system, change)| ShownOutside { at, subtask, checkpoint, system, change });
        self.account.shown_outside.extend(shown);
        let written = self.storage.take_written().into_iter();
        for (path, bytes) in written.filter(|(path, _)| is_visible(path)) {
            self.account.shown.entry(path).or_insert(Shown { at, subtask, checkpoint, bytes });
        }
        self.account.commits.push(Commit { at, ended: None, attempt, subtask, checkpoint, staged, restored });
        Ok(())
    }
}

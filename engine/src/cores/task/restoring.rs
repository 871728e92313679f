//! How a subtask gets its state back, before its first element.

use super::{AfterCommit, Effect, Now, Role, Stage, Task, announce};
use crate::cores::transactions::Completion;
use crate::door::StorageError;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::ids::CheckpointId;
use crate::messages::{SnapshotHandle, ToCoordinator};
use crate::persist::blob;
use crate::state::Section;
use bytes::Bytes;

impl Task {
    /// Begins, from this snapshot or from nothing.
    pub fn start(&mut self, restore: Option<(Completion, SnapshotHandle)>, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        assert_eq!(self.stage, Stage::New, "a subtask is started once");
        match restore {
            None => self.digest(None, out),
            Some((completion, handle)) => {
                let checkpoint = completion.checkpoint();
                announce(Event::RestoreStarted { attempt, subtask, checkpoint }, out);
                out.push(Effect::ReadSnapshot(handle.clone()));
                self.stage = Stage::Reading(completion, handle);
            }
        }
        self.validate();
    }

    /// The snapshot was read: it must be the very object that was acknowledged.
    pub fn on_snapshot_read(&mut self, read: Result<Bytes, StorageError>, out: &mut Vec<Effect>) {
        let Stage::Reading(completion, handle) = &self.stage else { panic!("no snapshot was asked for") };
        let (completion, handle) = (*completion, handle.clone());
        match sections(&handle, read) {
            Err(error) => self.fail(error, out),
            Ok(sections) => {
                self.stage = Stage::RestoringState(completion, handle);
                match self.is.role {
                    Role::Source | Role::Transform => out.push(Effect::RestoreState(sections)),
                    Role::Sink => {
                        let taken = self.transactions.restore(&sections);
                        self.on_state_restored(taken, out);
                    }
                }
            }
        }
    }

    /// Reader and operator have their state back, or cannot take it.
    pub fn on_state_restored(&mut self, taken: Result<()>, out: &mut Vec<Effect>) {
        let Stage::RestoringState(completion, handle) = &self.stage else { panic!("nothing is restored") };
        if let Err(error) = taken {
            let named = error.while_doing(format_args!("{}[{}]", self.is.uid, self.is.subtask.index));
            return self.fail(named, out);
        }
        assert!(!self.ended, "it has processed nothing in this attempt");
        self.ended = handle.ended;
        self.digest(Some(*completion), out);
        self.validate();
    }

    fn digest(&mut self, completion: Option<Completion>, out: &mut Vec<Effect>) {
        self.stage = Stage::Digesting(completion);
        out.push(Effect::DigestState);
    }

    /// The digest of the live state, which is announced before the first element. Nothing compares it here: the
    /// properties of the simulator do, and they must see what the state is, not what it should be.
    pub fn on_digest(&mut self, now: Now, digest: u64, out: &mut Vec<Effect>) {
        let (attempt, subtask, ended) = (self.is.attempt, self.is.subtask, self.ended);
        let Stage::Digesting(completion) = self.stage else { panic!("no digest was asked for") };
        let checkpoint = completion.map(Completion::checkpoint);
        announce(Event::Restored { attempt, subtask, checkpoint, digest, ended }, out);
        match completion {
            Some(completion) => self.commit(completion, AfterCommit::Restore, out),
            None => self.recover(out),
        }
        self.advance(now, out);
    }

    /// Everything that was restored is committed: what former attempts have staged beside it is removed.
    pub(super) fn recover(&mut self, out: &mut Vec<Effect>) {
        match self.is.role {
            Role::Source | Role::Transform => self.restored(out),
            Role::Sink => {
                self.stage = Stage::DiscardingStaged;
                out.push(Effect::DiscardStaged);
            }
        }
    }

    /// What former attempts have staged is gone, or could not be removed.
    pub fn on_staged_discarded(&mut self, now: Now, recovered: Result<()>, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::DiscardingStaged, "nothing is recovered");
        if let Err(error) = recovered {
            return self.fail(error, out);
        }
        self.restored(out);
        self.advance(now, out);
    }

    fn restored(&mut self, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        assert!(self.newest == CheckpointId(0) && !self.end_announced, "a restore comes before everything else");
        self.stage = Stage::Running;
        out.push(Effect::Report(ToCoordinator::Restored { attempt, subtask }));
        if self.is.role == Role::Source && self.ended {
            self.end_input(out);
        }
    }
}

/// The sections of a snapshot that was read.
fn sections(handle: &SnapshotHandle, read: Result<Bytes, StorageError>) -> Result<Vec<Section>> {
    let bytes = match read {
        Ok(bytes) => bytes,
        // The coordinator has found this file moments ago, and looks again before the next attempt.
        Err(StorageError::NotFound(path)) => {
            return Err(Error::restart(format!(
                "{path} does not exist here, but the coordinator sees it: does this worker use the same checkpoint folder?"
            )));
        }
        Err(error) => return Err(error.into()),
    };
    if bytes.len() as u64 != handle.bytes || crc32c::crc32c(&bytes) != handle.checksum {
        return Err(Error::corrupt(format!(
            "{} is not the snapshot that was acknowledged: {} bytes instead of {}, or another checksum",
            handle.path,
            bytes.len(),
            handle.bytes
        )));
    }
    blob::decode(&handle.path, &bytes)
}

//! How a subtask gets its state back.
//!
//! 1. Read the blob; it must be the very object that was acknowledged (length, checksum).
//! 2. Hand its sections to their owners: reader, chain, pending committables.
//! 3. Encode the *live* state afresh and announce its digest, before the first element. Nothing compares it here: that is what
//!    judges are for, and they must see what the state is, not what it should be.
//! 4. Sinks commit everything restored, then remove what older attempts left.
//! 5. Tell the coordinator. A source that had ended announces its end before anything else happens, so that its barriers are
//!    behind it in this attempt as well.
//!
//! Not handled: a storage request that never returns. The door does not promise an answer: the process bounds each of its
//! requests ([`crate::runtime::patience`]), and blobs are read in pieces, so the bound does not depend on the size of the
//! state.

use super::{Body, Running, named};
use crate::cores::transactions::Completion;
use crate::door::{Env, StorageError, retry, whole};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::messages::{SnapshotHandle, ToCoordinator};
use crate::persist::blob;
use crate::state::{self, Section, SectionKind};

impl Running {
    /// Runs before the first step.
    pub(super) async fn restore(&mut self, from: Option<(Completion, SnapshotHandle)>) -> Result<()> {
        let (attempt, subtask) = self.ids();
        let completion = from.as_ref().map(|(completion, _)| *completion);
        let checkpoint = completion.map(Completion::checkpoint);
        if let Some((completion, handle)) = from {
            let checkpoint = completion.checkpoint();
            self.context.env.emit(Event::RestoreStarted { attempt, subtask, checkpoint });
            let sections = read(&self.context.env, &handle).await?;
            let taken = self.take_over(sections).await;
            taken.map_err(|e| named(e, &self.context.uid, subtask.index))?;
            self.ended = handle.ended;
        }
        let digest = self.live_digest();
        self.context.env.emit(Event::Restored { attempt, subtask, checkpoint, digest, ended: self.ended });
        if let Some(completion) = completion {
            self.commit(completion).await?;
        }
        if let Body::Sink { writer, .. } = &mut self.body {
            writer.recover().await?;
        }
        self.reports.post(ToCoordinator::Restored { attempt, subtask });
        if let Body::Source { exhausted, .. } = &mut self.body
            && self.ended
        {
            *exhausted = true;
            self.end_input().await;
        }
        Ok(())
    }

    async fn take_over(&mut self, sections: Vec<Section>) -> Result<()> {
        match &mut self.body {
            Body::Source { reader, chain, .. } => {
                let (positions, state): (Vec<_>, Vec<_>) =
                    sections.into_iter().partition(|section| section.kind == SectionKind::Source);
                reader.restore(&positions).await?;
                chain.restore(&state)
            }
            Body::Transform { chain } => chain.restore(&sections),
            Body::Sink { transactions, .. } => transactions.restore(&sections),
        }
    }

    fn live_digest(&mut self) -> u64 {
        let (mut sections, pages) = self.snapshot();
        sections.extend(pages.into_iter().flat_map(state::collect));
        state::digest(&sections)
    }
}

async fn read(env: &Env, handle: &SnapshotHandle) -> Result<Vec<Section>> {
    let bytes = match retry::storage(env, || whole::read(&env.storage, &handle.path)).await {
        Ok(bytes) => bytes,
        // The coordinator found it just before, and looks again before the next attempt.
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

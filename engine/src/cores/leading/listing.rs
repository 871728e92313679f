//! The input of the run, as the leading coordinator knows it: which listing its attempts read, and what came after it.
//!
//! 1. An attempt that starts from nothing lists the input anew: nothing that was read before is durable. Its listing is
//!    stored before the attempt is deployed, and every manifest of the attempt names it.
//! 2. An attempt that restores a checkpoint reads what the manifest of the checkpoint lists.
//! 3. Once such an attempt runs, and again when the job finishes, the input is listed once more, for people only: what
//!    came later is announced once, and not read.
//!
//! Order rule: the path of a listing is protected from sweeps before the listing is written, and until the job has
//! ended.

use super::ending::Ending;
use super::{Beginning, Effect, Leading, announce};
use crate::cores::input::Later;
use crate::error::Result;
use crate::event::Event;
use crate::ids::Attempt;
use crate::messages::ListingHandle;
use crate::persist::layout;
use std::collections::BTreeSet;

/// What the run reads.
#[derive(Debug, Default)]
pub(super) struct RunInput {
    /// The listing of the newest attempt.
    listing: Option<ListingHandle>,
    /// Path of the listing that is being written, or was written last.
    written: Option<String>,
    /// Requests under way.
    asked: u32,
    /// The later input that was announced.
    announced: Later,
}

impl RunInput {
    /// The listing of the newest attempt, if the job reads objects.
    pub fn listing(&self) -> Option<ListingHandle> {
        self.listing.clone()
    }

    /// Whether nothing is being written or looked at.
    pub fn is_idle(&self) -> bool {
        self.asked == 0
    }

    pub(super) fn answered(&mut self) {
        self.asked = self.asked.checked_sub(1).expect("a request that was made");
    }
}

impl Leading {
    /// Lists the input of an attempt that has nothing to restore, if there is any to list.
    pub(super) fn begin_from_nothing(&mut self, attempt: Attempt, out: &mut Vec<Effect>) {
        assert_eq!(self.store.latest(), None, "what is durable is restored");
        let inputs = self.job.graph.inputs_read();
        if inputs.is_empty() {
            return self.begin_attempt(attempt, Ok(Beginning { restore: None, listing: None }));
        }
        let path = layout::listing(self.store.next_id(), attempt);
        self.run_input.written = Some(path.clone());
        self.run_input.asked += 1;
        out.push(Effect::ListInput { attempt, path, inputs });
    }

    /// It is known what an attempt begins with.
    pub(super) fn begin_attempt(&mut self, attempt: Attempt, reply: Result<Beginning>) {
        let restore = reply.map(|Beginning { restore, listing }| {
            self.run_input.listing = listing;
            restore
        });
        let now = self.now;
        self.step_failover(|failover, effects| failover.on_restore_read(now, attempt, restore, effects));
    }

    /// What pending checkpoints and the newest attempt need of the folders of older checkpoints.
    pub(super) fn carried(&self) -> BTreeSet<String> {
        let mut carried = self.checkpoints.carried();
        if matches!(self.ending, Ending::No | Ending::Recording { .. }) {
            carried.extend(self.run_input.written.clone());
            carried.extend(self.run_input.listing().map(|listing| listing.path));
        }
        carried
    }

    /// Looks what came to the input since it was listed. What has come just now may be missed.
    pub(super) fn compare_input(&mut self, out: &mut Vec<Effect>) {
        if let Some(listing) = self.run_input.listing() {
            self.run_input.asked += 1;
            out.push(Effect::CompareInput { listing });
        }
    }

    pub(super) fn announce_later(&mut self, later: Option<Later>, out: &mut Vec<Effect>) {
        let Some(later) = later.filter(|later| *later != self.run_input.announced) else { return };
        if let Some(first) = later.first.clone() {
            announce(Event::InputIgnored { added: later.added, grown: later.grown, first }, out);
        }
        self.run_input.announced = later;
    }
}

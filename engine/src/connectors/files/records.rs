//! Keeps the number of records bounded when readers move parts away.
//!
//! The record of a part has two uses: `inspect --output` compares the part with it, and a restart that commits the part again
//! learns from it that the part was committed, if the part itself is gone.
//!
//! 1. A restart restores the newest completed checkpoint n, and commits again what the snapshots of n hold. A part that was
//!    committed before the subtask prepared n is not in them: once n is committed, no restart needs its record.
//! 2. Of the records that no restart needs, [`KEPT`] stay whatever happened to their parts, so that `inspect` names parts that
//!    are missing. Beyond that each commit looks at the two oldest: a record without its part is deleted, because a reader has
//!    moved the part away; another one is looked at again in its turn.
//! 3. Records of former attempts are listed once, when an attempt has committed [`LIST_AFTER`] parts. Reason: a restart must
//!    not wait for a listing of everything that was ever written.
//!
//! So there are as many records as parts, and at most [`KEPT`] more for each subtask (and [`LIST_AFTER`] for each attempt that
//! ended before it listed, until a later attempt does). A failure here is ignored: the record is looked at again.
//!
//! Owns: the deletion of records. Invariant: a record that a restart may need is not deleted.

use crate::connectors::objects::{self, Found};
use crate::door::Env;
use crate::ids::CheckpointId;
use crate::persist::layout;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Records without a part that stay.
const KEPT: usize = 1000;

/// Commits of an attempt after which it lists the records of former ones.
const LIST_AFTER: u64 = 100;

/// Records that a commit looks at: more than the one that it adds.
const LOOKS: usize = 2;

/// The records of one subtask's parts, each by the checkpoint in its name.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// No restart needs them.
    free: VecDeque<CheckpointId>,
    /// Of parts that a restart may commit again, in the order of their commits.
    needed: Vec<CheckpointId>,
    /// How many of those had been committed when a checkpoint was prepared, if more than before.
    prepared: BTreeMap<CheckpointId, usize>,
    commits: u64,
}

impl Records {
    /// The subtask prepares a checkpoint: its snapshot holds nothing that is committed by now.
    pub fn on_prepared(&mut self, checkpoint: CheckpointId) {
        let before = self.prepared.values().next_back().copied().unwrap_or(0);
        if self.needed.len() > before {
            self.prepared.insert(checkpoint, self.needed.len());
        }
    }

    /// The part `shown` is committed, so its checkpoint has completed, or a newer one. `part` is what names of parts of this
    /// subtask begin with.
    pub async fn on_committed(&mut self, env: &Env, part: &str, shown: &str) {
        let Some(checkpoint) = number_of(part, shown) else { return };
        self.release(checkpoint);
        self.needed.push(checkpoint);
        self.commits += 1;
        if self.commits == LIST_AFTER {
            self.list(env, part).await;
        }
        for _ in 0..LOOKS {
            if self.free.len() <= KEPT {
                return;
            }
            let Some(oldest) = self.free.pop_front() else { return };
            if !forget(env, &path_of(part, oldest)).await {
                self.free.push_back(oldest);
            }
        }
    }

    /// A restart restores this checkpoint or a newer one.
    fn release(&mut self, completed: CheckpointId) {
        let Some(count) = self.prepared.range(..=completed).next_back().map(|(_, count)| *count) else { return };
        self.free.extend(self.needed.drain(..count));
        self.prepared.retain(|checkpoint, _| *checkpoint > completed);
        self.prepared.values_mut().for_each(|later| *later -= count);
    }

    /// Finds records of former attempts. They are older than every part of this one, and so than what a restart restores
    /// after so many commits, if this attempt has released one of its own.
    async fn list(&mut self, env: &Env, part: &str) {
        let Some(first) = self.free.front().copied() else { return self.commits = 0 };
        let folder = layout::part_record(part);
        let folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
        let Ok(listed) = objects::list(env, folder).await else { return };
        let names = listed.iter().filter_map(|object| object.path.rsplit('/').next());
        let parts = part.rsplit_once('/').map_or("", |(folder, _)| folder);
        let found: BTreeSet<_> = names.filter_map(|name| number_of(part, &format!("{parts}/{name}"))).collect();
        // Of the oldest part first.
        for older in found.range(..first).rev().filter(|older| !self.needed.contains(older)) {
            self.free.push_front(*older);
        }
    }
}

/// Deletes the record of a part that is gone. Whether that is done.
async fn forget(env: &Env, shown: &str) -> bool {
    let gone = matches!(objects::piece(env, shown, 0..1).await, Ok(Found::Nothing));
    gone && objects::delete(env, &layout::part_record(shown)).await.is_ok()
}

/// Where the part of a checkpoint lies.
pub(super) fn path_of(part: &str, checkpoint: CheckpointId) -> String {
    format!("{part}-{:010}", checkpoint.0)
}

fn number_of(part: &str, shown: &str) -> Option<CheckpointId> {
    shown.strip_prefix(part)?.strip_prefix('-')?.parse().ok().map(CheckpointId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::world::World;
    use crate::persist::part::PartRecord;
    use bytes::Bytes;
    use futures_util::FutureExt;

    const PART: &str = "output/x/part-00001";

    /// Commits a part, a checkpoint later than the one before; `taken` by its reader at once.
    fn commit(world: &World, records: &mut Records, checkpoint: u64, taken: bool) {
        let shown = path_of(PART, CheckpointId(checkpoint));
        records.on_prepared(CheckpointId(checkpoint));
        let record = PartRecord { name: shown.clone(), bytes: 1, checksum: 1, staged: String::new() };
        world.put(&layout::part_record(&shown), &record.encode());
        if !taken {
            world.put(&shown, &Bytes::from_static(b"x"));
        }
        records.on_committed(&world.env(), PART, &shown).now_or_never().expect("the world answers at once");
    }

    fn kept(world: &World) -> Vec<u64> {
        let folder = layout::part_record(PART);
        let paths = world.under(folder.rsplit_once('/').expect("a folder").0).into_keys();
        paths.map(|path| path[path.len() - 10..].parse().expect("a checkpoint")).collect()
    }

    #[test]
    fn records_of_parts_that_are_taken_away_do_not_pile_up_over_attempts() {
        let (world, most) = (World::default(), KEPT as u64);
        // The attempts after the first begin with the records of those before.
        for attempt in 0..4 {
            let mut records = Records::default();
            for checkpoint in 1..=most {
                commit(&world, &mut records, attempt * most + checkpoint, true);
            }
            assert!(kept(&world).len() as u64 <= most + LIST_AFTER + 2, "{}", kept(&world).len());
        }
        let last = 4 * most;
        assert_eq!(kept(&world)[kept(&world).len() - 500..], (last - 499..=last).collect::<Vec<_>>()[..]);
    }

    #[test]
    fn records_stay_with_their_parts() {
        let (world, most) = (World::default(), KEPT as u64);
        let mut records = Records::default();
        for checkpoint in 1..=2 * most {
            commit(&world, &mut records, checkpoint, checkpoint % 2 == 0);
        }
        let kept = kept(&world);
        assert!((1..=2 * most).step_by(2).all(|checkpoint| kept.contains(&checkpoint)), "one with its part is gone");
        assert!(kept.len() as u64 <= most + most / 2 + 100, "{}", kept.len());
    }

    #[test]
    fn what_a_restart_may_commit_again_keeps_its_record() {
        let (world, most) = (World::default(), KEPT as u64);
        let mut records = Records::default();
        // The parts of many checkpoints that were aborted are committed with one that completes: a restart restores that one.
        (1..=3 * most).for_each(|checkpoint| records.on_prepared(CheckpointId(checkpoint)));
        for checkpoint in 1..=3 * most {
            let shown = path_of(PART, CheckpointId(checkpoint));
            world.put(&layout::part_record(&shown), b"a record");
            records.on_committed(&world.env(), PART, &shown).now_or_never().expect("the world answers at once");
        }
        assert_eq!(kept(&world).len() as u64, 3 * most);
    }

    #[test]
    fn a_subtask_that_commits_nothing_remembers_nothing() {
        let mut records = Records::default();
        (1..10_000).for_each(|checkpoint| records.on_prepared(CheckpointId(checkpoint)));
        assert!(records.prepared.is_empty());
    }
}

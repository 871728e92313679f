//! Sentences about retention.

use super::*;
use crate::persist::layout;

fn id(number: u64) -> CheckpointId {
    CheckpointId(number)
}

fn manifest(checkpoint: u64) -> String {
    format!("checkpoints/chk-{checkpoint}/manifest-a1.1")
}

fn blob(checkpoint: u64) -> String {
    format!("checkpoints/chk-{checkpoint}/count-0-a1.1")
}

fn retained(pairs: &[(u64, u64)]) -> Vec<Retained> {
    let one = |(number, checkpoint): &(u64, u64)| Retained {
        number: *number,
        checkpoint: id(*checkpoint),
        manifest: manifest(*checkpoint),
    };
    pairs.iter().map(one).collect()
}

fn reachable(bound: u64) -> Reachable {
    Reachable { bound: id(bound), carried: BTreeSet::new() }
}

const NOW: Duration = Duration::ZERO;

/// Retention that answers to a test.
struct Keeping {
    core: Retention,
    out: Vec<Effect>,
}

impl Keeping {
    /// A new log: nothing retained, slot 1 says who leads.
    fn new(keep: usize) -> Self {
        Self { core: Retention::new(keep, &[], 1), out: Vec::new() }
    }

    /// Takes over a log that retains these, from slot `floor` on.
    fn over(pairs: &[(u64, u64)], floor: u64) -> Self {
        Self { core: Retention::new(1, &retained(pairs), floor), out: Vec::new() }
    }

    /// Completes a checkpoint whose manifest names `blobs`.
    fn complete(&mut self, checkpoint: u64, blobs: &[String], falls: &[(u64, u64)], floor: u64) {
        self.core.on_described(id(checkpoint), &manifest(checkpoint), blobs.iter().cloned());
        self.core.on_completed(id(checkpoint), &retained(falls), floor, &mut self.out);
    }

    fn sweep(&mut self) -> Vec<Effect> {
        self.core.sweep(&mut self.out);
        self.effects()
    }

    fn listed(&mut self, paths: &[String], bound: u64) -> Vec<Effect> {
        self.core.on_listed(Some(paths), &reachable(bound), &mut self.out);
        self.effects()
    }

    fn deleted(&mut self, checkpoint: u64) -> Vec<Effect> {
        self.core.on_deleted(id(checkpoint), true, &mut self.out);
        self.effects()
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.out)
    }
}

fn delete(checkpoint: u64, paths: &[String]) -> Effect {
    Effect::Delete { checkpoint: id(checkpoint), paths: paths.to_vec() }
}

#[test]
fn with_one_retained_the_floor_is_the_new_slot_itself() {
    let keep = Keeping::new(1).core;
    assert_eq!(keep.floor(&[], 2), 2);
    assert_eq!(keep.floor(&retained(&[(2, 1)]), 3), 3);
}

#[test]
fn with_three_retained_the_floor_is_the_slot_of_the_third_newest() {
    let keep = Keeping::new(3).core;
    assert_eq!(keep.floor(&[], 2), 2);
    assert_eq!(keep.floor(&retained(&[(2, 1)]), 3), 2);
    assert_eq!(keep.floor(&retained(&[(2, 1), (3, 2)]), 7), 2);
    assert_eq!(keep.floor(&retained(&[(2, 1), (3, 2), (7, 4)]), 8), 3);
}

#[test]
fn a_completion_subsumes_and_then_deletes_the_manifest_before_blobs_and_frees_slots_in_order() {
    let mut keep = Keeping::new(1);
    keep.complete(1, &[blob(1)], &[], 2);
    keep.listed(&[manifest(1), blob(1)], 2);
    keep.core.on_freed(true, &mut keep.out);
    keep.complete(2, &[blob(2)], &[(2, 1)], 4);
    assert_eq!(
        keep.effects(),
        [Effect::Subsume { checkpoint: id(1) }, Effect::List { delay: NOW }],
        "nothing is deleted before it has been announced and listed"
    );
    assert_eq!(keep.core.backlog(), 1);
    let listed = [
        blob(1),
        manifest(1),
        blob(2),
        manifest(2),
        blob(3),
        layout::log_entry(2),
        layout::log_entry(3),
        layout::log_entry(4),
    ];
    assert_eq!(keep.listed(&listed, 3), [delete(1, &[manifest(1)])]);
    assert_eq!(keep.deleted(1), [delete(1, &[blob(1)])]);
    assert_eq!(keep.deleted(1), [Effect::Free { slots: vec![2, 3] }]);
    keep.core.on_freed(true, &mut keep.out);
    assert_eq!((keep.effects(), keep.core.is_idle(), keep.core.backlog()), (vec![], true, 0));
}

#[test]
fn what_a_stale_listing_misses_of_a_fallen_checkpoint_is_deleted_all_the_same() {
    let mut keep = Keeping::new(1);
    keep.complete(1, &[blob(1)], &[], 1);
    keep.listed(&[], 2);
    keep.complete(2, &[blob(2)], &[(2, 1)], 3);
    keep.effects();
    assert_eq!(keep.listed(&[], 3), [delete(1, &[manifest(1)])]);
    assert_eq!(keep.deleted(1), [delete(1, &[blob(1)])]);
}

#[test]
fn a_blob_that_a_retained_manifest_carries_on_from_an_older_checkpoint_stays() {
    let mut keep = Keeping::new(1);
    keep.complete(1, &[blob(1), "checkpoints/chk-1/source-0-a1.1".to_owned()], &[], 1);
    keep.listed(&[], 2);
    keep.complete(2, &[blob(2), "checkpoints/chk-1/source-0-a1.1".to_owned()], &[(2, 1)], 1);
    keep.effects();
    let listed = [blob(1), manifest(1), "checkpoints/chk-1/source-0-a1.1".to_owned()];
    assert_eq!(keep.listed(&listed, 3), [delete(1, &[manifest(1)])]);
    assert_eq!(keep.deleted(1), [delete(1, &[blob(1)])]);
}

#[test]
fn what_a_pending_checkpoint_carries_on_stays_although_the_manifest_that_named_it_falls() {
    let mut keep = Keeping::new(1);
    let carried = "checkpoints/chk-1/source-0-a1.1".to_owned();
    keep.complete(1, &[blob(1), carried.clone()], &[], 1);
    keep.listed(&[], 2);
    keep.complete(2, &[blob(2)], &[(2, 1)], 1);
    keep.effects();
    let reachable = Reachable { bound: id(3), carried: BTreeSet::from([carried.clone()]) };
    keep.core.on_listed(Some(&[blob(1), carried]), &reachable, &mut keep.out);
    keep.effects();
    assert_eq!(keep.deleted(1), [delete(1, &[blob(1)])]);
}

#[test]
fn a_new_leader_reads_what_is_retained_and_finds_the_lowest_slot_before_it_deletes_anything() {
    let mut keep = Keeping::over(&[(7, 5)], 7);
    let read = Effect::ReadManifest { checkpoint: id(5), path: manifest(5), delay: NOW };
    assert_eq!(keep.sweep(), [read]);
    let carried = blob(4);
    keep.core.on_manifest_read(id(5), Some(BTreeSet::from([blob(5), carried.clone()])), &mut keep.out);
    assert_eq!(keep.effects(), [Effect::Probe { number: 6, delay: NOW }]);
    keep.core.on_probed(6, Some(true), &mut keep.out);
    keep.core.on_probed(5, Some(false), &mut keep.out);
    assert_eq!(keep.effects(), [Effect::Probe { number: 5, delay: NOW }, Effect::List { delay: NOW }]);
    let listed = [carried, manifest(4), blob(5), manifest(5), blob(6), blob(101)];
    assert_eq!(
        keep.listed(&listed, 101),
        [delete(4, &[manifest(4)])],
        "what older leaderships left, but neither what is retained or named, nor its own"
    );
    assert_eq!(keep.deleted(4), [delete(6, &[blob(6)])]);
    assert_eq!(keep.deleted(6), [Effect::Free { slots: vec![6] }]);
}

#[test]
fn nothing_is_deleted_while_a_retained_manifest_cannot_be_read() {
    let mut keep = Keeping::over(&[(7, 5)], 7);
    let mut reads = 0;
    keep.core.sweep(&mut keep.out);
    while let Some(effect) = keep.out.pop() {
        assert!(matches!(effect, Effect::ReadManifest { .. }), "{effect:?}");
        reads += 1;
        keep.core.on_manifest_read(id(5), None, &mut keep.out);
    }
    assert_eq!((reads, keep.core.is_idle()), (SWEEP_TRIES, true));
}

#[test]
fn at_most_a_few_checkpoints_are_deleted_at_a_time() {
    let mut keep = Keeping::new(1);
    keep.sweep();
    let listed: Vec<String> = (1..=6).map(blob).collect();
    let started = keep.listed(&listed, 100);
    assert_eq!(started.len(), PARALLEL);
    assert_eq!(keep.deleted(2), [delete(5, &[blob(5)])]);
}

#[test]
fn a_slot_that_a_late_create_put_back_is_freed_again() {
    let mut keep = Keeping::over(&[], 3);
    keep.sweep();
    keep.core.on_probed(2, Some(false), &mut keep.out);
    keep.effects();
    assert_eq!(keep.listed(&[layout::log_entry(1), layout::log_entry(3)], 100), [Effect::Free { slots: vec![1] }]);
}

#[test]
fn what_is_not_ours_is_never_deleted() {
    let names = ["chk-1", "chk-x/manifest-a1.1", "log/notes", "readme", "savepoint-1/manifest"];
    let mut listed: Vec<String> = names.iter().map(|name| format!("checkpoints/{name}")).collect();
    listed.push("input/chk-1/part".to_owned());
    let mut keep = Keeping::new(1);
    keep.sweep();
    assert_eq!((keep.listed(&listed, 100), keep.core.is_idle()), (vec![], true));
}

#[test]
fn a_completion_during_a_sweep_is_followed_by_another_sweep() {
    let mut keep = Keeping::new(1);
    keep.sweep();
    keep.complete(1, &[blob(1)], &[], 1);
    assert_eq!(keep.effects(), [], "one sweep at a time");
    assert_eq!(keep.listed(&[], 2), [Effect::List { delay: NOW }]);
}

#[test]
fn a_failed_deletion_is_found_again_by_listing_a_bounded_number_of_times() {
    let mut keep = Keeping::new(1);
    keep.core.sweep(&mut keep.out);
    let mut listings = 0;
    while let Some(effect) = keep.out.pop() {
        match effect {
            Effect::List { .. } => {
                listings += 1;
                keep.core.on_listed(Some(&[blob(1)]), &reachable(2), &mut keep.out);
            }
            Effect::Delete { checkpoint, .. } => keep.core.on_deleted(checkpoint, false, &mut keep.out),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(listings, SWEEP_TRIES);
    assert!(keep.core.is_idle());
}

#[test]
fn slots_that_could_not_be_freed_are_freed_by_the_next_sweep_from_the_same_one_on() {
    let mut keep = Keeping::new(1);
    keep.complete(1, &[blob(1)], &[], 3);
    keep.effects();
    assert_eq!(keep.listed(&[], 2), [Effect::Free { slots: vec![1, 2] }]);
    keep.core.on_freed(false, &mut keep.out);
    assert!(matches!(keep.effects()[..], [Effect::List { .. }]));
    assert_eq!(keep.listed(&[], 2), [Effect::Free { slots: vec![1, 2] }]);
}

#[test]
fn what_cannot_be_deleted_at_all_holds_nobody_up() {
    let mut keep = Keeping::new(1);
    keep.complete(1, &[blob(1)], &[], 1);
    keep.listed(&[], 2);
    keep.complete(2, &[blob(2)], &[(2, 1)], 1);
    let mut held_up = false;
    while let Some(effect) = keep.out.pop() {
        held_up |= keep.core.backlog() == 1;
        match effect {
            Effect::List { .. } => keep.core.on_listed(Some(&[]), &reachable(3), &mut keep.out),
            Effect::Delete { checkpoint, .. } => keep.core.on_deleted(checkpoint, false, &mut keep.out),
            Effect::Subsume { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((held_up, keep.core.backlog()), (true, 0));
}

#[test]
fn a_blob_that_several_fallen_manifests_name_waits_for_all_of_them() {
    let mut keep = Keeping::new(1);
    let shared = blob(1);
    keep.complete(1, std::slice::from_ref(&shared), &[], 1);
    keep.listed(&[], 2);
    keep.complete(2, std::slice::from_ref(&shared), &[(2, 1)], 1);
    keep.complete(3, &[blob(3)], &[(3, 2)], 1);
    keep.effects();
    assert_eq!(keep.listed(&[], 4), [delete(1, &[manifest(1)]), delete(2, &[manifest(2)])]);
    assert_eq!(keep.deleted(1), []);
    assert_eq!(keep.deleted(2), [delete(1, &[shared]), delete(2, &[])]);
}

#[test]
fn what_an_old_listing_hid_from_every_other_sweep_is_found_by_the_last_one() {
    let mut keep = Keeping::new(1);
    keep.sweep();
    assert_eq!(keep.listed(&[], 5), []);
    keep.core.sweep_for_good(&mut keep.out);
    assert_eq!(keep.effects(), [Effect::List { delay: LISTING_AGE_MAX }], "a listing of before would be worth nothing");
    assert_eq!(keep.listed(&[blob(4)], 5), [delete(4, &[blob(4)])]);
}

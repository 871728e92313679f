//! The completed store, effect by effect.

mod model;

use super::proposal::CREATE_TRIES;
use super::*;
use crate::door::LISTING_AGE_MAX;
use crate::ids::{Attempt, LogId};
use crate::persist::layout;

const NOW: Duration = Duration::ZERO;

fn failed<T>() -> Result<T, StorageError> {
    Err(StorageError::Failed("the disk is on fire".into()))
}

fn unknown<T>() -> Result<T, StorageError> {
    Err(StorageError::Unknown("the reply was lost".into()))
}

fn exists() -> Result<(), StorageError> {
    Err(StorageError::Exists("slot".into()))
}

fn absent() -> Result<Bytes, StorageError> {
    Err(StorageError::NotFound("slot".into()))
}

fn mark() -> JobMark {
    JobMark { name: "count".into() }
}

fn slot(generation: u64, token: u64, ids_reserved: u64, record: SlotRecord) -> Slot {
    let (log, lineage, generation) = (LogId(7), None, Generation(generation));
    Slot { log, lineage, generation, token, ids_reserved: CheckpointId(ids_reserved), job: mark(), record }
}

fn manifest(checkpoint: u64) -> String {
    layout::manifest(CheckpointId(checkpoint), Attempt { generation: Generation(1), number: 1 })
}

fn completed(checkpoint: u64, floor: u64) -> SlotRecord {
    SlotRecord::Completed { checkpoint: CheckpointId(checkpoint), manifest: manifest(checkpoint), floor }
}

/// Takes what the last step asked for.
fn asked(out: &mut Vec<Effect>) -> Vec<Effect> {
    std::mem::take(out)
}

fn started() -> (Completed, Vec<Effect>) {
    let mut out = Vec::new();
    let mut store = Completed::new(7, mark(), Start::Submit);
    store.start(&mut out);
    assert_eq!(asked(&mut out), [Effect::List { delay: NOW }]);
    (store, out)
}

/// A store that has read `log`, slots from `first` on, and claims the next one.
fn claiming(first: u64, log: &[Slot]) -> (Completed, Vec<Effect>) {
    let (mut store, mut out) = started();
    let numbers: Vec<u64> = (first..).take(log.len()).collect();
    let top = numbers.last().copied().unwrap_or(0);
    store.on_listed(Ok(numbers.clone()), &mut out);
    assert_eq!(asked(&mut out), [Effect::Read { number: top + 1, delay: NOW }], "the listing is probed");
    store.on_read(top + 1, absent(), &mut out);
    while let [Effect::Read { number, .. }] = out[..] {
        out.clear();
        store.on_read(number, Ok(log[(number - first) as usize].encode()), &mut out);
    }
    (store, out)
}

/// The reading is settled by a listing of an instant after it, with `top` on top.
fn settled_by(store: &mut Completed, top: u64, out: &mut Vec<Effect>) {
    assert_eq!(asked(out), [Effect::List { delay: LISTING_AGE_MAX }], "a listing of before would be worth nothing");
    store.on_listed(Ok(vec![top]), out);
}

/// A leader of a log that was empty.
fn leading() -> (Completed, Vec<Effect>) {
    let (mut store, mut out) = claiming(1, &[]);
    out.clear();
    store.on_created(1, Ok(()), &mut out);
    store.on_listed(Ok(vec![1]), &mut out);
    assert_eq!(out.pop(), Some(Effect::Lead { generation: Generation(1), number: 1 }));
    out.clear();
    (store, out)
}

/// The slot of [`leading`].
fn first() -> Slot {
    slot(1, 7, 100, SlotRecord::NewGeneration)
}

/// A leader that proposes checkpoint 1 in slot 2.
fn proposing() -> (Completed, Vec<Effect>) {
    let (mut store, mut out) = leading();
    assert_eq!(store.allocate(), Some(CheckpointId(1)));
    store.propose(8, completed(1, 2), &mut out);
    assert_eq!(asked(&mut out), [Effect::Create { number: 2, slot: slot(1, 8, 100, completed(1, 2)), delay: NOW }]);
    (store, out)
}

/// The slot below is the one that the store knows.
fn below_is(store: &mut Completed, number: u64, slot: &Slot, out: &mut Vec<Effect>) {
    assert_eq!(asked(out), [Effect::Read { number, delay: NOW }], "the slot below is looked at");
    store.on_read(number, Ok(slot.encode()), out);
}

#[test]
fn the_first_leader_of_all_occupies_slot_one_and_makes_sure_that_it_is_the_top() {
    let (mut store, mut out) = claiming(1, &[]);
    let claim = slot(1, 7, 100, SlotRecord::NewGeneration);
    assert_eq!(asked(&mut out), [Effect::Create { number: 1, slot: claim, delay: NOW }]);
    store.on_created(1, Ok(()), &mut out);
    assert_eq!(
        asked(&mut out),
        [Effect::List { delay: LISTING_AGE_MAX }],
        "a listing of before would be worth nothing"
    );
    store.on_listed(Ok(vec![1]), &mut out);
    assert_eq!(asked(&mut out), [Effect::Lead { generation: Generation(1), number: 1 }]);
    assert!(store.is_idle());
    assert_eq!((store.latest(), store.next_number(), store.next_id()), (None, 2, CheckpointId(1)));
}

#[test]
fn a_later_leader_starts_above_every_id_that_may_have_been_used() {
    let log = [
        slot(1, 1, 100, SlotRecord::NewGeneration),
        slot(1, 2, 100, completed(1, 2)),
        slot(1, 3, 200, SlotRecord::IdsReserved),
    ];
    let (mut store, mut out) = claiming(1, &log);
    let claim = slot(2, 7, 300, SlotRecord::NewGeneration);
    assert_eq!(asked(&mut out), [Effect::Create { number: 4, slot: claim, delay: NOW }]);
    store.on_created(4, Ok(()), &mut out);
    below_is(&mut store, 3, &log[2], &mut out);
    assert_eq!(
        asked(&mut out),
        [Effect::List { delay: LISTING_AGE_MAX }],
        "how often others tried to write it is not known"
    );
    store.on_listed(Ok(vec![1, 2, 3, 4]), &mut out);
    assert_eq!(store.allocate(), Some(CheckpointId(201)));
    assert_eq!(store.latest().map(|latest| latest.checkpoint), Some(CheckpointId(1)));
}

#[test]
fn reading_goes_down_to_the_floor_and_no_further() {
    // Slots 1 to 4 are gone or garbage; the floor of the newest `Completed` is 5.
    let log = [
        slot(1, 1, 100, completed(3, 4)),
        slot(1, 2, 100, completed(4, 5)),
        slot(2, 3, 200, SlotRecord::NewGeneration),
    ];
    let (mut store, mut out) = started();
    store.on_listed(Ok(vec![2, 5, 6, 7]), &mut out);
    store.on_read(8, absent(), &mut out);
    store.on_read(7, Ok(log[2].encode()), &mut out);
    store.on_read(6, Ok(log[1].encode()), &mut out);
    store.on_read(5, Ok(log[0].encode()), &mut out);
    let reads: Vec<u64> =
        out.iter().filter_map(|e| if let Effect::Read { number, .. } = e { Some(*number) } else { None }).collect();
    assert_eq!(reads, [8, 7, 6, 5]);
    assert!(matches!(out.last(), Some(Effect::Create { number: 8, .. })));
}

#[test]
fn a_slot_above_the_listing_is_found_by_probing() {
    let (mut store, mut out) = started();
    store.on_listed(Ok(vec![]), &mut out);
    store.on_read(1, Ok(slot(1, 1, 100, SlotRecord::NewGeneration).encode()), &mut out);
    store.on_read(2, absent(), &mut out);
    let claim = slot(2, 7, 200, SlotRecord::NewGeneration);
    assert_eq!(out.last(), Some(&Effect::Create { number: 2, slot: claim, delay: NOW }));
}

#[test]
fn a_log_that_ends_in_finished_has_nothing_to_lead() {
    let log = [
        slot(1, 1, 100, SlotRecord::NewGeneration),
        slot(1, 2, 100, completed(1, 2)),
        slot(1, 3, 100, SlotRecord::Ended { how: Ended::Finished { checkpoint: CheckpointId(1) }, floor: 3 }),
    ];
    let (mut store, mut out) = claiming(1, &log);
    settled_by(&mut store, 3, &mut out);
    assert_eq!(asked(&mut out), [Effect::Over { how: Ended::Finished { checkpoint: CheckpointId(1) } }]);
}

#[test]
fn a_late_copy_of_the_end_of_the_job_ends_nothing() {
    // Its writer was deposed before it could declare the end, and another slot 2 has been freed since.
    let end = SlotRecord::Ended { how: Ended::Finished { checkpoint: CheckpointId(1) }, floor: 2 };
    let (mut store, mut out) = claiming(2, &[slot(1, 2, 100, end)]);
    settled_by(&mut store, 9, &mut out);
    assert_eq!(asked(&mut out), [Effect::Read { number: 10, delay: NOW }], "the log is read afresh");
    store.on_read(10, absent(), &mut out);
    store.on_read(9, Ok(slot(2, 3, 200, completed(101, 9)).encode()), &mut out);
    assert!(matches!(out.last(), Some(Effect::Create { number: 10, .. })), "{out:?}");
}

#[test]
fn a_standby_deposes_whom_it_has_watched_and_gives_way_to_whoever_was_faster() {
    let leader = slot(1, 1, 100, SlotRecord::NewGeneration);
    let claim = slot(2, 7, 200, SlotRecord::NewGeneration);
    let answer = |watched| {
        let mut out = Vec::new();
        let mut store = Completed::new(7, mark(), Start::Resume).giving_way(watched);
        store.start(&mut out);
        store.on_listed(Ok(vec![1]), &mut out);
        store.on_read(2, absent(), &mut out);
        out.clear();
        store.on_read(1, Ok(leader.encode()), &mut out);
        asked(&mut out)
    };
    assert_eq!(answer(Some(Generation(1))), [Effect::Create { number: 2, slot: claim, delay: NOW }]);
    assert_eq!(answer(None), [Effect::GiveWay { leader: Generation(1) }]);
}

#[test]
fn a_slot_that_cannot_be_decoded_fails_the_recovery() {
    let (mut store, mut out) = started();
    store.on_listed(Ok(vec![1]), &mut out);
    store.on_read(2, absent(), &mut out);
    out.clear();
    store.on_read(1, Ok(Bytes::from_static(b"not a slot")), &mut out);
    let error = Error::corrupt("checkpoints/log/0000000001 is damaged: only 10 bytes long");
    assert_eq!(asked(&mut out), [Effect::Fail { error }]);
}

#[test]
fn a_slot_that_is_missing_fails_the_recovery_unless_the_log_has_grown() {
    let (mut store, mut out) = started();
    store.on_listed(Ok(vec![1, 2]), &mut out);
    store.on_read(3, absent(), &mut out);
    store.on_read(2, Ok(slot(1, 2, 100, SlotRecord::IdsReserved).encode()), &mut out);
    out.clear();
    store.on_read(1, absent(), &mut out);
    assert_eq!(asked(&mut out), [Effect::List { delay: NOW }], "somebody newer may have raised the floor");
    for tries in 1..reading::MISSING_TRIES {
        store.on_listed(Ok(vec![2]), &mut out);
        assert_eq!(asked(&mut out), [Effect::List { delay: backoff(tries) }], "the listing may be out of date");
    }
    store.on_listed(Ok(vec![2]), &mut out);
    let error = Error::corrupt("checkpoints/log/0000000001 is missing; the log counts from slot 1 on");
    assert_eq!(asked(&mut out), [Effect::Fail { error }]);
}

#[test]
fn a_slot_that_vanishes_because_the_floor_rose_makes_us_read_again() {
    let (mut store, mut out) = started();
    store.on_listed(Ok(vec![1, 2]), &mut out);
    store.on_read(3, absent(), &mut out);
    store.on_read(2, absent(), &mut out);
    out.clear();
    store.on_listed(Ok(vec![3]), &mut out);
    assert_eq!(asked(&mut out), [Effect::Read { number: 4, delay: NOW }]);
    store.on_read(4, absent(), &mut out);
    store.on_read(3, Ok(slot(1, 3, 100, completed(2, 3)).encode()), &mut out);
    let claim = slot(2, 7, 200, SlotRecord::NewGeneration);
    assert_eq!(out.last(), Some(&Effect::Create { number: 4, slot: claim, delay: NOW }));
}

#[test]
fn an_unreadable_slot_is_read_again_for_a_while_and_never_skipped() {
    let (mut store, mut out) = started();
    store.on_listed(Ok(vec![1]), &mut out);
    store.on_read(2, absent(), &mut out);
    for _ in 1..READ_TRIES {
        out.clear();
        store.on_read(1, failed(), &mut out);
        assert!(matches!(out[..], [Effect::Read { number: 1, delay }] if delay > NOW));
    }
    out.clear();
    store.on_read(1, failed(), &mut out);
    let error = Error::restart("cannot read checkpoints/log/0000000001: the disk is on fire");
    assert_eq!(asked(&mut out), [Effect::Fail { error }]);
}

#[test]
fn slots_that_contradict_each_other_fail_the_recovery() {
    let log = [slot(2, 1, 200, SlotRecord::NewGeneration), slot(1, 2, 200, SlotRecord::IdsReserved)];
    let (mut store, mut out) = claiming(1, &log);
    settled_by(&mut store, 2, &mut out);
    let error = Error::corrupt("checkpoints/log/0000000002 does not fit the slots before it: generation g1 after g2");
    assert_eq!(asked(&mut out), [Effect::Fail { error }]);
}

#[test]
fn what_contradicts_itself_where_the_log_has_moved_on_is_read_afresh() {
    let copies = [slot(2, 1, 200, SlotRecord::NewGeneration), slot(1, 2, 200, SlotRecord::IdsReserved)];
    let (mut store, mut out) = claiming(1, &copies);
    out.clear();
    store.on_listed(failed(), &mut out);
    assert_eq!(asked(&mut out), [Effect::List { delay: LISTING_AGE_MAX + backoff(1) }]);
    store.on_listed(Ok(vec![1, 2, 9]), &mut out);
    assert_eq!(asked(&mut out), [Effect::Read { number: 10, delay: NOW }]);
}

#[test]
fn late_copies_below_the_floor_say_nothing() {
    let (mut store, mut out) = started();
    store.on_listed(Ok(vec![1, 2]), &mut out);
    store.on_read(3, Ok(slot(2, 1, 200, SlotRecord::NewGeneration).encode()), &mut out);
    store.on_read(4, Ok(slot(1, 2, 100, completed(7, 4)).encode()), &mut out);
    store.on_read(5, Ok(slot(3, 3, 300, completed(201, 5)).encode()), &mut out);
    store.on_read(6, absent(), &mut out);
    let claim = slot(4, 7, 400, SlotRecord::NewGeneration);
    assert_eq!(out.last(), Some(&Effect::Create { number: 6, slot: claim, delay: NOW }));
    let kept: Vec<u64> = store.log.keys().copied().collect();
    assert_eq!(kept, [5], "1 to 4 are below the floor, and were copies if they were there at all");
}

#[test]
fn a_claim_that_finds_the_slot_taken_reads_again_and_tries_the_next() {
    let (mut store, mut out) = claiming(1, &[]);
    out.clear();
    store.on_created(1, exists(), &mut out);
    assert_eq!(asked(&mut out), [Effect::Read { number: 1, delay: NOW }]);
    let theirs = slot(1, 99, 100, SlotRecord::NewGeneration);
    store.on_read(1, Ok(theirs.encode()), &mut out);
    assert_eq!(asked(&mut out), [Effect::List { delay: NOW }], "the whole log is read again");
    store.on_listed(Ok(vec![1]), &mut out);
    store.on_read(2, absent(), &mut out);
    store.on_read(1, Ok(theirs.encode()), &mut out);
    let claim = slot(2, 7, 200, SlotRecord::NewGeneration);
    assert_eq!(out.last(), Some(&Effect::Create { number: 2, slot: claim, delay: NOW }));
}

#[test]
fn a_proposal_that_is_done_while_the_slot_below_is_there_is_accepted() {
    let (mut store, mut out) = proposing();
    store.on_created(2, Ok(()), &mut out);
    below_is(&mut store, 1, &first(), &mut out);
    assert_eq!(asked(&mut out), [Effect::Accept { number: 2, record: completed(1, 2) }]);
    let retained = Retained { number: 2, checkpoint: CheckpointId(1), manifest: manifest(1) };
    assert_eq!((store.retained(), store.floor(), store.next_number()), (vec![retained], 2, 3));
}

#[test]
fn a_create_that_finds_its_own_slot_is_accepted() {
    let (mut store, mut out) = proposing();
    store.on_created(2, exists(), &mut out);
    assert_eq!(asked(&mut out), [Effect::Read { number: 2, delay: NOW }]);
    store.on_read(2, Ok(slot(1, 8, 100, completed(1, 2)).encode()), &mut out);
    below_is(&mut store, 1, &first(), &mut out);
    assert_eq!(asked(&mut out), [Effect::Accept { number: 2, record: completed(1, 2) }]);
}

#[test]
fn a_create_that_finds_somebody_elses_slot_means_deposed() {
    let (mut store, mut out) = proposing();
    store.on_created(2, exists(), &mut out);
    out.clear();
    store.on_read(2, Ok(slot(2, 99, 200, SlotRecord::NewGeneration).encode()), &mut out);
    assert_eq!(asked(&mut out), [Effect::StepDown]);
    assert!(!store.is_idle());
}

#[test]
fn a_create_that_succeeds_on_the_number_of_a_deleted_slot_means_deposed() {
    let (mut store, mut out) = proposing();
    store.on_created(2, Ok(()), &mut out);
    out.clear();
    store.on_read(1, absent(), &mut out);
    freed(&mut store, &mut out);
}

/// A slot is gone because somebody newer has freed it, which a listing shows.
fn freed(store: &mut Completed, out: &mut Vec<Effect>) {
    assert_eq!(asked(out), [Effect::List { delay: LISTING_AGE_MAX }], "who has deleted it?");
    store.on_listed(Ok(vec![8, 9]), out);
    assert_eq!(asked(out), [Effect::StepDown], "the successor's slots are far above by now");
}

/// A slot is gone, and nobody newer is there.
fn lost(store: &mut Completed, left: &[u64], gone: &str, out: &mut Vec<Effect>) {
    assert_eq!(asked(out), [Effect::List { delay: LISTING_AGE_MAX }], "who has deleted it?");
    store.on_listed(Ok(left.to_vec()), out);
    let [Effect::Fail { error }] = &asked(out)[..] else { panic!("a log that was deleted deposes nobody") };
    assert_eq!(error.reaction, crate::error::Reaction::Corrupt);
    assert!(error.message.starts_with(&format!("checkpoints/log/{gone} is gone")), "{error}");
}

#[test]
fn a_log_that_was_deleted_is_corrupt_and_nobody_has_taken_over() {
    let (mut store, mut out) = proposing();
    store.on_created(2, Ok(()), &mut out);
    out.clear();
    store.on_read(1, absent(), &mut out);
    lost(&mut store, &[2], "0000000001", &mut out);
    let (mut store, mut out) = leading();
    store.confirm(&mut out);
    store.on_read(2, absent(), &mut out);
    out.clear();
    store.on_read(1, absent(), &mut out);
    lost(&mut store, &[], "0000000001", &mut out);
    let (mut store, mut out) = proposing();
    store.on_created(2, exists(), &mut out);
    out.clear();
    store.on_read(2, absent(), &mut out);
    lost(&mut store, &[], "0000000002", &mut out);
}

#[test]
fn what_the_end_of_the_job_frees_may_be_gone_before_its_leader_knows_of_that_end() {
    let end = SlotRecord::Ended { how: Ended::Cancelled, floor: 2 };
    for reply in [Ok(()), unknown()] {
        let (mut store, mut out) = leading();
        store.propose(8, end.clone(), &mut out);
        store.on_created(2, reply.clone(), &mut out);
        if reply.is_err() {
            store.on_read(2, Ok(slot(1, 8, 100, end.clone()).encode()), &mut out);
        }
        assert_eq!(asked(&mut out).last(), Some(&Effect::Read { number: 1, delay: NOW }), "created: {reply:?}");
        store.on_read(1, absent(), &mut out);
        assert_eq!(
            asked(&mut out),
            [Effect::List { delay: LISTING_AGE_MAX }],
            "another coordinator may have cleaned up"
        );
        store.on_listed(Ok(vec![2]), &mut out);
        assert_eq!(asked(&mut out), [Effect::Accept { number: 2, record: end.clone() }]);
    }
}

#[test]
fn a_slot_below_that_somebody_else_wrote_late_is_not_the_one_we_know() {
    let (mut store, mut out) = proposing();
    store.on_created(2, Ok(()), &mut out);
    out.clear();
    store.on_read(1, Ok(slot(1, 99, 100, SlotRecord::NewGeneration).encode()), &mut out);
    assert_eq!(asked(&mut out), [Effect::StepDown]);
}

#[test]
fn after_a_slot_of_which_a_copy_may_land_late_a_listing_must_show_the_next_on_top() {
    let (mut store, mut out) = proposing();
    store.on_created(2, unknown(), &mut out);
    store.on_read(2, absent(), &mut out);
    store.on_created(2, Ok(()), &mut out);
    out.clear();
    store.on_read(1, Ok(first().encode()), &mut out);
    assert_eq!(asked(&mut out), [Effect::Accept { number: 2, record: completed(1, 2) }]);
    assert_eq!(store.allocate(), Some(CheckpointId(2)));
    store.propose(9, completed(2, 3), &mut out);
    store.on_created(3, Ok(()), &mut out);
    out.clear();
    store.on_read(2, Ok(slot(1, 8, 100, completed(1, 2)).encode()), &mut out);
    assert_eq!(asked(&mut out), [Effect::List { delay: LISTING_AGE_MAX }], "slot 2 may be a late copy of itself");
    store.on_listed(Ok(vec![1, 2]), &mut out);
    assert_eq!(asked(&mut out), [Effect::List { delay: LISTING_AGE_MAX + backoff(1) }]);
    store.on_listed(Ok(vec![2, 3, 9]), &mut out);
    assert_eq!(asked(&mut out), [Effect::StepDown]);
}

#[test]
fn a_slot_that_was_there_and_is_gone_means_deposed() {
    let (mut store, mut out) = proposing();
    store.on_created(2, exists(), &mut out);
    out.clear();
    store.on_read(2, absent(), &mut out);
    freed(&mut store, &mut out);
}

#[test]
fn an_unknown_outcome_is_read_back_and_the_same_bytes_are_created_until_it_is_decided() {
    let (mut store, mut out) = proposing();
    let proposed = slot(1, 8, 100, completed(1, 2));
    for tries in 1..100 {
        store.on_created(2, unknown(), &mut out);
        assert_eq!(asked(&mut out), [Effect::Read { number: 2, delay: NOW }]);
        store.on_read(2, absent(), &mut out);
        let again = Effect::Create { number: 2, slot: proposed.clone(), delay: backoff(tries) };
        assert_eq!(asked(&mut out), [again], "never given up, never rejected");
    }
    store.on_created(2, unknown(), &mut out);
    out.clear();
    store.on_read(2, Ok(proposed.encode()), &mut out);
    store.on_read(1, Ok(first().encode()), &mut out);
    assert_eq!(out.last(), Some(&Effect::Accept { number: 2, record: completed(1, 2) }));
}

#[test]
fn definite_failures_reject_the_proposal_after_a_few_tries() {
    let (mut store, mut out) = proposing();
    for tries in 1..CREATE_TRIES {
        store.on_created(2, failed(), &mut out);
        let again = Effect::Create { number: 2, slot: slot(1, 8, 100, completed(1, 2)), delay: backoff(tries) };
        assert_eq!(asked(&mut out), [again]);
    }
    store.on_created(2, failed(), &mut out);
    let rejected = Effect::Reject { record: completed(1, 2), cause: "the disk is on fire".into() };
    assert_eq!(asked(&mut out), [rejected]);
    assert!(store.is_idle(), "the same slot can be proposed for something else");
    assert_eq!((store.next_number(), store.latest()), (2, None));
}

#[test]
fn a_definite_failure_after_an_unknown_outcome_decides_nothing() {
    let (mut store, mut out) = proposing();
    store.on_created(2, unknown(), &mut out);
    store.on_read(2, absent(), &mut out);
    for _ in 0..3 * CREATE_TRIES {
        out.clear();
        store.on_created(2, failed(), &mut out);
        assert!(matches!(out[..], [Effect::Create { number: 2, .. }]), "the first create may land yet: {out:?}");
    }
}

#[test]
fn a_slot_below_that_cannot_be_read_is_read_again_before_the_proposal_counts() {
    let (mut store, mut out) = proposing();
    store.on_created(2, Ok(()), &mut out);
    out.clear();
    store.on_read(1, failed(), &mut out);
    assert_eq!(asked(&mut out), [Effect::Read { number: 1, delay: backoff(1) }]);
    store.on_read(1, Ok(first().encode()), &mut out);
    assert_eq!(asked(&mut out), [Effect::Accept { number: 2, record: completed(1, 2) }]);
}

#[test]
fn storage_that_never_lists_what_it_stored_is_refused() {
    let (mut store, mut out) = claiming(1, &[]);
    out.clear();
    store.on_created(1, Ok(()), &mut out);
    for tries in 1..proposal::LIST_TRIES {
        out.clear();
        store.on_listed(if tries % 2 == 0 { failed() } else { Ok(vec![]) }, &mut out);
        assert_eq!(out, [Effect::List { delay: LISTING_AGE_MAX + backoff(tries) }]);
    }
    out.clear();
    store.on_listed(Ok(vec![]), &mut out);
    let message = "checkpoints/log/0000000001 was created but is not listed: this storage cannot hold the log of completed checkpoints";
    assert_eq!(asked(&mut out), [Effect::Fail { error: Error::corrupt(message) }]);
}

#[test]
fn ids_run_out_until_more_are_reserved() {
    let (mut store, mut out) = leading();
    for id in 1..=100 {
        assert_eq!(store.allocate(), Some(CheckpointId(id)));
    }
    assert_eq!(store.allocate(), None);
    store.propose(8, SlotRecord::IdsReserved, &mut out);
    let reserved = slot(1, 8, 200, SlotRecord::IdsReserved);
    assert_eq!(asked(&mut out), [Effect::Create { number: 2, slot: reserved, delay: NOW }]);
    assert_eq!(store.allocate(), None, "not before that is durable");
    store.on_created(2, Ok(()), &mut out);
    below_is(&mut store, 1, &first(), &mut out);
    assert_eq!(store.allocate(), Some(CheckpointId(101)));
}

#[test]
fn a_completed_checkpoint_brings_the_next_block_of_ids_along() {
    let (mut store, mut out) = leading();
    (1..=60).for_each(|id| assert_eq!(store.allocate(), Some(CheckpointId(id))));
    store.propose(8, completed(60, 2), &mut out);
    let proposed = slot(1, 8, 200, completed(60, 2));
    assert_eq!(asked(&mut out), [Effect::Create { number: 2, slot: proposed, delay: NOW }]);
}

#[test]
fn a_leader_that_asks_learns_whether_it_still_leads() {
    let (mut store, mut out) = leading();
    store.confirm(&mut out);
    assert_eq!(asked(&mut out), [Effect::Read { number: 2, delay: NOW }]);
    store.on_read(2, absent(), &mut out);
    below_is(&mut store, 1, &first(), &mut out);
    assert_eq!(asked(&mut out), [Effect::StillLeads]);
    store.confirm(&mut out);
    out.clear();
    store.on_read(2, Ok(slot(2, 99, 200, SlotRecord::NewGeneration).encode()), &mut out);
    assert_eq!(asked(&mut out), [Effect::StepDown]);
}

#[test]
fn a_leader_whose_slots_have_been_freed_learns_that_it_is_deposed() {
    let (mut store, mut out) = leading();
    store.confirm(&mut out);
    store.on_read(2, absent(), &mut out);
    out.clear();
    store.on_read(1, absent(), &mut out);
    freed(&mut store, &mut out);
}

#[test]
fn a_leader_that_gets_no_answer_stays_in_doubt() {
    let (mut store, mut out) = leading();
    store.confirm(&mut out);
    for tries in 1..CONFIRM_TRIES {
        out.clear();
        store.on_read(2, failed(), &mut out);
        assert_eq!(out, [Effect::Read { number: 2, delay: backoff(tries) }]);
    }
    out.clear();
    store.on_read(2, failed(), &mut out);
    assert_eq!(asked(&mut out), [Effect::Doubt]);
}

#[test]
fn a_proposal_made_while_leadership_is_confirmed_waits_for_the_answer() {
    let (mut store, mut out) = leading();
    assert_eq!(store.allocate(), Some(CheckpointId(1)));
    store.confirm(&mut out);
    out.clear();
    store.propose(8, completed(1, 2), &mut out);
    assert_eq!(asked(&mut out), []);
    assert!(!store.accepts_proposals());
    store.on_read(2, failed(), &mut out);
    assert_eq!(asked(&mut out), [Effect::Read { number: 2, delay: backoff(1) }]);
    store.on_read(2, absent(), &mut out);
    below_is(&mut store, 1, &first(), &mut out);
    let create = Effect::Create { number: 2, slot: slot(1, 8, 100, completed(1, 2)), delay: NOW };
    assert_eq!(asked(&mut out), [Effect::StillLeads, create]);
}

#[test]
fn a_fenced_reply_fails_the_store_at_once() {
    let (mut store, mut out) = proposing();
    store.on_created(2, Err(StorageError::Fenced), &mut out);
    assert_eq!(asked(&mut out), [Effect::Fail { error: StorageError::Fenced.into() }]);
}

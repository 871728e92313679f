//! Alignment, effect by effect.

use super::*;

const N: CheckpointId = CheckpointId(7);
const NEWER: CheckpointId = CheckpointId(8);

fn barrier(checkpoint: CheckpointId) -> Barrier {
    Barrier { checkpoint, alignment: Guarantee::ExactlyOnce, triggered_ms: 0 }
}

fn counted(checkpoint: CheckpointId) -> Barrier {
    Barrier { alignment: Guarantee::AtLeastOnce, ..barrier(checkpoint) }
}

fn overtaken(checkpoint: CheckpointId) -> [Effect; 3] {
    let decline = Effect::Decline(checkpoint, FailureReason::Overtaken);
    [decline, Effect::Abandon(checkpoint), Effect::Cancel(checkpoint)]
}

fn step(act: impl FnOnce(&mut Vec<Effect>)) -> Vec<Effect> {
    let mut out = Vec::new();
    act(&mut out);
    out
}

#[test]
fn the_snapshot_waits_for_the_last_barrier_and_blocks_the_first_channel() {
    let mut alignment = Alignment::new(2);
    assert_eq!(step(|out| alignment.on_barrier(0, barrier(N), out)), [Effect::Begin(barrier(N))]);
    assert!(alignment.is_blocked(0) && !alignment.is_blocked(1));
    assert_eq!(step(|out| alignment.on_barrier(1, barrier(N), out)), [Effect::Snapshot(barrier(N))]);
    assert!(!alignment.is_blocked(0) && !alignment.is_blocked(1));
}

#[test]
fn a_single_channel_never_waits() {
    let mut alignment = Alignment::new(1);
    let effects = step(|out| alignment.on_barrier(0, barrier(N), out));
    assert_eq!(effects, [Effect::Begin(barrier(N)), Effect::Snapshot(barrier(N))]);
}

#[test]
fn a_newer_barrier_abandons_the_older_alignment_and_tells_downstream_once() {
    let mut alignment = Alignment::new(2);
    alignment.on_barrier(0, barrier(N), &mut Vec::new());
    let effects = step(|out| alignment.on_barrier(1, barrier(NEWER), out));
    assert_eq!(effects[..3], overtaken(N));
    assert_eq!(effects[3..], [Effect::Begin(barrier(NEWER))]);
    assert_eq!(step(|out| alignment.on_cancel(0, N, out)), [], "the marker of the old id comes too late");
    assert_eq!(step(|out| alignment.on_barrier(0, barrier(NEWER), out)), [Effect::Snapshot(barrier(NEWER))]);
}

#[test]
fn an_obsolete_barrier_is_ignored_and_blocks_nothing() {
    let mut alignment = Alignment::new(2);
    assert_eq!(step(|out| alignment.on_cancel(0, N, out)), [Effect::Cancel(N)]);
    assert_eq!(step(|out| alignment.on_barrier(1, barrier(N), out)), []);
    assert!(!alignment.is_blocked(1));
}

#[test]
fn an_abort_during_alignment_opens_the_channels_and_cancels_downstream() {
    let mut alignment = Alignment::new(3);
    alignment.on_barrier(1, barrier(N), &mut Vec::new());
    assert_eq!(step(|out| alignment.on_abort(N, out)), [Effect::Abandon(N), Effect::Cancel(N)]);
    assert!(!alignment.is_blocked(1));
    assert_eq!(step(|out| alignment.on_abort(N, out)), [], "the marker went out already");
    assert_eq!(step(|out| alignment.on_cancel(0, N, out)), [], "the marker went out already");
    assert_eq!(step(|out| alignment.on_barrier(2, barrier(N), out)), [], "it is over");
}

#[test]
fn a_marker_ends_the_alignment_of_its_own_id_and_says_so() {
    let mut alignment = Alignment::new(2);
    alignment.on_barrier(1, barrier(N), &mut Vec::new());
    let cancelled = Effect::Decline(N, FailureReason::Cancelled);
    assert_eq!(step(|out| alignment.on_cancel(0, N, out)), [cancelled, Effect::Abandon(N), Effect::Cancel(N)]);
}

#[test]
fn the_abort_of_a_newer_checkpoint_leaves_the_older_one_alone() {
    let mut alignment = Alignment::new(2);
    assert_eq!(step(|out| alignment.on_abort(NEWER, out)), [Effect::Cancel(NEWER)]);
    assert_eq!(step(|out| alignment.on_barrier(0, barrier(N), out)), [Effect::Begin(barrier(N))]);
    assert_eq!(step(|out| alignment.on_cancel(1, NEWER, out)), []);
    assert_eq!(step(|out| alignment.on_barrier(1, barrier(N), out)), [Effect::Snapshot(barrier(N))]);
    assert_eq!(step(|out| alignment.on_barrier(1, barrier(NEWER), out)), [], "it was aborted before it began");
}

#[test]
fn a_source_that_learns_of_the_abort_first_ignores_the_trigger() {
    let mut source = Alignment::new(0);
    assert_eq!(step(|out| source.on_abort(N, out)), [Effect::Cancel(N)]);
    assert_eq!(step(|out| source.on_trigger(barrier(N), out)), []);
    assert_eq!(step(|out| source.on_trigger(barrier(NEWER), out)), [Effect::Snapshot(barrier(NEWER))]);
    assert_eq!(step(|out| source.on_abort(NEWER, out)), [], "too late: the barrier is on its way");
    assert_eq!(step(|out| source.on_trigger(barrier(N), out)), [], "an older trigger that was late");
}

#[test]
fn ended_channels_still_align_and_the_end_comes_once() {
    let mut alignment = Alignment::new(2);
    assert_eq!(step(|out| alignment.on_end(0, out)), []);
    assert_eq!(step(|out| alignment.on_barrier(0, barrier(N), out)), [Effect::Begin(barrier(N))]);
    assert_eq!(step(|out| alignment.on_end(1, out)), [Effect::EndOfInput]);
    assert_eq!(step(|out| alignment.on_barrier(1, barrier(N), out)), [Effect::Snapshot(barrier(N))]);
}

#[test]
fn a_closed_channel_has_every_barrier() {
    let mut alignment = Alignment::new(2);
    alignment.on_end(0, &mut Vec::new());
    assert_eq!(step(|out| alignment.on_closed(0, out)), []);
    let effects = step(|out| alignment.on_barrier(1, barrier(N), out));
    assert_eq!(effects, [Effect::Begin(barrier(N)), Effect::Snapshot(barrier(N))]);
}

#[test]
fn a_channel_that_closes_during_an_alignment_may_end_it() {
    let mut alignment = Alignment::new(2);
    alignment.on_end(0, &mut Vec::new());
    alignment.on_barrier(1, barrier(N), &mut Vec::new());
    assert_eq!(step(|out| alignment.on_closed(0, out)), [Effect::Snapshot(barrier(N))]);
    assert!(!alignment.is_blocked(1));
}

#[test]
fn a_trigger_where_every_producer_has_gone_blocks_and_opens_nothing() {
    let mut alignment = Alignment::new(2);
    alignment.on_end(0, &mut Vec::new());
    alignment.on_end(1, &mut Vec::new());
    alignment.on_closed(0, &mut Vec::new());
    // The other producer's last elements are still in the channel.
    assert_eq!(step(|out| alignment.on_trigger(barrier(N), out)), [Effect::Snapshot(barrier(N))]);
    assert!(!alignment.is_blocked(0) && !alignment.is_blocked(1));
    assert_eq!(step(|out| alignment.on_closed(1, out)), []);
}

#[test]
fn a_trigger_of_what_has_barriers_under_way_changes_nothing() {
    let mut alignment = Alignment::new(2);
    alignment.on_end(0, &mut Vec::new());
    alignment.on_end(1, &mut Vec::new());
    assert_eq!(step(|out| alignment.on_barrier(0, barrier(N), out)), [Effect::Begin(barrier(N))]);
    assert_eq!(step(|out| alignment.on_trigger(barrier(N), out)), [], "only a leader that lies sends it");
    assert_eq!(step(|out| alignment.on_barrier(1, barrier(N), out)), [Effect::Snapshot(barrier(N))]);
}

#[test]
fn at_least_once_counts_several_checkpoints_and_blocks_nothing() {
    let mut alignment = Alignment::new(2);
    assert_eq!(step(|out| alignment.on_barrier(0, counted(N), out)), [Effect::Begin(counted(N))]);
    assert_eq!(step(|out| alignment.on_barrier(0, counted(NEWER), out)), [Effect::Begin(counted(NEWER))]);
    assert!(!alignment.is_blocked(0) && !alignment.is_blocked(1));
    assert_eq!(step(|out| alignment.on_barrier(1, counted(N), out)), [Effect::Snapshot(counted(N))]);
    assert_eq!(step(|out| alignment.on_barrier(1, counted(NEWER), out)), [Effect::Snapshot(counted(NEWER))]);
}

#[test]
fn at_least_once_an_end_behind_a_barrier_waits_for_its_snapshot() {
    let mut alignment = Alignment::new(2);
    alignment.on_barrier(0, counted(N), &mut Vec::new());
    assert_eq!(step(|out| alignment.on_end(0, out)), []);
    assert_eq!(step(|out| alignment.on_end(1, out)), [], "the snapshot of whoever sends on channel 0 has not ended");
    assert_eq!(step(|out| alignment.on_barrier(0, counted(NEWER), out)), [Effect::Begin(counted(NEWER))]);
    let effects = step(|out| alignment.on_barrier(1, counted(N), out));
    assert_eq!(effects, [Effect::Snapshot(counted(N)), Effect::EndOfInput], "the newer one has the end");
    assert_eq!(step(|out| alignment.on_barrier(1, counted(NEWER), out)), [Effect::Snapshot(counted(NEWER))]);
}

#[test]
fn at_least_once_an_end_in_front_of_every_barrier_waits_for_nothing() {
    let mut alignment = Alignment::new(2);
    alignment.on_end(0, &mut Vec::new());
    alignment.on_barrier(0, counted(N), &mut Vec::new());
    assert_eq!(step(|out| alignment.on_end(1, out)), [Effect::EndOfInput]);
    assert_eq!(step(|out| alignment.on_barrier(1, counted(N), out)), [Effect::Snapshot(counted(N))]);
}

#[test]
fn at_least_once_an_end_that_waits_comes_when_its_checkpoint_is_given_up() {
    let waiting = || {
        let mut alignment = Alignment::new(2);
        alignment.on_barrier(0, counted(N), &mut Vec::new());
        (0..2).for_each(|channel| alignment.on_end(channel, &mut Vec::new()));
        alignment
    };
    let aborted = step(|out| waiting().on_abort(N, out));
    assert_eq!(aborted, [Effect::Abandon(N), Effect::Cancel(N), Effect::EndOfInput]);
    assert_eq!(step(|out| waiting().on_cancel(1, N, out)).last(), Some(&Effect::EndOfInput));
    let closed = step(|out| waiting().on_closed(1, out));
    assert_eq!(closed, [Effect::Snapshot(counted(N)), Effect::EndOfInput]);
}

#[test]
fn at_least_once_drops_what_is_older_than_the_snapshot() {
    let mut alignment = Alignment::new(2);
    alignment.on_barrier(0, counted(N), &mut Vec::new());
    alignment.on_barrier(0, counted(NEWER), &mut Vec::new());
    let effects = step(|out| alignment.on_barrier(1, counted(NEWER), out));
    assert_eq!(effects[..3], overtaken(N));
    assert_eq!(effects[3..], [Effect::Snapshot(counted(NEWER))]);
    assert_eq!(step(|out| alignment.on_barrier(1, counted(N), out)), []);
}

#[test]
fn at_least_once_a_closed_channel_completes_every_count_in_order() {
    let mut alignment = Alignment::new(2);
    alignment.on_end(1, &mut Vec::new());
    alignment.on_barrier(0, counted(N), &mut Vec::new());
    alignment.on_barrier(0, counted(NEWER), &mut Vec::new());
    let effects = step(|out| alignment.on_closed(1, out));
    assert_eq!(effects, [Effect::Snapshot(counted(N)), Effect::Snapshot(counted(NEWER))]);
}

#[test]
fn counts_and_cancelled_ids_are_bounded_and_nothing_forgotten_begins() {
    let mut alignment = Alignment::new(2);
    for n in 1..=IDS_REMEMBERED as u64 {
        alignment.on_barrier(0, counted(CheckpointId(n)), &mut Vec::new());
    }
    let one_more = CheckpointId(IDS_REMEMBERED as u64 + 1);
    let effects = step(|out| alignment.on_barrier(0, counted(one_more), out));
    assert_eq!(effects[..3], overtaken(CheckpointId(1)));
    let mut alignment = Alignment::new(1);
    for n in 1..=one_more.0 {
        alignment.on_abort(CheckpointId(n), &mut Vec::new());
    }
    assert_eq!(step(|out| alignment.on_barrier(0, barrier(CheckpointId(1)), out)), []);
}

#[test]
#[should_panic(expected = "blocked channel")]
fn taking_from_a_blocked_channel_is_a_bug() {
    let mut alignment = Alignment::new(2);
    alignment.on_barrier(0, barrier(N), &mut Vec::new());
    alignment.on_barrier(0, barrier(NEWER), &mut Vec::new());
}

#[test]
#[should_panic(expected = "without running producers")]
fn triggering_a_subtask_whose_producers_run_is_a_bug() {
    Alignment::new(1).on_trigger(barrier(N), &mut Vec::new());
}

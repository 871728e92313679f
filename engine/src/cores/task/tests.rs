//! What a subtask does, as lists of effects: the interleavings of records, barriers, snapshots, commits and the end.

mod subtask;

use super::*;
use crate::door::StorageError;
use subtask::{Subtask, barrier, completed, pending};

#[test]
fn a_subtask_that_starts_from_nothing_announces_its_empty_state_and_reports() {
    let mut source = Subtask::new(Role::Source);
    assert_eq!(source.step(|core, _, out| core.start(None, out)), ["digest the state"]);
    assert_eq!(source.digest(7), ["announce Restored", "report Restored"]);
    let mut sink = Subtask::new(Role::Sink);
    sink.step(|core, _, out| core.start(None, out));
    assert_eq!(
        sink.digest(7),
        ["announce Restored", "remove old staging"],
        "a sink looks for what former attempts have staged first"
    );
    assert_eq!(sink.recovered(Ok(())), ["report Restored"]);
}

#[test]
fn a_checkpoint_sends_buffered_output_then_the_barrier_and_then_views_the_state() {
    let mut subtask = Subtask::running(Role::Transform);
    assert_eq!(subtask.barrier(0, 1), ["announce BarrierReceived", "announce AlignmentStarted"]);
    let expected = [
        "announce BarrierReceived",
        "announce AlignmentEnded",
        "flush",
        "broadcast barrier 1",
        "announce BarrierEmitted",
        "view the state",
    ];
    assert_eq!(subtask.barrier(1, 1), expected);
    assert_eq!(subtask.viewed(), ["announce SnapshotTaken", "upload 1"]);
}

#[test]
fn a_sink_stages_before_its_state_is_viewed_so_the_snapshot_holds_what_is_pending() {
    let mut sink = Subtask::running(Role::Sink);
    sink.barrier(0, 1);
    let told = sink.barrier(1, 1);
    assert_eq!(told[2..], ["flush", "broadcast barrier 1", "announce BarrierEmitted", "prepare 1"]);
    assert_eq!(pending(&sink.core), [0_u64; 0]);
    assert_eq!(sink.prepared(Ok(Some(vec![1]))), ["announce Prepared", "view the state"]);
    assert_eq!(pending(&sink.core), [1]);
}

#[test]
fn a_sink_that_cannot_stage_declines_and_goes_on_with_the_next_checkpoint() {
    let mut sink = Subtask::preparing(1);
    let told = sink.prepared(Err(Error::restart("the disk is full")));
    assert_eq!(told, ["announce PrepareFailed", "announce DeclineSent", "report Decline"]);
    sink.barrier(0, 2);
    assert!(sink.barrier(1, 2).contains(&"prepare 2".to_owned()));
}

#[test]
fn a_sink_that_no_restart_can_help_fails() {
    let mut sink = Subtask::preparing(1);
    let told = sink.prepared(Err(Error::give_up("the folder is read-only")));
    assert_eq!(told, ["announce SubtaskFailed", "report Failed"]);
    assert!(sink.core.is_over());
}

#[test]
fn no_snapshot_is_stored_for_a_checkpoint_that_is_aborted_while_its_sink_stages() {
    let mut sink = Subtask::preparing(1);
    assert_eq!(sink.aborted(1), ["announce AbortReceived"], "the sink is still staging");
    assert_eq!(sink.prepared(Ok(Some(vec![1]))), ["announce Prepared"]);
    assert_eq!(pending(&sink.core), [1], "what was staged belongs to the next checkpoint that completes");
    sink.snapshot(2);
    let told = sink.control(Control::Completed(completed(2)));
    assert_eq!(told, ["announce NotifyReceived", "announce CommitStarted", "commit [1]"]);
}

#[test]
fn an_abort_during_a_step_stops_an_earlier_store_at_once_and_is_handled_behind_the_step() {
    let mut sink = Subtask::running(Role::Sink);
    sink.snapshot(1);
    sink.barrier(0, 2);
    sink.barrier(1, 2);
    assert_eq!(sink.aborted(1), ["announce AbortReceived", "discard 1"]);
    let told = sink.prepared(Ok(None));
    assert_eq!(told, ["announce Prepared", "view the state"]);
    assert_eq!(sink.viewed(), ["announce SnapshotTaken", "upload 2"]);
}

#[test]
fn what_the_worker_says_during_a_step_is_answered_in_its_order() {
    let mut sink = Subtask::running(Role::Sink);
    sink.snapshot(1);
    sink.barrier(0, 2);
    sink.barrier(1, 2);
    assert_eq!(sink.control(Control::Completed(completed(1))), [""; 0]);
    assert_eq!(sink.aborted(2), ["announce AbortReceived"]);
    let told = sink.prepared(Ok(Some(vec![2])));
    assert_eq!(told, ["announce Prepared", "announce NotifyReceived", "announce CommitStarted", "commit [1]"]);
    assert_eq!(sink.committed(Ok(())), ["announce CommitEnded", "forget 1"]);
}

#[test]
fn a_trigger_whose_abort_is_queued_sends_a_marker_instead_of_a_barrier() {
    let mut source = Subtask::running(Role::Source);
    source.step(|core, now, out| core.on_exhausted(now, out));
    assert_eq!(source.control(Control::Trigger(barrier(1))), [""; 0]);
    assert_eq!(source.aborted(1), ["announce AbortReceived"]);
    let expected = [
        "broadcast end",
        "report InputEnded",
        "announce TriggerReceived",
        "broadcast cancel 1",
        "announce CancelEmitted",
    ];
    assert_eq!(source.drained(), expected);
}

#[test]
fn an_alignment_that_ends_behind_a_queued_abort_sends_a_marker_instead_of_a_barrier() {
    let mut sink = Subtask::running(Role::Sink);
    for checkpoint in [1, 2] {
        sink.counted(0, checkpoint);
    }
    sink.end(1);
    let told = sink.closed(1);
    assert_eq!(told.last().map(String::as_str), Some("prepare 1"));
    assert_eq!(sink.aborted(2), ["announce AbortReceived"]);
    sink.prepared(Ok(None));
    let expected = [
        "announce SnapshotTaken",
        "upload 1",
        "announce AlignmentAborted",
        "broadcast cancel 2",
        "announce CancelEmitted",
    ];
    assert_eq!(sink.viewed(), expected);
}

#[test]
fn a_subtask_that_exits_drops_what_is_queued() {
    let mut sink = Subtask::running(Role::Sink);
    sink.end(0);
    sink.end(1);
    sink.drained();
    sink.snapshot(1);
    sink.control(Control::Completed(completed(1)));
    sink.control(Control::Trigger(barrier(2)));
    let told = sink.committed(Ok(()));
    assert_eq!(told.last().map(String::as_str), Some("report Finished"));
    assert!(sink.core.is_over());
}

#[test]
fn a_synchronous_snapshot_keeps_the_subtask_until_it_is_stored_or_aborted() {
    let mut subtask = Subtask::synchronous(Role::Transform);
    subtask.barrier(0, 1);
    subtask.barrier(1, 1);
    assert_eq!(subtask.viewed(), ["announce SnapshotTaken", "upload 1 and wait"]);
    assert_eq!(subtask.aborted(1), ["announce AbortReceived", "discard 1"], "its upload need not go on");
    assert_eq!(subtask.uploaded(), [""; 0]);
}

#[test]
fn an_aborted_checkpoint_is_cancelled_downstream_and_its_store_is_discarded() {
    let mut subtask = Subtask::running(Role::Transform);
    subtask.barrier(0, 1);
    let told = subtask.aborted(1);
    assert_eq!(
        told,
        ["announce AbortReceived", "announce AlignmentAborted", "broadcast cancel 1", "announce CancelEmitted"]
    );
    subtask.snapshot(2);
    assert_eq!(subtask.aborted(2), ["announce AbortReceived", "discard 2"], "its barrier has gone out");
    assert_eq!(subtask.aborted(2), ["announce AbortReceived"], "a repeated word changes nothing");
}

#[test]
fn a_barrier_that_overtakes_an_alignment_declines_it_before_its_own_begins() {
    let mut subtask = Subtask::running(Role::Transform);
    subtask.barrier(0, 1);
    let expected = [
        "announce BarrierReceived",
        "announce DeclineSent",
        "report Decline",
        "announce AlignmentAborted",
        "broadcast cancel 1",
        "announce CancelEmitted",
        "announce AlignmentStarted",
    ];
    assert_eq!(subtask.barrier(1, 2), expected);
}

#[test]
fn a_channel_behind_a_barrier_is_left_alone_and_records_wait_for_credit() {
    let mut subtask = Subtask::running(Role::Transform);
    subtask.barrier(0, 1);
    let (batch, event) = (Some(Front::Batch), Some(Front::Event));
    assert_eq!(subtask.core.look(0, batch, true), Look::Leave);
    assert_eq!(subtask.core.look(0, event, true), Look::Leave);
    assert_eq!(subtask.core.look(0, None, true), Look::Leave, "its next element would wake the subtask in vain");
    assert_eq!(subtask.core.look(1, batch, true), Look::Take);
    assert_eq!(subtask.core.look(1, batch, false), Look::Leave);
    assert_eq!(subtask.core.look(1, event, false), Look::Take);
    assert_eq!(subtask.core.look(1, None, false), Look::Wait);
}

#[test]
fn the_end_goes_out_behind_the_last_output_and_a_trigger_waits_for_it() {
    let mut source = Subtask::running(Role::Source);
    let told = source.step(|core, now, out| core.on_exhausted(now, out));
    assert_eq!(told, ["announce InputEnded", "finish the output", "drain the output"]);
    assert_eq!(source.control(Control::Trigger(barrier(1))), [""; 0], "a barrier does not overtake the last output");
    let expected = [
        "broadcast end",
        "report InputEnded",
        "announce TriggerReceived",
        "flush",
        "broadcast barrier 1",
        "announce BarrierEmitted",
        "view the state",
    ];
    assert_eq!(source.drained(), expected);
    source.viewed();
    assert!(!source.core.may_read(true), "there is nothing to read any more");
}

#[test]
fn a_barrier_in_front_of_the_end_is_snapshotted_before_the_end_counts() {
    let mut subtask = Subtask::running(Role::Transform);
    subtask.counted(0, 1);
    subtask.end(0);
    assert_eq!(subtask.end(1), ["announce EndReceived"], "checkpoint 1 is in front of the end of channel 0");
    let told = subtask.counted(1, 1);
    assert_eq!(told.last().map(String::as_str), Some("view the state"));
    let told = subtask.viewed();
    assert_eq!(told[..2], ["announce SnapshotTaken", "upload 1"]);
    assert_eq!(told[2..], ["announce InputEnded", "finish the output", "drain the output"]);
}

#[test]
fn a_subtask_exits_with_the_first_durable_checkpoint_behind_its_announced_end() {
    let mut source = Subtask::running(Role::Source);
    source.snapshot(1);
    source.step(|core, now, out| core.on_exhausted(now, out));
    source.drained();
    source.snapshot(2);
    source.snapshot(3);
    let told = source.control(Control::Completed(completed(1)));
    assert_eq!(told, ["announce NotifyReceived", "forget 1"], "checkpoint 1 does not hold the end");
    let expected = [
        "announce NotifyReceived",
        "forget 2",
        "discard 3",
        "broadcast closed",
        "announce SubtaskFinished",
        "report Finished",
    ];
    assert_eq!(source.control(Control::Completed(completed(2))), expected);
    assert!(source.core.is_over());
}

#[test]
fn a_sink_commits_what_its_last_checkpoint_holds_before_it_exits() {
    let mut sink = Subtask::running(Role::Sink);
    sink.end(0);
    sink.end(1);
    sink.drained();
    sink.snapshot(1);
    let told = sink.control(Control::Completed(completed(1)));
    assert_eq!(told, ["announce NotifyReceived", "announce CommitStarted", "commit [1]"]);
    let expected =
        ["announce CommitEnded", "forget 1", "broadcast closed", "announce SubtaskFinished", "report Finished"];
    assert_eq!(sink.committed(Ok(())), expected);
}

#[test]
fn a_commit_that_fails_fails_the_subtask_which_does_not_exit_as_finished() {
    let mut sink = Subtask::running(Role::Sink);
    sink.end(0);
    sink.end(1);
    sink.drained();
    sink.snapshot(1);
    sink.control(Control::Completed(completed(1)));
    assert_eq!(sink.committed(Err(Error::restart("no reply"))), ["announce SubtaskFailed", "report Failed"]);
}

#[test]
fn a_restored_sink_commits_everything_oldest_first_before_it_removes_old_staging() {
    let mut sink = Subtask::new(Role::Sink);
    let told = sink.restore(7, &sink.holding(&[5, 7]));
    assert_eq!(told, ["announce RestoreStarted", "read the snapshot", "digest the state"]);
    assert_eq!(sink.digest(1), ["announce Restored", "announce CommitStarted", "commit [5]"]);
    let told = sink.committed(Ok(()));
    assert_eq!(told, ["announce CommitEnded", "announce CommitStarted", "commit [7]"]);
    assert_eq!(sink.committed(Ok(())), ["announce CommitEnded", "remove old staging"]);
    assert_eq!(sink.recovered(Ok(())), ["report Restored"]);
}

#[test]
fn a_restored_source_that_had_ended_announces_its_end_and_finishes_no_output_again() {
    let mut source = Subtask::new(Role::Source);
    let handle = source.handle(&[], true);
    let told = source.restore(7, &handle);
    assert_eq!(told, ["announce RestoreStarted", "read the snapshot", "take over 0 sections"]);
    assert_eq!(source.taken_over(Ok(())), ["digest the state"]);
    assert_eq!(source.digest(1), ["announce Restored", "report Restored", "drain the output"]);
    assert_eq!(source.drained(), ["broadcast end", "report InputEnded"]);
}

#[test]
fn a_snapshot_that_is_not_what_was_acknowledged_fails_the_restore_with_its_name() {
    let cases = [
        (Ok(bytes::Bytes::from_static(b"other")), "is not the snapshot that was acknowledged: 5 bytes instead of"),
        (Err(StorageError::NotFound("chk/blob".into())), "chk/blob does not exist here"),
        (Err(StorageError::Failed("no route".into())), "no route"),
    ];
    for (read, why) in cases {
        let mut subtask = Subtask::new(Role::Transform);
        let handle = subtask.handle(&[], false);
        subtask.step(|core, _, out| core.start(Some((completed(7), handle.0)), out));
        let told = subtask.step(|core, _, out| core.on_snapshot_read(read.clone(), out));
        assert_eq!(told, ["announce SubtaskFailed", "report Failed"]);
        let failure = subtask.failure.as_deref().expect("it has failed");
        assert!(failure.contains(why), "{failure}");
    }
}

#[test]
fn state_that_cannot_be_taken_over_fails_with_the_name_of_the_subtask() {
    let mut subtask = Subtask::new(Role::Transform);
    let handle = subtask.handle(&[], false);
    subtask.restore(7, &handle);
    subtask.taken_over(Err(Error::corrupt("a map has no end")));
    assert_eq!(subtask.failure.as_deref(), Some("counts[2]: a map has no end"));
}

#[test]
fn statistics_measure_alignment_and_the_synchronous_part() {
    let mut sink = Subtask::running(Role::Sink);
    sink.barrier(0, 1);
    sink.pass(30);
    sink.barrier(1, 1);
    sink.pass(12);
    sink.prepared(Ok(None));
    sink.viewed();
    let statistics = sink.stored.expect("it is stored").statistics;
    assert_eq!((statistics.alignment_ms, statistics.sync_ms, statistics.start_delay_ms), (30, 12, 0));
}

#[test]
#[should_panic(expected = "while a step waits")]
fn no_element_is_taken_while_a_sink_stages() {
    Subtask::preparing(1).barrier(0, 2);
}

#[test]
#[should_panic(expected = "is snapshotted behind")]
fn a_checkpoint_is_snapshotted_once() {
    let mut subtask = Subtask::running(Role::Source);
    subtask.snapshot(2);
    let now = subtask.now();
    subtask.core.checkpoint(now, barrier(2), &mut Vec::new());
}

//! What a leading coordinator does, as lists of effects: the order between the cores, which no core alone can say.

mod coordinator;

use super::*;
use crate::messages::ToCoordinator;
use crate::messages::client::Wish;
use coordinator::{Coordinator, SINK, SOURCE, TOKEN, attempt, failed};
use std::collections::BTreeMap;

/// The effects of a checkpoint that is published, in their order.
const PUBLISHED: [&str; 4] =
    ["announce CompletionDurable", "announce StatisticsKept", "announce NotifySent", "send Completed to 1"];

#[test]
fn a_leader_marks_its_output_before_it_welcomes_a_worker() {
    let mut coordinator = Coordinator::new();
    let told = coordinator.step(|core, now, out| core.start(now, out));
    assert_eq!(told, ["clean: List", "list the marks"]);
    assert_eq!(coordinator.register(), ["read on 1"], "the output is not owned yet");
    let told = coordinator.take_output();
    let expected = [
        "announce MarkStarted",
        "create mark generation-1",
        "announce MarkStarted",
        "create mark log-0000000000000007",
        "list the marks",
        "announce OutputOwned",
        "clear unfinished writes",
        "send Welcome to 1",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_worker_counts_once_it_sees_the_mark_and_then_the_job_is_deployed() {
    let mut coordinator = Coordinator::owner();
    assert_eq!(coordinator.register(), ["read on 1", "send Welcome to 1"]);
    let told = coordinator.sees_output(1, Some(TOKEN));
    let expected =
        ["announce WorkerRegistered", "announce AttemptDeployed", "clear unfinished writes", "send Deploy to 1"];
    assert_eq!(told, expected);
}

#[test]
fn a_worker_with_another_output_or_other_checkpoints_is_refused() {
    for (token, log) in [(None, Some(1)), (Some(TOKEN + 1), Some(1)), (Some(TOKEN), None), (Some(TOKEN), Some(0))] {
        let mut coordinator = Coordinator::owner();
        coordinator.register();
        let said = coordinator.sees(1, token, log);
        assert_eq!(said, ["announce WorkerRefused", "send Refused to 1"], "it sees {token:?} and {log:?}");
    }
}

#[test]
fn a_worker_that_was_not_welcomed_is_closed_whatever_it_says_of_the_output() {
    let mut coordinator = Coordinator::new();
    coordinator.step(|core, now, out| core.start(now, out));
    coordinator.register();
    assert_eq!(coordinator.sees_output(1, Some(TOKEN)), ["close 1"], "nothing is deployed before the output is owned");
}

#[test]
fn one_checkpoint_from_trigger_to_commit() {
    let mut coordinator = Coordinator::running();
    let expected = [
        "write the sign of life",
        "read the wall clock",
        "announce CheckpointTriggered",
        "announce TriggerSent",
        "send Trigger to 1",
    ];
    assert_eq!(coordinator.alarm(10), expected);
    assert_eq!(coordinator.ack(1, SOURCE), ["announce AckReceived"]);
    let expected = ["announce AckReceived", "announce ManifestStarted", "write the manifest of chk-1"];
    assert_eq!(coordinator.ack(1, SINK), expected);
    let told = coordinator.manifest_written(1);
    let expected =
        ["announce ManifestWritten", "announce CompletionStarted", "draw a token for slot 2", "create slot 2"];
    assert_eq!(told, expected);
    assert_eq!(coordinator.slot_created(2, Ok(())), ["read slot 1"], "it is verified by the slot below");
    let told = coordinator.slot_read(1);
    assert_eq!(told, ["announce MarkStarted", "create mark completed-1"], "durable, and nothing is notified yet");
    assert_eq!(coordinator.mark_created(1), ["read mark generation-2"]);
    assert_eq!(coordinator.no_newer_owner(), PUBLISHED);
}

#[test]
fn a_client_is_answered_behind_the_commit_point_and_before_subtasks_commit() {
    let mut coordinator = Coordinator::running();
    let told = coordinator.ask(Wish::Checkpoint);
    let expected = [
        "read on 2",
        "announce RequestReceived",
        "read the wall clock",
        "announce CheckpointTriggered",
        "announce TriggerSent",
        "send Trigger to 1",
    ];
    assert_eq!(told, expected);
    coordinator.ack(1, SOURCE);
    coordinator.ack(1, SINK);
    coordinator.manifest_written(1);
    coordinator.slot_created(2, Ok(()));
    assert_eq!(coordinator.slot_read(1), ["announce MarkStarted", "create mark completed-1"], "it is not answered yet");
    coordinator.mark_created(1);
    let expected = [
        "announce CompletionDurable",
        "announce StatisticsKept",
        "announce RequestAnswered",
        "answer Answer to 2",
        "announce NotifySent",
        "send Completed to 1",
    ];
    assert_eq!(coordinator.no_newer_owner(), expected);
}

#[test]
fn a_checkpoint_that_is_certainly_not_added_is_aborted_and_what_it_stored_is_discarded() {
    let mut coordinator = Coordinator::completing();
    let mut told = Vec::new();
    while !told.contains(&"discard 3 blobs".to_owned()) {
        assert!(told.is_empty() || told == ["create slot 2"], "{told:?}");
        told = coordinator.slot_created(2, failed());
    }
    let expected = ["announce CheckpointAborted", "announce StatisticsKept", "send Aborted to 1", "discard 3 blobs"];
    assert_eq!(told, expected);
}

#[test]
fn an_attempt_that_fails_while_a_completion_is_decided_is_followed_by_no_other_before_that() {
    let mut coordinator = Coordinator::completing();
    let expected = [
        "close 1",
        "announce WorkerLost",
        "draw a delay after a1.1",
        "announce RestartScheduled",
        "announce AttemptFailed",
    ];
    assert_eq!(coordinator.broken(1), expected, "checkpoint 1 is not aborted");
    coordinator.register();
    let told = coordinator.sees_output(2, Some(TOKEN));
    assert_eq!(told, ["announce WorkerRegistered"], "the slot of checkpoint 1 is not decided");
    assert_eq!(coordinator.alarm(60), [""; 0], "not after the delay either");
    coordinator.slot_created(2, Ok(()));
    coordinator.slot_read(1);
    coordinator.mark_created(1);
    let expected = ["announce CompletionDurable", "announce StatisticsKept", "read chk-1 to restore it"];
    assert_eq!(coordinator.no_newer_owner(), expected, "it is what the next attempt restores");
}

#[test]
fn a_lost_worker_ends_its_attempt_before_what_is_pending_is_aborted_and_the_others_are_stopped() {
    let mut coordinator = Coordinator::running();
    coordinator.register();
    coordinator.alarm(10);
    coordinator.ack(1, SOURCE);
    let expected = [
        "close 1",
        "announce WorkerLost",
        "draw a delay after a1.1",
        "announce RestartScheduled",
        "announce AttemptFailed",
        "announce CheckpointAborted",
        "announce StatisticsKept",
        "discard 1 blobs",
        "send Cancel to 2",
        "send Welcome to 2",
    ];
    assert_eq!(coordinator.broken(1), expected, "and at last the process that waited gets the place");
}

#[test]
fn the_end_of_the_job_waits_for_the_completion_under_way_and_is_announced_once_it_is_durable() {
    let mut coordinator = Coordinator::completing();
    let told = coordinator.ask(Wish::Cancel);
    let expected = ["read on 2", "announce RequestReceived", "announce AttemptFailed", "send Cancel to 1"];
    assert_eq!(told, expected, "slot 2 is being decided");
    coordinator.slot_created(2, Ok(()));
    coordinator.slot_read(1);
    coordinator.mark_created(1);
    let expected =
        ["announce CompletionDurable", "announce StatisticsKept", "draw a token for slot 3", "create slot 3"];
    assert_eq!(coordinator.no_newer_owner(), expected, "checkpoint 1 is durable, but no subtask commits any more");
    assert_eq!(coordinator.slot_created(3, Ok(())), ["read slot 2"]);
    let expected = [
        "announce JobCancelled",
        "send JobDone to 1",
        "announce RequestAnswered",
        "answer Answer to 2",
        "clean: Subsume",
    ];
    assert_eq!(coordinator.slot_read(2), expected, "only then is anything deleted");
}

#[test]
fn storage_is_swept_for_good_once_workers_and_clients_have_left() {
    let mut coordinator = Coordinator::running();
    coordinator.step(|core, now, out| core.on_sweep_listed(now, Some(&[]), out));
    coordinator.ask(Wish::Cancel);
    coordinator.slot_created(2, Ok(()));
    coordinator.slot_read(1);
    assert_eq!(coordinator.step(|core, now, out| core.on_sweep_listed(now, Some(&[]), out)), ["clean: Free"]);
    coordinator.step(|core, now, out| core.on_freed(now, true, out));
    assert_eq!(coordinator.idle().0, Vec::<String>::new(), "a worker and a client are connected");
    coordinator.broken(1);
    coordinator.broken(2);
    assert_eq!(coordinator.idle().0, ["clean: List", "sweep staging"]);
    coordinator.step(|core, now, out| core.on_sweep_listed(now, Some(&[]), out));
    assert!(matches!(coordinator.idle().1, Next::WaitUntil(_)), "staged files are still being deleted");
    coordinator.core.on_staging_swept();
    assert_eq!(coordinator.idle().1, Next::End(Ok(JobEnd::Cancelled)));
}

#[test]
fn a_worker_that_is_silent_behind_the_end_may_be_draining_so_storage_is_not_swept_for_good_yet() {
    let mut coordinator = Coordinator::running();
    coordinator.step(|core, now, out| core.on_sweep_listed(now, Some(&[]), out));
    coordinator.ask(Wish::Cancel);
    coordinator.slot_created(2, Ok(()));
    coordinator.slot_read(1);
    coordinator.step(|core, now, out| core.on_sweep_listed(now, Some(&[]), out));
    coordinator.step(|core, now, out| core.on_freed(now, true, out));
    coordinator.broken(2);
    let told = coordinator.alarm(3601);
    assert!(told.contains(&"announce WorkerLost".to_owned()), "{told:?}");
    assert_eq!(coordinator.idle().0, Vec::<String>::new(), "its writes may take as long as a request may");
    coordinator.alarm(3661);
    assert_eq!(coordinator.idle().0, ["clean: List", "sweep staging"]);
}

#[test]
fn a_deposed_leader_notifies_nothing_and_deletes_nothing() {
    let mut coordinator = Coordinator::completing();
    let exists = Err(crate::door::StorageError::Exists("slot 2".into()));
    assert_eq!(coordinator.slot_created(2, exists), ["read slot 2"]);
    assert_eq!(coordinator.slot_is_of_another(2), ["announce Deposed"]);
    let (told, Next::End(Err(error))) = coordinator.idle() else { panic!("it stops at once") };
    assert_eq!(told, ["ask storage for nothing more", "close 1"], "its successor restores what it would delete");
    assert_eq!(error.reaction, crate::error::Reaction::Fenced);
}

#[test]
fn a_worker_that_reports_nonsense_is_closed_and_its_report_reaches_no_core() {
    let mut coordinator = Coordinator::running();
    let nonsense = ToCoordinator::Finished { attempt: attempt(1), subtask: SINK };
    let told = coordinator.message(1, nonsense);
    assert_eq!(told[..2], ["announce ReportRejected", "close 1"], "no durable checkpoint holds its end");
}

#[test]
fn ids_that_run_out_are_reserved_in_a_slot_before_the_next_trigger() {
    let mut coordinator = Coordinator::running();
    for id in 1..=100 {
        assert!(coordinator.alarm(id * 10).contains(&"send Trigger to 1".to_owned()), "{id}");
        let reason = crate::reason::FailureReason::UploadFailed("no".into());
        let (attempt, checkpoint) = (attempt(1), CheckpointId(id));
        coordinator.message(1, ToCoordinator::Decline { attempt, checkpoint, subtask: SINK, reason });
    }
    assert_eq!(coordinator.alarm(1010), ["draw a token for slot 2", "create slot 2"]);
    coordinator.slot_created(2, Ok(()));
    let expected = ["read the wall clock", "announce CheckpointTriggered", "announce TriggerSent", "send Trigger to 1"];
    assert_eq!(coordinator.slot_read(1), expected);
}

#[test]
#[should_panic(expected = "one input is worked on at a time")]
fn no_input_comes_between_a_draw_and_its_answer() {
    let mut coordinator = Coordinator::running();
    let mut out = Vec::new();
    coordinator.core.on_alarm(Time(10_000_000_000), &mut out);
    assert_eq!(out.last(), Some(&Effect::ReadWallClock));
    coordinator.core.on_alarm(Time(10_000_000_001), &mut out);
}

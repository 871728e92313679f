//! Registered workers that say what no right worker says: it costs their connection, and nothing else.

use super::room::Storm;
use super::storm::{UIDS, serve, storm_job};
use super::*;
use crate::persist::layout;
use crate::reason::FailureReason;

/// A report that no right worker sends, drawn in the weather of the room.
pub fn report(room: &Room, attempt: Attempt, number: u16) -> ToCoordinator {
    let own = |operator| SubtaskId { operator: OperatorId(operator), index: number };
    let foreign = SubtaskId { index: number ^ 1, ..own(1) };
    let nobody = SubtaskId { operator: OperatorId(999), index: 999 };
    let later = Attempt { number: attempt.number + 1_000, ..attempt };
    let far = CheckpointId(room.draw(1 << 40) + (1 << 40));
    let reason = FailureReason::Overtaken;
    match room.draw(10) {
        0 => ToCoordinator::Restored { attempt, subtask: foreign },
        1 => ToCoordinator::Finished { attempt, subtask: foreign },
        2 => ToCoordinator::InputEnded { attempt, subtask: nobody },
        3 => ToCoordinator::Failed { attempt, subtask: Some(nobody), error: Error::restart("nobody failed") },
        4 => ToCoordinator::Restored { attempt: later, subtask: own(0) },
        5 => ToCoordinator::Decline { attempt, checkpoint: far, subtask: own(0), reason },
        6 => ToCoordinator::Decline { attempt, checkpoint: CheckpointId(0), subtask: own(1), reason },
        7 => ack(attempt, far, own(0), "checkpoints/log/1".to_owned()),
        8 => ack(attempt, far, own(1), layout::snapshot(far, UIDS[1], number, attempt)),
        _ => ToCoordinator::Failed { attempt, subtask: None, error: Error::restart("x".repeat(100_000)) },
    }
}

fn ack(attempt: Attempt, checkpoint: CheckpointId, subtask: SubtaskId, path: String) -> ToCoordinator {
    let snapshot = SnapshotHandle { path, bytes: 5, checksum: 0, digest: 0, ended: false };
    let statistics = SnapshotStatistics { bytes: 5, ..SnapshotStatistics::default() };
    ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, statistics }
}

fn rejected(room: &Room) -> Vec<String> {
    let cause = |event| match event {
        Event::ReportRejected { cause, .. } => Some(cause),
        _ => None,
    };
    room.events().into_iter().filter_map(cause).collect()
}

/// The second worker, which hosts one sink, says this instead of acknowledging the first checkpoint; then it comes back.
fn says(rogue: impl Fn(Attempt, CheckpointId) -> ToCoordinator + Send + 'static) -> String {
    let room = Room::default();
    let inside = room.clone();
    room.run(async move {
        let mut coordinator = Coordinator::start(&inside, 1);
        let mut crew = Crew::running(&inside, 1).await;
        let checkpoint = crew.triggered().await;
        crew.first.ack(checkpoint, false).await;
        let attempt = crew.second.attempt;
        crew.second.say(rogue(attempt, checkpoint)).await;
        while crew.second.try_hear().await.is_some() {}
        crew.second = Worker::join(&inside, 1, 1).await;
        let deployment = loop {
            if let ToWorker::Deploy(deployment) = crew.first.hear().await {
                break deployment;
            }
        };
        crew.first.attempt = deployment.attempt;
        crew.second.deployed().await;
        assert!(deployment.attempt > attempt, "the attempt failed over");
        assert_eq!(deployment.restore, None, "nothing was completed");
        crew.first.restored().await;
        crew.second.restored().await;
        crew.finish().await;
        assert!(coordinator.end().await.is_ok());
    });
    let mut causes = rejected(&room);
    assert_eq!(causes.len(), 1, "{causes:?}");
    causes.remove(0)
}

#[test]
fn a_subtask_of_another_worker_costs_the_connection_and_the_job_finishes() {
    let cause =
        says(|attempt, checkpoint| ack(attempt, checkpoint, SINK_0, layout::snapshot(checkpoint, "out", 0, attempt)));
    assert_eq!(cause, "reports for op-1[0], which another worker hosts");
}

#[test]
fn a_failure_of_a_subtask_out_of_range_costs_the_connection() {
    let nobody = SubtaskId { operator: OperatorId(77), index: 77 };
    let error = Error::give_up("nobody");
    let cause = says(move |attempt, _| ToCoordinator::Failed { attempt, subtask: Some(nobody), error: error.clone() });
    assert_eq!(cause, "reports for op-77[77], which the job does not have");
}

#[test]
fn a_path_outside_the_checkpoint_costs_the_connection() {
    let cause = says(|attempt, checkpoint| ack(attempt, checkpoint, SINK_1, "checkpoints/log/1".to_owned()));
    assert!(cause.starts_with("acknowledged another path than checkpoints/chk-1/out-1-"), "{cause}");
}

#[test]
fn a_subtask_that_finishes_early_costs_the_connection() {
    let cause = says(|attempt, _| ToCoordinator::Finished { attempt, subtask: SINK_1 });
    assert_eq!(cause, "reported \"finished\" for op-1[1] too early");
}

#[test]
fn what_was_said_before_costs_the_connection() {
    let cause = says(|attempt, _| ToCoordinator::Restored { attempt, subtask: SINK_1 });
    assert_eq!(cause, "reported \"restored\" for op-1[1] twice");
}

#[test]
fn a_length_that_overflows_costs_the_connection() {
    let cause = says(|attempt, checkpoint| {
        let ToCoordinator::Ack { snapshot, statistics, .. } =
            ack(attempt, checkpoint, SINK_1, layout::snapshot(checkpoint, "out", 1, attempt))
        else {
            unreachable!("it is an ack")
        };
        let snapshot = SnapshotHandle { bytes: u64::MAX, ..snapshot };
        let statistics = SnapshotStatistics { bytes: u64::MAX, ..statistics };
        ToCoordinator::Ack { attempt, checkpoint, subtask: SINK_1, snapshot, statistics }
    });
    assert!(cause.starts_with("acknowledged a snapshot of op-1[1] with impossible figures"), "{cause}");
}

/// Anything that decodes, with fields near to what is right or as far away as they go.
fn anything(room: &Room, attempt: Attempt) -> ToCoordinator {
    let wild = |near: u64| if room.chance(4) { u64::MAX - room.draw(3) } else { room.draw(near) };
    let subtask = SubtaskId { operator: OperatorId(wild(2) as u16), index: wild(2) as u16 };
    let attempt = Attempt { number: attempt.number.wrapping_add(wild(2) as u32), ..attempt };
    let checkpoint = CheckpointId(wild(6));
    let ended = room.chance(2);
    match room.draw(9) {
        0 => ToCoordinator::Restored { attempt, subtask },
        1 => ToCoordinator::InputEnded { attempt, subtask },
        2 => ToCoordinator::Finished { attempt, subtask },
        3 | 4 => {
            let uid = UIDS[room.draw(2) as usize];
            let path = layout::snapshot(checkpoint, uid, subtask.index, attempt);
            let snapshot = SnapshotHandle { path, bytes: wild(9), checksum: 0, digest: 0, ended };
            let statistics = SnapshotStatistics { bytes: snapshot.bytes, async_ms: wild(9), ..Default::default() };
            ToCoordinator::Ack { attempt, checkpoint, subtask, snapshot, statistics }
        }
        5 => {
            let reason = [FailureReason::Overtaken, FailureReason::Expired, FailureReason::TaskClosing];
            let reason = reason[room.draw(3) as usize].clone();
            ToCoordinator::Decline { attempt, checkpoint, subtask, reason }
        }
        6 => ToCoordinator::Failed { attempt, subtask: ended.then_some(subtask), error: Error::restart("so it says") },
        7 => ToCoordinator::Ask(Wish::Cancel),
        _ => ToCoordinator::Heartbeat,
    }
}

/// A worker that registers, restores now and then, and says anything; and again when it is thrown out.
async fn babble(room: &Room) {
    let env = room.env(TEST);
    let graph = storm_job().graph.fingerprint();
    for _ in 0..30 {
        let mut worker = Worker::connect(room, 1, 1, graph).await;
        for _ in 0..room.draw(40) {
            match race(worker.connection.receiver.receive(), env.sleep(Duration::from_millis(20))).await {
                Either::First(Err(_)) => break,
                Either::First(Ok(frame)) => match messages::decode(&frame) {
                    Ok(ToWorker::Deploy(deployment)) => worker.attempt = deployment.attempt,
                    Ok(ToWorker::Welcome { generation }) => {
                        let name = Name::Generation(generation);
                        let bytes = room.read(&name.path()).expect("a worker is welcome once the mark is there");
                        let token = Mark::decode(name, &bytes).expect("a mark").token();
                        let frame = messages::encode(&ToCoordinator::Sees(Sight { token, log: Some(generation) }));
                        let _ = worker.connection.sender.send(frame).await;
                    }
                    Ok(_) | Err(_) => {}
                },
                Either::Second(()) => {}
            }
            let attempt = worker.attempt;
            let restored = |operator| {
                let subtask = SubtaskId { operator: OperatorId(operator), index: 1 };
                messages::encode(&ToCoordinator::Restored { attempt, subtask })
            };
            let frames = if room.chance(3) {
                vec![restored(0), restored(1)]
            } else {
                vec![messages::encode(&anything(room, attempt))]
            };
            for frame in frames {
                // It may have been thrown out meanwhile.
                let _ = worker.connection.sender.send(frame).await;
            }
        }
    }
}

#[test]
fn whatever_a_registered_worker_says_the_coordinator_goes_on() {
    let (mut causes, mut running) = (0, 0);
    for seed in 0..100 {
        let room = Room::default();
        let inside = room.clone();
        room.run(async move {
            let mut coordinator = Coordinator::start_job(&inside, 1, storm_job(), Start::Submit, Rivalry::Depose);
            inside.storm(Some(Storm::new(seed)));
            let other = serve(inside.clone(), 0, Arc::default());
            inside.env(TEST).spawner.spawn(Site::new("test", 0), Box::pin(other));
            let ended = race(Box::pin(coordinator.end()), Box::pin(babble(&inside))).await;
            // Only by its own word: a worker may say that the job cannot go on, and a storm may end a leadership.
            assert!(!matches!(ended, Either::First(Ok(JobEnd::Finished { .. }))), "nobody has finished");
        });
        causes += rejected(&room).len();
        let runs = |event: &&Event| matches!(event, Event::AttemptRunning { .. });
        running += room.events().iter().filter(runs).count();
    }
    assert!(causes > 500 && running > 100, "{causes} rejected, {running} attempts ran: they were too well-behaved");
}

//! The coordinator against scripted workers: two of them, one source and one sink with two subtasks.

mod clients;
mod rogue;
mod room;
mod standby;
mod storm;

use super::*;
use crate::config::{JobConfig, RestartStrategy};
use crate::cores::handshake::Distrust;
use crate::door::{Connection, Time};
use crate::error::Reaction;
use crate::graph::fixture::{edge, operator};
use crate::graph::{Exchange, JobGraph, OperatorKind};
use crate::ids::{Generation, OperatorId, SubtaskId, WorkerId};
use crate::messages::client::{Answer, Wish};
use crate::messages::handshake::{self, Challenge, Claim, HANDSHAKE_BYTES_MAX, Nonce, Opening};
use crate::messages::{self, Deployment, PROTOCOL_VERSION, Sight, SnapshotHandle, ToWorker};
use crate::persist::layout;
use crate::persist::mark::{Mark, Name};
use crate::runtime::client::Reply;
use crate::runtime::dial::{DialError, dial};
use crate::runtime::gate::STRANGERS_MAX;
use crate::runtime::mailbox::{Either, race};
use crate::statistics::SnapshotStatistics;
use clients::Client;
use room::{Fate, Op, Room};
use std::sync::Arc;
use std::time::Duration;

const SOURCE: SubtaskId = SubtaskId { operator: OperatorId(0), index: 0 };
const SINK_0: SubtaskId = SubtaskId { operator: OperatorId(1), index: 0 };
const SINK_1: SubtaskId = SubtaskId { operator: OperatorId(1), index: 1 };

/// Process numbers: coordinators count from 1, scripted workers live in the test itself.
const TEST: u32 = 0;

fn job() -> Job {
    let mut operators =
        vec![operator(0, "numbers", 1, OperatorKind::Source), operator(1, "out", 2, OperatorKind::Sink)];
    operators[1].staging = Some("output/out/.staging".into());
    let edge = edge(0, 0, 1, Exchange::Rebalance);
    let graph = JobGraph { name: "pass".into(), max_parallelism: 8, operators, edges: vec![edge] };
    let mut config = JobConfig::default();
    config.checkpoints.timeout = Duration::from_secs(5);
    config.checkpoints.tolerable_failures = 100;
    config.restart = RestartStrategy::FixedDelay { attempts: 1, delay: Duration::from_millis(100) };
    Job { graph: Arc::new(graph), config }
}

/// A coordinator, and where it leaves how it ended.
struct Coordinator {
    end: Mailbox<Result<JobEnd>>,
}

impl Coordinator {
    /// Process `number` starts and listens on an address of its own.
    fn start(room: &Room, number: u32) -> Self {
        Self::start_job(room, number, job(), Start::Submit, Rivalry::Depose)
    }

    fn start_as(room: &Room, number: u32, rivalry: Rivalry) -> Self {
        Self::start_job(room, number, job(), Start::Submit, rivalry)
    }

    /// The same, but it only leads on.
    fn resume(room: &Room, number: u32) -> Self {
        Self::start_job(room, number, job(), Start::Resume, Rivalry::Depose)
    }

    fn start_job(room: &Room, number: u32, job: Job, start: Start, rivalry: Rivalry) -> Self {
        let env = room.env(number);
        let (ended, end) = Mailbox::new(&env, Site::new("test", 0));
        let (listen, lease, secret) = (Listen::At(address(number)), LEASE, secret());
        let (ready, statistics) = (None, None);
        let options =
            CoordinatorOptions { listen, workers: 2, spare: true, start, rivalry, lease, ready, statistics, secret };
        let running = run(env.clone(), job, options);
        env.spawner.spawn(Site::new("test", 0), Box::pin(async move { ended.post(running.await) }));
        Self { end }
    }

    async fn end(&mut self) -> Result<JobEnd> {
        self.end.take().await
    }
}

fn secret() -> Secret {
    Secret::new(vec![7; 32]).expect("it is long enough")
}

fn address(number: u32) -> String {
    format!("coordinator-{number}")
}

/// A worker whose every word is the test's.
struct Worker {
    room: Room,
    id: u16,
    connection: Connection,
    attempt: Attempt,
}

/// Of a process that nobody else says it is.
const INCARNATION: u64 = 7;

impl Worker {
    async fn connect(room: &Room, coordinator: u32, id: u16, graph: u64) -> Self {
        Self::connect_as(room, coordinator, id, graph, INCARNATION).await
    }

    async fn connect_as(room: &Room, coordinator: u32, id: u16, graph: u64, incarnation: u64) -> Self {
        let env = room.env(TEST);
        let connection = loop {
            let (limit, claim) = (Duration::from_secs(10), Claim::Worker(WorkerId(id)));
            match dial(&env, &address(coordinator), limit, &secret(), claim).await {
                Ok(connection) => break connection,
                Err(_) => env.sleep(Duration::from_millis(1)).await,
            }
        };
        let mut worker = Self { room: room.clone(), id, connection, attempt: Attempt::default() };
        let data_address = format!("data-{id}");
        let register = ToCoordinator::Register {
            protocol: PROTOCOL_VERSION,
            graph,
            worker: WorkerId(id),
            incarnation,
            data_address,
        };
        worker.say(register).await;
        worker
    }

    /// Registers and is welcome.
    async fn join(room: &Room, coordinator: u32, id: u16) -> Self {
        let mut worker = Self::connect(room, coordinator, id, job().graph.fingerprint()).await;
        worker.see_output().await;
        worker
    }

    /// Is welcome, and says what it finds in its output.
    async fn see_output(&mut self) {
        let ToWorker::Welcome { generation } = self.hear().await else { panic!("it is welcome") };
        self.see_output_of(generation).await;
    }

    async fn see_output_of(&mut self, generation: Generation) {
        let name = Name::Generation(generation);
        let bytes = self.room.read(&name.path()).expect("a worker is welcome once the mark is there");
        let token = Mark::decode(name, &bytes).expect("a mark").token();
        self.say(ToCoordinator::Sees(Sight { token, log: Some(generation) })).await;
    }

    async fn say(&mut self, message: ToCoordinator) {
        self.connection.sender.send(messages::encode(&message)).await.expect("the coordinator is there");
    }

    /// The next message that is not a heartbeat; answers heartbeats meanwhile.
    async fn hear(&mut self) -> ToWorker {
        self.try_hear().await.expect("the coordinator is there")
    }

    async fn try_hear(&mut self) -> Option<ToWorker> {
        loop {
            let frame = self.connection.receiver.receive().await.ok()?;
            match messages::decode(&frame).expect("a message") {
                ToWorker::Heartbeat => {
                    let beat = messages::encode(&ToCoordinator::Heartbeat);
                    self.connection.sender.send(beat).await.ok()?;
                }
                message => return Some(message),
            }
        }
    }

    async fn deployed(&mut self) -> Deployment {
        match self.hear().await {
            ToWorker::Deploy(deployment) => {
                self.attempt = deployment.attempt;
                deployment
            }
            other => panic!("{other:?} instead of a deployment"),
        }
    }

    fn hosted(&self) -> Vec<SubtaskId> {
        if self.id == 0 { vec![SOURCE, SINK_0] } else { vec![SINK_1] }
    }

    async fn restored(&mut self) {
        let attempt = self.attempt;
        for subtask in self.hosted() {
            self.say(ToCoordinator::Restored { attempt, subtask }).await;
        }
    }

    async fn ack(&mut self, checkpoint: CheckpointId, ended: bool) {
        let attempt = self.attempt;
        for subtask in self.hosted() {
            let uid = job().graph.operator(subtask.operator).uid.clone();
            let path = layout::snapshot(checkpoint, &uid, subtask.index, attempt);
            self.room.write(&path);
            let snapshot = SnapshotHandle { path, bytes: 5, checksum: 0, digest: 0, ended };
            self.say(ToCoordinator::Ack {
                attempt,
                checkpoint,
                subtask,
                snapshot,
                statistics: SnapshotStatistics { bytes: 5, ..SnapshotStatistics::default() },
            })
            .await;
        }
    }

    async fn input_ended(&mut self) {
        let attempt = self.attempt;
        for subtask in self.hosted() {
            self.say(ToCoordinator::InputEnded { attempt, subtask }).await;
        }
    }

    async fn finished(&mut self) {
        let attempt = self.attempt;
        for subtask in self.hosted() {
            self.say(ToCoordinator::Finished { attempt, subtask }).await;
        }
    }
}

/// Two workers of one coordinator.
struct Crew {
    first: Worker,
    second: Worker,
}

impl Crew {
    async fn join(room: &Room, coordinator: u32) -> Self {
        let first = Worker::join(room, coordinator, 0).await;
        Self { first, second: Worker::join(room, coordinator, 1).await }
    }

    /// Takes the next deployment and restores it.
    async fn run(&mut self) -> Deployment {
        let deployment = self.first.deployed().await;
        assert_eq!(self.second.deployed().await, deployment, "both are told the same");
        self.first.restored().await;
        self.second.restored().await;
        deployment
    }

    /// Joins and runs.
    async fn running(room: &Room, coordinator: u32) -> Self {
        let mut crew = Self::join(room, coordinator).await;
        crew.run().await;
        crew
    }

    async fn triggered(&mut self) -> CheckpointId {
        match self.first.hear().await {
            ToWorker::Trigger { barrier, .. } => barrier.checkpoint,
            other => panic!("{other:?} instead of a trigger"),
        }
    }

    async fn ack(&mut self, checkpoint: CheckpointId, ended: bool) {
        self.first.ack(checkpoint, ended).await;
        self.second.ack(checkpoint, ended).await;
    }

    /// Both are told that `checkpoint` is complete.
    async fn notified(&mut self, checkpoint: CheckpointId) {
        for worker in [&mut self.first, &mut self.second] {
            assert_eq!(worker.hear().await, ToWorker::Completed { attempt: worker.attempt, checkpoint });
        }
    }

    /// The next checkpoint, from trigger to notification.
    async fn checkpoint(&mut self) -> CheckpointId {
        let checkpoint = self.triggered().await;
        self.ack(checkpoint, false).await;
        self.notified(checkpoint).await;
        checkpoint
    }

    /// Ends the job.
    async fn finish(&mut self) -> CheckpointId {
        self.first.input_ended().await;
        self.second.input_ended().await;
        let checkpoint = self.triggered().await;
        self.ack(checkpoint, true).await;
        self.notified(checkpoint).await;
        self.first.finished().await;
        self.second.finished().await;
        assert_eq!((self.first.hear().await, self.second.hear().await), (ToWorker::JobDone, ToWorker::JobDone));
        checkpoint
    }
}

fn attempt(generation: u64, number: u32) -> Attempt {
    Attempt { generation: Generation(generation), number }
}

async fn pause(room: &Room, ms: u64) {
    room.env(TEST).sleep(Duration::from_millis(ms)).await;
}

/// Runs a test in a room.
fn play<T: Send + 'static, F: Future<Output = T> + Send + 'static>(test: impl FnOnce(Room) -> F) -> T {
    let room = Room::default();
    room.run(test(room.clone()))
}

fn position(room: &Room, wanted: impl Fn(&Event) -> bool) -> usize {
    room.events().iter().position(wanted).expect("it was announced")
}

#[test]
fn a_job_runs_from_registration_to_its_last_checkpoint_and_is_not_run_again() {
    play(async |room| {
        let mut coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::join(&room, 1).await;
        let deployment = crew.run().await;
        assert_eq!((deployment.attempt, &deployment.restore), (attempt(1, 1), &None));
        let placement = [(SOURCE, WorkerId(0)), (SINK_0, WorkerId(0)), (SINK_1, WorkerId(1))];
        assert_eq!(deployment.placement, placement);
        let addresses = [(WorkerId(0), "data-0".to_owned()), (WorkerId(1), "data-1".to_owned())];
        assert_eq!(deployment.addresses, addresses);
        assert_eq!(crew.checkpoint().await, CheckpointId(1));
        let checkpoint = crew.finish().await;
        drop(crew);
        assert_eq!(coordinator.end().await, Ok(JobEnd::Finished { checkpoint }));
        let again = Coordinator::start(&room, 2).end().await;
        assert_eq!(again, Ok(JobEnd::AlreadyFinished { checkpoint }));
        assert!(room.paths().iter().eq(["checkpoints/log/0000000004"]), "a finished job needs no checkpoint");
    });
}

#[test]
fn what_is_announced_of_a_checkpoint_comes_in_the_order_of_the_protocol() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        crew.checkpoint().await;
        crew.checkpoint().await;
        pause(&room, 100).await;
        let of_the_second = [
            position(&room, |e| matches!(e, Event::CheckpointTriggered { checkpoint: CheckpointId(2), .. })),
            position(&room, |e| matches!(e, Event::TriggerSent { checkpoint: CheckpointId(2), .. })),
            position(&room, |e| matches!(e, Event::AckReceived { checkpoint: CheckpointId(2), .. })),
            position(&room, |e| matches!(e, Event::ManifestStarted { checkpoint: CheckpointId(2), .. })),
            position(&room, |e| matches!(e, Event::ManifestWritten { checkpoint: CheckpointId(2), .. })),
            position(&room, |e| matches!(e, Event::CompletionStarted { checkpoint: CheckpointId(2), slot: 3 })),
            position(&room, |e| matches!(e, Event::CompletionDurable { checkpoint: CheckpointId(2), slot: 3, .. })),
            position(&room, |e| matches!(e, Event::NotifySent { checkpoint: CheckpointId(2), .. })),
            position(&room, |e| matches!(e, Event::CheckpointSubsumed { checkpoint: CheckpointId(1) })),
            position(&room, |e| matches!(e, Event::DeleteStarted { path } if path.contains("chk-1/manifest"))),
            position(&room, |e| matches!(e, Event::DeleteStarted { path } if path.contains("chk-1/out-0"))),
            position(&room, |e| matches!(e, Event::DeleteStarted { path } if path.contains("log/0000000002"))),
        ];
        assert!(of_the_second.is_sorted(), "{of_the_second:?} in {:#?}", room.events());
        let triggers = room.events().iter().filter(|e| matches!(e, Event::TriggerSent { .. })).count();
        assert_eq!(triggers, 2, "only the worker that hosts the source is told to trigger");
    });
}

#[test]
fn a_worker_with_another_graph_is_refused() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut worker = Worker::connect(&room, 1, 0, 1).await;
        let own = job().graph.fingerprint();
        let reason = format!(
            "worker-0 does not fit: its graph of job \"pass\" has fingerprint 0000000000000001, the coordinator's {own:016x}"
        );
        assert_eq!(worker.hear().await, ToWorker::Refused { reason });
        assert_eq!(worker.try_hear().await, None, "and let go after a while");
    });
}

#[test]
fn a_new_coordinator_restores_the_latest_checkpoint_and_starts_above_every_used_id() {
    play(async |room| {
        let _first = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        crew.checkpoint().await;
        let pending = crew.triggered().await;
        crew.first.ack(pending, false).await;
        room.crash(1);
        let _second = Coordinator::start(&room, 2);
        let mut crew = Crew::join(&room, 2).await;
        let deployment = crew.run().await;
        assert_eq!(deployment.attempt, attempt(2, 1));
        let restore = deployment.restore.expect("a checkpoint is restored");
        assert_eq!(restore.checkpoint, CheckpointId(1));
        let paths: Vec<_> = restore.snapshots.iter().map(|(_, snapshot)| snapshot.path.as_str()).collect();
        let expected =
            ["checkpoints/chk-1/numbers-0-a1.1", "checkpoints/chk-1/out-0-a1.1", "checkpoints/chk-1/out-1-a1.1"];
        assert_eq!(paths, expected);
        assert_eq!(crew.triggered().await, CheckpointId(101));
        let left: Vec<_> = room.paths().into_iter().filter(|path| path.contains("chk-2/")).collect();
        assert_eq!(left, Vec::<String>::new(), "what the predecessor left behind is gone");
    });
}

#[test]
fn a_checkpoint_whose_slot_was_created_but_the_reply_lost_completes() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        room.expect(Op::Write, layout::LOG, Fate::LoseReply);
        assert_eq!(crew.checkpoint().await, CheckpointId(1));
        assert_eq!(crew.checkpoint().await, CheckpointId(2));
    });
}

#[test]
fn a_checkpoint_whose_slot_certainly_failed_is_aborted_and_its_files_are_deleted() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        (0..5).for_each(|_| room.expect(Op::Write, layout::LOG, Fate::Fail));
        let checkpoint = crew.triggered().await;
        crew.ack(checkpoint, false).await;
        for worker in [&mut crew.first, &mut crew.second] {
            assert_eq!(worker.hear().await, ToWorker::Aborted { attempt: attempt(1, 1), checkpoint });
        }
        pause(&room, 100).await;
        assert!(room.paths().iter().eq(["checkpoints/log/0000000001"]), "{:?}", room.paths());
        assert_eq!(crew.checkpoint().await, CheckpointId(2), "the same slot takes the next one");
    });
}

#[test]
fn a_failed_attempt_waits_for_the_slot_that_may_land_and_restores_that_checkpoint() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        crew.checkpoint().await;
        // The create of chk-2's slot hangs in the network, and storage answers nothing else about it.
        room.expect(Op::Write, "log/0000000003", Fate::Hold);
        (0..12).for_each(|_| room.expect(Op::Read, "log/0000000003", Fate::Fail));
        let checkpoint = crew.triggered().await;
        crew.ack(checkpoint, false).await;
        pause(&room, 50).await;
        drop(crew.second);
        crew.second = Worker::join(&room, 1, 1).await;
        pause(&room, 500).await;
        room.land();
        assert_eq!(crew.first.hear().await, ToWorker::Cancel { attempt: attempt(1, 1) });
        let restore = crew.run().await.restore.expect("a checkpoint is restored");
        assert_eq!(restore.checkpoint, CheckpointId(2));
        let durable = position(&room, |e| matches!(e, Event::CompletionDurable { checkpoint: CheckpointId(2), .. }));
        let deployed = position(&room, |e| matches!(e, Event::AttemptDeployed { attempt, .. } if attempt.number == 2));
        assert!(durable < deployed);
    });
}

#[test]
fn a_deposed_coordinator_stops_and_tells_its_workers_nothing() {
    play(async |room| {
        let mut first = Coordinator::start(&room, 1);
        let mut old_crew = Crew::running(&room, 1).await;
        let _second = Coordinator::start(&room, 2);
        let _crew = Crew::running(&room, 2).await;
        let checkpoint = old_crew.triggered().await;
        old_crew.ack(checkpoint, false).await;
        let error = first.end().await.expect_err("a newer leader has taken over");
        assert_eq!(error, Error::fenced("leadership g1 is over: a newer leader has taken over"));
        assert_eq!(old_crew.second.try_hear().await, None);
        position(&room, |e| matches!(e, Event::Deposed { generation: Generation(1) }));
    });
}

#[test]
fn a_deposed_coordinator_that_waits_for_workers_learns_it_and_lets_the_others_go() {
    play(async |room| {
        let mut first = Coordinator::start(&room, 1);
        let mut waiting = Worker::join(&room, 1, 0).await;
        let _second = Coordinator::start(&room, 2);
        let lone = Worker::join(&room, 2, 1).await;
        assert_eq!(waiting.try_hear().await, None, "nothing but heartbeats until the connection ends");
        assert_eq!(first.end().await.expect_err("a newer leader has taken over").reaction, Reaction::Fenced);
        let mut crew = Crew { first: Worker::join(&room, 2, 0).await, second: lone };
        assert_eq!(crew.run().await.attempt, attempt(2, 1));
    });
}

#[test]
fn a_worker_that_registers_anew_is_announced_as_lost_first_once_it_sees_the_output() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        pause(&room, 1).await;
        let before = room.events().len();
        let mut again = Worker::join(&room, 1, 1).await;
        pause(&room, 1).await;
        let mut announced = room.events().split_off(before);
        announced.retain(|event| !matches!(event, Event::PeerTrusted { .. }));
        let worker = WorkerId(1);
        assert_eq!(announced[..2], [Event::WorkerLost { worker }, Event::WorkerRegistered { worker }]);
        assert!(announced[2..].iter().any(|event| matches!(event, Event::AttemptFailed { .. })), "{announced:?}");
        assert_eq!(crew.second.try_hear().await, None, "the older connection is closed");
        assert_eq!(crew.first.hear().await, ToWorker::Cancel { attempt: attempt(1, 1) });
        assert_eq!(again.hear().await, ToWorker::Cancel { attempt: attempt(1, 1) });
        crew.second = again;
        assert_eq!(crew.run().await.attempt, attempt(1, 2));
    });
}

#[test]
fn a_worker_that_sees_other_folders_is_refused_and_the_job_waits_for_one_that_does_not() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let log = Some(Generation(1));
        for (token, log, found) in [
            (Some(None), log, "holds no generation-1"),
            (Some(Some(1)), log, "holds another generation-1"),
            (None, None, "holds no log"),
            (None, Some(Generation(0)), "holds another log"),
        ] {
            let mut stranger = Worker::connect(&room, 1, 1, job().graph.fingerprint()).await;
            assert_eq!(stranger.hear().await, ToWorker::Welcome { generation: Generation(1) });
            let right = || {
                let bytes = room.read("output/generation-1").expect("a worker is welcome once the mark is there");
                Mark::decode(Name::Generation(Generation(1)), &bytes).expect("a mark").token()
            };
            let token = token.unwrap_or_else(right);
            stranger.say(ToCoordinator::Sees(Sight { token, log })).await;
            let ToWorker::Refused { reason } = stranger.hear().await else { panic!("it sees other folders") };
            assert!(reason.contains(found), "{reason}");
        }
        assert!(!room.events().iter().any(|event| matches!(event, Event::WorkerRegistered { .. })));
        Crew::running(&room, 1).await;
    });
}

#[test]
fn nothing_is_deployed_before_the_output_is_owned_and_nothing_notified_before_it_is_marked() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        room.expect(Op::Write, "output/completed-1", Fate::LoseReply);
        let mut crew = Crew::running(&room, 1).await;
        let checkpoint = crew.checkpoint().await;
        let marked = format!("output/completed-{}", checkpoint.0);
        let order = [
            position(&room, |e| matches!(e, Event::LeadershipTaken { .. })),
            position(&room, |e| matches!(e, Event::MarkStarted { path, .. } if path == "output/generation-1")),
            position(&room, |e| matches!(e, Event::OutputOwned { .. })),
            position(&room, |e| matches!(e, Event::WorkerRegistered { .. })),
            position(&room, |e| matches!(e, Event::AttemptDeployed { .. })),
            position(&room, |e| matches!(e, Event::CompletionStarted { .. })),
            position(&room, |e| matches!(e, Event::MarkStarted { path, .. } if *path == marked)),
            position(&room, |e| matches!(e, Event::NotifySent { .. })),
        ];
        assert!(order.is_sorted(), "{order:?}");
    });
}

#[test]
fn a_leader_that_finds_the_mark_of_its_successor_notifies_nobody() {
    play(async |room| {
        let mut coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        // A copy of the checkpoints leads elsewhere: its log does not depose this one.
        room.write("output/generation-2");
        let checkpoint = crew.triggered().await;
        crew.ack(checkpoint, false).await;
        assert_eq!(crew.first.try_hear().await, None, "the connection ends without a notification");
        let error = coordinator.end().await.expect_err("another leader owns the output");
        assert_eq!(error.reaction, Reaction::Fenced);
        assert!(error.message.contains("output/generation-2"), "{error}");
    });
}

#[test]
fn of_two_processes_with_one_id_the_later_waits_and_takes_the_place_of_the_first_when_that_is_lost() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let graph = job().graph.fingerprint();
        let mut rival = Worker::connect_as(&room, 1, 0, graph, INCARNATION + 1).await;
        assert_eq!(rival.hear().await, ToWorker::Occupied);
        crew.checkpoint().await;
        // What it says counts for nothing meanwhile.
        rival.attempt = attempt(1, 1);
        rival.finished().await;
        crew.checkpoint().await;
        let first = std::mem::replace(&mut crew.first, rival);
        drop(first);
        for worker in [&mut crew.first, &mut crew.second] {
            let cancel = ToWorker::Cancel { attempt: attempt(1, 1) };
            let heard = [worker.hear().await, worker.try_hear().await.expect("the coordinator is there")];
            assert!(heard.contains(&cancel) || heard[0] == cancel, "{heard:?}");
            if worker.id == 0 {
                assert!(heard.iter().any(|message| matches!(message, ToWorker::Welcome { .. })), "{heard:?}");
                worker.see_output_of(Generation(1)).await;
            } else {
                assert!(matches!(&heard[1], ToWorker::Deploy(deployment) if deployment.attempt == attempt(1, 2)));
            }
        }
        assert_eq!(crew.first.deployed().await.attempt, attempt(1, 2));
    });
}

#[test]
fn a_coordinator_that_finds_the_job_over_stays_for_a_host_that_comes_behind_a_spare_worker() {
    play(async |room| {
        let _first = Coordinator::start(&room, 1);
        let checkpoint = Crew::running(&room, 1).await.finish().await;
        room.crash(1);
        let mut second = Coordinator::resume(&room, 2);
        for worker in [2, 0, 1] {
            let mut worker = Worker::connect(&room, 2, worker, job().graph.fingerprint()).await;
            assert_eq!(worker.hear().await, ToWorker::JobDone);
            drop(worker);
            pause(&room, job().config.heartbeat_timeout.as_millis() as u64 / 2).await;
        }
        assert_eq!(second.end().await, Ok(JobEnd::AlreadyFinished { checkpoint }));
    });
}

#[test]
fn a_spare_worker_that_is_away_when_the_job_ends_is_waited_for() {
    play(async |room| {
        let mut coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        drop(Worker::join(&room, 1, 2).await);
        crew.checkpoint().await;
        let checkpoint = crew.finish().await;
        drop(crew);
        pause(&room, job().config.heartbeat_timeout.as_millis() as u64 * 9 / 10).await;
        let mut spare = Worker::connect(&room, 1, 2, job().graph.fingerprint()).await;
        assert_eq!(spare.hear().await, ToWorker::JobDone);
        drop(spare);
        assert_eq!(coordinator.end().await, Ok(JobEnd::Finished { checkpoint }));
    });
}

#[test]
fn a_process_that_waits_is_told_of_the_end_of_the_job() {
    play(async |room| {
        let mut coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let graph = job().graph.fingerprint();
        let mut rival = Worker::connect_as(&room, 1, 1, graph, INCARNATION + 1).await;
        assert_eq!(rival.hear().await, ToWorker::Occupied);
        let checkpoint = crew.finish().await;
        while !matches!(rival.hear().await, ToWorker::JobDone) {}
        drop((crew, rival));
        assert_eq!(coordinator.end().await, Ok(JobEnd::Finished { checkpoint }));
    });
}

#[test]
fn a_worker_that_registers_as_another_than_it_has_proved_to_be_is_hung_up_on() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let (env, limit) = (room.env(TEST), Duration::from_secs(10));
        for claim in [Claim::Worker(WorkerId(5)), Claim::Client] {
            let mut liar = dial(&env, &address(1), limit, &secret(), claim).await.expect("a member");
            let register = ToCoordinator::Register {
                protocol: PROTOCOL_VERSION,
                graph: job().graph.fingerprint(),
                worker: WorkerId(0),
                incarnation: INCARNATION,
                data_address: "data-0".to_owned(),
            };
            liar.sender.send(messages::encode(&register)).await.expect("the coordinator is there");
            assert!(liar.receiver.receive().await.is_err(), "{claim} registers as worker-0");
        }
        crew.checkpoint().await;
    });
}

#[test]
fn a_stranger_learns_nothing_and_changes_nothing() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let (env, limit) = (room.env(TEST), Duration::from_secs(10));
        let wrong = Secret::new(vec![8; 32]).expect("it is long enough");
        for claim in [Claim::Worker(WorkerId(0)), Claim::Client] {
            let refused = dial(&env, &address(1), limit, &wrong, claim).await.map(|_| ());
            assert_eq!(refused, Err(DialError::Distrusted(Distrust::Unproven)));
        }
        // One that does not care for proofs says at once what it wants, or behind a challenge.
        for opens in [false, true] {
            let mut rude = env.network.connect(address(1)).await.expect("somebody listens");
            if opens {
                let (claim, nonce) = (Claim::Client, Nonce([1; 32]));
                rude.sender.send(handshake::encode(&Opening { claim, nonce })).await.expect("it is taken");
                let challenge = rude.receiver.receive().await.expect("a challenge");
                assert!(handshake::decode::<Challenge>(&challenge).is_some());
            }
            let cancel = messages::encode(&ToCoordinator::Ask(Wish::Cancel));
            rude.sender.send(cancel).await.expect("it is taken");
            assert!(rude.receiver.receive().await.is_err(), "a stranger got an answer");
        }
        let mut long = env.network.connect(address(1)).await.expect("somebody listens");
        let frame = Bytes::from(vec![0; HANDSHAKE_BYTES_MAX + 1]);
        long.sender.send(frame).await.expect("it is taken");
        assert!(long.receiver.receive().await.is_err());
        crew.checkpoint().await;
        let distrusted = room.events().iter().filter(|event| matches!(event, Event::PeerDistrusted { .. })).count();
        assert_eq!(distrusted, 2 + 2 + 1, "the two that verify hang up themselves");
    });
}

#[test]
fn strangers_that_hold_connections_keep_no_member_out() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        pause(&room, 50).await;
        let env = room.env(TEST);
        let mut held = Vec::new();
        for _ in 0..3 * STRANGERS_MAX {
            held.push(env.network.connect(address(1)).await.expect("somebody listens"));
            pause(&room, 1).await;
        }
        Crew::running(&room, 1).await.checkpoint().await;
        let mut open = 0;
        for connection in &mut held {
            let received = race(connection.receiver.receive(), env.sleep(Duration::from_micros(1))).await;
            open += usize::from(matches!(received, Either::Second(())));
        }
        assert!(open <= STRANGERS_MAX, "{open} strangers are held");
    });
}

#[test]
fn a_missing_manifest_fails_the_job_by_name_and_never_falls_back() {
    play(async |room| {
        let _first = Coordinator::start(&room, 1);
        Crew::running(&room, 1).await.checkpoint().await;
        room.crash(1);
        room.remove("checkpoints/chk-1/manifest-a1.1");
        let mut second = Coordinator::start(&room, 2);
        let mut crew = Crew::join(&room, 2).await;
        assert_eq!((crew.first.hear().await, crew.second.hear().await), (ToWorker::JobDone, ToWorker::JobDone));
        drop(crew);
        let message = "chk-1 is completed in slot 2, but its manifest checkpoints/chk-1/manifest-a1.1 does not exist";
        assert_eq!(second.end().await, Err(Error::corrupt(message)));
        position(&room, |e| matches!(e, Event::JobFailed { cause } if cause == message));
    });
}

#[test]
fn a_missing_or_cut_off_blob_of_the_latest_checkpoint_fails_the_job_by_name_before_anything_is_deployed() {
    let blob = "checkpoints/chk-1/out-1-a1.1";
    for (cut_off, what) in [(false, "does not exist"), (true, "has 3 bytes instead of 5")] {
        play(async move |room| {
            let _first = Coordinator::start(&room, 1);
            Crew::running(&room, 1).await.checkpoint().await;
            room.crash(1);
            room.remove(blob);
            if cut_off {
                room.put(blob, b"sta");
            }
            let mut second = Coordinator::start(&room, 2);
            let mut crew = Crew::join(&room, 2).await;
            assert_eq!((crew.first.hear().await, crew.second.hear().await), (ToWorker::JobDone, ToWorker::JobDone));
            drop(crew);
            assert_eq!(second.end().await, Err(Error::corrupt(format!("cannot restore chk-1: {blob} {what}"))));
        });
    }
}

#[test]
fn what_a_coordinator_that_died_behind_the_end_left_is_swept_by_the_next() {
    play(async |room| {
        let _first = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let checkpoint = crew.finish().await;
        room.crash(1);
        let (left, staged) = ("checkpoints/chk-9/out-0-a1.1", "output/out/.staging/out-0/a1.1-chk-9");
        room.write(left);
        room.write(staged);
        drop(crew);
        let end = Coordinator::resume(&room, 2).end().await;
        assert_eq!(end, Ok(JobEnd::AlreadyFinished { checkpoint }));
        assert_eq!(room.paths().into_iter().filter(|path| path == left || path == staged).count(), 0);
    });
}

#[test]
fn a_deposed_coordinator_does_not_declare_the_job_failed() {
    play(async |room| {
        let mut first = Coordinator::start(&room, 1);
        let mut old_crew = Crew::running(&room, 1).await;
        let _second = Coordinator::start(&room, 2);
        let _crew = Crew::running(&room, 2).await;
        let error = Error::corrupt("the blob is gone");
        let attempt = old_crew.first.attempt;
        old_crew.first.say(ToCoordinator::Failed { attempt, subtask: Some(SOURCE), error }).await;
        let end = first.end().await.expect_err("a newer leader has taken over");
        assert_eq!(end.reaction, Reaction::Fenced);
        assert!(!room.events().iter().any(|event| matches!(event, Event::JobFailed { .. })));
    });
}

#[test]
fn a_silent_worker_is_lost_and_the_attempt_with_it() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        // The second worker says nothing any more; the first goes on.
        let mut alive = crew.first;
        loop {
            match alive.hear().await {
                ToWorker::Cancel { attempt: cancelled } => {
                    assert_eq!(cancelled, attempt(1, 1));
                    break;
                }
                ToWorker::Trigger { .. } | ToWorker::Aborted { .. } => {}
                other => panic!("{other:?} is not expected"),
            }
        }
        position(&room, |e| matches!(e, Event::WorkerLost { worker: WorkerId(1) }));
        while crew.second.try_hear().await.is_some() {}
        crew.second = Worker::join(&room, 1, 1).await;
        crew.first = alive;
        assert_eq!(crew.run().await.attempt, attempt(1, 2));
    });
}

#[test]
fn a_job_that_fails_too_often_ends_and_lets_its_workers_go() {
    play(async |room| {
        let mut coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        for number in 1..=2 {
            let error = Error::restart("division by zero");
            let failed = ToCoordinator::Failed { attempt: attempt(1, number), subtask: Some(SINK_1), error };
            crew.second.say(failed).await;
            assert_eq!(crew.first.hear().await, ToWorker::Cancel { attempt: attempt(1, number) });
            assert_eq!(crew.second.hear().await, ToWorker::Cancel { attempt: attempt(1, number) });
            if number == 1 {
                crew.run().await;
            }
        }
        assert_eq!((crew.first.hear().await, crew.second.hear().await), (ToWorker::JobDone, ToWorker::JobDone));
        drop(crew);
        let message = "gave up after 1 restarts in a row; the last failure: out[1] on worker-1: division by zero";
        assert_eq!(coordinator.end().await, Err(Error::give_up(message)));
        position(&room, |e| matches!(e, Event::JobFailed { cause } if cause == message));
        let again = Coordinator::resume(&room, 2).end().await;
        assert_eq!(again, Err(Error::give_up(message)), "what is over stays over");
        let _submitted = Coordinator::start(&room, 3);
        assert_eq!(Crew::join(&room, 3).await.run().await.attempt, attempt(2, 1));
    });
}

#[test]
fn a_cancelled_job_ends_once_its_slot_is_durable_and_keeps_its_checkpoint() {
    play(async |room| {
        let mut coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        crew.checkpoint().await;
        let client = Client::ask(&room, 1, Wish::Cancel);
        for worker in [&mut crew.first, &mut crew.second] {
            assert_eq!(worker.hear().await, ToWorker::Cancel { attempt: attempt(1, 1) });
            assert_eq!(worker.hear().await, ToWorker::JobDone);
        }
        drop(crew);
        let kept = Some(CheckpointId(1));
        assert_eq!(client.hear().await, Ok(Reply::Answer(Answer::Over { how: Ended::Cancelled, kept })));
        assert_eq!(coordinator.end().await, Ok(JobEnd::Cancelled));
        position(&room, |e| matches!(e, Event::JobCancelled { checkpoint: Some(CheckpointId(1)) }));
        assert!(room.paths().contains("checkpoints/chk-1/manifest-a1.1"));
    });
}

#[test]
fn workers_that_still_look_for_a_coordinator_after_the_end_are_told() {
    play(async |room| {
        let _first = Coordinator::start(&room, 1);
        Crew::running(&room, 1).await.finish().await;
        room.crash(1);
        let mut second = Coordinator::resume(&room, 2);
        for id in [0, 1] {
            let mut worker = Worker::connect(&room, 2, id, job().graph.fingerprint()).await;
            assert_eq!(worker.hear().await, ToWorker::JobDone);
        }
        assert!(matches!(second.end().await, Ok(JobEnd::AlreadyFinished { .. })));
    });
}

#[test]
fn a_worker_that_lost_its_connection_just_before_the_end_is_told_when_it_is_back() {
    play(async |room| {
        let mut coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        crew.first.input_ended().await;
        crew.second.input_ended().await;
        let checkpoint = crew.triggered().await;
        crew.ack(checkpoint, true).await;
        crew.notified(checkpoint).await;
        let Crew { mut first, mut second } = crew;
        first.finished().await;
        drop(first);
        second.finished().await;
        assert_eq!(second.hear().await, ToWorker::JobDone);
        drop(second);
        // Longer than the last sweep takes.
        pause(&room, 300).await;
        let mut first = Worker::connect(&room, 1, 0, job().graph.fingerprint()).await;
        assert_eq!(first.hear().await, ToWorker::JobDone);
        drop(first);
        assert_eq!(coordinator.end().await, Ok(JobEnd::Finished { checkpoint }));
    });
}

#[test]
fn the_log_of_another_job_is_refused_before_anything_is_written() {
    play(async |room| {
        let _first = Coordinator::start(&room, 1);
        Crew::running(&room, 1).await.checkpoint().await;
        room.crash(1);
        let before = room.paths();
        let mut other = job();
        Arc::get_mut(&mut other.graph).expect("nobody else has it").name = "fail".into();
        let end = Coordinator::start_job(&room, 2, other, Start::Submit, Rivalry::Depose).end().await;
        let error = end.expect_err("the log is another job's");
        assert!(error.message.starts_with("these checkpoints belong to job pass, but this is job fail"), "{error}");
        assert_eq!(room.paths(), before);
    });
}

#[test]
fn a_job_that_does_not_fit_its_checkpoint_is_refused_and_the_one_that_fits_goes_on() {
    play(async |room| {
        let _first = Coordinator::start(&room, 1);
        let checkpoint = Crew::running(&room, 1).await.checkpoint().await;
        room.crash(1);
        let mut other = job();
        let graph = Arc::get_mut(&mut other.graph).expect("nobody else has it");
        graph.operators[1].parallelism = 3;
        let graph = graph.fingerprint();
        let mut refused = Coordinator::start_job(&room, 2, other, Start::Submit, Rivalry::Depose);
        let mut crew = Vec::new();
        for id in 0..2 {
            let mut worker = Worker::connect(&room, 2, id, graph).await;
            worker.see_output().await;
            crew.push(worker);
        }
        let message = "cannot restore chk-1: operator \"out\" has parallelism 2 in the checkpoint but 3 in the job";
        assert_eq!(refused.end().await, Err(Error::give_up(message)));
        let _third = Coordinator::start(&room, 3);
        let deployment = Crew::join(&room, 3).await.run().await;
        assert_eq!(deployment.restore.expect("it goes on").checkpoint, checkpoint);
    });
}

#[test]
fn a_deletion_that_fails_is_made_up_for() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        crew.checkpoint().await;
        room.expect(Op::Delete, "chk-1/out-0", Fate::Fail);
        crew.checkpoint().await;
        pause(&room, 500).await;
        assert!(
            room.paths().iter().all(|path| path.starts_with(layout::CHECKPOINTS) && !path.contains("chk-1/")),
            "{:?}",
            room.paths()
        );
    });
}

#[test]
fn a_connection_that_does_not_register_is_closed() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        pause(&room, 50).await;
        let env = room.env(TEST);
        let mut connection = env.network.connect(address(1)).await.expect("somebody listens");
        let received = race(connection.receiver.receive(), env.sleep(Duration::from_secs(60))).await;
        assert!(matches!(received, Either::First(Err(_))));
    });
}

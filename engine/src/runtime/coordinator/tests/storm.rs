//! Coordinators that crash, workers that come and go, decline and say what no right worker says, storage that fails, loses
//! replies and applies late: for some hundred seeds the job must end, and nothing that was announced may be lost.
//!
//! What is judged: at every completion its slot, manifest and blobs are stored; ids increase; an attempt restores a
//! checkpoint no older than any that was announced, and all of it is there; in the end nothing is left but what is
//! retained.

use super::rogue;
use super::room::{Room, Storm};
use super::*;
use crate::config::RetentionPolicy;
use crate::persist::layout;
use crate::persist::reader;
use crate::reason::FailureReason;
use std::collections::BTreeSet;
use std::sync::Mutex;

const SUBTASKS: u16 = 2;
/// Of the operators of [`job`].
pub const UIDS: [&str; 2] = ["numbers", "out"];
/// Coordinators are replaced, and storage lies, for so long; the input ends later.
const STORM_MS: u64 = 6_000;
const INPUT_MS: u64 = 9_000;

/// Every worker hosts a source and a sink.
pub fn storm_job() -> Job {
    let Job { graph, mut config } = job();
    let mut graph = Arc::into_inner(graph).expect("nobody else has it");
    graph.operators.iter_mut().for_each(|operator| operator.parallelism = SUBTASKS);
    config.checkpoints.interval = Duration::from_millis(300);
    config.checkpoints.timeout = Duration::from_millis(900);
    config.checkpoints.retained = 2;
    config.checkpoints.retention = RetentionPolicy::Always;
    config.heartbeat_interval = Duration::from_millis(200);
    config.heartbeat_timeout = Duration::from_millis(900);
    config.restart = RestartStrategy::FixedDelay { attempts: 1000, delay: Duration::from_millis(50) };
    Job { graph: Arc::new(graph), config }
}

/// What has been announced so far.
#[derive(Default)]
pub struct Ledger {
    newest: Option<CheckpointId>,
    completed: usize,
    aborted: usize,
    restored: usize,
    deposed: usize,
    rejected: usize,
}

impl Ledger {
    fn note(&mut self, room: &Room, event: &Event) {
        match event {
            Event::CompletionDurable { checkpoint, slot, manifest, .. } => {
                assert!(self.newest < Some(*checkpoint), "{checkpoint} after {:?}", self.newest);
                self.newest = Some(*checkpoint);
                self.completed += 1;
                assert!(room.paths().contains(&layout::log_entry(*slot)), "the slot of {checkpoint} is stored");
                self.expect_whole(room, *checkpoint, manifest);
            }
            Event::AttemptDeployed { restore, .. } => {
                assert!(*restore >= self.newest, "{restore:?} is restored after {:?} was announced", self.newest);
                if let Some(checkpoint) = restore {
                    self.restored += 1;
                    let folder = format!("checkpoints/{checkpoint}/manifest");
                    let manifest = room.paths().into_iter().find(|path| path.starts_with(&folder));
                    self.expect_whole(room, *checkpoint, &manifest.expect("what is restored is stored"));
                }
            }
            Event::CheckpointAborted { checkpoint, .. } => {
                assert!(Some(*checkpoint) > self.newest, "{checkpoint} was completed");
                self.aborted += 1;
            }
            Event::Deposed { .. } => self.deposed += 1,
            Event::ReportRejected { .. } => self.rejected += 1,
            Event::JobFailed { cause } => panic!("the job failed: {cause}"),
            _ => {}
        }
    }

    fn expect_whole(&self, room: &Room, checkpoint: CheckpointId, manifest: &str) {
        let paths = room.paths();
        assert!(paths.contains(manifest), "{manifest} is stored");
        let folder = format!("checkpoints/{checkpoint}/");
        let stored = paths.iter().filter(|path| path.starts_with(&folder)).count();
        assert_eq!(stored, 1 + 2 * usize::from(SUBTASKS), "{checkpoint} is whole");
    }
}

impl Ledger {
    /// What the log retains is stored, and nothing else is: not in the log, not in the folders of checkpoints.
    fn expect_nothing_else(&self, room: &Room) {
        let fetch = |path: &str| Ok(room.read(path));
        let paths: Vec<String> = room.paths().into_iter().collect();
        let log = reader::read_log(&fetch, &paths).expect("a readable log");
        let mut expected: BTreeSet<String> = log.iter().map(|(number, _)| layout::log_entry(*number)).collect();
        let retained = reader::retained(&log);
        // A job that a storm let complete its last checkpoint alone retains that one.
        assert!((1..=storm_job().config.checkpoints.retained).contains(&retained.len()), "{retained:?}");
        for path in retained {
            let manifest = reader::read_manifest(&fetch, &path).expect("a readable manifest");
            expected.extend(manifest.snapshots().map(|snapshot| snapshot.path.clone()));
            expected.insert(path);
        }
        let floor = log.iter().rev().find_map(|(_, slot)| slot.record.floor());
        assert_eq!(log.first().map(|(number, _)| *number), floor, "slots below the floor are gone");
        assert!(room.paths() == expected, "{:?}\nis not what is retained\n{expected:?}", room.paths());
    }
}

/// A worker that plays its part until the job is done, more or less.
pub async fn serve(room: Room, number: u16, ledger: Arc<Mutex<Ledger>>) {
    let env = room.env(TEST);
    loop {
        let (limit, claim) = (Duration::from_secs(10), Claim::Worker(WorkerId(number)));
        let Ok(connection) = dial(&env, &address(1), limit, &secret(), claim).await else {
            env.sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut worker = Served {
            room: room.clone(),
            env: env.clone(),
            number,
            connection,
            attempt: Attempt::default(),
            ended: false,
            end_held_by: None,
            finished: false,
        };
        match worker.attend(&ledger).await {
            Some(()) => return,
            None => env.sleep(Duration::from_millis(20)).await,
        }
    }
}

struct Served {
    room: Room,
    env: Env,
    number: u16,
    connection: Connection,
    attempt: Attempt,
    ended: bool,
    /// The first checkpoint that held the end.
    end_held_by: Option<CheckpointId>,
    finished: bool,
}

impl Served {
    /// `None` when the connection is over, by whomever.
    async fn attend(&mut self, ledger: &Mutex<Ledger>) -> Option<()> {
        let (worker, data_address) = (WorkerId(self.number), format!("data-{}", self.number));
        let graph = storm_job().graph.fingerprint();
        self.say(ToCoordinator::Register { protocol: PROTOCOL_VERSION, graph, worker, incarnation: 0, data_address })
            .await?;
        loop {
            let pause = self.env.sleep(Duration::from_millis(100));
            match race(self.connection.receiver.receive(), pause).await {
                Either::First(frame) => match messages::decode(&frame.ok()?).expect("a message") {
                    ToWorker::JobDone => return Some(()),
                    message => self.on_message(message, ledger).await?,
                },
                Either::Second(()) => self.idle().await?,
            }
        }
    }

    async fn say(&mut self, message: ToCoordinator) -> Option<()> {
        self.connection.sender.send(messages::encode(&message)).await.ok()
    }

    fn subtasks(&self) -> [SubtaskId; 2] {
        [0, 1].map(|operator| SubtaskId { operator: OperatorId(operator), index: self.number })
    }

    async fn idle(&mut self) -> Option<()> {
        if self.room.chance(100) {
            return None;
        }
        if self.room.chance(40) && self.attempt != Attempt::default() {
            let report = rogue::report(&self.room, self.attempt, self.number);
            self.say(report).await?;
        }
        let over = self.env.clock.now() >= after_ms(INPUT_MS);
        if over && !self.ended && self.attempt != Attempt::default() {
            self.ended = true;
            for subtask in self.subtasks() {
                self.say(ToCoordinator::InputEnded { attempt: self.attempt, subtask }).await?;
            }
        }
        self.say(ToCoordinator::Heartbeat).await
    }

    async fn on_message(&mut self, message: ToWorker, ledger: &Mutex<Ledger>) -> Option<()> {
        match message {
            ToWorker::Deploy(deployment) => {
                (self.attempt, self.ended) = (deployment.attempt, false);
                (self.end_held_by, self.finished) = (None, false);
                for subtask in self.subtasks() {
                    self.say(ToCoordinator::Restored { attempt: self.attempt, subtask }).await?;
                }
            }
            ToWorker::Trigger { attempt, barrier, .. } if attempt == self.attempt && !self.finished => {
                self.snapshot(barrier.checkpoint).await?;
            }
            ToWorker::Completed { attempt, checkpoint } => {
                let newest = ledger.lock().expect("nobody panicked").newest;
                assert!(newest >= Some(checkpoint), "{checkpoint} was announced before it is committed");
                if self.end_held_by.is_some_and(|held| held <= checkpoint) {
                    self.finished = true;
                    for subtask in self.subtasks() {
                        self.say(ToCoordinator::Finished { attempt, subtask }).await?;
                    }
                }
            }
            ToWorker::Welcome { generation } => {
                let name = Name::Generation(generation);
                let bytes = self.room.read(&name.path()).expect("a worker is welcome once the mark is there");
                let token = Mark::decode(name, &bytes).expect("a mark").token();
                self.say(ToCoordinator::Sees(Sight { token, log: Some(generation) })).await?;
            }
            ToWorker::Refused { reason } => panic!("refused: {reason}"),
            ToWorker::Trigger { .. }
            | ToWorker::Standby
            | ToWorker::Occupied
            | ToWorker::Heartbeat
            | ToWorker::Aborted { .. }
            | ToWorker::Cancel { .. }
            | ToWorker::JobDone => {}
        }
        Some(())
    }

    async fn snapshot(&mut self, checkpoint: CheckpointId) -> Option<()> {
        let (attempt, ended) = (self.attempt, self.ended);
        if ended {
            self.end_held_by.get_or_insert(checkpoint);
        }
        for subtask in self.subtasks() {
            let patience = if self.room.chance(20) { 1500 } else { 5 };
            self.env.sleep(Duration::from_millis(patience)).await;
            if self.room.chance(20) {
                let reason = FailureReason::UploadFailed("not in the mood".to_owned());
                self.say(ToCoordinator::Decline { attempt, checkpoint, subtask, reason }).await?;
                continue;
            }
            let path = layout::snapshot(checkpoint, UIDS[usize::from(subtask.operator.0)], subtask.index, attempt);
            self.room.write(&path);
            let snapshot = SnapshotHandle { path, bytes: 5, checksum: 0, digest: 0, ended };
            self.say(ToCoordinator::Ack {
                attempt,
                checkpoint,
                subtask,
                snapshot,
                statistics: SnapshotStatistics { bytes: 5, ..SnapshotStatistics::default() },
            })
            .await?;
        }
        Some(())
    }
}

/// One job from its first coordinator to its end.
async fn weather(room: Room, seed: u64, ledger: Arc<Mutex<Ledger>>) {
    let judge = ledger.clone();
    room.watch(move |room, event| judge.lock().expect("nobody panicked").note(room, event));
    room.storm(Some(Storm::new(seed)));
    let env = room.env(TEST);
    for number in 0..SUBTASKS {
        let worker = serve(room.clone(), number, ledger.clone());
        env.spawner.spawn(Site::new("test", 0), Box::pin(worker));
    }
    for number in 1.. {
        let calm = env.clock.now() >= after_ms(STORM_MS);
        if calm {
            room.storm(None);
        }
        let own = room.env(number);
        let (ended, mut end) = Mailbox::new(&env, Site::new("test", 0));
        let options = CoordinatorOptions {
            listen: Listen::At(address(1)),
            workers: SUBTASKS,
            spare: false,
            start: Start::Resume,
            rivalry: Rivalry::Depose,
            lease: LEASE,
            ready: None,
            statistics: None,
            secret: secret(),
        };
        let running = run(own.clone(), storm_job(), options);
        own.spawner.spawn(Site::new("test", 0), Box::pin(async move { ended.post(running.await) }));
        let patience = if calm { 120_000 } else { 200 + 300 * room.draw(10) };
        match race(Box::pin(end.take()), env.sleep(Duration::from_millis(patience))).await {
            Either::First(Ok(_)) => break,
            Either::First(Err(error)) => assert_ne!(error.reaction, Reaction::GiveUp, "{error}"),
            // A coordinator that is only slow, not dead, goes on beside its successor until it notices.
            Either::Second(()) if !calm && room.chance(2) => {}
            Either::Second(()) if !calm => room.crash(number),
            Either::Second(()) => panic!("the job does not end in calm weather"),
        }
    }
}

fn after_ms(ms: u64) -> Time {
    Time(0) + Duration::from_millis(ms)
}

#[test]
fn in_any_weather_the_job_ends_and_nothing_announced_is_lost() {
    let (mut completed, mut aborted, mut restored, mut deposed, mut rejected) = (0, 0, 0, 0, 0);
    for seed in 0..100 {
        let room = Room::default();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        println!("seed {seed}");
        room.run(weather(room.clone(), seed, ledger.clone()));
        let ledger = ledger.lock().expect("nobody panicked");
        completed += ledger.completed;
        aborted += ledger.aborted;
        restored += ledger.restored;
        deposed += ledger.deposed;
        rejected += ledger.rejected;
        ledger.expect_nothing_else(&room);
    }
    println!("{completed} completed, {aborted} aborted, {restored} restored, {deposed} deposed, {rejected} rejected");
    assert!(completed > 500 && aborted > 100 && restored > 100 && deposed > 50, "the weather was too good");
    assert!(rejected > 50, "the workers were too well-behaved");
}

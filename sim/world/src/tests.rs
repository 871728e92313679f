//! The world under small hand-written processes.

use super::*;
use cofferdam_engine::door::{Connection, Depth, NetworkError, Site, StorageError, Work, WriteMode, whole};
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, CheckpointId, OperatorId, SubtaskId, WorkerId};
use cofferdam_engine::runtime::mailbox::Mailbox;
use cofferdam_properties::history::{Fact, What};
use std::future::Future;
use std::time::Duration;

mod outside;
mod straggler;
mod ways;

const W0: Process = Process::Worker(WorkerId(0));
const W1: Process = Process::Worker(WorkerId(1));

type Ended = Result<String, String>;

fn process<F, R>(process: Process, main: F) -> ProcessSpec
where
    F: Fn(Env) -> R + Send + Sync + 'static,
    R: Future<Output = Ended> + Send + 'static,
{
    ProcessSpec { process, main: Arc::new(move |env| Box::pin(main(env))), on_error: OnError::EndRun }
}

fn world(seed: u64, processes: Vec<ProcessSpec>) -> WorldSpec {
    WorldSpec {
        seed,
        processes,
        hosts: 1,
        initial: BTreeMap::new(),
        models: Models::default(),
        faults: Vec::new(),
        heal_at_ms: 60_000,
        tuning: Tuning::default(),
        picks: Picks::Seed,
        record_picks: false,
        budget: Budget { events: 100_000, virtual_ms: 120_000 },
    }
}

/// A word that a task says: `lane` tells tasks apart.
fn said(lane: u16, word: u64) -> Event {
    let subtask = SubtaskId { operator: OperatorId(0), index: lane };
    Event::SourceEmitted { attempt: Attempt::default(), subtask, records: word }
}

fn ack(checkpoint: u64) -> Event {
    Event::AckSent {
        attempt: Attempt::default(),
        subtask: SubtaskId::default(),
        checkpoint: CheckpointId(checkpoint),
        digest: 0,
    }
}

/// When and what the tasks of a lane said.
fn words(recording: &Recording, lane: u16) -> Vec<(u64, u64)> {
    let entries = recording.history.entries.iter();
    let said = entries.filter_map(|entry| match &entry.what {
        What::Claim(Event::SourceEmitted { subtask, records, .. }) if subtask.index == lane => {
            Some((entry.time, *records))
        }
        _ => None,
    });
    said.collect()
}

fn facts(recording: &Recording) -> Vec<(Process, u32, &Fact)> {
    let entries = recording.history.entries.iter();
    let facts = entries.filter_map(|entry| match &entry.what {
        What::Fact(fact) => Some((entry.by.process, entry.by.number, fact)),
        What::Claim(_) => None,
    });
    facts.collect()
}

async fn connect(env: &Env, address: &str) -> Connection {
    loop {
        match env.network.connect(address.to_owned()).await {
            Ok(connection) => return connection,
            Err(NetworkError::Refused(..)) => env.sleep(Duration::from_millis(2)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Listens at `coordinator:1`, echoes frames of everyone, and stops after `connections` of them are over.
async fn echo(env: Env, connections: usize) -> Ended {
    let mut listener = env.network.listen("coordinator:1".to_owned()).await.map_err(|e| e.to_string())?;
    let (over, mut ended) = Mailbox::new(&env, Site::new("over", 0));
    for n in 0..connections {
        let mut connection = listener.accept().await.map_err(|e| e.to_string())?;
        let over = over.clone();
        let serve = async move {
            while let Ok(frame) = connection.receiver.receive().await {
                if connection.sender.send(frame).await.is_err() {
                    break;
                }
            }
            over.post(());
        };
        env.spawner.spawn(Site::new("serve", n as u64), Box::pin(serve));
    }
    for _ in 0..connections {
        ended.take().await;
    }
    Ok("served".to_owned())
}

/// Sends `frames` to the echo and says what comes back.
async fn shout(env: Env, lane: u16, frames: u64) -> Ended {
    let connection = connect(&env, "coordinator:1").await;
    let (mut sender, mut receiver) = (connection.sender, connection.receiver);
    let send = async move {
        for n in 0..frames {
            if sender.send(Bytes::copy_from_slice(&n.to_le_bytes())).await.is_err() {
                break;
            }
        }
        sender
    };
    let (done, mut kept) = Mailbox::new(&env, Site::new("sender", 0));
    env.spawner.spawn(Site::new("send", 0), Box::pin(async move { done.post(send.await) }));
    for n in 0..frames {
        let frame = receiver.receive().await.map_err(|e| e.to_string())?;
        assert_eq!(frame, n.to_le_bytes()[..], "frames keep their order");
        env.emit(said(lane, n));
    }
    drop(kept.take().await);
    Ok("heard".to_owned())
}

fn echo_world(seed: u64, frames: u64) -> WorldSpec {
    let coordinator = process(Process::COORDINATOR, |env| echo(env, 2));
    let first = process(W0, move |env| shout(env, 0, frames));
    let second = process(W1, move |env| shout(env, 1, frames));
    world(seed, vec![coordinator, first, second])
}

#[test]
fn frames_arrive_in_order_and_windows_keep_senders_waiting() {
    let recording = run(echo_world(1, 100));
    assert_eq!(recording.ended, RunEnd::AllEnded);
    assert_eq!(words(&recording, 0).len(), 100);
    assert_eq!(words(&recording, 1).len(), 100);
    assert_eq!(recording.counters.frames_delivered, 400);
    assert_eq!(recording.counters.frames_lost, 0);
    assert_eq!(recording.counters.connections, 2);
}

#[test]
fn the_same_world_runs_the_same_on_any_thread() {
    let first = run(echo_world(7, 50));
    let again = run(echo_world(7, 50));
    let elsewhere = std::thread::Builder::new().spawn(|| run(echo_world(7, 50))).unwrap().join().unwrap();
    for other in [again, elsewhere] {
        assert_eq!(first.history.entries, other.history.entries);
        assert_eq!(first.fingerprint, other.fingerprint);
        assert_eq!(first.events, other.events);
        assert_eq!(first.virtual_ns, other.virtual_ns);
    }
}

#[test]
fn a_window_that_is_full_holds_the_sender_back() {
    // The receiver does not read for a second: the sender gets no further than the window.
    let slow = process(Process::COORDINATOR, |env| async move {
        let mut listener = env.network.listen("coordinator:1".to_owned()).await.unwrap();
        let mut connection = listener.accept().await.unwrap();
        env.sleep(Duration::from_secs(1)).await;
        env.emit(said(9, 0));
        for _ in 0..40 {
            connection.receiver.receive().await.unwrap();
        }
        Ok(String::new())
    });
    let eager = process(W0, |env| async move {
        let mut connection = connect(&env, "coordinator:1").await;
        for n in 0..40 {
            connection.sender.send(Bytes::from_static(b"x")).await.unwrap();
            env.emit(said(0, n));
        }
        Ok(String::new())
    });
    let recording = run(world(3, vec![slow, eager]));
    assert_eq!(recording.ended, RunEnd::AllEnded);
    let reading_began = words(&recording, 9)[0].0;
    let before = words(&recording, 0).iter().filter(|(time, _)| *time < reading_began).count();
    assert_eq!(before, Tuning::default().window as usize);
}

#[test]
fn a_connection_to_nobody_is_refused_and_a_port_is_taken_once() {
    let lonely = process(W0, |env| async move {
        let refused = env.network.connect("coordinator:1".to_owned()).await;
        assert!(matches!(refused, Err(NetworkError::Refused(..))));
        let listener = env.network.listen("w0:0".to_owned()).await.unwrap();
        let taken = env.network.listen(listener.address()).await;
        assert!(matches!(taken, Err(NetworkError::CannotListen(..))));
        let address = listener.address();
        drop(listener);
        assert!(env.network.listen(address.clone()).await.is_ok());
        Ok(address)
    });
    let recording = run(world(1, vec![lonely]));
    assert_eq!(recording.ended, RunEnd::AllEnded);
}

#[test]
fn a_closed_connection_breaks_after_everything_has_arrived() {
    let listening = process(Process::COORDINATOR, |env| async move {
        let mut listener = env.network.listen("coordinator:1".to_owned()).await.unwrap();
        let mut connection = listener.accept().await.unwrap();
        for _ in 0..10 {
            connection.receiver.receive().await.unwrap();
        }
        let broken = connection.receiver.receive().await;
        assert!(matches!(broken, Err(NetworkError::Broken(..))));
        env.sleep(Duration::from_millis(100)).await;
        assert!(connection.sender.send(Bytes::new()).await.is_err());
        Ok(String::new())
    });
    let leaving = process(W0, |env| async move {
        let mut connection = connect(&env, "coordinator:1").await;
        for _ in 0..10 {
            connection.sender.send(Bytes::from_static(b"x")).await.unwrap();
        }
        Ok(String::new())
    });
    for seed in 0..10 {
        let recording = run(world(seed, vec![listening.clone(), leaving.clone()]));
        assert_eq!(recording.ended, RunEnd::AllEnded);
    }
}

#[test]
fn of_many_creators_exactly_one_succeeds_and_the_winner_depends_on_the_seed() {
    let mut winners = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let racer = |name: Process| {
            process(name, move |env| async move {
                let bytes = Bytes::from(name.to_string());
                match env.storage.write("log/1", bytes, WriteMode::Create).await {
                    Ok(()) => env.emit(said(0, 1)),
                    Err(error) => assert_eq!(error, StorageError::Exists("log/1".to_owned())),
                }
                let read = whole::read(&env.storage, "log/1").await.unwrap();
                Ok(String::from_utf8(read.to_vec()).unwrap())
            })
        };
        let recording = run(world(seed, vec![racer(Process::COORDINATOR), racer(W0), racer(W1)]));
        assert_eq!(recording.ended, RunEnd::AllEnded);
        assert_eq!(words(&recording, 0).len(), 1);
        let written = facts(&recording).iter().filter(|(_, _, f)| matches!(f, Fact::Written { .. })).count();
        assert_eq!(written, 1);
        winners.insert(recording.storage["log/1"].clone());
    }
    assert_eq!(winners.len(), 3);
}

/// Three tasks ring one mailbox; the order of taking is what the schedule and the bells make of it.
async fn ringers(env: Env) -> Ended {
    let (postbox, mut mailbox) = Mailbox::new(&env, Site::new("inbox", 0));
    for lane in 0..3_u64 {
        let (env, postbox) = (env.clone(), postbox.clone());
        let site = Site::new("ringer", lane);
        let task = env.clone();
        env.spawner.spawn(
            site,
            Box::pin(async move {
                for n in 0..10 {
                    task.clock.work(site, Work::Records(1)).expect("virtual work takes time").await;
                    postbox.post((lane, n));
                }
            }),
        );
    }
    let mut last = [None; 3];
    for _ in 0..30 {
        let (lane, n) = mailbox.take().await;
        assert!(last[lane as usize] < Some(n), "what one task posts stays in order");
        last[lane as usize] = Some(n);
        let coin = env.schedule.pick(Site::new("coin", 0), 2) as u64;
        env.emit(said(0, lane * 2 + coin));
    }
    Ok(String::new())
}

#[test]
fn twenty_seeds_give_twenty_interleavings() {
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let recording = run(world(seed, vec![process(W0, ringers)]));
        assert_eq!(recording.ended, RunEnd::AllEnded);
        orders.insert(words(&recording, 0).into_iter().map(|(_, word)| word).collect::<Vec<_>>());
    }
    assert_eq!(orders.len(), 20);
}

#[test]
fn a_task_that_does_nothing_and_a_log_line_move_nothing() {
    for seed in 0..10 {
        let idle_beside = |idle: bool| {
            let noisy = process(W0, move |env: Env| async move {
                if idle {
                    let (postbox, mut mailbox) = Mailbox::new(&env, Site::new("idle inbox", 0));
                    let task = env.clone();
                    let nothing = async move {
                        for n in 0..50 {
                            task.sleep(Duration::from_micros(100)).await;
                            task.schedule.pick(Site::new("idle coin", 0), 3);
                            postbox.post(n);
                            mailbox.take().await;
                            task.emit(said(5, n));
                        }
                    };
                    env.spawner.spawn(Site::new("idle", 0), Box::pin(nothing));
                }
                let ended = ringers(env.clone()).await;
                shout(env, 1, 20).await.and(ended)
            });
            let other = process(W1, |env| shout(env, 2, 20));
            let recording = run(world(seed, vec![process(Process::COORDINATOR, |env| echo(env, 2)), noisy, other]));
            assert_eq!(recording.ended, RunEnd::AllEnded);
            recording
        };
        let (without, with) = (idle_beside(false), idle_beside(true));
        assert!(words(&with, 5).len() > 10, "the idle task ran");
        for lane in [0, 1, 2] {
            assert_eq!(words(&without, lane), words(&with, lane), "order and times of lane {lane}, seed {seed}");
        }
    }
}

fn crash(at: Trigger, process: Target) -> Fault {
    Fault { at, what: FaultKind::Crash { process, restart_after_ms: 50 } }
}

fn at_ack(checkpoint: Option<CheckpointAt>, occurrence: u32) -> Trigger {
    Trigger::Point(Point { event: "ack_sent".into(), process: Some(W0), checkpoint, subtask: None, occurrence })
}

/// Announces an ack per checkpoint and does what a careless process would do after it; the first incarnation dies.
async fn announcer(env: Env) -> Ended {
    let (postbox, mut mailbox) = Mailbox::new(&env, Site::new("inbox", 0));
    for n in 1..=5_u64 {
        env.sleep(Duration::from_millis(5)).await;
        env.emit(ack(n));
        // Nothing of this may show when the crash strikes at the ack.
        env.emit(said(0, n));
        postbox.post(n);
        let (task, site) = (env.clone(), Site::new("ghost", n));
        env.spawner.spawn(site, Box::pin(async move { task.emit(said(1, n)) }));
        let path = format!("out/{n}");
        env.storage.write(&path, Bytes::new(), WriteMode::Overwrite).await.map_err(|e| e.to_string())?;
        mailbox.take().await;
    }
    Ok("all acked".to_owned())
}

#[test]
fn a_crash_at_a_point_strikes_in_the_middle_of_the_announcing_poll() {
    let mut spec = world(5, vec![process(W0, announcer)]);
    spec.faults = vec![crash(at_ack(Some(CheckpointAt::Id(CheckpointId(3))), 0), Target::Announcer)];
    let recording = run(spec);
    assert_eq!(recording.ended, RunEnd::AllEnded);
    assert_eq!(recording.faults, [FaultRecord { triggered: true, struck: 1 }]);
    let of_first: Vec<&What> =
        recording.history.entries.iter().filter(|entry| entry.by.number == 1).map(|entry| &entry.what).collect();
    let crashed = of_first.iter().position(|what| **what == What::Fact(Fact::Crashed)).expect("it crashed");
    assert_eq!(*of_first[crashed - 2], What::Claim(ack(3)));
    assert_eq!(*of_first[crashed - 1], What::Fact(Fact::FaultFired(0)));
    assert_eq!(of_first.len(), crashed + 1, "the dead say and do nothing");
    // The second incarnation does all of it again.
    let again = recording
        .history
        .entries
        .iter()
        .filter(|e| e.by.number == 2 && matches!(e.what, What::Claim(Event::AckSent { .. })));
    assert_eq!(again.count(), 5);
    let started: Vec<u64> =
        recording.history.entries.iter().filter(|e| e.what == What::Fact(Fact::Started)).map(|e| e.time).collect();
    assert_eq!(started.len(), 2);
    assert!(started[1] - started[0] > 50_000_000, "it stayed down for its while");
}

#[test]
fn ordinals_and_occurrences_aim_at_later_checkpoints() {
    for (trigger, expected) in [(at_ack(Some(CheckpointAt::Ordinal(3)), 0), 4), (at_ack(None, 1), 2)] {
        let mut spec = world(5, vec![process(W0, announcer)]);
        spec.faults = vec![crash(trigger, Target::Announcer)];
        let recording = run(spec);
        let crashed = recording.history.entries.iter().position(|e| e.what == What::Fact(Fact::Crashed)).unwrap();
        assert_eq!(recording.history.entries[crashed - 2].what, What::Claim(ack(expected)));
    }
}

#[test]
fn a_fault_whose_point_never_comes_is_recorded_as_not_triggered() {
    let mut spec = world(5, vec![process(W0, announcer)]);
    spec.faults = vec![
        crash(at_ack(Some(CheckpointAt::Id(CheckpointId(9))), 0), Target::Announcer),
        crash(Trigger::Time { ms: 50_000 }, Target::Process(W0)),
    ];
    let recording = run(spec);
    assert_eq!(recording.ended, RunEnd::AllEnded);
    assert_eq!(recording.faults, [FaultRecord::default(); 2]);
    assert_eq!(recording.counters.crashes, 0);
}

#[test]
fn a_crash_breaks_connections_never_cleanly_and_sometimes_silently() {
    // The listener waits a bounded time for the end of a connection whose peer dies while sending.
    let (mut broken, mut silent, mut lost, mut shortened) = (0, 0, 0, 0);
    for seed in 0..60 {
        let listening = process(Process::COORDINATOR, |env| async move {
            let mut listener = env.network.listen("coordinator:1".to_owned()).await.unwrap();
            let mut connection = listener.accept().await.unwrap();
            let mut alarm = env.sleep(Duration::from_secs(5));
            let mut next = 0_u64;
            loop {
                let received = connection.receiver.receive();
                match cofferdam_engine::runtime::mailbox::race(received, &mut alarm).await {
                    cofferdam_engine::runtime::mailbox::Either::First(Ok(frame)) => {
                        assert_eq!(frame, next.to_le_bytes()[..], "a prefix arrives, nothing is skipped");
                        next += 1;
                    }
                    cofferdam_engine::runtime::mailbox::Either::First(Err(_)) => {
                        env.emit(said(1, next));
                        return Ok("broken".to_owned());
                    }
                    cofferdam_engine::runtime::mailbox::Either::Second(()) => return Ok("silent".to_owned()),
                }
            }
        });
        let dying = process(W0, |env| async move {
            let Ok(mut connection) = env.network.connect("coordinator:1".to_owned()).await else {
                return Ok("late".to_owned());
            };
            for n in 0..10_u64 {
                connection.sender.send(Bytes::copy_from_slice(&n.to_le_bytes())).await.unwrap();
            }
            env.emit(ack(1));
            Ok("unreachable unless it was refused".to_owned())
        });
        let mut spec = world(seed, vec![listening, dying]);
        spec.faults = vec![crash(at_ack(None, 0), Target::Announcer)];
        let recording = run(spec);
        if recording.counters.connections == 0 {
            continue;
        }
        let ends = facts(&recording);
        broken += usize::from(ends.iter().any(|(_, _, fact)| **fact == Fact::Ended(Ok("broken".to_owned()))));
        silent += usize::from(ends.iter().any(|(_, _, fact)| **fact == Fact::Ended(Ok("silent".to_owned()))));
        lost += usize::from(recording.counters.frames_lost > 0);
        shortened += usize::from(words(&recording, 1).iter().any(|(_, received)| *received < 10));
    }
    assert!(broken > 10, "most breaks are noticed: {broken}");
    assert!(silent >= 1, "some connections are half-open: {silent}");
    assert!(lost > 10, "frames in flight get lost: {lost}");
    assert!(shortened > 10, "and do not arrive: {shortened}");
}

#[test]
fn the_write_of_a_dead_incarnation_takes_effect_now_later_or_never() {
    let (mut effects, mut none) = (0, 0);
    for seed in 0..40 {
        let writer = process(W0, |env| async move {
            if whole::read(&env.storage, "out/1").await.is_err() {
                let site = Site::new("killer", 0);
                let task = env.clone();
                env.spawner.spawn(site, Box::pin(async move { task.emit(ack(1)) }));
                let write = env.storage.write("out/1", Bytes::from_static(b"late"), WriteMode::Overwrite);
                write.await.map_err(|e| e.to_string())?;
            }
            Ok(String::new())
        });
        let mut spec = world(seed, vec![writer]);
        spec.faults = vec![crash(at_ack(None, 0), Target::Announcer)];
        let recording = run(spec);
        let by_first =
            facts(&recording).iter().any(|(_, number, fact)| *number == 1 && matches!(fact, Fact::Written { .. }));
        if by_first { effects += 1 } else { none += 1 }
    }
    assert!(effects > 5 && none > 2, "{effects} took effect, {none} did not");
}

#[test]
fn storage_faults_fail_or_lose_replies_as_ordered() {
    let writer = process(W0, |env| async move {
        let write = |n: u64| env.storage.write(&format!("out/{n}"), Bytes::new(), WriteMode::Create);
        assert!(matches!(write(1).await, Err(StorageError::Failed(_))));
        assert_eq!(whole::read(&env.storage, "out/1").await, Err(StorageError::NotFound("out/1".to_owned())));
        assert!(matches!(write(1).await, Err(StorageError::Unknown(_))));
        assert!(matches!(write(1).await, Err(StorageError::Exists(_))), "it had taken effect");
        assert!(matches!(write(2).await, Err(StorageError::Unknown(_))), "late");
        assert!(whole::read(&env.storage, "out/2").await.is_err());
        env.sleep(Duration::from_secs(1)).await;
        assert!(whole::read(&env.storage, "out/2").await.is_ok());
        assert_eq!(env.storage.list("out", Depth::Tree).await.unwrap().len(), 2);
        env.storage.delete("out/1").await.unwrap();
        env.storage.delete("out/1").await.unwrap();
        Ok(String::new())
    });
    let mut spec = world(1, vec![writer]);
    let at = Trigger::Time { ms: 0 };
    let prefix = "out/".to_owned();
    let lose =
        |late_ms, count| FaultKind::LoseReplies { prefix: prefix.clone(), requests: Requests::All, count, late_ms };
    spec.faults = vec![Fault {
        at: at.clone(),
        what: FaultKind::FailStorage { prefix: prefix.clone(), requests: Requests::Writes, count: 1 },
    }];
    spec.faults.push(Fault { at: at.clone(), what: lose(0, 1) });
    // The third write finds the object; only then comes the fault that delays.
    spec.faults.push(Fault {
        at: Trigger::Time { ms: 0 },
        what: FaultKind::LoseReplies { prefix: "out/2".to_owned(), requests: Requests::All, count: 1, late_ms: 500 },
    });
    let recording = run(spec);
    assert_eq!(recording.ended, RunEnd::AllEnded, "{:?}", facts(&recording));
    assert!(recording.faults.iter().all(|fault| fault.struck == 1), "{:?}", recording.faults);
    let deleted = facts(&recording).iter().filter(|(_, _, f)| matches!(f, Fact::Deleted { .. })).count();
    assert_eq!(deleted, 1, "what is not there is not deleted");
}

#[test]
fn a_paused_process_does_nothing_and_then_goes_on() {
    let ticking = process(W0, |env| async move {
        for n in 0..100 {
            env.sleep(Duration::from_millis(1)).await;
            env.emit(said(0, n));
        }
        Ok(String::new())
    });
    let mut spec = world(1, vec![ticking]);
    let what = FaultKind::Pause { process: Target::Process(W0), for_ms: 500 };
    spec.faults = vec![Fault { at: Trigger::Time { ms: 50 }, what }];
    let recording = run(spec);
    let times: Vec<u64> = words(&recording, 0).iter().map(|(time, _)| time / 1_000_000).collect();
    assert_eq!(times.len(), 100);
    assert!(times.iter().all(|ms| !(51..550).contains(ms)), "{times:?}");
    assert!(times.iter().any(|ms| *ms < 50));
}

#[test]
fn a_partition_holds_frames_back_until_it_ends() {
    let mut spec = echo_world(4, 200);
    let what = FaultKind::Partition { process: Target::Process(W1), for_ms: 2_000 };
    spec.faults = vec![Fault { at: Trigger::Time { ms: 12 }, what }];
    let recording = run(spec);
    assert_eq!(recording.ended, RunEnd::AllEnded);
    let ended = |lane| words(&recording, lane).last().expect("it heard").0 / 1_000_000;
    assert!(ended(0) < 1_000 && ended(1) > 2_000, "{} and {}", ended(0), ended(1));
    assert!(recording.faults[0].struck >= 1);
}

#[test]
fn slow_windows_slow_down_and_end_when_the_run_heals() {
    let writer = process(W0, |env| async move {
        for n in 0..40 {
            let path = format!("out/{n}");
            env.storage.write(&path, Bytes::new(), WriteMode::Create).await.map_err(|e| e.to_string())?;
            env.emit(said(7, n));
        }
        Ok(String::new())
    });
    let slowed = |factor, heal_at_ms| {
        let mut spec = echo_world(4, 100);
        spec.processes[1] = writer.clone();
        spec.processes[0] = process(Process::COORDINATOR, |env| echo(env, 1));
        spec.heal_at_ms = heal_at_ms;
        let at = Trigger::Time { ms: 0 };
        let process = Target::Process(Process::COORDINATOR);
        let (prefix, for_ms) = ("out/".to_owned(), 1_000_000);
        if factor > 1 {
            spec.faults = vec![
                Fault { at: at.clone(), what: FaultKind::SlowLinks { process, factor, for_ms } },
                Fault { at, what: FaultKind::SlowStorage { prefix, factor, for_ms } },
            ];
        }
        let recording = run(spec);
        assert_eq!(recording.ended, RunEnd::AllEnded);
        assert!(recording.faults.iter().all(|fault| fault.triggered && fault.struck > 1));
        let ended = |lane| words(&recording, lane).last().expect("it went on").0 / 1_000_000;
        (ended(1), ended(7))
    };
    let (links, storage) = slowed(1, 0);
    let (slow_links, slow_storage) = slowed(20, 60_000);
    assert!(slow_links > 10 * links && slow_storage > 10 * storage, "{slow_links} {links} {slow_storage} {storage}");
    let (healed_links, healed_storage) = slowed(20, 200);
    assert!(healed_links < 4 * links + 400 && healed_storage < 4 * storage + 400, "{healed_links} {healed_storage}");
    assert!(healed_links > 200 && healed_storage > 200);
}

#[test]
fn nobody_connects_to_a_process_that_is_cut_off() {
    let mut spec = echo_world(4, 1);
    let what = FaultKind::Partition { process: Target::Process(Process::COORDINATOR), for_ms: 2_000 };
    spec.faults = vec![Fault { at: Trigger::Time { ms: 0 }, what }];
    let recording = run(spec);
    assert_eq!(recording.ended, RunEnd::AllEnded);
    assert!(words(&recording, 0)[0].0 > 2_000_000_000);
}

#[test]
fn reset_connections_break_on_both_sides() {
    let mut spec = echo_world(4, 200);
    for process in &mut spec.processes {
        process.on_error = OnError::StayDown;
    }
    let what = FaultKind::ResetConnections { process: Target::Process(Process::COORDINATOR) };
    spec.faults = vec![Fault { at: Trigger::Time { ms: 8 }, what }];
    let recording = run(spec);
    assert_eq!(recording.ended, RunEnd::AllEnded);
    assert_eq!(recording.faults, [FaultRecord { triggered: true, struck: 2 }]);
    let failed = facts(&recording).iter().filter(|(_, _, f)| matches!(f, Fact::Ended(Err(_)))).count();
    assert_eq!(failed, 2, "both workers lost their connection");
}

#[test]
fn aborted_tasks_are_dropped_and_say_nothing_more() {
    let main = process(W0, |env| async move {
        let task = env.clone();
        let (postbox, mut mailbox) = Mailbox::new(&env, Site::new("inbox", 0));
        /// Tells that it was dropped. Test code may ring in a drop; engine code must not.
        struct Dropped(cofferdam_engine::runtime::mailbox::Postbox<()>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.post(());
            }
        }
        let dropped = Dropped(postbox.clone());
        let ticking = async move {
            let _dropped = dropped;
            for n in 0.. {
                task.sleep(Duration::from_millis(1)).await;
                task.emit(said(0, n));
            }
        };
        let handle = env.spawner.spawn(Site::new("ticking", 0), Box::pin(ticking));
        env.sleep(Duration::from_millis(20)).await;
        handle.abort();
        handle.abort();
        env.emit(said(1, 0));
        mailbox.take().await;
        // Never started, dropped all the same.
        let dropped = Dropped(postbox);
        let never = async move {
            let _dropped = dropped;
            unreachable!("it was aborted before");
        };
        env.spawner.spawn(Site::new("never", 0), Box::pin(never)).abort();
        mailbox.take().await;
        Ok(String::new())
    });
    for seed in 0..20 {
        let recording = run(world(seed, vec![main.clone()]));
        assert_eq!(recording.ended, RunEnd::AllEnded);
        let aborted = words(&recording, 1)[0].0;
        assert!(words(&recording, 0).iter().all(|(time, _)| *time < aborted));
    }
}

#[test]
fn the_end_of_a_run_says_why() {
    let waiting = process(W0, |_| std::future::pending());
    assert_eq!(run(world(1, vec![waiting.clone()])).ended, RunEnd::Deadlock);

    let ticking = process(W0, |env| async move {
        loop {
            env.sleep(Duration::from_millis(100)).await;
        }
    });
    let recording = run(world(1, vec![ticking.clone()]));
    assert_eq!(recording.ended, RunEnd::TimeBudget);
    assert!((119_000_000_000..=120_000_000_000).contains(&recording.virtual_ns), "{}", recording.virtual_ns);
    let mut spec = world(1, vec![ticking]);
    spec.budget.events = 100;
    let recording = run(spec);
    assert_eq!((recording.ended, recording.events), (RunEnd::EventBudget, 100));

    let failing = process(W0, |_| async { Err("no input".to_owned()) });
    let ended = run(world(1, vec![failing])).ended;
    assert_eq!(ended, RunEnd::Failed { process: W0, message: "no input".to_owned() });

    let panicking = process(W0, |_| async { panic!("a bug in the engine") });
    let ended = run(world(1, vec![panicking])).ended;
    let RunEnd::Panicked { process: W0, message } = ended else { panic!("{ended:?}") };
    assert!(message.starts_with("a bug in the engine at "), "{message}");
}

#[test]
fn a_panic_in_the_destructor_of_a_killed_task_is_the_engines() {
    struct Explosive;
    impl Drop for Explosive {
        fn drop(&mut self) {
            panic!("dropped in a bad moment");
        }
    }
    let bomb = process(W0, |env| async move {
        let _bomb = (env.clock.now().0 > 0).then_some(Explosive);
        std::future::pending().await
    });
    let mut spec = world(1, vec![bomb]);
    spec.faults = vec![crash(Trigger::Time { ms: 10 }, Target::Process(W0))];
    let ended = run(spec).ended;
    assert!(matches!(&ended, RunEnd::Panicked { message, .. } if message.contains("bad moment")), "{ended:?}");
}

#[test]
fn an_error_under_a_supervisor_restarts_the_process() {
    let mut stubborn = process(W0, |env| async move {
        let path = format!("tries/{}", env.schedule.token(Site::new("try", 0)));
        env.storage.write(&path, Bytes::new(), WriteMode::Create).await.unwrap();
        let tries = env.storage.list("tries", Depth::Tree).await.unwrap().len();
        if tries < 3 { Err("once more".to_owned()) } else { Ok(String::new()) }
    });
    stubborn.on_error = OnError::Restart { after_ms: 10 };
    let recording = run(world(1, vec![stubborn]));
    assert_eq!(recording.ended, RunEnd::AllEnded);
    assert_eq!(recording.counters.starts, 3);
    assert_eq!(recording.storage.len(), 3, "tokens of different incarnations differ");
}

#[test]
fn waking_a_task_past_the_door_is_noticed() {
    let cheating = process(W0, |env| async move {
        let waker = Arc::new(Mutex::new(None::<std::task::Waker>));
        let seen = waker.clone();
        let sleeping = std::future::poll_fn(move |context| {
            *seen.lock().unwrap() = Some(context.waker().clone());
            std::task::Poll::<()>::Pending
        });
        env.spawner.spawn(Site::new("sleeping", 0), Box::pin(sleeping));
        env.sleep(Duration::from_millis(10)).await;
        waker.lock().unwrap().take().expect("it was polled").wake();
        env.sleep(Duration::from_millis(10)).await;
        Ok(String::new())
    });
    let ended = run(world(1, vec![cheating])).ended;
    assert!(matches!(&ended, RunEnd::Panicked { message, .. } if message.contains("past the door")), "{ended:?}");
}

#[test]
fn a_task_that_wakes_itself_for_ever_is_noticed() {
    let spinning = process(W0, |_| {
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
    });
    let ended = run(world(1, vec![spinning])).ended;
    assert!(matches!(&ended, RunEnd::Panicked { message, .. } if message.contains("for ever")), "{ended:?}");
}

#[test]
fn a_task_may_yield() {
    let yielding = process(W0, |env| async move {
        let mut yields = 0;
        std::future::poll_fn(|context| {
            yields += 1;
            context.waker().wake_by_ref();
            if yields < 100 { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
        })
        .await;
        env.sleep(Duration::from_millis(1)).await;
        Ok(String::new())
    });
    assert_eq!(run(world(1, vec![yielding])).ended, RunEnd::AllEnded);
}

#[test]
fn every_choice_comes_up_and_favours_make_streaks() {
    let picking = process(W0, |env| async move {
        for _ in 0..600 {
            env.emit(said(0, env.schedule.pick(Site::new("coin", 0), 3) as u64));
            env.emit(said(1, env.schedule.pick(Site::new("coin", 1), 3) as u64));
        }
        Ok(String::new())
    });
    let repeats = |favour_percent| {
        let mut spec = world(1, vec![picking.clone()]);
        spec.tuning.favour_percent = favour_percent;
        let recording = run(spec);
        let picks: Vec<u64> = words(&recording, 0).into_iter().map(|(_, pick)| pick).collect();
        assert_ne!(picks, words(&recording, 1).into_iter().map(|(_, pick)| pick).collect::<Vec<_>>());
        for choice in 0..3 {
            assert!(picks.iter().filter(|&&pick| pick == choice).count() > 100, "{picks:?}");
        }
        picks.windows(2).filter(|pair| pair[0] == pair[1]).count()
    };
    assert!(repeats(80) > repeats(0) + 100);
}

#[test]
fn nothing_of_a_run_outlives_it() {
    for seed in 0..5 {
        let mut spec = echo_world(seed, 100);
        for process in &mut spec.processes {
            process.on_error = OnError::StayDown;
        }
        spec.faults = vec![crash(Trigger::Time { ms: 4 }, Target::Process(W0))];
        spec.budget.events = 100 + seed * 300;
        let thread = std::thread::Builder::new();
        let left = thread.spawn(|| run_and_leave(spec).1).unwrap().join().unwrap();
        assert!(left.upgrade().is_none(), "a future, waker or delivery still holds the world of seed {seed}");
    }
}

#[test]
fn a_spec_that_makes_no_sense_is_refused_in_one_line() {
    let mut spec = echo_world(1, 1);
    spec.faults = vec![crash(Trigger::Time { ms: 1 }, Target::Announcer)];
    assert!(spec.validate().unwrap_err().contains("no announcer"));
    spec.faults = vec![crash(Trigger::Time { ms: 1 }, Target::Process(Process::Worker(WorkerId(9))))];
    assert!(spec.validate().unwrap_err().contains("there is no worker-9"));
    let point = Point { event: "ack_snt".to_owned(), ..Point::default() };
    spec.faults = vec![crash(Trigger::Point(point), Target::Announcer)];
    assert!(spec.validate().unwrap_err().contains("ack_snt"));
    spec.faults.clear();
    assert_eq!(spec.validate(), Ok(()));
}

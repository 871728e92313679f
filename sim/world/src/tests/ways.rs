//! What strikes the ways between processes, and processes that others take for dead.

use super::*;
use cofferdam_engine::runtime::mailbox::{Either, race};

fn at(ms: u64, what: FaultKind) -> Fault {
    Fault { at: Trigger::Time { ms }, what }
}

/// Says how far it is every millisecond.
async fn tick(env: Env, lane: u16, ticks: u64) -> Ended {
    for n in 0..ticks {
        env.sleep(Duration::from_millis(1)).await;
        env.emit(said(lane, n));
    }
    Ok("ticked".to_owned())
}

#[test]
fn a_zombie_goes_on_beside_its_successor_until_it_is_taken_down() {
    let mut spec = world(1, vec![process(W0, |env| tick(env, 0, 800))]);
    let process = Target::Process(W0);
    spec.faults = vec![at(50, FaultKind::Zombie { process, for_ms: 400, replaced_after_ms: 100, lives_ms: 200 })];
    let recording = run(spec);
    assert_eq!(recording.ended, RunEnd::AllEnded);
    let said_by = |number: u32| {
        let of = move |entry: &&cofferdam_properties::history::Entry| {
            entry.by.number == number && matches!(entry.what, What::Claim(_))
        };
        let times = recording.history.entries.iter().filter(of).map(|entry| entry.time / 1_000_000);
        times.collect::<Vec<u64>>()
    };
    let (zombie, successor) = (said_by(1), said_by(2));
    assert!(zombie.iter().all(|ms| *ms < 51 || (450..650).contains(ms)), "{zombie:?}");
    assert!(zombie.iter().any(|ms| *ms > 500) && zombie.iter().any(|ms| *ms < 50));
    assert_eq!(successor.len(), 800, "the successor runs from beginning to end");
    assert!(successor[0] >= 150);
    assert!(facts(&recording).contains(&(W0, 1, &Fact::Crashed)), "it is taken down at last");
}

#[test]
fn a_well_known_address_leads_to_the_successor_of_a_zombie() {
    let greeting = process(Process::COORDINATOR, |env| async move {
        let mut listener = env.network.listen("coordinator:1".to_owned()).await.map_err(|e| e.to_string())?;
        loop {
            let mut connection = listener.accept().await.map_err(|e| e.to_string())?;
            let began = env.clock.wall_ms();
            connection.sender.send(Bytes::copy_from_slice(&began.to_le_bytes())).await.map_err(|e| e.to_string())?;
            if connection.receiver.receive().await.is_ok() {
                return Ok("asked to end".to_owned());
            }
        }
    });
    let asking = process(W0, |env| async move {
        env.sleep(Duration::from_millis(300)).await;
        let mut connection = connect(&env, "coordinator:1").await;
        connection.receiver.receive().await.map_err(|e| e.to_string())?;
        connection.sender.send(Bytes::new()).await.map_err(|e| e.to_string())?;
        Ok("asked".to_owned())
    });
    let mut spec = world(3, vec![greeting, asking]);
    let process = Target::Process(Process::COORDINATOR);
    spec.faults = vec![at(50, FaultKind::Zombie { process, for_ms: 100, replaced_after_ms: 20, lives_ms: 5_000 })];
    let recording = run(spec);
    assert_eq!(recording.ended, RunEnd::AllEnded);
    let ended = (Process::COORDINATOR, 2, &Fact::Ended(Ok("asked to end".to_owned())));
    assert!(facts(&recording).contains(&ended), "{:?}", facts(&recording));
}

/// The worker and the coordinator each say when they learn that their connection is over: lanes 0 and 1.
fn believers(seed: u64, believed_ms: Option<u64>) -> Recording {
    async fn watch(env: Env, mut connection: Connection, lane: u16) -> Ended {
        let alarm = env.sleep(Duration::from_secs(20));
        let end = async {
            loop {
                if connection.receiver.receive().await.is_err() {
                    break;
                }
            }
        };
        if let Either::First(()) = race(Box::pin(end), alarm).await {
            env.emit(said(lane, 1));
        }
        // The end stays open, so that nobody is told by its closing.
        env.sleep(Duration::from_secs(30)).await;
        Ok(String::new())
    }
    let listening = process(Process::COORDINATOR, |env| async move {
        let mut listener = env.network.listen("coordinator:1".to_owned()).await.map_err(|e| e.to_string())?;
        let connection = listener.accept().await.map_err(|e| e.to_string())?;
        watch(env, connection, 1).await
    });
    let calling = process(W0, |env| async move {
        let connection = connect(&env, "coordinator:1").await;
        watch(env, connection, 0).await
    });
    let mut spec = world(seed, vec![listening, calling]);
    spec.faults = vec![at(100, FaultKind::HalfOpen { process: Target::Process(W0), believed_ms })];
    run(spec)
}

#[test]
fn of_a_half_open_connection_one_end_learns_soon_and_the_other_late_or_never() {
    let mut deceived = [0, 0];
    for seed in 0..20 {
        let late = believers(seed, Some(5_000));
        let mut times = [0, 1].map(|lane| words(&late, lane).first().map(|(time, _)| time / 1_000_000));
        deceived[usize::from(times[0] < times[1])] += 1;
        times.sort();
        assert!(times[0].is_some_and(|ms| ms < 1_000), "{times:?}");
        assert!(times[1].is_some_and(|ms| (5_100..5_200).contains(&ms)), "{times:?}");
        let never = believers(seed, None);
        assert_eq!(words(&never, 0).len() + words(&never, 1).len(), 1, "the other end never learns it");
        assert_eq!(never.faults, [FaultRecord { triggered: true, struck: 1 }]);
    }
    assert!(deceived.iter().all(|count| *count > 3), "either end may be the deceived one: {deceived:?}");
}

#[test]
fn one_way_partitions_hold_back_one_direction() {
    for (inbound, seed) in [(true, 4), (false, 5)] {
        let mut spec = echo_world(seed, 200);
        let what = FaultKind::OneWay { process: Target::Process(W1), inbound, for_ms: 2_000 };
        spec.faults = vec![at(12, what)];
        let recording = run(spec);
        assert_eq!(recording.ended, RunEnd::AllEnded);
        let ended = |lane| words(&recording, lane).last().expect("it heard").0 / 1_000_000;
        assert!(ended(0) < 1_000 && ended(1) > 2_000, "{} and {}", ended(0), ended(1));
        assert!(recording.faults[0].struck >= 1);
    }
}

#[test]
fn disconnected_processes_keep_their_connections_with_others() {
    let mut spec = echo_world(4, 200);
    for process in &mut spec.processes {
        process.on_error = OnError::StayDown;
    }
    let what = FaultKind::Disconnect { process: Target::Process(Process::COORDINATOR), from: W1 };
    spec.faults = vec![at(8, what)];
    let recording = run(spec);
    assert_eq!(recording.ended, RunEnd::AllEnded);
    assert_eq!(recording.faults, [FaultRecord { triggered: true, struck: 1 }]);
    let failed: Vec<Process> =
        facts(&recording).iter().filter(|(_, _, f)| matches!(f, Fact::Ended(Err(_)))).map(|(by, ..)| *by).collect();
    assert_eq!(failed, [W1]);
}

#[test]
fn a_port_refuses_while_its_window_is_open() {
    let mut spec = echo_world(4, 1);
    spec.faults = vec![at(0, FaultKind::Refuse { process: Target::Process(Process::COORDINATOR), for_ms: 2_000 })];
    let recording = run(spec);
    assert_eq!(recording.ended, RunEnd::AllEnded);
    let heard = words(&recording, 0)[0].0 / 1_000_000;
    assert!((2_000..2_100).contains(&heard), "{heard}");
    assert!(recording.faults[0].struck > 100, "it tried every 2 ms");
}

#[test]
fn processes_that_crash_together_do_so_at_one_instant() {
    let spec = || world(1, vec![process(W0, |env| tick(env, 0, 100)), process(W1, |env| tick(env, 1, 100))]);
    let mut together = spec();
    together.faults = vec![at(50, FaultKind::CrashTogether { processes: vec![W0, W1], restart_after_ms: 10 })];
    let recording = run(together);
    let crashes: Vec<u64> =
        recording.history.entries.iter().filter(|e| e.what == What::Fact(Fact::Crashed)).map(|e| e.time).collect();
    assert_eq!(crashes, [50_000_000; 2]);
    assert_eq!(recording.faults, [FaultRecord { triggered: true, struck: 2 }]);
    assert_eq!(recording.ended, RunEnd::AllEnded);
}

#[test]
fn stalled_storage_holds_up_the_requests_of_one_process() {
    let writer = |of, lane: u16| {
        process(of, move |env| async move {
            for n in 0..20 {
                let path = format!("out/{lane}-{n}");
                env.storage.write(&path, Bytes::new(), WriteMode::Create).await.map_err(|e| e.to_string())?;
                env.emit(said(lane, n));
            }
            Ok(String::new())
        })
    };
    let mut spec = world(2, vec![writer(W0, 0), writer(W1, 1)]);
    spec.faults = vec![at(10, FaultKind::StallStorage { process: Target::Process(W1), for_ms: 3_000 })];
    let recording = run(spec);
    let ended = |lane| words(&recording, lane).last().expect("it wrote").0 / 1_000_000;
    assert!(ended(0) < 1_500 && ended(1) > 3_000, "{} and {}", ended(0), ended(1));
}

#[test]
fn a_jump_of_the_wall_clock_leaves_the_monotonic_one_alone() {
    let main = process(W0, |env| async move {
        let (wall, now) = (env.clock.wall_ms(), env.clock.now());
        env.sleep(Duration::from_millis(100)).await;
        let (wall, elapsed) = (env.clock.wall_ms().abs_diff(wall), env.clock.now().since(now).as_millis());
        Ok(format!("{} {}", wall > 3_000_000, elapsed < 200))
    });
    let mut spec = world(1, vec![main]);
    spec.faults = vec![at(50, FaultKind::JumpWallClock { process: Target::Process(W0), by_ms: -3_600_000 })];
    let recording = run(spec);
    assert!(facts(&recording).contains(&(W0, 1, &Fact::Ended(Ok("true true".to_owned())))), "{:?}", facts(&recording));
}

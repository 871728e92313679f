//! What a delivery costs: whole runs of small worlds, per delivery made.

use bytes::Bytes;
use cofferdam_engine::door::{Env, Site, Work, WriteMode};
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, SubtaskId, WorkerId};
use cofferdam_engine::runtime::mailbox::Mailbox;
use cofferdam_properties::external::Models;
use cofferdam_properties::history::Process;
use cofferdam_sim::world::{self, Budget, OnError, Picks, ProcessSpec, Recording, RunEnd, Tuning, WorldSpec};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

type Ended = Result<String, String>;

fn world_of<F, R>(main: F) -> WorldSpec
where
    F: Fn(Env, u16) -> R + Send + Sync + Clone + 'static,
    R: Future<Output = Ended> + Send + 'static,
{
    let process = |n: u16| {
        let main = main.clone();
        let process = if n == 0 { Process::COORDINATOR } else { Process::Worker(WorkerId(n)) };
        ProcessSpec { process, main: Arc::new(move |env| Box::pin(main(env, n))), on_error: OnError::EndRun }
    };
    WorldSpec {
        seed: 1,
        processes: (0..3).map(process).collect(),
        hosts: 1,
        initial: BTreeMap::new(),
        models: Models::default(),
        faults: Vec::new(),
        heal_at_ms: 0,
        tuning: Tuning::default(),
        picks: Picks::Seed,
        record_picks: false,
        budget: Budget::default(),
    }
}

/// Timers only.
async fn timers(env: Env, _: u16) -> Ended {
    for _ in 0..1_000 {
        env.sleep(Duration::from_micros(10)).await;
    }
    Ok(String::new())
}

/// Two tasks per process play ping-pong over mailboxes.
async fn bells(env: Env, _: u16) -> Ended {
    let (to_main, mut main) = Mailbox::new(&env, Site::new("main", 0));
    let (to_other, mut other) = Mailbox::new(&env, Site::new("other", 0));
    let pong = async move {
        for _ in 0..500 {
            to_main.post(other.take().await);
        }
    };
    env.spawner.spawn(Site::new("pong", 0), Box::pin(pong));
    for n in 0..500 {
        to_other.post(n);
        main.take().await;
    }
    Ok(String::new())
}

/// The workers send frames through the coordinator, with work, picks, events and some storage: engine-like.
async fn mixed(env: Env, n: u16) -> Ended {
    let error = |error: cofferdam_engine::door::NetworkError| error.to_string();
    let site = Site::new("mixed", u64::from(n));
    if n == 0 {
        let mut listener = env.network.listen("coordinator:1".to_owned()).await.map_err(error)?;
        let (done, mut over) = Mailbox::new(&env, Site::new("over", 0));
        for _ in 0..2 {
            let mut connection = listener.accept().await.map_err(error)?;
            let (done, task) = (done.clone(), env.clone());
            let serve = async move {
                let mut subtask = SubtaskId::default();
                while let Ok(frame) = connection.receiver.receive().await {
                    subtask.index += 1;
                    task.schedule.pick(site, 3);
                    task.emit(Event::SourceEmitted { attempt: Attempt::default(), subtask, records: 8 });
                    task.clock.work(site, Work::Records(8)).expect("takes virtual time").await;
                    if connection.sender.send(frame).await.is_err() {
                        break;
                    }
                }
                done.post(());
            };
            env.spawner.spawn(Site::new("serve", 0), Box::pin(serve));
        }
        over.take().await;
        over.take().await;
        return Ok(String::new());
    }
    let mut connection = loop {
        match env.network.connect("coordinator:1".to_owned()).await {
            Ok(connection) => break connection,
            Err(_) => env.sleep(Duration::from_millis(1)).await,
        }
    };
    for round in 0..30 {
        for _ in 0..10 {
            connection.sender.send(Bytes::from_static(b"a batch of records")).await.map_err(error)?;
        }
        for _ in 0..10 {
            connection.receiver.receive().await.map_err(error)?;
            env.clock.work(site, Work::Records(8)).expect("takes virtual time").await;
        }
        let path = format!("out/{n}/{round}");
        env.storage.write(&path, Bytes::from_static(b"a blob"), WriteMode::Create).await.map_err(|e| e.to_string())?;
    }
    Ok(String::new())
}

fn finished(recording: &Recording) -> u64 {
    assert_eq!(recording.ended, RunEnd::AllEnded);
    recording.events
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("world");
    let mut measure = |name: &str, spec: &dyn Fn() -> WorldSpec| {
        group.throughput(Throughput::Elements(finished(&world::run(spec()))));
        group.bench_function(name, |bencher| bencher.iter(|| world::run(spec())));
    };
    measure("timers", &|| world_of(timers));
    measure("bells", &|| world_of(bells));
    measure("mixed", &|| world_of(mixed));
}

criterion_group!(world, benches);
criterion_main!(world);

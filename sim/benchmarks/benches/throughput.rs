//! Records per second and core of the whole engine: a keyed sum on tokio, in one process and on one thread, from generator to sink,
//! through channels, key groups and state, with coordinator, heartbeats and the final checkpoint.
//!
//! `keyed_sum/none` takes the final checkpoint only, `keyed_sum/every_second` one a second besides: their ratio is what
//! checkpoints cost. One thread does everything, so wall time is core time on a machine that is otherwise idle.

use cofferdam_engine::config::{CheckpointConfig, JobConfig};
use cofferdam_engine::door::Site;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::WorkerId;
use cofferdam_engine::jobs::{self, JobParameters};
use cofferdam_engine::os::mount::{Mount, Mounts};
use cofferdam_engine::runtime::coordinator::{self, CoordinatorOptions, JobEnd, LEASE, Listen, Rivalry, Start};
use cofferdam_engine::runtime::mailbox::Mailbox;
use cofferdam_engine::runtime::worker::{self, WorkerOptions};
use cofferdam_engine::secret::Secret;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;
use std::time::Duration;

const RECORDS: u64 = 100_000_000;

struct Mute;

impl cofferdam_engine::door::Trace for Mute {
    fn emit(&self, _: Event) {}
}

fn run_keyed_sum(interval: Duration) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mount = |name: &str| Mount::folder(name, &folder.path().join(name)).expect("a folder of ours");
    let mounts = Mounts::default().with("checkpoints", mount("checkpoints")).with("output", mount("output"));
    let defaults = JobConfig::default();
    let config = JobConfig { checkpoints: CheckpointConfig { interval, ..defaults.checkpoints }, ..defaults };
    let parameters = JobParameters { records: RECORDS, config, ..JobParameters::default() };
    let job = (jobs::keyed_sum::JOB.build)(&parameters).expect("a built-in job");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let end = runtime.block_on(async {
        let env = cofferdam_engine::os::env(mounts, Arc::new(Mute));
        let (ready, mut listening) = Mailbox::new(&env, Site::new("listening", 0));
        let (ended, mut end) = Mailbox::new(&env, Site::new("ended", 0));
        let options = CoordinatorOptions {
            listen: Listen::At("127.0.0.1:0".into()),
            workers: 1,
            spare: false,
            start: Start::Submit,
            rivalry: Rivalry::Depose,
            lease: LEASE,
            ready: Some(ready),
            statistics: None,
            secret: secret(),
        };
        let leading = coordinator::run(env.clone(), job.clone(), options);
        env.spawner.spawn(Site::new("coordinator", 0), Box::pin(async move { ended.post(leading.await) }));
        let coordinator = listening.take().await;
        let options = WorkerOptions {
            worker: WorkerId(0),
            coordinators: vec![coordinator],
            listen: "127.0.0.1:0".into(),
            announce: None,
            secret: secret(),
        };
        let working = worker::run(env.clone(), job, options);
        env.spawner.spawn(Site::new("worker", 0), Box::pin(async move { working.await.expect("a fitting worker") }));
        end.take().await
    });
    assert!(matches!(end, Ok(JobEnd::Finished { .. })), "{end:?}");
}

fn secret() -> Secret {
    Secret::new(vec![7; 32]).expect("it is long enough")
}

fn throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keyed_sum");
    group.throughput(Throughput::Elements(RECORDS)).sample_size(10);
    group.bench_function("none", |bencher| bencher.iter(|| run_keyed_sum(Duration::from_secs(3600))));
    group.bench_function("every_second", |bencher| bencher.iter(|| run_keyed_sum(Duration::from_secs(1))));
    group.finish();
}

criterion_group!(benches, throughput);
criterion_main!(benches);

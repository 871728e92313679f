//! The production door keeps the promises of `door.rs`: the same bodies that hold the simulated world to them.

use bytes::Bytes;
use cofferdam_engine::conformance;
use cofferdam_engine::door::{BoxFuture, Env, ExternalError};
use cofferdam_engine::os::external::{Client, Clients};
use cofferdam_engine::os::mount::{Mount, Mounts};
use cofferdam_engine::os::spawner::TokioSpawner;
use cofferdam_engine::os::trace::TracingTrace;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs a body as the main task of a runtime with several threads. A panic in a spawned task fails the test too,
/// instead of leaving it waiting.
fn run<F: Future<Output = ()>>(mounts: Mounts, body: impl FnOnce(Env) -> F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let spawner = Arc::new(TokioSpawner::default());
        let env = cofferdam_engine::os::env(mounts, Arc::new(TracingTrace::default()));
        let env = Env { spawner: spawner.clone(), ..env };
        let body = std::pin::pin!(body(env));
        let panicked = std::pin::pin!(spawner.panicked());
        if let futures_util::future::Either::Right((message, _)) = futures_util::future::select(body, panicked).await {
            panic!("{message}");
        }
    });
}

#[test]
fn the_clock_conforms() {
    run(Mounts::default(), |env| async move { conformance::clock::check(&env).await });
}

#[test]
fn the_schedule_conforms() {
    run(Mounts::default(), |env| async move { conformance::schedule::check(&env) });
}

#[test]
fn the_spawner_and_its_bells_conform() {
    run(Mounts::default(), |env| async move { conformance::spawner::check(&env).await });
}

#[test]
fn tcp_conforms() {
    run(Mounts::default(), |env| async move { conformance::network::check(&env, "127.0.0.1:0").await });
}

#[cfg(unix)]
#[test]
fn unix_sockets_conform() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = format!("unix:{}/", folder.path().display());
    run(Mounts::default(), |env| async move { conformance::network::check(&env, &address).await });
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0, "a listener that is dropped leaves its file behind");
}

#[test]
fn a_folder_on_disk_conforms() {
    let disk = tempfile::tempdir().expect("a folder");
    let mounts = Mounts::default().with("output", Mount::folder("output", &disk.path().join("made")).expect("a mount"));
    run(mounts, |env| async move { conformance::storage::check(&env, "output/conformance").await });
}

#[test]
fn a_store_in_memory_conforms() {
    let mount = Mount::atomic(Arc::new(object_store::memory::InMemory::new()));
    let mounts = Mounts::default().with("output", mount);
    run(mounts, |env| async move { conformance::storage::check(&env, "output/conformance").await });
}

/// Answers with the number of requests before.
#[derive(Default)]
struct Counter(AtomicU64);

impl Client for Counter {
    fn call(&self, _: Bytes) -> BoxFuture<'static, Result<Bytes, ExternalError>> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { Ok(Bytes::copy_from_slice(&before.to_le_bytes())) })
    }
}

#[test]
fn a_registry_of_clients_conforms() {
    run(Mounts::default(), |env| async move {
        let clients = Clients::default().with("counter", Arc::new(Counter::default()));
        let env = Env { externals: Arc::new(clients), ..env };
        conformance::external::check(&env, "counter").await;
    });
}

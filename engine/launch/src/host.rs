//! Hosting: what every command that runs a part of a job has around it. A runtime, logs, progress for people, and the things
//! that end a process before its part is over: a panic in a task, and the user.

use super::out;
use super::show::{LOOK_EVERY, Part, Show};
use super::signals::Interruption;
use cofferdam_engine::door::{BoxFuture, Env};
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::os::mount::Mounts;
use cofferdam_engine::os::spawner::TokioSpawner;
use cofferdam_engine::os::trace::{Progress, TracingTrace};
use cofferdam_engine::runtime::mailbox::{Either, race};
use futures_util::future::select_all;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How a part of a job ended.
pub enum Outcome<T> {
    /// By itself.
    Ended(T),
    /// With an error.
    Failed(Error),
    /// A task panicked.
    Panicked(String),
    /// The user wanted it.
    Interrupted,
}

/// What there is to tell afterwards.
pub struct Hosted<T> {
    /// How it ended.
    pub outcome: Outcome<T>,
    /// How far it came.
    pub progress: Arc<Progress>,
    /// How long that took.
    pub took: Duration,
}

/// Runs `part` until it ends, a task panics or the user interrupts; shows progress meanwhile.
pub fn host<T: 'static>(
    mounts: Mounts,
    which: Part,
    part: impl FnOnce(Env) -> BoxFuture<'static, Result<T>>,
) -> Hosted<T> {
    let names = mounts.names();
    let progress = Arc::new(Progress::naming(names.clone()));
    let mut show = Show::new(progress.clone(), which);
    log_to(&show);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            let outcome = Outcome::Failed(Error::give_up(format!("cannot start the runtime: {e}")));
            return Hosted { outcome, progress, took: Duration::ZERO };
        }
    };
    let (outcome, took) = runtime.block_on(async {
        let spawner = Arc::new(TokioSpawner::default());
        let env = cofferdam_engine::os::env(mounts, Arc::new(TracingTrace::feeding(progress.clone())));
        let env = Env { spawner: spawner.clone(), ..env };
        let started = env.clock.now();
        let outcome = attend(&env, &spawner, part(env.clone()), &mut show).await;
        (outcome, env.clock.now().since(started))
    });
    let outcome = match outcome {
        Outcome::Failed(error) => Outcome::Failed(Error { message: names.as_typed(&error.message), ..error }),
        Outcome::Ended(_) | Outcome::Panicked(_) | Outcome::Interrupted => outcome,
    };
    show.tell_refusals();
    show.tell_ignored_input();
    show.clear();
    // Whatever is still being written may or may not arrive, as with a crash.
    runtime.shutdown_background();
    Hosted { outcome, progress, took }
}

/// The environment variable that says which events are logged: `LEVEL` or `TARGET=LEVEL`, separated by commas.
const LOG: &str = "COFFERDAM_LOG";

fn log_to(show: &Show) {
    let wanted = std::env::var(LOG).ok().filter(|wanted| !wanted.is_empty());
    let errors = Targets::new().with_default(LevelFilter::ERROR);
    let filter = wanted.map_or(Ok(errors.clone()), |wanted| wanted.parse::<Targets>()).unwrap_or_else(|e| {
        out::complain(format_args!("warning: {LOG} is ignored: {e}"));
        errors
    });
    let writer = show.log_writer();
    let lines =
        tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(std::io::stderr().is_terminal());
    // Fails if the binary that embeds us has set up its own: then that one is meant.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}

/// Watches everything that may end the part.
async fn attend<T: 'static>(
    env: &Env,
    spawner: &TokioSpawner,
    part: BoxFuture<'static, Result<T>>,
    show: &mut Show,
) -> Outcome<T> {
    let interruption = match Interruption::listen() {
        Ok(interruption) => interruption,
        Err(e) => return Outcome::Failed(Error::give_up(format!("cannot listen for signals: {e}"))),
    };
    let started = env.clock.now();
    let part = async {
        match part.await {
            Ok(end) => Outcome::Ended(end),
            Err(error) => Outcome::Failed(error),
        }
    };
    let panicked = async { Outcome::Panicked(spawner.panicked().await) };
    let interrupted = async {
        interruption.arrived().await;
        Outcome::Interrupted
    };
    let ends: [BoxFuture<'_, Outcome<T>>; 3] = [Box::pin(part), Box::pin(panicked), Box::pin(interrupted)];
    let mut ended = select_all(ends);
    loop {
        match race(&mut ended, env.sleep(LOOK_EVERY)).await {
            Either::First((outcome, _, _)) => return outcome,
            Either::Second(()) => show.look(env.clock.now().since(started)),
        }
    }
}

//! The coordinator process: one task that takes an input, steps a core, and performs the effects; everything that
//! waits (a connection, a storage request) is a task of its own that posts what it learned.
//!
//! ```text
//! acceptor ─┐                     ┌─> writer of a connection
//! readers  ─┼─> Mailbox<Input> ─> Leader ─> storage request ─┐
//! alarm    ─┘        ^            └──────────────────────────┘
//! ```
//!
//! 1. Listen, then take leadership: recover the log of completed checkpoints and occupy its next slot. A log in which the
//!    job is over is left alone: the workers that still look for a coordinator are told (`farewell`), and that is all.
//! 2. Accept workers, deploy, trigger, complete, fail over: `leader` routes between the cores.
//! 3. The job is over when the slot that says so is durable: finished, failed for good or cancelled. A deposed coordinator
//!    has no opinion about the job, it only stops ([`Event::Deposed`], order rule O12).
//!
//! A crash anywhere is harmless: the next incarnation runs the same function on the same storage. Nothing here decides
//! anything; what must never happen in which order is written in the cores ([`crate::cores`]).

mod connections;
mod farewell;
mod leader;
mod requests;

use crate::cores::completed::{Completed, Effect};
use crate::door::{Connection, Env, Listener, NetworkError, Site, StorageError, TaskHandle};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::graph::Job;
use crate::ids::{Attempt, CheckpointId};
use crate::messages::{RestoreFrom, ToCoordinator};
use crate::persist::slot::{Ended, JobMark};
use crate::runtime::mailbox::{Mailbox, Postbox};
use bytes::Bytes;
use requests::Requests;
use std::collections::BTreeSet;

pub use crate::cores::completed::Start;
pub use crate::cores::failover::ConnectionId;

/// How a coordinator runs.
pub struct CoordinatorOptions {
    /// The address to listen on for workers.
    pub listen: String,
    /// How many workers the job needs.
    pub workers: u16,
    /// Whether it submits the job, or comes to lead on what others have begun.
    pub start: Start,
    /// Gets the address that is listened on.
    pub ready: Option<Postbox<String>>,
}

/// How a job ended well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobEnd {
    /// It finished, under this coordinator.
    Finished {
        /// The final checkpoint.
        checkpoint: CheckpointId,
    },
    /// It had finished before this coordinator looked.
    AlreadyFinished {
        /// The final checkpoint.
        checkpoint: CheckpointId,
    },
    /// It was cancelled, under this coordinator or before.
    Cancelled,
}

/// Everything that can happen to a coordinator.
enum Input {
    /// A connection came in.
    Accepted(Connection),
    /// No more connections will.
    NotListening(NetworkError),
    /// A frame arrived.
    Message(ConnectionId, ToCoordinator),
    /// A connection is over.
    Broken(ConnectionId, String),
    /// Replies to the completed store.
    LogListed(Result<Vec<u64>, StorageError>),
    SlotRead(u64, Result<Bytes, StorageError>),
    SlotCreated(u64, Result<(), StorageError>),
    /// A manifest was written.
    ManifestWritten(CheckpointId, Result<(), StorageError>),
    /// The latest completed checkpoint was read.
    RestoreRead(Attempt, Result<Option<RestoreFrom>>),
    /// Replies to retention.
    ManifestRead(CheckpointId, Option<BTreeSet<String>>),
    Probed(u64, Option<bool>),
    SweepListed(Option<Vec<String>>),
    Deleted(CheckpointId, bool),
    Freed(bool),
}

/// Runs the coordinator of `job` until the job is over or somebody newer leads.
///
/// Errors by [`Reaction`]: `Fenced`, deposed; `GiveUp` and `Corrupt`, the job has failed for good; `Restart`, storage or
/// network kept this process from its work, and another try may succeed.
pub async fn run(env: Env, job: Job, options: CoordinatorOptions) -> Result<JobEnd> {
    let listening = env.network.listen(options.listen).await;
    let listener = listening.map_err(|error| Error::give_up(error.to_string()))?;
    if let Some(ready) = &options.ready {
        ready.post(listener.address());
    }
    let (inbox, mut mailbox) = Mailbox::new(&env, Site::new("coordinator", 0));
    let mut requests = Requests::new(env.clone(), inbox.clone());
    let store = match take_leadership(&env, JobMark::of(&job.graph), options.start, &mut requests, &mut mailbox).await {
        Ok(Leadership::Taken(store)) => store,
        Ok(Leadership::Needless { how }) => {
            // The predecessor may have died between writing this and saying it.
            env.emit(announcement(&how, None));
            let acceptor = start_accepting(&env, listener, inbox.clone());
            farewell::tell(&env, &job.config, options.workers, inbox, &mut mailbox).await;
            acceptor.abort();
            return match how {
                Ended::Finished { checkpoint } => Ok(JobEnd::AlreadyFinished { checkpoint }),
                Ended::Failed { cause } => Err(Error::give_up(cause)),
                Ended::Cancelled => Ok(JobEnd::Cancelled),
            };
        }
        Err(error) => return Err(error),
    };
    let acceptor = start_accepting(&env, listener, inbox);
    let mut leader = leader::Leader::new(requests, job, options.workers, store);
    let end = leader.lead(&mut mailbox).await;
    acceptor.abort();
    leader.disconnect();
    end
}

enum Leadership {
    Taken(Completed),
    /// The job is over.
    Needless {
        how: Ended,
    },
}

/// What is announced of the end of a job; `kept` is the newest checkpoint that stays.
fn announcement(how: &Ended, kept: Option<CheckpointId>) -> Event {
    match how {
        Ended::Finished { checkpoint } => Event::JobFinished { checkpoint: *checkpoint },
        Ended::Failed { cause } => Event::JobFailed { cause: cause.clone() },
        Ended::Cancelled => Event::JobCancelled { checkpoint: kept },
    }
}

async fn take_leadership(
    env: &Env,
    job: JobMark,
    start: Start,
    requests: &mut Requests,
    mailbox: &mut Mailbox<Input>,
) -> Result<Leadership> {
    let mut store = Completed::new(env.schedule.token(Site::new("coordinator.claim", 0)), job, start);
    let mut out = Vec::new();
    store.start(&mut out);
    loop {
        for effect in std::mem::take(&mut out) {
            match effect {
                Effect::List { delay } => requests.list_log(delay),
                Effect::Read { number, delay } => requests.read_slot(number, delay),
                Effect::Create { number, slot, delay } => requests.create_slot(number, &slot, delay),
                Effect::Lead { generation, number } => {
                    env.emit(Event::LeadershipTaken { generation, slot: number });
                    return Ok(Leadership::Taken(store));
                }
                Effect::Over { how } => return Ok(Leadership::Needless { how }),
                Effect::Fail { error } => return Err(error),
                Effect::Accept { .. } | Effect::Reject { .. } | Effect::Confirm | Effect::Doubt | Effect::StepDown => {
                    panic!("only a leader proposes")
                }
            }
        }
        match mailbox.take().await {
            Input::LogListed(reply) => store.on_listed(reply, &mut out),
            Input::SlotRead(number, reply) => store.on_read(number, reply, &mut out),
            Input::SlotCreated(number, reply) => store.on_created(number, reply, &mut out),
            Input::Accepted(_)
            | Input::NotListening(_)
            | Input::Message(..)
            | Input::Broken(..)
            | Input::ManifestWritten(..)
            | Input::RestoreRead(..)
            | Input::ManifestRead(..)
            | Input::Probed(..)
            | Input::SweepListed(_)
            | Input::Deleted(..)
            | Input::Freed(_) => panic!("only the log was asked for"),
        }
    }
}

/// Failed accepts in a row after which the port counts as lost.
const ACCEPT_TRIES: u32 = 10;

fn start_accepting(env: &Env, listener: Box<dyn Listener>, inbox: Postbox<Input>) -> Box<dyn TaskHandle> {
    env.spawner.spawn(Site::new("coordinator.acceptor", 0), Box::pin(accept(env.clone(), listener, inbox)))
}

async fn accept(env: Env, mut listener: Box<dyn Listener>, inbox: Postbox<Input>) {
    let mut tries = 0;
    loop {
        match listener.accept().await {
            Ok(connection) => {
                tries = 0;
                inbox.post(Input::Accepted(connection));
            }
            Err(error) => {
                tries += 1;
                if tries == ACCEPT_TRIES {
                    return inbox.post(Input::NotListening(error));
                }
                env.sleep(crate::cores::backoff::backoff(tries)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! The coordinator process: one task that takes an input, steps a core, and performs the effects; everything that
//! waits (a connection, a storage request) is a task of its own that posts what it learned.
//!
//! ```text
//! gate     ─┐                     ┌─> writer of a connection
//! readers  ─┼─> Mailbox<Input> ─> Leader ─> storage request ─┐
//! alarm    ─┘        ^            └──────────────────────────┘
//! ```
//!
//! 1. Listen, unless that begins with the leadership ([`Listen`]). Unless the options say to lead at once, watch the
//!    leader's sign of life until it expires (`standby`); and again, if another coordinator was faster.
//! 2. Take leadership: recover the log of completed checkpoints and occupy its next slot. A log in which the job is
//!    over is left alone: the workers that still look for a coordinator get `JobDone`, and what is left behind is swept
//!    (`farewell`).
//! 3. Take the output, deploy, trigger, complete, fail over: [`crate::cores::leading`] says what follows from each
//!    input, and `leader` performs it.
//! 4. The job is over when the slot that says so is durable: finished, failed for good or cancelled. A deposed
//!    coordinator says nothing about the job, it only stops ([`Event::Deposed`], order rule O12), or becomes a standby.
//!    Every leadership has a mailbox and requests of its own, so that no late reply reaches a later one.
//!
//! A crash anywhere is harmless: the next incarnation runs the same function on the same storage. What must never
//! happen in which order is written in the cores ([`crate::cores`]). Decided here and not in a core: whether this process
//! watches, leads or stops ([`Rivalry`]), and for how long a coordinator that finds the job over waits for workers
//! (`farewell`).

mod farewell;
mod leader;
mod reception;
mod requests;
mod sockets;
mod standby;

use crate::cores::completed::{Completed, Effect};
use crate::cores::input::Later;
use crate::cores::leading::{Beginning, Leading, Over};
use crate::cores::statistics::Statistics;
use crate::door::{Env, NetworkError, Site, StorageError};
use crate::error::{Error, Reaction, Result};
use crate::event::Event;
use crate::graph::Job;
use crate::ids::{Attempt, CheckpointId, Generation, LogId};
use crate::messages::{ListingHandle, ToCoordinator};
use crate::persist::mark::Name;
use crate::persist::slot::JobMark;
use crate::reason::Ended;
use crate::runtime::changes::Changes;
use crate::runtime::mailbox::{Mailbox, Postbox};
use crate::runtime::patience;
use crate::secret::Secret;
use bytes::Bytes;
use farewell::Farewell;
use reception::{Member, Port, Reception};
use requests::Requests;
use std::collections::BTreeSet;
use std::time::Duration;

pub use crate::cores::completed::Start;
pub use crate::cores::failover::ConnectionId;
pub use crate::cores::leading::JobEnd;
pub use reception::Listen;

/// How a coordinator runs.
pub struct CoordinatorOptions {
    /// Where to listen for workers and clients.
    pub listen: Listen,
    /// How many workers the job needs.
    pub workers: u16,
    /// Whether more of them may come than that.
    pub spare: bool,
    /// Whether it submits the job, or comes to lead on what others have begun.
    pub start: Start,
    /// What to do about other coordinators of the same storage.
    pub rivalry: Rivalry,
    /// How long a leader may show no sign of life before a standby takes over. The same for all of them.
    pub lease: Duration,
    /// Gets the address that is listened on.
    pub ready: Option<Postbox<String>>,
    /// Gets the statistics of each leadership when it ends.
    pub statistics: Option<Postbox<Statistics>>,
    /// What members of the job know.
    pub secret: Secret,
}

/// What a coordinator does about others on the same storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rivalry {
    /// Leads at once and deposes another leader; stops when deposed.
    Depose,
    /// Watches first, and leads when no other coordinator does; stops when deposed.
    Await,
    /// Watches first, and again whenever it is deposed.
    Standby,
}

/// The default lease.
pub const LEASE: Duration = Duration::from_secs(10);

/// Everything that can happen to a coordinator.
enum Input {
    /// A member has connected.
    Accepted(Member),
    /// No more connections will.
    NotListening(NetworkError),
    /// A frame arrived.
    Message(ConnectionId, ToCoordinator),
    /// The first frame of a connection was of another build.
    Unfit(ConnectionId, String),
    /// A connection is over.
    Broken(ConnectionId, String),
    /// Replies to the completed store.
    LogListed(Result<Vec<u64>, StorageError>),
    SlotRead(u64, Result<Bytes, StorageError>),
    SlotCreated(u64, Result<(), StorageError>),
    /// A manifest was written.
    ManifestWritten(CheckpointId, Result<(), StorageError>),
    /// The latest completed checkpoint was read.
    RestoreRead(Attempt, Result<Beginning>),
    /// The input of an attempt that starts from nothing was listed.
    RunInputListed(Attempt, Result<ListingHandle>),
    /// What came to the input after it was listed, if that could be seen.
    RunInputCompared(Option<Later>),
    /// Replies to retention.
    ManifestRead(CheckpointId, Option<BTreeSet<String>>),
    Probed(u64, Option<bool>),
    SweepListed(Option<Vec<String>>),
    Deleted(CheckpointId, bool),
    Freed(bool),
    /// What an aborted checkpoint had stored is gone, or was left to a sweep.
    Discarded,
    /// The outcome of every write of this process is known, or the wait for it took too long.
    Drained,
    /// What sinks had staged is gone, as far as possible.
    StagingSwept,
    /// A sign of life was written, or not.
    SignWritten,
    /// Replies to ownership.
    MarksListed(Result<Vec<Name>, StorageError>),
    MarkRead(Name, Result<Bytes, StorageError>),
    MarkCreated(Name, Result<(), StorageError>),
    MarksDeleted(Vec<Name>),
}

/// Runs the coordinator of `job` until the job is over or a newer leader has taken over.
///
/// Errors by [`Reaction`]: `Fenced`, deposed; `GiveUp` and `Corrupt`, the job has failed for good; `Restart`, storage or
/// network kept this process from its work, and another try may succeed.
pub async fn run(env: Env, job: Job, options: CoordinatorOptions) -> Result<JobEnd> {
    let (env, changes) = patience::bounded(env, job.config.storage_timeout);
    let (secret, ready) = (options.secret.clone(), options.ready.clone());
    let reception = Reception::new(&env, secret, job.config.heartbeat_timeout, ready);
    let port = match &options.listen {
        Listen::At(address) => Some(reception.open(address.clone()).await?),
        Listen::OnceLeading { .. } => None,
    };
    let mut start = options.start;
    let mut leader = None;
    let end = loop {
        let claim =
            Completed::new(env.schedule.token(Site::new("coordinator.claim", 0)), JobMark::of(&job.graph), start);
        let claim = match options.rivalry {
            Rivalry::Depose => claim,
            Rivalry::Await | Rivalry::Standby => match standby::watch(&env, &reception, options.lease, leader).await {
                Ok(watched) => claim.giving_way(watched),
                Err(error) => break Err(error),
            },
        };
        let led = lead(&env, &changes, &job, &options, claim, port.as_ref(), &reception).await;
        // Only the first claim submits the job: another coordinator may have recorded its end since.
        start = Start::Resume;
        match (led, options.rivalry) {
            (Led::GaveWay { leader: newer }, _) => leader = Some(newer),
            (Led::Ended(Err(error)), Rivalry::Standby) if error.reaction == Reaction::Fenced => leader = None,
            (Led::Ended(end), Rivalry::Depose | Rivalry::Await | Rivalry::Standby) => break end,
        }
    };
    drop(port);
    end
}

/// What came of a claim.
enum Led {
    /// Its leadership is over.
    Ended(Result<JobEnd>),
    /// Another coordinator was faster.
    GaveWay { leader: Generation },
}

/// One leadership, from the claim to its end.
async fn lead(
    env: &Env,
    changes: &Changes,
    job: &Job,
    options: &CoordinatorOptions,
    claim: Completed,
    port: Option<&Port>,
    reception: &Reception,
) -> Led {
    let (inbox, mut mailbox) = Mailbox::new(env, Site::new("coordinator", 0));
    reception.lead_to(inbox.clone());
    let mut requests = Requests::new(env.clone(), changes.clone(), inbox.clone());
    let mut early = Vec::new();
    let store = match take_leadership(env, claim, &mut requests, &mut mailbox, &mut early).await {
        Ok(Leadership::Taken(store)) => *store,
        Ok(Leadership::Needless(over, store)) => {
            // The predecessor may have died between writing this and saying it.
            env.emit(over.announcement());
            let how = over.how.clone();
            // Without a port no worker can connect.
            let workers = if port.is_some() { options.workers } else { 0 };
            let expected = (!options.spare || workers == 0).then_some(usize::from(workers));
            let mut farewell = Farewell::new(requests, job, over, &store, expected);
            early.into_iter().for_each(|member| farewell.on_accepted(member));
            farewell.tell(&mut mailbox).await;
            return Led::Ended(match how {
                Ended::Finished { checkpoint } => Ok(JobEnd::AlreadyFinished { checkpoint }),
                Ended::Failed { cause } => Err(Error::give_up(cause)),
                Ended::Cancelled => Ok(JobEnd::Cancelled),
            });
        }
        Ok(Leadership::Elsewhere { leader }) => return Led::GaveWay { leader },
        Err(error) => return Led::Ended(Err(error)),
    };
    let opened = match &options.listen {
        Listen::At(_) => None,
        Listen::OnceLeading { folder } => {
            let address = format!("{folder}/{}", address_of(store.id(), store.generation()));
            // The leader of a copy of this log may listen there: which of them goes on is decided at the output.
            let other = format!("{address}.c{:016x}", store.token());
            let opened = match reception.open(address).await {
                Err(_) => reception.open(other).await,
                opened => opened,
            };
            match opened {
                Ok(port) => Some(port),
                Err(error) => return Led::Ended(Err(error)),
            }
        }
    };
    let address = opened.as_ref().or(port).expect("a leader listens").address.clone();
    let core = Leading::new(env.clock.now(), job.clone(), options.workers, store, options.lease, address);
    let mut leader = leader::Leader::new(requests, core, job.graph.clone());
    early.into_iter().for_each(|member| leader.on_accepted(member));
    let end = leader.lead(&mut mailbox).await;
    if let Some(statistics) = &options.statistics {
        statistics.post(leader.statistics());
    }
    Led::Ended(end)
}

/// The name of the place where a leadership listens that has a place of its own.
pub fn address_of(log: LogId, generation: Generation) -> String {
    format!("{log}-{generation}")
}

/// Connections that may wait for the claim to be decided. More are closed, and come again.
const EARLY_MAX: usize = 64;

enum Leadership {
    Taken(Box<Completed>),
    /// The job is over, and this is its log.
    Needless(Over, Box<Completed>),
    /// Another coordinator has it.
    Elsewhere {
        leader: Generation,
    },
}

async fn take_leadership(
    env: &Env,
    mut store: Completed,
    requests: &mut Requests,
    mailbox: &mut Mailbox<Input>,
    early: &mut Vec<Member>,
) -> Result<Leadership> {
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
                    return Ok(Leadership::Taken(Box::new(store)));
                }
                Effect::Over { how } => {
                    let kept = store.latest().map(|latest| latest.checkpoint);
                    return Ok(Leadership::Needless(Over { how, kept }, Box::new(store)));
                }
                Effect::GiveWay { leader } => return Ok(Leadership::Elsewhere { leader }),
                Effect::Fail { error } => return Err(error),
                Effect::Accept { .. }
                | Effect::Reject { .. }
                | Effect::StillLeads
                | Effect::Doubt
                | Effect::StepDown => {
                    panic!("only a leader proposes")
                }
            }
        }
        match mailbox.take().await {
            Input::LogListed(reply) => store.on_listed(reply, &mut out),
            Input::SlotRead(number, reply) => store.on_read(number, reply, &mut out),
            Input::SlotCreated(number, reply) => store.on_created(number, reply, &mut out),
            Input::Accepted(member) if early.len() < EARLY_MAX => early.push(member),
            Input::Accepted(_) => {}
            Input::NotListening(error) => return Err(Error::restart(format!("cannot accept workers: {error}"))),
            Input::Message(..)
            | Input::Unfit(..)
            | Input::Broken(..)
            | Input::ManifestWritten(..)
            | Input::RestoreRead(..)
            | Input::RunInputListed(..)
            | Input::RunInputCompared(_)
            | Input::ManifestRead(..)
            | Input::Probed(..)
            | Input::SweepListed(_)
            | Input::Deleted(..)
            | Input::Freed(_)
            | Input::Discarded
            | Input::Drained
            | Input::StagingSwept
            | Input::SignWritten
            | Input::MarksListed(_)
            | Input::MarkRead(..)
            | Input::MarkCreated(..)
            | Input::MarksDeleted(_) => panic!("only the log was asked for"),
        }
    }
}

#[cfg(test)]
mod tests;

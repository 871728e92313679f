//! Storage requests of the coordinator, each a task of its own that posts its reply.
//!
//! No retries here, with three exceptions that need no decision between tries: reading what to restore, which changes
//! nothing, emptying folders that are no longer needed, and listing the input ([`input`]), which writes an object of
//! its own name. All other retries are decisions of a core.

pub(super) mod input;

use super::Input;
use crate::cores::backoff::backoff;
use crate::cores::completed::Retained;
use crate::cores::leading::Beginning;
use crate::cores::{restore, retention};
use crate::door::{BoxFuture, Depth, Env, LISTING_AGE_MAX, Site, StorageError, WriteMode, retry, whole};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::graph::JobGraph;
use crate::ids::{Attempt, CheckpointId};
use crate::messages::{ListingHandle, RestoreFrom, SnapshotHandle};
use crate::persist::layout;
use crate::persist::manifest::Manifest;
use crate::persist::mark::{Mark, Name};
use crate::persist::sign::Sign;
use crate::persist::slot::Slot;
use crate::runtime::changes::Changes;
use crate::runtime::mailbox::{Postbox, race};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Tries to empty a folder before what is left there stays.
const EMPTY_TRIES: u32 = 8;

/// Blobs of a checkpoint that are looked for at a time.
const CHECKS_AT_A_TIME: usize = 32;

/// Tries to read a manifest before the restart counts as failed.
const RESTORE_TRIES: u32 = 20;

/// Starts requests.
pub(super) struct Requests {
    pub env: Env,
    /// What this process has under way.
    changes: Changes,
    inbox: Postbox<Input>,
    /// Tells requests of the same kind apart.
    started: u64,
    /// Set once the leadership that asks is over.
    ceased: Arc<AtomicBool>,
}

impl Requests {
    pub fn new(env: Env, changes: Changes, inbox: Postbox<Input>) -> Self {
        Self { env, changes, inbox, started: 0, ceased: Arc::default() }
    }

    pub fn inbox(&self) -> Postbox<Input> {
        self.inbox.clone()
    }

    /// Starts nothing more, and ends what consists of many requests. What is under way may still happen.
    pub fn cease(&mut self) {
        self.ceased.store(true, Ordering::Relaxed);
    }

    /// Whether the outcome of every write of this process is known, so that none lands behind what is listed from here
    /// on.
    pub fn is_drained(&self) -> bool {
        self.changes.is_idle()
    }

    /// Waits for that, but not longer than `limit`.
    pub fn drain(&mut self, limit: Duration) {
        let (changes, env) = (self.changes.clone(), self.env.clone());
        self.start("coordinator.drain", Duration::ZERO, async move {
            race(pin!(changes.drained()), env.sleep(limit)).await;
            Input::Drained
        });
    }

    /// Clears away what dead processes have begun to write and not finished. If that fails, the next time clears it.
    pub fn clear(&mut self, living: BTreeSet<u64>) {
        let env = self.env.clone();
        self.started += 1;
        let task = async move { clear(&env, living).await };
        self.env.spawner.spawn(Site::new("coordinator.clear", self.started), Box::pin(task));
    }

    /// Empties these folders, by listings that show everything that was stored before; then clears away what dead
    /// processes have begun to write and not finished, and posts `StagingSwept`.
    pub fn sweep_staging(&mut self, folders: Vec<String>) {
        let (env, ceased) = (self.env.clone(), self.ceased.clone());
        let delay = if folders.is_empty() { Duration::ZERO } else { LISTING_AGE_MAX };
        self.start("coordinator.sweep.staging", delay, async move {
            for folder in folders {
                empty(&env, &folder, &ceased).await;
            }
            clear(&env, BTreeSet::new()).await;
            Input::StagingSwept
        });
    }

    /// Performs what retention asks for.
    pub fn perform_retention(&mut self, effect: retention::Effect) {
        match effect {
            retention::Effect::Subsume { checkpoint } => self.env.emit(Event::CheckpointSubsumed { checkpoint }),
            retention::Effect::List { delay } => self.list_all(delay),
            retention::Effect::ReadManifest { checkpoint, path, delay } => self.read_names(checkpoint, path, delay),
            retention::Effect::Probe { number, delay } => self.probe(number, delay),
            retention::Effect::Delete { checkpoint, paths } => self.delete(checkpoint, paths),
            retention::Effect::Free { slots } => self.free(slots),
        }
    }

    /// Overwrites the sign of life, and posts `SignWritten` whether it was written or not.
    pub fn write_sign(&mut self, sign: &Sign) {
        let storage = self.env.storage.clone();
        let bytes = sign.encode();
        self.start("coordinator.sign", Duration::ZERO, async move {
            // A lost sign is made up for by the next.
            let _ = storage.write(layout::LEADER, bytes, WriteMode::Overwrite).await;
            Input::SignWritten
        });
    }

    pub fn list_log(&mut self, delay: Duration) {
        let listing = self.env.storage.clone();
        self.start("coordinator.log.list", delay, async move {
            let listed = listing.list(layout::LOG, Depth::Tree).await;
            let numbers = listed
                .map(|objects| objects.iter().filter_map(|object| layout::log_entry_number(&object.path)).collect());
            Input::LogListed(numbers)
        });
    }

    pub fn read_slot(&mut self, number: u64, delay: Duration) {
        let storage = self.env.storage.clone();
        self.start("coordinator.log.read", delay, async move {
            Input::SlotRead(number, whole::read(&storage, &layout::log_entry(number)).await)
        });
    }

    pub fn create_slot(&mut self, number: u64, slot: &Slot, delay: Duration) {
        let storage = self.env.storage.clone();
        let bytes = slot.encode();
        self.start("coordinator.log.create", delay, async move {
            Input::SlotCreated(number, storage.write(&layout::log_entry(number), bytes, WriteMode::Create).await)
        });
    }

    /// The path names checkpoint and attempt, so whatever is there has the same content: overwriting is idempotent.
    pub fn write_manifest(&mut self, checkpoint: CheckpointId, path: String, bytes: Bytes, delay: Duration) {
        let storage = self.env.storage.clone();
        self.start("coordinator.manifest", delay, async move {
            Input::ManifestWritten(checkpoint, storage.write(&path, bytes, WriteMode::Overwrite).await)
        });
    }

    pub fn read_restore(&mut self, attempt: Attempt, latest: Retained, graph: Arc<JobGraph>) {
        let env = self.env.clone();
        self.start("coordinator.restore", Duration::ZERO, async move {
            Input::RestoreRead(attempt, read_restore(&env, &latest, &graph).await)
        });
    }

    /// Lists the input of an attempt that starts from nothing, and stores the listing at `path`.
    pub fn list_input(&mut self, attempt: Attempt, path: String, inputs: Vec<String>) {
        let env = self.env.clone();
        self.start("coordinator.input.list", Duration::ZERO, async move {
            Input::RunInputListed(attempt, input::list(&env, attempt, path, inputs).await)
        });
    }

    /// Looks what came to the input since it was listed.
    pub fn compare_input(&mut self, listing: ListingHandle) {
        let env = self.env.clone();
        self.start("coordinator.input.compare", Duration::ZERO, async move {
            Input::RunInputCompared(input::compare(&env, &listing).await.ok())
        });
    }

    fn list_all(&mut self, delay: Duration) {
        let storage = self.env.storage.clone();
        self.start("coordinator.sweep", delay, async move {
            let listed = storage.list(layout::CHECKPOINTS, Depth::Tree).await.ok();
            Input::SweepListed(listed.map(|objects| objects.into_iter().map(|object| object.path).collect()))
        });
    }

    /// Reads what a retained manifest names.
    fn read_names(&mut self, checkpoint: CheckpointId, path: String, delay: Duration) {
        let storage = self.env.storage.clone();
        self.start("coordinator.sweep.manifest", delay, async move {
            let read = whole::read(&storage, &path).await.map_err(Error::from);
            let manifest = read.and_then(|bytes| Manifest::decode(&path, &bytes)).ok();
            let named = manifest.map(|manifest| manifest.named().cloned().collect());
            Input::ManifestRead(checkpoint, named)
        });
    }

    /// Sees whether a slot exists.
    fn probe(&mut self, number: u64, delay: Duration) {
        let storage = self.env.storage.clone();
        self.start("coordinator.sweep.probe", delay, async move {
            let exists = match whole::read(&storage, &layout::log_entry(number)).await {
                Ok(_) => Some(true),
                Err(StorageError::NotFound(_)) => Some(false),
                Err(_) => None,
            };
            Input::Probed(number, exists)
        });
    }

    /// Deletes what is left of a checkpoint, in order, and posts whether all of it is gone for certain.
    fn delete(&mut self, checkpoint: CheckpointId, paths: Vec<String>) {
        let (env, ceased) = (self.env.clone(), self.ceased.clone());
        self.start("coordinator.delete", Duration::ZERO, async move {
            Input::Deleted(checkpoint, delete(&env, paths, &ceased).await)
        });
    }

    pub fn list_marks(&mut self, delay: Duration) {
        let storage = self.env.storage.clone();
        self.start("coordinator.marks.list", delay, async move {
            let listed = storage.list(layout::OUTPUT, Depth::Folder).await;
            Input::MarksListed(listed.map(|objects| objects.iter().filter_map(|o| Name::of(&o.path)).collect()))
        });
    }

    pub fn read_mark(&mut self, name: Name, delay: Duration) {
        let storage = self.env.storage.clone();
        self.start("coordinator.marks.read", delay, async move {
            Input::MarkRead(name, whole::read(&storage, &name.path()).await)
        });
    }

    pub fn create_mark(&mut self, mark: &Mark, delay: Duration) {
        let storage = self.env.storage.clone();
        let (name, bytes) = (mark.name(), mark.encode());
        self.start("coordinator.marks.create", delay, async move {
            Input::MarkCreated(name, storage.write(&name.path(), bytes, WriteMode::Create).await)
        });
    }

    /// Deletes marks that a newer one has made superfluous, and posts which are gone for certain.
    pub fn delete_marks(&mut self, names: Vec<Name>) {
        let storage = self.env.storage.clone();
        self.start("coordinator.marks.delete", Duration::ZERO, async move {
            let mut gone = Vec::new();
            for name in names {
                if storage.delete(&name.path()).await.is_ok() {
                    gone.push(name);
                }
            }
            Input::MarksDeleted(gone)
        });
    }

    /// Deletes slots, in order, and posts whether all are gone for certain.
    fn free(&mut self, slots: Vec<u64>) {
        let (env, ceased) = (self.env.clone(), self.ceased.clone());
        let paths = slots.into_iter().map(layout::log_entry).collect();
        self.start("coordinator.free", Duration::ZERO, async move { Input::Freed(delete(&env, paths, &ceased).await) });
    }

    /// Deletes whatever can be, and posts that it is over: the next sweep finds what is left.
    pub fn discard(&mut self, paths: Vec<String>) {
        let (env, ceased) = (self.env.clone(), self.ceased.clone());
        self.start("coordinator.discard", Duration::ZERO, async move {
            delete(&env, paths, &ceased).await;
            Input::Discarded
        });
    }

    fn start(&mut self, what: &'static str, delay: Duration, request: impl Future<Output = Input> + Send + 'static) {
        let inbox = self.inbox.clone();
        let (env, ceased) = (self.env.clone(), self.ceased.clone());
        self.spawn(what, async move {
            if !delay.is_zero() {
                env.sleep(delay).await;
            }
            if ceased.load(Ordering::Relaxed) {
                return;
            }
            inbox.post(request.await);
        });
    }

    fn spawn(&mut self, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.started += 1;
        let task: BoxFuture<'static, ()> = Box::pin(task);
        self.env.spawner.spawn(Site::new(what, self.started), task);
    }
}

async fn read_restore(env: &Env, latest: &Retained, graph: &JobGraph) -> Result<Beginning> {
    let Retained { number, checkpoint, manifest: path } = latest;
    let mut tries = 0;
    let bytes = loop {
        match whole::read(&env.storage, path).await {
            Ok(bytes) => break bytes,
            Err(StorageError::NotFound(_)) => {
                let what =
                    format!("{checkpoint} is completed in slot {number}, but its manifest {path} does not exist");
                return Err(Error::corrupt(what));
            }
            Err(error @ StorageError::Fenced) => return Err(error.into()),
            Err(error) => {
                tries += 1;
                if tries == RESTORE_TRIES {
                    return Err(Error::from(error).while_doing(format_args!("cannot read {checkpoint} to restore it")));
                }
                env.sleep(backoff(tries)).await;
            }
        }
    };
    let manifest = Manifest::decode(path, &bytes)?;
    if manifest.checkpoint != *checkpoint {
        let what = format!("{path} is the manifest of {} but slot {number} says {checkpoint}", manifest.checkpoint);
        return Err(Error::corrupt(what));
    }
    let restore = restore::assign(graph, &manifest)?;
    check_blobs(env, &restore).await?;
    Ok(Beginning { restore: Some(restore), listing: manifest.listing })
}

/// Every blob of the checkpoint is there, and as long as its manifest says. Reason: a restart cannot bring back what is
/// missing, and a subtask that misses it cannot tell that from a worker that sees another folder.
async fn check_blobs(env: &Env, restore: &RestoreFrom) -> Result<()> {
    let checkpoint = restore.checkpoint;
    let check = |handle: SnapshotHandle| -> BoxFuture<'static, Result<()>> {
        let (env, SnapshotHandle { path, bytes, .. }) = (env.clone(), handle);
        Box::pin(async move {
            let lost = |what: String| Err(Error::corrupt(format!("cannot restore {checkpoint}: {path} {what}")));
            match retry::storage(&env, || env.storage.read(&path, 0..1)).await {
                Ok(found) if found.size == bytes => Ok(()),
                Ok(found) => lost(format!("has {} bytes instead of {bytes}", found.size)),
                Err(StorageError::NotFound(_)) => lost("does not exist".to_owned()),
                Err(error) => Err(Error::from(error).while_doing(format_args!("cannot look for {checkpoint}"))),
            }
        })
    };
    let checks: Vec<_> = restore.snapshots.iter().map(|(_, handle)| check(handle.clone())).collect();
    let mut checks = stream::iter(checks).buffered(CHECKS_AT_A_TIME);
    while let Some(checked) = checks.next().await {
        checked?;
    }
    Ok(())
}

/// Deletes everything below `folder`.
async fn empty(env: &Env, folder: &str, ceased: &AtomicBool) {
    for tries in 1..=EMPTY_TRIES {
        let listed = env.storage.list(folder, Depth::Tree).await;
        match listed.map(|objects| objects.into_iter().map(|object| object.path).collect()) {
            Ok(paths) => {
                if delete(env, paths, ceased).await {
                    return;
                }
            }
            // There is no such place.
            Err(StorageError::NotFound(_)) => return,
            Err(_) => {}
        }
        env.sleep(backoff(tries)).await;
    }
}

async fn clear(env: &Env, living: BTreeSet<u64>) {
    if let Err(error) = env.storage.clear(living).await {
        env.emit(Event::DeleteFailed { path: "staging".to_owned(), cause: error.to_string() });
    }
}

/// Deletes one after the other, each announced. What follows a failure stays, because the order counts.
async fn delete(env: &Env, paths: Vec<String>, ceased: &AtomicBool) -> bool {
    for path in paths {
        if ceased.load(Ordering::Relaxed) {
            return false;
        }
        env.emit(Event::DeleteStarted { path: path.clone() });
        if let Err(error) = env.storage.delete(&path).await {
            env.emit(Event::DeleteFailed { path, cause: error.to_string() });
            return false;
        }
    }
    true
}

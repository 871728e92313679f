//! The witness: re-executes a recorded run sequentially, through the same operators, in a world where nothing fails.
//!
//! The claims of a history say in which order every subtask took how many records from which channel. The witness
//! follows them, one after the other:
//!
//! 1. `AttemptDeployed` opens an attempt: fresh subtasks, empty channels. Attempts may overlap; each has its own. Its sources
//!    read the objects of the listing that it was given, as long as they were then, whatever became of them.
//! 2. `Restored` makes a subtask, restores *the witness's own* snapshot (never the engine's bytes) and compares: the
//!    digest of the live state, the stored snapshot as the offline reader sees it, and the witness's.
//! 3. `SourceEmitted` reads so many records from the input, `Consumed` takes so many from a channel. What is not there
//!    cannot have been consumed: that, a wrong order or an early end is illegal, and re-execution stops.
//! 4. `EndReceived` and `ClosedReceived` need a producer that has ended, and one whose end a durable checkpoint holds.
//!    After `SubtaskFinished` a subtask does nothing any more; a manifest then carries the snapshot of an earlier
//!    checkpoint, and that is the one a restore is compared with.
//! 5. `SnapshotTaken` takes the witness's snapshot and cuts the channels; `UploadEnded` and `AckSent` are compared.
//!    Positions of a source agree if they stand before the same record: a reader may write that down in several ways.
//! 6. `Prepared` stages, the first `CommitStarted` makes visible in the witness's storage and in its systems outside,
//!    `CommitEnded` forgets the committable.
//!
//! Each record of the input prefix exactly once, first in first out per channel: this follows from re-execution.
//!
//! Not re-executed: `recover` of sinks. It removes what older attempts staged, and whether it removed too much shows
//! in the output. Not checked: what a reader or writer does behind the back of its environment.
//!
//! Owns: the re-executed state. Does not own: verdicts on output and ownership, which judges draw from [`Account`].
//! Memory is bounded by the attempts of the run, the newest few checkpoints and the snapshots of subtasks that have ended.

mod commits;
mod cuts;
mod difference;
pub(crate) mod external;
mod inputs;
mod lane;
pub(crate) mod quiet;
mod reader;
pub(crate) mod run;
pub mod standing;
pub(crate) mod subtask;
pub(crate) mod topology;

use crate::case::{HARNESS, Violation};
use crate::external::Models;
use crate::history::{History, What};
use crate::ledger::{self, Completed, Ledger};
use bytes::Bytes;
use cofferdam_engine::door::Env;
use cofferdam_engine::event::Event;
use cofferdam_engine::graph::{Job, SubtaskContext};
use cofferdam_engine::ids::{Attempt, ChannelId, CheckpointId, SubtaskId};
use cofferdam_engine::persist::blob;
use cofferdam_engine::persist::layout;
use cofferdam_engine::state;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use cuts::Cuts;
use difference::difference;
use external::QuietSystems;
pub use external::ShownOutside;
use inputs::Inputs;
use quiet::QuietStorage;
use run::{Refusal, Run};
use subtask::{Live, Taken};
use topology::Topology;

/// The property that the witness itself convicts of.
pub const EXACTLY_ONCE_STATE: &str = "exactly-once-state";
/// The property that its cuts convict of.
pub const CONSISTENT_CUT: &str = "consistent-cut";
/// The same with barriers that block nothing.
pub const AT_LEAST_ONCE: &str = "at-least-once";

/// Completed checkpoints of which snapshots are kept. Many: a worker that stood still for long restores, when it goes on,
/// what was the latest one then. It is cancelled at once, but until then it is right.
const KEPT: usize = 64;

/// What came of the re-execution.
#[derive(Debug, Default)]
pub struct Account {
    /// The first claim that is illegal, or whose digest is not the re-executed one.
    pub state: Option<Violation>,
    /// The first inconsistent cut: of [`CONSISTENT_CUT`] or [`AT_LEAST_ONCE`], by the job's mode.
    pub cut: Option<Violation>,
    /// Channels that a checkpoint cut behind more records at their consumer than at their producer.
    pub overlapping_cuts: u64,
    /// Attempts that restored such a checkpoint, so that records were processed again.
    pub repetitions: u64,
    /// The entry at which re-execution could not go on. What follows it is unknown.
    pub stopped: Option<usize>,
    /// Every commit that was started, in order.
    pub commits: Vec<Commit>,
    /// What those commits make visible.
    pub shown: BTreeMap<String, Shown>,
    /// What they make visible in systems outside.
    pub shown_outside: Vec<ShownOutside>,
    /// Attempts that restored state which differs from a fresh subtask's.
    pub restores_non_empty: u64,
}

/// A commit that was started.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The entry of its start.
    pub at: usize,
    /// The entry of its end.
    pub ended: Option<usize>,
    /// By which incarnation of the job.
    pub attempt: Attempt,
    /// By which sink.
    pub subtask: SubtaskId,
    /// What was staged for which checkpoint.
    pub checkpoint: CheckpointId,
    /// Whether the witness had anything staged for it.
    pub staged: bool,
    /// What the subtask was restored from.
    pub restored: Option<CheckpointId>,
}

/// An object that a commit makes visible.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The entry of the first commit that did.
    pub at: usize,
    /// By which sink.
    pub subtask: SubtaskId,
    /// Staged for which checkpoint.
    pub checkpoint: CheckpointId,
    /// Its content.
    pub bytes: Bytes,
}

impl Account {
    /// Re-executes a run.
    pub fn of(history: &History, job: &Job, ledger: &Ledger<'_>, models: &Models) -> Self {
        let mut witness = Witness::new(history, job, ledger, models);
        let mut last = 0;
        // Operators are code of the job: what they do in a legal order of elements is their own doing.
        let run = catch_unwind(AssertUnwindSafe(|| {
            history.entries.iter().enumerate().try_for_each(|(at, entry)| {
                let What::Claim(event) = &entry.what else { return Ok(()) };
                last = at;
                witness.on_claim(at, event)
            })
        }));
        let stopped = match run {
            Ok(Ok(())) => None,
            Ok(Err(violation)) => Some(violation),
            Err(panic) => {
                let message = format!("an operator panics when it is re-executed: {}", panic_message(&*panic));
                Some(Violation::new(EXACTLY_ONCE_STATE, last, &job.graph.name, message))
            }
        };
        if let Some(violation) = stopped {
            witness.account.stopped = Some(violation.at);
            witness.account.state.get_or_insert(violation);
        }
        witness.finish()
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no message)")
}

/// The re-execution under way.
struct Witness<'a> {
    job: &'a Job,
    ledger: &'a Ledger<'a>,
    topology: Topology,
    env: Env,
    inputs: Inputs,
    storage: Arc<QuietStorage>,
    systems: QuietSystems,
    /// Whatever was committed once: it is not committed again, whether that would change anything or not.
    committed: BTreeSet<(SubtaskId, CheckpointId)>,
    runs: Vec<Run>,
    /// By checkpoint and the attempt that took it: the snapshot of each subtask.
    snapshots: BTreeMap<(CheckpointId, Attempt), Vec<Option<Rc<Taken>>>>,
    /// Digest of each subtask that has processed nothing.
    fresh: Vec<Option<u64>>,
    completed: Vec<CheckpointId>,
    /// Subtasks that have begun to restore: since when.
    restoring: BTreeMap<(Attempt, SubtaskId), usize>,
    cuts: Cuts,
    account: Account,
}

impl<'a> Witness<'a> {
    fn new(history: &History, job: &'a Job, ledger: &'a Ledger<'a>, models: &Models) -> Self {
        let systems = QuietSystems::of(models.fresh());
        let (env, storage) = quiet::world(&history.initial, systems.clone());
        let topology = Topology::of(&job.graph);
        Self {
            job,
            ledger,
            env,
            inputs: Inputs::default(),
            storage,
            systems,
            committed: BTreeSet::new(),
            runs: Vec::new(),
            snapshots: BTreeMap::new(),
            fresh: vec![None; topology.subtasks.len()],
            completed: Vec::new(),
            restoring: BTreeMap::new(),
            cuts: Cuts::of(job.config.checkpoints.mode),
            account: Account::default(),
            topology,
        }
    }

    fn finish(mut self) -> Account {
        self.account.restores_non_empty = self.runs.iter().filter(|run| run.non_empty).count() as u64;
        self.account.overlapping_cuts = self.cuts.overlapping();
        self.account
    }

    /// Re-executes one claim. An error ends the re-execution.
    fn on_claim(&mut self, at: usize, event: &Event) -> Result<(), Violation> {
        match *event {
            Event::AttemptDeployed { attempt, restore } => {
                self.runs.push(Run::new(attempt, restore, &self.topology));
                self.inputs.on_deployed(self.ledger, at, attempt, restore)?;
                let taker = restore.and_then(|checkpoint| Some((checkpoint, self.taker(checkpoint, at)?)));
                self.account.repetitions += u64::from(taker.is_some_and(|cut| self.cuts.overlaps(cut)));
                Ok(())
            }
            Event::InputListed { attempt, ref path, .. } => {
                self.inputs.on_listed(attempt, path);
                Ok(())
            }
            Event::RestoreStarted { attempt, subtask, .. } => {
                self.restoring.insert((attempt, subtask), at);
                Ok(())
            }
            Event::CompletionDurable { checkpoint, .. } => {
                self.on_completed(checkpoint);
                Ok(())
            }
            Event::Restored { attempt, subtask, checkpoint, digest, ended } => {
                self.on_restored(at, (attempt, subtask), checkpoint, (digest, ended))
            }
            Event::SourceEmitted { attempt, subtask, records } => {
                self.with(at, attempt, subtask, |topology, run, subtask| run.on_emitted(topology, subtask, records))
            }
            Event::Consumed { .. }
            | Event::BarrierReceived { .. }
            | Event::CancelReceived { .. }
            | Event::EndReceived { .. }
            | Event::ClosedReceived { .. } => self.on_element(at, event),
            Event::SubtaskFinished { attempt, subtask } => self.with(at, attempt, subtask, |_, run, subtask| {
                run.live(subtask)?.finished = true;
                Ok(())
            }),
            Event::InputEnded { attempt, subtask } => {
                self.with(at, attempt, subtask, |topology, run, subtask| run.on_input_ended(topology, subtask))
            }
            Event::SnapshotTaken { attempt, subtask, checkpoint, ended } => {
                self.on_snapshot_taken(at, (attempt, subtask), checkpoint, ended)
            }
            Event::UploadEnded { attempt, subtask, checkpoint, ref path, digest } => {
                let difference = self.recognise(at, (attempt, subtask), checkpoint, (path, digest))?;
                self.compare(at, (attempt, subtask), checkpoint, ("uploads", digest, difference))
            }
            Event::AckSent { attempt, subtask, checkpoint, digest } => {
                self.compare(at, (attempt, subtask), checkpoint, ("acknowledges", digest, None))
            }
            Event::Prepared { attempt, subtask, checkpoint } => {
                // Who was overtaken may be refused by a system outside: nothing that it stages can ever be committed.
                let overtaken = self.runs.last().is_some_and(|newest| newest.attempt > attempt);
                self.with(at, attempt, subtask, |_, run, subtask| {
                    let prepared = run.live(subtask)?.prepare(checkpoint);
                    if overtaken { Ok(()) } else { Ok(prepared?) }
                })
            }
            Event::CommitStarted { attempt, subtask, checkpoint } => {
                self.on_commit_started(at, (attempt, subtask), checkpoint)
            }
            Event::CommitEnded { attempt, subtask, checkpoint } => {
                self.on_commit_ended(at, (attempt, subtask), checkpoint)
            }
            _ => Ok(()),
        }
    }

    /// An element leaves a channel.
    fn on_element(&mut self, at: usize, event: &Event) -> Result<(), Violation> {
        match *event {
            Event::Consumed { attempt, subtask, channel, seq, records } => {
                self.with(at, attempt, subtask, |topology, run, subtask| {
                    run.on_consumed(topology, subtask, (channel, seq), records)
                })
            }
            Event::BarrierReceived { attempt, subtask, channel, seq, .. }
            | Event::CancelReceived { attempt, subtask, channel, seq, .. } => {
                self.with(at, attempt, subtask, |topology, run, subtask| {
                    run.next_element(topology, subtask, channel, seq).map(|_| ())
                })
            }
            Event::EndReceived { attempt, subtask, channel, seq } => {
                self.with(at, attempt, subtask, |topology, run, subtask| {
                    run.on_end_received(topology, subtask, (channel, seq))
                })
            }
            Event::ClosedReceived { attempt, subtask, channel, seq } => {
                self.on_closed_received(at, (attempt, subtask), channel, seq)
            }
            _ => Ok(()),
        }
    }

    /// Lets a subtask of an attempt do something; what it refuses becomes a violation.
    fn with<T>(
        &mut self,
        at: usize,
        attempt: Attempt,
        subtask: SubtaskId,
        act: impl FnOnce(&Topology, &mut Run, usize) -> Result<T, Refusal>,
    ) -> Result<T, Violation> {
        let run = self.runs.iter_mut().rev().find(|run| run.attempt == attempt);
        let acted = match (run, self.topology.subtask(subtask)) {
            (Some(run), Some(number)) => act(&self.topology, run, number),
            (None, _) => Err(Refusal::Illegal(format!("runs in {attempt}, which was never deployed"))),
            (_, None) => Err(Refusal::Illegal("is no subtask of the job".to_owned())),
        };
        acted.map_err(|refusal| match refusal {
            Refusal::Illegal(message) => Violation::new(EXACTLY_ONCE_STATE, at, self.show(attempt, subtask), message),
            Refusal::Harness(message) => Violation::new(HARNESS, at, self.show(attempt, subtask), message),
        })
    }

    fn show(&self, attempt: Attempt, subtask: SubtaskId) -> String {
        match self.topology.subtask(subtask) {
            Some(_) => format!("{} of {attempt}", self.topology.graph.show(subtask)),
            None => format!("{subtask} of {attempt}"),
        }
    }

    /// A wrong state, from which re-execution can go on.
    fn convict(&mut self, at: usize, (attempt, subtask): (Attempt, SubtaskId), message: String) {
        if self.account.state.is_none() {
            let subject = self.show(attempt, subtask);
            self.account.state = Some(Violation::new(EXACTLY_ONCE_STATE, at, subject, message));
        }
    }

    fn on_completed(&mut self, checkpoint: CheckpointId) {
        self.completed.push(checkpoint);
        if let Some(oldest) = self.completed.len().checked_sub(KEPT) {
            let floor = self.completed[oldest];
            let mut old = std::mem::take(&mut self.snapshots);
            self.snapshots = old.split_off(&(floor, Attempt::default()));
            // A later manifest may carry the snapshot of a subtask that has finished since.
            let carried = |taken: &Option<Rc<Taken>>| taken.as_ref().is_some_and(|taken| taken.ended);
            self.snapshots.extend(old.into_iter().filter(|(_, taken)| taken.iter().any(carried)));
            self.cuts.forget_below(floor);
        }
    }

    /// The attempt that took a checkpoint which was durable at `at`.
    fn taker(&self, checkpoint: CheckpointId, at: usize) -> Option<Attempt> {
        Some(self.ledger.completed_at(checkpoint, at)?.manifest.as_ref().ok()?.attempt)
    }

    /// The producer of a channel is gone: it was told that a durable checkpoint holds the end of its input.
    fn on_closed_received(
        &mut self,
        at: usize,
        (attempt, subtask): (Attempt, SubtaskId),
        channel: ChannelId,
        seq: u64,
    ) -> Result<(), Violation> {
        let ledger = self.ledger;
        self.with(at, attempt, subtask, |topology, run, subtask| {
            let producer = run.on_closed_received(topology, subtask, (channel, seq))?;
            let node = topology.graph.operator(topology.subtasks[producer].operator);
            if ledger.end_is_durable((&node.uid, topology.subtasks[producer].index), at) {
                return Ok(());
            }
            Err(Refusal::Illegal(format!("takes the close of {channel}, the end of whose producer is not durable")))
        })
    }

    fn on_snapshot_taken(
        &mut self,
        at: usize,
        (attempt, subtask): (Attempt, SubtaskId),
        checkpoint: CheckpointId,
        ended: bool,
    ) -> Result<(), Violation> {
        let mut cuts = std::mem::replace(&mut self.cuts, Cuts::of(self.job.config.checkpoints.mode));
        let (number, taken, cut) = self.with(at, attempt, subtask, |topology, run, number| {
            run.flush(topology, number);
            let taken = run.live(number)?.snapshot();
            let cut = cuts.on_snapshot(topology, run, number, checkpoint);
            Ok((number, taken, cut))
        })?;
        self.cuts = cuts;
        if let Some(message) = cut {
            let subject = format!("{checkpoint} of {attempt}");
            let property = self.cuts.property();
            self.account.cut.get_or_insert_with(|| Violation::new(property, at, subject, message));
        }
        if taken.ended != ended {
            let message = format!("{checkpoint}: says ended = {ended}, re-executed it is {}", taken.ended);
            self.convict(at, (attempt, subtask), message);
        }
        let none = || vec![None; self.topology.subtasks.len()];
        let snapshots = self.snapshots.entry((checkpoint, attempt)).or_insert_with(none);
        if snapshots[number].replace(taken).is_some() {
            self.convict(at, (attempt, subtask), format!("takes a second snapshot of {checkpoint}"));
        }
        Ok(())
    }

    fn compare(
        &mut self,
        at: usize,
        who: (Attempt, SubtaskId),
        checkpoint: CheckpointId,
        (what, digest, difference): (&str, u64, Option<String>),
    ) -> Result<(), Violation> {
        let (attempt, subtask) = who;
        let number = self.with(at, attempt, subtask, |_, _, number| Ok(number))?;
        let taken = self.snapshots.get(&(checkpoint, attempt)).and_then(|snapshots| snapshots[number].as_ref());
        let message = match taken {
            // Forgotten long ago: an upload that outlived several completed checkpoints changes nothing.
            None if self.completed.iter().any(|completed| *completed > checkpoint) => return Ok(()),
            None => format!("{what} a snapshot of {checkpoint} that it never took"),
            Some(taken) if taken.agrees_with(digest) => return Ok(()),
            Some(taken) => {
                let difference = difference.map_or(String::new(), |difference| format!(": {difference}"));
                format!(
                    "{what} state {digest:016x} for {checkpoint}, re-executed it is {:016x}{difference}",
                    taken.digest
                )
            }
        };
        self.convict(at, who, message);
        Ok(())
    }

    /// If digests differ the stored snapshot is looked at: a source's position may be written down in several ways.
    /// Otherwise says where it differs.
    fn recognise(
        &mut self,
        at: usize,
        (attempt, subtask): (Attempt, SubtaskId),
        checkpoint: CheckpointId,
        (path, digest): (&str, u64),
    ) -> Result<Option<String>, Violation> {
        let (ledger, snapshots) = (self.ledger, std::mem::take(&mut self.snapshots));
        let recognised = self.with(at, attempt, subtask, |_, run, number| {
            let taken = snapshots.get(&(checkpoint, attempt)).and_then(|snapshots| snapshots[number].as_ref());
            let Some(taken) = taken.filter(|taken| !taken.agrees_with(digest)) else { return Ok(None) };
            // What was written counts, though it may be gone: a process that slept meanwhile still says so.
            let stored = ledger.written_before(path, at).last().and_then(|bytes| blob::decode(path, bytes).ok());
            let Some(stored) = stored.filter(|stored| state::digest(stored) == digest) else { return Ok(None) };
            // It may have finished meanwhile: the upload goes on beside it.
            let live = run.lives[number].as_ref().expect("it has taken this snapshot");
            let recognised = live.recognises(taken, &stored, digest)?;
            Ok(if recognised { None } else { difference(&stored, taken.sections()) })
        });
        self.snapshots = snapshots;
        recognised
    }

    fn on_restored(
        &mut self,
        at: usize,
        who: (Attempt, SubtaskId),
        checkpoint: Option<CheckpointId>,
        (digest, ended): (u64, bool),
    ) -> Result<(), Violation> {
        let (attempt, subtask) = who;
        let live = self.fresh_subtask(attempt, subtask);
        let (number, deployed, again) = self.with(at, attempt, subtask, |_, run, number| {
            let again = run.lives[number].replace(live).is_some();
            Ok((number, run.restore, again))
        })?;
        if again {
            self.convict(at, who, "restores a second time".to_owned());
        }
        if deployed != checkpoint {
            let show = |checkpoint: Option<CheckpointId>| checkpoint.map_or("nothing".to_owned(), |c| c.to_string());
            self.convict(at, who, format!("restores {}, deployed with {}", show(checkpoint), show(deployed)));
        }
        let expected = match checkpoint {
            None => self.with(at, attempt, subtask, |_, run, number| Ok(run.live(number)?.snapshot()))?,
            Some(checkpoint) => self.restore(at, who, number, checkpoint)?,
        };
        if checkpoint.is_none() {
            self.fresh[number] = Some(expected.digest);
        }
        if !expected.agrees_with(digest) || expected.ended != ended {
            let message = format!(
                "live state after restore is {digest:016x} (ended = {ended}), re-executed it is {:016x} (ended = {})",
                expected.digest, expected.ended
            );
            self.convict(at, who, message);
        }
        Ok(())
    }

    fn fresh_subtask(&self, attempt: Attempt, subtask: SubtaskId) -> Live {
        let node = self.topology.graph.operator(subtask.operator);
        // Sinks share one storage; what a source reads is what its attempt was given to read.
        let input = self.inputs.of(attempt).filter(|_| node.reads.is_some());
        let context = SubtaskContext {
            env: input.map_or(&self.env, |input| &input.env).clone(),
            listing: input.map(|input| input.listing.clone()),
            subtask,
            uid: node.uid.clone(),
            parallelism: node.parallelism,
            max_parallelism: self.topology.graph.max_parallelism,
            attempt,
            batch_records: self.job.config.batch_records,
        };
        Live::new(&node.factory, &context, node.kind)
    }

    /// Restores the witness's own snapshot and compares the stored one with it.
    fn restore(
        &mut self,
        at: usize,
        who: (Attempt, SubtaskId),
        number: usize,
        checkpoint: CheckpointId,
    ) -> Result<Rc<Taken>, Violation> {
        let (attempt, subtask) = who;
        let completed = self.ledger.completed_at(checkpoint, at);
        let taken = completed.and_then(|completed| self.snapshot_in(completed, number));
        let fresh = self.fresh[number];
        let taken = self.with(at, attempt, subtask, |_, run, number| {
            let taken = taken.ok_or_else(|| {
                Refusal::Illegal(format!("restores {checkpoint}, of which it never took a snapshot that was completed"))
            })?;
            run.live(number)?.restore(checkpoint, &taken)?;
            run.non_empty |= fresh != Some(taken.digest);
            Ok(taken)
        })?;
        let completed = completed.expect("it has a taker");
        let uid = &self.topology.graph.operator(subtask.operator).uid;
        // What it restores was read when it began, by a process that may have stood still since.
        let begun = self.restoring.remove(&who).unwrap_or(at);
        match self.ledger.stored_digest(completed, (uid, subtask.index), begun) {
            Ok(stored) if taken.agrees_with(stored) => {}
            Ok(stored) => {
                let message = format!("{checkpoint} holds {stored:016x}, re-executed it is {:016x}", taken.digest);
                self.convict(at, who, message);
            }
            Err(error) => self.convict(at, who, format!("{checkpoint} cannot be read: {error}")),
        }
        Ok(taken)
    }

    /// The witness's own snapshot where a manifest names a stored one: the checkpoint's, or, of a subtask that had
    /// finished before, that of an earlier one.
    fn snapshot_in(&self, completed: &Completed, number: usize) -> Option<Rc<Taken>> {
        let manifest = completed.manifest.as_ref().ok()?;
        if let Some(taken) =
            self.snapshots.get(&(manifest.checkpoint, manifest.attempt)).and_then(|t| t[number].clone())
        {
            return Some(taken);
        }
        let subtask = self.topology.subtasks[number];
        let uid = &self.topology.graph.operator(subtask.operator).uid;
        let handle = ledger::handle(manifest, (uid, subtask.index))?;
        let names = |&(checkpoint, taker): &(CheckpointId, Attempt)| {
            layout::snapshot(checkpoint, uid, subtask.index, taker) == handle.path
        };
        let (_, taken) = self.snapshots.iter().rev().find(|(key, _)| names(key))?;
        taken[number].clone().filter(|taken| taken.ended)
    }
}

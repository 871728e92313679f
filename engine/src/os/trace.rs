//! What people see of a run: `tracing` events of target `cofferdam`, and counters for a progress line.
//!
//! Levels: elements and barriers at trace, the steps of a checkpoint at debug, what changes the course of the job at
//! info, failures at warn. While a level is off, its events cost one comparison.

use crate::door::Trace;
use crate::event::Event;
use crate::ids::{Attempt, CheckpointId, WorkerId};
use crate::os::mount::Names;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::{debug, info, trace, warn};

/// Sends events to `tracing` and counts them.
#[derive(Debug, Default)]
pub struct TracingTrace {
    progress: Arc<Progress>,
}

impl TracingTrace {
    /// A trace that also feeds `progress`.
    pub fn feeding(progress: Arc<Progress>) -> Self {
        Self { progress }
    }
}

impl Trace for TracingTrace {
    fn emit(&self, event: Event) {
        log(&event);
        self.progress.note(&event);
    }
}

/// How far a run has come. Written by every task of the process, read by the display.
#[derive(Debug, Default)]
pub struct Progress {
    records: AtomicU64,
    course: Mutex<Course>,
    names: Names,
}

/// Notices that are kept: a stranger may think of ever new ones.
const NOTICES_MAX: usize = 8;

/// What happened to the job as a whole.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// The newest attempt.
    pub attempt: Option<Attempt>,
    /// Attempts deployed.
    pub attempts: u32,
    /// The checkpoint the first attempt of this process started from.
    pub resumed_from: Option<CheckpointId>,
    /// Checkpoints completed.
    pub completed: u64,
    /// Checkpoints aborted.
    pub aborted: u64,
    /// Why the last one of them was.
    pub last_abort: Option<String>,
    /// The last one completed.
    pub last_completed: Option<Completed>,
    /// Attempts that failed.
    pub failures: u64,
    /// Why the last one of them did.
    pub last_failure: Option<String>,
    /// How many of them in a row, up to the last, failed alike, without a checkpoint in between.
    pub alike: u32,
    /// Whether this process leads.
    pub leading: bool,
    /// The workers that are registered here.
    pub workers: BTreeSet<WorkerId>,
    /// What the worker of this process waits for, while it runs nothing.
    pub waits: Option<String>,
    /// Workers that were refused.
    pub refusals: u64,
    /// Why the last one of them was.
    pub last_refusal: Option<String>,
    /// Peers that proved to be no members of the job.
    pub distrusts: u64,
    /// What people should know of the processes around this one, newest last; few, however often it happens.
    pub notices: BTreeSet<String>,
    /// Objects of former checkpoints that could not be deleted.
    pub deletions_failed: u64,
    /// Why the first of them could not.
    pub first_undeleted: Option<String>,
    /// What came to the input after it was listed, as it was seen last.
    pub ignored_input: Option<String>,
}

impl Course {
    fn on_failed(&mut self, cause: &str) {
        self.failures += 1;
        let before = self.last_failure.replace(cause.to_owned());
        self.alike = if before.is_some_and(|before| alike(&before, cause)) { self.alike + 1 } else { 1 };
    }
}

/// A completed checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completed {
    /// Its id.
    pub checkpoint: CheckpointId,
    /// Bytes in its snapshots.
    pub bytes: u64,
    /// From trigger to commit point.
    pub duration: Duration,
}

impl Progress {
    /// Of a run whose folders have these names.
    pub fn naming(names: Names) -> Self {
        Self { names, ..Self::default() }
    }

    /// Records emitted by the sources of this process. Records that a restart reads again count again.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// The course of the job so far.
    pub fn course(&self) -> Course {
        let mut course = self.course.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let causes = [&mut course.last_abort, &mut course.last_failure, &mut course.last_refusal];
        let others = [&mut course.waits, &mut course.first_undeleted, &mut course.ignored_input];
        for text in causes.into_iter().chain(others).flatten() {
            *text = self.names.as_typed(text);
        }
        course
    }

    fn note(&self, event: &Event) {
        if let Event::SourceEmitted { records, .. } = event {
            self.records.fetch_add(*records, Ordering::Relaxed);
            return;
        }
        let change = |change: &dyn Fn(&mut Course)| {
            change(&mut self.course.lock().unwrap_or_else(PoisonError::into_inner));
        };
        match event {
            Event::LeadershipTaken { .. } => change(&|course| course.leading = true),
            Event::Deposed { .. } => change(&|course| {
                course.leading = false;
                course.workers.clear();
            }),
            Event::WorkerRegistered { worker } => change(&|course| {
                course.workers.insert(*worker);
            }),
            Event::WorkerLost { worker } => change(&|course| {
                course.workers.remove(worker);
            }),
            Event::WorkerRefused { reason } => change(&|course| {
                course.refusals += 1;
                course.last_refusal = Some(reason.clone());
            }),
            Event::ReportRejected { worker, cause, .. } => change(&|course| {
                course.refusals += 1;
                course.last_refusal = Some(format!("{worker} {cause}"));
            }),
            Event::PeerDistrusted { peer, cause } => change(&|course| {
                course.distrusts += 1;
                // One line for each kind of stranger: a flood of them must not become a flood of lines.
                if course.notices.len() < NOTICES_MAX && !course.notices.iter().any(|notice| notice.ends_with(cause)) {
                    course.notices.insert(format!("hung up on {peer}: {cause}"));
                }
            }),
            Event::WorkerWaits { worker } => change(&|course| {
                course.notices.insert(format!(
                    "another process is {worker} already: the later one waits, and takes its place when it is lost"
                ));
            }),
            Event::DeleteFailed { cause, .. } => change(&|course| {
                course.deletions_failed += 1;
                course.first_undeleted.get_or_insert_with(|| cause.clone());
            }),
            Event::InputIgnored { .. } => change(&|course| course.ignored_input = ignored(event)),
            Event::AttemptDeployed { attempt, restore } => change(&|course| {
                if course.attempts == 0 {
                    course.resumed_from = *restore;
                }
                course.attempts += 1;
                course.attempt = Some(*attempt);
            }),
            Event::WorkerIdle { what, .. } => change(&|course| course.waits = Some(what.clone())),
            Event::Restored { .. } => change(&|course| course.waits = None),
            Event::AttemptCancelled { .. } => change(&|course| course.waits = Some("the next attempt".to_owned())),
            Event::AttemptFailed { cause, .. } => change(&|course| course.on_failed(cause)),
            Event::CheckpointAborted { checkpoint, reason } => change(&|course| {
                course.aborted += 1;
                course.last_abort = Some(format!("{checkpoint}: {reason}"));
            }),
            Event::CompletionDurable { checkpoint, bytes, duration_ms, .. } => change(&|course| {
                let duration = Duration::from_millis(*duration_ms);
                course.completed += 1;
                course.alike = 0;
                course.last_completed = Some(Completed { checkpoint: *checkpoint, bytes: *bytes, duration });
            }),
            _ => {}
        }
    }
}

/// Whether two failures have the same cause, numbers aside: attempts, ports and times differ from one to the next.
fn alike(one: &str, other: &str) -> bool {
    let words = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    words(one) == words(other)
}

/// What is said of input that came after the listing.
fn ignored(event: &Event) -> Option<String> {
    let Event::InputIgnored { added, grown, first } = event else { return None };
    let what = match (added, grown) {
        (added, 0) => format!("{added} came after the input was listed"),
        (0, grown) => format!("{grown} grew after the input was listed"),
        (added, grown) => format!("{added} came and {grown} grew after the input was listed"),
    };
    Some(format!("objects that are not read: {what}, {first} first; a new job reads them"))
}

fn log(event: &Event) {
    use Event as E;
    match event {
        E::LeadershipTaken { generation, slot } => info!(target: "cofferdam", "leading as {generation} (slot {slot})"),
        E::LeaseExpired { generation: Some(generation), .. } => {
            warn!(target: "cofferdam", "no sign of life of {generation}: taking over");
        }
        E::LeaseExpired { generation: None, .. } => info!(target: "cofferdam", "nobody leads: taking over"),
        E::OutputOwned { generation } => info!(target: "cofferdam", "{generation} owns the output"),
        E::Deposed { generation } => {
            warn!(target: "cofferdam", "deposed: a newer leader than {generation} has taken over")
        }
        E::WorkerRegistered { worker } => info!(target: "cofferdam", "{worker} registered"),
        E::WorkerRefused { reason } => warn!(target: "cofferdam", "refused a worker: {reason}"),
        E::ReportRejected { worker, cause, .. } => warn!(target: "cofferdam", "rejected a report: {worker} {cause}"),
        E::CommandRejected { cause, .. } => {
            warn!(target: "cofferdam", "rejected a message of the coordinator: {cause}")
        }
        E::PeerDistrusted { peer, cause } => warn!(target: "cofferdam", "hung up on {peer}: {cause}"),
        E::WorkerWaits { worker } => warn!(target: "cofferdam", "another process is {worker} already: one waits"),
        E::WorkerIdle { worker, what } => info!(target: "cofferdam", "{worker} waits for {what}"),
        E::WorkerLost { worker } => warn!(target: "cofferdam", "{worker} is lost"),
        E::AttemptDeployed { attempt, restore: Some(checkpoint) } => {
            info!(target: "cofferdam", "attempt {attempt} starts from {checkpoint}");
        }
        E::AttemptDeployed { attempt, restore: None } => {
            info!(target: "cofferdam", "attempt {attempt} starts from the beginning");
        }
        E::InputIgnored { .. } => warn!(target: "cofferdam", "{}", ignored(event).unwrap_or_default()),
        E::AttemptRunning { attempt } => info!(target: "cofferdam", "attempt {attempt} runs"),
        E::AttemptFailed { attempt, cause } => warn!(target: "cofferdam", "attempt {attempt} failed: {cause}"),
        E::CompletionDurable { checkpoint, bytes, duration_ms, .. } => {
            info!(target: "cofferdam", "{checkpoint} completed: {bytes} bytes in {duration_ms} ms");
        }
        E::CheckpointAborted { checkpoint, reason } => warn!(target: "cofferdam", "{checkpoint} aborted: {reason}"),
        E::DeleteFailed { path, cause } => warn!(target: "cofferdam", "{path} is not deleted: {cause}"),
        E::SubtaskFailed { subtask, cause, .. } => warn!(target: "cofferdam", "subtask {subtask} failed: {cause}"),
        E::UploadFailed { subtask, checkpoint, cause, .. } => {
            warn!(target: "cofferdam", "subtask {subtask} could not store its snapshot of {checkpoint}: {cause}");
        }
        E::PrepareFailed { subtask, checkpoint, cause, .. } => {
            warn!(target: "cofferdam", "subtask {subtask} could not stage its output of {checkpoint}: {cause}");
        }
        E::JobFinished { checkpoint } => info!(target: "cofferdam", "the job finished with {checkpoint}"),
        E::JobCancelled { .. } => info!(target: "cofferdam", "the job was cancelled"),
        E::RequestReceived { request, wish } => {
            info!(target: "cofferdam", "a client asks for {wish} (request {request})")
        }
        E::JobFailed { cause } => warn!(target: "cofferdam", "the job failed: {cause}"),
        E::SourceEmitted { .. }
        | E::Consumed { .. }
        | E::BarrierReceived { .. }
        | E::BarrierEmitted { .. }
        | E::CancelReceived { .. }
        | E::CancelEmitted { .. }
        | E::EndReceived { .. } => trace!(target: "cofferdam", "{event:?}"),
        _ => debug!(target: "cofferdam", "{event:?}"),
    }
}

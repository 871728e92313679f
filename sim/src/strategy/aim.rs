//! Where a plan can be struck, and with what: the coordinates that its job comes by, and a fault of each kind.
//!
//! A coordinate is reached in every run, or only once something else has gone wrong ([`Needs`]); then [`cause`] is the fault
//! that makes it happen. How often an event comes up is estimated from below, so that a fault that waits for a later
//! occurrence mostly finds it.

use crate::check::faults;
use crate::plan::input::Draws;
use crate::plan::{InputShape, LONG_PAUSE_MS, Plan};
use crate::world::{CheckpointAt, Fault, FaultKind, Forgery, InputChange, Point, Requests, Target, Trigger};
use cofferdam_engine::door::LISTING_AGE_MAX;
use cofferdam_engine::ids::{CoordinatorId, WorkerId};
use cofferdam_properties::history::Process;

/// How often an event comes up: for a checkpoint if it is about one, in the whole run otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Times {
    /// Once.
    One,
    /// Once for each worker that hosts something.
    Worker,
    /// Once for each subtask.
    Subtask,
    /// Once for each subtask of a source, or of a sink.
    Edge,
}

/// What has to happen first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Nothing: every job gets there.
    Nothing,
    /// Somebody is lost.
    Loss,
    /// The coordinator is lost.
    LossOfCoordinator,
    /// A worker says what no right worker says.
    Rogue,
    /// The leader is away for longer than the lease of a second coordinator.
    Absence,
    /// A checkpoint fails.
    FailedCheckpoint,
    /// Uploads fail.
    FailedUploads,
    /// Sinks cannot stage.
    FailedPrepare,
    /// Deletes fail.
    FailedDeletes,
    /// A client asks for something.
    Client,
}

/// An event that faults can wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aim {
    /// Its name.
    pub event: &'static str,
    /// Whether it is about a checkpoint.
    pub of_checkpoint: bool,
    /// How often it comes up.
    pub times: Times,
    /// What has to happen first.
    pub needs: Needs,
    /// Whether it comes up once more in a recovery.
    pub of_start: bool,
}

const fn step(event: &'static str, times: Times) -> Aim {
    Aim { event, of_checkpoint: true, times, needs: Needs::Nothing, of_start: false }
}

const fn once(event: &'static str, times: Times, needs: Needs) -> Aim {
    Aim { event, of_checkpoint: false, times, needs, of_start: false }
}

const fn start(event: &'static str, times: Times) -> Aim {
    Aim { event, of_checkpoint: false, times, needs: Needs::Nothing, of_start: true }
}

/// Every event that faults are aimed at.
pub const AIMS: &[Aim] = &[
    step("checkpoint_triggered", Times::One),
    step("trigger_sent", Times::Worker),
    step("trigger_received", Times::Edge),
    step("barrier_received", Times::Edge),
    step("alignment_started", Times::One),
    step("alignment_ended", Times::One),
    step("barrier_emitted", Times::Edge),
    step("prepared", Times::Edge),
    step("snapshot_taken", Times::Subtask),
    step("upload_started", Times::Subtask),
    step("upload_ended", Times::Subtask),
    step("ack_sent", Times::Subtask),
    step("ack_received", Times::Subtask),
    step("manifest_started", Times::One),
    step("manifest_written", Times::One),
    step("completion_started", Times::One),
    step("completion_durable", Times::One),
    step("mark_started", Times::One),
    step("notify_sent", Times::Worker),
    step("notify_received", Times::Subtask),
    step("commit_started", Times::Edge),
    step("commit_ended", Times::Edge),
    step("checkpoint_subsumed", Times::One),
    once("delete_started", Times::Subtask, Needs::Nothing),
    start("leadership_taken", Times::One),
    start("output_owned", Times::One),
    start("worker_registered", Times::Worker),
    start("input_listed", Times::One),
    start("attempt_deployed", Times::One),
    start("attempt_running", Times::One),
    start("restored", Times::Subtask),
    once("source_emitted", Times::Subtask, Needs::Nothing),
    once("consumed", Times::Subtask, Needs::Nothing),
    once("input_ended", Times::Subtask, Needs::Nothing),
    once("end_received", Times::Subtask, Needs::Nothing),
    once("closed_received", Times::Edge, Needs::Nothing),
    once("subtask_finished", Times::Subtask, Needs::Nothing),
    once("job_finished", Times::One, Needs::Nothing),
    once("worker_lost", Times::One, Needs::Loss),
    once("report_rejected", Times::One, Needs::Rogue),
    once("attempt_failed", Times::One, Needs::Loss),
    once("attempt_cancelled", Times::One, Needs::Loss),
    once("restart_scheduled", Times::One, Needs::Loss),
    once("link_failed", Times::One, Needs::Loss),
    once("restore_read", Times::One, Needs::Loss),
    once("restore_started", Times::Edge, Needs::Loss),
    once("coordinator_lost", Times::Worker, Needs::LossOfCoordinator),
    once("lease_expired", Times::One, Needs::Absence),
    once("deposed", Times::One, Needs::Absence),
    once("checkpoint_aborted", Times::One, Needs::FailedCheckpoint),
    once("abort_received", Times::Edge, Needs::FailedCheckpoint),
    once("alignment_aborted", Times::One, Needs::FailedCheckpoint),
    once("cancel_emitted", Times::One, Needs::FailedCheckpoint),
    once("cancel_received", Times::One, Needs::FailedCheckpoint),
    once("upload_failed", Times::One, Needs::FailedUploads),
    once("decline_sent", Times::One, Needs::FailedUploads),
    once("decline_received", Times::One, Needs::FailedUploads),
    once("prepare_failed", Times::One, Needs::FailedPrepare),
    once("delete_failed", Times::One, Needs::FailedDeletes),
    once("request_received", Times::One, Needs::Client),
    once("request_answered", Times::One, Needs::Client),
    once("wish_sent", Times::One, Needs::Client),
    once("answer_heard", Times::One, Needs::Client),
];

/// Requests that fail for longer than anybody tries again.
const LASTING: u32 = 30;

/// How long the job of a plan would take if nothing went wrong: faults end after four times that.
pub fn length_ms(plan: &Plan) -> u64 {
    (plan.heal_at_ms.saturating_sub(1_000) / 4).max(1)
}

/// Whether a plan has this process.
pub fn has(plan: &Plan, process: Process) -> bool {
    match process {
        Process::Coordinator(CoordinatorId(number)) => number < plan.coordinators(),
        Process::Worker(WorkerId(number)) => number < plan.workers,
        Process::Client(client) => usize::from(client.0) < plan.clients.len(),
    }
}

/// Whether a run of this plan, with what has to happen first, mostly gets there.
pub fn reaches(plan: &Plan, aim: &Aim) -> bool {
    match aim.needs {
        Needs::Absence => plan.standby_lease_ms.is_some(),
        Needs::Client => !plan.clients.is_empty(),
        Needs::Nothing
        | Needs::Loss
        | Needs::LossOfCoordinator
        | Needs::Rogue
        | Needs::FailedCheckpoint
        | Needs::FailedUploads
        | Needs::FailedPrepare
        | Needs::FailedDeletes => true,
    }
}

/// How often the event comes up, at least.
fn count(plan: &Plan, times: Times) -> u64 {
    let edges = match &plan.input {
        InputShape::Graph(spec) => {
            let of = |edge: &dyn Fn(&crate::plan::graph::Node) -> bool| -> u64 {
                spec.nodes.iter().filter(|node| edge(node)).map(|node| u64::from(node.parallelism)).sum()
            };
            of(&|node| node.is_source()).min(of(&|node| node.is_sink()))
        }
        InputShape::Files { .. } | InputShape::Generated { .. } => plan.parallelism.into(),
        InputShape::Own(_) => 1,
    };
    match times {
        Times::One => 1,
        Times::Worker => plan.needed_workers().min(plan.parallelism).into(),
        Times::Subtask => plan.input.subtasks(plan.parallelism).into(),
        Times::Edge => edges.max(1),
    }
}

/// One of the coordinates of an event: of a certain checkpoint, or after it came up so many times.
pub fn point(plan: &Plan, aim: &Aim, draws: &mut Draws) -> Trigger {
    let pace = (plan.policy.interval_ms + plan.policy.min_pause_ms).max(1);
    // The first one finds nothing to restore: it is drawn a third as often as another.
    let checkpoints = (length_ms(plan) / pace).clamp(1, 6);
    let (nth, among) = (draws.below(checkpoints * 3 - 2).div_ceil(3), draws.below(count(plan, aim.times)));
    let by_ordinal = draws.below(2) == 0;
    let (checkpoint, before) = match (aim.of_checkpoint, by_ordinal) {
        (true, true) => (Some(CheckpointAt::Ordinal(nth as u32)), 0),
        // Whichever checkpoint comes that far: a certain one may be aborted.
        (true, false) => (None, nth),
        (false, _) => (None, u64::from(aim.of_start && by_ordinal)),
    };
    let occurrence = (before * count(plan, aim.times) + among) as u32;
    Trigger::Point(Point { event: aim.event.to_owned(), checkpoint, occurrence, ..Point::default() })
}

/// The fault without which the event does not come up, if it needs one.
pub fn cause(plan: &Plan, aim: &Aim, draws: &mut Draws) -> Option<Fault> {
    let at = |event: &str, ordinal| {
        let checkpoint = Some(CheckpointAt::Ordinal(ordinal));
        Trigger::Point(Point { event: event.to_owned(), checkpoint, ..Point::default() })
    };
    let ordinal = 1 + draws.below(3) as u32;
    let crash = |process| FaultKind::Crash { process, restart_after_ms: 40 };
    let failing = |prefix: &str, requests, count| FaultKind::FailStorage { prefix: prefix.to_owned(), requests, count };
    let (event, what) = match aim.needs {
        Needs::Nothing | Needs::Client => return None,
        Needs::Loss => ("ack_sent", crash(Target::Announcer)),
        Needs::Rogue => {
            let (process, forgery) = (Target::Announcer, Forgery::ForeignSubtask);
            ("upload_ended", FaultKind::Rogue { process, forgery, instead: false })
        }
        Needs::LossOfCoordinator => ("completion_durable", crash(Target::Announcer)),
        Needs::Absence => {
            let for_ms = plan.standby_lease_ms.unwrap_or(LONG_PAUSE_MS) * 2;
            ("checkpoint_triggered", FaultKind::Pause { process: Target::Leader, for_ms })
        }
        Needs::FailedCheckpoint | Needs::FailedUploads => {
            ("barrier_emitted", failing("checkpoints/chk", Requests::Writes, LASTING))
        }
        Needs::FailedPrepare => ("checkpoint_triggered", failing("output", Requests::Writes, LASTING)),
        Needs::FailedDeletes => ("completion_durable", failing("checkpoints/chk", Requests::Deletes, LASTING)),
    };
    Some(Fault { at: at(event, ordinal), what })
}

/// Whom: mostly whoever announces the point, sometimes anybody.
pub fn target(plan: &Plan, draws: &mut Draws) -> Target {
    match draws.below(4) {
        0 => Target::Process(any_process(plan, draws)),
        _ => Target::Announcer,
    }
}

fn any_process(plan: &Plan, draws: &mut Draws) -> Process {
    let (coordinators, workers) = (u64::from(plan.coordinators()), u64::from(plan.workers));
    let number = draws.below(coordinators + workers);
    if number < coordinators {
        Process::Coordinator(CoordinatorId(number as u16))
    } else {
        Process::Worker(WorkerId((number - coordinators) as u16))
    }
}

/// Somebody who may be away for long enough to lose what it had, half of the time.
fn absence_ms(plan: &Plan, draws: &mut Draws) -> u64 {
    match (draws.below(2), plan.standby_lease_ms) {
        (0, Some(lease_ms)) => lease_ms * 5 / 4 + draws.below(lease_ms * 2),
        _ => 10 + draws.below(990),
    }
}

/// A fault of this kind, one of [`crate::plan::KINDS`], with amounts as the generator draws them.
pub fn of_kind(kind: &str, process: Target, plan: &Plan, draws: &mut Draws) -> FaultKind {
    let restart_after_ms = 1 + draws.below(80);
    let for_ms = 20 + draws.below(780);
    match kind {
        "crash" => FaultKind::Crash { process, restart_after_ms },
        "crash together" => {
            let workers = (0..plan.workers).map(WorkerId).map(Process::Worker);
            let coordinators = (0..plan.coordinators()).map(CoordinatorId).map(Process::Coordinator);
            FaultKind::CrashTogether { processes: coordinators.chain(workers).collect(), restart_after_ms }
        }
        "zombie" => {
            let (replaced_after_ms, lives_ms) = (5 + draws.below(295), 1 + draws.below(999));
            let for_ms = replaced_after_ms + 1 + draws.below(1_499);
            FaultKind::Zombie { process, for_ms, replaced_after_ms, lives_ms }
        }
        "pause" => FaultKind::Pause { process, for_ms: absence_ms(plan, draws).min(LONG_PAUSE_MS - 1) },
        "long pause" => FaultKind::Pause { process, for_ms: LONG_PAUSE_MS + draws.below(2_000) },
        "partition" => FaultKind::Partition { process, for_ms: absence_ms(plan, draws) },
        "one-way partition" => {
            FaultKind::OneWay { process, inbound: draws.below(2) == 0, for_ms: absence_ms(plan, draws) }
        }
        "disconnect" => {
            let from = any_process(plan, draws);
            FaultKind::Disconnect { process, from }
        }
        "half-open connections" => {
            let believed_ms = (draws.below(2) == 0).then(|| 10 + draws.below(1_490));
            FaultKind::HalfOpen { process, believed_ms }
        }
        "refused connections" => FaultKind::Refuse { process, for_ms },
        "reset connections" => FaultKind::ResetConnections { process },
        "rogue report" => {
            let forgery = Forgery::ALL[draws.below(Forgery::ALL.len() as u64) as usize];
            FaultKind::Rogue { process, forgery, instead: draws.below(2) == 0 }
        }
        "slow links" => FaultKind::SlowLinks { process, factor: 5 + draws.below(55) as u32, for_ms },
        "wall clock jump" => FaultKind::JumpWallClock { process, by_ms: draws.below(200_000_000) as i64 - 100_000_000 },
        "stalled storage" => FaultKind::StallStorage { process, for_ms },
        _ => fitted(plan, of_storage(kind, for_ms, draws), draws),
    }
}

/// Where snapshots are uploaded in parts, some of what would strike all that is asked of them strikes a part or the completion;
/// where a sink writes to a system outside, some of what would strike output strikes that.
fn fitted(plan: &Plan, mut what: FaultKind, draws: &mut Draws) -> FaultKind {
    if let FaultKind::FailStorage { prefix, requests: requests @ (Requests::Writes | Requests::All), .. }
    | FaultKind::LoseReplies { prefix, requests: requests @ Requests::All, .. }
    | FaultKind::HangStorage { prefix, requests: requests @ (Requests::Writes | Requests::All), .. } = &mut what
        && prefix == "checkpoints/chk"
        && plan.policy.uploads_in_parts()
        && draws.below(2) == 0
    {
        *requests = if draws.below(3) == 0 { Requests::Parts } else { Requests::Completions };
    }
    // Nobody deletes anything there.
    let deletes = matches!(what, FaultKind::LoseReplies { requests: Requests::Deletes, .. });
    if plan.input.writes_outside() && !deletes && draws.below(2) == 0 {
        faults::outside(&mut what);
    }
    what
}

const PREFIXES: [&str; 6] =
    ["checkpoints/log", "checkpoints/log/", "checkpoints/chk", "checkpoints/chk", "checkpoints", "output"];

fn of_storage(kind: &str, for_ms: u64, draws: &mut Draws) -> FaultKind {
    let prefix = PREFIXES[draws.below(PREFIXES.len() as u64) as usize].to_owned();
    let count = 1 + draws.skewed(12) as u32;
    let late_ms = 1 + draws.below(399);
    match kind {
        "slow storage" => FaultKind::SlowStorage { prefix, factor: 4 + draws.below(56) as u32, for_ms },
        "failing storage" => {
            let requests = [Requests::Writes, Requests::Writes, Requests::Reads, Requests::Deletes, Requests::All];
            FaultKind::FailStorage { prefix, requests: requests[draws.below(5) as usize], count }
        }
        "lost replies" => FaultKind::LoseReplies { prefix, requests: Requests::All, count, late_ms: 0 },
        "late effects" => FaultKind::LoseReplies { prefix, requests: Requests::All, count, late_ms },
        "late deletes" => FaultKind::LoseReplies { prefix, requests: Requests::Deletes, count, late_ms },
        "hanging storage" => {
            let requests = [Requests::Writes, Requests::Writes, Requests::Reads, Requests::All];
            FaultKind::HangStorage { prefix, requests: requests[draws.below(4) as usize], count: count.min(2) }
        }
        "straggling writes" => straggling(prefix, draws),
        "throttled storage" => FaultKind::ThrottleStorage { prefix, for_ms },
        "narrow storage" => FaultKind::LimitBandwidth { prefix, bytes_per_ms: 1 + draws.below(39) as u32, for_ms },
        "short reads" => FaultKind::ShortReads { prefix, for_ms: for_ms * 2 },
        "stale listings" => {
            // Not the output, and not quite as old as a listing may be, as the generator has it.
            let prefix = if draws.below(3) == 0 { "checkpoints/log" } else { "checkpoints" }.to_owned();
            let behind_ms = 1 + draws.below(LISTING_AGE_MAX.as_millis() as u64 - 1);
            FaultKind::StaleListings { prefix, behind_ms, for_ms: for_ms * 2 }
        }
        _ => FaultKind::ChangeInput { object: draws.below(6) as u32, change: change_of(kind, draws) },
    }
}

/// The last sweep lists a tenth of a second behind the end of the job or later, and then deletes.
pub(super) fn straggling(prefix: String, draws: &mut Draws) -> FaultKind {
    FaultKind::DelayPastTheEnd { prefix, count: 1 + draws.below(3) as u32, after_ms: 100 + draws.below(900) }
}

fn change_of(kind: &str, draws: &mut Draws) -> InputChange {
    match kind {
        "touched input" if draws.below(3) == 0 => InputChange::Replace,
        "touched input" => InputChange::Touch,
        "grown input" => InputChange::Append,
        "shortened input" => InputChange::Truncate,
        "deleted input" => InputChange::Delete,
        "added input" => InputChange::Add,
        _ => unreachable!("{kind:?} is no kind of fault"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{KINDS, kind_of};
    use crate::seed::Seed;
    use cofferdam_engine::event::Event;

    #[test]
    fn every_kind_of_fault_can_be_made_and_makes_sense() {
        for seed in (0..50).map(Seed) {
            let (plan, mut draws) = (Plan::of(seed), Draws::of(seed, "kinds"));
            for kind in KINDS {
                let what = of_kind(kind, Target::Announcer, &plan, &mut draws);
                assert_eq!(kind_of(&what), kind);
                let at = point(&plan, &AIMS[0], &mut draws);
                assert_eq!(Fault { at, what }.validate(), Ok(()));
            }
        }
    }

    #[test]
    fn aims_are_events_and_each_is_listed_once() {
        let mut names: Vec<&str> = AIMS.iter().map(|aim| aim.event).collect();
        assert!(names.iter().all(|name| Event::NAMES.contains(name)), "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), AIMS.len());
    }
}

//! Aborts are final: once a subtask has heard that a checkpoint is aborted, it has no part in it any more, and sees to it
//! that nobody downstream waits for its barrier.
//!
//! Source: order rules O3 and O4; FLINK-17994 (started after its cancellation), FLINK-18238 (no marker downstream), FLINK-5667
//! (completed and discarded).
//!
//! 1. After an abort of *n* reached a subtask, it begins no alignment of *n*, emits no barrier *n*, takes no snapshot,
//!    begins no upload and sends no acknowledgement for it. This holds also while the subtask waits in the midst of a step.
//! 2. If the abort came before the barrier was emitted, and before anything newer began, a marker goes downstream before
//!    the subtask takes another element or emits records.
//! 3. The marker of an id is emitted once, and never beside the barrier of the same id.
//!
//! Does not check what the coordinator makes of an acknowledgement that crossed the abort.

use crate::case::{Case, Property, Violation};
use crate::history::What;
use crate::ledger::is_about_elements;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, CheckpointId, SubtaskId};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "aborts-are-final";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "a subtask has no part in a checkpoint that it knows to be aborted, and says so downstream once",
    source: "order rules O3, O4",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    if !case.ledger().has_aborts {
        return None;
    }
    let mut subtasks: BTreeMap<(Attempt, SubtaskId), Known> = BTreeMap::new();
    // Subtasks whose marker is due: as long as there are none, nobody's elements matter, and they are most of a history.
    let mut owing = 0_usize;
    let mut protocol = case.ledger().protocol.iter().copied();
    let mut next = protocol.next();
    while let Some(at) = next {
        let violation = judge_entry(case, at, &mut subtasks, &mut owing);
        if violation.is_some() {
            return violation;
        }
        next = if owing == 0 { protocol.find(|entry| *entry > at) } else { Some(at + 1) };
        next = next.filter(|at| *at < case.history.entries.len());
    }
    None
}

/// Judges one entry, and keeps count of those whose marker is due.
fn judge_entry(
    case: &Case<'_>,
    at: usize,
    subtasks: &mut BTreeMap<(Attempt, SubtaskId), Known>,
    owing: &mut usize,
) -> Option<Violation> {
    let What::Claim(event) = &case.history.entries[at].what else { return None };
    let who = announcer(event)?;
    if *owing == 0 && is_mere_step(event) {
        return None;
    }
    let known = subtasks.entry(who).or_default();
    let before = usize::from(!known.owed.is_empty());
    let message = known.on_event(event);
    *owing = *owing + usize::from(!known.owed.is_empty()) - before;
    let message = message?;
    let (attempt, subtask) = who;
    let subject = format!("{} of {attempt}", case.job.graph.show(subtask));
    Some(Violation::new(NAME, at, subject, message))
}

/// Whose step an event is part of; `None` for what happens beside the steps or says nothing here.
fn announcer(event: &Event) -> Option<(Attempt, SubtaskId)> {
    match *event {
        Event::SourceEmitted { attempt, subtask, .. }
        | Event::Consumed { attempt, subtask, .. }
        | Event::BarrierReceived { attempt, subtask, .. }
        | Event::CancelReceived { attempt, subtask, .. }
        | Event::UploadStarted { attempt, subtask, .. }
        | Event::AlignmentStarted { attempt, subtask, .. }
        | Event::BarrierEmitted { attempt, subtask, .. }
        | Event::CancelEmitted { attempt, subtask, .. }
        | Event::SnapshotTaken { attempt, subtask, .. }
        | Event::AckSent { attempt, subtask, .. }
        | Event::AbortReceived { attempt, subtask, .. } => Some((attempt, subtask)),
        _ => None,
    }
}

/// Whether an event matters only to a subtask whose marker is due.
fn is_mere_step(event: &Event) -> bool {
    is_about_elements(event)
}

/// What one subtask knows.
#[derive(Default)]
struct Known {
    aborted: BTreeSet<CheckpointId>,
    cancelled: BTreeSet<CheckpointId>,
    emitted: BTreeSet<CheckpointId>,
    /// The newest that has begun here.
    newest: CheckpointId,
    /// Whose markers are due.
    owed: BTreeSet<CheckpointId>,
}

impl Known {
    /// Says what is wrong with the event.
    fn on_event(&mut self, event: &Event) -> Option<String> {
        match *event {
            Event::AlignmentStarted { checkpoint, .. } => {
                self.newest = self.newest.max(checkpoint);
                self.over("begins to align", checkpoint)
            }
            Event::BarrierEmitted { checkpoint, .. } => {
                self.newest = self.newest.max(checkpoint);
                self.emitted.insert(checkpoint);
                let both = self.cancelled.contains(&checkpoint);
                let message = || format!("emits barrier {checkpoint} after its cancellation marker");
                self.over("emits the barrier of", checkpoint).or_else(|| both.then(message))
            }
            Event::SnapshotTaken { checkpoint, .. } => self.over("takes a snapshot for", checkpoint),
            Event::UploadStarted { checkpoint, .. } => self.over("begins to upload", checkpoint),
            Event::AckSent { checkpoint, .. } => self.over("acknowledges", checkpoint),
            Event::CancelEmitted { checkpoint, .. } => {
                self.owed.remove(&checkpoint);
                if self.emitted.contains(&checkpoint) {
                    return Some(format!("cancels {checkpoint} after its barrier"));
                }
                let again = !self.cancelled.insert(checkpoint);
                again.then(|| format!("cancels {checkpoint} a second time"))
            }
            Event::AbortReceived { checkpoint, .. } => {
                self.aborted.insert(checkpoint);
                let due = checkpoint >= self.newest && !self.emitted.contains(&checkpoint);
                if due && !self.cancelled.contains(&checkpoint) {
                    self.owed.insert(checkpoint);
                }
                None
            }
            _ => self.silent(),
        }
    }

    fn over(&self, what: &str, checkpoint: CheckpointId) -> Option<String> {
        self.aborted.contains(&checkpoint).then(|| format!("{what} {checkpoint} after it heard of the abort"))
    }

    /// Another step begins although a marker is due.
    fn silent(&mut self) -> Option<String> {
        let owed = self.owed.pop_first()?;
        Some(format!("goes on without telling downstream that {owed} is aborted"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, place};

    /// A run whose checkpoint 1 is aborted at a map that has not had any of its barriers.
    fn aborted(after: impl FnOnce(Attempt, SubtaskId) -> Vec<Event>) -> Option<Violation> {
        let mut story = Story::begun();
        let (attempt, subtask) = (story.attempt(), story.subtask(2));
        let checkpoint = CheckpointId(1);
        story.claim(place(subtask), Event::AbortReceived { attempt, subtask, checkpoint });
        for event in after(attempt, subtask) {
            story.claim(place(subtask), event);
        }
        story.judge_by(NAME)
    }

    fn message(after: impl FnOnce(Attempt, SubtaskId) -> Vec<Event>) -> String {
        aborted(after).expect("a violation").message
    }

    const N: CheckpointId = CheckpointId(1);

    fn cancel(attempt: Attempt, subtask: SubtaskId) -> Event {
        Event::CancelEmitted { attempt, subtask, checkpoint: N }
    }

    #[test]
    fn a_whole_run_and_an_abort_that_is_passed_on_pass() {
        assert_eq!(Story::whole().judge_by(NAME), None);
        assert_eq!(aborted(|attempt, subtask| vec![cancel(attempt, subtask)]), None);
    }

    #[test]
    fn an_abort_that_nobody_downstream_hears_of_convicts() {
        let records = |attempt, subtask| vec![Event::SourceEmitted { attempt, subtask, records: 1 }];
        assert!(message(records).contains("without telling downstream that chk-1 is aborted"));
        let both = |attempt, subtask| {
            let abort = Event::AbortReceived { attempt, subtask, checkpoint: CheckpointId(2) };
            let cancelled = Event::CancelEmitted { attempt, subtask, checkpoint: CheckpointId(2) };
            vec![abort, cancelled, Event::SourceEmitted { attempt, subtask, records: 1 }]
        };
        assert!(message(both).contains("without telling downstream that chk-1 is aborted"));
    }

    #[test]
    fn whatever_is_done_for_it_afterwards_convicts() {
        let then = |event: Event| message(move |attempt, subtask| vec![cancel(attempt, subtask), event]);
        let story = Story::begun();
        let (attempt, subtask, checkpoint) = (story.attempt(), story.subtask(2), N);
        let started = Event::AlignmentStarted { attempt, subtask, checkpoint };
        assert_eq!(then(started), "begins to align chk-1 after it heard of the abort");
        let taken = Event::SnapshotTaken { attempt, subtask, checkpoint, ended: false };
        assert_eq!(then(taken), "takes a snapshot for chk-1 after it heard of the abort");
        let path = "checkpoints/chk-1/blob".to_owned();
        let uploads = Event::UploadStarted { attempt, subtask, checkpoint, path, bytes: 1 };
        assert_eq!(then(uploads), "begins to upload chk-1 after it heard of the abort");
        let acked = Event::AckSent { attempt, subtask, checkpoint, digest: 0 };
        assert_eq!(then(acked), "acknowledges chk-1 after it heard of the abort");
        let emitted = Event::BarrierEmitted { attempt, subtask, checkpoint };
        assert_eq!(then(emitted), "emits the barrier of chk-1 after it heard of the abort");
        assert_eq!(then(cancel(attempt, subtask)), "cancels chk-1 a second time");
    }
}

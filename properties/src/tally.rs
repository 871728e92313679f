//! What a run went through, so that a hunt can prove that it was not vacuous: a run without a single restore from
//! non-empty state has tested nothing.
//!
//! Counts only; judges nothing. Numbers of many runs add up with [`Tally::add`].

use crate::case::Case;
use crate::history::{Fact, Incarnation, Process, What};
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::CheckpointId;
use cofferdam_engine::messages::client::{Answer, Wish};
use std::collections::BTreeSet;

/// Counts of one run, or of many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Entries recorded.
    pub entries: u64,
    /// Checkpoints that became durable.
    pub checkpoints_completed: u64,
    /// Checkpoints that were aborted.
    pub checkpoints_aborted: u64,
    /// Attempts that restored a checkpoint.
    pub restores: u64,
    /// Of these, restores in which some subtask got back state that differs from a fresh one's.
    pub restores_non_empty: u64,
    /// Crashes of the coordinator.
    pub coordinator_crashes: u64,
    /// Leaderships that one coordinator took after another one had led.
    pub take_overs: u64,
    /// Of these, those of which the deposed leader was alive.
    pub take_overs_from_living: u64,
    /// Crashes of any process, by phase.
    pub crashes: CrashPhases,
    /// Records emitted by sources, repetitions after restores included.
    pub records_emitted: u64,
    /// Records taken from channels.
    pub records_consumed: u64,
    /// Commits of sinks that ended.
    pub commits: u64,
    /// Jobs that finished.
    pub finished: u64,
    /// Channels that at-least-once barriers cut behind more records at the consumer than at the producer.
    pub overlapping_cuts: u64,
    /// Attempts that restored such a checkpoint: records were processed again.
    pub repetitions: u64,
    /// Reports that a coordinator rejected.
    #[serde(default)]
    pub reports_rejected: u64,
    /// Workers on which some subtask was restored.
    #[serde(default)]
    pub hosts: u64,
    /// What clients wanted, and got.
    pub clients: Clients,
}

/// What clients wanted of a job, and what has become of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Clients {
    /// Checkpoints asked for.
    pub checkpoints: u64,
    /// Of these, those whose client heard that one is durable.
    pub completed: u64,
    /// Those whose client heard that there will be none.
    pub declined: u64,
    /// Answers to either wish that were lost.
    pub lost: u64,
    /// Requests that a coordinator let go of because their clients had gone.
    pub withdrawn: u64,
    /// Cancellations asked for.
    pub cancellations: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Peers that were hung up on because they are no members of the job.
    #[serde(default)]
    pub distrusted: u64,
}

impl Clients {
    fn on_claim(&mut self, event: &Event) {
        match event {
            Event::WishSent { wish: Wish::Checkpoint } => self.checkpoints += 1,
            Event::WishSent { wish: Wish::Cancel } => self.cancellations += 1,
            Event::AnswerHeard { answer: Answer::Completed { .. } } => self.completed += 1,
            Event::AnswerHeard { answer: Answer::Declined(_) } => self.declined += 1,
            Event::AnswerLost { .. } => self.lost += 1,
            Event::RequestWithdrawn { .. } => self.withdrawn += 1,
            Event::PeerDistrusted { .. } => self.distrusted += 1,
            _ => {}
        }
    }

    fn add(&mut self, other: &Self) {
        self.checkpoints += other.checkpoints;
        self.completed += other.completed;
        self.declined += other.declined;
        self.lost += other.lost;
        self.withdrawn += other.withdrawn;
        self.cancellations += other.cancellations;
        self.cancelled += other.cancelled;
        self.distrusted += other.distrusted;
    }
}

/// In which phase of the job processes crashed; each crash counts once, in the first phase that fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct CrashPhases {
    /// An attempt was deployed and not every subtask had restored.
    pub during_restore: u64,
    /// Some source had reached the end of its input.
    pub after_input_ended: u64,
    /// A checkpoint had been triggered and was neither completed nor aborted.
    pub checkpoint_pending: u64,
    /// No checkpoint had completed.
    pub before_first_checkpoint: u64,
    /// None of these.
    pub between_checkpoints: u64,
}

impl CrashPhases {
    /// All crashes.
    pub fn total(&self) -> u64 {
        self.during_restore
            + self.after_input_ended
            + self.checkpoint_pending
            + self.before_first_checkpoint
            + self.between_checkpoints
    }

    fn add(&mut self, other: &Self) {
        self.during_restore += other.during_restore;
        self.after_input_ended += other.after_input_ended;
        self.checkpoint_pending += other.checkpoint_pending;
        self.before_first_checkpoint += other.before_first_checkpoint;
        self.between_checkpoints += other.between_checkpoints;
    }
}

#[derive(Default)]
struct Phase {
    restoring: bool,
    input_ended: bool,
    pending: BTreeSet<CheckpointId>,
    completed: bool,
}

impl Phase {
    fn count(&self, crashes: &mut CrashPhases) {
        let phase = if self.restoring {
            &mut crashes.during_restore
        } else if self.input_ended {
            &mut crashes.after_input_ended
        } else if !self.pending.is_empty() {
            &mut crashes.checkpoint_pending
        } else if !self.completed {
            &mut crashes.before_first_checkpoint
        } else {
            &mut crashes.between_checkpoints
        };
        *phase += 1;
    }
}

impl Tally {
    /// The counts of one run.
    pub fn of(case: &Case<'_>) -> Self {
        let mut tally = Self { entries: case.history.entries.len() as u64, ..Self::default() };
        let mut phase = Phase::default();
        let mut leader: Option<(Incarnation, bool)> = None;
        let mut hosts = BTreeSet::new();
        for entry in &case.history.entries {
            match &entry.what {
                What::Claim(Event::AttemptDeployed { restore: Some(_), .. }) => {
                    tally.restores += 1;
                    phase = Phase { restoring: true, completed: phase.completed, ..Phase::default() };
                }
                What::Claim(Event::LeadershipTaken { .. }) => {
                    let lives = leader.filter(|(before, _)| before.process != entry.by.process).map(|(_, lives)| lives);
                    tally.take_overs += u64::from(lives.is_some());
                    tally.take_overs_from_living += u64::from(lives == Some(true));
                    leader = Some((entry.by, true));
                }
                What::Claim(event) => {
                    if let Event::Restored { .. } = event {
                        hosts.insert(entry.by.process);
                    }
                    tally.on_claim(event, &mut phase);
                }
                What::Fact(fact @ (Fact::Crashed | Fact::Ended(_))) => {
                    if let Some((_, lives)) = leader.as_mut().filter(|(leader, _)| *leader == entry.by) {
                        *lives = false;
                    }
                    if matches!(fact, Fact::Ended(_)) {
                        continue;
                    }
                    phase.count(&mut tally.crashes);
                    tally.coordinator_crashes += u64::from(matches!(entry.by.process, Process::Coordinator(_)));
                }
                What::Fact(_) => {}
            }
        }
        tally.hosts = hosts.len() as u64;
        let completed: BTreeSet<CheckpointId> = case.ledger().completed.iter().map(|c| c.checkpoint).collect();
        tally.checkpoints_completed = completed.len() as u64;
        tally.finished = u64::from(case.ledger().finished().is_some());
        tally.clients.cancelled = u64::from(case.ledger().cancelled().is_some());
        let account = case.account();
        tally.restores_non_empty = account.restores_non_empty;
        (tally.overlapping_cuts, tally.repetitions) = (account.overlapping_cuts, account.repetitions);
        tally
    }

    fn on_claim(&mut self, event: &Event, phase: &mut Phase) {
        self.clients.on_claim(event);
        match event {
            Event::AttemptDeployed { .. } => {
                *phase = Phase { restoring: true, completed: phase.completed, ..Phase::default() };
            }
            Event::AttemptRunning { .. } => phase.restoring = false,
            Event::CheckpointTriggered { checkpoint, .. } => {
                phase.pending.insert(*checkpoint);
            }
            Event::CompletionDurable { checkpoint, .. } => {
                phase.completed = true;
                phase.pending.remove(checkpoint);
            }
            Event::CheckpointAborted { checkpoint, .. } => {
                phase.pending.remove(checkpoint);
                self.checkpoints_aborted += 1;
            }
            Event::InputEnded { .. } | Event::Restored { ended: true, .. } => phase.input_ended = true,
            Event::SourceEmitted { records, .. } => self.records_emitted += records,
            Event::Consumed { records, .. } => self.records_consumed += records,
            Event::CommitEnded { .. } => self.commits += 1,
            Event::ReportRejected { .. } => self.reports_rejected += 1,
            _ => {}
        }
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.checkpoints_completed += other.checkpoints_completed;
        self.checkpoints_aborted += other.checkpoints_aborted;
        self.restores += other.restores;
        self.restores_non_empty += other.restores_non_empty;
        self.coordinator_crashes += other.coordinator_crashes;
        self.take_overs += other.take_overs;
        self.take_overs_from_living += other.take_overs_from_living;
        self.crashes.add(&other.crashes);
        self.records_emitted += other.records_emitted;
        self.records_consumed += other.records_consumed;
        self.commits += other.commits;
        self.finished += other.finished;
        self.reports_rejected += other.reports_rejected;
        self.overlapping_cuts += other.overlapping_cuts;
        self.repetitions += other.repetitions;
        self.hosts += other.hosts;
        self.clients.add(&other.clients);
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;
    use crate::case::Case;
    use crate::history::Process;
    use crate::story::{Story, worker};
    use cofferdam_engine::ids::CoordinatorId;

    fn tally(story: &Story) -> Tally {
        Tally::of(&Case::new(&story.history, &story.job, None))
    }

    #[test]
    fn a_whole_run_is_counted() {
        let tally = tally(&Story::whole());
        assert_eq!((tally.checkpoints_completed, tally.restores, tally.restores_non_empty), (2, 1, 1));
        assert_eq!(tally.hosts, 2);
        assert_eq!((tally.crashes.between_checkpoints, tally.crashes.total(), tally.coordinator_crashes), (1, 1, 0));
        // Twelve, and two once more after the crash; the commit of the first checkpoint is repeated.
        assert_eq!((tally.records_emitted, tally.commits, tally.finished), (14, 3, 1));
    }

    #[test]
    fn a_restore_of_a_checkpoint_that_holds_nothing_is_not_counted_as_one_of_state() {
        let mut story = Story::begun();
        story.checkpoint();
        story.deploy();
        let tally = tally(&story);
        assert_eq!((tally.restores, tally.restores_non_empty), (1, 0));
    }

    #[test]
    fn crashes_are_told_apart_by_phase() {
        let mut story = Story::begun();
        story.crash(worker(0));
        story.trigger();
        story.crash(worker(0));
        story.snapshot_all();
        story.complete();
        story.crash(Process::COORDINATOR);
        story.emit(0, 6);
        story.emit(1, 6);
        story.end_input();
        story.crash(worker(1));
        let tally = tally(&story);
        let crashes = tally.crashes;
        assert_eq!((crashes.before_first_checkpoint, crashes.checkpoint_pending), (1, 1));
        assert_eq!((crashes.between_checkpoints, crashes.after_input_ended, crashes.during_restore), (1, 1, 0));
        assert_eq!(tally.coordinator_crashes, 1);
    }

    #[test]
    fn a_cancelled_job_is_counted_with_the_wish() {
        let mut story = Story::begun();
        story.checkpoint();
        story.cancel();
        let clients = tally(&story).clients;
        assert_eq!((clients.cancellations, clients.cancelled, clients.checkpoints, clients.lost), (1, 1, 0, 0));
    }

    #[test]
    fn leaders_that_another_coordinator_deposes_are_counted_dead_or_alive() {
        let standby = Process::Coordinator(CoordinatorId(1));
        let mut story = Story::begun();
        story.start(standby);
        story.lead_by(standby);
        story.crash(standby);
        story.start(standby);
        story.lead_by(standby);
        story.crash(standby);
        story.lead();
        let tally = tally(&story);
        assert_eq!((tally.take_overs, tally.take_overs_from_living), (2, 1));
    }

    #[test]
    fn tallies_add_up() {
        let one = tally(&Story::whole());
        let mut two = one;
        two.add(&one);
        assert_eq!((two.restores, two.crashes.total(), two.entries), (2, 2, 2 * one.entries));
    }
}

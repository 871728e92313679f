//! Ownership of the output: one log writes to it, by one leadership at a time, and it is never ahead of that log.
//!
//! ```text
//! start ── look ── Create generation-G ── Create log-ID ── look again ─┬─ Create completed-N (held) ── Own: deploy
//!                                                            ▲        └─ numbers skipped: Create their marks ─┐
//!                                                            └────────────────────────────────────────────────┘
//! commit point of N ── Create completed-N ── is there generation-(G+1)? ──┬─ no:  Publish: notify; delete older ones
//!                                                                         └─ yes: StepDown
//! ```
//!
//! The log keeps leaders of the same log apart ([`super::completed`]). It cannot keep apart what has a log of its own: a second
//! job on the same output, a copy of the checkpoint folder that runs at the same time, an old copy that was put back.
//! Those meet at the output only. So the output has marks ([`crate::persist::mark`]), and this is the order of things:
//!
//! 1. *Start*. After its claim in the log and before it deploys, a leader creates `generation-G` with the token of its claim.
//!    That mark with another token is another copy's: fenced. Only then does it read which checkpoints are marked as
//!    completed, from a listing of an instant after the creation.
//! 2. *Mark*. After the commit point of N, and before any subtask is notified, a leader creates `completed-N`, and
//!    only then reads whether `generation-(G+1)` exists. If so it steps down.
//!
//! ```text
//! copy A, leads as G:  … slot of 7 durable ── Create completed-7 ── read generation-(G+1)
//! copy B, claims G+1:                Create generation-(G+1) ── list completed-*
//! ```
//! Each writes first and reads then, so at least one of them sees the other: either A reads the mark of B and stops, or
//! B lists the mark of A and is refused. So nothing is notified of which the next owner does not know. *Exactly* G+1 is
//! looked for, so an owner lets no number be missing: a claim whose leader died before it made a mark leaves a gap,
//! behind which an older leader would see nothing. So a leader that finds a gap anywhere between the oldest mark and
//! its own closes it, with marks in its own name, and looks again. It may die before, which leaves the gap to the next
//! one. A leader that was only late finds its own number taken, and is fenced.
//! 3. A leader that starts marks what its log holds before it deploys, for sinks commit that again.
//! 4. *Refusing* (`acceptance`). What looks like an old copy may also be the log of a leader that was deposed meanwhile,
//!    whose successor has gone on. So before it refuses, the leader asks its log whether it still leads.
//! 5. Marks are create-only. An unknown outcome is settled by reading back, and created again if nothing is there.
//!    Of marks of completed checkpoints only the newest counts; older ones are deleted once it is certain. Log and generation marks stay.
//!
//! Owns: the marks. Does not own: the log, parts, what a worker sees of the output.
//! Invariants: at most one request other than deletions is outstanding; nothing is owned before the marks of log and
//! generation are certain; a leader that owns its output has marked what its log holds.

mod acceptance;

use crate::cores::backoff::backoff;
use crate::door::{LISTING_AGE_MAX, StorageError};
use crate::error::Error;
use crate::ids::{CheckpointId, Generation};
use crate::persist::layout;
use crate::persist::mark::{Mark, Name};
use acceptance::{Marks, Verdict};
use bytes::Bytes;
use std::time::Duration;

pub use acceptance::Claimant;

/// Requests in a row that may go wrong before the leader gives up: the next one begins again.
const TRIES_MAX: u32 = 60;

/// What ownership asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// List the marks of the output, after `delay`; then [`Ownership::on_listed`].
    List {
        /// How long to wait first.
        delay: Duration,
    },
    /// Read a mark, after `delay`; then [`Ownership::on_read`].
    Read {
        /// Which one.
        name: Name,
        /// How long to wait first.
        delay: Duration,
    },
    /// Create a mark if there is none of its name, after `delay`; then [`Ownership::on_created`].
    Create {
        /// The mark.
        mark: Mark,
        /// How long to wait first.
        delay: Duration,
    },
    /// Ask the log whether this process still leads; then [`Ownership::on_confirmed`], or [`Ownership::on_doubt`] if
    /// the log gave no answer. If it no longer leads, nothing answers.
    AskLog,
    /// The output is this leadership's: the job may be deployed.
    Own,
    /// A checkpoint is marked, and no newer leadership has left a mark: it may be notified.
    Publish {
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// Delete marks of older checkpoints; then [`Ownership::on_deleted`].
    Delete {
        /// Which ones.
        names: Vec<Name>,
    },
    /// A newer leadership owns the output: stop and touch nothing.
    StepDown {
        /// Why, for people.
        cause: String,
    },
    /// The output cannot be used.
    Fail {
        /// Why not.
        error: Error,
    },
}

/// The output as one leadership sees it.
#[derive(Debug)]
pub struct Ownership {
    claimant: Claimant,
    marks: Marks,
    stage: Stage,
    /// Requests of the present step that went wrong in a row.
    tries: u32,
    deleting: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    /// Nothing asked yet.
    New,
    /// Listing the marks, then reading those of completed checkpoints.
    Looking { when: Look },
    /// Creating a mark.
    Creating { mark: Mark, step: Step },
    /// Asking the log before the output is refused.
    Confirming { refusal: Error },
    /// A checkpoint is marked. Is there a mark of a newer leadership?
    AskingNewer { checkpoint: CheckpointId, owned: bool },
    /// Nothing is under way.
    Owned,
    /// Nothing more happens.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    /// Before anything is created, so that what is refused leaves no trace.
    Before,
    /// The look that counts.
    After,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Creating,
    ReadingBack,
}

/// Why a claimant of these marks would be refused, whether it leads or not. For a look before there is a claim.
pub fn refusal(claimant: &Claimant, found: &[Mark]) -> Option<Error> {
    let mut marks = Marks::default();
    marks.on_listed(&found.iter().map(Mark::name).collect::<Vec<_>>());
    found.iter().for_each(|mark| marks.on_known(mark));
    assert_eq!(marks.unread(), None, "what was found was read");
    match marks.judge(claimant) {
        Verdict::Refused(refusal) => Some(refusal),
        Verdict::Ours | Verdict::Newer(_) => None,
    }
}

impl Ownership {
    /// Nothing has been asked for yet.
    pub fn new(claimant: Claimant) -> Self {
        let Claimant { log, lineage, generation, held, .. } = claimant;
        assert!(held.is_none_or(|(by, _)| by < generation), "what a claim finds was completed before it");
        assert!(lineage.is_none_or(|lineage| lineage.parent != log), "a log does not start from itself");
        Self { claimant, marks: Marks::default(), stage: Stage::New, tries: 0, deleting: false }
    }

    /// Begins to take the output.
    pub fn start(&mut self, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::New, "the output is taken once per leadership");
        // The claim in the log has waited for a listing already: nothing of a former leadership is younger than that.
        self.look(Look::Before, Duration::ZERO, out);
        self.validate();
    }

    /// Whether the job may be deployed.
    pub fn is_owned(&self) -> bool {
        match self.stage {
            Stage::Owned | Stage::AskingNewer { owned: true, .. } => true,
            Stage::Creating { mark: Mark::Completed { checkpoint, .. }, .. } => {
                self.claimant.held.is_none_or(|(_, held)| held < checkpoint)
            }
            Stage::New
            | Stage::Looking { .. }
            | Stage::Creating { .. }
            | Stage::Confirming { .. }
            | Stage::AskingNewer { owned: false, .. }
            | Stage::Over => false,
        }
    }

    /// Who owns the output, once it is owned.
    pub fn claimant(&self) -> &Claimant {
        &self.claimant
    }

    /// The slot of a checkpoint is durable: its commit point has passed. Only an owner with nothing under way may
    /// complete one.
    pub fn on_durable(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::Owned, "one checkpoint is completed at a time, by the owner of the output");
        let Claimant { log, generation, held, .. } = self.claimant;
        assert!(held < Some((generation, checkpoint)), "checkpoints complete in order");
        self.create(Mark::Completed { log, generation, checkpoint }, out);
        self.validate();
    }

    /// Answers [`Effect::List`].
    pub fn on_listed(&mut self, reply: Result<Vec<Name>, StorageError>, out: &mut Vec<Effect>) {
        let Stage::Looking { when } = self.stage else {
            assert_eq!(self.stage, Stage::Over, "no listing was asked for");
            return;
        };
        match reply {
            Ok(names) => {
                self.marks.on_listed(&names);
                self.read_on(when, out);
            }
            Err(error) => {
                self.again(layout::OUTPUT, error, |delay| Effect::List { delay: LISTING_AGE_MAX + delay }, out)
            }
        }
        self.validate();
    }

    /// Answers [`Effect::Read`].
    pub fn on_read(&mut self, name: Name, reply: Result<Bytes, StorageError>, out: &mut Vec<Effect>) {
        match self.stage.clone() {
            Stage::Looking { when } => self.on_looked(when, name, reply, out),
            Stage::Creating { mark, step: Step::ReadingBack } => {
                assert_eq!(name, mark.name(), "the reply fits the request");
                self.on_read_back(mark, reply, out);
            }
            Stage::AskingNewer { checkpoint, owned } => self.on_asked_newer(checkpoint, owned, name, reply, out),
            Stage::Over => {}
            Stage::New | Stage::Creating { .. } | Stage::Confirming { .. } | Stage::Owned => {
                panic!("no read was asked for")
            }
        }
        self.validate();
    }

    /// Answers [`Effect::Create`].
    pub fn on_created(&mut self, name: Name, reply: Result<(), StorageError>, out: &mut Vec<Effect>) {
        let Stage::Creating { mark, step: Step::Creating } = self.stage.clone() else {
            assert_eq!(self.stage, Stage::Over, "no mark was being created");
            return;
        };
        assert_eq!(name, mark.name(), "the reply fits the request");
        match reply {
            Ok(()) => self.created(mark, out),
            Err(StorageError::Exists(_) | StorageError::Unknown(_)) => {
                self.stage = Stage::Creating { mark, step: Step::ReadingBack };
                out.push(Effect::Read { name, delay: Duration::ZERO });
            }
            Err(error @ (StorageError::Failed(_) | StorageError::NotFound(_) | StorageError::Fenced)) => {
                self.again(&name.path(), error, |delay| Effect::Create { mark, delay }, out);
            }
        }
        self.validate();
    }

    /// Answers [`Effect::AskLog`]: this process leads its log, as it did when it looked at the output. So what was seen
    /// there is not of a successor.
    pub fn on_confirmed(&mut self, out: &mut Vec<Effect>) {
        if let Stage::Confirming { refusal } = self.stage.clone() {
            self.fail(refusal, out);
        }
        self.validate();
    }

    /// Answers [`Effect::AskLog`] when the log did not say.
    pub fn on_doubt(&mut self, out: &mut Vec<Effect>) {
        if let Stage::Confirming { .. } = self.stage {
            out.push(Effect::AskLog);
        }
    }

    /// Answers [`Effect::Delete`]. What is left is deleted with the next ones.
    pub fn on_deleted(&mut self, gone: &[Name]) {
        assert!(self.deleting, "nothing was to be deleted");
        assert!(gone.iter().all(|name| matches!(name, Name::Completed(_))), "marks of owners stay");
        self.deleting = false;
        self.marks.completed.retain(|checkpoint, _| !gone.contains(&Name::Completed(*checkpoint)));
        self.validate();
    }

    fn look(&mut self, when: Look, delay: Duration, out: &mut Vec<Effect>) {
        assert!(when == Look::Before || delay >= LISTING_AGE_MAX, "the look that counts is younger than the mark");
        self.stage = Stage::Looking { when };
        out.push(Effect::List { delay });
    }

    /// Reads what the listing shows and is not known, or judges.
    fn read_on(&mut self, when: Look, out: &mut Vec<Effect>) {
        if let Some(name) = self.marks.unread() {
            return out.push(Effect::Read { name, delay: Duration::ZERO });
        }
        match (self.marks.judge(&self.claimant), when) {
            (Verdict::Ours, Look::Before) => {
                let Claimant { log, generation, token, .. } = self.claimant;
                self.create(Mark::Generation { log, generation, token }, out);
            }
            (Verdict::Ours, Look::After) if self.skips_some() => self.close_gap(out),
            (Verdict::Ours, Look::After) => self.mark_what_is_held(out),
            (Verdict::Newer(newer), Look::Before | Look::After) => self.step_down(newer, out),
            (Verdict::Refused(refusal), Look::Before | Look::After) => {
                self.stage = Stage::Confirming { refusal };
                out.push(Effect::AskLog);
            }
        }
    }

    fn on_looked(&mut self, when: Look, name: Name, reply: Result<Bytes, StorageError>, out: &mut Vec<Effect>) {
        match reply {
            Ok(bytes) => match Mark::decode(name, &bytes) {
                Ok(mark) => {
                    self.tries = 0;
                    self.marks.on_known(&mark);
                    self.read_on(when, out);
                }
                Err(error) => self.fail(error, out),
            },
            // Listed and deleted since: a newer one exists, which a younger listing shows.
            Err(error @ StorageError::NotFound(_)) => {
                self.again(&name.path(), error, |delay| Effect::List { delay: LISTING_AGE_MAX + delay }, out);
            }
            Err(error) => self.again(&name.path(), error, |delay| Effect::Read { name, delay }, out),
        }
    }

    fn skips_some(&self) -> bool {
        self.marks.skipped(self.claimant.generation).is_some()
    }

    /// Marks the first leadership that left no mark, if there is one, and otherwise looks again.
    fn close_gap(&mut self, out: &mut Vec<Effect>) {
        let Claimant { log, generation, token, .. } = self.claimant;
        assert!(!self.is_owned(), "a gap is closed before the output is owned");
        match self.marks.skipped(generation) {
            Some(skipped) => self.create(Mark::Generation { log, generation: skipped, token }, out),
            None => {
                self.tries = 0;
                self.look(Look::After, LISTING_AGE_MAX, out);
            }
        }
    }

    fn mark_what_is_held(&mut self, out: &mut Vec<Effect>) {
        let Claimant { log, held, .. } = self.claimant;
        match held {
            Some((generation, checkpoint)) if !self.marks.completed.contains_key(&checkpoint) => {
                self.create(Mark::Completed { log, generation, checkpoint }, out);
            }
            Some(_) | None => self.own(out),
        }
    }

    fn create(&mut self, mark: Mark, out: &mut Vec<Effect>) {
        assert!(
            matches!(self.stage, Stage::Looking { .. } | Stage::Creating { .. } | Stage::Owned),
            "one thing at a time"
        );
        self.tries = 0;
        self.stage = Stage::Creating { mark, step: Step::Creating };
        out.push(Effect::Create { mark, delay: Duration::ZERO });
    }

    fn on_read_back(&mut self, mark: Mark, reply: Result<Bytes, StorageError>, out: &mut Vec<Effect>) {
        let name = mark.name();
        match reply {
            Ok(bytes) => match Mark::decode(name, &bytes) {
                Ok(found) if found == mark => self.created(mark, out),
                // The gap is closed, by another leadership of a number above it or by the late owner of this number.
                Ok(Mark::Generation { generation, .. }) if generation < self.claimant.generation => {
                    self.created(mark, out);
                }
                Ok(_) => {
                    let cause =
                        format!("{} was created by the leader of another copy of these checkpoints", name.path());
                    self.stage = Stage::Over;
                    out.push(Effect::StepDown { cause });
                }
                Err(error) => self.fail(error, out),
            },
            // It may still arrive, and then it is found: the same mark is created again.
            Err(error @ StorageError::NotFound(_)) => {
                self.stage = Stage::Creating { mark, step: Step::Creating };
                self.again(&name.path(), error, |delay| Effect::Create { mark, delay }, out);
            }
            Err(error) => self.again(&name.path(), error, |delay| Effect::Read { name, delay }, out),
        }
    }

    fn created(&mut self, mark: Mark, out: &mut Vec<Effect>) {
        match mark {
            Mark::Generation { generation, .. } if generation < self.claimant.generation => {
                self.marks.generations.insert(generation);
                self.close_gap(out);
            }
            Mark::Generation { log, .. } => self.create(Mark::Log { log }, out),
            Mark::Log { log } => {
                assert_eq!(log, self.claimant.log, "a leader marks the output for its own log");
                self.tries = 0;
                self.look(Look::After, LISTING_AGE_MAX, out);
            }
            Mark::Completed { generation, checkpoint, .. } => {
                let owned = self.is_owned();
                self.marks.on_known(&mark);
                self.claimant.held = Some((generation, checkpoint));
                self.tries = 0;
                self.stage = Stage::AskingNewer { checkpoint, owned };
                out.push(Effect::Read { name: self.newer(), delay: Duration::ZERO });
            }
        }
    }

    /// The mark of the leadership that would own the output after this one.
    fn newer(&self) -> Name {
        Name::Generation(Generation(self.claimant.generation.0 + 1))
    }

    fn on_asked_newer(
        &mut self,
        checkpoint: CheckpointId,
        owned: bool,
        name: Name,
        reply: Result<Bytes, StorageError>,
        out: &mut Vec<Effect>,
    ) {
        assert_eq!(name, self.newer(), "the reply fits the request");
        match reply {
            Ok(_) => self.step_down(Generation(self.claimant.generation.0 + 1), out),
            Err(StorageError::NotFound(_)) if owned => {
                self.stage = Stage::Owned;
                out.push(Effect::Publish { checkpoint });
                self.delete_older(checkpoint, out);
            }
            Err(StorageError::NotFound(_)) => self.own(out),
            Err(error) => self.again(&name.path(), error, |delay| Effect::Read { name, delay }, out),
        }
    }

    fn own(&mut self, out: &mut Vec<Effect>) {
        assert!(!self.is_owned(), "an output is owned once");
        self.stage = Stage::Owned;
        out.push(Effect::Own);
        if let Some((_, held)) = self.claimant.held {
            self.delete_older(held, out);
        }
    }

    fn delete_older(&mut self, newest: CheckpointId, out: &mut Vec<Effect>) {
        let names = self.marks.older(newest);
        assert!(!names.contains(&Name::Completed(newest)), "the newest mark stays");
        assert!(names.iter().all(|name| matches!(name, Name::Completed(_))), "marks of owners stay");
        if !names.is_empty() && !self.deleting {
            self.deleting = true;
            out.push(Effect::Delete { names });
        }
    }

    fn step_down(&mut self, newer: Generation, out: &mut Vec<Effect>) {
        assert!(newer > self.claimant.generation, "only a newer leadership deposes");
        self.stage = Stage::Over;
        let cause = format!(
            "{} exists: a newer leader of these checkpoints, or of another copy of them, writes to this output",
            Name::Generation(newer).path()
        );
        out.push(Effect::StepDown { cause });
    }

    fn fail(&mut self, error: Error, out: &mut Vec<Effect>) {
        assert_ne!(self.stage, Stage::Over, "it fails once");
        self.stage = Stage::Over;
        out.push(Effect::Fail { error });
    }

    /// Something went wrong: asks again, a bounded number of times.
    fn again(&mut self, path: &str, error: StorageError, ask: impl FnOnce(Duration) -> Effect, out: &mut Vec<Effect>) {
        self.tries += 1;
        if error == StorageError::Fenced || self.tries >= TRIES_MAX {
            let error = Error::from(error).while_doing(format_args!("cannot mark the output with {path}"));
            return self.fail(error, out);
        }
        out.push(ask(backoff(self.tries)));
    }

    fn validate(&self) {
        if self.is_owned() {
            if let Some((_, held)) = self.claimant.held {
                assert!(self.marks.completed.contains_key(&held), "an owner has marked what its log holds");
            }
            assert_eq!(self.marks.unread(), None, "every mark of an owned output has been read");
            assert!(!self.skips_some(), "no number is missing between the oldest mark and an owner's");
        }
        match &self.stage {
            Stage::Creating { mark: Mark::Generation { generation, token, .. }, .. } => {
                assert_eq!(*token, self.claimant.token, "a leader marks the output by its own claim");
                assert!(*generation <= self.claimant.generation, "only for itself, and for what came before it");
            }
            Stage::Creating { mark: Mark::Completed { checkpoint, .. }, .. } => {
                assert!(self.claimant.held.is_none_or(|(_, held)| held <= *checkpoint), "marks grow");
            }
            Stage::New
            | Stage::Looking { .. }
            | Stage::Creating { mark: Mark::Log { .. }, .. }
            | Stage::Confirming { .. }
            | Stage::AskingNewer { .. }
            | Stage::Owned
            | Stage::Over => {}
        }
    }
}

#[cfg(test)]
mod tests;

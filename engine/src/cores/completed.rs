//! The completed store: the log of slots that says which checkpoints are completed, who leads, and which checkpoint ids
//! have been used. Adding a `Completed` slot is the commit point of a checkpoint. This is Flink's store of completed
//! checkpoints, so other cores call it the store ([`AddToStore`](super::checkpointing::Effect::AddToStore)) or the log.
//!
//! ```text
//! start ── read the log ── claim: Create(top + 1, NewGeneration) ── lead ── propose: Create(top + 1, …) ── …
//!             ^   |                     |                                        |
//!             |   └ ended: over         └ another's: read again                  └ another's: deposed
//!             └────────────────────────┘
//! ```
//!
//! 1. *Reading*, once per leadership: list the log, read upwards from the highest slot listed until there is none, then
//!    downwards to the floor of the newest `Completed`. The listing may be out of date and decides nothing. A slot that
//!    cannot be read or decoded fails the recovery and is never skipped (order rule O11, FLINK-7783, FLINK-22502). What
//!    was found may be late copies below the floor (`completed/reading.rs`), so whatever ends the recovery is made sure
//!    of first. Another job's log is refused, and one in which the job is over is left alone, unless a user submits a
//!    failed or cancelled job again. A standby leaves a log alone whose leader it has not watched die.
//! 2. *Deciding* one slot, for a claim and for every proposal alike:
//!    * `Create` done → verify;
//!    * exists → read it back: our token → verify, another's → lost (FLINK-24543: our own retry is no conflict);
//!    * failed, and no earlier try may land → a few tries, then definitely not added;
//!    * unknown → read it back; if nothing is there the write may still land *later*, so the very same bytes are
//!      created again until the slot is decided. Never given up, never deleted (order rule O7, FLINK-22494).
//! 3. *Verifying*. Slots below the floor get deleted, and a delayed `Create` of a deposed coordinator would *succeed* on
//!    the number of a deleted slot:
//!    ```text
//!    old: Create(5) delayed ....................................... done!  read 4 → gone: deposed
//!    new:           Create(5) NewGeneration … Create(9) floor 8, delete 4, delete 5
//!    ```
//!    Slots are freed strictly one after the other, the lowest first. So if the slot below ours is the one we know, no
//!    number from there on was ever free again, and ours was never another process's: one read. That proves nothing if
//!    a copy of the slot below may land late as well (its own `Create` was repeated after an unknown outcome, or
//!    another process wrote it); then, and for slot 1, a listing must show ours as the top. The top of the log is never
//!    deleted, so a listing shows what is above ours, provided that it is of an instant after the `Create`: it may be
//!    out of date, so it is waited for as long as a listing may be old ([`crate::door::LISTING_AGE_MAX`]). The same
//!    listing tells a slot that a newer leader has freed from one that is lost: below a newer leader there is always a
//!    slot above ours.
//! 4. *Confirming* that this process still leads: no slot above our top, and then our top is still there.
//! 5. Every slot repeats the log's id, which is drawn with slot 1: retention frees that one.
//! 6. Ids are reserved in blocks of [`IDS_PER_BLOCK`]; a new leadership starts with a fresh block (order rule O1).
//!
//! Owns: the slots at and above the floor, the next checkpoint id. Does not own: manifests, blobs, deletion.
//! Invariants: at most one request is outstanding; the log is contiguous from the floor to the top; generations and
//! reserved ids never decrease along the log, checkpoint ids strictly increase.

mod confirming;
mod identity;
mod proposal;
mod reading;

use crate::cores::backoff::backoff;
use crate::door::StorageError;
use crate::error::Error;
use crate::ids::{CheckpointId, Generation};
use crate::persist::layout;
use crate::persist::slot::{JobMark, Slot, SlotRecord};
use crate::reason::Ended;
use bytes::Bytes;
use confirming::Question;
use proposal::{Below, Decision, Proposal};
use reading::{Progress, Reading};
use std::collections::BTreeMap;
use std::time::Duration;

/// Checkpoint ids are reserved this many at a time.
pub const IDS_PER_BLOCK: u64 = 100;

/// A completed checkpoint's slot brings the next block along when fewer ids than this are left.
const IDS_LEFT_MIN: u64 = 50;

/// Failed reads in a row after which the recovery fails: a log that stays unreadable is reported, not waited for
/// (FLINK-8807).
const READ_TRIES: u32 = 60;

/// Failed requests after which whether this process leads stays in doubt.
const CONFIRM_TRIES: u32 = 5;

/// What the store asks for. At most one of the first three is outstanding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// List the numbers of the slots that exist, after `delay`; then [`Completed::on_listed`].
    List {
        /// How long to wait first.
        delay: Duration,
    },
    /// Read a slot, after `delay`; then [`Completed::on_read`].
    Read {
        /// Which slot.
        number: u64,
        /// How long to wait first.
        delay: Duration,
    },
    /// Create a slot if there is none, after `delay`; then [`Completed::on_created`].
    Create {
        /// Which slot.
        number: u64,
        /// What it shall say.
        slot: Slot,
        /// How long to wait first.
        delay: Duration,
    },
    /// This process leads from here on.
    Lead {
        /// Its leadership.
        generation: Generation,
        /// The slot that says so.
        number: u64,
    },
    /// The proposed record is durable.
    Accept {
        /// In this slot.
        number: u64,
        /// The record.
        record: SlotRecord,
    },
    /// The proposed record is not in the log and never will be.
    Reject {
        /// The record.
        record: SlotRecord,
        /// Why not.
        cause: String,
    },
    /// Answers [`Completed::confirm`]: this process still leads, as far as can be known.
    StillLeads,
    /// Answers [`Completed::confirm`]: storage did not say whether this process still leads. It may go on as before,
    /// but not declare the end of the job (order rule O12).
    Doubt,
    /// The log says that the job is over: there is nothing to lead.
    Over {
        /// How it ended.
        how: Ended,
    },
    /// Asked for by a candidate that [gives way](Completed::giving_way): a leader exists that it has not watched.
    GiveWay {
        /// The newest leadership.
        leader: Generation,
    },
    /// A newer leader exists: stop and touch nothing.
    StepDown,
    /// The store cannot be used.
    Fail {
        /// Why not.
        error: Error,
    },
}

/// A completed checkpoint that is retained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retained {
    /// Its slot.
    pub number: u64,
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// Path of its manifest.
    pub manifest: String,
}

/// What a process wants that reads a log in which the job is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// A user submits the job. If it failed or was cancelled it is run again, from what is retained.
    Submit,
    /// It comes after others, in order to lead on: what is over for them is over for it.
    Resume,
}

/// The completed store as one process sees it.
#[derive(Debug)]
pub struct Completed {
    /// The writer's token of a claim.
    token: u64,
    /// Whose log it has to be.
    job: JobMark,
    start: Start,
    /// The newest leadership that a candidate would depose; `None`: any.
    deposes: Option<Generation>,
    stage: Stage,
    /// The log from the floor to the top, as far as this process knows it.
    log: BTreeMap<u64, Slot>,
    /// Whether a copy of the top, which is ours, may land late.
    doubtful: bool,
    /// The leadership, once there is one.
    generation: Generation,
    /// The next checkpoint id to hand out.
    next_id: CheckpointId,
}

#[derive(Debug)]
enum Stage {
    /// Nothing asked yet.
    New,
    /// Reading the log.
    Reading(Reading),
    /// Deciding the slot that makes this process the leader.
    Claiming(Proposal),
    /// Leading, with nothing under way.
    Leading,
    /// Leading, and deciding a slot.
    Proposing(Proposal),
    /// Leading, and asking whether that is still so.
    Confirming {
        /// Requests that went wrong.
        tries: u32,
        /// What is being asked.
        step: Question,
        /// What to propose once that is known.
        then: Option<(u64, SlotRecord)>,
    },
    /// Finished, deposed or failed: nothing more happens.
    Over,
}

impl Completed {
    /// A store that has asked for nothing yet. `token` is drawn by this process alone.
    pub fn new(token: u64, job: JobMark, start: Start) -> Self {
        Self {
            token,
            job,
            start,
            deposes: None,
            stage: Stage::New,
            log: BTreeMap::new(),
            doubtful: false,
            generation: Generation(0),
            next_id: CheckpointId(0),
        }
    }

    /// The same, but of a candidate that deposes `leader`, which it has watched die, and no later one. Two standbys
    /// that claim at the same time would otherwise depose each other, again and again.
    pub fn giving_way(mut self, leader: Option<Generation>) -> Self {
        assert!(matches!(self.stage, Stage::New), "whom to depose is known before the log is read");
        self.deposes = Some(leader.unwrap_or_default());
        self
    }

    /// Begins to read the log, in order to lead.
    pub fn start(&mut self, out: &mut Vec<Effect>) {
        assert!(matches!(self.stage, Stage::New), "the log is recovered once per leadership");
        self.read_again(out);
        self.validate();
    }

    /// Proposes the next slot. Only a leader that [accepts proposals](Self::accepts_proposals) may.
    pub fn propose(&mut self, token: u64, record: SlotRecord, out: &mut Vec<Effect>) {
        assert!(self.accepts_proposals(), "one slot is decided at a time");
        if let Stage::Confirming { then, .. } = &mut self.stage {
            *then = Some((token, record));
            return self.validate();
        }
        let ids_reserved = match &record {
            SlotRecord::NewGeneration => panic!("a leader does not take leadership"),
            SlotRecord::IdsReserved => self.reserved().0 + IDS_PER_BLOCK,
            SlotRecord::Completed { checkpoint, floor, .. } => {
                assert!(*checkpoint < self.next_id, "{checkpoint} was never handed out");
                assert!(
                    self.latest().is_none_or(|latest| latest.checkpoint < *checkpoint),
                    "{checkpoint} is not newer"
                );
                assert!(*floor >= self.floor(), "the floor never sinks");
                let left = self.reserved().0 + 1 - self.next_id.0;
                if left < IDS_LEFT_MIN { self.reserved().0 + IDS_PER_BLOCK } else { self.reserved().0 }
            }
            SlotRecord::Ended { how, floor } => {
                assert!([self.floor(), self.next_number()].contains(floor), "all that is retained is kept, or nothing");
                let latest = self.latest().map(|latest| latest.checkpoint);
                match how {
                    Ended::Finished { checkpoint } => assert_eq!(latest, Some(*checkpoint), "finished with the latest"),
                    Ended::Failed { .. } | Ended::Cancelled => {}
                }
                self.reserved().0
            }
        };
        let (generation, job) = (self.generation, self.job.clone());
        let (log, lineage) = (self.id(), self.lineage());
        let slot = Slot { log, lineage, generation, token, ids_reserved: CheckpointId(ids_reserved), job, record };
        let below = self.below(self.doubtful);
        self.stage = Stage::Proposing(Proposal::new(self.next_number(), slot, below, out));
        self.validate();
    }

    /// Asks storage whether this process still leads. Only a leader with nothing under way may.
    pub fn confirm(&mut self, out: &mut Vec<Effect>) {
        assert!(self.is_idle(), "a leader that proposes learns it from the outcome");
        self.stage = Stage::Confirming { tries: 0, step: Question::Above, then: None };
        self.ask(Question::Above, Duration::ZERO, out);
        self.validate();
    }

    /// A fresh checkpoint id, unless the reserved ones are used up: then `IdsReserved` must be proposed first.
    pub fn allocate(&mut self) -> Option<CheckpointId> {
        assert!(self.leads(), "only a leader hands out ids");
        if self.next_id > self.reserved() {
            return None;
        }
        let id = self.next_id;
        self.next_id = id.next();
        self.validate();
        Some(id)
    }

    /// Answers [`Effect::List`] with the numbers of the slots that exist.
    pub fn on_listed(&mut self, reply: Result<Vec<u64>, StorageError>, out: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Reading(mut reading) => {
                let progress = reading.on_listed(reply);
                self.progress(reading, progress, out);
            }
            Stage::Claiming(mut claim) => {
                let decision = claim.on_listed(reply, out);
                self.decide_claim(claim, decision, out);
            }
            Stage::Proposing(mut proposal) => {
                let decision = proposal.on_listed(reply, out);
                self.decide_proposal(proposal, decision, out);
            }
            Stage::Confirming { tries, step, then } => {
                assert!(matches!(step, Question::Listed | Question::Gone), "a listing was asked for");
                let answer = self.hear_listing(step, reply);
                self.confirming(tries, step, then, answer, out);
            }
            Stage::New | Stage::Leading => panic!("no listing was asked for"),
            Stage::Over => {}
        }
        self.validate();
    }

    /// Answers [`Effect::Read`].
    pub fn on_read(&mut self, number: u64, reply: Result<Bytes, StorageError>, out: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Reading(mut reading) => {
                let progress = reading.on_read(number, reply);
                self.progress(reading, progress, out);
            }
            Stage::Claiming(mut claim) => {
                let decision = claim.on_read(number, reply, out);
                self.decide_claim(claim, decision, out);
            }
            Stage::Proposing(mut proposal) => {
                let decision = proposal.on_read(number, reply, out);
                self.decide_proposal(proposal, decision, out);
            }
            Stage::Confirming { tries, step, then } => {
                let answer = self.hear_slot(step, number, reply);
                self.confirming(tries, step, then, answer, out);
            }
            Stage::New | Stage::Leading => panic!("no read was asked for"),
            Stage::Over => {}
        }
        self.validate();
    }

    /// Answers [`Effect::Create`].
    pub fn on_created(&mut self, number: u64, reply: Result<(), StorageError>, out: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Claiming(mut claim) => {
                let decision = claim.on_created(number, reply, out);
                self.decide_claim(claim, decision, out);
            }
            Stage::Proposing(mut proposal) => {
                let decision = proposal.on_created(number, reply, out);
                self.decide_proposal(proposal, decision, out);
            }
            Stage::New | Stage::Reading(_) | Stage::Leading | Stage::Confirming { .. } => {
                panic!("no slot was being created")
            }
            Stage::Over => {}
        }
        self.validate();
    }

    /// Whether this process leads and nothing is under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Leading)
    }

    /// Whether this process leads and no slot is being decided or about to be.
    pub fn accepts_proposals(&self) -> bool {
        matches!(self.stage, Stage::Leading | Stage::Confirming { then: None, .. })
    }

    /// The leadership of this process.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The slot that the next proposal will occupy.
    pub fn next_number(&self) -> u64 {
        self.log.last_key_value().map_or(0, |(number, _)| *number) + 1
    }

    /// The next checkpoint id to be handed out; every lower one has been or never will be.
    pub fn next_id(&self) -> CheckpointId {
        self.next_id
    }

    /// The retained checkpoints, oldest first.
    pub fn retained(&self) -> Vec<Retained> {
        let floor = self.floor();
        let slots = self.log.range(floor..).filter_map(|(number, slot)| match &slot.record {
            SlotRecord::Completed { checkpoint, manifest, .. } => {
                Some(Retained { number: *number, checkpoint: *checkpoint, manifest: manifest.clone() })
            }
            SlotRecord::NewGeneration | SlotRecord::IdsReserved | SlotRecord::Ended { .. } => None,
        });
        slots.collect()
    }

    /// The oldest slot that counts.
    pub fn floor(&self) -> u64 {
        floor(&self.log)
    }

    fn leads(&self) -> bool {
        matches!(self.stage, Stage::Leading | Stage::Proposing(_) | Stage::Confirming { .. })
    }

    /// The top of the log, which the next slot will lie on.
    fn below(&self, doubtful: bool) -> Option<Below> {
        self.log.last_key_value().map(|(_, top)| Below { token: top.token, doubtful })
    }

    /// Above every id that may have been handed out so far.
    pub fn unused_id(&self) -> CheckpointId {
        self.reserved().next()
    }

    fn reserved(&self) -> CheckpointId {
        self.log.last_key_value().map_or(CheckpointId(0), |(_, slot)| slot.ids_reserved)
    }

    fn read_again(&mut self, out: &mut Vec<Effect>) {
        self.log.clear();
        self.stage = Stage::Reading(Reading::new());
        out.push(Effect::List { delay: Duration::ZERO });
    }

    fn progress(&mut self, mut reading: Reading, progress: Progress, out: &mut Vec<Effect>) {
        match progress {
            Progress::Ask(effect) => {
                self.stage = Stage::Reading(reading);
                out.push(effect);
            }
            Progress::Done(log) => match self.refusal(&log) {
                Some(_) if !reading.is_settled() => {
                    out.push(reading.settle());
                    self.stage = Stage::Reading(reading);
                }
                Some(refusal) => {
                    self.log = log;
                    out.push(refusal);
                }
                None => {
                    self.log = log;
                    self.claim(out);
                }
            },
            Progress::Broken(error) => out.push(Effect::Fail { error }),
        }
    }

    /// What forbids to lead on `log`, if it is the log.
    fn refusal(&self, log: &BTreeMap<u64, Slot>) -> Option<Effect> {
        let (_, last) = log.last_key_value()?;
        if last.job != self.job {
            let what = format!("these checkpoints belong to {}, but this is {}", last.job, self.job);
            return Some(Effect::Fail { error: Error::give_up(what) });
        }
        match &last.record {
            SlotRecord::Ended { how: Ended::Failed { .. } | Ended::Cancelled, .. } if self.start == Start::Submit => {
                None
            }
            SlotRecord::Ended { how, .. } => Some(Effect::Over { how: how.clone() }),
            SlotRecord::NewGeneration | SlotRecord::IdsReserved | SlotRecord::Completed { .. } => None,
        }
    }

    fn claim(&mut self, out: &mut Vec<Effect>) {
        let last = self.log.last_key_value().map(|(_, slot)| slot);
        let leader = last.map(|slot| slot.generation).unwrap_or_default();
        if self.deposes.is_some_and(|deposes| leader > deposes) {
            // Even if that was a late copy: to watch a leader decides nothing.
            out.push(Effect::GiveWay { leader });
            self.stage = Stage::Over;
            return;
        }
        let generation = Generation(leader.0 + 1);
        let boundary = self.reserved().0.next_multiple_of(IDS_PER_BLOCK);
        let slot = Slot {
            log: self.id(),
            lineage: self.lineage(),
            generation,
            token: self.token,
            ids_reserved: CheckpointId(boundary + IDS_PER_BLOCK),
            job: self.job.clone(),
            record: SlotRecord::NewGeneration,
        };
        // Others wrote what is below; how often they tried is not known.
        let below = self.below(true);
        self.stage = Stage::Claiming(Proposal::new(self.next_number(), slot, below, out));
    }

    fn decide_claim(&mut self, mut claim: Proposal, decision: Decision, out: &mut Vec<Effect>) {
        match decision {
            Decision::Open => self.stage = Stage::Claiming(claim),
            Decision::Ours => {
                self.generation = claim.slot.generation;
                self.next_id = CheckpointId(claim.slot.ids_reserved.0 - IDS_PER_BLOCK + 1);
                out.push(Effect::Lead { generation: self.generation, number: claim.number });
                self.doubtful = claim.doubtful();
                self.log.insert(claim.number, claim.slot);
                self.stage = Stage::Leading;
            }
            Decision::Theirs => {
                // Whatever the log says next was said while this process was looking.
                self.start = Start::Resume;
                self.read_again(out);
            }
            // A candidate has nothing else to do: it goes on until storage answers or says who leads.
            Decision::NotAdded(cause) if claim.tries < READ_TRIES => {
                let delay = backoff(claim.tries);
                debug_assert!(!cause.is_empty(), "a failure has a cause");
                claim.create(delay, out);
                self.stage = Stage::Claiming(claim);
            }
            Decision::NotAdded(cause) => {
                let path = layout::log_entry(claim.number);
                out.push(Effect::Fail {
                    error: Error::restart(format!("cannot take leadership with {path}: {cause}")),
                });
            }
            Decision::Broken(error) => out.push(Effect::Fail { error }),
        }
    }

    fn decide_proposal(&mut self, proposal: Proposal, decision: Decision, out: &mut Vec<Effect>) {
        match decision {
            Decision::Open => self.stage = Stage::Proposing(proposal),
            Decision::Ours => {
                self.doubtful = proposal.doubtful();
                let Proposal { number, slot, .. } = proposal;
                let record = slot.record.clone();
                self.log.insert(number, slot);
                let floor = self.floor();
                self.log.retain(|number, _| *number >= floor);
                self.stage = Stage::Leading;
                out.push(Effect::Accept { number, record });
            }
            Decision::Theirs => out.push(Effect::StepDown),
            Decision::NotAdded(cause) => {
                assert!(!proposal.may_land, "a write that may land is never given up");
                self.stage = Stage::Leading;
                out.push(Effect::Reject { record: proposal.slot.record, cause });
            }
            Decision::Broken(error) => out.push(Effect::Fail { error }),
        }
    }

    fn validate(&self) {
        let mut last: Option<(u64, &Slot)> = None;
        for (number, slot) in &self.log {
            assert!(*number >= 1, "slots count from 1");
            if let Some((before, earlier)) = last {
                assert_eq!(before + 1, *number, "the log has no holes");
                assert!(earlier.generation <= slot.generation, "generations never decrease");
                assert!(earlier.ids_reserved <= slot.ids_reserved, "reserved ids never decrease");
                assert_eq!(earlier.log, slot.log, "a log has one id");
            }
            last = Some((*number, slot));
        }
        match &self.stage {
            Stage::New | Stage::Reading(_) => assert!(self.log.is_empty(), "nothing counts before all is read"),
            Stage::Claiming(claim) => {
                assert_eq!(claim.number, self.next_number(), "the next slot is claimed");
                assert_eq!(claim.slot.record, SlotRecord::NewGeneration, "a claim takes leadership");
            }
            Stage::Leading | Stage::Confirming { .. } => self.validate_leading(),
            Stage::Proposing(proposal) => {
                self.validate_leading();
                assert_eq!(proposal.number, self.next_number(), "the next slot is proposed");
                assert_eq!(proposal.slot.generation, self.generation, "a leader proposes in its own name");
                assert!(proposal.slot.ids_reserved >= self.reserved(), "reserved ids never decrease");
            }
            Stage::Over => {}
        }
    }

    fn validate_leading(&self) {
        let (_, top) = self.log.last_key_value().expect("a leader's log has its claim");
        assert_eq!(top.generation, self.generation, "the top of a leader's log is its own");
        assert!(self.next_id.0 <= self.reserved().0 + 1, "no id is used that was not reserved");
        assert!(self.latest().is_none_or(|latest| latest.checkpoint < self.next_id), "ids grow");
    }
}

/// The floor that a log sets: the newest that a slot names, or the first slot.
fn floor(log: &BTreeMap<u64, Slot>) -> u64 {
    log.values().rev().find_map(|slot| slot.record.floor()).unwrap_or(1)
}

#[cfg(test)]
mod tests;

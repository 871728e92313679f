//! Deciding one slot: from the create to the certainty that the slot is ours, is another process's, or is not added.
//!
//! The steps are those of [`super`]'s head. A proposal never waits without end by itself: it asks again as long as
//! storage does not answer, and says what became of it as soon as storage does.

use super::Effect;
use crate::cores::backoff::backoff;
use crate::door::{LISTING_AGE_MAX, StorageError};
use crate::error::Error;
use crate::persist::layout;
use crate::persist::slot::{Slot, SlotRecord};
use bytes::Bytes;
use std::time::Duration;

/// Definite failures in a row after which a proposal counts as not added.
pub(super) const CREATE_TRIES: u32 = 5;

/// Listings without our own slot after which storage counts as one that does not list what it stores.
pub(super) const LIST_TRIES: u32 = 60;

/// The slot below the one being decided, as its writer or reader knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Below {
    pub token: u64,
    /// Whether a copy of it may still land, after its number has been freed. Then that it is there proves nothing.
    pub doubtful: bool,
}

/// One slot being decided.
#[derive(Debug)]
pub(super) struct Proposal {
    pub number: u64,
    pub slot: Slot,
    /// The slot below; none below the first.
    below: Option<Below>,
    /// Whether some try may have landed or may land yet.
    pub may_land: bool,
    /// Tries whose outcome is unknown.
    unknown: u32,
    /// Whether one of those has been found: it will not land again.
    found: bool,
    /// A slot that had been there and is not any more.
    gone: Option<u64>,
    /// Tries of the current step that went wrong in a row.
    pub tries: u32,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Creating,
    /// After `Exists` (`seen`) or an unknown outcome.
    ReadingBack {
        seen: bool,
    },
    /// Is the slot below still there?
    ReadingBelow,
    /// Is there one above?
    Listing,
}

/// What became of a slot being decided.
pub(super) enum Decision {
    Open,
    Ours,
    Theirs,
    NotAdded(String),
    Broken(Error),
}

impl Proposal {
    pub fn new(number: u64, slot: Slot, below: Option<Below>, out: &mut Vec<Effect>) -> Self {
        assert_eq!(below.is_none(), number == 1, "every slot but the first has one below");
        let (may_land, unknown, found) = (false, 0, false);
        let (gone, tries, step) = (None, 0, Step::Creating);
        let mut proposal = Self { number, slot, below, may_land, unknown, found, gone, tries, step };
        proposal.create(Duration::ZERO, out);
        proposal
    }

    pub fn create(&mut self, delay: Duration, out: &mut Vec<Effect>) {
        self.step = Step::Creating;
        out.push(Effect::Create { number: self.number, slot: self.slot.clone(), delay });
    }

    pub fn on_created(&mut self, number: u64, reply: Result<(), StorageError>, out: &mut Vec<Effect>) -> Decision {
        assert_eq!((self.step, number), (Step::Creating, self.number), "the reply fits the request");
        match reply {
            Ok(()) => self.verify(out),
            Err(StorageError::Exists(_)) => self.read_back(true, out),
            Err(StorageError::Unknown(_)) => {
                self.unknown += 1;
                self.may_land = true;
                self.read_back(false, out)
            }
            Err(StorageError::Failed(cause) | StorageError::NotFound(cause)) => {
                self.tries += 1;
                if !self.may_land && self.tries >= CREATE_TRIES {
                    return Decision::NotAdded(cause);
                }
                self.create(backoff(self.tries), out);
                Decision::Open
            }
            Err(StorageError::Fenced) => Decision::Broken(StorageError::Fenced.into()),
        }
    }

    /// Whether a copy of the slot may land yet, although it is decided.
    pub fn doubtful(&self) -> bool {
        self.unknown > u32::from(self.found)
    }

    pub fn on_read(&mut self, number: u64, reply: Result<Bytes, StorageError>, out: &mut Vec<Effect>) -> Decision {
        match self.step {
            Step::ReadingBack { seen } => self.on_read_back(seen, number, reply, out),
            Step::ReadingBelow => self.on_read_below(number, reply, out),
            Step::Creating | Step::Listing => panic!("no slot was being read"),
        }
    }

    fn on_read_back(
        &mut self,
        seen: bool,
        number: u64,
        reply: Result<Bytes, StorageError>,
        out: &mut Vec<Effect>,
    ) -> Decision {
        assert_eq!(number, self.number, "the reply fits the request");
        match reply {
            Ok(bytes) => match Slot::decode(&layout::log_entry(number), &bytes) {
                Ok(found) if found.token == self.slot.token => {
                    assert_eq!(found, self.slot, "one token, one slot");
                    self.found = true;
                    self.verify(out)
                }
                Ok(_) => Decision::Theirs,
                Err(error) => Decision::Broken(error),
            },
            Err(StorageError::NotFound(_)) if seen => self.look_above(number, out),
            Err(StorageError::NotFound(_)) => {
                self.tries += 1;
                self.create(backoff(self.tries), out);
                Decision::Open
            }
            Err(StorageError::Fenced) => Decision::Broken(StorageError::Fenced.into()),
            Err(StorageError::Failed(_) | StorageError::Unknown(_) | StorageError::Exists(_)) => {
                self.tries += 1;
                out.push(Effect::Read { number, delay: backoff(self.tries) });
                Decision::Open
            }
        }
    }

    /// Slots are freed one after the other, the lowest first: if the one below is there, ours never was free again.
    fn on_read_below(&mut self, number: u64, reply: Result<Bytes, StorageError>, out: &mut Vec<Effect>) -> Decision {
        let below = self.below.expect("a slot below was read");
        assert_eq!(number, self.number - 1, "the reply fits the request");
        match reply {
            Ok(bytes) => match Slot::decode(&layout::log_entry(number), &bytes) {
                Ok(found) if found.token != below.token => Decision::Theirs,
                Ok(_) if below.doubtful => self.list(out),
                Ok(_) => Decision::Ours,
                Err(error) => Decision::Broken(error),
            },
            // Our own slot ends the job: another coordinator found it, and cleaned up.
            Err(StorageError::NotFound(_)) if self.frees(number) => self.list(out),
            Err(StorageError::NotFound(_)) => self.look_above(number, out),
            Err(StorageError::Fenced) => Decision::Broken(StorageError::Fenced.into()),
            Err(StorageError::Failed(_) | StorageError::Unknown(_) | StorageError::Exists(_)) => {
                self.tries += 1;
                out.push(Effect::Read { number, delay: backoff(self.tries) });
                Decision::Open
            }
        }
    }

    /// The listing is of an instant after our slot was created, for it was waited so long: it shows the top of the log.
    pub fn on_listed(&mut self, reply: Result<Vec<u64>, StorageError>, out: &mut Vec<Effect>) -> Decision {
        assert_eq!(self.step, Step::Listing, "a listing was asked for");
        self.tries += 1;
        match reply {
            Ok(numbers) if numbers.iter().any(|number| *number > self.number) => return Decision::Theirs,
            Ok(_) if let Some(gone) = self.gone => return Decision::Broken(super::confirming::lost(gone)),
            Ok(numbers) if numbers.contains(&self.number) => return Decision::Ours,
            Ok(_) if self.tries >= LIST_TRIES => {
                let path = layout::log_entry(self.number);
                return Decision::Broken(Error::corrupt(format!(
                    "{path} was created but is not listed: this storage cannot hold the log of completed checkpoints"
                )));
            }
            Err(StorageError::Fenced) => return Decision::Broken(StorageError::Fenced.into()),
            Ok(_) | Err(_) => {}
        }
        out.push(Effect::List { delay: LISTING_AGE_MAX + backoff(self.tries) });
        Decision::Open
    }

    /// Whether the slot being decided, which was there when the one below was looked for, ends the job without need of that
    /// one.
    fn frees(&self, number: u64) -> bool {
        matches!(self.slot.record, SlotRecord::Ended { floor, .. } if number < floor)
    }

    /// A slot was there and is gone. If a newer leader has freed it, there is one above; otherwise it is lost.
    fn look_above(&mut self, gone: u64, out: &mut Vec<Effect>) -> Decision {
        assert!(gone <= self.number, "what was there is the slot being decided or the one below");
        self.gone = Some(gone);
        self.list(out)
    }

    fn verify(&mut self, out: &mut Vec<Effect>) -> Decision {
        if self.below.is_none() {
            return self.list(out);
        }
        self.step = Step::ReadingBelow;
        self.tries = 0;
        out.push(Effect::Read { number: self.number - 1, delay: Duration::ZERO });
        Decision::Open
    }

    fn list(&mut self, out: &mut Vec<Effect>) -> Decision {
        self.step = Step::Listing;
        self.tries = 0;
        out.push(Effect::List { delay: LISTING_AGE_MAX });
        Decision::Open
    }

    fn read_back(&mut self, seen: bool, out: &mut Vec<Effect>) -> Decision {
        self.step = Step::ReadingBack { seen };
        out.push(Effect::Read { number: self.number, delay: Duration::ZERO });
        Decision::Open
    }
}

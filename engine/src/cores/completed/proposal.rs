//! Deciding one slot: from the create to the certainty that it is ours, somebody else's, or nobody's by us.
//!
//! The steps are those of [`super`]'s head. A proposal never waits for ever by itself: it asks again as long as
//! storage does not answer, and says what became of it as soon as storage does.

use super::Effect;
use crate::cores::backoff::backoff;
use crate::door::StorageError;
use crate::error::Error;
use crate::persist::slot::{self, Slot};
use bytes::Bytes;
use std::time::Duration;

/// Definite failures in a row after which a proposal counts as not added.
pub(super) const CREATE_TRIES: u32 = 5;

/// One slot being decided.
#[derive(Debug)]
pub(super) struct Proposal {
    pub number: u64,
    pub slot: Slot,
    /// Whether some try may have landed or may land yet.
    pub may_land: bool,
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
    Verifying,
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
    pub fn new(number: u64, slot: Slot, out: &mut Vec<Effect>) -> Self {
        let mut proposal = Self { number, slot, may_land: false, tries: 0, step: Step::Creating };
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

    pub fn on_read(&mut self, number: u64, reply: Result<Bytes, StorageError>, out: &mut Vec<Effect>) -> Decision {
        let Step::ReadingBack { seen } = self.step else { panic!("no slot was being read back") };
        assert_eq!(number, self.number, "the reply fits the request");
        match reply {
            Ok(bytes) => match Slot::decode(&slot::path(number), &bytes) {
                Ok(found) if found.token == self.slot.token => {
                    assert_eq!(found, self.slot, "one token, one slot");
                    self.verify(out)
                }
                Ok(_) => Decision::Theirs,
                Err(error) => Decision::Broken(error),
            },
            // It was there and is gone: only the floor of somebody newer can have removed it.
            Err(StorageError::NotFound(_)) if seen => Decision::Theirs,
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

    pub fn on_listed(&mut self, reply: Result<Vec<u64>, StorageError>, out: &mut Vec<Effect>) -> Decision {
        assert_eq!(self.step, Step::Verifying, "a listing was asked for");
        let path = slot::path(self.number);
        match reply.map(|numbers| numbers.into_iter().max()) {
            Ok(Some(top)) if top > self.number => Decision::Theirs,
            Ok(Some(top)) if top == self.number => Decision::Ours,
            Ok(_) => Decision::Broken(Error::corrupt(format!(
                "{path} was created but is not listed: this storage cannot hold the log of completed checkpoints"
            ))),
            Err(StorageError::Fenced) => Decision::Broken(StorageError::Fenced.into()),
            Err(_) => {
                self.tries += 1;
                out.push(Effect::List { delay: backoff(self.tries) });
                Decision::Open
            }
        }
    }

    fn verify(&mut self, out: &mut Vec<Effect>) -> Decision {
        self.step = Step::Verifying;
        self.tries = 0;
        out.push(Effect::List { delay: Duration::ZERO });
        Decision::Open
    }

    fn read_back(&mut self, seen: bool, out: &mut Vec<Effect>) -> Decision {
        self.step = Step::ReadingBack { seen };
        out.push(Effect::Read { number: self.number, delay: Duration::ZERO });
        Decision::Open
    }
}

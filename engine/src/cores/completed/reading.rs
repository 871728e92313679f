//! Reading the log of slots: from its top down to its floor, all of it or not at all.
//!
//! The listing is a hint, for it may be out of date: what was created since is found by reading on above its top, and
//! what was deleted since is not there when it is read. A slot can disappear only because a newer leader raised the
//! floor, and then the log has a higher top: so when a slot is missing the log is listed again, and read afresh once
//! the listing shows that it has grown. If it never does, the slot is simply lost, and that is an error, never a
//! shorter log.
//!
//! What is found may be no part of the log either, because late creates of deposed coordinators succeed on the numbers of
//! deleted slots, and an old listing leads there:
//! ```text
//! reader: listed, top 2 ....................................... read 3 → g2, 4 → g1, 5, …, 9 → g3, floor 8
//! g3:     ................ Create(9) floor 8, delete 1, …, 7
//! late:   ................................... 4 by g1, 3 by g2
//! ```
//! Such copies lie below the floor of the day, which the newest slot names. So what is below the floor of what was read
//! is dropped, whatever it says. That leaves the log, if its top was read; if not, all of it may be copies. To claim
//! the next slot it need not be known, for a claim proves itself. Whatever ends the recovery (slots that contradict each
//! other, a job that is over, another job's log) is only believed once the reading is *settled*: a listing of an instant
//! after the last read shows nothing above. Then nothing that was kept had been free when it was read.

use super::{Effect, READ_TRIES, floor};
use crate::cores::backoff::backoff;
use crate::door::{LISTING_AGE_MAX, StorageError};
use crate::error::Error;
use crate::persist::layout;
use crate::persist::slot::{Slot, SlotRecord};
use crate::reason::Ended;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// Listings after which a missing entry of the log is lost. One that was made [`LISTING_AGE_MAX`] after the read would be
/// enough. Reason for a number of its own: a person waits for this, so it takes seconds, not a minute.
pub(super) const MISSING_TRIES: u32 = 8;

/// A reading under way.
#[derive(Debug)]
pub(super) struct Reading {
    step: Step,
    /// The highest slot that the listing showed.
    top: u64,
    slots: BTreeMap<u64, Slot>,
    /// Failed requests in a row.
    tries: u32,
    /// Whether the slots are known to be the log, not only what was found.
    settled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Which slots are there? If `missing`, it was not found although the floor does not allow that.
    Listing { missing: Option<u64> },
    /// Is there one above all that we know?
    Probing(u64),
    /// Towards the floor.
    Descending(u64),
    /// All is read. Has the log grown since?
    Settling,
}

/// What a reply led to.
pub(super) enum Progress {
    Ask(Effect),
    Done(BTreeMap<u64, Slot>),
    Broken(Error),
}

impl Reading {
    /// A reading that waits for the listing.
    pub fn new() -> Self {
        Self { step: Step::Listing { missing: None }, top: 0, slots: BTreeMap::new(), tries: 0, settled: false }
    }

    /// Whether what was read is known to have been the log, at an instant after it was read.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Something ends the recovery if what was read is the log: makes sure, and reads again if it is not.
    pub fn settle(&mut self) -> Effect {
        assert!(!self.settled, "it is settled once");
        self.tries = 0;
        self.step = Step::Settling;
        Effect::List { delay: LISTING_AGE_MAX }
    }

    pub fn on_listed(&mut self, reply: Result<Vec<u64>, StorageError>) -> Progress {
        let (missing, wait) = match self.step {
            Step::Listing { missing } => (missing, Duration::ZERO),
            Step::Settling => (None, LISTING_AGE_MAX),
            Step::Probing(_) | Step::Descending(_) => panic!("no listing was asked for"),
        };
        let top = match reply {
            Ok(numbers) => numbers.into_iter().max().unwrap_or(0),
            Err(error) => return self.again(layout::LOG, error, |delay| Effect::List { delay: wait + delay }),
        };
        if self.step == Step::Settling && top <= self.known_top() {
            self.settled = true;
            return self.done();
        }
        if let Some(missing) = missing
            && top <= self.known_top()
        {
            self.tries += 1;
            if self.tries < MISSING_TRIES {
                return Progress::Ask(Effect::List { delay: backoff(self.tries) });
            }
            let path = layout::log_entry(missing);
            let floor = floor(&self.slots);
            return Progress::Broken(Error::corrupt(format!("{path} is missing; the log counts from slot {floor} on")));
        }
        self.slots.clear();
        self.top = top;
        self.step = Step::Probing(top + 1);
        self.ask(top + 1)
    }

    pub fn on_read(&mut self, number: u64, reply: Result<Bytes, StorageError>) -> Progress {
        let path = layout::log_entry(number);
        let found = match reply {
            Ok(bytes) => match Slot::decode(&path, &bytes) {
                Ok(slot) => Some(slot),
                Err(error) => return Progress::Broken(error),
            },
            Err(StorageError::NotFound(_)) => None,
            Err(error) => return self.again(&path, error, |delay| Effect::Read { number, delay }),
        };
        match (self.step, found) {
            (Step::Probing(expected), Some(slot)) => {
                assert_eq!(expected, number, "the reply fits the request");
                self.slots.insert(number, slot);
                self.step = Step::Probing(number + 1);
                self.ask(number + 1)
            }
            (Step::Probing(expected), None) => {
                assert_eq!(expected, number, "the reply fits the request");
                self.descend(self.top)
            }
            (Step::Descending(expected), Some(slot)) => {
                assert_eq!(expected, number, "the reply fits the request");
                self.slots.insert(number, slot);
                self.descend(number - 1)
            }
            (Step::Descending(_), None) => {
                self.tries = 0;
                self.step = Step::Listing { missing: Some(number) };
                Progress::Ask(Effect::List { delay: Duration::ZERO })
            }
            (Step::Listing { .. } | Step::Settling, _) => panic!("no read was asked for"),
        }
    }

    fn known_top(&self) -> u64 {
        self.slots.last_key_value().map_or(0, |(number, _)| *number).max(self.top)
    }

    fn ask(&mut self, number: u64) -> Progress {
        self.tries = 0;
        Progress::Ask(Effect::Read { number, delay: Duration::ZERO })
    }

    fn descend(&mut self, next: u64) -> Progress {
        if next >= floor(&self.slots) {
            self.step = Step::Descending(next);
            return self.ask(next);
        }
        let floor = floor(&self.slots).min(self.known_top());
        self.slots.retain(|number, _| *number >= floor);
        self.done()
    }

    fn done(&mut self) -> Progress {
        match check(&self.slots) {
            Ok(()) => Progress::Done(self.slots.clone()),
            Err(error) if self.settled => Progress::Broken(error),
            Err(_) => Progress::Ask(self.settle()),
        }
    }

    fn again(&mut self, path: &str, error: StorageError, ask: impl FnOnce(Duration) -> Effect) -> Progress {
        self.tries += 1;
        if error == StorageError::Fenced || self.tries >= READ_TRIES {
            return Progress::Broken(Error::from(error).while_doing(format_args!("cannot read {path}")));
        }
        Progress::Ask(ask(backoff(self.tries)))
    }
}

/// Whether the slots can have been written by coordinators that follow the rules.
fn check(slots: &BTreeMap<u64, Slot>) -> Result<(), Error> {
    let mut newest_checkpoint = None;
    let mut before: Option<&Slot> = None;
    for (number, slot) in slots {
        let path = layout::log_entry(*number);
        let broken = |what: String| Err(Error::corrupt(format!("{path} does not fit the slots before it: {what}")));
        if let Some(before) = before {
            if slot.generation < before.generation {
                return broken(format!("generation {} after {}", slot.generation, before.generation));
            }
            if slot.ids_reserved < before.ids_reserved {
                return broken(format!("{} reserved after {}", slot.ids_reserved, before.ids_reserved));
            }
            if (slot.log, slot.lineage) != (before.log, before.lineage) {
                return broken(format!("it belongs to log {}, they to {}", slot.log, before.log));
            }
            if slot.job != before.job {
                return broken(format!("it belongs to {}, they to {}", slot.job, before.job));
            }
            match &before.record {
                SlotRecord::Ended { how: Ended::Finished { checkpoint }, .. } => {
                    return broken(format!("the job had finished with {checkpoint}"));
                }
                SlotRecord::Ended { .. } if slot.record != SlotRecord::NewGeneration => {
                    return broken("the job was over, and nobody has submitted it again".to_owned());
                }
                SlotRecord::Ended { .. }
                | SlotRecord::NewGeneration
                | SlotRecord::IdsReserved
                | SlotRecord::Completed { .. } => {}
            }
        }
        if slot.record.floor().is_some_and(|floor| floor > *number) {
            return broken("its floor lies above it".to_owned());
        }
        if let SlotRecord::Completed { checkpoint, .. } = slot.record {
            if newest_checkpoint.is_some_and(|newest| newest >= checkpoint) {
                return broken(format!("{checkpoint} is not newer than the one before"));
            }
            newest_checkpoint = Some(checkpoint);
        }
        before = Some(slot);
    }
    Ok(())
}

//! A leader asks storage whether it still leads.
//!
//! No slot above its top, and then its top is still there: so no process took over before the first of these reads. If
//! a copy of the top may land late, that it is there proves nothing, and a listing has to show it as the top. A top
//! that is gone without anything above it is lost.

use super::{CONFIRM_TRIES, Completed, Effect, Stage};
use crate::cores::backoff::backoff;
use crate::door::{LISTING_AGE_MAX, StorageError};
use crate::error::Error;
use crate::persist::layout;
use crate::persist::slot::{Slot, SlotRecord};
use bytes::Bytes;
use std::time::Duration;

/// What a leader asks storage when it does not know whether it still leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Question {
    /// Is there a slot above our top?
    Above,
    /// Is our top still there?
    Top,
    /// Is our top the highest that is listed?
    Listed,
    /// Our top is gone. Is there a slot above it?
    Gone,
}

/// What an answer to a [`Question`] means.
pub(super) enum Answer {
    Next(Question),
    Leading,
    Deposed,
    Fenced,
    /// The log was deleted.
    Lost,
    /// Nothing was learned.
    Nothing,
}

impl Completed {
    pub(super) fn ask(&self, question: Question, delay: Duration, out: &mut Vec<Effect>) {
        let next = self.next_number();
        out.push(match question {
            Question::Above => Effect::Read { number: next, delay },
            Question::Top => Effect::Read { number: next - 1, delay },
            Question::Listed | Question::Gone => Effect::List { delay: LISTING_AGE_MAX + delay },
        });
    }

    /// What a slot that was read says about whether we lead.
    pub(super) fn hear_slot(&self, step: Question, number: u64, reply: Result<Bytes, StorageError>) -> Answer {
        let (top, slot) = self.log.last_key_value().expect("a leader's log has its claim");
        match (step, reply) {
            (_, Err(StorageError::Fenced)) => Answer::Fenced,
            (_, Err(StorageError::Failed(_) | StorageError::Unknown(_) | StorageError::Exists(_))) => Answer::Nothing,
            (Question::Above, reply) => {
                assert_eq!(number, top + 1, "the reply fits the request");
                if reply.is_ok() { Answer::Deposed } else { Answer::Next(Question::Top) }
            }
            // If a newer leader freed it, and the one above as well, there is one above both.
            (Question::Top, Err(StorageError::NotFound(_))) => Answer::Next(Question::Gone),
            (Question::Top, Ok(bytes)) => {
                assert_eq!(number, *top, "the reply fits the request");
                match Slot::decode(&layout::log_entry(number), &bytes) {
                    Ok(found) if found.token == slot.token && self.doubtful => Answer::Next(Question::Listed),
                    Ok(found) if found.token == slot.token => Answer::Leading,
                    Ok(_) => Answer::Deposed,
                    Err(_) => Answer::Nothing,
                }
            }
            (Question::Listed | Question::Gone, _) => panic!("no read was asked for"),
        }
    }

    pub(super) fn hear_listing(&self, step: Question, reply: Result<Vec<u64>, StorageError>) -> Answer {
        assert!(matches!(step, Question::Listed | Question::Gone), "a listing was asked for");
        let next = self.next_number();
        assert!(next > 1, "a leader's log has its claim");
        match reply {
            Ok(numbers) if numbers.iter().any(|number| *number >= next) => Answer::Deposed,
            Ok(_) if step == Question::Gone => Answer::Lost,
            Ok(numbers) if numbers.contains(&(next - 1)) => Answer::Leading,
            Err(StorageError::Fenced) => Answer::Fenced,
            // Out of date, or failed.
            Ok(_) | Err(_) => Answer::Nothing,
        }
    }

    pub(super) fn confirming(
        &mut self,
        tries: u32,
        step: Question,
        then: Option<(u64, SlotRecord)>,
        answer: Answer,
        out: &mut Vec<Effect>,
    ) {
        let tries = if let Answer::Nothing = answer { tries + 1 } else { tries };
        match answer {
            Answer::Deposed => return out.push(Effect::StepDown),
            Answer::Fenced => return out.push(Effect::Fail { error: StorageError::Fenced.into() }),
            Answer::Lost => return out.push(Effect::Fail { error: lost(self.next_number() - 1) }),
            Answer::Next(step) => {
                self.stage = Stage::Confirming { tries, step, then };
                return self.ask(step, Duration::ZERO, out);
            }
            Answer::Nothing if tries < CONFIRM_TRIES => {
                self.stage = Stage::Confirming { tries, step, then };
                return self.ask(step, backoff(tries), out);
            }
            Answer::Leading => out.push(Effect::StillLeads),
            Answer::Nothing => out.push(Effect::Doubt),
        }
        self.stage = Stage::Leading;
        if let Some((token, record)) = then {
            self.propose(token, record, out);
        }
    }
}

/// A slot that counts is gone, and nothing above it says why: no coordinator has deleted it.
pub(super) fn lost(number: u64) -> Error {
    let path = layout::log_entry(number);
    Error::corrupt(format!("{path} is gone, and the log holds nothing newer: it was deleted while the job ran"))
}

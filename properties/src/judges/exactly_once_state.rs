//! Exactly-once state, the oracle: state after a restore is the effect of every record before the cut, each once.
//!
//! Source: design, section 6; Flink, *Fault Tolerance via State Snapshots*: "the effect of each event on the state is
//! exactly once". After every restore three must agree, subtask by subtask:
//!
//! 1. the live state, by the digest the subtask announces before its first element;
//! 2. the stored snapshot, by the offline reader;
//! 3. the witness ([`crate::witness`]), which re-executed the recorded order of elements through the same operators.
//!
//! The recorded order itself must be legal: first in first out on each channel, nothing consumed that was not sent,
//! no end of input in front of records, no source that reads past or stops short of its input. Digests are compared
//! earlier as well, at every upload and every ack, so that a wrong state is convicted where it arises.
//!
//! Does not check the operators themselves: a wrong sum is a wrong sum to the witness too. A reference of the output does, where
//! a case has one.

use crate::case::{Case, Property};
use crate::witness::EXACTLY_ONCE_STATE;

/// The property.
pub const PROPERTY: Property = Property {
    name: EXACTLY_ONCE_STATE,
    about: "after every restore the live, the stored and the re-executed state are the same",
    source: "design, section 6; Flink: Fault Tolerance via State Snapshots",
    judge: |case: &Case<'_>| case.account().state.clone(),
};

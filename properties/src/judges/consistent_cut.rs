//! Consistent cut: on every channel a checkpoint cuts producer and consumer behind the same record.
//!
//! Source: Chandy and Lamport, *Distributed Snapshots* (1985); Carbone et al., *Lightweight Asynchronous Snapshots*
//! (2015): with aligned barriers the channels of a snapshot are empty.
//!
//! For each checkpoint, attempt and channel: the records its producer had put on the channel before its snapshot are
//! as many as its consumer had taken before its own. Counted by the witness, not by the engine. Judged as soon as both
//! snapshots are taken, whether or not the checkpoint completes later.
//!
//! Does not check which records they are: re-execution does.

use crate::case::{Case, Property};
use crate::witness::CONSISTENT_CUT;

/// The property.
pub const PROPERTY: Property = Property {
    name: CONSISTENT_CUT,
    about: "a checkpoint cuts both ends of every channel behind the same record",
    source: "Chandy and Lamport 1985; Carbone et al. 2015",
    judge: |case: &Case<'_>| case.account().cut.clone(),
};

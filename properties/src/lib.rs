//! Cofferdam's properties: pure judges over the recorded history of a run.
//!
//! Reading order: [`history`] (what is recorded) → [`case`](mod@case) (what is judged) → [`ledger`] (what the world saw) →
//! [`witness`] (the run, re-executed) → [`judges`], one file per property. [`PROPERTIES`] is the table.
//!
//! *Invariant:* a judge is a pure function of the case; it decides nothing by time and nothing by chance.
//! *Invariant:* a judge shares no code with the protocol it judges: of the engine it uses the vocabulary, the
//! persisted formats, the offline reader and the operators, never cores or runtime.

pub mod case;
pub mod history;
pub mod judges;
pub mod ledger;
pub mod tally;
pub mod witness;

pub use case::{Case, HARNESS, Property, Reference, Violation};
pub use judges::PROPERTIES;
pub use tally::Tally;

/// Every property's first violation, in the order of [`PROPERTIES`]: exactly-once state first.
pub fn judge_all(case: &Case<'_>) -> Vec<Violation> {
    PROPERTIES.iter().filter_map(|property| (property.judge)(case)).collect()
}

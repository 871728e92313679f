//! Models of systems outside, for [`crate::check()`]: state machines that a job's sinks meet in place of the real ones.
//!
//! | model | stands for | asked by |
//! |---|---|---|
//! | [`Log`] | a partitioned log with transactions | [`cofferdam_engine::external::log::Producer`] |
//! | [`Table`] | a table whose writes are prepared and committed | [`cofferdam_engine::external::table::Table`] |
//!
//! A model of one's own implements [`Model`]. It must be a function of its requests: no clock, no randomness.

mod log;
mod table;

pub use cofferdam_properties::external::{Model, Models};
pub use log::Log;
pub use table::Table;

//! The guide, for whoever uses Cofferdam and whoever extends it: the pages of the folder `guide`. Their Rust is compiled and run as
//! documentation tests; `sim/tests/guide.rs` runs the rest.
//!
//! [`quick_start`] → [`write_a_job`] → [`test_a_job`] → [`read_a_failure`]; [`limits`] and [`how_it_works`] say what that is
//! worth, [`extend`] how to add a property, a fault or a planted bug.
//!
//! Exists in documentation only, so that nothing else needs the folder.

#[doc = include_str!("../../guide/quick-start.md")]
pub mod quick_start {}

#[doc = include_str!("../../guide/write-a-job.md")]
pub mod write_a_job {}

#[doc = include_str!("../../guide/test-a-job.md")]
pub mod test_a_job {}

#[doc = include_str!("../../guide/read-a-failure.md")]
pub mod read_a_failure {}

#[doc = include_str!("../../guide/limits.md")]
pub mod limits {}

#[doc = include_str!("../../guide/how-it-works.md")]
pub mod how_it_works {}

#[doc = include_str!("../../guide/extend.md")]
pub mod extend {}

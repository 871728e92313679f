//! One file a property. The table is [`PROPERTIES`]; its order is the order of judgement.

pub mod consistent_cut;
pub mod exactly_once_state;
pub mod ids_monotonic;

use crate::case::Property;

/// Every property.
pub const PROPERTIES: &[Property] = &[exactly_once_state::PROPERTY, consistent_cut::PROPERTY, ids_monotonic::PROPERTY];

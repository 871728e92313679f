//! One file a property. The table is [`PROPERTIES`]; its order is the order of judgement.

pub mod ids_monotonic;

use crate::case::Property;

/// Every property.
pub const PROPERTIES: &[Property] = &[ids_monotonic::PROPERTY];

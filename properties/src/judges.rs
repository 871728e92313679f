//! One file a property. The table is [`PROPERTIES`]; its order is the order of judgement: the oracle, then
//! causes before their consequences, so that one bug is convicted by one name.

pub mod aborts_are_final;
pub mod announced_implies_stored;
pub mod at_least_once;
pub mod barrier_alignment;
pub mod bounded_statistics;
pub mod checkpoint_policy;
pub mod clean_failure;
pub mod client_answers;
pub mod completed_is_restorable;
pub mod consistent_cut;
pub mod exactly_once_output;
pub mod exactly_once_state;
pub mod external_output;
pub mod ids_monotonic;
pub mod input_as_listed;
pub mod members_only;
pub mod no_orphans;
pub mod one_live_owner;
pub mod one_outcome;
pub mod progress_after_healing;
pub mod restart_policy;
pub mod restore_uses_latest;
pub mod retention;
pub mod rogue_reports;
pub mod unknown_outcome;
pub mod visible_belongs_to_log;

use crate::case::Property;

/// Every property.
pub const PROPERTIES: &[Property] = &[
    exactly_once_state::PROPERTY,
    barrier_alignment::PROPERTY,
    aborts_are_final::PROPERTY,
    consistent_cut::PROPERTY,
    at_least_once::PROPERTY,
    one_live_owner::PROPERTY,
    ids_monotonic::PROPERTY,
    checkpoint_policy::PROPERTY,
    bounded_statistics::PROPERTY,
    rogue_reports::PROPERTY,
    announced_implies_stored::PROPERTY,
    unknown_outcome::PROPERTY,
    one_outcome::PROPERTY,
    completed_is_restorable::PROPERTY,
    retention::PROPERTY,
    members_only::PROPERTY,
    client_answers::PROPERTY,
    clean_failure::PROPERTY,
    restart_policy::PROPERTY,
    restore_uses_latest::PROPERTY,
    input_as_listed::PROPERTY,
    exactly_once_output::PROPERTY,
    external_output::PROPERTY,
    visible_belongs_to_log::PROPERTY,
    no_orphans::PROPERTY,
    progress_after_healing::PROPERTY,
];

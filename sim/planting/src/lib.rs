//! Edits of source text that name an item, not a file: where they apply, and the source with them.
//!
//! 1. [`workspace`] parses the crates and lists their items by path.
//! 2. [`place`] resolves an edit: the item, the match arm if one is named, the text.
//! 3. [`plant`] writes the edited files. An edit inside a function becomes a switch that is asked at run time, so that
//!    one build serves many edits; an edit of anything else gets a build of its own.
//!
//! Reason for a crate of its own: it parses with `syn`. A hunt never needs it and does not compile it;
//! `cofferdam bugs` starts its program, and `cargo test` links it.
//!
//! Does not own: what the edits are for, and where the edited copy lies.

pub mod place;
pub mod plant;
pub mod workspace;

use serde::{Deserialize, Serialize};

/// One change to one item.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The path of a function, type, constant or macro: the last segments of `crate::module::Type::function`, as many
    /// as it takes until no other item has them. `<Type as Trait>::function` names a function of one implementation.
    #[serde(rename = "in")]
    pub item: String,
    /// How the pattern of the match arm begins that holds the text, if one arm is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
    /// Text that occurs there exactly once; white space does not count, and words are whole. Without it the edit
    /// replaces the whole arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find: Option<String>,
    /// What takes its place.
    pub replace: String,
}

/// What is planted under one name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bug {
    /// Its name, by which it is switched on.
    pub name: String,
    /// The changes.
    pub edits: Vec<Edit>,
}

impl Edit {
    /// Whether the edit makes sense, and if not why.
    pub fn validate(&self) -> Result<(), String> {
        let blank = |text: &Option<String>| text.as_ref().is_some_and(|text| text.trim().is_empty());
        match () {
            () if self.item.trim().is_empty() => Err("`in` names no item".to_owned()),
            () if blank(&self.arm) || blank(&self.find) => Err("`arm` and `find` must not be empty".to_owned()),
            () if self.arm.is_none() && self.find.is_none() => Err("an edit needs `find`, `arm` or both".to_owned()),
            () if self.find.as_ref() == Some(&self.replace) => Err("an edit changes nothing".to_owned()),
            () => Ok(()),
        }
    }
}

//! What an operator under construction says about its state.
//!
//! Layouts are traced when the operator is made. A type that cannot be traced has no layout, and then its version, which
//! the author may still give, stands for it. Without either the build fails: a state whose bytes nothing describes would be
//! decoded as whatever its type has become.
//!
//! Positions of sources and committables of sinks belong to their connectors. They may be opaque without a version.

use crate::codec::Encoding;
use crate::layout::{Layout, Untraceable};
use crate::state::{CODEC, SectionKind, StateDescriptor};
use serde::de::DeserializeOwned;
use std::any::type_name;

/// A state of an operator under construction.
pub(super) struct DraftState {
    descriptor: StateDescriptor,
    /// Types without a layout: key or value, Rust's name, why.
    untraced: Vec<(&'static str, &'static str, Untraceable)>,
}

impl DraftState {
    /// Values of type `V`.
    pub fn of<V: DeserializeOwned>(name: &str, kind: SectionKind) -> Self {
        let mut draft = Self::fixed(name, kind, Layout::OPAQUE);
        draft.descriptor.value = draft.trace::<V>("value");
        draft.descriptor.value_type = type_name::<V>().into();
        draft
    }

    /// Values of type `V`, each with a key of type `K`.
    pub fn keyed<K: DeserializeOwned, V: DeserializeOwned>(name: &str) -> Self {
        let mut draft = Self::of::<V>(name, SectionKind::Keyed);
        draft.descriptor.key = Some(draft.trace::<K>("key"));
        draft.descriptor.key_type = type_name::<K>().into();
        draft
    }

    /// What a connector keeps.
    pub fn fixed(name: &str, kind: SectionKind, value: Layout) -> Self {
        let (key_type, value_type) = (String::new(), String::new());
        let (name, codec) = (name.into(), CODEC.into());
        let descriptor = StateDescriptor { name, kind, key_type, value_type, key: None, value, codec, version: None };
        Self { descriptor, untraced: Vec::new() }
    }

    fn trace<T: DeserializeOwned>(&mut self, part: &'static str) -> Layout {
        Layout::of::<T>().unwrap_or_else(|why| {
            self.untraced.push((part, type_name::<T>(), why));
            Layout::OPAQUE
        })
    }

    /// How keys are encoded, if there are any, and how values are.
    pub fn encodings(&self) -> (Encoding, Encoding) {
        let StateDescriptor { key, value, .. } = &self.descriptor;
        (key.as_ref().map_or(Encoding::Plain, Encoding::of), Encoding::of(value))
    }

    /// What a manifest will say about it, or why it cannot be kept.
    pub fn finish(self, uid: &str, version: Option<u32>) -> Result<StateDescriptor, String> {
        let Self { descriptor, untraced } = self;
        for (part, name, why) in untraced {
            let what = format!("state {:?} of operator {uid:?}: the {part} type {name}", descriptor.name);
            match why {
                Untraceable::Undecodable(why) => {
                    return Err(format!("{what} cannot be restored from its bytes: {why}"));
                }
                Untraceable::Unknown(why) if version.is_none() => {
                    return Err(format!(
                        "{what} has a layout that cannot be traced ({why}): give it a version with .state_version(1), and \
                         another one each time the type changes"
                    ));
                }
                Untraceable::Unknown(_) => {}
            }
        }
        Ok(StateDescriptor { version, ..descriptor })
    }
}

//! State as the checkpoint sees it: typed sections, a copy-on-write view that yields them page by page, and the
//! canonical digest that live state, stored state and re-executed state are compared by.

pub mod backend;
pub mod memory;

use crate::ids::KeyGroup;
use crate::layout::Layout;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// What a section holds. New kinds (timers, in-flight data) are added at the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum SectionKind {
    /// Entries of a keyed state, of one key group.
    Keyed,
    /// A reader's splits and positions.
    Source,
    /// A sink's committables that are staged but not yet known to be committed.
    Sink,
    /// The one value of an operator whose state belongs to the subtask.
    Operator,
}

/// A piece of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Section {
    /// What it holds.
    pub kind: SectionKind,
    /// The state's name within the operator.
    pub name: String,
    /// The key group, for keyed state.
    pub group: Option<KeyGroup>,
    /// The content. Keyed: [`encode_entries`]. Equal state has equal bytes.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// A snapshot that is encoded while the subtask goes on.
pub trait Pages: Send {
    /// Encodes the next section; `None` after the last. Sections come in a fixed order.
    fn next_page(&mut self) -> Option<Section>;
}

impl Pages for std::vec::IntoIter<Section> {
    fn next_page(&mut self) -> Option<Section> {
        self.next()
    }
}

/// What a manifest says about a state.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct StateDescriptor {
    /// Its name within the operator.
    pub name: String,
    /// Its kind.
    pub kind: SectionKind,
    /// Rust's name of the key type, empty if it has none. For people: a type may move to another module.
    pub key_type: String,
    /// Rust's name of the value type, for people.
    pub value_type: String,
    /// What the bytes of a key consist of, if it has keys.
    pub key: Option<Layout>,
    /// What the bytes of a value consist of.
    pub value: Layout,
    /// How keys and values are encoded.
    pub codec: String,
    /// The version that the author of the job gives to what the operator keeps, if any.
    pub version: Option<u32>,
}

/// The codec of everything so far.
pub const CODEC: &str = "bincode-1-fixint";

/// The canonical bytes of key/value entries: sorted by key bytes, each as length, key, length, value (lengths 32-bit
/// little-endian).
pub fn encode_entries(mut entries: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    entries.sort_unstable();
    let mut bytes = Vec::with_capacity(entries.iter().map(|(k, v)| k.len() + v.len() + 8).sum());
    for (key, value) in &entries {
        for part in [key, value] {
            let length = u32::try_from(part.len()).expect("a key or value is below 4 GiB");
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(part);
        }
    }
    bytes
}

/// The entries of [`encode_entries`], or `None` if the bytes are not such.
pub fn decode_entries(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        *bytes = rest;
        Some(part)
    }
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let key = part(&mut bytes)?;
        entries.push((key, part(&mut bytes)?));
    }
    Some(entries)
}

/// Accumulates the canonical digest of sections. Half a kilobyte, and so in a box: an upload moves it several times.
pub struct Digest(Box<Xxh3>);

impl Default for Digest {
    fn default() -> Self {
        Self(Box::new(Xxh3::new()))
    }
}

impl Digest {
    /// Adds the next section.
    pub fn add(&mut self, section: &Section) {
        self.0.update(&[section.kind as u8]);
        self.0.update(&(section.name.len() as u64).to_le_bytes());
        self.0.update(section.name.as_bytes());
        self.0.update(&section.group.map_or(u32::MAX, |g| u32::from(g.0)).to_le_bytes());
        self.0.update(&(section.bytes.len() as u64).to_le_bytes());
        self.0.update(&section.bytes);
    }

    /// The digest of everything added.
    pub fn finish(&self) -> u64 {
        self.0.digest()
    }
}

/// The canonical digest of sections, in their order.
pub fn digest<'a>(sections: impl IntoIterator<Item = &'a Section>) -> u64 {
    let mut digest = Digest::default();
    sections.into_iter().for_each(|section| digest.add(section));
    digest.finish()
}

/// Every section of a view.
pub fn collect(mut pages: Box<dyn Pages>) -> Vec<Section> {
    std::iter::from_fn(|| pages.next_page()).collect()
}

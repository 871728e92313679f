//! Keyed state in memory, with copy-on-write snapshots.
//!
//! Every owned key group is a power-of-two number of *pages*, each a hash table of at most [`PAGE_ENTRIES_MAX`] entries.
//!
//! 1. A page is *owned* (changed in place, no reference count on the hot path) or *shared* with snapshots.
//! 2. `snapshot` makes every page shared and clones the references: O(pages), no entry is touched.
//! 3. The first change of a shared page makes it owned again: by copying it, or for free if no snapshot holds it any
//!    more. A group is encoded, and its pages let go, while records flow: so a page is copied only when it is changed
//!    between its snapshot and its encoding.
//! 4. A page that grows too large doubles the number of pages of its group.
//!
//! One stable hash serves all: its high half chooses the group, bits 16 to 31 the page, the low bits the bucket.
//!
//! Invariants: a group's pages are a power of two; an entry lies in the page and group of its hash; entries have a value.
//! Does not handle: state larger than memory, incremental snapshots.

use super::backend::{Key, KeyedBackend, Ownership, Value};
use super::{Pages, Section, SectionKind, decode_entries};
use crate::codec::{self, Encoding};
use crate::error::{Error, Result};
use crate::hash::{key_group, stable_hash};
use crate::ids::KeyGroup;
use hashbrown::HashTable;
use std::sync::Arc;

/// More entries than this split a page: few enough that a copy goes unnoticed, many enough that references are few.
pub const PAGE_ENTRIES_MAX: usize = 512;

/// Doublings that the page bits of a hash allow; beyond, pages just grow.
const PAGE_BITS_MAX: u32 = 16;

/// An entry. `None` only while an update runs.
#[derive(Clone)]
struct Entry<K, V> {
    key: K,
    value: Option<V>,
}

type Table<K, V> = HashTable<Entry<K, V>>;

/// A page of a group.
enum Page<K, V> {
    Owned(Table<K, V>),
    Shared(Arc<Table<K, V>>),
}

impl<K: Key, V: Value> Page<K, V> {
    fn table(&self) -> &Table<K, V> {
        match self {
            Self::Owned(table) => table,
            Self::Shared(table) => table,
        }
    }

    /// The table, for changing it.
    #[inline]
    fn own(&mut self) -> &mut Table<K, V> {
        if let Self::Shared(_) = self {
            self.copy();
        }
        match self {
            Self::Owned(table) => table,
            Self::Shared(_) => unreachable!("copied above"),
        }
    }

    #[cold]
    fn copy(&mut self) {
        let page = std::mem::replace(self, Self::Owned(Table::new()));
        *self = Self::Owned(page.into_table());
    }

    fn into_table(self) -> Table<K, V> {
        match self {
            Self::Owned(table) => table,
            Self::Shared(table) => Arc::unwrap_or_clone(table),
        }
    }

    /// Shares the table with a snapshot.
    fn share(&mut self) -> Arc<Table<K, V>> {
        let shared = match std::mem::replace(self, Self::Owned(Table::new())) {
            Self::Owned(table) => Arc::new(table),
            Self::Shared(table) => table,
        };
        *self = Self::Shared(shared.clone());
        shared
    }
}

/// The pages of a key group.
struct Group<K, V> {
    pages: Vec<Page<K, V>>,
}

impl<K: Key, V: Value> Group<K, V> {
    fn new() -> Self {
        Self { pages: vec![Page::Owned(Table::new())] }
    }

    #[inline]
    fn page_of(&self, hash: u64) -> usize {
        (hash >> 16) as usize & (self.pages.len() - 1)
    }

    #[inline]
    fn update<R>(
        &mut self,
        hash: u64,
        key: K,
        page_entries_max: usize,
        change: impl FnOnce(&K, &mut Option<V>) -> R,
    ) -> R {
        let page = self.page_of(hash);
        let table = self.pages[page].own();
        if let Some(entry) = table.find_mut(hash, |entry| entry.key == key) {
            let result = change(&entry.key, &mut entry.value);
            if entry.value.is_none() {
                let entry = table.find_entry(hash, |entry| entry.key == key);
                entry.unwrap_or_else(|_| unreachable!("found a moment ago")).remove();
            }
            return result;
        }
        let mut value = None;
        let result = change(&key, &mut value);
        if value.is_some() {
            table.insert_unique(hash, Entry { key, value }, |entry| stable_hash(&entry.key));
            if table.len() > page_entries_max && self.pages.len() < 1 << PAGE_BITS_MAX {
                self.split();
            }
        }
        result
    }

    /// Doubles the number of pages.
    #[cold]
    fn split(&mut self) {
        let half = self.pages.len();
        self.pages.extend((0..half).map(|_| Page::Owned(Table::new())));
        for low in 0..half {
            let page = std::mem::replace(&mut self.pages[low], Page::Owned(Table::new()));
            for entry in page.into_table() {
                let hash = stable_hash(&entry.key);
                let page = self.page_of(hash);
                assert!(page == low || page == low + half, "a page splits into itself and its sibling");
                self.pages[page].own().insert_unique(hash, entry, |entry| stable_hash(&entry.key));
            }
        }
        assert!(self.pages.len().is_power_of_two(), "pages are chosen by a mask");
    }
}

/// Keyed state of one subtask.
pub struct MemoryBackend<K, V> {
    name: String,
    ownership: Ownership,
    page_entries_max: usize,
    groups: Vec<Group<K, V>>,
    encodings: Encodings,
}

/// How entries are encoded.
#[derive(Clone, Copy)]
struct Encodings {
    keys: Encoding,
    values: Encoding,
}

impl<K: Key, V: Value> MemoryBackend<K, V> {
    /// Empty state called `name`.
    pub fn new(name: &str, ownership: Ownership) -> Self {
        Self::with_pages(name, ownership, PAGE_ENTRIES_MAX)
    }

    /// The same with pages of another size, for tests and measurements. No snapshot depends on it.
    pub fn with_pages(name: &str, ownership: Ownership, page_entries_max: usize) -> Self {
        assert!(page_entries_max >= 1, "a page holds an entry");
        let groups = (0..ownership.count).map(|_| Group::new()).collect();
        let encodings = Encodings { keys: Encoding::Canonical, values: Encoding::Canonical };
        Self { name: name.into(), ownership, page_entries_max, groups, encodings }
    }

    /// The same with encodings that suit the types; canonical otherwise.
    pub fn encoded(self, keys: Encoding, values: Encoding) -> Self {
        Self { encodings: Encodings { keys, values }, ..self }
    }

    /// How many keys have a value.
    pub fn len(&self) -> usize {
        self.tables().map(HashTable::len).sum()
    }

    /// Whether no key has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn tables(&self) -> impl Iterator<Item = &Table<K, V>> {
        self.groups.iter().flat_map(|group| &group.pages).map(Page::table)
    }

    fn restore_group(&mut self, group: KeyGroup, section: &Section) -> Result<()> {
        let bad = |what: &str| Error::corrupt(format!("state {:?} of {group}: {what}", self.name));
        let max_parallelism = self.ownership.max_parallelism;
        let Some(position) = self.ownership.position(group) else {
            return Err(bad("this subtask does not own the key group"));
        };
        let entries = decode_entries(&section.bytes).ok_or_else(|| bad("the entries are cut off"))?;
        for (key, value) in entries {
            let key: K = codec::decode(key).map_err(|e| bad(&format!("a key cannot be decoded: {e}")))?;
            let value: V = codec::decode(value).map_err(|e| bad(&format!("a value cannot be decoded: {e}")))?;
            let hash = stable_hash(&key);
            if key_group(hash, max_parallelism) != group {
                return Err(bad(&format!("a key belongs to {}", key_group(hash, max_parallelism))));
            }
            let most = self.page_entries_max;
            let before = self.groups[position].update(hash, key, most, |_, slot| slot.replace(value));
            if before.is_some() {
                return Err(bad("a key appears twice"));
            }
        }
        Ok(())
    }
}

impl<K: Key, V: Value> KeyedBackend<K, V> for MemoryBackend<K, V> {
    #[inline]
    fn update<R>(&mut self, hash: u64, key: K, change: impl FnOnce(&K, &mut Option<V>) -> R) -> R {
        debug_assert_eq!(hash, stable_hash(&key), "the hash is the key's");
        let group = key_group(hash, self.ownership.max_parallelism);
        let Some(position) = self.ownership.position(group) else {
            panic!("a record of {group} came to a subtask that owns {:?}", self.ownership);
        };
        self.groups[position].update(hash, key, self.page_entries_max, change)
    }

    fn visit_sorted(&self, visit: &mut impl FnMut(&K, &V)) {
        let mut entries: Vec<(Vec<u8>, &Entry<K, V>)> =
            self.tables().flatten().map(|entry| (self.encodings.keys.encode(&entry.key), entry)).collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (_, entry) in entries {
            visit(&entry.key, entry.value.as_ref().expect("entries have a value"));
        }
    }

    fn snapshot(&mut self) -> Box<dyn Pages> {
        let mut groups = Vec::new();
        for (position, group) in self.groups.iter_mut().enumerate() {
            let tables: Vec<_> =
                group.pages.iter_mut().filter(|page| !page.table().is_empty()).map(Page::share).collect();
            if !tables.is_empty() {
                groups.push((KeyGroup(self.ownership.first.0 + position as u16), tables));
            }
        }
        Box::new(MemoryPages {
            name: self.name.clone(),
            groups: groups.into_iter(),
            encodings: self.encodings,
            arena: Vec::new(),
            spans: Vec::new(),
        })
    }

    fn restore(&mut self, sections: &[Section]) -> Result<()> {
        assert!(self.is_empty(), "restored at most once, before any update");
        for section in sections.iter().filter(|section| section.kind == SectionKind::Keyed) {
            if section.name != self.name {
                let (theirs, ours) = (&section.name, &self.name);
                return Err(Error::give_up(format!(
                    "the checkpoint holds state {theirs:?}; the operator has only {ours:?}"
                )));
            }
            let Some(group) = section.group else {
                return Err(Error::corrupt(format!("state {:?}: a section names no key group", self.name)));
            };
            self.restore_group(group, section)?;
        }
        self.validate();
        Ok(())
    }

    fn validate(&self) {
        assert_eq!(self.groups.len(), usize::from(self.ownership.count), "one group for each owned one");
    }
}

/// The pages of a key group, shared with a snapshot.
type SharedGroup<K, V> = (KeyGroup, Vec<Arc<Table<K, V>>>);

/// The shared pages of one snapshot.
struct MemoryPages<K, V> {
    name: String,
    groups: std::vec::IntoIter<SharedGroup<K, V>>,
    encodings: Encodings,
    /// The entries of the page that is being encoded, in the order of their tables.
    arena: Vec<u8>,
    /// Where each of them begins, where its key ends, and where it ends.
    spans: Vec<(usize, usize, usize)>,
}

impl<K: Key, V: Value> Pages for MemoryPages<K, V> {
    fn next_page(&mut self) -> Option<Section> {
        let (group, tables) = self.groups.next()?;
        let bytes = self.encode(&tables);
        assert!(!bytes.is_empty(), "empty groups are omitted");
        Some(Section { kind: SectionKind::Keyed, name: self.name.clone(), group: Some(group), bytes })
    }
}

impl<K: Key, V: Value> MemoryPages<K, V> {
    /// What [`super::encode_entries`] would say of a group, without an allocation for each key and value.
    fn encode(&mut self, tables: &[Arc<Table<K, V>>]) -> Vec<u8> {
        let (arena, spans) = (&mut self.arena, &mut self.spans);
        arena.clear();
        spans.clear();
        spans.reserve(tables.iter().map(|table| table.len()).sum());
        for entry in tables.iter().flat_map(|table| table.iter()) {
            let start = arena.len();
            let key_end = append_part(arena, &entry.key, self.encodings.keys);
            append_part(arena, entry.value.as_ref().expect("entries have a value"), self.encodings.values);
            spans.push((start, key_end, arena.len()));
        }
        // Keys are distinct, so values never decide.
        spans.sort_unstable_by(|a, b| arena[a.0 + 4..a.1].cmp(&arena[b.0 + 4..b.1]));
        let mut bytes = Vec::with_capacity(arena.len());
        for (start, _, end) in spans.iter() {
            bytes.extend_from_slice(&arena[*start..*end]);
        }
        bytes
    }
}

/// Appends length and bytes of a part, and says where it ends.
fn append_part<T: serde::Serialize>(arena: &mut Vec<u8>, part: &T, encoding: Encoding) -> usize {
    let start = arena.len();
    arena.extend_from_slice(&[0; 4]);
    encoding.append(part, arena);
    let length = u32::try_from(arena.len() - start - 4).expect("a key or value is below 4 GiB");
    arena[start..start + 4].copy_from_slice(&length.to_le_bytes());
    arena.len()
}

#[cfg(test)]
mod tests;

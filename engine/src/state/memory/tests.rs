//! The memory backend against a plain map, with snapshots taken, kept and encoded at any time.

use super::*;
use crate::hash::owner_of;
use crate::state::{Digest, collect, encode_entries};
use proptest::prelude::*;
use std::collections::BTreeMap;

const ALL: Ownership = Ownership { first: KeyGroup(0), count: 8, max_parallelism: 8 };

fn bytes(value: &impl serde::Serialize) -> Vec<u8> {
    bincode::serialize(value).expect("it serialises")
}

fn set<V: Value>(backend: &mut MemoryBackend<u32, V>, key: u32, value: Option<V>) {
    backend.update(stable_hash(&key), key, |_, slot| *slot = value);
}

/// What a snapshot of `model` must be, from first principles.
fn expected(model: &BTreeMap<u32, String>) -> Vec<Section> {
    let mut groups: BTreeMap<KeyGroup, Vec<_>> = BTreeMap::new();
    for (key, value) in model {
        groups.entry(key_group(stable_hash(key), 8)).or_default().push((bytes(key), bytes(value)));
    }
    let section = |(group, entries)| Section {
        kind: SectionKind::Keyed,
        name: "value".into(),
        group: Some(group),
        bytes: encode_entries(entries),
    };
    groups.into_iter().map(section).collect()
}

#[derive(Clone, Debug)]
enum Action {
    Set(u32, String),
    Append(u32),
    Forget(u32),
    Snapshot,
    /// Encode a snapshot taken earlier.
    Encode(prop::sample::Index),
    /// Throw one away.
    Drop(prop::sample::Index),
    /// Go on from a snapshot taken earlier.
    Restore(prop::sample::Index),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let key = || 0_u32..40;
    let action = prop_oneof![
        8 => (key(), "[a-z]{0,4}").prop_map(|(key, value)| Action::Set(key, value)),
        8 => key().prop_map(Action::Append),
        4 => key().prop_map(Action::Forget),
        2 => Just(Action::Snapshot),
        1 => any::<prop::sample::Index>().prop_map(Action::Encode),
        1 => any::<prop::sample::Index>().prop_map(Action::Drop),
        1 => any::<prop::sample::Index>().prop_map(Action::Restore),
    ];
    prop::collection::vec(action, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn snapshots_are_what_the_state_was_whatever_happens_later(actions in actions(), page_entries_max in 1_usize..4) {
        let mut backend = MemoryBackend::<u32, String>::with_pages("value", ALL, page_entries_max);
        let mut model = BTreeMap::new();
        let mut snapshots: Vec<(Box<dyn Pages>, BTreeMap<u32, String>)> = Vec::new();
        for action in actions {
            match action {
                Action::Set(key, value) => {
                    set(&mut backend, key, Some(value.clone()));
                    model.insert(key, value);
                }
                Action::Append(key) => {
                    let length = backend.update(stable_hash(&key), key, |_, slot| {
                        slot.get_or_insert_default().push('!');
                        slot.as_ref().map(String::len)
                    });
                    let value = model.entry(key).or_default();
                    value.push('!');
                    prop_assert_eq!(length, Some(value.len()));
                }
                Action::Forget(key) => {
                    let found = backend.update(stable_hash(&key), key, |_, slot| slot.take());
                    prop_assert_eq!(found, model.remove(&key));
                }
                Action::Snapshot => snapshots.push((backend.snapshot(), model.clone())),
                Action::Encode(index) | Action::Drop(index) | Action::Restore(index) if snapshots.is_empty() => {
                    let _ = index;
                }
                Action::Encode(index) => {
                    let (pages, then) = snapshots.swap_remove(index.index(snapshots.len()));
                    prop_assert_eq!(collect(pages), expected(&then));
                }
                Action::Drop(index) => drop(snapshots.swap_remove(index.index(snapshots.len()))),
                Action::Restore(index) => {
                    let (pages, then) = snapshots.swap_remove(index.index(snapshots.len()));
                    backend = MemoryBackend::with_pages("value", ALL, page_entries_max);
                    backend.restore(&collect(pages)).expect("its own sections");
                    model = then;
                }
            }
            backend.validate();
            prop_assert_eq!(backend.len(), model.len());
        }
        for (pages, then) in snapshots {
            prop_assert_eq!(collect(pages), expected(&then));
        }
        let mut visited = Vec::new();
        backend.visit_sorted(&mut |key, value| visited.push((bytes(key), value.clone())));
        prop_assert!(visited.is_sorted());
        prop_assert_eq!(visited.len(), model.len());
        prop_assert_eq!(collect(backend.snapshot()), expected(&model));
    }
}

#[test]
fn large_groups_split_into_pages_and_lose_nothing() {
    let mut backend = MemoryBackend::<u32, u64>::new("value", ALL);
    let count = 8 * PAGE_ENTRIES_MAX as u32 * 5;
    for key in 0..count {
        set(&mut backend, key, Some(u64::from(key) * 3));
        if key % 5_000 == 0 {
            drop(backend.snapshot());
        }
    }
    assert!(backend.groups.iter().all(|group| group.pages.len() >= 4), "every group has outgrown its first page");
    assert_eq!(backend.len(), count as usize);
    for key in 0..count {
        backend.update(stable_hash(&key), key, |_, value| assert_eq!(*value, Some(u64::from(key) * 3)));
    }
    let before = collect(backend.snapshot());
    let mut again = MemoryBackend::<u32, u64>::new("value", ALL);
    again.restore(&before).expect("its own sections");
    assert_eq!(collect(again.snapshot()), before);
}

#[test]
fn only_pages_that_change_while_a_snapshot_lives_are_copied() {
    let mut backend = MemoryBackend::<u32, u64>::new("value", ALL);
    (0..100).for_each(|key| set(&mut backend, key, Some(0)));
    let shared = |backend: &MemoryBackend<u32, u64>| {
        let pages = backend.groups.iter().flat_map(|group| &group.pages);
        pages.filter(|page| matches!(page, Page::Shared(table) if Arc::strong_count(table) > 1)).count()
    };
    let snapshot = backend.snapshot();
    let all = shared(&backend);
    assert_eq!(all, 8, "every group holds a key");
    set(&mut backend, 5, Some(1));
    assert_eq!(shared(&backend), all - 1, "one page was copied");
    drop(snapshot);
    assert_eq!(shared(&backend), 0, "nobody else holds the rest");
}

#[test]
fn equal_state_has_equal_bytes_whatever_its_history() {
    let mut forwards = MemoryBackend::<u32, u64>::new("value", ALL);
    let mut backwards = MemoryBackend::<u32, u64>::new("value", ALL);
    for key in 0..5_000 {
        set(&mut forwards, key, Some(1));
        set(&mut backwards, 9_999 - key, Some(2));
    }
    (5_000..10_000).for_each(|key| set(&mut backwards, key, None));
    (0..5_000).rev().for_each(|key| set(&mut backwards, key, Some(1)));
    let digest = |backend: &mut MemoryBackend<u32, u64>| {
        let mut digest = Digest::default();
        collect(backend.snapshot()).iter().for_each(|section| digest.add(section));
        digest.finish()
    };
    assert_eq!(digest(&mut forwards), digest(&mut backwards));
}

#[test]
#[should_panic(expected = "came to a subtask that owns")]
fn a_key_of_another_subtask_is_a_bug() {
    let key = (0..100_u32).find(|key| owner_of(key_group(stable_hash(key), 8), 2, 8) == 1).expect("there is one");
    let mut backend = MemoryBackend::<u32, u64>::new("value", Ownership::of(0, 2, 8));
    set(&mut backend, key, Some(1));
}

#[test]
fn sections_that_do_not_fit_are_refused_with_their_reason() {
    let mut whole = MemoryBackend::<u32, u64>::new("value", ALL);
    (0..100).for_each(|key| set(&mut whole, key, Some(7)));
    let sections = collect(whole.snapshot());
    let refused = |ownership, sections: &[Section]| {
        let mut backend = MemoryBackend::<u32, u64>::new("value", ownership);
        backend.restore(sections).expect_err("refused").message
    };
    let changed = |change: &dyn Fn(&mut Section)| {
        let mut section = sections[3].clone();
        change(&mut section);
        refused(ALL, &[section])
    };
    assert!(refused(Ownership::of(0, 2, 8), &sections).ends_with("this subtask does not own the key group"));
    assert!(changed(&|section| section.group = Some(KeyGroup(4))).ends_with("a key belongs to kg-3"));
    assert!(changed(&|section| section.group = None).ends_with("a section names no key group"));
    assert!(changed(&|section| section.bytes.truncate(9)).ends_with("the entries are cut off"));
    assert!(
        changed(&|section| section.bytes = encode_entries(vec![(vec![1], vec![2])]))
            .contains("a key cannot be decoded")
    );
    assert!(
        changed(&|section| section.bytes.extend_from_slice(&section.bytes.clone())).ends_with("a key appears twice")
    );
    assert!(changed(&|section| section.name = "other".into()).contains("the operator has only \"value\""));
}

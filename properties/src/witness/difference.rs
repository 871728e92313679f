//! Where two snapshots of the same subtask part, in one line for people: digests only say that they do.

use cofferdam_engine::state::{Section, SectionKind, decode_entries};
use std::collections::BTreeMap;

/// The first difference between the stored sections and the re-executed ones.
pub fn difference(stored: &[Section], expected: &[Section]) -> Option<String> {
    type Place<'a> = (SectionKind, &'a str, Option<u16>);
    fn places(sections: &[Section]) -> BTreeMap<Place<'_>, &Section> {
        let place = |section: &Section| section.group.map(|group| group.0);
        sections.iter().map(|section| ((section.kind, section.name.as_str(), place(section)), section)).collect()
    }
    let (stored, expected) = (places(stored), places(expected));
    let all: BTreeMap<_, _> = stored.keys().chain(expected.keys()).map(|place| (*place, ())).collect();
    all.into_keys().find_map(|place| match (stored.get(&place), expected.get(&place)) {
        (Some(stored), Some(expected)) if stored.bytes == expected.bytes => None,
        (stored, expected) => {
            let (kind, name, group) = place;
            let group = group.map_or(String::new(), |group| format!(" kg-{group}"));
            let (stored, expected) = (bytes(stored), bytes(expected));
            let what = match kind {
                SectionKind::Keyed => entries(stored, expected),
                SectionKind::Source | SectionKind::Sink | SectionKind::Operator => None,
            };
            let lengths = || format!("{} bytes are stored, {} expected", stored.len(), expected.len());
            let what = what.unwrap_or_else(lengths);
            Some(format!("{name}{group}: {what}"))
        }
    })
}

fn bytes<'a>(section: Option<&&'a Section>) -> &'a [u8] {
    section.map_or(&[], |section| &section.bytes)
}

/// The first key whose values differ.
fn entries(stored: &[u8], expected: &[u8]) -> Option<String> {
    let stored: BTreeMap<&[u8], &[u8]> = decode_entries(stored)?.into_iter().collect();
    let expected: BTreeMap<&[u8], &[u8]> = decode_entries(expected)?.into_iter().collect();
    let mut keys = stored.keys().chain(expected.keys()).filter(|key| stored.get(*key) != expected.get(*key));
    let key = keys.next()?;
    let show = |value: Option<&&[u8]>| value.map_or("nothing".to_owned(), |value| value.escape_ascii().to_string());
    Some(format!("key {} holds {}, re-executed {}", key.escape_ascii(), show(stored.get(key)), show(expected.get(key))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_engine::ids::KeyGroup;
    use cofferdam_engine::state::encode_entries;

    fn keyed(group: u16, entries: &[(&str, u8)]) -> Section {
        let entries = entries.iter().map(|(key, value)| (key.as_bytes().to_vec(), vec![*value])).collect();
        let (kind, name, group) = (SectionKind::Keyed, "count".to_owned(), Some(KeyGroup(group)));
        Section { kind, name, group, bytes: encode_entries(entries) }
    }

    #[test]
    fn equal_sections_do_not_differ() {
        assert_eq!(difference(&[keyed(1, &[("a", 1)])], &[keyed(1, &[("a", 1)])]), None);
    }

    #[test]
    fn the_first_key_that_differs_is_named() {
        let stored = [keyed(1, &[("a", b'1')]), keyed(2, &[("b", b'2'), ("c", b'3')])];
        let expected = [keyed(1, &[("a", b'1')]), keyed(2, &[("b", b'2'), ("c", b'4')])];
        let found = difference(&stored, &expected).expect("a difference");
        assert_eq!(found, "count kg-2: key c holds 3, re-executed 4");
    }

    #[test]
    fn a_key_group_that_is_missing_is_named() {
        let found = difference(&[], &[keyed(7, &[("a", b'1')])]).expect("a difference");
        assert_eq!(found, "count kg-7: key a holds nothing, re-executed 1");
    }

    #[test]
    fn other_sections_differ_by_length() {
        let section = |bytes: &[u8]| Section {
            kind: SectionKind::Sink,
            name: "pending".to_owned(),
            group: None,
            bytes: bytes.to_vec(),
        };
        let found = difference(&[section(b"ab")], &[section(b"")]).expect("a difference");
        assert_eq!(found, "pending: 2 bytes are stored, 0 expected");
    }
}

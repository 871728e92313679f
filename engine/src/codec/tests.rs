//! Decoding, and the canonical form.

use super::*;
use proptest::prelude::*;
use serde::{Deserialize, Serializer};
use std::collections::BTreeMap;

#[test]
fn bytes_behind_the_value_are_refused_unless_it_is_one_of_several() {
    let bytes = bincode::serialize(&(7_u32, "seven")).expect("serialises");
    let longer = [&bytes[..], &[1]].concat();
    assert_eq!(decode::<(u32, String)>(&bytes).expect("its own bytes"), (7, "seven".to_owned()));
    assert!(decode::<(u32, String)>(&longer).is_err());
    let mut rest = &longer[..];
    assert_eq!(decode_next::<(u32, String)>(&mut rest).expect("its own bytes"), (7, "seven".to_owned()));
    assert_eq!(rest, [1]);
}

/// A map that lists its entries in any order, as a hash map does.
struct Listed<K, V>(Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for Listed<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// Everything that is no map.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum Anything {
    Unit,
    Numbers(i8, u16, i32, u64, i128, u128, f32, f64),
    Words { flag: bool, letter: char, text: String, bytes: serde_bytes::ByteBuf },
    Nested(Vec<Option<Anything>>),
}

fn anything() -> impl Strategy<Value = Anything> {
    let numbers = (any::<(i8, u16, i32, u64)>(), any::<(i128, u128, f32, f64)>());
    let numbers = numbers.prop_map(|((a, b, c, d), (e, f, g, h))| Anything::Numbers(a, b, c, d, e, f, g, h));
    let words = any::<(bool, char, String, Vec<u8>)>().prop_map(|(flag, letter, text, bytes)| Anything::Words {
        flag,
        letter,
        text,
        bytes: serde_bytes::ByteBuf::from(bytes),
    });
    let leaf = prop_oneof![Just(Anything::Unit), numbers, words];
    leaf.prop_recursive(3, 16, 4, |inner| {
        proptest::collection::vec(proptest::option::of(inner), 0..4).prop_map(Anything::Nested)
    })
}

/// Maps in a map.
type Outer = BTreeMap<(i16, String), (u8, BTreeMap<i8, u8>)>;

proptest! {
    #[test]
    fn what_holds_no_map_has_the_same_bytes_in_both_encodings(value in anything()) {
        let plain = Encoding::Plain.encode(&value);
        prop_assert_eq!(&Encoding::Canonical.encode(&value), &plain);
        prop_assert_eq!(&plain, &bincode::serialize(&value).expect("serialises"));
    }

    #[test]
    fn maps_have_equal_bytes_whatever_the_order_of_their_entries(
        entries in proptest::collection::btree_map(any::<(i16, String)>(), any::<(u8, BTreeMap<i8, u8>)>(), 0..20),
        turn in 0_usize..20,
    ) {
        let mut listed: Vec<_> = entries.clone().into_iter().collect();
        let turn = turn.min(listed.len());
        listed.rotate_left(turn);
        // Maps lie in maps, and in lists.
        let listed: Vec<_> = listed
            .into_iter()
            .map(|(key, (n, inner))| (key, (n, Listed(inner.into_iter().rev().collect()))))
            .collect();
        let bytes = Encoding::Canonical.encode(&vec![Some(Listed(listed))]);
        prop_assert_eq!(&bytes, &Encoding::Canonical.encode(&vec![Some(entries.clone())]));
        prop_assert_eq!(decode::<Vec<Option<Outer>>>(&bytes).expect("valid bincode"), vec![Some(entries)]);
    }
}

#[test]
fn entries_are_sorted_by_the_bytes_of_their_keys_and_equal_keys_keep_their_order() {
    let bytes = Encoding::Canonical.encode(&Listed(vec![(256_u16, 'a'), (1, 'b'), (1, 'a'), (0, 'c')]));
    assert_eq!(
        bytes,
        [&[4, 0, 0, 0, 0, 0, 0, 0][..], &[0, 0, b'c'], &[0, 1, b'a'], &[1, 0, b'b'], &[1, 0, b'a']].concat()
    );
}

#[test]
fn only_types_that_may_hold_a_map_pay_for_sorting() {
    let of = |layout: Result<Layout, _>| Encoding::of(&layout.expect("a layout"));
    assert_eq!(of(Layout::of::<(u64, Vec<Option<String>>)>()), Encoding::Plain);
    assert_eq!(of(Layout::of::<(u64, Vec<Option<BTreeMap<u8, u8>>>)>()), Encoding::Canonical);
    assert_eq!(Encoding::of(&Layout::OPAQUE), Encoding::Canonical);
}

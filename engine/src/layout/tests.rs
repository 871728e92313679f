//! Layouts of many types, and how two of them differ.

use super::*;
use proptest::prelude::*;
use serde::Deserializer;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its layout counts")]
struct Totals {
    orders: u64,
    cents: u64,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its layout counts")]
enum Status {
    Open,
    Paid(u64),
    Sent { at: Day, items: Vec<(u32, String)> },
    Returned(Box<Option<Status2>>, bool),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its layout counts")]
enum Status2 {
    Broken(char),
    Late,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Cents(i64);

/// Parses what it reads.
struct Day;

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() == 10 && text.starts_with("19") { Ok(Self) } else { Err(serde::de::Error::custom("no day")) }
    }
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its layout counts")]
struct Tree {
    left: Vec<Tree>,
    right: Option<Box<Tree>>,
    more: BTreeMap<u8, Tree>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its layout counts")]
struct Renamed {
    #[serde(alias = "old")]
    new: u64,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its layout counts")]
struct Flat {
    #[serde(flatten)]
    rest: BTreeMap<String, u64>,
}

/// Never satisfied.
struct Sceptic;

impl<'de> Deserialize<'de> for Sceptic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer)?;
        Err(serde::de::Error::custom("a number that nobody could guess"))
    }
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its layout counts")]
struct Careful {
    checked: Sceptic,
    behind: u64,
}

fn shown<T: DeserializeOwned>() -> String {
    Layout::of::<T>().expect("a layout").to_string()
}

#[test]
fn a_layout_names_fields_types_and_variants() {
    assert_eq!(shown::<u64>(), "u64");
    assert_eq!(shown::<Totals>(), "Totals { orders: u64, cents: u64 }");
    assert_eq!(shown::<(i8, Cents, [bool; 2])>(), "(i8, i64, (bool, bool))");
    assert_eq!(shown::<BTreeMap<String, BTreeSet<Cents>>>(), "map<string, list<i64>>");
    assert_eq!(
        shown::<Vec<Status>>(),
        "list<Status { Open | Paid: u64 | Sent: { at: string, items: list<(u32, string)> } \
         | Returned: (option<Status2 { Broken: char | Late }>, bool) }>"
    );
}

#[test]
fn types_that_refuse_some_values_are_traced() {
    assert_eq!(shown::<(NonZeroU32, Duration)>(), "(u32, Duration { secs: u64, nanos: u32 })");
    assert_eq!(shown::<(Day, Option<Day>, u8)>(), "(string, option<string>, u8)");
    assert_eq!(
        shown::<std::net::IpAddr>(),
        "IpAddr { V4: (u8, u8, u8, u8) | V6: (u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8) }"
    );
    assert_eq!(shown::<Result<crate::connectors::Text, std::sync::Arc<str>>>(), "Result { Ok: bytes | Err: string }");
    // Nothing is missing behind the last part.
    assert_eq!(shown::<(u8, Sceptic)>(), "(u8, u64)");
}

#[test]
fn what_cannot_be_traced_says_why() {
    let unknown = |why: &str| Untraceable::Unknown(why.to_owned());
    assert_eq!(Layout::of::<Tree>(), Err(unknown("it nests more than 64 levels: is it recursive?")));
    assert_eq!(Layout::of::<Renamed>(), Err(unknown("Renamed reads fewer fields than it names (serde's alias)")));
    assert_eq!(Layout::of::<Careful>(), Err(unknown("a number that nobody could guess")));
    type Wide = [[u64; 32]; 32];
    assert_eq!(Layout::of::<(Wide, Wide, Wide, Wide)>(), Err(unknown("it has more than 4096 parts")));
    let flat = Layout::of::<Flat>();
    assert!(matches!(&flat, Err(Untraceable::Undecodable(_))), "{flat:?}");
}

#[test]
fn the_engines_own_states_have_layouts() {
    use crate::job::{Source, SourceReader};
    type Lines = <crate::connectors::TextLines as Source>::Reader;
    assert!(Lines::layout().to_string().starts_with("option<list<Split { path: string,"), "{}", Lines::layout());
    assert!(!Layout::OPAQUE.tokens().is_empty());
}

fn between<A: DeserializeOwned, B: DeserializeOwned>() -> Option<String> {
    difference(&Layout::of::<A>().expect("a layout"), &Layout::of::<B>().expect("a layout"))
}

/// Types of the next build.
mod next {
    use super::{Cents, Day, Deserialize};

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its layout counts")]
    pub struct Totals {
        cents: u64,
        orders: u64,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its layout counts")]
    pub struct Sums {
        orders: u64,
        cents: u64,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its layout counts")]
    pub struct Longer {
        orders: u64,
        cents: Cents,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its layout counts")]
    pub struct Shorter {
        orders: u64,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its layout counts")]
    pub enum Status {
        Open,
        Paid(u64),
        Sent { at: Day, items: Vec<(u64, String)> },
        Returned(Box<Option<super::Status2>>, bool),
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its layout counts")]
    pub enum Status2 {
        Late,
        Broken(char),
    }
}

#[test]
fn a_difference_names_the_field() {
    let told = |what: Option<String>| what.expect("a difference");
    assert_eq!(told(between::<Totals, next::Totals>()), r#"field 1 was "orders: u64", is now "cents: u64""#);
    assert_eq!(told(between::<Totals, next::Longer>()), r#"field 2 was "cents: u64", is now "cents: i64""#);
    assert_eq!(told(between::<Totals, next::Shorter>()), r#"field 2 was "cents: u64", is now gone"#);
    assert_eq!(told(between::<next::Shorter, Totals>()), r#"field 2 is new: "cents: u64""#);
    assert_eq!(told(between::<u64, u32>()), r#"was "u64", is now "u32""#);
    assert_eq!(told(between::<(u64, u32), (u64, i32)>()), r#"element 2 was "u32", is now "i32""#);
    assert_eq!(told(between::<(u64, u32), (u64,)>()), r#"was "(u64, u32)", is now "(u64)""#);
    assert_eq!(
        told(between::<Vec<Totals>, Vec<next::Totals>>()),
        r#"an element of the list: field 1 was "orders: u64", is now "cents: u64""#
    );
    assert_eq!(told(between::<Status2, next::Status2>()), r#"variant 1 was "Broken: char", is now "Late""#);
    assert_eq!(
        told(between::<Status, next::Status>()),
        r#"variant 3 "Sent": field 2 "items": an element of the list: element 1 was "u32", is now "u64""#
    );
    assert_eq!(
        told(between::<BTreeMap<u8, Option<u8>>, BTreeMap<u8, Option<()>>>()),
        r#"a value of the map: the content of the option was "u8", is now "()""#
    );
    assert_eq!(
        told(difference(&Layout::OPAQUE, &Layout::of::<u8>().expect("a layout"))),
        r#"was "opaque", is now "u8""#
    );
}

#[test]
fn names_of_types_and_newtypes_make_no_difference() {
    assert_eq!(between::<Totals, next::Sums>(), None);
    assert_eq!(between::<Vec<Cents>, BTreeSet<i64>>(), None);
    assert_eq!(difference(&Layout::OPAQUE, &Layout::OPAQUE), None);
}

#[test]
fn people_are_shown_text_and_bytes_are_tokens() {
    let layout = Layout::of::<Status>().expect("a layout");
    let bytes = bincode::serialize(&layout).expect("layouts serialise");
    assert_eq!(crate::codec::decode::<Layout>(&bytes).expect("its own bytes"), layout);
    let json = serde_json::to_string(&Layout::of::<Totals>().expect("a layout")).expect("layouts serialise");
    assert_eq!(json, "\"Totals { orders: u64, cents: u64 }\"");
}

proptest! {
    /// Whatever the tokens are, they are compared and shown without a panic.
    #[test]
    fn damaged_layouts_are_compared(cut in 0_usize..20, wide in any::<u32>()) {
        let whole = Layout::of::<Status>().expect("a layout");
        let mut cut_off = whole.clone();
        cut_off.0.truncate(cut.min(whole.0.len() - 1));
        prop_assert!(cut == 0 || difference(&cut_off, &whole).is_some());
        prop_assert!(cut == 0 || difference(&whole, &cut_off).is_some());
        let claims = Layout(vec![Token::Tuple(wide), Token::Tuple(wide)]);
        prop_assert!(difference(&claims, &whole).is_some());
        prop_assert!(cut_off.to_string().len() < 1000);
    }
}

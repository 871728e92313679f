//! What the operators of a random graph do with their records: the functions that a user would write.

use super::{GraphSpec, Node, Operator, Step};
use crate::plan::input::Draws;
use crate::seed::Seed;
use bytes::Bytes;
use cofferdam_engine::connectors::text::Text;
use cofferdam_engine::hash::stable_hash;
use cofferdam_engine::job::{Aggregation, KeyedFunction, LocalFunction, LocalTwoInputFunction, TwoInputFunction};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// The one record type.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Datum {
    /// Which one; records of different sources may have the same.
    pub id: u64,
    /// Its key.
    pub key: u32,
    /// Its value; sums wrap.
    pub value: i64,
}

impl Datum {
    /// Record `number` of the source with this salt. Sources agree on the key of an id, and on nothing else.
    pub fn made(salt: u64, number: u64, keys: u32) -> Self {
        let key = (stable_hash(&("key", number)) % u64::from(keys)) as u32;
        Self { id: number, key, value: (stable_hash(&(salt, number)) % 1000) as i64 }
    }

    /// Its line of text, without a line feed.
    pub fn line(&self) -> String {
        format!("{} {} {}", self.id, self.key, self.value)
    }

    /// Appends its line: what sinks do.
    pub fn format(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(self.line().as_bytes());
    }

    /// Reads a line.
    pub fn parse(line: &Text) -> Self {
        let text = std::str::from_utf8(line.as_bytes()).expect("written by us");
        let mut numbers = text.split(' ').map(|number| number.parse::<i64>().expect("written by us"));
        let mut next = || numbers.next().expect("three numbers");
        Self { id: next() as u64, key: next() as u32, value: next() }
    }
}

impl Step {
    /// Emits what becomes of a record.
    pub fn apply(self, datum: Datum, out: &mut Vec<Datum>) {
        match self {
            Self::Add(number) => out.push(add(number, datum)),
            Self::Rekey(keys) => out.push(rekey(keys, datum)),
            Self::Drop(one_in) => out.extend(Some(datum).filter(|datum| keeps(one_in, datum))),
            Self::Expand(copies) => expand(copies, &datum, out),
        }
    }
}

/// [`Step::Add`].
pub fn add(number: i64, datum: Datum) -> Datum {
    Datum { value: datum.value.wrapping_add(number), ..datum }
}

/// [`Step::Rekey`].
pub fn rekey(keys: u32, datum: Datum) -> Datum {
    Datum { key: (stable_hash(&("rekey", datum.id)) % u64::from(keys)) as u32, ..datum }
}

/// [`Step::Drop`].
pub fn keeps(one_in: u64, datum: &Datum) -> bool {
    !stable_hash(&("drop", datum.id)).is_multiple_of(one_in) || one_in == 1
}

/// [`Step::Expand`].
pub fn expand(copies: u64, datum: &Datum, out: &mut Vec<Datum>) {
    let copy = |n: u64| Datum {
        id: datum.id.wrapping_mul(copies).wrapping_add(n),
        value: datum.value.wrapping_add(n as i64),
        ..datum.clone()
    };
    out.extend((0..copies).map(copy));
}

/// The folder of a source of text.
pub fn folder_of(folder: &str, node: usize) -> String {
    format!("{folder}/n{node}")
}

/// The files that a source reads: of unequal length, some perhaps empty.
pub fn files(spec: &GraphSpec, node: &Node, seed: Seed, folder: &str) -> BTreeMap<String, Bytes> {
    let Operator::Read { salt, lines, files, .. } = node.operator else { return BTreeMap::new() };
    let mut draws = Draws::of(seed, &format!("text {salt}"));
    let mut texts = vec![String::new(); usize::from(files)];
    for number in 0..lines {
        let text = &mut texts[draws.skewed(u64::from(files)) as usize];
        text.push_str(&Datum::made(salt, number, spec.keys).line());
        text.push('\n');
    }
    texts.into_iter().enumerate().map(|(n, text)| (format!("{folder}/part-{n}.txt"), Bytes::from(text))).collect()
}

/// [`Operator::Sum`] and [`Operator::RunningSum`]: the sum, and of how many.
#[derive(Clone, Copy)]
pub struct Total;

impl Aggregation<Datum> for Total {
    type State = (i64, u64);
    type Out = (i64, u64);

    fn start(&self) -> (i64, u64) {
        (0, 0)
    }

    fn add(&self, (sum, count): &mut (i64, u64), datum: Datum) {
        *sum = sum.wrapping_add(datum.value);
        *count += 1;
    }

    fn result(&self, state: &(i64, u64)) -> (i64, u64) {
        *state
    }
}

/// The record that tells a [`Total`].
pub fn told((key, (value, id)): (u32, (i64, u64))) -> Datum {
    Datum { id, key, value }
}

/// [`Operator::Distinct`].
pub fn distinct(_: &u32, datum: Datum, seen: &mut Option<BTreeSet<(u64, i64)>>, out: &mut Vec<Datum>) {
    if seen.get_or_insert_default().insert((datum.id, datum.value)) {
        out.push(datum);
    }
}

/// [`Operator::Tick`].
#[derive(Clone, Copy)]
pub struct Tick(pub u64);

impl KeyedFunction<u32, Datum> for Tick {
    type State = u64;
    type Out = Datum;

    fn on_record(&self, key: &u32, _: Datum, seen: &mut Option<u64>, out: &mut Vec<Datum>) {
        let seen = seen.get_or_insert_default();
        *seen += 1;
        if seen.is_multiple_of(self.0) {
            out.push(Datum { id: *seen / self.0, key: *key, value: self.0 as i64 });
        }
    }
}

/// [`Operator::Session`].
#[derive(Clone, Copy)]
pub struct Session(pub u64);

impl KeyedFunction<u32, Datum> for Session {
    type State = (u64, i64);
    type Out = Datum;

    fn on_record(&self, key: &u32, datum: Datum, open: &mut Option<(u64, i64)>, out: &mut Vec<Datum>) {
        let (seen, sum) = open.take().unwrap_or_default();
        let (seen, sum) = (seen + 1, sum.wrapping_add(datum.value));
        if seen == self.0 {
            out.push(Datum { id: datum.id, key: *key, value: sum });
        } else {
            *open = Some((seen, sum));
        }
    }
}

/// [`Operator::Number`].
#[derive(Clone, Copy)]
pub struct Number;

impl LocalFunction<Datum> for Number {
    type State = i64;
    type Out = Datum;

    fn on_record(&self, datum: Datum, count: &mut i64, out: &mut Vec<Datum>) {
        *count += 1;
        out.push(Datum { value: *count, ..datum });
    }
}

/// [`Operator::Hold`], and [`Operator::Gather`] with a size.
#[derive(Clone, Copy)]
pub struct Hold(pub usize);

impl LocalFunction<Datum> for Hold {
    type State = Vec<Datum>;
    type Out = Datum;

    fn on_record(&self, datum: Datum, held: &mut Vec<Datum>, out: &mut Vec<Datum>) {
        held.push(datum);
        if held.len() >= self.0 {
            out.append(held);
        }
    }

    fn on_end(&self, held: &mut Vec<Datum>, out: &mut Vec<Datum>) {
        out.append(held);
    }
}

/// [`Operator::Join`].
#[derive(Clone, Copy)]
pub struct Join;

/// By id: whether it was seen on the first input, and on the second.
type Seen = Turning<u64, (bool, bool)>;

/// A map that lists its entries in another order once it was restored, as a hash map does. Only a codec that sorts them gives
/// equal maps equal bytes.
#[derive(Clone, Debug)]
pub struct Turning<K, V> {
    entries: BTreeMap<K, V>,
    restored: bool,
}

impl<K, V> Default for Turning<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), restored: false }
    }
}

impl<K: Serialize, V: Serialize> Serialize for Turning<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.restored {
            serializer.collect_map(self.entries.iter().rev())
        } else {
            self.entries.serialize(serializer)
        }
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for Turning<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(|entries| Self { entries, restored: true })
    }
}

impl Join {
    fn see(key: u32, id: u64, first: bool, seen: &mut Option<Seen>, out: &mut Vec<Datum>) {
        let seen = seen.get_or_insert_default().entries.entry(id).or_default();
        let both = |seen: (bool, bool)| seen.0 && seen.1;
        let before = *seen;
        if first {
            seen.0 = true;
        } else {
            seen.1 = true;
        }
        if both(*seen) && !both(before) {
            out.push(Datum { id, key, value: 2 });
        }
    }
}

impl TwoInputFunction<u32, Datum, Datum> for Join {
    type State = Seen;
    type Out = Datum;

    fn on_first(&self, key: &u32, datum: Datum, seen: &mut Option<Seen>, out: &mut Vec<Datum>) {
        Self::see(*key, datum.id, true, seen, out);
    }

    fn on_second(&self, key: &u32, datum: Datum, seen: &mut Option<Seen>, out: &mut Vec<Datum>) {
        Self::see(*key, datum.id, false, seen, out);
    }
}

/// [`Operator::CoGroup`].
#[derive(Clone, Copy)]
pub struct CoGroup;

impl TwoInputFunction<u32, Datum, Datum> for CoGroup {
    type State = (i64, i64);
    type Out = Datum;

    fn on_first(&self, _: &u32, datum: Datum, sums: &mut Option<(i64, i64)>, _: &mut Vec<Datum>) {
        let sums = sums.get_or_insert_default();
        sums.0 = sums.0.wrapping_add(datum.value);
    }

    fn on_second(&self, _: &u32, datum: Datum, sums: &mut Option<(i64, i64)>, _: &mut Vec<Datum>) {
        let sums = sums.get_or_insert_default();
        sums.1 = sums.1.wrapping_add(datum.value);
    }

    fn acts_on_end(&self) -> bool {
        true
    }

    fn on_end(&self, key: &u32, sums: &(i64, i64), out: &mut Vec<Datum>) {
        out.push(Datum { id: sums.0 as u64, key: *key, value: sums.1 });
    }
}

/// [`Operator::Gate`].
#[derive(Clone, Copy)]
pub struct Gate;

impl TwoInputFunction<u32, Datum, Datum> for Gate {
    type State = i64;
    type Out = Datum;

    fn on_first(&self, _: &u32, datum: Datum, bar: &mut Option<i64>, _: &mut Vec<Datum>) {
        *bar = Some(bar.map_or(datum.value, |bar| bar.max(datum.value)));
    }

    fn on_second(&self, _: &u32, datum: Datum, bar: &mut Option<i64>, out: &mut Vec<Datum>) {
        if bar.is_none_or(|bar| datum.value >= bar) {
            out.push(datum);
        }
    }
}

/// [`Operator::Tag`].
#[derive(Clone, Copy)]
pub struct Tag;

impl LocalTwoInputFunction<Datum, Datum> for Tag {
    /// How many of each.
    type State = (u64, u64);
    type Out = Datum;

    fn on_first(&self, datum: Datum, counts: &mut (u64, u64), out: &mut Vec<Datum>) {
        counts.0 += 1;
        out.push(tagged(datum, 0));
    }

    fn on_second(&self, datum: Datum, counts: &mut (u64, u64), out: &mut Vec<Datum>) {
        counts.1 += 1;
        out.push(tagged(datum, 1));
    }
}

fn tagged(datum: Datum, port: u64) -> Datum {
    Datum { id: datum.id.wrapping_mul(2).wrapping_add(port), ..datum }
}

/// [`Operator::Enrich`].
#[derive(Clone, Copy)]
pub struct Enrich;

impl LocalTwoInputFunction<Datum, Datum> for Enrich {
    /// What waits, and the sum of the side.
    type State = (Vec<Datum>, i64);
    type Out = Datum;

    fn on_first(&self, datum: Datum, state: &mut (Vec<Datum>, i64), _: &mut Vec<Datum>) {
        state.0.push(datum);
    }

    fn on_second(&self, datum: Datum, state: &mut (Vec<Datum>, i64), _: &mut Vec<Datum>) {
        state.1 = state.1.wrapping_add(datum.value);
    }

    fn on_end(&self, (waiting, sum): &mut (Vec<Datum>, i64), out: &mut Vec<Datum>) {
        out.extend(waiting.drain(..).map(|datum| add(*sum, datum)));
    }
}

//! What a random graph must put out: an evaluation over whole bags of records, node by node. No order, no subtasks, no
//! state; only the functions of single records are those of the job.
//!
//! A node whose result depends on the order of records is *unknown*, and so is everything behind it: there the witness
//! judges alone.

use super::functions::{Datum, add};
use super::{GraphSpec, Node, Operator, functions};
use cofferdam_properties::Reference;
use std::collections::{BTreeMap, BTreeSet};

/// The records of a node, in no order; `None` if nobody can know.
type Bag = Option<Vec<Datum>>;

impl GraphSpec {
    /// What must be below the folder of each sink of files in `output`, for those about which something can be said.
    pub fn reference(&self, output: &str) -> Reference {
        let mut bags: Vec<Bag> = Vec::with_capacity(self.nodes.len());
        let mut additive: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let bag = (!node.operator.depends_on_order()).then(|| self.bag(node, &bags)).flatten();
            bags.push(bag);
            additive.push(node.operator.only_repeats() && node.inputs.iter().all(|input| additive[input.from]));
        }
        let mut reference = Reference::default();
        for (n, bag) in bags.into_iter().enumerate().filter(|(n, _)| self.nodes[*n].operator == Operator::Write) {
            let Some(bag) = bag else { continue };
            let mut lines: Vec<String> = bag.iter().map(Datum::line).collect();
            lines.sort_unstable();
            let folder = functions::folder_of(output, n);
            if additive[n] {
                reference.additive.insert(folder.clone());
            }
            reference.outputs.insert(folder, lines);
        }
        reference
    }

    fn bag(&self, node: &Node, bags: &[Bag]) -> Bag {
        let first = self.arrived(node, 0, bags)?;
        let second = self.arrived(node, 1, bags)?;
        let result = self.result(node, first, second);
        Some(match node.fused {
            None => result,
            Some(step) => {
                let mut out = Vec::new();
                result.into_iter().for_each(|datum| step.apply(datum, &mut out));
                out
            }
        })
    }

    /// Everything that arrives on a port, wherever.
    fn arrived(&self, node: &Node, port: u16, bags: &[Bag]) -> Bag {
        let mut all = Vec::new();
        for input in node.inputs.iter().filter(|input| input.port == port) {
            let bag = bags[input.from].as_ref()?;
            // The side of an enrichment is the same for every subtask: once is enough.
            let side = node.operator == Operator::Enrich && port == 1;
            let copies = if side { 1 } else { self.copies(node, input) };
            (0..copies).for_each(|_| all.extend_from_slice(bag));
        }
        Some(all)
    }

    fn result(&self, node: &Node, first: Vec<Datum>, second: Vec<Datum>) -> Vec<Datum> {
        let made = |salt: u64, count: u64| (0..count).map(|number| Datum::made(salt, number, self.keys)).collect();
        match node.operator {
            Operator::Generate { salt, records, .. } => made(salt, records * u64::from(node.parallelism)),
            Operator::Read { salt, lines, .. } => made(salt, lines),
            Operator::Apply(step) => {
                let mut out = Vec::new();
                first.into_iter().for_each(|datum| step.apply(datum, &mut out));
                out
            }
            Operator::Hold | Operator::Gather { .. } | Operator::Write | Operator::Append => first,
            Operator::Sum => {
                let summed = |(key, of): (u32, Vec<Datum>)| Datum { id: of.len() as u64, key, value: sum(&of) };
                by_key(first).into_iter().map(summed).collect()
            }
            Operator::Greatest => {
                by_key(first).into_values().map(|of| of.into_iter().max().expect("a key has a record")).collect()
            }
            Operator::Distinct => first.into_iter().collect::<BTreeSet<Datum>>().into_iter().collect(),
            Operator::Tick { every } => {
                by_key(first).into_iter().flat_map(|(key, of)| ticks(key, of.len(), every)).collect()
            }
            Operator::Join => {
                let ids =
                    |side: Vec<Datum>| -> BTreeSet<(u32, u64)> { side.into_iter().map(|d| (d.key, d.id)).collect() };
                ids(first).intersection(&ids(second)).map(|(key, id)| Datum { id: *id, key: *key, value: 2 }).collect()
            }
            Operator::CoGroup => {
                let (first, second) = (by_key(first), by_key(second));
                let keys: BTreeSet<u32> = first.keys().chain(second.keys()).copied().collect();
                let of = |side: &BTreeMap<u32, Vec<Datum>>, key| side.get(&key).map_or(0, |of| sum(of));
                keys.into_iter().map(|key| Datum { id: of(&first, key) as u64, key, value: of(&second, key) }).collect()
            }
            Operator::Tag => {
                let tagged =
                    |port| move |datum: Datum| Datum { id: datum.id.wrapping_mul(2).wrapping_add(port), ..datum };
                first.into_iter().map(tagged(0)).chain(second.into_iter().map(tagged(1))).collect()
            }
            Operator::Enrich => first.into_iter().map(|datum| add(sum(&second), datum)).collect(),
            Operator::RunningSum | Operator::Last | Operator::Session { .. } | Operator::Number | Operator::Gate => {
                unreachable!("nobody can know")
            }
        }
    }
}

fn sum(of: &[Datum]) -> i64 {
    of.iter().fold(0, |sum, datum| sum.wrapping_add(datum.value))
}

fn by_key(bag: Vec<Datum>) -> BTreeMap<u32, Vec<Datum>> {
    let mut groups: BTreeMap<u32, Vec<Datum>> = BTreeMap::new();
    bag.into_iter().for_each(|datum| groups.entry(datum.key).or_default().push(datum));
    groups
}

fn ticks(key: u32, seen: usize, every: u64) -> Vec<Datum> {
    (1..=seen as u64 / every).map(|id| Datum { id, key, value: every as i64 }).collect()
}

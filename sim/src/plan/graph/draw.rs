//! Draws a random graph from a number: valid by construction.
//!
//! 1. How many sources, operators between, and sinks: two to nine together, small graphs more often.
//! 2. Each operator takes its records mostly from a node that nobody consumes yet, sometimes from one that has a
//!    consumer (fan-out), and sometimes from several (fan-in).
//! 3. Sinks take what is left over, and hold together what would fall into pieces.
//! 4. Sources are cut down, and operators narrowed, until the graph is as cheap to run as the other jobs.

use super::{GraphSpec, Input, Node, Operator, Step, Travel};
use crate::plan::input::Draws;

/// Subtasks of a graph, about: every one acknowledges every checkpoint.
const SUBTASKS: u32 = 14;
/// Channels of a graph: every one carries every barrier.
const CHANNELS: u32 = 36;
/// Records over all operators.
const RECORDS: u64 = 500;
/// How long a generator may take, about.
const LENGTH_MS_MAX: u64 = 900;

/// The graph of a number.
pub fn draw(number: u64) -> GraphSpec {
    let mut draws = Draws::from(number);
    let keys = 1 + draws.below(12) as u32;
    let mut growing = Growing { draws, spec: GraphSpec { keys, nodes: Vec::new() } };
    growing.grow();
    let Growing { mut spec, mut draws } = growing;
    while spec.volumes().iter().sum::<u64>() > RECORDS {
        match spec.fewer_records() {
            Some(fewer) => spec = fewer,
            None => break,
        }
    }
    while spec.subtasks() > SUBTASKS || spec.channels() > CHANNELS {
        match spec.at_most_parallel(spec.widest() - 1) {
            Some(narrower) => spec = narrower,
            None => break,
        }
    }
    spec.nodes.iter_mut().for_each(|node| pace(&mut draws, &mut node.operator));
    assert_eq!(spec.validate(), Ok(()), "graphs are valid by construction: {spec}");
    spec
}

/// Lets most generators take their time, some until long after the others have ended.
fn pace(draws: &mut Draws, source: &mut Operator) {
    let Operator::Generate { records, interval_ms, burst, .. } = source else { return };
    if draws.below(4) > 0 {
        let whole_ms = LENGTH_MS_MAX / 6 + draws.below(LENGTH_MS_MAX);
        *burst = 1 + draws.skewed(4) as usize;
        *interval_ms = whole_ms * *burst as u64 / (*records).max(1);
    }
}

/// A graph under construction.
struct Growing {
    draws: Draws,
    spec: GraphSpec,
}

impl Growing {
    fn grow(&mut self) {
        let sources = [1, 1, 2, 2, 2, 3][self.below(6)];
        let between = [0, 1, 1, 2, 2, 3, 3, 4][self.below(8)];
        let sinks = [1, 1, 2][self.below(3)];
        for _ in 0..sources {
            let operator = self.source();
            self.add(operator, Vec::new());
        }
        for _ in 0..between {
            let operator = self.operator();
            let inputs =
                (0..operator.ports()).flat_map(|port| self.producers().map(move |from| (port, from))).collect();
            self.add(operator, inputs);
        }
        let mut shares: Vec<Vec<(u16, usize)>> = vec![Vec::new(); sinks];
        for (n, from) in self.unconsumed().into_iter().enumerate() {
            shares[n % sinks].push((0, from));
        }
        for share in &mut shares {
            if share.is_empty() {
                share.push((0, self.producer()));
            }
        }
        let first_sink = self.spec.nodes.len();
        for (n, share) in shares.into_iter().enumerate() {
            // The first writes files: what they hold can be foretold.
            let sink = if n > 0 && self.chance(2) { Operator::Append } else { Operator::Write };
            self.add(sink, share);
        }
        self.hold_together(first_sink);
    }

    fn below(&mut self, bound: u64) -> usize {
        self.draws.below(bound) as usize
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.draws.below(one_in) == 0
    }

    fn source(&mut self) -> Operator {
        // Two sources in two graphs of three are twins: they make the same ids, so that joins find pairs either way.
        let salt = self.draws.below(1000);
        if self.chance(3) {
            let (lines, files) = (10 + self.draws.below(80), 1 + self.draws.below(4) as u16);
            let (split_bytes, chunk_bytes) = (8 + self.draws.below(300), 4 + self.draws.below(200));
            Operator::Read { salt, lines, files, split_bytes, chunk_bytes }
        } else {
            // Of very unequal length: some subtasks end long before others.
            let records = 1 + self.draws.below([8, 40, 90][(salt % 3) as usize]);
            Operator::Generate { salt, records, interval_ms: 0, burst: 1 }
        }
    }

    fn operator(&mut self) -> Operator {
        match self.below(24) {
            0..4 => Operator::Apply(self.step()),
            4 | 5 => Operator::Sum,
            6 => Operator::Greatest,
            7 | 8 => Operator::Distinct,
            9 => Operator::Tick { every: 1 + self.draws.below(4) },
            10 => Operator::RunningSum,
            11 => Operator::Last,
            12 => Operator::Session { every: 2 + self.draws.below(4) },
            13 => Operator::Number,
            14 => Operator::Hold,
            15 | 16 => Operator::Gather { size: 2 + self.below(9) },
            17..19 => Operator::Join,
            19 | 20 => Operator::CoGroup,
            21 => Operator::Gate,
            22 => Operator::Tag,
            _ => Operator::Enrich,
        }
    }

    fn step(&mut self) -> Step {
        match self.below(5) {
            0 | 1 => Step::Add(1 + self.draws.below(100) as i64),
            2 => Step::Rekey(1 + self.draws.below(self.spec.keys.into()) as u32),
            3 => Step::Drop(2 + self.draws.below(4)),
            _ => Step::Expand(2 + self.draws.below(2)),
        }
    }

    fn unconsumed(&self) -> Vec<usize> {
        let nodes = &self.spec.nodes;
        let consumed = |n: &usize| nodes.iter().any(|node| node.inputs.iter().any(|input| input.from == *n));
        (0..nodes.len()).filter(|n| !nodes[*n].is_sink() && !consumed(n)).collect()
    }

    /// Somebody to consume.
    fn producer(&mut self) -> usize {
        let unconsumed = self.unconsumed();
        if unconsumed.is_empty() || self.chance(4) {
            return self.below(self.spec.nodes.len() as u64);
        }
        unconsumed[self.below(unconsumed.len() as u64)]
    }

    /// One producer, sometimes two.
    fn producers(&mut self) -> impl Iterator<Item = usize> + use<> {
        let more = if self.chance(6) { 1 } else { 0 };
        (0..=more).map(|_| self.producer()).collect::<Vec<_>>().into_iter()
    }

    fn add(&mut self, operator: Operator, from: Vec<(u16, usize)>) {
        let parallelism = [1, 2, 2, 3][self.below(4)];
        let fused = (!operator.is_sink() && self.chance(5)).then(|| self.step());
        let inputs = from.into_iter().map(|(port, from)| self.input(&operator, parallelism, port, from)).collect();
        self.spec.nodes.push(Node { operator, parallelism, inputs, fused });
    }

    fn input(&mut self, operator: &Operator, parallelism: u16, port: u16, from: usize) -> Input {
        let equal = self.spec.nodes[from].parallelism == parallelism;
        let exchange = if operator.is_keyed() {
            Travel::ByKey
        } else if (*operator == Operator::Enrich && port == 1) || self.chance(8) {
            Travel::Broadcast
        } else if equal && !self.chance(4) {
            Travel::Forward
        } else {
            Travel::Rebalance
        };
        Input { port, from, exchange }
    }

    /// Lets the first sink have something of every piece of the graph.
    fn hold_together(&mut self, sink: usize) {
        let pieces = self.spec.pieces();
        let mine = pieces[sink];
        let mut others: Vec<usize> = pieces.iter().copied().filter(|piece| *piece != mine).collect();
        others.dedup();
        others.sort_unstable();
        others.dedup();
        for from in others {
            // The first node of a piece is a source.
            let parallelism = self.spec.nodes[sink].parallelism;
            let input = self.input(&Operator::Write, parallelism, 0, from);
            self.spec.nodes[sink].inputs.push(input);
        }
    }
}

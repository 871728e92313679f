//! Simpler graphs: one piece less, and still valid. What shrinking tries.

use super::{GraphSpec, Input, Node, Operator, Travel};

impl GraphSpec {
    /// Every graph that is one step simpler, the most promising first.
    pub fn smaller(&self) -> impl Iterator<Item = Self> + '_ {
        let without = (0..self.nodes.len()).filter_map(|n| self.without(n));
        let narrower = (1..self.widest()).filter_map(|most| self.at_most_parallel(most));
        let narrowed = (0..self.nodes.len()).filter_map(|n| self.narrowed(n));
        let unfused = (0..self.nodes.len()).filter_map(|n| self.unfused(n));
        without.chain(narrower).chain(self.fewer_records()).chain(narrowed).chain(unfused)
    }

    /// Without node `n`: its consumers take what it took. What is left without input or without a consumer goes as well;
    /// `None` if nothing sensible is left.
    pub fn without(&self, n: usize) -> Option<Self> {
        let mut nodes: Vec<Option<Node>> = self.nodes.iter().cloned().map(Some).collect();
        bypass(&mut nodes, n);
        loop {
            let starved = (0..nodes.len()).find(|n| is_starved(nodes[*n].as_ref()));
            let ignored = (0..nodes.len()).find(|n| is_ignored(&nodes, *n));
            match (starved, ignored) {
                (Some(n), _) => bypass(&mut nodes, n),
                (None, Some(n)) => nodes[n] = None,
                (None, None) => break,
            }
        }
        let spec = Self { keys: self.keys, nodes: renumbered(nodes) };
        (spec != *self && spec.validate().is_ok()).then_some(spec)
    }

    /// With at most so many subtasks an operator; `None` if that changes nothing.
    pub fn at_most_parallel(&self, most: u16) -> Option<Self> {
        let mut spec = self.clone();
        spec.nodes.iter_mut().for_each(|node| node.parallelism = node.parallelism.min(most.max(1)));
        (spec != *self).then_some(spec)
    }

    /// With one subtask less of node `n`; what was forwarded to or from it is rebalanced.
    pub fn narrowed(&self, n: usize) -> Option<Self> {
        let mut spec = self.clone();
        spec.nodes[n].parallelism -= 1;
        (spec.nodes[n].parallelism >= 1).then(|| {
            spec.repair_exchanges();
            spec
        })
    }

    /// Without the step that is fused to node `n`.
    pub fn unfused(&self, n: usize) -> Option<Self> {
        let mut spec = self.clone();
        spec.nodes[n].fused.take().map(|_| spec)
    }

    /// With half the records of every source that has more than one a subtask.
    pub fn fewer_records(&self) -> Option<Self> {
        let mut spec = self.clone();
        for node in &mut spec.nodes {
            match &mut node.operator {
                Operator::Generate { records: count, .. } | Operator::Read { lines: count, .. } => {
                    *count = count.div_ceil(2);
                }
                _ => {}
            }
        }
        (spec != *self).then_some(spec)
    }

    /// The channels between its subtasks.
    pub fn channels(&self) -> u32 {
        let of = |node: &Node, input: &Input| match input.exchange {
            Travel::Forward => u32::from(node.parallelism),
            Travel::Rebalance | Travel::Broadcast | Travel::ByKey => {
                u32::from(node.parallelism) * u32::from(self.nodes[input.from].parallelism)
            }
        };
        self.nodes.iter().flat_map(|node| node.inputs.iter().map(move |input| of(node, input))).sum()
    }

    fn repair_exchanges(&mut self) {
        let parallelisms: Vec<u16> = self.nodes.iter().map(|node| node.parallelism).collect();
        for node in &mut self.nodes {
            for input in &mut node.inputs {
                if input.exchange == Travel::Forward && parallelisms[input.from] != node.parallelism {
                    input.exchange = Travel::Rebalance;
                }
            }
        }
    }
}

/// Takes a node out; whoever took records from it takes them from where it did, in a way that suits both.
fn bypass(nodes: &mut [Option<Node>], gone: usize) {
    let Some(old) = nodes[gone].take() else { return };
    let parallelisms: Vec<u16> = nodes.iter().map(|node| node.as_ref().map_or(0, |node| node.parallelism)).collect();
    for node in nodes.iter_mut().flatten() {
        let parallelism = node.parallelism;
        let inputs = std::mem::take(&mut node.inputs);
        for input in inputs {
            if input.from != gone {
                node.inputs.push(input);
                continue;
            }
            node.inputs.extend(old.inputs.iter().map(|before| {
                let forward = input.exchange == Travel::Forward && parallelisms[before.from] != parallelism;
                let exchange = if forward { Travel::Rebalance } else { input.exchange };
                Input { port: input.port, from: before.from, exchange }
            }));
        }
    }
}

/// Whether one of its inputs has nothing that comes in.
fn is_starved(node: Option<&Node>) -> bool {
    let has = |node: &Node, port| node.inputs.iter().any(|input| input.port == port);
    node.is_some_and(|node| (0..node.operator.ports()).any(|port| !has(node, port)))
}

fn is_ignored(nodes: &[Option<Node>], n: usize) -> bool {
    let consumed = nodes.iter().flatten().any(|node| node.inputs.iter().any(|input| input.from == n));
    nodes[n].as_ref().is_some_and(|node| !node.is_sink() && !consumed)
}

fn renumbered(nodes: Vec<Option<Node>>) -> Vec<Node> {
    let mut numbers = Vec::with_capacity(nodes.len());
    let mut next = 0;
    for node in &nodes {
        numbers.push(next);
        next += usize::from(node.is_some());
    }
    let mut left: Vec<Node> = nodes.into_iter().flatten().collect();
    for input in left.iter_mut().flat_map(|node| &mut node.inputs) {
        input.from = numbers[input.from];
    }
    left
}

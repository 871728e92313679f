//! Fewer records in the same time: what is left takes as much longer, so that the job meets as many checkpoints as before and
//! faults find it as they did. Fewer records alone make another, shorter run, in which most failures are gone.

use super::towards;
use crate::plan::graph::{GraphSpec, Node, Operator};
use crate::plan::{InputShape, Plan, Policy};
use crate::world::Delay;

/// Records of a source that are tried at once, whatever there were.
const FEW: [u64; 8] = [1, 2, 3, 5, 8, 13, 21, 34];

/// What takes the time of the records that are gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stretch {
    /// Nothing: the job is shorter.
    Nothing,
    /// Generators make their records one by one, evenly.
    Sources,
    /// Every record takes longer everywhere.
    Work,
}

/// Fewer records of every source, then of each.
pub fn fewer_records(plan: &Plan) -> Vec<Plan> {
    let counts = counts(&plan.input);
    let mut fewer: Vec<Vec<u64>> =
        FEW.iter().map(|most| counts.iter().map(|count| *count.min(most)).collect()).collect();
    fewer.extend((0..counts.len()).flat_map(|n| {
        let counts = &counts;
        let with = move |count| counts.iter().enumerate().map(|(m, old)| if m == n { count } else { *old }).collect();
        towards(counts[n], 1.min(counts[n])).into_iter().map(with)
    }));
    fewer.retain(|fewer| *fewer != counts);
    let stretches = [Stretch::Nothing, Stretch::Work, Stretch::Sources];
    let mut plans: Vec<Plan> = fewer
        .iter()
        .flat_map(|fewer| stretches.map(|stretch| with_records(plan, fewer, length_ns(plan), stretch)))
        .collect();
    let parts: Vec<Plan> = plans.iter().filter_map(|fewer| with_smaller_parts(fewer, plan)).collect();
    plans.extend(parts);
    plans.dedup();
    plans
}

/// Where snapshots are uploaded in parts, smaller ones are in as many.
fn with_smaller_parts(fewer: &Plan, plan: &Plan) -> Option<Plan> {
    let records = |plan: &Plan| plan.input.records(plan.parallelism) as usize;
    let part_bytes = (plan.policy.part_bytes * records(fewer) / records(plan).max(1)).max(1);
    in_parts(&plan.policy).then(|| Plan { policy: Policy { part_bytes, ..fewer.policy.clone() }, ..fewer.clone() })
}

/// Whether parts are smaller than those of the plainest policy.
pub fn in_parts(policy: &Policy) -> bool {
    policy.part_bytes < Policy::plain(policy.interval_ms, policy.timeout_ms).part_bytes
}

/// With so many records of each source, over so long.
pub fn with_records(plan: &Plan, counts: &[u64], length_ns: u64, stretch: Stretch) -> Plan {
    let mut plan = plan.clone();
    let lasted = pauses_ns(&plan.input);
    set_counts(&mut plan.input, counts);
    match stretch {
        Stretch::Nothing => {}
        Stretch::Sources => {
            let every = |count: u64| (length_ns / 1_000_000 / count.max(1), 1);
            set_pauses(&mut plan.input, |_, count, _| every(count));
        }
        Stretch::Work => {
            set_pauses(&mut plan.input, |n, count, burst| {
                (lasted[n] / 1_000_000 / count.div_ceil(burst).max(1), burst as usize)
            });
            plan.tuning.work_per_record = slower(plan.tuning.work_per_record, length_ns / load(&plan));
        }
    }
    plan
}

/// How long it takes at least until its input is processed, about.
pub fn length_ns(plan: &Plan) -> u64 {
    let Delay { base_ns, spread_ns, .. } = plan.tuning.work_per_record;
    let working = load(plan) * (base_ns + spread_ns / 2);
    pauses_ns(&plan.input).into_iter().fold(working, u64::max)
}

/// What each source makes: records of a subtask, or lines of all.
pub fn counts(input: &InputShape) -> Vec<u64> {
    match input {
        InputShape::Files { lines, .. } => vec![*lines],
        InputShape::Generated { records, .. } => vec![*records],
        InputShape::Graph(spec) => spec.nodes.iter().filter_map(|node| count(&node.operator)).collect(),
        // Whoever wrote the job is the one to make its input smaller.
        InputShape::Own(_) => Vec::new(),
    }
}

fn count(operator: &Operator) -> Option<u64> {
    match operator {
        Operator::Generate { records: count, .. } | Operator::Read { lines: count, .. } => Some(*count),
        _ => None,
    }
}

fn sources(spec: &mut GraphSpec) -> impl Iterator<Item = &mut Node> {
    spec.nodes.iter_mut().filter(|node| node.is_source())
}

/// Gives each source so many.
pub fn set_counts(input: &mut InputShape, counts: &[u64]) {
    match input {
        InputShape::Files { lines: count, .. } | InputShape::Generated { records: count, .. } => *count = counts[0],
        InputShape::Graph(spec) => sources(spec).zip(counts).for_each(|(node, to)| match &mut node.operator {
            Operator::Generate { records: count, .. } | Operator::Read { lines: count, .. } => *count = *to,
            _ => unreachable!("sources generate or read"),
        }),
        InputShape::Own(_) => {}
    }
}

/// By source: how long it waits between its bursts, all together.
fn pauses_ns(input: &InputShape) -> Vec<u64> {
    let pauses = |interval_ms: u64, count: u64, burst: usize| interval_ms * 1_000_000 * count.div_ceil(burst as u64);
    match input {
        InputShape::Files { .. } => vec![0],
        InputShape::Generated { records, interval_ms, burst, .. } => vec![pauses(*interval_ms, *records, *burst)],
        InputShape::Graph(spec) => {
            let of = |node: &Node| match node.operator {
                Operator::Generate { records, interval_ms, burst, .. } => pauses(interval_ms, records, burst),
                _ => 0,
            };
            spec.nodes.iter().filter(|node| node.is_source()).map(of).collect()
        }
        InputShape::Own(_) => Vec::new(),
    }
}

/// Sets interval and burst of each generator by its number among the sources, its count and its burst.
fn set_pauses(input: &mut InputShape, pause: impl Fn(usize, u64, u64) -> (u64, usize)) {
    match input {
        InputShape::Generated { records, interval_ms, burst, .. } => {
            (*interval_ms, *burst) = pause(0, *records, *burst as u64);
        }
        InputShape::Graph(spec) => sources(spec).enumerate().for_each(|(n, node)| {
            if let Operator::Generate { records, interval_ms, burst, .. } = &mut node.operator {
                (*interval_ms, *burst) = pause(n, *records, *burst as u64);
            }
        }),
        InputShape::Files { .. } | InputShape::Own(_) => {}
    }
}

/// Records of the busiest subtask.
fn load(plan: &Plan) -> u64 {
    match &plan.input {
        InputShape::Graph(spec) => spec.loads().into_iter().max().unwrap_or(1).max(1),
        input => input.records_each(plan.parallelism).max(1),
    }
}

/// So long in the mean.
fn slower(delay: Delay, mean_ns: u64) -> Delay {
    Delay { base_ns: mean_ns / 2, spread_ns: mean_ns, ..delay }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn fewer_records_take_as_long_as_more_did() {
        let mut stretched = 0;
        for plan in (0..100).map(Seed).map(Plan::of) {
            let before = plan.input.records(plan.parallelism);
            for fewer in fewer_records(&plan) {
                assert!(fewer.input.records(fewer.parallelism) < before, "{fewer}");
                assert_eq!(fewer.validate(), Ok(()), "{fewer}");
                let (long, longest) = (length_ns(&fewer), length_ns(&plan));
                assert!(long <= longest + longest / 10, "{long} of {longest}: {plan}\nto {fewer}");
                stretched += u64::from(long > longest - longest / 10);
            }
        }
        assert!(stretched > 1_000, "{stretched}");
    }
}

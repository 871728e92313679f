//! Another way to the same failure: a small run that is not made from the best by taking something away.
//!
//! What keeps a failing run large is mostly that a smaller one goes by at another pace. So the faults, the policy and the world
//! of the best stay, and everything that makes a run small or large is drawn again: the job and its few records, how long they
//! take, how often a checkpoint is taken, and where in all of that the faults strike.

use super::steps::pace::{self, Stretch};
use crate::plan::graph::{self, GraphSpec};
use crate::plan::input::Draws;
use crate::plan::{InputShape, Plan};
use crate::world::{CheckpointAt, Fault, Picks, Point, Trigger};

/// Most records of a small run.
pub const RECORDS: u64 = 10;
/// Most faults of a small run.
pub const FAULTS: usize = 2;
/// Operators of a graph that is drawn, at most.
const OPERATORS: usize = 6;
/// Most subtasks of an operator.
const PARALLELISM: u64 = 3;

/// What is smaller: fewer faults, then fewer records, then fewer subtasks.
pub fn weight(plan: &Plan) -> (usize, u64, u32) {
    (plan.faults.len(), plan.input.records(plan.parallelism), plan.input.subtasks(plan.parallelism))
}

/// Whether it is as small as anybody asks for.
pub fn is_small(plan: &Plan) -> bool {
    let (faults, records, _) = weight(plan);
    faults <= FAULTS && records <= RECORDS
}

/// A small plan in the manner of `best`; nothing if there is none.
pub fn draw(best: &Plan, draws: &mut Draws) -> Option<Plan> {
    let goal = 1 + draws.below(RECORDS.min(best.input.records(best.parallelism)));
    let mut plan = best.clone();
    reshape(&mut plan, goal, draws)?;
    let counts = few(&plan, goal, draws)?;
    let length_ns = scaled(pace::length_ns(best), [25, 50, 100, 100, 100, 200][draws.below(6) as usize]);
    let stretch = if draws.below(3) == 0 { Stretch::Sources } else { Stretch::Work };
    plan = pace::with_records(&plan, &counts, length_ns, stretch);
    plan.batch_records = 1;
    plan.policy.interval_ms = scaled(best.policy.interval_ms, [50, 75, 100, 100, 100, 150][draws.below(6) as usize]);
    if pace::in_parts(&best.policy) {
        let bytes = scaled(best.policy.part_bytes as u64, [10, 25, 50, 100][draws.below(4) as usize]);
        plan.policy.part_bytes = bytes as usize;
    }
    if best.picks.listed().is_some() {
        plan.picks = if draws.below(2) == 0 { Picks::Seed } else { Picks::turns() };
    }
    let length_ms = pace::length_ns(&plan) / 1_000_000;
    plan.faults.iter_mut().for_each(|fault| aim(fault, length_ms, draws));
    (weight(&plan) < weight(best) && plan.validate().is_ok()).then_some(plan)
}

fn scaled(value: u64, percent: u64) -> u64 {
    (value * percent / 100).max(1)
}

/// Another job: the best one's, with pieces less, or any.
fn reshape(plan: &mut Plan, goal: u64, draws: &mut Draws) -> Option<()> {
    plan.input = match (&plan.input, draws.below(3)) {
        (InputShape::Own(_), _) => return None,
        (InputShape::Graph(spec), 0 | 1) => InputShape::Graph(less(spec.clone(), draws.below(3), draws)),
        (shape, 0 | 1) => shape.clone(),
        (_, _) => {
            let mut spec = graph::draw(draws.below(u64::MAX));
            while spec.nodes.len() > OPERATORS || least(&spec) > goal {
                let smaller = less(spec.clone(), 1, draws);
                if smaller == spec {
                    return None;
                }
                spec = smaller;
            }
            InputShape::Graph(spec)
        }
    };
    plan.job = plan.input.job();
    plan.parallelism = plan.input.widest().unwrap_or(1 + draws.below(PARALLELISM) as u16);
    Some(())
}

/// After so many steps of those that make it smaller.
fn less(mut spec: GraphSpec, steps: u64, draws: &mut Draws) -> GraphSpec {
    for _ in 0..steps {
        let mut smaller: Vec<GraphSpec> = spec.smaller().collect();
        if smaller.is_empty() {
            break;
        }
        spec = smaller.swap_remove(draws.below(smaller.len() as u64) as usize);
    }
    spec
}

/// Records if every source made one.
fn least(spec: &GraphSpec) -> u64 {
    let mut input = InputShape::Graph(spec.clone());
    let ones = vec![1; pace::counts(&input).len()];
    pace::set_counts(&mut input, &ones);
    input.records(1)
}

/// Records of each source, no more than `goal` together.
fn few(plan: &Plan, goal: u64, draws: &mut Draws) -> Option<Vec<u64>> {
    let mut counts = vec![1; pace::counts(&plan.input).len()];
    let fits = |counts: &[u64]| {
        let mut input = plan.input.clone();
        pace::set_counts(&mut input, counts);
        input.records(plan.parallelism) <= goal
    };
    if counts.is_empty() || !fits(&counts) {
        return None;
    }
    for _ in 0..goal {
        let more = draws.below(counts.len() as u64) as usize;
        counts[more] += 1;
        if !fits(&counts) {
            counts[more] -= 1;
        }
    }
    Some(counts)
}

/// Somewhere else in the run, mostly.
fn aim(fault: &mut Fault, length_ms: u64, draws: &mut Draws) {
    match &mut fault.at {
        Trigger::Time { ms } => *ms = draws.below(length_ms + length_ms / 2 + 2),
        Trigger::Point(Point { checkpoint, subtask, occurrence, .. }) => {
            if let Some(CheckpointAt::Ordinal(nth)) = checkpoint
                && draws.below(2) == 0
            {
                *nth = draws.below(u64::from(*nth) + 3) as u32;
            }
            if draws.below(2) == 0 {
                *occurrence = draws.below(u64::from(*occurrence) + 2) as u32;
            }
            // Subtasks of another job are others.
            if draws.below(2) == 0 {
                *subtask = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn what_is_drawn_is_smaller_and_makes_sense() {
        let mut drawn = 0;
        for best in (0..40).map(Seed).map(Plan::of) {
            let mut draws = Draws::of(Seed(7), "fresh");
            for plan in (0..20).filter_map(|_| draw(&best, &mut draws)) {
                assert!(weight(&plan) < weight(&best) && plan.input.records(plan.parallelism) <= RECORDS, "{plan}");
                assert_eq!(plan.validate(), Ok(()), "{plan}");
                drawn += 1;
            }
        }
        assert!(drawn > 400, "{drawn}");
    }
}

//! What a shrink tries: each step proposes plans that are simpler in one respect and no less simple in any other.

mod fault;
pub mod pace;

use crate::plan::{Client, InputShape, Plan, Policy};
use crate::world::{Delay, Fault, Picks, Tuning};

/// Plans simpler than one, the boldest first.
pub type Step = fn(&Plan) -> Vec<Plan>;

/// All of them, in order: what makes the run smaller first, what makes it easier to read last.
pub const STEPS: &[Step] = &[
    fewer_faults,
    smaller_job,
    pace::fewer_records,
    no_spare_workers,
    fewer_workers,
    fewer_coordinators,
    fewer_clients,
    no_second_start,
    plainer_policy,
    quieter_world,
    smaller_batches,
    simpler_faults,
    fewer_checkpoints,
];

/// Between `value` and `goal`, strictly nearer to the goal: the goal itself, then ever smaller steps.
fn towards(value: u64, goal: u64) -> Vec<u64> {
    let (distance, down) = (value.abs_diff(goal), value > goal);
    let moved = |by: u64| if down { value - by } else { value + by };
    let mut steps = vec![distance, distance / 2, distance / 4, distance / 8, 1];
    steps.retain(|by| (1..=distance).contains(by));
    steps.dedup();
    steps.into_iter().map(moved).collect()
}

fn fewer_faults(plan: &Plan) -> Vec<Plan> {
    let count = plan.faults.len();
    let with = |faults: Vec<Fault>| Plan { faults, ..plan.clone() };
    let mut plans = Vec::new();
    if count > 1 {
        plans.push(with(Vec::new()));
        plans.push(with(plan.faults[..count / 2].to_vec()));
        plans.push(with(plan.faults[count / 2..].to_vec()));
    }
    plans.extend((0..count).rev().map(|out| {
        let mut faults = plan.faults.clone();
        faults.remove(out);
        with(faults)
    }));
    plans
}

fn simpler_faults(plan: &Plan) -> Vec<Plan> {
    let replaced = |at: usize, fault: Fault| {
        let mut faults = plan.faults.clone();
        faults[at] = fault;
        Plan { faults, ..plan.clone() }
    };
    let all = plan.faults.iter().enumerate();
    all.flat_map(|(at, fault)| fault::simpler(fault).into_iter().map(move |fault| replaced(at, fault))).collect()
}

fn smaller_job(plan: &Plan) -> Vec<Plan> {
    let with = |input: InputShape| Plan { input, ..plan.clone() };
    let mut plans: Vec<Plan> = match &plan.input {
        InputShape::Graph(spec) => spec.smaller().map(InputShape::Graph).map(with).collect(),
        // Whoever wrote the job is the one to make it smaller.
        InputShape::Own(_) => Vec::new(),
        shape @ (InputShape::Files { .. } | InputShape::Generated { .. }) => {
            smaller_input(shape).into_iter().map(with).collect()
        }
    };
    if plan.input.widest().is_none() {
        let narrower = towards(plan.parallelism.into(), 1).into_iter();
        plans.extend(narrower.map(|parallelism| Plan { parallelism: parallelism as u16, ..plan.clone() }));
    }
    // What a graph says of its width, the plan repeats.
    for plan in &mut plans {
        plan.parallelism = plan.input.widest().unwrap_or(plan.parallelism);
    }
    plans
}

fn smaller_input(shape: &InputShape) -> Vec<InputShape> {
    let mut shapes = Vec::new();
    let mut push = |change: &dyn Fn(&mut InputShape)| {
        let mut changed = shape.clone();
        change(&mut changed);
        if changed != *shape {
            shapes.push(changed);
        }
    };
    push(&|shape| {
        if let InputShape::Files { files, empty_file, cut_off, .. } = shape {
            (*files, *empty_file, *cut_off) = (1, false, false);
        }
    });
    push(&|shape| {
        if let InputShape::Files { empty_file, cut_off, .. } = shape {
            (*empty_file, *cut_off) = (false, false);
        }
    });
    push(&|shape| {
        if let InputShape::Files { words, words_max, .. } = shape {
            (*words, *words_max) = (1, 1);
        }
    });
    push(&|shape| {
        if let InputShape::Files { words_max, .. } = shape {
            *words_max = 1;
        }
    });
    push(&|shape| {
        if let InputShape::Generated { interval_ms, burst, .. } = shape {
            (*interval_ms, *burst) = (0, 1);
        }
    });
    push(&|shape| {
        if let InputShape::Generated { keys, .. } = shape {
            *keys = 1;
        }
    });
    shapes
}

/// As many as there are, and the job needs them all.
fn no_spare_workers(plan: &Plan) -> Vec<Plan> {
    if plan.spare_workers == 0 { Vec::new() } else { vec![Plan { spare_workers: 0, ..plan.clone() }] }
}

/// Who names a worker that is gone names the last one left.
fn fewer_workers(plan: &Plan) -> Vec<Plan> {
    let fewer = |workers: u64| {
        let workers = workers as u16;
        let mut plan = Plan { workers, spare_workers: plan.spare_workers.min(workers - 1), ..plan.clone() };
        plan.faults.iter_mut().for_each(|fault| fault::within(fault, workers));
        plan
    };
    towards(plan.workers.into(), 1).into_iter().map(fewer).collect()
}

/// One coordinator, which whoever names another one names then.
fn fewer_coordinators(plan: &Plan) -> Vec<Plan> {
    if plan.standby_lease_ms.is_none() {
        return Vec::new();
    }
    let mut alone = Plan { standby_lease_ms: None, ..plan.clone() };
    alone.faults.iter_mut().for_each(fault::without_standby);
    vec![alone]
}

/// Fewer clients, each with fewer wishes. Faults of a client that is gone are gone with it.
fn no_second_start(plan: &Plan) -> Vec<Plan> {
    plan.second_start.iter().map(|_| Plan { second_start: None, ..plan.clone() }).collect()
}

fn fewer_clients(plan: &Plan) -> Vec<Plan> {
    let with = |clients: Vec<Client>| {
        let mut plan = Plan { clients, ..plan.clone() };
        let left = plan.clone();
        plan.faults.retain(|fault| fault.what.names().into_iter().all(|process| left.has(process)));
        plan
    };
    let mut plans = Vec::new();
    for out in (0..plan.clients.len()).rev() {
        let mut clients = plan.clients.clone();
        clients.remove(out);
        plans.push(with(clients));
    }
    for (n, client) in plan.clients.iter().enumerate() {
        for out in (0..client.asks.len()).rev().filter(|_| client.asks.len() > 1) {
            let mut clients = plan.clients.clone();
            clients[n].asks.remove(out);
            plans.push(with(clients));
        }
    }
    plans
}

fn plainer_policy(plan: &Plan) -> Vec<Plan> {
    let plain = Policy::plain(plan.policy.interval_ms, plan.policy.timeout_ms);
    let fields: [fn(&mut Policy, &Policy); 9] = [
        |policy, plain| policy.min_pause_ms = plain.min_pause_ms,
        |policy, plain| policy.max_concurrent = plain.max_concurrent,
        |policy, plain| policy.tolerable_failures = plain.tolerable_failures,
        |policy, plain| policy.mode = plain.mode,
        |policy, plain| policy.snapshot = plain.snapshot,
        |policy, plain| policy.part_bytes = plain.part_bytes,
        |policy, plain| policy.retained = plain.retained,
        |policy, plain| policy.retention = plain.retention,
        |policy, plain| policy.restart = plain.restart,
    ];
    let one = |set: &fn(&mut Policy, &Policy)| {
        let mut policy = plan.policy.clone();
        set(&mut policy, &plain);
        policy
    };
    let mut policies = vec![plain.clone()];
    policies.extend(fields.iter().map(one));
    policies.into_iter().map(|policy| Plan { policy, ..plan.clone() }).filter(|simpler| simpler != plan).collect()
}

fn quieter_world(plan: &Plan) -> Vec<Plan> {
    let even = |delay: Delay| Delay { tail_one_in: 0, tail_factor: 1, ..delay };
    let fields: [&dyn Fn(&mut Tuning); 6] = [
        &|tuning| (tuning.drift_ppm, tuning.slowness_percent) = (0, 0),
        &|tuning| (tuning.unfair_links, tuning.half_open_one_in) = (1, 0),
        &|tuning| {
            (tuning.timer, tuning.bell, tuning.spawn) = (even(tuning.timer), even(tuning.bell), even(tuning.spawn))
        },
        &|tuning| (tuning.link, tuning.break_notice) = (even(tuning.link), even(tuning.break_notice)),
        &|tuning| (tuning.storage, tuning.late_effect) = (even(tuning.storage), even(tuning.late_effect)),
        &|tuning| tuning.work_per_record = even(tuning.work_per_record),
    ];
    let mut all = plan.tuning.clone();
    fields.iter().for_each(|change| change(&mut all));
    let one = |change: &&dyn Fn(&mut Tuning)| {
        let mut tuning = plan.tuning.clone();
        change(&mut tuning);
        tuning
    };
    let tunings = std::iter::once(all).chain(fields.iter().map(one));
    tunings.filter(|tuning| *tuning != plan.tuning).map(|tuning| Plan { tuning, ..plan.clone() }).collect()
}

fn smaller_batches(plan: &Plan) -> Vec<Plan> {
    let batches = towards(plan.batch_records as u64, 1).into_iter();
    let credits = towards(plan.credits.into(), 1).into_iter();
    let batches = batches.map(|batch_records| Plan { batch_records: batch_records as usize, ..plan.clone() });
    let credits = credits.map(|credits| Plan { credits: credits as u32, ..plan.clone() });
    batches.chain(credits).collect()
}

/// Longer intervals.
fn fewer_checkpoints(plan: &Plan) -> Vec<Plan> {
    const LONGEST_MS: u64 = 2_000;
    let intervals = towards(plan.policy.interval_ms, LONGEST_MS.max(plan.policy.interval_ms));
    let with = |interval_ms| Plan { policy: Policy { interval_ms, ..plan.policy.clone() }, ..plan.clone() };
    // The last step of all, one millisecond, is not worth a run.
    intervals.into_iter().filter(|ms| *ms > plan.policy.interval_ms + plan.policy.interval_ms / 4).map(with).collect()
}

/// Without `length` of the listed choices, each piece in turn, the latest first.
pub fn without_chunks(plan: &Plan, length: usize) -> Vec<Plan> {
    let Picks::Turns { but } = &plan.picks else { return Vec::new() };
    let starts = (0..but.len()).step_by(length.max(1)).rev();
    let without = |start: usize| {
        let mut left = but.clone();
        left.drain(start..(start + length).min(left.len()));
        Plan { picks: Picks::Turns { but: left }, ..plan.clone() }
    };
    starts.map(without).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn steps_lead_nearer_and_end() {
        assert_eq!(towards(100, 0), [0, 50, 75, 88, 99]);
        assert_eq!(towards(2, 1), [1]);
        assert_eq!(towards(1, 3), [3, 2]);
        assert_eq!(towards(7, 7), Vec::<u64>::new());
    }

    #[test]
    fn every_step_proposes_another_plan_that_makes_sense() {
        for plan in (0..60).map(Seed).map(Plan::of) {
            for step in STEPS {
                for simpler in step(&plan) {
                    assert_ne!(simpler, plan);
                    assert_eq!(simpler.validate(), Ok(()), "{simpler}");
                }
            }
        }
    }

    /// Taking any step again and again comes to an end: shrinking does.
    #[test]
    fn no_step_can_be_taken_for_ever() {
        for mut plan in (0..12).map(Seed).map(Plan::of) {
            for round in 0.. {
                let Some(simpler) = STEPS.iter().find_map(|step| step(&plan).pop()) else { break };
                plan = simpler;
                assert!(round < 20_000, "{plan}");
            }
        }
    }
}

//! Limits that a run comes near: a limit says nothing until something has happened as often as it allows, and once more.
//!
//! Most drawn jobs may restart, and fail to checkpoint, as often as it takes, because their other faults need that. Here the limit is
//! low, and what it counts happens about as often:
//! 1. restarts: one to three, by one of the strategies that count; workers crash one to four times, at any time;
//! 2. checkpoints that fail in a row: none or one is tolerated; once or twice, uploads fail for longer than anybody tries again.
//!
//! Whether the job may then fail for good is for `clean-failure` to say.

use super::aim;
use crate::plan::Plan;
use crate::plan::input::Draws;
use crate::world::{Fault, FaultKind, Requests, Target, Trigger};
use cofferdam_engine::config::RestartStrategy;
use cofferdam_engine::ids::WorkerId;
use cofferdam_properties::history::Process;
use std::time::Duration;

/// Lowers a limit of the job, and strikes it until it is reached, or nearly.
pub(super) fn near(plan: &mut Plan, draws: &mut Draws) {
    plan.faults.clear();
    if draws.below(2) == 0 { restarts(plan, draws) } else { failed_checkpoints(plan, draws) }
}

fn restarts(plan: &mut Plan, draws: &mut Draws) {
    let length_ms = aim::length_ms(plan);
    let allowed = 1 + draws.below(3) as u32;
    let delay = Duration::from_millis(1 + draws.below(60));
    plan.policy.restart = match draws.below(3) {
        0 => RestartStrategy::FixedDelay { attempts: allowed, delay },
        1 => {
            let interval = Duration::from_millis(50 + draws.below(length_ms));
            RestartStrategy::FailureRate { failures: allowed, interval, delay }
        }
        _ => RestartStrategy::ExponentialDelay {
            initial: delay,
            max: delay * 4,
            multiplier_percent: 100 + draws.below(200) as u32,
            jitter_percent: draws.below(50) as u32,
            reset_after: Duration::from_millis(100 + draws.below(length_ms)),
            attempts: Some(allowed),
        },
    };
    for _ in 0..=draws.below(u64::from(allowed) + 1) {
        let worker = WorkerId(draws.below(u64::from(plan.workers)) as u16);
        let process = Target::Process(Process::Worker(worker));
        let what = FaultKind::Crash { process, restart_after_ms: 1 + draws.below(80) };
        plan.faults.push(at_any_time(plan, what, draws));
    }
}

fn failed_checkpoints(plan: &mut Plan, draws: &mut Draws) {
    plan.policy.tolerable_failures = draws.below(2) as u32;
    // As the generator has it: checkpoints that expire would be failures that nobody struck.
    plan.policy.timeout_ms = 1_000 + aim::length_ms(plan) * 16;
    for _ in 0..=draws.below(2) {
        let (prefix, count) = ("checkpoints/chk".to_owned(), 10 + draws.below(60) as u32);
        let what = FaultKind::FailStorage { prefix, requests: Requests::Writes, count };
        plan.faults.push(at_any_time(plan, what, draws));
    }
}

fn at_any_time(plan: &Plan, what: FaultKind, draws: &mut Draws) -> Fault {
    Fault { at: Trigger::Time { ms: draws.below(aim::length_ms(plan) * 3 / 2) }, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn some_plans_reach_their_limit_and_some_stay_below() {
        let (mut reached, mut below) = (0, 0);
        for seed in (0..200).map(Seed) {
            let mut plan = Plan::of(seed);
            near(&mut plan, &mut Draws::of(seed, "limits"));
            assert_eq!(plan.validate(), Ok(()), "{plan}");
            let RestartStrategy::FixedDelay { attempts, .. } = plan.policy.restart else { continue };
            match plan.faults.len() as u32 {
                faults if faults > attempts => reached += 1,
                _ => below += 1,
            }
        }
        assert!(reached > 5 && below > 5, "{reached} reached, {below} below");
    }
}

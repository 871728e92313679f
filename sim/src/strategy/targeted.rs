//! Drawn jobs, struck where it hurts: every event that the job comes by is as likely as any other, and so is every kind of
//! fault. The generator knows which scenarios are worth more; this knows nothing of that, and so has no blind spot of its own.
//! Some are struck where they have a limit, some just when an answer decides what happens next.

use super::{Strategy, aim, crucial, limits};
use crate::plan::input::Draws;
use crate::plan::{KINDS, Plan};
use crate::seed::Seed;
use crate::world::Fault;

/// Most faults that are aimed; what they need first comes on top.
const FAULTS_MAX: u64 = 3;

/// One plan in so many is about a limit ([`limits`]), and one about crucial requests ([`crucial`]).
const SPECIAL_ONE_IN: u64 = 10;

/// See the head of the file.
pub struct Targeted;

impl Strategy for Targeted {
    fn plan(&self, seed: Seed, _: &[Plan]) -> Plan {
        let mut plan = Plan::of(seed);
        let mut draws = Draws::of(seed, "targeted");
        match draws.below(SPECIAL_ONE_IN) {
            0 => {
                limits::near(&mut plan, &mut draws);
                return plan;
            }
            1 => {
                crucial::strike(&mut plan, &mut draws);
                return plan;
            }
            _ => {}
        }
        plan.faults.clear();
        for _ in 0..=draws.below(FAULTS_MAX) {
            let faults = aimed(&plan, &mut draws);
            plan.faults.extend(faults);
        }
        plan
    }
}

/// A fault at one of the coordinates of a plan, behind the one that takes the run there.
pub(super) fn aimed(plan: &Plan, draws: &mut Draws) -> Vec<Fault> {
    let within: Vec<&aim::Aim> = aim::AIMS.iter().filter(|aim| aim::reaches(plan, aim)).collect();
    let aim = within[draws.below(within.len() as u64) as usize];
    let mut faults: Vec<Fault> = aim::cause(plan, aim, draws).into_iter().collect();
    let at = aim::point(plan, aim, draws);
    let target = aim::target(plan, draws);
    let kind = KINDS[draws.below(KINDS.len() as u64) as usize];
    faults.push(Fault { at, what: aim::of_kind(kind, target, plan, draws) });
    faults
}

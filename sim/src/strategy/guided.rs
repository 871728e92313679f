//! Plans that reached something new, changed a little: what lies beside a rare state is rarely drawn, and often a step away.
//!
//! 1. The ledger keeps plans whose runs hit a cell of the coverage that no run had hit before.
//! 2. A seed picks one of them, the newest more often, and one to three changes: a fault more or less, another kind of fault
//!    at the same place, the same fault elsewhere, another schedule.
//! 3. With nothing kept yet, and now and then, it is a targeted plan.

use super::targeted::{Targeted, aimed};
use super::{Strategy, aim, priority};
use crate::plan::input::Draws;
use crate::plan::{KINDS, Plan};
use crate::seed::Seed;
use crate::world::{CheckpointAt, Picks, Point, Target, Trigger};

/// Faults that a plan collects, at most.
const FAULTS_MAX: usize = 6;

/// One plan in so many is a new one, or all of them would descend from the first few.
const FRESH_ONE_IN: u64 = 4;

/// See the head of the file.
pub struct Guided;

impl Strategy for Guided {
    fn plan(&self, seed: Seed, kept: &[Plan]) -> Plan {
        let mut draws = Draws::of(seed, "guided");
        if kept.is_empty() || draws.below(FRESH_ONE_IN) == 0 {
            return Targeted.plan(seed, kept);
        }
        let mut plan = kept[kept.len() - 1 - draws.skewed(kept.len() as u64) as usize].clone();
        for _ in 0..=draws.below(3) {
            change(&mut plan, &mut draws);
        }
        plan
    }
}

fn change(plan: &mut Plan, draws: &mut Draws) {
    let at = draws.below(plan.faults.len() as u64) as usize;
    let full = plan.faults.len() >= FAULTS_MAX;
    match draws.below(5) {
        0 if !full => {
            let more = aimed(plan, draws);
            plan.faults.extend(more);
        }
        0 | 1 if plan.faults.len() > 1 => drop(plan.faults.remove(at)),
        2 if !plan.faults.is_empty() => {
            let target = match &plan.faults[at].at {
                Trigger::Point(_) => aim::target(plan, draws),
                Trigger::Time { .. } => plan.faults[at].what.target().unwrap_or(Target::Leader),
            };
            let kind = KINDS[draws.below(KINDS.len() as u64) as usize];
            plan.faults[at].what = aim::of_kind(kind, target, plan, draws);
        }
        3 => plan.picks = if draws.below(3) == 0 { Picks::Seed } else { priority::picks(draws) },
        _ if !plan.faults.is_empty() => {
            let length_ms = aim::length_ms(plan);
            match &mut plan.faults[at].at {
                Trigger::Point(point) => shift(point, draws),
                Trigger::Time { ms } => *ms = draws.below(length_ms * 3 / 2),
            }
        }
        _ => plan.faults.extend(aimed(plan, draws)),
    }
}

/// Another occurrence, another checkpoint, or the step beside it.
fn shift(point: &mut Point, draws: &mut Draws) {
    let later = draws.below(2) == 0;
    let moved = |number: u32| if later { number.saturating_add(1) } else { number.saturating_sub(1) };
    match (draws.below(3), &mut point.checkpoint) {
        (0, Some(CheckpointAt::Ordinal(ordinal))) => *ordinal = moved(*ordinal),
        (1, checkpoint) => {
            let here = aim::AIMS.iter().position(|aim| aim.event == point.event).unwrap_or_default();
            let beside = &aim::AIMS[(moved(here as u32) as usize).min(aim::AIMS.len() - 1)];
            point.event = beside.event.to_owned();
            if !beside.of_checkpoint {
                *checkpoint = None;
            }
        }
        _ => point.occurrence = moved(point.occurrence),
    }
}

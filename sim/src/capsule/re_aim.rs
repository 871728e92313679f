//! `replay --re-aim`: after a change of the engine a capsule's faults may find nothing at their coordinates any more. What it
//! was written for mostly still happens nearby.
//!
//! 1. The nearest coordinates: other occurrences of the same event, the checkpoints before and after, less strict filters.
//! 2. The same plan under other schedules, a bounded number of them.
//!
//! The first run that does what the capsule expects replaces the one in the file; the story stays.

use super::{Capsule, Replayed, Stale, text};
use crate::cli::{complain, planted};
use crate::exit::Exit;
use crate::plan::Plan;
use crate::run::Runner;
use crate::seed::{GENERATOR, Seed};
use crate::verdict::Outcome;
use crate::world::{CheckpointAt, Fault, Picks, Point, Trigger};
use cofferdam_launch::out;
use std::path::Path;

/// Schedules under which the plan itself is tried.
const SCHEDULES: u64 = 400;
/// Schedules under which each neighbour is tried.
const SCHEDULES_EACH: u64 = 3;
/// How far a coordinate is moved.
const FAR: u32 = 4;

/// Aims the capsule in `path` again, if it has to be.
pub fn command(runner: &Runner, path: &Path, capsule: &Capsule) -> Exit {
    let here = planted() == capsule.bug;
    if let Some(bug) = capsule.bug.as_ref().filter(|_| !here) {
        // Here it has to pass, and nearly everything does: that is no aim.
        let message = format!("{}: only a build with the planted bug {bug} can aim it again", path.display());
        return complain(&message, Exit::Usage);
    }
    let outcome = runner.run_plan(capsule.seed(), capsule.plan.clone());
    let replayed = capsule.weigh(&outcome, here);
    if let Replayed::Reproduces { exactly } = replayed {
        out::say(format_args!(
            "{}: {replayed}; {}",
            path.display(),
            if exactly { "nothing to do" } else { "written down anew" }
        ));
        return if exactly { Exit::Clean } else { rewrite(path, capsule, &outcome) };
    }
    if replayed == Replayed::Stale(Stale::AnotherRun) {
        let message =
            format!("{}: {replayed}: there is nothing to aim; say what it `reaches`, or delete it", path.display());
        return complain(&message, Exit::Stale);
    }
    out::say(format_args!("{}: {replayed}", path.display()));
    let mut tried = 0;
    let found = neighbours(&capsule.plan, &outcome)
        .into_iter()
        .flat_map(|plan| (0..SCHEDULES_EACH).map(move |n| (plan.clone(), n)))
        .chain(schedules(&capsule.plan))
        .find_map(|(plan, n)| {
            tried += 1;
            let outcome = runner.run_plan(Seed(capsule.seed).plus(n), plan);
            matches!(capsule.weigh(&outcome, here), Replayed::Reproduces { .. }).then_some(outcome)
        });
    match found {
        Some(outcome) => {
            out::say(format_args!("found after {tried} run(s) nearby:\n{}", outcome.plan));
            rewrite(path, capsule, &outcome)
        }
        None => complain(
            &format!("{}: {} does not happen in {tried} runs nearby", path.display(), capsule.expect),
            Exit::Stale,
        ),
    }
}

fn rewrite(path: &Path, capsule: &Capsule, outcome: &Outcome) -> Exit {
    let again = Capsule {
        generator: GENERATOR,
        seed: outcome.seed.0,
        fingerprint: format!("{:016x}", outcome.fingerprint),
        plan: outcome.plan.clone(),
        signature: Capsule::of(outcome).signature,
        ..capsule.clone()
    };
    match text::save(path, &again) {
        Ok(()) => Exit::Clean,
        Err(message) => complain(&message, Exit::Usage),
    }
}

/// Plans in which one fault that never fired, or any if all did, waits at another coordinate, the nearest first.
fn neighbours(plan: &Plan, outcome: &Outcome) -> Vec<Plan> {
    let silent: Vec<usize> =
        (0..plan.faults.len()).filter(|n| outcome.faults.get(*n).is_none_or(|fault| fault.struck == 0)).collect();
    let moved = if silent.is_empty() { (0..plan.faults.len()).collect() } else { silent };
    let mut plans: Vec<(u32, Plan)> = Vec::new();
    for at in moved {
        for (distance, trigger) in near(&plan.faults[at].at) {
            let mut faults = plan.faults.clone();
            faults[at] = Fault { at: trigger, what: faults[at].what.clone() };
            plans.push((distance, Plan { faults, ..plan.clone() }));
        }
    }
    plans.sort_by_key(|(distance, _)| *distance);
    plans.into_iter().map(|(_, plan)| plan).collect()
}

/// Coordinates around one, with their distance.
fn near(trigger: &Trigger) -> Vec<(u32, Trigger)> {
    let point = match trigger {
        Trigger::Time { ms } => {
            let around = |n: u32| {
                [ms.saturating_sub(u64::from(n) * 20), ms + u64::from(n) * 20].map(|ms| (n, Trigger::Time { ms }))
            };
            return (1..=FAR).flat_map(around).collect();
        }
        Trigger::Point(point) => point,
    };
    let mut points: Vec<(u32, Point)> = Vec::new();
    let around =
        |value: u32| (value.saturating_sub(FAR)..=value + FAR).map(move |other| (value.abs_diff(other), other));
    let mut loose = vec![(0, point.clone())];
    loose.push((1, Point { subtask: None, ..point.clone() }));
    loose.push((1, Point { process: None, ..point.clone() }));
    loose.push((2, Point { subtask: None, process: None, ..point.clone() }));
    for (strictness, base) in loose {
        for (distance, occurrence) in around(base.occurrence) {
            points.push((strictness + distance, Point { occurrence, ..base.clone() }));
        }
        if let Some(CheckpointAt::Ordinal(n)) = base.checkpoint {
            for (distance, other) in around(n).filter(|(distance, _)| *distance > 0) {
                let checkpoint = Some(CheckpointAt::Ordinal(other));
                points.push((strictness + distance, Point { checkpoint, occurrence: 0, ..base.clone() }));
            }
            points.push((strictness + FAR, Point { checkpoint: None, ..base.clone() }));
        }
    }
    points.retain(|(_, near)| near != point);
    points.into_iter().map(|(distance, point)| (distance, Trigger::Point(point))).collect()
}

/// The plan under other schedules.
fn schedules(plan: &Plan) -> impl Iterator<Item = (Plan, u64)> {
    let drawn = Plan { picks: Picks::Seed, ..plan.clone() };
    (0..SCHEDULES).map(move |n| (drawn.clone(), n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_coordinates_come_first_and_the_old_one_not_at_all() {
        let point = Point {
            event: "ack_sent".into(),
            checkpoint: Some(CheckpointAt::Ordinal(2)),
            occurrence: 1,
            ..Point::default()
        };
        let trigger = Trigger::Point(point);
        let mut all = near(&trigger);
        all.sort_by_key(|(distance, _)| *distance);
        assert!(all.iter().all(|(_, other)| *other != trigger));
        let occurrence = |(_, trigger): &(u32, Trigger)| match trigger {
            Trigger::Point(point) => point.occurrence,
            Trigger::Time { .. } => unreachable!("a point has points for neighbours"),
        };
        assert_eq!(all[..2].iter().map(occurrence).collect::<Vec<_>>(), [0, 2]);
    }
}

//! Restart policy: a failed attempt is followed by the next as often, and as long after it, as the restart strategy says.
//!
//! Source: Flink, *Task Failure Recovery*. Each leadership's failures and completions are replayed, in the order in which it
//! announced them, through a strategy of our own:
//! 1. the announced delay is one that the strategy may draw: always the same, or, if it is exponential, the one that follows
//!    from the last, moved by no more than its jitter;
//! 2. no restart is announced that the strategy does not allow;
//! 3. the next attempt is deployed no sooner than the delay says.
//!
//! Whether peace has lasted for long enough is a matter of the coordinator's clock. Near the border both answers are
//! accepted, and what follows is compared with both. That a job does not fail too early is
//! [`clean_failure`](super::clean_failure)'s business.

use crate::case::{Case, Property, Violation};
use crate::history::{Fact, Incarnation, What};
use cofferdam_engine::config::RestartStrategy;
use cofferdam_engine::event::Event;
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "restart-policy";

/// Clocks drift by less, in percent.
const DRIFT: u128 = 10;

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "attempts follow failures as often, and as long after them, as the restart strategy says",
    source: "Flink: Task Failure Recovery",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let strategy = case.job.config.restart;
    let mut leaders: BTreeMap<Incarnation, Leader> = BTreeMap::new();
    for &at in &case.ledger().protocol {
        let entry = &case.history.entries[at];
        let wrong = match &entry.what {
            What::Claim(Event::RestartScheduled { attempt, delay_ns }) => {
                let leader = leaders.entry(entry.by).or_default();
                leader.on_restart(strategy, entry.time, *delay_ns).map(|message| (attempt, message))
            }
            What::Claim(Event::AttemptDeployed { attempt, .. }) => {
                let leader = leaders.entry(entry.by).or_default();
                leader.on_deployed(entry.time).map(|message| (attempt, message))
            }
            What::Claim(Event::CompletionDurable { .. }) => {
                leaders.entry(entry.by).or_default().in_a_row = 0;
                None
            }
            // Who was deposed and leads again, in the same process, counts afresh.
            What::Fact(Fact::Crashed) | What::Claim(Event::LeadershipTaken { .. }) => {
                leaders.remove(&entry.by);
                None
            }
            What::Claim(_) | What::Fact(_) => None,
        };
        if let Some((attempt, message)) = wrong {
            return Some(Violation::new(NAME, at, attempt, message));
        }
    }
    None
}

/// What one leadership has announced.
#[derive(Default)]
struct Leader {
    /// Restarts since the last completion.
    in_a_row: u32,
    /// When restarts were announced.
    times: Vec<u64>,
    /// Every way in which an exponential strategy may stand.
    grown: Vec<Grown>,
    /// The last failure and the delay after it.
    waits: Option<(u64, u64)>,
}

/// How an exponential strategy stands behind a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Grown {
    /// The last delay on average, and when the restart was due.
    mean: u64,
    due: u64,
    restarts: u32,
}

impl Leader {
    fn on_restart(&mut self, strategy: RestartStrategy, now: u64, delay: u64) -> Option<String> {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.times.push(now);
        self.waits = Some((now, delay));
        let shown = Duration::from_nanos(delay);
        let steady = |expected: Duration| {
            (nanos(expected) != delay).then(|| format!("restarts after {shown:?} instead of {expected:?}"))
        };
        match strategy {
            RestartStrategy::None => Some("restarts, which is never allowed".to_owned()),
            RestartStrategy::FixedDelay { attempts, .. } if self.in_a_row > attempts => {
                Some(format!("restarts for the {}th time in a row, {attempts} are allowed", self.in_a_row))
            }
            RestartStrategy::FixedDelay { delay, .. } => steady(delay),
            RestartStrategy::FailureRate { failures, interval, delay } => {
                let since = now.saturating_sub(less(nanos(interval)));
                let recent = self.times.iter().filter(|time| **time > since).count();
                let too_many = recent > failures as usize;
                let message =
                    || format!("restarts after {recent} failures within {interval:?}, {failures} are allowed");
                too_many.then(message).or_else(|| steady(delay))
            }
            RestartStrategy::ExponentialDelay { .. } => {
                let next = followers(strategy, &self.grown, now);
                let expected: Vec<Duration> = next.iter().map(|grown| Duration::from_nanos(grown.mean)).collect();
                self.grown = next.into_iter().filter(|grown| is_drawn(strategy, grown.mean, delay)).collect();
                self.grown.is_empty().then(|| format!("restarts after {shown:?}, which is none of {expected:?}"))
            }
        }
    }

    fn on_deployed(&mut self, now: u64) -> Option<String> {
        let (failed, delay) = self.waits.take()?;
        let waited = now.saturating_sub(failed);
        let says = || {
            format!(
                "is deployed {:?} after the last failed instead of {:?}",
                Duration::from_nanos(waited),
                Duration::from_nanos(delay)
            )
        };
        (waited < less(delay)).then(says)
    }
}

/// How an exponential strategy may stand after one more failure; nowhere if it must have given up.
fn followers(strategy: RestartStrategy, before: &[Grown], now: u64) -> Vec<Grown> {
    let RestartStrategy::ExponentialDelay { initial, max, multiplier_percent, reset_after, attempts, .. } = strategy
    else {
        return Vec::new();
    };
    let standing = |mean: Duration, restarts| {
        let mean = nanos(mean.min(max));
        Grown { mean, due: now + mean, restarts }
    };
    let mut next = Vec::new();
    if before.is_empty() {
        next.push(standing(initial, 1));
    }
    for Grown { mean, due, restarts } in before {
        let (peace, enough) = (now.saturating_sub(*due), nanos(reset_after));
        if peace >= less(enough) {
            next.push(standing(initial, 1));
        }
        if less(peace) <= enough {
            let grown = u128::from(*mean) * u128::from(multiplier_percent) / 100;
            let grown = Duration::from_nanos(u64::try_from(grown).unwrap_or(u64::MAX));
            next.push(standing(grown, restarts + 1));
        }
    }
    next.retain(|grown| attempts.is_none_or(|attempts| grown.restarts <= attempts));
    next.dedup();
    next
}

/// Whether `delay` is `mean`, moved by the jitter.
fn is_drawn(strategy: RestartStrategy, mean: u64, delay: u64) -> bool {
    let RestartStrategy::ExponentialDelay { jitter_percent, .. } = strategy else { return false };
    let most = u128::from(mean) * u128::from(jitter_percent) / 100;
    u128::from(mean.abs_diff(delay)) <= most + 1
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The same by the fastest clock.
fn less(nanos: u64) -> u64 {
    u64::try_from(u128::from(nanos) * (100 - DRIFT) / 100).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Process;
    use crate::story::Story;
    use cofferdam_engine::ids::Generation;

    const MS: u64 = 1_000_000;

    fn exponential(attempts: Option<u32>) -> RestartStrategy {
        RestartStrategy::ExponentialDelay {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(40),
            multiplier_percent: 200,
            jitter_percent: 10,
            reset_after: Duration::from_millis(1000),
            attempts,
        }
    }

    /// The first complaint about restarts with these delays, announced at these times, all in milliseconds.
    fn complaint(strategy: RestartStrategy, restarts: &[(u64, u64)]) -> Option<String> {
        let mut leader = Leader::default();
        restarts.iter().find_map(|(time, delay)| leader.on_restart(strategy, time * MS, delay * MS))
    }

    #[test]
    fn exponential_delays_that_grow_and_start_afresh_after_peace_pass() {
        let restarts = [(100, 10), (200, 21), (300, 40), (400, 37), (2000, 9), (2100, 20)];
        assert_eq!(complaint(exponential(Some(4)), &restarts), None);
    }

    #[test]
    fn a_delay_that_does_not_grow_convicts() {
        let message = complaint(exponential(None), &[(100, 10), (200, 10)]).expect("a conviction");
        assert_eq!(message, "restarts after 10ms, which is none of [20ms]");
    }

    #[test]
    fn whoever_is_deposed_and_leads_again_begins_with_the_first_delay() {
        let mut story = Story::begun();
        story.job.config.restart = exponential(None);
        let restart = |story: &mut Story| {
            let event = Event::RestartScheduled { attempt: story.attempt(), delay_ns: 10_000_000 };
            story.claim(Process::COORDINATOR, event);
        };
        restart(&mut story);
        let again = Event::LeadershipTaken { generation: Generation(3), slot: 9 };
        story.claim(Process::COORDINATOR, again);
        restart(&mut story);
        assert_eq!(story.judge_by(NAME), None);
        restart(&mut story);
        assert!(story.judge_by(NAME).is_some(), "the same leadership does not begin again");
    }

    #[test]
    fn a_delay_that_grows_in_spite_of_peace_convicts() {
        let message = complaint(exponential(None), &[(100, 10), (2000, 20)]).expect("a conviction");
        assert_eq!(message, "restarts after 20ms, which is none of [10ms]");
    }

    #[test]
    fn near_the_border_of_peace_both_answers_pass_and_bind_what_follows() {
        for (second, third, passes) in [(10, 20, true), (20, 40, true), (10, 40, false), (20, 20, false)] {
            let restarts = [(100, 10), (1100, second), (1200, third)];
            assert_eq!(complaint(exponential(None), &restarts).is_none(), passes, "{second} {third}");
        }
    }

    #[test]
    fn a_restart_too_many_convicts() {
        let fixed = RestartStrategy::FixedDelay { attempts: 1, delay: Duration::from_millis(5) };
        assert!(complaint(fixed, &[(100, 5), (200, 5)]).expect("a conviction").contains("2th time in a row"));
        let (interval, delay) = (Duration::from_millis(500), Duration::from_millis(5));
        let rate = RestartStrategy::FailureRate { failures: 1, interval, delay };
        assert_eq!(complaint(rate, &[(100, 5), (700, 5)]), None);
        assert!(complaint(rate, &[(100, 5), (200, 5)]).expect("a conviction").contains("2 failures within"));
        assert!(complaint(exponential(Some(1)), &[(100, 10), (200, 20)]).is_some());
        assert!(complaint(RestartStrategy::None, &[(100, 5)]).is_some());
    }

    #[test]
    fn a_completion_starts_the_count_in_a_row_afresh_and_an_attempt_before_its_time_convicts() {
        let delay = Duration::from_millis(5);
        let mut story = Story::begun();
        story.job.config.restart = RestartStrategy::FixedDelay { attempts: 1, delay };
        let restart = |story: &mut Story| {
            let event = Event::RestartScheduled { attempt: story.attempt(), delay_ns: nanos(delay) };
            story.claim(Process::COORDINATOR, event);
        };
        restart(&mut story);
        story.checkpoint();
        restart(&mut story);
        assert_eq!(story.judge_by(NAME), None);
        story.deploy();
        assert!(story.judge_by(NAME).expect("a conviction").message.contains("instead of 5ms"));
    }
}

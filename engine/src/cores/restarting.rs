//! Restart strategies: whether a failure is followed by a restart, and how long after (Flink's
//! `RestartBackoffTimeStrategy`).
//!
//! | strategy | gives up | waits |
//! |---|---|---|
//! | none | at the first failure | |
//! | fixed delay | at the failure after so many restarts in a row; a completed checkpoint starts afresh | always as long |
//! | failure rate | at one failure more than allowed within its interval | always as long |
//! | exponential delay | after so many restarts since it last started afresh, or never | ever longer, up to a limit |
//!
//! Exponential delay starts afresh once the job has run for `reset_after` without failure, counted from the moment at which
//! the last restart was due. Its jitter is drawn outside and handed in, as parts of a thousand.
//!
//! Owns: the budget. Does not own: what counts as *one* failure ([`super::failover`]: one an attempt).
//! Invariants: memory is bounded; no delay exceeds the longest by more than its jitter.

use crate::config::RestartStrategy;
use crate::door::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// How many different jitters there are to draw from.
pub const DRAWS: usize = 2001;

/// What follows a failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// A restart.
    Restart(Delay),
    /// Nothing; why.
    GiveUp(String),
}

/// How long to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delay {
    /// On average.
    pub mean: Duration,
    /// Moved at random by up to this part of itself, in percent.
    pub jitter_percent: u32,
}

impl Delay {
    /// The delay for a draw of one in [`DRAWS`].
    pub fn drawn(self, draw: usize) -> Duration {
        assert!(draw < DRAWS, "the draw is one of those that were offered");
        let most = self.mean.as_nanos() * u128::from(self.jitter_percent) / 100;
        // From nothing to twice the most, less the most.
        let nanos = (self.mean.as_nanos() + most * draw as u128 / (DRAWS as u128 / 2)).saturating_sub(most);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The budget of one leadership.
#[derive(Debug)]
pub struct Restarting {
    strategy: RestartStrategy,
    /// Restarts since the strategy last started afresh.
    restarts: u32,
    /// When the latest failures were, as far as a rate counts them.
    failures: VecDeque<Time>,
    /// The last delay of an exponential strategy, and when the restart after it was due.
    last: Option<(Duration, Time)>,
}

impl Restarting {
    /// Nothing has failed yet.
    pub fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, restarts: 0, failures: VecDeque::new(), last: None }
    }

    /// Something failed.
    pub fn on_failure(&mut self, now: Time) -> Decision {
        let decision = match self.strategy {
            RestartStrategy::None => Decision::GiveUp("no restart is allowed".to_owned()),
            RestartStrategy::FixedDelay { attempts, .. } if self.restarts >= attempts => {
                Decision::GiveUp(format!("gave up after {attempts} restarts in a row"))
            }
            RestartStrategy::FixedDelay { delay, .. } => steady(delay),
            RestartStrategy::FailureRate { failures, interval, delay } => {
                self.count_within(now, failures, interval, delay)
            }
            RestartStrategy::ExponentialDelay {
                initial,
                max,
                multiplier_percent,
                jitter_percent,
                reset_after,
                attempts,
            } => {
                self.reset_if_quiet(now, reset_after);
                if attempts.is_some_and(|attempts| self.restarts >= attempts) {
                    let restarts = self.restarts;
                    Decision::GiveUp(format!("gave up after {restarts} restarts without {reset_after:?} of peace"))
                } else {
                    let mean = match self.last {
                        None => initial.min(max),
                        Some((last, _)) => grown(last, multiplier_percent).min(max),
                    };
                    self.last = Some((mean, now + mean));
                    Decision::Restart(Delay { mean, jitter_percent })
                }
            }
        };
        if let Decision::Restart(delay) = &decision {
            assert!(delay.jitter_percent <= 100, "a delay is moved by no more than itself");
            assert!(self.strategy != RestartStrategy::None, "no restart is allowed");
            self.restarts = self.restarts.saturating_add(1);
        }
        self.validate();
        decision
    }

    /// A checkpoint is durable: the restarts before it were worth it.
    pub fn on_completed(&mut self) {
        match self.strategy {
            RestartStrategy::FixedDelay { .. } => self.restarts = 0,
            RestartStrategy::None | RestartStrategy::FailureRate { .. } | RestartStrategy::ExponentialDelay { .. } => {}
        }
        self.validate();
    }

    fn count_within(&mut self, now: Time, allowed: u32, interval: Duration, delay: Duration) -> Decision {
        self.failures.retain(|failure| now.since(*failure) <= interval);
        assert!(self.failures.back().is_none_or(|last| *last <= now), "time goes on");
        self.failures.push_back(now);
        if self.failures.len() > allowed as usize {
            self.failures.pop_front();
            return Decision::GiveUp(format!("gave up after more than {allowed} failures within {interval:?}"));
        }
        steady(delay)
    }

    fn reset_if_quiet(&mut self, now: Time, reset_after: Duration) {
        if self.last.is_some_and(|(_, due)| now.since(due) >= reset_after && now >= due) {
            self.last = None;
            self.restarts = 0;
        }
    }

    fn validate(&self) {
        match self.strategy {
            RestartStrategy::None => assert_eq!(self.restarts, 0, "no restart is allowed"),
            RestartStrategy::FixedDelay { attempts, .. } => {
                assert!(self.restarts <= attempts, "restarts in a row are bounded");
            }
            RestartStrategy::FailureRate { failures, .. } => {
                assert!(self.failures.len() <= failures as usize, "only failures that count are remembered");
            }
            RestartStrategy::ExponentialDelay { max, attempts, .. } => {
                assert!(self.last.is_none_or(|(delay, _)| delay <= max), "no delay exceeds the longest");
                assert!(attempts.is_none_or(|attempts| self.restarts <= attempts), "restarts are bounded");
            }
        }
    }
}

fn steady(mean: Duration) -> Decision {
    Decision::Restart(Delay { mean, jitter_percent: 0 })
}

fn grown(delay: Duration, percent: u32) -> Duration {
    let nanos = delay.as_nanos() * u128::from(percent) / 100;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(seconds: u64) -> Time {
        Time(0) + s(seconds)
    }

    fn exponential(attempts: Option<u32>) -> Restarting {
        Restarting::new(RestartStrategy::ExponentialDelay {
            initial: s(1),
            max: s(5),
            multiplier_percent: 200,
            jitter_percent: 10,
            reset_after: s(60),
            attempts,
        })
    }

    fn mean(decision: Decision) -> Option<Duration> {
        match decision {
            Decision::Restart(delay) => Some(delay.mean),
            Decision::GiveUp(_) => None,
        }
    }

    #[test]
    fn without_a_strategy_the_first_failure_is_the_last() {
        assert_eq!(mean(Restarting::new(RestartStrategy::None).on_failure(at(1))), None);
    }

    #[test]
    fn a_fixed_delay_gives_up_after_so_many_restarts_in_a_row() {
        let mut budget = Restarting::new(RestartStrategy::FixedDelay { attempts: 2, delay: s(3) });
        assert_eq!(mean(budget.on_failure(at(0))), Some(s(3)));
        assert_eq!(mean(budget.on_failure(at(9))), Some(s(3)));
        let Decision::GiveUp(why) = budget.on_failure(at(10)) else { panic!("the budget is used up") };
        assert_eq!(why, "gave up after 2 restarts in a row");
    }

    #[test]
    fn a_completed_checkpoint_starts_the_count_of_a_fixed_delay_afresh() {
        let mut budget = Restarting::new(RestartStrategy::FixedDelay { attempts: 1, delay: s(3) });
        for round in 0..5 {
            assert_eq!(mean(budget.on_failure(at(round))), Some(s(3)));
            budget.on_completed();
        }
    }

    #[test]
    fn a_failure_rate_gives_up_at_one_failure_too_many_within_its_interval() {
        let strategy = RestartStrategy::FailureRate { failures: 2, interval: s(60), delay: s(1) };
        let mut budget = Restarting::new(strategy);
        assert_eq!(mean(budget.on_failure(at(0))), Some(s(1)));
        assert_eq!(mean(budget.on_failure(at(50))), Some(s(1)));
        assert_eq!(mean(budget.on_failure(at(61))), Some(s(1)), "the first no longer counts");
        budget.on_completed();
        assert_eq!(mean(budget.on_failure(at(62))), None, "a checkpoint does not make up for failures");
    }

    #[test]
    fn exponential_delays_grow_up_to_the_longest() {
        let mut budget = exponential(None);
        let delays: Vec<_> =
            (0..5).map(|round| mean(budget.on_failure(at(round * 10))).expect("it never gives up")).collect();
        assert_eq!(delays, [s(1), s(2), s(4), s(5), s(5)]);
    }

    #[test]
    fn peace_after_a_restart_makes_exponential_delays_short_again_and_nothing_else_does() {
        let mut budget = exponential(Some(3));
        budget.on_failure(at(0));
        budget.on_failure(at(1));
        budget.on_completed();
        // The second restart was due at 3; peace begins there.
        assert_eq!(mean(budget.on_failure(at(62))), Some(s(4)));
        assert_eq!(mean(budget.on_failure(at(127))), Some(s(1)));
    }

    #[test]
    fn exponential_delays_give_up_after_so_many_restarts_without_peace() {
        let mut budget = exponential(Some(1));
        assert_eq!(mean(budget.on_failure(at(0))), Some(s(1)));
        assert_eq!(mean(budget.on_failure(at(5))), None);
    }

    #[test]
    fn jitter_moves_a_delay_both_ways_by_no_more_than_its_part() {
        let delay = Delay { mean: s(10), jitter_percent: 10 };
        assert_eq!([delay.drawn(0), delay.drawn(DRAWS / 2), delay.drawn(DRAWS - 1)], [s(9), s(10), s(11)]);
        let steady = Delay { mean: s(10), jitter_percent: 0 };
        assert_eq!(steady.drawn(77), s(10));
    }
}

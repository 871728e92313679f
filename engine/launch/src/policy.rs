//! The options that say what a job puts up with: when checkpoints are taken, what is kept of them, what follows a failure.

use clap::Args;
use cofferdam_engine::config::{CheckpointConfig, CheckpointMode, JobConfig, RestartStrategy, RetentionPolicy};
use cofferdam_engine::error::{Error, Result};
use std::str::FromStr;
use std::time::Duration;

/// Options of everything that runs a job.
#[derive(Args, Clone, Debug)]
pub struct PolicyArgs {
    /// Time from one checkpoint to the next, as in 200ms, 1s, 2m
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = positive_duration)]
    pub interval: Duration,
    /// Give a checkpoint up after this long
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = positive_duration)]
    pub timeout: Duration,
    /// Least time from the end of one checkpoint to the next
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub min_pause: Duration,
    /// Checkpoints that may be pending at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_concurrent: u16,
    /// Failed checkpoints in a row that are put up with
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub tolerable_failures: u32,
    /// Let barriers block nothing: after a failure records may count twice, but none is lost
    #[arg(long)]
    pub at_least_once: bool,
    /// Completed checkpoints to keep while the job runs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub retained: u16,
    /// When to keep them after the job has ended: never, on-failure, on-cancellation (and failure), always
    #[arg(long, value_name = "WHEN", default_value = "on-cancellation", value_parser = retention)]
    pub retain: RetentionPolicy,
    /// What follows a failure: none, fixed:TIMES:DELAY, rate:TIMES:INTERVAL:DELAY,
    /// exponential[:FIRST:LONGEST[:TIMES]]
    #[arg(long, value_name = "STRATEGY", default_value = "exponential", value_parser = restart)]
    pub restart: RestartStrategy,
}

impl PolicyArgs {
    /// The configuration that they ask for, or the one line that says why it makes no sense.
    pub fn configure(&self, defaults: JobConfig) -> Result<JobConfig> {
        let config = JobConfig {
            checkpoints: CheckpointConfig {
                interval: self.interval,
                timeout: self.timeout,
                min_pause: self.min_pause,
                max_concurrent: usize::from(self.max_concurrent),
                tolerable_failures: self.tolerable_failures,
                mode: if self.at_least_once { CheckpointMode::AtLeastOnce } else { CheckpointMode::ExactlyOnce },
                retention: self.retain,
                retained: usize::from(self.retained),
                ..defaults.checkpoints
            },
            restart: self.restart,
            ..defaults
        };
        config.validate().map_err(Error::give_up)?;
        Ok(config)
    }
}

/// A duration for people.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write 200ms, 1s or 2m"))
}

/// One that is not zero.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

fn retention(text: &str) -> Result<RetentionPolicy, String> {
    match text {
        "never" => Ok(RetentionPolicy::Never),
        "on-failure" => Ok(RetentionPolicy::OnFailure),
        "on-cancellation" => Ok(RetentionPolicy::OnCancellation),
        "always" => Ok(RetentionPolicy::Always),
        _ => Err("write never, on-failure, on-cancellation or always".to_owned()),
    }
}

fn restart(text: &str) -> Result<RestartStrategy, String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        ["none"] => Ok(RestartStrategy::None),
        ["fixed", attempts, delay] => {
            Ok(RestartStrategy::FixedDelay { attempts: number(attempts)?, delay: duration(delay)? })
        }
        ["rate", failures, interval, delay] => Ok(RestartStrategy::FailureRate {
            failures: number(failures)?,
            interval: positive_duration(interval)?,
            delay: duration(delay)?,
        }),
        ["exponential"] => Ok(JobConfig::default().restart),
        ["exponential", initial, max] => exponential(initial, max, None),
        ["exponential", initial, max, attempts] => exponential(initial, max, Some(attempts)),
        _ => Err("write none, fixed:10:1s, rate:3:60s:1s or exponential:1s:1m".to_owned()),
    }
}

fn exponential(initial: &str, max: &str, attempts: Option<&str>) -> Result<RestartStrategy, String> {
    let RestartStrategy::ExponentialDelay { multiplier_percent, jitter_percent, reset_after, .. } =
        JobConfig::default().restart
    else {
        panic!("the default is exponential")
    };
    let (initial, max) = (positive_duration(initial)?, positive_duration(max)?);
    let attempts = attempts.map(number).transpose()?;
    Ok(RestartStrategy::ExponentialDelay { initial, max, multiplier_percent, jitter_percent, reset_after, attempts })
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number of times"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_strategy_can_be_written() {
        assert_eq!(restart("none"), Ok(RestartStrategy::None));
        assert_eq!(restart("fixed:10:1s"), Ok(RestartStrategy::FixedDelay { attempts: 10, delay: SECOND }));
        let rate = RestartStrategy::FailureRate { failures: 3, interval: 60 * SECOND, delay: SECOND };
        assert_eq!(restart("rate:3:60s:1s"), Ok(rate));
        assert_eq!(restart("exponential"), Ok(JobConfig::default().restart));
        let Ok(RestartStrategy::ExponentialDelay { initial, max, attempts, .. }) = restart("exponential:1s:2m:7")
        else {
            panic!("it can be written")
        };
        assert_eq!((initial, max, attempts), (SECOND, 120 * SECOND, Some(7)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_an_example() {
        for (text, says) in [
            ("sometimes", "write none, fixed:10:1s"),
            ("fixed:10", "write none, fixed:10:1s"),
            ("fixed:ten:1s", "ten is no number of times"),
            ("rate:3:0s:1s", "must be longer than nothing"),
            ("fixed:1:soon", "write 200ms, 1s or 2m"),
        ] {
            let error = restart(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}

//! How long to wait before a storage request is made again: short at first, because most outages are a blip, and
//! never longer than a second, because a person is waiting at the end of the job.

use std::time::Duration;

/// The wait before try number `tries` + 1, when `tries` have gone wrong in a row.
pub fn backoff(tries: u32) -> Duration {
    match tries {
        0 => Duration::ZERO,
        1..=5 => Duration::from_millis(25 << tries),
        6.. => Duration::from_secs(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_try_is_made_at_once_and_no_wait_exceeds_a_second() {
        assert_eq!(backoff(0), Duration::ZERO);
        for tries in 1..40 {
            assert!(backoff(tries) >= backoff(tries - 1));
            assert!(backoff(tries) <= Duration::from_secs(1));
        }
    }
}

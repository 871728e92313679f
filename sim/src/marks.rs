//! What a campaign must have seen *sometimes*, or it has tested nothing: each a count of the tally that must not be zero.
//!
//! A property says what may never happen. A mark says what has to, over many runs: that the plans still take the engine
//! where the properties have something to judge.

use crate::plan::KINDS;
use crate::tally::Tally;

/// A mark: what was seen, and how often.
type Mark = (&'static str, fn(&Tally) -> u64);

const MARKS: &[Mark] = &[
    ("a completed checkpoint", |tally| tally.history.checkpoints_completed),
    ("an aborted checkpoint", |tally| tally.history.checkpoints_aborted),
    ("state to restore in eight of ten runs that crash", |tally| {
        u64::from(tally.crash_plans > 0 && tally.crash_plans_with_state * 10 >= tally.crash_plans * 8)
    }),
    ("a crash of the coordinator", |tally| tally.history.coordinator_crashes),
    ("a second coordinator", |tally| tally.standby_plans),
    ("a take-over by a standby", |tally| tally.history.take_overs),
    ("a leader that lived on when it was deposed", |tally| tally.history.take_overs_from_living),
    ("a crash before the first checkpoint", |tally| tally.history.crashes.before_first_checkpoint),
    ("a crash between checkpoints", |tally| tally.history.crashes.between_checkpoints),
    ("a crash with a checkpoint pending", |tally| tally.history.crashes.checkpoint_pending),
    ("a crash during a restore", |tally| tally.history.crashes.during_restore),
    ("a crash after the end of input", |tally| tally.history.crashes.after_input_ended),
    ("a report that a coordinator rejected", |tally| tally.history.reports_rejected),
    ("a checkpoint that a client asked for and was told of", |tally| tally.history.clients.completed),
    ("a client that was told that there is no checkpoint for it", |tally| tally.history.clients.declined),
    ("a client whose answer was lost", |tally| tally.history.clients.lost),
    ("a client that was gone before its answer", |tally| tally.history.clients.withdrawn),
    ("a stranger that was hung up on", |tally| tally.history.clients.distrusted),
    ("a spare worker that took the place of another", |tally| tally.replaced_plans),
    ("a second start at an output of others that was refused", |tally| tally.refused_starts),
    ("a job that a client cancelled", |tally| tally.history.clients.cancelled),
    ("a cut that barriers without alignment left overlapping", |tally| tally.history.overlapping_cuts),
];

/// The marks that `tally` has not reached. Every kind of fault that strikes something is one, too.
pub fn missing(tally: &Tally) -> Vec<String> {
    let unseen = MARKS.iter().filter(|(_, count)| count(tally) == 0).map(|(what, _)| (*what).to_owned());
    let idle = |kind: &&str| tally.faults.get(*kind).is_none_or(|count| count.struck == 0);
    unseen.chain(KINDS.into_iter().filter(idle).map(|kind| format!("a fault that struck: {kind}"))).collect()
}

/// How many there are.
pub fn count() -> usize {
    MARKS.len() + KINDS.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_seen_misses_every_mark_and_one_thing_seen_misses_one_less() {
        let mut tally = Tally::default();
        assert_eq!(missing(&tally).len(), count());
        tally.history.take_overs = 1;
        assert_eq!(missing(&tally).len(), count() - 1);
        tally.faults.entry("crash".to_owned()).or_default().struck = 1;
        assert_eq!(missing(&tally).len(), count() - 2);
    }
}

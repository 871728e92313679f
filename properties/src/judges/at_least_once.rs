//! At least once: where barriers block nothing, records may be processed again after a restore, and none is lost.
//!
//! Source: Flink, *Exactly Once vs. At Least Once*: without alignment "the job keeps processing all inputs, even after
//! some checkpoint barriers arrive", and the records behind them occur as duplicates after a restore.
//!
//! Of a job whose mode is at-least-once:
//! 1. for each checkpoint, attempt and channel, what the consumer had taken before its snapshot is at least what the
//!    producer had sent before its own, counted by the witness;
//! 2. nor does the consumer's snapshot hold the end of its input where the producer's does not: what is sent again would
//!    come after the end, and where records are dealt out in turns not even to whom it came before;
//! 3. once the job has finished, every line of the reference is there at least as often, under the prefixes at which a
//!    repeated record only adds lines.
//!
//! State is judged as strictly as ever: the witness consumes what the engine consumed, repetitions included. That
//! repetitions really happen is counted by the [tally](crate::tally). Says nothing about a job that promises
//! exactly once: see [`consistent_cut`](super::consistent_cut).

use crate::case::{Case, Property, Reference, Violation};
use crate::ledger::is_visible;
use crate::witness::AT_LEAST_ONCE;
use cofferdam_engine::config::CheckpointMode;
use std::str;

/// The property.
pub const PROPERTY: Property = Property {
    name: AT_LEAST_ONCE,
    about: "with barriers that block nothing, no record is lost across a cut or from the output",
    source: "Flink: Exactly Once vs. At Least Once",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    if case.job.config.checkpoints.mode != CheckpointMode::AtLeastOnce {
        return None;
    }
    let cut = case.account().cut.clone();
    cut.or_else(|| judge_reference(case, case.ledger().finished()?, case.expected()?))
}

fn judge_reference(case: &Case<'_>, end: usize, reference: &Reference) -> Option<Violation> {
    let additive = reference.outputs.iter().filter(|(prefix, _)| reference.additive.contains(*prefix));
    additive.into_iter().find_map(|(prefix, expected)| {
        let objects = case.ledger().objects_under(prefix).filter(|(path, _)| is_visible(path));
        let texts = objects.map(|(_, bytes)| str::from_utf8(bytes).unwrap_or("(no text)"));
        let mut found: Vec<&str> = texts.flat_map(str::lines).collect();
        found.sort_unstable();
        let mut rest = found.iter();
        let lost = expected.iter().find(|line| !rest.by_ref().any(|found| *found == line.as_str()))?;
        let message = format!("{lost:?} is missing ({} lines, the reference has {})", found.len(), expected.len());
        Some(Violation::new(AT_LEAST_ONCE, end, prefix, message))
    })
}

#[cfg(test)]
mod tests {
    use super::AT_LEAST_ONCE;
    use crate::case::Reference;
    use crate::history::What;
    use crate::story::Story;
    use crate::tally::Tally;
    use crate::{Case, witness::CONSISTENT_CUT};
    use cofferdam_engine::config::CheckpointMode;
    use cofferdam_engine::event::Event;

    /// A source's records behind the barrier are taken before the consumer's snapshot, and processed again after a
    /// restore.
    fn overlapping() -> Story {
        let mut story = Story::begun();
        story.emit(0, 2);
        story.consume_all();
        story.trigger();
        story.snapshot(0);
        story.snapshot(1);
        story.overtake(0, 2);
        (2..5).for_each(|number| story.snapshot(number));
        story.complete();
        story.notify();
        story
    }

    fn at_least_once(mut story: Story) -> Story {
        story.job.config.checkpoints.mode = CheckpointMode::AtLeastOnce;
        story
    }

    #[test]
    fn records_taken_in_front_of_the_barrier_pass_and_are_counted_as_repeated_after_a_restore() {
        let mut story = at_least_once(overlapping());
        story.deploy();
        story.finish();
        assert_eq!(story.judge(), []);
        let tally = Tally::of(&Case::new(&story.history, &story.job, None));
        assert_eq!((tally.overlapping_cuts > 0, tally.repetitions), (true, 1));
    }

    #[test]
    fn the_same_is_no_exactly_once() {
        let violation = overlapping().judge_by(CONSISTENT_CUT).expect("a conviction");
        assert!(violation.message.contains("by its producer and after"), "{violation}");
        assert_eq!(overlapping().judge_by(AT_LEAST_ONCE), None);
    }

    #[test]
    fn records_that_a_cut_loses_convict() {
        let mut story = at_least_once(Story::begun());
        story.emit(0, 2);
        story.consume_all();
        story.trigger();
        story.snapshot_all();
        // The consumer's snapshot comes before what its producer had sent.
        let sums = story.subtask(2);
        story.move_before(
            |what| matches!(what, What::Claim(Event::SnapshotTaken { subtask, .. }) if *subtask == sums),
            |what| matches!(what, What::Claim(Event::Consumed { subtask, .. }) if *subtask == sums),
        );
        let violation = story.judge_by(AT_LEAST_ONCE).expect("a conviction");
        assert!(violation.message.contains("after 0 by its consumer"), "{violation}");
    }

    /// Both sources end behind the barrier of the first and in front of that of the second; a consumer takes both ends.
    fn ended_between_barriers() -> Story {
        let mut story = at_least_once(Story::begun());
        story.emit(0, 2);
        story.emit(1, 6);
        story.consume_all();
        story.trigger();
        story.snapshot(0);
        story.overtake(0, 4);
        (0..2).for_each(|source| story.end_input_of(source));
        (0..2).for_each(|source| story.take_end(2, source));
        story.snapshot(1);
        story
    }

    #[test]
    fn an_end_behind_the_snapshot_passes() {
        let mut story = ended_between_barriers();
        story.snapshot(2);
        story.end_input_of(2);
        assert_eq!(story.judge(), []);
    }

    #[test]
    fn an_end_in_front_of_the_snapshot_that_a_producer_has_not_convicts() {
        let mut story = ended_between_barriers();
        story.end_input_of(2);
        story.snapshot(2);
        let violation = story.judge_by(AT_LEAST_ONCE).expect("a conviction");
        assert!(violation.message.contains("behind the end of input by its consumer"), "{violation}");
    }

    #[test]
    fn a_line_that_is_missing_convicts_and_one_too_many_does_not() {
        let story = at_least_once(Story::whole());
        let reference = |lines: &[&str]| Reference {
            outputs: [("output/sums".to_owned(), lines.iter().map(|line| (*line).to_owned()).collect())].into(),
            additive: ["output/sums".to_owned()].into(),
        };
        assert_eq!(story.judge_against(&reference(&["1022", "1026"])), []);
        let violation = story.judge_against(&reference(&["1022", "1022"])).pop().expect("a conviction");
        assert!(violation.message.starts_with("\"1022\" is missing (15 lines"), "{violation}");
    }
}

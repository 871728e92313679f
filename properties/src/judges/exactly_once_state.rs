//! Exactly-once state, the oracle: state after a restore is the effect of every record before the cut, each once.
//!
//! Source: Flink, *Fault Tolerance via State Snapshots*: "the effect of each event on the state is
//! exactly once". After every restore three must agree, subtask by subtask:
//!
//! 1. the live state, by the digest the subtask announces before its first element;
//! 2. the stored snapshot, by the offline reader;
//! 3. the witness ([`crate::witness`]), which re-executed the recorded order of elements through the same operators.
//!
//! The recorded order itself must be legal: first in first out on each channel, nothing consumed that was not sent,
//! no end of input in front of records, no source that reads past or stops short of its input. Digests are compared
//! earlier as well, at every upload and every ack, so that a wrong state is convicted where it arises.
//!
//! Does not check the operators themselves: a wrong sum is a wrong sum to the witness too, and what a backend leaves
//! out of every snapshot is missing from the witness's as well. A reference of the output sees both, where a case has
//! one.

use crate::case::{Case, Property};
use crate::witness::EXACTLY_ONCE_STATE;

/// The property.
pub const PROPERTY: Property = Property {
    name: EXACTLY_ONCE_STATE,
    about: "after every restore the live, the stored and the re-executed state are the same",
    source: "Flink: Fault Tolerance via State Snapshots",
    judge: |case: &Case<'_>| case.account().state.clone(),
};

#[cfg(test)]
mod tests {
    use super::EXACTLY_ONCE_STATE;
    use crate::history::{Fact, What};
    use crate::story::Story;
    use cofferdam_engine::event::Event;
    use cofferdam_engine::persist::blob::{self, BlobBuilder, Finished};

    #[test]
    fn a_run_that_restores_what_it_stored_passes() {
        assert_eq!(Story::whole().judge(), []);
    }

    #[test]
    fn a_live_state_that_is_not_the_stored_one_convicts() {
        let mut story = Story::whole();
        story.falsify(|event| match event {
            Event::Restored { digest, .. } => {
                *digest ^= 1;
                true
            }
            _ => false,
        });
        let violation = story.judge_by(EXACTLY_ONCE_STATE).expect("a conviction");
        assert_eq!(violation.subject, "out[0] of a1.2");
        assert!(violation.message.starts_with("live state after restore is"), "{violation}");
    }

    #[test]
    fn a_record_lost_before_the_snapshot_convicts() {
        let mut story = Story::whole();
        // The engine consumed one record less than it said.
        story.falsify(|event| match event {
            Event::Consumed { records, .. } if *records > 1 => {
                *records -= 1;
                true
            }
            _ => false,
        });
        assert!(story.judge_by(EXACTLY_ONCE_STATE).is_some());
    }

    #[test]
    fn a_record_consumed_twice_convicts() {
        let mut story = Story::begun();
        story.emit(0, 2);
        story.consume_all();
        story.falsify(|event| match event {
            Event::Consumed { records, .. } => {
                *records += 1;
                true
            }
            _ => false,
        });
        let violation = story.judge_by(EXACTLY_ONCE_STATE).expect("a conviction");
        assert!(violation.message.contains("only 2 were left to take"), "{violation}");
    }

    #[test]
    fn an_element_out_of_order_convicts() {
        let mut story = Story::whole();
        story.falsify(|event| match event {
            Event::Consumed { seq, .. } => {
                *seq += 1;
                true
            }
            _ => false,
        });
        let violation = story.judge_by(EXACTLY_ONCE_STATE).expect("a conviction");
        assert!(violation.message.contains("where element"), "{violation}");
    }

    #[test]
    fn an_end_in_front_of_records_convicts() {
        let mut story = Story::whole();
        let end = story.drop_first(|what| matches!(what, What::Claim(Event::EndReceived { .. })));
        let consumed = story.find(|what| matches!(what, What::Claim(Event::InputEnded { .. })));
        story.history.entries.insert(consumed, end);
        assert!(story.judge_by(EXACTLY_ONCE_STATE).is_some());
    }

    #[test]
    fn a_source_that_reads_past_its_input_convicts() {
        let mut story = Story::whole();
        story.falsify(|event| match event {
            Event::SourceEmitted { records, .. } => {
                *records += 1;
                true
            }
            _ => false,
        });
        let violation = story.judge_by(EXACTLY_ONCE_STATE).expect("a conviction");
        assert!(violation.message.contains("emitted 1 records more than its input holds"), "{violation}");
    }

    #[test]
    fn a_stored_snapshot_of_another_state_convicts_even_if_the_engine_believes_in_it() {
        // The blob, its handle and every claim agree; only the witness knows better.
        let mut story = Story::begun();
        story.emit(0, 2);
        story.consume_all();
        story.trigger();
        story.emit(0, 2);
        story.snapshot_all();
        // Here everything is right still.
        assert_eq!(story.judge(), []);
        let emitted = story.drop_first(|what| matches!(what, What::Claim(Event::SourceEmitted { .. })));
        story.history.entries.push(emitted);
        assert!(story.judge_by(EXACTLY_ONCE_STATE).is_some());
    }

    /// The first source ends, its end becomes durable, and it exits; the others go on.
    fn with_a_source_that_left() -> Story {
        let mut story = Story::begun();
        story.emit(0, 6);
        story.end_input_of(0);
        for number in [2, 3] {
            story.take_end(number, 0);
        }
        story.checkpoint();
        story.leave(0);
        story
    }

    #[test]
    fn a_subtask_that_exits_before_the_others_passes() {
        let mut story = with_a_source_that_left();
        story.emit(1, 2);
        story.consume_all();
        story.checkpoint();
        story.checkpoint();
        story.checkpoint();
        story.checkpoint();
        story.deploy();
        assert_eq!(story.judge(), []);
    }

    #[test]
    fn a_subtask_that_goes_on_after_it_has_exited_convicts() {
        let mut story = with_a_source_that_left();
        let (attempt, subtask) = (story.attempt(), story.subtask(0));
        story.claim(crate::story::place(subtask), Event::SourceEmitted { attempt, subtask, records: 1 });
        let violation = story.judge_by(EXACTLY_ONCE_STATE).expect("a conviction");
        assert!(violation.message.contains("goes on after it has finished"), "{violation}");
    }

    #[test]
    fn a_close_before_the_end_is_durable_convicts() {
        let mut story = with_a_source_that_left();
        story.move_before(
            |what| matches!(what, What::Claim(Event::ClosedReceived { .. })),
            |what| matches!(what, What::Fact(Fact::Written { path, .. }) if path.ends_with("log/0000000002")),
        );
        assert!(story.judge_by(EXACTLY_ONCE_STATE).is_some());
        assert_eq!(with_a_source_that_left().judge(), []);
    }

    #[test]
    fn a_blob_that_vanished_before_the_restore_convicts() {
        let mut story = Story::begun();
        story.emit(0, 4);
        story.consume_all();
        story.checkpoint();
        let path = story.blobs().pop().expect("a blob");
        story.fact(crate::story::worker(0), Fact::Deleted { path });
        story.deploy();
        let violation = story.judge_by(EXACTLY_ONCE_STATE).expect("a conviction");
        assert!(violation.message.contains("cannot be read"), "{violation}");
    }

    #[test]
    fn an_operator_that_panics_when_it_is_re_executed_convicts() {
        let mut story = Story::whole();
        story.history.initial.insert("input/numbers-1".to_owned(), bytes::Bytes::from_static(b"1\nnonsense\n"));
        let violation = story.judge_by(EXACTLY_ONCE_STATE).expect("a conviction");
        assert!(violation.message.starts_with("an operator panics when it is re-executed: a number"), "{violation}");
    }

    #[test]
    fn a_stored_state_that_differs_says_where() {
        let mut story = Story::begun();
        story.emit(0, 4);
        story.consume_all();
        story.checkpoint();
        // Blob and claim agree with each other, but a sum was forgotten.
        let path = story.blobs().into_iter().find(|path| path.contains("sums-0")).expect("its blob");
        let mut forged = None;
        for entry in &mut story.history.entries {
            match &mut entry.what {
                What::Fact(Fact::Written { path: p, bytes }) if *p == path => {
                    let mut blob = BlobBuilder::default();
                    blob::decode(&path, bytes).expect("a blob").iter().skip(1).for_each(|section| {
                        blob.add(section);
                    });
                    let Finished { rest: forgery, digest, .. } = blob.finish();
                    (*bytes, forged) = (forgery, Some(digest));
                }
                What::Claim(Event::UploadEnded { path: p, digest, .. }) if *p == path => {
                    *digest = forged.expect("the blob comes first");
                }
                _ => {}
            }
        }
        let violation = story.judge_by(EXACTLY_ONCE_STATE).expect("a conviction");
        assert!(violation.message.contains(": sum kg-1: key \\x01"), "{violation}");
        assert!(violation.message.contains("holds nothing, re-executed \\x05"), "{violation}");
    }
}

//! Consistent cut: on every channel a checkpoint cuts producer and consumer behind the same record.
//!
//! Source: Chandy and Lamport, *Distributed Snapshots* (1985); Carbone et al., *Lightweight Asynchronous Snapshots*
//! (2015): with aligned barriers the channels of a snapshot are empty.
//!
//! For each checkpoint, attempt and channel: the records its producer had put on the channel before its snapshot are
//! as many as its consumer had taken before its own. Counted by the witness, not by the engine. Judged as soon as both
//! snapshots are taken, whether or not the checkpoint completes later.
//!
//! Does not check which records they are: re-execution does. Nor cuts of barriers that promise less:
//! [`at_least_once`](super::at_least_once) does. A producer that has finished is cut by its end.

use crate::case::{Case, Property};
use crate::witness::CONSISTENT_CUT;

/// The property.
pub const PROPERTY: Property = Property {
    name: CONSISTENT_CUT,
    about: "a checkpoint cuts both ends of every channel behind the same record",
    source: "Chandy and Lamport 1985; Carbone et al. 2015",
    judge: |case: &Case<'_>| case.account().cut.clone().filter(|cut| cut.property == CONSISTENT_CUT),
};

#[cfg(test)]
mod tests {
    use super::CONSISTENT_CUT;
    use crate::history::What;
    use crate::story::Story;
    use cofferdam_engine::event::Event;

    #[test]
    fn aligned_snapshots_cut_behind_the_same_record() {
        assert_eq!(Story::whole().judge_by(CONSISTENT_CUT), None);
    }

    #[test]
    fn a_producer_that_takes_its_snapshot_too_early_convicts() {
        let mut story = Story::begun();
        story.emit(0, 2);
        story.consume_all();
        story.trigger();
        story.snapshot_all();
        story.move_before(
            |what| matches!(what, What::Claim(Event::SnapshotTaken { .. })),
            |what| matches!(what, What::Claim(Event::SourceEmitted { .. })),
        );
        let violation = story.judge_by(CONSISTENT_CUT).expect("a conviction");
        assert!(violation.message.contains("is cut after 0 records by its producer"), "{violation}");
    }
}

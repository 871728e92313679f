//! Restore uses the latest: an attempt starts from the newest completed checkpoint, or from nothing if there is none.
//!
//! Source: order rules O9 and O11; Flink, *Recovery*: "Flink selects the latest completed checkpoint". Restoring an
//! older one would take back output that was already committed.
//!
//! When an attempt is deployed by the leader of the newest durable generation, it restores the checkpoint of the
//! highest `Completed` slot that is durable at that moment. Judged on facts, not on what the coordinator believes.
//!
//! Does not judge a deposed coordinator that does not know it yet: nothing it deploys may have an effect, which is a
//! matter of ownership. Nor that subtasks restore what they were deployed with: the oracle does.

use crate::case::{Case, Property, Violation};
use crate::history::What;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::CheckpointId;

const NAME: &str = "restore-uses-latest";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "an attempt restores the newest durable completed checkpoint",
    source: "order rules O9, O11; Flink: Recovery",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let ledger = case.ledger();
    ledger.coordination.iter().find_map(|&at| {
        let What::Claim(Event::AttemptDeployed { attempt, restore }) = &case.history.entries[at].what else {
            return None;
        };
        if ledger.generation_at(at) > Some(attempt.generation) {
            return None;
        }
        let latest = ledger.latest_at(at).map(|completed| completed.checkpoint);
        let show = |checkpoint: Option<CheckpointId>| checkpoint.map_or("nothing".to_owned(), |id| id.to_string());
        (*restore != latest).then(|| {
            let message = format!("restores {}, the latest completed is {}", show(*restore), show(latest));
            Violation::new(NAME, at, attempt, message)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::story::Story;
    use cofferdam_engine::event::Event;
    use cofferdam_engine::ids::CheckpointId;

    fn restored(from: Option<CheckpointId>) -> Story {
        let mut story = Story::begun();
        story.checkpoint();
        story.checkpoint();
        story.deploy();
        story.falsify(|event| match event {
            Event::AttemptDeployed { restore, .. } => {
                *restore = from;
                true
            }
            _ => false,
        });
        story
    }

    #[test]
    fn the_newest_checkpoint_passes() {
        assert_eq!(restored(Some(CheckpointId(2))).judge_by(NAME), None);
    }

    #[test]
    fn an_older_one_convicts() {
        let violation = restored(Some(CheckpointId(1))).judge_by(NAME).expect("a conviction");
        assert_eq!(violation.message, "restores chk-1, the latest completed is chk-2");
    }

    #[test]
    fn nothing_convicts_if_there_is_something() {
        let violation = restored(None).judge_by(NAME).expect("a conviction");
        assert_eq!(violation.message, "restores nothing, the latest completed is chk-2");
    }

    #[test]
    fn a_checkpoint_that_never_completed_convicts() {
        let violation = restored(Some(CheckpointId(3))).judge_by(NAME).expect("a conviction");
        assert_eq!(violation.subject, "a1.2");
    }
}

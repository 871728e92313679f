//! Client answers: whoever asks something of a running job is answered once, and with what is durable.
//!
//! Source: Flink, *Checkpoints* (triggering by hand: the future of `CheckpointCoordinator.triggerCheckpoint` completes once the
//! checkpoint has) and *Command-Line Interface* (`cancel`); order rule O6.
//!
//! 1. A coordinator answers a request that it has received and not answered before.
//! 2. Whoever is told that a checkpoint is durable is told of one whose slot was written before, and which was triggered after
//!    the request: it holds everything that happened before. One that is told to have failed has no slot, ever.
//! 3. Whoever is told that the job is over is told what a slot says that was written before.
//! 4. A request for a checkpoint belongs to an attempt: none is open when the next one is deployed, or when the job is over.
//!    A coordinator that comes to its end by itself has answered everybody.
//! 5. All this holds at the client's end as well: an answer is heard once for each wish, of the kind that it was for.
//!
//! Requests that are withdrawn, or whose coordinator dies or is deposed, are answered by nobody. Does not judge what a status
//! says, nor how long an answer takes.

use crate::case::{Case, Property, Violation};
use crate::history::{Fact, Incarnation, Process, What};
use crate::ledger::Ledger;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::CheckpointId;
use cofferdam_engine::messages::client::{Answer, Wish};
use cofferdam_engine::persist::slot::SlotRecord;
use cofferdam_engine::reason::{Ended, Refusal};
use std::collections::BTreeMap;

const NAME: &str = "client-answers";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "whoever asks something of a running job is answered once, and with what is durable",
    source: "Flink: Checkpoints; order rule O6",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let mut asked = Asked::default();
    case.ledger().protocol.iter().find_map(|&at| {
        let entry = &case.history.entries[at];
        let message = match &entry.what {
            What::Claim(event) => asked.on_claim(case.ledger(), at, entry.by, event)?,
            What::Fact(fact) => asked.on_fact(entry.by, fact)?,
        };
        Some(Violation::new(NAME, at, entry.by.process, message))
    })
}

/// What was asked for, and since when.
type Open = (Wish, usize);

/// Everything that is waited for.
#[derive(Default)]
struct Asked {
    /// By coordinator and request.
    open: BTreeMap<Incarnation, BTreeMap<u64, Open>>,
    /// By client.
    wishes: BTreeMap<Incarnation, Open>,
    triggered: BTreeMap<CheckpointId, usize>,
}

impl Asked {
    fn on_claim(&mut self, ledger: &Ledger<'_>, at: usize, by: Incarnation, event: &Event) -> Option<String> {
        match event {
            Event::CheckpointTriggered { checkpoint, .. } => {
                self.triggered.insert(*checkpoint, at);
                None
            }
            Event::LeadershipTaken { .. } | Event::Deposed { .. } => {
                self.open.remove(&by);
                None
            }
            Event::RequestReceived { request, wish } => {
                let before = self.open.entry(by).or_default().insert(*request, (*wish, at));
                before.map(|_| format!("counts request {request} twice"))
            }
            Event::RequestWithdrawn { request } => {
                let before = self.open.entry(by).or_default().remove(request);
                before.is_none().then(|| format!("lets go of request {request}, which nobody waits for"))
            }
            Event::RequestAnswered { request, answer } => match self.open.entry(by).or_default().remove(request) {
                Some(open) => Some(format!("answers request {request}: {}", self.wrong(ledger, at, open, answer)?)),
                None => Some(format!("answers request {request}, which nobody waits for")),
            },
            Event::AttemptDeployed { attempt, .. } => self.forgotten(by, &format!("{attempt} is deployed")),
            Event::JobFinished { .. } | Event::JobFailed { .. } | Event::JobCancelled { .. } => {
                self.forgotten(by, "the job is over")
            }
            Event::WishSent { wish } => {
                self.wishes.insert(by, (*wish, at));
                None
            }
            Event::AnswerLost { .. } => {
                self.wishes.remove(&by);
                None
            }
            Event::AnswerHeard { answer } => match self.wishes.remove(&by) {
                Some(open) => Some(format!("is told: {}", self.wrong(ledger, at, open, answer)?)),
                None => Some("is told what it has not asked for, or a second time".to_owned()),
            },
            _ => None,
        }
    }

    fn on_fact(&mut self, by: Incarnation, fact: &Fact) -> Option<String> {
        let Fact::Ended(Ok(_)) = fact else { return None };
        let (request, _) = self.open.get(&by)?.first_key_value()?;
        matches!(by.process, Process::Coordinator(_)).then(|| format!("ends without an answer to request {request}"))
    }

    /// A request for a checkpoint that outlives its attempt.
    fn forgotten(&self, by: Incarnation, when: &str) -> Option<String> {
        let (request, _) = self.open.get(&by)?.iter().find(|(_, (wish, _))| *wish == Wish::Checkpoint)?;
        Some(format!("has forgotten request {request}: it is open when {when}"))
    }

    /// What is wrong with an answer to what was asked for at `since`.
    fn wrong(&self, ledger: &Ledger<'_>, at: usize, (wish, since): Open, answer: &Answer) -> Option<String> {
        match (wish, answer) {
            (Wish::Checkpoint, Answer::Completed { checkpoint, .. }) => {
                if ledger.completed_at(*checkpoint, at).is_none() {
                    return Some(format!("{checkpoint} is said to be durable before it is"));
                }
                let later = self.triggered.get(checkpoint).is_some_and(|triggered| *triggered > since);
                (!later).then(|| format!("{checkpoint} was triggered before it was asked for"))
            }
            (Wish::Checkpoint, Answer::Declined(Refusal::Failed { checkpoint, .. })) => {
                let durable = ledger.completed_at(*checkpoint, usize::MAX)?;
                Some(format!("{checkpoint} is said to have failed, and slot {} has it", durable.slot))
            }
            (Wish::Checkpoint, Answer::Declined(_)) => None,
            (Wish::Checkpoint | Wish::Cancel, Answer::Over { how, .. }) => (!is_recorded(ledger, at, how))
                .then(|| format!("the job is said to be over ({how}) before a slot says so")),
            (Wish::Cancel | Wish::Status, _) => Some(format!("an answer to another wish than {wish}")),
        }
    }
}

fn is_recorded(ledger: &Ledger<'_>, at: usize, said: &Ended) -> bool {
    let mut before = ledger.slots.iter().take_while(|fact| fact.at < at).filter_map(|fact| fact.slot.as_ref().ok());
    before.any(|slot| matches!(&slot.record, SlotRecord::Ended { how, .. } if how == said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Story;
    use cofferdam_engine::ids::ClientId;
    use cofferdam_engine::reason::FailureReason;

    const CLIENT: Process = Process::Client(ClientId(0));

    fn message(story: &Story) -> String {
        story.judge_by(NAME).expect("a conviction").message
    }

    fn asks(story: &mut Story) {
        story.claim(CLIENT, Event::WishSent { wish: Wish::Checkpoint });
        story.claim(Process::COORDINATOR, Event::RequestReceived { request: 5, wish: Wish::Checkpoint });
    }

    fn answers(story: &mut Story, answer: Answer) {
        story.claim(Process::COORDINATOR, Event::RequestAnswered { request: 5, answer });
    }

    fn completed(checkpoint: CheckpointId) -> Answer {
        Answer::Completed { checkpoint, bytes: 1, duration_ms: 1 }
    }

    /// Somebody asks for a checkpoint and gets it.
    fn story() -> Story {
        let mut story = Story::begun();
        asks(&mut story);
        let checkpoint = story.checkpoint();
        answers(&mut story, completed(checkpoint));
        story.claim(CLIENT, Event::AnswerHeard { answer: completed(checkpoint) });
        story
    }

    fn is_slot(number: u64) -> impl Fn(&What) -> bool {
        let name = format!("log/{number:010}");
        move |what| matches!(what, What::Fact(Fact::Written { path, .. }) if path.ends_with(&name))
    }

    #[test]
    fn requests_that_are_answered_with_what_is_durable_pass() {
        let mut story = story();
        story.cancel();
        story.fact(Process::COORDINATOR, Fact::Ended(Ok("was cancelled".to_owned())));
        assert_eq!(story.judge_by(NAME), None);
    }

    #[test]
    fn an_answer_before_the_checkpoint_is_durable_convicts() {
        let mut story = story();
        story.move_before(|what| matches!(what, What::Claim(Event::RequestAnswered { .. })), is_slot(2));
        assert_eq!(message(&story), "answers request 5: chk-1 is said to be durable before it is");
    }

    #[test]
    fn a_checkpoint_of_before_the_request_convicts() {
        let mut story = Story::begun();
        let checkpoint = story.checkpoint();
        asks(&mut story);
        answers(&mut story, completed(checkpoint));
        assert_eq!(message(&story), "answers request 5: chk-1 was triggered before it was asked for");
    }

    #[test]
    fn a_failure_of_what_is_durable_convicts() {
        let mut story = Story::begun();
        asks(&mut story);
        let checkpoint = story.checkpoint();
        answers(&mut story, Answer::Declined(Refusal::Failed { checkpoint, reason: FailureReason::Expired }));
        assert!(message(&story).ends_with("chk-1 is said to have failed, and slot 2 has it"));
    }

    #[test]
    fn a_second_answer_convicts_at_both_ends() {
        let mut story = story();
        story.claim(CLIENT, Event::AnswerHeard { answer: completed(CheckpointId(1)) });
        assert_eq!(message(&story), "is told what it has not asked for, or a second time");
        answers(&mut story, completed(CheckpointId(1)));
        let last = story.history.entries.len() - 2;
        story.history.entries.remove(last);
        assert_eq!(message(&story), "answers request 5, which nobody waits for");
    }

    #[test]
    fn a_request_that_outlives_its_attempt_or_the_job_convicts() {
        let mut story = Story::begun();
        asks(&mut story);
        story.claim(Process::COORDINATOR, Event::RequestWithdrawn { request: 5 });
        story.deploy();
        assert_eq!(story.judge_by(NAME), None);
        asks(&mut story);
        story.deploy();
        assert_eq!(message(&story), "has forgotten request 5: it is open when a1.3 is deployed");
        let mut story = Story::begun();
        story.checkpoint();
        asks(&mut story);
        story.cancel();
        assert_eq!(message(&story), "has forgotten request 5: it is open when the job is over");
    }

    #[test]
    fn an_end_that_no_slot_says_and_one_that_is_not_told_convict() {
        let mut story = story();
        story.cancel();
        story.move_before(|what| matches!(what, What::Claim(Event::RequestAnswered { request: 7, .. })), is_slot(3));
        assert_eq!(message(&story), "answers request 7: the job is said to be over (cancelled) before a slot says so");
        story.drop_first(|what| matches!(what, What::Claim(Event::RequestAnswered { request: 7, .. })));
        story.fact(Process::COORDINATOR, Fact::Ended(Ok("was cancelled".to_owned())));
        assert_eq!(message(&story), "ends without an answer to request 7");
    }
}

//! The log as the leading coordinator uses it: what waits for a slot, what follows from the outcome, and the question
//! whether this process still leads.
//!
//! One slot is decided at a time. What needs a slot waits for its turn ([`Proposal`]), and the record is made only when
//! its turn has come. Reason: floor and number depend on what was decided before.

use super::ending::Ending;
use super::{Effect, Leading, Pause, Proposal, announce};
use crate::cores::completed;
use crate::cores::ownership::Ownership;
use crate::cores::retention::belongs;
use crate::error::Error;
use crate::event::Event;
use crate::ids::CheckpointId;
use crate::persist::slot::SlotRecord;

/// A question of ownership to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LogAsked {
    /// There is none.
    No,
    /// It is asked as soon as the log has nothing else under way. Reason: the answer to an older question would not do.
    Wanted,
    /// It waits for the answer.
    Yes,
}

impl Leading {
    pub(super) fn perform_log(&mut self, effect: completed::Effect, out: &mut Vec<Effect>) {
        match effect {
            completed::Effect::List { delay } => out.push(Effect::ListLog { delay }),
            completed::Effect::Read { number, delay } => out.push(Effect::ReadSlot { number, delay }),
            completed::Effect::Create { number, slot, delay } => {
                assert_eq!(slot.generation, self.store.generation(), "a leader writes in its own name");
                assert_eq!(number, self.store.next_number(), "a slot is created on top of the log");
                out.push(Effect::CreateSlot { number, slot, delay });
            }
            completed::Effect::Accept { number, record } => self.accepted(number, record, out),
            completed::Effect::Reject { record, cause } => self.rejected(record, &cause, out),
            completed::Effect::StillLeads => {
                self.confirmed = self.now;
                self.answer_ownership(Ownership::on_confirmed);
            }
            completed::Effect::Doubt => {
                self.confirmed = self.now;
                self.answer_ownership(Ownership::on_doubt);
            }
            completed::Effect::StepDown => self.step_down("a newer leader has taken over", out),
            completed::Effect::Fail { error } => self.stop(error),
            completed::Effect::Lead { .. } | completed::Effect::Over { .. } | completed::Effect::GiveWay { .. } => {
                panic!("leadership was taken before")
            }
        }
    }

    /// A newer leadership exists: the end of the job is for that one to say.
    pub(super) fn step_down(&mut self, cause: &str, out: &mut Vec<Effect>) {
        let generation = self.store.generation();
        announce(Event::Deposed { generation }, out);
        self.stop(Error::fenced(format!("leadership {generation} is over: {cause}")));
    }

    fn accepted(&mut self, number: u64, record: SlotRecord, out: &mut Vec<Effect>) {
        self.confirmed = self.now;
        assert_eq!(number + 1, self.store.next_number(), "what is durable is the top of the log");
        assert!(!matches!(self.ending, Ending::Lingering { .. }), "nothing follows the end of the job");
        match record {
            SlotRecord::Completed { checkpoint, .. } => self.mark_completed(number, checkpoint),
            SlotRecord::IdsReserved => self.allocate(out),
            SlotRecord::Ended { how, floor } => self.ended_durably(&how, floor, out),
            SlotRecord::NewGeneration => panic!("leadership was taken before"),
        }
    }

    fn rejected(&mut self, record: SlotRecord, cause: &str, out: &mut Vec<Effect>) {
        assert!(self.store.accepts_proposals(), "what is rejected is decided");
        assert!(!matches!(self.ending, Ending::Lingering { .. }), "nothing follows the end of the job");
        match record {
            SlotRecord::Completed { checkpoint, .. } => self.not_added(checkpoint, cause),
            SlotRecord::IdsReserved => self.not_reserved(cause),
            SlotRecord::Ended { .. } => self.not_recorded(cause, out),
            SlotRecord::NewGeneration => panic!("leadership was taken before"),
        }
    }

    /// Puts a proposal at the end of the queue.
    pub(super) fn enqueue(&mut self, proposal: Proposal, out: &mut Vec<Effect>) {
        assert!(!self.proposals.contains(&proposal), "a proposal waits once");
        self.proposals.push_back(proposal);
        self.propose_next(out);
    }

    /// Proposes what has waited longest, if no slot is being decided.
    pub(super) fn propose_next(&mut self, out: &mut Vec<Effect>) {
        if matches!(self.ending, Ending::Lingering { .. } | Ending::Now(_)) || !self.store.accepts_proposals() {
            return;
        }
        let record = match self.proposals.pop_front() {
            Some(Proposal::Ids) => SlotRecord::IdsReserved,
            Some(Proposal::Completion { checkpoint, manifest }) => self.completion(checkpoint, manifest, out),
            Some(Proposal::End) => self.ending_record(),
            None => return,
        };
        assert!(self.pause.is_none(), "one slot is proposed at a time");
        out.push(Effect::DrawToken { number: self.store.next_number() });
        self.pause = Some(Pause::Token { record });
    }

    /// The token of the proposal is drawn.
    pub(super) fn propose(&mut self, token: u64, record: SlotRecord) {
        assert!(self.store.accepts_proposals(), "one slot is decided at a time");
        assert!(matches!(self.ending, Ending::No | Ending::Recording { .. }), "nothing is proposed behind the end");
        self.step_log(|store, effects| store.propose(token, record, effects));
    }

    fn completion(&mut self, checkpoint: CheckpointId, manifest: String, out: &mut Vec<Effect>) -> SlotRecord {
        assert_eq!(self.unpublished, None, "one checkpoint is completed at a time");
        let slot = self.store.next_number();
        let retained = self.store.retained();
        let floor = self.retention.floor(&retained, slot);
        assert!(floor >= self.store.floor() && floor <= slot, "the floor never sinks, and a checkpoint retains itself");
        assert!(belongs(&manifest, checkpoint), "a checkpoint is named by its own manifest");
        self.falling = retained.into_iter().filter(|retained| retained.number < floor).collect();
        announce(Event::CompletionStarted { checkpoint, slot }, out);
        SlotRecord::Completed { checkpoint, manifest, floor }
    }

    /// Asks the log whether this process leads, if ownership has to know and nothing else is under way there.
    pub(super) fn ask_log(&mut self) {
        if self.log_asked == LogAsked::Wanted && self.store.is_idle() {
            self.log_asked = LogAsked::Yes;
            self.step_log(completed::Completed::confirm);
        }
    }

    /// The log has said whether this process leads.
    fn answer_ownership(&mut self, answer: fn(&mut Ownership, &mut Vec<crate::cores::ownership::Effect>)) {
        if self.log_asked == LogAsked::Yes {
            self.log_asked = LogAsked::No;
            self.step_output(answer);
        }
    }

    /// A deposed coordinator learns it from its next slot. One that completes no checkpoint would never learn it, and
    /// keep workers that its successor waits for.
    pub(super) fn confirm_if_in_doubt(&mut self) {
        if self.store.is_idle() && self.now >= self.confirmed + self.connections.timeout() {
            self.step_log(completed::Completed::confirm);
        }
    }

    pub(super) fn validate_proposals(&self) {
        let count = |is: fn(&Proposal) -> bool| self.proposals.iter().filter(|proposal| is(proposal)).count();
        assert!(count(|proposal| matches!(proposal, Proposal::Ids)) <= 1, "ids are reserved once");
        assert!(
            count(|proposal| matches!(proposal, Proposal::Completion { .. })) <= 1,
            "completions are one at a time"
        );
        assert!(count(|proposal| matches!(proposal, Proposal::End)) <= 1, "a job ends once");
        let pending = self.checkpoints.all_pending();
        for proposal in &self.proposals {
            if let Proposal::Completion { checkpoint, manifest } = proposal {
                assert!(pending.contains(checkpoint), "a checkpoint is pending until its slot is durable");
                assert!(belongs(manifest, *checkpoint), "a checkpoint is named by its own manifest");
            }
        }
        assert!(self.falling.is_sorted_by_key(|fallen| fallen.number), "what falls is known by its slots, in order");
        let next = self.store.next_number();
        assert!(self.falling.iter().all(|fallen| fallen.number < next), "only what is durable falls");
        if matches!(self.ending, Ending::No | Ending::Recording { .. }) {
            self.validate_waiting();
        }
    }

    /// Nothing waits for a slot or for an answer without a reason.
    fn validate_waiting(&self) {
        let undecided = !self.store.accepts_proposals();
        assert!(undecided || self.proposals.is_empty(), "a proposal waits only for the one before");
        assert!(undecided || self.falling.is_empty() || self.unpublished.is_some(), "what falls falls with a slot");
        let busy = !self.store.is_idle();
        assert!(
            busy || self.log_asked == LogAsked::No,
            "a question waits for the slot being decided, or for its answer"
        );
        assert!(self.log_asked == LogAsked::No || !self.owns_output(), "an owner does not refuse its output");
    }
}

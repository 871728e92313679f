//! The end of a subtask's input, and its exit.

use super::{Effect, Marker, Now, Role, Stage, Task, announce};
use crate::event::Event;
use crate::messages::ToCoordinator;

impl Task {
    /// The source has nothing more to read.
    pub fn on_exhausted(&mut self, now: Now, out: &mut Vec<Effect>) {
        assert_eq!(self.stage, Stage::Running, "nothing is read while a step waits");
        assert_eq!(self.is.role, Role::Source, "only sources read");
        assert!(!self.ended, "a source ends once");
        self.end_input(out);
        self.advance(now, out);
    }

    /// All input has been processed. The operator's own end happens once in the life of its state; each attempt reports
    /// it downstream and to the coordinator.
    ///
    /// Control messages wait until the output is drained. Reason: a barrier must not overtake output. This cannot
    /// deadlock: a consumer blocks this channel only behind a barrier of this very subtask.
    pub(super) fn end_input(&mut self, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        assert!(!self.end_announced, "an attempt announces the end once");
        if !self.ended {
            announce(Event::InputEnded { attempt, subtask }, out);
            out.push(Effect::FinishOutput);
            self.ended = true;
        }
        self.stage = Stage::Draining;
        out.push(Effect::DrainOutput);
    }

    /// All output is on its channels.
    pub fn on_drained(&mut self, now: Now, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        assert_eq!(self.stage, Stage::Draining, "no output was waited for");
        self.stage = Stage::Running;
        self.end_announced = true;
        out.push(Effect::Broadcast(Marker::EndOfInput));
        out.push(Effect::Report(ToCoordinator::InputEnded { attempt, subtask }));
        self.advance(now, out);
    }

    /// The end is durable and everything is committed: the subtask exits.
    pub(super) fn finish(&mut self, out: &mut Vec<Effect>) {
        let (attempt, subtask) = (self.is.attempt, self.is.subtask);
        assert!(self.ended && self.end_announced, "a subtask finishes behind its announced end");
        assert!(self.rest.is_empty(), "a subtask finishes between two steps");
        // Uploads that have not answered are discarded; the coordinator aborts their checkpoints when the exit is
        // reported.
        out.extend(std::mem::take(&mut self.uploading).into_iter().map(Effect::Discard));
        out.push(Effect::Broadcast(Marker::Closed));
        announce(Event::SubtaskFinished { attempt, subtask }, out);
        out.push(Effect::Report(ToCoordinator::Finished { attempt, subtask }));
        self.stop();
    }
}

//! Clients: what they request of the job, and the one answer that each gets.
//!
//! 1. A request is the first frame of a connection: a client that requests two things has two connections.
//! 2. A checkpoint is requested of [`Checkpointing`](crate::cores::checkpointing::Checkpointing), which answers each
//!    request once: at once, or when the checkpoint that was triggered for it is durable or has failed.
//! 3. A cancellation is answered with how the job has ended, once that is durable; it may have come too late.
//! 4. A client that is gone has withdrawn its request. What was begun for it goes on. A leadership that ends hangs up,
//!    and says nothing of the outcome of a request: it is not known.

use super::ending::{Ending, Over};
use super::{Effect, Leading, announce};
use crate::cores::checkpointing::RequestId;
use crate::cores::connections::{Attendance, Role};
use crate::cores::failover::{ConnectionId, Failover, Standing};
use crate::cores::statistics::Status;
use crate::event::Event;
use crate::ids::CheckpointId;
use crate::messages::client::{Answer, JobState, JobStatus, ToClient, Wish};
use crate::reason::Refusal;

impl Leading {
    /// The first frame of a client.
    pub(super) fn on_wish(&mut self, connection: ConnectionId, wish: Wish, out: &mut Vec<Effect>) {
        match self.connect(out, |connections, effects| connections.attend(connection, wish, effects)) {
            Attendance::Attended => {}
            Attendance::TurnedAway => return,
        }
        if wish == Wish::Status {
            let status = ToClient::Status(Box::new(self.status()));
            return self.connect(out, |connections, effects| connections.answer(connection, status, effects));
        }
        announce(Event::RequestReceived { request: connection.0, wish }, out);
        match &self.ending {
            Ending::Lingering { over, .. } => {
                let answer = over.answer();
                self.answer_client(connection, answer, out);
            }
            Ending::No | Ending::Recording { .. } | Ending::Now(_) => self.begin_request(connection, wish),
        }
    }

    fn begin_request(&mut self, connection: ConnectionId, wish: Wish) {
        assert!(
            !matches!(self.ending, Ending::Lingering { .. }),
            "what is requested of a job that is over is answered"
        );
        match wish {
            Wish::Checkpoint => {
                let (now, request) = (self.now, RequestId(connection.0));
                self.step_checkpoints(|checkpoints, effects| checkpoints.on_request(now, request, effects));
            }
            Wish::Cancel => self.step_failover(Failover::on_cancel),
            Wish::Status => panic!("answered at once"),
        }
    }

    /// A connection is about to be closed.
    pub(super) fn forget_client(&mut self, connection: ConnectionId, out: &mut Vec<Effect>) {
        let Some(Role::Client(wish)) = self.connections.get(connection).map(|open| &open.role) else { return };
        if *wish == Wish::Checkpoint {
            self.checkpoints.on_withdrawn(RequestId(connection.0));
        }
        announce(Event::RequestWithdrawn { request: connection.0 }, out);
    }

    /// Checkpointing has answered a request.
    pub(super) fn answer(&mut self, request: RequestId, result: Result<CheckpointId, Refusal>, out: &mut Vec<Effect>) {
        let answer = match result {
            Ok(checkpoint) => self.completed(checkpoint),
            Err(refusal) => Answer::Declined(refusal),
        };
        self.answer_client(ConnectionId(request.0), answer, out);
    }

    /// How the job has ended is durable: that answers every cancellation.
    pub(super) fn answer_cancellations(&mut self, over: &Over, out: &mut Vec<Effect>) {
        for connection in self.connections.waiting_for(Wish::Cancel) {
            self.answer_client(connection, over.answer(), out);
        }
    }

    fn answer_client(&mut self, connection: ConnectionId, answer: Answer, out: &mut Vec<Effect>) {
        // The client may be gone.
        if let Some(Role::Client(_)) = self.connections.get(connection).map(|open| &open.role) {
            announce(Event::RequestAnswered { request: connection.0, answer: answer.clone() }, out);
            let answer = ToClient::Answer(answer);
            self.connect(out, |connections, effects| connections.answer(connection, answer, effects));
        }
    }

    fn completed(&self, checkpoint: CheckpointId) -> Answer {
        let last = self.statistics.last_completed().expect("a completion is counted before it is answered");
        assert_eq!(last.checkpoint, checkpoint, "the checkpoint of a request is answered when it completes");
        let Status::Completed { duration, bytes } = last.status else { panic!("{checkpoint} has completed") };
        Answer::Completed { checkpoint, bytes, duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) }
    }

    fn status(&self) -> JobStatus {
        let state = match (&self.ending, self.failover.standing()) {
            (Ending::Lingering { over, .. }, _) => JobState::Ended(over.how.clone()),
            (Ending::Recording { .. } | Ending::Now(_), _) | (Ending::No, Standing::Ends) => JobState::Ending,
            (Ending::No, Standing::LacksWorkers) => JobState::WaitingForWorkers,
            (Ending::No, Standing::Waits) => JobState::FailingOver,
            (Ending::No, Standing::Restores) => JobState::Restoring,
            (Ending::No, Standing::Runs) => JobState::Running,
        };
        JobStatus {
            job: self.job.graph.name.clone(),
            generation: Some(self.store.generation()),
            attempt: self.failover.newest(),
            state,
            workers: self.failover.workers().keys().copied().collect(),
            workers_missing: u16::try_from(self.failover.workers_missing()).unwrap_or(u16::MAX),
            last_completed: self.store.latest().map(|latest| latest.checkpoint),
            pending: self.checkpoints.all_pending(),
            counts: self.statistics.counts(),
            last_failure: self.last_failure.clone(),
        }
    }
}

//! Clients: what they want of the job, and the one answer that each gets.
//!
//! 1. A wish is a request of the connection that it came on: whoever has asked twice has two connections.
//! 2. A checkpoint is asked of [`Checkpointing`](crate::cores::checkpointing::Checkpointing), which answers each request once:
//!    now, or when the checkpoint that was triggered for it is durable or has failed.
//! 3. A cancellation is answered with how the job has ended, once that is durable; it may have come too late.
//! 4. A client that is gone has withdrawn its wish. What was begun for it goes on. A leadership that ends hangs up: what has
//!    become of a request then, nobody knows.

use super::{Ending, Leader};
use crate::cores::checkpointing::RequestId;
use crate::cores::failover::{ConnectionId, Standing};
use crate::cores::statistics::Status;
use crate::event::Event;
use crate::ids::CheckpointId;
use crate::messages::client::{Answer, JobState, JobStatus, ToClient, Wish};
use crate::reason::Refusal;
use crate::runtime::coordinator::Over;
use crate::runtime::coordinator::connections::Role;

impl Leader {
    /// The first frame of a client.
    pub(super) fn on_wish(&mut self, connection: ConnectionId, wish: Wish) {
        if !self.connections.attend(connection, wish) {
            return self.connections.turn_away(connection, &ToClient::Busy);
        }
        if wish == Wish::Status {
            let status = ToClient::Status(Box::new(self.status()));
            return self.connections.answer(connection, &status);
        }
        self.emit(Event::RequestReceived { request: connection.0, wish });
        match &self.ending {
            Ending::Lingering { over, .. } => {
                let answer = over.answer();
                self.answer_client(connection, answer);
            }
            Ending::No | Ending::Recording { .. } | Ending::Now(_) => self.begin(connection, wish),
        }
    }

    fn begin(&mut self, connection: ConnectionId, wish: Wish) {
        match wish {
            Wish::Checkpoint => {
                let mut out = Vec::new();
                self.checkpoints.on_request(self.now(), RequestId(connection.0), &mut out);
                self.perform_checkpointing(out);
            }
            Wish::Cancel => {
                let mut out = Vec::new();
                self.failover.on_cancel(&mut out);
                self.perform_failover(out);
            }
            Wish::Status => panic!("answered at once"),
        }
    }

    /// A connection is about to be closed.
    pub(super) fn forget_client(&mut self, connection: ConnectionId) {
        let Some(Role::Client(wish)) = self.connections.get(connection).map(|open| &open.role) else { return };
        if *wish == Wish::Checkpoint {
            self.checkpoints.on_withdrawn(RequestId(connection.0));
        }
        self.emit(Event::RequestWithdrawn { request: connection.0 });
    }

    /// Checkpointing has answered a request.
    pub(super) fn answer(&mut self, request: RequestId, result: Result<CheckpointId, Refusal>) {
        let answer = match result {
            Ok(checkpoint) => self.completed(checkpoint),
            Err(refusal) => Answer::Declined(refusal),
        };
        self.answer_client(ConnectionId(request.0), answer);
    }

    /// How the job has ended is durable: whoever wanted that has the answer.
    pub(super) fn tell_clients(&mut self, over: &Over) {
        for connection in self.connections.waiting_for(Wish::Cancel) {
            self.answer_client(connection, over.answer());
        }
    }

    fn answer_client(&mut self, connection: ConnectionId, answer: Answer) {
        // Whoever asked may be gone.
        if let Some(Role::Client(_)) = self.connections.get(connection).map(|open| &open.role) {
            self.emit(Event::RequestAnswered { request: connection.0, answer: answer.clone() });
            self.connections.answer(connection, &ToClient::Answer(answer));
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

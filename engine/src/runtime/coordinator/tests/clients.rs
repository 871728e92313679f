//! The coordinator and its clients: each wish is answered once, with what is durable.

use super::*;
use crate::cores::checkpointing::REQUESTS_MAX;
use crate::messages::client::{JobState, JobStatus};
use crate::reason::Refusal;
use crate::runtime::client::{ClientOptions, NoReply, ask};

/// A client that has asked, and where its reply arrives.
pub(super) struct Client {
    reply: Mailbox<Result<Reply, NoReply>>,
}

impl Client {
    pub(super) fn ask(room: &Room, coordinator: u32, wish: Wish) -> Self {
        Self::ask_all(room, vec![address(coordinator)], wish, Duration::from_secs(600))
    }

    fn ask_all(room: &Room, coordinators: Vec<String>, wish: Wish, patience: Duration) -> Self {
        let env = room.env(TEST);
        let (replied, reply) = Mailbox::new(&env, Site::new("test.client", 0));
        let options =
            ClientOptions { coordinators, wish, patience, silence: Duration::from_secs(10), secret: secret() };
        let task = {
            let env = env.clone();
            async move { replied.post(ask(&env, &options).await) }
        };
        env.spawner.spawn(Site::new("test.client", 0), Box::pin(task));
        Self { reply }
    }

    pub(super) async fn hear(mut self) -> Result<Reply, NoReply> {
        self.reply.take().await
    }

    async fn answer(self) -> Answer {
        match self.hear().await {
            Ok(Reply::Answer(answer)) => answer,
            other => panic!("{other:?} instead of an answer"),
        }
    }
}

async fn status(room: &Room, coordinator: u32) -> JobStatus {
    match Client::ask(room, coordinator, Wish::Status).hear().await {
        Ok(Reply::Status(status)) => *status,
        other => panic!("{other:?} instead of a status"),
    }
}

/// Waits until a request has arrived.
async fn received(room: &Room, requests: usize) {
    let count = || room.events().iter().filter(|event| matches!(event, Event::RequestReceived { .. })).count();
    while count() < requests {
        pause(room, 1).await;
    }
}

#[test]
fn a_checkpoint_by_hand_is_answered_once_it_is_durable() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let client = Client::ask(&room, 1, Wish::Checkpoint);
        let checkpoint = crew.checkpoint().await;
        let Answer::Completed { checkpoint: answered, bytes: 15, .. } = client.answer().await else { panic!("it is") };
        assert_eq!(answered, checkpoint);
        let (durable, said) = (
            position(&room, |e| matches!(e, Event::CompletionDurable { .. })),
            position(&room, |e| matches!(e, Event::RequestAnswered { .. })),
        );
        assert!(durable < said);
        let status = status(&room, 1).await;
        assert_eq!((status.state, status.last_completed), (JobState::Running, Some(checkpoint)));
        assert_eq!((status.workers.len(), status.workers_missing, status.counts.completed), (2, 0, 1));
    });
}

#[test]
fn who_asks_before_the_job_runs_is_declined_and_told_whom_it_waits_for() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let _first = Worker::join(&room, 1, 0).await;
        let answer = Client::ask(&room, 1, Wish::Checkpoint).answer().await;
        assert_eq!(answer, Answer::Declined(Refusal::NotRunning));
        let status = status(&room, 1).await;
        assert_eq!((status.state, status.workers_missing), (JobState::WaitingForWorkers, 1));
        assert_eq!((status.workers, status.last_completed), (vec![WorkerId(0)], None));
    });
}

#[test]
fn a_request_of_an_attempt_that_fails_is_declined_and_the_failure_is_told() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let pending = Client::ask(&room, 1, Wish::Checkpoint);
        crew.triggered().await;
        let waiting = Client::ask(&room, 1, Wish::Checkpoint);
        received(&room, 2).await;
        drop(crew.second);
        assert!(matches!(pending.answer().await, Answer::Declined(Refusal::Failed { .. })));
        assert!(matches!(waiting.answer().await, Answer::Declined(Refusal::AttemptOver(_))));
        let status = status(&room, 1).await;
        assert!(status.last_failure.expect("it failed").contains("worker-1 is lost"));
    });
}

#[test]
fn a_client_that_is_gone_leaves_its_place_in_the_queue() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let first = Client::ask(&room, 1, Wish::Checkpoint);
        let checkpoint = crew.triggered().await;
        let impatient = Client::ask_all(&room, vec![address(1)], Wish::Checkpoint, Duration::from_millis(50));
        assert!(matches!(impatient.hear().await, Err(NoReply::Unknown(why)) if why.contains("no answer within 50ms")));
        while !room.events().iter().any(|event| matches!(event, Event::RequestWithdrawn { request: 4 })) {
            pause(&room, 1).await;
        }
        crew.ack(checkpoint, false).await;
        crew.notified(checkpoint).await;
        assert!(matches!(first.answer().await, Answer::Completed { .. }));
        // The next one is the periodic one.
        let asked = room.events().len();
        crew.triggered().await;
        let later = &room.events()[asked..];
        assert!(!later.iter().any(|event| matches!(event, Event::RequestReceived { .. })), "{later:?}");
    });
}

#[test]
fn one_request_too_many_is_told_that_the_queue_is_full() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let _pending = Client::ask(&room, 1, Wish::Checkpoint);
        crew.triggered().await;
        let mut waiting = Vec::new();
        for _ in 0..REQUESTS_MAX / 50 {
            waiting.extend((0..50).map(|_| Client::ask(&room, 1, Wish::Checkpoint)));
            received(&room, 1 + waiting.len()).await;
        }
        let answer = Client::ask(&room, 1, Wish::Checkpoint).answer().await;
        assert_eq!(answer, Answer::Declined(Refusal::QueueFull));
    });
}

#[test]
fn a_standby_sends_a_client_on_to_the_leader() {
    play(async |room| {
        let _first = Coordinator::start(&room, 1);
        let _crew = Crew::running(&room, 1).await;
        let _second = Coordinator::start_as(&room, 2, Rivalry::Await);
        pause(&room, 50).await;
        let unheard = Client::ask(&room, 2, Wish::Cancel).hear().await;
        assert!(matches!(unheard, Err(NoReply::Unheard(why)) if why.contains("it does not lead")));
        let both = vec![address(2), address(1)];
        let told = Client::ask_all(&room, both, Wish::Status, Duration::from_secs(600)).hear().await;
        assert!(matches!(told, Ok(Reply::Status(status)) if status.state == JobState::Running));
    });
}

#[test]
fn a_leader_that_dies_leaves_the_outcome_unknown() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let client = Client::ask(&room, 1, Wish::Checkpoint);
        crew.triggered().await;
        room.crash(1);
        assert!(matches!(client.hear().await, Err(NoReply::Unknown(_))));
    });
}

#[test]
fn a_cancellation_that_comes_too_late_is_told_how_the_job_ended() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let checkpoint = Crew::running(&room, 1).await.finish().await;
        room.crash(1);
        let _second = Coordinator::resume(&room, 2);
        let env = room.env(TEST);
        while env.network.connect(address(2)).await.is_err() {
            pause(&room, 1).await;
        }
        let answer = Client::ask(&room, 2, Wish::Cancel).answer().await;
        assert!(matches!(answer, Answer::Over { how: Ended::Finished { checkpoint: last }, .. } if last == checkpoint));
        assert_eq!(status(&room, 2).await.state, JobState::Ended(Ended::Finished { checkpoint }));
    });
}

#[test]
fn a_client_that_goes_on_talking_loses_its_connection_and_nobody_else_does() {
    play(async |room| {
        let _coordinator = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let (env, limit) = (room.env(TEST), Duration::from_secs(10));
        let rude = dial(&env, &address(1), limit, &secret(), Claim::Client).await;
        let mut rude = rude.expect("the coordinator listens");
        for _ in 0..2 {
            let frame = messages::encode(&ToCoordinator::Ask(Wish::Checkpoint));
            rude.sender.send(frame).await.expect("the coordinator is there");
        }
        while rude.receiver.receive().await.is_ok() {}
        crew.checkpoint().await;
    });
}

//! A client of a built-in job: asks for what its plan says, when it says so.

use super::{secret, taken_down};
use crate::plan::{Ask, Client};
use crate::world::Main;
use cofferdam_engine::door::Env;
use cofferdam_engine::messages::client::{Answer, Wish};
use cofferdam_engine::reason::Refusal;
use cofferdam_engine::runtime::client::{ClientOptions, NoReply, Reply, ask};
use cofferdam_engine::runtime::mailbox::race;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Longer than coordinators are silent that live, drifting clocks and slow links included.
const SILENCE: Duration = Duration::from_secs(3);
/// Before a client asks again.
const AGAIN_AFTER: Duration = Duration::from_millis(60);
/// Times that a client asks for a checkpoint while the job does not run.
const TRIES: u32 = 6;

/// The main function of a client. It comes to an end with its last answer, or with the job.
pub(super) fn main(client: Client, coordinators: Vec<String>, over: Arc<AtomicBool>) -> Main {
    Arc::new(move |env: Env| {
        let (client, coordinators, over) = (client.clone(), coordinators.clone(), over.clone());
        Box::pin(async move {
            let asking = ask_all(env.clone(), client, coordinators);
            race(Box::pin(asking), Box::pin(taken_down(env, over))).await;
            Ok("has asked".to_owned())
        })
    })
}

async fn ask_all(env: Env, client: Client, coordinators: Vec<String>) {
    let started = env.clock.now();
    for Ask { at_ms, wish, patience_ms } in client.asks {
        env.clock.sleep_until(started + Duration::from_millis(at_ms)).await;
        let patience = Duration::from_millis(patience_ms);
        let (coordinators, secret) = (coordinators.clone(), secret());
        let options = ClientOptions { coordinators, wish, patience, silence: SILENCE, secret };
        let mut tries = 1;
        while wants_again(wish, &ask(&env, &options).await, tries) {
            env.sleep(AGAIN_AFTER).await;
            tries += 1;
        }
    }
}

fn wants_again(wish: Wish, reply: &Result<Reply, NoReply>, tries: u32) -> bool {
    match (wish, reply) {
        (Wish::Cancel, reply) => reply.is_err(),
        (Wish::Checkpoint, Ok(Reply::Answer(Answer::Declined(Refusal::NotRunning))) | Err(NoReply::Unheard(_))) => {
            tries < TRIES
        }
        (Wish::Checkpoint | Wish::Status, _) => false,
    }
}

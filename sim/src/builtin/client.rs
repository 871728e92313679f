//! A client of a built-in job: asks for what its plan says, when it says so.

use super::taken_down;
use crate::plan::{Ask, Client};
use crate::world::Main;
use cofferdam_engine::door::Env;
use cofferdam_engine::messages::client::Wish;
use cofferdam_engine::runtime::client::{ClientOptions, ask};
use cofferdam_engine::runtime::mailbox::race;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Longer than coordinators are silent that live, drifting clocks and slow links included.
const SILENCE: Duration = Duration::from_secs(3);
/// Between two cancellations of one client.
const AGAIN_AFTER: Duration = Duration::from_millis(60);

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
        let options = ClientOptions { coordinators: coordinators.clone(), wish, patience, silence: SILENCE };
        let mut reply = ask(&env, &options).await;
        while wish == Wish::Cancel && reply.is_err() {
            env.sleep(AGAIN_AFTER).await;
            reply = ask(&env, &options).await;
        }
    }
}

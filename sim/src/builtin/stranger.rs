//! A stranger: a process that can reach the ports of a job and does not know its secret. It asks the coordinators for what its
//! plan says, by tricks, and tries to bring every worker elements by the same tricks. It never announces a wish: what a
//! coordinator receives of it, and a worker that takes it for another worker, is convicted (`members-only`).

use crate::plan::{Ask, Client, Trick};
use crate::world::Main;
use bytes::Bytes;
use cofferdam_engine::door::{Connection, Env, Site};
use cofferdam_engine::ids::{Attempt, Generation, WorkerId};
use cofferdam_engine::messages::client::Wish;
use cofferdam_engine::messages::handshake::{self, Challenge, Claim, Nonce, Opening, Response};
use cofferdam_engine::messages::{self, PROTOCOL_VERSION, ToCoordinator};
use cofferdam_engine::runtime::mailbox::race;
use cofferdam_engine::secret::Secret;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long a stranger listens to what it is told.
const LISTENS: Duration = Duration::from_millis(400);
/// Connections that a flood holds at a time: more than are borne.
const FLOOD: usize = 160;
/// Ports of a worker that are tried: those of its first incarnations.
const PORTS: std::ops::RangeInclusive<u16> = 40_001..=40_002;
/// A worker that no plan has.
const NOBODY: WorkerId = WorkerId(900);

/// An address, and what is to be had there.
#[derive(Clone)]
pub(super) struct Victim {
    address: String,
    /// The link that it takes elements on, if it is a worker.
    link: Option<Claim>,
}

/// Every address that a stranger tries.
pub(super) fn victims(coordinators: &[String], workers: u16) -> Vec<Victim> {
    let coordinators = coordinators.iter().map(|address| Victim { address: address.clone(), link: None });
    let link = |to: u16| {
        let attempt = Attempt { generation: Generation(1), number: 1 };
        Some(Claim::Link { attempt, from: WorkerId((to + 1) % workers), to: WorkerId(to) })
    };
    // A worker alone takes no links.
    let workers = if workers > 1 { 0..workers } else { 0..0 };
    let of = |to: u16| PORTS.map(move |port| Victim { address: format!("{}:{port}", WorkerId(to)), link: link(to) });
    coordinators.chain(workers.flat_map(of)).collect()
}

/// The main function of a stranger. It comes to an end with its last try, or with the job.
pub(super) fn main(client: Client, graph: u64, victims: Vec<Victim>, over: Arc<AtomicBool>) -> Main {
    Arc::new(move |env: Env| {
        let (client, victims, over) = (client.clone(), victims.clone(), over.clone());
        Box::pin(async move {
            let trying = try_all(env.clone(), client, graph, victims);
            race(Box::pin(trying), Box::pin(super::taken_down(env, over))).await;
            Ok("has tried".to_owned())
        })
    })
}

async fn try_all(env: Env, client: Client, graph: u64, victims: Vec<Victim>) {
    let Some(trick) = client.stranger else { return };
    let started = env.clock.now();
    for Ask { at_ms, wish, .. } in client.asks {
        env.clock.sleep_until(started + Duration::from_millis(at_ms)).await;
        for victim in &victims {
            let attempt = play(&env, victim, trick, wish, graph);
            race(Box::pin(attempt), env.sleep(LISTENS * 2)).await;
        }
    }
}

/// Plays the trick on one process. How far it comes is for the judges to see.
async fn play(env: &Env, Victim { address, link }: &Victim, trick: Trick, wish: Wish, graph: u64) {
    let wanted = match trick {
        Trick::Registers => registration(graph),
        Trick::Bypasses | Trick::Forges | Trick::Reflects | Trick::Floods => {
            messages::encode(&ToCoordinator::Ask(wish))
        }
    };
    let asked = if trick == Trick::Registers { Claim::Worker(NOBODY) } else { Claim::Client };
    let claim = link.unwrap_or(asked);
    if trick == Trick::Floods {
        return flood(env, address, claim, &wanted).await;
    }
    let Ok(mut connection) = env.network.connect(address.to_owned()).await else { return };
    if trick != Trick::Bypasses {
        let Some(challenge) = challenged(env, &mut connection, claim).await else { return };
        let own = Secret::new(b"what a stranger guesses".to_vec()).expect("it is long enough");
        let proof = if trick == Trick::Reflects { challenge.proof } else { own.prove(&challenge.nonce.0) };
        if connection.sender.send(handshake::encode(&Response { proof })).await.is_err() {
            return;
        }
    }
    if connection.sender.send(wanted).await.is_ok() {
        listen(env, connection).await;
    }
}

/// Opens many connections, says something on each, and holds them.
async fn flood(env: &Env, address: &str, claim: Claim, wanted: &Bytes) {
    let mut held = Vec::new();
    while held.len() < FLOOD {
        let Ok(mut connection) = env.network.connect(address.to_owned()).await else { break };
        let said = match held.len() % 3 {
            0 => Ok(()),
            1 => connection.sender.send(wanted.clone()).await,
            _ => connection.sender.send(opening(env, claim)).await,
        };
        if said.is_ok() {
            held.push(connection);
        }
    }
    env.sleep(LISTENS).await;
}

fn opening(env: &Env, claim: Claim) -> Bytes {
    handshake::encode(&Opening { claim, nonce: Nonce(env.schedule.nonce(Site::new("stranger", 0))) })
}

async fn challenged(env: &Env, connection: &mut Connection, claim: Claim) -> Option<Challenge> {
    connection.sender.send(opening(env, claim)).await.ok()?;
    let frame = connection.receiver.receive().await.ok()?;
    handshake::decode(&frame)
}

fn registration(graph: u64) -> Bytes {
    messages::encode(&ToCoordinator::Register {
        protocol: PROTOCOL_VERSION,
        graph,
        worker: NOBODY,
        incarnation: 1,
        data_address: "nowhere:1".to_owned(),
    })
}

/// Holds the connection until the other end closes it, or for a while.
async fn listen(env: &Env, mut connection: Connection) {
    let heard = async { while connection.receiver.receive().await.is_ok() {} };
    race(Box::pin(heard), env.sleep(LISTENS)).await;
}

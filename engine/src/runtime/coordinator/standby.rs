//! A coordinator that does not lead: it watches the leader's sign of life, and turns away every connection.
//!
//! 1. Read the sign as [`Watch`] asks, until it says to take over.
//! 2. A connection gets [`ToWorker::Standby`] (a client: [`ToClient::Standby`]) in answer to its first frame, whatever
//!    that says, and is closed: the peer then tries its next address. A connection without a frame is closed in time,
//!    and so is the oldest if there are too many.
//!
//! Owns: nothing that outlasts it. Does not own: the claim ([`super`]), the decision ([`crate::cores::lease`]).

use super::{Input, Member, Reception};
use crate::cores::lease::{Effect, Seen, Standing, Watch};
use crate::door::{BoxFuture, Connection, Env, Site, StorageError, TaskHandle, whole};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::hash::stable_hash;
use crate::ids::Generation;
use crate::messages::client::ToClient;
use crate::messages::{self, ToCoordinator, ToWorker};
use crate::persist::layout::LEADER;
use crate::persist::sign::Sign;
use crate::runtime::mailbox::{Mailbox, race};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// Connections that are being turned away at a time.
const VISITORS_MAX: usize = 64;
/// What a visitor has to say its first frame, and then to hang up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches until the leader shows no sign of life any more. Returns the generation whose signs were seen last, or
/// should have been: `leader` is known from the log.
pub(super) async fn watch(
    env: &Env,
    reception: &Reception,
    lease: Duration,
    leader: Option<Generation>,
) -> Result<Option<Generation>> {
    let (inbox, mut mailbox) = Mailbox::new(env, Site::new("coordinator.standby", 0));
    reception.lead_to(inbox);
    let mut visitors: VecDeque<Box<dyn TaskHandle>> = VecDeque::new();
    let mut count = 0;
    let mut out = Vec::new();
    let mut watch = Watch::new(env.clock.now(), lease, leader, &mut out);
    let decided = loop {
        assert_eq!(out.len(), 1, "a standby does one thing at a time");
        let mut observing: BoxFuture<'static, ()> = match out.remove(0) {
            Effect::Read { delay } => env.sleep(delay),
            Effect::TakeOver => break Ok(watch.leader()),
            Effect::Fail { error } => break Err(error),
            Effect::Write { .. } => panic!("a standby shows no signs of life"),
        };
        while let Some(input) = mailbox.take_before(&mut observing).await {
            match input {
                Input::Accepted(Member { connection, .. }) => {
                    count += 1;
                    let task = Box::pin(turn_away(env.clone(), connection));
                    visitors.push_back(env.spawner.spawn(Site::new("coordinator.visitor", count), task));
                    if visitors.len() > VISITORS_MAX {
                        visitors.pop_front().expect("there are many").abort();
                    }
                }
                Input::NotListening(error) => return Err(Error::restart(format!("cannot accept workers: {error}"))),
                _ => panic!("a standby asks for nothing else"),
            }
        }
        let asked = env.clock.now();
        let reply = whole::read(&env.storage, LEADER).await;
        let seen = match reply {
            Ok(bytes) => Ok(Sign::decode(&bytes).map_or_else(|_| garbled(&bytes), seen)),
            Err(StorageError::NotFound(_)) => Ok(Seen::Nothing),
            Err(error) => Err(error),
        };
        watch.on_observed(asked, env.clock.now(), seen, &mut out);
    };
    visitors.iter().for_each(|visitor| visitor.abort());
    if decided.is_ok() {
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        env.emit(Event::LeaseExpired { generation: watch.leader(), lease_ms });
    }
    decided
}

fn garbled(bytes: &Bytes) -> Seen {
    Seen::Garbled { digest: stable_hash(&bytes[..]) }
}

fn seen(sign: Sign) -> Seen {
    let Sign { generation, beat, standing, .. } = sign;
    Seen::Sign { generation, beat, resigned: standing == Standing::Resigned }
}

/// Answers the first frame and waits for the visitor to hang up: closing at once could overtake the answer.
async fn turn_away(env: Env, connection: Connection) {
    let Connection { mut sender, mut receiver, .. } = connection;
    let conversation = async move {
        let Ok(first) = receiver.receive().await else { return };
        let reply = match messages::decode(&first) {
            Ok(ToCoordinator::Ask(_)) => messages::encode(&ToClient::Standby),
            Ok(_) | Err(_) => messages::encode(&ToWorker::Standby),
        };
        if sender.send(reply).await.is_ok() {
            while receiver.receive().await.is_ok() {}
        }
    };
    race(Box::pin(conversation), env.sleep(PATIENCE)).await;
}

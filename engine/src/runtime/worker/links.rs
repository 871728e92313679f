//! The links that arrive at a worker, until an attempt reads them: a task that accepts them, their numbers, their connections,
//! and a task for each one that is held.
//!
//! Owns: the connections. Does not own: which link is held, and what becomes of it ([`crate::cores::early_links`]).

use super::Input;
use super::means::{Means, site};
use crate::cores::early_links::LinkId;
use crate::cores::handshake::Entrance;
use crate::door::{Connection, Listener, Site, TaskHandle};
use crate::ids::{Attempt, WorkerId};
use crate::messages::handshake::Claim;
use crate::runtime::gate::Gate;
use crate::runtime::mailbox::{Either, Mailbox, Postbox, race};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time from a listener that cannot accept any more to the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts links of other workers until it is aborted.
pub(super) fn accept(means: &Means, mut listener: Box<dyn Listener>) -> Box<dyn TaskHandle> {
    let gate = Gate {
        env: means.env.clone(),
        secret: means.secret.clone(),
        entrance: Entrance::Worker(means.me),
        patience: means.job.config.heartbeat_timeout,
    };
    let inputs = means.inputs.clone();
    let accept = async move {
        loop {
            let inputs = inputs.clone();
            let admit = move |connection, claim| {
                let Claim::Link { attempt, from, .. } = claim else { panic!("a worker lets links in, not {claim}") };
                inputs.post(Input::Link { attempt, from, connection });
            };
            gate.keep(&mut *listener, admit).await;
            gate.env.sleep(ACCEPT_PAUSE).await;
        }
    };
    means.env.spawner.spawn(site("accept", means.me), Box::pin(accept))
}

/// The links that no attempt reads.
#[derive(Default)]
pub(super) struct Links {
    arrived: u64,
    /// Links that have arrived or were called just now.
    open: BTreeMap<LinkId, Connection>,
    held: BTreeMap<LinkId, Held>,
}

/// A link that waits for its attempt.
struct Held {
    call: Postbox<()>,
    task: Box<dyn TaskHandle>,
}

impl Links {
    /// A link has arrived. The core says at once what becomes of it.
    pub fn on_arrived(&mut self, connection: Connection) -> LinkId {
        self.arrived += 1;
        let link = LinkId(self.arrived);
        self.open.insert(link, connection);
        link
    }

    /// The task of a held link gives its connection back. The core says at once what becomes of it.
    pub fn on_called(&mut self, link: LinkId, connection: Connection) {
        self.held.remove(&link);
        self.open.insert(link, connection);
    }

    /// The task of a held link is over.
    pub fn on_gone(&mut self, link: LinkId) {
        self.held.remove(&link);
    }

    pub fn take(&mut self, link: LinkId) -> Connection {
        self.open.remove(&link).expect("it has arrived or was called just now")
    }

    /// Holds a link until it is called, its peer hangs up, or `limit` is over.
    pub fn hold(&mut self, means: &Means, link: LinkId, (attempt, from): (Attempt, WorkerId), limit: Duration) {
        let at = Site::new("link-early", link.0);
        let mut connection = self.take(link);
        let (call, mut called) = Mailbox::new(&means.env, at);
        let (inputs, limit) = (means.inputs.clone(), means.env.sleep(limit));
        let wait = async move {
            // Nothing is sent on a link before it is called: whatever comes is its end.
            let gone = Box::pin(race(connection.receiver.receive(), limit));
            let woken = race(Box::pin(called.take()), gone).await;
            match woken {
                Either::First(()) => inputs.post(Input::LinkCalled { link, attempt, from, connection }),
                Either::Second(_) => inputs.post(Input::LinkGone { link }),
            }
        };
        let task = means.env.spawner.spawn(at, Box::pin(wait));
        self.held.insert(link, Held { call, task });
    }

    /// The attempt of a held link runs.
    pub fn call(&self, link: LinkId) {
        if let Some(held) = self.held.get(&link) {
            held.call.post(());
        }
    }

    /// Hangs up on a held link.
    pub fn release(&mut self, link: LinkId) {
        if let Some(held) = self.held.remove(&link) {
            held.task.abort();
        }
    }
}

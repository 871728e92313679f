//! Reception: where a coordinator listens, and where the members of the job go who connect.

use super::Input;
use crate::cores::handshake::Entrance;
use crate::door::{Connection, Env, Listener, Site, TaskHandle};
use crate::error::{Error, Result};
use crate::messages::handshake::Claim;
use crate::runtime::gate::Gate;
use crate::runtime::mailbox::{Mailbox, Postbox};
use crate::secret::Secret;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where a coordinator listens, and since when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listen {
    /// At this address, from the start: a standby turns away every connection.
    At(String),
    /// At an address of each leadership's own, and only while it leads. Before that no process can have connected, so a
    /// coordinator that finds the job over has no worker to inform.
    OnceLeading {
        /// The folder that it lies in; its name there is made of the log and the leadership.
        folder: String,
    },
}

/// A connection whose other end is a member of the job.
pub(super) struct Member {
    pub connection: Connection,
    /// What it has proved to be.
    pub claim: Claim,
}

/// Passes members on to whatever this process is at the moment.
#[derive(Clone)]
pub(super) struct Reception {
    inbox: Arc<Mutex<Postbox<Input>>>,
    gate: Gate,
    ready: Option<Postbox<String>>,
}

/// An open port. Dropping it closes it.
pub(super) struct Port {
    pub address: String,
    acceptor: Box<dyn TaskHandle>,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Reception {
    /// A reception that `ready` is told the address of.
    pub fn new(env: &Env, secret: Secret, patience: Duration, ready: Option<Postbox<String>>) -> Self {
        let (inbox, _) = Mailbox::new(env, Site::new("coordinator.reception", 0));
        let gate = Gate { env: env.clone(), secret, entrance: Entrance::Coordinator, patience };
        Self { inbox: Arc::new(Mutex::new(inbox)), gate, ready }
    }

    /// Listens at an address.
    pub async fn open(&self, address: String) -> Result<Port> {
        let env = &self.gate.env;
        let listener = env.network.listen(address).await.map_err(|error| Error::give_up(error.to_string()))?;
        let address = listener.address();
        if let Some(ready) = &self.ready {
            ready.post(address.clone());
        }
        let task = Box::pin(accept(self.clone(), listener));
        let acceptor = env.spawner.spawn(Site::new("coordinator.acceptor", 0), task);
        Ok(Port { address, acceptor })
    }

    /// Members go there from now on.
    pub fn lead_to(&self, inbox: Postbox<Input>) {
        *self.inbox.lock().unwrap_or_else(PoisonError::into_inner) = inbox;
    }

    fn post(&self, input: Input) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).post(input);
    }
}

async fn accept(reception: Reception, mut listener: Box<dyn Listener>) {
    let members = reception.clone();
    let admit = move |connection, claim| members.post(Input::Accepted(Member { connection, claim }));
    let error = reception.gate.keep(&mut *listener, admit).await;
    reception.post(Input::NotListening(error));
}

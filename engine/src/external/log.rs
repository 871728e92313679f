//! A partitioned log with transactions: what it is asked, and a client for one producer.
//!
//! 1. A transaction has a name, which its producer chooses. [`Request::Write`] opens it and replaces what it holds; it stays
//!    invisible to readers, who read what is committed only.
//! 2. [`Request::PreCommit`] closes it: nothing can be written to it any more, and it outlives its producer.
//! 3. [`Request::Commit`] shows it, once: committing what is committed changes nothing.
//! 4. [`Request::Fence`] says which is the newest incarnation of a producer: what older ones ask for from then on is
//!    rejected, and whatever they have open, pre-committed or not, is aborted. A producer commits what it knows to
//!    belong to a durable checkpoint before it fences.
//! 5. A transaction that is neither committed nor aborted within the system's patience is aborted.
//!
//! Source: Kafka's transactions (KIP-98), with two-phase commit by name (KIP-939).

use super::ask;
use crate::door::Env;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// An incarnation of a producer: later ones compare greater.
pub type Incarnation = (u64, u64);

/// What a log is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Opens a transaction that holds exactly these records, by partition.
    Write {
        /// Whose.
        producer: String,
        /// By which incarnation.
        incarnation: Incarnation,
        /// Its name.
        transaction: String,
        /// Partition and record.
        records: Vec<(u32, Vec<u8>)>,
    },
    /// Closes a transaction.
    PreCommit {
        /// Its name.
        transaction: String,
    },
    /// Shows a transaction.
    Commit {
        /// Its name.
        transaction: String,
    },
    /// Forgets a transaction.
    Abort {
        /// Its name.
        transaction: String,
    },
    /// Says which incarnation is the newest.
    Fence {
        /// Of whom.
        producer: String,
        /// The newest.
        incarnation: Incarnation,
    },
    /// What readers see of a partition.
    Read {
        /// Which.
        partition: u32,
    },
}

/// What it answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It is so now, or was already.
    Done,
    /// It is not, and will not be; why.
    Rejected(String),
    /// Committed records, in order.
    Records(Vec<Vec<u8>>),
}

/// One incarnation of a producer of a log.
#[derive(Clone)]
pub struct Producer {
    env: Env,
    system: String,
    producer: String,
    incarnation: Incarnation,
}

impl Producer {
    /// A producer of the log `system`. Asks for nothing yet.
    pub fn new(env: &Env, system: &str, producer: &str, incarnation: Incarnation) -> Self {
        Self { env: env.clone(), system: system.to_owned(), producer: producer.to_owned(), incarnation }
    }

    /// Aborts what older incarnations have open, and keeps them from going on.
    pub async fn fence(&self) -> Result<()> {
        let (producer, incarnation) = (self.producer.clone(), self.incarnation);
        self.done(&Request::Fence { producer, incarnation }).await
    }

    /// Opens a transaction of these records.
    pub async fn write(&self, transaction: &str, records: Vec<(u32, Vec<u8>)>) -> Result<()> {
        let (producer, incarnation) = (self.producer.clone(), self.incarnation);
        self.done(&Request::Write { producer, incarnation, transaction: transaction.to_owned(), records }).await
    }

    /// Closes a transaction.
    pub async fn pre_commit(&self, transaction: &str) -> Result<()> {
        self.done(&Request::PreCommit { transaction: transaction.to_owned() }).await
    }

    /// Shows a transaction.
    pub async fn commit(&self, transaction: &str) -> Result<()> {
        self.done(&Request::Commit { transaction: transaction.to_owned() }).await
    }

    /// Forgets a transaction.
    pub async fn abort(&self, transaction: &str) -> Result<()> {
        self.done(&Request::Abort { transaction: transaction.to_owned() }).await
    }

    async fn done(&self, request: &Request) -> Result<()> {
        match ask(&self.env, &self.system, request).await? {
            Reply::Done => Ok(()),
            // The attempt that was overtaken ends; the newest one tries again.
            Reply::Rejected(why) => Err(Error::restart(format!("{} rejects a request: {why}", self.system))),
            Reply::Records(_) => Err(Error::give_up(format!("{} answers another question", self.system))),
        }
    }
}

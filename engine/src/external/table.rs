//! A table whose writes are prepared and committed: what it is asked, and a client.
//!
//! 1. [`Request::Prepare`] leaves rows with the table under the name of a transaction, durably and invisibly.
//! 2. [`Request::Commit`] puts them in, all at once and once only: a name that was committed stays known.
//! 3. [`Request::Abort`] forgets what was prepared; a name that was aborted can be neither prepared nor committed again.
//!
//! Source: XA; PostgreSQL's `PREPARE TRANSACTION`.

use super::ask;
use crate::door::Env;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A row: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What a table is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Leaves rows under a name.
    Prepare {
        /// The name.
        transaction: String,
        /// Each key's last value counts.
        rows: Vec<Row>,
    },
    /// Puts them in.
    Commit {
        /// The name.
        transaction: String,
    },
    /// Forgets them.
    Abort {
        /// The name.
        transaction: String,
    },
    /// The value of a key.
    Get {
        /// Which.
        key: Vec<u8>,
    },
    /// Names that are prepared and begin like this.
    Prepared {
        /// How.
        prefix: String,
    },
}

/// What it answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It is so now, or was already.
    Done,
    /// It is not, and will not be; why.
    Rejected(String),
    /// What was asked for.
    Value(Option<Vec<u8>>),
    /// Names, in order.
    Names(Vec<String>),
}

/// A client of a table.
#[derive(Clone)]
pub struct Table {
    env: Env,
    system: String,
}

impl Table {
    /// A client of the table `system`. Asks for nothing yet.
    pub fn new(env: &Env, system: &str) -> Self {
        Self { env: env.clone(), system: system.to_owned() }
    }

    /// Leaves rows under a name.
    pub async fn prepare(&self, transaction: &str, rows: Vec<Row>) -> Result<()> {
        self.done(&Request::Prepare { transaction: transaction.to_owned(), rows }).await
    }

    /// Puts them in.
    pub async fn commit(&self, transaction: &str) -> Result<()> {
        self.done(&Request::Commit { transaction: transaction.to_owned() }).await
    }

    /// Forgets them.
    pub async fn abort(&self, transaction: &str) -> Result<()> {
        self.done(&Request::Abort { transaction: transaction.to_owned() }).await
    }

    /// The value of a key.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match ask(&self.env, &self.system, &Request::Get { key: key.to_owned() }).await? {
            Reply::Value(value) => Ok(value),
            other => Err(self.confused(&other)),
        }
    }

    /// Names that are prepared and begin like this: what older attempts left behind.
    pub async fn prepared(&self, prefix: &str) -> Result<Vec<String>> {
        match ask(&self.env, &self.system, &Request::Prepared { prefix: prefix.to_owned() }).await? {
            Reply::Names(names) => Ok(names),
            other => Err(self.confused(&other)),
        }
    }

    async fn done(&self, request: &Request) -> Result<()> {
        match ask(&self.env, &self.system, request).await? {
            Reply::Done => Ok(()),
            Reply::Rejected(why) => Err(Error::restart(format!("{} rejects a request: {why}", self.system))),
            other => Err(self.confused(&other)),
        }
    }

    fn confused(&self, reply: &Reply) -> Error {
        Error::give_up(format!("{} answers another question: {reply:?}", self.system))
    }
}

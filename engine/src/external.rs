//! Systems outside, as sinks meet them: what they are asked, what they answer, and patient clients.
//!
//! | system | what | exactly once because |
//! |---|---|---|
//! | [`log`] | a partitioned log with transactions | a transaction has the name of its checkpoint, and commits once |
//! | [`table`] | a table whose writes are prepared and committed | the same |
//!
//! Requests and replies are serde enums in bincode: what goes through the [door](crate::door::Externals) is bytes. Who stands
//! behind a name (a cluster, a state machine of the simulator) shows nowhere here.
//!
//! Every request may be repeated without harm, so that a client that is told nothing asks again. Rejections are answers, not
//! errors: the system has decided.

pub mod log;
pub mod table;

use crate::codec;
use crate::door::{Env, ExternalError};
use crate::error::{Error, Result};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// Tries before the job has to restart.
const TRIES_MAX: u32 = 4;
/// Pause before the second try; doubled before each later one.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// Asks `system` until it answers, a bounded number of times. Only for requests that may be repeated without harm.
pub async fn ask<A: DeserializeOwned>(env: &Env, system: &str, request: &impl Serialize) -> Result<A> {
    let request = Bytes::from(bincode::serialize(request).expect("requests serialise"));
    let mut pause = PAUSE_FIRST;
    for tried in 1..=TRIES_MAX {
        let error = match env.externals.call(system, request.clone()).await {
            Ok(reply) => return decoded(system, &reply),
            Err(ExternalError::Fenced) => return Err(Error::fenced(ExternalError::Fenced.to_string())),
            Err(error @ (ExternalError::Failed(_) | ExternalError::Unknown(_))) => error,
        };
        if tried < TRIES_MAX {
            env.sleep(pause).await;
            pause *= 2;
        } else {
            return Err(Error::restart(format!("asking {system}, {TRIES_MAX} times: {error}")));
        }
    }
    unreachable!("the last try returns")
}

fn decoded<A: DeserializeOwned>(system: &str, reply: &[u8]) -> Result<A> {
    codec::decode(reply).map_err(|e| Error::give_up(format!("{system} gives an answer that is none: {e}")))
}

//! Connecting with a limit: the door's `connect` may take for ever, a caller may not.

use super::mailbox::{Either, race};
use crate::door::{Connection, Env, NetworkError};
use std::time::Duration;

/// Connects, or gives up after `limit`.
pub async fn dial(env: &Env, address: &str, limit: Duration) -> Result<Connection, NetworkError> {
    match race(env.network.connect(address.to_owned()), env.sleep(limit)).await {
        Either::First(connected) => connected,
        Either::Second(()) => {
            Err(NetworkError::Refused(address.to_owned(), format!("no answer within {} ms", limit.as_millis())))
        }
    }
}

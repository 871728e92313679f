//! Bounded patience with storage: a request that may be repeated without harm (a read, a list, a delete, a write of the
//! same bytes) is repeated a few times before its caller has to restart.
//!
//! A definite failure and an unknown outcome are treated alike, because of that harmlessness. A caller that needs more
//! than that (the slot log, the parts of an upload) decides by reading back, not here.

use super::{BoxFuture, Env, StorageError};
use std::time::Duration;

/// Tries before giving up.
pub const TRIES_MAX: u32 = 4;

/// Pause before the second try; doubled before each later one.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// Repeats `request` while it fails or its outcome is unknown, a few times with growing pauses.
pub async fn storage<T>(
    env: &Env,
    request: impl Fn() -> BoxFuture<'static, Result<T, StorageError>>,
) -> Result<T, StorageError> {
    let mut pause = PAUSE_FIRST;
    for _ in 1..TRIES_MAX {
        match request().await {
            Err(StorageError::Failed(_) | StorageError::Unknown(_)) => {}
            outcome @ (Ok(_) | Err(StorageError::NotFound(_) | StorageError::Exists(_) | StorageError::Fenced)) => {
                return outcome;
            }
        }
        env.sleep(pause).await;
        pause *= 2;
    }
    request().await
}

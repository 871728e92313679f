//! Bounded retries of storage requests that may be repeated without harm: reads, and writes whose repetition writes the
//! same. Whoever needs more than that (the slot log) decides by reading back, not here.

use crate::door::{BoxFuture, Env, StorageError};
use std::time::Duration;

const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Repeats `request` while it fails or its outcome is unknown, a few times with growing pauses.
pub async fn storage<T>(
    env: &Env,
    request: impl Fn() -> BoxFuture<'static, Result<T, StorageError>>,
) -> Result<T, StorageError> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
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

//! Requests about the input as a whole: listing it for a run, and looking later what has come since.

use crate::cores::backoff::backoff;
use crate::cores::input::Later;
use crate::door::{BoxFuture, Depth, Env, ObjectMeta, StorageError, WriteMode, retry, whole};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::ids::Attempt;
use crate::messages::ListingHandle;
use crate::persist::listing::Listing;

/// Tries to list the input, or to store the listing, before the attempt counts as failed.
const TRIES: u32 = 20;

/// Lists every input and stores the listing at `path`. Nothing else is ever written to that path, so a write of unknown
/// outcome is repeated.
pub async fn list(env: &Env, attempt: Attempt, path: String, inputs: Vec<String>) -> Result<ListingHandle> {
    let mut listing = Listing::default();
    for input in inputs {
        let objects: Vec<ObjectMeta> = patiently(env, || env.storage.list(&input, Depth::Tree)).await?;
        if objects.is_empty() {
            return Err(Error::give_up(format!("input {} does not exist", env.storage.shown(&input))));
        }
        listing.inputs.push((input, objects));
    }
    let objects = listing.inputs.iter().map(|(_, objects)| objects.len() as u64).sum();
    env.emit(Event::InputListed { attempt, path: path.clone(), objects });
    let bytes = listing.encode();
    patiently(env, || env.storage.write(&path, bytes.clone(), WriteMode::Overwrite)).await?;
    Ok(Listing::handle(path, &bytes))
}

async fn patiently<T>(env: &Env, request: impl Fn() -> BoxFuture<'static, Result<T, StorageError>>) -> Result<T> {
    let mut tries = 0;
    loop {
        match request().await {
            Ok(reply) => return Ok(reply),
            Err(error @ StorageError::Fenced) => return Err(error.into()),
            Err(error) => {
                tries += 1;
                if tries == TRIES {
                    return Err(Error::from(error).while_doing("cannot list the input"));
                }
                env.sleep(backoff(tries)).await;
            }
        }
    }
}

/// What has come to the input since it was listed. The first of it is named as the user knows it.
pub async fn compare(env: &Env, handle: &ListingHandle) -> Result<Later> {
    let bytes = retry::storage(env, || whole::read(&env.storage, &handle.path)).await?;
    let mut later = Later::default();
    for (input, listed) in Listing::open(handle, &bytes)?.inputs {
        let now = retry::storage(env, || env.storage.list(&input, Depth::Tree)).await?;
        later.add(&listed, &now);
    }
    later.first = later.first.map(|first| env.storage.shown(&first));
    Ok(later)
}

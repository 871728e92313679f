//! What a worker finds in its own folders of the leadership that welcomed it. The leader compares: a worker that was given
//! another output writes where nothing is read, and one that was given another checkpoint folder acknowledges snapshots that
//! no restore finds.

use crate::cores::backoff::backoff;
use crate::door::{Depth, Env, LISTING_AGE_MAX, StorageError, retry, whole};
use crate::error::Result;
use crate::ids::Generation;
use crate::messages::Sight;
use crate::persist::layout;
use crate::persist::mark::{Mark, Name};
use crate::persist::slot::Slot;

/// Looks at the log before it counts as another one. An entry may be freed between the listing and the read.
const TRIES: u32 = 5;

/// Looks at the output and at the checkpoints. Errors: storage did not answer, or a mark is damaged.
pub async fn look(env: &Env, generation: Generation) -> Result<Sight> {
    Ok(Sight { token: token(env, generation).await?, log: newest(env, generation).await? })
}

/// The token in the mark of a leadership.
async fn token(env: &Env, generation: Generation) -> Result<Option<u64>> {
    let name = Name::Generation(generation);
    match retry::storage(env, || whole::read(&env.storage, &name.path())).await {
        Ok(bytes) => Mark::decode(name, &bytes).map(|mark| mark.token()),
        Err(StorageError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The leadership of the newest entry of the log: at least `generation`, which has claimed one, if it is the leader's log.
async fn newest(env: &Env, generation: Generation) -> Result<Option<Generation>> {
    let mut found = None;
    for tries in 1..=TRIES {
        let listed = retry::storage(env, || env.storage.list(layout::LOG, Depth::Folder)).await?;
        let newest = listed.iter().filter_map(|object| layout::log_entry_number(&object.path)).max();
        if let Some(number) = newest {
            let path = layout::log_entry(number);
            match retry::storage(env, || whole::read(&env.storage, &path)).await {
                Ok(bytes) => found = Slot::decode(&path, &bytes).ok().map(|entry| entry.generation),
                Err(StorageError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if found >= Some(generation) {
            break;
        }
        // The listing may be older than the claim.
        env.sleep(LISTING_AGE_MAX + backoff(tries)).await;
    }
    Ok(found)
}

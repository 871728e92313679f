//! What the sources of each attempt read, re-executed: the objects of its listing, in the length and version in which they
//! were listed, whatever happened to them before or afterwards.
//!
//! The content is what the world saw. Faults of a plan append to an object, cut it off or remove it; so every content that a
//! path has had begins like the longest one, and the listed length says how much of that counts.

use super::EXACTLY_ONCE_STATE;
use super::external::QuietSystems;
use super::quiet;
use crate::case::Violation;
use crate::ledger::Ledger;
use cofferdam_engine::door::Env;
use cofferdam_engine::ids::{Attempt, CheckpointId};
use cofferdam_engine::messages::ListingHandle;
use cofferdam_engine::persist::listing::Listing;
use std::collections::BTreeMap;

/// The input of every attempt.
#[derive(Default)]
pub struct Inputs {
    /// Where the listing of an attempt that starts from nothing lies.
    listed: BTreeMap<Attempt, String>,
    /// By attempt: the path of its listing.
    deployed: BTreeMap<Attempt, String>,
    /// By path of a listing.
    worlds: BTreeMap<String, Input>,
}

/// A quiet world that holds the objects of one listing.
pub struct Input {
    /// The world.
    pub env: Env,
    /// The listing in it.
    pub listing: ListingHandle,
}

impl Inputs {
    /// The input was listed for an attempt that starts from nothing.
    pub fn on_listed(&mut self, attempt: Attempt, path: &str) {
        self.listed.insert(attempt, path.to_owned());
    }

    /// An attempt was deployed. Jobs that read no objects have no listing.
    pub fn on_deployed(
        &mut self,
        ledger: &Ledger<'_>,
        at: usize,
        attempt: Attempt,
        restore: Option<CheckpointId>,
    ) -> Result<(), Violation> {
        let restored = restore.and_then(|checkpoint| ledger.completed_at(checkpoint, at));
        let named = restored.and_then(|completed| completed.manifest.as_ref().ok()?.listing.as_ref());
        let Some(path) = named.map(|listing| &listing.path).or_else(|| self.listed.get(&attempt)).cloned() else {
            return Ok(());
        };
        if !self.worlds.contains_key(&path) {
            let input = world(ledger, at, &path).map_err(|why| Violation::new(EXACTLY_ONCE_STATE, at, &path, why))?;
            self.worlds.insert(path.clone(), input);
        }
        self.deployed.insert(attempt, path);
        Ok(())
    }

    /// What the sources of an attempt read.
    pub fn of(&self, attempt: Attempt) -> Option<&Input> {
        self.worlds.get(self.deployed.get(&attempt)?)
    }
}

fn world(ledger: &Ledger<'_>, at: usize, path: &str) -> Result<Input, String> {
    let stored = ledger.written_before(path, at).last().ok_or("is deployed before it is stored")?;
    let listing = Listing::decode(path, stored).map_err(|error| error.to_string())?;
    let (env, storage) = quiet::world(&BTreeMap::from([(path.to_owned(), stored.clone())]), QuietSystems::default());
    for object in listing.inputs.iter().flat_map(|(_, objects)| objects) {
        let contents = ledger.input_before(&object.path, at).filter_map(|state| state.bytes);
        let longest = contents.max_by_key(|content| content.len());
        let bytes = usize::try_from(object.bytes).unwrap_or(usize::MAX);
        let Some(content) = longest.filter(|content| content.len() >= bytes) else {
            return Err(format!("lists {} with {bytes} bytes, which it never had", object.path));
        };
        storage.put(&object.path, content.slice(..bytes), object.version.clone());
    }
    Ok(Input { env, listing: Listing::handle(path.to_owned(), stored) })
}

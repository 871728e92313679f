//! Storage over object stores: the first segment of a path chooses the mount, the rest is the name in it.
//!
//! How a write ends, which decides whether the engine may repeat it:
//! * *a store with atomic puts* (memory; S3, GCS and Azure later): one `put`. Errors that say why nothing was tried are
//!   `Failed`; all others may have reached the store and are `Unknown`.
//! * *a folder on disk*: the bytes go to a file of a hidden staging folder, below one that is named after the incarnation of
//!   the process, and are synced there, then one link (`Create`)
//!   or rename (`Overwrite`) publishes them, and the folder is synced. Before the publishing step an error is
//!   `Failed`, for nothing can have become visible. In it an error is `Unknown`: the entry may exist and only the
//!   sync of its folder may have failed. (Rejected: `put` straight to the destination; it stages beside it under `name#1`, and
//!   a kill would leave half a file where the user looks for output. Its errors also do not tell the two cases apart.)
//!
//! A rename is one step on a disk (`os/rename.rs`), and a copy and a deletion in a store.
//!
//! An upload in parts: a store takes them and assembles the object when it is complete; on disk the parts are one after
//! the other in a staged file, which is synced and renamed when it is complete. Parts of an upload that is never
//! completed are removed from the staging folder by [`Storage::clear`], and from a bucket by its rule for incomplete
//! uploads.
//!
//! Invariants: a path never leaves its mount (`.` and `..` are refused); names are taken as they are, nothing is
//! percent-encoded.
//!
//! Input is read from disk without a store (`os::input`).

use super::mount::{Layout, Mounts};
use super::place::{Place, folder_of};
use super::upload::MountedUpload;
use crate::door::{BoxFuture, Depth, ObjectMeta, Piece, Storage, StorageError, Upload, WriteMode};
use bytes::Bytes;
use object_store::path::Path;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

/// The mounts of this process as one storage.
#[derive(Debug)]
pub struct MountedStorage {
    mounts: Mounts,
    /// Names the staging folder of this process.
    incarnation: u64,
}

impl MountedStorage {
    /// Storage over these mounts.
    pub fn new(mounts: Mounts) -> Self {
        Self { mounts, incarnation: rand::random() }
    }

    fn place(&self, path: &str) -> Result<Place, StorageError> {
        let (mount, name) = path.split_once('/').unwrap_or((path, ""));
        let Some(found) = self.mounts.get(mount) else {
            return Err(StorageError::Failed(format!("{path}: nothing is mounted at {mount}")));
        };
        if name.starts_with('/') {
            return Err(StorageError::Failed(format!("{path}: a path has no empty segment")));
        }
        let name = Path::parse(name).map_err(|e| StorageError::Failed(format!("{path}: {e}")))?;
        Ok(Place { mount: found.clone(), name, path: path.to_owned(), incarnation: self.incarnation })
    }

    /// Runs `request` on the place that `path` names.
    fn at<T, F>(&self, path: &str, request: impl FnOnce(Place) -> F) -> BoxFuture<'static, Result<T, StorageError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        match self.place(path) {
            Ok(place) => Box::pin(request(place)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

impl Storage for MountedStorage {
    fn read(&self, path: &str, range: Range<u64>) -> BoxFuture<'static, Result<Piece, StorageError>> {
        self.at(path, |place| async move {
            match &place.mount.layout {
                Layout::Input(files) => files.clone().read(place.path, place.name, range).await,
                Layout::Atomic { .. } | Layout::Folder { .. } => place.read(range).await,
            }
        })
    }

    fn write(&self, path: &str, bytes: Bytes, mode: WriteMode) -> BoxFuture<'static, Result<(), StorageError>> {
        self.at(path, move |place| async move { place.write(bytes, mode).await })
    }

    fn rename(&self, from: &str, to: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        let from = self.place(from);
        self.at(to, |place| async move { super::rename::rename(from?, place).await })
    }

    fn upload(&self, path: &str) -> Box<dyn Upload> {
        Box::new(MountedUpload::new(self.place(path)))
    }

    fn delete(&self, path: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        self.at(path, |place| async move { place.delete().await })
    }

    fn list(&self, prefix: &str, depth: Depth) -> BoxFuture<'static, Result<Vec<ObjectMeta>, StorageError>> {
        // Nothing lies in a folder that is not mounted, and nothing will: a finished job has no output to look at.
        if self.mounts.get(prefix.split('/').next().unwrap_or(prefix)).is_none() {
            return Box::pin(std::future::ready(Err(StorageError::NotFound(format!(
                "{prefix}: nothing is mounted there"
            )))));
        }
        self.at(prefix, move |place| async move {
            match &place.mount.layout {
                Layout::Input(files) => files.clone().list(place.path, place.name, depth).await,
                Layout::Atomic { .. } | Layout::Folder { .. } => place.list(depth).await,
            }
        })
    }

    fn shown(&self, path: &str) -> String {
        match self.place(path) {
            Ok(Place { mount, name, .. }) if matches!(mount.layout, Layout::Input(_)) => mount.shown(&name),
            Ok(_) | Err(_) => path.to_owned(),
        }
    }

    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn clear(&self, mut living: BTreeSet<u64>) -> BoxFuture<'static, Result<(), StorageError>> {
        living.insert(self.incarnation);
        let (folders, own) = (self.mounts.staging(), self.incarnation);
        let clear = move || folders.iter().try_for_each(|staging| clear(staging, &living, own));
        Box::pin(async move {
            let cleared = tokio::task::spawn_blocking(clear).await;
            cleared.map_err(io::Error::other).flatten().map_err(|e| StorageError::Unknown(e.to_string()))
        })
    }
}

/// Removes everything from a staging folder but the folders of `living` incarnations; that of `own`, if it is empty.
fn clear(staging: &std::path::Path, living: &BTreeSet<u64>, own: u64) -> io::Result<()> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("cannot clear {}: {e}", staging.display()));
    let keep: BTreeSet<String> = living.iter().map(|incarnation| folder_of(*incarnation)).collect();
    for entry in std::fs::read_dir(staging).map_err(named)? {
        let entry = entry.map_err(named)?;
        if entry.file_name().to_str().is_some_and(|name| keep.contains(name)) {
            continue;
        }
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = match is_folder {
            true => std::fs::remove_dir_all(entry.path()),
            false => std::fs::remove_file(entry.path()),
        };
        match removed {
            // Its owner published or removed it meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(named)?,
        }
    }
    // Not empty, or never made: both are as they should be.
    let _ = std::fs::remove_dir(staging.join(folder_of(own)));
    Ok(())
}

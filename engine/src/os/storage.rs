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

use super::mount::{Layout, Mount, Mounts, STAGING};
use super::upload::MountedUpload;
use crate::door::{BoxFuture, Depth, ObjectMeta, Piece, Storage, StorageError, Upload, Version, WriteMode};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectMeta as StoreMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions,
};
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;

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

/// One path, looked up.
#[derive(Clone)]
pub(super) struct Place {
    pub mount: Arc<Mount>,
    /// Within the mount.
    pub name: Path,
    /// As the engine knows it.
    pub path: String,
    /// Of the process that asks.
    pub incarnation: u64,
}

impl Place {
    async fn read(&self, range: Range<u64>) -> Result<Piece, StorageError> {
        if !self.mount.shows(&self.name) {
            return Err(StorageError::NotFound(self.path.clone()));
        }
        let start = range.start;
        if range.is_empty() {
            return self.past_the_end(start, None).await;
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        match self.store()?.get_opts(&self.name, options).await {
            Ok(found) => {
                let (size, version) = (found.meta.size, version(&found.meta));
                let bytes = found.bytes().await.map_err(|e| self.read_error(e))?;
                Ok(Piece { bytes, size, version })
            }
            Err(error) if is_absent(&error) => Err(self.read_error(error)),
            Err(error) => self.past_the_end(start, Some(error)).await,
        }
    }

    /// Stores refuse empty ranges and ranges that start past the end, each in its own words. The door says: no bytes.
    async fn past_the_end(&self, start: u64, refused: Option<StoreError>) -> Result<Piece, StorageError> {
        let meta = self.store()?.head(&self.name).await.map_err(|e| self.read_error(e))?;
        match refused {
            Some(error) if start < meta.size => Err(self.read_error(error)),
            Some(_) | None => Ok(Piece { bytes: Bytes::new(), size: meta.size, version: version(&meta) }),
        }
    }

    /// The store of the mount: of input nothing but reads and listings is served, by [`InputFiles`](super::input::InputFiles).
    pub fn store(&self) -> Result<&Arc<dyn ObjectStore>, StorageError> {
        match &self.mount.layout {
            Layout::Atomic { store, .. } | Layout::Folder { store, .. } => Ok(store),
            Layout::Input(_) => Err(self.only_read()),
        }
    }

    async fn write(&self, bytes: Bytes, mode: WriteMode) -> Result<(), StorageError> {
        self.may_be_written()?;
        match &self.mount.layout {
            Layout::Atomic { .. } => self.put(bytes, mode).await,
            Layout::Folder { disk, publishing, .. } => {
                let _others_may_publish_too = publishing.read().await;
                self.publish(disk, bytes, mode).await
            }
            Layout::Input(_) => Err(self.only_read()),
        }
    }

    /// Whether an object may have this name.
    pub fn may_be_written(&self) -> Result<(), StorageError> {
        if self.name.is_root() || is_staging(&self.name) {
            return Err(StorageError::Failed(format!("{}: not a name for an object", self.path)));
        }
        Ok(())
    }

    pub fn only_read(&self) -> StorageError {
        StorageError::Failed(format!("{}: input is only read", self.path))
    }

    async fn put(&self, bytes: Bytes, mode: WriteMode) -> Result<(), StorageError> {
        let put_mode = match mode {
            WriteMode::Create => PutMode::Create,
            WriteMode::Overwrite => PutMode::Overwrite,
        };
        match self.store()?.put_opts(&self.name, bytes.into(), PutOptions::from(put_mode)).await {
            Ok(_) => Ok(()),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) if mode == WriteMode::Create => {
                Err(StorageError::Exists(self.path.clone()))
            }
            Err(e) => Err(self.write_error(e)),
        }
    }

    async fn publish(&self, disk: &LocalFileSystem, bytes: Bytes, mode: WriteMode) -> Result<(), StorageError> {
        let staged = staged_name(self.incarnation);
        if let Err(e) = disk.put(&staged, bytes.into()).await {
            return Err(self.failed(e));
        }
        let published = match mode {
            WriteMode::Create => disk.copy_if_not_exists(&staged, &self.name).await,
            WriteMode::Overwrite => disk.rename(&staged, &self.name).await,
        };
        if mode == WriteMode::Create || published.is_err() {
            // If this fails a hidden file stays behind until it is cleared away; the object itself is not concerned.
            let _ = disk.delete(&staged).await;
        }
        match published {
            Ok(()) => Ok(()),
            Err(StoreError::AlreadyExists { .. }) => Err(StorageError::Exists(self.path.clone())),
            // The staged file was cleared away by a newer leader, so there was nothing to publish.
            Err(e @ StoreError::NotFound { .. }) => Err(self.failed(e)),
            Err(e) => Err(StorageError::Unknown(self.say(e))),
        }
    }

    async fn delete(&self) -> Result<(), StorageError> {
        if !self.mount.shows(&self.name) {
            return Ok(());
        }
        let deleted = match &self.mount.layout {
            Layout::Atomic { store, .. } => store.delete(&self.name).await,
            Layout::Folder { store, disk, publishing, .. } => {
                // Deleting removes folders that became empty, so no other task may be about to put something into one.
                let _alone = publishing.write().await;
                let deleted = store.delete(&self.name).await;
                let file = disk.path_to_filesystem(&self.name).map_err(|e| self.failed(e))?;
                sync_nearest_folder(file).await.map_err(|e| StorageError::Unknown(format!("{}: {e}", self.path)))?;
                deleted
            }
            Layout::Input(_) => return Err(self.only_read()),
        };
        match deleted {
            Ok(()) => Ok(()),
            Err(e) if is_absent(&e) => Ok(()),
            Err(e) => Err(StorageError::Unknown(self.say(e))),
        }
    }

    async fn list(&self, depth: Depth) -> Result<Vec<ObjectMeta>, StorageError> {
        let store = self.store()?;
        let mut listing = match depth {
            Depth::Tree => store.list(Some(&self.name)),
            Depth::Folder => {
                let listed = match store.list_with_delimiter(Some(&self.name)).await {
                    Ok(listed) => listed.objects.into_iter().map(Ok).collect(),
                    Err(e) => vec![Err(e)],
                };
                stream::iter(listed).boxed()
            }
        };
        let mut found = Vec::new();
        while let Some(meta) = listing.next().await {
            match meta {
                Ok(meta) => found.push(meta),
                Err(e) if is_absent(&e) => break,
                Err(e) => return Err(self.failed(e)),
            }
        }
        // Stores list what lies below the prefix; the object that is the prefix itself belongs to it as well.
        if !self.name.is_root() {
            match store.head(&self.name).await {
                Ok(meta) => found.push(meta),
                Err(e) if is_absent(&e) => {}
                Err(e) => return Err(self.failed(e)),
            }
        }
        let (mount, _) = self.path.split_once('/').unwrap_or((&self.path, ""));
        let shown = found.into_iter().filter(|meta| self.mount.shows(&meta.location));
        let object = |meta: StoreMeta| {
            let version = version(&meta);
            ObjectMeta { path: format!("{mount}/{}", meta.location), bytes: meta.size, version }
        };
        let mut objects: Vec<ObjectMeta> = shown.map(object).collect();
        objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(objects)
    }

    fn read_error(&self, error: StoreError) -> StorageError {
        if is_absent(&error) { StorageError::NotFound(self.path.clone()) } else { self.failed(error) }
    }

    /// Of a change that the store was asked for.
    pub fn write_error(&self, error: StoreError) -> StorageError {
        match error {
            // Refused before anything was written: bad names, missing rights, no such bucket.
            e @ (StoreError::InvalidPath { .. }
            | StoreError::NotFound { .. }
            | StoreError::NotSupported { .. }
            | StoreError::NotImplemented { .. }
            | StoreError::PermissionDenied { .. }
            | StoreError::Unauthenticated { .. }
            | StoreError::UnknownConfigurationKey { .. }) => self.failed(e),
            e => StorageError::Unknown(self.say(e)),
        }
    }

    pub fn failed(&self, error: StoreError) -> StorageError {
        StorageError::Failed(self.say(error))
    }

    /// One line naming the object, without object_store's own preamble.
    fn say(&self, error: StoreError) -> String {
        match error {
            StoreError::Generic { source, .. } => format!("{}: {source}", self.path),
            other => format!("{}: {other}", self.path),
        }
    }
}

/// The version of an object of a store. On disk object_store makes a tag of inode, length and time of modification.
fn version(meta: &StoreMeta) -> Version {
    Version::Tag(meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.to_rfc3339()))
}

/// A fresh name in the folder for what `incarnation` has not published.
pub(super) fn staged_name(incarnation: u64) -> Path {
    Path::from_iter([STAGING.to_owned(), folder_of(incarnation), format!("{:016x}", rand::random::<u64>())])
}

/// The folder of an incarnation, in the staging folder.
fn folder_of(incarnation: u64) -> String {
    format!("{incarnation:016x}")
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

/// Whether the name lies in the folder for unpublished files.
pub(super) fn is_staging(name: &Path) -> bool {
    name.parts().next().is_some_and(|part| part.as_ref() == STAGING)
}

/// Whether the error says that there is no such object. On disk also: a folder of the path is a file.
fn is_absent(error: &StoreError) -> bool {
    if matches!(error, StoreError::NotFound { .. }) {
        return true;
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::NotADirectory) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Makes the absence of `file` durable: object_store syncs what it writes but not what it deletes.
pub(super) async fn sync_nearest_folder(file: std::path::PathBuf) -> io::Result<()> {
    let sync = move || {
        for folder in file.ancestors().skip(1) {
            match std::fs::File::open(folder) {
                Ok(folder) => return folder.sync_all(),
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    };
    tokio::task::spawn_blocking(sync).await.map_err(io::Error::other)?
}

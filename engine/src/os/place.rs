//! A place: one path of a mount, and what can be done there. How a write ends, and what of it may be repeated, stands
//! in [`super::storage`].

use super::mount::{Layout, Mount, STAGING, is_staging};
use crate::door::{Depth, ObjectMeta, Piece, StorageError, Version, WriteMode};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectMeta as StoreMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions,
};
use std::io;
use std::ops::Range;
use std::sync::Arc;

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
    pub async fn read(&self, range: Range<u64>) -> Result<Piece, StorageError> {
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

    /// The store of the mount: of input nothing but reads and listings is served, by
    /// [`InputFiles`](super::input::InputFiles).
    pub fn store(&self) -> Result<&Arc<dyn ObjectStore>, StorageError> {
        match &self.mount.layout {
            Layout::Atomic { store, .. } | Layout::Folder { store, .. } => Ok(store),
            Layout::Input(_) => Err(self.only_read()),
        }
    }

    pub async fn write(&self, bytes: Bytes, mode: WriteMode) -> Result<(), StorageError> {
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

    pub async fn delete(&self) -> Result<(), StorageError> {
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

    pub async fn list(&self, depth: Depth) -> Result<Vec<ObjectMeta>, StorageError> {
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
pub(super) fn folder_of(incarnation: u64) -> String {
    format!("{incarnation:016x}")
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

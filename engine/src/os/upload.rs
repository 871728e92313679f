//! Uploads in parts over mounts; see [`storage`](super::storage) for how a write ends.
//!
//! * *A store*: the parts go to the store under numbers, so that a part can be given again, and the store assembles them.
//! * *A folder on disk*: the parts are written one after the other into a staged file, each at its own offset for the same
//!   reason. Completing syncs the file and renames it, which is the publishing step of every other write.
//!
//! Invariant: a part counts once its `Ok` was returned; until then the next part takes its place.

use super::mount::{Layout, Parts};
use super::place::{Place, staged_name};
use crate::door::{BoxFuture, StorageError, Upload};
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Error as StoreError, MultipartId, ObjectStoreExt};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// An upload to a place, or why there is none.
pub(super) struct MountedUpload {
    place: Result<Place, StorageError>,
    stage: Stage,
}

enum Stage {
    /// No part yet.
    New,
    Store {
        id: MultipartId,
        parts: Vec<PartId>,
    },
    Disk {
        staged: Path,
        bytes: u64,
    },
    /// Completed or aborted.
    Over,
}

impl MountedUpload {
    pub fn new(place: Result<Place, StorageError>) -> Self {
        Self { place, stage: Stage::New }
    }

    async fn begin(&mut self, place: &Place) -> Result<(), StorageError> {
        place.may_be_written()?;
        self.stage = match &place.mount.layout {
            Layout::Atomic { parts: Parts(store), .. } => {
                let id = store.create_multipart(&place.name).await.map_err(|e| place.write_error(e))?;
                Stage::Store { id, parts: Vec::new() }
            }
            Layout::Folder { .. } => Stage::Disk { staged: staged_name(place.incarnation), bytes: 0 },
            Layout::Input(_) => return Err(place.only_read()),
        };
        Ok(())
    }

    async fn add(&mut self, part: Bytes) -> Result<(), StorageError> {
        let place = self.place.clone()?;
        if let Stage::New = self.stage {
            self.begin(&place).await?;
        }
        match (&mut self.stage, &place.mount.layout) {
            (Stage::Store { id, parts }, Layout::Atomic { parts: Parts(store), .. }) => {
                let added = store.put_part(&place.name, id, parts.len(), part.into()).await;
                parts.push(added.map_err(|e| place.write_error(e))?);
                Ok(())
            }
            (Stage::Disk { staged, bytes }, Layout::Folder { disk, .. }) => {
                let file = disk.path_to_filesystem(staged).map_err(|e| place.failed(e))?;
                let (at, length) = (*bytes, part.len() as u64);
                blocking(move || append(&file, at, &part)).await.map_err(|e| failed(&place, &e))?;
                *bytes += length;
                Ok(())
            }
            (Stage::New | Stage::Over | Stage::Store { .. } | Stage::Disk { .. }, _) => Err(over(&place)),
        }
    }

    async fn publish(&mut self) -> Result<(), StorageError> {
        let place = self.place.clone()?;
        match (&self.stage, &place.mount.layout) {
            (Stage::Store { id, parts }, Layout::Atomic { parts: Parts(store), .. }) => {
                match store.complete_multipart(&place.name, id, parts.clone()).await {
                    Ok(_) => {}
                    Err(StoreError::NotFound { .. }) => return Err(over(&place)),
                    Err(e) => return Err(place.write_error(e)),
                }
            }
            (Stage::Disk { staged, bytes }, Layout::Folder { disk, publishing, .. }) => {
                let file = disk.path_to_filesystem(staged).map_err(|e| place.failed(e))?;
                let length = *bytes;
                match blocking(move || sync(&file, length)).await {
                    Ok(()) => {}
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(over(&place)),
                    Err(e) => return Err(failed(&place, &e)),
                }
                let _others_may_publish_too = publishing.read().await;
                rename(disk, staged, &place).await?;
            }
            (Stage::New, _) => panic!("{} is completed without any part", place.path),
            (Stage::Over | Stage::Store { .. } | Stage::Disk { .. }, _) => return Err(over(&place)),
        }
        self.stage = Stage::Over;
        Ok(())
    }

    async fn forget(&mut self) -> Result<(), StorageError> {
        let Ok(place) = self.place.clone() else { return Ok(()) };
        let forgotten = match (&self.stage, &place.mount.layout) {
            (Stage::Store { id, .. }, Layout::Atomic { parts: Parts(store), .. }) => {
                store.abort_multipart(&place.name, id).await
            }
            (Stage::Disk { staged, .. }, Layout::Folder { disk, .. }) => disk.delete(staged).await,
            (Stage::New | Stage::Over | Stage::Store { .. } | Stage::Disk { .. }, _) => Ok(()),
        };
        match forgotten {
            Ok(()) | Err(StoreError::NotFound { .. }) => self.stage = Stage::Over,
            Err(e) => return Err(place.write_error(e)),
        }
        Ok(())
    }
}

impl Upload for MountedUpload {
    fn part(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(self.add(bytes))
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(self.publish())
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(self.forget())
    }
}

/// The publishing step: before it nothing is visible, and in it the outcome is unknown, as for every write.
async fn rename(disk: &LocalFileSystem, staged: &Path, place: &Place) -> Result<(), StorageError> {
    match disk.rename(staged, &place.name).await {
        Ok(()) => Ok(()),
        // Published before, or cleared away by a newer leader.
        Err(StoreError::NotFound { .. }) => Err(over(place)),
        Err(e) => Err(StorageError::Unknown(format!("{}: {e}", place.path))),
    }
}

fn over(place: &Place) -> StorageError {
    StorageError::NotFound(format!("{}: this upload", place.path))
}

fn failed(place: &Place, error: &io::Error) -> StorageError {
    StorageError::Failed(format!("{}: {error}", place.path))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Writes a part at its own offset, whatever a failed try has left there. A file that has vanished between parts was
/// cleared away: making it anew would publish an object with a hole.
fn append(file: &PathBuf, at: u64, part: &[u8]) -> io::Result<()> {
    if let (0, Some(folder)) = (at, file.parent()) {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create(at == 0).truncate(at == 0).open(file)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(part)
}

fn sync(file: &PathBuf, length: u64) -> io::Result<()> {
    let file: File = OpenOptions::new().write(true).open(file)?;
    file.set_len(length)?;
    file.sync_all()
}

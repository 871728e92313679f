//! Renaming an object to a free name.
//!
//! * *On a disk* in one step, where kernel and file system can rename without overwriting. Another program that moves the file
//!   away from its new name leaves nothing at the old one, so the old name says whether the rename has happened. Where they
//!   cannot, a link is made and the old name removed.
//! * *In a store* a conditional copy, then a deletion: for a moment both names have the object.
//!
//! Not handled: two mounts.

use super::mount::{Layout, STAGING};
use super::place::{Place, sync_nearest_folder};
use crate::door::StorageError;
use object_store::local::LocalFileSystem;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Tries to make a folder that others remove when it is empty.
const FOLDER_TRIES: u32 = 8;

/// Gives `from` the name `to`, if nothing has it.
pub(super) async fn rename(from: Place, to: Place) -> Result<(), StorageError> {
    from.may_be_written()?;
    to.may_be_written()?;
    if !Arc::ptr_eq(&from.mount, &to.mount) {
        return Err(StorageError::Failed(format!("{} and {} lie in two mounts", from.path, to.path)));
    }
    let mount = to.mount.clone();
    match &mount.layout {
        Layout::Atomic { store, .. } => copy_and_delete(store, &from, &to).await,
        Layout::Folder { disk, publishing, .. } => {
            // Removes folders that became empty, so no other task may be about to put something into one.
            let _alone = publishing.write().await;
            on_disk(disk, &from, &to).await
        }
        Layout::Input(_) => Err(to.only_read()),
    }
}

async fn copy_and_delete(store: &Arc<dyn ObjectStore>, from: &Place, to: &Place) -> Result<(), StorageError> {
    match store.copy_if_not_exists(&from.name, &to.name).await {
        Ok(()) => {}
        Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
            return Err(StorageError::Exists(to.path.clone()));
        }
        Err(StoreError::NotFound { .. }) => return Err(StorageError::NotFound(from.path.clone())),
        Err(e) => return Err(to.write_error(e)),
    }
    store.delete(&from.name).await.map_err(|e| from.write_error(e))
}

async fn on_disk(disk: &LocalFileSystem, from: &Place, to: &Place) -> Result<(), StorageError> {
    let file = |place: &Place| disk.path_to_filesystem(&place.name).map_err(|e| place.failed(e));
    let (old, new) = (file(from)?, file(to)?);
    let staging = disk.path_to_filesystem(&object_store::path::Path::from(STAGING)).map_err(|e| to.failed(e))?;
    let root = staging.parent().unwrap_or(&staging);
    let moved = tokio::task::spawn_blocking({
        let (old, new) = (old.clone(), new.clone());
        move || move_file(&old, &new)
    });
    let failed = |e: io::Error| StorageError::Failed(format!("{}: {e}", to.path));
    match moved.await.map_err(|e| failed(io::Error::other(e)))? {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(StorageError::Exists(to.path.clone())),
        // Its folder may be a file.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(StorageError::NotFound(from.path.clone()));
        }
        Err(e) => return Err(failed(e)),
    }
    // From here on it has happened, and only a power failure may forget it.
    let unknown = |e: io::Error| StorageError::Unknown(format!("{}: {e}", to.path));
    sync_nearest_folder(new).await.map_err(unknown)?;
    for folder in old.ancestors().skip(1).take_while(|folder| *folder != root && folder.starts_with(root)) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    sync_nearest_folder(old).await.map_err(unknown)
}

/// Makes the folders of the new name, and moves the file.
fn move_file(old: &Path, new: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match move_exclusively(old, new) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && tries < FOLDER_TRIES => {
                fs::symlink_metadata(old)?;
                tries += 1;
                make_folders(new.parent().unwrap_or(new))?;
            }
            outcome => return outcome,
        }
    }
}

/// Makes a folder and those that it lies in, durably.
fn make_folders(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder)?;
    missing.iter().filter_map(|made| made.parent()).try_for_each(|above| fs::File::open(above)?.sync_all())
}

#[cfg(target_os = "linux")]
fn move_exclusively(old: &Path, new: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, old, CWD, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => link_and_remove(old, new),
        outcome => outcome.map_err(io::Error::from),
    }
}

#[cfg(not(target_os = "linux"))]
fn move_exclusively(old: &Path, new: &Path) -> io::Result<()> {
    link_and_remove(old, new)
}

fn link_and_remove(old: &Path, new: &Path) -> io::Result<()> {
    fs::hard_link(old, new)?;
    fs::remove_file(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_way_moves_a_file_to_a_free_name_and_to_no_other() {
        for way in [move_exclusively, link_and_remove] {
            let folder = tempfile::tempdir().expect("a folder");
            let (old, new) = (folder.path().join("old"), folder.path().join("new"));
            assert_eq!(way(&old, &new).expect_err("nothing is there").kind(), io::ErrorKind::NotFound);
            fs::write(&old, "content").expect("a file");
            way(&old, &new).expect("moved");
            assert!(!old.exists() && fs::read_to_string(&new).expect("a file") == "content");
            fs::write(&old, "other").expect("a file");
            assert_eq!(way(&old, &new).expect_err("it is taken").kind(), io::ErrorKind::AlreadyExists);
            assert!(old.exists() && fs::read_to_string(&new).expect("a file") == "content");
        }
    }
}

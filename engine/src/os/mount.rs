//! What is mounted where: the first segment of a path names a mount, and a mount is an object store.
//!
//! Production mounts `checkpoints` and `output` as folders that are made if need be, and `input` as a folder or a
//! single file that must exist. Another store (S3, GCS, HDFS) plugs in with [`Mount::atomic`].
//!
//! Owns the checks made *before* a job starts: every error here is one clear line that names the file.

use super::input::InputFiles;
use crate::error::{Error, Result};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::RwLock;

/// The hidden folder in which a file is written before it is published under its name.
pub const STAGING: &str = ".cofferdam-staging";

/// Mounts by name.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    by_name: BTreeMap<String, Arc<Mount>>,
}

impl Mounts {
    /// These mounts and one more.
    pub fn with(mut self, name: &str, mount: Mount) -> Self {
        assert!(!name.is_empty() && !name.contains('/'), "a mount's name is one path segment, not {name:?}");
        let before = self.by_name.insert(name.to_owned(), Arc::new(mount));
        assert!(before.is_none(), "two mounts at {name}");
        self
    }

    /// The folders for unpublished files of those mounts that are folders.
    pub(super) fn staging(&self) -> Vec<PathBuf> {
        let folders = self.by_name.values().filter_map(|mount| match &mount.layout {
            Layout::Folder { disk, .. } => disk.path_to_filesystem(&ObjectPath::from(STAGING)).ok(),
            Layout::Atomic { .. } | Layout::Input { .. } => None,
        });
        folders.collect()
    }

    /// What the user typed for those mounts that are folders.
    pub fn names(&self) -> Names {
        let typed = self.by_name.iter().filter_map(|(name, mount)| match &mount.layout {
            Layout::Folder { typed, .. } => Some((name.as_str(), typed.as_path())),
            Layout::Atomic { .. } | Layout::Input { .. } => None,
        });
        Names::of(typed)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Mount>> {
        self.by_name.get(name)
    }
}

/// The folders that the user typed, for messages: the engine knows an object by its mount.
#[derive(Clone, Debug, Default)]
pub struct Names {
    typed: Vec<(String, String)>,
}

impl Names {
    /// Of mounts, each with the folder that was typed for it.
    pub fn of<'a>(mounts: impl IntoIterator<Item = (&'a str, &'a Path)>) -> Self {
        let typed = |(mount, folder): (&str, &Path)| (format!("{mount}/"), folder.join("").display().to_string());
        Self { typed: mounts.into_iter().map(typed).collect() }
    }

    /// The text with every object named by the folder that was typed.
    pub fn as_typed(&self, text: &str) -> String {
        let mut named = String::with_capacity(text.len());
        let (mut rest, mut starts) = (text, true);
        while let Some(next) = rest.chars().next() {
            match self.typed.iter().find(|(mount, _)| starts && rest.starts_with(mount.as_str())) {
                Some((mount, folder)) => {
                    named += folder;
                    rest = &rest[mount.len()..];
                    starts = false;
                }
                None => {
                    named.push(next);
                    rest = &rest[next.len_utf8()..];
                    starts = next.is_whitespace() || "(\"'".contains(next);
                }
            }
        }
        named
    }
}

/// Where objects lie, and how they are written.
#[derive(Debug)]
pub struct Mount {
    pub(super) layout: Layout,
}

/// How a mount is written.
#[derive(Debug)]
pub(super) enum Layout {
    /// The store's `put` is atomic and leaves nothing behind; parts go to the store as well.
    Atomic { store: Arc<dyn ObjectStore>, parts: Parts },
    /// A folder on disk: files are staged, synced and then published.
    Folder {
        store: Arc<dyn ObjectStore>,
        /// The same folder, without the removal of emptied folders: the staging folder stays.
        disk: LocalFileSystem,
        /// As the user typed it.
        typed: PathBuf,
        /// Read by those who publish, written by those who delete and thereby may remove folders.
        publishing: RwLock<()>,
    },
    /// Files on disk that are only read.
    Input(Arc<InputFiles>),
}

/// The same store, where objects are uploaded in parts.
#[derive(Clone)]
pub(super) struct Parts(pub Arc<dyn MultipartStore>);

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}

impl Mount {
    /// Any store whose `put` is atomic and, with `PutMode::Create`, exclusive. Its client must not retry by itself:
    /// a retry of a `Create` whose reply was lost finds its own object. A bucket needs a rule that clears incomplete
    /// uploads away after a while, because a crash leaves such.
    pub fn atomic<S: ObjectStore + MultipartStore>(store: Arc<S>) -> Self {
        Self { layout: Layout::Atomic { store: store.clone(), parts: Parts(store) } }
    }

    /// A folder to read and write, made if it does not exist. `purpose` names it in errors.
    pub fn folder(purpose: &str, folder: &Path) -> Result<Self> {
        let cannot = |e: io::Error| Error::give_up(format!("cannot write to {purpose} {}: {e}", folder.display()));
        let staging = folder.join(STAGING);
        create_folders(&staging).map_err(cannot)?;
        // Found out now rather than at the first checkpoint: a read-only or full disk, missing rights.
        let probe = staging.join(format!("probe-{:016x}", rand::random::<u64>()));
        fs::write(&probe, b"probe").map_err(cannot)?;
        match fs::remove_file(&probe) {
            // A leader has cleared it away.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(cannot)?,
        }
        let disk = LocalFileSystem::new_with_prefix(folder)
            .map_err(|e| Error::give_up(format!("cannot open {purpose} {}: {e}", folder.display())))?
            .with_fsync(true);
        let store = Arc::new(disk.clone().with_automatic_cleanup(true));
        Ok(Self { layout: Layout::Folder { store, disk, typed: folder.to_owned(), publishing: RwLock::default() } })
    }

    /// A file, or a folder with everything in it, to read. Checked file by file: what could not be read later, or would be
    /// passed over in silence, is refused now.
    pub fn input(path: &Path) -> Result<Self> {
        let files = InputFiles::open(path)?;
        files.check()?;
        Ok(Self { layout: Layout::Input(Arc::new(files)) })
    }

    /// The same for a job that goes on: it may have read what is gone by now, so nothing is checked. What is still needed
    /// and is not there, its reader finds out.
    pub fn input_read_before(path: &Path) -> Result<Self> {
        Ok(Self { layout: Layout::Input(Arc::new(InputFiles::open_absent(path)?)) })
    }

    /// What people call an object of input.
    pub(super) fn shown(&self, name: &ObjectPath) -> String {
        match &self.layout {
            Layout::Input(files) => files.shown(name.as_ref()),
            Layout::Atomic { .. } | Layout::Folder { .. } => name.to_string(),
        }
    }

    /// Whether an object of the store is one of the mount.
    pub(super) fn shows(&self, name: &ObjectPath) -> bool {
        match &self.layout {
            Layout::Atomic { .. } => !name.is_root(),
            Layout::Folder { .. } => !name.is_root() && !is_staging(name),
            Layout::Input(_) => !name.is_root(),
        }
    }
}

/// Like `create_dir_all`, and the new entries are durable: a checkpoint in a folder that a power failure
/// forgets is lost.
fn create_folders(folder: &Path) -> io::Result<()> {
    let missing: Vec<PathBuf> =
        folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_path_buf).collect();
    fs::create_dir_all(folder)?;
    for made in &missing {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Whether the name lies in the folder for unpublished files.
pub(super) fn is_staging(name: &ObjectPath) -> bool {
    name.parts().next().is_some_and(|part| part.as_ref() == STAGING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_by_the_folder_that_was_typed_and_other_words_are_left_alone() {
        let names = Names::of([("output", Path::new("../out")), ("checkpoints", Path::new("/c/"))]);
        for (text, named) in [
            ("output/completed-7 is damaged", "../out/completed-7 is damaged"),
            ("cannot mark (output/log-1): checkpoints/log/1", "cannot mark (../out/log-1): /c/log/1"),
            ("my/output/x, the output, an output/", "my/output/x, the output, an ../out/"),
            ("grün \u{2026} outputs/x", "grün \u{2026} outputs/x"),
        ] {
            assert_eq!(names.as_typed(text), named);
        }
    }
}

//! What is mounted where: the first segment of a path names a mount, and a mount is an object store.
//!
//! Production mounts `checkpoints` and `output` as folders that are made if need be, and `input` as a folder or a
//! single file that must exist. Another store (S3, GCS, HDFS) plugs in with [`Mount::atomic`].
//!
//! Owns the checks made *before* a job starts: every error here is one clear line that names the file. Symbolic
//! links are followed, also out of the folder; loops of them are refused.
//!
//! Not handled: input that changes while the job runs.

use super::storage::is_staging;
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

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Mount>> {
        self.by_name.get(name)
    }
}

/// An object store and how to write to it.
#[derive(Debug)]
pub struct Mount {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) layout: Layout,
}

/// How a mount is written.
#[derive(Debug)]
pub(super) enum Layout {
    /// The store's `put` is atomic and leaves nothing behind; parts go to the store as well.
    Atomic { parts: Parts },
    /// A folder on disk: files are staged, synced and then published.
    Folder {
        /// The same folder, without the removal of emptied folders: the staging folder stays.
        disk: LocalFileSystem,
        /// Read by those who publish, written by those who delete and thereby may remove folders.
        publishing: RwLock<()>,
    },
    /// Files on disk that are only read.
    Input {
        /// The one file that counts, if it is not the whole folder.
        only: Option<ObjectPath>,
    },
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
        Self { store: store.clone(), layout: Layout::Atomic { parts: Parts(store) } }
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
        Ok(Self { store, layout: Layout::Folder { disk, publishing: RwLock::default() } })
    }

    /// A file, or a folder with everything in it, to read. Checked file by file: what could not be read later, or would be
    /// passed over in silence, is refused now.
    pub fn input(path: &Path) -> Result<Self> {
        let about = |e: io::Error| Error::give_up(format!("cannot read input {}: {e}", path.display()));
        let absolute = fs::canonicalize(path).map_err(about)?;
        let single = !absolute.is_dir();
        // For a single file the name as given: a link's own name, not the one of the file it points to.
        let folder = if single { path.parent().unwrap_or(path) } else { path };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let root = fs::canonicalize(folder).map_err(about)?;
        let disk = LocalFileSystem::new_with_prefix(&root)
            .map_err(|e| Error::give_up(format!("cannot open input {}: {e}", path.display())))?;
        let check = InputCheck { disk: &disk, root };
        let only = if single {
            let name = path.file_name().ok_or_else(|| Error::give_up(format!("{} names no file", path.display())))?;
            Some(check.file(Path::new(name), path)?)
        } else {
            check.folder(Path::new(""), path, &mut vec![check.root.clone()])?;
            None
        };
        Ok(Self { store: Arc::new(disk), layout: Layout::Input { only } })
    }

    /// Whether an object of the store is one of the mount.
    pub(super) fn shows(&self, name: &ObjectPath) -> bool {
        match &self.layout {
            Layout::Atomic { .. } => !name.is_root(),
            Layout::Folder { .. } => !name.is_root() && !is_staging(name),
            Layout::Input { only } => !name.is_root() && only.as_ref().is_none_or(|only| only == name),
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

/// Looks at every file of an input before a job does.
struct InputCheck<'a> {
    disk: &'a LocalFileSystem,
    root: PathBuf,
}

impl InputCheck<'_> {
    /// Checks the folder `below` the root, which people know as `shown`. `above` are the folders it lies in.
    fn folder(&self, below: &Path, shown: &Path, above: &mut Vec<PathBuf>) -> Result<()> {
        for entry in fs::read_dir(shown).map_err(|e| unreadable(shown, &e))? {
            let name = entry.map_err(|e| unreadable(shown, &e))?.file_name();
            let (below, shown) = (below.join(&name), shown.join(&name));
            if !fs::metadata(&shown).map_err(|e| unreadable(&shown, &e))?.is_dir() {
                self.file(&below, &shown)?;
                continue;
            }
            let absolute = fs::canonicalize(&shown).map_err(|e| unreadable(&shown, &e))?;
            if above.contains(&absolute) {
                return Err(Error::give_up(format!("input {} is a link to a folder above it", shown.display())));
            }
            above.push(absolute);
            self.folder(&below, &shown, above)?;
            above.pop();
        }
        Ok(())
    }

    /// Checks a file and says what the store calls it.
    fn file(&self, below: &Path, shown: &Path) -> Result<ObjectPath> {
        // Before opening it: opening a pipe waits for its writer.
        if !fs::metadata(shown).map_err(|e| unreadable(shown, &e))?.is_file() {
            return Err(Error::give_up(format!("input {} is neither a file nor a folder", shown.display())));
        }
        File::open(shown).map_err(|e| unreadable(shown, &e))?;
        // Not every name leads back to its file: control characters, bytes that are no UTF-8, `name#123` (which
        // object_store keeps for unfinished writes) and `c:` (a drive to a URL, so a slash is put behind it).
        let name = below.to_str().and_then(|name| ObjectPath::parse(name).ok());
        let leads_back = |name: &ObjectPath| {
            self.disk.path_to_filesystem(name).is_ok_and(|file| file.as_os_str() == self.root.join(below).as_os_str())
        };
        name.filter(leads_back)
            .ok_or_else(|| Error::give_up(format!("input {shown:?} has a name that cannot be used; rename it")))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::give_up(format!("cannot read input {}: {error}", path.display()))
}

//! Input on disk: a file, or a folder with everything in it, that is only read.
//!
//! * A single file is one file: the folder around it is never looked into.
//! * Symbolic links are followed, also out of the folder; loops of them are refused. The link that the user typed is followed
//!   once, when the process starts: listing and reading never see two folders.
//! * A version is the inode and the time of modification. A read opens the file, reads, and asks for its version *afterwards*:
//!   a file that is written meanwhile, or was swapped since, never passes for what it was.
//!
//! Files are named as the engine names objects, by their path in the folder. A name that an object cannot have is refused
//! before the job starts, because the file would be passed over in silence. Exception: a job that goes on lists such a file as
//! any other that came later. Reason: it does not read what came later, so nothing there may stop it.

use crate::door::{Depth, ObjectMeta, Piece, StorageError, Version};
use crate::error::{Error, Result};
use bytes::{Bytes, BytesMut};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// The files of a mount of input.
#[derive(Debug)]
pub struct InputFiles {
    /// As the user typed it.
    typed: PathBuf,
    /// The folder that names are relative to.
    root: PathBuf,
    /// The one file that counts, if it is not the whole folder.
    only: Option<String>,
    /// Listed only to say what came later: what cannot be read is listed as well.
    is_read_before: bool,
}

impl InputFiles {
    /// The input that `typed` names, which must exist.
    pub fn open(typed: &Path) -> Result<Self> {
        let absolute = fs::canonicalize(typed).map_err(|e| unreadable(typed, &e))?;
        let files = if absolute.is_dir() { Self::folder(typed, absolute) } else { Self::file(typed)? };
        Ok(files)
    }

    /// The same, of which nothing may be left.
    pub fn open_absent(typed: &Path) -> Result<Self> {
        let files = match fs::canonicalize(typed) {
            Ok(absolute) if absolute.is_dir() => Self::folder(typed, absolute),
            Ok(_) | Err(_) => Self::file(typed)?,
        };
        Ok(Self { is_read_before: true, ..files })
    }

    fn folder(typed: &Path, root: PathBuf) -> Self {
        Self { typed: typed.to_owned(), root, only: None, is_read_before: false }
    }

    /// For a single file the name as given: a link's own name, not the one of the file it points to.
    fn file(typed: &Path) -> Result<Self> {
        let name = typed.file_name().ok_or_else(|| Error::give_up(format!("{} names no file", typed.display())))?;
        let only = name.to_str().ok_or_else(|| unnameable(typed))?.to_owned();
        let folder = typed.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self { typed: typed.to_owned(), root: folder.to_owned(), only: Some(only), is_read_before: false })
    }

    /// Looks at every file before a job does: that it is one, that it can be read, and that it has a name.
    pub fn check(&self) -> Result<()> {
        // Any folder will do: only names are asked for.
        let names = LocalFileSystem::new();
        self.walk(&mut |name, shown, found| {
            found?;
            File::open(self.root.join(name)).map_err(|e| unreadable(shown, &e))?;
            check_name(&names, name, shown)
        })
    }

    /// What people call the object of this name: what the user typed, and the rest of the path.
    pub fn shown(&self, name: &str) -> String {
        match &self.only {
            Some(_) => self.typed.display().to_string(),
            None if name.is_empty() => self.typed.display().to_string(),
            None => self.typed.join(name).display().to_string(),
        }
    }

    /// Reads a range of the file that the object of this path and name is.
    pub async fn read(
        self: Arc<Self>,
        path: String,
        name: ObjectPath,
        range: Range<u64>,
    ) -> Result<Piece, StorageError> {
        if self.only.as_ref().is_some_and(|only| only != name.as_ref()) || name.is_root() {
            return Err(StorageError::NotFound(path));
        }
        let file = self.root.join(name.as_ref());
        match blocking(move || read(&file, &range)).await {
            Ok(piece) => Ok(piece),
            Err(e) if is_absent(&e) => Err(StorageError::NotFound(path)),
            Err(e) => Err(StorageError::Failed(format!("{}: {e}", self.shown(name.as_ref())))),
        }
    }

    /// Lists the objects whose name is `below` or starts with it and a slash; `path` is how the engine calls it.
    pub async fn list(
        self: Arc<Self>,
        path: String,
        below: ObjectPath,
        depth: Depth,
    ) -> Result<Vec<ObjectMeta>, StorageError> {
        let mount = path.split('/').next().unwrap_or_default().to_owned();
        let list = move || {
            let mut objects = Vec::new();
            let walked = self.walk(&mut |name, _, found| {
                let (bytes, version) = match found {
                    Ok(found) => (found.len(), version(found)),
                    Err(_) if self.is_read_before => (0, Version::Tag(String::new())),
                    Err(error) => return Err(error),
                };
                // Only what came later has such a name.
                let name = &name.replace(char::is_control, "?");
                let rest = name.strip_prefix(below.as_ref());
                let is_below = below.is_root() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                if is_below && depth.shows(below.as_ref(), name) {
                    objects.push(ObjectMeta { path: format!("{mount}/{name}"), bytes, version });
                }
                Ok(())
            });
            objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
            objects.dedup_by(|a, b| a.path == b.path);
            Ok(walked.map(|()| objects))
        };
        let listed = blocking(list).await.map_err(|e| StorageError::Failed(format!("{path}: {e}")))?;
        listed.map_err(|error| StorageError::Failed(error.message))
    }

    /// Visits every file: its name, what people call it, and what it is or why it cannot be read.
    fn walk(&self, visit: &mut impl FnMut(&str, &Path, Result<&Metadata>) -> Result<()>) -> Result<()> {
        let Some(only) = &self.only else {
            let above = &mut vec![fs::canonicalize(&self.root).map_err(|e| unreadable(&self.typed, &e))?];
            return self.walk_folder("", &self.typed, above, visit);
        };
        let found = fs::metadata(&self.typed).map_err(|e| unreadable(&self.typed, &e))?;
        if !found.is_file() {
            return Err(no_file(&self.typed));
        }
        visit(only, &self.typed, Ok(&found))
    }

    /// Visits the folder `below` the root, which people know as `shown`. `above` are the folders it lies in.
    fn walk_folder(
        &self,
        below: &str,
        shown: &Path,
        above: &mut Vec<PathBuf>,
        visit: &mut impl FnMut(&str, &Path, Result<&Metadata>) -> Result<()>,
    ) -> Result<()> {
        let entries = match fs::read_dir(self.root.join(below)) {
            Ok(entries) => entries,
            Err(e) => return visit(below, shown, Err(unreadable(shown, &e))),
        };
        for entry in entries {
            let name = entry.map_err(|e| unreadable(shown, &e))?.file_name();
            let shown = shown.join(&name);
            let inside = |name: &str| if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            let Some(text) = name.to_str() else {
                visit(&inside(&name.to_string_lossy()), &shown, Err(unnameable(&shown)))?;
                continue;
            };
            let name = inside(text);
            let file = self.root.join(&name);
            match fs::metadata(&file)
                .and_then(|found| Ok((found.is_dir().then(|| fs::canonicalize(&file)).transpose()?, found)))
            {
                Err(e) => visit(&name, &shown, Err(unreadable(&shown, &e)))?,
                Ok((None, found)) if found.is_file() => visit(&name, &shown, Ok(&found))?,
                // Before opening it: opening a pipe waits for its writer.
                Ok((None, _)) => visit(&name, &shown, Err(no_file(&shown)))?,
                Ok((Some(folder), _)) if above.contains(&folder) => {
                    let why = format!("input {} is a link to a folder above it", shown.display());
                    visit(&name, &shown, Err(Error::give_up(why)))?;
                }
                Ok((Some(folder), _)) => {
                    above.push(folder);
                    self.walk_folder(&name, &shown, above, visit)?;
                    above.pop();
                }
            }
        }
        Ok(())
    }
}

/// Reads a range of a file, cut off at its end.
fn read(file: &Path, range: &Range<u64>) -> io::Result<Piece> {
    // Before opening it: opening a pipe waits for its writer.
    if !fs::metadata(file)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut opened = File::open(file)?;
    let mut bytes = BytesMut::new();
    if !range.is_empty() {
        opened.seek(SeekFrom::Start(range.start))?;
        let left = opened.metadata()?.len().min(range.end).saturating_sub(range.start);
        bytes.resize(usize::try_from(left).map_err(io::Error::other)?, 0);
        let mut filled = 0;
        while filled < bytes.len() {
            match opened.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        bytes.truncate(filled);
    }
    let found = opened.metadata()?;
    // It may have been cut off meanwhile: bytes that it does not have are not said to be its own.
    let within = found.len().saturating_sub(range.start);
    bytes.truncate(usize::try_from(within).unwrap_or(usize::MAX));
    Ok(Piece { bytes: Bytes::from(bytes), size: found.len(), version: version(&found) })
}

/// Not every name leads to an object and back: control characters, and names that object_store keeps for itself
/// (`name#123`, for unfinished writes) or would change (`c:`, a drive to a URL).
fn check_name(names: &LocalFileSystem, name: &str, shown: &Path) -> Result<()> {
    let object = ObjectPath::parse(name).ok().filter(|object| object.as_ref() == name);
    let leads_back = |object: &ObjectPath| {
        names.path_to_filesystem(object).is_ok_and(|file| file.as_os_str() == Path::new("/").join(name).as_os_str())
    };
    if object.as_ref().is_some_and(leads_back) { Ok(()) } else { Err(unnameable(shown)) }
}

/// The version of a file.
fn version(found: &Metadata) -> Version {
    let modified = found.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Version::File { inode: inode(found), modified_ns: u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX) }
}

#[cfg(unix)]
fn inode(found: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

/// Whether there is no such file. A folder of the path may also be a file by now.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::give_up(format!("cannot read input {}: {error}", path.display()))
}

fn unnameable(path: &Path) -> Error {
    Error::give_up(format!("input {path:?} has a name that cannot be used; rename it"))
}

fn no_file(path: &Path) -> Error {
    Error::give_up(format!("input {} is neither a file nor a folder", path.display()))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_that_leads_elsewhere_meanwhile_is_listed_and_read_where_it_led_at_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for (version, name) in [("v1", "one"), ("v2", "two")] {
            fs::create_dir(at(version)).expect("a folder");
            fs::write(at(version).join(name), "a line\n").expect("a file");
        }
        symlink(at("v1"), at("in")).expect("a link");
        let files = InputFiles::open(&at("in")).expect("it is there");
        fs::remove_file(at("in")).and_then(|()| symlink(at("v2"), at("in"))).expect("another link");
        let mut listed = Vec::new();
        let walked = files.walk(&mut |name, shown, found| {
            found?;
            listed.push(name.to_owned());
            assert_eq!(shown, at("in").join(name), "people know it as they typed it");
            read(&files.root.join(name), &(0..7)).map(drop).map_err(|e| unreadable(shown, &e))
        });
        assert_eq!((walked, listed), (Ok(()), vec!["one".to_owned()]));
    }

    #[test]
    fn of_a_job_that_goes_on_what_cannot_be_read_is_visited_as_any_other_file() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a\nb"), "a line\n").expect("a file");
        symlink(folder.path().join("nothing"), folder.path().join("dangling")).expect("a link");
        symlink(folder.path(), folder.path().join("loop")).expect("a link");
        let files = InputFiles::open_absent(folder.path()).expect("nothing is checked");
        let mut odd = Vec::new();
        let walked = files.walk(&mut |name, _, found| {
            odd.extend(found.is_err().then(|| name.to_owned()));
            Ok(())
        });
        odd.sort_unstable();
        assert_eq!((walked, odd), (Ok(()), vec!["dangling".to_owned(), "loop".to_owned()]));
        assert!(files.check().is_err(), "a job that begins is refused");
    }
}

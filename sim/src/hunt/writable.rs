//! Whether results can be written where they shall go, asked before the first run: a night's hunt must not end in "permission
//! denied". It is tried and taken back, because nothing else answers for every file system.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

/// Whether a file can be written. One that is there keeps what it holds.
pub fn file(path: &Path) -> Result<(), String> {
    let was_there = path.exists();
    let tried = OpenOptions::new().append(true).create(true).open(path).map(drop);
    let tried = tried.and_then(|()| if was_there { Ok(()) } else { fs::remove_file(path) });
    tried.map_err(|error| unwritable(path, &error))
}

/// Whether files can be written into a folder, which is made as far as it is not there, and then taken away again.
pub fn folder(path: &Path) -> Result<(), String> {
    let made: Vec<&Path> = path.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists()).collect();
    let tried = fs::create_dir_all(path).and_then(|()| {
        let probe = path.join(format!(".cofferdam-{}", std::process::id()));
        fs::write(&probe, "").and_then(|()| fs::remove_file(&probe))
    });
    // Somebody else may be writing there by now: then it stays.
    made.into_iter().for_each(|part| drop(fs::remove_dir(part)));
    tried.map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be written: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trying_leaves_everything_as_it_was() {
        let here = tempfile::tempdir().expect("a folder");
        let (old, new) = (here.path().join("old.json"), here.path().join("new.json"));
        fs::write(&old, "what it held").expect("written");
        assert_eq!((file(&old), file(&new), folder(&here.path().join("a/b"))), (Ok(()), Ok(()), Ok(())));
        assert_eq!(fs::read_to_string(&old).expect("still there"), "what it held");
        assert!(!new.exists() && !here.path().join("a").exists());
    }

    #[test]
    fn what_cannot_be_written_is_named_in_one_line() {
        let here = tempfile::tempdir().expect("a folder");
        let old = here.path().join("old.json");
        fs::write(&old, "").expect("written");
        for tried in [file(&old.join("x.json")), file(here.path()), folder(&old), folder(&old.join("a"))] {
            let message = tried.expect_err("a file is no folder, and a folder no file");
            assert!(message.contains("cannot be written") && !message.contains('\n'), "{message}");
        }
    }
}

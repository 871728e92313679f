//! Where the processes of a `run` and its clients meet: Unix sockets in a folder that only this user can enter.
//!
//! * The folder is `cofferdam` in `XDG_RUNTIME_DIR`, otherwise `cofferdam-UID` in the folder for temporary files. It is not the
//!   checkpoint folder, because a socket works on one machine only, and its path must be short. One that belongs to another user
//!   is not used; then a folder with a name that nobody can foresee is.
//! * A socket is named after the log of the checkpoints and the leadership: `LOG-gN`, and `LOG-gN.wK` of worker K. Of two
//!   copies of a log that are led at once the later one adds `.cTOKEN`, until the output decides between them. Reason: the
//!   checkpoint folder may have other paths, or lie on another machine. What killed leaderships left behind is removed by the
//!   next one ([`Rendezvous::sweep`]). A socket on which a process still listens stays.
//! * Clients read the name from the log, and look for it in the same folders ([`find`]). The sign of life beside the
//!   checkpoints says the whole address, for one that looks elsewhere.

use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::ids::{Generation, LogId};
use cofferdam_engine::os::network::{PATH_BYTES_MAX, UNIX};
use cofferdam_engine::runtime::coordinator::address_of;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The longest name of a socket: `LOG-gN.cTOKEN.wK`, with the largest numbers.
const NAME_BYTES_MAX: usize = 16 + 2 + 20 + 2 + 16 + 2 + 5;

/// A private folder of sockets.
#[derive(Clone, Debug)]
pub struct Rendezvous {
    folder: PathBuf,
}

/// Where the leader of a log listens, if its socket is in a private folder of this user.
pub fn find(log: LogId, generation: Generation) -> Option<String> {
    let user = rustix::process::geteuid().as_raw();
    let name = address_of(log, generation);
    let sockets =
        known_folders(user).into_iter().filter(|folder| is_private(folder, user)).map(|folder| folder.join(&name));
    let found = sockets.into_iter().find(|socket| UnixStream::connect(socket).is_ok())?;
    Some(format!("{UNIX}{}", found.display()))
}

/// The folders with names of their own, the best first.
fn known_folders(user: u32) -> Vec<PathBuf> {
    // One that belongs to another user, as after `sudo`, is that user's.
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|folder| belongs_to(folder, user)).map(|folder| folder.join("cofferdam"));
    let temporary = [std::env::temp_dir(), PathBuf::from("/tmp")];
    runtime.into_iter().chain(temporary.map(|folder| folder.join(format!("cofferdam-{user}")))).collect()
}

impl Rendezvous {
    /// Finds the folder, or makes it.
    pub fn open() -> Result<Self> {
        let user = rustix::process::geteuid().as_raw();
        let mut candidates = known_folders(user);
        for temporary in [std::env::temp_dir(), PathBuf::from("/tmp")] {
            candidates.push(temporary.join(format!("cofferdam-{user}-{:08x}", rand::random::<u32>())));
        }
        Self::first_of(&candidates, user)
    }

    fn first_of(candidates: &[PathBuf], user: u32) -> Result<Self> {
        let mut refused = Vec::new();
        for folder in candidates {
            match make_private(folder, user) {
                Ok(()) => return Ok(Self { folder: folder.clone() }),
                Err(why) => refused.push(format!("{}: {why}", folder.display())),
            }
        }
        Err(Error::give_up(format!("no folder for the sockets of this run: {}", refused.join("; "))))
    }

    /// The address of the folder.
    pub fn address(&self) -> String {
        format!("{UNIX}{}", self.folder.display())
    }

    /// Removes what killed leaderships of the same log have left behind. `address` is the newest one's.
    pub fn sweep(&self, address: &str) {
        let Some((log, _)) = name_of(address).split_once('-') else { return };
        self.remove(|name| {
            is_of_log(name, log) && !is_of(name, name_of(address)) && is_remainder(&self.folder.join(name))
        });
    }

    /// Removes what killed leaderships have left behind of a log in which the job is over.
    pub fn sweep_all(&self, log: LogId) {
        let log = log.to_string();
        self.remove(|name| is_of_log(name, &log) && is_remainder(&self.folder.join(name)));
    }

    /// Removes the sockets of the leadership that listened at `address`: it is over, and none of its processes listens any
    /// more. One on which a process listens belongs to the leader of a copy of the log, which came to the name since.
    pub fn close(&self, address: &str) {
        self.remove(|name| is_of(name, name_of(address)) && is_remainder(&self.folder.join(name)));
    }

    /// What cannot be removed stays, to be swept by the next leadership.
    fn remove(&self, is_due: impl Fn(&str) -> bool) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(&is_due) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn name_of(address: &str) -> &str {
    address.rsplit('/').next().unwrap_or(address)
}

fn is_of_log(name: &str, log: &str) -> bool {
    name.strip_prefix(log).is_some_and(|rest| rest.starts_with('-'))
}

/// Where worker `number` of the leadership at `address` listens.
pub fn of_worker(address: &str, number: u16) -> String {
    format!("{address}.w{number}")
}

/// Whether a socket belongs to the leadership whose socket is `leader`.
fn is_of(name: &str, leader: &str) -> bool {
    name.strip_prefix(leader).is_some_and(|rest| rest.is_empty() || rest.starts_with(".w"))
}

/// Whether a socket is there that no process listens on.
fn is_remainder(path: &Path) -> bool {
    UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

fn belongs_to(folder: &Path, user: u32) -> bool {
    folder.is_absolute() && fs::metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == user)
}

/// Whether a folder is there that only `user` can enter.
fn is_private(folder: &Path, user: u32) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0)
}

/// Makes a folder that only `user` can enter, or sees to it that one is.
fn make_private(folder: &Path, user: u32) -> Result<(), String> {
    let name = folder.to_str().ok_or("its name is no text")?;
    if name.len() + 1 + NAME_BYTES_MAX > PATH_BYTES_MAX {
        return Err("its path is too long for a socket".to_owned());
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e.to_string()),
        Ok(()) | Err(_) => {}
    }
    // Not through a link, which another user may have laid.
    let found = fs::symlink_metadata(folder).map_err(|e| e.to_string())?;
    if !found.is_dir() {
        return Err("it is not a folder".to_owned());
    }
    if found.uid() != user {
        return Err("it belongs to another user".to_owned());
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    fn user() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn the_folder_is_private_also_if_it_was_not_before() {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("r");
        fs::create_dir(&folder).expect("made");
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).expect("opened");
        let found = Rendezvous::first_of(std::slice::from_ref(&folder), user()).expect("usable");
        assert_eq!(fs::metadata(&folder).expect("there").mode() & 0o777, 0o700);
        assert_eq!(found.address(), format!("unix:{}", folder.display()));
    }

    #[test]
    fn folders_of_others_links_and_long_paths_are_passed_over_and_named() {
        let outer = tempfile::tempdir().expect("a folder");
        let (real, link) = (outer.path().join("real"), outer.path().join("link"));
        fs::create_dir(&real).expect("made");
        symlink(&real, &link).expect("linked");
        let long = outer.path().join("l".repeat(60));
        let refused = Rendezvous::first_of(&[link.clone(), long.clone()], user()).expect_err("none is usable");
        assert!(refused.message.contains("link: it is not a folder"), "{refused}");
        assert!(refused.message.contains("its path is too long"), "{refused}");
        let refused = Rendezvous::first_of(std::slice::from_ref(&real), user() + 1).expect_err("another's");
        assert!(refused.message.contains("it belongs to another user"), "{refused}");
        assert_eq!(Rendezvous::first_of(&[link, long, real.clone()], user()).expect("one is usable").folder, real);
    }

    #[test]
    fn a_leadership_sweeps_what_dead_ones_of_its_log_left_and_nothing_else() {
        let outer = tempfile::tempdir().expect("a folder");
        let meeting = Rendezvous::first_of(&[outer.path().join("r")], user()).expect("usable");
        let at = |name: &str| meeting.folder.join(name);
        let bind = |name: &str| UnixListener::bind(at(name)).expect("bound");
        for dead in ["aa-g1", "aa-g1.w0", "aa-g10", "ab-g1", "aaa-g1"] {
            drop(bind(dead));
        }
        let (_others, own) = ((bind("aa-g2"), bind("aa-g3.w2")), (bind("aa-g3"), bind("aa-g3.w1")));
        meeting.sweep(&format!("{}/aa-g3", meeting.address()));
        let left = || {
            let entries = fs::read_dir(&meeting.folder).expect("a folder");
            let mut names: Vec<_> =
                entries.map(|e| e.expect("an entry").file_name().into_string().expect("text")).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(left(), ["aa-g2", "aa-g3", "aa-g3.w1", "aa-g3.w2", "aaa-g1", "ab-g1"]);
        drop(own);
        meeting.close(&format!("{}/aa-g3", meeting.address()));
        assert_eq!(left(), ["aa-g2", "aa-g3.w2", "aaa-g1", "ab-g1"], "a process listens on aa-g3.w2: it is another's");
    }
}

//! Where the secret of a job is kept: in a file that the user names, or beside the checkpoints, where the first process that
//! needs one draws it. Who can read the file is a member of the job.
//!
//! * A drawn secret appears whole or not at all: it is written and synced under another name, then linked. Of several processes
//!   that draw at once one links first, and the others read what it has drawn.
//! * Only the user who started the job can read it (mode 0600).
//!
//! Not handled: another secret for a job that runs. Remove the file while no process of the job runs, and a new one is drawn.

use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::secret::Secret;
use rand::TryRng;
use rand::rngs::SysRng;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Beside the checkpoints: the secret of their job. Hidden, so that no listing of checkpoints shows it.
pub const NOTE: &str = ".secret";

/// Bytes of a secret that is drawn here.
const DRAWN_BYTES: usize = 32;

/// The secret of the job: of `file`, or of the checkpoint folder, which gets one if it has none.
pub fn of(file: Option<&Path>, checkpoints: &Path) -> Result<Secret> {
    match file {
        Some(file) => {
            read(file)?.ok_or_else(|| Error::give_up(format!("secret file {} does not exist", file.display())))
        }
        None => drawn(checkpoints),
    }
}

/// The secret of a checkpoint folder, if its job has one.
pub fn known(checkpoints: &Path) -> Result<Option<Secret>> {
    read(&checkpoints.join(NOTE)).map_err(|error| Error {
        message: format!("{}; remove it while no process of the job runs, and a new one is drawn", error.message),
        ..error
    })
}

fn drawn(checkpoints: &Path) -> Result<Secret> {
    if let Some(secret) = known(checkpoints)? {
        return Ok(secret);
    }
    let note = checkpoints.join(NOTE);
    let cannot = |e: io::Error| Error::give_up(format!("cannot create secret {}: {e}", note.display()));
    let mut bits = [0; DRAWN_BYTES];
    SysRng.try_fill_bytes(&mut bits).map_err(|e| cannot(io::Error::other(e)))?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    // Named after bits that are no part of the secret.
    let staged = checkpoints.join(format!("{NOTE}-{:016x}", rand::random::<u64>()));
    let linked = write_private(&staged, &format!("{}\n", hex(&bits))).and_then(|()| fs::hard_link(&staged, &note));
    // What is left behind here is hidden, and of no use to anybody else.
    let _ = fs::remove_file(&staged);
    match linked {
        Ok(()) => {}
        // Another process was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(cannot(e)),
    }
    known(checkpoints)?.ok_or_else(|| cannot(io::Error::other("it was removed at once")))
}

/// Writes a file that nobody else can read, durably.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The secret in a file, line ends behind it aside. `None`: there is no such file.
fn read(file: &Path) -> Result<Option<Secret>> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::give_up(format!("cannot read secret {}: {e}", file.display()))),
    };
    let end = bytes.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    let secret = Secret::new(bytes[..end].to_vec());
    secret.map(Some).map_err(|error| error.while_doing(format_args!("secret file {}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn processes_that_draw_at_once_agree_and_nobody_else_can_read_it() {
        for _ in 0..20 {
            let folder = Arc::new(tempfile::tempdir().expect("a folder"));
            let secrets: Vec<Secret> = std::thread::scope(|scope| {
                let draw = || scope.spawn(|| of(None, folder.path()).expect("a secret"));
                let threads: Vec<_> = (0..6).map(|_| draw()).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            assert!(secrets.iter().all(|secret| *secret == secrets[0]), "they do not agree");
            let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
            assert_eq!(left.len(), 1, "{left:?}");
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = fs::metadata(folder.path().join(NOTE)).expect("a file").permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
        }
    }

    #[test]
    fn two_jobs_have_two_secrets() {
        let (one, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        assert_ne!(of(None, one.path()), of(None, other.path()));
        assert_eq!(known(one.path()).expect("readable"), Some(of(None, one.path()).expect("a secret")));
    }

    #[test]
    fn a_named_file_counts_without_its_line_end_and_a_bad_one_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        let says = || of(Some(&file), folder.path()).expect_err("no secret").message;
        assert!(says().contains("secret does not exist"), "{}", says());
        fs::write(&file, "short\n").expect("written");
        assert!(says().contains("at least 16 bytes, this one has 5"), "{}", says());
        fs::write(&file, "0123456789abcdef\r\n").expect("written");
        let secret = of(Some(&file), folder.path()).expect("long enough");
        assert_eq!(secret, Secret::new(b"0123456789abcdef".to_vec()).expect("long enough"));
    }
}

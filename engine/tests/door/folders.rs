//! Folders and files as mounts: what is refused, what is shown, what a kill leaves behind.

use bytes::Bytes;
use cofferdam_engine::door::{Depth, Env, StorageError, Version, WriteMode, whole};
use cofferdam_engine::os::mount::{Mount, Mounts, STAGING};
use cofferdam_engine::os::trace::TracingTrace;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::{TempDir, tempdir};

fn run<F: Future<Output = ()>>(mounts: Mounts, body: impl FnOnce(Env) -> F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(body(cofferdam_engine::os::env(mounts, Arc::new(TracingTrace::default()))));
}

async fn content(env: &Env) -> Vec<(String, String)> {
    let mut content = Vec::new();
    for object in env.storage.list("input", Depth::Tree).await.expect("a listing") {
        let bytes = whole::read(&env.storage, &object.path).await.expect("what is listed can be read");
        assert_eq!(bytes.len() as u64, object.bytes, "{} has another length than listed", object.path);
        content.push((object.path, String::from_utf8(bytes.to_vec()).expect("text")));
    }
    content
}

fn put(folder: &TempDir, name: &str) {
    let file = folder.path().join(name);
    fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    fs::write(file, name).expect("a file");
}

#[track_caller]
fn assert_refused(input: &Path, parts: &[&str]) {
    let refused = Mount::input(input).expect_err("it is refused").message;
    assert!(!refused.contains('\n'), "{refused:?}");
    for part in parts {
        assert!(refused.contains(part), "{part:?} is not in {refused:?}");
    }
}

#[test]
fn input_of_any_name_is_listed_and_read_under_that_name() {
    let folder = tempdir().expect("a folder");
    let names = [
        "c:/file",
        ".hidden",
        "#",
        "100%",
        "a b/c d",
        "a#1b",
        "a%20b",
        "a%2Fb",
        "b/2",
        "b-side",
        "deep/er/and/deeper",
        "grün",
        "日本",
        "~[x]{y}",
        "%2e%2e",
        "back\\slash",
        "quote\"s'",
    ];
    names.iter().for_each(|name| put(&folder, name));
    let mut expected: Vec<(String, String)> =
        names.iter().map(|name| (format!("input/{name}"), (*name).to_owned())).collect();
    expected.sort();
    let mounts = Mounts::default().with("input", Mount::input(folder.path()).expect("readable input"));
    run(mounts, |env| async move { assert_eq!(content(&env).await, expected) });
}

#[test]
fn a_single_file_is_the_whole_input() {
    let folder = tempdir().expect("a folder");
    ["one half #.txt", "other.txt"].iter().for_each(|name| put(&folder, name));
    let input = Mount::input(&folder.path().join("one half #.txt")).expect("readable input");
    run(Mounts::default().with("input", input), |env| async move {
        let name = "one half #.txt".to_owned();
        assert_eq!(content(&env).await, [(format!("input/{name}"), name)]);
        let other = whole::read(&env.storage, "input/other.txt").await;
        assert_eq!(other, Err(StorageError::NotFound("input/other.txt".to_owned())), "a neighbour is no input");
    });
}

#[cfg(unix)]
#[test]
fn a_single_file_is_read_without_a_look_at_what_lies_beside_it() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempdir().expect("a folder");
    put(&folder, "book.txt");
    // A loop of links, a link to nowhere, a private folder, a pipe that nobody writes to, a file of no name.
    symlink(folder.path(), folder.path().join("loop")).expect("a link");
    symlink("nothing", folder.path().join("dangling")).expect("a link");
    put(&folder, "private/secret");
    let private = folder.path().join("private");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o000)).expect("permissions");
    let _listener = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).expect("a socket");
    put(&folder, "part#12");
    let input = Mount::input(&folder.path().join("book.txt")).expect("readable input");
    run(Mounts::default().with("input", input), |env| async move {
        assert_eq!(content(&env).await, [("input/book.txt".to_owned(), "book.txt".to_owned())]);
        assert_eq!(env.storage.list("input/book", Depth::Tree).await, Ok(Vec::new()), "half a name is no name");
        assert_eq!(env.storage.list("input/book.txt", Depth::Tree).await.expect("a listing").len(), 1);
    });
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).expect("permissions");
}

#[test]
fn a_change_of_input_shows_in_its_version() {
    let folder = tempdir().expect("a folder");
    let file = folder.path().join("book.txt");
    fs::write(&file, "0123456789").expect("a file");
    let set = |path: &Path, seconds| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::options().write(true).open(path).expect("it is there").set_modified(time).expect("a time");
    };
    set(&file, 1_000);
    let mounts = Mounts::default().with("input", Mount::input(folder.path()).expect("readable input"));
    let elsewhere = folder.path().join("elsewhere.txt");
    run(mounts, |env| async move {
        let read = async || env.storage.read("input/book.txt", 2..4).await.expect("readable");
        let listed = async || env.storage.list("input/book.txt", Depth::Tree).await.expect("a listing").remove(0);
        let first = read().await;
        assert_eq!((&first.bytes[..], first.size), (&b"23"[..], 10));
        assert_eq!((read().await, listed().await.version), (first.clone(), first.version.clone()));
        let inode = |version: &Version| match version {
            Version::File { inode, .. } => *inode,
            Version::Tag(tag) => panic!("a file has no tag: {tag}"),
        };
        // Written into: the same file at another time.
        set(&file, 2_000);
        let touched = read().await;
        assert_ne!(touched.version, first.version);
        assert_eq!((inode(&touched.version), listed().await.version), (inode(&first.version), touched.version));
        // Another file of the same name, length and time.
        fs::write(&elsewhere, "9876543210").expect("a file");
        set(&elsewhere, 1_000);
        fs::rename(&elsewhere, &file).expect("renamed");
        let swapped = read().await;
        assert_eq!((&swapped.bytes[..], swapped.size), (&b"76"[..], 10));
        assert_ne!(swapped.version, first.version);
        assert_ne!(inode(&swapped.version), inode(&first.version));
    });
}

#[test]
fn input_is_shown_as_it_was_typed() {
    let folder = tempdir().expect("a folder");
    put(&folder, "deep/book.txt");
    let shown = |typed: &Path, path: &'static str| {
        let mounts = Mounts::default().with("input", Mount::input(typed).expect("readable input"));
        run(mounts, |env| async move {
            let typed = env.storage.shown("input");
            assert!(env.storage.shown(path).starts_with(&typed), "{}", env.storage.shown(path));
            assert!(env.storage.shown(path).ends_with("book.txt"), "{}", env.storage.shown(path));
        });
    };
    shown(folder.path(), "input/deep/book.txt");
    shown(&folder.path().join("deep/../deep/book.txt"), "input/book.txt");
}

#[test]
fn input_that_a_job_has_read_before_may_be_gone() {
    let folder = tempdir().expect("a folder");
    let mounts = |name: &str| {
        Mounts::default().with("input", Mount::input_read_before(&folder.path().join(name)).expect("anything"))
    };
    run(mounts("book.txt"), |env| async move {
        let gone = StorageError::NotFound("input/book.txt".to_owned());
        assert_eq!(env.storage.read("input/book.txt", 0..1).await, Err(gone));
    });
    put(&folder, "books/one.txt");
    run(mounts("books"), |env| async move {
        assert_eq!(content(&env).await, [("input/one.txt".to_owned(), "books/one.txt".to_owned())]);
    });
}

#[test]
fn input_is_never_written_or_deleted() {
    let folder = tempdir().expect("a folder");
    put(&folder, "book.txt");
    let mounts = Mounts::default().with("input", Mount::input(folder.path()).expect("readable input"));
    run(mounts, |env| async move {
        let written = env.storage.write("input/book.txt", Bytes::from("else"), WriteMode::Overwrite).await;
        assert!(matches!(written, Err(StorageError::Failed(_))), "{written:?}");
        let deleted = env.storage.delete("input/book.txt").await;
        assert!(matches!(deleted, Err(StorageError::Failed(_))), "{deleted:?}");
        assert_eq!(content(&env).await, [("input/book.txt".to_owned(), "book.txt".to_owned())]);
    });
}

#[test]
fn input_that_would_be_passed_over_in_silence_is_refused() {
    let folder = tempdir().expect("a folder");
    assert_refused(&folder.path().join("absent"), &["absent", "No such file"]);
    put(&folder, "deep/part#12");
    assert_refused(folder.path(), &["deep/part#12", "rename"]);
    assert_refused(&folder.path().join("deep/part#12"), &["part#12", "rename"]);
    for name in ["line\nbreak", "c:", "C|"] {
        let folder = tempdir().expect("a folder");
        put(&folder, name);
        assert_refused(folder.path(), &[&name.escape_debug().to_string(), "rename"]);
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed_unless_they_lead_nowhere_or_back() {
    use std::os::unix::fs::symlink;
    let (folder, elsewhere) = (tempdir().expect("a folder"), tempdir().expect("a folder"));
    put(&elsewhere, "far/away");
    symlink(elsewhere.path().join("far"), folder.path().join("near")).expect("a link");
    let mounts = Mounts::default().with("input", Mount::input(folder.path()).expect("readable input"));
    run(mounts, |env| async move {
        assert_eq!(content(&env).await, [("input/near/away".to_owned(), "far/away".to_owned())]);
    });
    symlink(folder.path(), folder.path().join("back")).expect("a link");
    assert_refused(folder.path(), &["back", "a folder above it"]);
    fs::remove_file(folder.path().join("back")).expect("removed");
    symlink("nothing", folder.path().join("dangling")).expect("a link");
    assert_refused(folder.path(), &["dangling", "No such file"]);
}

#[cfg(unix)]
#[test]
fn what_is_neither_file_nor_folder_is_refused() {
    let folder = tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    assert_refused(folder.path(), &["socket", "neither a file nor a folder"]);
    assert_refused(Path::new("/dev/null"), &["/dev/null", "neither a file nor a folder"]);
}

#[test]
fn what_a_kill_left_unpublished_is_invisible_and_cleared_away() {
    let folder = tempdir().expect("a folder");
    let output = Mount::folder("output", folder.path()).expect("a writable folder");
    let staging = folder.path().join(STAGING);
    // Of an incarnation that is dead, of one that is alive, and what is in no folder of an incarnation.
    let left = ["0123456789abcdef/1", "00000000000000aa/2", "3"].map(|name| staging.join(name));
    for file in &left {
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, "half a fi").expect("a file");
    }
    run(Mounts::default().with("output", output), |env| async move {
        let path = format!("output/{STAGING}/0123456789abcdef/1");
        assert_eq!(env.storage.list("output", Depth::Tree).await, Ok(Vec::new()));
        assert_eq!(whole::read(&env.storage, &path).await, Err(StorageError::NotFound(path.clone())));
        let written = env.storage.write(&path, Bytes::new(), WriteMode::Overwrite).await;
        assert!(matches!(written, Err(StorageError::Failed(_))), "{written:?}");
        let mut upload = env.storage.upload("output/large");
        upload.part(Bytes::from("own, ")).await.expect("a part");
        assert_eq!(env.storage.clear(BTreeSet::from([0xaa])).await, Ok(()));
        upload.part(Bytes::from("and alive")).await.expect("a part");
        upload.complete().await.expect("an upload of this process is not cleared away");
        assert_eq!(env.storage.clear(BTreeSet::from([0xaa])).await, Ok(()));
    });
    assert_eq!(left.map(|file| file.exists()), [false, true, false]);
    let names: Vec<_> = fs::read_dir(&staging).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(names, ["00000000000000aa"], "emptied folders are gone, also the own one");
}

#[test]
fn nothing_but_the_object_appears_in_a_folder_and_emptied_folders_go() {
    let folder = tempdir().expect("a folder");
    let output = Mount::folder("output", folder.path()).expect("a writable folder");
    let root = folder.path().to_owned();
    run(Mounts::default().with("output", output), |env| async move {
        env.storage.write("output/a/b/c", Bytes::from("bytes"), WriteMode::Create).await.expect("written");
        let names: Vec<_> = fs::read_dir(root.join("a/b"))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(names, ["c"]);
        let own = root.join(STAGING).join(format!("{:016x}", env.storage.incarnation()));
        assert_eq!(fs::read_dir(own).expect("a folder").count(), 0, "a staged file stayed behind");
        env.storage.delete("output/a/b/c").await.expect("deleted");
        assert!(!root.join("a").exists() && root.exists());
    });
}

#[test]
fn paths_do_not_leave_their_mount() {
    let folder = tempdir().expect("a folder");
    put(&folder, "secret");
    let output = Mount::folder("output", &folder.path().join("inner")).expect("a writable folder");
    run(Mounts::default().with("output", output), |env| async move {
        for path in ["output/../secret", "output/x/../../secret", "output/./x", "output//x", "elsewhere/x"] {
            let read = whole::read(&env.storage, path).await;
            assert!(matches!(read, Err(StorageError::Failed(_))), "{path}: {read:?}");
            let written = env.storage.write(path, Bytes::from("bytes"), WriteMode::Overwrite).await;
            assert!(matches!(written, Err(StorageError::Failed(_))), "{path}: {written:?}");
        }
        for path in ["output", "output/"] {
            let written = env.storage.write(path, Bytes::from("bytes"), WriteMode::Overwrite).await;
            assert!(matches!(written, Err(StorageError::Failed(_))), "{path}: {written:?}");
        }
    });
    assert_eq!(fs::read_to_string(folder.path().join("secret")).expect("still there"), "secret");
}

#[test]
fn a_write_that_cannot_be_published_is_of_unknown_outcome_and_leaves_what_was_there() {
    let folder = tempdir().expect("a folder");
    let output = Mount::folder("output", folder.path()).expect("a writable folder");
    let root = folder.path().to_owned();
    run(Mounts::default().with("output", output), |env| async move {
        env.storage.write("output/a", Bytes::from("first"), WriteMode::Create).await.expect("written");
        // `a` is a file, so nothing can lie below it; that is found out while publishing.
        let below = env.storage.write("output/a/b", Bytes::from("second"), WriteMode::Create).await;
        assert!(matches!(below, Err(StorageError::Unknown(_))), "{below:?}");
        assert_eq!(whole::read(&env.storage, "output/a").await.as_deref(), Ok(&b"first"[..]));
        assert_eq!(whole::read(&env.storage, "output/a/b").await, Err(StorageError::NotFound("output/a/b".to_owned())));
        assert_eq!(env.storage.list("output/a/b", Depth::Tree).await, Ok(Vec::new()));
        assert_eq!(env.storage.delete("output/a/b").await, Ok(()));
        // Staging fails: nothing can have happened.
        fs::remove_dir_all(root.join(STAGING)).expect("removed");
        fs::write(root.join(STAGING), "in the way").expect("a file");
        let unstaged = env.storage.write("output/c", Bytes::from("third"), WriteMode::Create).await;
        assert!(matches!(unstaged, Err(StorageError::Failed(_))), "{unstaged:?}");
    });
}

#[cfg(unix)]
#[test]
fn what_lies_in_a_sub_folder_does_not_disturb_a_listing_of_the_folder() {
    use std::os::unix::fs::symlink;
    let folder = tempdir().expect("a folder");
    put(&folder, "generation-1");
    fs::create_dir(folder.path().join("counts")).expect("a folder");
    put(&folder, "counts/two\nlines");
    symlink(folder.path(), folder.path().join("counts/up")).expect("a link");
    let output = Mount::folder("output", folder.path()).expect("a folder");
    run(Mounts::default().with("output", output), |env| async move {
        let listed = env.storage.list("output", Depth::Folder).await.expect("a listing");
        assert_eq!(listed.iter().map(|object| &object.path).collect::<Vec<_>>(), ["output/generation-1"]);
    });
}

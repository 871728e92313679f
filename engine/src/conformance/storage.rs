//! What storage promises, while nothing fails.

use crate::door::{BoxFuture, Depth, Env, ObjectMeta, StorageError, WriteMode, whole};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;

/// Everything storage promises, below `folder`, which must be a fresh one, such as `"output/conformance"`.
pub async fn check(env: &Env, folder: &str) {
    what_is_not_there_is_not_found(env, &format!("{folder}/absent")).await;
    reads_see_the_newest_write(env, &format!("{folder}/newest")).await;
    every_write_gives_an_object_another_version(env, &format!("{folder}/versions")).await;
    create_refuses_what_exists(env, &format!("{folder}/create")).await;
    a_rename_moves_an_object_to_a_free_name(env, &format!("{folder}/renamed")).await;
    of_concurrent_creators_exactly_one_succeeds(env, &format!("{folder}/creators")).await;
    concurrent_overwrites_leave_one_of_them(env, &format!("{folder}/overwrites")).await;
    ranges_are_cut_off_at_the_end(env, &format!("{folder}/ranges")).await;
    deleting_is_idempotent(env, &format!("{folder}/deleted")).await;
    listings_are_sorted_and_end_at_slashes(env, &format!("{folder}/listed")).await;
    a_folder_is_listed_without_what_its_sub_folders_hold(env, &format!("{folder}/shallow")).await;
    folders_come_and_go_with_their_objects(env, &format!("{folder}/coming-and-going")).await;
    names_are_taken_as_they_are(env, &format!("{folder}/names")).await;
    an_upload_appears_whole_when_it_is_complete(env, &format!("{folder}/upload")).await;
    uploads_do_not_mix(env, &format!("{folder}/uploads")).await;
    an_upload_of_the_living_is_not_cleared_away(env, &format!("{folder}/cleared")).await;
    an_aborted_upload_never_appears(env, &format!("{folder}/aborted")).await;
}

async fn write(env: &Env, path: &str, bytes: &'static [u8], mode: WriteMode) -> Result<(), StorageError> {
    env.storage.write(path, Bytes::from_static(bytes), mode).await
}

/// A listing may be out of date for a short while, so it is given this many tries.
const LISTINGS: u32 = 40;

/// Waits for the listing of `prefix` to show exactly these paths.
async fn paths(env: &Env, prefix: &str, expected: &[String], promise: &str) -> Vec<ObjectMeta> {
    paths_at(env, prefix, Depth::Tree, expected, promise).await
}

async fn paths_at(env: &Env, prefix: &str, depth: Depth, expected: &[String], promise: &str) -> Vec<ObjectMeta> {
    let mut tries = 0;
    loop {
        let objects = env.storage.list(prefix, depth).await.expect("a listing works");
        let found: Vec<&String> = objects.iter().map(|object| &object.path).collect();
        if found.iter().copied().eq(expected) {
            return objects;
        }
        tries += 1;
        assert!(tries < LISTINGS, "{promise}: {prefix} was listed as {found:?} instead of {expected:?}");
        env.sleep(Duration::from_millis(25)).await;
    }
}

async fn what_is_not_there_is_not_found(env: &Env, folder: &str) {
    let path = format!("{folder}/nothing");
    let not_found = StorageError::NotFound(path.clone());
    assert_eq!(whole::read(&env.storage, &path).await, Err(not_found.clone()));
    assert_eq!(env.storage.read(&path, 0..10).await, Err(not_found));
    paths(env, folder, &[], "an absent folder has no objects").await;
}

async fn reads_see_the_newest_write(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    for bytes in [&b"first"[..], b"", b"the third is longer"] {
        env.storage.write(&path, Bytes::from_static(bytes), WriteMode::Overwrite).await.expect("an overwrite works");
        assert_eq!(whole::read(&env.storage, &path).await.as_deref(), Ok(bytes), "a read missed the write before it");
    }
    let objects = paths(env, folder, std::slice::from_ref(&path), "an object is listed once").await;
    assert_eq!(objects[0].bytes, b"the third is longer".len() as u64, "an object is listed with its length");
}

async fn every_write_gives_an_object_another_version(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    let mut before = None;
    // The same length, and the same bytes: only the version tells them apart.
    for bytes in [&b"0123456789"[..], b"9876543210", b"9876543210"] {
        env.storage.write(&path, Bytes::from_static(bytes), WriteMode::Overwrite).await.expect("an overwrite works");
        let version = env.storage.read(&path, 0..10).await.expect("reading works").version;
        for range in [3..5, 5..5, 20..30] {
            let piece = env.storage.read(&path, range.clone()).await.expect("reading works");
            assert_eq!(piece.version, version, "range {range:?} has another version although nothing was written");
        }
        let mut tries = 0;
        while env.storage.list(folder, Depth::Tree).await.expect("a listing works").first().map(|meta| &meta.version)
            != Some(&version)
        {
            tries += 1;
            assert!(tries < LISTINGS, "{path} is listed in another version than it is read");
            env.sleep(Duration::from_millis(25)).await;
        }
        assert_ne!(Some(&version), before.as_ref(), "a write did not change the version");
        before = Some(version);
    }
}

async fn create_refuses_what_exists(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    write(env, &path, b"first", WriteMode::Create).await.expect("creating works");
    assert_eq!(write(env, &path, b"second", WriteMode::Create).await, Err(StorageError::Exists(path.clone())));
    assert_eq!(
        whole::read(&env.storage, &path).await.as_deref(),
        Ok(&b"first"[..]),
        "a refused create changed the object"
    );
    env.storage.delete(&path).await.expect("deleting works");
    write(env, &path, b"third", WriteMode::Create).await.expect("what was deleted can be created again");
}

async fn a_rename_moves_an_object_to_a_free_name(env: &Env, folder: &str) {
    let (from, to) = (format!("{folder}/hidden/deep/object"), format!("{folder}/shown/object"));
    let nothing = StorageError::NotFound(from.clone());
    assert_eq!(env.storage.rename(&from, &to).await, Err(nothing.clone()), "what is not there was renamed");
    write(env, &from, b"first", WriteMode::Create).await.expect("creating works");
    env.storage.rename(&from, &to).await.expect("renaming works");
    assert_eq!(whole::read(&env.storage, &to).await.as_deref(), Ok(&b"first"[..]), "a renamed object changed");
    assert_eq!(whole::read(&env.storage, &from).await, Err(nothing), "a renamed object kept its old name");
    paths(env, folder, std::slice::from_ref(&to), "a renamed object is listed once").await;
    write(env, &from, b"second", WriteMode::Create).await.expect("an old name is free");
    assert_eq!(env.storage.rename(&from, &to).await, Err(StorageError::Exists(to.clone())));
    assert_eq!(whole::read(&env.storage, &to).await.as_deref(), Ok(&b"first"[..]), "a refused rename overwrote");
    assert_eq!(whole::read(&env.storage, &from).await.as_deref(), Ok(&b"second"[..]), "a refused rename moved");
}

async fn of_concurrent_creators_exactly_one_succeeds(env: &Env, folder: &str) {
    for round in 0..8 {
        let path = format!("{folder}/{round}");
        let creators: Vec<BoxFuture<'static, _>> =
            (0..8_u8).map(|me| env.storage.write(&path, Bytes::from(vec![me; 1_000]), WriteMode::Create)).collect();
        let outcomes = super::all(env, creators).await;
        let winners: Vec<usize> = (0..outcomes.len()).filter(|&i| outcomes[i].is_ok()).collect();
        assert_eq!(winners.len(), 1, "several creators of {path}: {outcomes:?}");
        let losers = outcomes.iter().filter(|outcome| outcome == &&Err(StorageError::Exists(path.clone())));
        assert_eq!(losers.count(), outcomes.len() - 1, "a loser was told something else: {outcomes:?}");
        let content = whole::read(&env.storage, &path).await.expect("the winner's object is there");
        assert_eq!(content, vec![winners[0] as u8; 1_000], "{path} is not the winner's");
    }
}

async fn concurrent_overwrites_leave_one_of_them(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    let writers: Vec<BoxFuture<'static, _>> =
        (0..8_u8).map(|me| env.storage.write(&path, Bytes::from(vec![me; 100_000]), WriteMode::Overwrite)).collect();
    for outcome in super::all(env, writers).await {
        outcome.expect("an overwrite works");
    }
    let content = whole::read(&env.storage, &path).await.expect("the object is there");
    assert_eq!(content, vec![content[0]; 100_000], "an object mixes two writes");
}

async fn ranges_are_cut_off_at_the_end(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    write(env, &path, b"0123456789", WriteMode::Create).await.expect("creating works");
    let ranges: [(std::ops::Range<u64>, &[u8]); 8] = [
        (0..10, b"0123456789"),
        (3..5, b"34"),
        (0..0, b""),
        (5..5, b""),
        (8..100, b"89"),
        (0..u64::MAX, b"0123456789"),
        (10..20, b""),
        (11..12, b""),
    ];
    for (range, expected) in ranges {
        let all = whole::read_range(&env.storage, &path, range.clone()).await;
        assert_eq!(all.as_deref(), Ok(expected), "range {range:?}");
        let piece = env.storage.read(&path, range.clone()).await.expect("reading works");
        assert_eq!(piece.size, 10, "range {range:?} tells another length of the object");
        assert!(expected.starts_with(&piece.bytes), "range {range:?} begins with other bytes: {:?}", piece.bytes);
        assert_eq!(piece.bytes.is_empty(), expected.is_empty(), "no byte of range {range:?}, before the end");
    }
}

async fn deleting_is_idempotent(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    assert_eq!(env.storage.delete(&path).await, Ok(()), "deleting what never was");
    write(env, &path, b"bytes", WriteMode::Create).await.expect("creating works");
    assert_eq!(env.storage.delete(&path).await, Ok(()));
    assert_eq!(whole::read(&env.storage, &path).await, Err(StorageError::NotFound(path.clone())));
    assert_eq!(env.storage.delete(&path).await, Ok(()), "deleting what was deleted");
    paths(env, folder, &[], "what was deleted is not listed").await;
}

async fn listings_are_sorted_and_end_at_slashes(env: &Env, folder: &str) {
    // "b", "b-side" and "b/": a sort by segments would order them otherwise than a sort by path.
    for name in ["b/2", "a", "b/10/deep/er", "b-side", "b/1", "b0", "c/.hidden/x"] {
        write(env, &format!("{folder}/{name}"), b"bytes", WriteMode::Create).await.expect("creating works");
    }
    let full = |names: &[&str]| names.iter().map(|name| format!("{folder}/{name}")).collect::<Vec<_>>();
    let everything = ["a", "b-side", "b/1", "b/10/deep/er", "b/2", "b0", "c/.hidden/x"];
    paths(env, folder, &full(&everything), "listings are sorted by path").await;
    for (below, expected) in [
        ("b", &["b/1", "b/10/deep/er", "b/2"][..]),
        ("b/1", &["b/1"]),
        ("b/10", &["b/10/deep/er"]),
        ("c", &["c/.hidden/x"]),
        ("d", &[]),
    ] {
        let prefix = format!("{folder}/{below}");
        paths(env, &prefix, &full(expected), "a prefix is a whole path or whole folders").await;
    }
}

async fn a_folder_is_listed_without_what_its_sub_folders_hold(env: &Env, folder: &str) {
    for name in ["b", "a", "a-sub/1", "c/deep/er", "c.side"] {
        write(env, &format!("{folder}/{name}"), b"bytes", WriteMode::Create).await.expect("creating works");
    }
    let full = |names: &[&str]| names.iter().map(|name| format!("{folder}/{name}")).collect::<Vec<_>>();
    for (below, expected) in [("", &["a", "b", "c.side"][..]), ("/c", &[]), ("/b", &["b"])] {
        let promise = "a listing of a folder ends at its sub-folders";
        paths_at(env, &format!("{folder}{below}"), Depth::Folder, &full(expected), promise).await;
    }
}

/// A store on disk has folders, the door has none: making and removing them must never show.
async fn folders_come_and_go_with_their_objects(env: &Env, folder: &str) {
    let churn: Vec<BoxFuture<'static, _>> = (0..8)
        .map(|me| {
            let (storage, path) = (env.storage.clone(), format!("{folder}/shared/{me}"));
            Box::pin(async move {
                for _ in 0..10 {
                    storage.write(&path, Bytes::from_static(b"bytes"), WriteMode::Create).await?;
                    storage.delete(&path).await?;
                }
                Ok(())
            }) as BoxFuture<'static, Result<(), StorageError>>
        })
        .collect();
    for outcome in super::all(env, churn).await {
        assert_eq!(outcome, Ok(()), "a write or delete failed because another one was going on in its folder");
    }
    paths(env, folder, &[], "a folder without objects is nothing").await;
}

async fn names_are_taken_as_they_are(env: &Env, folder: &str) {
    let names = [".dotted", "100%", "a b", "a#b", "a%20b", "a+b&c=d", "a?b*c", "grün-日本", "~tilde", "{x}[y]"];
    for name in names {
        let path = format!("{folder}/{name}");
        env.storage.write(&path, Bytes::from(name), WriteMode::Create).await.expect("creating works");
    }
    let mut expected: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
    expected.sort();
    paths(env, folder, &expected, "a name is listed as it is").await;
    for name in names {
        let content = whole::read(&env.storage, &format!("{folder}/{name}")).await;
        assert_eq!(content.as_deref(), Ok(name.as_bytes()), "{name} is read under another name");
    }
}

/// Large enough for stores with a least size of parts.
const PART_BYTES: usize = 5 << 20;

async fn an_upload_appears_whole_when_it_is_complete(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    write(env, &path, b"before", WriteMode::Create).await.expect("creating works");
    let (first, second) = (Bytes::from(vec![1; PART_BYTES]), Bytes::from_static(b"the rest"));
    let mut upload = env.storage.upload(&path);
    for part in [&first, &second] {
        upload.part(part.clone()).await.expect("a part is taken");
        let content = whole::read(&env.storage, &path).await;
        assert_eq!(content.as_deref(), Ok(&b"before"[..]), "an upload was visible before it was complete");
        paths(env, folder, std::slice::from_ref(&path), "parts are no objects").await;
    }
    upload.complete().await.expect("completing works");
    let content = whole::read(&env.storage, &path).await.expect("the object is there");
    assert!(content == [first, second].concat(), "an upload is not its parts in their order: {} bytes", content.len());
    let again = upload.complete().await;
    assert!(matches!(again, Err(StorageError::NotFound(_))), "an upload is completed once: {again:?}");
    assert_eq!(upload.abort().await, Ok(()), "aborting what is complete");
    assert!(whole::read(&env.storage, &path).await.is_ok(), "an abort took away what was complete");
}

async fn uploads_do_not_mix(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    let (mut one, mut other) = (env.storage.upload(&path), env.storage.upload(&path));
    one.part(Bytes::from(vec![1; PART_BYTES])).await.expect("a part is taken");
    other.part(Bytes::from(vec![2; PART_BYTES])).await.expect("a part is taken");
    one.part(Bytes::from_static(&[1])).await.expect("a part is taken");
    drop(other);
    one.complete().await.expect("completing works");
    let content = whole::read(&env.storage, &path).await.expect("the object is there");
    assert!(content == vec![1; PART_BYTES + 1], "an object holds parts of another upload");
}

async fn an_upload_of_the_living_is_not_cleared_away(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    let mut upload = env.storage.upload(&path);
    upload.part(Bytes::from_static(b"begun ")).await.expect("a part is taken");
    env.storage.clear(BTreeSet::new()).await.expect("clearing works");
    upload.part(Bytes::from_static(b"and completed")).await.expect("whoever clears is alive");
    upload.complete().await.expect("an upload can be completed");
    assert_eq!(whole::read(&env.storage, &path).await.as_deref(), Ok(&b"begun and completed"[..]));
}

async fn an_aborted_upload_never_appears(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    let mut upload = env.storage.upload(&path);
    assert_eq!(upload.abort().await, Ok(()), "aborting what has no part");
    let mut upload = env.storage.upload(&path);
    upload.part(Bytes::from_static(b"part")).await.expect("a part is taken");
    assert_eq!(upload.abort().await, Ok(()));
    let completed = upload.complete().await;
    assert!(matches!(completed, Err(StorageError::NotFound(_))), "an aborted upload was completed: {completed:?}");
    assert_eq!(whole::read(&env.storage, &path).await, Err(StorageError::NotFound(path.clone())));
    paths(env, folder, &[], "an aborted upload is not listed").await;
}

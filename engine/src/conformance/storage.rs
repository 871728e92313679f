//! What storage promises, while nothing fails.

use crate::door::{BoxFuture, Env, ObjectMeta, StorageError, WriteMode};
use bytes::Bytes;

/// Everything storage promises, below `folder`, which must be a fresh one, such as `"output/conformance"`.
pub async fn check(env: &Env, folder: &str) {
    what_is_not_there_is_not_found(env, &format!("{folder}/absent")).await;
    reads_see_the_newest_write(env, &format!("{folder}/newest")).await;
    create_refuses_what_exists(env, &format!("{folder}/create")).await;
    of_concurrent_creators_exactly_one_succeeds(env, &format!("{folder}/creators")).await;
    concurrent_overwrites_leave_one_of_them(env, &format!("{folder}/overwrites")).await;
    ranges_are_cut_off_at_the_end(env, &format!("{folder}/ranges")).await;
    deleting_is_idempotent(env, &format!("{folder}/deleted")).await;
    listings_are_sorted_and_end_at_slashes(env, &format!("{folder}/listed")).await;
    folders_come_and_go_with_their_objects(env, &format!("{folder}/coming-and-going")).await;
    names_are_taken_as_they_are(env, &format!("{folder}/names")).await;
}

async fn write(env: &Env, path: &str, bytes: &'static [u8], mode: WriteMode) -> Result<(), StorageError> {
    env.storage.write(path, Bytes::from_static(bytes), mode).await
}

async fn paths(env: &Env, prefix: &str) -> Vec<String> {
    let objects = env.storage.list(prefix).await.expect("a listing works");
    objects.into_iter().map(|object| object.path).collect()
}

async fn what_is_not_there_is_not_found(env: &Env, folder: &str) {
    let path = format!("{folder}/nothing");
    let not_found = StorageError::NotFound(path.clone());
    assert_eq!(env.storage.read(&path, None).await, Err(not_found.clone()));
    assert_eq!(env.storage.read(&path, Some(0..10)).await, Err(not_found));
    assert_eq!(env.storage.list(folder).await, Ok(Vec::new()), "an absent folder has no objects");
}

async fn reads_see_the_newest_write(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    for bytes in [&b"first"[..], b"", b"the third is longer"] {
        env.storage.write(&path, Bytes::from_static(bytes), WriteMode::Overwrite).await.expect("an overwrite works");
        assert_eq!(env.storage.read(&path, None).await.as_deref(), Ok(bytes), "a read missed the write before it");
        let listed = env.storage.list(folder).await.expect("a listing works");
        assert_eq!(listed, [ObjectMeta { path: path.clone(), bytes: bytes.len() as u64 }]);
    }
}

async fn create_refuses_what_exists(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    write(env, &path, b"first", WriteMode::Create).await.expect("creating works");
    assert_eq!(write(env, &path, b"second", WriteMode::Create).await, Err(StorageError::Exists(path.clone())));
    assert_eq!(
        env.storage.read(&path, None).await.as_deref(),
        Ok(&b"first"[..]),
        "a refused create changed the object"
    );
    env.storage.delete(&path).await.expect("deleting works");
    write(env, &path, b"third", WriteMode::Create).await.expect("what was deleted can be created again");
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
        let content = env.storage.read(&path, None).await.expect("the winner's object is there");
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
    let content = env.storage.read(&path, None).await.expect("the object is there");
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
        let part = env.storage.read(&path, Some(range.clone())).await;
        assert_eq!(part.as_deref(), Ok(expected), "range {range:?}");
    }
}

async fn deleting_is_idempotent(env: &Env, folder: &str) {
    let path = format!("{folder}/object");
    assert_eq!(env.storage.delete(&path).await, Ok(()), "deleting what never was");
    write(env, &path, b"bytes", WriteMode::Create).await.expect("creating works");
    assert_eq!(env.storage.delete(&path).await, Ok(()));
    assert_eq!(env.storage.read(&path, None).await, Err(StorageError::NotFound(path.clone())));
    assert_eq!(env.storage.delete(&path).await, Ok(()), "deleting what was deleted");
    assert_eq!(paths(env, folder).await, Vec::<String>::new());
}

async fn listings_are_sorted_and_end_at_slashes(env: &Env, folder: &str) {
    // "b", "b-side" and "b/": a sort by segments would order them otherwise than a sort by path.
    for name in ["b/2", "a", "b/10/deep/er", "b-side", "b/1", "b0", "c/.hidden/x"] {
        write(env, &format!("{folder}/{name}"), b"bytes", WriteMode::Create).await.expect("creating works");
    }
    let full = |names: &[&str]| names.iter().map(|name| format!("{folder}/{name}")).collect::<Vec<_>>();
    let everything = ["a", "b-side", "b/1", "b/10/deep/er", "b/2", "b0", "c/.hidden/x"];
    assert_eq!(paths(env, folder).await, full(&everything));
    assert_eq!(paths(env, &format!("{folder}/b")).await, full(&["b/1", "b/10/deep/er", "b/2"]));
    assert_eq!(paths(env, &format!("{folder}/b/1")).await, full(&["b/1"]), "an object belongs to its own prefix");
    assert_eq!(paths(env, &format!("{folder}/b/10")).await, full(&["b/10/deep/er"]));
    assert_eq!(paths(env, &format!("{folder}/c")).await, full(&["c/.hidden/x"]));
    assert_eq!(paths(env, &format!("{folder}/d")).await, full(&[]));
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
    assert_eq!(paths(env, folder).await, Vec::<String>::new());
}

async fn names_are_taken_as_they_are(env: &Env, folder: &str) {
    let names = [".dotted", "100%", "a b", "a#b", "a%20b", "a+b&c=d", "a?b*c", "grün-日本", "~tilde", "{x}[y]"];
    for name in names {
        let path = format!("{folder}/{name}");
        env.storage.write(&path, Bytes::from(name), WriteMode::Create).await.expect("creating works");
    }
    let mut expected: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
    expected.sort();
    assert_eq!(paths(env, folder).await, expected);
    for name in names {
        let content = env.storage.read(&format!("{folder}/{name}"), None).await;
        assert_eq!(content.as_deref(), Ok(name.as_bytes()), "{name} is read under another name");
    }
}

//! Storage that breaks one of its promises is convicted by the conformance suite: a suite that lets everybody pass holds
//! nobody to anything.
//!
//! Each saboteur wraps a store that keeps all promises, and breaks exactly one.

use bytes::Bytes;
use cofferdam_engine::conformance;
use cofferdam_engine::door::{
    BoxFuture, Depth, Env, ObjectMeta, Piece, Storage, StorageError, Upload, Version, WriteMode, whole,
};
use cofferdam_engine::os::mount::{Mount, Mounts};
use cofferdam_engine::os::trace::TracingTrace;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// The promise that is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sabotage {
    Nothing,
    CreateOverwrites,
    OverwriteKeepsTheOld,
    ReadsTheFirstWriteForEver,
    ReadsNothingInTheMiddle,
    ReadsPastTheRange,
    TellsTheLengthOfThePiece,
    AbsentIsEmpty,
    DeletesNothing,
    DeletingTheAbsentFails,
    ListsNothingOld,
    ListsDeletedObjects,
    ListsBackwards,
    ListsNeighbours,
    ListsSubFolders,
    UploadsBeforeComplete,
    CompletesWithoutTheLastPart,
    MixesUploads,
    AbortingCompletes,
    CompletesTwice,
    ReadsEveryWriteAsOneVersion,
    ReadsAnotherVersionThanListed,
    RenamesOver,
    RenamesByCopy,
}

const ALL: [Sabotage; 23] = [
    Sabotage::CreateOverwrites,
    Sabotage::OverwriteKeepsTheOld,
    Sabotage::ReadsTheFirstWriteForEver,
    Sabotage::ReadsNothingInTheMiddle,
    Sabotage::ReadsPastTheRange,
    Sabotage::TellsTheLengthOfThePiece,
    Sabotage::AbsentIsEmpty,
    Sabotage::DeletesNothing,
    Sabotage::DeletingTheAbsentFails,
    Sabotage::ListsNothingOld,
    Sabotage::ListsDeletedObjects,
    Sabotage::ListsBackwards,
    Sabotage::ListsNeighbours,
    Sabotage::ListsSubFolders,
    Sabotage::UploadsBeforeComplete,
    Sabotage::CompletesWithoutTheLastPart,
    Sabotage::MixesUploads,
    Sabotage::AbortingCompletes,
    Sabotage::CompletesTwice,
    Sabotage::ReadsEveryWriteAsOneVersion,
    Sabotage::ReadsAnotherVersionThanListed,
    Sabotage::RenamesOver,
    Sabotage::RenamesByCopy,
];

#[derive(Clone)]
struct Saboteur {
    good: Arc<dyn Storage>,
    how: Sabotage,
    /// What this saboteur remembers, by path: first writes, lengths of deleted objects, parts.
    memory: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

impl Saboteur {
    fn remember(&self, path: &str, bytes: &Bytes) {
        self.memory.lock().expect("nobody died here").entry(path.to_owned()).or_insert_with(|| bytes.clone());
    }

    fn remembered(&self, path: &str) -> Option<Bytes> {
        self.memory.lock().expect("nobody died here").get(path).cloned()
    }
}

impl Storage for Saboteur {
    fn read(&self, path: &str, range: Range<u64>) -> BoxFuture<'static, Result<Piece, StorageError>> {
        let (me, path) = (self.clone(), path.to_owned());
        Box::pin(async move {
            let wider = range.start..range.end.saturating_add(1);
            let asked = if me.how == Sabotage::ReadsPastTheRange { wider } else { range };
            let mut piece = match me.good.read(&path, asked).await {
                Err(StorageError::NotFound(_)) if me.how == Sabotage::AbsentIsEmpty => {
                    return Ok(Piece { bytes: Bytes::new(), size: 0, version: Version::Tag(String::new()) });
                }
                outcome => outcome?,
            };
            match me.how {
                Sabotage::ReadsTheFirstWriteForEver => {
                    let bytes = me.remembered(&path).unwrap_or_default();
                    return Ok(Piece { size: bytes.len() as u64, bytes, version: piece.version });
                }
                Sabotage::ReadsNothingInTheMiddle if piece.size == 10 => piece.bytes.clear(),
                Sabotage::TellsTheLengthOfThePiece => piece.size = piece.bytes.len() as u64,
                Sabotage::ReadsEveryWriteAsOneVersion => piece.version = Version::Tag("one".to_owned()),
                Sabotage::ReadsAnotherVersionThanListed => piece.version = Version::Tag("another".to_owned()),
                _ => {}
            }
            Ok(piece)
        })
    }

    fn write(&self, path: &str, bytes: Bytes, mode: WriteMode) -> BoxFuture<'static, Result<(), StorageError>> {
        self.remember(path, &bytes);
        match (self.how, mode) {
            (Sabotage::CreateOverwrites, _) => self.good.write(path, bytes, WriteMode::Overwrite),
            (Sabotage::OverwriteKeepsTheOld, WriteMode::Overwrite) => {
                let created = self.good.write(path, bytes, WriteMode::Create);
                Box::pin(async move {
                    match created.await {
                        Err(StorageError::Exists(_)) => Ok(()),
                        outcome => outcome,
                    }
                })
            }
            _ => self.good.write(path, bytes, mode),
        }
    }

    fn rename(&self, from: &str, to: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        let (me, from, to) = (self.clone(), from.to_owned(), to.to_owned());
        Box::pin(async move {
            match me.how {
                Sabotage::RenamesOver => me.good.delete(&to).await?,
                Sabotage::RenamesByCopy => {
                    let content = whole::read(&me.good, &from).await?;
                    return me.good.write(&to, content, WriteMode::Create).await;
                }
                _ => {}
            }
            me.good.rename(&from, &to).await
        })
    }

    fn upload(&self, path: &str) -> Box<dyn Upload> {
        let good = self.good.upload(path);
        Box::new(BadUpload { good, saboteur: self.clone(), path: path.to_owned(), held: None, all: Vec::new() })
    }

    fn delete(&self, path: &str) -> BoxFuture<'static, Result<(), StorageError>> {
        let (me, path) = (self.clone(), path.to_owned());
        Box::pin(async move {
            if me.how == Sabotage::DeletesNothing {
                return Ok(());
            }
            if me.how == Sabotage::DeletingTheAbsentFails {
                me.good.read(&path, 0..1).await?;
            }
            me.good.delete(&path).await
        })
    }

    fn list(&self, prefix: &str, depth: Depth) -> BoxFuture<'static, Result<Vec<ObjectMeta>, StorageError>> {
        let (me, prefix) = (self.clone(), prefix.to_owned());
        Box::pin(async move {
            let depth = if me.how == Sabotage::ListsSubFolders { Depth::Tree } else { depth };
            let mut objects = me.good.list(&prefix, depth).await?;
            match me.how {
                Sabotage::ListsNothingOld => drop(objects.pop()),
                Sabotage::ListsBackwards => objects.reverse(),
                Sabotage::ListsNeighbours => {
                    let (folder, _) = prefix.rsplit_once('/').expect("a folder has one above it");
                    objects = me.good.list(folder, depth).await?;
                    objects.retain(|object| object.path.starts_with(&prefix));
                }
                Sabotage::ListsDeletedObjects => {
                    let memory = me.memory.lock().expect("nobody died here");
                    let written = memory.iter().filter(|(path, _)| path.starts_with(&format!("{prefix}/")));
                    let version = Version::Tag(String::new());
                    let object = |(path, b): (&String, &Bytes)| ObjectMeta {
                        path: path.clone(),
                        bytes: b.len() as u64,
                        version: version.clone(),
                    };
                    let listed = written.map(object);
                    objects = listed.collect();
                }
                _ => {}
            }
            Ok(objects)
        })
    }

    fn incarnation(&self) -> u64 {
        self.good.incarnation()
    }

    fn clear(&self, living: BTreeSet<u64>) -> BoxFuture<'static, Result<(), StorageError>> {
        self.good.clear(living)
    }
}

struct BadUpload {
    good: Box<dyn Upload>,
    saboteur: Saboteur,
    path: String,
    /// The newest part, kept back.
    held: Option<Bytes>,
    all: Vec<u8>,
}

impl Upload for BadUpload {
    fn part(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            self.all.extend_from_slice(&bytes);
            match self.saboteur.how {
                Sabotage::UploadsBeforeComplete => {
                    let all = Bytes::from(self.all.clone());
                    self.saboteur.good.write(&self.path, all, WriteMode::Overwrite).await
                }
                Sabotage::CompletesWithoutTheLastPart => match self.held.replace(bytes) {
                    Some(before) => self.good.part(before).await,
                    None => Ok(()),
                },
                Sabotage::MixesUploads => {
                    let mut memory = self.saboteur.memory.lock().expect("nobody died here");
                    let before = memory.entry(format!("parts of {}", self.path)).or_default();
                    *before = Bytes::from([&before[..], &bytes[..]].concat());
                    Ok(())
                }
                _ => self.good.part(bytes).await,
            }
        })
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            match self.saboteur.how {
                Sabotage::UploadsBeforeComplete => Ok(()),
                Sabotage::MixesUploads => {
                    let all = self.saboteur.remembered(&format!("parts of {}", self.path)).unwrap_or_default();
                    self.saboteur.good.write(&self.path, all, WriteMode::Overwrite).await
                }
                Sabotage::CompletesTwice => match self.good.complete().await {
                    Err(StorageError::NotFound(_)) => Ok(()),
                    outcome => outcome,
                },
                _ => self.good.complete().await,
            }
        })
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            if self.saboteur.how == Sabotage::AbortingCompletes && !self.all.is_empty() {
                return self.good.complete().await;
            }
            self.good.abort().await
        })
    }
}

/// What the suite has to say about storage that is sabotaged like this: `None` if nothing.
fn verdict(how: Sabotage) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let judged = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mount = Mount::atomic(Arc::new(object_store::memory::InMemory::new()));
            let mounts = Mounts::default().with("output", mount);
            let env = cofferdam_engine::os::env(mounts, Arc::new(TracingTrace::default()));
            let storage = Saboteur { good: env.storage.clone(), how, memory: Arc::default() };
            let env = Env { storage: Arc::new(storage), ..env };
            conformance::storage::check(&env, "output/conformance").await;
        });
    }));
    let panic = judged.err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}

#[test]
fn storage_that_breaks_no_promise_passes() {
    assert_eq!(verdict(Sabotage::Nothing), None);
}

#[test]
fn storage_that_breaks_a_promise_is_convicted() {
    let acquitted: Vec<Sabotage> = ALL.into_iter().filter(|how| verdict(*how).is_none()).collect();
    assert!(acquitted.is_empty(), "nobody noticed {acquitted:?}");
}

/// A store may answer with less than it was asked for: the reading helper goes on, and the suite has nothing against it.
#[test]
fn short_reads_are_no_sabotage() {
    struct Short(Arc<dyn Storage>);
    impl Storage for Short {
        fn read(&self, path: &str, range: Range<u64>) -> BoxFuture<'static, Result<Piece, StorageError>> {
            self.0.read(path, range.start..range.end.min(range.start.saturating_add(40_000)))
        }
        fn write(&self, path: &str, bytes: Bytes, mode: WriteMode) -> BoxFuture<'static, Result<(), StorageError>> {
            self.0.write(path, bytes, mode)
        }
        fn rename(&self, from: &str, to: &str) -> BoxFuture<'static, Result<(), StorageError>> {
            self.0.rename(from, to)
        }
        fn upload(&self, path: &str) -> Box<dyn Upload> {
            self.0.upload(path)
        }
        fn delete(&self, path: &str) -> BoxFuture<'static, Result<(), StorageError>> {
            self.0.delete(path)
        }
        fn list(&self, prefix: &str, depth: Depth) -> BoxFuture<'static, Result<Vec<ObjectMeta>, StorageError>> {
            self.0.list(prefix, depth)
        }
        fn incarnation(&self) -> u64 {
            self.0.incarnation()
        }
        fn clear(&self, living: BTreeSet<u64>) -> BoxFuture<'static, Result<(), StorageError>> {
            self.0.clear(living)
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mounts = Mounts::default().with("output", Mount::atomic(Arc::new(object_store::memory::InMemory::new())));
        let env = cofferdam_engine::os::env(mounts, Arc::new(TracingTrace::default()));
        let env = Env { storage: Arc::new(Short(env.storage.clone())), ..env };
        conformance::storage::check(&env, "output/conformance").await;
        let read = whole::read(&env.storage, "output/conformance/upload/object").await.expect("it is there");
        assert!(read.len() > 40_000, "the suite reads objects that take several reads");
    });
}

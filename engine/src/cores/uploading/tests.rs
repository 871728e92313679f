//! What an upload does, as lists of effects.

use super::*;
use crate::ids::{CheckpointId, Generation, OperatorId};
use crate::persist::blob;
use crate::state::SectionKind;

/// A blob is uploaded in parts once so many bytes wait.
const PART: usize = 300;

struct Upload {
    core: Uploading,
    now: Duration,
    handle: Option<SnapshotHandle>,
    statistics: Option<SnapshotStatistics>,
    parts: Vec<Bytes>,
}

fn section(bytes: usize) -> Section {
    Section { kind: SectionKind::Keyed, name: "value".into(), group: None, bytes: vec![7; bytes] }
}

fn unknown<T>() -> Result<T, StorageError> {
    Err(StorageError::Unknown("no reply".into()))
}

fn failed<T>() -> Result<T, StorageError> {
    Err(StorageError::Failed("the disk is full".into()))
}

impl Upload {
    fn new() -> Self {
        let attempt = Attempt { generation: Generation(1), number: 2 };
        let subtask = SubtaskId { operator: OperatorId(0), index: 3 };
        let statistics = SnapshotStatistics { sync_ms: 4, ..SnapshotStatistics::default() };
        let snapshot = Snapshot { checkpoint: CheckpointId(5), ended: true, statistics, awaited: false };
        let core = Uploading::new((attempt, subtask), "counts", snapshot, PART);
        let mut upload = Self { core, now: Duration::ZERO, handle: None, statistics: None, parts: vec![] };
        assert_eq!(upload.step(|core, now, out| core.start(now, &[section(8)], out)), ["next page"]);
        upload
    }

    /// Its only page is smaller than a part.
    fn writing() -> Self {
        let mut upload = Self::new();
        assert_eq!(upload.page(false), ["announce UploadStarted", "write"]);
        upload
    }

    /// All pages are stored in one part, and the rest is asked to be.
    fn storing_rest() -> Self {
        let mut upload = Self::new();
        upload.encode(PART);
        upload.yielded(false);
        assert_eq!(upload.part(Ok(())), ["next page"]);
        assert_eq!(upload.page(false), ["store a part"]);
        upload
    }

    fn completing() -> Self {
        let mut upload = Self::storing_rest();
        assert_eq!(upload.part(Ok(())), ["complete"]);
        upload
    }

    fn step(&mut self, input: impl FnOnce(&mut Uploading, Time, &mut Vec<Effect>)) -> Vec<String> {
        let (now, mut out) = (Time(0) + self.now, Vec::new());
        input(&mut self.core, now, &mut out);
        for effect in &out {
            match effect {
                Effect::StorePart { bytes, .. } => self.parts.push(bytes.clone()),
                Effect::Report(ToCoordinator::Ack { snapshot, statistics, .. }) => {
                    (self.handle, self.statistics) = (Some(snapshot.clone()), Some(*statistics));
                }
                _ => {}
            }
        }
        out.iter().map(render).collect()
    }

    /// There is no page any more.
    fn page(&mut self, over: bool) -> Vec<String> {
        self.step(|core, _, out| core.on_page(None, over, out))
    }

    /// The next page holds so many bytes.
    fn encode(&mut self, bytes: usize) {
        let told = self.step(|core, _, out| core.on_page(Some(&section(bytes)), false, out));
        assert_eq!(told, ["yield"]);
    }

    fn yielded(&mut self, over: bool) -> Vec<String> {
        self.step(|core, _, out| core.on_yielded(over, out))
    }

    fn part(&mut self, stored: Result<(), StorageError>) -> Vec<String> {
        self.step(|core, _, out| core.on_part(stored, out))
    }

    fn completed(&mut self, completed: Result<(), StorageError>) -> Vec<String> {
        self.step(|core, _, out| core.on_parts_finished(completed, out))
    }

    fn written(&mut self, written: Result<(), StorageError>) -> Vec<String> {
        self.step(|core, _, out| core.on_written(written, out))
    }

    fn looked(&mut self, found: Result<u64, StorageError>) -> Vec<String> {
        self.step(|core, _, out| core.on_looked(found, out))
    }

    fn decided(&mut self, answers: bool, cancelled: bool) -> Vec<String> {
        self.step(|core, now, out| core.on_decided(now, answers, cancelled, out))
    }
}

fn render(effect: &Effect) -> String {
    let name = |debug: String| debug.split([' ', '(', '{']).next().expect("a variant has a name").to_owned();
    let delayed = |what: &str, delay: &Duration| match delay.is_zero() {
        true => what.to_owned(),
        false => format!("{what} again"),
    };
    match effect {
        Effect::Announce(event) => format!("announce {}", name(format!("{event:?}"))),
        Effect::Report(report) => format!("report {}", name(format!("{report:?}"))),
        Effect::NextPage => "next page".into(),
        Effect::Yield(_) => "yield".into(),
        Effect::Begin => "begin".into(),
        Effect::StorePart { delay, .. } => delayed("store a part", delay),
        Effect::FinishParts { delay } => delayed("complete", delay),
        Effect::Look => "look".into(),
        Effect::Write(_) => "write".into(),
        Effect::AbortUpload => "take back".into(),
        Effect::Decide => "decide".into(),
        Effect::Delete => "delete".into(),
    }
}

const ACKNOWLEDGED: [&str; 3] = ["announce UploadEnded", "announce AckSent", "report Ack"];
const DECLINED: [&str; 3] = ["announce UploadFailed", "announce DeclineSent", "report Decline"];

#[test]
fn a_small_snapshot_is_written_at_once_and_acknowledged_with_its_handle() {
    let mut upload = Upload::writing();
    assert_eq!(upload.written(Ok(())), ["decide"]);
    upload.now = Duration::from_millis(30);
    assert_eq!(upload.decided(true, false), ACKNOWLEDGED);
    let (handle, statistics) = (upload.handle.expect("acknowledged"), upload.statistics.expect("acknowledged"));
    assert_eq!((handle.path.as_str(), handle.ended), ("checkpoints/chk-5/counts-3-a1.2", true));
    assert_eq!((statistics.sync_ms, statistics.async_ms, statistics.bytes), (4, 30, handle.bytes));
}

#[test]
fn a_write_that_finds_its_object_took_effect_before() {
    let mut upload = Upload::writing();
    assert_eq!(upload.written(Err(StorageError::Exists("it".into()))), ["decide"]);
    assert_eq!(upload.decided(true, false), ACKNOWLEDGED);
}

#[test]
fn a_write_that_fails_is_declined() {
    let mut upload = Upload::writing();
    assert_eq!(upload.written(failed()), ["decide"]);
    assert_eq!(upload.decided(true, false), DECLINED);
}

#[test]
fn a_large_snapshot_is_uploaded_in_parts_which_make_up_the_whole() {
    let mut upload = Upload::new();
    upload.encode(100);
    assert_eq!(upload.yielded(false), ["next page"], "half a part waits");
    upload.encode(200);
    assert_eq!(upload.yielded(false), ["announce UploadStarted", "begin", "store a part"]);
    assert_eq!(upload.part(Ok(())), ["next page"]);
    upload.encode(PART);
    assert_eq!(upload.yielded(false), ["store a part"], "the upload has begun");
    assert_eq!(upload.part(Ok(())), ["next page"]);
    assert_eq!(upload.page(false), ["store a part"]);
    assert_eq!(upload.part(Ok(())), ["complete"], "it is durable only then");
    assert_eq!(upload.completed(Ok(())), ["decide"]);
    assert_eq!(upload.decided(true, false), ACKNOWLEDGED);
    let handle = upload.handle.expect("acknowledged");
    let whole = upload.parts.concat();
    assert_eq!((whole.len() as u64, crc32c::crc32c(&whole)), (handle.bytes, handle.checksum));
    let sections = blob::decode(&handle.path, &whole).expect("a blob");
    assert_eq!(sections.iter().map(|section| section.bytes.len()).collect::<Vec<_>>(), [8, 100, 200, 300]);
}

#[test]
fn a_part_whose_outcome_is_unknown_is_given_again_and_nothing_is_left_out() {
    let mut upload = Upload::storing_rest();
    let before = upload.parts.len();
    assert_eq!(upload.part(unknown()), ["store a part again"]);
    assert_eq!(upload.parts[before], upload.parts[before - 1], "the same part");
    assert_eq!(upload.part(failed()), ["store a part again"]);
    assert_eq!(upload.part(unknown()), ["store a part again"]);
    assert_eq!(upload.part(unknown()), ["take back"], "four tries");
    assert_eq!(upload.step(|core, _, out| core.on_upload_aborted(out)), ["decide"]);
    assert_eq!(upload.decided(true, false), DECLINED);
}

#[test]
fn a_completion_whose_outcome_is_unknown_is_settled_by_looking() {
    let mut upload = Upload::completing();
    let bytes = upload.parts.iter().map(|part| part.len() as u64).sum();
    assert_eq!(upload.completed(unknown()), ["look"]);
    assert_eq!(upload.looked(Err(StorageError::NotFound("it".into()))), ["complete again"]);
    assert_eq!(upload.completed(Err(StorageError::NotFound("the upload".into()))), ["look"], "it may be complete");
    assert_eq!(upload.looked(Ok(bytes)), ["decide"]);
    assert_eq!(upload.decided(true, false), ACKNOWLEDGED);
}

#[test]
fn an_object_of_another_length_is_not_what_was_uploaded() {
    let mut upload = Upload::completing();
    for _ in 1..TRIES {
        assert_eq!(upload.completed(unknown()), ["look"]);
        assert_eq!(upload.looked(Ok(1)), ["complete again"]);
    }
    assert_eq!(upload.completed(unknown()), ["look"]);
    assert_eq!(upload.looked(Ok(1)), ["take back"]);
}

#[test]
fn an_aborted_upload_stops_behind_its_page_and_says_nothing() {
    let mut upload = Upload::new();
    upload.encode(PART);
    assert_eq!(upload.yielded(true), [""; 0], "nothing was stored yet");
    let mut upload = Upload::new();
    assert_eq!(upload.page(true), [""; 0]);
}

#[test]
fn an_aborted_upload_takes_its_parts_back_and_says_nothing() {
    let mut upload = Upload::new();
    upload.encode(PART);
    upload.yielded(false);
    upload.part(Ok(()));
    assert_eq!(upload.page(true), ["take back"]);
    assert_eq!(upload.step(|core, _, out| core.on_upload_aborted(out)), [""; 0]);
}

#[test]
fn what_was_stored_for_an_aborted_checkpoint_is_deleted() {
    let mut upload = Upload::writing();
    upload.written(Ok(()));
    assert_eq!(upload.decided(false, false), ["delete"]);
    let mut upload = Upload::writing();
    upload.written(failed());
    assert_eq!(upload.decided(false, false), ["delete"], "a try that failed may land yet");
}

#[test]
fn the_upload_of_a_cancelled_attempt_says_nothing() {
    let mut upload = Upload::writing();
    upload.written(Ok(()));
    assert_eq!(upload.decided(true, true), [""; 0]);
}

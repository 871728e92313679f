//! Bytes that somebody else wrote, or that a disk or a network has damaged: always an error or a valid value, never a panic,
//! and never more memory than the bytes justify.
//!
//! Every kind begins as a valid value, is damaged (bytes changed, cut off, extended, lengths made huge), sealed again where
//! it has a seal, so that the decoder behind the checksum is reached, and decoded while allocations are counted. One test,
//! because the count is the whole process's.

use bytes::Bytes;
use cofferdam_engine::connectors::Text;
use cofferdam_engine::cores::lease::Standing;
use cofferdam_engine::door::{ObjectMeta, Version};
use cofferdam_engine::element::{Barrier, Batch, Guarantee, RecordCodec};
use cofferdam_engine::ids::{Attempt, ChannelId, CheckpointId, EdgeId, Generation, KeyGroup};
use cofferdam_engine::ids::{LogId, OperatorId, SubtaskId, WorkerId};
use cofferdam_engine::layout::Layout;
use cofferdam_engine::messages::client::{Answer, ToClient, Wish};
use cofferdam_engine::messages::handshake::{self, Challenge, Claim, Nonce, Opening};
use cofferdam_engine::messages::{
    self, Deployment, ListingHandle, RestoreFrom, SnapshotHandle, ToCoordinator, ToWorker,
};
use cofferdam_engine::persist::blob::{self, BlobBuilder};
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::listing::Listing;
use cofferdam_engine::persist::manifest::{Manifest, OperatorSnapshot};
use cofferdam_engine::persist::sign::Sign;
use cofferdam_engine::persist::slot::{JobMark, Lineage, Slot, SlotRecord};
use cofferdam_engine::persist::{Kind, seal};
use cofferdam_engine::reason::{Ended, FailureReason};
use cofferdam_engine::runtime::link::{Frame, WireElement};
use cofferdam_engine::secret::Secret;
use cofferdam_engine::state::{self, CODEC, Section, SectionKind, StateDescriptor};
use cofferdam_engine::statistics::SnapshotStatistics;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::collections::BTreeMap;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a decoder may allocate for each byte, and besides: a list of elements reserves up to a megabyte for those it
/// was told of, and lists lie in lists.
const BYTES_PER_BYTE: usize = 64;
const BYTES_BESIDES: usize = 4 << 20;

const ATTEMPT: Attempt = Attempt { generation: Generation(3), number: 2 };
const SUBTASK: SubtaskId = SubtaskId { operator: OperatorId(1), index: 2 };
const CHANNEL: ChannelId = ChannelId { edge: EdgeId(1), from: 0, to: 2 };

/// Bytes of one kind, and the decoder that must put up with anything.
struct Subject {
    name: &'static str,
    valid: Vec<u8>,
    decode: fn(&[u8]),
}

fn handle(index: u16) -> SnapshotHandle {
    let path = layout::snapshot(CheckpointId(7), "count", index, ATTEMPT);
    SnapshotHandle { path, bytes: 100, checksum: 7, digest: 8, ended: false }
}

fn manifest() -> Manifest {
    let state = StateDescriptor {
        name: "count".into(),
        kind: SectionKind::Keyed,
        key_type: "alloc::string::String".into(),
        value_type: "u64".into(),
        key: Some(Layout::of::<String>().expect("a string")),
        value: Layout::of::<BTreeMap<u64, Option<(bool, String)>>>().expect("a map"),
        codec: CODEC.into(),
        version: Some(1),
    };
    let subtasks = (0..3).map(handle).collect();
    let statistics = vec![SnapshotStatistics::default(); 3];
    Manifest {
        checkpoint: CheckpointId(7),
        attempt: ATTEMPT,
        job: "word-count".into(),
        max_parallelism: 128,
        triggered_ms: 1_704_067_200_000,
        duration_ms: 12,
        operators: vec![OperatorSnapshot { uid: "count".into(), states: vec![state], subtasks, statistics }],
        listing: Some(ListingHandle { path: "checkpoints/chk-0/listing-a1.1".into(), bytes: 50, checksum: 9 }),
    }
}

fn listing() -> Listing {
    let object = |(name, version)| ObjectMeta { path: format!("input/{name}"), bytes: 7, version };
    let file = Version::File { inode: 5, modified_ns: 6 };
    let objects = [("a", file), ("b", Version::Tag("tag".into()))].map(object);
    Listing { inputs: vec![("input".into(), objects.into())] }
}

fn deployment() -> ToWorker {
    ToWorker::Deploy(Deployment {
        attempt: ATTEMPT,
        placement: vec![(SUBTASK, WorkerId(0)), (SubtaskId { index: 3, ..SUBTASK }, WorkerId(1))],
        addresses: vec![(WorkerId(0), "127.0.0.1:80".into())],
        restore: Some(RestoreFrom { checkpoint: CheckpointId(7), snapshots: vec![(SUBTASK, handle(2))] }),
        listing: None,
    })
}

fn sections() -> Vec<Section> {
    let entries = vec![(b"key".to_vec(), vec![1; 8]), (b"other".to_vec(), vec![2; 8])];
    let keyed = state::encode_entries(entries);
    vec![
        Section { kind: SectionKind::Keyed, name: "count".into(), group: Some(KeyGroup(3)), bytes: keyed },
        Section { kind: SectionKind::Source, name: "splits".into(), group: None, bytes: vec![7; 20] },
    ]
}

/// The payload of a sealed object: what lies between its header and its trailer.
fn payload(object: &Bytes) -> Vec<u8> {
    object[6..object.len() - 12].to_vec()
}

fn blob_payload() -> Vec<u8> {
    let mut builder = BlobBuilder::default();
    for section in sections() {
        builder.add(&section);
    }
    payload(&builder.finish().rest)
}

fn subjects() -> Vec<Subject> {
    let encoded = |message: &ToCoordinator| messages::encode(message).to_vec();
    let ack = ToCoordinator::Ack {
        attempt: ATTEMPT,
        checkpoint: CheckpointId(7),
        subtask: SUBTASK,
        snapshot: handle(2),
        statistics: SnapshotStatistics::default(),
    };
    let decline = ToCoordinator::Decline {
        attempt: ATTEMPT,
        checkpoint: CheckpointId(7),
        subtask: SUBTASK,
        reason: FailureReason::UploadFailed("the disk is on fire".into()),
    };
    let texts: Vec<Text> = ["some", "words", ""].iter().map(|word| Text::from(word.as_bytes())).collect();
    let records = RecordCodec::of::<Text>().encode(&Batch::new(texts));
    let nested = RecordCodec::of::<Vec<Vec<u8>>>().encode(&Batch::new(vec![vec![vec![1_u8, 2], vec![]], vec![]]));
    let element = |element| messages::encode(&Frame::Element { channel: CHANNEL, seq: 7, element }).to_vec();
    let barrier = Barrier { checkpoint: CheckpointId(7), alignment: Guarantee::ExactlyOnce, triggered_ms: 1 };
    let record = SlotRecord::Completed { checkpoint: CheckpointId(7), manifest: "checkpoints/m".into(), floor: 4 };
    let job = JobMark { name: "words".to_owned() };
    let (log, generation) = (LogId(5), Generation(3));
    let lineage = Some(Lineage { parent: LogId(4), checkpoint: CheckpointId(2) });
    let slot = Slot { log, lineage, generation, token: 9, ids_reserved: CheckpointId(100), job, record };
    let failed = SlotRecord::Ended { how: Ended::Failed { cause: "the disk is on fire".into() }, floor: 4 };
    let last_slot = Slot { record: failed, ..slot.clone() };
    let (generation, address) = (Generation(3), "127.0.0.1:6123".to_owned());
    let sign = Sign { generation, beat: 9, standing: Standing::Leads, address: address.clone() };
    let (worker, incarnation) = (WorkerId(2), 5);
    let register = ToCoordinator::Register { protocol: 1, graph: 7, worker, incarnation, data_address: address };
    let wish = ToCoordinator::Ask(Wish::Checkpoint);
    let how = Ended::Failed { cause: "the disk is on fire".into() };
    let answer = ToClient::Answer(Answer::Over { how, kept: Some(CheckpointId(7)) });
    let refused = ToWorker::Refused { reason: "it has another graph".into() };
    let claim = Claim::Link { attempt: ATTEMPT, from: WorkerId(2), to: WorkerId(3) };
    let opening = handshake::encode(&Opening { claim, nonce: Nonce([7; 32]) });
    let proof = Secret::new(vec![7; 32]).expect("it is long enough").prove(b"text");
    let challenge = handshake::encode(&Challenge { nonce: Nonce([7; 32]), proof });
    let to_coordinator = |bytes: &[u8]| drop(messages::decode::<ToCoordinator>(bytes));
    let frame = |bytes: &[u8]| drop(messages::decode::<Frame>(bytes));
    vec![
        Subject { name: "registration", valid: encoded(&register), decode: to_coordinator },
        Subject { name: "wish", valid: encoded(&wish), decode: to_coordinator },
        Subject {
            name: "answer to a client",
            valid: messages::encode(&answer).to_vec(),
            decode: |bytes| drop(messages::decode::<ToClient>(bytes)),
        },
        Subject {
            name: "refusal",
            valid: messages::encode(&refused).to_vec(),
            decode: |bytes| drop(messages::decode::<ToWorker>(bytes)),
        },
        Subject {
            name: "opening",
            valid: opening.to_vec(),
            decode: |bytes| assert!(handshake::decode::<Opening>(bytes).is_none_or(|frame| frame.nonce.0.len() == 32)),
        },
        Subject {
            name: "challenge",
            valid: challenge.to_vec(),
            decode: |bytes| {
                assert!(handshake::decode::<Challenge>(bytes).is_none_or(|frame| frame.nonce.0.len() == 32))
            },
        },
        Subject { name: "ack", valid: encoded(&ack), decode: to_coordinator },
        Subject { name: "decline", valid: encoded(&decline), decode: to_coordinator },
        Subject {
            name: "deployment",
            valid: messages::encode(&deployment()).to_vec(),
            decode: |bytes| drop(messages::decode::<ToWorker>(bytes)),
        },
        Subject { name: "batch frame", valid: element(WireElement::Batch(records.clone())), decode: frame },
        Subject { name: "barrier frame", valid: element(WireElement::Barrier(barrier)), decode: frame },
        Subject {
            name: "credits",
            valid: messages::encode(&Frame::Credits(vec![(CHANNEL, 3)])).to_vec(),
            decode: frame,
        },
        Subject { name: "records", valid: records, decode: |bytes| drop(RecordCodec::of::<Text>().decode(bytes)) },
        Subject {
            name: "nested records",
            valid: nested,
            decode: |bytes| drop(RecordCodec::of::<Vec<Vec<u8>>>().decode(bytes)),
        },
        Subject {
            name: "records without content",
            valid: RecordCodec::of::<()>().encode(&Batch::new(vec![(), ()])),
            decode: |bytes| drop(RecordCodec::of::<()>().decode(bytes)),
        },
        Subject {
            name: "manifest",
            valid: payload(&manifest().encode()),
            decode: |bytes| drop(Manifest::decode("m", &seal(Kind::Manifest, manifest().encode()[5], bytes))),
        },
        Subject {
            name: "slot",
            valid: payload(&slot.encode()),
            decode: |bytes| drop(Slot::decode("s", &seal(Kind::Slot, 1, bytes))),
        },
        Subject {
            name: "last slot",
            valid: payload(&last_slot.encode()),
            decode: |bytes| drop(Slot::decode("s", &seal(Kind::Slot, 1, bytes))),
        },
        Subject {
            name: "listing",
            valid: payload(&listing().encode()),
            decode: |bytes| drop(Listing::decode("l", &seal(Kind::Listing, 1, bytes))),
        },
        Subject {
            name: "sign of life",
            valid: payload(&sign.encode()),
            decode: |bytes| drop(Sign::decode(&seal(Kind::Sign, 1, bytes))),
        },
        Subject {
            name: "blob",
            valid: blob_payload(),
            decode: |bytes| drop(blob::decode("b", &seal(Kind::Blob, 1, bytes))),
        },
        Subject {
            name: "manifest as stored",
            valid: manifest().encode().to_vec(),
            decode: |bytes| drop(Manifest::decode("m", bytes)),
        },
        Subject {
            name: "slot as stored",
            valid: slot.encode().to_vec(),
            decode: |bytes| drop(Slot::decode("s", bytes)),
        },
        Subject {
            name: "entries",
            valid: sections().remove(0).bytes,
            decode: |bytes| drop(state::decode_entries(bytes)),
        },
    ]
}

/// One thing that can happen to bytes.
#[derive(Clone, Debug)]
enum Damage {
    Change(Index, u8),
    CutOff(Index),
    Extend(Vec<u8>),
    /// A number that may be a length becomes a huge one.
    Lengthen(Index, u64),
    Repeat(Index),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let huge = prop_oneof![Just(u64::MAX), Just(1 << 62), Just(1 << 40), Just(1 << 31), any::<u64>()];
    let damage = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Change(at, byte)),
        any::<Index>().prop_map(Damage::CutOff),
        proptest::collection::vec(any::<u8>(), 1..40).prop_map(Damage::Extend),
        (any::<Index>(), huge).prop_map(|(at, length)| Damage::Lengthen(at, length)),
        any::<Index>().prop_map(Damage::Repeat),
    ];
    proptest::collection::vec(damage, 1..5)
}

fn damaged(valid: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for damage in damages {
        if bytes.is_empty() {
            bytes.push(0);
        }
        match damage {
            Damage::Change(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Damage::CutOff(at) => bytes.truncate(at.index(bytes.len())),
            Damage::Extend(more) => bytes.extend_from_slice(more),
            Damage::Lengthen(at, length) => {
                let at = at.index(bytes.len());
                let end = bytes.len().min(at + 8);
                bytes[at..end].copy_from_slice(&length.to_le_bytes()[..end - at]);
            }
            Damage::Repeat(at) => {
                let tail = bytes[at.index(bytes.len())..].to_vec();
                bytes.extend(tail);
            }
        }
    }
    bytes
}

fn check(subject: &Subject, bytes: &[u8]) {
    let region = Region::new(ALLOCATOR);
    (subject.decode)(bytes);
    let allocated = region.change().bytes_allocated;
    let allowed = bytes.len() * BYTES_PER_BYTE + BYTES_BESIDES;
    assert!(allocated <= allowed, "{}: {allocated} bytes allocated for {bytes:?}", subject.name);
}

#[test]
fn whatever_the_bytes_the_answer_is_a_value_or_an_error() {
    valid_bytes_are_read_back_as_they_were();
    for subject in subjects() {
        check(&subject, &subject.valid);
        // Every place may be a length.
        for at in 0..subject.valid.len() {
            for length in [u64::MAX, 1 << 40, 1 << 24] {
                let mut bytes = subject.valid.clone();
                let end = bytes.len().min(at + 8);
                bytes[at..end].copy_from_slice(&length.to_le_bytes()[..end - at]);
                check(&subject, &bytes);
            }
            check(&subject, &subject.valid[..at]);
        }
        let mut runner = TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
        let ran = runner.run(&damages(), |damages| {
            check(&subject, &damaged(&subject.valid, &damages));
            Ok(())
        });
        ran.unwrap_or_else(|failure| panic!("{}: {failure}", subject.name));
    }
}

fn valid_bytes_are_read_back_as_they_were() {
    assert_eq!(Manifest::decode("m", &manifest().encode()), Ok(manifest()));
    assert_eq!(Listing::decode("l", &listing().encode()), Ok(listing()));
    assert_eq!(messages::decode::<ToWorker>(&messages::encode(&deployment())), Ok(deployment()));
    assert_eq!(blob::decode("b", &seal(Kind::Blob, 1, &blob_payload())), Ok(sections()));
}

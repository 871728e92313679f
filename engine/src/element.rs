//! What travels on a channel: batches of records, barriers, cancellation markers, the end of input, and the end of the channel.
//!
//! A [`Batch`] is a typed `Vec` behind an erased box, so that operators stay monomorphic inside a subtask
//! while channels, links and judges handle every type alike through the edge's [`RecordCodec`].

use crate::codec;
use crate::error::{Error, Result};
use crate::ids::CheckpointId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{any::Any, fmt};

/// A type that may be a record: owned, cloneable, serialisable, with every process agreeing on its bytes.
pub trait Record: Clone + Send + Sync + fmt::Debug + Serialize + DeserializeOwned + 'static {}
impl<T: Clone + Send + Sync + fmt::Debug + Serialize + DeserializeOwned + 'static> Record for T {}

/// The most records of a type without content that a batch may hold.
const EMPTY_RECORDS_MAX: u64 = 1 << 20;

/// A non-empty run of records of one type, in order.
pub struct Batch {
    records: Box<dyn Any + Send>,
    len: usize,
}

impl Batch {
    /// A batch of `records`.
    pub fn new<T: Record>(records: Vec<T>) -> Self {
        Self { len: records.len(), records: Box::new(records) }
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The records, which must be of type `T`: the graph builder guarantees it for each edge.
    pub fn into_records<T: Record>(self) -> Vec<T> {
        *self.records.downcast().expect("an edge carries one record type")
    }

    fn records<T: Record>(&self) -> &Vec<T> {
        self.records.downcast_ref().expect("an edge carries one record type")
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} records)", self.len)
    }
}

/// What everyone but the operators needs to know about a record type: how to encode, decode, split and print it.
#[derive(Clone, Copy)]
pub struct RecordCodec {
    /// Rust's name of the type; part of the graph hash.
    pub type_name: &'static str,
    encode: fn(&Batch) -> Vec<u8>,
    decode: fn(&[u8]) -> Result<Batch>,
    split_front: fn(Batch, usize) -> (Batch, Batch),
    append: fn(Batch, Batch) -> Batch,
    show: fn(&Batch) -> String,
}

impl fmt::Debug for RecordCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordCodec({})", self.type_name)
    }
}

impl RecordCodec {
    /// The codec of `T`.
    pub fn of<T: Record>() -> Self {
        Self {
            type_name: std::any::type_name::<T>(),
            encode: |batch| bincode::serialize(batch.records::<T>()).expect("records serialise"),
            decode: |bytes| {
                let cannot = |cause: &dyn fmt::Display| {
                    Error::restart(format!("cannot decode {}: {cause}", std::any::type_name::<T>()))
                };
                let count = bytes.first_chunk().map_or(0, |count| u64::from_le_bytes(*count));
                // Nothing else bounds the number of records that take no bytes.
                if size_of::<T>() == 0 && count > EMPTY_RECORDS_MAX {
                    return Err(cannot(&format_args!("{count} records without content")));
                }
                let records: Vec<T> = codec::decode(bytes).map_err(|e| cannot(&e))?;
                if records.is_empty() {
                    return Err(cannot(&"a batch has a record"));
                }
                Ok(Batch::new(records))
            },
            split_front: |batch, n| {
                let mut front = batch.into_records::<T>();
                let back = front.split_off(n);
                (Batch::new(front), Batch::new(back))
            },
            append: |front, back| {
                let mut records = front.into_records::<T>();
                records.append(&mut back.into_records::<T>());
                Batch::new(records)
            },
            show: |batch| format!("{:?}", batch.records::<T>()),
        }
    }

    /// The bytes of a batch.
    pub fn encode(&self, batch: &Batch) -> Vec<u8> {
        (self.encode)(batch)
    }

    /// A batch from its bytes.
    pub fn decode(&self, bytes: &[u8]) -> Result<Batch> {
        (self.decode)(bytes)
    }

    /// The first `n` records, and the rest.
    pub fn split_front(&self, batch: Batch, n: usize) -> (Batch, Batch) {
        assert!(n <= batch.len(), "cannot take {n} records of {}", batch.len());
        (self.split_front)(batch, n)
    }

    /// Both batches as one.
    pub fn append(&self, front: Batch, back: Batch) -> Batch {
        (self.append)(front, back)
    }

    /// The records, for people.
    pub fn show(&self, batch: &Batch) -> String {
        (self.show)(batch)
    }
}

/// The in-band marker of a checkpoint: records before it belong to the checkpoint, records after it do not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Barrier {
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// How it meets its siblings.
    pub alignment: Guarantee,
    /// Milliseconds since 1970 at the trigger, for statistics alone.
    pub triggered_ms: u64,
}

/// How a barrier meets its siblings on the other channels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Guarantee {
    /// Channels whose barrier has arrived are blocked until it has arrived on all.
    ExactlyOnce,
    /// Barriers are counted, nothing waits.
    AtLeastOnce,
}

/// Anything that travels on a channel.
#[derive(Debug)]
pub enum Element {
    /// Records.
    Batch(Batch),
    /// A checkpoint passes.
    Barrier(Barrier),
    /// The checkpoint will not happen: stop waiting for its barriers.
    Cancel(CheckpointId),
    /// No more records will come on this channel; barriers still will.
    EndOfInput,
    /// The producer is gone, and its end is part of a completed checkpoint: nothing more will come on this channel. Stands for
    /// every later barrier.
    Closed,
}

/// What lies at the front of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Front {
    /// Records: taking them produces output, which needs credit.
    Batch,
    /// A barrier, a marker or an end.
    Event,
}

//! What connector authors implement: sources and sinks, typed. Adapters hide the types from the runtime.
//!
//! A *source* is a value in the job; each subtask makes a *reader* that knows which part of the input is its own and
//! how far it has read. A *sink* makes *writers* that stage records until a completed checkpoint lets them show.

use super::head::{Origin, PassThrough};
use super::states::DraftState;
use crate::door::BoxFuture;
use crate::element::{Batch, Record};
use crate::error::{Error, Result};
use crate::graph::{Chain, ErasedReader, ErasedWriter, Instance, SubtaskContext};
use crate::ids::CheckpointId;
use crate::layout::Layout;
use crate::state::{Section, SectionKind};
use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;

/// Where records come from.
pub trait Source: Send + Sync + 'static {
    /// What they are.
    type Item: Record;
    /// Who reads them.
    type Reader: SourceReader<Item = Self::Item>;

    /// The reader of one subtask. Touches nothing yet: reading begins with `restore` or `next_batch`.
    fn reader(&self, context: &SubtaskContext) -> Self::Reader;

    /// The object, or the folder of objects, that this source reads, if it reads objects. The coordinator lists them once for
    /// the whole run, and each reader finds that listing in [`SubtaskContext::listing`].
    fn reads(&self) -> Option<String> {
        None
    }
}

/// Reads the part of the input that belongs to one subtask.
pub trait SourceReader: Send + 'static {
    /// What it reads.
    type Item: Record;

    /// The next records, never none of them; `None` at the end. Cancel-safe: a future dropped before it is ready has
    /// lost nothing. The sequence of records depends on the input and the restored positions alone, not on timing.
    fn next_batch(&mut self) -> impl Future<Output = Result<Option<Vec<Self::Item>>>> + Send;

    /// The positions behind the last batch returned: equal positions have equal bytes.
    fn positions(&self) -> Vec<u8>;

    /// Goes to `positions`. Called at most once, before any batch.
    fn restore(&mut self, positions: &[u8]) -> impl Future<Output = Result<()>> + Send;

    /// The layout of what [`SourceReader::positions`] returns. A checkpoint with another layout is refused. If it is opaque,
    /// the reader itself has to refuse bytes that are not its own.
    fn layout() -> Layout {
        Layout::OPAQUE
    }
}

/// Where records go.
pub trait Sink<T: Record>: Send + Sync + 'static {
    /// Who writes them.
    type Writer: SinkWriter<T>;

    /// The writer of one subtask.
    fn writer(&self, context: &SubtaskContext) -> Self::Writer;

    /// What no other sink of the job may write to as well, if there is such a thing.
    fn destination(&self) -> Option<String> {
        None
    }

    /// The folder in storage of everything that its writers stage, if they stage in one. When the job has finished, which
    /// implies that everything is committed, the coordinator deletes what is left there.
    fn staging(&self) -> Option<String> {
        None
    }
}

/// Writes the records of one subtask, in two phases.
pub trait SinkWriter<T>: Send + 'static {
    /// Takes records. Nothing becomes visible.
    fn write(&mut self, records: Vec<T>);

    /// Stages everything written since the last successful `prepare`, durably and invisibly; `None` if there is
    /// nothing. After an error what was written is still here, and the next `prepare` stages it.
    fn prepare(&mut self, checkpoint: CheckpointId) -> impl Future<Output = Result<Option<Vec<u8>>>> + Send;

    /// Makes a staged committable visible. Idempotent, also across processes.
    fn commit(&mut self, committable: &[u8]) -> impl Future<Output = Result<()>> + Send;

    /// After a restore, once every restored committable is committed: removes what older attempts staged.
    fn recover(&mut self) -> impl Future<Output = Result<()>> + Send;
}

const POSITIONS: &str = "positions";

/// A reader without its type.
struct Reader<R>(R);

impl<R: SourceReader> ErasedReader for Reader<R> {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Batch>>> {
        Box::pin(async {
            let records = self.0.next_batch().await?;
            assert!(records.as_ref().is_none_or(|records| !records.is_empty()), "a reader returned an empty batch");
            Ok(records.map(Batch::new))
        })
    }

    fn snapshot(&self) -> Vec<Section> {
        let bytes = self.0.positions();
        vec![Section { kind: SectionKind::Source, name: POSITIONS.into(), group: None, bytes }]
    }

    fn restore(&mut self, sections: &[Section]) -> BoxFuture<'_, Result<()>> {
        let mut sections = sections.iter().filter(|section| section.kind == SectionKind::Source);
        let found = match (sections.next(), sections.next()) {
            (Some(section), None) if section.name == POSITIONS => Ok(section.bytes.clone()),
            (Some(_), _) => Err(Error::corrupt("a source's snapshot holds more than its positions")),
            (None, _) => Err(Error::corrupt("a source's snapshot holds no positions")),
        };
        Box::pin(async move { self.0.restore(&found?).await })
    }
}

/// The origin of a source's chains.
pub struct SourceOrigin<S>(pub S);

impl<S: Source> Origin for SourceOrigin<S> {
    type Head = PassThrough<S::Item>;

    fn head(&self, _context: &SubtaskContext) -> Self::Head {
        PassThrough::default()
    }

    fn instance(&self, chain: Box<dyn Chain>, context: &SubtaskContext) -> Instance {
        Instance::Source(Box::new(Reader(self.0.reader(context))), chain)
    }
}

/// What a source says about its positions.
pub(super) fn source_state<S: Source>() -> DraftState {
    DraftState::fixed(POSITIONS, SectionKind::Source, S::Reader::layout())
}

/// A writer without its type.
struct Writer<T, W> {
    writer: W,
    records: PhantomData<fn(T)>,
}

impl<T: Record, W: SinkWriter<T>> ErasedWriter for Writer<T, W> {
    fn write(&mut self, batch: Batch) {
        self.writer.write(batch.into_records());
    }

    fn prepare(&mut self, checkpoint: CheckpointId) -> BoxFuture<'_, Result<Option<Vec<u8>>>> {
        Box::pin(self.writer.prepare(checkpoint))
    }

    fn commit<'a>(&'a mut self, committable: &'a [u8]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.writer.commit(committable))
    }

    fn recover(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.writer.recover())
    }
}

/// The live sink subtask.
pub fn sink_instance<T: Record, S: Sink<T>>(sink: &S, context: &SubtaskContext) -> Instance {
    Instance::Sink(Box::new(Writer { writer: sink.writer(context), records: PhantomData }))
}

/// What a sink says about its pending committables.
pub(super) fn sink_state() -> DraftState {
    DraftState::of::<BTreeMap<CheckpointId, Vec<u8>>>("pending", SectionKind::Sink)
}

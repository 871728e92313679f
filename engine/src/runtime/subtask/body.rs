//! What a subtask is made of by kind: reader, operator or writer.

use crate::cores::task::Role;
use crate::element::Batch;
use crate::error::Result;
use crate::graph::{Chain, ErasedReader, ErasedWriter, Instance, Outbox};
use crate::state::{Pages, Section, SectionKind};

/// A view of the state: small sections, which are encoded at once, and the pages of the rest.
pub(super) type View = (Vec<Section>, Option<Box<dyn Pages>>);

pub(super) enum Body {
    Source { reader: Box<dyn ErasedReader>, chain: Box<dyn Chain> },
    Transform { chain: Box<dyn Chain> },
    Sink { writer: Box<dyn ErasedWriter> },
}

impl From<Instance> for Body {
    fn from(instance: Instance) -> Self {
        match instance {
            Instance::Source(reader, chain) => Self::Source { reader, chain },
            Instance::Transform(chain) => Self::Transform { chain },
            Instance::Sink(writer) => Self::Sink { writer },
        }
    }
}

impl Body {
    pub fn role(&self) -> Role {
        match self {
            Self::Source { .. } => Role::Source,
            Self::Transform { .. } => Role::Transform,
            Self::Sink { .. } => Role::Sink,
        }
    }

    /// Processes a batch that has arrived.
    pub fn on_batch(&mut self, input: u16, batch: Batch, outbox: &mut Outbox) {
        match self {
            Self::Transform { chain } => chain.on_batch(input, batch, outbox),
            Self::Sink { writer } => writer.write(batch),
            Self::Source { .. } => unreachable!("a source has no input channel"),
        }
    }

    /// Emits what was held back for the end.
    pub fn on_end(&mut self, outbox: &mut Outbox) {
        match self {
            Self::Source { chain, .. } | Self::Transform { chain } => chain.on_end(outbox),
            Self::Sink { .. } => {}
        }
    }

    /// Moves every buffered output record to `outbox`.
    pub fn flush(&mut self, outbox: &mut Outbox) {
        match self {
            Self::Source { chain, .. } | Self::Transform { chain } => chain.flush(outbox),
            Self::Sink { .. } => {}
        }
    }

    /// The state as it is now. `kept` is the part that the task keeps itself.
    pub fn view(&mut self, kept: Vec<Section>) -> View {
        match self {
            Self::Source { reader, chain } => (reader.snapshot(), Some(chain.snapshot())),
            Self::Transform { chain } => (kept, Some(chain.snapshot())),
            Self::Sink { .. } => (kept, None),
        }
    }

    /// Takes over what belongs to reader and operator.
    pub async fn take_over(&mut self, sections: Vec<Section>) -> Result<()> {
        match self {
            Self::Source { reader, chain } => {
                let (positions, state): (Vec<_>, Vec<_>) =
                    sections.into_iter().partition(|section| section.kind == SectionKind::Source);
                reader.restore(&positions).await?;
                chain.restore(&state)
            }
            Self::Transform { chain } => chain.restore(&sections),
            Self::Sink { .. } => unreachable!("the task keeps the state of a sink"),
        }
    }

    /// The writer of a sink.
    pub fn writer(&mut self) -> &mut dyn ErasedWriter {
        match self {
            Self::Sink { writer } => &mut **writer,
            Self::Source { .. } | Self::Transform { .. } => unreachable!("only sinks stage and commit"),
        }
    }
}

//! One subtask of one attempt, re-executed: the same operator as the engine's, made by the same factory.
//!
//! The sections of a snapshot: of a source its reader's, then its chain's; of a transform its chain's; of a sink one
//! section of everything that is staged and not known to be committed.

use super::reader::{Rereader, Unread};
use cofferdam_engine::element::Batch;
use cofferdam_engine::error::Error;
use cofferdam_engine::graph::{Chain, ErasedWriter, Instance, Outbox, SubtaskContext};
use cofferdam_engine::graph::{Factory, OperatorKind};
use cofferdam_engine::ids::CheckpointId;
use cofferdam_engine::state::{self, Section, SectionKind};
use futures_util::FutureExt;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

/// A live subtask.
pub struct Live {
    piece: Piece,
    /// What it has produced and nobody has put on a channel yet.
    pub outbox: Outbox,
    /// Whether the operator has processed the end of its input, now or before its state was stored.
    pub ended: bool,
    /// Whether the end of its input was announced in this attempt.
    pub end_announced: bool,
    /// Whether it has exited.
    pub finished: bool,
    /// Staged committables that are not known to be committed; sinks only.
    pub pending: BTreeMap<CheckpointId, Vec<u8>>,
    /// What it was restored from.
    pub restored: Option<CheckpointId>,
}

enum Piece {
    Source(Rereader, Box<dyn Chain>),
    Transform(Box<dyn Chain>),
    Sink(Box<dyn ErasedWriter>),
}

/// A snapshot of the witness's own.
#[derive(Debug)]
pub struct Taken {
    sections: Vec<Section>,
    of_reader: usize,
    /// The canonical digest of its sections.
    pub digest: u64,
    /// The digest of the engine's sections, once they were seen to mean the same.
    equivalent: Cell<Option<u64>>,
    /// Whether the subtask had processed the end of its input.
    pub ended: bool,
}

impl Taken {
    /// Everything, in order.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Whether a digest is that of this state.
    pub fn agrees_with(&self, digest: u64) -> bool {
        digest == self.digest || self.equivalent.get() == Some(digest)
    }

    /// The sections that belong to the reader.
    pub fn reader_sections(&self) -> &[Section] {
        &self.sections[..self.of_reader]
    }
}

impl Live {
    /// A fresh subtask.
    pub fn new(factory: &Factory, context: &SubtaskContext, kind: OperatorKind) -> Self {
        let piece = match factory(context) {
            Instance::Source(reader, chain) => {
                Piece::Source(Rereader::new(reader, make_reader(factory, context)), chain)
            }
            Instance::Transform(chain) => Piece::Transform(chain),
            Instance::Sink(writer) => Piece::Sink(writer),
        };
        let made = match &piece {
            Piece::Source(..) => OperatorKind::Source,
            Piece::Transform(_) => OperatorKind::Transform,
            Piece::Sink(_) => OperatorKind::Sink,
        };
        assert_eq!(made, kind, "the factory of {} makes what its node says", context.uid);
        let pending = BTreeMap::new();
        Self {
            piece,
            outbox: Outbox::default(),
            ended: false,
            end_announced: false,
            finished: false,
            pending,
            restored: None,
        }
    }

    /// Takes over one of the witness's own snapshots.
    pub fn restore(&mut self, checkpoint: CheckpointId, taken: &Rc<Taken>) -> Result<(), Unread> {
        let refused = |error: Error| Unread::Harness(format!("an operator refuses its own snapshot: {error}"));
        match &mut self.piece {
            Piece::Source(reader, chain) => {
                reader.restore(taken)?;
                chain.restore(&taken.sections[taken.of_reader..]).map_err(refused)?;
            }
            Piece::Transform(chain) => chain.restore(&taken.sections).map_err(refused)?,
            Piece::Sink(_) => {
                let [section] = &taken.sections[..] else { unreachable!("a sink has one section") };
                self.pending = bincode::deserialize(&section.bytes).expect("its own bytes");
            }
        }
        self.ended = taken.ended;
        self.restored = Some(checkpoint);
        Ok(())
    }

    /// A source reads `n` records and processes them.
    pub fn emit(&mut self, n: u64) -> Result<(), Unread> {
        let Piece::Source(reader, chain) = &mut self.piece else {
            return Err(Unread::Harness("records were emitted by a subtask that is no source".to_owned()));
        };
        reader.take(n, |batch| chain.on_batch(0, batch, &mut self.outbox))
    }

    /// Processes records that arrived on `input`.
    pub fn process(&mut self, input: u16, batch: Batch) {
        match &mut self.piece {
            Piece::Source(_, chain) | Piece::Transform(chain) => chain.on_batch(input, batch, &mut self.outbox),
            Piece::Sink(writer) => writer.write(batch),
        }
    }

    /// Whether a source has no records left; true of everybody else.
    pub fn is_at_end(&mut self) -> Result<bool, Unread> {
        match &mut self.piece {
            Piece::Source(reader, _) => reader.is_at_end(),
            Piece::Transform(_) | Piece::Sink(_) => Ok(true),
        }
    }

    /// Processes the end of its input, once in the life of its state.
    pub fn end(&mut self) {
        self.end_announced = true;
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        match &mut self.piece {
            Piece::Source(_, chain) | Piece::Transform(chain) => chain.on_end(&mut self.outbox),
            Piece::Sink(_) => {}
        }
    }

    /// Moves everything it has produced to the outbox.
    pub fn flush(&mut self) {
        match &mut self.piece {
            Piece::Source(_, chain) | Piece::Transform(chain) => chain.flush(&mut self.outbox),
            Piece::Sink(_) => {}
        }
    }

    /// A snapshot of it as it is now.
    pub fn snapshot(&mut self) -> Rc<Taken> {
        let mut of_reader = 0;
        let sections = match &mut self.piece {
            Piece::Source(reader, chain) => {
                let mut sections = reader.sections();
                of_reader = sections.len();
                sections.extend(state::collect(chain.snapshot()));
                sections
            }
            Piece::Transform(chain) => state::collect(chain.snapshot()),
            Piece::Sink(_) => vec![pending_section(&self.pending)],
        };
        let taken = Rc::new(Taken {
            digest: state::digest(&sections),
            sections,
            of_reader,
            equivalent: Cell::new(None),
            ended: self.ended,
        });
        if let Piece::Source(reader, _) = &mut self.piece {
            reader.rebase(taken.clone());
        }
        taken
    }

    /// Whether the engine's sections, stored for the same snapshot, mean what the witness's mean although their bytes
    /// differ. If so it is remembered.
    pub fn recognises(&self, taken: &Taken, stored: &[Section], digest: u64) -> Result<bool, Unread> {
        let Piece::Source(reader, _) = &self.piece else { return Ok(false) };
        let (positions, state) = taken.sections.split_at(taken.of_reader);
        let Some((stored_positions, stored_state)) = stored.split_at_checked(taken.of_reader) else { return Ok(false) };
        let same = state == stored_state && reader.same_position(positions, stored_positions)?;
        if same {
            taken.equivalent.set(Some(digest));
        }
        Ok(same)
    }

    /// A sink stages what was written.
    pub fn prepare(&mut self, checkpoint: CheckpointId) -> Result<(), Unread> {
        let Piece::Sink(writer) = &mut self.piece else {
            return Err(Unread::Harness("a subtask that is no sink prepared a commit".to_owned()));
        };
        if let Some(committable) = quietly("stages", writer.prepare(checkpoint))? {
            self.pending.insert(checkpoint, committable);
        }
        Ok(())
    }

    /// Whether a sink has anything staged for `checkpoint`.
    pub fn has_staged(&self, checkpoint: CheckpointId) -> bool {
        self.pending.contains_key(&checkpoint)
    }

    /// A sink makes what it staged for `checkpoint` visible; `false` if it has nothing staged for it.
    pub fn commit(&mut self, checkpoint: CheckpointId) -> Result<bool, Unread> {
        let (Piece::Sink(writer), Some(committable)) = (&mut self.piece, self.pending.get(&checkpoint)) else {
            return Ok(false);
        };
        quietly("commits", writer.commit(committable))?;
        Ok(true)
    }
}

fn make_reader(factory: &Factory, context: &SubtaskContext) -> super::reader::MakeReader {
    let (factory, context) = (factory.clone(), context.clone());
    Box::new(move |batch_records| {
        let batch_records = batch_records.unwrap_or(context.batch_records);
        match factory(&SubtaskContext { batch_records, ..context.clone() }) {
            Instance::Source(reader, _) => reader,
            Instance::Transform(_) | Instance::Sink(_) => unreachable!("it made a source before"),
        }
    })
}

fn quietly<T>(what: &str, future: impl Future<Output = Result<T, Error>>) -> Result<T, Unread> {
    let done = future.now_or_never();
    let done = done.ok_or_else(|| Unread::Harness(format!("a writer {what} for ever in a quiet world")))?;
    done.map_err(|error| Unread::Harness(format!("a writer {what} with an error in a quiet world: {error}")))
}

fn pending_section(pending: &BTreeMap<CheckpointId, Vec<u8>>) -> Section {
    let bytes = bincode::serialize(pending).expect("committables serialise");
    Section { kind: SectionKind::Sink, name: "pending".to_owned(), group: None, bytes }
}

//! A sink that forgets: for measuring everything before it.

use crate::element::Record;
use crate::error::Result;
use crate::graph::SubtaskContext;
use crate::ids::CheckpointId;
use crate::job::{Sink, SinkWriter};

/// Takes records and forgets them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl<T: Record> Sink<T> for Discard {
    type Writer = Discard;

    fn writer(&self, _context: &SubtaskContext) -> Discard {
        Discard
    }
}

impl<T: Record> SinkWriter<T> for Discard {
    fn write(&mut self, _records: Vec<T>) {}

    async fn prepare(&mut self, _checkpoint: CheckpointId) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    async fn commit(&mut self, _committable: &[u8]) -> Result<()> {
        Ok(())
    }

    async fn recover(&mut self) -> Result<()> {
        Ok(())
    }
}

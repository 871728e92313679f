//! A sink of random graphs that writes to a system outside: a log with transactions, the same for all of them.

use super::functions::Datum;
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::external::log::Producer;
use cofferdam_engine::graph::SubtaskContext;
use cofferdam_engine::ids::{Attempt, CheckpointId};
use cofferdam_engine::job::{Sink, SinkWriter};

/// The name of the log.
pub const LOG: &str = "log";

/// Writes the records of each checkpoint as a transaction of their own.
pub struct LogSink;

impl Sink<Datum> for LogSink {
    type Writer = LogWriter;

    fn writer(&self, context: &SubtaskContext) -> LogWriter {
        let Attempt { generation, number } = context.attempt;
        let name = format!("{}-{}", context.uid, context.subtask.index);
        LogWriter {
            log: Producer::new(&context.env, LOG, &name, (generation.0, u64::from(number))),
            transactions: format!("{name}-{}", context.attempt),
            uid: context.uid.clone(),
            partition: u32::from(context.subtask.index),
            records: Vec::new(),
        }
    }
}

/// The writer of one subtask in one attempt.
pub struct LogWriter {
    log: Producer,
    /// What the names of its transactions begin with.
    transactions: String,
    uid: String,
    partition: u32,
    records: Vec<Datum>,
}

impl SinkWriter<Datum> for LogWriter {
    fn write(&mut self, records: Vec<Datum>) {
        self.records.extend(records);
    }

    async fn prepare(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>> {
        if self.records.is_empty() {
            return Ok(None);
        }
        let transaction = format!("{}-{checkpoint}", self.transactions);
        let entry = |datum: &Datum| (self.partition, format!("{} {}", self.uid, datum.line()).into_bytes());
        self.log.write(&transaction, self.records.iter().map(entry).collect()).await?;
        self.log.pre_commit(&transaction).await?;
        self.records.clear();
        Ok(Some(transaction.into_bytes()))
    }

    async fn commit(&mut self, committable: &[u8]) -> Result<()> {
        let transaction = std::str::from_utf8(committable)
            .map_err(|e| Error::corrupt(format!("a committable of {} is no name: {e}", self.uid)))?;
        self.log.commit(transaction).await
    }

    /// Whatever was restored is committed by now: what older attempts have open is nobody's.
    async fn recover(&mut self) -> Result<()> {
        self.log.fence().await
    }
}

//! The newest sum of each customer, in a table whose writes are prepared and committed.
//!
//! The table fences nobody: names order attempts, and whoever recovers aborts what older ones have prepared.

use crate::Flaw;
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::external::table::{Row, Table};
use cofferdam_engine::graph::SubtaskContext;
use cofferdam_engine::ids::{Attempt, CheckpointId};
use cofferdam_engine::job::{Sink, SinkWriter};
use std::collections::BTreeMap;

/// The table, by its name outside.
pub const TABLE: &str = "balances";

/// Writes sums as a transaction per checkpoint.
pub struct TableSink {
    pub flaw: Option<Flaw>,
}

impl Sink<(u64, u64)> for TableSink {
    type Writer = TableWriter;

    fn writer(&self, context: &SubtaskContext) -> TableWriter {
        let Attempt { generation, number } = context.attempt;
        let subtask = format!("{}-{}-", context.uid, context.subtask.index);
        TableWriter {
            flaw: self.flaw,
            table: Table::new(&context.env, TABLE),
            // Of equal width, so that they compare like the attempts.
            own: format!("{subtask}{:08}.{number:08}-", generation.0),
            subtask,
            sums: BTreeMap::new(),
            commits: 0,
        }
    }
}

/// The writer of one subtask in one attempt.
pub struct TableWriter {
    flaw: Option<Flaw>,
    table: Table,
    /// What names of this subtask begin with, and those of this attempt.
    subtask: String,
    own: String,
    /// The newest sum by customer.
    sums: BTreeMap<u64, u64>,
    commits: u64,
}

impl SinkWriter<(u64, u64)> for TableWriter {
    fn write(&mut self, sums: Vec<(u64, u64)>) {
        self.sums.extend(sums);
    }

    async fn prepare(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>> {
        if self.sums.is_empty() {
            return Ok(None);
        }
        let row = |(customer, sum): (&u64, &u64)| (customer.to_string().into_bytes(), sum.to_string().into_bytes());
        let rows: Vec<Row> = self.sums.iter().map(row).collect();
        let transaction = format!("{}{:012}", self.own, checkpoint.0);
        let rows_kept = if self.flaw == Some(Flaw::PutsRowsInAgain) {
            rows
        } else {
            self.table.prepare(&transaction, rows).await?;
            Vec::new()
        };
        self.sums.clear();
        Ok(Some(bincode::serialize(&(transaction, rows_kept)).expect("committables serialise")))
    }

    async fn commit(&mut self, committable: &[u8]) -> Result<()> {
        let (transaction, rows): (String, Vec<Row>) = bincode::deserialize(committable)
            .map_err(|e| Error::corrupt(format!("a committable cannot be read: {e}")))?;
        if self.flaw == Some(Flaw::PutsRowsInAgain) {
            self.commits += 1;
            let again = format!("{}again-{}", self.own, self.commits);
            self.table.prepare(&again, rows).await?;
            return self.table.commit(&again).await;
        }
        self.table.commit(&transaction).await
    }

    async fn recover(&mut self) -> Result<()> {
        for name in self.table.prepared(&self.subtask).await? {
            // A process that was taken for dead and goes on must not touch what its successors prepare.
            if name < self.own {
                self.table.abort(&name).await?;
            }
        }
        Ok(())
    }
}

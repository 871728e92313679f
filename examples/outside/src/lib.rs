//! Every order goes to a log, and the sum of each customer's orders to a table, exactly once, by two-phase commit.
//!
//! [`LogSink`] and [`TableSink`] are what there is to learn from: [`Flaw`] makes them subtly wrong, and `tests/exactly_once.rs`
//! shows that the simulator finds each of the ways.

mod balances;

pub use balances::{TABLE, TableSink};

use cofferdam_engine::connectors::Generator;
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::external::log::Producer;
use cofferdam_engine::graph::SubtaskContext;
use cofferdam_engine::ids::{Attempt, CheckpointId};
use cofferdam_engine::job::{JobBuilder, Sink, SinkWriter, Sum};
use serde::{Deserialize, Serialize};

/// The log, by the name under which production registers its client and a test its model.
pub const LOG: &str = "orders";

/// An order: customer and amount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub customer: u64,
    pub amount: u64,
}

/// Declares the job, with a sink that is right, or is not.
pub fn orders(job: &JobBuilder, flaw: Option<Flaw>) {
    let order = |subtask: u16, n: u64| Order { customer: n % 5, amount: 1_000 * u64::from(subtask) + n };
    let orders = job.source("orders", Generator::new(order).records(60)).shared();
    orders.clone().sink("log", LogSink { flaw });
    orders
        .key_by(|order| order.customer)
        .aggregate("balances", Sum(|order: &Order| order.amount))
        .sink("table", TableSink { flaw });
}

/// What may be wrong with a sink, however well it works in tests without failures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// Commits when the barrier comes: the checkpoint may fail yet.
    CommitsInPrepare,
    /// Keeps the records and commits them under a new name each time: a restored committable is committed twice.
    NewNameForEachCommit,
    /// Names transactions after the attempt alone: the next one replaces what was not committed yet.
    OneNameForAll,
    /// Aborts what is open before it commits what was restored.
    ForgetsWhatWasRestored,
    /// The table: prepares when it commits, so that what it restores may be older than what is in the table.
    PutsRowsInAgain,
}

/// Writes every order to the log as a transaction per checkpoint.
pub struct LogSink {
    flaw: Option<Flaw>,
}

impl Sink<Order> for LogSink {
    type Writer = LogWriter;

    fn writer(&self, context: &SubtaskContext) -> LogWriter {
        let Attempt { generation, number } = context.attempt;
        let name = format!("{}-{}", context.uid, context.subtask.index);
        let incarnation = (generation.0, u64::from(number));
        LogWriter {
            flaw: self.flaw,
            log: Producer::new(&context.env, LOG, &name, incarnation),
            transactions: format!("{name}-{}", context.attempt),
            partition: u32::from(context.subtask.index),
            orders: Vec::new(),
            commits: 0,
        }
    }
}

/// The writer of one subtask in one attempt.
pub struct LogWriter {
    flaw: Option<Flaw>,
    log: Producer,
    transactions: String,
    partition: u32,
    orders: Vec<Order>,
    commits: u64,
}

/// What a checkpoint remembers. The simulator compares it with a re-execution: it must depend on nothing else than records,
/// subtask, attempt and checkpoint.
#[derive(Serialize, Deserialize)]
struct Committable {
    transaction: String,
    records: Vec<(u32, Vec<u8>)>,
}

impl SinkWriter<Order> for LogWriter {
    fn write(&mut self, orders: Vec<Order>) {
        self.orders.extend(orders);
    }

    async fn prepare(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>> {
        if self.orders.is_empty() {
            return Ok(None);
        }
        let transaction = match self.flaw {
            Some(Flaw::OneNameForAll) => self.transactions.clone(),
            _ => format!("{}-{checkpoint}", self.transactions),
        };
        let line = |order: &Order| format!("customer {} pays {}", order.customer, order.amount).into_bytes();
        let records: Vec<_> = self.orders.iter().map(|order| (self.partition, line(order))).collect();
        self.log.write(&transaction, records.clone()).await?;
        self.log.pre_commit(&transaction).await?;
        if self.flaw == Some(Flaw::CommitsInPrepare) {
            self.log.commit(&transaction).await?;
        }
        self.orders.clear();
        // A sink that is right remembers the name alone: the log holds the rest.
        let records = if self.flaw == Some(Flaw::NewNameForEachCommit) { records } else { Vec::new() };
        Ok(Some(bincode::serialize(&Committable { transaction, records }).expect("committables serialise")))
    }

    async fn commit(&mut self, committable: &[u8]) -> Result<()> {
        let Committable { transaction, records } = bincode::deserialize(committable)
            .map_err(|e| Error::corrupt(format!("a committable cannot be read: {e}")))?;
        match self.flaw {
            Some(Flaw::NewNameForEachCommit) => {
                self.commits += 1;
                let transaction = format!("{}-commit-{}", self.transactions, self.commits);
                self.log.write(&transaction, records).await?;
                self.log.pre_commit(&transaction).await?;
                self.log.commit(&transaction).await
            }
            Some(Flaw::ForgetsWhatWasRestored) => {
                // "Begin with a clean log": a committable that was restored is gone by then.
                self.log.fence().await?;
                self.log.commit(&transaction).await.or(Ok(()))
            }
            Some(Flaw::CommitsInPrepare | Flaw::OneNameForAll | Flaw::PutsRowsInAgain) | None => {
                self.log.commit(&transaction).await
            }
        }
    }

    async fn recover(&mut self) -> Result<()> {
        // Whatever is restored is committed by now; what else older attempts have open is nobody's.
        self.log.fence().await
    }
}

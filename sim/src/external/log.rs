//! A model of a partitioned log with transactions.
//!
//! ```text
//!            write            pre-commit              commit
//! (nothing) -------> open ------------------> closed --------> committed
//!                     |                         |
//!                     +------ abort, fence, ----+-----------> aborted
//!                             out of patience
//! ```
//!
//! *Invariant:* a name ends once, and is remembered: what comes late finds it decided.

use bytes::Bytes;
use cofferdam_engine::external::log::{Incarnation, Reply, Request};
use cofferdam_properties::external::Model;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a transaction may be undecided: Kafka's `transaction.max.timeout.ms`.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// See the head of the file.
pub struct Log {
    partitions: BTreeMap<u32, Vec<Bytes>>,
    transactions: BTreeMap<String, Transaction>,
    /// By producer: the newest incarnation.
    newest: BTreeMap<String, Incarnation>,
    patience: Duration,
}

struct Transaction {
    producer: String,
    incarnation: Incarnation,
    began_ns: u64,
    stage: Stage,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    Open(Vec<(u32, Bytes)>),
    Closed(Vec<(u32, Bytes)>),
    Committed,
    Aborted,
}

impl Default for Log {
    fn default() -> Self {
        Self { partitions: BTreeMap::new(), transactions: BTreeMap::new(), newest: BTreeMap::new(), patience: PATIENCE }
    }
}

impl Log {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that aborts transactions which are undecided for so long.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    fn expire(&mut self, now_ns: u64) {
        let patience_ns = u64::try_from(self.patience.as_nanos()).unwrap_or(u64::MAX);
        for transaction in self.transactions.values_mut() {
            if now_ns.saturating_sub(transaction.began_ns) > patience_ns {
                transaction.give_up();
            }
        }
    }

    fn answer(&mut self, now_ns: u64, request: Request) -> Reply {
        match request {
            Request::Write { producer, incarnation, transaction, records } => {
                let records = records.into_iter().map(|(partition, record)| (partition, record.into())).collect();
                self.write(now_ns, (producer, incarnation), transaction, records)
            }
            Request::PreCommit { transaction } => self.decide(&transaction, |stage| match stage {
                Stage::Open(records) => Ok(Stage::Closed(records)),
                Stage::Closed(_) | Stage::Committed => Ok(stage),
                Stage::Aborted => Err("was aborted"),
            }),
            Request::Commit { transaction } => self.commit(&transaction),
            Request::Abort { transaction } => self.decide(&transaction, |stage| match stage {
                Stage::Open(_) | Stage::Closed(_) | Stage::Aborted => Ok(Stage::Aborted),
                Stage::Committed => Err("was committed"),
            }),
            Request::Fence { producer, incarnation } => self.fence(producer, incarnation),
            Request::Read { partition } => {
                let records = self.partitions.get(&partition).into_iter().flatten();
                Reply::Records(records.map(|record| record.to_vec()).collect())
            }
        }
    }

    fn write(
        &mut self,
        now_ns: u64,
        (producer, incarnation): (String, Incarnation),
        name: String,
        records: Vec<(u32, Bytes)>,
    ) -> Reply {
        if self.newest.get(&producer).is_some_and(|newest| *newest > incarnation) {
            return Reply::Rejected(format!("incarnation {incarnation:?} of {producer} was fenced"));
        }
        match self.transactions.get(&name).map(|transaction| &transaction.stage) {
            None => {}
            Some(Stage::Open(_)) => {}
            // The same request once more, late.
            Some(Stage::Closed(held)) if *held == records => return Reply::Done,
            Some(stage) => return Reply::Rejected(format!("transaction {name} is {}", stage.name())),
        }
        let transaction = Transaction { producer, incarnation, began_ns: now_ns, stage: Stage::Open(records) };
        self.transactions.insert(name, transaction);
        Reply::Done
    }

    fn commit(&mut self, name: &str) -> Reply {
        let mut shown = Vec::new();
        let reply = self.decide(name, |stage| match stage {
            Stage::Closed(records) => {
                shown = records;
                Ok(Stage::Committed)
            }
            Stage::Committed => Ok(Stage::Committed),
            Stage::Open(_) => Err("is still open"),
            Stage::Aborted => Err("was aborted"),
        });
        for (partition, record) in shown {
            self.partitions.entry(partition).or_default().push(record);
        }
        reply
    }

    fn decide(&mut self, name: &str, step: impl FnOnce(Stage) -> Result<Stage, &'static str>) -> Reply {
        let Some(transaction) = self.transactions.get_mut(name) else {
            return Reply::Rejected(format!("there is no transaction {name}"));
        };
        match step(transaction.stage.clone()) {
            Ok(stage) => {
                transaction.stage = stage;
                Reply::Done
            }
            Err(why) => Reply::Rejected(format!("transaction {name} {why}")),
        }
    }

    fn fence(&mut self, producer: String, incarnation: Incarnation) -> Reply {
        if self.newest.get(&producer).is_some_and(|newest| *newest > incarnation) {
            return Reply::Rejected(format!("incarnation {incarnation:?} of {producer} was fenced"));
        }
        for transaction in self.transactions.values_mut() {
            if transaction.producer == producer && transaction.incarnation < incarnation {
                transaction.give_up();
            }
        }
        self.newest.insert(producer, incarnation);
        Reply::Done
    }
}

impl Transaction {
    fn give_up(&mut self) {
        if matches!(self.stage, Stage::Open(_) | Stage::Closed(_)) {
            self.stage = Stage::Aborted;
        }
    }
}

impl Stage {
    fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::Closed(_) => "pre-committed",
            Self::Committed => "committed",
            Self::Aborted => "aborted",
        }
    }
}

impl Model for Log {
    fn apply(&mut self, now_ns: u64, request: &[u8]) -> Bytes {
        self.expire(now_ns);
        let reply = match bincode::deserialize(request) {
            Ok(request) => self.answer(now_ns, request),
            Err(error) => Reply::Rejected(format!("that is no request to a log: {error}")),
        };
        bincode::serialize(&reply).expect("replies serialise").into()
    }

    fn visible(&self) -> Vec<Bytes> {
        self.partitions.values().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(log: &mut Log, now_s: u64, request: &Request) -> Reply {
        let request = bincode::serialize(request).expect("requests serialise");
        bincode::deserialize(&log.apply(now_s * 1_000_000_000, &request)).expect("replies")
    }

    fn write(log: &mut Log, incarnation: u64, name: &str, record: &str) -> Reply {
        let records = vec![(0, record.as_bytes().to_vec())];
        let (producer, transaction) = ("p".to_owned(), name.to_owned());
        ask(log, 0, &Request::Write { producer, incarnation: (1, incarnation), transaction, records })
    }

    fn named(request: fn(String) -> Request) -> impl Fn(&mut Log, &str) -> Reply {
        move |log, name| ask(log, 0, &request(name.to_owned()))
    }

    fn fence(log: &mut Log, incarnation: u64) -> Reply {
        ask(log, 0, &Request::Fence { producer: "p".to_owned(), incarnation: (1, incarnation) })
    }

    fn is_rejected(reply: &Reply) -> bool {
        matches!(reply, Reply::Rejected(_))
    }

    #[test]
    fn a_transaction_is_visible_once_it_is_committed_and_once_only() {
        let pre_commit = named(|transaction| Request::PreCommit { transaction });
        let commit = named(|transaction| Request::Commit { transaction });
        let mut log = Log::new();
        assert_eq!(write(&mut log, 1, "a", "one"), Reply::Done);
        assert!(is_rejected(&commit(&mut log, "a")), "it is open");
        assert_eq!(pre_commit(&mut log, "a"), Reply::Done);
        assert_eq!(log.visible(), Vec::<Bytes>::new());
        for _ in 0..2 {
            assert_eq!(commit(&mut log, "a"), Reply::Done);
            assert_eq!(log.visible(), ["one"].map(Bytes::from));
        }
        assert!(is_rejected(&write(&mut log, 1, "a", "one")), "late, and decided");
        assert_eq!(ask(&mut log, 0, &Request::Read { partition: 0 }), Reply::Records(vec![b"one".to_vec()]));
    }

    #[test]
    fn a_fence_aborts_what_older_incarnations_have_open_and_keeps_them_out() {
        let pre_commit = named(|transaction| Request::PreCommit { transaction });
        let commit = named(|transaction| Request::Commit { transaction });
        let mut log = Log::new();
        write(&mut log, 1, "a", "one");
        write(&mut log, 1, "b", "two");
        pre_commit(&mut log, "b");
        assert_eq!(fence(&mut log, 2), Reply::Done);
        assert!(is_rejected(&pre_commit(&mut log, "a")) && is_rejected(&commit(&mut log, "b")));
        assert!(is_rejected(&write(&mut log, 1, "c", "three")) && is_rejected(&fence(&mut log, 1)));
        assert_eq!(write(&mut log, 2, "c", "three"), Reply::Done);
    }

    #[test]
    fn what_is_undecided_for_too_long_is_aborted() {
        let mut log = Log::new().with_patience(Duration::from_secs(10));
        write(&mut log, 1, "a", "one");
        assert_eq!(ask(&mut log, 10, &Request::PreCommit { transaction: "a".to_owned() }), Reply::Done);
        assert!(is_rejected(&ask(&mut log, 11, &Request::Commit { transaction: "a".to_owned() })));
    }
}

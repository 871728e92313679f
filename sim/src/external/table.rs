//! A model of a table whose writes are prepared and committed.
//!
//! *Invariant:* a name ends once, and is remembered.

use bytes::Bytes;
use cofferdam_engine::external::table::{Reply, Request, Row};
use cofferdam_properties::external::Model;
use std::collections::BTreeMap;

/// See the head of the file.
#[derive(Default)]
pub struct Table {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    transactions: BTreeMap<String, Stage>,
}

enum Stage {
    Prepared(Vec<Row>),
    Committed,
    Aborted,
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    fn answer(&mut self, request: Request) -> Reply {
        match request {
            Request::Prepare { transaction, rows } => match self.transactions.get(&transaction) {
                None | Some(Stage::Prepared(_)) => {
                    self.transactions.insert(transaction, Stage::Prepared(rows));
                    Reply::Done
                }
                Some(Stage::Committed) => Reply::Rejected(format!("transaction {transaction} was committed")),
                Some(Stage::Aborted) => Reply::Rejected(format!("transaction {transaction} was aborted")),
            },
            Request::Commit { transaction } => match self.transactions.get_mut(&transaction) {
                None => Reply::Rejected(format!("there is no transaction {transaction}")),
                Some(Stage::Aborted) => Reply::Rejected(format!("transaction {transaction} was aborted")),
                Some(Stage::Committed) => Reply::Done,
                Some(stage) => {
                    if let Stage::Prepared(rows) = std::mem::replace(stage, Stage::Committed) {
                        self.rows.extend(rows);
                    }
                    Reply::Done
                }
            },
            Request::Abort { transaction } => match self.transactions.get(&transaction) {
                Some(Stage::Committed) => Reply::Rejected(format!("transaction {transaction} was committed")),
                None | Some(Stage::Prepared(_) | Stage::Aborted) => {
                    self.transactions.insert(transaction, Stage::Aborted);
                    Reply::Done
                }
            },
            Request::Get { key } => Reply::Value(self.rows.get(&key).cloned()),
            Request::Prepared { prefix } => {
                let prepared = self.transactions.iter().filter(|(_, stage)| matches!(stage, Stage::Prepared(_)));
                let names = prepared.map(|(name, _)| name).filter(|name| name.starts_with(&prefix));
                Reply::Names(names.cloned().collect())
            }
        }
    }
}

impl Model for Table {
    fn apply(&mut self, _: u64, request: &[u8]) -> Bytes {
        let reply = match bincode::deserialize(request) {
            Ok(request) => self.answer(request),
            Err(error) => Reply::Rejected(format!("that is no request to a table: {error}")),
        };
        bincode::serialize(&reply).expect("replies serialise").into()
    }

    fn visible(&self) -> Vec<Bytes> {
        let shown = |(key, value): (&Vec<u8>, &Vec<u8>)| Bytes::from([&key[..], b"=", &value[..]].concat());
        self.rows.iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(name: &str, value: &str) -> Request {
        Request::Prepare { transaction: name.to_owned(), rows: vec![(b"k".to_vec(), value.as_bytes().to_vec())] }
    }

    fn commit(name: &str) -> Request {
        Request::Commit { transaction: name.to_owned() }
    }

    #[test]
    fn a_transaction_counts_once_however_often_it_is_committed() {
        let mut table = Table::new();
        for request in [prepare("a", "1"), commit("a"), prepare("b", "2"), commit("b"), commit("a")] {
            assert_eq!(table.answer(request.clone()), Reply::Done, "{request:?}");
        }
        assert_eq!(table.answer(Request::Get { key: b"k".to_vec() }), Reply::Value(Some(b"2".to_vec())));
        assert_eq!(table.visible(), ["k=2"].map(Bytes::from));
    }

    #[test]
    fn what_was_aborted_stays_so_even_if_its_preparation_comes_late() {
        let mut table = Table::new();
        assert_eq!(table.answer(Request::Abort { transaction: "a".to_owned() }), Reply::Done);
        assert!(matches!(table.answer(prepare("a", "1")), Reply::Rejected(_)));
        assert!(matches!(table.answer(commit("a")), Reply::Rejected(_)));
        assert_eq!(table.answer(Request::Prepared { prefix: String::new() }), Reply::Names(Vec::new()));
    }
}

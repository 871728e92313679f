//! `join`: orders meet their payments, by account.
//!
//! Nothing orders the two streams against each other: whichever of an order and its payment comes first waits in the
//! state of the account. So the set of matched pairs and the final balance of an account depend on the input alone.

use super::{BuiltIn, JobParameters};
use crate::connectors::{FileSink, Generator};
use crate::error::Result;
use crate::graph::Job;
use crate::hash::stable_hash;
use crate::job::{JobBuilder, Sink, Source, TwoInputFunction};
use crate::os::external::Clients;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `join`.
pub const JOB: BuiltIn = BuiltIn {
    name: "join",
    about: "joins generated orders and payments; each pair to output/pairs, final balances to output/balances",
    reads_input: false,
    build,
    clients: Clients::default,
    reference,
};

const PAIRS: &str = "output/pairs";
const BALANCES: &str = "output/balances";

/// An account wants something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Who.
    pub account: u64,
    /// Which order, unique.
    pub number: u64,
    /// For how much.
    pub amount: u64,
}

/// An account pays for an order, possibly for one that never was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Payment {
    /// Who.
    pub account: u64,
    /// Which order, at most one payment each.
    pub order: u64,
    /// How much.
    pub paid: u64,
}

/// An order that was paid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pair {
    /// Who.
    pub account: u64,
    /// Which order.
    pub order: u64,
    /// For how much.
    pub amount: u64,
    /// How much was paid.
    pub paid: u64,
}

/// Where an account stands when everything has been seen.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Balance {
    /// Whose.
    pub account: u64,
    /// Orders that were paid.
    pub matched: u64,
    /// What they were for.
    pub ordered: u64,
    /// What was paid for them.
    pub paid: u64,
    /// Orders without a payment.
    pub unpaid: u64,
    /// Payments without an order.
    pub unclaimed: u64,
}

/// What comes out of the operator: pairs as they meet, and balances at the end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Joined {
    /// A pair.
    Pair(Pair),
    /// A balance.
    Balance(Balance),
}

/// What is known of an account.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    /// Amounts of orders that wait for their payment, by number.
    orders: BTreeMap<u64, u64>,
    /// Payments that wait for their order, by its number.
    payments: BTreeMap<u64, u64>,
    matched: u64,
    ordered: u64,
    paid: u64,
}

impl Account {
    fn settle(&mut self, pair: Pair, out: &mut Vec<Joined>) {
        self.matched += 1;
        self.ordered += pair.amount;
        self.paid += pair.paid;
        out.push(Joined::Pair(pair));
    }
}

/// Joins orders and payments of an account.
#[derive(Clone, Copy, Debug)]
pub struct Match;

impl TwoInputFunction<u64, Order, Payment> for Match {
    type State = Account;
    type Out = Joined;

    fn on_first(&self, key: &u64, order: Order, state: &mut Option<Account>, out: &mut Vec<Joined>) {
        let account = state.get_or_insert_default();
        let Order { number, amount, .. } = order;
        match account.payments.remove(&number) {
            Some(paid) => account.settle(Pair { account: *key, order: number, amount, paid }, out),
            None => *account.orders.entry(number).or_default() += amount,
        }
    }

    fn on_second(&self, key: &u64, payment: Payment, state: &mut Option<Account>, out: &mut Vec<Joined>) {
        let account = state.get_or_insert_default();
        let Payment { order, paid, .. } = payment;
        match account.orders.remove(&order) {
            Some(amount) => account.settle(Pair { account: *key, order, amount, paid }, out),
            None => *account.payments.entry(order).or_default() += paid,
        }
    }

    fn acts_on_end(&self) -> bool {
        true
    }

    fn on_end(&self, key: &u64, account: &Account, out: &mut Vec<Joined>) {
        out.push(Joined::Balance(Balance {
            account: *key,
            matched: account.matched,
            ordered: account.ordered,
            paid: account.paid,
            unpaid: account.orders.len() as u64,
            unclaimed: account.payments.len() as u64,
        }));
    }
}

/// Joins `orders` and `payments` by account.
pub fn join(
    job: &JobBuilder,
    orders: impl Source<Item = Order>,
    payments: impl Source<Item = Payment>,
    pairs: impl Sink<Pair>,
    balances: impl Sink<Balance>,
) {
    let orders = job.source("orders", orders).key_by(|order| order.account);
    let payments = job.source("payments", payments).key_by(|payment| payment.account);
    let joined = orders.connect(payments).process_with("match", Match).shared();
    let only_pairs = |joined, pairs: &mut Vec<Pair>| match joined {
        Joined::Pair(pair) => pairs.push(pair),
        Joined::Balance(_) => {}
    };
    let only_balances = |joined, balances: &mut Vec<Balance>| match joined {
        Joined::Pair(_) => {}
        Joined::Balance(balance) => balances.push(balance),
    };
    joined.clone().flat_map("only-pairs", only_pairs).sink("pairs", pairs);
    joined.flat_map("only-balances", only_balances).sink("balances", balances);
}

/// The order of this number; numbers count from 0.
pub fn order(keys: u64, number: u64) -> Order {
    let drawn = stable_hash(&("order", number));
    Order { account: drawn % keys, number, amount: 1 + (drawn >> 32) % 1000 }
}

/// The `index`-th payment: mostly for the order that mirrors it within a block of 16, so that about half of the payments
/// come before their order; one in eight for an order that never was.
pub fn payment(keys: u64, index: u64) -> Payment {
    let mirrored = index ^ 15;
    let drawn = stable_hash(&("payment", mirrored));
    let Order { account, amount, .. } = order(keys, mirrored);
    if drawn.is_multiple_of(8) {
        Payment { account, order: u64::MAX - mirrored, paid: amount }
    } else {
        Payment { account, order: mirrored, paid: amount - drawn % 2 }
    }
}

fn build(parameters: &JobParameters) -> Result<Job> {
    parameters.job("join", |job| {
        let (keys, step) = (parameters.keys, u64::from(parameters.parallelism));
        let number = move |subtask: u16, index: u64| index * step + u64::from(subtask);
        let orders = Generator::new(move |subtask, index| order(keys, number(subtask, index)));
        let payments = Generator::new(move |subtask, index| payment(keys, number(subtask, index)));
        let (records, interval, burst) = (parameters.records, parameters.interval, parameters.burst);
        let pairs = FileSink::new(PAIRS, |pair: &Pair, line| {
            let Pair { account, order, amount, paid } = pair;
            line.extend_from_slice(format!("{account} {order} {amount} {paid}").as_bytes());
        });
        let balances = FileSink::new(BALANCES, |balance: &Balance, line| {
            let Balance { account, matched, ordered, paid, unpaid, unclaimed } = balance;
            line.extend_from_slice(format!("{account} {matched} {ordered} {paid} {unpaid} {unclaimed}").as_bytes());
        });
        join(
            job,
            orders.records(records).paced(interval, burst),
            payments.records(records).paced(interval, burst),
            pairs,
            balances,
        );
    })
}

/// The same by plain code: from tables of everything, not from streams.
fn reference(parameters: &JobParameters, _: &BTreeMap<String, Bytes>) -> BTreeMap<String, Vec<String>> {
    let total = parameters.records * u64::from(parameters.parallelism);
    let orders: BTreeMap<u64, Order> = (0..total).map(|number| (number, order(parameters.keys, number))).collect();
    let payments: BTreeMap<u64, Payment> =
        (0..total).map(|index| payment(parameters.keys, index)).map(|payment| (payment.order, payment)).collect();
    assert_eq!(payments.len() as u64, total, "an order is paid at most once");
    let mut pairs = Vec::new();
    // Matched, ordered, paid, unpaid, unclaimed.
    let mut balances: BTreeMap<u64, [u64; 5]> = BTreeMap::new();
    for order in orders.values() {
        let balance = balances.entry(order.account).or_default();
        match payments.get(&order.number) {
            Some(payment) => {
                pairs.push(format!("{} {} {} {}", order.account, order.number, order.amount, payment.paid));
                balance[0] += 1;
                balance[1] += order.amount;
                balance[2] += payment.paid;
            }
            None => balance[3] += 1,
        }
    }
    for payment in payments.values().filter(|payment| !orders.contains_key(&payment.order)) {
        balances.entry(payment.account).or_default()[4] += 1;
    }
    pairs.sort_unstable();
    let mut balances: Vec<String> =
        balances.iter().map(|(account, [m, o, p, u, c])| format!("{account} {m} {o} {p} {u} {c}")).collect();
    balances.sort_unstable();
    BTreeMap::from([(PAIRS.into(), pairs), (BALANCES.into(), balances)])
}

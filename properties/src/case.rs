//! What is judged, and what a judgement is.
//!
//! A [`Case`] is one run: its history, its job and, where there is one, an independent reference of its result. What
//! several judges need is worked out once and kept in the case: the [`Ledger`] of everything the world saw, and the
//! [`Account`] of the run re-executed by the witness.
//!
//! Does not own: the history. A case borrows it and never copies records or objects out of it.

use crate::external::Models;
use crate::history::{Fact, History, What};
use crate::ledger::Ledger;
use crate::witness::Account;
use cofferdam_engine::event::Event;
use cofferdam_engine::graph::Job;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One run, to be judged.
pub struct Case<'a> {
    /// What happened.
    pub history: &'a History,
    /// What ran.
    pub job: &'a Job,
    /// What should have come out, known independently of the engine's operators.
    pub reference: Option<&'a Reference>,
    /// The systems outside that its sinks write to.
    pub models: Models,
    ledger: OnceCell<Ledger<'a>>,
    account: OnceCell<Account>,
}

/// The result of a job as somebody else computes it: a plain sequential program over the same input.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reference {
    /// By prefix (`output/counts`): the lines of all visible objects under it, sorted, with repetitions.
    pub outputs: BTreeMap<String, Vec<String>>,
    /// The prefixes at which a record that is processed again only adds lines.
    pub additive: BTreeSet<String>,
}

/// A judge.
pub struct Property {
    /// Its name, in kebab case; part of capsules.
    pub name: &'static str,
    /// What it promises, in one line.
    pub about: &'static str,
    /// Where the promise comes from.
    pub source: &'static str,
    /// The first violation, if there is one.
    pub judge: fn(&Case<'_>) -> Option<Violation>,
}

/// A conviction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which property, or [`HARNESS`].
    pub property: &'static str,
    /// Index of the entry that convicts.
    pub at: usize,
    /// Who or what did it: a subtask, a channel, an object.
    pub subject: String,
    /// What is wrong, in one line.
    pub message: String,
}

/// The name under which judges report that they could not judge: not the engine's fault but the harness's.
pub const HARNESS: &str = "harness";

impl<'a> Case<'a> {
    /// A case.
    pub fn new(history: &'a History, job: &'a Job, reference: Option<&'a Reference>) -> Self {
        Self { history, job, reference, models: Models::default(), ledger: OnceCell::new(), account: OnceCell::new() }
    }

    /// A case whose sinks write to these systems.
    pub fn with_models(self, models: Models) -> Self {
        Self { models, ..self }
    }

    /// A case of which the witness says so.
    #[cfg(test)]
    pub(crate) fn with_account(self, account: Account) -> Self {
        Self { account: OnceCell::from(account), ..self }
    }

    /// Everything the world saw, indexed.
    pub fn ledger(&self) -> &Ledger<'a> {
        self.ledger.get_or_init(|| Ledger::of(self.history))
    }

    /// What should have come out, if the input was listed as it was before the run. What somebody changed before a listing is
    /// part of the input, and known to the witness alone.
    pub fn expected(&self) -> Option<&'a Reference> {
        let mut changed = false;
        let late = self.ledger().protocol.iter().any(|at| match &self.history.entries[*at].what {
            What::Fact(Fact::InputChanged { path, bytes, .. }) => {
                changed |= self.history.initial.get(path) != bytes.as_ref();
                false
            }
            What::Claim(Event::InputListed { .. }) => changed,
            What::Fact(_) | What::Claim(_) => false,
        });
        self.reference.filter(|_| !late)
    }

    /// The run, re-executed.
    pub fn account(&self) -> &Account {
        self.account.get_or_init(|| Account::of(self.history, self.job, self.ledger(), &self.models))
    }
}

impl Violation {
    /// A violation of `property` at entry `at`.
    pub fn new(property: &'static str, at: usize, subject: impl fmt::Display, message: impl Into<String>) -> Self {
        Self { property, at, subject: subject.to_string(), message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at entry {}: {}: {}", self.property, self.at, self.subject, self.message)
    }
}

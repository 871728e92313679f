//! Output to systems outside: what readers of one can see is the effect of every record once, and nothing is visible before
//! the checkpoint that covers it is durable.
//!
//! Source: Flink, *An Overview of End-to-End Exactly-Once Processing* (two-phase commit); Kafka, KIP-98.
//!
//! 1. Whenever a record becomes visible, a commit had been started that shows it (by the witness, which commits everything
//!    staged exactly once), as often as it has become visible by then, and a checkpoint at or above the commit's was durable.
//! 2. Once the job has finished, what is visible is what the witness's commits show: the same records, each as often.
//!
//! Does not check the order of records, nor transactions that are left open.

use crate::case::{Case, Property, Violation};
use crate::external::{Bag, Change};
use crate::history::{Fact, What};
use crate::witness::ShownOutside;
use bytes::Bytes;
use std::collections::BTreeMap;

const NAME: &str = "external-output";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "systems outside show the effect of every record once, and never ahead of a durable checkpoint",
    source: "Flink: End-to-End Exactly-Once Processing; Kafka: KIP-98",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    judge_changes(case).or_else(|| judge_end(case, case.ledger().finished()?))
}

/// Changes of systems outside, as the world saw them.
fn changes<'a>(case: &'a Case<'_>) -> impl Iterator<Item = (usize, &'a str, &'a Change)> {
    case.ledger().facts.iter().filter_map(|&at| match &case.history.entries[at].what {
        What::Fact(Fact::ShownOutside { system, change }) => Some((at, system.as_str(), change)),
        What::Fact(_) | What::Claim(_) => None,
    })
}

fn judge_changes(case: &Case<'_>) -> Option<Violation> {
    let known = case.account().stopped.unwrap_or(usize::MAX);
    let mut appeared: BTreeMap<(&str, &Bytes), u64> = BTreeMap::new();
    for (at, system, change) in changes(case).take_while(|(at, ..)| *at < known) {
        for record in &change.appeared {
            let times = appeared.entry((system, record)).or_default();
            *times += 1;
            if let Some(message) = wrong_record(case, at, (system, record), *times) {
                return Some(Violation::new(NAME, at, system, message));
            }
        }
    }
    None
}

/// What is wrong with a record that becomes visible for the so-manieth time.
fn wrong_record(case: &Case<'_>, at: usize, (system, record): (&str, &Bytes), times: u64) -> Option<String> {
    let count = |shown: &ShownOutside| shown.change.appeared.iter().filter(|other| *other == record).count() as u64;
    let commits = || case.account().shown_outside.iter().filter(|shown| shown.at < at && shown.system == system);
    let shown: u64 = commits().map(count).sum();
    if shown < times {
        let record = show(record);
        return Some(match shown {
            0 => format!("{record} becomes visible although no commit was started that shows it"),
            _ => {
                format!("{record} becomes visible for time {times}, the commits started so far show it {shown} time(s)")
            }
        });
    }
    let completed = case.ledger().completed.iter().take_while(|completed| completed.at < at);
    let durable = completed.map(|completed| completed.checkpoint).max();
    let covered: u64 = commits().filter(|shown| durable.is_some_and(|d| d >= shown.checkpoint)).map(count).sum();
    (covered < times).then(|| format!("{} becomes visible before its checkpoint is durable", show(record)))
}

fn judge_end(case: &Case<'_>, end: usize) -> Option<Violation> {
    if case.account().stopped.is_some() {
        return None;
    }
    let mut found: BTreeMap<&str, Bag> = BTreeMap::new();
    changes(case).for_each(|(_, system, change)| apply(found.entry(system).or_default(), change));
    let mut expected: BTreeMap<&str, Bag> = BTreeMap::new();
    for shown in &case.account().shown_outside {
        apply(expected.entry(&shown.system).or_default(), &shown.change);
    }
    let systems: Vec<&str> = found.keys().chain(expected.keys()).copied().collect();
    systems.into_iter().find_map(|system| {
        let (found, expected) = (found.get(system), expected.get(system));
        let times = |bag: Option<&Bag>, record: &Bytes| bag.and_then(|bag| bag.get(record)).copied().unwrap_or(0);
        let records = found.into_iter().chain(expected).flat_map(Bag::keys);
        let wrong = records.into_iter().find(|record| times(found, record) != times(expected, record))?;
        let (is, should) = (times(found, wrong), times(expected, wrong));
        let message = format!("{} is visible {is} time(s) at the end, by its commits {should}", show(wrong));
        Some(Violation::new(NAME, end, system, message))
    })
}

fn apply(bag: &mut Bag, change: &Change) {
    change.appeared.iter().for_each(|record| *bag.entry(record.clone()).or_default() += 1);
    for record in &change.vanished {
        let times = bag.entry(record.clone()).or_default();
        *times = times.saturating_sub(1);
    }
}

fn show(record: &[u8]) -> String {
    String::from_utf8_lossy(record).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::What;
    use crate::story::{Story, worker};
    use crate::witness::Account;
    use cofferdam_engine::event::Event;
    use cofferdam_engine::ids::{CheckpointId, SubtaskId};

    const LOG: &str = "log";

    fn appears(record: &'static str) -> Change {
        Change { appeared: vec![Bytes::from(record)], vanished: Vec::new() }
    }

    /// A whole story in which the first commit shows `record` to the witness, and the world sees `seen` just after it.
    fn judged(record: &'static str, seen: &[&'static str]) -> Option<String> {
        let mut story = Story::whole();
        let started = story.find(|what| matches!(what, What::Claim(Event::CommitStarted { .. })));
        let ended = story.find(|what| matches!(what, What::Claim(Event::CommitEnded { .. })));
        for record in seen {
            let fact = Fact::ShownOutside { system: LOG.to_owned(), change: appears(record) };
            story.insert_before(ended, worker(0), What::Fact(fact));
        }
        convicted(&story, started, CheckpointId(1), record)
    }

    fn convicted(story: &Story, at: usize, checkpoint: CheckpointId, record: &'static str) -> Option<String> {
        let (subtask, system, change) = (SubtaskId::default(), LOG.to_owned(), appears(record));
        let shown_outside = vec![ShownOutside { at, subtask, checkpoint, system, change }];
        let account = Account { shown_outside, ..Account::default() };
        let case = Case::new(&story.history, &story.job, None).with_account(account);
        judge(&case).map(|violation| violation.message)
    }

    #[test]
    fn what_a_commit_shows_once_behind_its_checkpoint_passes() {
        assert_eq!(judged("a", &["a"]), None);
    }

    #[test]
    fn what_no_commit_shows_convicts() {
        let message = "b becomes visible although no commit was started that shows it";
        assert_eq!(judged("a", &["b"]).as_deref(), Some(message));
    }

    #[test]
    fn what_is_shown_twice_convicts() {
        let message = "a becomes visible for time 2, the commits started so far show it 1 time(s)";
        assert_eq!(judged("a", &["a", "a"]).as_deref(), Some(message));
    }

    #[test]
    fn what_never_comes_convicts_at_the_end() {
        let message = "a is visible 0 time(s) at the end, by its commits 1";
        assert_eq!(judged("a", &[]).as_deref(), Some(message));
    }

    #[test]
    fn what_is_ahead_of_its_checkpoint_convicts() {
        let mut story = Story::begun();
        story.emit(0, 2);
        let fact = Fact::ShownOutside { system: LOG.to_owned(), change: appears("a") };
        story.fact(worker(0), fact);
        let message = convicted(&story, 0, CheckpointId(1), "a");
        assert_eq!(message.as_deref(), Some("a becomes visible before its checkpoint is durable"));
    }
}

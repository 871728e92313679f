//! Checkpoints of a history: where each cuts its subtasks, what became of it, and which one a verdict is about.

use crate::report;
use crate::verdict::Outcome;
use cofferdam_engine::event::Event;
use cofferdam_engine::graph::JobGraph;
use cofferdam_engine::ids::{Attempt, ChannelId, CheckpointId, EdgeId, SubtaskId};
use cofferdam_properties::history::{Fact, History, What};
use std::collections::BTreeMap;

/// The snapshots of a checkpoint: a line through the lanes, with what is part of it on its left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// Which attempt took it.
    pub attempt: Attempt,
    /// The entries at which its subtasks took their snapshots.
    pub snapshots: Vec<usize>,
}

/// Every cut, complete or not.
pub fn of(history: &History) -> Vec<Cut> {
    let mut cuts: BTreeMap<(CheckpointId, Attempt), Vec<usize>> = BTreeMap::new();
    for (at, entry) in history.entries.iter().enumerate() {
        if let What::Claim(Event::SnapshotTaken { checkpoint, attempt, .. }) = &entry.what {
            cuts.entry((*checkpoint, *attempt)).or_default().push(at);
        }
    }
    cuts.into_iter().map(|((checkpoint, attempt), snapshots)| Cut { checkpoint, attempt, snapshots }).collect()
}

/// What became of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nothing yet.
    Pending,
    /// Its slot is durable.
    Completed,
    /// A coordinator gave it up.
    Aborted,
}

impl Fate {
    /// Its name on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
        }
    }
}

/// What became of every checkpoint that was triggered, with the entry that decided it.
pub fn outcomes(history: &History) -> BTreeMap<CheckpointId, (Fate, usize)> {
    let mut outcomes = BTreeMap::new();
    for (at, entry) in history.entries.iter().enumerate() {
        match &entry.what {
            What::Claim(Event::CheckpointTriggered { checkpoint, .. }) => {
                outcomes.entry(*checkpoint).or_insert((Fate::Pending, at));
            }
            What::Claim(Event::CompletionDurable { checkpoint, .. }) => {
                outcomes.insert(*checkpoint, (Fate::Completed, at));
            }
            What::Claim(Event::CheckpointAborted { checkpoint, .. }) => {
                outcomes.insert(*checkpoint, (Fate::Aborted, at));
            }
            _ => {}
        }
    }
    outcomes
}

/// The checkpoint that a verdict is about: that of the first bad step, or the first one that the message names.
pub fn violated(outcome: &Outcome) -> Option<CheckpointId> {
    let step = report::first_bad_step(outcome).and_then(|at| outcome.history.entries.get(at));
    let of_step = step.and_then(|entry| match &entry.what {
        What::Claim(event) => event.checkpoint(),
        What::Fact(fact) => checkpoint_of(fact),
    });
    of_step.or_else(|| named(outcome.verdict.what()))
}

/// A channel that a cut does not cut behind the same record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Torn {
    /// The entry of its producer's snapshot.
    pub sent: usize,
    /// The entry of its consumer's.
    pub taken: usize,
    /// The entry at which the first record between them was consumed, if it was.
    pub record: Option<usize>,
    /// Which record that is, for people.
    pub about: String,
}

/// The channel that a verdict says is torn, found by what the message says of it.
pub fn torn(outcome: &Outcome, graph: &JobGraph) -> Option<Torn> {
    let (what, history) = (outcome.verdict.what(), &outcome.history);
    let (channel, behind) = channel_in(what.split_once("edge-")?.1)?;
    let (from, to) = ends(channel, graph)?;
    let sent_before = number(behind.split_once("cut after ")?.1)?;
    let taken_before = number(behind.split_once("and after ")?.1)?;
    let checkpoint = violated(outcome)?;
    let attempt = match &history.entries.get(report::first_bad_step(outcome)?)?.what {
        What::Claim(event) => event.attempt()?,
        What::Fact(_) => return None,
    };
    let snapshot = |wanted: SubtaskId| {
        history.entries.iter().position(|entry| {
            matches!(&entry.what, What::Claim(Event::SnapshotTaken { attempt: of, subtask, checkpoint: taken, .. })
                if (*of, *subtask, *taken) == (attempt, wanted, checkpoint))
        })
    };
    let first = sent_before.min(taken_before) + 1;
    let mut consumed = 0;
    let record = history.entries.iter().position(|entry| match &entry.what {
        What::Claim(Event::Consumed { attempt: of, channel: on, records, .. }) if (*of, *on) == (attempt, channel) => {
            consumed += records;
            consumed >= first
        }
        _ => false,
    });
    let fate = if sent_before > taken_before { "is lost" } else { "comes twice" };
    let about = format!("record {first} of {} → {}: after a restore it {fate}", graph.show(from), graph.show(to));
    Some(Torn { sent: snapshot(from)?, taken: snapshot(to)?, record, about })
}

/// The channel whose numbers a text begins with, as in `2:0>1`, and what follows.
pub fn channel_in(text: &str) -> Option<(ChannelId, &str)> {
    let size = text.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '>').unwrap_or(text.len());
    let size = text[..size].trim_end_matches(':').len();
    let (edge, (from, to)) =
        text[..size].split_once(':').and_then(|(edge, ends)| Some((edge, ends.split_once('>')?)))?;
    let channel = ChannelId { edge: EdgeId(edge.parse().ok()?), from: from.parse().ok()?, to: to.parse().ok()? };
    Some((channel, &text[size..]))
}

/// The producer and the consumer of a channel, if the graph has it.
pub fn ends(channel: ChannelId, graph: &JobGraph) -> Option<(SubtaskId, SubtaskId)> {
    let edge = graph.edges.get(usize::from(channel.edge.0))?;
    let end = |operator, index| SubtaskId { operator, index };
    Some((end(edge.from, channel.from), end(edge.to, channel.to)))
}

/// The number that a text begins with.
fn number(text: &str) -> Option<u64> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The checkpoint that an object's path names.
pub fn checkpoint_of(fact: &Fact) -> Option<CheckpointId> {
    match fact {
        Fact::Written { path, .. } | Fact::Deleted { path } => named(path),
        Fact::OutcomeUnknown { path } | Fact::OutcomeKnown { path } => named(path),
        Fact::Started | Fact::Crashed | Fact::Ended(_) | Fact::FaultFired(_) => None,
        Fact::RogueSent { .. } | Fact::RogueReceived { .. } | Fact::InputChanged { .. } => None,
        Fact::Healed | Fact::ShownOutside { .. } => None,
    }
}

/// The first `chk-N` in a text.
fn named(text: &str) -> Option<CheckpointId> {
    let (_, behind) = text.split_once("chk-")?;
    let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    behind[..end].parse().ok().map(CheckpointId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_found_in_a_path_and_in_a_message() {
        assert_eq!(named("checkpoints/chk-12/lines-0-a1.2"), Some(CheckpointId(12)));
        assert_eq!(named("chk-3 is cut after 0 records"), Some(CheckpointId(3)));
        assert_eq!(named("checkpoints/log/0000000001"), None);
        assert_eq!(named("chk-"), None);
    }
}

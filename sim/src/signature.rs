//! What failures are told apart by: the property, the kind of operator and the phase of the job. One bug shows itself under
//! many seeds, mostly with one signature; it is reported once, with a count.

use cofferdam_engine::event::Event;
use cofferdam_engine::graph::{JobGraph, OperatorKind};
use cofferdam_properties::history::{Entry, History, Process, What};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where in a job a property was violated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// By what.
    pub operator: Culprit,
    /// When.
    pub phase: Phase,
}

/// Who announced, or did, what convicts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is named after the process or operator it stands for")]
pub enum Culprit {
    Source,
    Transform,
    Sink,
    Worker,
    Coordinator,
    Client,
}

/// How far the job had come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing had been restored yet.
    FirstAttempt,
    /// After a restore.
    Restored,
    /// The job's end was durable.
    Over,
}

impl Place {
    /// The place of entry `at`.
    pub fn of(history: &History, graph: &JobGraph, at: usize) -> Self {
        let before = &history.entries[..(at + 1).min(history.entries.len())];
        Self {
            operator: history.entries.get(at).map_or(Culprit::Coordinator, |e| culprit(e, graph)),
            phase: Phase::behind(before),
        }
    }
}

fn culprit(entry: &Entry, graph: &JobGraph) -> Culprit {
    let subtask = match &entry.what {
        What::Claim(event) => event.subtask(),
        What::Fact(_) => None,
    };
    let kind = subtask.and_then(|subtask| graph.operators.get(usize::from(subtask.operator.0))).map(|node| node.kind);
    match (kind, entry.by.process) {
        (Some(OperatorKind::Source), _) => Culprit::Source,
        (Some(OperatorKind::Transform), _) => Culprit::Transform,
        (Some(OperatorKind::Sink), _) => Culprit::Sink,
        (None, Process::Coordinator(_)) => Culprit::Coordinator,
        (None, Process::Worker(_)) => Culprit::Worker,
        (None, Process::Client(_)) => Culprit::Client,
    }
}

impl Phase {
    /// The phase that these entries, from the first on, lead to.
    pub fn behind(entries: &[Entry]) -> Self {
        let claims =
            || entries.iter().filter_map(|entry| if let What::Claim(event) = &entry.what { Some(event) } else { None });
        let over = |event: &Event| {
            matches!(event, Event::JobFinished { .. } | Event::JobFailed { .. } | Event::JobCancelled { .. })
        };
        if claims().any(over) {
            return Self::Over;
        }
        let restored =
            |event: &Event| matches!(event, Event::RestoreRead { .. } | Event::Restored { checkpoint: Some(_), .. });
        if claims().any(restored) { Self::Restored } else { Self::FirstAttempt }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstAttempt => "before any restore",
            Self::Restored => "after a restore",
            Self::Over => "after the end",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.operator {
            Culprit::Source => "source",
            Culprit::Transform => "transform",
            Culprit::Sink => "sink",
            Culprit::Worker => "worker",
            Culprit::Coordinator => "coordinator",
            Culprit::Client => "client",
        };
        write!(f, "{who}, {}", self.phase)
    }
}

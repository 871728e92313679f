//! Who has a lane: the faults, every incarnation of a coordinator, every worker with its subtasks, storage by what it
//! holds, the visible output of each sink, though nothing may ever become visible there, and each system outside.
//!
//! A worker has one lane whatever becomes of it: its incarnations follow each other on it, and those of a zombie and
//! its successor overlap. Lanes of two runs are numbered together, so that their diagrams can be compared.

use super::spans;
use cofferdam_engine::graph::JobGraph;
use cofferdam_engine::ids::SubtaskId;
use cofferdam_properties::history::{Entry, Fact, History, Incarnation, Process, What};
use cofferdam_properties::ledger::is_visible;
use std::collections::BTreeMap;

/// What a lane belongs to; also the order of lanes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Owner {
    Faults,
    Coordinator(Incarnation),
    /// A worker, or one of its subtasks.
    Process(Process, Option<SubtaskId>),
    Storage(&'static str),
    Output(String),
    Outside(String),
}

/// How a lane is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    /// What the plan does.
    Faults,
    /// A coordinator or a worker.
    Process,
    /// A subtask.
    Subtask,
    /// Objects nobody but the engine sees.
    Storage,
    /// Objects that readers of the output see.
    Output,
}

impl Sort {
    /// Its name for the script.
    pub fn name(self) -> &'static str {
        match self {
            Self::Faults => "faults",
            Self::Process => "process",
            Self::Subtask => "subtask",
            Self::Storage => "storage",
            Self::Output => "output",
        }
    }
}

/// A lane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lane {
    /// Its name for people.
    pub name: String,
    /// The process or the part of the world that it belongs to.
    pub group: String,
    /// How it is drawn.
    pub sort: Sort,
    /// How many spans lie above each other.
    pub tracks: usize,
}

/// Every lane, in order.
pub struct Lanes {
    /// By number.
    pub all: Vec<Lane>,
    numbers: BTreeMap<Owner, usize>,
}

impl Lanes {
    /// The lanes of all entries of some histories of one job.
    pub fn of(histories: &[&History], graph: &JobGraph) -> Self {
        let mut owners: BTreeMap<Owner, usize> = BTreeMap::from([(Owner::Faults, 0)]);
        for entry in histories.iter().flat_map(|history| &history.entries) {
            owners.entry(owner(entry)).or_default();
            if let What::Fact(Fact::Written { path, .. }) = &entry.what
                && let Some(output) = staged_for(path)
            {
                owners.entry(output).or_default();
            }
        }
        owners.values_mut().enumerate().for_each(|(place, number)| *number = place);
        let all = owners.keys().map(|owner| lane(owner, graph)).collect();
        let mut lanes = Self { all, numbers: owners };
        for history in histories {
            for span in spans::of(history, &lanes) {
                let tracks = &mut lanes.all[span.lane].tracks;
                *tracks = (*tracks).max(span.track + 1);
            }
        }
        lanes
    }

    /// The lane of an entry.
    pub fn of_entry(&self, entry: &Entry) -> usize {
        self.numbers.get(&owner(entry)).copied().unwrap_or_default()
    }
}

fn owner(entry: &Entry) -> Owner {
    let process = entry.by.process;
    let own = || match process {
        Process::Coordinator(_) => Owner::Coordinator(entry.by),
        process => Owner::Process(process, None),
    };
    match &entry.what {
        What::Fact(Fact::FaultFired(_) | Fact::InputChanged { .. } | Fact::Healed) => Owner::Faults,
        What::Fact(Fact::Written { path, .. } | Fact::Deleted { path })
        | What::Fact(Fact::OutcomeUnknown { path } | Fact::OutcomeKnown { path }) => holder(path),
        What::Fact(Fact::ShownOutside { system, .. }) => Owner::Outside(system.clone()),
        What::Fact(Fact::Started | Fact::Crashed | Fact::Ended(_)) => own(),
        What::Fact(Fact::RogueSent { .. } | Fact::RogueReceived { .. }) => own(),
        What::Claim(event) => match (event.subtask(), process) {
            (Some(subtask), Process::Worker(_)) => Owner::Process(process, Some(subtask)),
            _ => own(),
        },
    }
}

/// Which part of storage holds an object.
fn holder(path: &str) -> Owner {
    if is_visible(path) {
        return Owner::Output(path.rsplit_once('/').map_or(path, |(folder, _)| folder).to_owned());
    }
    Owner::Storage(if path.starts_with("output/") {
        "staged output"
    } else if path.contains("/log/") {
        "slots"
    } else if path.contains("/chk-") {
        "snapshots"
    } else {
        "other objects"
    })
}

/// The output that a staged object is written for: what is not visible yet lies below a segment that begins with a dot.
fn staged_for(path: &str) -> Option<Owner> {
    let (folder, _) = path.split_once("/.").filter(|_| path.starts_with("output/") && !is_visible(path))?;
    Some(Owner::Output(folder.to_owned()))
}

fn lane(owner: &Owner, graph: &JobGraph) -> Lane {
    let (name, group, sort) = match owner {
        Owner::Faults => ("faults".to_owned(), "plan".to_owned(), Sort::Faults),
        Owner::Coordinator(Incarnation { process, number: 1 }) => {
            (process.to_string(), process.to_string(), Sort::Process)
        }
        Owner::Coordinator(Incarnation { process, number }) => {
            (format!("{process}'{number}"), process.to_string(), Sort::Process)
        }
        Owner::Process(process, None) => (process.to_string(), process.to_string(), Sort::Process),
        Owner::Process(process, Some(subtask)) => (graph.show(*subtask), process.to_string(), Sort::Subtask),
        Owner::Storage(name) => ((*name).to_owned(), "storage".to_owned(), Sort::Storage),
        Owner::Output(folder) => (folder.clone(), "visible output".to_owned(), Sort::Output),
        Owner::Outside(system) => (system.clone(), "outside".to_owned(), Sort::Output),
    };
    Lane { name, group, sort, tracks: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_properties::external::Change;

    fn lanes(facts: Vec<Fact>) -> Vec<String> {
        let by = Incarnation { process: Process::COORDINATOR, number: 1 };
        let entries = facts.into_iter().map(|fact| Entry { time: 0, by, what: What::Fact(fact) }).collect();
        let graph = JobGraph { name: "none".into(), max_parallelism: 1, operators: Vec::new(), edges: Vec::new() };
        let lanes = Lanes::of(&[&History { entries, ..History::default() }], &graph);
        lanes.all.iter().map(|lane| format!("{} of {}", lane.name, lane.group)).collect()
    }

    #[test]
    fn output_that_is_staged_and_never_seen_has_a_lane_and_so_has_a_system_outside() {
        let staged = "output/tokens/.staging/tokens-0/a1.1-chk-1".to_owned();
        let facts = vec![
            Fact::Written { path: staged, bytes: Vec::new().into() },
            Fact::ShownOutside {
                system: "orders".into(),
                change: Change { appeared: Vec::new(), vanished: Vec::new() },
            },
        ];
        let storage = "staged output of storage";
        let all = ["faults of plan", storage, "output/tokens of visible output", "orders of outside"];
        assert_eq!(lanes(facts), all);
    }
}

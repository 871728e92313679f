//! State that encodes differently each time: its type lists equal content in an order that changes (a hash set).
//!
//! Every judge of state compares bytes. For such a state they differ although the engine has done nothing wrong, so it is
//! looked for before the engine is convicted.
//!
//! Each stored snapshot is restored into fresh subtasks, several times, and encoded again. Nothing is processed, so the bytes
//! must be the stored ones. An order that is right by chance is right each time only with few elements: a set of two is
//! missed in one of 2^`TRIES` cases.
//!
//! Does not check positions of sources and committables of sinks, which their connectors encode themselves.

use crate::external::Models;
use crate::history::{Fact, History, What};
use crate::witness::external::QuietSystems;
use crate::witness::quiet;
use cofferdam_engine::door::Env;
use cofferdam_engine::graph::{Chain, Instance, Job, OperatorNode, SubtaskContext};
use cofferdam_engine::ids::{Attempt, SubtaskId};
use cofferdam_engine::persist::blob;
use cofferdam_engine::persist::manifest::Manifest;
use cofferdam_engine::state::{self, Section, SectionKind};
use std::collections::BTreeMap;
use std::fmt;

/// How often each snapshot is restored.
const TRIES: usize = 8;
/// Manifests that are looked at: the newest, which hold the most.
const MANIFESTS: usize = 8;

/// A state that encodes differently each time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unstable {
    /// The state's name.
    pub state: String,
    /// The uid of its operator.
    pub operator: String,
}

impl fmt::Display for Unstable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, operator } = self;
        write!(
            f,
            "state {state:?} of operator {operator:?} encodes differently each time, so snapshots of it cannot be compared: \
             keep an ordered set instead of a hash set, or serialise its elements in order"
        )
    }
}

/// The first state of a run that encodes differently each time.
pub fn find(history: &History, job: &Job, models: &Models) -> Option<Unstable> {
    let written = history.entries.iter().filter_map(|entry| match &entry.what {
        What::Fact(Fact::Written { path, bytes }) => Some((path.as_str(), bytes)),
        What::Fact(_) | What::Claim(_) => None,
    });
    let objects: BTreeMap<_, _> = written.clone().collect();
    let manifests = written.rev().filter_map(|(path, bytes)| Manifest::decode(path, bytes).ok()).take(MANIFESTS);
    let (env, _) = quiet::world(&history.initial, QuietSystems::of(models.fresh()));
    for operator in manifests.flat_map(|manifest| manifest.operators) {
        let Some(node) = job.graph.operators.iter().find(|node| node.uid == operator.uid) else { continue };
        for (index, handle) in (0..node.parallelism).zip(&operator.subtasks) {
            let sections = objects.get(handle.path.as_str()).and_then(|bytes| blob::decode(&handle.path, bytes).ok());
            let context = context(&env, job, node, index);
            if let Some(state) = changes(node, &context, sections.unwrap_or_default()) {
                return Some(Unstable { state, operator: operator.uid });
            }
        }
    }
    None
}

fn context(env: &Env, job: &Job, node: &OperatorNode, index: u16) -> SubtaskContext {
    SubtaskContext {
        env: env.clone(),
        subtask: SubtaskId { operator: node.id, index },
        uid: node.uid.clone(),
        parallelism: node.parallelism,
        max_parallelism: job.graph.max_parallelism,
        attempt: Attempt::default(),
        batch_records: job.config.batch_records,
        listing: None,
    }
}

/// The name of the state whose bytes change when they are decoded and encoded again.
fn changes(node: &OperatorNode, context: &SubtaskContext, mut sections: Vec<Section>) -> Option<String> {
    sections.retain(|section| matches!(section.kind, SectionKind::Keyed | SectionKind::Operator));
    if sections.is_empty() {
        return None;
    }
    (0..TRIES).find_map(|_| {
        let mut chain: Box<dyn Chain> = match (node.factory)(context) {
            Instance::Source(_, chain) | Instance::Transform(chain) => chain,
            Instance::Sink(_) => return None,
        };
        // A snapshot that cannot be restored is for the judges.
        chain.restore(&sections).ok()?;
        let again = state::collect(chain.snapshot());
        let changed = sections.iter().find(|section| !again.contains(section));
        changed.map(|section| section.name.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Story;

    #[test]
    fn a_state_with_bytes_of_its_own_is_not_named() {
        let mut story = Story::begun();
        story.emit(0, 6);
        story.consume_all();
        story.checkpoint();
        assert_eq!(find(&story.history, &story.job, &Models::default()), None);
    }
}

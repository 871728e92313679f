//! Where a re-executed run stands in the middle: what lies on each channel of its newest attempt, and the state of each
//! subtask. For people who look at one moment of a run.
//!
//! The witness puts records on a channel as soon as they are produced, so what an operator of the engine still holds back
//! for a full batch counts as being on its way. Barriers lie where the producer announced them.

use super::Witness;
use super::run::Run;
use super::topology::Topology;
use crate::case::{Case, Violation};
use crate::history::What;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{Attempt, ChannelId, CheckpointId, SubtaskId};
use cofferdam_engine::state::{SectionKind, decode_entries};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The newest attempt, just behind an entry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Which attempt, if one was deployed.
    pub attempt: Option<Attempt>,
    /// Subtasks that have restored.
    pub subtasks: BTreeMap<SubtaskId, Held>,
    /// Channels that the graph uses.
    pub channels: BTreeMap<ChannelId, OnItsWay>,
    /// Why re-execution could not come as far; everything above is as it was there.
    pub stopped: Option<Violation>,
}

/// The state of a subtask.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// The digest that a snapshot would have.
    pub digest: u64,
    /// Entries of keyed state.
    pub keys: usize,
    /// Checkpoints for which something is staged and not known to be visible.
    pub staged: Vec<CheckpointId>,
}

/// What lies on a channel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OnItsWay {
    /// Records put on it so far.
    pub sent: u64,
    /// Records taken from it so far.
    pub taken: u64,
    /// Elements taken from it so far.
    pub next_seq: u64,
    /// What lies on it, the next to be taken first.
    pub queue: Vec<Queued>,
}

/// Something that lies on a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queued {
    /// So many records.
    Records(u64),
    /// A barrier.
    Barrier(CheckpointId),
    /// A cancellation marker.
    Cancel(CheckpointId),
    /// The end of input.
    End,
    /// The producer is gone.
    Closed,
}

/// Per channel of an attempt: what lies behind how many records.
type Marks = BTreeMap<(Attempt, usize), VecDeque<(u64, Queued)>>;

impl Standing {
    /// Where a run stands just behind entry `at`.
    pub fn of(case: &Case<'_>, at: usize) -> Self {
        let (mut witness, mut marks) =
            (Witness::new(case.history, case.job, case.ledger(), &case.models), Marks::new());
        let mut last = 0;
        let walked = catch_unwind(AssertUnwindSafe(|| {
            case.history.entries.iter().enumerate().take(at + 1).try_for_each(|(at, entry)| {
                let What::Claim(event) = &entry.what else { return Ok(()) };
                last = at;
                witness.on_claim(at, event)?;
                mark(&mut witness, &mut marks, event);
                Ok(())
            })
        }));
        let stopped = match walked {
            Ok(walked) => walked.err(),
            Err(panic) => {
                let message = format!("an operator panics when it is re-executed: {}", super::panic_message(&*panic));
                Some(Violation::new(super::EXACTLY_ONCE_STATE, last, &case.job.graph.name, message))
            }
        };
        let Witness { mut runs, topology, .. } = witness;
        match runs.iter_mut().max_by_key(|run| run.attempt) {
            Some(run) => Self { stopped, ..standing(run, &topology, &marks) },
            None => Self { stopped, ..Self::default() },
        }
    }
}

/// Notes where barriers and ends lie, and forgets those that were taken.
fn mark(witness: &mut Witness<'_>, marks: &mut Marks, event: &Event) {
    let Some((attempt, subtask)) = event.attempt().zip(event.subtask()) else { return };
    let topology = &witness.topology;
    let put = match *event {
        Event::BarrierEmitted { checkpoint, .. } => Queued::Barrier(checkpoint),
        Event::CancelEmitted { checkpoint, .. } => Queued::Cancel(checkpoint),
        Event::InputEnded { .. } => Queued::End,
        Event::SubtaskFinished { .. } => Queued::Closed,
        Event::BarrierReceived { channel, .. }
        | Event::CancelReceived { channel, .. }
        | Event::EndReceived { channel, .. }
        | Event::ClosedReceived { channel, .. } => {
            let taken = topology.channel(channel).and_then(|lane| marks.get_mut(&(attempt, lane)));
            taken.map(VecDeque::pop_front);
            return;
        }
        _ => return,
    };
    let run = witness.runs.iter_mut().rev().find(|run| run.attempt == attempt);
    if let Some((run, number)) = run.zip(topology.subtask(subtask)) {
        run.flush(topology, number);
        for lane in &topology.outputs[number] {
            marks.entry((attempt, *lane)).or_default().push_back((run.lanes[*lane].sent, put));
        }
    }
}

fn standing(run: &mut Run, topology: &Topology, marks: &Marks) -> Standing {
    let mut standing = Standing { attempt: Some(run.attempt), ..Standing::default() };
    for (number, subtask) in topology.subtasks.iter().enumerate() {
        run.flush(topology, number);
        let Some(live) = &mut run.lives[number] else { continue };
        let taken = live.snapshot();
        let keyed = taken.sections().iter().filter(|section| section.kind == SectionKind::Keyed);
        let keys = keyed.map(|section| decode_entries(&section.bytes).map_or(0, |entries| entries.len())).sum();
        let staged = live.pending.keys().copied().collect();
        standing.subtasks.insert(*subtask, Held { digest: taken.digest, keys, staged });
    }
    for lane in topology.inputs.iter().flatten() {
        let channel = &run.lanes[*lane];
        let marks = marks.get(&(run.attempt, *lane));
        let queue = queue(channel.taken, channel.sent, marks.into_iter().flatten());
        let (sent, taken, next_seq) = (channel.sent, channel.taken, channel.next_seq);
        standing.channels.insert(topology.channels[*lane], OnItsWay { sent, taken, next_seq, queue });
    }
    standing
}

/// Records from `taken` to `sent`, with the marks among them.
fn queue<'m>(taken: u64, sent: u64, marks: impl Iterator<Item = &'m (u64, Queued)>) -> Vec<Queued> {
    let (mut queue, mut behind) = (Vec::new(), taken);
    for (place, mark) in marks.copied() {
        if place > behind {
            queue.push(Queued::Records(place - behind));
            behind = place;
        }
        queue.push(mark);
    }
    if sent > behind {
        queue.push(Queued::Records(sent - behind));
    }
    queue
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::History;
    use crate::story::Story;

    fn behind(story: &Story, at: usize) -> Standing {
        Standing::of(&Case::new(&story.history, &story.job, None), at)
    }

    fn last(history: &History) -> usize {
        history.entries.len() - 1
    }

    #[test]
    fn records_lie_on_their_channel_until_they_are_consumed() {
        let mut story = Story::begun();
        story.emit(0, 2);
        let emitted = behind(&story, last(&story.history));
        let sent: u64 = emitted.channels.values().map(|channel| channel.sent).sum();
        let queued = |standing: &Standing| standing.channels.values().filter(|c| !c.queue.is_empty()).count();
        assert_eq!((emitted.stopped.as_ref(), emitted.attempt.is_some()), (None, true));
        assert!(sent > 0 && queued(&emitted) > 0, "{emitted:?}");
        story.consume_all();
        let consumed = behind(&story, last(&story.history));
        assert_eq!(queued(&consumed), 0, "{consumed:?}");
        assert!(consumed.subtasks.values().any(|held| held.keys > 0), "{consumed:?}");
    }

    #[test]
    fn barriers_stand_between_the_records_of_before_and_behind() {
        let barrier = (3, Queued::Barrier(CheckpointId(1)));
        let expected = [Queued::Records(2), barrier.1, Queued::Records(4)];
        assert_eq!(queue(1, 7, [barrier].iter()), expected);
        assert_eq!(queue(3, 3, [barrier].iter()), [barrier.1]);
        assert_eq!(queue(7, 7, [].iter()), []);
    }

    #[test]
    fn a_moment_in_the_middle_knows_nothing_of_what_follows() {
        let mut story = Story::begun();
        story.emit(0, 2);
        let at = last(&story.history);
        let then = behind(&story, at);
        story.consume_all();
        story.checkpoint();
        assert_eq!(behind(&story, at), then);
    }
}

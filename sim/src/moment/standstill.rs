//! Everybody's state behind one entry, as far as a history knows it: who is up, what the coordinator waits for, where
//! each subtask stands, what lies on its channels, and which objects there are.
//!
//! Claims say what was announced; what lies on channels and the digests come from the witness, who re-executes the run
//! as far as that. Connections are not recorded: only whom a coordinator has accepted or lost.

use crate::page::cuts::{self, Fate};
use cofferdam_engine::event::Event;
use cofferdam_engine::graph::JobGraph;
use cofferdam_engine::ids::{Attempt, ChannelId, CheckpointId, SubtaskId};
use cofferdam_engine::persist::manifest::Manifest;
use cofferdam_properties::Case;
use cofferdam_properties::history::{Fact, History, Incarnation, Process, What};
use cofferdam_properties::witness::standing::{Queued, Standing};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Everybody's state behind entry `at`, for people.
pub fn told(case: &Case<'_>, at: usize) -> String {
    let standing = Standing::of(case, at);
    let scene = Scene::of(case.history, at, standing.attempt);
    let mut text = String::new();
    write_told(&mut text, case, at, (&standing, &scene)).expect("strings can be written");
    text
}

/// A process and what became of it.
struct Life {
    number: u32,
    how: String,
}

/// A subtask of the newest attempt.
#[derive(Default)]
struct Doing {
    process: Option<Incarnation>,
    stage: String,
    barrier: Option<CheckpointId>,
    uploading: BTreeSet<CheckpointId>,
    committing: Option<CheckpointId>,
    /// Channels whose barrier of this checkpoint is here.
    aligning: Option<(CheckpointId, BTreeSet<ChannelId>)>,
}

/// What claims and facts say.
#[derive(Default)]
struct Scene {
    lives: BTreeMap<Process, Life>,
    leader: String,
    workers: BTreeMap<String, String>,
    attempt: String,
    acks: BTreeMap<CheckpointId, BTreeSet<SubtaskId>>,
    doing: BTreeMap<SubtaskId, Doing>,
    arrived: BTreeMap<(SubtaskId, CheckpointId), BTreeSet<ChannelId>>,
    objects: BTreeMap<String, usize>,
    doubts: BTreeSet<String>,
}

impl Scene {
    fn of(history: &History, at: usize, newest: Option<Attempt>) -> Self {
        let objects = history.initial.iter().map(|(path, bytes)| (path.clone(), bytes.len())).collect();
        let mut scene = Self { objects, ..Self::default() };
        for (at, entry) in history.entries.iter().enumerate().take(at + 1) {
            match &entry.what {
                What::Fact(fact) => scene.on_fact(at, entry.by, fact),
                What::Claim(event) => {
                    scene.on_coordination(at, event);
                    if let (Some(subtask), Process::Worker(_)) = (event.subtask(), entry.by.process)
                        && event.attempt() == newest
                    {
                        scene.on_subtask(entry.by, subtask, event);
                    }
                }
            }
        }
        scene
    }

    fn on_fact(&mut self, at: usize, by: Incarnation, fact: &Fact) {
        let newest = self.lives.get(&by.process).is_none_or(|life| life.number <= by.number);
        match fact {
            Fact::Started | Fact::Crashed | Fact::Ended(_) if newest => {
                let how = match fact {
                    Fact::Crashed => format!("down, crashed at entry {at}"),
                    Fact::Ended(Ok(how)) => format!("ended at entry {at}: {how}"),
                    Fact::Ended(Err(error)) => format!("failed at entry {at}: {error}"),
                    _ => format!("up since entry {at}"),
                };
                self.lives.insert(by.process, Life { number: by.number, how });
                if *fact != Fact::Started {
                    let over = self.doing.values_mut().filter(|doing| doing.process == Some(by));
                    over.for_each(|doing| {
                        doing.stage = format!("gone: {} is down (it was {})", by.process, doing.stage)
                    });
                }
            }
            Fact::Written { path, bytes } => drop(self.objects.insert(path.clone(), bytes.len())),
            Fact::Deleted { path } => drop(self.objects.remove(path)),
            Fact::OutcomeUnknown { path } => drop(self.doubts.insert(path.clone())),
            Fact::OutcomeKnown { path } => drop(self.doubts.remove(path)),
            _ => {}
        }
    }

    fn on_coordination(&mut self, at: usize, event: &Event) {
        match event {
            Event::LeadershipTaken { generation, .. } => self.leader = format!("{generation} since entry {at}"),
            Event::WorkerRegistered { worker } => {
                self.workers.insert(worker.to_string(), format!("registered at entry {at}"));
            }
            Event::WorkerLost { worker } => {
                drop(self.workers.insert(worker.to_string(), format!("lost at entry {at}")))
            }
            Event::AttemptDeployed { attempt, restore } => {
                let from = restore.map_or("from the beginning".to_owned(), |restore| format!("from {restore}"));
                self.attempt = format!("{attempt}, {from}: deployed at entry {at}");
                self.doing.clear();
            }
            Event::AttemptRunning { attempt } => self.attempt = format!("{attempt}: running since entry {at}"),
            Event::AttemptFailed { attempt, cause } => {
                self.attempt = format!("{attempt}: failed at entry {at}: {cause}");
            }
            Event::AckReceived { checkpoint, subtask, .. } => {
                self.acks.entry(*checkpoint).or_default().insert(*subtask);
            }
            _ => {}
        }
    }

    fn on_subtask(&mut self, by: Incarnation, subtask: SubtaskId, event: &Event) {
        let doing = self.doing.entry(subtask).or_default();
        doing.process = Some(by);
        match event {
            Event::RestoreStarted { checkpoint, .. } => doing.stage = format!("restoring {checkpoint}"),
            Event::Restored { ended: true, .. } => doing.stage = "restored behind the end of its input".to_owned(),
            Event::Restored { .. } => "running".clone_into(&mut doing.stage),
            Event::InputEnded { .. } => doing.stage = "at the end of its input".to_owned(),
            Event::SubtaskFinished { .. } => doing.stage = "finished".to_owned(),
            Event::SubtaskFailed { cause, .. } => doing.stage = format!("failed: {cause}"),
            Event::BarrierReceived { channel, checkpoint, .. } => {
                self.arrived.entry((subtask, *checkpoint)).or_default().insert(*channel);
            }
            Event::BarrierEmitted { checkpoint, .. } => doing.barrier = Some(*checkpoint),
            Event::AlignmentStarted { checkpoint, .. } => doing.aligning = Some((*checkpoint, BTreeSet::new())),
            Event::AlignmentEnded { checkpoint, .. } | Event::AlignmentAborted { checkpoint, .. } => {
                doing.aligning.take_if(|(aligning, _)| aligning == checkpoint);
            }
            Event::UploadStarted { checkpoint, .. } => drop(doing.uploading.insert(*checkpoint)),
            Event::UploadEnded { checkpoint, .. } | Event::UploadFailed { checkpoint, .. } => {
                doing.uploading.remove(checkpoint);
            }
            Event::CommitStarted { checkpoint, .. } => doing.committing = Some(*checkpoint),
            Event::CommitEnded { .. } => doing.committing = None,
            _ => {}
        }
        if let Some((aligning, here)) = &mut doing.aligning {
            *here = self.arrived.get(&(subtask, *aligning)).cloned().unwrap_or_default();
        }
    }
}

type Known<'a> = (&'a Standing, &'a Scene);

fn write_told(text: &mut String, case: &Case<'_>, at: usize, (standing, scene): Known<'_>) -> std::fmt::Result {
    let (history, graph) = (case.history, &case.job.graph);
    let time = history.entries.get(at).map_or(0, |entry| entry.time / 1_000);
    writeln!(text, "Behind entry {at} of {}, at {}.{:03} ms", history.entries.len(), time / 1_000, time % 1_000)?;
    writeln!(text, "\nProcesses")?;
    for (process, life) in &scene.lives {
        let again = if life.number > 1 { format!("'{}", life.number) } else { String::new() };
        let registered = scene.workers.get(&process.to_string()).map_or(String::new(), |how| format!("; {how}"));
        writeln!(text, "  {:<16} {}{registered}", format!("{process}{again}"), life.how)?;
    }
    let or_none = |text: &str| if text.is_empty() { "none yet".to_owned() } else { text.to_owned() };
    writeln!(text, "  leadership       {}", or_none(&scene.leader))?;
    writeln!(text, "  attempt          {}", or_none(&scene.attempt))?;
    write_checkpoints(text, graph, history, (at, scene))?;
    if let Some(attempt) = standing.attempt {
        writeln!(text, "\nSubtasks of {attempt}")?;
        for subtask in graph.subtasks() {
            write_subtask(text, graph, subtask, (standing, scene))?;
        }
    }
    if let Some(stopped) = &standing.stopped {
        writeln!(text, "  (state and channels as of entry {}, where re-execution stopped: {stopped})", stopped.at)?;
    }
    write_storage(text, case, at, scene)
}

fn write_checkpoints(
    text: &mut String,
    graph: &JobGraph,
    history: &History,
    (at, scene): (usize, &Scene),
) -> std::fmt::Result {
    let until = History { entries: history.entries[..=at].to_vec(), ..History::default() };
    let outcomes = cuts::outcomes(&until);
    let of = |wanted: Fate| {
        let ids = outcomes.iter().filter(|(_, (fate, _))| *fate == wanted);
        ids.map(|(id, _)| *id).collect::<Vec<CheckpointId>>()
    };
    writeln!(text, "\nCheckpoints")?;
    for pending in of(Fate::Pending) {
        let acked = scene.acks.get(&pending).cloned().unwrap_or_default();
        let missing = graph.subtasks().into_iter().filter(|subtask| !acked.contains(subtask));
        let missing: Vec<String> = missing.map(|subtask| graph.show(subtask)).collect();
        let lacks = if missing.is_empty() { "has every ack".to_owned() } else { missing.join(", ") };
        writeln!(text, "  {:<16} {} ack(s), without one: {lacks}", format!("{pending} pending"), acked.len())?;
    }
    for (fate, name) in [(Fate::Completed, "completed"), (Fate::Aborted, "aborted")] {
        let ids: Vec<String> = of(fate).iter().map(ToString::to_string).collect();
        writeln!(text, "  {name:<16} {}", if ids.is_empty() { "none".to_owned() } else { ids.join(", ") })?;
    }
    Ok(())
}

fn write_subtask(
    text: &mut String,
    graph: &JobGraph,
    subtask: SubtaskId,
    (standing, scene): Known<'_>,
) -> std::fmt::Result {
    let idle = Doing::default();
    let doing = scene.doing.get(&subtask).unwrap_or(&idle);
    let place = doing.process.map_or(String::new(), |by| format!(" on {}", by.process));
    let stage = if doing.stage.is_empty() { "not restored yet" } else { &doing.stage };
    write!(text, "  {:<16} {stage}{place}", graph.show(subtask))?;
    if let Some(barrier) = doing.barrier {
        write!(text, "; last barrier {barrier}")?;
    }
    let list =
        |ids: &mut dyn Iterator<Item = &CheckpointId>| ids.map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !doing.uploading.is_empty() {
        write!(text, "; uploads {}", list(&mut doing.uploading.iter()))?;
    }
    if let Some(committing) = doing.committing {
        write!(text, "; makes {committing} visible")?;
    }
    if let Some(held) = standing.subtasks.get(&subtask) {
        write!(text, "; {} key(s), digest {:08x}", held.keys, held.digest >> 32)?;
        if !held.staged.is_empty() {
            write!(text, "; staged for {}", list(&mut held.staged.iter()))?;
        }
    }
    writeln!(text)?;
    if let Some((checkpoint, here)) = &doing.aligning {
        writeln!(text, "    aligns {checkpoint}: {} barrier(s) are here", here.len())?;
    }
    let inputs = standing.channels.iter().filter(|(channel, _)| {
        let edge = graph.edge(channel.edge);
        edge.to == subtask.operator && channel.to == subtask.index
    });
    for (channel, on_its_way) in inputs {
        let blocked = doing.aligning.as_ref().is_some_and(|(_, here)| here.contains(channel));
        let producer = SubtaskId { operator: graph.edge(channel.edge).from, index: channel.from };
        let queue: Vec<String> = on_its_way.queue.iter().map(shown).collect();
        let queue = if queue.is_empty() { "empty".to_owned() } else { queue.join(", ") };
        let gate = if blocked { " BLOCKED" } else { "" };
        let (taken, sent) = (on_its_way.taken, on_its_way.sent);
        writeln!(text, "    from {:<12}{gate} {queue}  ({taken} of {sent} record(s) taken)", graph.show(producer))?;
    }
    Ok(())
}

fn shown(queued: &Queued) -> String {
    match queued {
        Queued::Records(n) => format!("{n} record(s)"),
        Queued::Barrier(checkpoint) => format!("|{checkpoint}|"),
        Queued::Cancel(checkpoint) => format!("|cancel {checkpoint}|"),
        Queued::End => "end".to_owned(),
        Queued::Closed => "closed".to_owned(),
    }
}

/// What the manifest at `path` names, as it was at entry `at`, without the folder that all of them share.
fn named_by(case: &Case<'_>, path: &str, at: usize) -> Option<Vec<String>> {
    let (_, name) = path.rsplit_once('/')?;
    let bytes = case.ledger().object_at(path, at + 1).filter(|_| name.starts_with("manifest-"))?;
    let manifest = Manifest::decode(path, bytes).ok()?;
    let short = |path: &str| path.strip_prefix("checkpoints/").unwrap_or(path).to_owned();
    Some(manifest.snapshots().map(|snapshot| short(&snapshot.path)).collect())
}

fn write_storage(text: &mut String, case: &Case<'_>, at: usize, scene: &Scene) -> std::fmt::Result {
    let history = case.history;
    writeln!(text, "\nStorage")?;
    for (path, bytes) in scene.objects.iter().filter(|(path, _)| !history.initial.contains_key(*path)) {
        let doubt = if scene.doubts.contains(path) { "  (in doubt)" } else { "" };
        writeln!(text, "  {path} ({bytes} bytes){doubt}")?;
        if let Some(named) = named_by(case, path, at) {
            writeln!(text, "      names {}", named.join(", "))?;
        }
    }
    for path in scene.doubts.iter().filter(|path| !scene.objects.contains_key(*path)) {
        writeln!(text, "  {path} is not there, but somebody does not know that")?;
    }
    writeln!(text, "  and {} object(s) of input", history.initial.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::example;
    use crate::verdict::Outcome;
    use cofferdam_engine::config::CheckpointMode;

    /// The first alignment that does not end at once.
    fn waiting(outcome: &Outcome) -> Option<(usize, SubtaskId, CheckpointId)> {
        let entries = &outcome.history.entries;
        entries.iter().enumerate().zip(entries.iter().skip(1)).find_map(|((at, entry), next)| {
            match (&entry.what, &next.what) {
                (_, What::Claim(Event::AlignmentEnded { .. })) => None,
                (What::Claim(Event::AlignmentStarted { subtask, checkpoint, .. }), _) => {
                    Some((at, *subtask, *checkpoint))
                }
                _ => None,
            }
        })
    }

    #[test]
    fn a_channel_whose_barrier_is_here_is_blocked_until_the_others_are() {
        let exactly_once = |outcome: &Outcome| outcome.plan.config().checkpoints.mode == CheckpointMode::ExactlyOnce;
        let (outcome, job) = example::run(|outcome| exactly_once(outcome) && waiting(outcome).is_some());
        let (at, subtask, checkpoint) = waiting(&outcome).expect("it was wanted");
        let told = told(&Case::new(&outcome.history, &job, None), at);
        let (_, behind) = told.split_once(&format!("\n  {} ", job.graph.show(subtask))).expect("the subtask");
        let own: Vec<&str> = behind.lines().skip(1).take_while(|line| line.starts_with("    ")).collect();
        assert_eq!(own[0].trim(), format!("aligns {checkpoint}: 1 barrier(s) are here"));
        assert_eq!(own.iter().filter(|line| line.contains("BLOCKED")).count(), 1, "{own:#?}");
    }

    #[test]
    fn a_pending_checkpoint_names_whose_ack_it_lacks() {
        let (outcome, job) = example::eventful();
        let acked = outcome.history.entries.iter().enumerate().find_map(|(at, entry)| match &entry.what {
            What::Claim(Event::AckReceived { subtask, checkpoint, .. }) => Some((at, *subtask, *checkpoint)),
            _ => None,
        });
        let (at, subtask, checkpoint) = acked.expect("an ack");
        let told = told(&Case::new(&outcome.history, &job, None), at);
        let line = told.lines().find(|line| line.contains(&format!("{checkpoint} pending"))).expect("a line");
        let (_, lacking) = line.split_once("1 ack(s), without one: ").expect("one ack");
        let lacking: Vec<&str> = lacking.split(", ").collect();
        assert!(!lacking.contains(&job.graph.show(subtask).as_str()), "{line}");
        assert_eq!(lacking.len(), job.graph.subtasks().len() - 1, "{line}");
    }

    #[test]
    fn at_the_end_everybody_is_done() {
        let undisturbed = |outcome: &Outcome| {
            let history = &outcome.tally.history;
            history.restores == 0 && history.finished == 1 && history.checkpoints_completed > 0
        };
        let (outcome, job) = example::run(undisturbed);
        let told = told(&Case::new(&outcome.history, &job, None), outcome.history.entries.len() - 1);
        assert!(!told.contains("re-execution stopped"), "{told}");
        let (_, subtasks) = told.split_once("\nSubtasks of").expect("an attempt");
        assert_eq!(subtasks.lines().filter(|line| line.contains(" finished")).count(), job.graph.subtasks().len());
    }
}

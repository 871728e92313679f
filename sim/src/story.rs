//! A history told as a story: one line an event, with virtual time and the lane of its process.

use crate::page::cuts;
use crate::report;
use crate::verdict::Outcome;
use cofferdam_engine::event::Event;
use cofferdam_engine::graph::JobGraph;
use cofferdam_engine::hash::stable_hash;
use cofferdam_engine::ids::{ChannelId, CheckpointId, SubtaskId};
use cofferdam_properties::history::{Entry, Fact, History, Incarnation, Process, What};
use serde_json::Value;
use std::fmt::Write;
use std::ops::Range;

/// What a story points at.
#[derive(Clone, Debug, Default)]
pub struct Marked {
    /// The first bad step.
    pub step: Option<usize>,
    /// The checkpoint that is violated.
    pub checkpoint: Option<CheckpointId>,
    /// What the faults of the plan are.
    pub faults: Vec<String>,
}

impl Marked {
    /// What a verdict points at.
    pub fn of(outcome: &Outcome) -> Self {
        Self {
            step: report::first_bad_step(outcome),
            checkpoint: cuts::violated(outcome).filter(|_| !outcome.verdict.passed()),
            faults: outcome.plan.faults.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The lines of `range`, each ended by a line feed, attempts under headings. In front of the first bad step stands `>`, in
/// front of the other entries about the violated checkpoint `|`, in front of faults and crashes `*`.
pub fn told(history: &History, graph: &JobGraph, range: Range<usize>, marked: &Marked) -> String {
    let mut text = String::new();
    for at in range {
        let Some(entry) = history.entries.get(at) else { break };
        if let Some(heading) = heading(entry) {
            writeln!(text, "--- {heading} ---").expect("strings can be written");
        }
        let pointer = pointer(at, entry, marked);
        write!(text, "{pointer}{at:>6} {}", line(entry, graph)).expect("strings can be written");
        if let What::Fact(Fact::FaultFired(n)) = entry.what
            && let Some(fault) = marked.faults.get(n)
        {
            write!(text, ": {fault}").expect("strings can be written");
        }
        text.push('\n');
    }
    text
}

/// What begins with an entry.
fn heading(entry: &Entry) -> Option<String> {
    let What::Claim(event) = &entry.what else { return None };
    match event {
        Event::LeadershipTaken { generation, .. } => Some(format!("{} leads as {generation}", entry.by.process)),
        Event::AttemptDeployed { attempt, restore: None } => Some(format!("attempt {attempt}, from the beginning")),
        Event::AttemptDeployed { attempt, restore: Some(restore) } => {
            Some(format!("attempt {attempt}, from {restore}"))
        }
        _ => None,
    }
}

fn pointer(at: usize, entry: &Entry, marked: &Marked) -> char {
    let about = match &entry.what {
        What::Claim(event) => event.checkpoint(),
        What::Fact(fact) => cuts::checkpoint_of(fact),
    };
    match &entry.what {
        _ if marked.step == Some(at) => '>',
        What::Fact(
            Fact::FaultFired(_) | Fact::RogueSent { .. } | Fact::RogueReceived { .. } | Fact::Crashed | Fact::Healed,
        ) => '*',
        _ if about.is_some() && about == marked.checkpoint => '|',
        _ => ' ',
    }
}

/// Every entry with everything in it, to be compared line by line.
pub fn in_full(history: &History) -> String {
    let mut text = String::new();
    for entry in &history.entries {
        match &entry.what {
            What::Fact(Fact::Written { path, bytes }) => {
                writeln!(text, "{} {:?} Written {path} {:016x}", entry.time, entry.by, stable_hash(bytes))
            }
            what => writeln!(text, "{} {:?} {what:?}", entry.time, entry.by),
        }
        .expect("strings can be written");
    }
    text
}

/// One entry without its number: `   123.456 ms  worker-1'2    ack sent  count[0] chk-3`.
fn line(entry: &Entry, graph: &JobGraph) -> String {
    let time = format!("{}.{:03}", entry.time / 1_000_000, entry.time / 1_000 % 1_000);
    let lane = lane(entry.by);
    format!("{time:>11} ms  {lane:<14} {}", what(entry, graph))
}

/// What happened, without when and where.
pub fn what(entry: &Entry, graph: &JobGraph) -> String {
    match &entry.what {
        What::Claim(event) => claim(&serde_json::to_value(event).expect("events serialise"), graph),
        What::Fact(fact) => fact_line(fact),
    }
}

/// The process, with the number of its incarnation from the second on.
fn lane(by: Incarnation) -> String {
    let indent = match by.process {
        Process::Coordinator(_) => 0,
        Process::Worker(worker) => usize::from(worker.0) + 1,
        Process::Client(client) => usize::from(client.0) + 4,
    };
    let again = if by.number > 1 { format!("'{}", by.number) } else { String::new() };
    format!("{}{}{again}", " ".repeat(indent), by.process)
}

fn fact_line(fact: &Fact) -> String {
    match fact {
        Fact::Started => "* comes up".to_owned(),
        Fact::Crashed => "* CRASHES".to_owned(),
        Fact::Ended(Ok(how)) => format!("* ends: {how}"),
        Fact::Ended(Err(error)) => format!("* fails: {error}"),
        Fact::Written { path, bytes } => format!("+ {path} ({} bytes)", bytes.len()),
        Fact::Deleted { path } => format!("- {path}"),
        Fact::OutcomeUnknown { path } => format!("? {path}: nobody knows whether that happened"),
        Fact::OutcomeKnown { path } => format!("! {path}: now it is known"),
        Fact::InputChanged { path, bytes: Some(bytes), .. } => {
            format!("~ {path} is changed from outside ({} bytes)", bytes.len())
        }
        Fact::InputChanged { path, bytes: None, .. } => format!("~ {path} is removed from outside"),
        Fact::FaultFired(n) => format!("* fault {n} strikes"),
        Fact::RogueSent { to, attempt, what } => {
            format!("* sends {} {what}, beside a report of {attempt}", to.process)
        }
        Fact::RogueReceived { from, .. } => format!("* reads a forged report of {}", from.process),
        Fact::ShownOutside { system, change } => {
            format!("+ external/{system} shows {} more, {} less", change.appeared.len(), change.vanished.len())
        }
        Fact::Healed => "* healed: nothing strikes any more".to_owned(),
    }
}

/// An event by its fields: its name, whom it is about, and the rest as `name=value`.
fn claim(event: &Value, graph: &JobGraph) -> String {
    let Value::Object(fields) = event else { return event.to_string() };
    let name = fields.get("event").and_then(Value::as_str).unwrap_or("?").replace('_', " ");
    let mut text = format!("{name:<20}");
    let fact = |name: &str| fields.get(name).cloned();
    if let Some(subtask) = fact("subtask").and_then(|value| serde_json::from_value::<SubtaskId>(value).ok()) {
        push(&mut text, &graph.show(subtask));
    }
    if let Some(checkpoint) = fact("checkpoint").filter(|value| !value.is_null()) {
        push(&mut text, &format!("chk-{checkpoint}"));
    }
    if let Some(channel) = fact("channel").and_then(|value| serde_json::from_value::<ChannelId>(value).ok()) {
        push(&mut text, &format!("from {}", producer(graph, channel)));
    }
    for (name, value) in fields {
        let shown = match (name.as_str(), value) {
            ("event" | "subtask" | "checkpoint" | "channel", _) => continue,
            ("attempt", Value::Object(attempt)) => {
                format!("(a{}.{})", attempt["generation"], attempt["number"])
            }
            ("digest", Value::Number(digest)) => format!("digest={:08x}", digest.as_u64().unwrap_or_default() >> 32),
            ("worker", Value::Number(worker)) => format!("worker-{worker}"),
            ("restore", Value::Number(checkpoint)) => format!("restoring chk-{checkpoint}"),
            (_, Value::Bool(false) | Value::Null) => continue,
            (name, Value::Bool(true)) => name.to_owned(),
            (name, Value::Number(ns)) if name.ends_with("_ns") => {
                let (name, ms) = (name.trim_end_matches("_ns"), ns.as_f64().unwrap_or_default() / 1e6);
                format!("{name}={ms} ms")
            }
            ("path" | "manifest" | "cause" | "reason", Value::String(text)) => text.clone(),
            (name, value) => format!("{name}={value}"),
        };
        push(&mut text, &shown);
    }
    text.trim_end().to_owned()
}

fn producer(graph: &JobGraph, channel: ChannelId) -> String {
    match graph.edges.get(usize::from(channel.edge.0)) {
        Some(edge) => graph.show(SubtaskId { operator: edge.from, index: channel.from }),
        None => channel.to_string(),
    }
}

fn push(text: &mut String, word: &str) {
    if !text.ends_with(' ') {
        text.push(' ');
    }
    text.push_str(word);
}

/// The first line on which two histories told [in full](in_full) differ, counted from 1, with both versions.
pub fn first_difference(one: &str, other: &str) -> Option<(usize, String, String)> {
    let (mut left, mut right) = (one.lines(), other.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (left.next(), right.next()) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (a, b) => {
                let or_end = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
                return Some((number, or_end(a), or_end(b)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_verdict_is_about_is_pointed_at() {
        let (outcome, job) = crate::explain::example::eventful();
        let (history, faults) = (&outcome.history, Marked::of(&outcome).faults);
        let marked = Marked { step: Some(3), checkpoint: Some(CheckpointId(1)), faults };
        let told = told(history, &job.graph, 0..history.entries.len(), &marked);
        let with = |pointer: char| told.lines().filter(move |line| line.starts_with(pointer));
        assert!(with('>').count() == 1 && with('>').all(|line| line[1..].trim_start().starts_with("3 ")));
        assert!(with('|').count() > 5 && with('|').all(|line| line.contains("chk-1")), "{told}");
        let struck = with('*').filter(|line| line.contains("strikes: ")).count();
        assert!(struck > 0 && told.lines().any(|line| line.starts_with("--- attempt a1.1")), "{told}");
    }

    #[test]
    fn the_first_difference_is_found_and_equal_texts_have_none() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some((2, "b".into(), "c".into())));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some((2, "(the end)".into(), "b".into())));
    }
}

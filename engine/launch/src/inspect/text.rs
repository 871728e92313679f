//! A report as text for people.

use super::report::{CheckpointReport, OperatorReport, Report, SectionReport, SlotReport, SubtaskReport};
use cofferdam_engine::persist::slot::SlotRecord;
use cofferdam_engine::reason::Ended;
use cofferdam_engine::state::{SectionKind, StateDescriptor};
use cofferdam_engine::statistics::SnapshotStatistics;
use indicatif::{HumanBytes, HumanCount};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The report as text.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    write(&mut text, report).expect("strings take everything");
    text
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    if let Some(top) = report.log.last() {
        writeln!(
            out,
            "{}: log {} of {} slots, {} checkpoints retained",
            report.folder,
            top.log,
            report.log.len(),
            report.checkpoints.len()
        )?;
        for slot in &report.log {
            writeln!(out, "  slot {:>4}  generation {:>3}  {}", slot.slot, slot.generation, record(slot))?;
        }
    }
    for checkpoint in &report.checkpoints {
        write_checkpoint(out, checkpoint)?;
    }
    Ok(())
}

fn record(slot: &SlotReport) -> String {
    match &slot.record {
        SlotRecord::NewGeneration => format!("leadership taken, ids up to {} reserved", slot.ids_reserved),
        SlotRecord::IdsReserved => format!("ids up to {} reserved", slot.ids_reserved),
        SlotRecord::Completed { checkpoint, floor, .. } => {
            format!("{checkpoint} completed, slots below {floor} no longer count")
        }
        SlotRecord::Ended { how: Ended::Finished { checkpoint }, floor } => {
            format!("the job is finished, with {checkpoint}, slots from {floor} on count")
        }
        SlotRecord::Ended { how: Ended::Failed { cause }, floor } => {
            format!("the job failed: {cause}; slots from {floor} on count")
        }
        SlotRecord::Ended { how: Ended::Cancelled, floor } => {
            format!("the job was cancelled, slots from {floor} on count")
        }
    }
}

fn write_checkpoint(out: &mut String, checkpoint: &CheckpointReport) -> std::fmt::Result {
    let CheckpointReport { job, attempt, triggered, key_groups, .. } = checkpoint;
    let last = if checkpoint.last { " (the final one)" } else { "" };
    writeln!(out, "{}{last}: {}", checkpoint.checkpoint, checkpoint.manifest)?;
    let bytes = HumanBytes(checkpoint.bytes);
    let took = checkpoint.duration_ms;
    writeln!(out, "  job {job}, attempt {attempt}, triggered {triggered}, {key_groups} key groups, {bytes}")?;
    writeln!(out, "  acknowledged by all {took} ms after the trigger; what each subtask spent on it:")?;
    write_costs(out, checkpoint)?;
    checkpoint.operators.iter().try_for_each(|operator| write_operator(out, operator))
}

/// A table: one line a subtask.
fn write_costs(out: &mut String, checkpoint: &CheckpointReport) -> std::fmt::Result {
    let subtasks =
        || checkpoint.operators.iter().flat_map(|operator| operator.subtasks.iter().map(move |s| (operator, s)));
    let name = |(operator, subtask): (&OperatorReport, &SubtaskReport)| format!("{}[{}]", operator.uid, subtask.index);
    let width = subtasks().map(|one| name(one).chars().count()).max().unwrap_or_default().max("subtask".len());
    let head = ["start delay", "alignment", "sync", "async"].map(|what| format!("{what:>11}")).join(" ");
    writeln!(out, "    {:width$} {head} {:>11}", "subtask", "stored")?;
    for (operator, subtask) in subtasks() {
        let SnapshotStatistics { start_delay_ms, alignment_ms, sync_ms, async_ms, bytes } = subtask.statistics;
        write!(out, "    {:width$} ", name((operator, subtask)))?;
        if subtask.carried {
            writeln!(out, "finished before; carried forward from an older checkpoint")?;
            continue;
        }
        let spent = [start_delay_ms, alignment_ms, sync_ms, async_ms].map(|ms| format!("{:>11}", format!("{ms} ms")));
        writeln!(out, "{} {:>11}", spent.join(" "), HumanBytes(bytes).to_string())?;
    }
    Ok(())
}

fn write_operator(out: &mut String, operator: &OperatorReport) -> std::fmt::Result {
    writeln!(out, "  operator {}, parallelism {}", operator.uid, operator.subtasks.len())?;
    for state in &operator.states {
        let StateDescriptor { name, kind, key, value, codec, version, key_type: _, value_type: _ } = state;
        let key = key.as_ref().map_or(String::new(), |key| format!("{key} -> "));
        let version = version.map_or(String::new(), |version| format!(", version {version}"));
        writeln!(out, "    state {name:?}: {kind:?} of {key}{value}, codec {codec}{version}")?;
    }
    for subtask in &operator.subtasks {
        let ended = if subtask.ended { ", input ended" } else { "" };
        writeln!(
            out,
            "    [{}] {}, digest {}{ended}: {}",
            subtask.index,
            HumanBytes(subtask.bytes),
            subtask.digest,
            subtask.file
        )?;
        for line in sections(&subtask.sections) {
            writeln!(out, "        {line}")?;
        }
    }
    Ok(())
}

/// One line a state: the key groups of a keyed state together.
fn sections(sections: &[SectionReport]) -> Vec<String> {
    let mut states: BTreeMap<(SectionKind, &str), Vec<&SectionReport>> = BTreeMap::new();
    for section in sections {
        states.entry((section.kind, &section.name)).or_default().push(section);
    }
    let lines = states.into_iter().map(|((kind, name), parts)| {
        let bytes = HumanBytes(parts.iter().map(|part| part.bytes as u64).sum());
        let entries = HumanCount(parts.iter().filter_map(|part| part.entries).sum::<usize>() as u64);
        match kind {
            SectionKind::Keyed => {
                let most = HumanCount(parts.iter().filter_map(|part| part.entries).max().unwrap_or_default() as u64);
                let groups = parts.len();
                format!("keyed {name:?}: {entries} entries in {groups} key groups (at most {most} in one), {bytes}")
            }
            SectionKind::Source => format!("source {name:?}: {bytes}"),
            SectionKind::Sink => format!("sink {name:?}: {entries} committables, {bytes}"),
            SectionKind::Operator => format!("local {name:?}: {bytes}"),
        }
    });
    lines.collect()
}

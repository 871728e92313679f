//! A random graph for people: one line an operator, in the order in which they are built.

use super::build::uid;
use super::{GraphSpec, Input, Node, Operator, Step, Travel};
use std::fmt;

impl fmt::Display for GraphSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} operators, {} subtasks, {} key(s)", self.nodes.len(), self.subtasks(), self.keys)?;
        let width = self.nodes.iter().enumerate().map(|(n, node)| uid(n, node).len()).max().unwrap_or_default();
        for (n, node) in self.nodes.iter().enumerate() {
            write!(f, "\n  {:width$} x{}", uid(n, node), node.parallelism)?;
            show(f, node)?;
        }
        Ok(())
    }
}

fn show(f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
    for port in 0..node.operator.ports() {
        f.write_str(if port == 0 { "  <- " } else { "  and " })?;
        for (n, input) in node.inputs.iter().filter(|input| input.port == port).enumerate() {
            f.write_str(if n == 0 { "" } else { " + " })?;
            show_input(f, input)?;
        }
    }
    match node.operator {
        Operator::Generate { records, interval_ms: 0, .. } => write!(f, "  {records} records a subtask")?,
        Operator::Generate { records, interval_ms, burst, .. } => {
            write!(f, "  {records} records a subtask, {burst} every {interval_ms} ms")?;
        }
        Operator::Read { lines, files, split_bytes, chunk_bytes, .. } => {
            write!(f, "  {lines} lines in {files} file(s), splits of {split_bytes} bytes, reads of {chunk_bytes}")?;
        }
        Operator::Apply(step) => show_step(f, step)?,
        Operator::Tick { every } | Operator::Session { every } => write!(f, "  every {every}")?,
        Operator::Gather { size } => write!(f, "  {size} at a time")?,
        _ => {}
    }
    match node.fused {
        None => Ok(()),
        Some(step) => {
            f.write_str("  then")?;
            show_step(f, step)
        }
    }
}

fn show_input(f: &mut fmt::Formatter<'_>, input: &Input) -> fmt::Result {
    let how = match input.exchange {
        Travel::Forward => "forward",
        Travel::Rebalance => "rebalance",
        Travel::Broadcast => "broadcast",
        Travel::ByKey => "by key",
    };
    write!(f, "n{} {how}", input.from)
}

fn show_step(f: &mut fmt::Formatter<'_>, step: Step) -> fmt::Result {
    match step {
        Step::Add(number) => write!(f, "  add {number}"),
        Step::Rekey(keys) => write!(f, "  rekey to {keys}"),
        Step::Drop(one_in) => write!(f, "  drop one in {one_in}"),
        Step::Expand(copies) => write!(f, "  {copies} for each"),
    }
}

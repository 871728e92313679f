//! How much a plan may ask for. Plans are also written by people, and a number that is a few digits too long shall be refused in
//! one line, instead of filling the memory or overflowing somewhere in the middle of a run.
//!
//! Far above whatever is drawn: the largest drawn plans have a hundred lines and a dozen subtasks.

use super::{InputShape, Plan};
use crate::plan::graph::{GraphSpec, Operator};
use serde_json::Value;

/// No number of a plan is larger, whatever it is: as milliseconds thirty years, which are still a time in nanoseconds.
const NUMBER_MAX: u64 = 1_000_000_000_000;
/// Records and words that are written or made, and what a channel may hold.
const RECORDS_MAX: u64 = 1_000_000;
/// Processes, and subtasks of an operator.
const PROCESSES_MAX: u16 = 1_000;
/// Different words; they are as long as there are many.
const WORDS_MAX: u64 = 10_000;

/// Numbers that decide draws and mean no amount.
const DRAWN: [&str; 3] = ["salt", "lane", "changes"];

/// Whether a plan stays within bounds, and if not what does not, in one line.
pub fn check(plan: &Plan) -> Result<(), String> {
    let value = serde_json::to_value(plan).expect("plans serialise");
    if let Some((name, number)) = too_large("plan", &value) {
        return Err(format!("{name} = {number} is too much: no number of a plan exceeds {NUMBER_MAX}"));
    }
    let widest = plan.input.widest().unwrap_or_default().max(plan.parallelism);
    let graph = match &plan.input {
        InputShape::Graph(spec) => spec.nodes.len() as u64,
        InputShape::Files { .. } | InputShape::Generated { .. } | InputShape::Own(_) => 0,
    };
    let amounts = [
        ("workers", plan.workers.into(), PROCESSES_MAX.into()),
        ("parallelism", widest.into(), PROCESSES_MAX.into()),
        ("batch_records", plan.batch_records as u64, RECORDS_MAX),
        ("credits", plan.credits.into(), RECORDS_MAX),
        ("operators", graph, PROCESSES_MAX.into()),
    ];
    let amounts = amounts.into_iter().chain(of_input(&plan.input));
    match amounts.into_iter().find(|(_, amount, most)| amount > most) {
        Some((name, amount, most)) => Err(format!("{name} = {amount} is too much: at most {most}")),
        None => Ok(()),
    }
}

/// Amounts by name, with the most there may be.
fn of_input(input: &InputShape) -> Vec<(&'static str, u64, u64)> {
    match input {
        InputShape::Files { lines, words_max, words, .. } => vec![
            ("lines", *lines, RECORDS_MAX),
            ("words_max", *words_max, RECORDS_MAX),
            ("lines x words_max", lines.saturating_mul(*words_max), RECORDS_MAX),
            ("words", *words, WORDS_MAX),
        ],
        InputShape::Generated { records, burst, .. } => {
            vec![("records", *records, RECORDS_MAX), ("burst", *burst as u64, RECORDS_MAX)]
        }
        InputShape::Graph(spec) => of_graph(spec),
        // Measured, by a run that had them.
        InputShape::Own(_) => Vec::new(),
    }
}

fn of_graph(spec: &GraphSpec) -> Vec<(&'static str, u64, u64)> {
    let mut amounts = Vec::new();
    for node in &spec.nodes {
        match node.operator {
            Operator::Generate { records, burst, .. } => {
                amounts.extend([("records", records, RECORDS_MAX), ("burst", burst as u64, RECORDS_MAX)]);
            }
            Operator::Read { lines, .. } => amounts.push(("lines", lines, RECORDS_MAX)),
            _ => {}
        }
    }
    // Only of a graph that makes sense.
    if spec.validate().is_ok() {
        amounts.push(("records in all", spec.volumes().into_iter().max().unwrap_or_default(), RECORDS_MAX));
    }
    amounts
}

/// The first number that is too large, with the name of its field.
fn too_large(name: &str, value: &Value) -> Option<(String, u64)> {
    match value {
        Value::Number(number) => number.as_u64().filter(|n| *n > NUMBER_MAX).map(|n| (name.to_owned(), n)),
        Value::Array(values) => values.iter().find_map(|value| too_large(name, value)),
        Value::Object(fields) => {
            let amounts = fields.iter().filter(|(name, _)| !DRAWN.contains(&name.as_str()));
            amounts.into_iter().find_map(|(name, value)| too_large(name, value))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::JobKind;
    use crate::seed::Seed;

    fn drawn(job: JobKind) -> Plan {
        let seed = (0..).map(Seed).find(|seed| Plan::job_of(*seed) == job).expect("every job is drawn");
        Plan::of(seed)
    }

    #[test]
    fn what_is_drawn_is_within_bounds() {
        for plan in &*crate::plan::tests::SAMPLE {
            assert_eq!(plan.validate(), Ok(()));
        }
    }

    #[test]
    fn whatever_is_far_too_large_is_refused_by_its_name() {
        let huge = 9_000_000_000_000_000_000_u64;
        for (job, field) in [
            (JobKind::WordCount, "lines"),
            (JobKind::WordCount, "words"),
            (JobKind::WordCount, "heal_at_ms"),
            (JobKind::Join, "records"),
            (JobKind::Join, "batch_records"),
            (JobKind::Graph, "liveness_ms"),
            (JobKind::Graph, "base_ns"),
        ] {
            for amount in [huge, 1_000_000_000_001] {
                let mut plan = serde_json::to_value(drawn(job)).expect("plans serialise");
                assert!(set(&mut plan, field, amount), "{job:?} has {field}");
                let plan: Plan = serde_json::from_value(plan).expect("it is still a plan");
                let message = plan.validate().expect_err(field);
                assert!(message.starts_with(&format!("{field} = {amount} is too much")), "{message}");
            }
        }
    }

    #[test]
    fn records_that_multiply_on_their_way_are_counted_where_they_arrive() {
        let mut plan = drawn(JobKind::Graph);
        let InputShape::Graph(spec) = &mut plan.input else { unreachable!("a graph") };
        let source = spec.nodes.iter_mut().find(|node| node.inputs.is_empty()).expect("a source");
        source.fused = Some(crate::plan::graph::Step::Expand(100_000_000));
        let message = plan.validate().expect_err("too many");
        assert!(message.starts_with("records in all = "), "{message}");
    }

    /// Sets the first field of this name.
    fn set(value: &mut Value, field: &str, number: u64) -> bool {
        let Value::Object(fields) = value else { return false };
        match fields.get_mut(field) {
            Some(value) => {
                *value = number.into();
                true
            }
            None => fields.values_mut().any(|value| set(value, field, number)),
        }
    }
}

//! The table of planted bugs: which were caught, by what, and how soon.

use super::capsules::convicts;
use super::planted::PlantedBug;
use crate::shrink::Size;
use crate::shrink::command::Report;
use crate::strategy::{Choice, Drawn};
use crate::verdict::Verdict;
use serde_json::json;
use std::collections::BTreeMap;

/// A line of the table.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Which bug.
    pub bug: PlantedBug,
    /// How often it was hunted.
    pub hunts: u64,
    /// With how many seeds each time.
    pub seeds: u64,
    /// How it was caught, in each hunt that did.
    pub catches: Vec<Catch>,
    /// The same by other strategies, for comparison.
    pub compared: Vec<Compared>,
    /// What came of its capsule, if it had one.
    pub capsule: Option<String>,
    /// How small its failure became.
    pub shrunk: Option<Report>,
}

/// What another strategy made of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compared {
    /// Which strategy.
    pub strategy: Choice,
    /// With how many seeds each of its hunts was given up.
    pub seeds: u64,
    /// How it was caught, in each hunt that did.
    pub catches: Vec<Catch>,
}

/// How a bug was caught.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catch {
    /// The run that convicts.
    pub drawn: Drawn,
    /// The verdict on it.
    pub verdict: Verdict,
    /// Which seed of the hunt it was, from 1.
    pub runs: u64,
}

impl Catch {
    fn by_assertion(&self) -> bool {
        matches!(self.verdict, Verdict::EngineAssertion { .. } | Verdict::Died { .. })
    }

    /// Whether what convicted is what its story names.
    pub fn expected_of(&self, bug: &PlantedBug) -> bool {
        bug.properties.contains(&self.by())
    }

    /// The name of what convicted.
    fn by(&self) -> String {
        match &self.verdict {
            Verdict::Violation { property, .. } => property.clone(),
            other => other.label().to_owned(),
        }
    }
}

impl Row {
    /// Whether some hunt did not find it, or what convicted it was not what must: then another bug was found, or the judge
    /// that should have convicted is asleep.
    pub fn missed(&self) -> bool {
        let expected = self.catches.iter().filter(|catch| catch.expected_of(&self.bug));
        (expected.count() as u64) < self.hunts
    }

    /// Whether its capsule, if it has one, fails to convict it.
    pub fn capsule_is_silent(&self) -> bool {
        self.shrunk.is_none() && self.capsule.as_ref().is_some_and(|said| !convicts(said))
    }

    /// How small its failure became, for the table.
    fn size(&self) -> String {
        let told = |report: &Report| {
            let Size { faults, subtasks, records, entries, .. } = report.to;
            format!("{faults}f {subtasks}s {records}r, {entries} entries, {:.1} s", report.seconds)
        };
        self.shrunk.as_ref().map_or("-".to_owned(), told)
    }

    /// Runs it took in the median, if so many hunts caught it that there is one.
    pub fn median_runs(&self) -> Option<u64> {
        median(&self.catches, self.hunts)
    }

    /// By whom it was caught, the most frequent first.
    fn convicted_by(&self, assertion: bool) -> String {
        let mut names: Vec<(u64, String)> = Vec::new();
        for catch in self.catches.iter().filter(|catch| catch.by_assertion() == assertion) {
            let name = catch.by();
            match names.iter_mut().find(|(_, known)| *known == name) {
                Some((times, _)) => *times += 1,
                None => names.push((1, name)),
            }
        }
        names.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
        let unexpected = |name: &str| if self.bug.properties.iter().any(|p| p == name) { "" } else { " (!)" };
        let shown: Vec<String> = names.iter().map(|(_, name)| format!("{name}{}", unexpected(name))).collect();
        if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
    }
}

/// The median of the runs that hunts took, if so many of them caught the bug that there is one.
fn median(catches: &[Catch], hunts: u64) -> Option<u64> {
    let mut runs: Vec<u64> = catches.iter().map(|catch| catch.runs).collect();
    runs.sort_unstable();
    runs.get(hunts as usize / 2).copied()
}

/// One line, as it is found.
pub fn line(row: &Row) -> String {
    let told = |catches: &[Catch], seeds| {
        let times = format!("{}/{}", catches.len(), row.hunts);
        match catches.first() {
            Some(catch) => {
                let runs = runs(catches, row.hunts, seeds);
                format!("caught {times} by {} after {runs} run(s)", catch.by())
            }
            None => format!("NOT caught in {seeds} runs"),
        }
    };
    let mut line = format!("{}: {}", row.bug.name, told(&row.catches, row.seeds));
    if let Some(replayed) = &row.capsule {
        line.push_str(&format!("; its capsule {replayed}"));
    }
    for other in &row.compared {
        line.push_str(&format!("; by {}: {}", other.strategy, told(&other.catches, other.seeds)));
    }
    line
}

/// The median, or more than there were runs.
fn runs(catches: &[Catch], hunts: u64, seeds: u64) -> String {
    median(catches, hunts).map_or_else(|| format!(">{seeds}"), |runs| runs.to_string())
}

/// The table.
pub fn text(rows: &[Row]) -> String {
    let head = ["bug", "source", "caught", "by property", "by assertion", "runs", "seed", "shrunk to"];
    let compared = rows.first().into_iter().flat_map(|row| &row.compared);
    let head: Vec<String> = head
        .map(str::to_owned)
        .into_iter()
        .chain(compared.map(|other| format!("runs by {}", other.strategy)))
        .collect();
    let mut table: Vec<Vec<String>> = vec![head.clone()];
    for row in rows {
        let mut cells = vec![
            row.bug.name.clone(),
            row.bug.source.clone(),
            format!("{}/{}", row.catches.len(), row.hunts),
            row.convicted_by(false),
            row.convicted_by(true),
            runs(&row.catches, row.hunts, row.seeds),
            row.catches.first().map_or("-".to_owned(), |catch| catch.drawn.to_string()),
            row.size(),
        ];
        cells.extend(row.compared.iter().map(|other| runs(&other.catches, row.hunts, other.seeds)));
        table.push(cells);
    }
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &table {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    let caught = rows.iter().filter(|row| !row.missed()).count();
    let by_property = rows.iter().filter(|row| row.catches.iter().any(|catch| !catch.by_assertion())).count();
    let unexpected =
        if text.contains("(!)") { "; (!) convicted by another property than its story expects" } else { "" };
    text.push_str(&format!("{caught} of {} caught, {by_property} by a property{unexpected}\n", rows.len()));
    text
}

/// The table for programs: one line of JSON a bug.
pub fn json(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let caught = |catches: &[Catch]| -> Vec<serde_json::Value> {
            let one = |c: &Catch| json!({ "run": c.drawn.to_string(), "by": c.by(), "assertion": c.by_assertion(), "runs": c.runs });
            catches.iter().map(one).collect()
        };
        let compared: BTreeMap<String, Vec<serde_json::Value>> =
            row.compared.iter().map(|other| (other.strategy.to_string(), caught(&other.catches))).collect();
        let line = json!({
            "bug": row.bug.name,
            "source": row.bug.source,
            "properties": row.bug.properties,
            "hunts": row.hunts,
            "seeds": row.seeds,
            "catches": caught(&row.catches),
            "compared": compared,
            "median_runs": row.median_runs(),
            "capsule": row.capsule,
            "shrunk": row.shrunk,
        });
        text.push_str(&format!("{line}\n"));
    }
    text
}

/// The bugs with their stories.
pub fn list(bugs: &[PlantedBug]) -> String {
    let one = |bug: &PlantedBug| {
        let properties = bug.properties.join(", ");
        format!("{} ({}; {properties})\n  {}\n", bug.name, bug.source, bug.story.trim().replace('\n', "\n  "))
    };
    bugs.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::strategy::Name;

    fn row(verdicts: &[Verdict]) -> Row {
        let bug = PlantedBug {
            name: "a-bug".into(),
            story: "it broke".into(),
            source: "FLINK-1".into(),
            properties: vec!["exactly-once-state".into()],
            edits: Vec::new(),
        };
        let drawn = |n| Drawn { strategy: Name::Random, seed: Seed(n) };
        let catch =
            |(n, verdict): (usize, &Verdict)| Catch { drawn: drawn(n as u64), verdict: verdict.clone(), runs: 7 };
        Row {
            bug,
            hunts: 2,
            seeds: 100,
            catches: verdicts.iter().enumerate().map(catch).collect(),
            compared: vec![Compared { strategy: Choice::One(Name::Times), seeds: 40, catches: Vec::new() }],
            capsule: None,
            shrunk: None,
        }
    }

    #[test]
    fn assertions_and_properties_are_different_columns() {
        let violation =
            Verdict::Violation { property: "exactly-once-state".into(), what: String::new(), step: None, place: None };
        let assertion = Verdict::EngineAssertion { message: "boom".into() };
        let row = row(&[violation, assertion]);
        assert_eq!(row.convicted_by(false), "exactly-once-state");
        assert_eq!(row.convicted_by(true), "engine assertion (!)");
        assert!(row.missed(), "an assertion that its story does not name is no conviction");
    }

    #[test]
    fn a_bug_that_nobody_caught_is_missed_and_shown_as_such() {
        let row = row(&[]);
        assert!(row.missed());
        assert!(line(&row).contains("NOT caught in 100 runs"));
        assert!(line(&row).contains("by times: NOT caught in 40 runs"));
        let table = text(&[row]);
        assert!(table.contains("0 of 1 caught"), "{table}");
        assert!(table.contains("runs by times"), "what was compared has a column of its own: {table}");
    }

    #[test]
    fn a_capsule_that_does_not_convict_any_more_is_silent() {
        let said = |capsule: Option<&str>| Row { capsule: capsule.map(str::to_owned), ..row(&[]) };
        assert!(said(Some("passes: what it was written for does not happen any more")).capsule_is_silent());
        assert!(!said(Some("reproduces, the same run to the last event")).capsule_is_silent());
        assert!(!said(None).capsule_is_silent());
    }

    #[test]
    fn an_unexpected_judge_is_marked() {
        assert_eq!(row(&[Verdict::Stuck { what: String::new(), phase: None }]).convicted_by(false), "stuck (!)");
    }
}

//! What is written beside the output, for machines and for pages that people look at in the morning: the coverage matrix as
//! JSON, test results as JUnit reads them, and a summary in Markdown.

use super::campaign::{Campaign, Kind};
use super::writable;
use crate::marks;
use clap::Args;
use cofferdam_properties::PROPERTIES;
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;

/// Where to.
#[derive(Args, Clone, Debug, Default)]
pub struct PublishArgs {
    /// Write the coverage matrix, with the whole summary, as JSON, for `merge`
    #[arg(long, value_name = "FILE")]
    pub coverage: Option<PathBuf>,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a summary in Markdown
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Fail if something that any campaign must reach was not reached
    #[arg(long)]
    pub require_marks: bool,
}

impl PublishArgs {
    /// Whether all of it can be written, before there is anything to write.
    pub fn writable(&self) -> Result<(), String> {
        [&self.coverage, &self.junit, &self.summary].into_iter().flatten().try_for_each(|path| writable::file(path))
    }
}

/// Writes what was asked for.
pub fn publish(campaign: &Campaign, args: &PublishArgs) -> Result<(), String> {
    type Render = fn(&Campaign) -> String;
    let files: [(&Option<PathBuf>, Render); 3] =
        [(&args.coverage, coverage), (&args.junit, junit), (&args.summary, markdown)];
    for (path, render) in files {
        if let Some(path) = path {
            std::fs::write(path, render(campaign)).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}

fn coverage(campaign: &Campaign) -> String {
    let counts = campaign.coverage.counts();
    let never_armed = campaign.coverage.never_armed();
    format!("{}\n", json!({ "summary": campaign, "cells": counts, "never_armed": never_armed }))
}

/// What can go wrong besides a property.
const LABELS: [&str; 6] = ["stuck", "over budget", "engine assertion", "hang", "died", "harness error"];

fn junit(campaign: &Campaign) -> String {
    let names: Vec<&str> = PROPERTIES.iter().map(|property| property.name).chain(LABELS).collect();
    let mut cases = String::new();
    let mut failed = 0;
    let mut case = |name: &str, failures: &[String]| {
        let name = escaped(name);
        match failures {
            [] => writeln!(cases, "  <testcase classname=\"cofferdam\" name=\"{name}\"/>"),
            failures => {
                failed += 1;
                let text = escaped(&failures.join("\n"));
                let kind = format!("<failure message=\"{} kind(s) of failure\">{text}</failure>", failures.len());
                writeln!(cases, "  <testcase classname=\"cofferdam\" name=\"{name}\">{kind}</testcase>")
            }
        }
        .expect("strings can be written");
    };
    for name in &names {
        let of = |(signature, kind): (&String, &Kind)| (kind.property == *name).then(|| told(signature, kind));
        case(name, &campaign.kinds.iter().filter_map(of).collect::<Vec<_>>());
    }
    let other =
        |(signature, kind): (&String, &Kind)| (!names.contains(&kind.property.as_str())).then(|| told(signature, kind));
    case("nothing else", &campaign.kinds.iter().filter_map(other).collect::<Vec<_>>());
    let divergences: Vec<String> =
        campaign.divergences.iter().map(|d| format!("{} ran twice and differed", d.run)).collect();
    case("determinism", &divergences);
    case("marks", &campaign.missing_marks);
    case("the harness", &campaign.trouble.iter().cloned().collect::<Vec<_>>());
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"cofferdam hunt\" tests=\"{}\" failures=\"{failed}\" time=\"{:.1}\">\n{cases}</testsuite>\n",
        names.len() + 4,
        campaign.seconds
    )
}

fn told(signature: &str, kind: &Kind) -> String {
    format!("{signature}: {} run(s), first {}: {}", kind.runs, kind.run, kind.what)
}

/// What XML may hold. Most control characters have no place in it, not even escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn markdown(campaign: &Campaign) -> String {
    let mut text = String::new();
    let head = if campaign.failures == 0 { "nothing failed" } else { "failures" };
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(format!("## {} runs: {head}\n", campaign.runs));
    if !campaign.kinds.is_empty() {
        line("| failure | runs | first |\n|---|---|---|".to_owned());
    }
    for (signature, kind) in &campaign.kinds {
        line(format!("| {} | {} | `{}` |", signature.replace('|', "\\|"), kind.runs, kind.run));
    }
    let counts = campaign.coverage.counts();
    line(format!(
        "\n| coverage | cells |\n|---|---|\n| hit | {} |\n| fired, hit nothing | {} |\n| never fired | {} |\n| never armed | {} |",
        counts.hit, counts.hit_nothing, counts.never_fired, counts.never_armed
    ));
    let (missing, all) = (campaign.missing_marks.len(), marks::count());
    line(format!(
        "\n{} of {all} marks reached; {} seeds ran twice, {} differed\n",
        all - missing,
        campaign.repeated,
        campaign.divergences.len()
    ));
    campaign.missing_marks.iter().for_each(|mark| line(format!("* missing: {mark}")));
    line(format!("<details><summary>Everything</summary>\n\n```text\n{campaign}```\n\n</details>"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing() -> Campaign {
        let kind = Kind { runs: 2, property: "no-orphans".into(), run: "g10:0x2".into(), what: "a < b & \"c\"".into() };
        Campaign { hunts: 1, runs: 9, failures: 2, kinds: [("no-orphans".into(), kind)].into(), ..Campaign::default() }
    }

    #[test]
    fn a_failure_is_a_failed_test_case_of_its_property() {
        let text = junit(&failing());
        assert!(text.contains("failures=\"1\""), "{text}");
        let case = text.lines().find(|line| line.contains("name=\"no-orphans\"")).expect("a case for each property");
        assert!(case.contains("a &lt; b &amp; &quot;c&quot;") && case.contains("g10:0x2"), "{case}");
        assert_eq!(text.matches("<testcase").count(), PROPERTIES.len() + LABELS.len() + 4);
        assert!(!junit(&Campaign::default()).contains("<failure"));
    }

    #[test]
    fn the_page_says_what_failed() {
        let text = markdown(&failing());
        assert!(text.starts_with("## 9 runs: failures") && text.contains("| no-orphans | 2 | `g10:0x2` |"), "{text}");
    }
}

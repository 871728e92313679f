//! The page of a run in a real browser: it does what a person would do with it, and says in the document what it saw.
//!
//! Without a Chromium on the machine there is nothing to look with, and this says so.

use cofferdam_launch::out;
use cofferdam_sim::builtin;
use cofferdam_sim::page::{self, Nearest};
use cofferdam_sim::plan::Plan;
use cofferdam_sim::run::Runner;
use cofferdam_sim::seed::Seed;
use cofferdam_sim::verdict::Outcome;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A run with something to see: several faults, a restore and completed checkpoints.
fn eventful(runner: &Runner) -> Outcome {
    let mut outcomes = (0..500).map(|seed| runner.run(Seed(seed)));
    let wanted = outcomes.find(|outcome| {
        let history = &outcome.tally.history;
        outcome.verdict.passed()
            && outcome.plan.faults.len() > 1
            && history.checkpoints_completed > 3
            && history.restores > 0
            && outcome.history.entries.len() > 500
    });
    wanted.expect("one of 500 runs")
}

fn main() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).flat_map(|folder| BROWSERS.map(|name| folder.join(name)));
    let Some(browser) = programs.find(|program| program.is_file()) else {
        out::say(format_args!("page: SKIPPED: none of {} is on this machine", BROWSERS.join(", ")));
        return;
    };
    let runner = builtin::runner();
    let outcome = eventful(&runner);
    let graph = runner.stage(outcome.seed, &outcome.plan).expect("it was run").job.graph;
    let page = page::page(&outcome, &graph, None, "cofferdam replay it");
    a_passing_run_is_drawn(&outcome, &seen_by(&browser, &page));

    let mut failing = outcome.clone();
    let step = failing.history.entries.len() * 2 / 3;
    let what = "slot 1: checkpoints/log/0000000001 was written, as it were";
    let verdict = json!({"verdict": "violation", "property": "one-outcome", "what": what, "step": step});
    failing.verdict = serde_json::from_value(verdict).expect("a verdict");
    let kinder = runner.run_plan(outcome.seed, Plan { faults: Vec::new(), ..outcome.plan.clone() });
    let nearest = Nearest { outcome: &kinder, about: "without any fault" };
    let page = page::page(&failing, &graph, Some(nearest), "cofferdam replay it");
    a_failing_run_is_drawn_above_one_that_passes(&failing, &kinder, step, &seen_by(&browser, &page));
    out::say(format_args!("page: 2 pages were drawn by {}", browser.display()));
}

fn a_passing_run_is_drawn(outcome: &Outcome, seen: &Value) {
    let entries = outcome.history.entries.len();
    assert_eq!(seen["runs"], 1);
    assert_eq!(seen["entries"][0], entries);
    assert_eq!(seen["labelled"], true);
    assert_eq!(seen["step"], Value::Null);
    assert_eq!(seen["parting"], Value::Null);
    let count = |what: &str| seen[what][0].as_u64().unwrap_or_else(|| panic!("{what} is counted: {seen}"));
    assert!(seen["lanes"].as_u64() > Some(8), "{seen}");
    assert!(count("spans") > 50 && count("arrows") > 50 && count("cuts") > 3, "{seen}");
    assert!(count("fitted") > 100 && count("fitted") <= entries as u64, "{seen}");
    assert!(count("ordered") > 100, "{seen}");
    assert!((1..=31).contains(&count("zoomed")), "thirty entries are looked at: {seen}");
    assert_eq!(count("hidden"), 0, "every kind is hidden: {seen}");
    assert!((1..count("ordered")).contains(&count("withoutElements")), "{seen}");
    assert!((1..count("ordered")).contains(&count("oneCheckpoint")), "{seen}");
    assert_eq!(count("unmatched"), 0, "{seen}");
    let line = seen["entry3"].as_str().expect("a line");
    assert!(seen["hovered"].as_str().is_some_and(|tip| tip.starts_with("entry 3 ") && tip.ends_with(line)), "{seen}");
    assert!(seen["closer"].as_f64().is_some_and(|part| (0.1..0.9).contains(&part)), "the wheel zooms: {seen}");
    assert!(seen["keyed"].is_u64(), "a key chooses the first checkpoint: {seen}");
    assert_eq!(seen["last"], (entries - 1).to_string());
    assert_eq!(seen["refitted"], seen["fitted"], "back where it began");
}

fn a_failing_run_is_drawn_above_one_that_passes(failing: &Outcome, kinder: &Outcome, step: usize, seen: &Value) {
    let entries = |outcome: &Outcome| outcome.history.entries.len();
    assert_eq!(seen["entries"], json!([entries(failing), entries(kinder)]));
    assert_eq!(seen["step"], step);
    assert_eq!(seen["parting"], page::parting(&failing.history, &kinder.history));
    let link = &seen["linked"];
    assert_eq!(link["name"], "checkpoints/log/0000000001", "the verdict names it: {seen}");
    let told = link["told"].as_array().expect("lines");
    assert!(!told.is_empty() && told.iter().all(|line| line.to_string().contains("log/0000000001")), "{seen}");
    for diagram in 0..2 {
        assert!(seen["fitted"][diagram].as_u64() > Some(100), "{seen}");
    }
}

/// What the page saw of itself.
fn seen_by(browser: &Path, page: &str) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let file: PathBuf = folder.path().join("run.html");
    std::fs::write(&file, page).expect("a page");
    let shown = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .args(["--window-size=1600,1000", "--dump-dom"])
        .arg(format!("file://{}#check", file.display()))
        .output()
        .expect("the browser starts");
    let document = String::from_utf8_lossy(&shown.stdout).into_owned();
    let (_, behind) = document
        .split_once("<output id=\"self-check\"")
        .unwrap_or_else(|| panic!("the browser shows no page: {}\n{document}", String::from_utf8_lossy(&shown.stderr)));
    let (attributes, behind) = behind.split_once('>').expect("a tag ends");
    assert!(!attributes.contains("data-error"), "the page fails: {attributes}");
    let (seen, _) = behind.split_once("</output>").expect("an element ends");
    serde_json::from_str(seen).unwrap_or_else(|error| panic!("{error}: {seen}"))
}

//! The corpus fits the source: a planted bug whose text has moved on is no bug any more, and every capsule still tries what it
//! was kept for.

use cofferdam_planting::{Bug, workspace::Workspace};
use cofferdam_properties::PROPERTIES;
use cofferdam_sim::bugs::{SWITCH, plant, planted};
use cofferdam_sim::builtin;
use cofferdam_sim::capsule::{Capsule, PASS, Replayed, text};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

fn bugs() -> Vec<planted::PlantedBug> {
    planted::load(&root().join("corpus/bugs")).expect("every file reads")
}

#[test]
fn every_edit_of_every_planted_bug_finds_its_text_exactly_once() {
    let all: Vec<Bug> = serde_json::from_str(&plant::for_program(&bugs()).expect("JSON")).expect("edits are edits");
    let workspace = Workspace::read(root()).expect("the source parses");
    let builds = cofferdam_planting::plant::builds(&workspace, &all).expect("every edit finds its text");
    assert_eq!(builds.iter().map(|build| build.bugs.len()).sum::<usize>(), all.len());
    assert_eq!(cofferdam_planting::plant::SWITCH, SWITCH);
}

#[test]
fn every_planted_bug_names_properties_that_exist() {
    let mut known: BTreeSet<&str> = PROPERTIES.iter().map(|property| property.name).collect();
    known.extend(["stuck", "engine assertion"]);
    for bug in bugs() {
        for property in &bug.properties {
            assert!(known.contains(property.as_str()), "{}: there is no property {property}", bug.name);
        }
    }
}

#[test]
fn every_property_is_named_by_a_planted_bug() {
    let bugs = bugs();
    for property in PROPERTIES {
        let named = bugs.iter().any(|bug| bug.properties.iter().any(|name| name == property.name));
        assert!(named, "{} has no planted bug to convict", property.name);
    }
}

fn capsules(folder: &str) -> Vec<(PathBuf, Capsule)> {
    text::load_all(&root().join("corpus").join(folder)).expect("every capsule reads")
}

/// What failed once, here or with a bug planted, passes; and it still tries what it failed of ([`Replayed`] says how that is
/// known).
#[test]
fn every_capsule_is_replayed() {
    let runner = builtin::runner();
    let mut wrong = Vec::new();
    assert!(!capsules("capsules").is_empty(), "the corpus is not where it was");
    for (path, capsule) in capsules("capsules").into_iter().chain(capsules("found")) {
        if !capsule.shows_what_it_tries() {
            wrong.push(format!("{}: no fault, choice or event shows what it tries", path.display()));
        }
        let outcome = runner.run_plan(capsule.seed(), capsule.plan.clone());
        match capsule.weigh(&outcome, false) {
            Replayed::Reproduces { .. } => {}
            replayed => wrong.push(format!("{}: {replayed}", path.display())),
        }
    }
    let hint = "aim stale ones again with `cofferdam replay FILE --re-aim`; of planted bugs without faults take `reaches` away, and \
                `cofferdam bugs NAME` writes it anew";
    assert!(wrong.is_empty(), "{hint}:\n{}", wrong.join("\n"));
}

/// What is known to fail still does: a known failure that is none any more would silence the next one like it.
#[test]
fn every_known_failure_still_fails() {
    let runner = builtin::runner();
    for (path, capsule) in capsules("known") {
        assert_ne!(capsule.expect, PASS, "{} is a failure", path.display());
        assert_eq!(capsule.bug, None, "{}: a planted bug is no failure of this engine", path.display());
        let outcome = runner.run_plan(capsule.seed(), capsule.plan.clone());
        let replayed = capsule.weigh(&outcome, false);
        assert!(matches!(replayed, Replayed::Reproduces { .. }), "{}: {replayed}", path.display());
    }
}

#[test]
fn every_capsule_of_a_planted_bug_names_one_that_exists() {
    let names: BTreeSet<String> = bugs().into_iter().map(|bug| bug.name).collect();
    let folders = ["capsules", "found", "known"];
    for (path, capsule) in folders.into_iter().flat_map(capsules) {
        let known = capsule.bug.as_ref().is_none_or(|bug| names.contains(bug));
        assert!(known, "{}: there is no planted bug {:?}", path.display(), capsule.bug);
    }
}

#[test]
fn every_folder_of_the_corpus_is_one_that_is_looked_at() {
    for entry in std::fs::read_dir(root().join("corpus")).expect("a corpus") {
        let name = entry.expect("a readable folder").file_name();
        assert!(
            ["bugs", "capsules", "found", "known"].iter().any(|known| name == *known),
            "nobody reads corpus/{name:?}"
        );
    }
}

//! The corpus fits the source: a planted bug whose text has moved on is no bug any more.

use cofferdam_properties::PROPERTIES;
use cofferdam_sim::bugs::{plant, planted};
use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

fn bugs() -> Vec<planted::PlantedBug> {
    planted::load(&root().join("corpus/bugs")).expect("every file reads")
}

#[test]
fn every_edit_of_every_planted_bug_finds_its_text_exactly_once() {
    let builds = plant::builds(root(), &bugs()).expect("every edit finds its text");
    assert_eq!(builds.iter().map(|build| build.bugs.len()).sum::<usize>(), bugs().len());
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

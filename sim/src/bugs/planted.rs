//! A planted bug as a file: `corpus/bugs/NAME.toml`.

use serde::{Deserialize, Serialize};
use std::path::Path;

/// A real bug and how to re-create it here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlantedBug {
    /// Its name: that of the file.
    #[serde(skip_deserializing)]
    pub name: String,
    /// What went wrong, in a few sentences.
    pub story: String,
    /// Where it happened for real.
    pub source: String,
    /// The properties that may convict; the first is the one that says it best. `stuck` is one, too.
    pub properties: Vec<String>,
    /// What re-creates it; `cofferdam-planting` knows what an edit is made of.
    pub edits: Vec<serde_json::Value>,
}

impl PlantedBug {
    /// A bug from its file.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut bug: Self = toml::from_str(text).map_err(|e| format!("corpus/bugs/{name}.toml: {}", e.message()))?;
        bug.name = name.to_owned();
        let well_named =
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        let wrong = |what: &str| Err(format!("corpus/bugs/{name}.toml: {what}"));
        match () {
            () if !well_named => wrong("the name may have lower-case letters, digits and dashes only"),
            () if bug.story.trim().is_empty() => wrong("the story is empty"),
            () if bug.properties.is_empty() => wrong("no property shall convict it"),
            () if bug.edits.is_empty() => wrong("there are no edits"),
            () => Ok(bug),
        }
    }
}

/// Every bug of a folder, by name.
pub fn load(folder: &Path) -> Result<Vec<PlantedBug>, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut bugs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        bugs.push(PlantedBug::parse(&name, &text)?);
    }
    bugs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(bugs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "story = 'it broke'\nsource = 'FLINK-1'\nproperties = ['stuck']\n\
                        [[edits]]\nin = 'f'\nfind = 'x'\nreplace = 'y'\n";

    #[test]
    fn a_bug_reads_from_its_file() {
        let bug = PlantedBug::parse("a-bug", GOOD).expect("well-formed");
        assert_eq!(bug.name, "a-bug");
        assert_eq!(bug.edits.len(), 1);
    }

    #[test]
    fn mistakes_are_named() {
        let without_edits = GOOD.split("[[").next().expect("a head").to_owned() + "edits = []\n";
        for (name, text, expected) in [
            ("a-bug", without_edits.as_str(), "there are no edits"),
            ("A_bug", GOOD, "lower-case"),
            ("a-bug", &GOOD.replace("source", "origin"), "unknown field `origin`"),
        ] {
            let error = PlantedBug::parse(name, text).expect_err(expected);
            assert!(error.contains(expected) && error.contains(name), "{error}");
        }
    }
}

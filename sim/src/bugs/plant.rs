//! Applies the edits of planted bugs to source text.
//!
//! A switched edit becomes
//!
//! ```text
//! if crate::planted::active("one") { replacement } else if crate::planted::active("other") { … } else { original }
//! ```
//!
//! Bugs that edit the same text share the chain; bugs whose edits overlap otherwise go to different builds.

use super::planted::{Edit, Mode, PlantedBug};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// Bugs that share a copy of the workspace.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Build {
    /// Whose edits are in it.
    pub bugs: Vec<PlantedBug>,
    /// The edited files, by path within the workspace.
    pub files: BTreeMap<String, String>,
}

/// The builds that it takes to plant `bugs` into the workspace at `root`.
pub fn builds(root: &Path, bugs: &[PlantedBug]) -> Result<Vec<Build>, String> {
    let mut sources = BTreeMap::new();
    for edit in bugs.iter().flat_map(|bug| &bug.edits) {
        if !sources.contains_key(&edit.file) {
            let path = root.join(&edit.file);
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            sources.insert(edit.file.clone(), text);
        }
    }
    for bug in bugs {
        matches_once(bug, &sources)?;
    }
    let (shared, own): (Vec<&PlantedBug>, Vec<&PlantedBug>) = bugs.iter().partition(|bug| bug.switchable());
    let mut groups: Vec<Vec<PlantedBug>> = Vec::new();
    for bug in shared {
        let fits = |group: &&mut Vec<PlantedBug>| compatible(group, bug, &sources);
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(bug.clone()),
            None => groups.push(vec![bug.clone()]),
        }
    }
    groups.extend(own.into_iter().map(|bug| vec![bug.clone()]));
    Ok(groups.into_iter().map(|bugs| Build { files: planted_files(&bugs, &sources), bugs }).collect())
}

/// Whether every edit of `bug` finds its text exactly once; if not, which does not.
pub fn matches_once(bug: &PlantedBug, sources: &BTreeMap<String, String>) -> Result<(), String> {
    for edit in &bug.edits {
        let found = sources.get(&edit.file).map_or(0, |text| text.matches(&edit.find).count());
        if found != 1 {
            let line = edit.find.trim().lines().next().unwrap_or_default();
            return Err(format!(
                "planted bug {}: the text that begins with `{line}` occurs {found} times in {}, not once",
                bug.name, edit.file
            ));
        }
    }
    Ok(())
}

fn span(edit: &Edit, sources: &BTreeMap<String, String>) -> Range<usize> {
    let start = sources[&edit.file].find(&edit.find).expect("checked: it occurs once");
    start..start + edit.find.len()
}

fn compatible(group: &[PlantedBug], bug: &PlantedBug, sources: &BTreeMap<String, String>) -> bool {
    group.iter().flat_map(|other| &other.edits).all(|other| {
        bug.edits.iter().all(|edit| {
            let (a, b) = (span(edit, sources), span(other, sources));
            edit.file != other.file || a == b || a.end <= b.start || b.end <= a.start
        })
    })
}

/// By position in a file: the edits made there, each with the bug that brings it.
type Places<'a> = BTreeMap<usize, Vec<(&'a PlantedBug, &'a Edit)>>;

fn planted_files(bugs: &[PlantedBug], sources: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut places: BTreeMap<&str, Places<'_>> = BTreeMap::new();
    for bug in bugs {
        for edit in &bug.edits {
            let at = span(edit, sources).start;
            places.entry(&edit.file).or_default().entry(at).or_default().push((bug, edit));
        }
    }
    let mut files = BTreeMap::new();
    for (file, places) in places {
        let mut text = sources[file].clone();
        // From the end, so that earlier places keep their positions.
        for (at, edits) in places.into_iter().rev() {
            text.replace_range(span(edits[0].1, sources), &planted_text(&edits));
            debug_assert!(at <= text.len());
        }
        files.insert(file.to_owned(), text);
    }
    files
}

fn planted_text(edits: &[(&PlantedBug, &Edit)]) -> String {
    let original = &edits[0].1.find;
    if let [(_, edit)] = edits
        && edit.mode == Mode::Replace
    {
        return edit.replace.clone();
    }
    let mut text = String::new();
    for (bug, edit) in edits {
        assert_eq!(edit.mode, Mode::Switch, "a replacement has a build of its own");
        text.push_str(&format!("if crate::planted::active({:?}) {{ {} }} else ", bug.name, edit.replace));
    }
    text.push_str(&format!("{{ {original} }}"));
    text
}

/// The module that the edited copy gets, for each crate that has an edit.
pub fn module() -> String {
    format!(
        r#"//! Which planted bug is active. Generated; exists in the copy only.

use std::sync::OnceLock;

/// Whether this bug is the one to show.
pub fn active(name: &str) -> bool {{
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| std::env::var({:?}).unwrap_or_default()) == name
}}
"#,
        super::SWITCH
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bug(name: &str, find: &str, replace: &str) -> PlantedBug {
        let edit = Edit { file: "a.rs".into(), find: find.into(), replace: replace.into(), mode: Mode::Switch };
        PlantedBug {
            name: name.into(),
            story: "it broke".into(),
            source: "FLINK-1".into(),
            properties: vec!["stuck".into()],
            edits: vec![edit],
        }
    }

    fn folder(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("a.rs"), text).expect("written");
        folder
    }

    #[test]
    fn bugs_in_different_places_or_in_the_same_share_a_build() {
        let folder = folder("let x = one();\nlet y = two();\n");
        let bugs = [bug("a", "one()", "1"), bug("b", "two()", "2"), bug("c", "one()", "3")];
        let builds = builds(folder.path(), &bugs).expect("all match");
        assert_eq!(builds.len(), 1);
        assert_eq!(
            builds[0].files["a.rs"],
            "let x = if crate::planted::active(\"a\") { 1 } else if crate::planted::active(\"c\") { 3 } else { one() };\n\
             let y = if crate::planted::active(\"b\") { 2 } else { two() };\n"
        );
    }

    #[test]
    fn overlapping_bugs_and_replacements_get_builds_of_their_own() {
        let folder = folder("let x = one(two());\n");
        let mut replacement = bug("c", "two()", "2");
        replacement.edits[0].mode = Mode::Replace;
        let bugs = [bug("a", "one(two())", "1"), bug("b", "two()", "2"), replacement];
        let builds = builds(folder.path(), &bugs).expect("all match");
        assert_eq!(builds.len(), 3);
        assert_eq!(builds[2].files["a.rs"], "let x = one(2);\n");
    }

    #[test]
    fn a_snippet_that_does_not_match_once_is_named() {
        let folder = folder("f();\nf();\n");
        for (find, times) in [("f();", "2 times"), ("g();", "0 times")] {
            let error = builds(folder.path(), &[bug("a", find, "h();")]).expect_err("no single match");
            assert!(error.contains(times) && error.contains("planted bug a"), "{error}");
        }
    }
}

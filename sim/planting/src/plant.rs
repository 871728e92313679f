//! The edited files.
//!
//! The smallest block around an edit is built once for each bug that edits it:
//!
//! ```text
//! { if crate::planted::is(17) { the block, edited } else if crate::planted::is(42) { … } else { the block } }
//! ```
//!
//! So an edit may change anything in a block, also a pattern, a guard or a whole match arm, and edits never conflict.
//! In the unedited block, the blocks inside have their own switches.
//!
//! The switch is one integer, read relaxed. It is in `engine`, on which every other crate depends. A bug of which one
//! edit has no block gets a build of its own.

use crate::place::{self, Place};
use crate::workspace::Workspace;
use crate::{Bug, Edit};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The variable that names the bug to switch on.
pub const SWITCH: &str = "COFFERDAM_PLANTED";

/// The program, whose first act is to read the variable.
pub const PROGRAM: &str = "sim/src/bin/cofferdam.rs";

/// The crate that holds the switch.
const HOLDER: &str = "engine";

/// Bugs that share a copy of the workspace.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Build {
    /// Whose edits are in it, by name.
    pub bugs: Vec<String>,
    /// The edited files, by path within the workspace.
    pub files: BTreeMap<String, String>,
}

/// An edit with its bug and its place.
struct Planted<'b> {
    bug: &'b str,
    edit: &'b Edit,
    place: Place,
}

/// The builds that it takes to plant `bugs`.
pub fn builds(workspace: &Workspace, bugs: &[Bug]) -> Result<Vec<Build>, String> {
    let numbers: BTreeSet<u32> = bugs.iter().map(|bug| number(&bug.name)).collect();
    if numbers.len() < bugs.len() || numbers.contains(&0) {
        return Err("two planted bugs have the same number: rename one".to_owned());
    }
    let (mut shared, mut names, mut own) = (Vec::new(), Vec::new(), Vec::new());
    for Bug { name, edits } in bugs {
        let one = |edit| {
            let place = place::resolve(workspace, edit).map_err(|cause| format!("planted bug {name}: {cause}"))?;
            Ok(Planted { bug: name, edit, place })
        };
        let planted: Vec<Planted<'_>> = edits.iter().map(one).collect::<Result<_, String>>()?;
        apart(name, &planted)?;
        if planted.iter().all(|edit| edit.place.block.is_some()) {
            names.push(name.clone());
            shared.extend(planted);
        } else {
            own.push(Build { bugs: vec![name.clone()], files: files(workspace, &planted, replaced) });
        }
    }
    let mut builds = Vec::new();
    if !names.is_empty() {
        let mut files = files(workspace, &shared, switched);
        add_switch(workspace, &mut files)?;
        builds.push(Build { bugs: names, files });
    }
    builds.extend(own);
    Ok(builds)
}

/// The edits of one bug must not overlap.
fn apart(name: &str, planted: &[Planted<'_>]) -> Result<(), String> {
    for (n, one) in planted.iter().enumerate() {
        let overlaps = |other: &Planted<'_>| {
            let (a, b) = (&one.place, &other.place);
            a.file == b.file && a.span.start < b.span.end && b.span.start < a.span.end
        };
        if planted[n + 1..].iter().any(overlaps) {
            return Err(format!("planted bug {name}: two of its edits overlap in {}", one.edit.item));
        }
    }
    Ok(())
}

/// How the text of a range is written, with the edits that lie in it.
type Write = fn(&str, &str, Range<usize>, &[&Planted<'_>]) -> String;

fn files(workspace: &Workspace, planted: &[Planted<'_>], write: Write) -> BTreeMap<String, String> {
    let mut by_file: BTreeMap<usize, Vec<&Planted<'_>>> = BTreeMap::new();
    for edit in planted {
        by_file.entry(edit.place.file).or_default().push(edit);
    }
    let edited = |(file, edits): (usize, Vec<&Planted<'_>>)| {
        let source = &workspace.files[file];
        let holder = source.path.starts_with(&format!("{HOLDER}/src/"));
        let switch = if holder { "crate::planted::is" } else { "cofferdam_engine::planted::is" };
        (source.path.clone(), write(&source.text, switch, 0..source.text.len(), &edits))
    };
    by_file.into_iter().map(edited).collect()
}

/// A part of a text, with all these edits made.
fn replaced(text: &str, _: &str, range: Range<usize>, edits: &[&Planted<'_>]) -> String {
    let mut spans: Vec<_> = edits.iter().map(|edit| (edit.place.span.clone(), edit.edit.replace.as_str())).collect();
    spans.sort_by_key(|(span, _)| span.start);
    let (mut written, mut at) = (String::new(), range.start);
    for (span, replacement) in spans {
        written.push_str(&text[at..span.start]);
        written.push_str(replacement);
        at = span.end;
    }
    written.push_str(&text[at..range.end]);
    written
}

/// A part of a text, in which every block with an edit asks which bug is active.
fn switched(text: &str, switch: &str, range: Range<usize>, edits: &[&Planted<'_>]) -> String {
    let block = |edit: &Planted<'_>| edit.place.block.clone().expect("only such edits are switched");
    let holds = |outer: &Range<usize>, inner: &Range<usize>| outer.start <= inner.start && inner.end <= outer.end;
    let mut blocks: Vec<Range<usize>> = edits.iter().map(|edit| block(edit)).collect();
    blocks.sort_by_key(|block| (block.start, std::cmp::Reverse(block.end)));
    blocks.dedup();
    let (mut written, mut at) = (String::new(), range.start);
    for outer in blocks {
        if outer.start < at {
            continue; // It lies in the one before.
        }
        written.push_str(&text[at..outer.start]);
        at = outer.end;
        let inside: Vec<&Planted<'_>> = edits.iter().copied().filter(|edit| holds(&outer, &block(edit))).collect();
        let here: BTreeSet<&str> = inside.iter().filter(|edit| block(edit) == outer).map(|edit| edit.bug).collect();
        for bug in &here {
            let of_bug: Vec<&Planted<'_>> = inside.iter().copied().filter(|edit| edit.bug == *bug).collect();
            let variant = replaced(text, switch, outer.clone(), &of_bug);
            written.push_str(&format!(" if {switch}({}) {{{variant}}} else", number(bug)));
        }
        let others: Vec<&Planted<'_>> = inside.iter().copied().filter(|edit| !here.contains(edit.bug)).collect();
        written.push_str(&format!(" {{{}}} ", switched(text, switch, outer, &others)));
    }
    written.push_str(&text[at..range.end]);
    written
}

/// Adds the module that holds the switch, and has the program set it.
fn add_switch(workspace: &Workspace, files: &mut BTreeMap<String, String>) -> Result<(), String> {
    let head = format!("{HOLDER}/src/lib.rs");
    let source = workspace.files.iter().find(|file| file.path == head).ok_or_else(|| format!("there is no {head}"))?;
    let text = files.entry(head).or_insert_with(|| source.text.clone());
    text.push_str("\npub mod planted;\n");
    files.insert(format!("{HOLDER}/src/planted.rs"), module());
    let program = workspace.program.replacen(
        "fn main() -> ExitCode {",
        "fn main() -> ExitCode {\n    cofferdam_engine::planted::choose();",
        1,
    );
    if program == workspace.program {
        return Err(format!("{PROGRAM} has no `fn main() -> ExitCode`"));
    }
    files.insert(PROGRAM.to_owned(), program);
    Ok(())
}

/// The number of a bug, by its name alone: a further bug changes no other's code.
fn number(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The module that the edited copy gets.
fn module() -> String {
    format!(
        r#"//! Which planted bug is active. Generated; exists in the copy only.

use std::sync::atomic::{{AtomicU32, Ordering}};

static ACTIVE: AtomicU32 = AtomicU32::new(0);

/// Whether this bug is active.
#[inline(always)]
pub fn is(bug: u32) -> bool {{
    ACTIVE.load(Ordering::Relaxed) == bug
}}

/// Activates the bug that the environment names. The program does so before anything else.
pub fn choose() {{
    let name = std::env::var({SWITCH:?}).unwrap_or_default();
    let number = name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    ACTIVE.store(if name.is_empty() {{ 0 }} else {{ number }}, Ordering::Relaxed);
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    fn bug(name: &str, item: &str, find: &str, replace: &str) -> Bug {
        let edit = Edit { item: item.into(), arm: None, find: Some(find.into()), replace: replace.into() };
        Bug { name: name.into(), edits: vec![edit] }
    }

    /// The head of the first crate in each build.
    fn heads(source: &str, bugs: &[Bug]) -> Vec<String> {
        let (_folder, workspace) = workspace(source);
        let builds = builds(&workspace, bugs).expect("every edit has a place");
        builds.iter().map(|build| build.files["engine/src/lib.rs"].replace("\npub mod planted;\n", "")).collect()
    }

    fn is(name: &str) -> String {
        format!("if crate::planted::is({})", number(name))
    }

    #[test]
    fn the_block_around_an_edit_is_built_twice_and_chosen_at_run_time() {
        let bugs = [bug("a", "f", "Some(n) if n > 1", "Some(n)")];
        assert_eq!(
            heads("fn f() { match x { Some(n) if n > 1 => 1, _ => 2 } }", &bugs),
            [format!(
                "fn f() {{ {} {{ match x {{ Some(n) => 1, _ => 2 }} }} else {{ match x {{ Some(n) if n > 1 => 1, _ => 2 }} }} }}",
                is("a")
            )]
        );
    }

    #[test]
    fn bugs_that_edit_the_same_text_or_overlap_share_a_build() {
        let bugs = [bug("a", "f", "one(two())", "1"), bug("b", "f", "two()", "2"), bug("c", "f", "three()", "3")];
        assert_eq!(
            heads("fn f() { one(two()); if x { three() } }", &bugs),
            [format!(
                "fn f() {{ {} {{ 1; if x {{ three() }} }} else {} {{ one(2); if x {{ three() }} }} else \
                 {{ one(two()); if x {{ {} {{ 3 }} else {{ three() }} }} }} }}",
                is("a"),
                is("b"),
                is("c")
            )]
        );
    }

    #[test]
    fn a_constant_gets_a_build_of_its_own_and_no_switch() {
        let bugs = [bug("a", "LIMIT", "7", "8"), bug("b", "f", "one()", "2")];
        let heads = heads("const LIMIT: u32 = 7;\nfn f() { one() }", &bugs);
        assert_eq!(heads.len(), 2);
        assert!(heads[0].contains(&is("b")) && heads[0].contains("= 7;"), "{}", heads[0]);
        assert_eq!(heads[1], "const LIMIT: u32 = 8;\nfn f() { one() }");
    }

    #[test]
    fn edits_of_one_bug_are_made_together_and_must_not_overlap() {
        let mut both = bug("a", "f", "one()", "1");
        both.edits.extend(bug("a", "f", "two()", "2").edits);
        let head = heads("fn f() { one(); { two() } }", &[both.clone()]).remove(0);
        assert!(head.contains("{ 1; { 2 } }"), "{head}");
        both.edits.extend(bug("a", "f", "one(); {", "").edits);
        let (_folder, workspace) = workspace("fn f() { one(); { two() } }");
        let error = builds(&workspace, &[both]).expect_err("two overlap");
        assert!(error.contains("planted bug a: two of its edits overlap"), "{error}");
    }

    #[test]
    fn a_text_that_is_not_there_is_named_with_its_bug() {
        let (_folder, workspace) = workspace("fn f() {}");
        let error = builds(&workspace, &[bug("a", "f", "gone()", "1")]).expect_err("it is not there");
        assert_eq!(error, "planted bug a: `gone()` occurs 0 times in engine::f, not once");
    }

    #[test]
    fn the_program_sets_the_switch_first() {
        let (_folder, workspace) = workspace("fn f() { one() }");
        let build = builds(&workspace, &[bug("a", "f", "one()", "1")]).expect("it has a place").remove(0);
        assert!(build.files[PROGRAM].contains("{\n    cofferdam_engine::planted::choose();"));
        assert!(build.files["engine/src/planted.rs"].contains(SWITCH));
    }
}

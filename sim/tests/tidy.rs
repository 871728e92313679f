//! House rules that no lint can see: who may import whom, what a core may not contain, how files begin and how long they get.
//!
//! Each rule names its reason in the message, so that a failure tells what to do.

#[path = "tidy/circles.rs"]
mod circles;

use circles::Imports;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const README_LINES_MAX: usize = 110;
const FORBIDDEN_NAMES: [&str; 9] = ["utils", "common", "helpers", "misc", "base", "impl", "manager", "info", "epoch"];

/// A source file, split where its unit tests begin.
struct Source {
    path: PathBuf,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sim lies in the workspace")
}

/// Sources below a folder, tests in files of their own aside.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = everything(folder);
    found.retain(|source| {
        let test = source.path.file_stem().is_some_and(|stem| stem == "tests");
        !test && !source.path.iter().any(|part| part == "tests")
    });
    found
}

fn everything(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable workspace") {
            let path = entry.expect("a readable workspace").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8 sources");
                let code = text.split("#[cfg(test)]\nmod ").next().expect("split yields one").to_owned();
                found.push(Source { path, code });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no sources below {folder}");
    found
}

fn shipped() -> Vec<Source> {
    let crates = ["engine/src", "engine/launch/src", "properties/src", "sim/src", "sim/planting/src", "sim/world/src"];
    crates.into_iter().flat_map(sources).collect()
}

fn name(source: &Source) -> String {
    source.path.strip_prefix(root()).expect("below the root").display().to_string()
}

/// Lines of code that contain one of `words`, comments aside.
fn offences(source: &Source, words: &[&str]) -> Vec<String> {
    let lines = source.code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let hits = lines.filter(|(_, line)| words.iter().any(|word| line.contains(word)));
    hits.map(|(number, line)| format!("{}:{}: {}", name(source), number + 1, line.trim())).collect()
}

fn expect_none(offences: Vec<String>, rule: &str) {
    assert!(offences.is_empty(), "{rule}\n{}", offences.join("\n"));
}

#[test]
fn imports_go_one_way() {
    let engine = sources("engine/src")
        .iter()
        .flat_map(|s| offences(s, &["cofferdam_properties", "cofferdam_sim", "madsim"]))
        .collect();
    expect_none(engine, "the engine depends on nobody in the workspace, and never on a simulator");
    let properties = sources("properties/src").iter().flat_map(|s| offences(s, &["cofferdam_sim", "madsim"])).collect();
    expect_none(properties, "judges know nothing of the world that recorded the history");
    let world = sources("sim/world/src").iter().flat_map(|s| offences(s, &["cofferdam_sim", "proptest"])).collect();
    expect_none(world, "the world runs what it is given, and draws no plan");
    let sim = sources("sim/src").iter().flat_map(|s| offences(s, &["madsim::"])).collect();
    expect_none(sim, "only the world knows madsim");
}

#[test]
fn cores_are_values() {
    let banned = [
        "async ",
        ".await;",
        ".await?",
        "Mutex",
        "RefCell",
        "Atomic",
        "Env",
        "crate::runtime",
        "crate::os",
        "dyn Clock",
        "Instant",
        "println!",
    ];
    let offences = sources("engine/src/cores").iter().flat_map(|s| offences(s, &banned)).collect();
    expect_none(offences, "a core is a plain value: no async, lock, clock or I/O");
}

#[test]
fn the_vocabulary_imports_neither_cores_nor_shells() {
    let banned = ["use crate::cores", "use crate::runtime", "use crate::os"];
    let vocabulary = |source: &Source| {
        let path = source.path.strip_prefix(root().join("engine/src")).expect("a source of the engine");
        let first = path.iter().next().and_then(|part| part.to_str()).unwrap_or_default().trim_end_matches(".rs");
        ["element", "error", "event", "graph", "hash", "ids", "layout", "messages", "persist", "reason", "statistics"]
            .contains(&first)
    };
    let words: Vec<Source> = sources("engine/src").into_iter().filter(vocabulary).collect();
    assert!(words.len() > 10, "the vocabulary has more files than that");
    expect_none(words.iter().flat_map(|s| offences(s, &banned)).collect(), "what every layer speaks depends on none");
}

#[test]
fn no_files_of_the_engine_import_each_other_in_a_circle() {
    let sources = sources("engine/src");
    let module = |source: &Source| -> Vec<String> {
        let path =
            source.path.strip_prefix(root().join("engine/src")).expect("a source of the engine").with_extension("");
        path.iter().map(|part| part.to_string_lossy().into_owned()).collect()
    };
    let files = sources.iter().filter(|source| !source.path.ends_with("lib.rs"));
    let imports = Imports::of(files.map(|source| (module(source), source.code.as_str())));
    expect_none(imports.circular(), "what several files need lies in one below them");
}

#[test]
fn one_file_spells_paths() {
    let elsewhere = sources("engine/src").into_iter().filter(|source| !source.path.ends_with("persist/layout.rs"));
    let spelled = ["\"checkpoints/", "\"{CHECKPOINTS}", "\"/chk-", "\"manifest-", "\".staging", "\".checksums"];
    let found = elsewhere.flat_map(|source| offences(&source, &spelled)).collect();
    expect_none(
        found,
        "where checkpoints, records and staged objects lie is spelled in engine/src/persist/layout.rs alone",
    );
}

#[test]
fn protocol_cores_match_exhaustively() {
    let offences = sources("engine/src/cores").iter().flat_map(|s| offences(s, &[" _ => "])).collect();
    expect_none(offences, "a new variant must make the compiler ask every core: no wildcard arm");
}

#[test]
fn the_runtime_waits_only_through_the_door() {
    let banned = ["tokio::", "std::thread", "std::net", "std::fs", "mpsc", "oneshot"];
    let runtime = sources("engine/src/runtime").iter().flat_map(|s| offences(s, &banned)).collect();
    expect_none(runtime, "a task of the engine is woken only through the door");
}

#[test]
fn every_file_begins_with_what_it_is() {
    let headless = shipped().iter().filter(|s| !s.code.starts_with("//!")).map(name).collect();
    expect_none(headless, "a file begins with a `//!` head");
}

#[test]
fn files_and_functions_stay_readable() {
    let mut long = Vec::new();
    for source in shipped() {
        let lines = source.code.lines().count();
        if lines > FILE_LINES_MAX {
            long.push(format!("{} has {lines} lines", name(&source)));
        }
        long.extend(long_functions(&source));
    }
    expect_none(long, "files stay below 600 lines, functions below 70");
}

fn long_functions(source: &Source) -> Vec<String> {
    let mut long = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in source.code.lines().enumerate() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let word =
            line.trim_start().trim_start_matches("pub").trim_start_matches("(crate)").trim_start_matches("(super)");
        let declared = line.trim_end().ends_with(';');
        if open.is_none()
            && !declared
            && (word.trim_start().starts_with("fn ") || word.trim_start().starts_with("async fn "))
        {
            open = Some((number, indent.to_owned()));
        } else if let Some((start, of)) = &open
            && line.trim_end() == format!("{of}}}")
        {
            if number - start + 1 > FUNCTION_LINES_MAX {
                long.push(format!("{}:{} a function of {} lines", name(source), start + 1, number - start + 1));
            }
            open = None;
        }
    }
    long
}

#[test]
fn names_say_something() {
    let vague = |source: &&Source| {
        FORBIDDEN_NAMES.contains(&source.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default())
    };
    let found = shipped().iter().filter(vague).map(name).collect();
    expect_none(found, "a file is named after the one noun it holds");
    let words: Vec<String> =
        FORBIDDEN_NAMES.iter().flat_map(|word| [format!("mod {word};"), format!("fn {word}(")]).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    expect_none(
        shipped().iter().flat_map(|s| offences(s, &words)).collect(),
        "a module is named after the one noun it holds",
    );
}

#[test]
fn nothing_is_left_for_later() {
    let marks: Vec<String> = ["TODO", "FIXME", "XXX"].iter().map(|mark| format!("// {mark}")).collect();
    let ignore = format!("#[{}", "ignore");
    let mut banned: Vec<&str> = vec!["todo!(", "unimplemented!(", "To come.", &ignore];
    banned.extend(marks.iter().map(String::as_str));
    let mut found: Vec<String> = Vec::new();
    for source in ["engine", "properties", "sim"].into_iter().flat_map(everything) {
        if source.path.file_stem().is_some_and(|stem| stem == "tidy") {
            continue;
        }
        let whole = fs::read_to_string(&source.path).expect("UTF-8 sources");
        found.extend(
            whole
                .lines()
                .filter(|line| banned.iter().any(|word| line.contains(word)))
                .map(|line| format!("{}: {}", name(&source), line.trim())),
        );
    }
    expect_none(found, "what is not done is not in the tree");
}

#[test]
fn lints_are_silenced_with_a_reason_or_not_at_all() {
    let found = shipped().iter().flat_map(|s| offences(s, &["#[allow(", "#![allow("])).collect();
    expect_none(found, "use #[expect(lint, reason = …)]");
}

#[test]
fn the_top_level_holds_the_pages_that_a_reader_expects() {
    const PAGES: [&str; 4] = ["ARCHITECTURE.md", "BENCHMARKS.md", "CONTRIBUTING.md", "README.md"];
    let names = fs::read_dir(root()).expect("a readable workspace").map(|entry| entry.expect("an entry").file_name());
    let pages = names.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".md"));
    let others = pages.filter(|name| !PAGES.contains(&name.as_str())).collect();
    expect_none(others, "pages for users belong into guide/, those for contributors into CONTRIBUTING.md");
}

#[test]
fn the_readme_fits_on_two_screens() {
    let lines = fs::read_to_string(root().join("README.md")).expect("a README").lines().count();
    assert!(lines <= README_LINES_MAX, "README.md has {lines} lines, {README_LINES_MAX} is the limit");
}

#[test]
fn cores_assert_what_they_believe() {
    let (mut assertions, mut lines) = (0, 0);
    for source in sources("engine/src/cores") {
        lines += source.code.lines().count();
        assertions += source.code.matches("assert!(").count()
            + source.code.matches("assert_eq!(").count()
            + source.code.matches("assert_ne!(").count();
    }
    assert!(
        assertions * 1000 >= lines * 40,
        "{assertions} assertions in {lines} lines of cores: 40 per 1,000 are the house rule"
    );
}

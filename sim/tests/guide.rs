//! The guide says what is so: its commands run, its files parse, and whatever it points to is there. Its Rust is run by the
//! documentation tests of `cofferdam_sim::guide`.

use cofferdam_sim::bugs::{plant, planted::PlantedBug};
use cofferdam_sim::builtin;
use cofferdam_sim::capsule::{Replayed, text};
use cofferdam_sim::seed::GENERATOR;
use cofferdam_sim::world::Fault;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const LINES_MAX: usize = 700;

/// What no test runs, because it builds a copy of the workspace or tests it: everything that says `not-run`.
const NOT_RUN: [&str; 7] = [
    ".ci/run",
    "COFFERDAM_CAPSULE=cofferdam-regressions/numbers/exactly-once-output-00000000.toml cargo test numbers",
    "COFFERDAM_FROM=fresh COFFERDAM_SEEDS=5000 cargo test",
    "COFFERDAM_UNTIL=ack_sent#3 COFFERDAM_HTML=run.html \
     COFFERDAM_CAPSULE=cofferdam-regressions/numbers/exactly-once-output-00000000.toml cargo test numbers",
    "cargo build --release",
    "cofferdam bugs buffer-cleared-before-staged\nCOFFERDAM_PLANTED=buffer-cleared-before-staged \
     target/bugs/target/release/cofferdam hunt --from g10:0x0",
    "cofferdam bugs buffer-cleared-before-staged --seeds 3000",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

struct Page {
    name: String,
    text: String,
}

/// A block of a page between two fences: what it says it is, and what is in it.
struct Block {
    page: String,
    is: String,
    text: String,
}

fn files(extension: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(root().join("guide")).expect("a guide");
    let mut files: Vec<PathBuf> = all.map(|entry| entry.expect("a readable folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == extension));
    files.sort();
    files
}

fn pages() -> Vec<Page> {
    let page = |path: PathBuf| Page {
        name: path.file_name().expect("a name").to_string_lossy().into_owned(),
        text: fs::read_to_string(&path).expect("UTF-8"),
    };
    files("md").into_iter().map(page).collect()
}

impl Page {
    fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut open) = (Vec::new(), None::<Block>);
        for line in self.text.lines() {
            match (line.strip_prefix("```"), open.take()) {
                (Some(is), None) => {
                    open = Some(Block { page: self.name.clone(), is: is.to_owned(), text: String::new() });
                }
                (Some(_), Some(block)) => blocks.push(block),
                (None, Some(mut block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                    open = Some(block);
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", self.name);
        blocks
    }
}

fn blocks(is: &str) -> Vec<Block> {
    pages().iter().flat_map(Page::blocks).filter(|block| block.is == is).collect()
}

/// Seeds of this build's generator: a page may be older.
fn of_this_generator(line: &str) -> String {
    let words = line.split(' ').map(|word| match word.strip_prefix('g').and_then(|rest| rest.split_once(":0x")) {
        Some((version, seed)) if version.parse::<u32>().is_ok() => format!("g{GENERATOR}:0x{seed}"),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_command_runs_where_the_page_says_so() {
    let bin = Path::new(env!("CARGO_BIN_EXE_cofferdam")).parent().expect("a folder of binaries");
    let before = std::env::var_os("PATH").expect("a PATH");
    let path = std::env::join_paths([bin.to_owned()].into_iter().chain(std::env::split_paths(&before)));
    let path = path.expect("a folder without a colon");
    for page in pages() {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files("toml") {
            fs::copy(&file, folder.path().join(file.file_name().expect("a name"))).expect("copied");
        }
        let commands = page.blocks().into_iter().filter(|block| block.is == "sh");
        for line in commands.flat_map(|block| block.text.lines().map(of_this_generator).collect::<Vec<_>>()) {
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).current_dir(folder.path()).env("PATH", &path).stdin(Stdio::null());
            let ended = shell.output().expect("a shell");
            let [said, complained] = [ended.stdout, ended.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
            assert!(ended.status.success(), "{}: `{line}`: {}\n{said}{complained}", page.name, ended.status);
        }
    }
}

#[test]
fn the_commands_that_are_not_run_are_these() {
    let mut not_run: Vec<String> = blocks("sh not-run").into_iter().map(|block| block.text.trim().to_owned()).collect();
    not_run.sort();
    assert_eq!(not_run, NOT_RUN);
}

#[test]
fn every_block_is_something_that_a_test_looks_at_or_what_was_on_a_screen() {
    for block in pages().iter().flat_map(Page::blocks) {
        let known = ["rust", "sh", "sh not-run", "toml", "text"].contains(&block.is.as_str());
        assert!(known, "{}: nobody tests a block that is `{}`", block.page, block.is);
    }
    assert!(blocks("rust").len() >= 7 && blocks("sh").len() >= 7, "blocks are found");
}

#[test]
fn every_piece_of_toml_is_a_planted_bug_that_fits_the_source_or_faults_of_a_capsule() {
    for Block { page, text, .. } in blocks("toml") {
        if text.contains("[[edits]]") {
            let bug = PlantedBug::parse("of-the-guide", &text).unwrap_or_else(|wrong| panic!("{page}: {wrong}"));
            plant::builds(root(), &[bug]).unwrap_or_else(|wrong| panic!("{page}: {wrong}"));
            continue;
        }
        let part: toml::Table = text.parse().unwrap_or_else(|wrong| panic!("{page}: {wrong}"));
        let faults = part.get("plan").and_then(|plan| plan.get("faults")).expect("the faults of a plan").clone();
        let faults: Vec<Fault> = faults.try_into().unwrap_or_else(|wrong| panic!("{page}: {wrong}"));
        faults.iter().for_each(|fault| assert_eq!(fault.validate(), Ok(()), "{page}"));
        let quoted = |file: &PathBuf| fs::read_to_string(file).expect("UTF-8").contains(text.trim());
        assert!(files("toml").iter().any(quoted), "{page}: no capsule of the guide says\n{text}");
    }
}

/// Without the planted bug it passes, and its fault still strikes: a page that shows a stale capsule shows nothing.
#[test]
fn every_capsule_still_tries_what_the_page_says() {
    let capsules = text::load_all(&root().join("guide")).expect("capsules");
    assert!(!capsules.is_empty());
    for (path, capsule) in capsules {
        let bug = capsule.bug.clone().expect("a planted bug");
        assert!(root().join(format!("corpus/bugs/{bug}.toml")).exists(), "{}: there is no {bug}", path.display());
        let replayed = capsule.weigh(&builtin::runner().run_plan(capsule.seed(), capsule.plan.clone()), false);
        assert!(matches!(replayed, Replayed::Reproduces { .. }), "{}: {replayed}", path.display());
    }
}

/// What is between two of `mark` in the prose of a page.
fn spans<'a>(prose: &'a str, mark: [&'a str; 2]) -> impl Iterator<Item = &'a str> {
    prose.split(mark[0]).skip(1).filter_map(move |rest| rest.split_once(mark[1]).map(|(inside, _)| inside))
}

fn prose(page: &Page) -> String {
    page.text.split("```").step_by(2).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_link_and_every_path_leads_somewhere() {
    let readme =
        Page { name: "README.md".to_owned(), text: fs::read_to_string(root().join("README.md")).expect("UTF-8") };
    for target in spans(&prose(&readme), ["](", ")"]).filter(|target| !target.contains("://")) {
        assert!(root().join(target).exists(), "README.md: there is no {target}");
    }
    let mut paths = 0;
    for page in pages() {
        let prose = prose(&page);
        for target in spans(&prose, ["](", ")"]) {
            assert!(root().join("guide").join(target).exists(), "{}: there is no {target}", page.name);
        }
        for span in prose.split('`').skip(1).step_by(2) {
            let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "./-_".contains(c)) && !span.contains("NAME");
            let ends = [".rs", ".md", ".toml"].iter().any(|end| span.ends_with(end));
            let inside =
                ["engine/", "properties/", "sim/", "corpus/bugs", "examples/"].iter().any(|it| span.starts_with(it));
            if plain && span.len() > 3 && (ends || inside) && span != "Cargo.toml" {
                paths += 1;
                let there = root().join(span).exists() || root().join("guide").join(span).exists();
                assert!(there || span == ".cargo/config.toml", "{}: there is no {span}", page.name);
            }
        }
    }
    assert!(paths > 30, "{paths} paths are found");
}

#[test]
fn every_page_is_listed_documented_and_short() {
    let contents = fs::read_to_string(root().join("guide/README.md")).expect("a table of contents");
    let documented = fs::read_to_string(root().join("sim/src/guide.rs")).expect("the documentation");
    let mut lines = 0;
    for page in pages() {
        lines += page.text.lines().count();
        if page.name != "README.md" {
            assert!(contents.contains(&format!("]({})", page.name)), "{} is not in the contents", page.name);
            assert!(documented.contains(&format!("guide/{}\")", page.name)), "{} is not documentation", page.name);
        }
    }
    assert!(lines <= LINES_MAX, "the guide has {lines} lines; more than {LINES_MAX} nobody reads");
}

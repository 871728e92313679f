//! Bad input gets one clear line that names the thing, and exit code 2; nothing is started and nothing is harmed.

use crate::binary::{self, Ended};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Bench {
    engine: PathBuf,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("book.txt"), "the words of a book\n").expect("a file");
        Self { engine: binary::engine(), folder }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn word_count(&self, input: &str, output: &str, checkpoints: &str) -> Ended {
        let (input, output, checkpoints) = (self.at(input), self.at(output), self.at(checkpoints));
        let folders = ["--input", &input, "--output", &output, "--checkpoints", &checkpoints];
        binary::run(&self.engine, &[&["run", "word-count"][..], &folders].concat())
    }
}

/// One line on standard error with all of `parts`, and the exit code for wrong usage.
#[track_caller]
fn assert_refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.starts_with("error: ") && ended.stdout.is_empty(), "{ended:?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is not in {ended:?}");
    }
}

#[test]
fn an_unknown_job_is_answered_with_the_known_ones() {
    let bench = Bench::new();
    let ended = binary::run(&bench.engine, &["run", "wordcount", "--output", "o", "--checkpoints", "c"]);
    assert_refused(&ended, &["wordcount", "word-count", "join", "keyed-sum"]);
}

#[test]
fn input_that_is_missing_or_unwanted_is_refused() {
    let bench = Bench::new();
    let (out, chk, book) = (bench.at("out"), bench.at("chk"), bench.at("book.txt"));
    let ended = binary::run(&bench.engine, &["run", "word-count", "--output", &out, "--checkpoints", &chk]);
    assert_refused(&ended, &["word-count", "--input"]);
    let generated = ["run", "keyed-sum", "--input", &book, "--output", &out, "--checkpoints", &chk];
    assert_refused(&binary::run(&bench.engine, &generated), &["keyed-sum", "--input"]);
    assert_refused(&bench.word_count("nowhere", "out", "chk"), &["nowhere", "No such file"]);
}

#[test]
fn folders_that_lie_in_each_other_are_refused() {
    let bench = Bench::new();
    fs::create_dir(bench.folder.path().join("in")).expect("a folder");
    fs::copy(bench.at("book.txt"), bench.at("in/book.txt")).expect("a copy");
    assert_refused(&bench.word_count("in", "in", "chk"), &["output", "in", "lie apart"]);
    assert_refused(&bench.word_count("in", "in/deeper/out", "chk"), &["in/deeper/out", "lies in input"]);
    assert_refused(&bench.word_count("in", "in/../in/out", "chk"), &["lies in input"]);
    assert_refused(&bench.word_count("in", "out", "in/chk"), &["in/chk", "lies in input"]);
    assert_refused(&bench.word_count("in", "chk/out", "chk"), &["chk/out", "lies in checkpoints"]);
    assert_refused(&bench.word_count("in", ".", "chk"), &["lies in output"]);
    assert!(!bench.folder.path().join("chk").exists(), "a refused run made a folder");
    let input = fs::read_dir(bench.folder.path().join("in")).expect("a folder").count();
    assert_eq!(input, 1, "a refused run wrote into its input");
}

#[cfg(unix)]
#[test]
fn a_link_does_not_hide_that_output_lies_in_input() {
    let bench = Bench::new();
    fs::create_dir(bench.folder.path().join("in")).expect("a folder");
    std::os::unix::fs::symlink(bench.at("in"), bench.at("elsewhere")).expect("a link");
    assert_refused(&bench.word_count("in", "elsewhere/out", "chk"), &["elsewhere/out", "lies in input"]);
}

#[test]
fn output_that_cannot_be_written_is_refused() {
    let bench = Bench::new();
    assert_refused(&bench.word_count("book.txt", "out", "book.txt/chk"), &["checkpoints", "lies in input"]);
    fs::write(bench.folder.path().join("file"), "not a folder").expect("a file");
    assert_refused(&bench.word_count("book.txt", "file/out", "chk"), &["file/out", "Not a directory"]);
    assert_refused(&bench.word_count("book.txt", "out", "file"), &["checkpoints", "file is not a folder"]);
    assert_eq!(fs::read_to_string(bench.at("file")).expect("still there"), "not a folder");
}

#[test]
fn output_and_checkpoints_that_do_not_belong_together_are_refused() {
    let bench = Bench::new();
    let ended = bench.word_count("book.txt", "out", "chk");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let counts = binary::lines(Path::new(&bench.at("out/counts")));
    assert_eq!(counts, ["a 1", "book 1", "of 1", "the 1", "words 1"]);
    assert_refused(&bench.word_count("book.txt", "out", "fresh"), &["output folder", "out/", "choose"]);
    let (out, chk) = (bench.at("out"), bench.at("chk"));
    let other = binary::run(&bench.engine, &["run", "keyed-sum", "--output", &out, "--checkpoints", &chk]);
    assert_refused(&other, &["chk", "job word-count", "keyed-sum"]);
    assert_eq!(binary::lines(Path::new(&bench.at("out/counts"))), counts, "a refused run changed the output");
}

#[test]
fn a_port_in_use_is_named() {
    let bench = Bench::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (out, chk) = (bench.at("out"), bench.at("chk"));
    let folders = ["--output", &out, "--checkpoints", &chk, "--listen", &address];
    let ended = binary::run(&bench.engine, &[&["run", "keyed-sum"][..], &folders].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&address) && ended.stderr.contains("in use"), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

#[test]
fn values_that_make_no_sense_are_refused_by_name() {
    let bench = Bench::new();
    for (option, value) in [
        ("--interval", "0s"),
        ("--interval", "soon"),
        ("--parallelism", "0"),
        ("--workers", "0"),
        ("--retain", "sometimes"),
        ("--retained", "0"),
        ("--restart", "fixed:ten:1s"),
        ("--max-concurrent", "0"),
        ("--listen", "nowhere"),
        ("--timeout", "-1s"),
    ] {
        let command = ["run", "keyed-sum", "--output", "o", "--checkpoints", "c", &format!("{option}={value}")];
        let ended = binary::run(&bench.engine, &command);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let first = ended.stderr.lines().next().expect("a line");
        assert!(first.contains(option) && first.contains(value), "{first}");
    }
}

#[test]
fn what_the_parser_refuses_is_one_line_that_says_where_to_read_on() {
    let bench = Bench::new();
    assert_refused(&binary::run(&bench.engine, &["run", "word-count"]), &["--output", "--checkpoints", "--help"]);
    let unknown = ["run", "word-count", "--output", "o", "--checkpoints", "c", "--intervall", "1s"];
    assert_refused(&binary::run(&bench.engine, &unknown), &["--intervall", "'--interval'", "--help"]);
    assert_refused(&binary::run(&bench.engine, &["status"]), &["--checkpoints", "--help"]);
    let help = binary::run(&bench.engine, &["--help"]);
    assert!(help.code == Some(0) && help.stderr.is_empty() && help.stdout.contains("inspect"), "{help:?}");
}

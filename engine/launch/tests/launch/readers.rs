//! Readers that move committed parts away while the job runs, is killed and starts again.

use crate::binary::{self, Ended, pause};
use cofferdam_engine::jobs::{self, JobParameters};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const WORDS: &str = "to be or not to be that is the question whether tis nobler in the mind to suffer";

struct Bench {
    engine: PathBuf,
    folder: tempfile::TempDir,
}

const KILLS: u32 = 4;

impl Bench {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self) -> Vec<String> {
        let at = |name: &str| self.at(name).display().to_string();
        let (input, output, checkpoints) = (at("in.txt"), at("out"), at("chk"));
        let folders = ["--input", &input, "--output", &output, "--checkpoints", &checkpoints];
        let policy = ["--parallelism", "2", "--interval", "5ms", "--pace", "2ms"];
        ["run", "word-count"].iter().chain(&folders).chain(&policy).map(|&part| part.to_owned()).collect()
    }

    fn start(&self) -> std::process::Child {
        binary::start(&self.engine, &self.command().iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Visible parts of the tokens.
    fn parts(&self) -> usize {
        let entries = fs::read_dir(self.at("out/tokens")).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("part-")).count()
    }

    /// Moves every part away, as its reader: each is seen once.
    fn take(&self) {
        for sink in ["tokens", "counts"] {
            for entry in fs::read_dir(self.at("out").join(sink)).into_iter().flatten().flatten() {
                let name = entry.file_name().into_string().expect("text");
                if name.starts_with('.') {
                    continue;
                }
                let to = self.at("taken").join(sink).join(&name);
                assert!(!to.exists(), "{sink}/{name} came a second time");
                fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
                fs::rename(entry.path(), to).expect("moved");
            }
        }
    }
}

#[test]
fn parts_that_readers_move_away_are_neither_missed_nor_written_again() {
    let bench = Bench { engine: binary::engine(), folder: tempfile::tempdir().expect("a folder") };
    let text = format!("{WORDS}\n").repeat(100_000);
    fs::write(bench.at("in.txt"), &text).expect("input");
    let mut kills = 0;
    let last: Ended = loop {
        let mut child = bench.start();
        // It is killed once it has shown what it commits after a start.
        while (kills == KILLS || bench.parts() < 2) && child.try_wait().expect("a child can be asked").is_none() {
            pause(Duration::from_millis(1));
        }
        if kills == KILLS || child.try_wait().expect("a child can be asked").is_some() {
            break binary::finish(child);
        }
        child.kill().expect("a child can be killed");
        child.wait().expect("it has ended");
        kills += 1;
        bench.take();
    };
    bench.take();
    assert_eq!(last.code, Some(0), "{last:?}");
    let again = binary::run(&bench.engine, &bench.command().iter().map(String::as_str).collect::<Vec<_>>());
    assert!(again.code == Some(0) && again.stdout.contains("had finished before"), "{again:?}");
    assert_eq!(again.stderr, "");
    assert_eq!(kills, KILLS, "it finished before that");
    let out = bench.at("out").display().to_string();
    assert_eq!(binary::run(&bench.engine, &["inspect", "--output", &out, "--taken"]).code, Some(0));
    assert_eq!(binary::run(&bench.engine, &["inspect", "--output", &out]).code, Some(4), "parts are missing");
    let reference = jobs::find("word-count").expect("a built-in job").reference;
    let input = BTreeMap::from([("input/in.txt".to_owned(), text.into())]);
    let expected = reference(&JobParameters { parallelism: 2, ..JobParameters::default() }, &input);
    for sink in ["tokens", "counts"] {
        assert_eq!(binary::lines(&bench.at("taken").join(sink)), expected[&format!("output/{sink}")], "{sink}");
    }
}

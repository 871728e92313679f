//! `run word-count` for real: a process, TCP, a disk. To its end, killed again and again, interrupted, and twice at once.
//!
//! `COFFERDAM_KILL_SEED` chooses text and moments of the kills.

use crate::binary::{self, lines, pause};
use crate::random::Random;
use cofferdam_engine::jobs::{self, JobParameters};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;
use tempfile::TempDir;

const KILLS: u64 = 8;

fn seed() -> u64 {
    std::env::var("COFFERDAM_KILL_SEED").map_or(1, |text| text.parse().expect("COFFERDAM_KILL_SEED is a number"))
}

/// A folder with a text, and what its words are and how often they come, counted here.
struct Book {
    folder: TempDir,
    words: Vec<String>,
    counts: Vec<String>,
}

impl Book {
    fn new(seed: u64, lines: u64) -> Self {
        let mut random = Random(seed);
        let mut text = String::new();
        for _ in 0..lines {
            for _ in 0..random.below(14) {
                // Few common words and many rare ones, of one to eight letters.
                let bound = 1 + random.below(30_000);
                let word = random.below(bound);
                text += &format!("{:x} ", word * word);
            }
            text.push('\n');
        }
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("in")).expect("a folder");
        // Two files, cut between two lines, one of them with a name that needs care.
        let half = text[..text.len() / 2].rfind('\n').map_or(0, |newline| newline + 1);
        fs::write(folder.path().join("in/first half #.txt"), &text[..half]).expect("a file");
        fs::write(folder.path().join("in/second%20half.txt"), &text[half..]).expect("a file");
        let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        words.sort_unstable();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for word in &words {
            *counts.entry(word).or_default() += 1;
        }
        let mut counts: Vec<String> = counts.iter().map(|(word, count)| format!("{word} {count}")).collect();
        counts.sort_unstable();
        Self { folder, words, counts }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn checkpoints(&self) -> PathBuf {
        self.folder.path().join("chk")
    }

    fn command(&self, more: &[&str]) -> Vec<String> {
        let fixed = ["run", "word-count", "--parallelism", "2", "--interval", "20ms"];
        let folders = [("--input", "in"), ("--output", "out"), ("--checkpoints", "chk")];
        let mut command: Vec<String> = fixed.iter().chain(more).map(|&part| part.to_owned()).collect();
        command.extend(folders.iter().flat_map(|(option, name)| [(*option).to_owned(), self.path(name)]));
        command
    }

    #[track_caller]
    fn assert_output_is_right(&self) {
        // Not `assert_eq`: nobody wants to read a hundred thousand words.
        assert!(lines(&self.folder.path().join("out/tokens")) == self.words, "the words are not those of the text");
        assert!(lines(&self.folder.path().join("out/counts")) == self.counts, "the counts are wrong");
    }
}

/// Whether a checkpoint folder holds a completed checkpoint.
fn has_completed(checkpoints: &Path) -> bool {
    // Slot 1 is the leadership; whatever comes later means that a checkpoint completed, or that somebody else leads.
    newest_slot(checkpoints) > 1
}

/// The newest slot of the log of a checkpoint folder.
fn newest_slot(checkpoints: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(checkpoints.join("log")) else { return 0 };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).max().unwrap_or(0)
}

fn strs(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

#[test]
fn a_run_counts_every_word_once_and_another_run_finds_it_finished() {
    let engine = binary::engine();
    let book = Book::new(seed(), 20_000);
    let command = book.command(&["--workers", "2"]);
    let ended = binary::run(&engine, &strs(&command));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("word-count finished with chk-"), "{ended:?}");
    book.assert_output_is_right();
    let again = binary::run(&engine, &strs(&command));
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains("word-count had finished before"), "{again:?}");
    book.assert_output_is_right();
    assert_sound(&engine, &book.checkpoints());
}

#[test]
fn a_run_that_is_killed_again_and_again_counts_every_word_once() {
    let engine = binary::engine();
    // On a machine that hardly lets this test run, a short text may be counted before the first kill.
    let tried = [150_000, 600_000, 2_400_000].into_iter().find_map(|lines| {
        let book = Book::new(seed(), lines);
        (kill_again_and_again(&engine, &book) > 0).then_some(book)
    });
    let book = tried.expect("no kill left a checkpoint behind, so nothing was tried");
    let ended = binary::run(&engine, &strs(&book.command(&[])));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    book.assert_output_is_right();
    assert_sound(&engine, &book.checkpoints());
    let leftovers = fs::read_dir(book.checkpoints().join(".cofferdam-staging")).expect("a folder").count();
    assert_eq!(leftovers, 0, "the next run sweeps what a killed one left unpublished");
}

/// Starts runs and kills them at random moments, and says how many kills left a checkpoint behind.
fn kill_again_and_again(engine: &Path, book: &Book) -> u32 {
    let mut random = Random(seed() ^ 0x6b69_6c6c);
    let mut killed_with_a_checkpoint = 0;
    for kill in 0..KILLS {
        let workers = (1 + kill % 2).to_string();
        let before = newest_slot(&book.checkpoints());
        let mut child = binary::start(engine, &strs(&book.command(&["--workers", &workers])));
        // Every other kill waits for something to lose: a leadership and some checkpoints of its own.
        let enough = |kill| kill % 2 == 1 || newest_slot(&book.checkpoints()) >= before + 3;
        while !enough(kill) && child.try_wait().expect("a child can be asked").is_none() {
            pause(Duration::from_millis(1));
        }
        pause(Duration::from_micros(random.below(150_000)));
        let over = child.try_wait().expect("a child can be asked").is_some();
        child.kill().expect("a child can be killed");
        let ended = binary::finish(child);
        if over {
            assert_eq!(ended.code, Some(0), "it ended by itself before kill {kill}: {ended:?}");
            break;
        }
        killed_with_a_checkpoint += u32::from(has_completed(&book.checkpoints()));
        if newest_slot(&book.checkpoints()) > 0 {
            assert_sound(engine, &book.checkpoints());
        }
    }
    killed_with_a_checkpoint
}

/// Whatever moment it is, what the log names is complete.
#[track_caller]
fn assert_sound(engine: &Path, checkpoints: &Path) {
    let inspected = binary::run(engine, &["inspect", &checkpoints.display().to_string()]);
    assert_eq!(inspected.code, Some(0), "{inspected:?}");
}

/// A run of `keyed-sum` that takes half a minute, and a hurried one of the same job.
struct Sums {
    folder: TempDir,
}

impl Sums {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn checkpoints(&self) -> PathBuf {
        self.folder.path().join("chk")
    }

    fn start(&self, engine: &Path, pace: &[&str]) -> Child {
        let (out, chk) = (self.folder.path().join("out"), self.checkpoints());
        let (out, chk) = (out.display().to_string(), chk.display().to_string());
        let size = ["--records", "300000", "--keys", "50", "--interval", "20ms"];
        let folders = ["--output", &out, "--checkpoints", &chk];
        binary::start(engine, &[&["run", "keyed-sum"][..], &size, &folders, pace].concat())
    }

    /// A slow run that has completed a checkpoint.
    fn start_slowly(&self, engine: &Path) -> Child {
        let mut child = self.start(engine, &["--pace", "100ms"]);
        while !has_completed(&self.checkpoints()) && child.try_wait().expect("a child can be asked").is_none() {
            pause(Duration::from_millis(1));
        }
        child
    }

    #[track_caller]
    fn assert_finishes(&self, engine: &Path) {
        let ended = binary::finish(self.start(engine, &[]));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let parameters = JobParameters { records: 300_000, keys: 50, ..JobParameters::default() };
        let reference = jobs::find("keyed-sum").expect("a built-in job").reference;
        let expected = reference(&parameters, &BTreeMap::new()).remove("output/sums").expect("sums");
        assert_eq!(lines(&self.folder.path().join("out/sums")), expected);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_go_on_and_does() {
    let engine = binary::engine();
    let sums = Sums::new();
    let child = sums.start_slowly(&engine);
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success(), "the run ended before it was interrupted");
    let ended = binary::finish(child);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let advice = "interrupted; nothing is lost, run the same command again to go on";
    assert!(ended.stderr.contains(advice), "{ended:?}");
    sums.assert_finishes(&engine);
}

#[test]
fn of_two_runs_at_once_the_older_is_fenced_and_the_output_is_right() {
    let engine = binary::engine();
    let sums = Sums::new();
    let older = sums.start_slowly(&engine);
    sums.assert_finishes(&engine);
    let older = binary::finish(older);
    assert_eq!(older.code, Some(3), "{older:?}");
    assert!(older.stderr.contains("another run of keyed-sum has taken over"), "{older:?}");
    sums.assert_finishes(&engine);
}

#[test]
fn the_engine_by_itself_contains_no_simulator() {
    let bytes = fs::read(binary::engine()).expect("the binary is there");
    let found = bytes.windows(6).any(|window| window == b"madsim");
    assert!(!found, "the engine-only binary mentions madsim");
}

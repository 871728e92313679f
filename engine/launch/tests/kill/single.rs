//! One process, killed at random moments and started again: `run` counts words, and its output must be exactly what the
//! text holds. Then it is started once more, and nothing may be left behind but what is retained.
//!
//! The choices (options, moments of `kill -9`) come from `COFFERDAM_KILL_SEED`. `COFFERDAM_TRIALS=300` asks for more trials.
//!
//! Nothing here asserts a time. A run that does not finish in ten minutes hangs.

use crate::binary::{self, Ended, lines, pause};
use crate::leftovers;
use crate::random::Random;
use crate::text::Text;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// So much text takes about two seconds at the pace below.
const LINES: u64 = 20_000;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// A job whose process is killed.
struct Trial {
    engine: PathBuf,
    folder: TempDir,
    text: Text,
    options: Vec<String>,
    retained: usize,
    keeps: bool,
}

impl Trial {
    fn draw(engine: &Path, random: &mut Random) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = Text::write(folder.path(), LINES, random);
        let (retained, keeps) = (1 + random.below(3), random.below(2) == 0);
        let drawn = [
            ("--parallelism", "3".to_owned()),
            ("--workers", (1 + random.below(3)).to_string()),
            ("--interval", format!("{}ms", 20 + random.below(150))),
            ("--pace", format!("{}ms", 20 + random.below(60))),
            ("--retained", retained.to_string()),
            ("--max-concurrent", (1 + random.below(3)).to_string()),
            ("--retain", if keeps { "always" } else { "never" }.to_owned()),
        ];
        let options = drawn.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        let retained = usize::try_from(retained).expect("a small number");
        Self { engine: engine.to_owned(), folder, text, options, retained, keeps }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn command(&self) -> Vec<String> {
        let folders = ["run", "word-count", "--input", &self.at("in"), "--output", &self.at("out")];
        let checkpoints = ["--checkpoints", &self.at("chk")];
        let command = folders.iter().chain(&checkpoints).map(|&part| part.to_owned());
        command.chain(self.options.iter().cloned()).collect()
    }

    fn start(&self) -> std::process::Child {
        binary::start(&self.engine, &self.command().iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts the process and kills it some time later. Whether it was still there to be killed.
    fn kill_one(&self, random: &mut Random) -> bool {
        let mut child = self.start();
        // Some of these moments lie before the first checkpoint, and some in the recovery from an earlier kill.
        let moment = if random.below(3) == 0 { random.below(120) } else { random.below(1_000) };
        pause(Duration::from_millis(moment));
        if child.try_wait().expect("a child can be asked").is_some() {
            self.well_ended("was killed too late", &binary::finish(child));
            return false;
        }
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child ends");
        true
    }

    fn run(&self, which: &str) -> Ended {
        let ended = binary::finish(self.start());
        self.well_ended(which, &ended);
        ended
    }

    fn well_ended(&self, which: &str, ended: &Ended) {
        assert_eq!(ended.code, Some(0), "the process that {which}: {}{}", ended.stdout, ended.stderr);
    }

    fn judge(&self) {
        let output = |name: &str| lines(&self.folder.path().join(name));
        let what = self.command().join(" ");
        assert!(output("out/tokens") == self.text.words, "the words are not those of the text: {what}");
        assert!(output("out/counts") == self.text.counts, "the counts are wrong: {what}");
        leftovers::judge(&self.engine, self.folder.path(), if self.keeps { self.retained } else { 0 });
    }
}

#[test]
fn a_run_that_is_killed_at_random_counts_every_word_once_and_leaves_nothing_behind() {
    let engine = binary::engine();
    let (trials, seed) = (from_environment("COFFERDAM_TRIALS", 2), from_environment("COFFERDAM_KILL_SEED", 1));
    let mut kills = 0;
    for seed in seed..seed + trials {
        let mut random = Random(seed);
        let trial = Trial::draw(&engine, &mut random);
        for _ in 0..1 + random.below(4) {
            kills += u64::from(trial.kill_one(&mut random));
        }
        trial.run("was left alone");
        let again = trial.run("was started once more");
        assert!(again.stdout.contains("finished"), "{}{}", again.stdout, again.stderr);
        trial.judge();
        println!("seed {seed}: {kills} kills so far, {} words right", trial.text.words.len());
    }
    println!("{trials} trials, {kills} kills survived");
}

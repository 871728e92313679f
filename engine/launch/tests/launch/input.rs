//! Input that changes under a job, for real: files on a disk, a process that is killed while it reads them, and another one
//! that goes on.

use crate::binary::{self, Ended, lines, pause};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

const LINES: usize = 20_000;

/// Two files of numbered lines in a folder, read one after the other by one subtask.
struct Desk {
    folder: TempDir,
    engine: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().expect("a folder"), engine: binary::engine() };
        fs::create_dir(desk.path("in")).expect("a folder");
        for name in ["a.txt", "b.txt"] {
            fs::write(desk.path("in").join(name), text(name)).expect("a file");
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, input: &str, more: &[&str]) -> Vec<String> {
        let fixed = ["run", "word-count", "--interval", "20ms"];
        let mut command: Vec<String> = fixed.iter().chain(more).map(|&part| part.to_owned()).collect();
        for (option, name) in [("--input", input), ("--output", "out"), ("--checkpoints", "chk")] {
            command.extend([option.to_owned(), self.path(name).display().to_string()]);
        }
        command
    }

    /// Kills a slow run of `input` once it has completed some checkpoints.
    fn begin(&self, input: &str) {
        let mut child = binary::start(&self.engine, &strs(&self.command(input, &["--pace", "60ms"])));
        let newest = || {
            fs::read_dir(self.path("chk/log")).map_or(0, |log| {
                log.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).max().unwrap_or(0_u64)
            })
        };
        while newest() < 6 && child.try_wait().expect("a child can be asked").is_none() {
            pause(Duration::from_millis(2));
        }
        child.kill().expect("a child can be killed");
        let ended = binary::finish(child);
        assert!(newest() >= 6, "it was killed before it had read anything: {ended:?}");
    }

    fn go_on(&self, input: &str) -> Ended {
        binary::run(&self.engine, &strs(&self.command(input, &[])))
    }

    #[track_caller]
    fn assert_finished(&self, ended: &Ended, names: &[&str]) {
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let mut expected: Vec<String> = names
            .iter()
            .flat_map(|name| text(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        expected.sort_unstable();
        assert!(lines(&self.path("out/tokens")) == expected, "the words are not those that were listed: {ended:?}");
    }
}

fn strs(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

fn text(name: &str) -> String {
    (0..LINES).map(|n| format!("{name}-{n}\n")).collect()
}

fn append(file: &Path, text: &str) {
    OpenOptions::new().append(true).open(file).and_then(|mut file| file.write_all(text.as_bytes())).expect("appended");
}

#[track_caller]
fn assert_refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(said.len(), 1, "{ended:?}");
    for part in parts {
        assert!(said[0].contains(part), "{part:?} is not in {said:?}");
    }
}

/// What is done to the input, and what is said of it.
type Case<'a> = (&'a dyn Fn(&Path), &'a str);

#[test]
fn what_grew_was_touched_or_came_later_changes_nothing_and_is_named() {
    let desk = Desk::new();
    desk.begin("in");
    append(&desk.path("in/a.txt"), "a-later\n");
    append(&desk.path("in/b.txt"), "b-later\n");
    fs::write(desk.path("in/c.txt"), "c-later\n").expect("a file");
    let ended = desk.go_on("in");
    desk.assert_finished(&ended, &["a.txt", "b.txt"]);
    let named: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(named.len(), 1, "{ended:?}");
    let first = desk.path("in/a.txt").display().to_string();
    assert!(named[0].contains("1 came and 2 grew") && named[0].contains(&first), "{named:?}");
}

#[cfg(unix)]
#[test]
fn what_came_later_and_cannot_be_read_stops_nothing_and_is_named() {
    let desk = Desk::new();
    desk.begin("in");
    std::os::unix::fs::symlink(desk.path("nothing"), desk.path("in/0-dangling")).expect("a link");
    std::os::unix::fs::symlink(desk.path("in"), desk.path("in/c-loop")).expect("a link");
    fs::write(desk.path("in/d\ne"), "d-later\n").expect("a file");
    let pipe = std::process::Command::new("mkfifo").arg(desk.path("in/pipe")).status();
    let pipes = usize::from(pipe.is_ok_and(|made| made.success()));
    let ended = desk.go_on("in");
    desk.assert_finished(&ended, &["a.txt", "b.txt"]);
    let named: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(named.len(), 1, "{ended:?}");
    let first = desk.path("in/0-dangling").display().to_string();
    assert!(named[0].contains(&format!("{} came after", 3 + pipes)) && named[0].contains(&first), "{named:?}");
}

/// A coordinator and two workers over TCP; the second worker has another input folder. What the three said.
fn with_another_input(desk: &Desk, prepare: impl Fn(&Path)) -> [Ended; 3] {
    let other = desk.path("other");
    fs::create_dir(&other).expect("a folder");
    prepare(&other);
    fs::write(desk.path("secret"), "known to members of the job only\n").expect("a file");
    let command = |kind: &str, input: &str, more: &[&str]| {
        let fixed = [kind, "word-count", "--parallelism", "2", "--interval", "20ms", "--silence", "5s"];
        let mut command: Vec<String> = fixed.iter().chain(more).map(|&part| part.to_owned()).collect();
        let places = [("--input", input), ("--output", "out"), ("--checkpoints", "chk"), ("--secret-file", "secret")];
        for (option, name) in places {
            command.extend([option.to_owned(), desk.path(name).display().to_string()]);
        }
        binary::start(&desk.engine, &strs(&command))
    };
    let mut coordinator = command("coordinator", "in", &["--workers", "2", "--listen", "127.0.0.1:0", "--lease", "1s"]);
    let mut line = String::new();
    let said = coordinator.stdout.as_mut().expect("it is piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut line).expect("a line");
    let join = |id: &'static str| ["--join", line.trim(), "--id", id].map(str::to_owned);
    let workers = [("0", "in"), ("1", "other")].map(|(id, input)| command("worker", input, &strs(&join(id))));
    let [one, other] = workers.map(binary::finish);
    [binary::finish(coordinator), one, other]
}

#[test]
fn a_worker_with_another_input_ends_the_job_by_the_name_of_a_file_and_never_loses_words() {
    let whole = text("a.txt");
    let fewer = |folder: &Path| fs::write(folder.join("a.txt"), text("a.txt")).expect("a file");
    let shorter = |folder: &Path| {
        fs::write(folder.join("a.txt"), &whole[..whole.len() / 2]).expect("a file");
        fs::write(folder.join("b.txt"), &whole[..whole.len() / 2]).expect("a file");
    };
    let cases: [Case<'_>; 2] = [(&fewer, "does not exist"), (&shorter, "has shrunk")];
    for (prepare, says) in cases {
        let desk = Desk::new();
        let [coordinator, ..] = &with_another_input(&desk, prepare);
        let named = desk.path("other").display().to_string();
        assert_refused(coordinator, &[&format!("input {named}/"), says]);
    }
}

#[test]
fn a_file_of_which_everything_is_written_anew_alike_is_read_on() {
    let desk = Desk::new();
    desk.begin("in/a.txt");
    let file = desk.path("in/a.txt");
    fs::remove_file(&file).expect("removed");
    fs::write(&file, text("a.txt")).expect("a file");
    let time = UNIX_EPOCH + Duration::from_secs(1_000_000);
    File::options().write(true).open(&file).expect("it is there").set_modified(time).expect("a time");
    let ended = desk.go_on("in/a.txt");
    desk.assert_finished(&ended, &["a.txt"]);
}

#[test]
fn what_is_shorter_or_gone_or_other_than_it_was_is_refused_by_name_and_read_on_once_it_is_put_back() {
    let desk = Desk::new();
    desk.begin("in/a.txt");
    let file = desk.path("in/a.txt");
    let typed = file.display().to_string();
    let whole = text("a.txt");
    fs::write(&file, &whole[..whole.len() / 2]).expect("a file");
    assert_refused(&desk.go_on("in/a.txt"), &[&typed, "has shrunk"]);
    fs::write(&file, whole.replacen("a.txt-0\n", "A.TXT-0\n", 1)).expect("a file");
    assert_refused(&desk.go_on("in/a.txt"), &[&typed, "has changed between byte 0 and byte"]);
    // It is kept elsewhere, or the next file might be given its inode.
    fs::rename(&file, desk.path("kept")).expect("moved away");
    assert_refused(&desk.go_on("in/a.txt"), &[&typed, "does not exist"]);
    fs::write(&file, format!("{whole}more\n")).expect("a file");
    assert_refused(&desk.go_on("in/a.txt"), &[&typed, "was replaced by a longer one"]);
    fs::write(&file, &whole).expect("a file");
    let ended = desk.go_on("in/a.txt");
    desk.assert_finished(&ended, &["a.txt"]);
}

#[test]
fn a_file_that_grows_in_the_middle_of_a_line_is_refused() {
    let desk = Desk::new();
    let file = desk.path("in/a.txt");
    let whole = text("a.txt");
    fs::write(&file, whole.trim_end()).expect("a file");
    desk.begin("in/a.txt");
    append(&file, "00\n");
    assert_refused(&desk.go_on("in/a.txt"), &[&file.display().to_string(), "no line ends at byte"]);
}

#[test]
fn a_finished_job_says_so_without_its_input() {
    let desk = Desk::new();
    let ended = desk.go_on("in/a.txt");
    desk.assert_finished(&ended, &["a.txt"]);
    fs::remove_file(desk.path("in/a.txt")).expect("removed");
    let again = desk.go_on("in/a.txt");
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains("had finished before"), "{again:?}");
}

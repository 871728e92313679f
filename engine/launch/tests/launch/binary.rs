//! The engine's own binary as a child process, for tests that kill it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Where the binary is. Cargo builds it before the tests of its package.
pub fn engine() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_cofferdam_alone"))
}

/// What a child said and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the binary speaks UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Starts the binary with its output captured.
pub fn start(engine: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(engine);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("COFFERDAM_LOG").spawn().expect("the binary starts")
}

/// Waits for a child. One that is still there after ten minutes hangs.
pub fn finish(mut child: Child) -> Ended {
    for _ in 0..60_000 {
        if child.try_wait().expect("a child can be asked").is_some() {
            return child.wait_with_output().expect("a child's output can be read").into();
        }
        pause(Duration::from_millis(10));
    }
    child.kill().expect("a child can be killed");
    panic!("the binary hangs: {:?}", Ended::from(child.wait_with_output().expect("its output can be read")));
}

/// Runs the binary to its end.
pub fn run(engine: &Path, arguments: &[&str]) -> Ended {
    finish(start(engine, arguments))
}

/// Waits in real time, for what happens in another process.
#[expect(clippy::disallowed_methods, reason = "another process does not tell when it is ready")]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Lines of every file in a folder of output, sorted; hidden files aside.
pub fn lines(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the output is there") {
        let path = entry.expect("an entry").path();
        if !path.file_name().expect("a name").to_string_lossy().starts_with('.') {
            let text = std::fs::read_to_string(path).expect("output is text");
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines.sort_unstable();
    lines
}

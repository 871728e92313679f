//! `planting ROOT`: reads bugs as JSON, and writes the builds that plant them as JSON. `cofferdam bugs` starts it.

use cofferdam_planting::workspace::Workspace;
use cofferdam_planting::{Bug, plant};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    match builds() {
        Ok(json) => match std::io::stdout().write_all(json.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(message) => {
            // The reader has gone: there is no place left to say so.
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

fn builds() -> Result<String, String> {
    let root = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: planting ROOT < BUGS")?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| format!("cannot read the bugs: {e}"))?;
    let bugs: Vec<Bug> = serde_json::from_str(&text).map_err(|e| format!("the bugs do not read: {e}"))?;
    let builds = plant::builds(&Workspace::read(&root)?, &bugs)?;
    serde_json::to_string(&builds).map_err(|e| format!("the builds cannot be written: {e}"))
}

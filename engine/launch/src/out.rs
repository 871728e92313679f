//! What commands say: text on standard output, complaints and progress on standard error.
//!
//! Whoever reads may have seen enough (`| head`): that is no error. The rest is left unsaid, and the exit code tells how the work
//! itself ended. `println!` would panic instead, so nothing else here and in the simulator uses it.

use super::exit::Exit;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Text and the end of its line on standard output, at once. Text that cannot be kept (a full disk) ends the process.
pub fn say(text: impl Display) {
    match write(io::stdout().lock(), text) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => {
            complain(format_args!("error: cannot write to standard output: {error}"));
            std::process::exit(Exit::Failed.code().into());
        }
    }
}

/// A line on standard error. If that cannot be written there is nobody left to tell.
pub fn complain(text: impl Display) {
    let _ = write(io::stderr().lock(), text);
}

/// In one piece: what several processes write to one terminal must not mix within a line. Text that ends its line is left so.
fn write(mut to: impl Write, text: impl Display) -> io::Result<()> {
    let mut text = text.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    to.write_all(text.as_bytes())?;
    to.flush()
}

//! The exit codes of the engine's commands: one enum.

use cofferdam_engine::error::{Error, Reaction};
use std::process::ExitCode;

/// How a command ended, for its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// 0: the job is finished, what was inspected is sound, or what was asked of a running job is done.
    Done,
    /// 1: the job failed, or what was asked of it will not be done.
    Failed,
    /// 2: the command line, or a file or folder that it names, is wrong. Nothing was started.
    Usage,
    /// 3: a newer process runs this job. Nothing is wrong with the job.
    Fenced,
    /// 4: stored bytes are not what was written.
    Corrupt,
    /// 5: a request to a running job was sent, and its answer was lost: it may have been fulfilled or not.
    Unknown,
    /// 101: a bug of the engine or the job; Rust's own code for a panic. Running again goes on from the last checkpoint.
    Panicked,
    /// 130: interrupted. Running again goes on from the last checkpoint.
    Interrupted,
}

/// The same as a table, for `--help`.
pub const TABLE: &str = "\
Exit codes:
  0    the job is finished; what was inspected is sound; what was asked of a job is done
  1    the job failed; what was asked of it will not be done
  2    the command line, or a file or folder that it names, is wrong; nothing was started
  3    fenced: a newer process runs this job
  4    corrupt: stored bytes are not what was written
  5    unknown: a running job was asked for something, and its answer was lost
  101  a bug: the engine or the job panicked; run again to go on from the last checkpoint
  130  interrupted; run again to go on from the last checkpoint";

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Fenced => 3,
            Self::Corrupt => 4,
            Self::Unknown => 5,
            Self::Panicked => 101,
            Self::Interrupted => 130,
        }
    }

    /// The code for an error that ended a job.
    pub fn of(error: &Error) -> Self {
        match error.reaction {
            Reaction::Restart | Reaction::GiveUp => Self::Failed,
            Reaction::Corrupt => Self::Corrupt,
            Reaction::Fenced => Self::Fenced,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_code() {
        use Exit::*;
        for exit in [Done, Failed, Usage, Fenced, Corrupt, Unknown, Panicked, Interrupted] {
            let code = exit.code().to_string();
            let row = TABLE.lines().find(|line| line.split_whitespace().next() == Some(&code));
            assert!(row.is_some(), "no row for {exit:?}");
        }
    }
}

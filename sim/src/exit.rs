//! The exit codes of the simulator's commands: one documented enum. The engine's commands have theirs in
//! [`cofferdam_launch::Exit`].

use std::process::ExitCode;

/// How a command ended, for whoever started it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// 0: done, and nothing wrong was found.
    Clean,
    /// 1: a run violated a property, got stuck, hung, hit an assertion of the engine or exceeded its budget;
    /// or a planted bug was not caught.
    Violation,
    /// 2: the command line or an input file is wrong.
    Usage,
    /// 3: the harness itself failed, or a run was not deterministic: no verdict can be trusted.
    Harness,
    /// 125: what should be replayed does not belong to this build. The number tells `git bisect run` to skip.
    Stale,
    /// 130: interrupted; what was printed covers the runs so far.
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Violation => 1,
            Self::Usage => 2,
            Self::Harness => 3,
            Self::Stale => 125,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The same as a table, for `--help`.
pub const TABLE: &str = "\
Exit codes of hunt, replay, shrink, bugs and init (run and inspect have their own, in their help):
  0    nothing wrong was found
  1    a property was violated, a run got stuck, hung or hit an assertion; a planted bug was missed
  2    the command line or an input file is wrong
  3    the harness failed, or a run was not deterministic
  125  stale: the seed belongs to another generator version (skips in `git bisect run`)
  130  interrupted";

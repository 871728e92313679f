//! `cofferdam`: see `cofferdam --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cofferdam_sim::cli::main(&cofferdam_sim::builtin::runner(), &cofferdam_engine::jobs::BUILT_IN)
}

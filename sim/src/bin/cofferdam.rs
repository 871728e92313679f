//! `cofferdam`: see `cofferdam --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cofferdam_sim::main(&cofferdam_engine::jobs::BUILT_IN)
}

//! The engine by itself, with the built-in jobs: what `cofferdam run` and `inspect` do, in a binary without a simulator.
//! It is what is killed and measured.

use std::process::ExitCode;

fn main() -> ExitCode {
    cofferdam_launch::main(&cofferdam_engine::jobs::BUILT_IN)
}

//! `cofferdam`: see `cofferdam --help`.

use std::process::ExitCode;

/// A run allocates for a fifth of its time. No run can tell: what an allocator returns never orders anything.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cofferdam_sim::main(&cofferdam_engine::jobs::BUILT_IN)
}

//! The process entry: memory and the way into [`respgate::cli`].
//!
//! Owns: the choice of allocator. Never knows: anything else.

use std::process::ExitCode;

/// Gives memory back to the system after a burst of clients.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    respgate::cli::main()
}

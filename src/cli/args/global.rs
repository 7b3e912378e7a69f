//! Flags that every verb takes.
//!
//! Owns: [`Global`]. Never knows: verbs.

use clap::Args;

/// Flags that every verb takes.
#[derive(Clone, Copy, Debug, Args)]
pub(in crate::cli) struct Global {
    /// Print errors only; the exit code is the answer
    #[arg(short, long, global = true, display_order = 1000)]
    pub quiet: bool,
}

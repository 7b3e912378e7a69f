//! Flags that every verb takes, or every verb that has an answer.
//!
//! Owns: [`Global`], [`Answer`]. Never knows: verbs.

use clap::{ArgAction, Args};

/// Flags that every verb takes.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(in crate::cli) struct Global {
    /// Log in more detail: once for debug, twice for trace; verbs other than run log to standard
    /// error
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 1000)]
    pub verbose: u8,
    /// Print errors only; the exit code is the answer
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 1000)]
    pub quiet: bool,
}

/// The flag of every verb that has an answer for programs.
#[derive(Clone, Copy, Debug, Args)]
pub(in crate::cli) struct Answer {
    /// Print the answer as JSON; errors too
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
}

impl Global {
    /// What is logged instead of what is configured.
    pub(in crate::cli) fn log_level(self) -> Option<&'static str> {
        match (self.verbose, self.quiet) {
            (0, false) => None,
            (_, true) => Some("error"),
            (1, false) => Some("debug"),
            (_, false) => Some("trace"),
        }
    }

    /// The flag that [`Self::log_level`] follows.
    pub(in crate::cli) fn log_flag(self) -> &'static str {
        if self.quiet { "--quiet" } else { "--verbose" }
    }
}

//! What a command says, on which stream, and with which exit code.
//!
//! Owns: [`Output`]. Never knows: what is said.

use std::io::Write;
use std::process::ExitCode;

use super::args::{self, Global};
use super::exit;
use crate::config::{ConfigSource, Problem};

/// Standard output and standard error, as the flags of every verb ask for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    quiet: bool,
}

impl Output {
    pub(super) fn new(global: Global) -> Self {
        Self { quiet: global.quiet }
    }

    /// Writes a line of the answer to standard output, unless only errors are wanted. A closed pipe is
    /// no fault.
    pub(super) fn print(self, line: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }

    /// Writes a line to standard error.
    pub(super) fn print_error(self, line: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    /// Prints every problem of a configuration.
    pub(super) fn complain(self, source: &ConfigSource, problems: Vec<Problem>) -> ExitCode {
        let count = problems.len();
        for problem in problems {
            self.print_error(&args::for_flags(source, problem).to_string());
        }
        let plural = if count == 1 { "" } else { "s" };
        self.print_error(&format!("respgate: {count} problem{plural}"));
        ExitCode::from(exit::FAILURE)
    }
}

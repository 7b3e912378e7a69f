//! What a command says, on which stream, and with which exit code.
//!
//! Owns: the two streams, exit codes. Never knows: what is said.

use std::io::Write;
use std::process::ExitCode;

use super::args;
use crate::config::{ConfigSource, Problem};

/// The configuration, or what it names, is wrong.
const WRONG: u8 = 1;

/// Tells every problem.
pub(super) fn complain(source: &ConfigSource, problems: Vec<Problem>) -> ExitCode {
    let count = problems.len();
    for problem in problems {
        print_error(&args::for_flags(source, problem).to_string());
    }
    print_error(&format!("respgate: {count} problem{}", if count == 1 { "" } else { "s" }));
    ExitCode::from(WRONG)
}

/// Writes a line for a person or a pipe; a closed one is nobody's problem.
pub(super) fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

pub(super) fn print_error(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

//! Words for people: the command line, its help, its answers.
//!
//! Owns: [`main`]. Never knows: sockets.

mod acl;
mod args;
mod ask;
mod certs;
mod certs_dev;
mod check;
mod command_line;
mod connect;
mod demo;
mod examine;
mod exit;
mod explain;
mod output;
mod policy_rows;
mod run;
mod verb;
mod version;
mod void;

use std::process::ExitCode;

use command_line::CommandLine;
use output::Output;

/// Does what the command line says, and returns the exit code that the help of the verb names.
#[must_use]
pub fn main() -> ExitCode {
    match CommandLine::read(std::env::args_os()) {
        Ok(line) => line.command.run(Output::new(line.global)),
        Err(error) => {
            // Help and version arrive here as well; a closed pipe is no fault.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS }
        }
    }
}

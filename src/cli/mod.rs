//! Words for people: the command line, its help, its answers.
//!
//! Owns: [`main`]. Never knows: sockets.

mod acl;
mod args;
mod ask;
mod audit;
mod certs;
mod certs_dev;
mod check;
mod command_line;
mod completions;
mod connect;
mod demo;
mod doctor;
mod examine;
mod exit;
mod explain;
mod follow;
mod insight;
mod interrupt;
mod logs;
mod man;
mod output;
mod policy_rows;
mod progress;
mod run;
mod security;
mod security_report;
mod top;
mod verb;
mod verbs;
mod version;
mod void;
mod wait;

use std::process::ExitCode;

use args::Global;
use command_line::{Command, CommandLine};
use output::Output;

use crate::base::limits;
use crate::config;
use crate::telemetry::{LogHandle, Telemetry};

/// Carries out the command line, and returns the exit code that the help of the verb names.
#[must_use]
pub fn main() -> ExitCode {
    match CommandLine::read(std::env::args_os()) {
        Ok(CommandLine { global, command }) => {
            // `run` has a log of its own.
            let log = if matches!(command, Command::Run(_)) { None } else { log(global) };
            let code = command.run(Output::new(global));
            if let Some(log) = log {
                log.flush(limits::LOG_FLUSH_TIMEOUT);
            }
            code
        }
        Err(error) => {
            // Help and version arrive here as well; a closed pipe is no fault.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS }
        }
    }
}

/// The log of a verb that has none of its own, where more detail is asked for.
fn log(global: Global) -> Option<LogHandle> {
    let level = global.log_level().filter(|_| global.verbose > 0)?.to_owned();
    let settings = config::Telemetry { log_level: level, ..config::Telemetry::default() };
    Telemetry::start(&settings).ok().map(|telemetry| telemetry.log)
}

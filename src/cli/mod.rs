//! Words for people: the command line, its help, its answers.
//!
//! Owns: [`main`]. Never knows: sockets.

mod acl;
mod args;
mod ask;
mod check;
mod connect;
mod demo;
mod explain;
mod output;
mod policy_rows;
mod run;
mod version;
mod void;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

/// The command line is wrong.
const USAGE: u8 = 2;

/// Does what the command line says: 0 when all is well, 1 when the configuration is wrong, 2 when
/// the command line is.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version arrive here as well; a closed pipe is nobody's problem.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match arguments.command {
        Command::Run(inputs) => {
            let source = inputs.source();
            match check::examine(&source, true) {
                Ok(config) => run::run(config, source),
                Err(problems) => output::complain(&source, problems),
            }
        }
        Command::Check { inputs, skip_files, connect } => {
            let source = inputs.source();
            match check::check(&source, skip_files) {
                Some(config) if connect => connect::connect(&source, &config),
                Some(_) => ExitCode::SUCCESS,
                None => ExitCode::FAILURE,
            }
        }
        Command::Explain { inputs, socket, policy, database, command } => {
            let source = inputs.source();
            explain::explain(source, socket.as_deref(), policy.as_deref(), &command, database)
        }
        Command::Learn { socket } => ask::learn(&socket),
        Command::Acl { inputs, policy, diff } => {
            acl::acl(&inputs.source(), policy.as_deref(), diff.as_deref())
        }
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Version => version::version(),
    }
}

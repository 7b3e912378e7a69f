//! The verbs about the log of a running respgate.
//!
//! Owns: [`Logs`]. Never knows: how one is asked, what is logged.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::args::{self, Asked, Help};
use super::output::Output;
use super::verb::Verb;
use super::verbs::LogsRecent;

/// Show what a running respgate has logged last
#[derive(Debug, Args)]
pub(super) struct Logs {
    #[command(subcommand)]
    command: LogsCommand,
}

#[derive(Debug, Subcommand)]
enum LogsCommand {
    Recent(Asked<LogsRecent>),
}

impl Help for Logs {
    const EXAMPLES: &'static [(&'static str, &'static str)] = <Asked<LogsRecent> as Help>::EXAMPLES;
    const EXIT_CODES: &'static [(u8, &'static str)] = <Asked<LogsRecent> as Help>::EXIT_CODES;

    fn extend(command: clap::Command) -> clap::Command {
        command
            .after_help(args::after_help(Self::EXAMPLES, Self::EXIT_CODES))
            .mut_subcommand("recent", <Asked<LogsRecent> as Help>::extend)
    }
}

impl Verb for Logs {
    fn run(self, output: Output) -> ExitCode {
        match self.command {
            LogsCommand::Recent(recent) => recent.run(output),
        }
    }
}

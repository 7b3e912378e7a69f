//! `completions`: what a shell can offer while respgate is typed.
//!
//! Owns: the way from the table of verbs to a script. Never knows: shells.

use std::process::ExitCode;

use super::args::Completions;
use super::command_line::CommandLine;
use super::output::Output;
use super::verb::Verb;

impl Verb for Completions {
    fn run(self, output: Output) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut CommandLine::definition(),
            env!("CARGO_PKG_NAME"),
            &mut script,
        );
        output.print(String::from_utf8_lossy(&script).trim_end());
        ExitCode::SUCCESS
    }
}

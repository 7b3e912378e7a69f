//! `version`: which program this is.
//!
//! Owns: its words. Never knows: configuration.

use std::process::ExitCode;

use clap::Args;

use super::args::Help;
use super::exit;
use super::output::Output;
use super::verb::Verb;

/// Print the version
#[derive(Debug, Args)]
pub(super) struct Version;

impl Help for Version {
    const EXAMPLES: &'static [(&'static str, &'static str)] =
        &[("Print the version", "respgate version")];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[(exit::SUCCESS, "always")];
}

impl Verb for Version {
    fn run(self, output: Output) -> ExitCode {
        output.print(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")));
        ExitCode::SUCCESS
    }
}

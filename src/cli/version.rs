//! `version`: which program this is.
//!
//! Owns: its words. Never knows: configuration.

use std::process::ExitCode;

use clap::Args;

use serde_json::json;

use super::args::{Answer, Help};
use super::exit;
use super::output::Output;
use super::verb::Verb;

/// Print the version
#[derive(Debug, Args)]
pub(super) struct Version {
    #[command(flatten)]
    answer: Answer,
}

impl Help for Version {
    const EXAMPLES: &'static [(&'static str, &'static str)] =
        &[("Print the version for a program", "respgate version --json")];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[(exit::SUCCESS, "always")];
}

impl Verb for Version {
    fn run(self, output: Output) -> ExitCode {
        let output = output.with_json(self.answer.json);
        output.json(
            || json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") }),
        );
        output.print(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")));
        ExitCode::SUCCESS
    }
}

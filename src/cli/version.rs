//! `version`: which program this is.
//!
//! Owns: its words. Never knows: configuration.

use std::process::ExitCode;

use super::output;

pub(super) fn version() -> ExitCode {
    output::print(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")));
    ExitCode::SUCCESS
}

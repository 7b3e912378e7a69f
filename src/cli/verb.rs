//! What every verb of the command line can do.
//!
//! Owns: [`Verb`]. Never knows: any one verb.

use std::process::ExitCode;

use super::args::Help;
use super::output::Output;

/// A verb with its flags read.
pub(super) trait Verb: Help {
    /// Carries the verb out; the help lists the codes that can be returned.
    fn run(self, output: Output) -> ExitCode;
}

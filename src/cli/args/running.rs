//! Flags of the verbs that ask a running respgate.
//!
//! Owns: [`Learn`]. Never knows: how it is asked.

use std::path::PathBuf;

use clap::Args;

use super::Help;
use crate::cli::exit;

/// Print the smallest policy that would pass what a running respgate has observed
#[derive(Debug, Args)]
pub(in crate::cli) struct Learn {
    /// The control socket of that respgate: [admin] socket
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
}

impl Help for Learn {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[(
        "Write the policy for the commands that an application has sent so far",
        "respgate learn --socket /run/respgate/control.sock > policy.toml",
    )];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "the policy was printed"),
        (exit::FAILURE, "nothing was observed yet, or respgate does not answer"),
    ];
}

//! Flags of `doctor`.
//!
//! Owns: [`Doctor`]. Never knows: what it looks at.

use clap::Args;

use super::inputs::Inputs;
use super::{Answer, Help};
use crate::cli::exit;

/// Find out why the server cannot be used: try each step, with cause and fix
#[derive(Debug, Args)]
pub(in crate::cli) struct Doctor {
    #[command(flatten)]
    pub inputs: Box<Inputs>,
    #[command(flatten)]
    pub answer: Answer,
}

impl Help for Doctor {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("Try each step between respgate and the server", "respgate doctor --config respgate.toml"),
        (
            "Try a server without a file",
            "respgate doctor --upstream rediss://app1@redis.example.com:6380 \\\n  \
             --cert tls.crt --key tls.key --ca ca.crt --password-file password",
        ),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "every step succeeded; there may be warnings"),
        (exit::FAILURE, "the configuration is invalid"),
        (exit::UNUSABLE, "a step failed: the server cannot be used"),
    ];
}

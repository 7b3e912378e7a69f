//! Flags of the demonstration.
//!
//! Owns: [`Demo`]. Never knows: what is shown.

use clap::Args;

use super::Help;
use crate::cli::exit;

/// Run a local demonstration with a temporary server and certificates
#[derive(Debug, Args)]
pub(in crate::cli) struct Demo {
    /// Run the demonstration and exit: 0 when every step succeeded
    #[arg(long)]
    pub once: bool,
    /// Keep certificates, configuration and logs
    #[arg(long)]
    pub keep: bool,
    /// The server to start: redis-server, valkey-server or a path
    #[arg(long, value_name = "PROGRAM")]
    pub server: Option<String>,
    /// Where applications connect, besides a Unix socket: 127.0.0.1:6379 or the next free port
    /// (default), 127.0.0.1:0 for any free port, or unix:/path; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
}

impl Help for Demo {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("Run every step, then exit", "respgate demo --once"),
        ("Use another server, and keep its files", "respgate demo --server valkey-server --keep"),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "every step succeeded"),
        (exit::FAILURE, "a step failed, or the server could not be started"),
    ];
}

//! Flags of the verbs that read a configuration.
//!
//! Owns: [`Run`], [`Check`], [`Explain`], [`Acl`]. Never knows: what they do.

use std::path::PathBuf;

use clap::Args;

use super::global::Answer;
use super::inputs::Inputs;
use super::{Help, policy_name};
use crate::cli::exit;

/// Serve applications until SIGTERM or SIGINT
#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    #[command(flatten)]
    pub inputs: Box<Inputs>,
}

impl Help for Run {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("Serve with a configuration file", "respgate run --config /etc/respgate/respgate.toml"),
        (
            "Serve without a file, and permit only keys with the prefix app1: to the application",
            "respgate run --upstream rediss://app1@redis.example.com:6380 \\\n  \
             --cert tls.crt --key tls.key --ca ca.crt --password-file password --prefix app1:",
        ),
        (
            "Override a key of the file by an environment variable",
            "RESPGATE__UPSTREAM__ADDRESS=redis.example.com:6380 respgate run --config respgate.toml",
        ),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "a signal ended it, after clients were drained"),
        (exit::FAILURE, "the configuration is invalid, or a listener could not be opened"),
        (exit::BROKEN, "an internal error ended it; its supervisor restarts it"),
    ];
}

/// Validate the configuration: print all errors, or a summary
#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    #[command(flatten)]
    pub inputs: Box<Inputs>,
    /// Do not read the files that the configuration names
    #[arg(long)]
    pub skip_files: bool,
    /// Try the server too: resolve, connect, TLS, login, and the rules of its user; 3 when it
    /// cannot be used
    #[arg(long, conflicts_with = "skip_files")]
    pub connect: bool,
    #[command(flatten)]
    pub answer: Answer,
}

impl Help for Check {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("Check a file before it is used", "respgate check --config respgate.toml"),
        (
            "Check it on a machine that has no certificates",
            "respgate check --skip-files --config respgate.toml",
        ),
        ("Try the server as well", "respgate check --connect --config respgate.toml"),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "the configuration is valid"),
        (exit::FAILURE, "the configuration is invalid"),
        (exit::UNUSABLE, "with --connect: the server cannot be used"),
    ];
}

/// Show what happens to a command, and which rule decides
#[derive(Debug, Args)]
pub(in crate::cli) struct Explain {
    #[command(flatten)]
    pub inputs: Box<Inputs>,
    /// Ask the respgate that runs with this control socket, instead of reading a configuration
    #[arg(long, value_name = "PATH", conflicts_with_all = ["config", "Flags"])]
    pub socket: Option<PathBuf>,
    /// One of [policies]; without it, [policy]
    #[arg(long, value_name = "NAME", value_parser = policy_name)]
    pub policy: Option<String>,
    /// The database that the client has selected
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub database: u32,
    #[command(flatten)]
    pub answer: Answer,
    /// The command: one text in quotes, or its words
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

impl Help for Explain {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        (
            "Ask which rule decides about a command",
            "respgate explain --config respgate.toml 'SORT app1:list BY w_* STORE app1:s'",
        ),
        ("Ask without a file", "respgate explain --prefix app1: --preset cache FLUSHALL"),
        ("Ask a running respgate", "respgate explain --socket /run/respgate/control.sock KEYS '*'"),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "the command passes"),
        (exit::FAILURE, "the command is refused, or the configuration is invalid"),
        (exit::NO_ANSWER, "with --socket: no respgate answers"),
    ];
}

/// Print the policies as rules of the server's own user, or compare them with that user's rules
#[derive(Debug, Args)]
pub(in crate::cli) struct Acl {
    #[command(flatten)]
    pub inputs: Box<Inputs>,
    /// One of [policies]; without it, all that clients can have, together
    #[arg(long, value_name = "NAME", value_parser = policy_name)]
    pub policy: Option<String>,
    /// Show the differences from the server's rules; with a file or -, the output of ACL LIST is read
    /// from there instead of asking the server
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "")]
    pub diff: Option<String>,
    #[command(flatten)]
    pub answer: Answer,
}

impl Help for Acl {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        (
            "Print the ACL SETUSER for the user that respgate logs in as",
            "respgate acl --config respgate.toml",
        ),
        ("Compare with the server", "respgate acl --config respgate.toml --diff"),
        (
            "Compare with what an administrator reads from the server",
            "redis-cli ACL LIST | respgate acl --config respgate.toml --diff -",
        ),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "the rules were printed; with --diff: the server has the same rules"),
        (exit::FAILURE, "the configuration is invalid; with --diff: the server has other rules"),
        (exit::USAGE, "the command line is invalid, or the rules cannot be read or expressed"),
    ];
}

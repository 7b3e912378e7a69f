//! Flags of the verbs about the audit log.
//!
//! Owns: [`Audit`], [`Verify`], [`struct@Hash`], [`Recent`]. Never knows: what they do.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Asked, Help, OfTable};
use crate::admin::Verb;
use crate::cli::exit;
use crate::proxy::{AdminState, verbs as table};

/// Show the last audit entries, verify audit files, or find a key in them again
#[derive(Debug, Args)]
pub(in crate::cli) struct Audit {
    #[command(subcommand)]
    pub command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuditCommand {
    Verify(Verify),
    Hash(Hash),
    Recent(Recent),
}

/// The verb of the admin server that shows the last entries.
#[derive(Debug)]
pub(in crate::cli) struct AuditRecent;

impl OfTable for AuditRecent {
    const VERB: &'static Verb<AdminState> = &table::AUDIT_RECENT;
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Recent {
    /// Show entries as they come, one JSON object a line, until Ctrl-C
    #[arg(long)]
    pub follow: bool,
    #[command(flatten)]
    pub asked: Asked<AuditRecent>,
}

impl Help for Recent {
    const EXAMPLES: &'static [(&'static str, &'static str)] = Asked::<AuditRecent>::EXAMPLES;
    const EXIT_CODES: &'static [(u8, &'static str)] = Asked::<AuditRecent>::EXIT_CODES;
}

impl Help for Audit {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[(
        "Verify a file and the one that was rotated before it",
        "respgate audit verify audit.log.1 audit.log",
    )];
    const EXIT_CODES: &'static [(u8, &'static str)] =
        &[(exit::SUCCESS, "success"), (exit::FAILURE, "see the help of each verb")];

    fn extend(command: clap::Command) -> clap::Command {
        command
            .after_help(super::after_help(Self::EXAMPLES, Self::EXIT_CODES))
            .mut_subcommand("verify", Verify::extend)
            .mut_subcommand("hash", Hash::extend)
            .mut_subcommand("recent", Recent::extend)
    }
}

/// Verify that no entry of audit files was changed, moved or removed
#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    /// The files, the oldest first; entries removed from the end of the last one are not noticed
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The file of audit.key_file, if the log was written with one
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl Help for Verify {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("Verify a file", "respgate audit verify audit.log"),
        (
            "Verify files in their order, sealed with a key",
            "respgate audit verify --key-file audit.key audit.log.2 audit.log.1 audit.log",
        ),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "the chain is whole"),
        (exit::FAILURE, "a line does not fit, or a file cannot be read"),
    ];
}

/// Print what audit entries with keys = "hmac" show for a key
#[derive(Debug, Args)]
pub(in crate::cli) struct Hash {
    /// The key, as the application names it
    #[arg(value_name = "KEY")]
    pub key: std::ffi::OsString,
    /// The file of audit.key_file
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
}

impl Help for Hash {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[(
        "Print the text to look for in the entries",
        "respgate audit hash --key-file audit.key app1:user:7",
    )];
    const EXIT_CODES: &'static [(u8, &'static str)] =
        &[(exit::SUCCESS, "success"), (exit::FAILURE, "the key file cannot be used")];
}

//! Flags of the verbs about certificates.
//!
//! Owns: [`Certs`], [`Inspect`], [`Dev`]. Never knows: what they do.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Answer, Help};
use crate::cli::exit;

/// Look at certificates, or make some for development
#[derive(Debug, Args)]
pub(in crate::cli) struct Certs {
    #[command(subcommand)]
    pub command: CertsCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CertsCommand {
    Inspect(Inspect),
    Dev(Dev),
}

impl Help for Certs {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        (
            "See what is in some files, and what is wrong",
            "respgate certs inspect tls.crt tls.key ca.crt",
        ),
        ("Make a CA, a server and a client certificate", "respgate certs dev certs"),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] =
        &[(exit::SUCCESS, "success"), (exit::FAILURE, "see the help of each verb")];

    fn extend(command: clap::Command) -> clap::Command {
        command
            .after_help(super::after_help(Self::EXAMPLES, Self::EXIT_CODES))
            .mut_subcommand("inspect", Inspect::extend)
            .mut_subcommand("dev", Dev::extend)
    }
}

/// Show what is in PEM files, what each certificate could be used for, and what is wrong with it
#[derive(Debug, Args)]
pub(in crate::cli) struct Inspect {
    /// The files: certificates, keys, authorities, in any order
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Judge the certificates for this role alone, and return 1 if the first one of a file (with ca:
    /// any one) does not work
    #[arg(long = "for", value_name = "ROLE")]
    pub purpose: Option<Role>,
    /// The host that a server's certificate must name
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    #[command(flatten)]
    pub answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Role {
    Client,
    Server,
    Ca,
}

impl Help for Inspect {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        (
            "See what is in some files, and whether key and certificates belong together",
            "respgate certs inspect tls.crt tls.key ca.crt",
        ),
        (
            "Ask whether a certificate works for a server of this name",
            "respgate certs inspect --for server --host redis.example.com server.crt",
        ),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "every block can be used; with --for: in that role"),
        (
            exit::FAILURE,
            "a file or block cannot be used, a key belongs to no certificate of the files, or a signature is wrong",
        ),
    ];
}

/// Make a small CA, a server certificate and a client certificate, for development
#[derive(Debug, Args)]
pub(in crate::cli) struct Dev {
    /// Where to write ca.crt, ca.key, server.crt, server.key, client.crt and client.key
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// A name or address of the server; may be repeated [default: localhost, 127.0.0.1 and ::1]
    #[arg(long, value_name = "HOST")]
    pub host: Vec<String>,
    /// The name of the client
    #[arg(long, value_name = "NAME", default_value = "app")]
    pub client: String,
    /// How long the certificates are valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub answer: Answer,
}

impl Help for Dev {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("Certificates for a server on this machine", "respgate certs dev certs"),
        (
            "Certificates for a server of another name, valid for 30 days",
            "respgate certs dev certs --host redis.test --days 30",
        ),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "the files were written"),
        (exit::FAILURE, "a file exists or cannot be written; nothing was replaced"),
    ];
}

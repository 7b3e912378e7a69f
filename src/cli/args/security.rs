//! Flags of the security test.
//!
//! Owns: [`Test`], [`Wanted`]. Never knows: what is tested.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Help;
use super::inputs::Inputs;
use crate::cli::exit;
use crate::security::{Feature, Profile};

/// Test the security of the server, of the path to it and of the configuration; changes nothing
#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// What to test
    #[arg(value_name = "SUITE", default_value = "redis-security")]
    pub suite: Suite,
    #[command(flatten)]
    pub inputs: Box<Inputs>,
    #[command(flatten)]
    pub wanted: Wanted,
}

/// The checks to be done, and how they are reported.
#[derive(Debug, Args)]
pub(in crate::cli) struct Wanted {
    /// Only the checks about these features; may be repeated, or a list with commas
    #[arg(long, value_name = "FEATURE", value_delimiter = ',', value_parser = feature())]
    pub feature: Vec<Feature>,
    /// Only the checks that are worth their time this often
    #[arg(long, value_name = "PROFILE", default_value = "monthly", value_parser = profile())]
    pub profile: Profile,
    /// How the result is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// From which result on the exit code is 1
    #[arg(long, value_name = "RESULT", default_value = "fail")]
    pub fail_on: FailOn,
    /// A list of revoked certificates (CRL; PEM or DER) of a CA of the client's or the server's
    /// certificate; may be repeated
    #[arg(long, value_name = "FILE")]
    pub crl: Vec<PathBuf>,
    /// A port of the server that must not answer in plaintext; may be repeated
    #[arg(long, value_name = "PORT")]
    pub plaintext_port: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Suite {
    RedisSecurity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    Table,
    Json,
    Junit,
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum FailOn {
    Warn,
    Fail,
}

impl Help for Test {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("Run every check", "respgate test redis-security --config respgate.toml"),
        (
            "Run the checks about TLS and ACL that are worth their time daily",
            "respgate test --config respgate.toml --feature tls,acl --profile daily",
        ),
        (
            "Write a report for a build server",
            "respgate test --config respgate.toml --format junit > security.xml",
        ),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "every check passed, or could not be done (the report has the reason)"),
        (exit::FAILURE, "a check failed"),
        (
            exit::USAGE,
            "the command line or the configuration is invalid, or the server cannot be reached",
        ),
    ];
}

fn feature() -> impl clap::builder::TypedValueParser<Value = Feature> {
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(Feature::ALL.map(Feature::name)).try_map(|name| {
        Feature::ALL.into_iter().find(|f| f.name() == name).ok_or("no such feature")
    })
}

fn profile() -> impl clap::builder::TypedValueParser<Value = Profile> {
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(Profile::ALL.map(Profile::name)).try_map(|name| {
        Profile::ALL.into_iter().find(|p| p.name() == name).ok_or("no such profile")
    })
}

//! Flags of the command line: a file for each group of verbs, and what the help contains besides flags.
//!
//! Owns: [`Help`], the form of examples and exit codes. Never knows: effects.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "help texts name tables of the configuration in brackets"
)]

mod asked;
mod audit;
mod certs;
mod config;
mod demo;
mod doctor;
mod documents;
mod global;
mod inputs;
mod security;
mod top;
mod wait;

pub(super) use asked::{Asked, OfTable, Target};
pub(super) use audit::{Audit, AuditCommand, AuditRecent, Hash, Recent, Verify};
pub(super) use certs::{Certs, CertsCommand, Dev, Inspect, Role};
pub(super) use config::{Acl, Check, Explain, Run};
pub(super) use demo::Demo;
pub(super) use doctor::Doctor;
pub(super) use documents::{Completions, Man};
pub(super) use global::{Answer, Global};
pub(super) use inputs::for_flags;
pub(super) use security::{FailOn, Format, Suite, Test, Wanted};
pub(super) use top::Top;
pub(super) use wait::{Goal, Wait};

use super::exit;

/// What the help of a verb contains after its flags.
pub(super) trait Help {
    /// What an example does, and what to type for it.
    const EXAMPLES: &'static [(&'static str, &'static str)];
    /// Each exit code and when it is returned. [`exit::USAGE`] is added where it means the command line
    /// alone.
    const EXIT_CODES: &'static [(u8, &'static str)];

    /// Adds examples and exit codes to the definition of this verb. A verb that has verbs of its own
    /// extends those too.
    fn extend(command: clap::Command) -> clap::Command {
        command.after_help(after_help(Self::EXAMPLES, Self::EXIT_CODES))
    }
}

pub(super) fn after_help(examples: &[(&str, &str)], exit_codes: &[(u8, &str)]) -> String {
    let mut codes = exit_codes.to_vec();
    if !codes.iter().any(|(code, _)| *code == exit::USAGE) {
        codes.push((exit::USAGE, "the command line is invalid"));
    }
    codes.sort_unstable();
    let mut lines = vec!["Examples:".to_owned()];
    for (what, command) in examples {
        lines.push(format!("  {what}:"));
        lines.extend(command.lines().map(|line| format!("    {line}")));
    }
    lines.push("\nExit codes:".to_owned());
    lines.extend(codes.iter().map(|(code, when)| format!("  {code}  {when}")));
    lines.join("\n")
}

/// A name that a policy can have.
fn policy_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.is_empty() || !text.bytes().all(fits) {
        return Err("a name consists of letters, digits, - and _".to_owned());
    }
    Ok(text.to_owned())
}

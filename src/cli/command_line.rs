//! The command line: which verbs there are.
//!
//! Owns: [`CommandLine`], the table of verbs, the help of the program. Never knows: what a verb does.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::args::{self, Asked, Global, Help};
use super::output::Output;
use super::verb::Verb;
use super::{insight, logs, verbs, version};

const EXAMPLES: &str = "\
Examples:
  Serve with a configuration file, after checking it:
    respgate check --config /etc/respgate/respgate.toml
    respgate run --config /etc/respgate/respgate.toml

  Serve without a file, and permit only keys with the prefix app1: to the application:
    respgate run --upstream rediss://app1@redis.example.com:6380 \\
      --cert tls.crt --key tls.key --ca ca.crt --password-file password --prefix app1:

  Ask which rule decides about a command:
    respgate explain --config /etc/respgate/respgate.toml 'SORT app1:list BY w_* STORE app1:s'

  Run a demonstration with a temporary server and certificates:
    respgate demo --once

Environment:
  Variables override the keys of a file, and flags override them:
    RESPGATE__UPSTREAM__ADDRESS=redis.example.com:6380
    RESPGATE__UPSTREAM__POOL__MAX_CONNECTIONS=64
    RESPGATE__LISTENER__0__ADDRESS=127.0.0.1:6379
  NO_COLOR, if it is not empty, prevents colours.

Exit codes:
  0  success
  1  the configuration is invalid, or the answer is no
  2  the command line is invalid
  The help of each verb explains what they mean there, and which others it has.";

/// The verbs of one level: an enum for `clap`, and the two things that are done with every verb. Adding
/// a verb takes a line in such a table and a type that is [`clap::Args`], [`Help`] and [`Verb`]; its doc
/// comment is the help for it.
macro_rules! verbs {
    ($(#[$about:meta])* $name:ident { $($verb:ident($type:ty),)* }) => {
        $(#[$about])*
        #[derive(Debug, Subcommand)]
        pub(super) enum $name {
            $($verb($type),)*
        }

        impl $name {
            pub(super) fn run(self, output: Output) -> ExitCode {
                match self {
                    $(Self::$verb(verb) => verb.run(output),)*
                }
            }

            /// Adds to the definition of each verb what its type has in [`Help`].
            pub(super) fn extend(command: clap::Command) -> clap::Command {
                $(let command = command.mut_subcommand(
                    $crate::cli::command_line::kebab(stringify!($verb)),
                    <$type as Help>::extend,
                );)*
                command
            }
        }
    };
}

verbs! {
    /// The verbs of respgate, as the help lists them.
    Command {
        Run(args::Run),
        Check(args::Check),
        Explain(args::Explain),
        Learn(Asked<verbs::Learn>),
        Status(Asked<verbs::Status>),
        Health(Asked<verbs::Health>),
        Wait(args::Wait),
        Clients(Asked<verbs::Clients>),
        Reload(Asked<verbs::Reload>),
        LogLevel(Asked<verbs::LogLevel>),
        Block(Asked<verbs::Block>),
        Unblock(Asked<verbs::Unblock>),
        Disconnect(Asked<verbs::Disconnect>),
        Drain(Asked<verbs::Drain>),
        Shutdown(Asked<verbs::Shutdown>),
        Metrics(Asked<verbs::Metrics>),
        Logs(logs::Logs),
        Slowlog(insight::Slowlog),
        Hotkeys(insight::Hotkeys),
        Acl(args::Acl),
        Audit(args::Audit),
        Certs(args::Certs),
        Doctor(args::Doctor),
        Test(args::Test),
        Top(args::Top),
        Demo(args::Demo),
        Completions(args::Completions),
        Man(args::Man),
        Version(version::Version),
    }
}

/// A sidecar proxy: plain RESP on localhost in, policy, mutual TLS to Redis or Valkey out.
#[derive(Debug, Parser)]
#[command(name = "respgate", version, after_help = EXAMPLES, max_term_width = 100)]
pub(super) struct CommandLine {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

impl CommandLine {
    /// Every verb with its flags and its help.
    pub(super) fn definition() -> clap::Command {
        Command::extend(Self::command())
    }

    /// # Errors
    ///
    /// Help and version that were asked for, and what is wrong with the words.
    pub(super) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::definition().try_get_matches_from(words)?;
        Self::from_arg_matches(&matches)
    }
}

/// The word for which `clap` takes a variant: `LogLevel` is `log-level`.
fn kebab(variant: &str) -> String {
    let mut word = String::new();
    for letter in variant.chars() {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_holds_together() {
        CommandLine::definition().debug_assert();
        assert_eq!(kebab("LogLevel"), "log-level");
    }

    #[test]
    fn every_verb_has_a_description_an_example_and_exit_codes() {
        fn check(command: &clap::Command, path: &str) {
            for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
                let path = format!("{path} {}", verb.get_name());
                let help = verb.clone().render_help().to_string();
                assert!(verb.get_about().is_some(), "{path}");
                assert!(help.contains(&format!("    {path}")), "no example: {path}: {help}");
                assert!(help.contains("Exit codes:\n  0  "), "{path}: {help}");
                assert!(help.contains("\n  2  "), "{path}: {help}");
                let wide = help.lines().find(|line| line.chars().count() > 100);
                assert_eq!(wide, None, "{path}");
                check(verb, &path);
            }
        }
        let mut definition = CommandLine::definition();
        // Gives every verb the flags that all have.
        definition.build();
        check(&definition, "respgate");
    }
}

//! The command line: which verbs there are.
//!
//! Owns: [`CommandLine`], the table of verbs, the help of the program. Never knows: what a verb does.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

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
    ($(#[$about:meta])* $name:ident { $($word:literal: $verb:ident($type:ty),)* }) => {
        $(#[$about])*
        #[derive(Debug, Subcommand)]
        pub(super) enum $name {
            $(#[command(name = $word)] $verb($type),)*
        }

        impl $name {
            /// Each verb with the function that defines it.
            const DEFINITIONS: &[(&str, fn(clap::Command) -> clap::Command)] = &[
                $(($word, |verb| <$type as Help>::extend(<$type as Args>::augment_args(verb))),)*
            ];

            pub(super) fn run(self, output: Output) -> ExitCode {
                match self {
                    $(Self::$verb(verb) => verb.run(output),)*
                }
            }

            /// Adds to the definition of each verb what its type has in [`Help`].
            pub(super) fn extend(command: clap::Command) -> clap::Command {
                $(let command = command.mut_subcommand(
                    $word,
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
        "run": Run(args::Run),
        "check": Check(args::Check),
        "explain": Explain(args::Explain),
        "learn": Learn(Asked<verbs::Learn>),
        "status": Status(Asked<verbs::Status>),
        "health": Health(Asked<verbs::Health>),
        "wait": Wait(args::Wait),
        "clients": Clients(Asked<verbs::Clients>),
        "reload": Reload(Asked<verbs::Reload>),
        "log-level": LogLevel(Asked<verbs::LogLevel>),
        "block": Block(Asked<verbs::Block>),
        "unblock": Unblock(Asked<verbs::Unblock>),
        "disconnect": Disconnect(Asked<verbs::Disconnect>),
        "drain": Drain(Asked<verbs::Drain>),
        "shutdown": Shutdown(Asked<verbs::Shutdown>),
        "metrics": Metrics(Asked<verbs::Metrics>),
        "logs": Logs(logs::Logs),
        "slowlog": Slowlog(insight::Slowlog),
        "hotkeys": Hotkeys(insight::Hotkeys),
        "acl": Acl(args::Acl),
        "audit": Audit(args::Audit),
        "certs": Certs(args::Certs),
        "doctor": Doctor(args::Doctor),
        "test": Test(args::Test),
        "top": Top(args::Top),
        "demo": Demo(args::Demo),
        "completions": Completions(args::Completions),
        "man": Man(args::Man),
        "version": Version(version::Version),
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

    /// One verb with its flags and its help, and none of the others: a process that serves would keep the
    /// code that defines them in memory. None where the first word is no verb.
    fn definition_of(word: &OsStr) -> Option<clap::Command> {
        let (name, define) = Command::DEFINITIONS.iter().find(|(verb, _)| word == *verb)?;
        let program = clap::Command::new("respgate").max_term_width(100).subcommand_required(true);
        Some(Global::augment_args(program).subcommand(define(clap::Command::new(*name))))
    }

    /// # Errors
    ///
    /// Help and version that were asked for, and what is wrong with the words.
    pub(super) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = words.into_iter().collect();
        let verb = words.get(1).and_then(|word| Self::definition_of(word));
        let matches = verb.unwrap_or_else(Self::definition).try_get_matches_from(words)?;
        Self::from_arg_matches(&matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_holds_together() {
        CommandLine::definition().debug_assert();
    }

    #[test]
    fn verb_alone_is_read_as_among_all() {
        let read = |definition: clap::Command, words: &[&str]| match definition
            .try_get_matches_from(words)
        {
            Ok(matches) => format!(
                "{:?}",
                CommandLine::from_arg_matches(&matches).map_err(|error| error.to_string())
            ),
            Err(error) => format!("{:?} {error}", error.kind()),
        };
        let verbs = CommandLine::definition();
        let endings: [&[&str]; 8] = [
            &[],
            &["--help"],
            &["-h"],
            &["--version"],
            &["--no-such-flag"],
            &["--config", "a.toml"],
            &["--quiet", "word"],
            &["help"],
        ];
        for verb in verbs.get_subcommands().map(clap::Command::get_name) {
            for ending in endings {
                let words = [&["respgate", verb], ending].concat();
                let alone =
                    CommandLine::definition_of(OsStr::new(verb)).expect("a verb of the definition");
                assert_eq!(read(alone, &words), read(verbs.clone(), &words), "{words:?}");
            }
        }
        assert!(CommandLine::definition_of(OsStr::new("--quiet")).is_none());
        assert!(CommandLine::definition_of(OsStr::new("Run")).is_none());
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

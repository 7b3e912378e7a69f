//! Flags of the verbs that ask a running respgate: those of its table, and how it is found.
//!
//! Owns: [`Asked`], [`Target`]. Never knows: how it is asked.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::{Answer, Help};
use crate::admin::{Argument, Kind, Verb};
use crate::cli::exit;
use crate::proxy::AdminState;

/// How the respgate that is asked is found.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Which respgate")]
pub(in crate::cli) struct Target {
    /// Its admin socket: [admin] socket
    #[arg(long, value_name = "PATH", conflicts_with = "target_config")]
    pub socket: Option<PathBuf>,
    /// Its configuration file, of which [admin] is read; without it and without --socket, the
    /// environment variable RESPGATE__ADMIN__SOCKET names the socket
    #[arg(id = "target_config", short = 'c', long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Its [admin] address, where the socket cannot be opened
    #[arg(long, value_name = "IP:PORT", requires = "token_file", conflicts_with_all = ["socket", "target_config"])]
    pub admin_address: Option<SocketAddr>,
    /// The file that holds its token
    #[arg(long, value_name = "FILE", requires = "admin_address")]
    pub token_file: Option<PathBuf>,
}

/// The verb of the table that a subcommand is.
pub(in crate::cli) trait OfTable {
    const VERB: &'static Verb<AdminState>;
}

/// The flags of one verb of the table.
#[derive(Debug)]
pub(in crate::cli) struct Asked<V> {
    pub target: Target,
    pub answer: Answer,
    pub arguments: Vec<(&'static str, String)>,
    verb: PhantomData<V>,
}

impl<V: OfTable> FromArgMatches for Asked<V> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut arguments = Vec::new();
        for Argument { name, kind, .. } in V::VERB.arguments {
            if *kind == Kind::Flag {
                if matches.get_flag(name) {
                    arguments.push((*name, "true".to_owned()));
                }
                continue;
            }
            let values = matches.get_many::<String>(name).unwrap_or_default();
            arguments.extend(values.map(|value| (*name, value.clone())));
        }
        Ok(Self {
            target: Target::from_arg_matches(matches)?,
            answer: Answer::from_arg_matches(matches)?,
            arguments,
            verb: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<V: OfTable> Args for Asked<V> {
    fn augment_args(command: Command) -> Command {
        let command = V::VERB.arguments.iter().map(arg).fold(command, Command::arg);
        let command = Target::augment_args(Answer::augment_args(command));
        // Last: what is added before it brings a description of its own.
        command.about(V::VERB.about).long_about(None)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// An argument of the table as `clap` takes it.
fn arg(argument: &Argument) -> Arg {
    let Argument { name, kind, help } = *argument;
    let arg = Arg::new(name).help(help);
    match kind {
        Kind::Word(what) => arg.value_name(what).required(true),
        Kind::OptionalWord(what) => arg.value_name(what),
        Kind::Words(what) => {
            arg.value_name(what).required(true).action(ArgAction::Append).num_args(1..)
        }
        Kind::Option(what) => arg.long(name).value_name(what),
        Kind::Options(what) => arg.long(name).value_name(what).action(ArgAction::Append),
        Kind::Flag => arg.long(name).action(ArgAction::SetTrue),
    }
}

impl<V: OfTable> Help for Asked<V> {
    const EXAMPLES: &'static [(&'static str, &'static str)] = V::VERB.examples;
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, V::VERB.done),
        (exit::FAILURE, V::VERB.failed),
        (
            exit::USAGE,
            "the command line is invalid, or neither it nor the configuration names an admin server",
        ),
        (exit::NO_ANSWER, "no respgate answers"),
    ];
}

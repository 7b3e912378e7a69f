//! The verbs `slowlog` and `hotkeys`: what was found, or with `reset` its end.
//!
//! Owns: [`Slowlog`], [`Hotkeys`]. Never knows: how one is asked, what is found.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::args::{self, Asked, Help};
use super::output::Output;
use super::verb::Verb;
use super::verbs;

macro_rules! with_reset {
    ($($name:ident, $action:ident: $get:ty, $reset:ty;)*) => {
        $(
            #[derive(Debug, Args)]
            #[command(args_conflicts_with_subcommands = true)]
            pub(super) struct $name {
                #[command(subcommand)]
                action: Option<$action>,
                #[command(flatten)]
                get: Asked<$get>,
            }

            #[derive(Debug, Subcommand)]
            enum $action {
                Get(Asked<$get>),
                Reset(Asked<$reset>),
            }

            impl Help for $name {
                const EXAMPLES: &'static [(&'static str, &'static str)] =
                    <Asked<$get> as Help>::EXAMPLES;
                const EXIT_CODES: &'static [(u8, &'static str)] =
                    <Asked<$get> as Help>::EXIT_CODES;

                fn extend(command: clap::Command) -> clap::Command {
                    command
                        .after_help(args::after_help(Self::EXAMPLES, Self::EXIT_CODES))
                        .mut_subcommand("get", <Asked<$get> as Help>::extend)
                        .mut_subcommand("reset", <Asked<$reset> as Help>::extend)
                }
            }

            impl Verb for $name {
                fn run(self, output: Output) -> ExitCode {
                    match self.action {
                        None => self.get.run(output),
                        Some($action::Get(get)) => get.run(output),
                        Some($action::Reset(reset)) => reset.run(output),
                    }
                }
            }
        )*
    };
}

with_reset! {
    Slowlog, SlowlogAction: verbs::Slowlog, verbs::SlowlogReset;
    Hotkeys, HotkeysAction: verbs::Hotkeys, verbs::HotkeysReset;
}

//! Flags of `wait`.
//!
//! Owns: [`Wait`], [`Goal`]. Never knows: how a respgate is asked.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Answer, Help, Target};
use crate::cli::exit;
use crate::config::read_duration;

/// Wait until a respgate is ready, or reaches its server
#[derive(Debug, Args)]
pub(in crate::cli) struct Wait {
    /// What to wait for
    #[arg(long = "for", value_enum, default_value_t = Goal::Ready)]
    pub goal: Goal,
    /// How long, as 30s
    #[arg(long, visible_alias = "max", value_name = "TIME", default_value = "30s", value_parser = read_duration)]
    pub timeout: Duration,
    #[command(flatten)]
    pub answer: Answer,
    #[command(flatten)]
    pub target: Target,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Goal {
    /// Applications may connect
    Ready,
    /// The server is reached
    Upstream,
}

impl Help for Wait {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[(
        "Start a job when the server can be reached",
        "respgate wait --for upstream --timeout 60s --socket /run/respgate/control.sock && ./job",
    )];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "the condition holds"),
        (exit::FAILURE, "the condition did not hold in time"),
        (exit::NO_ANSWER, "no respgate answers in time"),
    ];
}

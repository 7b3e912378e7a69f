//! Flags of the verbs that write what others read about the command line.
//!
//! Owns: [`Completions`], [`Man`]. Never knows: what is written.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::Shell;

use super::Help;
use crate::cli::exit;

/// Print a script that completes verbs and flags in a shell
#[derive(Debug, Args)]
pub(in crate::cli) struct Completions {
    /// The shell that reads the script
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

impl Help for Completions {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        (
            "For bash, from the next shell on",
            "respgate completions bash > ~/.local/share/bash-completion/completions/respgate",
        ),
        ("For zsh, in a directory of $fpath", "respgate completions zsh > ~/.zfunc/_respgate"),
        ("For fish", "respgate completions fish > ~/.config/fish/completions/respgate.fish"),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[(exit::SUCCESS, "the script was printed")];
}

/// Write a manual page for respgate and for each of its verbs
#[derive(Debug, Args)]
pub(in crate::cli) struct Man {
    /// An existing directory; files of the same names are replaced
    #[arg(value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

impl Help for Man {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("Install the pages", "respgate man /usr/local/share/man/man1"),
        ("Read one of them without installing it", "respgate man . && man ./respgate-run.1"),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "the pages were written"),
        (exit::FAILURE, "a page could not be written"),
    ];
}

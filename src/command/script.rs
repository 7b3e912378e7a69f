//! What a command has to do with scripts and functions.
//!
//! Owns: [`Script`]. Never knows: which scripts may run.

/// What runs, or what is shown or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Script {
    /// `EVAL`, `SCRIPT LOAD` and similar: the script's text is the argument of this number.
    Text { arg: usize },
    /// `EVALSHA` and similar: its first argument is the SHA-1 of a script that the server has seen.
    Digest,
    /// `FCALL` and similar: its first argument is the name of a function that the server has.
    Function,
    /// `SCRIPT EXISTS`: its arguments from the second on are SHA-1s of scripts.
    Exists,
    /// What the server keeps of all applications is shown.
    Shows,
    /// What the server keeps, or runs for others, is replaced, removed or stopped. `forgets`: every
    /// script that it has seen is gone afterwards (`SCRIPT FLUSH`).
    Change { forgets: bool },
}

impl Script {
    /// The argument that names the script.
    #[must_use]
    pub const fn argument(self) -> usize {
        match self {
            Self::Text { arg } => arg,
            Self::Exists => 2,
            Self::Digest | Self::Function | Self::Shows | Self::Change { .. } => 1,
        }
    }

    /// Whether a script or function runs: the arguments behind [`Self::argument`] are its own.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(self, Self::Text { arg: 1 } | Self::Digest | Self::Function)
    }
}

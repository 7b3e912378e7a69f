//! Why there are no credentials: one code for each cause.
//!
//! Owns: [`LoginError`]. Never knows: how credentials are read.

use std::time::Duration;

use crate::base::program::ProgramError;
use crate::config::{SourceError, io_cause};
use crate::telemetry::ReloadRejection;

/// Why a user and a password could not be read.
#[derive(Debug)]
pub enum LoginError {
    Source(SourceError),
    /// The program that prints them, and what became of it.
    Program(String, ProgramError),
    /// The program has printed something else.
    Answer(String, &'static str),
    /// The password that the program has printed has ended before.
    Expired(String),
    /// Reading does not end.
    Stuck(Duration),
}

impl LoginError {
    /// The code of what was wrong with the program; files and variables have none.
    #[must_use]
    pub const fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Program(_, ProgramError::Start(_) | ProgramError::WritableByAll) => "CRD-E001",
            Self::Program(_, ProgramError::Exit(_) | ProgramError::Output(_)) => "CRD-E002",
            Self::Program(_, ProgramError::TooSlow(_)) => "CRD-E003",
            Self::Program(_, ProgramError::TooMuch(_)) => "CRD-E004",
            Self::Answer(..) => "CRD-E005",
            Self::Expired(_) => "CRD-E006",
            Self::Source(_) | Self::Stuck(_) => return None,
        })
    }

    /// Whether files or variables are the cause, and no program.
    #[must_use]
    pub const fn is_of_files(&self) -> bool {
        matches!(self, Self::Source(_) | Self::Stuck(_))
    }

    /// The label under which metrics count the error.
    #[must_use]
    pub const fn reason(&self) -> ReloadRejection {
        match self {
            Self::Source(_) | Self::Program(..) | Self::Stuck(_) => ReloadRejection::Io,
            Self::Answer(..) => ReloadRejection::Parse,
            Self::Expired(_) => ReloadRejection::Expired,
        }
    }
}

impl From<SourceError> for LoginError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl std::fmt::Display for LoginError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(code) = self.code() {
            write!(f, "{code}: password_command ")?;
        }
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Stuck(after) => {
                write!(
                    f,
                    "the password was not read within {} s; is its file system gone?",
                    after.as_secs()
                )
            }
            Self::Program(program, ProgramError::Start(error)) => {
                write!(f, "{program} cannot be started: {}", io_cause(error))
            }
            Self::Program(program, ProgramError::WritableByAll) => {
                write!(
                    f,
                    "{program} is not run: every user of this machine may change it; chmod o-w {program}"
                )
            }
            Self::Program(program, ProgramError::Exit(Some(status))) => {
                write!(
                    f,
                    "{program} ended with exit status {status}; run it by hand to see its messages"
                )
            }
            Self::Program(program, ProgramError::Exit(None)) => {
                write!(f, "{program} was ended by a signal")
            }
            Self::Program(program, ProgramError::Output(error)) => {
                write!(f, "{program}: its output cannot be read: {}", io_cause(error))
            }
            Self::Program(program, ProgramError::TooSlow(after)) => {
                write!(
                    f,
                    "{program}, or a process that it has started and that keeps its output open, did not end within \
                     {} ms and was killed",
                    after.as_millis()
                )
            }
            Self::Program(program, ProgramError::TooMuch(max)) => {
                write!(f, "{program} printed more than {} KiB and was killed", max >> 10)
            }
            Self::Answer(program, fault) => {
                write!(f, "{program} did not print what it should: {fault}")
            }
            Self::Expired(program) => {
                write!(
                    f,
                    "{program} printed a password whose expires_at is over; compare the clocks"
                )
            }
        }
    }
}

impl std::error::Error for LoginError {}

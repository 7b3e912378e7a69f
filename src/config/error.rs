//! What is wrong with a configuration, where, and what to write instead.
//!
//! Owns: [`Problem`], [`Place`]. Never knows: exit codes, how problems are found.

use std::fmt;
use std::sync::Arc;

/// Before every variable that overrides a key: `RESPGATE__UPSTREAM__ADDRESS`.
pub const VARIABLE_PREFIX: &str = "RESPGATE__";

/// Where a value was written, or should have been.
///
/// The order is that of precedence: a later one overrides an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file; line and column count characters from 1, and are absent for the file as a whole.
    Text { name: Arc<str>, position: Option<(usize, usize)> },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { name, position: Some((line, column)) } => {
                write!(f, "{name}:{line}:{column}")
            }
            Self::Text { name, position: None } => f.write_str(name),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing to correct. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// The full name of the key, as `upstream.pool.max_idle`; empty when the text as a whole is meant.
    pub key: String,
    /// What is wrong, in lower case and without a full stop.
    pub problem: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// What is wrong with a value, before the position of the value is known.
#[derive(Debug)]
pub(super) struct ValueError {
    pub problem: String,
    pub hint: Option<String>,
}

impl ValueError {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn at(self, place: Place, key: impl Into<String>) -> Problem {
        Problem { place, key: key.into(), problem: self.problem, hint: self.hint }
    }
}

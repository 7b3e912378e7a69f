//! Why the proxy cannot start, or cannot go on.
//!
//! Owns: [`StartError`], [`DataPlaneEnded`]. Never knows: where an error is shown.

use crate::downstream::BindError;

/// Why the proxy cannot start.
#[derive(Debug)]
pub(crate) struct StartError {
    pub what: String,
    pub hint: Option<String>,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    pub(super) fn new(what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string(), hint: None }
    }

    pub(super) fn bind(error: BindError) -> Self {
        Self { what: error.to_string(), hint: error.hint }
    }

    pub(super) fn telemetry(address: std::net::SocketAddr, error: &std::io::Error) -> Self {
        let BindError { problem, hint, .. } = BindError::tcp(address, error);
        let instead = "choose another telemetry.address, or \"off\"";
        let hint = hint.map_or_else(|| instead.to_owned(), |hint| format!("{hint}; or {instead}"));
        Self { what: format!("cannot serve telemetry on {address}: {problem}"), hint: Some(hint) }
    }
}

/// An internal error has ended the thread that serves clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataPlaneEnded;

impl std::fmt::Display for DataPlaneEnded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "an internal error ended the thread that serves clients (RUN-E001)\n  hint: start respgate \
             again, and report the error with the log before it",
        )
    }
}

impl std::error::Error for DataPlaneEnded {}

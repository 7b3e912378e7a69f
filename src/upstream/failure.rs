//! Why a connection to the server could not be had.
//!
//! Owns: [`DialError`]. Never knows: what clients are told.

use std::time::Duration;

use super::phase::Phase;
use crate::tls::TlsError;
use crate::traffic::Unavailable;

/// A connection that did not come to be: for logs, for metrics, for the retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialError {
    pub what: Unavailable,
    /// A metric label: of the phase, or with [`Unavailable::Tls`] of the handshake failure.
    pub label: &'static str,
    /// The step that failed.
    pub phase: Phase,
    /// Cause and fix for a person; never a secret, never the server's echo of what we sent.
    pub text: String,
    /// What the server answered to `SELECT`, when it is that which failed: the client that asked for
    /// the database gets this line.
    pub server_line: Option<Vec<u8>>,
}

impl DialError {
    pub(super) fn new(what: Unavailable, text: impl Into<String>) -> Self {
        let (label, phase) = (what.label(), Phase::Login);
        Self { what, label, phase, text: text.into(), server_line: None }
    }

    /// The server's line when it is busy with a script: it is well, and says this to everybody.
    pub(super) fn busy_line(&self) -> Option<&[u8]> {
        self.server_line.as_deref().filter(|line| line.starts_with(b"BUSY "))
    }

    pub(super) fn timed_out(
        server: impl std::fmt::Display,
        after: Duration,
        cause: &'static str,
    ) -> Self {
        Self::new(Unavailable::Timeout, format!("{server}: timed out after {after:?}: {cause}"))
    }
}

/// Why there is no TCP connection, and what to look at.
pub(super) fn refused(error: &std::io::Error) -> String {
    use std::io::ErrorKind as E;
    let kind = error.kind();
    #[allow(clippy::wildcard_enum_match_arm, reason = "others add variants to their enums")]
    match kind {
        E::ConnectionRefused => {
            "connection refused; is the server running, and is this its port?".to_owned()
        }
        E::HostUnreachable | E::NetworkUnreachable => {
            format!("{kind}; is there a route to it, and is it up?")
        }
        E::PermissionDenied => "permission denied; a firewall rule forbids it".to_owned(),
        _ => kind.to_string(),
    }
}

impl From<TlsError> for DialError {
    fn from(error: TlsError) -> Self {
        let text = format!("{error}; {}", error.hint());
        Self { label: error.fault.label(), ..Self::new(Unavailable::Tls, text) }
    }
}

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for DialError {}

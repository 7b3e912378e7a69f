//! Why a connection to the server could not be had.
//!
//! Owns: [`DialError`]. Never knows: what clients read.

use std::time::Duration;

use super::credentials::LoginError;
use super::fault::Fault;
use super::phase::{Phase, Spent};
use crate::tls::TlsError;
use crate::traffic::Unavailable;

/// A connection that did not come to be: for logs, for metrics, for the retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialError {
    pub what: Unavailable,
    /// A metric label: of the phase, or with [`Unavailable::Tls`] of the handshake failure.
    pub label: &'static str,
    /// The stable name of what is wrong: `UPS-E…` or `TLS-E…`.
    pub code: &'static str,
    /// The step that failed.
    pub phase: Phase,
    /// What is wrong; never a secret, never the server's echo of what we sent.
    pub cause: Box<str>,
    /// What a person does about it.
    pub fix: Box<str>,
    /// Cause, code and fix in one line.
    pub text: Box<str>,
    /// What the server answered to `SELECT`, when it is that which failed, or that it is busy with a script: the client
    /// that asked for the connection gets this line.
    pub server_line: Option<Vec<u8>>,
    /// The time the attempt took, by step.
    pub spent: Box<Spent>,
}

impl DialError {
    /// A fault with nothing to add to its table.
    pub(super) fn of(fault: Fault) -> Self {
        Self::new(fault, fault.cause())
    }

    /// A fault with its cause in other words.
    pub(super) fn new(fault: Fault, cause: impl Into<Box<str>>) -> Self {
        Self {
            what: fault.what(),
            label: fault.what().label(),
            code: fault.code(),
            phase: Phase::Login,
            cause: cause.into(),
            fix: fault.hint().into(),
            text: Box::default(),
            server_line: None,
            spent: Box::default(),
        }
        .with_text()
    }

    fn with_text(self) -> Self {
        debug_assert!(!self.cause.is_empty() && !self.fix.is_empty(), "an error without a remedy");
        Self { text: format!("{} ({}); {}", self.cause, self.code, self.fix).into(), ..self }
    }

    /// With another remedy.
    pub(super) fn advise(self, fix: impl Into<Box<str>>) -> Self {
        Self { fix: fix.into(), ..self }.with_text()
    }

    /// With the server that it is about.
    pub(super) fn at(self, server: impl std::fmt::Display) -> Self {
        Self { cause: format!("{server}: {}", self.cause).into(), ..self }.with_text()
    }

    /// The server's line when it is busy with a script: it works, and sends this to every client.
    pub(super) fn busy_line(&self) -> Option<&[u8]> {
        self.server_line.as_deref().filter(|line| line.starts_with(b"BUSY "))
    }

    pub(super) fn timed_out(server: impl std::fmt::Display, after: Duration, fault: Fault) -> Self {
        debug_assert!(fault.what() == Unavailable::Timeout, "what has failed has timed out");
        Self::new(fault, format!("timed out after {after:?}: {}", fault.cause())).at(server)
    }
}

/// Why there is no TCP connection, and what more is known of it.
pub(super) fn not_connected(error: &std::io::Error) -> (Fault, String) {
    use std::io::ErrorKind as E;
    #[allow(clippy::wildcard_enum_match_arm, reason = "others add variants to their enums")]
    let fault = match error.kind() {
        E::ConnectionRefused => Fault::Refused,
        E::HostUnreachable | E::NetworkUnreachable => Fault::Unreachable,
        E::PermissionDenied => Fault::Forbidden,
        kind => return (Fault::NotConnected, kind.to_string()),
    };
    (fault, fault.cause().to_owned())
}

/// There is nothing to log in with.
impl From<&LoginError> for DialError {
    fn from(error: &LoginError) -> Self {
        let (fault, text) = (Self::of(Fault::LoginMissing), error.to_string());
        let code = error.code().unwrap_or(fault.code);
        let cause = text.strip_prefix(code).and_then(|text| text.strip_prefix(": "));
        Self {
            code,
            cause: cause.unwrap_or(&text).into(),
            fix: "respgate runs it again by itself".into(),
            ..fault
        }
        .with_text()
    }
}

impl From<TlsError> for DialError {
    fn from(error: TlsError) -> Self {
        let place =
            if error.place.is_empty() { String::new() } else { format!("{}: ", error.place) };
        Self {
            what: Unavailable::Tls,
            label: error.fault.label(),
            code: error.fault.code(),
            cause: format!("{place}{}", error.detail).into(),
            fix: error.hint().into(),
            ..Self::of(Fault::NotConnected)
        }
        .with_text()
    }
}

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for DialError {}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind as E;

    use super::*;

    #[test]
    fn causes_of_a_missing_connection_have_codes() {
        for (kind, code) in [
            (E::ConnectionRefused, "UPS-E102"),
            (E::HostUnreachable, "UPS-E103"),
            (E::NetworkUnreachable, "UPS-E103"),
            (E::PermissionDenied, "UPS-E104"),
            (E::AddrNotAvailable, "UPS-E105"),
        ] {
            let (fault, cause) = not_connected(&kind.into());
            let error = DialError::new(fault, cause);
            assert_eq!(error.code, code, "{kind:?}");
            assert!(error.text.contains(code) && error.text.ends_with(&*error.fix), "{error}");
        }
    }
}

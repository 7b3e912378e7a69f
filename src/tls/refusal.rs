//! Why the handshake of an application failed, in words that name cause and fix.
//!
//! Owns: the translation of rustls's errors, none of whose own texts is repeated. Never knows: sockets.
#![allow(clippy::wildcard_enum_match_arm, reason = "others add variants to their enums")]

use std::io;
use std::time::{Duration, SystemTime};

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use super::error::{Fault, TlsError};
use super::expiry::calendar;
use super::explain::{self, alert_name};

/// What went wrong in a handshake with the application at `peer` (an address, for the text).
#[must_use]
pub(crate) fn refusal(error: &io::Error, peer: &str) -> TlsError {
    let new = |fault: Fault, detail: &str| TlsError::new(fault, peer, detail.to_owned());
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => {
                new(Fault::PeerClosed, "the connection was closed during the handshake")
            }
            kind => new(
                Fault::PeerBroken,
                &format!("the connection failed during the handshake: {kind}"),
            ),
        };
    };
    refused(tls, peer)
}

/// What went wrong, from the error of the TLS library.
#[must_use]
pub(super) fn refused(error: &Error, peer: &str) -> TlsError {
    let new = |fault: Fault, detail: &str| TlsError::new(fault, peer, detail.to_owned());
    match error {
        Error::NoCertificatesPresented => new(
            Fault::PeerWithout,
            "no certificate was shown, and listener.tls.client_auth is \"require\"",
        ),
        Error::InvalidCertificate(reason) => certificate(reason, peer),
        Error::InvalidCertRevocationList(_) => new(
            Fault::PeerStatusUnknown,
            "a list of listener.tls.crl is not signed by the authority that it names",
        ),
        Error::AlertReceived(alert) => {
            let (number, name) = (u8::from(*alert), alert_name(*alert));
            let detail = match alert {
                AlertDescription::UnknownCA | AlertDescription::BadCertificate => {
                    format!(
                        "the application does not trust listener.tls.cert (alert {number}, {name})"
                    )
                }
                _ => {
                    format!("the application ended the handshake with the alert {number} ({name})")
                }
            };
            TlsError::new(Fault::PeerAlert, peer, detail)
        }
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => new(Fault::PeerPlaintext, "the first bytes are not TLS"),
        Error::PeerIncompatible(_) => new(
            Fault::PeerIncompatible,
            "there is no TLS version and cipher suite that both support",
        ),
        _ => new(Fault::PeerBroken, "what was sent is not what TLS prescribes"),
    }
}

fn certificate(reason: &CertificateError, peer: &str) -> TlsError {
    use CertificateError as C;
    let (fault, detail) = match reason {
        C::ExpiredContext { not_after, .. } => (
            Fault::PeerExpired,
            format!("the application's certificate expired on {}", unix(not_after.as_secs())),
        ),
        C::Expired => (Fault::PeerExpired, "the application's certificate has expired".to_owned()),
        C::NotValidYetContext { not_before, .. } => (
            Fault::PeerNotYetValid,
            format!("the application's certificate is not valid before {}", unix(not_before.as_secs())),
        ),
        C::NotValidYet => {
            (Fault::PeerNotYetValid, "the application's certificate is not valid yet".to_owned())
        }
        C::UnknownIssuer | C::BadSignature => (
            Fault::PeerUntrusted,
            "the application's certificate is not signed by any CA of listener.tls.client_ca".to_owned(),
        ),
        C::UnknownRevocationStatus => (
            Fault::PeerStatusUnknown,
            "no list of listener.tls.crl is by the authority that signed the application's certificate"
                .to_owned(),
        ),
        C::ExpiredRevocationList | C::ExpiredRevocationListContext { .. } => {
            (Fault::ListExpired, "a list of listener.tls.crl has expired".to_owned())
        }
        C::Revoked => {
            (Fault::PeerRevoked, "the application's certificate is revoked".to_owned())
        }
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => (
            Fault::PeerCertificate,
            "the extended key usage of the application's certificate does not allow it to identify a client"
                .to_owned(),
        ),
        C::Other(other) => match other.0.downcast_ref::<TlsError>() {
            Some(known) => {
                let error = TlsError::new(known.fault, peer, known.detail.clone());
                return error.advise(known.hint().to_owned());
            }
            None if explain::is_too_long(other) => {
                let detail = format!("the application's certificate {}", explain::TOO_LONG);
                let error = TlsError::new(Fault::PeerCertificate, peer, detail);
                return error.advise(explain::SHORTER.to_owned());
            }
            None => (
                Fault::PeerCertificate,
                "the application's certificate is not one that TLS allows".to_owned(),
            ),
        },
        rest => (
            Fault::PeerCertificate,
            format!("the application's certificate {}", explain::unusual(rest)),
        ),
    };
    TlsError::new(fault, peer, detail)
}

fn unix(seconds: u64) -> String {
    calendar(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// A handshake that did not end within `limit`.
#[must_use]
pub(crate) fn too_slow(limit: Duration, peer: &str) -> TlsError {
    let detail = format!("the handshake did not end within {} ms", limit.as_millis());
    TlsError::new(Fault::PeerSlow, peer, detail)
}

/// A handshake that an internal error has ended.
#[must_use]
pub(crate) fn broken_off(peer: &str) -> TlsError {
    TlsError::new(Fault::PeerBroken, peer, "an internal error ended the handshake")
}

/// A handshake with a certificate that an operator has blocked.
#[must_use]
pub(crate) fn blocked(certificate: &str, peer: &str) -> TlsError {
    let detail = format!("the certificate of {certificate} is blocked by an operator");
    TlsError::new(Fault::PeerBlocked, peer, detail)
}

/// A handshake that gave way to another.
#[must_use]
pub(crate) fn crowded(most: usize, peer: &str) -> TlsError {
    let detail = format!("of {most} handshakes in progress, the oldest of the address with most");
    TlsError::new(Fault::PeerCrowded, peer, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_names_the_cause_and_repeats_nothing() {
        use AlertDescription as A;
        for (error, code) in [
            (Error::NoCertificatesPresented, "TLS-E201"),
            (CertificateError::UnknownIssuer.into(), "TLS-E202"),
            (CertificateError::Expired.into(), "TLS-E203"),
            (CertificateError::NotValidYet.into(), "TLS-E204"),
            (CertificateError::InvalidPurpose.into(), "TLS-E206"),
            (CertificateError::Revoked.into(), "TLS-E207"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "TLS-E208"),
            (Error::AlertReceived(A::UnknownCA), "TLS-E210"),
            (Error::AlertReceived(A::HandshakeFailure), "TLS-E210"),
            (Error::General("s3cret".to_owned()), "TLS-E214"),
        ] {
            let explained =
                refusal(&io::Error::new(io::ErrorKind::InvalidData, error), "10.0.0.1:1");
            assert_eq!(explained.fault.code(), code, "{explained:#}");
            assert!(!format!("{explained:#}").contains("s3cret"), "{explained:#}");
        }
        let long = webpki::Error::MaximumPathDepthExceeded;
        let long =
            Error::from(CertificateError::Other(rustls::OtherError(std::sync::Arc::new(long))));
        let long = refusal(&io::Error::new(io::ErrorKind::InvalidData, long), "").to_string();
        assert!(long.contains("more than six intermediates"), "{long}");
        let closed = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(refusal(&closed, "").fault, Fault::PeerClosed);
        let odd = refusal(&io::Error::other("s3cret"), "");
        assert!(odd.fault == Fault::PeerBroken && !odd.to_string().contains("s3cret"), "{odd}");
    }
}

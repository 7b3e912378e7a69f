//! Why a handshake failed, in words that name cause and fix.
//!
//! Owns: the translation of rustls's errors. Never knows: sockets.
#![allow(clippy::wildcard_enum_match_arm, reason = "others add variants to their enums")]

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use super::error::{Fault, TlsError};
use super::material::calendar;

/// What went wrong on a TLS connection to `server` (an address, for the text), during the handshake
/// or in the first exchange after it: in TLS 1.3 a server refuses our certificate only then.
#[must_use]
pub fn explain(error: &io::Error, server: &str) -> TlsError {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return explain_tls(tls, server);
    }
    let (fault, detail) = match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => {
            (Fault::Closed, "the server closed the connection during the handshake".to_owned())
        }
        _ => (Fault::Broken, error.to_string()),
    };
    TlsError::new(fault, server, detail)
}

fn explain_tls(error: &Error, server: &str) -> TlsError {
    let new = |fault, detail: String| TlsError::new(fault, server, detail);
    match error {
        Error::InvalidCertificate(reason) => explain_certificate(reason, server),
        Error::AlertReceived(alert) => explain_alert(*alert, server),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => new(Fault::Plaintext, "answers in something that is not TLS".to_owned()),
        Error::PeerIncompatible(reason) => {
            new(Fault::Incompatible, format!("no common TLS version or algorithm ({reason:?})"))
        }
        Error::NoCertificatesPresented => {
            new(Fault::ServerCertificate, "the server shows no certificate".to_owned())
        }
        other => new(Fault::Broken, format!("the TLS connection is broken: {other}")),
    }
}

fn explain_certificate(reason: &CertificateError, server: &str) -> TlsError {
    use CertificateError as C;
    let (fault, detail) = match reason {
        C::ExpiredContext { not_after, .. } => (
            Fault::ServerExpired,
            format!("the server's certificate expired on {}", unix(not_after.as_secs())),
        ),
        C::Expired => (Fault::ServerExpired, "the server's certificate has expired".to_owned()),
        C::NotValidYetContext { not_before, .. } => (
            Fault::ServerNotYetValid,
            format!("the server's certificate is not valid before {}", unix(not_before.as_secs())),
        ),
        C::NotValidYet => {
            (Fault::ServerNotYetValid, "the server's certificate is not valid yet".to_owned())
        }
        C::UnknownIssuer | C::BadSignature => (
            Fault::ServerUntrusted,
            "the server's certificate is not signed by any CA of upstream.tls.ca".to_owned(),
        ),
        C::NotValidForNameContext { presented, .. } if presented.is_empty() => (
            Fault::ServerNameless,
            "the server's certificate names no host (no subjectAltName)".to_owned(),
        ),
        C::NotValidForNameContext { expected, presented } => (
            Fault::ServerName,
            format!(
                "the server's certificate is for {}, not for {}",
                presented.join(", "),
                expected.to_str()
            ),
        ),
        C::NotValidForName => {
            (Fault::ServerName, "the server's certificate is for another name".to_owned())
        }
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => (
            Fault::ServerUsage,
            "the extended key usage of the server's certificate does not allow it to identify a server"
                .to_owned(),
        ),
        C::Other(other) => match other.0.downcast_ref::<TlsError>() {
            Some(known) => (known.fault, known.detail.to_string()),
            None => (
                Fault::ServerCertificate,
                format!("the server's certificate is not acceptable: {}", other.0),
            ),
        },
        rest => (
            Fault::ServerCertificate,
            format!("the server's certificate is not acceptable: {rest}"),
        ),
    };
    TlsError::new(fault, server, detail)
}

fn explain_alert(alert: AlertDescription, server: &str) -> TlsError {
    use AlertDescription as A;
    let (fault, detail) = match alert {
        A::CertificateRequired | A::NoCertificate => {
            (Fault::CertificateRequired, "the server requires a client certificate")
        }
        A::UnknownCA => {
            (Fault::ClientUntrusted, "the server does not trust the CA of our certificate")
        }
        A::BadCertificate | A::UnsupportedCertificate | A::CertificateUnknown | A::AccessDenied => {
            (Fault::ClientRefused, "the server does not accept our certificate")
        }
        A::CertificateExpired => {
            (Fault::ClientExpired, "the server says our certificate is expired or not yet valid")
        }
        A::CertificateRevoked => {
            (Fault::ClientRevoked, "the server says our certificate is revoked")
        }
        A::ProtocolVersion | A::InsufficientSecurity => {
            (Fault::Incompatible, "the server speaks no TLS version or suite that we do")
        }
        A::UnrecognisedName => (Fault::ServerName, "the server does not know the name we ask for"),
        _ => {
            let detail = format!("the server refused the connection with the alert {alert:?}");
            return TlsError::new(Fault::Alert, server, detail);
        }
    };
    TlsError::new(fault, server, detail)
}

fn unix(seconds: u64) -> String {
    calendar(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_about_our_certificate() {
        use AlertDescription as A;
        for (alert, code, label) in [
            (A::CertificateRequired, "TLS-E113", "cert_required"),
            (A::UnknownCA, "TLS-E114", "unknown_ca"),
            (A::BadCertificate, "TLS-E115", "unsupported_cert"),
            (A::UnsupportedCertificate, "TLS-E115", "unsupported_cert"),
            (A::CertificateExpired, "TLS-E116", "expired"),
            (A::CertificateRevoked, "TLS-E117", "revoked"),
            (A::ProtocolVersion, "TLS-E112", "version"),
            (A::HandshakeFailure, "TLS-E118", "other"),
            (A::InternalError, "TLS-E118", "other"),
        ] {
            let error = io::Error::new(io::ErrorKind::InvalidData, Error::AlertReceived(alert));
            let told = explain(&error, "redis:6380");
            assert_eq!((told.fault.code(), told.fault.label()), (code, label), "{alert:?}");
            assert!(told.to_string().starts_with("redis:6380: the server "), "{told}");
        }
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(explain(&reset, "").fault, Fault::Closed);
        assert_eq!(explain(&io::Error::other("odd"), "").fault, Fault::Broken);
    }
}

//! Why a handshake failed, in words that name cause and fix.
//!
//! Owns: the translation of rustls's errors, none of whose own texts is repeated. Never knows: sockets.
#![allow(clippy::wildcard_enum_match_arm, reason = "others add variants to their enums")]

use std::io;
use std::path::PathBuf;

use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
};

use super::error::{Fault, TlsError};
use super::expiry::calendar;
use crate::config::{self, Authorities, TlsVersion};

/// What our side of a handshake offers and requires, as far as it explains a failure.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The file of the client certificate, if there is one.
    pub certificate: Option<PathBuf>,
    pub min_version: TlsVersion,
    pub system: bool,
}

impl Offer {
    pub(super) fn new(settings: &config::Tls) -> Self {
        Self {
            certificate: settings.client.as_ref().map(|client| client.cert.clone()),
            min_version: settings.min_version,
            system: settings.ca == Some(Authorities::System),
        }
    }
}

/// What went wrong on a TLS connection to `server` (an address, for the text), during the handshake
/// or in the first exchange after it: in TLS 1.3 a server refuses our certificate only then.
#[must_use]
pub(crate) fn explain(error: &io::Error, server: &str, offer: &Offer) -> TlsError {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return for_server(explain_tls(tls, server, offer), server);
    }
    let (fault, detail) = match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => {
            (Fault::Closed, "the server closed the connection during the handshake".to_owned())
        }
        kind => (Fault::Broken, format!("the connection failed during the handshake: {kind}")),
    };
    TlsError::new(fault, server, detail)
}

/// With the server that it is about in the commands to type.
fn for_server(error: TlsError, server: &str) -> TlsError {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let kind = if host.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
    let advice = error.hint().replace("HOST:PORT", server);
    let advice = advice.replace("DNS:NAME", &format!("{kind}:{host}"));
    error.advise(advice)
}

fn explain_tls(error: &Error, server: &str, offer: &Offer) -> TlsError {
    let new = |fault, detail: &'static str| TlsError::new(fault, server, detail);
    match error {
        Error::InvalidCertificate(reason) => explain_certificate(reason, server, offer),
        Error::AlertReceived(alert) => explain_alert(*alert, server, offer),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => plaintext(server),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => too_old(server, offer),
        Error::PeerIncompatible(_) => {
            new(Fault::Incompatible, "the server shares no TLS algorithm with respgate").advise(
                "let the server offer the usual suites and curves (tls-ciphers, tls-ciphersuites)",
            )
        }
        Error::NoCertificatesPresented => {
            new(Fault::ServerCertificate, "the server shows no certificate")
        }
        Error::DecryptError => new(Fault::Broken, "what the server sends cannot be decrypted"),
        Error::PeerMisbehaved(_)
        | Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerSentOversizedRecord => {
            new(Fault::Broken, "the server does not answer according to TLS")
        }
        _ => new(Fault::Broken, "the TLS handshake failed"),
    }
}

/// The server answers, or would answer, in plain text.
#[must_use]
pub(crate) fn plaintext(server: &str) -> TlsError {
    TlsError::new(Fault::Plaintext, server, "the port is plaintext: it does not answer in TLS")
}

fn too_old(server: &str, offer: &Offer) -> TlsError {
    match offer.min_version {
        TlsVersion::V1_2 => {
            let detail = "the server supports neither TLS 1.3 nor TLS 1.2";
            TlsError::new(Fault::Incompatible, server, detail).advise(
                "let the server offer TLS 1.2 or 1.3 (tls-protocols \"TLSv1.2 TLSv1.3\"); \
                 respgate supports no older version",
            )
        }
        TlsVersion::V1_3 => {
            let detail =
                "the server does not support TLS 1.3, and upstream.tls.min_version requires it";
            TlsError::new(Fault::Incompatible, server, detail).advise(
                "let the server offer TLS 1.3 (tls-protocols), or set upstream.tls.min_version = \"1.2\"",
            )
        }
    }
}

fn explain_certificate(reason: &CertificateError, server: &str, offer: &Offer) -> TlsError {
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
            match offer.system {
                true => "the server's certificate is not signed by any public authority",
                false => "the server's certificate is not signed by any CA of upstream.tls.ca",
            }
            .to_owned(),
        ),
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            (Fault::ServerName, "the server's certificate is for another name".to_owned())
        }
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => (
            Fault::ServerUsage,
            "the extended key usage of the server's certificate does not allow it to identify a server"
                .to_owned(),
        ),
        C::Revoked => (Fault::ServerRevoked, "the server's certificate is revoked".to_owned()),
        C::UnknownRevocationStatus => (
            Fault::ServerStatusUnknown,
            "no list of upstream.tls.crl is by the authority that signed the server's certificate"
                .to_owned(),
        ),
        C::ExpiredRevocationList | C::ExpiredRevocationListContext { .. } => {
            (Fault::ListExpired, "a list of upstream.tls.crl has expired".to_owned())
        }
        C::Other(other) => match other.0.downcast_ref::<TlsError>() {
            Some(known) => {
                let error = TlsError::new(known.fault, server, known.detail.clone());
                return error.advise(known.hint().to_owned());
            }
            None if is_too_long(other) => {
                let detail = format!("the server's certificate {TOO_LONG}");
                return TlsError::new(Fault::ServerCertificate, server, detail).advise(SHORTER.to_owned());
            }
            None => (
                Fault::ServerCertificate,
                "the server's certificate is not one that TLS allows".to_owned(),
            ),
        },
        rest => (Fault::ServerCertificate, format!("the server's certificate {}", unusual(rest))),
    };
    TlsError::new(fault, server, detail)
}

/// What follows the words for a certificate whose chain is too long.
pub(super) const TOO_LONG: &str = "has more than six intermediates in its chain";
pub(super) const SHORTER: &str =
    "issue it by an authority nearer to the root, or trust one of the intermediates as a root";

/// Whether the library has given up a chain for its length.
pub(super) fn is_too_long(other: &OtherError) -> bool {
    let error = other.0.downcast_ref::<webpki::Error>();
    error == Some(&webpki::Error::MaximumPathDepthExceeded)
}

/// What is seldom wrong with a certificate.
pub(super) fn unusual(reason: &CertificateError) -> &'static str {
    use CertificateError as C;
    match reason {
        C::BadEncoding => "cannot be read",
        C::UnhandledCriticalExtension => "has a critical extension that respgate does not know",
        C::UnsupportedSignatureAlgorithmContext { .. }
        | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed with an algorithm that is not safe any more (SHA-1, MD5, RSA below 2048 bits)"
        }
        _ => "is not acceptable",
    }
}

fn explain_alert(alert: AlertDescription, server: &str, offer: &Offer) -> TlsError {
    use AlertDescription as A;
    let without = offer.certificate.is_none();
    let (fault, detail) = match alert {
        A::CertificateRequired | A::NoCertificate if without => (
            Fault::NoClientCertificate,
            "the server requires a client certificate, and none is configured",
        ),
        A::HandshakeFailure if without => (
            Fault::NoClientCertificate,
            "the server refused the handshake; it may require a client certificate, and none is configured",
        ),
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
            (Fault::ClientExpired, "the server reports our certificate as expired or not yet valid")
        }
        A::CertificateRevoked => {
            (Fault::ClientRevoked, "the server reports our certificate as revoked")
        }
        A::ProtocolVersion => return too_old(server, offer),
        A::InsufficientSecurity => {
            (Fault::Incompatible, "the server supports no TLS suite that respgate does")
        }
        A::UnrecognisedName => (Fault::ServerName, "the server does not know the name we ask for"),
        _ => {
            let detail = format!(
                "the server refused the connection with the TLS alert {} ({})",
                u8::from(alert),
                alert_name(alert)
            );
            return TlsError::new(Fault::Alert, server, detail);
        }
    };
    let error = TlsError::new(fault, server, detail);
    match (fault, &offer.certificate) {
        (Fault::ClientRefused, Some(path)) => error.advise(format!(
            "check it with: openssl verify -purpose sslclient -CAfile CA {}, where CA is the server's tls-ca-cert-file",
            path.display()
        )),
        _ => error,
    }
}

/// The name of the alert in the registry of TLS (RFC 8446, 6).
pub(super) fn alert_name(alert: AlertDescription) -> &'static str {
    use AlertDescription as A;
    match alert {
        A::UnexpectedMessage => "unexpected_message",
        A::BadRecordMac => "bad_record_mac",
        A::RecordOverflow => "record_overflow",
        A::HandshakeFailure => "handshake_failure",
        A::IllegalParameter => "illegal_parameter",
        A::DecodeError => "decode_error",
        A::DecryptError => "decrypt_error",
        A::InternalError => "internal_error",
        A::UserCanceled => "user_canceled",
        A::MissingExtension => "missing_extension",
        A::UnsupportedExtension => "unsupported_extension",
        A::NoApplicationProtocol => "no_application_protocol",
        _ => "without a name here",
    }
}

fn unix(seconds: u64) -> String {
    calendar(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_alerts_about_our_certificate_are_explained() {
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
            let explained = explain(&error, "redis:6380", &offer(true));
            assert_eq!(
                (explained.fault.code(), explained.fault.label()),
                (code, label),
                "{alert:?}"
            );
            assert!(explained.to_string().starts_with("redis:6380: the server "), "{explained}");
        }
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(explain(&reset, "", &offer(true)).fault, Fault::Closed);
        let odd = explain(&io::Error::other("s3cret"), "", &offer(true));
        assert_eq!(odd.fault, Fault::Broken);
        assert!(!odd.to_string().contains("s3cret"), "{odd}");
    }

    #[test]
    fn explanation_knows_what_was_offered() {
        use AlertDescription as A;
        let explained = |alert, offer: &Offer| {
            let error = io::Error::new(io::ErrorKind::InvalidData, Error::AlertReceived(alert));
            format!("{:#}", explain(&error, "redis:6380", offer))
        };
        for (alert, certificate, part) in [
            (A::CertificateRequired, false, "none is configured (TLS-E121)"),
            (A::HandshakeFailure, false, "none is configured (TLS-E121)"),
            (A::HandshakeFailure, true, "alert 40 (handshake_failure) (TLS-E118)"),
            (A::BadCertificate, true, "-CAfile CA tls.crt,"),
        ] {
            let text = explained(alert, &offer(certificate));
            assert!(text.contains(part), "{text}");
        }
        let oldest = offer(true);
        assert!(
            !explained(A::ProtocolVersion, &oldest).contains("min_version"),
            "1.2 is the lowest"
        );
        let newest = Offer { min_version: TlsVersion::V1_3, ..oldest };
        assert!(explained(A::ProtocolVersion, &newest).contains("min_version = \"1.2\""));
    }

    #[test]
    fn command_to_type_is_about_the_server_at_hand() {
        let reason = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let unknown = io::Error::new(io::ErrorKind::InvalidData, reason);
        let text = format!("{:#}", explain(&unknown, "redis:6380", &offer(true)));
        assert!(text.contains("s_client -connect redis:6380 "), "{text}");
        for (server, name) in [("[::1]:6380", "IP:::1"), ("redis:6380", "DNS:redis")] {
            let error = for_server(TlsError::new(Fault::ServerNameless, server, "x"), server);
            assert!(error.hint().contains(name), "{error:#}");
        }
    }

    fn offer(certificate: bool) -> Offer {
        Offer {
            certificate: certificate.then(|| PathBuf::from("tls.crt")),
            min_version: TlsVersion::V1_2,
            system: false,
        }
    }
}

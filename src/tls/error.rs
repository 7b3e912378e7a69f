//! What may be wrong with certificates and handshakes: one table of codes, labels and fixes.
//!
//! Owns: [`Fault`], [`TlsError`]. Never knows: how a fault is found.

use std::borrow::Cow;

/// Every fault of mutual TLS between two parties. The code of a fault never changes;
/// documentation and logs refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    // Our own files.
    Unreadable,
    Unstable,
    NoCertificate,
    NoKey,
    Swapped,
    EncryptedKey,
    BadCertificate,
    BadKey,
    KeyMismatch,
    ChainOrder,
    Expired,
    NotYetValid,
    Usage,
    BadPin,
    BadServerName,
    BadAnchor,
    Refused,
    NoSystem,
    BadList,
    ListExpired,
    // The handshake with the server.
    ServerExpired,
    ServerNotYetValid,
    ServerUntrusted,
    ServerName,
    ServerNameless,
    ServerVersion1,
    ServerIsCa,
    ServerUsage,
    ServerPin,
    ServerCertificate,
    ServerRevoked,
    ServerStatusUnknown,
    Plaintext,
    Incompatible,
    CertificateRequired,
    NoClientCertificate,
    ClientUntrusted,
    ClientRefused,
    ClientExpired,
    ClientRevoked,
    Alert,
    Closed,
    Broken,
    // The handshake with an application.
    PeerWithout,
    PeerUntrusted,
    PeerExpired,
    PeerNotYetValid,
    PeerName,
    PeerCertificate,
    PeerRevoked,
    PeerStatusUnknown,
    PeerPlaintext,
    PeerIncompatible,
    PeerAlert,
    PeerSlow,
    PeerCrowded,
    PeerClosed,
    PeerBroken,
    PeerBlocked,
}

impl Fault {
    /// All of them, in the order of their codes.
    #[rustfmt::skip]
    pub const ALL: [Self; 59] = [
        Self::Unreadable, Self::Unstable, Self::NoCertificate, Self::NoKey, Self::Swapped,
        Self::EncryptedKey, Self::BadCertificate, Self::BadKey, Self::KeyMismatch, Self::ChainOrder,
        Self::Expired, Self::NotYetValid, Self::Usage, Self::BadPin, Self::BadServerName,
        Self::BadAnchor, Self::Refused, Self::NoSystem, Self::ServerExpired, Self::ServerNotYetValid,
        Self::ServerUntrusted, Self::ServerName, Self::ServerNameless, Self::ServerVersion1,
        Self::ServerIsCa, Self::ServerUsage, Self::ServerPin, Self::ServerCertificate, Self::Plaintext,
        Self::Incompatible, Self::CertificateRequired, Self::ClientUntrusted, Self::ClientRefused,
        Self::ClientExpired, Self::ClientRevoked, Self::Alert, Self::Closed, Self::Broken,
        Self::NoClientCertificate, Self::PeerWithout, Self::PeerUntrusted, Self::PeerExpired,
        Self::PeerNotYetValid, Self::PeerName, Self::PeerCertificate, Self::PeerRevoked,
        Self::PeerPlaintext, Self::PeerIncompatible, Self::PeerAlert, Self::PeerSlow,
        Self::PeerCrowded, Self::PeerClosed, Self::PeerBroken, Self::BadList, Self::ListExpired,
        Self::ServerRevoked, Self::ServerStatusUnknown, Self::PeerStatusUnknown, Self::PeerBlocked,
    ];

    /// The stable name under which a fault is documented and logged.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.row().0
    }

    /// Why a reload was rejected, as a metric label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.row().1
    }

    /// Why a handshake failed, as a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.row().2
    }

    /// What a person does about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        self.row().3
    }

    /// Whether the fault may be half of a write that is still going on, so that reading again soon
    /// may find it gone.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Unreadable
                | Self::Unstable
                | Self::NoCertificate
                | Self::NoKey
                | Self::BadCertificate
                | Self::BadKey
                | Self::BadAnchor
                | Self::BadList
                | Self::KeyMismatch
        )
    }

    /// Whether the fault may pass although no file changes: a clock is set, a file system is there again.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Unreadable
                | Self::Unstable
                | Self::NoSystem
                | Self::Expired
                | Self::NotYetValid
                | Self::ListExpired
        )
    }

    /// What is wrong, in words for the documents; a [`TlsError`] has it for the case at hand.
    #[must_use]
    #[rustfmt::skip]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::Unreadable => "a file cannot be read",
            Self::Unstable => "a file changes while it is read",
            Self::NoCertificate => "a file has no certificate",
            Self::NoKey => "a file has no private key",
            Self::Swapped => "certificate and key are exchanged",
            Self::EncryptedKey => "the private key is encrypted",
            Self::BadCertificate => "a certificate cannot be read",
            Self::BadKey => "the private key cannot be used",
            Self::KeyMismatch => "the private key belongs to another certificate",
            Self::ChainOrder => "the certificates of the chain are in the wrong order",
            Self::Expired => "a certificate of respgate has expired",
            Self::NotYetValid => "a certificate of respgate is not valid yet",
            Self::Usage => "a certificate of respgate is for another purpose",
            Self::BadPin => "a pin is not a SHA-256 in hexadecimal",
            Self::BadServerName => "the server name is not a name",
            Self::BadAnchor => "the CA cannot be used",
            Self::Refused => "certificate and key cannot be used together",
            Self::NoSystem => "the system has no public authorities",
            Self::ServerExpired => "the server's certificate has expired",
            Self::ServerNotYetValid => "the server's certificate is not valid yet",
            Self::ServerUntrusted => "the server's certificate is signed by an unknown CA",
            Self::ServerName => "the server's certificate has other names",
            Self::ServerNameless => "the server's certificate has no subjectAltName",
            Self::ServerVersion1 => "the server's certificate is X.509 version 1",
            Self::ServerIsCa => "the server's certificate is that of a CA",
            Self::ServerUsage => "the server's certificate is not for servers",
            Self::ServerPin => "the server's public key is none of the pins",
            Self::ServerCertificate => "the server's certificate cannot be used",
            Self::Plaintext => "the server answers without TLS",
            Self::Incompatible => "no common TLS version or cipher suite",
            Self::CertificateRequired => "the server requires a client certificate and did not accept the configured one",
            Self::NoClientCertificate => "the server requires a client certificate, and none is configured",
            Self::ClientUntrusted => "the server does not trust the client certificate's CA",
            Self::ClientRefused => "the server does not accept the client certificate",
            Self::ClientExpired => "to the server, the client certificate has expired",
            Self::ClientRevoked => "to the server, the client certificate is revoked",
            Self::Alert => "the server ended the handshake",
            Self::Closed => "the connection was closed during the handshake",
            Self::Broken => "the bytes of the handshake are damaged",
            Self::BadList => "a list of revoked certificates cannot be used",
            Self::ListExpired => "a list of revoked certificates has expired",
            Self::ServerRevoked => "the server's certificate is revoked",
            Self::ServerStatusUnknown => "no list shows whether the server's certificate is revoked",
            Self::PeerStatusUnknown => "no list shows whether an application's certificate is revoked",
            Self::PeerBlocked => "an operator has blocked the application's certificate",
            Self::PeerWithout => "an application shows no certificate",
            Self::PeerUntrusted => "an application's certificate is signed by an unknown CA",
            Self::PeerExpired => "an application's certificate has expired",
            Self::PeerNotYetValid => "an application's certificate is not valid yet",
            Self::PeerName => "an application's certificate has none of the permitted names",
            Self::PeerCertificate => "an application's certificate cannot be used",
            Self::PeerRevoked => "an application's certificate is revoked",
            Self::PeerPlaintext => "an application connects without TLS to a listener with TLS",
            Self::PeerIncompatible => "an application and the listener have no TLS version or cipher suite in common",
            Self::PeerAlert => "an application ended the handshake",
            Self::PeerSlow => "an application did not complete the handshake in time",
            Self::PeerCrowded => "a handshake was ended because too many were in progress",
            Self::PeerClosed => "an application closed the connection during the handshake",
            Self::PeerBroken => "the bytes of an application's handshake are damaged",
        }
    }

    /// Code, reload reason, handshake label, hint.
    #[rustfmt::skip]
    #[allow(clippy::too_many_lines, reason = "a table")]
    const fn row(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Unreadable => ("TLS-E001", "io", "io",
                "check the path, and that the file is readable by the user respgate runs as"),
            Self::Unstable => ("TLS-E002", "io", "io",
                "let the writer finish; write files under another name and rename them"),
            Self::NoCertificate => ("TLS-E003", "parse", "other",
                "give a PEM file with -----BEGIN CERTIFICATE-----; convert DER with: openssl x509 -inform der -in FILE -out FILE.pem"),
            Self::NoKey => ("TLS-E004", "parse", "other",
                "give a PEM file with -----BEGIN PRIVATE KEY-----; convert DER with: openssl pkey -inform der -in FILE -out FILE.pem"),
            Self::Swapped => ("TLS-E005", "parse", "other",
                "cert and key may be exchanged"),
            Self::EncryptedKey => ("TLS-E006", "unsupported", "other",
                "respgate takes no passphrase; decrypt it with: openssl pkey -in FILE -out FILE.plain, and protect the file by its mode"),
            Self::BadCertificate => ("TLS-E007", "parse", "unsupported_cert",
                "look at it with: openssl x509 -in FILE -noout -text"),
            Self::BadKey => ("TLS-E008", "parse", "other",
                "use an ECDSA P-256/P-384, RSA (2048 bits or more) or Ed25519 key; check it with: openssl pkey -in FILE -noout -check"),
            Self::KeyMismatch => ("TLS-E009", "key_mismatch", "other",
                "these two must print the same: openssl x509 -in CERT -noout -pubkey; openssl pkey -in KEY -pubout"),
            Self::ChainOrder => ("TLS-E010", "key_mismatch", "other",
                "put the certificate of the key first, then the intermediates upwards"),
            Self::Expired => ("TLS-E011", "expired", "expired",
                "issue a new certificate; if it is new, compare the clocks of this host and the issuer"),
            Self::NotYetValid => ("TLS-E012", "not_yet_valid", "expired",
                "compare the clocks of this host and the issuer"),
            Self::Usage => ("TLS-E014", "eku", "unsupported_cert",
                "issue it with extendedKeyUsage=clientAuth, or without extendedKeyUsage"),
            Self::BadPin => ("TLS-E015", "unsupported", "pin",
                "print a pin with: openssl x509 -in SERVER.crt -noout -pubkey | openssl pkey -pubin -outform der | sha256sum"),
            Self::BadServerName => ("TLS-E016", "unsupported", "bad_name",
                "set upstream.tls.server_name to a DNS name or an IP address of the server's certificate"),
            Self::BadAnchor => ("TLS-E017", "parse", "unknown_ca",
                "look at it with: openssl x509 -in CA -noout -text"),
            Self::Refused => ("TLS-E018", "unsupported", "other",
                "issue certificate and key anew with common parameters (ECDSA P-256)"),
            Self::NoSystem => ("TLS-E019", "io", "unknown_ca",
                "install the package ca-certificates, set the variable SSL_CERT_FILE to a PEM file, or name one with upstream.tls.ca"),
            Self::ServerExpired => ("TLS-E101", "probe_failed", "expired",
                "renew the server's certificate; if it is new, compare the clocks of both hosts"),
            Self::ServerNotYetValid => ("TLS-E102", "probe_failed", "expired",
                "compare the clocks of both hosts"),
            Self::ServerUntrusted => ("TLS-E103", "untrusted", "unknown_ca",
                "put the CA that signed the server's certificate into upstream.tls.ca; see the chain with: openssl s_client -connect HOST:PORT -showcerts"),
            Self::ServerName => ("TLS-E104", "probe_failed", "bad_name",
                "connect by one of these names, set upstream.tls.server_name to one, or issue the certificate with the name in subjectAltName"),
            Self::ServerNameless => ("TLS-E105", "probe_failed", "bad_name",
                "issue it with subjectAltName=DNS:NAME (the common name is not looked at), or set upstream.tls.verify = \"ca\" to check the chain alone"),
            Self::ServerVersion1 => ("TLS-E106", "probe_failed", "unsupported_cert",
                "issue it as X.509 version 3 with the names of the server: openssl x509 -req -in SERVER.csr -CA CA.crt -CAkey CA.key -CAcreateserial -days 365 -out SERVER.crt -extfile <(printf 'subjectAltName=DNS:NAME\\nextendedKeyUsage=serverAuth'); or set upstream.tls.verify to \"ca\", or to \"pin\""),
            Self::ServerIsCa => ("TLS-E107", "probe_failed", "unsupported_cert",
                "issue a server certificate with basicConstraints=CA:FALSE, or trust its key with upstream.tls.verify = \"pin\""),
            Self::ServerUsage => ("TLS-E108", "probe_failed", "unsupported_cert",
                "issue it with extendedKeyUsage=serverAuth, or without extendedKeyUsage"),
            Self::ServerPin => ("TLS-E109", "probe_failed", "pin",
                "if the server's key was changed on purpose, add the pin of the new key to upstream.tls.pins"),
            Self::ServerCertificate => ("TLS-E110", "probe_failed", "unsupported_cert",
                "look at it with: openssl s_client -connect HOST:PORT -showcerts"),
            Self::Plaintext => ("TLS-E111", "probe_failed", "other",
                "use the server's tls-port; its plaintext port cannot be used with [upstream.tls]"),
            Self::Incompatible => ("TLS-E112", "probe_failed", "version",
                "let the server offer TLS 1.2 or 1.3 (tls-protocols), or set upstream.tls.min_version = \"1.2\""),
            Self::CertificateRequired => ("TLS-E113", "probe_failed", "cert_required",
                "let the server accept the key type of upstream.tls.cert, or issue it with an ECDSA P-256 key"),
            Self::NoClientCertificate => ("TLS-E121", "probe_failed", "cert_required",
                "set upstream.tls.cert and upstream.tls.key, or let the server do without (tls-auth-clients no)"),
            Self::ClientUntrusted => ("TLS-E114", "untrusted", "unknown_ca",
                "put the CA of upstream.tls.cert into the server's tls-ca-cert-file, and intermediates into upstream.tls.cert"),
            Self::ClientRefused => ("TLS-E115", "probe_failed", "unsupported_cert",
                "check upstream.tls.cert with: openssl verify -purpose sslclient -CAfile CA CERT"),
            Self::ClientExpired => ("TLS-E116", "expired", "expired",
                "renew upstream.tls.cert; if it is new, compare the clocks of both hosts"),
            Self::ClientRevoked => ("TLS-E117", "probe_failed", "revoked",
                "issue a new client certificate"),
            Self::Alert => ("TLS-E118", "probe_failed", "other",
                "the server's log has the reason"),
            Self::Closed => ("TLS-E119", "probe_failed", "io",
                "check that the address is the server's tls-port and that no proxy between ends TLS"),
            Self::Broken => ("TLS-E120", "probe_failed", "other",
                "check that the address is the server's tls-port and that nothing between changes the bytes"),
            Self::BadList => ("TLS-E020", "parse", "other",
                "give PEM with -----BEGIN X509 CRL-----; convert DER with: openssl crl -inform der -in FILE -out FILE.pem"),
            Self::ListExpired => ("TLS-E021", "expired", "revoked",
                "fetch the present list from the authority; or accept older ones with crl_expired = \"accept\""),
            Self::ServerRevoked => ("TLS-E122", "probe_failed", "revoked",
                "let the server have a new certificate, and find out why this one was revoked"),
            Self::ServerStatusUnknown => ("TLS-E123", "probe_failed", "revoked",
                "put a list of each authority of the chain, the root included, into upstream.tls.crl"),
            Self::PeerStatusUnknown => ("TLS-E215", "unsupported", "revoked",
                "put a list of each authority of the chain, the root included, into listener.tls.crl"),
            Self::PeerBlocked => ("TLS-E216", "unsupported", "blocked",
                "respgate status lists the blocks, and respgate unblock removes one"),
            Self::PeerWithout => ("TLS-E201", "unsupported", "cert_required",
                "give the application a certificate and its key, or set listener.tls.client_auth = \"request\""),
            Self::PeerUntrusted => ("TLS-E202", "untrusted", "unknown_ca",
                "put the CA that signed the application's certificate into listener.tls.client_ca, or let the application send its intermediates"),
            Self::PeerExpired => ("TLS-E203", "expired", "expired",
                "renew the application's certificate; if it is new, compare the clocks of both hosts"),
            Self::PeerNotYetValid => ("TLS-E204", "not_yet_valid", "expired",
                "compare the clocks of both hosts"),
            Self::PeerName => ("TLS-E205", "unsupported", "bad_name",
                "add a name of the certificate to listener.tls.allowed_sans if the application may connect"),
            Self::PeerCertificate => ("TLS-E206", "unsupported", "unsupported_cert",
                "issue it as X.509 version 3 with CA:FALSE and extendedKeyUsage=clientAuth, signed with SHA-256 or better"),
            Self::PeerRevoked => ("TLS-E207", "unsupported", "revoked",
                "issue a new certificate if the application may connect"),
            Self::PeerPlaintext => ("TLS-E208", "unsupported", "plaintext",
                "let the application use TLS (rediss://, --tls), or connect to a listener without [listener.tls]"),
            Self::PeerIncompatible => ("TLS-E209", "unsupported", "version",
                "let the application offer TLS 1.2 or 1.3 with the usual suites, or lower listener.tls.min_version"),
            Self::PeerAlert => ("TLS-E210", "unsupported", "alert",
                "give the application the CA of listener.tls.cert, and connect by a name of that certificate"),
            Self::PeerSlow => ("TLS-E211", "unsupported", "timeout",
                "look for connections that send nothing; listener.tls.handshake_timeout is how long they may"),
            Self::PeerCrowded => ("TLS-E212", "unsupported", "overload",
                "raise listener.tls.max_handshakes if so many applications connect at once"),
            Self::PeerClosed => ("TLS-E213", "io", "io",
                "health checks that only open a connection look like this"),
            Self::PeerBroken => ("TLS-E214", "unsupported", "other",
                "check that nothing between changes the bytes"),
        }
    }
}

/// One fault, where it is and what exactly was seen. Prints as one line; `{:#}` adds the hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    pub fault: Fault,
    /// The file or the server.
    pub place: String,
    /// What is wrong, in words.
    pub detail: Cow<'static, str>,
    /// What a person does about it, where more is known than the kind of fault.
    advice: Option<Cow<'static, str>>,
}

impl TlsError {
    /// What a person does about it.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.advice.as_deref().unwrap_or_else(|| self.fault.hint())
    }

    /// What to do; FILE in a command to type is the file at hand.
    pub(super) fn advise(self, advice: impl Into<Cow<'static, str>>) -> Self {
        let mut advice = advice.into();
        let is_file = |path: &str| !path.is_empty() && !path.contains([' ', ':', '\'', '"']);
        if advice.contains("FILE") && is_file(&self.place) {
            // A name by itself: SSL_CERT_FILE is a name of its own.
            advice = advice.replace(" FILE", &format!(" {}", self.place)).into();
        }
        Self { advice: Some(advice), ..self }
    }

    pub(super) fn new(
        fault: Fault,
        place: impl std::fmt::Display,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let place = place.to_string();
        let error = Self { fault, place, detail: detail.into(), advice: None };
        error.advise(fault.hint())
    }
}

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        write!(f, "{} ({})", self.detail, self.fault.code())?;
        if f.alternate() { write!(f, "\n  hint: {}", self.hint()) } else { Ok(()) }
    }
}

impl std::error::Error for TlsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_labels_are_those_of_the_metrics() {
        let reasons =
            "io,parse,key_mismatch,expired,not_yet_valid,untrusted,eku,unsupported,probe_failed";
        let labels = "expired,unknown_ca,bad_name,cert_required,revoked,version,unsupported_cert,pin,timeout,io,other,plaintext,alert,overload,blocked";
        let mut codes = std::collections::BTreeSet::new();
        for fault in Fault::ALL {
            assert!(codes.insert(fault.code()), "{} twice", fault.code());
            assert!(reasons.split(',').any(|r| r == fault.reason()), "{fault:?}");
            assert!(labels.split(',').any(|l| l == fault.label()), "{fault:?}");
            assert!(!fault.cause().is_empty() && !fault.cause().ends_with('.'), "{fault:?}");
            assert!(!fault.hint().is_empty() && !fault.hint().ends_with('.'), "{fault:?}");
        }
    }

    #[test]
    fn tls_error_is_on_one_line_and_its_hint_on_another() {
        let error = TlsError::new(Fault::Expired, "/a/tls.crt", "expired on Monday");
        assert_eq!(error.to_string(), "/a/tls.crt: expired on Monday (TLS-E011)");
        assert!(format!("{error:#}").contains("(TLS-E011)\n  hint: issue a new certificate"));
    }
}

//! Whether a certificate would work as that of a client, of a server or of an authority, and why not.
//!
//! Owns: [`Purpose`], [`Verdict`]. Never knows: files, clocks: the time is an argument.
//!
//! A server's certificate is judged as respgate judges it, a client's as Redis does (OpenSSL).

use std::time::SystemTime;

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;

use super::Certificate;
use super::recipe::Recipe;
use crate::tls::error::{Fault, TlsError};
use crate::tls::expiry::calendar;
use crate::tls::expiry::{Expiry, assess};

/// What a certificate is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Client,
    Server,
    Authority,
}

impl Purpose {
    pub const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Authority];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Authority => "ca",
        }
    }
}

/// Whether a certificate works for one purpose.
#[derive(Debug)]
pub struct Verdict {
    pub purpose: Purpose,
    /// Why it does not work; empty: it works.
    pub problems: Vec<TlsError>,
    /// What works, but should be checked.
    pub warnings: Vec<String>,
}

impl Verdict {
    #[must_use]
    pub(crate) fn works(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Judges a certificate of `place` at `now`; `host` is the name that a server is to prove.
#[must_use]
pub fn verdict(
    certificate: &Certificate,
    purpose: Purpose,
    place: &str,
    host: Option<&str>,
    now: SystemTime,
) -> Verdict {
    let mut verdict = Verdict { purpose, problems: Vec::new(), warnings: Vec::new() };
    let judge = Judge { certificate, place, now };
    verdict.problems.extend(judge.period(purpose));
    verdict.problems.extend(match purpose {
        Purpose::Client => judge.client(),
        Purpose::Server => judge.server(host),
        Purpose::Authority => judge.authority(),
    });
    verdict.problems.extend(judge.strength(purpose));
    if verdict.works() {
        verdict.warnings = judge.warnings(purpose);
    }
    verdict
}

struct Judge<'a> {
    certificate: &'a Certificate,
    place: &'a str,
    now: SystemTime,
}

impl Judge<'_> {
    fn problem(&self, fault: Fault, detail: impl Into<String>) -> TlsError {
        TlsError::new(fault, self.place, detail.into())
    }

    fn period(&self, purpose: Purpose) -> Option<TlsError> {
        let facts = &self.certificate.facts;
        let (late, early) = match purpose {
            Purpose::Server => (Fault::ServerExpired, Fault::ServerNotYetValid),
            Purpose::Client | Purpose::Authority => (Fault::Expired, Fault::NotYetValid),
        };
        match assess(facts.not_before, facts.not_after, self.now) {
            Expiry::Expired(_) => {
                Some(self.problem(late, format!("expired on {}", calendar(facts.not_after))))
            }
            Expiry::NotYet(_) => {
                let detail = format!("is not valid before {}", calendar(facts.not_before));
                Some(self.problem(early, detail))
            }
            Expiry::Fresh(_) | Expiry::Expiring(_) => None,
        }
    }

    fn client(&self) -> Option<TlsError> {
        let facts = &self.certificate.facts;
        if !facts.permits("clientAuth") {
            let listed = facts.extended_key_usage.as_ref().map(|listed| listed.join(", "));
            let detail = format!(
                "its extended key usage is {}, which does not allow it to identify a client",
                listed.unwrap_or_default()
            );
            return Some(self.problem(Fault::Usage, detail));
        }
        if !facts.has_usage(&["digitalSignature", "keyAgreement"]) {
            let detail = "its key usage lacks digitalSignature, which a handshake needs";
            let advice = "issue it with keyUsage=digitalSignature, or without keyUsage";
            return Some(self.problem(Fault::Usage, detail).advise(advice));
        }
        None
    }

    fn server(&self, host: Option<&str>) -> Option<TlsError> {
        let facts = &self.certificate.facts;
        if facts.version < 3 {
            let detail = "is X.509 version 1, which names no host";
            return Some(self.problem(Fault::ServerVersion1, detail));
        }
        if facts.is_ca() {
            let detail = "is a CA certificate (CA:TRUE)";
            return Some(self.problem(Fault::ServerIsCa, detail));
        }
        if !facts.permits("serverAuth") {
            let detail = "its extended key usage does not allow it to identify a server";
            return Some(self.problem(Fault::ServerUsage, detail));
        }
        if !facts.names_a_host() {
            let detail = "names no host (no subjectAltName)";
            return Some(self.problem(Fault::ServerNameless, detail));
        }
        let host = host?;
        let name = ServerName::try_from(host.to_owned());
        let Ok(name) = name else {
            let detail = format!("{host} is neither a DNS name nor an IP address");
            return Some(self.problem(Fault::BadServerName, detail));
        };
        let parsed = ParsedCertificate::try_from(&self.certificate.der).ok()?;
        if verify_server_name(&parsed, &name).is_ok() {
            return None;
        }
        let detail = format!("is for {}, not for {host}", facts.names.join(", "));
        Some(self.problem(Fault::ServerName, detail))
    }

    fn authority(&self) -> Option<TlsError> {
        let facts = &self.certificate.facts;
        if facts.version >= 3 && !facts.is_ca() {
            let advice = "name the certificate of the CA; issue one with basicConstraints=critical,CA:TRUE and keyUsage=keyCertSign";
            let detail = "is not a CA certificate (no CA:TRUE)";
            return Some(self.problem(Fault::BadAnchor, detail).advise(advice));
        }
        if facts.version < 3 && !facts.is_self_issued() {
            let advice = "issue it as X.509 version 3 with basicConstraints=critical,CA:TRUE";
            let detail = "is X.509 version 1 and not self-signed, so it cannot sign others";
            return Some(self.problem(Fault::BadAnchor, detail).advise(advice));
        }
        if !facts.has_usage(&["keyCertSign"]) {
            let advice = "issue it with keyUsage=keyCertSign,cRLSign, or without keyUsage";
            let detail = "its key usage lacks keyCertSign";
            return Some(self.problem(Fault::BadAnchor, detail).advise(advice));
        }
        None
    }

    fn strength(&self, purpose: Purpose) -> Vec<TlsError> {
        let facts = &self.certificate.facts;
        let fault = match purpose {
            Purpose::Server => Fault::ServerCertificate,
            Purpose::Client => Fault::ClientRefused,
            Purpose::Authority => Fault::BadAnchor,
        };
        let mut problems = Vec::new();
        if facts.weak_key {
            let detail = format!("its key ({}) is not accepted in TLS", facts.key);
            let advice = "issue it with an ECDSA P-256 key, or RSA of 2048 bits or more";
            problems.push(self.problem(fault, detail).advise(advice));
        }
        // An authority is trusted by itself: its own signature is not checked.
        if facts.weak_signature && !(purpose == Purpose::Authority && facts.is_self_issued()) {
            let detail =
                format!("is signed with {}, which is not accepted any more", facts.signature);
            problems
                .push(self.problem(fault, detail).advise("sign it again with SHA-256 (-sha256)"));
        }
        problems
    }

    fn warnings(&self, purpose: Purpose) -> Vec<String> {
        let facts = &self.certificate.facts;
        let mut warnings = Vec::new();
        if let Expiry::Expiring(left) = assess(facts.not_before, facts.not_after, self.now) {
            let days = left.as_secs() / 86_400;
            warnings.push(format!("less than a fifth of its lifetime is left ({days} days)"));
        }
        if purpose != Purpose::Server && facts.version < 3 {
            warnings.push(format!("{}; OpenSSL accepts it here", Recipe::VersionOne.cause()));
        }
        if purpose == Purpose::Client && facts.is_ca() {
            warnings.push("it is a CA certificate: its key can sign others".to_owned());
        }
        if purpose == Purpose::Server
            && !facts.has_usage(&["digitalSignature", "keyEncipherment", "keyAgreement"])
        {
            let what =
                "its key usage lacks digitalSignature: respgate accepts it, OpenSSL does not";
            warnings.push(what.to_owned());
        }
        warnings
    }
}
